"""Making a result again: the lines that the report gives really do it."""

import dataclasses
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import groupcam
from groupcam.__main__ import main
from groupcam.metrics import CurveProtocol
from groupcam.models import Backbone
from groupcam.models.weights import WeightsInfo
from groupcam.saliency import GroupCamConfig
from groupcam.share.again import command_of, python_of
from groupcam.share.record import Network, Record
from tests.share.conftest import PICTURE

NAME = '-it\'s a "cat" & more.jpg'  # all that a shell or Python could trip over


@pytest.fixture(scope="module")
def unusual(record: Record, lite0: Backbone) -> Record:
    """A result with hardly a default in it, of a picture with a name to quote."""
    config = GroupCamConfig(groups=3, percentile=None, merge="raw", blur_sigma_px=7.5)
    explanation = groupcam.explain(lite0, PICTURE, config, "blocks.5", 967, view="whole")
    return dataclasses.replace(
        record, picture_name=NAME, view="whole", explanation=explanation, curves=None
    )


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a picture of that name lies, as the current one."""
    shutil.copy(PICTURE, tmp_path / NAME)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_command_makes_the_same_map(unusual: Record, beside: Path) -> None:
    command = command_of(unusual)

    assert command is not None
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "groupcam", "explain"]
    assert main(words[3:]) == 0
    found = np.load(beside / "result" / "saliency_map.npy")
    np.testing.assert_allclose(found, unusual.explanation.saliency_map.numpy(), atol=1e-5)
    result = json.loads((beside / "result" / "result.json").read_text())
    assert result["config"] == dataclasses.asdict(unusual.explanation.config)
    assert result["picture"]["sha256"] == unusual.picture_sha256


@pytest.mark.usefixtures("beside")
def test_python_makes_the_same_map(unusual: Record) -> None:
    names: dict[str, Any] = {}

    exec(python_of(unusual), names)

    torch.testing.assert_close(
        names["result"].saliency_map, unusual.explanation.saliency_map, rtol=0, atol=1e-5
    )
    assert "curves" not in names


def test_python_makes_the_same_curves(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PICTURE, tmp_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    exec(python_of(record), names)

    assert record.curves is not None
    assert names["curves"].protocol == record.curves.protocol != CurveProtocol()
    torch.testing.assert_close(
        names["curves"].insertion, record.curves.insertion, rtol=0, atol=1e-4
    )


def test_command_leaves_out_curves_that_it_cannot_make(record: Record) -> None:
    assert record.curves is not None
    usual = dataclasses.replace(record.curves, protocol=CurveProtocol())

    def has_curves(some: Record) -> bool:
        return "--no-curves" not in str(command_of(some))

    assert has_curves(dataclasses.replace(record, curves=usual))
    assert not has_curves(record)  # eight steps, for which there is no option
    assert not has_curves(dataclasses.replace(record, curves=None))


def test_weights_size_and_device_are_given_as_they_were_asked_for(
    record: Record, lite0: Backbone
) -> None:
    network = dataclasses.replace(Network.of(lite0, None, (160, 224)), device="cuda")
    asked = dataclasses.replace(record, network=network)

    command = str(command_of(asked))
    assert "--weights=none --input-size=160x224 --device=cuda" in command
    assert "weights=None, input_size=(160, 224), device='cuda'" in python_of(asked)


def test_a_weights_file_is_named_without_its_folders(record: Record) -> None:
    weights = WeightsInfo("file", "/home/somebody/mine.pth", "0" * 64)
    network = dataclasses.replace(
        record.network, weights=weights, asked_weights="/home/somebody/mine.pth"
    )
    asked = dataclasses.replace(record, network=network)

    for text in (str(command_of(asked)), python_of(asked)):
        assert "./mine.pth" in text
        assert "somebody" not in text


def test_a_network_of_ones_own_has_no_command(record: Record) -> None:
    network = dataclasses.replace(record.network, weights=WeightsInfo("given"))
    asked = dataclasses.replace(record, network=network)

    assert command_of(asked) is None
    assert "Backbone.from_module" in python_of(asked)
