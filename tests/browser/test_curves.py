"""The curves as a visitor handles them: the marker, the animation, pinned runs, the files."""

import base64
import csv
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from groupcam.language import say
from groupcam.metrics.curves import changed_pixels
from groupcam.render.figures import DELETION_COLOR, INSERTION_COLOR
from groupcam.ui import curve_views, exports
from groupcam.ui.runs import Run
from tests.browser.conftest import App, OpenPage
from tests.browser.driver import CAT, EXAMPLES, POINTS, Driver

pytestmark = pytest.mark.browser

PRESENT_RUN = """() => new Promise(done => {
  document.addEventListener("gc-curve-point", event => done(event.detail.run), {once: true});
  document.dispatchEvent(new CustomEvent("gc-curve-ask"));
})"""
PIXELS = """canvas => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < data.length; at += 4096)
    text += String.fromCharCode(...data.subarray(at, at + 4096));
  return [canvas.width, canvas.height, btoa(text)];
}"""
COLLECT_READINGS = """() => {
  window.readings = [];
  new MutationObserver(() => window.readings.push([
    document.querySelector(".gc-side-class b").textContent,
    document.querySelector(".gc-side-from").textContent,
    document.querySelector("#gc-perturbed .gc-top-name").textContent,
  ])).observe(document.querySelector("#gc-perturbed"), {subtree: true, childList: true});
}"""
COLLECT_PLACES = """() => {
  window.places = [];
  const marker = document.querySelector(".gc-marker");
  new MutationObserver(() => window.places.push(Number(marker.getAttribute("aria-valuenow"))))
    .observe(marker, {attributeFilter: ["aria-valuenow"]});
}"""


def finished_cat(driver: Driver) -> None:
    driver.explain_cat()
    driver.expect_done()


def present_run(app: App, driver: Driver) -> Run:
    run = app.server.workbench.run_with(driver.page.evaluate(PRESENT_RUN))
    assert run is not None
    return run


def percent_of(driver: Driver) -> float:
    return float(driver.marker.get_attribute("aria-valuenow") or "nan")


def pixels_of(canvas: Locator) -> npt.NDArray[np.uint8]:
    width, height, text = canvas.evaluate(PIXELS)
    rgba = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def side(driver: Driver, name: str) -> Locator:
    return driver.page.locator(f"#gc-perturbed [data-curve={name}]")


def expect_point(app: App, driver: Driver) -> None:
    """What is shown is exactly what the server has for the marker's point."""
    run = present_run(app, driver)
    assert run.curves is not None
    pixels = changed_pixels(run.perturbed.rank.numel(), run.curves.protocol)
    place = int((run.curves.fractions - percent_of(driver) / 100).abs().argmin())
    for name, pictures, values, top in (
        ("insertion", run.perturbed.inserted, run.curves.insertion, run.curves.insertion_top),
        ("deletion", run.perturbed.deleted, run.curves.deletion, run.curves.deletion_top),
    ):
        shown = side(driver, name)
        expect(shown.locator(".gc-side-share")).to_contain_text(f"{percent_of(driver):g}%")
        np.testing.assert_array_equal(
            pixels_of(shown.locator("canvas")),
            run.preprocessing.to_rgb(pictures(pixels[place : place + 1]))[0],
        )
        assert number(shown.locator(".gc-side-class b")) == pytest.approx(
            100 * float(values[place]), abs=0.06
        )
        names = [run.network.class_names[index] for index in top.indices[place].tolist()]
        assert shown.locator(".gc-top-name").all_inner_texts() == names
        odds = [number(one) for one in shown.locator(".gc-top-value").all()]
        assert odds == pytest.approx((100 * top.probabilities[place]).tolist(), abs=0.06)


def number(text: Locator) -> float:
    return float(text.inner_text().replace("<0.1%", "0.05").rstrip("%"))


# --- the marker ----------------------------------------------------------------------------------


def test_the_marker_is_dragged_and_all_follows_without_the_server(app: App, driver: Driver) -> None:
    finished_cat(driver)
    chart = driver.page.locator(".gc-chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    requests: list[str] = []
    driver.page.on("request", lambda request: requests.append(request.url))
    mouse = driver.page.mouse

    mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"])
    mouse.down()
    expect_point(app, driver)
    middle = percent_of(driver)
    mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.9 * box["height"], steps=5)
    expect_point(app, driver)
    right = percent_of(driver)
    mouse.move(box["x"] - 50, box["y"], steps=5)
    expect_point(app, driver)
    left = percent_of(driver)
    mouse.up()
    mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"])

    assert 45 < middle < 60
    assert 75 < right < 95
    assert (left, percent_of(driver)) == (0, 0)  # let go
    assert [url for url in requests if not url.startswith("data:")] == []


