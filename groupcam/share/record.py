"""One result with all that it takes to show it, to check it and to make it again."""

import dataclasses
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
import torchvision

import groupcam
from groupcam.images import Picture
from groupcam.metrics import Curves
from groupcam.models import Backbone, Preprocessing, View
from groupcam.models.preprocessing import inner_part
from groupcam.models.weights import WeightsInfo
from groupcam.saliency import Explanation

TOP_CLASSES = 5


@dataclass(frozen=True, eq=False)
class Network:
    """What is to be told of a backbone; unlike the backbone it holds no weights."""

    name: str
    weights: WeightsInfo
    asked_weights: str | None  # what `load_backbone` was given: a tag, a path, None for random
    asked_input_size: int | tuple[int, int] | None  # the same; None: the weights' own
    device: str
    preprocessing: Preprocessing
    class_names: tuple[str, ...]  # (K,)
    caveat: str | None

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        asked_weights: str | Path | None = "default",
        asked_input_size: int | tuple[int, int] | None = None,
    ) -> "Network":
        """Return the facts of a backbone that was loaded with these arguments."""
        return cls(
            name=backbone.name,
            weights=backbone.weights,
            asked_weights=None if asked_weights is None else str(asked_weights),
            asked_input_size=asked_input_size,
            device=backbone.device.type,
            preprocessing=backbone.preprocessing,
            class_names=tuple(backbone.class_names),
            caveat=backbone.caveat,
        )


@dataclass(frozen=True, eq=False)
class Record:
    """One result: the picture, the network, the explanation and, once they are made, the curves."""

    picture: Picture
    picture_name: str  # of its file, without folders
    picture_sha256: str  # of its file
    view: View
    network: Network
    explanation: Explanation
    curves: Curves | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the picture that the network saw."""
        return self.network.preprocessing.box(self._size, self.view)

    @property
    def inner(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right): the part of the network's input that shows that."""
        return self.network.preprocessing.inner(self._size, self.view)

    @property
    def seen(self) -> npt.NDArray[np.uint8]:
        """Return the part of the picture that the network saw, uint8 (H, W, 3)."""
        top, left, bottom, right = self.box
        return np.ascontiguousarray(self.picture.rgb[top:bottom, left:right])

    @property
    def seen_map(self) -> npt.NDArray[np.float32]:
        """Return the part of the saliency map that lies on `seen`, of any size."""
        seen_map: npt.NDArray[np.float32] = inner_part(
            self.explanation.saliency_map.numpy(), self.inner
        )
        return seen_map

    @property
    def seen_masks(self) -> npt.NDArray[np.float32]:
        """Return the part of the group masks that lies on `seen`, (G, h, w) in [0, 1]."""
        masks: npt.NDArray[np.float32] = inner_part(
            self.explanation.group_masks.numpy(), self.inner
        )
        return masks

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.picture.rgb.shape[:2]
        return height, width


def manifest_of(record: Record) -> dict[str, Any]:
    """Return all settings and numbers of a result as plain values, every number finite.

    Nothing in it depends on when or how fast the result was made.
    """
    explanation, network = record.explanation, record.network
    return {
        "versions": versions(),
        "picture": {
            "file": record.picture_name,
            "sha256": record.picture_sha256,
            "size": list(record.picture.rgb.shape[:2]),
            "notes": list(record.picture.notes),
            "view": record.view,
            "seen_box": list(record.box),
            "input_box": list(record.inner),
        },
        "network": network_facts(network),
        "target_layer": explanation.target_layer,
        "config": dataclasses.asdict(explanation.config),
        "class": {
            "index": explanation.class_index,
            "label": explanation.class_label,
            "probability": explanation.probability,
        },
        "top_classes": top_classes(explanation, network.class_names),
        "baseline_probability": explanation.baseline_probability,
        "masked_probability": explanation.masked_probability.tolist(),
        "group_weights": explanation.group_weights.tolist(),
        "forward_passes": explanation.forward_passes,
        "blank_reason": explanation.blank_reason,
        "curves": None if record.curves is None else _curves_facts(record.curves),
    }


def top_classes(explanation: Explanation, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return index, label and probability of the most probable classes, first the most so."""
    probabilities = explanation.logits.softmax(dim=0)
    top = probabilities.topk(min(TOP_CLASSES, len(probabilities)))
    return [
        {"index": index, "label": class_names[index], "probability": probability}
        for probability, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
    ]


def network_facts(network: Network) -> dict[str, Any]:
    """Return what is to be told of a network as plain values."""
    weights = dataclasses.asdict(network.weights)
    if network.weights.source == "file":
        weights["tag"] = Path(network.weights.tag).name  # the folders are nobody else's business
    return {
        "backbone": network.name,
        "weights": weights,
        "input_size": list(network.preprocessing.input_size),
        "device": network.device,
        "caveat": network.caveat,
    }


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on."""
    return {
        "groupcam": groupcam.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
    }


def _curves_facts(curves: Curves) -> dict[str, Any]:
    """Return the numbers of the curves and how they were made; the points are in a file."""
    return {
        "insertion_auc": curves.insertion_auc,
        "deletion_auc": curves.deletion_auc,
        "steps": len(curves.fractions) - 1,
        "forward_passes": 2 * len(curves.fractions),
        "protocol": dataclasses.asdict(curves.protocol),
    }
