"""Which layers of a network can be explained, which are worth listing, and which is the default.

All of it follows from what `probe.py` sees when the network runs once, nothing from names.
"""

import weakref
from dataclasses import dataclass

from groupcam.errors import GroupCamError, did_you_mean, shown
from groupcam.language import say
from groupcam.models.backbone import Backbone
from groupcam.models.bands import FoundMap, Path, Place
from groupcam.models.layouts import MapLayout
from groupcam.models.probe import MapOutput, ModuleRecord, Probe, run_probe

LISTED_LAYERS = 60  # a longer menu is no help


@dataclass(frozen=True, kw_only=True)
class TargetLayer(MapLayout):
    """One named module whose output holds a spatial map."""

    name: str
    usable: bool
    reason: str | None = None  # why not usable
    default: bool = False
    path: Path = ()  # keys and indices that lead to the tensor in the output; (): it is the output
    call: int = 0  # which of the module's calls in a forward pass gives the map


def target_layers(backbone: Backbone) -> list[TargetLayer]:
    """Return the layers worth choosing from, in execution order; one may be the default.

    Modules that give the very same tensor appear once, under the name of the outermost in which
    the grid shrinks at most twofold ("layer4" rather than "layer4.2"). Nesting levels are listed
    down to the deepest at which at most 60 layers are listed. Every other named module that
    gives a map can still be named to `resolve_target_layer`.

    Costs six forward passes and one backward pass of one picture, the first time.
    """
    return list(_probed(backbone).listed)


def default_target_layer(backbone: Backbone) -> TargetLayer:
    """Return the layer explained when none is named.

    It is the last usable block (a module with children, among whose weights are convolutions or
    linear maps) whose output is a spatial map; in a network without blocks, the last weighted
    layer with the activations and norms right after it. At least half of the network's weighted
    layers come before it: a map that earlier than that turns into tokens says too little.

    Raises:
        GroupCamError: the network has no such layer.
    """
    probed = _probed(backbone)
    for layer in probed.layers.values():
        if layer.default:
            return layer
    raise GroupCamError(say("refused.no_layer", backbone=backbone.name))


def resolve_target_layer(backbone: Backbone, name: str | None = None) -> TargetLayer:
    """Return the layer with a name, or the default layer for None.

    Any named module that gives a spatial map is accepted, also those that are not listed.

    Raises:
        GroupCamError: no such module, it gives no spatial map, or it is not usable.
    """
    if name is None:
        return default_target_layer(backbone)
    probed = _probed(backbone)
    layer = probed.layers.get(name)
    if layer is not None and layer.usable:
        return layer
    choices = [known.name for known in probed.layers.values() if known.usable]
    if layer is not None:
        problem, hint = f"'{name}' {layer.reason}", ""
    elif name in probed.others:
        problem, hint = f"'{name}' {probed.others[name]}", ""
    else:
        problem = say("refused.layer_unknown", backbone=backbone.name, given=shown(name))
        hint = did_you_mean(name, choices)
    default = next((known.name for known in probed.layers.values() if known.default), None)
    advice = say("refused.layer_default", name=default) if default else ""
    raise GroupCamError(say("refused.layer", problem=problem, hint=hint, advice=advice))


def found_maps(backbone: Backbone) -> dict[Place, FoundMap]:
    """Return every map that the probe found, and where it was seen from."""
    return _probed(backbone).maps


@dataclass(frozen=True, eq=False)
class _Probed:
    """What the probe found; `layers` and `others` together have every module."""

    layers: dict[str, TargetLayer]  # by name, in execution order
    listed: tuple[TargetLayer, ...]
    maps: dict[Place, FoundMap]
    others: dict[str, str]  # name -> what it gives instead of a map ("gives (1, 197, 192) ...")


_PROBED: "weakref.WeakKeyDictionary[Backbone, _Probed]" = weakref.WeakKeyDictionary()


def _probed(backbone: Backbone) -> _Probed:
    """Return the probe's findings, from the cache after the first time."""
    with backbone.lock:
        if backbone not in _PROBED:
            _PROBED[backbone] = _summarise(backbone, run_probe(backbone))
        return _PROBED[backbone]


