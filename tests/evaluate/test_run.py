"""An evaluation that is stopped, killed and shared gives the table of one that was left alone."""

import dataclasses
import json
import signal
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import groupcam
from groupcam.errors import GroupCamError
from groupcam.evaluate import run
from groupcam.evaluate.data_sets import DataSet, open_data_set
from groupcam.evaluate.journal import Journal
from groupcam.evaluate.run import evaluate_steps
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.evaluate.summary import summarise
from groupcam.evaluate.workers import Workers
from groupcam.metrics import CurveProtocol
from groupcam.saliency import GroupCamConfig
from tests.evaluate.support import (
    TINY,
    evaluate,
    plain_folder,
    start_process,
    table,
    tiny_backbone,
    worker_environments,
    write_picture,
)

pytestmark = pytest.mark.usefixtures("tiny_everywhere")


class Unconnected(Workers):
    """A worker that comes when the others have gone."""

    def agree_on(self, finished: Collection[Any]) -> set[Any]:
        return set(finished)


@dataclass(frozen=True)
class Undisturbed:
    table: str
    content: bytes  # of the file


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run over the same pictures that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_backbone", tiny_backbone)
        results = evaluate(plain_folder(folder / "pictures"), folder / "out.jsonl")
    return Undisturbed(table(results), (folder / "out.jsonl").read_bytes())


def names_in(path: Path) -> list[str]:
    """Return the picture of every entry of a journal."""
    return [json.loads(line)["picture"] for line in path.read_text("utf-8").splitlines()[1:]]


# --- the numbers -------------------------------------------------------------------------------


def test_numbers_are_those_of_the_api(pictures: DataSet, tmp_path: Path) -> None:
    results = evaluate(pictures, tmp_path / "out.jsonl")

    backbone = tiny_backbone()
    path = pictures.samples[0].path
    explained = groupcam.explain(backbone, path, GroupCamConfig(groups=2), "features.3")
    curves = groupcam.insertion_deletion(
        backbone,
        path,
        explained.saliency_map,
        explained.class_index,
        protocol=CurveProtocol.with_steps(2, (32, 32)),
    )
    entry = results.entries[0]
    values = entry["methods"]["group_cam:groups=2"]["values"]
    assert entry["class_index"] == explained.class_index
    assert entry["probability"] == pytest.approx(explained.probability, abs=1e-6)
    assert values["insertion"] == pytest.approx(curves.insertion_auc, abs=1e-6)
    assert values["over_all"] == pytest.approx(curves.over_all, abs=1e-6)


def test_random_control_draws_from_the_name_of_the_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / "pictures" / name, seed=1)
    data = open_data_set(tmp_path / "pictures")
    backwards = DataSet(data.kind, data.samples[::-1])

    first, second = evaluate(data, tmp_path / "out.jsonl").entries
    _, again = evaluate(backwards, tmp_path / "backwards.jsonl").entries

    assert first["methods"]["grad_cam"] == second["methods"]["grad_cam"]
    assert first["methods"]["random"] != second["methods"]["random"]
    assert first["methods"]["random"] == again["methods"]["random"]


def test_damaged_picture_is_a_counted_row_and_others_go_on(
    pictures: DataSet, tmp_path: Path
) -> None:
    summary = summarise(evaluate(pictures, tmp_path / "out.jsonl"))

    assert [(row.pictures, row.failed) for row in summary.rows] == [(5, 1)] * 3
    assert [(one.picture, one.method) for one in summary.failures] == [("1.png", None)]
    assert "none of these, or is damaged" in summary.failures[0].reason


def test_method_that_fails_does_not_take_the_others_with_it(
    pictures: DataSet, tmp_path: Path
) -> None:
    settings = dataclasses.replace(TINY, methods=("grad_cam", "group_cam:groups=500"))

    summary = summarise(evaluate(pictures, tmp_path / "out.jsonl", settings))

    assert [(row.method, row.pictures, row.failed) for row in summary.rows] == [
        ("grad_cam", 5, 1),
        ("group_cam:groups=500", 0, 6),
    ]
    assert "500" in summary.failures[0].reason


# --- stopped and killed ------------------------------------------------------------------------


