"""The page's callbacks as Gradio calls them, with a tiny network and no server."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from groupcam.errors import WeightsUnavailableError
from groupcam.models import Backbone, Preprocessing, WeightsInfo
from groupcam.models.pool import BackboneKey
from groupcam.saliency import PRESETS
from groupcam.ui import workbench as workbench_module
from groupcam.ui.components import EXAMPLES
from groupcam.ui.page import Page
from groupcam.ui.workbench import Workbench

SHOWN = BackboneKey("test/network")
VISITOR: Any = SimpleNamespace(session_hash="visitor")
CONTROLS = ("test/network", "default", "", "", "")  # backbone, weights, size, layer, class
Play = Callable[..., dict[Any, Any]]


@pytest.fixture
def page(workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A built page for which the test's folder is the one of uploads.

    The fixture `workbench` has put the tiny network in its place.
    """
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = Page(workbench)
    demo = page.build()
    yield page
    demo.close()


@pytest.fixture
def play(page: Page) -> Play:
    """Takes a picture and runs it; returns the last value of everything that changed."""

    def played(path: Path, **settings: Any) -> dict[Any, Any]:
        taken = page.take_picture(VISITOR, {"path": str(path)}, None, None, *CONTROLS)
        picture_id = taken.get(page.ui.picture_id)
        values = {"groups": 4, **settings}
        named = {"view": page.ui.settings.view, "is_denoised": page.ui.settings.is_denoised}
        named.update(page.ui.settings.by_field)
        raw = [values.get(name, control.value) for name, control in named.items()]
        layer, class_name = settings.get("layer", ""), settings.get("class_name", "")
        weights, size = settings.get("weights", "default"), settings.get("input_size", "")
        choice = ["test/network", weights, size, layer, class_name]
        token = page.runs.settle(VISITOR, picture_id, *choice, *raw)
        shown = dict(taken)
        steps = page.runs.run(
            VISITOR, token, picture_id, SHOWN, SHOWN.name, "inferno", *choice, *raw
        )
        for updates in steps:
            if updates != gr.skip():
                shown.update(updates)
        return shown

    return played


