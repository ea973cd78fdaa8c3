"""The Step by step tab: by mouse and keyboard, on a phone, in the dark."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.driver import CAT, Driver

pytestmark = pytest.mark.browser


def open_steps(driver: Driver) -> None:
    driver.page.get_by_role("tab", name="Step by step").click()


def step(driver: Driver, number: int) -> Locator:
    return driver.page.locator(f".gc-step[data-step='{number}']")


def formula(driver: Driver, number: int) -> Locator:
    return step(driver, number).locator(".gc-step-formula")


def source(heat: Locator) -> str:
    """Return the map on show; the tab sets it a moment after its own parts are there."""
    expect(heat).to_have_attribute("src", re.compile("^data:"))
    return heat.get_attribute("src") or ""


def test_groups_are_opened_switched_and_brought_back(driver: Driver, forwards: list[int]) -> None:
    page = driver.page
    open_steps(driver)
    expect(page.locator(".gc-steps .gc-empty")).to_contain_text("Choose a picture first")
    driver.upload(CAT)
    expect(step(driver, 6)).to_be_visible()  # the open tab follows the run
    driver.expect_done()
    forwards.clear()
    picker = page.get_by_label("Group that the steps show")
    heaviest = picker.locator("option").first.inner_text()

    picker.select_option(index=2)

    third = picker.locator("option").nth(2).inner_text()
    found = re.match(r"Group (\d+) · ([\d.]+)", third)
    assert found is not None
    name, score = found.groups()  # the score has a digit less than the formula
    expect(formula(driver, 5)).to_contain_text(re.compile(rf"{name} = max\(0, .* = {score[:-1]}"))
    expect(step(driver, 2).locator(".gc-step-say")).to_contain_text(f"of group {name}")
    assert "heaviest" in heaviest
    assert forwards == []

    heat = page.locator(".gc-inspector .gc-step-heat")
    whole = source(heat)
    rows = page.locator(".gc-inspector-list li")
    expect(rows).to_have_count(32)
    rows.first.get_by_role("button").click()
    expect(page.locator(".gc-inspector-state")).to_contain_text("Only group")
    expect(heat).not_to_have_attribute("src", whole)
    lines = page.locator(".gc-inspector-curves polyline")
    expect(page.locator(".gc-inspector-areas")).to_contain_text(
        re.compile(r"insertion AUC 0\.\d{3} .* Dashed, all groups: 0\.\d{3}")
    )
    expect(lines).to_have_count(4)
    rows.first.get_by_role("checkbox").uncheck()
    expect(page.locator(".gc-inspector .gc-blank")).to_contain_text("No group is switched on")
    expect(heat).to_be_hidden()
    expect(lines).to_have_count(0)
    driver.button("All groups back on").click()
    expect(heat).to_have_attribute("src", whole)
    expect(heat).to_be_visible()

    bars = page.locator(".gc-step-bars")
    bars.scroll_into_view_if_needed()
    area = bars.bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + 0.98 * area["width"], area["y"] + 0.9 * area["height"])
    last = picker.locator("option").last.inner_text().split(" · ")[0]
    expect(page.locator(".gc-step-hovered")).to_contain_text(last)


def test_the_keyboard_changes_group_and_settings_of_both_columns(driver: Driver) -> None:
    page = driver.page
    driver.explain_cat()
    open_steps(driver)
    expect(step(driver, 6)).to_be_visible()

    bars = page.get_by_role("slider", name="Scores of all groups")
    bars.focus()
    page.keyboard.press("ArrowRight")
    expect(bars).to_have_attribute("aria-valuenow", "2")
    expect(page.get_by_label("Group that the steps show")).to_have_js_property("selectedIndex", 1)
    groups = step(driver, 2).get_by_role("slider")
    groups.focus()
    page.keyboard.press("Home")
    expect(driver.slider("Groups G")).to_have_value("1")
    expect(page.locator(".gc-steps-way")).to_contain_text("1 group")
    driver.slider("Groups G").focus()
    page.keyboard.press("ArrowRight")

    expect(page.locator(".gc-steps-way")).to_contain_text("2 groups")
    expect(groups).to_have_value("2")
    driver.expect_caption("2 groups")


def test_each_step_has_its_own_control(driver: Driver, forwards: list[int]) -> None:
    page = driver.page
    driver.explain_cat()
    driver.expect_done()
    open_steps(driver)
    heat = page.locator("[data-map=now] .gc-step-heat")
    whole = source(heat)
    rows = page.locator(".gc-inspector-list li")
    forwards.clear()

    # The scores' step: the chosen group off, and alone, as in the list below.
    step(driver, 5).get_by_label("counts in the map").uncheck()
    expect(heat).not_to_have_attribute("src", whole)
    expect(rows.first.get_by_role("checkbox")).not_to_be_checked()
    step(driver, 5).get_by_role("button", name="Show it alone").click()
    expect(page.locator(".gc-inspector-state")).to_contain_text("Only group")
    expect(rows.first.get_by_role("button", name="alone")).to_have_attribute("aria-pressed", "true")
    step(driver, 5).get_by_role("button", name="Show it alone").click()
    expect(heat).to_have_attribute("src", whole)

    # The first step: another layer, as in the tree on the left.
    layer = step(driver, 1).get_by_label("Target layer")
    expect(layer).to_have_value("blocks.6")
    layer.select_option("blocks.4")
    expect(formula(driver, 1)).to_contain_text("over 14 × 14 cells")
    expect(page.locator(".gc-steps-caption")).to_contain_text("blocks.4")
    expect(page.locator("#gc-layers .gc-layer-chosen")).to_contain_text("blocks.4")
    expect(heat).not_to_have_attribute("src", whole)
    expect(layer).to_have_value("blocks.4")
    for number in range(1, 7):
        assert step(driver, number).locator("[data-setting], .gc-step-counts").count() > 0


def test_the_map_stays_in_sight_before_and_after_a_change(driver: Driver) -> None:
    page = driver.page
    driver.explain_cat()
    open_steps(driver)
    before, now = (page.locator(f"[data-map={name}]") for name in ("before", "now"))
    expect(now).to_be_visible()
    expect(before).to_be_hidden()
    first = source(now.locator(".gc-step-heat"))
    percentile = step(driver, 3).get_by_role("slider")
    percentile.scroll_into_view_if_needed()

    percentile.focus()
    page.keyboard.press("Home")

    expect(before.locator(".gc-step-heat")).to_have_attribute("src", first)
    expect(now.locator(".gc-step-heat")).not_to_have_attribute("src", first)
    for sight in (percentile, before, now):
        expect(sight).to_be_in_viewport(ratio=1)
    driver.expect_done()
    driver.example("rocket").click()
    driver.expect_caption("missile")
    expect(now.locator(".gc-step-heat")).to_have_attribute("src", re.compile("^data:"))
    expect(before).to_be_hidden()  # it would be another picture's


def test_a_row_shows_its_mask_by_pointer_focus_and_tap(open_page: OpenPage) -> None:
    driver = open_page(has_touch=True)
    page = driver.page
    driver.explain_cat()
    driver.expect_done()
    open_steps(driver)
    row = page.locator(".gc-inspector-list li").first
    masks = page.locator("[data-mask=listed]")
    shown = page.locator("[data-mask=listed]:visible")
    expect(masks).to_have_count(2)

    row.hover()
    expect(shown).to_have_count(2)
    page.mouse.move(0, 0)
    expect(shown).to_have_count(0)
    row.get_by_role("checkbox").focus()
    page.keyboard.press("Tab")
    expect(shown).to_have_count(2)
    page.keyboard.press("Enter")
    expect(page.locator(".gc-inspector-state")).to_contain_text("Only group")
    expect(shown).to_have_count(0)  # it would hide the answer
    row.locator(".gc-inspector-bar").tap()
    expect(shown).to_have_count(2)
    row.locator(".gc-inspector-bar").tap()
    expect(shown).to_have_count(0)


def test_a_phone_in_the_dark_shows_all_without_scrolling_sideways(open_page: OpenPage) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    driver = open_page("__theme=dark", **phone)
    driver.explain_cat()
    page = driver.page

    page.get_by_role("tab", name="Step by step").tap()

    expect(step(driver, 6)).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 391
