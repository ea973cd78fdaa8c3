"""A training that is killed, shared or cut short is the training that was left alone."""

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import groupcam
from groupcam.errors import GroupCamError
from groupcam.evaluate.workers import Workers
from groupcam.finetune import run
from groupcam.finetune.run import METRICS_FILE, WEIGHTS_FILE, finetune_steps
from groupcam.finetune.settings import FinetuneSettings
from groupcam.steps import finish
from tests.evaluate.support import worker_environments
from tests.finetune.conftest import Undisturbed
from tests.finetune.support import SMALL, curve, finetuned, opened, start_process


def weights_in(out: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = safetensors.torch.load_file(out / WEIGHTS_FILE)
    return found


def test_the_course_is_written_down(undisturbed: Undisturbed) -> None:
    first, middle, last = undisturbed.trained.entries

    assert [one["pictures"] for one in (first, middle, last)] == [0, 18, 36]
    assert first["loss"] is None
    assert last["forward_passes"] > last["pictures"]
    assert last["backward_passes"] == last["pictures"] + last["augmented"]
    assert 0 < last["augmented"] < 36
    assert 0 < last["kept"] < 1
    assert last["learning_rate"] < middle["learning_rate"] < SMALL.learning_rate
    assert last["right_pictures"].count("1") == round(6 * last["validation_accuracy"])
    lines = (undisturbed.out / METRICS_FILE).read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines[1:]] == list(undisturbed.trained.entries)


def test_killed_and_resumed_it_gives_the_same_curve_and_weights(
    folder: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    process = start_process(folder, tmp_path, die_at=5)  # of 6 steps; the checkpoint is at 3
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len((tmp_path / METRICS_FILE).read_text("utf-8").splitlines()) == 1 + 2

    trained = finetuned(folder, tmp_path)

    assert curve(trained) == curve(undisturbed.trained)
    expected = weights_in(undisturbed.out)
    for name, value in weights_in(tmp_path).items():
        assert torch.equal(value, expected[name]), name


def test_what_was_written_after_the_checkpoint_is_made_again(
    folder: Path, tmp_path: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # killed between the metrics and the checkpoint
        patch.setattr(run.Training, "save", lambda training, out: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finetuned(folder, tmp_path)

    assert curve(finetuned(folder, tmp_path)) == curve(undisturbed.trained)


def test_a_finished_training_is_not_begun_again(
    folder: Path, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "load_learner", lambda *_, **__: 1 / 0)

    assert finetuned(folder, undisturbed.out).entries == undisturbed.trained.entries


def test_results_of_other_settings_are_refused(folder: Path, undisturbed: Undisturbed) -> None:
    other = dataclasses.replace(SMALL, learning_rate=0.5)

    with pytest.raises(GroupCamError, match=r"differs in settings\.learning_rate"):
        finetuned(folder, undisturbed.out, other)


def test_two_processes_train_as_one(folder: Path, tmp_path: Path) -> None:
    # Only where pictures do not meet in running statistics: the last layer learns.
    settings = dataclasses.replace(SMALL, trained=("fc",), probability=1.0, learning_rate=0.1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    processes = [
        start_process(folder, tmp_path / "two", settings, worker=worker)
        for worker in worker_environments(2)
    ]
    one = finetuned(folder, tmp_path / "one", settings)
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0]
    two = finetuned(folder, tmp_path / "two", settings)  # finished: only read
    for mine, theirs in zip(curve(one), curve(two), strict=True):
        known = {name: value for name, value in mine.items() if isinstance(value, int | float)}
        assert known == pytest.approx({name: theirs[name] for name in known}, rel=1e-4)
    weights, expected = weights_in(tmp_path / "two"), weights_in(tmp_path / "one")
    for name, value in weights.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-5)
    assert one.entries[-1]["loss"] < one.entries[1]["loss"]


def test_probability_0_is_plain_training(folder: Path, tmp_path: Path) -> None:
    never = dataclasses.replace(SMALL, probability=0.0, length=1)

    plain = finetuned(folder, tmp_path / "plain", dataclasses.replace(never, augment="none"))
    augmented = finetuned(folder, tmp_path / "augmented", never)

    assert curve(augmented) == curve(plain)
    expected = weights_in(tmp_path / "plain")
    for name, value in weights_in(tmp_path / "augmented").items():
        assert torch.equal(value, expected[name]), name


def test_a_budget_of_forwards_counts_those_of_the_maps(folder: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, unit="forwards", length=60, evaluations=1)

    augmented = finetuned(folder, tmp_path / "augmented", settings).entries[-1]
    control = finetuned(
        folder, tmp_path / "control", dataclasses.replace(settings, augment="centre")
    ).entries[-1]

    # A step more is made only while the budget is not spent.
    assert 60 <= augmented["forward_passes"] < 60 + 6 * (1 + 2 + 4)
    assert control["forward_passes"] == control["pictures"] == 60
    assert augmented["pictures"] < 30
    assert control["augmented"] > 0


def test_the_weights_can_be_explained(folder: Path, undisturbed: Undisturbed) -> None:
    path = undisturbed.out / WEIGHTS_FILE
    backbone = groupcam.load_backbone(SMALL.backbone, path, input_size=64)
    data = opened(folder)

    right = "".join(
        str(int(groupcam.explain(backbone, one.path).class_index == one.label))
        for one in data.validation
    )

    assert right == undisturbed.trained.entries[-1]["right_pictures"]
    assert backbone.class_names == ("kind 0", "kind 1", "kind 2") == data.classes
    checkpoint = groupcam.load_backbone(SMALL.backbone, undisturbed.out / "last.pt")
    assert checkpoint.class_names == ("class 0", "class 1", "class 2")  # of which it tells nothing


def test_a_running_mean_other_optimisers_and_autocast(folder: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        SMALL, ema_decay=0.9, optimizer="adamw", learning_rate=1e-3, amp="bfloat16", length=1
    )

    trained = finetuned(folder, tmp_path, settings)

    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert all(torch.equal(state["ema"][name], one) for name, one in weights_in(tmp_path).items())
    assert not torch.equal(state["ema"]["fc.weight"], state["state_dict"]["fc.weight"])
    assert trained.entries[-1]["validation_loss"] > 0


def test_training_changes_no_state_of_the_process(folder: Path, tmp_path: Path) -> None:
    state = torch.get_rng_state()

    finetuned(folder, tmp_path, dataclasses.replace(SMALL, length=1, evaluations=1))

    assert torch.equal(torch.get_rng_state(), state)


def test_a_loss_that_explodes_ends_the_training(folder: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SMALL, augment="none", learning_rate=1000.0, warmup=0.0)

    with pytest.raises(GroupCamError, match="smaller learning_rate"):
        finetuned(folder, tmp_path, dataclasses.replace(settings, weight_decay=1000.0))


def test_a_batch_must_be_shared_evenly(folder: Path, tmp_path: Path) -> None:
    steps = finetune_steps(opened(folder), SMALL, tmp_path, Workers(0, 4))

    with pytest.raises(GroupCamError, match="multiple of the processes, 4; got 6"):
        finish(steps)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "cutmix"}, "augment must be one of none, group_cam"),
        ({"optimizer": "sdg"}, "Did you mean 'sgd'"),
        ({"length": 0}, "length must be at least 1"),
        ({"held_out": 1.0}, "held_out must be between"),
        ({"probability": 2.0}, "probability must be between 0 and 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GroupCamError, match=message):
        FinetuneSettings(**settings)
