"""How a spatial map lies in a tensor, told from the tensor's values.

The evidence is how much each place of the tensor changes when a band of the picture does: top,
bottom, left or right. Along a map's rows the change passes from that of the top band to that of
the bottom band, along its columns from left to right. Every way in which a tensor could hold a map
is tried, and the one in which rows and columns follow the bands best is taken.

Attention lets every place follow the whole picture. Such a place still tells by the little that it
follows its own surroundings more. So only the ratios of a place's own changes count, and what all
places have in common is taken off where that makes the bands clearer.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

# tokens: (N, T, D); tokens_last: (N, D, T). Before and after the h * w tokens of the map, which
# are in raster order, there may be others (class, register, distillation).
Layout = Literal["NCHW", "NHWC", "tokens", "tokens_last"]
Array = npt.NDArray[np.float64]

# How well rows and columns must follow the bands (a correlation, the worse of both).
CLEAR_AGREEMENT = 0.5  # wrong readings of the right tensor reach this at most
STRONG_AGREEMENT = 0.8  # no need to try other readings
EQUAL_AGREEMENT = 0.02  # the simpler of two readings that differ by less is taken
CLEAR_LEANING = 0.3  # spread of how tokens lean that says that they know where they are
MOST_EXTRA_TOKENS = 64
EXTRA_ON_BOTH_SIDES = 4
CORNER_NAMES = ("top left", "top right", "bottom left", "bottom right")
# Of the cells that follow a corner most, this part must lie in its quarter of the map.
MOST_OF_CORNER = 0.75


@dataclass(frozen=True, kw_only=True)
class MapLayout:
    """Where the cells of a map (C, h, w) are in a tensor."""

    layout: Layout
    shape: tuple[int, int, int]  # (C, h, w) whatever the layout
    prefix_tokens: int = 0  # tokens before those of the map


def to_nchw(tensor: Tensor, where: MapLayout) -> Tensor:
    """Return the map (N, C, h, w) in a tensor; shares its memory."""
    if where.layout == "NCHW":
        return tensor
    if where.layout == "NHWC":
        return tensor.permute(0, 3, 1, 2)
    _, height, width = where.shape
    tokens = tensor if where.layout == "tokens" else tensor.transpose(1, 2)  # (N, T, D)
    cells = tokens[:, where.prefix_tokens : where.prefix_tokens + height * width]
    return cells.reshape(len(cells), height, width, -1).permute(0, 3, 1, 2)


def from_nchw(maps: Tensor, where: MapLayout, original: Tensor) -> Tensor:
    """Return a copy of `original` whose map is `maps`, (N, C, h, w); other tokens stay."""
    changed = original.clone()
    to_nchw(changed, where).copy_(maps)
    return changed


@dataclass(frozen=True)
class _Grid:
    """How tokens form a map, and how well they follow the bands in it."""

    prefix: int
    height: int
    width: int
    agreement: float = -1.0

    def cells(self, places: Array) -> Array:
        """Return the grid (..., h, w) in values of all tokens (..., T)."""
        count = self.height * self.width
        chosen = places[..., self.prefix : self.prefix + count]
        return chosen.reshape(*places.shape[:-1], self.height, self.width)


class LayoutReader:
    """Reads the layouts of one network's tensors; one reader sees them in execution order.

    Tokens that form a grid do so throughout a network. So the first grid of T tokens that is
    beyond doubt is kept: after it, tensors with T tokens hold that grid or, when it does not fit
    them, none. Until then a grid with the height and width of a map seen before is preferred.
    """

    def __init__(self, aspect_ratio: float) -> None:
        """Begin with the picture's width / height, which decides between equally good grids."""
        self._aspect_ratio = aspect_ratio
        self._grids: dict[int, _Grid] = {}  # by number of tokens
        self._seen: set[tuple[int, int]] = set()  # heights and widths

    def read(self, differences: Tensor) -> MapLayout | None:
        """Return how a tensor holds a map, or None if it holds none.

        Args:
            differences: what the top, bottom, left and right band add to the tensor, for each
                of M pictures, (M, 4, ...).
        """
        readings = []
        if differences.ndim == 5:
            readings += [_read_map(differences, "NCHW", 2), _read_map(differences, "NHWC", 4)]
        elif differences.ndim == 4:
            known = [axis for axis in (2, 3) if differences.shape[axis] in self._grids]
            for axis in known or (2, 3):
                readings.append(self._read_tokens(differences, axis))
        agreement, where = max(readings, key=lambda reading: reading[0], default=(0.0, None))
        if where is None or agreement < CLEAR_AGREEMENT:
            return None
        if agreement >= STRONG_AGREEMENT:
            self._seen.add(where.shape[1:])
        return where

    def _read_tokens(self, differences: Tensor, axis: int) -> tuple[float, MapLayout | None]:
        places = differences if axis == 3 else differences.transpose(2, 3)  # (M, 4, D, T)
        tokens = places.shape[3]
        grid = self._grids.get(tokens)
        if grid is None:
            grid = _find_grid(places, self._aspect_ratio, self._seen)
            if grid is not None and grid.agreement >= STRONG_AGREEMENT:
                self._grids[tokens] = grid
        else:
            grid = _judge_known(places, grid)
        if grid is None:
            return 0.0, None
        where = MapLayout(
            layout="tokens" if axis == 2 else "tokens_last",
            shape=(places.shape[2], grid.height, grid.width),
            prefix_tokens=grid.prefix,
        )
        return grid.agreement, where


