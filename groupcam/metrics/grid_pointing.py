"""Grid pointing game: in a mosaic of pictures, does the map of a class lie on the class's picture?

Confident pictures of different classes are laid in an n x n grid, n = 2 or 3. For every tile, the
map of its class is made on the whole mosaic, and

    localisation = sum of S inside the tile / sum of S, in [0, 1], higher is better;

1 / n^2 is what a flat map gets. A map that is all zeros gets 0. No boxes are needed, and what lies
outside the tile cannot be the class. Costs n^2 maps a mosaic, at the mosaic's size.

Reference:
    Boehle, Fritz, Schiele 2021 (CoDA Nets), arXiv:2104.00032, section 4: 3 x 3 grids of the most
    confidently and correctly classified pictures, every class at most once in a grid.

Known flaw: a mosaic is unlike anything the network was trained on, and a class may be one that the
network finds in a neighbouring tile too.
"""

import math
from collections.abc import Generator
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.localisation import energy_pointing_game
from groupcam.metrics.map_of import MapOf, maps_of
from groupcam.models import Backbone

TileSize = Literal["full", "shrunk"]
LEAST_PROBABILITY = 0.99


def choose_mosaics(
    class_index: Tensor,
    probability: Tensor,
    *,
    per_side: int = 2,
    mosaics: int = 100,
    least_probability: float = LEAST_PROBABILITY,
    seed: int = 0,
) -> Tensor:
    """Return which pictures make up each mosaic, int64 (M, n * n), M <= `mosaics`.

    Pictures are drawn from a seed among the confident ones, without one being used twice and
    without a class twice in a mosaic. There are fewer mosaics when pictures or classes run out.

    Args:
        class_index: the true class of each picture, (N,).
        probability: what the network gives the true class, (N,).
        per_side: n, at least 2.
        mosaics: how many at most.
        least_probability: how confident the network must be; above 0.5, so that the true class is
            the top one.
        seed: of the draw.

    Raises:
        GroupCamError: a setting is not possible, or not even one mosaic can be made.
    """
    if per_side < 2 or mosaics < 1 or not 0.5 < least_probability <= 1:
        raise GroupCamError(
            "per_side must be at least 2, mosaics at least 1 and least_probability above 0.5 and "
            f"at most 1; got {per_side}, {mosaics} and {least_probability}."
        )
    tiles = per_side**2
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(class_index), generator=generator).tolist()
    waiting = [picture for picture in order if float(probability[picture]) >= least_probability]
    chosen: list[list[int]] = []
    while len(chosen) < mosaics:
        of_class: dict[int, int] = {}
        for picture in waiting:
            of_class.setdefault(int(class_index[picture]), picture)
            if len(of_class) == tiles:
                break
        if len(of_class) < tiles:
            break
        chosen.append(list(of_class.values()))
        waiting = [picture for picture in waiting if picture not in of_class.values()]
    if not chosen:
        raise GroupCamError(
            f"A mosaic must have {tiles} confident pictures of different classes; among "
            f"{len(class_index)} pictures there are not as many with a probability of at least "
            f"{least_probability}. Give more pictures, or lower least_probability."
        )
    return torch.tensor(chosen)


def mosaic_input(tiles: Tensor, tile_size: TileSize = "full") -> Tensor:
    """Return one picture of n x n tiles in reading order, (1, 3, H', W').

    Args:
        tiles: normalised pictures, (n * n, 3, H, W).
        tile_size: "full" lays tiles as they are (H' = n H, as the reference does); "shrunk" resizes
            the mosaic to one input (H' = H), for networks that take no other size.

    Raises:
        GroupCamError: there are not n * n tiles, or the tile size is unknown.
    """
    per_side = _per_side(len(tiles))
    if tile_size not in get_args(TileSize):
        raise GroupCamError(
            f"tile_size must be one of {', '.join(get_args(TileSize))}; got {tile_size!r}."
        )
    height, width = tiles.shape[-2:]
    grid = tiles.reshape(per_side, per_side, 3, height, width)
    mosaic = grid.permute(2, 0, 3, 1, 4).reshape(1, 3, per_side * height, per_side * width)
    if tile_size == "full":
        return mosaic.contiguous()
    return F.interpolate(
        mosaic, size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )


def tile_masks(per_side: int, size: tuple[int, int]) -> Tensor:
    """Return which pixels of a mosaic belong to each tile in reading order, bool (n * n, H', W').

    A pixel belongs to the tile that its centre is in.
    """
    rows, columns = (
        ((torch.arange(side) + 0.5) * per_side / side).long().clamp(max=per_side - 1)
        for side in size
    )
    tile = rows[:, None] * per_side + columns[None, :]  # (H', W')
    return tile == torch.arange(per_side**2)[:, None, None]


def grid_pointing_steps(
    backbone: Backbone,
    tiles: Tensor,
    class_index: Tensor,
    map_of: MapOf,
    *,
    tile_size: TileSize = "full",
) -> Generator[int, None, Tensor]:
    """Explain every tile's class on one mosaic; closing the generator stops within one map.

    Args:
        backbone: see `load_backbone`.
        tiles: normalised pictures, (n * n, 3, H, W), on the backbone's device.
        class_index: the class of each tile, (n * n,), all different.
        map_of: the method.
        tile_size: see `mosaic_input`.

    Yields:
        Tiles done so far.

    Returns:
        The localisation of each tile, (n * n,), on the CPU.

    Raises:
        GroupCamError: there are not n * n tiles of different classes.
    """
    if len(class_index.unique()) != len(tiles):
        raise GroupCamError(
            f"Every tile must have a class of its own; got {len(class_index.unique())} classes for "
            f"{len(tiles)} tiles. See choose_mosaics."
        )
    localisation = torch.zeros(len(tiles))
    for tile in range(len(tiles)):
        localisation[tile] = tile_localisation(
            backbone, tiles, class_index, tile, map_of, tile_size=tile_size
        )
        yield tile + 1
    return localisation


def tile_localisation(
    backbone: Backbone,
    tiles: Tensor,
    class_index: Tensor,
    tile: int,
    map_of: MapOf,
    *,
    tile_size: TileSize = "full",
) -> float:
    """Return the localisation of one tile's class. The arguments are `grid_pointing_steps`'s.

    Args:
        backbone: the network.
        tiles: all tiles of the mosaic.
        class_index: the class of each.
        tile: whose class is explained, 0..n * n - 1.
        map_of: the method.
        tile_size: see `mosaic_input`.
    """
    mosaic = mosaic_input(tiles, tile_size)
    mask = tile_masks(_per_side(len(tiles)), (mosaic.shape[-2], mosaic.shape[-1]))[tile]
    maps = maps_of(map_of, backbone, mosaic, class_index[tile : tile + 1]).relu()
    return float(energy_pointing_game(maps, mask[None])[0])


def _per_side(tiles: int) -> int:
    per_side = math.isqrt(tiles)
    if per_side < 2 or per_side**2 != tiles:
        raise GroupCamError(f"A mosaic must have n x n tiles, n at least 2; got {tiles} tiles.")
    return per_side
