import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import groupcam
from groupcam.__main__ import VERBS, build_parser, main
from groupcam.cli.explain import config_of
from groupcam.images import open_picture
from groupcam.models import Backbone
from groupcam.saliency import CHOICES, PRESETS, GroupCamConfig

ROOT = Path(__file__).resolve().parent.parent
CAT = ROOT / "assets" / "examples" / "cat.jpg"

MAP_FILES = {"overlay.png", "saliency_map.npy", "masks.png", "report.html", "result.json"}
CURVE_FILES = {"curves.png", "curves.svg", "curves.csv"}

# For every setting a valid value that is not the default, as an option's text and as a value.
OTHER_VALUES: dict[str, tuple[str, Any]] = {
    "groups": ("7", 7),
    "blur_sigma_px": ("3.5", 3.5),
    "blur_kernel_px": ("11", 11),
    "percentile": ("none", None),
    "evidence": ("positive", "positive"),
    "grouping": ("kmeans", "kmeans"),
    "merge": ("raw", "raw"),
    "precision": ("bfloat16", "bfloat16"),
}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def explain_quickly(out: Path, *options: str) -> int:
    """Run `explain` with four groups and without curves."""
    return main(["explain", str(CAT), "--out", str(out), "--no-curves", "--groups", "4", *options])


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run with curves left behind."""

    folder: Path
    summary: str
    errors: str

    @property
    def result(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "result.json").read_text("utf-8"))
        return content


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`explain` as a user types it, in folders that are not there yet; tests only read it."""
    folder = tmp_path_factory.mktemp("cli") / "new" / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", summary := io.StringIO())
        patch.setattr(sys, "stderr", errors := io.StringIO())

        assert main(["explain", str(CAT), "--out", str(folder)]) == 0

    return Run(folder, summary.getvalue(), errors.getvalue())


# --- explain: the result ---------------------------------------------------------------------


def test_explain_writes_every_file_and_nothing_else(full_run: Run) -> None:
    assert names_in(full_run.folder) == MAP_FILES | CURVE_FILES
    assert full_run.errors == ""


def test_map_is_the_one_that_the_api_gives(full_run: Run, lite0: Backbone) -> None:
    explanation = groupcam.explain(lite0, CAT)

    saliency_map = np.load(full_run.folder / "saliency_map.npy")

    assert saliency_map.dtype == np.float32
    np.testing.assert_allclose(saliency_map, explanation.saliency_map.numpy(), atol=1e-6)


def test_curves_have_their_ends_at_the_probability_and_their_areas(full_run: Run) -> None:
    result = full_run.result

    with (full_run.folder / "curves.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    fraction, insertion, deletion = (
        [float(row[column]) for row in rows] for column in ("fraction", "insertion", "deletion")
    )
    assert len(rows) == 113  # 224 x 224 pixels by 448, and the start
    assert (fraction[0], fraction[-1]) == (0, 1)
    assert insertion[-1] == pytest.approx(result["class"]["probability"], abs=1e-5)
    assert deletion[0] == pytest.approx(result["class"]["probability"], abs=1e-5)
    insertion_auc = np.trapezoid(insertion, fraction)
    deletion_auc = np.trapezoid(deletion, fraction)
    assert result["curves"]["insertion_auc"] == pytest.approx(insertion_auc, abs=1e-5)
    assert result["curves"]["deletion_auc"] == pytest.approx(deletion_auc, abs=1e-5)


def test_pictures_open_and_the_overlay_has_the_pictures_size(full_run: Run) -> None:
    with Image.open(CAT) as picture, Image.open(full_run.folder / "overlay.png") as drawn:
        assert drawn.size == picture.size
    for name in ("masks.png", "curves.png"):
        assert open_picture(full_run.folder / name).rgb.std() > 1


