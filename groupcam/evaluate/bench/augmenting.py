"""What augmenting a batch costs, beside nothing but its forward passes.

Both run the same network as training has it, which no compiled graph can stand for, in alternating
rounds. The bare forwards run at the batch size that was fastest in a trial.
"""

import dataclasses
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from groupcam.augment import AugmentConfig, SaliencyAugment
from groupcam.evaluate.bench.contenders import find_floor, load_subject, timed
from groupcam.evaluate.bench.machine import hardware, versions
from groupcam.evaluate.bench.pictures import read_inputs
from groupcam.evaluate.bench.results import Ratio, Timing, ratio
from groupcam.models.bands import made_up_pictures
from groupcam.saliency import GroupCamConfig


@dataclass(frozen=True)
class AugmentingCost:
    """Augmenting one batch, every picture of it."""

    backbone: str
    batch: int
    groups: int
    input_size: tuple[int, int]
    forward_passes: int
    floor: str  # what the bare forwards run by
    augmenting: Timing
    bare: Timing
    hardware: dict[str, Any]
    versions: dict[str, str]

    @property
    def ratio(self) -> Ratio:
        """Return how many times longer augmenting takes, round by round."""
        return ratio(self.augmenting, self.bare)


def augmenting_steps(
    name: str,
    batch: int,
    *,
    repeats: int,
    device: str,
    files: Sequence[Path] = (),
    groups: int = 32,
) -> Generator[tuple[int, int], None, AugmentingCost]:
    """Measure one network; yields (rounds done, in all).

    Args:
        name: "library/architecture".
        batch: pictures N.
        repeats: rounds that count; another one warms up.
        device: where it runs.
        files: pictures, used in turns; none: made-up ones.
        groups: G.
    """
    subject = load_subject(name, device, is_prepared=False)
    floor = find_floor(subject)
    if files:
        read = read_inputs(subject.eager, files[:batch])
        images = torch.cat([read[place % len(read)] for place in range(batch)])
    else:
        images = made_up_pictures(subject.eager, batch)
    labels = subject.eager.logits(images).argmax(dim=1)
    config = AugmentConfig(probability=1, group_cam=GroupCamConfig(groups=groups))
    augment = SaliencyAugment(subject.eager.network, config)
    passes = 0
    seconds: dict[str, list[float]] = {"augmenting": [], "bare": []}

    def run_augmenting(_images: torch.Tensor) -> None:
        nonlocal passes
        passes = augment.augment(images, labels).forward_passes

    def run_bare(_images: torch.Tensor) -> None:
        left = passes
        while left:
            part = images[: min(left, floor.at_once, batch)]
            floor.forward(part)
            left -= len(part)

    contenders = {"augmenting": run_augmenting, "bare": run_bare}
    for done in range(repeats + 1):
        yield done, repeats + 1
        for contender in list(contenders)[:: 1 if done % 2 == 0 else -1]:
            taken = timed(contenders[contender], images)
            if done:
                seconds[contender].append(taken)
    yield repeats + 1, repeats + 1
    return AugmentingCost(
        backbone=name,
        batch=batch,
        groups=groups,
        input_size=subject.eager.preprocessing.input_size,
        forward_passes=passes,
        floor=f"{floor.kind}, {min(floor.at_once, batch)} at once",
        augmenting=Timing(tuple(seconds["augmenting"])),
        bare=Timing(tuple(seconds["bare"])),
        hardware=hardware(device),
        versions=versions(),
    )


def save_costs(costs: Sequence[AugmentingCost], path: Path) -> None:
    """Write the costs as JSON, with their ratios."""
    rows = [{**dataclasses.asdict(one), "ratio": dataclasses.asdict(one.ratio)} for one in costs]
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