def save(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pictures_of_every_kind_are_explained(
    page: Page, play: Play, picture_path: Path, tmp_path: Path, mode: str
) -> None:
    with Image.open(picture_path) as image:
        path = save(image.convert(mode), tmp_path / f"{mode}.png")

    shown = play(path)

    assert "gc-done" in shown[page.ui.status]
    assert shown[page.ui.viewer]["heat"]
    assert len(shown[page.ui.masks]["tiles"]) == 4
    assert "auc" in shown[page.ui.curves]["insertion"]
    assert shown[page.ui.perturbed]["run"] == shown[page.ui.curves]["run"]
    assert sum(shown[page.ui.top].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_picture(page: Page, path: Path, tmp_path: Path) -> None:
    uploaded = shutil.copy(path, tmp_path)

    taken = page.take_picture(VISITOR, {"path": str(uploaded)}, None, None, *CONTROLS)

    assert taken[page.ui.picture_id]


def test_there_are_examples() -> None:
    assert {"cat", "espresso", "cat_and_espresso"} <= {path.stem for path in EXAMPLES}


def test_without_a_picture_nothing_is_run(page: Page) -> None:
    token = page.runs.settle(VISITOR, None, "test/network")

    steps = list(page.runs.run(VISITOR, None, None, None, "", "inferno", *CONTROLS))

    assert token == gr.skip()
    assert steps == [gr.skip()]


def test_a_bad_picture_leaves_the_last_one(page: Page, picture_path: Path, tmp_path: Path) -> None:
    good = page.take_picture(VISITOR, {"path": str(picture_path)}, None, None, *CONTROLS)
    (tmp_path / "notes.png").write_text("no picture")

    taken = page.take_picture(
        VISITOR,
        {"path": str(tmp_path / "notes.png")},
        good[page.ui.picture_id],
        str(picture_path),
        *CONTROLS,
    )

    assert taken[page.ui.picture] == str(picture_path)
    assert 'role="alert"' in taken[page.ui.status]
    assert page.ui.picture_id not in taken
    assert page.ui.viewer not in taken


def test_the_same_choice_runs_once(page: Page, picture_path: Path) -> None:
    taken = page.take_picture(VISITOR, {"path": str(picture_path)}, None, None, *CONTROLS)

    first = page.runs.settle(VISITOR, taken[page.ui.picture_id], "test/network", 4)
    second = page.runs.settle(VISITOR, taken[page.ui.picture_id], "test/network", 4)

    assert isinstance(first, int)
    assert second == gr.skip()


def test_a_picture_told_of_twice_at_once_is_looked_at_once(page: Page, picture_path: Path) -> None:
    """The browser sends both before it has an answer: the second must not undo the first."""
    told = (VISITOR, {"path": str(picture_path)}, None, None, *CONTROLS)

    first, second = page.take_picture(*told), page.take_picture(*told)

    assert isinstance(first[page.ui.token], int)
    assert second == {page.ui.picture_path: str(picture_path)}


def test_a_run_ends_when_a_newer_choice_is_made(page: Page, picture_path: Path) -> None:
    picture_id = page.take_picture(VISITOR, {"path": str(picture_path)}, None, None, *CONTROLS)[
        page.ui.picture_id
    ]
    values = [control.value for control in page.ui.settings.all]
    values[page.ui.settings.all.index(page.ui.settings.groups)] = 4
    choice: list[Any] = list(CONTROLS)
    token = page.runs.settle(VISITOR, picture_id, *choice, *values)
    steps = page.runs.run(VISITOR, token, picture_id, None, "", "inferno", *choice, *values)
    for updates in steps:
        if isinstance(updates, dict) and page.ui.viewer in updates:
            break

    page.runs.settle(VISITOR, picture_id, *CONTROLS[:3], "features.0", "", *values)

    assert list(steps) == [gr.skip()]


def test_a_run_leaves_the_group_count_to_the_visitor(
    page: Page, play: Play, picture_path: Path
) -> None:
    """The visitor may have moved on while it ran: only a count that is too large is changed."""
    slider = play(picture_path, layer="features.3", groups=4)[page.ui.settings.groups]

    assert gr.update(**slider.constructor_args) == gr.update(maximum=12)


def test_random_weights_are_told_on_the_result(
    page: Page, play: Play, picture_path: Path, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, weights: str | None = None, **_: object) -> Backbone:
        assert weights is None
        return dataclasses.replace(tiny_cnn, name=name, weights=WeightsInfo("random"))

    monkeypatch.setattr(workbench_module, "load_backbone", load)
    shown = play(picture_path, weights="random")

    assert "(random weights)" in shown[page.ui.viewer]["caption"]
    assert "this is no explanation" in shown[page.ui.status]


def test_another_input_size_is_asked_of_the_loader_and_told(
    page: Page, play: Play, picture_path: Path, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def load(name: str, *, input_size: int | None = None, **_: object) -> Backbone:
        asked.append(input_size)
        return dataclasses.replace(tiny_cnn, preprocessing=Preprocessing((48, 48)))

    monkeypatch.setattr(workbench_module, "load_backbone", load)
    shown = play(picture_path, input_size="48")

    assert asked == [48]
    assert "at 48 px" in shown[page.ui.viewer]["caption"]
    sizes = shown[page.ui.input_size]
    assert sizes.value == "48"
    assert sizes.choices == [("32 px, the weights' own", ""), ("48 px · 24 × 24 cells", "48")]


def test_a_backbone_that_cannot_load_still_offers_its_weights(
    page: Page, picture_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that others of its weights, or random ones, can be tried."""
    taken = page.take_picture(VISITOR, {"path": str(picture_path)}, None, None, *CONTROLS)

    def fail(key: BackboneKey, progress: object = None) -> Backbone:
        raise WeightsUnavailableError("No hub today.")

    monkeypatch.setattr(page.workbench._pool, "_load", fail)
    values = [control.value for control in page.ui.settings.all]
    choice = ("test/other", *CONTROLS[1:], *values)
    token = page.runs.settle(VISITOR, taken[page.ui.picture_id], *choice)
    shown: dict[Any, Any] = {}
    for updates in page.runs.run(
        VISITOR, token, taken[page.ui.picture_id], SHOWN, SHOWN.name, "inferno", *choice
    ):
        shown.update(updates)

    assert "No hub today." in shown[page.ui.status]
    assert shown[page.ui.weights_of] == "test/other"
    assert [value for _, value in shown[page.ui.weights].choices] == ["default", "second", "random"]
    assert page.ui.shown_backbone not in shown


def test_too_many_groups_are_brought_within_the_channels(
    page: Page, play: Play, picture_path: Path
) -> None:
    shown = play(picture_path, layer="features.3", groups=99)

    slider = shown[page.ui.settings.groups]
    assert (slider.value, slider.maximum) == (12, 12)
    assert "12 groups" in shown[page.ui.viewer]["caption"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"blur_kernel_px": 50}, "blur_kernel_px must be odd"),
        ({"groups": "abc"}, "groups must be a whole number"),
        ({"view": "sideways"}, "view must be one of"),
        ({"layer": "features.33"}, "features.33"),
    ],
    ids=str,
)
def test_a_bad_setting_gives_a_sentence(
    page: Page, play: Play, picture_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    shown = play(picture_path, **settings)

    assert 'role="alert"' in shown[page.ui.status]
    assert sentence in shown[page.ui.status]


def test_everybodys_map_comes_before_the_curves(
    page: Page, picture_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.runs.turns.others_wait = lambda: True
    monkeypatch.setattr(page.runs.turns, "_turn_s", 60)
    taken = page.take_picture(VISITOR, {"path": str(picture_path)}, None, None, *CONTROLS)
    values = [control.value for control in page.ui.settings.all]
    values[page.ui.settings.all.index(page.ui.settings.groups)] = 4
    given = (taken[page.ui.token], taken[page.ui.picture_id], SHOWN, SHOWN.name, "inferno")
    turns: list[dict[Any, Any]] = []
    for _ in range(2):
        turns.append({})
        for updates in page.runs.run(VISITOR, *given, *CONTROLS, *values):
            turns[-1].update(updates)

    first, second = turns
    assert first[page.ui.viewer]["words"]
    assert not first[page.ui.curves]["complete"]
    assert "Map done" in first[page.ui.status]
    assert page.runs.turns.again in first
    assert second[page.ui.curves]["complete"]
    assert "gc-done" in second[page.ui.status]
    assert page.ui.viewer not in second


def test_an_accident_is_logged_and_told_in_plain_words(
    page: Page,
    play: Play,
    picture_path: Path,
    tiny_cnn: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(page.workbench, "run_steps", explode)

    shown = play(picture_path)

    assert "Something went wrong" in shown[page.ui.status]
    assert "secret" not in shown[page.ui.status]
    assert "secret details" in caplog.text


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_a_button(page: Page, preset: str) -> None:
    assert preset in page.ui.settings.presets


@pytest.mark.parametrize("group", [-1, 4, "0", None, 1.5])
def test_a_group_that_is_not_there_is_refused(
    page: Page, play: Play, picture_path: Path, group: Any
) -> None:
    choice = play(picture_path)[page.ui.choice]
    event: Any = SimpleNamespace(_data={"group": group})

    with pytest.raises(gr.Error, match="must be one of the 4"):
        page.views.show_group(choice, "inferno", event)


def test_without_a_result_views_change_nothing(page: Page) -> None:
    assert page.views.recolor(None, "inferno") == gr.skip()