def test_result_says_how_to_make_it_again(full_run: Run, lite0: Backbone) -> None:
    result = full_run.result

    assert result["config"] == dataclasses.asdict(GroupCamConfig())
    assert result["network"]["backbone"] == lite0.name
    assert result["network"]["weights"] == dataclasses.asdict(lite0.weights)
    assert result["versions"]["torch"] == torch.__version__
    assert result["versions"]["groupcam"] == groupcam.__version__
    assert result["picture"]["file"] == "cat.jpg"
    assert len(result["picture"]["sha256"]) == 64
    assert result["target_layer"] == "blocks.6"


def test_numbers_of_the_result_agree_with_each_other(full_run: Run) -> None:
    result = full_run.result

    assert result["top_classes"][0] == pytest.approx(result["class"])
    assert len(result["top_classes"]) == 5
    assert len(result["group_weights"]) == len(result["masked_probability"]) == 32
    gains = np.array(result["masked_probability"]) - result["baseline_probability"]
    np.testing.assert_allclose(result["group_weights"], gains.clip(min=0), atol=1e-6)
    assert 2 < result["forward_passes"] <= 34
    assert result["blank_reason"] is None


def test_summary_names_class_layer_areas_and_folder(full_run: Run) -> None:
    result = full_run.result

    assert f"{result['class']['label']} ({result['class']['index']})" in full_run.summary
    assert "blocks.6" in full_run.summary
    assert f"{result['curves']['insertion_auc']:.3f} (higher is better)" in full_run.summary
    assert f"{result['curves']['deletion_auc']:.3f} (lower is better)" in full_run.summary
    assert str(full_run.folder) in full_run.summary


def test_layer_class_view_and_settings_reach_the_engine(tmp_path: Path, lite0: Backbone) -> None:
    config = dataclasses.replace(GroupCamConfig.official(), groups=4, blur_sigma_px=9.0)
    expected = groupcam.explain(
        lite0, CAT, config, target_layer="blocks.5", class_index=281, view="whole"
    )

    code = explain_quickly(
        tmp_path,
        *("--preset", "official", "--blur-sigma-px", "9", "--target-layer", "blocks.5"),
        *("--class", "tabby", "--view", "whole"),
    )

    assert code == 0
    saliency_map = np.load(tmp_path / "saliency_map.npy")
    np.testing.assert_allclose(saliency_map, expected.saliency_map.numpy(), atol=1e-6)


def test_input_size_and_fitted_view_reach_the_engine(tmp_path: Path) -> None:
    code = explain_quickly(tmp_path, "--view", "fit", "--input-size", "160x224")

    assert code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["network"]["input_size"] == [160, 224]
    assert np.load(tmp_path / "saliency_map.npy").shape == (160, 224)
    height, width = result["picture"]["size"]
    top, left, bottom, right = result["picture"]["input_box"]
    assert result["picture"]["seen_box"] == [0, 0, height, width]
    assert (bottom - top) / (right - left) == pytest.approx(height / width, rel=0.02)


def test_class_may_be_given_by_its_index(tmp_path: Path) -> None:
    assert explain_quickly(tmp_path, "--class", "281") == 0

    assert json.loads((tmp_path / "result.json").read_text())["class"]["label"] == "tabby"


def test_opacity_0_draws_the_part_that_the_network_saw_unchanged(tmp_path: Path) -> None:
    assert explain_quickly(tmp_path, "--opacity", "0", "--view", "whole") == 0

    drawn = open_picture(tmp_path / "overlay.png").rgb
    np.testing.assert_array_equal(drawn, open_picture(CAT).rgb)


def test_color_map_changes_the_overlay(tmp_path: Path) -> None:
    assert explain_quickly(tmp_path / "a", "--color-map", "viridis") == 0
    assert explain_quickly(tmp_path / "b", "--color-map", "jet") == 0

    one, other = (open_picture(tmp_path / name / "overlay.png").rgb for name in "ab")
    assert not np.array_equal(one, other)


