"""Where a network's maps are: found by changing bands of the picture and watching what follows.

The first look shows the network a made-up picture and four versions of it: with another top,
bottom, left or right band. `layouts.py` reads from the differences which outputs hold maps.

Attention can mix so much that no place shows any more where in the picture it lies; networks with
random weights do that within a few blocks. Then a relay follows: the bands of the last map that was
read are changed, more strongly and in several pictures, so that the next blocks show their places
again. A layout is thus always seen, from the picture or from a map whose own layout was seen.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from groupcam.models.backbone import Backbone
from groupcam.models.layouts import LayoutReader, MapLayout, is_out_of_order, to_nchw

PROBE_SEED = 0
PROBE_DETAIL = 4  # random patches of a made-up picture along a quarter of it
PARTS_PER_SIDE = 4  # the changed part is a quarter of the picture or map high, wide or both
VERSIONS = 5  # unchanged, and with each of four parts changed
RELAY_PICTURES = 4
# Size of the noise that a map's bands get, in sizes of its channels. Attention that is nearly
# uniform must be driven far from that; LeViT's, with random weights, shows no place below 100.
RELAY_STRENGTH = 256.0
MOST_RELAYS = 4

# Which end of the vertical and of the horizontal axis: -1 the first, 1 the last, 0 all of it.
Parts = tuple[tuple[int, int], ...]
BANDS: Parts = ((-1, 0), (1, 0), (0, -1), (0, 1))  # top, bottom, left, right
CORNERS: Parts = ((-1, -1), (-1, 1), (1, -1), (1, 1))

Path = tuple[int | str, ...]  # keys and indices that lead to a tensor in a module's output
OutputHook = Callable[[str, nn.Module, tuple[Any, ...], object], None]


class Place(NamedTuple):
    """A tensor in the output of a module."""

    name: str
    call: int  # a module may run several times
    path: Path


class FoundMap(NamedTuple):
    """A map, and where bands were changed for its layout to show (None: in the picture)."""

    where: MapLayout
    source: Place | None


@dataclass(frozen=True, eq=False)
class FoundMaps:
    """All maps of a network."""

    maps: dict[Place, FoundMap]
    out_of_order: set[str]  # modules that give tokens with places, but not row by row


def find_maps(backbone: Backbone) -> FoundMaps:
    """Return every place that holds a map. Call it inside `frozen()`."""
    search = _Search(backbone)
    search.look(None)
    for _ in range(MOST_RELAYS):
        source = search.next_source()
        if source is None:
            break
        search.look(source)
    return FoundMaps(search.maps, search.out_of_order)


def made_up_pictures(backbone: Backbone, count: int, seed: int = PROBE_SEED) -> Tensor:
    """Return normalised pictures of coarse random patches, (count, 3, H, W)."""
    detail = PARTS_PER_SIDE * PROBE_DETAIL
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, 3, detail, detail, generator=generator)
    preprocessing = backbone.preprocessing
    pictures = functional.interpolate(patches, size=preprocessing.input_size, mode="nearest")
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    normalised: Tensor = (pictures - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    return normalised.to(backbone.device)


def show_versions(
    backbone: Backbone,
    parts: Parts,
    *,
    pictures: int,
    source: tuple[Place, MapLayout] | None,
    seed: int = PROBE_SEED,
) -> None:
    """Run the network once over five versions of every picture; hooks see what follows.

    Args:
        backbone: the network, inside `frozen()`.
        parts: the four parts that are changed.
        pictures: how many pictures.
        source: the map that is changed; None: the picture.
        seed: of the pictures and the changes.
    """
    if source is None:
        plain, other = made_up_pictures(backbone, 2 * pictures, seed).chunk(2)
        with torch.no_grad():
            backbone.logits(_versions(plain, other, parts))
    else:
        inputs = made_up_pictures(backbone, pictures, seed).repeat_interleave(VERSIONS, dim=0)
        with torch.no_grad(), _changed_map(backbone, *source, parts, seed):
            backbone.logits(inputs)


def differences_of(tensor: Tensor) -> Tensor:
    """Return what each of the four parts adds to a tensor (M*5, ...), (M, 4, ...)."""
    versions = tensor.float().reshape(-1, VERSIONS, *tensor.shape[1:])
    return versions[:, 1:] - versions[:, :1]


def end_of(length: int, which: int) -> slice:
    """Return the first (-1) or last (1) quarter of an axis, or all of it (0)."""
    quarter = -(-length // PARTS_PER_SIDE)
    return {-1: slice(quarter), 0: slice(None), 1: slice(length - quarter, length)}[which]


def tensors_in(output: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield every tensor in a module's output with the path that leads to it."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from tensors_in(value, (*path, key))
    elif isinstance(output, Sequence) and not isinstance(output, str):
        for index, value in enumerate(output):
            yield from tensors_in(value, (*path, index))


@contextmanager
def output_hooks(network: nn.Module, remember: OutputHook) -> Iterator[None]:
    """Call `remember` with each named module's output; no hook outlives the block."""
    handles = []

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Any, ...], object], None]:
        return lambda module, inputs, output: remember(name, module, inputs, output)

    try:
        for name, module in network.named_modules():
            if name:
                handles.append(module.register_forward_hook(hook_for(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def is_leaf(module: nn.Module) -> bool:
    """Return whether a module has no parts."""
    return next(module.children(), None) is None


def is_weighted(module: nn.Module) -> bool:
    """Return whether a module holds weights: tensors of 2 or more dimensions."""
    return any(parameter.ndim >= 2 for parameter in module.parameters())


class _Search:
    """The layouts found so far, and where to look next."""

    def __init__(self, backbone: Backbone) -> None:
        height, width = backbone.preprocessing.input_size
        self.maps: dict[Place, FoundMap] = {}
        self.out_of_order: set[str] = set()
        self._backbone = backbone
        self._reader = LayoutReader(width / height)
        self._tried: set[Place] = set()
        # Of the last look: blocks that may hold a map, and the map that went into each.
        self._blocks: dict[Place, Place | None] = {}

    def next_source(self) -> Place | None:
        """Return the map to change next; None when the last block is read, or all was tried."""
        unread = [place for place in self._blocks if place not in self.maps]
        if not unread or unread[-1] != list(self._blocks)[-1]:
            return None
        order = {place: index for index, place in enumerate(self._blocks)}
        sources = {source for place in unread if (source := self._blocks[place]) is not None}
        untried = [source for source in sources if source not in self._tried]
        return max(untried, key=lambda source: order.get(source, -1), default=None)

    def look(self, source: Place | None) -> None:
        """Read what is unread, with the bands of `source` (None: of the picture) changed."""
        if source is not None:
            self._tried.add(source)
        pictures = 1 if source is None else RELAY_PICTURES
        calls: Counter[str] = Counter()
        known: dict[int, tuple[weakref.ref[Tensor], Place]] = {}
        self._blocks = {}

        def look_at(name: str, module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
            is_block = is_weighted(module) and not is_leaf(module)
            for path, tensor in tensors_in(output):
                place = Place(name, calls[name], path)
                if tensor.ndim not in (3, 4) or len(tensor) != pictures * VERSIONS:
                    continue
                if place not in self.maps:
                    differences = differences_of(tensor)
                    where = self._reader.read(differences)
                    if where is not None:
                        self.maps[place] = FoundMap(where, source)
                    elif source is None and is_out_of_order(differences):
                        self.out_of_order.add(name)
                if is_block and _may_hold_a_map(tensor):
                    given = next((known.get(id(t)) for _, t in tensors_in(inputs)), None)
                    is_same = given is not None and given[0]() is not None
                    self._blocks[place] = given[1] if given is not None and is_same else None
                    if place in self.maps:
                        known[id(tensor)] = weakref.ref(tensor), place
            calls[name] += 1

        with output_hooks(self._backbone.network, look_at):
            show_versions(
                self._backbone,
                BANDS,
                pictures=pictures,
                source=None if source is None else (source, self.maps[source].where),
            )


def _may_hold_a_map(tensor: Tensor) -> bool:
    if tensor.ndim == 3:
        return tensor.shape[1] >= 4
    return min(tensor.shape[2:]) > 1 or min(tensor.shape[1:3]) > 1


def _versions(plain: Tensor, other: Tensor, parts: Parts) -> Tensor:
    """Return five versions of every map (M, C, h, w), one after another, (M*5, C, h, w).

    The first is as it was; of each other one a part is that of `other`.
    """
    versions = plain.repeat_interleave(VERSIONS, dim=0)
    height, width = plain.shape[2:]
    for index, (vertical, horizontal) in enumerate(parts, start=1):
        rows, columns = end_of(height, vertical), end_of(width, horizontal)
        versions[index::VERSIONS, :, rows, columns] = other[:, :, rows, columns]
    return versions


@contextmanager
def _changed_map(
    backbone: Backbone, place: Place, where: MapLayout, parts: Parts, seed: int
) -> Iterator[None]:
    """Let the network go on from five versions of a map, whenever it runs."""
    calls = 0

    def change(_module: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
        nonlocal calls
        calls += 1
        if calls != place.call + 1:
            return
        maps = to_nchw(dict(tensors_in(output))[place.path], where)
        first = maps[::VERSIONS].clone()
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(first.shape, generator=generator).to(first)
        size = first.square().mean((0, 2, 3), keepdim=True).sqrt()  # of each channel
        changed = first + RELAY_STRENGTH * size * noise
        # In place: whoever holds the tensor sees the change, as it sees the map.
        maps.copy_(_versions(first, changed, parts))

    handle = backbone.network.get_submodule(place.name).register_forward_hook(change, prepend=True)
    try:
        yield
    finally:
        handle.remove()
