"""All pretrained weights that the libraries offer, with what they state about each.

Nothing here touches the network, and nothing is guessed: what a library does not state is None.
"""

import fnmatch
import functools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import timm.models
import torchvision
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from timm.data.imagenet_info import infer_imagenet_subset

from groupcam.errors import GroupCamError, did_you_mean
from groupcam.models.bundled import BUNDLED_WEIGHTS
from groupcam.models.families import parameters_of
from groupcam.models.hub import HubFile, UrlFile, WeightsFile
from groupcam.models.libraries import LIBRARIES

# Parts of timm's tags that name pictures to learn from; the other parts name recipes, epochs,
# sizes and authors. "in12k", "in22k" are subsets of ImageNet with so many thousand classes.
DATASET = re.compile(
    r"inw?\d+k|(laion|yfcc|cc|datacomp|dfn|dfndr|merged|ig|lvd|sat|sa|m)\d+[mb]|"
    r"laiona|datacompxl|webli|metaclip2?|jft|bamboo"
)


@dataclass(frozen=True)
class WeightsEntry:
    """One set of pretrained weights: `load_backbone(name, weights=tag)` loads it."""

    name: str  # the backbone, "library/architecture"
    tag: str  # "default" for those of an installed package
    is_default: bool  # what weights="default" loads
    source: str  # "huggingface.co/timm/resnet50.a1_in1k", a web address, or "package NAME"
    datasets: tuple[str, ...]  # as the tag names them, first trained first: ("in22k", "in1k")
    # Timm's name of the set of classes, "imagenet-12k". None: 0 classes, or outputs that are not
    # ImageNet's classes, most often the axes of an embedding that was trained beside texts (CLIP).
    labels: str | None
    classes: int  # outputs of the classifier; 0: there is none
    input_size: tuple[int, int]  # (H, W)
    parameters: int | None  # with the architecture's usual classifier
    licence: str | None  # as the library states it: a short name or a web address
    top1_accuracy: float | None  # on ImageNet's validation set, in [0, 1]; timm states none
    ready_offline: bool  # the file is on this machine


def list_weights(
    pattern: str = "*",
    *,
    dataset: str | None = None,
    max_parameters: int | None = None,
    ready_offline: bool = False,
) -> list[WeightsEntry]:
    """Return the weights that fit all conditions: ready ones first, then by name, default first.

    Args:
        pattern: for the backbone's name or NAME.TAG, as for file names, case ignored:
            "timm/resnet50", "*resnet50*", "*.*in12k*".
        dataset: a name among an entry's `datasets`, or its `labels`.
        max_parameters: leaves out larger ones and those of unknown size.
        ready_offline: leaves out what must be downloaded.

    Raises:
        GroupCamError: no weights have that data set.
    """
    if dataset is not None and dataset not in dataset_names():
        raise GroupCamError(
            f"dataset must be one of {', '.join(dataset_names())}; got '{dataset}'."
            f"{did_you_mean(dataset, dataset_names())}"
        )
    pattern = pattern.lower()
    chosen = [
        stated
        for stated in _stated()
        if (
            fnmatch.fnmatchcase(stated.name.lower(), pattern)
            or fnmatch.fnmatchcase(f"{stated.name}.{stated.tag}".lower(), pattern)
        )
        and (dataset is None or dataset in (*stated.datasets, stated.labels))
        and (max_parameters is None or (stated.parameters or math.inf) <= max_parameters)
    ]
    entries = [entry for entry in _with_state(chosen) if entry.ready_offline or not ready_offline]
    return sorted(
        entries,
        key=lambda entry: (not entry.ready_offline, entry.name, not entry.is_default, entry.tag),
    )


@functools.cache
def dataset_names() -> tuple[str, ...]:
    """Return every name that `list_weights` takes as a data set, in alphabetical order."""
    names = {name for stated in _stated() for name in stated.datasets}
    labels = {stated.labels for stated in _stated() if stated.labels is not None}
    return tuple(sorted(names | labels))


