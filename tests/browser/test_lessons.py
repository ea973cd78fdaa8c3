"""The Lessons tab: a lesson by keyboard, a wrong and a right prediction, on a phone."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.driver import Driver

pytestmark = pytest.mark.browser


def open_lessons(driver: Driver) -> None:
    driver.open_tab("Lessons")
    expect(title(driver)).to_contain_text("Lesson 1")


def title(driver: Driver) -> Locator:
    return driver.page.locator(".gc-lessons-title")


def verdict(driver: Driver) -> Locator:
    return driver.page.locator(".gc-lesson-verdict")


def predict(driver: Driver, text: str) -> None:
    """Choose an option and commit to it, by keyboard."""
    page = driver.page
    page.get_by_role("radio", name=text).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    expect(driver.button("This is my prediction")).to_be_focused()
    page.keyboard.press("Enter")


def open_answer(driver: Driver) -> None:
    driver.button("Open the answer").focus()
    driver.page.keyboard.press("Enter")


def test_a_lesson_by_keyboard_with_a_wrong_and_then_a_right_prediction(driver: Driver) -> None:
    page = driver.page
    open_lessons(driver)
    expect(driver.button("This is my prediction")).to_be_disabled()
    expect(driver.button("Open the answer")).to_be_hidden()

    predict(driver, "On the cat")
    expect(page.get_by_role("radio", name="On the cup")).to_be_disabled()
    open_answer(driver)

    expect(verdict(driver)).to_contain_text("It turns out differently.")
    expect(page.locator(".gc-lessons-progress")).to_have_text("1 of 5 done")
    expect(page.locator(".gc-lesson-missing")).to_contain_text("Show me espresso")
    driver.button("Show me espresso").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".gc-lesson-results figure")).to_have_count(1)  # when the run is done
    expect(page.locator(".gc-lesson-words")).to_contain_text(re.compile(r"\d\d% of the brightness"))
    expect(driver.box("Target class")).to_have_value("espresso")

    driver.button("Do this lesson again").focus()
    page.keyboard.press("Enter")
    expect(verdict(driver)).to_be_empty()
    predict(driver, "On the cup")
    open_answer(driver)
    expect(verdict(driver)).to_contain_text("Your prediction was right.")

    driver.button("Look in “Explain”").focus()
    page.keyboard.press("Enter")
    driver.expect_caption("espresso", "32 groups")
    driver.open_tab("Lessons")
    driver.button("Next lesson").focus()
    page.keyboard.press("Enter")
    expect(title(driver)).to_be_focused()
    expect(title(driver)).to_contain_text("Lesson 2")
    page.reload()
    driver.open_tab("Lessons")
    expect(title(driver)).to_contain_text("Lesson 2")  # what was done is kept in this visit
    expect(page.locator(".gc-lessons-progress")).to_have_text("1 of 5 done")


def test_the_sheet_and_its_answers_come_as_files(driver: Driver) -> None:
    open_lessons(driver)
    papers = {
        "Printable sheet": ("groupcam-lessons.html", "I think so because"),
        "Its answers": ("groupcam-lessons-answers.html", "The answers"),
    }

    for button, (name, words) in papers.items():
        with driver.page.expect_download() as waiting:
            driver.button(button).click()

        assert waiting.value.suggested_filename == name
        text = waiting.value.path().read_text(encoding="utf-8")
        assert "Where does the network look?" in text
        assert words in text


def test_a_phone_shows_every_lesson_without_scrolling_sideways(
    open_page: OpenPage,
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    driver = open_page("tab=lessons", **phone)
    page = driver.page
    expect(title(driver)).to_be_visible()

    for number in range(1, 6):
        expect(title(driver)).to_contain_text(f"Lesson {number}")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 361
        if number < 5:
            driver.button("Next lesson").tap()