def is_out_of_order(differences: Tensor) -> bool:
    """Return whether tokens know their places in the picture; for ones that hold no map.

    Args:
        differences: as for `LayoutReader.read`.
    """
    if differences.ndim != 4 or differences.shape[2] < 4:
        return False
    leanings = _leanings(next(_energies(differences.transpose(2, 3))))
    return bool((leanings.std(1) > CLEAR_LEANING).all())


def corner_law_problem(differences: Tensor, where: MapLayout) -> str | None:
    """Return what speaks against a reading: cells that do not follow their corner of the map.

    Args:
        differences: what changes at the top left, top right, bottom left and bottom right corner
            add to a tensor, for each of M pictures, (M, 4, ...).
        where: the reading of the tensor.
    """
    channels_axis = {"NCHW": 2, "NHWC": 4, "tokens": 3, "tokens_last": 2}[where.layout]
    places = differences.movedim(channels_axis, 2).flatten(3)  # (M, 4, C, T)
    grid = _Grid(where.prefix_tokens, *where.shape[1:])
    problem = None
    for energies in _energies(places):
        floor = 1e-6 * energies.mean((1, 2), keepdims=True) + 1e-30
        # Which corner each place follows most: its changes as parts of their sum.
        shares = ((energies + floor) / (energies + floor).sum(1, keepdims=True)).mean(0)  # (4, T)
        problem = _strange_corner(grid.cells(shares)) or _better_rows(shares, grid)
        if problem is None:
            return None
    return problem