def test_keys_move_the_marker_and_it_says_what_it_shows(app: App, driver: Driver) -> None:
    finished_cat(driver)
    step = 100 / (POINTS - 1)
    driver.marker.focus()
    driver.marker.press("Home")
    assert percent_of(driver) == 0
    for key, points in (
        ("ArrowRight", 1),
        ("ArrowUp", 2),
        ("PageUp", 12),
        ("ArrowLeft", 11),
        ("ArrowDown", 10),
        ("PageDown", 0),
        ("PageDown", 0),
        ("End", POINTS - 1),
    ):
        driver.marker.press(key)
        assert percent_of(driver) == pytest.approx(points * step, abs=0.06)

    expect(driver.marker).to_have_attribute(
        "aria-valuetext",
        re.compile(r"^100% of the pixels changed: insertion [\d.]+%, deletion <?[\d.]+%$"),
    )
    expect_point(app, driver)


def test_a_finger_drags_sideways_and_a_tap_sets(open_page: OpenPage) -> None:
    driver = open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    finished_cat(driver)
    chart = driver.page.locator(".gc-chart")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    touch = driver.page.context.new_cdp_session(driver.page)
    across = [box["x"] + share * box["width"] for share in (0.3, 0.4, 0.55, 0.7)]
    y = box["y"] + box["height"] / 2

    driver.page.touchscreen.tap(across[0], y)
    expect(side(driver, "insertion").locator(".gc-side-share")).not_to_contain_text("19.6%")
    tapped = percent_of(driver)
    for kind, x in zip(("touchStart", "touchMove", "touchMove", "touchMove"), across, strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    expect(driver.marker).not_to_have_attribute("aria-valuenow", f"{tapped:g}")
    assert 15 < tapped < 35
    assert percent_of(driver) > tapped + 25
    assert driver.page.evaluate("document.scrollingElement.scrollWidth") <= 391


def test_while_curves_are_drawn_the_nearest_known_is_shown(app: App, driver: Driver) -> None:
    driver.page.evaluate(COLLECT_READINGS)

    driver.upload(EXAMPLES / "raccoon.jpg")

    driver.expect_done()
    readings = driver.page.evaluate("window.readings")
    about = [one for one in readings if one[0].startswith("≈")]
    assert about
    assert all(re.search(r"Top 5 at [\d.]+%, so far", one[1]) for one in about)
    assert all(name for _, _, name in about)
    assert readings[-1][1] == "The network's top 5"
    expect_point(app, driver)


# --- the animation -------------------------------------------------------------------------------


def test_the_animation_runs_pauses_and_ends(app: App, driver: Driver) -> None:
    finished_cat(driver)
    driver.marker.press("Home")
    driver.page.evaluate(COLLECT_PLACES)

    driver.button("Play").click()
    driver.page.wait_for_function("window.places.length >= 8")
    driver.button("Pause").click()

    places = driver.page.evaluate("window.places")
    assert places == sorted(places)
    paused = percent_of(driver)
    expect_point(app, driver)
    assert percent_of(driver) == paused
    driver.marker.press("End")
    for _ in range(2):
        driver.marker.press("PageDown")
    driver.button("Play").click()
    expect(driver.marker).to_have_attribute("aria-valuenow", "100")
    expect(driver.button("Play")).to_be_visible()
    driver.button("Play").click()  # from the start again
    driver.page.wait_for_function(
        "Number(document.querySelector('.gc-marker').getAttribute('aria-valuenow')) < 50"
    )
    driver.marker.press("ArrowRight")  # a hand on the marker stops it
    expect(driver.button("Play")).to_be_visible()


def test_where_motion_is_unwelcome_it_steps(open_page: OpenPage) -> None:
    driver = open_page(reduced_motion="reduce")
    finished_cat(driver)
    driver.marker.press("Home")
    driver.page.evaluate(COLLECT_PLACES)

    driver.button("Play").click()
    driver.page.wait_for_function("window.places.length >= 2")

    first, second = driver.page.evaluate("window.places")[:2]
    step = 100 / (POINTS - 1)  # it stands at points
    assert (first, second) == (pytest.approx(10, abs=step), pytest.approx(20, abs=step))


# --- pinned runs ---------------------------------------------------------------------------------


def pin(driver: Driver) -> None:
    driver.button("Pin these curves").click()
    expect(driver.button("Pinned")).to_be_visible()


def with_groups(driver: Driver, groups: int) -> None:
    driver.number("Groups G").fill(str(groups))
    driver.expect_caption(f"· {groups} groups")
    driver.expect_done()


def test_pinned_runs_stay_on_the_axes_and_go_one_by_one(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_views, "MOST_PINNED", 2)
    lines = driver.page.locator(".gc-pinned-lines polyline")
    rows = driver.page.locator(".gc-pin-row")
    finished_cat(driver)
    pin(driver)
    expect(lines).to_have_count(0)  # the same as the present ones
    area = driver.page.locator(".gc-keys b").first.inner_text()

    with_groups(driver, 3)
    expect(lines).to_have_count(2)
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("G 3 (now)")
    expect(rows.nth(1)).to_contain_text("Egyptian cat · timm/tf_efficientnet_lite0 · blocks.6")
    expect(rows.nth(1)).to_contain_text(f"ins. {area}")
    expect(rows.nth(1).locator("b")).to_have_text("G 32")
    pin(driver)
    with_groups(driver, 2)
    expect(lines).to_have_count(4)
    strokes = {
        (line.get_attribute("stroke"), line.get_attribute("stroke-dasharray"))
        for line in lines.all()
    }
    assert {color for color, _ in strokes} == {INSERTION_COLOR, DELETION_COLOR}
    assert len({dash for _, dash in strokes}) == 2
    driver.button("Pin these curves").click(force=True)  # it is greyed, and says why
    expect(driver.page.locator(".gc-pin-note")).to_contain_text("2 runs can be pinned at most")

    driver.button("Remove pin: Egyptian cat, timm/tf_efficientnet_lite0, blocks.6, G 32").click()
    expect(lines).to_have_count(2)
    expect(rows).to_have_count(2)
    driver.button("Clear pins").click()
    expect(lines).to_have_count(0)
    expect(rows.first).to_be_hidden()


# --- files ---------------------------------------------------------------------------------------


def downloaded(driver: Driver, button: str, folder: Path) -> Path:
    with driver.page.expect_download() as download:
        driver.button(button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_every_file_comes_at_one_click(
    app: App, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "DEFAULT_FRAMES", 5)
    finished_cat(driver)
    run = present_run(app, driver)

    files = {
        export.ending: downloaded(driver, say(f"downloads.{kind}_file"), tmp_path)
        for kind, export in exports.EXPORTS.items()
    }

    for ending, path in files.items():
        assert path.name == f"groupcam-egyptian-cat-tf_efficientnet_lite0-blocks.6-{ending}"
    expect(driver.page.locator("#gc-download-status")).to_contain_text("all.zip")
    with Image.open(files["overlay.png"]) as overlay, Image.open(CAT) as picture:
        assert overlay.size == picture.size
    saved_map = np.load(files["map.npy"])
    np.testing.assert_array_equal(saved_map, run.explanation.saliency_map.numpy())
    rows = list(csv.DictReader(io.StringIO(files["curves.csv"].read_text(encoding="utf-8"))))
    assert len(rows) == POINTS
    with Image.open(files["curves.png"]) as figure:
        assert figure.width > 500
    assert "probability of Egyptian cat" in files["curves.svg"].read_text(encoding="utf-8")
    for ending in ("film.mp4", "film.gif"):
        assert frames_of(files[ending]) >= 5
    with zipfile.ZipFile(files["all.zip"]) as archive:
        assert archive.testzip() is None
        assert {"manifest.json", "report.html", "curves.svg", "masks.png"} <= set(
            archive.namelist()
        )


def frames_of(film: Path) -> int:
    """Count the frames; each must show something."""
    capture = cv2.VideoCapture(str(film))
    count = 0
    while True:
        is_there, frame = capture.read()
        if not is_there:
            capture.release()
            return count
        assert np.ptp(frame) > 100
        count += 1


def test_pinned_runs_go_into_the_table_while_the_server_has_them(
    app: App, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished_cat(driver)
    pin(driver)
    with_groups(driver, 3)
    said = driver.page.locator("#gc-download-status")

    path = downloaded(driver, "Curves (CSV)", tmp_path)

    assert path.name.endswith("-2-runs-curves.csv")
    table = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert [row["run"].rpartition(" · ")[2] for row in table] == ["G 3"] * POINTS + [
        "G 32"
    ] * POINTS
    expect(said).to_contain_text("this run and 1 pinned one")
    gone: Any = lambda run_id: None  # noqa: E731  # as after many other runs
    monkeypatch.setattr(app.server.workbench, "run_with", gone)
    assert downloaded(driver, "Curves (SVG)", tmp_path).name.endswith("blocks.6-curves.svg")
    expect(said).to_contain_text("1 pinned run is no longer on the server")


def test_a_file_before_any_result_is_explained_away(driver: Driver) -> None:
    driver.button("Map (NPY)").click()

    expect(driver.page.get_by_test_id("toast-body")).to_contain_text(
        "There must be a result first."
    )
    expect(driver.page.locator("#gc-download-status")).to_contain_text(
        "There must be a result first."
    )