def test_random_weights_can_be_asked_for_and_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain_quickly(tmp_path, "--weights", "none") == 0

    result = json.loads((tmp_path / "result.json").read_text())
    assert result["network"]["weights"]["source"] == "random"
    assert "random weights the network knows nothing" in capsys.readouterr().out


def test_learnt_weights_are_not_called_random(full_run: Run) -> None:
    assert "random" not in full_run.summary
    assert full_run.result["network"]["weights"]["source"] == "bundled"


def test_blank_map_is_a_result_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # No channel of the last block speaks for a salamander on a picture of a cat.
    assert explain_quickly(tmp_path, "--class", "European fire salamander") == 0

    reason = json.loads((tmp_path / "result.json").read_text())["blank_reason"]
    assert reason
    assert reason in capsys.readouterr().out
    assert not np.load(tmp_path / "saliency_map.npy").any()


def test_notes_of_the_picture_are_passed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "see-through.png"
    Image.new("RGBA", (64, 64), (200, 90, 40, 128)).save(picture)
    (note,) = open_picture(picture).notes

    options = ["--out", str(tmp_path / "out"), "--no-curves", "--groups", "4"]
    assert main(["explain", str(picture), *options]) == 0

    assert json.loads((tmp_path / "out" / "result.json").read_text())["picture"]["notes"] == [note]
    assert note in capsys.readouterr().out


def test_archive_has_the_files_of_the_folder(tmp_path: Path) -> None:
    archive = tmp_path / "result.zip"

    assert explain_quickly(tmp_path / "out", "--zip", str(archive)) == 0

    with zipfile.ZipFile(archive) as found:
        contents = {name: found.read(name) for name in found.namelist()}
    manifest = json.loads(contents.pop("manifest.json"))
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert set(contents) == MAP_FILES - {"result.json"}
    for name, content in contents.items():
        assert content == (tmp_path / "out" / name).read_bytes()
    # What a clock says is no part of what is passed on.
    assert set(result.pop("elapsed_s")) == {"loading", "computing"}
    assert manifest == result
    assert names_in(tmp_path) == {"out", "result.zip"}


def test_archive_that_cannot_be_written_is_an_error_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "nowhere" / "result.zip"

    assert explain_quickly(tmp_path / "out", "--zip", str(archive)) == 2

    assert_one_error_line(
        capsys.readouterr().err, "archive must be a file in a folder that exists", "result.zip"
    )
    assert names_in(tmp_path) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="only there names may be any bytes")
def test_picture_whose_name_is_no_text_is_explained(tmp_path: Path) -> None:
    picture = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    picture.write_bytes(CAT.read_bytes())

    options = ["--out", str(tmp_path / "out"), "--no-curves", "--groups", "4"]
    assert main(["explain", str(picture), *options]) == 0

    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert result["picture"]["file"] == "caf?.jpg"


# --- explain: the folder ---------------------------------------------------------------------


def test_existing_folder_keeps_foreign_files_and_loses_stale_ones(tmp_path: Path) -> None:
    for name in ("notes.txt", "curves.csv", "overlay.png"):
        (tmp_path / name).write_text("from before")

    assert explain_quickly(tmp_path) == 0

    assert names_in(tmp_path) == MAP_FILES | {"notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "from before"
    open_picture(tmp_path / "overlay.png")


def test_failed_run_leaves_an_earlier_result_as_it_was(tmp_path: Path) -> None:
    for name in ("overlay.png", "result.json"):
        (tmp_path / name).write_text("from before")

    assert explain_quickly(tmp_path, "--target-layer", "nowhere") == 2

    assert names_in(tmp_path) == {"overlay.png", "result.json"}
    assert (tmp_path / "result.json").read_text() == "from before"


def test_interrupted_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("groupcam.cli.explain.write_files", interrupt)

    assert explain_quickly(tmp_path / "new" / "out") == 130

    assert names_in(tmp_path) == set()
    assert capsys.readouterr().err == "error: interrupted.\n"


def test_file_that_cannot_be_replaced_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "overlay.png").mkdir()
    (tmp_path / "overlay.png" / "mine").touch()

    assert explain_quickly(tmp_path) == 2

    assert_one_error_line(capsys.readouterr().err, "can be written", "overlay.png")
    assert "result.json" not in names_in(tmp_path)


