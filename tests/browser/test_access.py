"""Everybody can use every tab: no serious finding of axe-core (WCAG 2.1 AA), at any width.

Nor does anything jump: what shifts by itself stays below 0.05 on the scale of
https://web.dev/articles/cls, which calls 0.1 good.
"""

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.driver import Driver
from tests.browser.test_augmentation import show_augmented
from tests.browser.test_tabs import compare_two, randomise

pytestmark = pytest.mark.browser

RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
WIDTHS = (360, 768, 1280, 2560)
MOST_SHIFT = 0.05
# Gradio's own screen while it loads shifts by 0.06 to 0.11 and is not counted.
WATCH_SHIFTS = """
    window.shifts = [];
    const isOurs = ({ node }) => (node?.closest ? node : node?.parentElement)?.closest("#gc-main");
    const told = ({ node, previousRect, currentRect }) =>
      `${node?.id || node?.className || node?.nodeName}: y ${previousRect.y} to ${currentRect.y}`;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        if (!entry.hadRecentInput && entry.sources.some(isOurs)) {
          window.shifts.push([entry.value, entry.sources.map(told).join(", ")]);
        }
      }
    }).observe({ type: "layout-shift", buffered: true });
"""


def expect_little_shift(driver: Driver, since: int = 0) -> int:
    """Assert that little has jumped since so many shifts, and return how many there were."""
    shifts = driver.page.evaluate("window.shifts")
    assert sum(value for value, _ in shifts[since:]) < MOST_SHIFT, shifts[since:]
    return len(shifts)


def see_steps(driver: Driver) -> None:
    driver.open_tab("Step by step")
    expect(driver.page.locator(".gc-steps-body")).to_be_visible()


def see_lessons(driver: Driver) -> None:
    driver.open_tab("Lessons")
    driver.page.get_by_role("radio", name="On the cat").check()
    driver.button("This is my prediction").click()
    driver.button("Open the answer").click()
    expect(driver.page.locator(".gc-lesson-told")).to_be_visible()


def compare_classes(driver: Driver) -> None:
    driver.open_tab("Questions")
    driver.button("Compare the classes").click()
    expect(driver.page.locator("#gc-contrast-status .gc-done")).to_be_visible()


TABS: dict[str, Callable[[Driver], None]] = {
    "Explain": lambda driver: driver.expect_done(),
    "Step by step": see_steps,
    "Questions": compare_classes,
    "Compare": compare_two,
    "Sanity": lambda driver: randomise(driver, "Sobel edges"),
    "Augmentation": show_augmented,
    "Lessons": see_lessons,
}


def filled_tabs(driver: Driver) -> Iterator[str]:
    """Fill one tab after the other with results, and yield its name."""
    driver.explain_cat()
    driver.expect_done()
    for name, fill in TABS.items():
        fill(driver)
        yield name


@pytest.mark.timeout(400)
def test_axe_finds_nothing_serious_on_any_tab_light_or_dark(open_page: OpenPage) -> None:
    driver = open_page("__theme=light")
    driver.page.add_style_tag(content="* { transition: none !important; }")
    driver.button("Advanced").click()
    findings = []

    for tab in filled_tabs(driver):
        driver.page.mouse.move(0, 0)  # what is pointed at has other colours
        for theme in ("light", "dark"):
            driver.page.evaluate(
                "is_dark => document.body.classList.toggle('dark', is_dark)", theme == "dark"
            )
            found = Axe().run(driver.page, options=RULES).response["violations"]
            findings += [
                f"{tab}, {theme}: {violation['id']} at {node['target']}: {node['failureSummary']}"
                for violation in found
                if violation["impact"] in ("serious", "critical")
                for node in violation["nodes"]
            ]

    assert findings == []


def test_every_tab_fits_and_fills_its_window(driver: Driver) -> None:
    too_wide = []
    results: dict[int, set[int]] = {width: set() for width in WIDTHS}

    for tab in filled_tabs(driver):
        for width in WIDTHS:
            driver.page.set_viewport_size({"width": width, "height": 900})
            shown = driver.page.evaluate("document.scrollingElement.scrollWidth")
            if shown > width:
                too_wide.append(f"{tab}: {shown} px in {width} px")
            box = driver.page.locator("#gc-results").bounding_box()
            assert box is not None
            results[width].add(round(box["width"]))

    assert too_wide == []
    assert {width: len(widths) for width, widths in results.items()} == dict.fromkeys(WIDTHS, 1)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_nothing_jumps_where_scripts_come_late(
    open_page: OpenPage, width: int, height: int
) -> None:
    size = {"width": width, "height": height}

    driver = open_page(link="", script=WATCH_SHIFTS, slow_scripts_s=0.25, viewport=size)
    driver.expect_done()

    expect_little_shift(driver)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_nothing_jumps_while_results_arrive(open_page: OpenPage, width: int, height: int) -> None:
    driver = open_page(link="", script=WATCH_SHIFTS, viewport={"width": width, "height": height})
    driver.expect_done()
    first_visit = expect_little_shift(driver)

    driver.number("Groups G").fill("8")
    driver.expect_caption("· 8 groups")
    driver.expect_done()
    driver.example("rocket").click()
    driver.expect_caption("missile")
    driver.expect_done()

    expect_little_shift(driver, first_visit)
