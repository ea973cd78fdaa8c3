"""How near the areas under the curves are when only a part of their points is computed."""

import dataclasses
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from groupcam.evaluate.bench.contenders import load_subject
from groupcam.evaluate.bench.pictures import read_inputs
from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.metrics.curves import PartialCurves
from groupcam.models import Backbone
from groupcam.saliency import GroupCamConfig, explain

SHARE = 0.15  # of the forward passes of both curves
NEAR = 0.01


@dataclass(frozen=True)
class EarlyAreas:
    """How far the areas after `SHARE` of the forward passes were from the final ones."""

    backbone: str
    pictures: int
    insertion_difference: tuple[float, ...]  # of each picture, absolute
    deletion_difference: tuple[float, ...]

    @property
    def near(self) -> float:
        """Return the share of all areas that were within `NEAR`."""
        found = [*self.insertion_difference, *self.deletion_difference]
        return sum(difference <= NEAR for difference in found) / len(found)

    @property
    def both_near(self) -> float:
        """Return the share of pictures of which both areas were within `NEAR`."""
        pairs = zip(self.insertion_difference, self.deletion_difference, strict=True)
        return sum(max(pair) <= NEAR for pair in pairs) / self.pictures


def early_steps(
    name: str, files: Sequence[Path], device: str
) -> Generator[tuple[int, int], None, EarlyAreas]:
    """Draw the curves of every picture's map; yields (pictures done, in all)."""
    backbone = load_subject(name, device).prepared
    found = []
    for done, file in enumerate(files):
        yield done, len(files)
        found.append(_differences(backbone, read_inputs(backbone, [file])[0]))
    yield len(files), len(files)
    insertion, deletion = zip(*found, strict=True)
    return EarlyAreas(name, len(found), insertion, deletion)


def save_early(found: Sequence[EarlyAreas], path: Path) -> None:
    """Write the differences as JSON, with the shares that were near."""
    rows = [
        {**dataclasses.asdict(one), "near": one.near, "both_near": one.both_near} for one in found
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _differences(backbone: Backbone, inputs: Tensor) -> tuple[float, float]:
    """Return how far both areas were off after a part of the forward passes."""
    explained = explain(backbone, inputs, GroupCamConfig())[0]
    steps = curve_steps(
        backbone,
        inputs,
        explained.saliency_map[None],
        torch.tensor([explained.class_index], device=inputs.device),
        protocol=CurveProtocol.with_steps(112, (inputs.shape[-2], inputs.shape[-1])),
    )
    early: PartialCurves | None = None
    while True:
        try:
            part = next(steps)
        except StopIteration as end:
            whole = end.value[0]
            break
        if early is None or part.done <= SHARE * part.total:
            early = part
    assert early is not None
    return (
        abs(early.insertion.area.value - whole.insertion_auc),
        abs(early.deletion.area.value - whole.deletion_auc),
    )
