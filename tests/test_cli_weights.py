"""`python -m groupcam weights`."""

import argparse
from pathlib import Path

import pytest
from huggingface_hub import constants

from groupcam.__main__ import main
from groupcam.cli.weights import parse_count
from groupcam.models.weights_list import list_weights


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


def lines_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["weights", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_every_set_of_weights_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    heading, *lines = lines_of(capsys)

    assert heading.split()[:3] == ["NAME", "WEIGHTS", "CLASSES"]
    assert len(lines) == len(list_weights())


def test_a_part_of_a_name_or_of_a_tag_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    _, *by_name = lines_of(capsys, "squeezenet1_1")
    _, *by_tag = lines_of(capsys, "SWAG_E2E")

    assert [line.split()[:3] for line in by_name] == [
        ["torchvision/squeezenet1_1", "IMAGENET1K_V1", "(default)"]
    ]
    assert "1.2 M" in by_name[0]
    assert "58.2%" in by_name[0]
    assert by_name[0].endswith("no")
    assert len(by_tag) == 6


def test_conditions_are_the_apis(capsys: pytest.CaptureFixture[str]) -> None:
    _, *lines = lines_of(capsys, "timm/*", "--dataset", "in22k", "--max-params", "30M")
    _, *ready = lines_of(capsys, "--ready")

    expected = list_weights("timm/*", dataset="in22k", max_parameters=30_000_000)
    assert [line.split()[0] for line in lines] == [entry.name for entry in expected]
    assert len(lines) > 5
    assert [line.split()[0] for line in ready] == [
        f"timm/tf_efficientnet_lite{size}" for size in (0, 1, 2)
    ]


def test_weights_without_a_classifier_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    _, line = lines_of(capsys, "timm/vit_base_patch16_224.mae")

    assert line.split()[:3] == ["timm/vit_base_patch16_224", "mae", "none"]


@pytest.mark.parametrize(
    ("text", "count"), [("5000000", 5_000_000), ("30M", 30_000_000), ("1.5b", 1_500_000_000)]
)
def test_counts_are_read(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "M", "-3M", "3 G", "1e6"])
def test_other_texts_are_no_counts(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a count"):
        parse_count(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet5O"], "got 'resnet5O'. Did you mean"),
        (["--dataset", "in23k"], "got 'in23k'. Did you mean"),
        (["--max-params", "many"], "must be a count such as 5000000 or 30M; got 'many'"),
    ],
    ids=["pattern", "data set", "count"],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["weights", *arguments]) == 2
    assert message in capsys.readouterr().err
