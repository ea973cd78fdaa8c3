"""A network ready to be explained: weights, preprocessing, class names, device, lock."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError, did_you_mean, shown
from groupcam.language import ENGLISH, say, speaking
from groupcam.memory import is_out_of_memory
from groupcam.models.catalogue import resolve_name
from groupcam.models.exact import exact_float32
from groupcam.models.hub import Progress
from groupcam.models.input_size import (
    COMPLAINTS,
    check_takes,
    checked_size,
    count_classes,
    library_tag,
    network_for_size,
    refusal,
)
from groupcam.models.labels import numbered_names
from groupcam.models.libraries import LIBRARIES
from groupcam.models.logits import logits_of
from groupcam.models.preprocessing import Preprocessing, View
from groupcam.models.weights import WeightsInfo, build_network, fetch_weights

MOST_DIGITS = 9  # of a class's number given as a text


@dataclass(frozen=True, eq=False)
class Backbone:
    """A classifier with all that is needed to show it a picture.

    Any module that maps (N, 3, H, W) to logits (N, K) will do as `network`. For one of your own,
    `Backbone.from_module` counts the classes.

    Raises:
        GroupCamError: there are no class names, or two are the same.
    """

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...]  # (K,), unique, in the order of the logits
    weights: WeightsInfo = WeightsInfo("given")
    # Explaining sets hooks and modes on the shared network: one thread at a time.
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        """Refuse class names that cannot be told apart."""
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise GroupCamError(
                "class_names must be unique, one per logit; "
                f"got {len(self.class_names)} names, {len(set(self.class_names))} different."
            )

    @classmethod
    def from_module(
        cls,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        class_names: Sequence[str] | None = None,
        name: str = "custom",
    ) -> "Backbone":
        """Return a backbone around a network of one's own, checked with one forward pass.

        Args:
            network: maps (N, 3, H, W) to logits (N, K); stays where and as it is.
            preprocessing: the network's input size and normalisation.
            class_names: K unique names; None: "class 0", "class 1", ...
            name: what results call it.

        Raises:
            GroupCamError: the network gives no logits (N, K), or K is not the number of names.
        """
        unnamed = cls(name, network, preprocessing, tuple(class_names or ("class 0",)))
        with unnamed.frozen():
            classes = count_classes(network, preprocessing.input_size)
        names = numbered_names(classes) if class_names is None else tuple(class_names)
        _check_class_count(classes, len(names))
        return cls(name, network, preprocessing, names)

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are (CPU for a network without any)."""
        parameter = next(self.network.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def preprocess(self, rgb: np.ndarray, view: View = "crop") -> Tensor:
        """Return the network's input (1, 3, H, W) for a picture, uint8 (H, W, 3)."""
        return self.preprocessing(rgb, view).unsqueeze(0).to(self.device)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits (N, K) of normalised inputs (N, 3, H, W).

        Networks that answer with a tuple or a dictionary are understood. The network's mode is
        not changed: call this inside `frozen()` unless it is in evaluation mode already.

        Raises:
            GroupCamError: the answer is not one logit per class and input.
        """
        logits = logits_of(self.network(inputs), inputs.shape[0])
        _check_class_count(logits.shape[1], len(self.class_names))
        return logits

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold the network still: locked, in evaluation mode, no parameter wants a gradient.

        float32 is exact meanwhile, on a GPU too. Modes, requires_grad flags and the global random
        state come back on exit, also after an error. May be nested.
        """
        with self.lock, exact_float32():
            modes = [(module, module.training) for module in self.network.modules()]
            wants = [(parameter, parameter.requires_grad) for parameter in self._parameters()]
            accelerators = [self.device] if self.device.type == "cuda" else []
            with torch.random.fork_rng(devices=accelerators):
                try:
                    # Asked first: setting what is so already takes most of a call's time, which
                    # every micro-batch pays.
                    if any(training for _, training in modes):
                        self.network.eval()
                    if any(requires_grad for _, requires_grad in wants):
                        self.network.requires_grad_(False)
                    yield
                finally:
                    for module, training in modes:
                        if module.training is not training:
                            module.training = training
                    for parameter, requires_grad in wants:
                        if parameter.requires_grad is not requires_grad:
                            parameter.requires_grad_(requires_grad)

    @property
    def caveat(self) -> str | None:
        """Return why a map of this network explains little, in English; None if it may."""
        with speaking(ENGLISH):  # it goes into results, which are kept and read by programs
            return caveat_of(self.weights, self.class_names)

    def class_index_of(self, class_: "int | str | np.integer[Any]") -> int:
        """Return the index of a class given by index, by name (case ignored) or by "285".

        Raises:
            GroupCamError: there is no such class; the message names the nearest ones.
            TypeError: class_ is neither a whole number nor a text.
        """
        classes = len(self.class_names)
        if isinstance(class_, str):
            wanted = class_.strip().casefold()
            for index, name in enumerate(self.class_names):
                if name.casefold() == wanted:
                    return index
            if not wanted.isdecimal() or len(wanted) > MOST_DIGITS:
                hint = did_you_mean(class_, self.class_names)
                text = say(
                    "refused.class",
                    count=classes,
                    backbone=self.name,
                    given=shown(class_),
                    hint=hint,
                )
                raise GroupCamError(text)
            class_ = int(wanted)
        if isinstance(class_, bool) or not isinstance(class_, int | np.integer):
            raise TypeError(f"class_ must be an int or a str; got {type(class_).__name__}.")
        if not 0 <= class_ < classes:
            raise GroupCamError(
                say("refused.class_index", last=classes - 1, backbone=self.name, given=class_)
            )
        return int(class_)

    def _parameters(self) -> list[nn.Parameter]:
        return list(self.network.parameters())


def caveat_of(weights: WeightsInfo, class_names: Sequence[str]) -> str | None:
    """Return in the present language why a map explains little, in one sentence; None if it may.

    Args:
        weights: of the network.
        class_names: of its K outputs.
    """
    if weights.source == "random":
        return say("caveat.random")
    if weights.source == "hub" and tuple(class_names) == numbered_names(len(class_names)):
        return say("caveat.unnamed", outputs=len(class_names))
    return None


def load_backbone(
    name: str,
    weights: str | Path | None = "default",
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    input_size: int | tuple[int, int] | None = None,
    room: AbstractContextManager[object] | None = None,
) -> Backbone:
    """Return a backbone of timm or torchvision, ready on `device`, in evaluation mode.

    Args:
        name: "library/architecture" as `list_backbones` gives it, "timm/tf_efficientnet_lite0".
        weights: "default", a tag of the library, a path to a .safetensors, .pth, .pt or .bin
            file, or None for random weights (always the same ones).
        device: "cpu", "cuda", "cuda:1", "mps".
        progress: called with (what is done, bytes done, bytes in all or 0) during a download.
        input_size: side of a square input or (H, W) in pixels, where the network allows it (see
            `input_sizes`); position embeddings are interpolated, the picture is resized in the
            same proportion to the crop. None: the size that the weights were evaluated with.
        room: held while the network is built, after its weights have been downloaded; for a
            server, on which many load at once.

    Raises:
        GroupCamError: unknown name, tag or device; a weights file that does not fit; a network
            that takes no RGB pictures or not of this size, or does not fit into memory.
        WeightsUnavailableError: the weights must be downloaded and cannot be.
    """
    resolve_name(name)
    target = _checked_device(device)
    size = None if input_size is None else checked_size(input_size)
    if size is not None:
        check_takes(name, library_tag(name, weights), size)  # before anything is downloaded
    fetch_weights(name, weights, progress)
    with room or nullcontext():
        return _built(name, weights, target, progress, size)


def _built(
    name: str,
    weights: str | Path | None,
    target: torch.device,
    progress: Progress | None,
    size: tuple[int, int] | None,
) -> Backbone:
    """Return the backbone of `load_backbone`, whose weights are here."""
    library_name, architecture = resolve_name(name)
    library = LIBRARIES[library_name]
    try:
        built = build_network(name, weights, progress)
        network = built.network.eval()
        preprocessing = library.preprocessing(architecture, built.tag)
        if size is not None and size != preprocessing.input_size:
            network = network_for_size(name, built.tag, network, size)
            preprocessing = library.preprocessing(architecture, built.tag, size)
        # Twice as fast on a CPU (measured on EfficientNet-Lite0); only 4-D weights are affected.
        network = network.to(device=target).to(memory_format=torch.channels_last)
        network.requires_grad_(False)
        classes = count_classes(network, preprocessing.input_size)
    except (MemoryError, *COMPLAINTS) as error:
        if is_out_of_memory(error):
            raise GroupCamError(_too_large(name, target)) from error
        # Without values, a look-up beyond the end of a table is not noticed.
        if size is not None and isinstance(error, IndexError):
            raise refusal(name, built.tag, size) from error
        raise
    return Backbone(
        name=name,
        network=network,
        preprocessing=preprocessing,
        class_names=built.class_names or library.class_names(architecture, built.tag, classes),
        weights=built.info,
    )


def _check_class_count(logits: int, names: int) -> None:
    if logits != names:
        raise GroupCamError(
            f"class_names must have one name per logit; got {names} names for {logits} logits."
        )


def _checked_device(device: str | torch.device) -> torch.device:
    """Return the device if this machine has it.

    Raises:
        GroupCamError: it is unknown or absent.
    """
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    # torch raises AssertionError for a build without CUDA, RuntimeError for the rest.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        available = ["cpu"]
        available += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        available += ["mps"] if torch.backends.mps.is_available() else []
        raise GroupCamError(
            f"device must be one of this machine's ({', '.join(available)}); got '{device}'."
        ) from error
    if target.type == "meta":
        raise GroupCamError("device must be able to compute; got 'meta'. Use 'cpu'.")
    return target


def _too_large(name: str, device: torch.device) -> str:
    return f"{name} must fit into the memory of {device}; it does not. Choose a smaller backbone."