# --- explain: options ------------------------------------------------------------------------


def test_other_values_cover_every_setting() -> None:
    assert set(OTHER_VALUES) == {field.name for field in dataclasses.fields(GroupCamConfig)}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_every_setting_is_an_option(name: str) -> None:
    text, value = OTHER_VALUES[name]
    option = f"--{name.replace('_', '-')}"

    args = build_parser("explain").parse_args(["explain", "x.jpg", "--out", "x", option, text])

    assert config_of(args) == dataclasses.replace(GroupCamConfig(), **{name: value})


@pytest.mark.parametrize("preset", ["default", *PRESETS])
def test_presets_are_those_of_the_api(preset: str) -> None:
    arguments = ["explain", "x.jpg", "--out", "x", "--preset", preset]

    config = config_of(build_parser("explain").parse_args(arguments))

    assert config == (GroupCamConfig() if preset == "default" else PRESETS[preset])


def test_help_gives_name_range_and_default_of_every_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["explain", "--help"])

    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(GroupCamConfig):
        assert f"--{field.name.replace('_', '-')} " in text
        assert f"default: {field.default})" in text
        assert all(choice in text for choice in CHOICES.get(field.name, ()))
    assert "0.1 to 1000" in text


def test_progress_is_drawn_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())

    assert explain_quickly(tmp_path) == 0

    assert "Explaining: 100%" in terminal.getvalue()


# --- errors ----------------------------------------------------------------------------------


def assert_one_error_line(text: str, *parts: str) -> None:
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    for part in parts:
        assert part in text


BAD_OPTIONS = {
    "backbone": (["--backbone", "timm/tf_eficientnet_lite0"], "'timm/tf_efficientnet_lite0'"),
    "weights tag": (["--weights", "nonsense"], "nonsense"),
    "weights file missing": (["--weights", "nowhere.pth"], "nowhere.pth"),
    "device": (["--device", "cuda:99"], "cuda:99"),
    "layer": (["--target-layer", "block.6"], "'blocks.6'"),
    "class name": (["--class", "taby"], "'tabby'"),
    "class index": (["--class", "1000"], "between 0 and 999"),
    "view": (["--view", "half"], "'whole'"),
    "input size": (["--input-size", "224px"], "N or HxW in pixels; got '224px'"),
    "input size 0": (["--input-size", "0"], "at least 1 pixel; got 0"),
    "preset": (["--preset", "papier"], "'paper'"),
    "groups 0": (["--groups", "0"], "groups must be at least 1; got 0"),
    "groups above channels": (["--groups", "321"], "320"),
    "groups no number": (["--groups", "many"], "--groups"),
    "sigma 0": (["--blur-sigma-px", "0"], "blur_sigma_px must be between 0.1 and 1000; got 0"),
    "sigma negative": (["--blur-sigma-px", "-1"], "got -1"),
    "sigma NaN": (["--blur-sigma-px", "nan"], "finite"),
    "kernel even": (["--blur-kernel-px", "50"], "odd"),
    "percentile": (["--percentile", "101"], "percentile must be between 0 and 100"),
    "percentile word": (["--percentile", "some"], "a number or none; got 'some'"),
    "grouping": (["--grouping", "kmean"], "'kmeans'"),
    "color map": (["--color-map", "jett"], "'jet'"),
    "opacity": (["--opacity", "1.5"], "between 0 and 1; got '1.5'"),
    "unknown option": (["--sigma", "5"], "--sigma"),
}


