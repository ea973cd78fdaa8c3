import time
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torchvision
from huggingface_hub import constants

from groupcam.errors import GroupCamError
from groupcam.models import WeightsEntry, list_backbones, list_weights, load_backbone
from groupcam.models.catalogue import weight_tags
from groupcam.models.weights_list import dataset_names

VGG = {f"torchvision/vgg{depth}" for depth in (11, 13, 16, 19)}
VGG_FEATURES = "IMAGENET1K_FEATURES"  # torchvision: "missing values in the classifier module"
SQUEEZENET_FILE = "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    return tmp_path


def entry_of(name: str, tag: str) -> WeightsEntry:
    (entry,) = [entry for entry in list_weights(name) if entry.tag == tag]
    return entry


def test_all_weights_of_both_libraries_are_listed() -> None:
    listed = {(entry.name, entry.tag) for entry in list_weights()}

    for full_name in timm.list_pretrained():
        architecture, _, tag = full_name.partition(".")
        assert (f"timm/{architecture}", tag) in listed
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            assert (f"torchvision/{name}", weights.name) in listed


def test_every_backbone_with_weights_has_one_default_which_is_what_default_loads() -> None:
    defaults = [entry for entry in list_weights() if entry.is_default]

    by_name = {entry.name: entry.tag for entry in defaults}
    pretrained = {entry.name for entry in list_backbones() if entry.pretrained}
    assert len(by_name) == len(defaults)
    assert set(by_name) == pretrained
    packaged = {name for name, tag in by_name.items() if tag == "default"}
    assert packaged == {f"timm/tf_efficientnet_lite{size}" for size in (0, 1, 2)}
    for name in pretrained - packaged:
        assert by_name[name] == weight_tags(name)[0]


def test_timms_statements_are_passed_on() -> None:
    entry = entry_of("timm/convnext_base", "clip_laion2b_augreg_ft_in12k_in1k_384")

    assert entry == WeightsEntry(
        name="timm/convnext_base",
        tag="clip_laion2b_augreg_ft_in12k_in1k_384",
        is_default=False,
        source="huggingface.co/timm/convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384",
        datasets=("laion2b", "in12k", "in1k"),
        labels="imagenet-1k",
        classes=1000,
        input_size=(384, 384),
        parameters=88_591_464,
        licence="apache-2.0",
        top1_accuracy=None,
        ready_offline=False,
    )


def test_torchvisions_statements_are_passed_on() -> None:
    entry = entry_of("torchvision/resnet50", "IMAGENET1K_V2")

    assert entry.top1_accuracy == pytest.approx(0.80858)
    assert entry.parameters == 25_557_032
    assert entry.source == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    assert entry.input_size == (224, 224)
    assert (entry.labels, entry.datasets, entry.licence) == ("imagenet-1k", ("in1k",), None)
    swag = entry_of("torchvision/vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1")
    assert swag.licence == "https://github.com/facebookresearch/SWAG/blob/main/LICENSE"


@pytest.mark.parametrize(
    ("name", "tag", "classes", "labels"),
    [
        ("timm/beit_base_patch16_224", "in22k_ft_in22k", 21841, "imagenet-22k"),
        ("timm/convnext_nano", "in12k", 11821, "imagenet-12k"),
        ("timm/mixer_l16_224", "goog_in21k", 21843, "imagenet-21k-goog"),
        ("timm/vit_base_patch16_224", "bamboo", 115217, None),
        ("timm/vit_base_patch16_224", "mae", 0, None),
        ("timm/resnet50_clip", "openai", 1024, None),
        ("torchvision/vgg16", VGG_FEATURES, 0, None),
    ],
    ids=str,
)
def test_label_set_of_other_classes_than_imagenets_thousand(
    name: str, tag: str, classes: int, labels: str | None
) -> None:
    entry = entry_of(name, tag)

    assert (entry.classes, entry.labels) == (classes, labels)


