"""From a backbone's name and a choice of weights to a network that carries them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError, WeightsUnavailableError, did_you_mean, shown
from groupcam.models.bundled import bundled_weights
from groupcam.models.catalogue import list_backbones, resolve_name
from groupcam.models.checkpoints import (
    SUFFIXES,
    BrokenFileError,
    class_names_in,
    describe_mismatch,
    read_checkpoint,
    sha256_of,
)
from groupcam.models.hub import Progress, WeightsFile
from groupcam.models.libraries import IMAGENET_CLASSES, LIBRARIES, Library

WeightsSource = Literal["bundled", "hub", "file", "random", "given"]

RANDOM_SEED = 0
RANDOM_STD = 0.02  # what vision transformers draw their linear layers with
OFFLINE_NAMES_SHOWN = 5
RGB = 3


@dataclass(frozen=True)
class WeightsInfo:
    """Where a network's weights come from, so that a result can be made again."""

    source: WeightsSource
    tag: str = ""  # the hub's tag, the package's name, or the file's path
    sha256: str | None = None  # of the file; None without one


@dataclass(frozen=True, eq=False)
class WeightedNetwork:
    """A network on the CPU with its weights."""

    network: nn.Module
    info: WeightsInfo
    tag: str | None  # the library's tag that transform and class names come from; None: default
    class_names: tuple[str, ...] | None = None  # that the file tells; None: the library's


def build_network(
    name: str, weights: str | Path | None = "default", progress: Progress | None = None
) -> WeightedNetwork:
    """Return the network of a backbone with the weights asked for.

    Args:
        name: "library/architecture".
        weights: "default" (weights of an installed package if there are, else the library's
            default), a tag of the library, a path to a weights file, or None: random, always the
            same ones. The global random state does not change.
        progress: called with (what is done, bytes done, bytes in all or 0) while downloading,
            several times a second. It may raise `groupcam.errors.Cancelled` to stop.

    Raises:
        GroupCamError: unknown name or tag; weights without a classifier; a file that does not
            fit, is broken or holds code.
        WeightsUnavailableError: weights must be downloaded and cannot be, or what the cache had
            was broken (and has been removed from it).
        Cancelled: `progress` raised it. What has arrived is kept for the next try.
    """
    library_name, architecture = resolve_name(name)
    library = LIBRARIES[library_name]
    if weights is None:
        network = _seeded(lambda: _without_zero_weights(library.build(architecture, None)))
        return WeightedNetwork(network, WeightsInfo("random"), None)
    if _is_path(weights):
        return _from_file(library, name, architecture, Path(weights))
    if weights == "default" and (built := _from_package(library, name, architecture)):
        return built
    tag = _resolve_tag(library, name, architecture, str(weights))
    return _from_hub(library, name, architecture, tag, progress)


def fetch_weights(
    name: str, weights: str | Path | None = "default", progress: Progress | None = None
) -> None:
    """Download what `build_network` needs of the same arguments, unless it is here.

    Raises:
        GroupCamError: unknown name or tag; weights without a classifier.
        WeightsUnavailableError: they must be downloaded and cannot be.
        Cancelled: `progress` raised it. What has arrived is kept for the next try.
    """
    library_name, architecture = resolve_name(name)
    entry = bundled_weights(name) if weights == "default" else None
    if weights is None or _is_path(weights) or (entry is not None and entry.path() is not None):
        return
    library = LIBRARIES[library_name]
    tag = _resolve_tag(library, name, architecture, str(weights))
    _fetched(library.weights_file(architecture, tag), name, progress)


def classifier_tensors(name: str) -> tuple[str, ...]:
    """Return the names of a backbone's tensors whose shape depends on the number of classes.

    Raises:
        GroupCamError: unknown name.
    """
    library_name, architecture = resolve_name(name)
    library = LIBRARIES[library_name]
    skeleton = _skeleton(library, architecture, IMAGENET_CLASSES)
    return tuple(_classifier_in(library, architecture, skeleton))


def _from_package(library: Library, name: str, architecture: str) -> WeightedNetwork | None:
    """Return the network with bundled weights, or None if none are installed."""
    entry = bundled_weights(name)
    if entry is None or entry.path() is None:
        return None
    network = _seeded(lambda: library.build(architecture, None))
    network.load_state_dict(entry.load(network.state_dict()))
    return WeightedNetwork(network, WeightsInfo("bundled", entry.package, entry.sha256), None)