@dataclass(frozen=True)
class _Stated:
    """What a library states: everything that is the same on every machine."""

    name: str
    tag: str
    is_library_default: bool
    file: WeightsFile
    datasets: tuple[str, ...]
    classes: int
    input_size: tuple[int, int]
    parameters: int | None
    licence: str | None
    top1_accuracy: float | None

    @functools.cached_property
    def labels(self) -> str | None:
        subset: str | None = infer_imagenet_subset({"num_classes": self.classes})
        return subset

    def entry(
        self, *, is_default: bool, ready_offline: bool, tag: str = "", source: str = ""
    ) -> WeightsEntry:
        return WeightsEntry(
            name=self.name,
            tag=tag or self.tag,
            is_default=is_default,
            source=source or _address(self.file),
            datasets=self.datasets,
            labels=self.labels,
            classes=self.classes,
            input_size=self.input_size,
            parameters=self.parameters,
            licence=self.licence,
            top1_accuracy=self.top1_accuracy,
            ready_offline=ready_offline,
        )


@functools.cache
def _stated() -> tuple[_Stated, ...]:
    """Return what both libraries state about all their weights."""
    return (*_of_timm(), *_of_torchvision())


def _of_timm() -> Iterator[_Stated]:
    for full_name in timm.list_pretrained():
        architecture, tag = timm.models.split_model_name_tag(full_name)
        config: Any = timm.models.get_pretrained_cfg(full_name)
        yield _Stated(
            name=f"timm/{architecture}",
            tag=tag,
            is_library_default=LIBRARIES["timm"].tags()[architecture][:1] == (tag,),
            file=LIBRARIES["timm"].weights_file(architecture, tag),
            datasets=tuple(part for part in tag.split("_") if DATASET.fullmatch(part)),
            classes=config.num_classes,
            input_size=(config.input_size[1], config.input_size[2]),
            parameters=parameters_of(f"timm/{architecture}"),
            licence=None if config.license == "unknown" else config.license,
            top1_accuracy=None,
        )


def _of_torchvision() -> Iterator[_Stated]:
    library = LIBRARIES["torchvision"]
    for architecture, tags in library.tags().items():
        for tag in (*tags, *library.encoder_tags(architecture)):
            weights: Any = torchvision.models.get_model_weights(architecture)[tag]
            (crop,) = weights.transforms().crop_size
            # In percent; NaN for weights without a usable classifier.
            top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100
            yield _Stated(
                name=f"torchvision/{architecture}",
                tag=tag,
                is_library_default=tags[0] == tag,
                file=library.weights_file(architecture, tag),
                datasets=("in1k",),
                classes=len(weights.meta["categories"] or ()),  # None: no usable classifier
                input_size=(crop, crop),
                parameters=weights.meta["num_params"],
                licence=weights.meta.get("license"),
                top1_accuracy=None if math.isnan(top1) else top1,
            )


def _with_state(chosen: Iterable[_Stated]) -> Iterator[WeightsEntry]:
    """Yield the entries of some weights, with what is on this machine, packages' weights too."""
    packages = {
        bundled.backbone: bundled
        for bundled in BUNDLED_WEIGHTS
        if bundled.path() is not None  # a search among the installed packages: once for each
    }
    # Two folders are listed instead of some thousand files looked for.
    downloaded = _names_in(Path(constants.HF_HUB_CACHE)) | _names_in(UrlFile("x").path.parent)
    for stated in chosen:
        package = packages.get(stated.name)
        if package is not None and stated.is_library_default:
            source = f"package {package.package}"
            yield stated.entry(tag="default", source=source, is_default=True, ready_offline=True)
        yield stated.entry(
            is_default=stated.is_library_default and package is None,
            ready_offline=_stored_as(stated.file) in downloaded
            and stated.file.cached() is not None,
        )


def _stored_as(file: WeightsFile) -> str:
    """Return the name that a file or its folder has once it is downloaded."""
    if isinstance(file, HubFile):
        return repo_folder_name(repo_id=file.repository, repo_type="model")
    return file.path.name


def _names_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:  # not there yet, or not for us to read
        return set()


def _address(file: WeightsFile) -> str:
    """Return where a file comes from, for people."""
    return f"{file.host}/{file.repository}" if isinstance(file, HubFile) else file.url
