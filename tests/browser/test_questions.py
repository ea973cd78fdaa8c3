"""The Questions tab: two classes, a wrong class, ways to other tabs; on a phone."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.driver import Driver

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
LONG = "hen-of-the-woods"


def compare(driver: Driver) -> None:
    driver.button("Compare the classes").click()


def status(driver: Driver) -> Locator:
    return driver.page.locator("#gc-contrast-status")


def findings(driver: Driver) -> Locator:
    return driver.page.locator("#gc-diagnosis")


def width(driver: Driver) -> int:
    found: int = driver.page.evaluate("document.scrollingElement.scrollWidth")
    return found


def expect_compared(driver: Driver, *names: str) -> None:
    expect(status(driver).locator(".gc-done")).to_be_visible()
    captions = driver.page.locator(".gc-contrast figcaption")
    expect(captions).to_have_count(2)
    for caption, name in zip(captions.all(), names, strict=True):
        expect(caption).to_contain_text(re.compile(rf"^{name} [\dl]"))


def test_two_classes_are_compared_with_progress_and_words(driver: Driver) -> None:
    driver.explain_cat()
    driver.open_tab("Questions")
    pair = driver.page.locator("#gc-pair-of-classes")
    expect(pair).to_contain_text(re.compile(r"To be compared: Egyptian cat \(\d+\.\d%\) with "))
    driver.search("Not that one", "tabby")
    expect(pair).to_contain_text("with tabby (")

    compare(driver)

    expect(status(driver)).to_contain_text(re.compile(r"Comparing the classes: \d+ of \d+"))
    expect_compared(driver, "Egyptian cat", "tabby")
    heats = driver.page.locator(".gc-contrast .gc-heat")
    expect(heats).to_have_count(2)
    sources = {heat.get_attribute("src") for heat in heats.all()}
    assert len(sources) == 2
    alt = heats.first.get_attribute("alt") or ""
    assert alt.startswith("Map of what speaks for Egyptian cat against tabby: strong")
    words = driver.page.locator(".gc-contrast-words")
    expect(words.first).to_contain_text("For 'Egyptian cat' against 'tabby': strong")
    expect(words.first.locator("li")).to_have_count(3)
    expect(words.first.locator("li").first).to_contain_text(re.compile(r"Group \d+score 0\.\d{3}"))
    expect(driver.page.locator(".gc-contrast-verdict")).to_contain_text("of what the two have")

    driver.search("This class", "tabby")
    compare(driver)

    expect(status(driver).get_by_role("alert")).to_contain_text("The two classes must differ")
    assert {heat.get_attribute("src") for heat in heats.all()} == sources  # what was there stays


def test_stop_ends_the_comparison_and_no_picture_is_told(driver: Driver) -> None:
    driver.open_tab("Questions")
    expect(findings(driver)).to_contain_text("Choose a picture first")
    compare(driver)
    expect(status(driver)).to_contain_text("Choose a picture first")
    driver.explain_cat()
    driver.number("Groups G").fill("160")
    driver.number("Groups G").press("Tab")
    driver.expect_caption("160 groups")

    compare(driver)
    expect(status(driver)).to_contain_text("Comparing the classes: ")
    driver.button("Stop comparing them").click()

    expect(status(driver)).to_contain_text("Stopped.")
    driver.page.wait_for_timeout(500)
    expect(status(driver)).to_contain_text("Stopped.")
    expect(driver.page.locator(".gc-contrast .gc-heat")).to_have_count(0)


def test_a_wrong_class_is_told_and_left_by_one_click(driver: Driver) -> None:
    driver.explain_cat()
    driver.search("Target class", "lynx")
    driver.expect_caption("lynx")
    driver.open_tab("Questions")
    expect(findings(driver)).to_contain_text("The network does not see 'lynx' here first")
    expect(findings(driver)).to_contain_text("First is 'Egyptian cat' with")

    driver.button("Explain 'Egyptian cat' instead").click()

    expect(findings(driver)).to_contain_text("The map is not blank: strong")
    expect(findings(driver)).not_to_contain_text("does not see")
    expect(driver.button("Explain 'Egyptian cat' instead")).to_have_count(0)
    expect(driver.box("Target class")).to_have_value("Top prediction")


@pytest.mark.parametrize("settings", [{}, PHONE], ids=["desktop", "phone"])
def test_the_other_questions_lead_to_their_tabs(
    open_page: OpenPage, settings: dict[str, object]
) -> None:
    driver = open_page(**settings)
    tab = driver.page.locator("#gc-main")
    for button, name, label in (
        ("Open Sanity", "sanity", None),
        ("Compare layers", "compare", "Layers"),
        ("Compare backbones", "compare", "Backbones"),
    ):
        driver.open_tab("Questions")

        driver.button(button).click()

        expect(tab).to_have_attribute("data-tab", name)
        if label is None:
            expect(driver.button("Randomise")).to_be_visible()
        else:
            expect(driver.page.get_by_role("radio", name=label)).to_be_checked()
            expect(driver.box(label)).to_be_visible()
        # The visitor is where the tab begins.
        top = "document.querySelector('#gc-tabs').getBoundingClientRect().top"
        driver.page.wait_for_function(f"{top} > -5 && {top} < innerHeight / 2")


def test_a_phone_shows_both_maps_side_by_side_without_scrolling_sideways(
    open_page: OpenPage,
) -> None:
    driver = open_page(**PHONE)
    driver.example("cat").tap()
    driver.expect_caption("Egyptian cat")
    driver.search("Target class", LONG)
    driver.expect_caption(LONG)
    driver.open_tab("Questions")
    expect(findings(driver)).to_contain_text(f"does not see '{LONG}")
    compare(driver)
    expect_compared(driver, LONG, "Egyptian cat")

    first, second = (
        figure.bounding_box() for figure in driver.page.locator(".gc-contrast figure").all()
    )

    assert first is not None
    assert second is not None
    assert first["x"] + first["width"] <= second["x"]
    assert width(driver) <= 361
    outside = driver.page.evaluate(
        """[...document.querySelectorAll('#gc-results *')].filter((node) =>
          node.offsetParent && node.getBoundingClientRect().right > innerWidth + 1).length"""
    )
    assert outside == 0
