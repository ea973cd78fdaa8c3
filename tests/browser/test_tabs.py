"""The Compare and Sanity tabs: by mouse, touch and keyboard, on a phone, in the dark."""

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenPage
from tests.browser.driver import EXAMPLES, Driver

pytestmark = pytest.mark.browser


def keep_methods(driver: Driver, *titles: str) -> None:
    """Take all methods off the list but these, and add those that are missing, by keyboard."""
    box = driver.box("Methods")
    box.focus()
    for _ in range(4):
        box.press("Backspace")
    for title in titles:
        box.press_sequentially(title)
        option = driver.page.get_by_role("option").filter(has_text=title)
        expect(option.first).to_be_visible()
        box.press("Enter")
    box.press("Escape")


def compare(driver: Driver) -> None:
    driver.page.get_by_role("button", name="Compare", exact=True).click()


def compare_two(driver: Driver) -> None:
    """Compare the two cheapest methods that look at the class and at nothing."""
    driver.open_tab("Compare")
    keep_methods(driver, "Grad-CAM", "Centre")
    compare(driver)
    expect(cards(driver)).to_have_count(2)
    expect(driver.page.locator("#gc-compare-status")).to_contain_text("Done: 2 methods compared.")


def cards(driver: Driver) -> Locator:
    return driver.page.locator(".gc-card")


def number(card: Locator, name: str) -> Locator:
    return card.locator(f".gc-number-{name} dd")


def stage(driver: Driver) -> Locator:
    return driver.page.get_by_role("application", name="The picture: draw a box")


def randomise(driver: Driver, method: str) -> None:
    driver.open_tab("Sanity")
    driver.page.get_by_role("radio", name=method, exact=True).check()
    driver.button("Randomise").click()
    expect(driver.page.locator("#gc-sanity-status .gc-done")).to_be_visible()


# --- compare -------------------------------------------------------------------------------------


def test_cards_fill_and_curves_share_their_axes(driver: Driver) -> None:
    driver.explain_cat()

    compare_two(driver)

    for card in cards(driver).all():
        expect(card.locator(".gc-heat")).to_be_visible()
        for name in ("insertion", "deletion", "over_all"):
            expect(number(card, name)).to_have_text(re.compile(r"^-?\d\.\d{3}(best)?$"))
    for name in ("insertion", "deletion"):
        lines = driver.page.locator(f".gc-lines[data-curve={name}] .gc-line")
        expect(lines).to_have_count(2)
        assert len({line.get_attribute("stroke") for line in lines.all()}) == 2
    expect(cards(driver).locator(".gc-number-insertion.gc-best")).to_have_count(1)
    expect(driver.page.locator("#gc-forecast")).to_contain_text("Grad-CAM 1, Centre 0")
    driver.page.get_by_label("Order of the cards").select_option("insertion")
    shown = [float(number(card, "insertion").inner_text()[:5]) for card in cards(driver).all()]
    assert shown == sorted(shown, reverse=True)


def test_a_box_is_drawn_moved_by_keys_typed_and_cleared(
    driver: Driver, forwards: list[int]
) -> None:
    driver.explain_cat()
    driver.expect_done()
    compare_two(driver)
    forwards.clear()
    energy = number(cards(driver).first, "energy")
    fields = [driver.page.get_by_label(name, exact=True) for name in ("Left", "Top", "Right")]
    stage(driver).scroll_into_view_if_needed()
    area = stage(driver).bounding_box()
    assert area is not None
    mouse = driver.page.mouse

    mouse.move(area["x"] + 0.3 * area["width"], area["y"] + 0.2 * area["height"])
    mouse.down()
    mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 0.8 * area["height"], steps=4)
    mouse.up()

    expect(energy).to_have_text(re.compile(r"^\d+\.\d%"))
    expect(number(cards(driver).first, "peak")).to_have_text(re.compile("yes|no"))
    expect(driver.page.locator("#gc-pointing")).to_contain_text("The box covers")
    drawn, left = energy.inner_text(), fields[0].input_value()
    stage(driver).press("ArrowRight")
    expect(fields[0]).not_to_have_value(left)
    fields[0].fill("150")
    fields[1].fill("100")
    fields[2].fill("180")
    fields[2].press("Tab")
    expect(energy).not_to_have_text(drawn)
    driver.button("Clear the box").click()
    expect(energy).to_be_hidden()
    stage(driver).press("Enter")
    expect(energy).to_be_visible()
    assert forwards == []


def test_stop_keeps_what_is_done_and_compare_goes_on(driver: Driver) -> None:
    driver.upload(EXAMPLES / "espresso.jpg")
    driver.expect_caption("espresso")
    status = driver.page.locator("#gc-compare-status")
    driver.open_tab("Compare")
    compare(driver)
    expect(cards(driver).locator(".gc-heat:visible").first).to_be_visible()

    driver.button("Stop comparing").click()

    expect(status).to_contain_text("Stopped.")
    driver.page.wait_for_timeout(1500)  # for reports on their way
    points = driver.page.locator(".gc-line").count()
    driver.page.wait_for_timeout(1000)  # a comparison that went on would draw more
    expect(status).to_contain_text("Stopped.")
    assert driver.page.locator(".gc-line").count() == points
    compare(driver)
    expect(status).to_contain_text("Comparing methods: ")
    driver.button("Stop comparing").click()


