"""What a saliency map shows, in words, for those who cannot see it and for sentences about it."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.language import say

CELLS = 32  # a side, at most: finer grain than this is no place of its own
TOP = 0.5  # a cell is a top cell from this share of the strongest cell's value on
PLACE = 0.25  # an island of top cells is a place from this share of the strongest island's sum on
SPREAD = 0.4  # of the area: where half of the sum needs this much, the map has no strong place
EDGE = 1e-6  # a centre on the line between two thirds counts as the middle one
ROWS, COLUMNS = ("upper", "", "lower"), ("left", "", "right")
COUNTS = ("one", "two", "three")  # of places that are named; more are "many"


@dataclass(frozen=True)
class Place:
    """An island of top cells."""

    row: float  # of its centre of gravity, 0..1 from the top
    column: float  # 0..1 from the left
    sum: float  # of its cells
    is_around: bool  # it lies round its centre, which is no top cell itself

    @property
    def name(self) -> str:
        """Return where it is, such as "at the upper left" or "around the centre"."""
        row, column = ROWS[_third(self.row)], COLUMNS[_third(self.column)]
        where = "_".join(part for part in (row, column) if part) or "centre"
        if self.is_around:
            return say(f"description.around_{where}")
        return say(f"description.at_{where}")


def describe(saliency_map: Tensor) -> str:
    """Return what a map shows, as a clause in the present language.

    For example "strongest at the upper left; half of its energy lies on 12% of the area". The rule:

    - The map's energy is its sum. The area is that of the fewest pixels that hold half of it.
    - "blank": every value is 0. "spread over the whole picture": that area is 40% or more; in an
      even map it is 50%.
    - Otherwise the map is averaged over at most 32 x 32 cells. Top cells have at least half of the
      strongest cell's value. Those that touch, at a corner too, are one place, if together they
      have at least a quarter of the energy of the strongest such island.
    - A place is named by the third of the height and of the width in which its centre of gravity
      lies; "around" says that the centre itself is no top cell, as in a ring. Up to three names
      are told, the strongest place first; more are "many places".

    The words do not depend on the map's scale, hardly on its size, and a mirrored map has mirrored
    words.

    Args:
        saliency_map: (H, W), >= 0.

    Raises:
        GroupCamError: the map has another number of axes, or values that are negative or no
            numbers.
    """
    if saliency_map.ndim != 2 or saliency_map.numel() == 0:
        raise GroupCamError(
            f"saliency_map must be of shape (H, W); got {tuple(saliency_map.shape)}. Describe one "
            "map at a time."
        )
    values = saliency_map.detach().double().cpu()
    if not torch.isfinite(values).all() or bool((values < 0).any()):
        raise GroupCamError(
            "saliency_map must hold finite values of 0 or more; got others. Scale it to [0, 1] "
            "first."
        )
    if not values.any():
        return say("description.blank")
    area = half_energy_area(values)
    if area >= SPREAD:
        return say("description.spread")
    share = say("description.tiny_share") if area < 0.005 else f"{area:.0%}"
    names = list(dict.fromkeys(place.name for place in _places(values)))
    if len(names) > len(COUNTS):
        return say("description.many_places", share=share)
    named = dict(zip(COUNTS, names, strict=False))
    return say(f"description.{COUNTS[len(names) - 1]}_named", share=share, **named)


def half_energy_area(saliency_map: Tensor) -> float:
    """Return the share of the pixels that hold half of the map's sum if the strongest are taken.

    It is half for an even map, less for every other one, and 0 for a blank one.

    Args:
        saliency_map: (H, W), >= 0.
    """
    values = saliency_map.detach().double().flatten().sort(descending=True).values
    held = values.cumsum(0)
    if float(held[-1]) <= 0:
        return 0.0
    # A little less than half, so that rounding never asks for one pixel more.
    needed = int(torch.searchsorted(held, held[-1] * (0.5 - 1e-9))) + 1
    return needed / len(values)


def _places(values: Tensor) -> list[Place]:
    """Return the places of a map that is not blank, the strongest first."""
    size = (min(values.shape[0], CELLS), min(values.shape[1], CELLS))
    cells = F.adaptive_avg_pool2d(values[None, None], size)[0, 0].numpy()
    is_top = cells >= TOP * cells.max() - EDGE * cells.max()
    count, islands = cv2.connectedComponents(is_top.astype(np.uint8), connectivity=8)
    found = []
    for island in range(1, count):  # 0 is the rest
        rows, columns = np.nonzero(islands == island)
        weights = cells[rows, columns]
        row = float(np.average(rows + 0.5, weights=weights))
        column = float(np.average(columns + 0.5, weights=weights))
        # A centre on the line between two cells is in both.
        near = {
            (int(row + shift), int(column + aside))
            for shift in (-EDGE, EDGE)
            for aside in (-EDGE, EDGE)
        }
        is_around = not any(islands[cell] == island for cell in near)
        place = Place(row / size[0], column / size[1], float(weights.sum()), is_around)
        found.append(place)
    strongest = max(place.sum for place in found)
    kept = [place for place in found if place.sum >= (PLACE - EDGE) * strongest]
    # Places of the same strength, but for rounding, stand in reading order.
    kept.sort(key=lambda place: (-round(place.sum / strongest, 6), place.row, place.column))
    return kept


def _third(position: float) -> int:
    """Return in which third of 0..1 a position lies, 0, 1 or 2."""
    return int(position > 1 / 3 - EDGE) + int(position > 2 / 3 + EDGE)
