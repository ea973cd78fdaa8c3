"""The files that the Explain tab offers: their names, what is in them, what is refused."""

import csv
import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
import pytest
from PIL import Image

from groupcam.language import speaking
from groupcam.models.checkpoints import sha256_of
from groupcam.saliency import GroupCamConfig
from groupcam.share.film import DEFAULT_FRAMES, film_frames
from groupcam.ui import exports
from groupcam.ui.exports import EXPORTS, Order, file_name, plain
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice, Run

Make = Callable[..., tuple[str, bytes, str]]


@pytest.fixture
def run(choice: Choice, finish: Callable[[Choice], Run]) -> Run:
    return finish(choice)


@pytest.fixture
def make(page: Page, choice: Choice, picture_path: Path) -> Make:
    """Makes a file; returns its name, what is in it and what is said of it."""

    def made(
        kind: str,
        pinned: str = "",
        *,
        of: Choice = choice,
        picture_id: str = choice.picture_id,
        path: Path = picture_path,
    ) -> tuple[str, bytes, str]:
        file, said = page.ui.files[kind], page.ui.download_status
        for updates in page.downloads.make(kind, of, picture_id, str(path), "inferno", 0.5, pinned):
            if file in updates:
                written = Path(updates[file])
                found = written.name, written.read_bytes(), updates[said]
        assert not written.exists()  # Gradio has a copy by then
        return found

    return made


def rows_of(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode(), newline="")))


# --- what is in the files ------------------------------------------------------------------------


def test_overlay_and_map_can_be_read_back_before_the_curves(
    page: Page, make: Make, choice: Choice, explain: Callable[[Choice], Run]
) -> None:
    run = explain(choice)

    name, overlay, _ = make("overlay")
    _, saved_map, _ = make("map")

    assert re.fullmatch(r"groupcam-class-\d-network-features\.3-overlay\.png", name)
    with Image.open(io.BytesIO(overlay)) as image:
        assert image.size == (40, 30)
    np.testing.assert_array_equal(
        np.load(io.BytesIO(saved_map)), run.explanation.saliency_map.numpy()
    )


def test_the_table_names_the_run_of_every_point(make: Make, run: Run) -> None:
    assert run.curves is not None

    name, table, _ = make("table")

    rows = rows_of(table)
    assert name.endswith("-curves.csv")
    assert {row["run"] for row in rows} == {
        f"{run.explanation.class_label} · test/network · features.3 · G 4"
    }
    np.testing.assert_array_equal([float(row["insertion"]) for row in rows], run.curves.insertion)


def test_pinned_runs_go_with_the_curves(
    make: Make, run: Run, choice: Choice, finish: Callable[[Choice], Run]
) -> None:
    other = finish(choice._replace(config=GroupCamConfig(groups=3)))
    pinned = f"{other.run_id} {run.run_id}"  # the present run is no second one

    name, table, said = make("table", pinned)
    _, drawing, _ = make("drawing", pinned)
    _, chart, _ = make("chart", pinned)

    assert name.endswith("-2-runs-curves.csv")
    assert "this run and 1 pinned one." in said
    names = list(dict.fromkeys(row["run"] for row in rows_of(table)))
    assert [text.rpartition(" · ")[2] for text in names] == ["G 4", "G 3"]
    for text in names:
        assert text in drawing.decode()
    with Image.open(io.BytesIO(chart)) as image:
        assert image.format == "PNG"


def test_files_name_their_runs_in_english_whoever_asks(run: Run) -> None:
    changed = dataclasses.replace(run, choice=run.choice._replace(view="fit"))

    with speaking("de"):
        order = Order(changed, (), None, "inferno", 0.5)
        (name,) = order.runs

    assert name.endswith(" · the whole picture, with a border")


def test_pinned_runs_that_are_gone_are_left_out_and_counted(make: Make, run: Run) -> None:
    name, table, said = make("table", f"{'0' * 20} {'1' * 20}")

    assert name.endswith("features.3-curves.csv")
    assert len({row["run"] for row in rows_of(table)}) == 1
    assert "2 pinned runs are no longer on the server" in said


def test_one_run_alone_is_drawn_as_ever(make: Make, run: Run) -> None:
    assert run.curves is not None

    name, drawing, said = make("drawing")

    assert name.endswith("-curves.svg")
    assert f"AUC {run.curves.insertion_auc:.3f}, higher is better" in drawing.decode()
    assert "pinned" not in said


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_a_film_has_its_frames(
    make: Make, run: Run, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "DEFAULT_FRAMES", 5)

    name, film, _ = make(kind)

    path = tmp_path / name
    path.write_bytes(film)
    capture = cv2.VideoCapture(str(path))
    frames = 0
    while capture.read()[0]:
        frames += 1
    capture.release()
    assert name.endswith(f"-film.{kind}")
    assert 5 <= frames < DEFAULT_FRAMES


