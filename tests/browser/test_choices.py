"""What a visitor can choose, in every order and by every means; bad choices too."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.driver import EXAMPLES, POINTS, STEPS, Driver

pytestmark = pytest.mark.browser

LITE1 = "timm/tf_efficientnet_lite1"
LITE0 = "timm/tf_efficientnet_lite0"

# --- settings ----------------------------------------------------------------------------------


def test_another_backbone_brings_its_own_layers(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()

    driver.search("Backbone", "tf_efficientnet_lite1")

    driver.expect_caption(LITE1, "blocks.6")
    driver.expect_new_heat(heat)
    expect(driver.chosen_layer).to_have_text(re.compile(r"blocks\.6 .* 320 × 8 × 8"))


def test_a_transformer_needs_no_more_than_its_name(driver: Driver) -> None:
    """Its weights cannot be had here; random ones can, and the page says what they are worth."""
    driver.explain_cat()
    driver.number("Groups G").fill("4")
    driver.expect_caption("· 4 groups")

    driver.search("Backbone", "timm/swin_tiny_patch4_window7_224")
    expect(driver.alert).to_contain_text("could not be downloaded")
    driver.search("Weights", "random")
    driver.expect_caption("swin_tiny_patch4_window7_224 (random weights) · layers.3 · 4 groups")
    heat = driver.heat_source()
    driver.choose_layer("layers.2", stage="14 × 14")

    driver.expect_caption("layers.2")
    driver.expect_new_heat(heat)
    expect(driver.chosen_layer).to_have_text("layers.2  ·  384 × 14 × 14")


def test_another_layer_changes_the_map(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()

    driver.choose_layer("blocks.4", stage="14 × 14")

    driver.expect_caption("blocks.4")
    driver.expect_new_heat(heat)


def test_a_class_is_found_by_typing(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()

    driver.search("Target class", "tiger cat")

    driver.expect_caption("tiger cat")
    driver.expect_new_heat(heat)


def test_a_click_on_a_prediction_explains_that_class(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()

    driver.page.locator("#gc-top").get_by_role("button", name="tabby").click()

    driver.expect_caption("tabby")
    driver.expect_new_heat(heat)
    expect(driver.box("Target class")).to_have_value("tabby")


def test_arrow_keys_change_the_number_of_groups(driver: Driver) -> None:
    driver.explain_cat()

    driver.slider("Groups G").press("ArrowLeft")

    driver.expect_caption("31 groups")
    expect(driver.tiles).to_have_count(31)


def test_the_number_of_groups_can_be_typed(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()

    driver.number("Groups G").fill("8")

    driver.expect_caption("· 8 groups")
    driver.expect_new_heat(heat)
    expect(driver.tiles).to_have_count(8)


def test_another_blur_changes_the_map(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()

    driver.number("Blur sigma (px)").fill("5")

    driver.expect_caption(" 5 px")
    driver.expect_new_heat(heat)


def test_a_preset_sets_the_controls_and_runs(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()

    driver.button("Advanced").click()
    driver.button("Authors' code").click()

    driver.expect_new_heat(heat)
    expect(driver.box("Masks merged")).to_have_value("raw")
    expect(driver.page.get_by_role("checkbox", name="De-noise the masks")).not_to_be_checked()


def test_the_latest_of_many_choices_wins(driver: Driver) -> None:
    driver.explain_cat()

    for groups in (20, 16, 12, 9, 6):
        driver.number("Groups G").fill(str(groups))

    driver.expect_caption("· 6 groups")
    driver.expect_done()
    driver.expect_caption("· 6 groups")
    expect(driver.tiles).to_have_count(6)


def test_a_choice_right_after_leaving_a_number_box_wins(driver: Driver) -> None:
    """Leaving the box sends its number once more, and that run waits behind the first."""
    driver.explain_cat()
    driver.number("Groups G").fill("7")
    driver.expect_caption("· 7 groups")

    driver.search("Backbone", "tf_efficientnet_lite1")

    driver.expect_done()
    driver.expect_caption(LITE1, "· 7 groups")


# --- stop --------------------------------------------------------------------------------------


def test_stop_ends_the_run_and_run_again_finishes_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 20 * STEPS  # so that there is time to press Stop
    monkeypatch.setattr("groupcam.ui.workbench.CURVE_STEPS", many)
    line = driver.page.locator("polyline.gc-insertion")
    driver.upload(EXAMPLES / "cat_and_espresso.jpg")
    driver.expect_caption("32 groups")
    expect(line).to_have_count(1)

    driver.button("Stop").click()

    expect(driver.status).to_contain_text("Stopped.")
    driver.page.wait_for_timeout(1500)  # for reports on their way
    drawn = line.evaluate("line => line.points.length")
    driver.page.wait_for_timeout(1500)  # a run that went on would draw more
    expect(driver.status).to_contain_text("Stopped.")
    assert line.evaluate("line => line.points.length") == drawn < many
    monkeypatch.undo()
    driver.button("Run again").click()
    driver.expect_done()
    assert line.evaluate("line => line.points.length") == POINTS


# --- what cannot be done -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad_picture", "sentence"),
    [
        ("text", "'text.png' is none of these"),
        ("truncated", "'truncated.jpg' breaks off or is damaged"),
        ("tiny", "at least 8 pixels wide and high; got 1 x 1"),
    ],
    indirect=["bad_picture"],
)
def test_a_bad_picture_gives_a_sentence_and_changes_nothing(
    driver: Driver, bad_picture: Path, sentence: str
) -> None:
    driver.number("Groups G").fill("8")
    driver.upload(EXAMPLES / "cat.jpg")
    driver.expect_caption("Egyptian cat", "· 8 groups")
    driver.expect_done()
    caption, heat = driver.caption.inner_text(), driver.heat_source()
    shown = driver.page.locator("#gc-picture img")

    driver.upload(bad_picture)

    expect(driver.alert).to_contain_text(sentence)
    expect(shown).to_have_attribute("src", re.compile(r"cat\.jpg"))
    expect(driver.alert).to_contain_text(sentence)
    assert (driver.caption.inner_text(), driver.heat_source()) == (caption, heat)
    assert driver.number("Groups G").input_value() == "8"
    driver.upload(EXAMPLES / "espresso.jpg")
    driver.expect_caption("espresso", "· 8 groups")


@pytest.mark.parametrize("bad_picture", ["text"], indirect=True)
def test_a_bad_first_picture_keeps_its_sentence(driver: Driver, bad_picture: Path) -> None:
    driver.upload(bad_picture)

    expect(driver.alert).to_contain_text("'text.png' is none of these")
    expect(driver.page.get_by_text("Drop Image Here")).to_be_visible()
    driver.page.wait_for_timeout(1500)  # the time in which it was replaced
    assert driver.alert.count() == 1


def test_a_result_stays_until_the_next_picture_is_chosen(driver: Driver) -> None:
    driver.explain_cat()
    driver.expect_done()

    driver.button("Upload file").click()

    expect(driver.page.get_by_text("Drop Image Here")).to_be_visible()
    driver.page.wait_for_timeout(1500)
    assert driver.caption.is_visible()


def test_weights_that_cannot_be_had_name_what_is_ready(driver: Driver) -> None:
    driver.explain_cat()
    driver.expect_done()
    caption, heat = driver.caption.inner_text(), driver.heat_source()

    driver.search("Backbone", "timm/resnet50")

    expect(driver.alert).to_contain_text("timm/resnet50: The weights could not be downloaded")
    expect(driver.alert).to_contain_text(LITE0)
    assert (driver.caption.inner_text(), driver.heat_source()) == (caption, heat)
    driver.search("Backbone", "tf_efficientnet_lite0")
    driver.expect_done()
    driver.expect_caption(LITE0)


# --- by keyboard, on a phone, in the dark ------------------------------------------------------


def test_the_keyboard_is_enough(driver: Driver) -> None:
    keyboard = driver.page.keyboard

    driver.tab_to(driver.example("cat"))
    keyboard.press("Enter")
    driver.expect_caption("Egyptian cat")

    driver.tab_to(driver.box("Backbone"))
    driver.search("Backbone", "tf_efficientnet_lite1")
    driver.expect_caption(LITE1)

    driver.tab_to(driver.box("Target class"))
    driver.search("Target class", "tiger cat")
    driver.expect_caption("tiger cat")

    driver.tab_to(driver.slider("Groups G"))
    for _ in range(3):
        keyboard.press("ArrowRight")
    driver.expect_caption("35 groups")
    expect(driver.tiles).to_have_count(35)

    tile = driver.tiles.nth(1)
    number = int(tile.get_attribute("data-group") or 0) + 1
    driver.tab_to(tile)
    keyboard.press("Enter")
    expect(driver.detail.get_by_role("heading", name=f"Group {number}", exact=True)).to_be_visible()

    driver.tab_to(driver.marker)
    keyboard.press("End")
    expect(driver.page.locator("#gc-perturbed")).to_contain_text("100% shown")


def test_a_phone_shows_everything_without_scrolling_sideways(open_page: OpenPage) -> None:
    driver = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)

    driver.example("cat").tap()

    driver.expect_caption("Egyptian cat")
    expect(driver.heat).to_be_visible()
    expect(driver.tiles).to_have_count(32)
    # Not `innerWidth`: a phone's browser zooms out to hold whatever is too wide.
    assert driver.page.evaluate("document.scrollingElement.scrollWidth") <= 391
