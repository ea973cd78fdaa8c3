"""The page as it opens: a first visit, and links that bring a result back."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.driver import CAT, Driver

pytestmark = pytest.mark.browser


def query_of(driver: Driver) -> dict[str, list[str]]:
    return parse_qs(urlsplit(driver.page.url).query)


def test_a_first_visit_shows_a_result_without_a_click(open_page: OpenPage) -> None:
    driver = open_page(link="")

    driver.expect_caption("Egyptian cat", "blocks.6", "32 groups")
    expect(driver.heat).to_be_visible()
    expect(driver.tiles).to_have_count(32)
    driver.expect_done()
    expect(driver.page.locator("#gc-picture img")).to_be_visible()
    assert query_of(driver) == {"example": ["cat"]}


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 720)])
def test_the_first_map_is_on_the_first_screen(open_page: OpenPage, width: int, height: int) -> None:
    driver = open_page(link="", viewport={"width": width, "height": height})

    driver.expect_caption("Egyptian cat")

    expect(driver.page.locator("#gc-viewer .gc-stage")).to_be_in_viewport(ratio=1)


def test_a_picture_chosen_after_a_first_visit_replaces_the_example(open_page: OpenPage) -> None:
    driver = open_page(link="")
    driver.expect_done()

    driver.example("rocket").click()

    driver.expect_caption("missile")
    driver.expect_done()


def test_a_link_restores_what_its_sender_saw(open_page: OpenPage) -> None:
    sender = open_page(link="")
    sender.expect_done()
    sender.number("Groups G").fill("8")
    sender.choose_layer("blocks.4", stage="14 × 14")
    sender.expect_caption("blocks.4", "· 8 groups")
    sender.search("Target class", "tiger cat")
    sender.expect_caption("tiger cat", "blocks.4", "· 8 groups")
    sender.expect_done()
    sender.page.get_by_role("tab", name="Step by step").click()
    expect(sender.page.locator(".gc-steps")).to_be_visible()
    sender.page.wait_for_url("**tab=steps**")
    shown = sender.caption.text_content()

    receiver = open_page(link=urlsplit(sender.page.url).query)

    expect(receiver.page.get_by_role("tab", name="Step by step")).to_have_attribute(
        "aria-selected", "true"
    )
    receiver.page.get_by_role("tab", name="Explain").click()
    expect(receiver.caption).to_have_text(shown or "")
    expect(receiver.number("Groups G")).to_have_value("8")
    expect(receiver.box("Target class")).to_have_value("tiger cat")
    expect(receiver.chosen_layer).to_contain_text("blocks.4")
    assert receiver.heat_source() == sender.heat_source()


def test_the_link_can_be_copied(open_page: OpenPage) -> None:
    driver = open_page(link="", permissions=["clipboard-read", "clipboard-write"])
    driver.expect_done()

    driver.button("Copy link").click()

    expect(driver.page.locator("#gc-link [role=status]")).to_have_text("Copied.")
    copied = driver.page.evaluate("navigator.clipboard.readText()")
    assert copied == driver.page.url


def test_a_link_says_that_an_own_picture_does_not_travel(driver: Driver, tmp_path: Path) -> None:
    expect(driver.button("Copy link")).to_be_disabled()  # there is nothing to link to
    own = tmp_path / "mine.png"
    with Image.open(CAT) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(own)

    driver.upload(own)
    driver.expect_done()
    driver.button("Copy link").click()

    note = driver.page.locator("#gc-link [role=status]")
    expect(note).to_contain_text("your own picture stays with you")
    assert "example" not in query_of(driver)


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("example=cat&groups=many", "'groups' must be a number"),
        ("example=cat&layer=blocks.66", "blocks.66"),
        ("example=cat&class=unicorn", "unicorn"),
        ("backbone=timm/no_such_network", "no_such_network"),
        ("example=../../../etc/passwd", "The example must be one of"),
    ],
)
def test_a_bad_link_is_told_and_leaves_a_page_that_works(
    open_page: OpenPage, link: str, message: str
) -> None:
    driver = open_page(link=link)

    expect(driver.alert).to_contain_text(message)
    driver.explain_cat()
    driver.expect_done()
