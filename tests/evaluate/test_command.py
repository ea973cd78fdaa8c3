"""`python -m groupcam evaluate` from the words typed to the files written."""

import argparse
import csv
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import groupcam
from groupcam.__main__ import build_parser, main
from groupcam.cli.evaluate import settings_of
from groupcam.evaluate import run
from groupcam.evaluate.data_sets import DataSet
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.metrics import CurveProtocol
from groupcam.models import Backbone
from tests.support import ROOT

TINY_OPTIONS = ["--layer", "features.3", "--steps", "2", "--no-prepare"]

# For every setting the words that change it, and the value that they give.
CHANGES: dict[str, tuple[list[str], Any]] = {
    "methods": (["--method", "rise:masks=9", "centre"], ("rise:masks=9", "centre")),
    "metrics": (["--metric", "road", "adcc"], ("road", "adcc")),
    "backbones": (["--backbone", "timm/a", "timm/b"], ("timm/a", "timm/b")),
    "layers": (["--layer", "blocks.5"], ("blocks.5",)),
    "weights": (["--weights", "none"], None),
    "explained": (["--class", "label"], "label"),
    "view": (["--view", "fit"], "fit"),
    "protocol": (["--protocol", "rise"], "rise"),
    "steps": (["--steps", "7"], 7),
    "half": (["--half", "second"], "second"),
    "limit": (["--limit", "7"], 7),
    "device": (["--device", "cuda:1"], "cuda:1"),
    "prepare": (["--no-prepare"], False),
}


def parsed(*options: str) -> argparse.Namespace:
    return build_parser("evaluate").parse_args(["evaluate", "in", "--out", "out", *options])


def folder_of(data: DataSet) -> Path:
    return data.samples[0].path.parent


def test_without_options_the_defaults_of_the_api_hold() -> None:
    assert settings_of(parsed()) == EvaluateSettings()


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(EvaluateSettings)])
def test_every_setting_can_be_given(name: str) -> None:
    options, value = CHANGES[name]

    assert settings_of(parsed(*options)) == dataclasses.replace(EvaluateSettings(), **{name: value})


@pytest.mark.usefixtures("tiny_everywhere")
def test_results_tables_plot_and_report_lie_beside_each_other(
    pictures: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "run.jsonl"
    options = ["--method", "grad_cam", "random", "--reference", "random", "--limit", "3"]

    code = main(["evaluate", str(folder_of(pictures)), "--out", str(out), *options, *TINY_OPTIONS])

    printed = capsys.readouterr().out
    assert code == 0
    assert {path.name for path in out.parent.iterdir() if not path.name.startswith(".")} == {
        "run.jsonl", "run.csv", "run.md", "run.png", "run.html",
    }  # fmt: skip
    with Image.open(out.with_suffix(".png")) as plot:
        assert plot.width > plot.height / 4
    with out.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert {line["reference"] for line in lines} == {"random"}
    assert {(line["pictures"], line["failed"]) for line in lines} == {("3", "0")}
    mean = float(lines[0]["mean"])
    for text in (printed, out.with_suffix(".md").read_text("utf-8")):
        assert f"{mean:.3f} [" in text
        assert "Compared with random" in text
        assert "3 pictures (plain folder)" in text


@pytest.mark.usefixtures("tiny_everywhere")
def test_failures_are_listed(
    pictures: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["evaluate", str(folder_of(pictures)), "--out", str(tmp_path / "out"), "--method",
         "grad_cam", *TINY_OPTIONS]
    )  # fmt: skip

    printed = capsys.readouterr().out
    assert code == 0
    assert "Failures: 1" in printed
    assert "1.png" in printed
    assert (tmp_path / "out" / "results.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "grad_kam"], "Did you mean 'grad_cam'"),
        (["--metric", "beauty"], "invalid choice: 'beauty'"),
        (["--reference", "sobel"], "reference must be one of the methods"),
        (["--limit", "0"], "limit must be at least 1"),
        (["--layer", "timm/resnet50:layer4"], "backbone in 'timm/resnet50:layer4' must be one of"),
        (["--method", "centre", "centre"], "methods must be different"),
        (["--metric", "pointing_game"], "folder with boxes"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value),
)
def test_bad_options_are_one_sentence_before_anything_runs(
    options: list[str],
    message: str,
    pictures: DataSet,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["evaluate", str(folder_of(pictures)), "--out", str(tmp_path / "out"), *options])

    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_results_may_not_lie_among_the_pictures(
    pictures: DataSet, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(pictures)

    assert main(["evaluate", str(folder), "--out", str(folder / "out")]) == 2
    assert "outside FOLDER" in capsys.readouterr().err


def test_numbers_of_a_real_network_are_those_of_the_api(
    lite0: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = ROOT / "assets" / "examples" / "cat.jpg"
    folder = tmp_path / "in" / "n02124075"  # Egyptian cat
    folder.mkdir(parents=True)
    shutil.copy(cat, folder)
    monkeypatch.setattr(run, "load_backbone", lambda *_: lite0)
    protocol = CurveProtocol.named("xplique", (224, 224))

    code = main(
        ["evaluate", str(tmp_path / "in"), "--out", str(tmp_path / "out.jsonl"), "--method",
         "group_cam:groups=4", "--protocol", "xplique", "--class", "label", "--no-prepare"]
    )  # fmt: skip

    explained = groupcam.explain(lite0, cat, groupcam.GroupCamConfig(groups=4), class_index=285)
    curves = groupcam.insertion_deletion(lite0, cat, explained.saliency_map, 285, protocol=protocol)
    _, entry = map(json.loads, (tmp_path / "out.jsonl").read_text("utf-8").splitlines())
    values = entry["methods"]["group_cam:groups=4"]["values"]
    assert code == 0
    assert (entry["class_label"], entry["target_layer"]) == ("Egyptian cat", "blocks.6")
    assert values["insertion"] == pytest.approx(curves.insertion_auc, abs=1e-5)
    assert values["deletion"] == pytest.approx(curves.deletion_auc, abs=1e-5)
