"""Which pictures lie in one mosaic of the grid pointing game, for a whole evaluation.

The network looks once at every picture of the evaluation, whoever evaluates which of them, so
that all workers, and a run that goes on, lay the same mosaics.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import Sample
from groupcam.images import open_picture
from groupcam.metrics.grid_pointing import TileSize, choose_mosaics, mosaic_input
from groupcam.models import Backbone, View
from groupcam.saliency.engine import forward

PER_SIDE = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a picture lies: the names of its mosaic's pictures in reading order, and its own."""

    names: tuple[str, ...]
    tile: int


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A mosaic and the tile of one picture."""

    tiles: Tensor  # (n * n, 3, H, W), normalised
    class_index: Tensor  # (n * n,)
    tile: int
    tile_size: TileSize


class Mosaics:
    """The mosaics of a network's evaluation, chosen when the first is asked for."""

    def __init__(
        self,
        backbone: Backbone,
        samples: Sequence[Sample],
        wordnet_ids: Mapping[str, int],
        view: View,
    ) -> None:
        """Take note of what mosaics are made from.

        Args:
            backbone: the network.
            samples: all pictures of the evaluation.
            wordnet_ids: the class of each WordNet id; a picture with an id counts only if its
                class is the network's top one.
            view: what the network sees of a picture.
        """
        self._backbone = backbone
        self._samples = {sample.name: sample for sample in samples}
        self._wordnet_ids = wordnet_ids
        self._view = view

    def of(self, name: str) -> Mosaic | None:
        """Return the mosaic that a picture lies in, or None for one that lies in none."""
        place = self._places.get(name)
        if place is None:
            return None
        tiles = torch.cat([self._inputs(self._samples[one]) for one in place.names])
        classes = torch.tensor([self._seen[one][0] for one in place.names], device=tiles.device)
        return Mosaic(tiles, classes, place.tile, self._tile_size(tiles))

    @cached_property
    def _seen(self) -> dict[str, tuple[int, float]]:
        """Return class and probability of every picture that may be used."""
        seen = {}
        for sample in self._samples.values():
            try:
                logits = forward(self._backbone, self._inputs(sample))[0].float()
            except Exception as error:  # its own entry says what is wrong with it
                logger.debug("%s is in no mosaic: %s", sample.name, error)
                continue
            top = int(logits.argmax())
            label = sample.wordnet_id
            if label is None or self._wordnet_ids.get(label) == top:
                seen[sample.name] = top, float(logits.softmax(0)[top])
        return seen

    @cached_property
    def _places(self) -> dict[str, Place]:
        """Return where each picture lies."""
        names = list(self._seen)
        classes = torch.tensor([self._seen[name][0] for name in names])
        probability = torch.tensor([self._seen[name][1] for name in names])
        try:
            chosen = choose_mosaics(classes, probability, per_side=PER_SIDE, mosaics=len(names))
        except GroupCamError:  # too few confident pictures: nobody has a value
            return {}
        mosaics = [tuple(names[index] for index in row) for row in chosen.tolist()]
        return {
            name: Place(members, tile) for members in mosaics for tile, name in enumerate(members)
        }

    def _inputs(self, sample: Sample) -> Tensor:
        return self._backbone.preprocess(open_picture(sample.path).rgb, self._view)

    def _tile_size(self, tiles: Tensor) -> TileSize:
        """Return "full" where the network takes inputs of that size, else "shrunk"."""
        if self._takes_full is None:
            try:
                forward(self._backbone, mosaic_input(tiles, "full"))
                self._takes_full = True
            except Exception:
                logger.info("%s takes no larger input: mosaics shrink", self._backbone.name)
                self._takes_full = False
        return "full" if self._takes_full else "shrunk"

    _takes_full: bool | None = None