def _from_hub(
    library: Library, name: str, architecture: str, tag: str, progress: Progress | None
) -> WeightedNetwork:
    """Return the network with the library's own weights, downloaded unless already here."""
    file = library.weights_file(architecture, tag)
    path = _fetched(file, name, progress)
    try:
        sha256 = sha256_of(path)
        if file.is_altered(path, sha256):
            raise BrokenFileError(
                f"The content of '{path.name}' must be what was downloaded; its SHA-256 differs."
            )
        state_dict = read_checkpoint(path)
    except OSError as error:
        raise WeightsUnavailableError(
            f"{name}: The weights file '{path}' could not be read ({error.strerror})."
        ) from error
    except BrokenFileError as error:
        raise WeightsUnavailableError(
            f"{name}: {error} {_discarded(file, path)} {_offline_advice()}"
        ) from error
    except GroupCamError as error:
        # As published, most likely: a new download would bring the same.
        raise WeightsUnavailableError(f"{name}: {error} It lies at '{path}'.") from error
    try:
        network = _seeded(lambda: library.build_official(architecture, tag, path, state_dict))
    except RuntimeError as error:
        # torch has no type of its own for tensors that do not fit; no memory is another matter.
        if "loading state_dict" not in str(error):
            raise
        raise WeightsUnavailableError(
            f"{name}: The weights '{tag}' in '{path}' must fit the network; they do not. If the "
            "file is not the published one, remove it there to have it downloaded anew."
        ) from error
    return WeightedNetwork(network, WeightsInfo("hub", tag, sha256), tag)


def _fetched(file: WeightsFile, name: str, progress: Progress | None) -> Path:
    """Return where a backbone's weights file is, downloaded unless already here."""
    path = file.cached()
    if path is not None:
        return path
    try:
        return file.download(progress)
    except WeightsUnavailableError as error:
        raise WeightsUnavailableError(f"{name}: {error} {_offline_advice()}") from error


def _discarded(file: WeightsFile, path: Path) -> str:
    """Remove a broken file from the cache, and return the sentence that says so."""
    try:
        file.discard(path)
    except OSError as error:
        return f"It could not be removed from the cache ({error.strerror}): remove '{path}'."
    return "It was removed from the cache, so the next try downloads it anew."


def _from_file(library: Library, name: str, architecture: str, path: Path) -> WeightedNetwork:
    """Return the network with the weights of a local file, whatever its number of classes."""
    state_dict = read_checkpoint(path)
    skeleton = _skeleton(library, architecture, IMAGENET_CLASSES)
    classifier = _classifier_in(library, architecture, skeleton)
    classes = _classes_in(classifier, state_dict)
    if classes != IMAGENET_CLASSES:
        skeleton = _skeleton(library, architecture, classes)

    mismatch = describe_mismatch(skeleton, state_dict)
    network = None
    if mismatch is None or len(skeleton.keys() & state_dict.keys()) > len(skeleton) // 2:
        try:
            # Also without an exact fit: the library may know the file's older format.
            network = _seeded(
                lambda: library.build(
                    architecture, None, classes=classes, state_dict=dict(state_dict)
                )
            )
        # Conversions of old formats meet foreign tensors here and fail in any way.
        except (
            *(RuntimeError, LookupError, ValueError, TypeError, AttributeError),
            *(AssertionError, ArithmeticError),
        ) as error:
            difference = mismatch or str(error)
            advice = _advice_for(skeleton, state_dict, classifier)
            raise GroupCamError(_does_not_fit(path, name, difference, advice)) from error
    if network is None:
        advice = _advice_for(skeleton, state_dict, classifier)
        raise GroupCamError(_does_not_fit(path, name, mismatch or "", advice))
    info = WeightsInfo("file", str(path), sha256_of(path))
    names = class_names_in(path)
    if names is not None and len(names) != classes:
        names = None
    return WeightedNetwork(network, info, None, names)