def _summarise(backbone: Backbone, probe: Probe) -> _Probed:
    """Return the layers, the listing and the default from the probe's records."""
    records = probe.records
    found = [_Found(record, record.map) for record in records if record.map is not None]
    chosen = _without_parts(_one_name_per_tensor(found), found)
    weighted_leaves = sum(r.calls for r in records if r.leaf and r.weighted)
    default = _choose_default(chosen, found, weighted_leaves)

    layers = {
        one.name: TargetLayer(
            name=one.name,
            shape=one.map.where.shape,
            layout=one.map.where.layout,
            prefix_tokens=one.map.where.prefix_tokens,
            path=one.map.place.path,
            call=one.map.place.call,
            usable=one.map.reason is None,
            reason=one.map.reason,
            default=one is default,
        )
        for one in found
    }
    gives = {record.name: record.gives for record in records}
    others = {}
    for name, _ in backbone.network.named_modules():
        if name and name not in layers:
            if name not in gives:
                others[name] = "is not used in a forward pass"
            elif not gives[name]:
                others[name] = "gives no tensor"
            elif name in probe.found.out_of_order:
                others[name] = f"gives {gives[name]}, whose tokens are not in raster order"
            else:
                others[name] = f"gives {gives[name]}, not a 2-D map"
    return _Probed(
        layers=layers,
        listed=_listing([layers[one.name] for one in chosen]),
        others=others,
        maps=probe.found.maps,
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """A module that gives a map."""

    record: ModuleRecord
    map: MapOutput

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def is_weighted_block(self) -> bool:
        return self.record.weighted and not self.record.leaf


def _one_name_per_tensor(found: list[_Found]) -> list[_Found]:
    """Return one module per distinct tensor, in the order in which the tensors appear.

    The module that made a tensor comes first; from it the choice climbs to enclosing modules that
    return the tensor unchanged, as long as the grid shrinks at most twofold inside them.
    """
    groups: dict[object, list[_Found]] = {}
    for one in found:
        edge = one.map.edge
        same = one.name if edge is None else (edge.node, edge.output_nr)
        groups.setdefault(same, []).append(one)
    chosen = []
    for maker, *others in groups.values():
        best = maker
        for other in others:
            if best.name.startswith(f"{other.name}.") and other.map.shrinks <= 2:
                best = other
        chosen.append(best)
    return chosen


def _without_parts(chosen: list[_Found], found: list[_Found]) -> list[_Found]:
    """Return the modules that are no parts of a module without weights, such as a norm's."""
    whole = {one.name for one in found if not one.record.leaf and not one.record.weighted}
    return [one for one in chosen if one.name.rpartition(".")[0] not in whole]


def _choose_default(
    chosen: list[_Found], found: list[_Found], weighted_leaves: int
) -> _Found | None:
    """Return the module of the default layer; see `default_target_layer` for the rule."""
    late = [
        one
        for one in chosen
        if one.map.reason is None and 2 * one.map.weighted_before >= weighted_leaves
    ]
    blocks = [one for one in late if one.is_weighted_block]
    # What runs several times is rather a tool that blocks share than a block.
    blocks = [one for one in blocks if one.record.calls == 1] or blocks
    if blocks:
        return blocks[-1]
    weighted = [one for one in late if one.record.weighted]
    if not weighted:
        return None
    best = weighted[-1]
    for one in found[found.index(best) + 1 :]:
        if (
            not one.record.leaf
            or one.record.weighted
            or one.map.where.shape != best.map.where.shape
        ):
            break
        if one.map.reason is None:
            best = one
    return best


def _listing(layers: list[TargetLayer]) -> tuple[TargetLayer, ...]:
    """Return the layers down to the deepest nesting level that keeps the list readable."""
    depths = sorted({layer.name.count(".") for layer in layers})
    listed = layers
    for depth in reversed(depths):
        listed = [layer for layer in layers if layer.name.count(".") <= depth or layer.default]
        if len(listed) <= LISTED_LAYERS:
            break
    return tuple(listed)