def test_resumed_run_does_nothing_twice(
    pictures: DataSet, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    steps = evaluate_steps(pictures, TINY, tmp_path / "out.jsonl")
    for _ in range(4):  # of which the first comes before any picture
        next(steps)
    steps.close()

    resumed = evaluate_steps(pictures, TINY, tmp_path / "out.jsonl")
    first = next(resumed)
    resumed.close()

    assert (first.total, first.finished_before) == (3, 3)
    assert table(evaluate(pictures, tmp_path / "out.jsonl")) == undisturbed.table
    assert Counter(names_in(tmp_path / "out.jsonl")) == Counter(f"{n}.png" for n in range(6))


@pytest.mark.parametrize("kept", [0.001, 0.3, 0.6, 0.99], ids=lambda kept: f"{kept:.1%}")
def test_file_cut_off_anywhere_is_completed(
    kept: float, pictures: DataSet, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    out = tmp_path / "out.jsonl"
    out.write_bytes(undisturbed.content[: round(kept * len(undisturbed.content))])

    assert table(evaluate(pictures, out)) == undisturbed.table
    assert sorted(names_in(out)) == [f"{number}.png" for number in range(6)]


def test_killed_process_is_resumed_to_the_same_table(
    pictures: DataSet, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder, out = pictures.samples[0].path.parent, tmp_path / "out.jsonl"

    process = start_process(folder, out, die_at=3)
    process.join()

    assert process.exitcode == -signal.SIGKILL
    assert names_in(out) == ["0.png", "1.png", "2.png"]
    assert table(evaluate(pictures, out)) == undisturbed.table
    assert names_in(out) == [f"{number}.png" for number in range(6)]


def test_two_workers_of_which_one_is_killed_give_the_same_table(
    pictures: DataSet, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    folder, out = pictures.samples[0].path.parent, tmp_path / "out.jsonl"

    first, second = (
        start_process(folder, out, worker=environment, die_at=die_at)
        for environment, die_at in zip(worker_environments(2), (None, 1), strict=True)
    )
    first.join()
    second.join()

    assert second.exitcode == -signal.SIGKILL
    assert first.exitcode == 1  # a worker is missing
    assert names_in(tmp_path / "out.rank0.jsonl") == ["0.png", "2.png", "4.png"]
    assert names_in(tmp_path / "out.rank1.jsonl") == ["1.png"]

    again = [
        start_process(folder, out, worker=environment) for environment in worker_environments(2)
    ]
    for process in again:
        process.join()

    assert [process.exitcode for process in again] == [0, 0]
    assert names_in(out) == [f"{number}.png" for number in range(6)]
    assert not list(tmp_path.glob("out.rank*.jsonl"))
    assert table(evaluate(pictures, out)) == undisturbed.table  # which has nothing left to do


def test_one_process_goes_on_where_workers_ended(
    pictures: DataSet, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    for rank in range(3):
        steps = evaluate_steps(pictures, TINY, tmp_path / "out.jsonl", Unconnected(rank, 3))
        next(steps)
        next(steps)  # one picture
        steps.close()

    steps = evaluate_steps(pictures, TINY, tmp_path / "out.jsonl")

    assert next(steps).finished_before == 3
    steps.close()
    assert table(evaluate(pictures, tmp_path / "out.jsonl")) == undisturbed.table


def test_failed_pictures_are_tried_again_only_when_asked(pictures: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    evaluate(pictures, out)
    write_picture(pictures.samples[1].path, seed=1)

    kept = summarise(evaluate(pictures, out))
    retried = summarise(evaluate(pictures, out, retry_failed=True))
    kept_after = summarise(evaluate(pictures, out))

    assert kept.rows[0].failed == 1
    assert (retried.rows[0].failed, retried.rows[0].pictures) == (0, 6)
    assert kept_after == retried


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 3}, "settings.steps"),
        ({"methods": ("grad_cam",)}, "methods.random, settings.methods"),
        ({"limit": 3}, "data.names_sha256, data.pictures, settings.limit"),
    ],
    ids=["steps", "methods", "pictures"],
)
def test_results_of_other_settings_are_refused(
    changes: dict[str, Any], named: str, pictures: DataSet, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    evaluate(pictures, out)
    before = out.read_bytes()

    with pytest.raises(GroupCamError, match="same settings") as caught:
        evaluate(pictures, out, dataclasses.replace(TINY, **changes))

    assert named in str(caught.value)
    assert out.read_bytes() == before


def test_file_that_another_process_writes_is_refused(pictures: DataSet, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"

    with Journal(out, {}), pytest.raises(GroupCamError, match="Only one process"):
        Journal(out, {})


def test_boxes_and_labels_must_be_there(pictures: DataSet, tmp_path: Path) -> None:
    boxes = dataclasses.replace(TINY, metrics=("pointing_game",))
    labels = EvaluateSettings(explained="label")

    for settings, needed in ((boxes, "boxes"), (labels, "labels")):
        with pytest.raises(GroupCamError, match=f"folder with {needed}"):
            evaluate(pictures, tmp_path / "out.jsonl", settings)
    assert not (tmp_path / "out.jsonl").exists()
