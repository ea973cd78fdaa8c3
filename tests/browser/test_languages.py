"""The page in another language: nothing on it is left in English."""

import re

import pytest
from playwright.sync_api import Page, expect

from groupcam.language import ENGLISH, say, speaking, texts
from tests.browser.conftest import OpenPage
from tests.browser.driver import Driver

pytestmark = pytest.mark.browser

# All that can be read or is read out: text, text alternatives and names, hidden parts as well.
READABLE = """() => {
  const found = [];
  const walk = (node) => {
    if (node.nodeType === Node.TEXT_NODE) found.push(node.textContent);
    if (node.nodeType !== Node.ELEMENT_NODE || ["SCRIPT", "STYLE"].includes(node.tagName)) return;
    for (const name of ["aria-label", "alt", "title", "placeholder"]) {
      if (node.hasAttribute(name)) found.push(node.getAttribute(name));
    }
    for (const child of node.childNodes) walk(child);
  };
  walk(document.querySelector("gradio-app, .gradio-container"));
  return found.map((text) => text.replace(/\\s+/g, " ").trim()).filter(Boolean);
}"""


def english_in(page: Page) -> set[str]:
    """The English sentences of the catalogue, two words at least, that stand on the page."""
    shown: list[str] = page.evaluate(READABLE)
    found: set[str] = set()
    for part, named in texts(ENGLISH).items():
        for name, text in named.items():
            # What stands between the braces, as far as the other language has it not as well.
            pieces = [re.sub(r"<[^>]+>", "", one).strip() for one in re.split(r"\{[^}]*\}", text)]
            longest = max(pieces, key=len)
            if " " not in longest or len(longest) < 9 or longest in texts("de")[part][name]:
                continue
            found.update(f"{part}.{name}: {one}" for one in shown if longest in one)
    return found


def test_nothing_on_the_german_page_is_english(open_page: OpenPage) -> None:
    driver = open_page(link="", path="de")
    page = driver.page
    driver.expect_done()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.get_by_text("Home", exact=True)).to_be_hidden()  # Gradio's list of pages
    left = english_in(page)

    with speaking("de"):
        for tab in ("steps", "questions", "compare", "sanity", "augmentation", "lessons"):
            driver.open_tab(say(f"{tab}.title"))
            expect(page.get_by_role("tabpanel")).to_be_visible()
            driver.page.wait_for_timeout(500)
            left |= english_in(page)
        driver.open_tab(say("compare.title"))
        driver.button(say("compare.start")).first.click()
        expect(page.locator("#gc-compare-status .gc-done")).to_be_visible()
        left |= english_in(page)

    assert left == set()


def test_a_change_of_the_language_keeps_what_is_shown(open_page: OpenPage) -> None:
    driver = open_page(link="example=rocket&groups=8")
    driver.expect_done()
    english = driver.heat_source()

    driver.page.get_by_role("link", name="Deutsch").click()

    driver.page.wait_for_url("**/de?*")
    german = Driver(driver.page)
    german.expect_done()
    german.expect_caption("missile", "blocks.6")
    assert german.heat_source() == english


def test_what_is_refused_is_told_in_the_pages_language(open_page: OpenPage) -> None:
    driver = open_page(path="de", link="backbone=timm/resnet5")

    expect(driver.alert).to_contain_text("Dem Link lässt sich nicht folgen. Ein Netz muss als")
    expect(driver.alert).to_contain_text("Gemeint ist vielleicht 'timm/resnet")
    toast = driver.page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("Achtung")
    expect(toast).to_contain_text("Ein Netz muss als")