def _strange_corner(shares: Array) -> str | None:
    """Return which corner other cells follow more than its own, from shares (4, h, w)."""
    height, width = shares.shape[1:]
    count = max(1, height // 4 * (width // 4))
    for name, share in zip(CORNER_NAMES, shares, strict=True):
        rows, columns = np.divmod(share.ravel().argsort()[-count:], width)
        # From the corner 0 to the middle of the map 0.5.
        down = (rows + 0.5) / height if "top" in name else 1 - (rows + 0.5) / height
        right = (columns + 0.5) / width if "left" in name else 1 - (columns + 0.5) / width
        if np.mean((down <= 0.5) & (right <= 0.5)) < MOST_OF_CORNER:
            return f"has cells elsewhere that follow the {name} corner more than those there do"
    return None


def _better_rows(shares: Array, grid: _Grid) -> str | None:
    """Return that tokens cut into rows in another way follow the corners better, if so."""
    top_left, top_right, bottom_left, bottom_right = shares
    below = bottom_left + bottom_right - top_left - top_right
    leanings = np.stack([below, top_right + bottom_right - top_left - bottom_left])
    own = _judge(leanings, grid)
    cells = grid.height * grid.width
    rivals = [replace(grid, prefix=grid.prefix + shift) for shift in (-1, 1)]
    rivals += [
        replace(grid, height=height, width=cells // height)
        for height in range(2, cells // 2 + 1)
        if cells % height == 0 and height != grid.height
    ]
    for rival in rivals:
        if rival.prefix < 0 or rival.prefix + cells > shares.shape[1]:
            continue
        if _judge(leanings, rival).agreement > own.agreement:
            return (
                f"follows the corners better as {rival.height} x {rival.width} cells after "
                f"{rival.prefix} tokens"
            )
    return None


def _read_map(
    differences: Tensor, layout: Layout, channels_axis: int
) -> tuple[float, MapLayout | None]:
    maps = differences.movedim(channels_axis, 2)  # (M, 4, C, h, w)
    channels, height, width = maps.shape[2:]
    if min(height, width) < 2:
        return 0.0, None
    grid = _judge_known(maps.flatten(3), _Grid(0, height, width))
    return grid.agreement, MapLayout(layout=layout, shape=(channels, height, width))


def _judge_known(places: Tensor, grid: _Grid) -> _Grid:
    """Return a grid with its agreement to the differences of places, (M, 4, C, T)."""
    judged = replace(grid, agreement=-1.0)  # what it was in another tensor does not count
    for energies in _energies(places):
        judged = max(judged, _judge(_leanings(energies), grid), key=lambda one: one.agreement)
        if judged.agreement >= STRONG_AGREEMENT:
            break
    return judged


def _find_grid(places: Tensor, aspect_ratio: float, seen: set[tuple[int, int]]) -> _Grid | None:
    """Return the grid that tokens form best, if any, from (M, 4, D, T)."""
    tokens = places.shape[3]
    found: list[_Grid] = []
    in_all = None
    for energies in _energies(places):
        in_all = energies.sum(0) if in_all is None else in_all
        leanings = _leanings(energies)
        # Whatever the grid, rows follow one another: a cheap look that spares trying all grids.
        if _correlation(leanings[0][None], np.arange(tokens)[None]) < CLEAR_AGREEMENT / 2:
            continue
        grids = [grid for grid in _possible_grids(tokens) if _border_moves(in_all, grid)]
        found += [_judge(leanings, grid) for grid in grids]
        if any(grid.agreement >= STRONG_AGREEMENT for grid in found):
            break
    known = [grid for grid in found if (grid.height, grid.width) in seen]
    if any(grid.agreement >= CLEAR_AGREEMENT for grid in known):
        found = known
    best = max((grid.agreement for grid in found), default=0.0)

    def simplicity(grid: _Grid) -> tuple[int, float]:
        extra_tokens = tokens - grid.height * grid.width
        return extra_tokens, abs(math.log(grid.width / grid.height / aspect_ratio))

    good = [grid for grid in found if grid.agreement >= best - EQUAL_AGREEMENT]
    simplest = min(good, key=simplicity, default=None)
    if simplest is None or simplest.agreement >= STRONG_AGREEMENT or found is known:
        return simplest
    # By chance some of the many grids that leave tokens out fits better than the right one.
    return simplest if tokens == simplest.height * simplest.width else None


def _energies(places: Tensor) -> Iterator[Array]:
    """Yield how much each place (M, 4, C, T) changes, (M, 4, T): in all, beyond what all share."""
    for differences in (places, places - places.mean(3, keepdim=True)):
        energies: Array = differences.square().sum(2).double().cpu().numpy()
        yield energies


def _leanings(energies: Array) -> Array:
    """Return how far each place leans to the bottom and to the right band in [-1, 1], (2, T)."""
    floor = 1e-6 * energies.mean((1, 2)) + 1e-30
    top, bottom, left, right = energies.swapaxes(0, 1)  # each (M, T)
    vertical = (bottom - top) / (bottom + top + floor[:, None])
    horizontal = (right - left) / (right + left + floor[:, None])
    return np.stack([vertical.mean(0), horizontal.mean(0)])


def _judge(leanings: Array, grid: _Grid) -> _Grid:
    """Return a grid with its agreement to how places lean, (2, T)."""
    vertical, horizontal = grid.cells(leanings)
    agreement = min(
        _correlation(vertical, np.arange(grid.height)[:, None]),
        _correlation(horizontal, np.arange(grid.width)[None]),
    )
    return replace(grid, agreement=agreement)


def _correlation(values: Array, positions: npt.NDArray[np.int64]) -> float:
    """Return the correlation of values (h, w) with positions along one axis."""
    # One axis of `positions` has length 1, so its mean and spread are those over all cells.
    centred = values - values.mean()
    offsets = positions - positions.mean()
    spread = math.sqrt(np.square(centred).mean() * np.square(offsets).mean())
    return float((centred * offsets).mean()) / spread if spread > 0 else 0.0


def _border_moves(energies: Array, grid: _Grid) -> bool:
    """Return whether all cells at the border of a grid change with the band they lie in.

    Class and register tokens do not, as long as nothing was mixed.
    """
    top, bottom, left, right = grid.cells(energies)
    borders = (top[0], bottom[-1], left[:, 0], right[:, -1])
    return all(bool(border.min() > 1e-6 * energies.mean()) for border in borders)


def _possible_grids(tokens: int) -> Iterator[_Grid]:
    """Yield every grid that leaves a bounded number of tokens out."""
    for extra in range(min(MOST_EXTRA_TOKENS, tokens // 2) + 1):
        cells = tokens - extra
        # A few may be on both sides; many, such as registers, are on one.
        prefixes = range(extra + 1) if extra <= EXTRA_ON_BOTH_SIDES else (0, extra)
        for height in range(2, cells // 2 + 1):
            if cells % height == 0:
                for prefix in prefixes:
                    yield _Grid(prefix, height, cells // height)
