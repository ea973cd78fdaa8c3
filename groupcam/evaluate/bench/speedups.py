"""How far a faster setting moves maps and curves from float32 eager.

A setting may be a default if on every picture the saliency map keeps its order of pixels (Spearman
of at least 0.999) and both areas under the curves stay within 0.002.
"""

import dataclasses
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from groupcam.evaluate.bench.contenders import load_subject
from groupcam.evaluate.bench.pictures import read_inputs
from groupcam.metrics import CurveProtocol, Curves, curve_steps
from groupcam.metrics.similarity import spearman
from groupcam.models import Backbone
from groupcam.saliency import Explanation, GroupCamConfig, explain, finish
from groupcam.saliency.config import Precision

LEAST_SPEARMAN = 0.999
MOST_AUC_DIFFERENCE = 0.002
CURVE_STEPS = 28  # a point every 1,792 pixels: the areas are those of all 112 within 0.01

PRECISIONS: tuple[Precision, ...] = tuple(
    precision for precision in get_args(Precision) if precision != "float32"
)


@dataclass(frozen=True)
class SpeedupCheck:
    """One fast setting of one network against float32 eager."""

    backbone: str
    setting: str  # "prepared", or a precision
    pictures: int
    spearman: tuple[float, ...]  # of each picture's saliency maps
    insertion_difference: tuple[float, ...]  # of the areas, absolute
    deletion_difference: tuple[float, ...]

    @property
    def least_spearman(self) -> float:
        """Return the worst picture's."""
        return min(self.spearman)

    @property
    def largest_auc_difference(self) -> float:
        """Return the worst picture's and curve's."""
        return max(*self.insertion_difference, *self.deletion_difference)

    @property
    def may_be_default(self) -> bool:
        """Return whether every picture is within the bounds."""
        return (
            self.least_spearman >= LEAST_SPEARMAN
            and self.largest_auc_difference <= MOST_AUC_DIFFERENCE
        )


def speedup_steps(
    name: str, files: Sequence[Path], device: str
) -> Generator[tuple[int, int], None, list[SpeedupCheck]]:
    """Compare every fast setting with float32 eager; yields (pictures done, in all)."""
    subject = load_subject(name, device)
    found: dict[str, list[tuple[float, float, float]]] = {}
    for done, file in enumerate(files):
        yield done, len(files)
        inputs = read_inputs(subject.eager, [file])[0]
        exact = _explained(subject.eager, inputs, "float32")
        classes = torch.tensor([exact.class_index], device=inputs.device)
        exact_curves = _curves(subject.eager, inputs, exact.saliency_map, classes)
        settings: dict[str, tuple[Backbone, Precision]] = {
            "prepared": (subject.prepared, "float32")
        }
        for precision in PRECISIONS:
            settings[precision] = (subject.eager, precision)
        for setting, (backbone, precision) in settings.items():
            fast = _explained(backbone, inputs, precision, classes)
            curves = _curves(backbone, inputs, fast.saliency_map, classes)
            found.setdefault(setting, []).append(
                (
                    spearman(fast.saliency_map, exact.saliency_map),
                    abs(curves.insertion_auc - exact_curves.insertion_auc),
                    abs(curves.deletion_auc - exact_curves.deletion_auc),
                )
            )
    yield len(files), len(files)
    return [
        SpeedupCheck(name, setting, len(rows), *zip(*rows, strict=True))
        for setting, rows in found.items()
    ]


def save_checks(checks: Sequence[SpeedupCheck], path: Path) -> None:
    """Write the checks as JSON, each with its verdict."""
    rows = [
        {**dataclasses.asdict(check), "may_be_default": check.may_be_default} for check in checks
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _explained(
    backbone: Backbone, inputs: Tensor, precision: Precision, classes: Tensor | None = None
) -> Explanation:
    config = GroupCamConfig(precision=precision)
    return explain(backbone, inputs, config, class_index=classes)[0]


def _curves(backbone: Backbone, inputs: Tensor, saliency_map: Tensor, classes: Tensor) -> Curves:
    size = (inputs.shape[-2], inputs.shape[-1])
    protocol = CurveProtocol.with_steps(CURVE_STEPS, size)
    return finish(curve_steps(backbone, inputs, saliency_map[None], classes, protocol=protocol))[0]
