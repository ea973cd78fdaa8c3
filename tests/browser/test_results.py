"""From a picture to its map, masks and curves."""

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from groupcam.ui.views import CHANNELS_SHOWN
from tests.browser.driver import CAT, EXAMPLES, POINTS, Driver

pytestmark = pytest.mark.browser

COLLECT_POINT_COUNTS = """() => {
  window.pointCounts = [];
  new MutationObserver(() => {
    const line = document.querySelector("polyline.gc-insertion");
    if (line) window.pointCounts.push(line.points.length);
  }).observe(document.querySelector(".gc-chart"), {childList: true, subtree: true});
}"""


def numbers_in(locator: Locator, pattern: str) -> list[float]:
    return [float(value) for value in re.findall(pattern, " ".join(locator.all_inner_texts()))]


def test_an_uploaded_picture_gets_its_map(driver: Driver) -> None:
    driver.upload(CAT)

    driver.expect_caption(
        "Egyptian cat", "timm/tf_efficientnet_lite0", "blocks.6", "32 groups", "50 px"
    )
    expect(driver.heat).to_be_visible()
    for picture in driver.page.locator(".gc-viewer img").all():
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth * image.naturalHeight") > 0


def test_an_example_is_explained_at_a_click(driver: Driver) -> None:
    driver.example("cat").click()

    driver.expect_caption("Egyptian cat")


def test_predictions_come_most_probable_first(driver: Driver) -> None:
    driver.explain_cat()

    shown = driver.page.locator("#gc-top").get_by_role("button")
    expect(shown).to_have_count(5)
    expect(shown.first).to_contain_text("Egyptian cat")
    percents = numbers_in(shown, r"(\d+)%")
    assert percents == sorted(percents, reverse=True)


def test_there_is_one_mask_a_group_heaviest_first(driver: Driver) -> None:
    driver.explain_cat()

    expect(driver.tiles).to_have_count(32)
    weights = [
        float(weight) if weight.replace(".", "").isdigit() else 0.0  # "no gain"
        for text in driver.page.locator(".gc-tile-weight").all_inner_texts()
        for weight in [text.replace("<", "0")]
    ]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 0
    cut = "tiles => tiles.filter(tile => tile.scrollWidth > tile.clientWidth).length"
    assert driver.tiles.evaluate_all(cut) == 0
    assert "background-image" in (
        driver.page.locator(".gc-tile-picture").first.get_attribute("style") or ""
    )


def test_curves_grow_until_they_are_complete(driver: Driver, tmp_path: Path) -> None:
    driver.page.evaluate(COLLECT_POINT_COUNTS)
    mirrored = tmp_path / "rocket.png"  # which nobody had explained before
    with Image.open(EXAMPLES / "rocket.jpg") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored)

    driver.upload(mirrored)

    driver.expect_done()
    counts = driver.page.evaluate("window.pointCounts")
    assert counts == sorted(counts)
    assert len({count for count in counts if count < POINTS}) >= 2
    assert counts[-1] == POINTS
    assert driver.page.locator("polyline.gc-deletion").evaluate("line => line.points.length") == (
        POINTS
    )
    keys = driver.page.locator(".gc-keys b")
    expect(keys.first).to_have_text(re.compile(r"^0\.\d{3}$"))
    expect(keys.last).to_have_text(re.compile(r"^0\.\d{3}$"))


@pytest.mark.parametrize("means", ["click", "Enter"])
def test_a_mask_opens_its_group(driver: Driver, means: str) -> None:
    driver.explain_cat()
    tile = driver.tiles.nth(3)
    number = int(tile.get_attribute("data-group") or 0) + 1

    if means == "click":
        tile.click()
    else:
        tile.press(means)

    expect(driver.detail.get_by_role("heading", name=f"Group {number}", exact=True)).to_be_visible()
    expect(driver.detail).to_contain_text(re.compile(r"Egyptian cat has \d+\.\d+%"))
    expect(driver.detail.get_by_role("img", name="Mask on the picture")).to_be_visible()
    expect(driver.detail.get_by_role("img", name="Masked input")).to_be_visible()
    heading = driver.detail.get_by_role("heading", name=re.compile(r"^\d+ channels?")).inner_text()
    channels = int(heading.split()[0])
    expect(driver.detail.locator(".gc-channels img")).to_have_count(min(channels, CHANNELS_SHOWN))
    expect(tile).to_have_attribute("aria-pressed", "true")


def test_another_colour_map_needs_no_forward_pass(driver: Driver, forwards: list[int]) -> None:
    driver.explain_cat()
    driver.expect_done()
    before = driver.heat_source()
    scale = driver.page.locator(".gc-scale").get_attribute("style") or ""
    forwards.clear()

    driver.search("Colour map", "viridis")

    driver.expect_new_heat(before)
    expect(driver.page.locator(".gc-scale")).not_to_have_attribute("style", scale)
    driver.expect_caption("Egyptian cat")
    assert forwards == []


def test_opacity_changes_the_heatmap_without_a_forward_pass(
    driver: Driver, forwards: list[int]
) -> None:
    driver.explain_cat()
    driver.expect_done()
    forwards.clear()

    driver.slider("Opacity").press("End")

    expect(driver.heat).to_have_css("opacity", "1")
    driver.slider("Opacity").press("Home")
    expect(driver.heat).to_have_css("opacity", "0")
    assert forwards == []


def test_the_pictures_stand_side_by_side_on_demand(driver: Driver) -> None:
    driver.explain_cat()
    plain, overlaid = driver.page.locator(".gc-plain"), driver.page.locator(".gc-overlay")

    driver.page.get_by_role("radio", name="Side by side").check()

    expect(driver.divider).to_be_hidden()
    left, right = plain.bounding_box(), overlaid.bounding_box()
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]
    driver.page.get_by_role("radio", name="Divider").check()
    expect(driver.divider).to_be_visible()


def test_arrow_keys_move_the_divider(driver: Driver) -> None:
    driver.explain_cat()
    driver.divider.focus()
    value = int(driver.divider.input_value())

    driver.divider.press("ArrowRight")
    driver.divider.press("ArrowRight")

    expect(driver.page.locator(".gc-viewer")).to_have_attribute(
        "style", re.compile(rf"--divide: ?{value + 2}%")
    )
