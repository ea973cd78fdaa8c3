"""What an evaluation measures, and the card that keeps results of other settings apart."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import groupcam
from groupcam.errors import GroupCamError, did_you_mean
from groupcam.evaluate.data_sets import DataSet, Half
from groupcam.evaluate.measures import BOX_METRICS, METRICS
from groupcam.evaluate.variants import Variant, parse_variant
from groupcam.metrics import CurveProtocol
from groupcam.metrics.protocols import PRESETS
from groupcam.models import DEFAULT_BACKBONE, View
from groupcam.models.checkpoints import sha256_of

Explained = Literal["top", "label"]

PACKAGES = ("torch", "torchvision", "timm", "openvino", "numpy")  # the numbers depend on them


@dataclass(frozen=True)
class EvaluateSettings:
    """All that decides about the numbers, except for the pictures.

    Raises:
        GroupCamError: a value is unknown or not possible.
    """

    methods: tuple[str, ...] = ("group_cam_official", "group_cam", "grad_cam")  # see `Variant`
    metrics: tuple[str, ...] = ("insertion", "deletion", "over_all", "average_drop")
    backbones: tuple[str, ...] = (DEFAULT_BACKBONE,)
    layers: tuple[str, ...] = ()  # "blocks.5", "BACKBONE:blocks.5"; none: each backbone's default
    weights: str | None = "default"  # of all backbones; see `load_backbone`
    explained: Explained = "top"  # the class: the network's top one, or the data set's label
    view: View = "crop"
    protocol: str = "authors"  # of the curves
    steps: int | None = None  # of the curves, at most; None: the protocol's
    half: Half = "both"
    limit: int | None = None  # pictures, spread evenly over the folder
    device: str = "cpu"
    prepare: bool = True  # run networks as optimised graphs: faster, equal to about 1e-5

    def __post_init__(self) -> None:
        """Check every value that can be checked without a network."""
        for name in ("methods", "metrics", "backbones"):
            _require_some(name, getattr(self, name))
        _require_different("layers", self.layers)
        for metric in self.metrics:
            _require_among("metrics", metric, tuple(METRICS))
        _require_among("protocol", self.protocol, tuple(PRESETS))
        for name, choices in (("explained", Explained), ("half", Half), ("view", View)):
            _require_among(name, getattr(self, name), get_args(choices))
        for name in ("steps", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise GroupCamError(f"{name} must be at least 1; got {value}.")
        for layer in self.layers:
            if ":" in layer and layer.partition(":")[0] not in self.backbones:
                raise GroupCamError(
                    f"The backbone in '{layer}' must be one of {', '.join(self.backbones)}. Write "
                    "layers as NAME, or as BACKBONE:NAME for one of the backbones."
                )
        _ = self.variants  # which refuses what is no method

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Return the methods with their options."""
        return tuple(parse_variant(text) for text in self.methods)

    def layers_of(self, backbone: str) -> tuple[str | None, ...]:
        """Return the layers to explain in a backbone; None is its default."""
        own = [
            layer.removeprefix(f"{backbone}:")
            for layer in self.layers
            if ":" not in layer or layer.startswith(f"{backbone}:")
        ]
        return tuple(own) or (None,)

    def curve_protocol(self, size: tuple[int, int]) -> CurveProtocol:
        """Return how curves are made at an input size (H, W)."""
        protocol = CurveProtocol.named(self.protocol, size)
        if self.steps is None:
            return protocol
        pixels = CurveProtocol.with_steps(self.steps, size).pixels_per_step
        return dataclasses.replace(protocol, pixels_per_step=pixels)

    def check_against(self, data: DataSet) -> None:
        """Refuse what cannot be measured on this kind of data set.

        Raises:
            GroupCamError: there are no boxes or labels.
        """
        wants_boxes = [metric for metric in self.metrics if metric in BOX_METRICS]
        if wants_boxes and data.kind not in ("coco", "voc"):
            raise GroupCamError(
                f"{wants_boxes[0]} must have a folder with boxes (COCO, VOC); this one is "
                f"'{data.kind}'. Leave the metric out, or choose another folder."
            )
        if self.explained == "label" and data.kind == "plain":
            raise GroupCamError(
                "The class 'label' must have a folder with labels (folders named by WordNet id, "
                "COCO, VOC); this one is plain. Explain the top class."
            )


def protocol_card(settings: EvaluateSettings, data: DataSet) -> dict[str, Any]:
    """Return all that the numbers depend on, as plain data: the header of the results.

    Args:
        settings: of the evaluation.
        data: the pictures that are evaluated.
    """
    card: dict[str, Any] = {"settings": plain(dataclasses.asdict(settings))}
    card["methods"] = {variant.name: plain(variant.settings) for variant in settings.variants}
    card["curves"] = plain(dataclasses.asdict(PRESETS[settings.protocol]))
    card["data"] = {
        "kind": data.kind,
        "pictures": len(data.samples),
        "names_sha256": data.fingerprint,
    }
    if settings.weights is not None and Path(settings.weights).is_file():
        card["weights_sha256"] = sha256_of(Path(settings.weights))
    card["versions"] = {"groupcam": groupcam.__version__}
    for package in PACKAGES:
        try:
            card["versions"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            card["versions"][package] = None
    return card


def differences(card: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of all entries in which two cards differ, "settings.limit"."""
    names = []
    for key in sorted({*card, *other}):
        one, two = card.get(key), other.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            names += [f"{key}.{inner}" for inner in differences(one, two)]
        elif one != two:
            names.append(key)
    return names


def plain(value: Any) -> Any:
    """Return tuples as lists, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _require_some(name: str, values: tuple[str, ...]) -> None:
    if not values:
        raise GroupCamError(f"There must be at least one of the {name}; got none.")
    _require_different(name, values)


def _require_different(name: str, values: tuple[str, ...]) -> None:
    if len(set(values)) != len(values):
        raise GroupCamError(f"The {name} must be different; got {', '.join(values)}.")


def _require_among(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise GroupCamError(
            f"{name} must be among {', '.join(choices)}; got {value!r}."
            f"{did_you_mean(value, choices)}"
        )
