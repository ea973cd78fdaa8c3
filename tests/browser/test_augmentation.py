"""The Augmentation tab as a visitor meets it."""

import pytest
from playwright.sync_api import expect

from tests.browser.driver import Driver

pytestmark = pytest.mark.browser


def show_augmented(driver: Driver) -> None:
    """Show what training sees, without a forward pass for the maps."""
    driver.open_tab("Augmentation")
    driver.page.get_by_role("radio", name="the centre (control)").check()
    driver.number("Probability").fill("1")
    driver.button("Show what training sees").click()
    expect(driver.page.locator("#gc-augment-status .gc-done")).to_be_visible()


def test_pictures_masks_and_what_training_sees_stand_side_by_side(driver: Driver) -> None:
    driver.explain_cat()
    show_augmented(driver)

    rows = driver.page.locator(".gc-augment-rows li")
    expect(rows).to_have_count(4)
    first = rows.first
    expect(first).to_contain_text("Egyptian cat")
    expect(first).to_contain_text("stays sharp")
    tops = [picture.bounding_box() for picture in first.locator("img").all()]
    assert len({box["y"] for box in tops if box}) == 1
    sources = [picture.get_attribute("src") for picture in first.locator("img").all()]
    assert len(set(sources)) == 3
    expect(first.get_by_role("img").nth(1)).to_have_accessible_name(
        "White where the picture stays sharp. The map is strongest at the centre; half of its "
        "energy lies on 24% of the area."
    )

    driver.number("Probability").fill("0")
    driver.button("Show what training sees").click()
    expect(driver.page.locator("#gc-augment-status")).to_contain_text("No picture was drawn")
    expect(first).to_contain_text("Egyptian cat · left as it is")
    expect(first.locator("figure").nth(1)).to_have_text("No mask: all stays sharp")

    driver.number("Probability").fill("1")
    driver.page.get_by_role("radio", name="what Group-CAM finds salient").check()
    driver.number("Groups").fill("4")
    driver.button("Show what training sees").click()
    expect(driver.page.locator("#gc-augment-status")).to_contain_text("Changed: 4 of 4")
    assert first.locator("img").nth(1).get_attribute("src") != sources[1]