def _classifier_in(
    library: Library, architecture: str, skeleton: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the part of a skeleton that changes its shape with the number of classes."""
    other = _skeleton(library, architecture, IMAGENET_CLASSES + 1)
    return {key: value for key, value in skeleton.items() if value.shape != other[key].shape}


def _classes_in(classifier: dict[str, Tensor], state_dict: dict[str, Tensor]) -> int:
    """Return the number of classes in a file's weights, 1000 if it cannot be told."""
    for key in classifier:
        if key in state_dict and state_dict[key].ndim:
            return int(state_dict[key].shape[0])
    return IMAGENET_CLASSES


def _advice_for(
    skeleton: dict[str, Tensor], state_dict: dict[str, Tensor], classifier: dict[str, Tensor]
) -> str:
    """Return what to do with a file that does not fit the skeleton of a network."""
    missing = skeleton.keys() - state_dict.keys()
    if missing and missing <= classifier.keys():
        return (
            "They are an encoder without a classifier, and a map explains a class: train a "
            "classifier on it and save the whole network."
        )
    for key, tensor in skeleton.items():
        found = state_dict.get(key)
        if found is not None and found.shape != tensor.shape and found.ndim == tensor.ndim == 4:
            # The first layer that sees the picture: (out, colours, h, w).
            if tensor.shape[1] == RGB and found.shape[1] != RGB:
                return (
                    f"Their network takes inputs of {found.shape[1]} channels, and pictures are "
                    "shown to networks as RGB (3): choose weights trained on RGB pictures."
                )
            break
    return "Choose the backbone that the file was saved from."


def _skeleton(library: Library, architecture: str, classes: int) -> dict[str, Tensor]:
    """Return the names and shapes of a network's tensors, without values where that can be."""
    try:
        with torch.device("meta"):
            return library.build(architecture, None, classes=classes).state_dict()
    except NotImplementedError:
        # Some initialisations ask for values (torchvision's RegNet); they need a real network.
        return _seeded(lambda: library.build(architecture, None, classes=classes)).state_dict()


def _resolve_tag(library: Library, name: str, architecture: str, weights: str) -> str:
    """Return the library's tag for `weights`, a tag or "default"."""
    tags = library.tags()[architecture]
    encoders = library.encoder_tags(architecture)
    if weights in encoders or (weights == "default" and encoders and not tags):
        raise GroupCamError(_has_no_classifier(name, tags, encoders))
    if not tags:
        raise GroupCamError(
            f"{name} must have pretrained classifier weights to load weights='{weights}'; the "
            "library has none. Give weights=None (random), a weights file, or another backbone."
        )
    if weights == "default":
        return tags[0]
    if weights not in tags:
        raise GroupCamError(
            f"weights must be 'default', None, a file or a tag of {name} ({', '.join(tags)}); "
            f"got {shown(weights)}.{did_you_mean(weights, tags)}"
        )
    return weights


def _is_path(weights: str | Path) -> bool:
    """Return whether `weights` means a file; tags have neither slashes nor these suffixes."""
    return isinstance(weights, Path) or bool(
        Path(weights).suffix.lower() in SUFFIXES or re.search(r"[/\\]", weights)
    )


def _seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """Return what `build` gives when it draws from a fixed seed; the global state is kept."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would reseed the accelerators too.
        torch.default_generator.manual_seed(RANDOM_SEED)
        return build()


def _without_zero_weights(network: nn.Module) -> nn.Module:
    """Return the network with its all-zero weights drawn at random, in place.

    Some architectures start training with a classifier of zeros. Without training all their
    logits would be equal, whatever the picture. Biases and gains (1-D) are not touched.
    """
    for parameter in network.parameters():
        if parameter.ndim >= 2 and not parameter.any():
            nn.init.normal_(parameter, std=RANDOM_STD)
    return network


def _offline_advice() -> str:
    """Return what to do when no hub is reached."""
    ready = [entry.name for entry in list_backbones() if entry.ready_offline]
    shown = ", ".join(ready[:OFFLINE_NAMES_SHOWN])
    choices = f"choose a backbone that is ready offline ({shown})" if ready else "use weights=None"
    return f"Check the connection and try again, give a weights file, or {choices}."


def _has_no_classifier(name: str, tags: Sequence[str], encoders: Sequence[str]) -> str:
    choice = "Choose another backbone, give a weights file with a classifier trained on the encoder"
    if tags:
        choice = f"Choose a tag with a classifier ({', '.join(tags)})"
    return (
        f"{name} must have pretrained classifier weights, as a map explains a class; "
        f"{', '.join(encoders)}: an encoder without a classifier (0 classes). "
        f"{choice}, or weights=None (random)."
    )


def _does_not_fit(path: Path, name: str, difference: str, advice: str) -> str:
    return (
        f"The weights in '{path.name}' must be those of {name}; tensors differ: {difference}. "
        f"{advice}"
    )