def test_the_latest_comparison_wins_and_leaving_the_tab_loses_nothing(driver: Driver) -> None:
    driver.explain_cat()
    heat = driver.heat_source()
    driver.open_tab("Compare")
    compare(driver)
    expect(cards(driver)).to_have_count(4)

    keep_methods(driver, "Grad-CAM", "Centre")
    compare(driver)
    driver.open_tab("Explain")

    expect(driver.tiles.first).to_be_visible()
    assert driver.heat_source() == heat
    driver.open_tab("Compare")
    expect(driver.page.locator("#gc-compare-status")).to_contain_text("Done: 2 methods compared.")
    expect(cards(driver)).to_have_count(2)
    expect(driver.tiles.first).to_be_hidden()


def test_too_few_methods_and_no_picture_are_told_in_a_sentence(driver: Driver) -> None:
    status = driver.page.locator("#gc-compare-status")
    driver.open_tab("Compare")

    compare(driver)
    expect(status).to_contain_text("Choose a picture first")
    driver.open_tab("Sanity")
    driver.button("Randomise").click()
    expect(driver.page.locator("#gc-sanity-status")).to_contain_text("Choose a picture first")
    driver.explain_cat()
    driver.open_tab("Compare")
    keep_methods(driver, "Grad-CAM")
    compare(driver)

    expect(status.get_by_role("alert")).to_contain_text("2 to 6 methods to compare; got 1")


def test_the_list_of_layers_is_that_of_the_backbone(driver: Driver) -> None:
    driver.open_tab("Compare")

    driver.page.get_by_role("radio", name="Layers").check()

    box = driver.box("Layers")
    box.focus()
    box.press_sequentially("blocks.4")
    expect(driver.page.get_by_role("option", name="blocks.4").first).to_be_visible()
    expect(driver.box("Methods")).to_be_hidden()


# --- sanity --------------------------------------------------------------------------------------


def test_the_slider_goes_through_the_maps_and_the_verdict_tells_methods_apart(
    driver: Driver, forwards: list[int]
) -> None:
    driver.explain_cat()
    driver.expect_done()
    randomise(driver, "Grad-CAM")
    forwards.clear()
    heat = driver.page.locator("[data-side=random] .gc-heat")
    slider = driver.page.get_by_role("slider", name="Randomised down to this layer")
    expect(slider).to_have_value("10")
    last = heat.get_attribute("src")
    place = driver.page.locator(".gc-cascade .gc-marker").get_attribute("x1")

    slider.press("Home")

    expect(slider).to_have_attribute("aria-valuetext", "none yet")
    trained = driver.page.locator("[data-side=trained] .gc-heat").get_attribute("src")
    assert heat.get_attribute("src") == trained != last
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"classifier: Spearman -?\d"))
    assert driver.page.locator(".gc-cascade .gc-marker").get_attribute("x1") != place
    assert forwards == []
    status = driver.page.locator("#gc-sanity-status")
    expect(status).to_contain_text("Grad-CAM passes here")
    randomise(driver, "Guided backpropagation")
    expect(status).to_contain_text("Guided backpropagation does not pass here")


def test_stop_ends_a_check(driver: Driver) -> None:
    driver.explain_cat()
    driver.open_tab("Sanity")
    driver.button("Randomise").click()
    points = driver.page.locator(".gc-cascade circle")
    expect(points.nth(3)).to_be_attached()

    driver.button("Stop randomising").click()

    expect(driver.page.locator("#gc-sanity-status")).to_contain_text("Stopped.")
    driver.page.wait_for_timeout(1500)  # for reports on their way
    count = points.count()
    driver.page.wait_for_timeout(1000)
    assert points.count() == count < 22


# --- by keyboard, on a phone, in the dark --------------------------------------------------------


def test_the_keyboard_is_enough(driver: Driver) -> None:
    driver.explain_cat()
    keyboard = driver.page.keyboard

    driver.tab_to(driver.page.get_by_role("tab", name="Explain"))
    keyboard.press("Tab")
    driver.tab_to(driver.page.get_by_role("tab", name="Compare"))
    keyboard.press("Enter")
    driver.tab_to(driver.box("Methods"))
    keep_methods(driver, "Grad-CAM", "Centre")
    driver.tab_to(driver.page.get_by_role("button", name="Compare", exact=True))
    keyboard.press("Enter")
    expect(driver.page.locator("#gc-compare-status")).to_contain_text("Done: 2 methods compared.")
    driver.tab_to(stage(driver))
    keyboard.press("Enter")

    expect(number(cards(driver).first, "energy")).to_be_visible()


def test_a_phone_shows_both_tabs_without_scrolling_sideways(open_page: OpenPage) -> None:
    driver = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    driver.example("cat").tap()
    driver.expect_caption("Egyptian cat")

    compare_two(driver)
    first, second = (card.bounding_box() for card in cards(driver).all())
    assert first is not None
    assert second is not None
    assert first["x"] + first["width"] <= second["x"]
    assert driver.page.evaluate("document.scrollingElement.scrollWidth") <= 391
    randomise(driver, "Sobel edges")
    assert driver.page.evaluate("document.scrollingElement.scrollWidth") <= 391
    # Picture, results, controls: in this order down the page.
    tops = [
        driver.page.locator(name).evaluate("node => node.getBoundingClientRect().top")
        for name in ("#gc-input", "#gc-results", "#gc-controls")
    ]
    assert tops == sorted(tops)
