"""`python -m groupcam finetune` from the words typed to the files written."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import groupcam
from groupcam.__main__ import build_parser, main
from groupcam.cli.finetune import settings_of
from groupcam.finetune.settings import FinetuneSettings
from groupcam.saliency import GroupCamConfig
from tests.finetune.conftest import Undisturbed
from tests.finetune.support import SMALL, curve, opened

# For every setting the words that change it, and the value that they give.
CHANGES: dict[str, tuple[list[str], Any]] = {
    "backbone": (["--backbone", "timm/a"], "timm/a"),
    "weights": (["--weights", "none"], None),
    "input_size": (["--input-size", "96"], 96),
    "trained": (["--trained", "layer3", "layer4"], ("layer3", "layer4")),
    "augment": (["--augment", "centre"], "centre"),
    "probability": (["--probability", "0.25"], 0.25),
    "edge": (["--edge", "soft"], "soft"),
    "target_layer": (["--target-layer", "layer3"], "layer3"),
    "group_cam": (["--groups", "8", "--percentile", "none"], GroupCamConfig(8, percentile=None)),
    "length": (["--epochs", "3"], 3),
    "unit": (["--forwards", "10"], "forwards"),
    "batch_size": (["--batch-size", "8"], 8),
    "optimizer": (["--optimizer", "adamw"], "adamw"),
    "learning_rate": (["--learning-rate", "0.5"], 0.5),
    "momentum": (["--momentum", "0.5"], 0.5),
    "weight_decay": (["--weight-decay", "0.5"], 0.5),
    "schedule": (["--schedule", "step"], "step"),
    "warmup": (["--warmup", "0.5"], 0.5),
    "label_smoothing": (["--label-smoothing", "0.5"], 0.5),
    "smallest_crop": (["--smallest-crop", "0.5"], 0.5),
    "ema_decay": (["--ema-decay", "0.5"], 0.5),
    "amp": (["--amp", "float16"], "float16"),
    "held_out": (["--held-out", "0.5"], 0.5),
    "split": (["--split", "3"], 3),
    "kinds": (["--kinds"], True),
    "evaluations": (["--evaluations", "3"], 3),
    "seed": (["--seed", "3"], 3),
    "device": (["--device", "cuda:1"], "cuda:1"),
}


def parsed(*options: str) -> argparse.Namespace:
    return build_parser("finetune").parse_args(["finetune", "in", "--out", "out", *options])


def test_without_options_the_defaults_of_the_api_hold() -> None:
    assert settings_of(parsed()) == FinetuneSettings()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(FinetuneSettings)])
def test_every_setting_can_be_given(name: str) -> None:
    options, value = CHANGES[name]

    found = settings_of(parsed(*options))

    expected = {name: value}
    if name == "unit":
        expected["length"] = 10
    assert found == dataclasses.replace(FinetuneSettings(), **expected)


def test_the_command_trains_as_the_api_does_and_draws_the_course(
    folder: Path, tmp_path: Path, undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        *("--backbone", SMALL.backbone, "--weights", "none", "--input-size", "64"),
        *("--groups", "4", "--epochs", "2", "--batch-size", "6", "--evaluations", "2"),
        *("--held-out", "0.25"),
    ]
    out = tmp_path / "new" / "run"

    assert main(["finetune", str(folder), "--out", str(out), *options]) == 0

    printed = capsys.readouterr().out
    assert printed.count("validation") == 3
    assert " left" in printed
    written = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert written == {"metrics.jsonl", "metrics.png", "last.pt", "weights.safetensors"}
    with Image.open(out / "metrics.png") as plot:
        assert plot.width > 2 * plot.height
    lines = (out / "metrics.jsonl").read_text("utf-8").splitlines()
    assert lines[0] == (undisturbed.out / "metrics.jsonl").read_text("utf-8").splitlines()[0]
    backbone = groupcam.load_backbone(SMALL.backbone, out / "weights.safetensors")
    assert len(backbone.class_names) == len(opened(folder).classes)
    assert curve(undisturbed.trained)[-1]["steps"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "2", "--pictures", "3"], "not allowed with"),
        (["--augment", "mixup"], "invalid choice"),
        (["--groups", "0"], "groups must be at least 1"),
        ([], "there is none at"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["finetune", str(tmp_path / "none"), "--out", str(tmp_path / "out"), *options])

    errors = capsys.readouterr().err
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
