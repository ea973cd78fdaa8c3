"""A visitor's choice, the run that answers it, and the events on the way there."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from torch import Tensor

from groupcam.images import Picture
from groupcam.metrics import Curves
from groupcam.metrics.curves import PartialCurves, PerturbedPictures
from groupcam.models import Backbone, Preprocessing, TargetLayer, View
from groupcam.models.backbone import caveat_of
from groupcam.models.pool import BackboneKey
from groupcam.saliency import Explanation, GroupCamConfig
from groupcam.saliency.capture import Capture
from groupcam.share.record import Network


class Choice(NamedTuple):
    """Everything that a result depends on; hashable, so equal choices share a result."""

    picture_id: str
    backbone: BackboneKey
    target_layer: str | None  # None: the backbone's default
    class_name: str | None  # None: the top class
    config: GroupCamConfig
    view: View


class Placed(Protocol):
    """Where a map lies on its picture."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """Return the picture's (H, W) in pixels."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the picture that the network saw."""

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the map that lies on that box."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A choice and the picture that it is about."""

    choice: Choice
    picture: Picture
    preprocessing: Preprocessing  # not the backbone: a kept result must not keep a network

    @property
    def size_hw(self) -> tuple[int, int]:
        """Return the picture's (H, W) in pixels."""
        return self.picture.rgb.shape[0], self.picture.rgb.shape[1]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the picture that the network saw."""
        return self.preprocessing.box(self.size_hw, self.choice.view)

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the map that lies on that box."""
        return self.preprocessing.inner(self.size_hw, self.choice.view)


@dataclass(frozen=True, eq=False)
class Run(Shown):
    """One finished explanation with all that its views need."""

    capture: Capture
    explanation: Explanation
    perturbed: PerturbedPictures
    network: Network
    curves: Curves | None = None  # None until both curves are complete

    @property
    def run_id(self) -> str:
        """Return a short name for the choice; nobody can guess that of another's picture."""
        return hashlib.sha256(repr(self.choice).encode()).hexdigest()[:20]

    @property
    def caveat(self) -> str | None:
        """Return the backbone's, in the present language."""
        return caveat_of(self.network.weights, self.network.class_names)

    @property
    def size_bytes(self) -> int:
        """Return the memory that keeping this run costs beyond its picture and backbone."""
        tensors = [
            *(value for value in vars(self.explanation).values() if isinstance(value, Tensor)),
            *vars(self.perturbed).values(),
        ]
        return _bytes_of(*tensors, *_tensors_of(self.capture))


@dataclass(frozen=True)
class Loading:
    """A backbone is being loaded: what is done, with how many bytes of how many when known."""

    text: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, eq=False)
class Predicted:
    """The network has seen the picture."""

    backbone: Backbone
    layer: TargetLayer
    logits: Tensor  # (K,)
    is_kept: bool  # from an earlier run

    def top(self, classes: int) -> list[tuple[int, str, float]]:
        """Return (index, label, probability) of the top classes, most probable first."""
        best = self.logits.softmax(0).topk(min(classes, len(self.logits)))
        names = self.backbone.class_names
        ranked = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(index, names[index], value) for index, value in ranked]


@dataclass(frozen=True, eq=False)
class Scoring(Shown):
    """Some groups are scored."""

    done: int  # forward passes
    total: int
    saliency_map: Callable[[], Tensor] | None  # what they give, (1, H, W); None: no group yet


@dataclass(frozen=True, eq=False)
class Explained:
    """The map is there."""

    run: Run
    from_cache: bool


@dataclass(frozen=True, eq=False)
class Surveyed:
    """Every listed layer's answer to the picture is there."""

    backbone: Backbone
    means: dict[str, Tensor]  # layer name -> mean activation (h, w)


@dataclass(frozen=True, eq=False)
class Drawing:
    """Some points of the curves are there."""

    run: Run
    points: PartialCurves


@dataclass(frozen=True, eq=False)
class Finished:
    """Everything is there."""

    run: Run


Event = Loading | Predicted | Scoring | Explained | Surveyed | Drawing | Finished


def fitted(config: GroupCamConfig, layer: TargetLayer) -> GroupCamConfig:
    """Return the settings with at most as many groups as the layer has channels."""
    return replace(config, groups=min(config.groups, layer.shape[0]))


def capture_bytes(capture: Capture) -> int:
    """Return the memory that a capture holds."""
    return _bytes_of(*_tensors_of(capture))


def _tensors_of(capture: Capture) -> tuple[Tensor, ...]:
    """Return the large ones."""
    return capture.inputs, capture.activations, capture.gradients, capture.logits


def _bytes_of(*tensors: Tensor) -> int:
    """Return the memory of some tensors, what they share counted once."""
    stores = (tensor.untyped_storage() for tensor in tensors)
    return sum({store.data_ptr(): store.nbytes() for store in stores}.values())