@pytest.mark.parametrize(("options", "part"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_bad_option_is_one_line_and_leaves_no_folder(
    options: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"

    code = main(["explain", str(CAT), "--out", str(out), "--no-curves", *options])

    assert code == 2
    assert_one_error_line(capsys.readouterr().err, part)
    assert not out.parent.exists()


def write_text(path: Path) -> None:
    path.write_text("not a picture")


def write_empty(path: Path) -> None:
    path.touch()


def write_cut_off(path: Path) -> None:
    path.write_bytes(CAT.read_bytes()[:2000])


def write_nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    "write", [write_text, write_empty, write_cut_off, write_nothing, Path.mkdir]
)
def test_bad_picture_is_one_line(
    write: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.jpg"
    write(picture)

    assert main(["explain", str(picture), "--out", str(tmp_path / "out")]) == 2

    assert_one_error_line(capsys.readouterr().err, "picture.jpg")
    assert not (tmp_path / "out").exists()


def test_checkpoint_of_another_network_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, checkpoint)

    assert explain_quickly(tmp_path / "out", "--weights", str(checkpoint)) == 2

    assert_one_error_line(capsys.readouterr().err, "other.pth", "timm/tf_efficientnet_lite0")


def test_weights_that_cannot_be_had_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_args: object) -> None:
        raise groupcam.WeightsUnavailableError("The hub\nis not reached.")

    monkeypatch.setattr("groupcam.cli.explain.load_backbone", refuse)

    assert explain_quickly(tmp_path / "out") == 2

    assert capsys.readouterr().err == "error: The hub is not reached.\n"


@pytest.mark.parametrize("place", ["file", "file/inside", "n" * 300], ids=["file", "in", "long"])
def test_folder_that_cannot_be_made_is_one_line(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")

    assert explain_quickly(tmp_path / place) == 2

    assert_one_error_line(capsys.readouterr().err, "a folder that can be written")
    assert names_in(tmp_path) == {"file"}
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "VERB"),
        (["explian"], "'explain'"),
        (["explain"], "IMAGE"),
        (["explain", "x.jpg"], "--out"),
        (["layers", "timm/resnet05"], "resnet50"),
        (["layers"], "NAME"),
        (["backbones", "tf_eficientnet_lite0"], "'timm/tf_efficientnet_lite0'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_command_is_one_line(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    assert_one_error_line(capsys.readouterr().err, part)


# --- the other verbs -------------------------------------------------------------------------


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])

    assert capsys.readouterr().out == f"groupcam {groupcam.__version__}\n"


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])

    text = capsys.readouterr().out
    assert all(f"\n    {verb}" in text for verb in VERBS)


def test_ready_backbones_are_those_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backbones", "--ready"]) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    ready = [entry.name for entry in groupcam.list_backbones() if entry.ready_offline]
    assert [row[0] for row in rows] == ready
    assert "timm/tf_efficientnet_lite0" in ready


@pytest.mark.parametrize("pattern", ["timm/resnet18*", "resnet18"], ids=["signs", "part"])
def test_backbones_are_found_by_pattern_and_by_part(
    pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backbones", pattern]) == 0

    text = capsys.readouterr().out
    assert "\ntimm/resnet18 " in text
    assert "resnet50" not in text


def test_layers_are_those_of_the_api(lite0: Backbone, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", lite0.name]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        layer.name for layer in groupcam.target_layers(lite0)
    ]
    (default,) = [line for line in lines if line.endswith("default")]
    assert default.split() == ["blocks.6", "320", "7", "x", "7", "NCHW", "default"]


# --- as a program ----------------------------------------------------------------------------


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "groupcam", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_program_ends_with_code_2_and_one_line() -> None:
    with start("explian") as process:
        output, errors = process.communicate(timeout=120)

    assert process.returncode == 2
    assert output == ""
    assert_one_error_line(errors, "'explain'")


def test_reader_that_has_seen_enough_is_no_error() -> None:
    with start("backbones") as process:
        assert process.stdout is not None
        assert process.stderr is not None

        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode == 0
    assert errors == ""
