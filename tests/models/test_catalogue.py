import time
from pathlib import Path

import pytest
import torch
import torchvision

from groupcam.errors import GroupCamError
from groupcam.models import list_backbones, resolve_name

SQUEEZENET_FILE = "squeezenet1_1-b8a52dc0.pth"


def test_listing_has_both_libraries_and_unique_names() -> None:
    entries = list_backbones()

    names = [entry.name for entry in entries]
    assert len(set(names)) == len(names) > 1400
    assert {entry.library for entry in entries} == {"timm", "torchvision"}
    assert all(entry.name.startswith(f"{entry.library}/") for entry in entries)


def test_ready_ones_come_first_then_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entries = list_backbones()

    ready = [entry.name for entry in entries if entry.ready_offline]
    rest = [entry.name for entry in entries if not entry.ready_offline]
    assert [entry.name for entry in entries] == sorted(ready) + sorted(rest)
    assert {f"timm/tf_efficientnet_lite{size}" for size in (0, 1, 2)} <= set(ready)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (
            "torchvision/resnet1*",
            ["torchvision/resnet101", "torchvision/resnet152", "torchvision/resnet18"],
        ),
        ("TIMM/ResNet50", ["timm/resnet50"]),
        ("*/resnet50", ["timm/resnet50", "torchvision/resnet50"]),
        ("nothing like this", []),
    ],
)
def test_pattern_selects_names(pattern: str, expected: list[str]) -> None:
    assert [entry.name for entry in list_backbones(pattern)] == expected


def test_downloaded_checkpoint_makes_a_backbone_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (before,) = list_backbones("torchvision/squeezenet1_1")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = torchvision.models.squeezenet1_1()
    torch.save(network.state_dict(), folder / SQUEEZENET_FILE)

    (after,) = list_backbones("torchvision/squeezenet1_1")

    assert (before.ready_offline, after.ready_offline) == (False, True)
    assert before.pretrained


def test_feature_extractors_are_not_called_pretrained_classifiers() -> None:
    (entry,) = list_backbones("timm/vit_tiny_patch16_dinov3_qkvb")

    assert not entry.pretrained


def test_listing_is_fast_enough_for_every_keystroke() -> None:
    list_backbones()  # fills the cache of what the libraries offer
    started = time.process_time()

    list_backbones("*resnet*")

    assert time.process_time() - started < 0.3


def test_names_are_taken_apart() -> None:
    assert resolve_name("timm/resnet50") == ("timm", "resnet50")
    assert resolve_name("torchvision/resnet50") == ("torchvision", "resnet50")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50", "Did you mean 'timm/resnet50' or 'torchvision/resnet50'"),
        ("keras/resnet50", "LIBRARY one of timm, torchvision; got 'keras/resnet50'. Did you mean"),
        ("timm/resnet5O", "Did you mean .*'timm/resnet5"),
        ("torchvision/rsnet50", "Did you mean 'torchvision/resnet50'"),
        ("Timm/resnet50", "Did you mean 'timm/resnet50'"),
        ("timm/", "got 'timm/'"),
        ("", "got ''"),
    ],
)
def test_unknown_name_gets_the_nearest_ones(name: str, message: str) -> None:
    with pytest.raises(GroupCamError, match=message):
        resolve_name(name)
