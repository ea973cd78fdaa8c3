"""What decides about a training, and the card that keeps results of other settings apart."""

import dataclasses
import importlib.metadata
from dataclasses import dataclass
from typing import Any, Literal, get_args

from timm.optim import list_optimizers

import groupcam
from groupcam.augment import AugmentConfig, Edge, Source
from groupcam.errors import GroupCamError, did_you_mean
from groupcam.evaluate.settings import plain
from groupcam.finetune.data import ClassFolders
from groupcam.models import DEFAULT_BACKBONE
from groupcam.saliency import GroupCamConfig

Augment = Literal["none"] | Source
Unit = Literal["epochs", "pictures", "forwards"]
Amp = Literal["none", "bfloat16", "float16"]
Schedule = Literal["cosine", "poly", "step", "tanh"]  # timm's, over the whole length

AUGMENTS: tuple[str, ...] = ("none", *get_args(Source))
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")  # the numbers depend on them


@dataclass(frozen=True)
class FinetuneSettings:
    """All that decides about the numbers, except for the pictures.

    Two trainings have an equal budget when they have the same length in one of the units:
    "pictures" seen (an epoch is all of them once), or "forwards", the forward passes of training
    and augmentation together. Evaluations count for neither.

    Raises:
        GroupCamError: a value is unknown or not possible.
    """

    backbone: str = DEFAULT_BACKBONE
    weights: str | None = "default"  # to begin with; see `load_backbone`
    input_size: int | None = None  # side in pixels; None: the weights' own
    trained: tuple[str, ...] = ()  # modules that learn, beside a new classifier; none: all

    augment: Augment = "group_cam"
    probability: float = AugmentConfig.probability  # that a picture is augmented
    edge: Edge = AugmentConfig.edge
    target_layer: str | None = None  # that is explained; None: the backbone's default
    group_cam: GroupCamConfig = AugmentConfig.group_cam

    length: int = 10
    unit: Unit = "epochs"
    batch_size: int = 32  # of all processes together
    optimizer: str = "sgd"  # of timm
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    warmup: float = 0.05  # part of the length in which the learning rate rises
    label_smoothing: float = 0.0
    smallest_crop: float = 0.25  # part of a picture's area that a random crop has at least
    ema_decay: float | None = None  # of a running mean of the weights, which is then evaluated
    amp: Amp = "none"  # number format of the training's passes

    held_out: float = 0.2  # part of each class that is evaluated on, where there is no val folder
    split: int = 0  # which part that is
    kinds: bool = False  # whether kinds of things are learnt, where folders are WordNet ids
    evaluations: int = 10  # evenly spaced; a checkpoint is written with each
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Check every value that can be checked without a network."""
        for name, choices in (
            ("augment", AUGMENTS),
            ("unit", get_args(Unit)),
            ("schedule", get_args(Schedule)),
            ("amp", get_args(Amp)),
            ("optimizer", tuple(map(str, list_optimizers()))),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise GroupCamError(
                    f"{name} must be one of {', '.join(choices)}; got {value!r}."
                    f"{did_you_mean(str(value), choices)}"
                )
        for name in ("length", "batch_size", "evaluations"):
            if getattr(self, name) < 1:
                raise GroupCamError(f"{name} must be at least 1; got {getattr(self, name)}.")
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise GroupCamError(f"{name} must be between {low} and {high}; got {value}.")
        _ = self.augment_config  # which refuses what it cannot be

    @property
    def augment_config(self) -> AugmentConfig | None:
        """Return how pictures are augmented, or None."""
        if self.augment == "none":
            return None
        return AugmentConfig(self.augment, self.probability, self.edge, self.group_cam)

    def budget(self, data: ClassFolders) -> int:
        """Return the length in pictures, or in forward passes where that is the unit."""
        return self.length * (len(data.training) if self.unit == "epochs" else 1)


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("learning_rate", 0, 1000),
    ("momentum", 0, 1),
    ("weight_decay", 0, 1000),
    ("warmup", 0, 1),
    ("label_smoothing", 0, 1),
    ("smallest_crop", 0.01, 1),
    ("ema_decay", 0, 1),
    ("held_out", 0.01, 0.99),
)


def card_of(settings: FinetuneSettings, data: ClassFolders) -> dict[str, Any]:
    """Return all that the numbers depend on, as plain data: the header of the metrics."""
    return {
        "settings": plain(dataclasses.asdict(settings)),
        "data": {
            "classes": list(data.classes),
            "training": len(data.training),
            "validation": len(data.validation),
            "names_sha256": data.fingerprint,
        },
        "versions": {
            "groupcam": groupcam.__version__,
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
    }


def settings_from(card: dict[str, Any]) -> FinetuneSettings:
    """Return the settings that a card was made of."""
    told = dict(card["settings"])
    return FinetuneSettings(
        **{
            **told,
            "trained": tuple(told["trained"]),
            "group_cam": GroupCamConfig(**told["group_cam"]),
        }
    )