def test_weights_that_are_listed_without_classes_are_refused_as_such() -> None:
    for name, tag in [("timm/vit_base_patch16_224", "mae"), ("torchvision/vgg16", VGG_FEATURES)]:
        assert entry_of(name, tag).classes == 0
        with pytest.raises(GroupCamError, match=rf"{tag}.*: an encoder without a classifier"):
            load_backbone(name, weights=tag)


def test_accuracy_is_a_fraction_or_unknown() -> None:
    stated = [entry.top1_accuracy for entry in list_weights() if entry.top1_accuracy is not None]

    assert len(stated) > 100
    assert 0.5 < min(stated) < max(stated) < 0.9
    assert entry_of("torchvision/vgg16", VGG_FEATURES).top1_accuracy is None


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("torchvision/*", lambda entry: entry.name.startswith("torchvision/")),
        ("TIMM/ResNet50", lambda entry: entry.name == "timm/resnet50"),
        ("*.*in12k*", lambda entry: "in12k" in entry.tag),
        ("*/vgg1?.IMAGENET1K_V1", lambda entry: entry.name in VGG and entry.tag.endswith("V1")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pattern_selects_names_and_tags(pattern: str, fits: Callable[[WeightsEntry], bool]) -> None:
    chosen = list_weights(pattern)

    assert chosen
    assert chosen == [entry for entry in list_weights() if fits(entry)]


def test_data_set_means_trained_on_or_classes_of() -> None:
    by_pictures = list_weights(dataset="in22k")
    by_classes = list_weights(dataset="imagenet-22k")

    everything = list_weights()
    assert by_pictures == [entry for entry in everything if "in22k" in entry.tag.split("_")]
    assert by_classes == [entry for entry in everything if entry.classes == 21841]
    assert len(by_pictures) > len(by_classes) > 20


@pytest.mark.parametrize("name", ["laion2b", "in1k", "imagenet-12k", "webli", "inw21k"])
def test_data_sets_have_names(name: str) -> None:
    assert name in dataset_names()
    assert list_weights(dataset=name)


def test_unknown_data_set_is_refused_with_the_nearest() -> None:
    with pytest.raises(GroupCamError, match=r"must be one of .*got 'in23k'. Did you mean 'in2"):
        list_weights(dataset="in23k")


def test_limit_on_parameters() -> None:
    limit = 1_235_496  # of squeezenet1_1, exactly

    chosen = list_weights(max_parameters=limit)

    assert "torchvision/squeezenet1_1" in {entry.name for entry in chosen}
    assert all(entry.parameters is not None and entry.parameters <= limit for entry in chosen)
    below = list_weights(max_parameters=limit - 1)
    assert "torchvision/squeezenet1_1" not in {entry.name for entry in below}


def test_downloaded_files_are_ready_and_come_first(empty_caches: Path) -> None:
    before = {(entry.name, entry.tag) for entry in list_weights(ready_offline=True)}
    checkpoints = empty_caches / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / SQUEEZENET_FILE).touch()
    repository = empty_caches / "hub_cache" / "models--timm--resnet18.a1_in1k"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    # Another repository's folder without the weights in it.
    (empty_caches / "hub_cache" / "models--timm--resnet18.a2_in1k").mkdir()

    after = list_weights(ready_offline=True)

    added = {(entry.name, entry.tag) for entry in after} - before
    assert added == {
        ("torchvision/squeezenet1_1", "IMAGENET1K_V1"),
        ("timm/resnet18", "a1_in1k"),
    }
    assert list_weights()[: len(after)] == after


def test_without_any_cache_only_packages_are_ready() -> None:
    ready = list_weights(ready_offline=True)

    assert [(entry.name, entry.tag) for entry in ready] == [
        (f"timm/tf_efficientnet_lite{size}", "default") for size in (0, 1, 2)
    ]
    assert all(entry.source.startswith("package efficientnet-lite") for entry in ready)


def test_listing_all_is_fast_enough_for_every_keystroke() -> None:
    list_weights()  # fills the cache of what the libraries state
    started = time.process_time()

    list_weights()

    assert time.process_time() - started < 0.5
