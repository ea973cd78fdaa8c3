"""All arms with the same budgets, compared on the same pictures."""

import dataclasses
from pathlib import Path

import pytest

from groupcam.__main__ import main
from groupcam.errors import GroupCamError
from groupcam.evaluate.journal import Entry, Journal
from groupcam.finetune import experiment
from groupcam.finetune.experiment import (
    CONTROLS,
    SECTION_END,
    SECTION_START,
    Experiment,
    experiment_steps,
    experiment_table,
    load_experiment,
)
from groupcam.steps import finish
from tests.finetune.support import SMALL

ONE_EPOCH = dataclasses.replace(SMALL, length=1, evaluations=1, trained=("fc",))


@pytest.fixture(scope="module")
def results(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("experiment")
    return finish(experiment_steps(folder, ONE_EPOCH, 1, out))


def test_arms_have_equal_pictures_and_equal_forward_passes(results: Path) -> None:
    found = {(one["augment"], one["unit"]): one for one in load_experiment(results).entries}

    treated = found["group_cam", "pictures"]
    for control in CONTROLS:
        assert found[control, "pictures"]["pictures"] == treated["pictures"] == 18
        forwards = found[control, "forwards"]["forward_passes"]
        assert treated["forward_passes"] <= forwards < treated["forward_passes"] + 6
    assert len(found) == 7
    held_out = [
        [place for place, sign in enumerate(one["right_pictures"]) if sign != "-"]
        for one in found.values()
    ]
    assert all(places == held_out[0] for places in held_out)
    assert len(held_out[0]) == 6


def test_another_call_trains_the_missing_seeds_only(
    folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_experiment(results).entries
    assert finish(experiment_steps(folder, ONE_EPOCH, 1, results.parent)) == results
    assert load_experiment(results).entries == before

    monkeypatch.setattr(experiment, "finetune_steps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        finish(experiment_steps(folder, ONE_EPOCH, 2, results.parent))


def entry(seed: int, augment: str, unit: str, right: str) -> Entry:
    known = [sign == "1" for sign in right if sign != "-"]
    return {
        **{"seed": seed, "augment": augment, "unit": unit, "right_pictures": right},
        **{"validation_accuracy": sum(known) / len(known), "kept": 0.5, "cpu_s": 2.0},
        **{"pictures": 10, "augmented": 5, "forward_passes": 1234 + seed},
    }


def test_differences_are_paired_by_picture(results: Path) -> None:
    entries = (
        *(entry(0, "none", "pictures", "10-0"), entry(1, "none", "pictures", "-001")),
        *(entry(0, "group_cam", "pictures", "11-0"), entry(1, "group_cam", "pictures", "-101")),
    )

    table = experiment_table(Experiment(load_experiment(results).card, entries))

    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| same")]
    assert len(rows) == 3  # Group-CAM stands in both budgets, beside whatever control is there
    none, treated = rows[:2]
    # Pictures: 1; 0; 0; (0 + 1) / 2. With Group-CAM the second is always right.
    assert none[2].startswith("37.5 % [")
    assert treated[2].startswith("62.5 % [")
    assert treated[3].startswith("+25.0 % [+0.0, +75.0]")
    assert treated[4] == "2 of 2"
    assert treated[8] == "1,234"


def test_the_command_prints_the_table(
    folder: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        *("--experiment", "1", "--backbone", SMALL.backbone, "--weights", "none"),
        *("--input-size", "64", "--groups", "4", "--epochs", "1", "--batch-size", "6"),
        *("--evaluations", "1", "--held-out", "0.25", "--trained", "fc"),
    ]

    assert main(["finetune", str(folder), "--out", str(results.parent), *options]) == 0

    assert experiment_table(load_experiment(results)) in capsys.readouterr().out


def test_results_shows_it_again_and_writes_it_between_its_marks(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = experiment_table(load_experiment(results))
    readme = tmp_path / "README.md"
    readme.write_text(f"Before.\n\n{SECTION_START}\nold\n{SECTION_END}\n\nAfter.\n")

    assert main(["results", str(results)]) == 0
    assert main(["results", str(results), "--readme", str(readme)]) == 0

    assert capsys.readouterr().out.strip() == table
    expected = f"Before.\n\n{SECTION_START}\n\n{table}\n\n{SECTION_END}\n\nAfter.\n"
    assert readme.read_text() == expected


def test_other_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with Journal(tmp_path / "other.jsonl", {"settings": {}}):
        pass

    with pytest.raises(GroupCamError, match="finetune --experiment"):
        load_experiment(tmp_path / "other.jsonl")
    with pytest.raises(GroupCamError, match="at least one seed"):
        finish(experiment_steps(folder, ONE_EPOCH, 0, tmp_path))