def test_a_film_tells_how_far_it_is(
    page: Page, run: Run, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "DEFAULT_FRAMES", 5)

    said = [
        updates[page.ui.download_status]
        for updates in page.downloads.make("gif", choice, None, None, "inferno", 0.5, "")
    ]

    assert "Film (GIF) begins" in said[0]
    assert "pictures: 1 of 5" in said[1]
    assert any("Writing the film" in text for text in said)
    assert "gc-done" in said[-1]


def test_a_film_that_nobody_waits_for_is_given_up(
    page: Page, run: Run, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def counted(*given: Any, **options: Any) -> Iterator[Any]:
        for frame in film_frames(*given, **options):
            drawn.append(1)
            yield frame

    monkeypatch.setattr(exports, "film_frames", counted)
    steps = page.downloads.make("gif", choice, None, None, "inferno", 0.5, "")
    next(steps)
    next(steps)

    steps.close()  # type: ignore[attr-defined]  # it is a generator

    assert len(drawn) < DEFAULT_FRAMES


def test_the_archive_holds_everything_about_the_run(
    make: Make, run: Run, picture_path: Path
) -> None:
    name, archive, _ = make("everything")

    assert name.endswith("-all.zip")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert {"overlay.png", "saliency_map.npy", "curves.csv", "report.html"} <= set(
            files.namelist()
        )
        manifest = json.loads(files.read("manifest.json"))
    assert manifest["picture"]["file"] == picture_path.name
    assert manifest["picture"]["sha256"] == sha256_of(picture_path)
    assert manifest["network"]["backbone"] == "test/network"
    assert manifest["curves"]["insertion_auc"] == run.curves.insertion_auc  # type: ignore[union-attr]


# --- what is refused -----------------------------------------------------------------------------


def test_without_a_result_there_is_no_file(make: Make, choice: Choice) -> None:
    for kind in EXPORTS:  # not parametrised: a page takes longer than all of them
        with pytest.raises(gr.Error, match="There must be a result first"):
            make(kind)


def test_incomplete_curves_are_no_file(
    make: Make, choice: Choice, explain: Callable[[Choice], Run]
) -> None:
    explain(choice)

    for kind in [kind for kind, export in EXPORTS.items() if export.needs_curves]:
        with pytest.raises(gr.Error, match="The curves must be complete"):
            make(kind)


def test_what_is_no_list_of_pinned_runs_is_refused(make: Make, run: Run) -> None:
    many = " ".join(f"{number:020x}" for number in range(6))
    for pinned in ("../../etc/passwd", many, "A" * 20, "[1, 2]"):
        with pytest.raises(gr.Error, match="at most 5 pinned runs"):
            make("table", pinned)


def test_the_archive_is_never_told_of_another_picture(
    make: Make, run: Run, tmp_path: Path, picture_path: Path
) -> None:
    with pytest.raises(gr.Error, match="must be the one on the page"):
        make("everything", picture_id="of another picture")
    with pytest.raises(gr.Error, match="must be the one on the page"):
        make("everything", path=tmp_path / "gone.png")


def test_an_accident_is_logged_and_told_in_plain_words(
    make: Make, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setitem(EXPORTS, "table", dataclasses.replace(EXPORTS["table"], write=explode))

    with pytest.raises(gr.Error, match="Something went wrong"):
        make("table")
    assert "secret details" in caplog.text


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Egyptian cat", "egyptian-cat"),
        ("crème brûlée", "creme-brulee"),
        ("../../etc/passwd", "etc-passwd"),
        ('<img src=x onerror="x">', "img-src-x-onerror-x"),
        ("blocks.6", "blocks.6"),
        ("猫", ""),
        ("a" * 99, "a" * 40),
    ],
)
def test_names_are_letters_that_every_system_takes(text: str, name: str) -> None:
    assert plain(text) == name


def test_a_hostile_class_makes_harmless_names(run: Run) -> None:
    hostile = dataclasses.replace(
        run, explanation=dataclasses.replace(run.explanation, class_label="/../\0\n猫" * 90)
    )
    order = Order(hostile, (), None, "inferno", 0.5)

    for export in EXPORTS.values():
        name = file_name(order, export)
        assert name == Path(name).name
        assert re.fullmatch(r"groupcam-[a-z0-9._-]+\.(png|npy|csv|svg|mp4|gif|zip)", name)
        assert len(name) < 160
