"""Which layers of a network can be explained, which are worth listing, and which is the default.

All of it follows from what `probe.py` sees when the network runs once, nothing from names.
"""

import weakref
from collections import Counter
from dataclasses import dataclass

from torch import Tensor

from groupcam.errors import GroupCamError, did_you_mean
from groupcam.models.backbone import Backbone
from groupcam.models.probe import Layout, ModuleOutput, run_probe

LISTED_LAYERS = 60  # a longer menu is no help


@dataclass(frozen=True)
class TargetLayer:
    """One named module whose output is a spatial map."""

    name: str
    shape: tuple[int, int, int]  # (C, h, w) whatever the layout
    layout: Layout
    usable: bool
    reason: str | None = None  # why not usable
    default: bool = False


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
    raise GroupCamError(
        "Group-CAM must have a layer late in the network with a 2-D feature map; "
        f"{backbone.name} {probed.instead}. Choose a network that keeps its feature maps, such as "
        "timm/tf_efficientnet_lite0, timm/resnet50, torchvision/vgg19 or timm/convnext_tiny."
    )


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
        problem, hint = f"{backbone.name} has no layer '{name}'", did_you_mean(name, choices)
    default = next((known.name for known in probed.layers.values() if known.default), None)
    advice = f" The default is '{default}'." if default else ""
    raise GroupCamError(
        f"target_layer must name a layer with a 2-D feature map; {problem}.{hint}{advice}"
    )


def to_nchw(tensor: Tensor, layout: Layout) -> Tensor:
    """Return a map of the given layout as (N, C, h, w); shares memory."""
    return tensor if layout == "NCHW" else tensor.permute(0, 3, 1, 2)


def from_nchw(tensor: Tensor, layout: Layout) -> Tensor:
    """Return a map (N, C, h, w) in the given layout; shares memory. Inverse of `to_nchw`."""
    return tensor if layout == "NCHW" else tensor.permute(0, 2, 3, 1)


@dataclass(frozen=True, eq=False)
class _Probed:
    """What the probe found; `layers` and `others` together have every module."""

    layers: dict[str, TargetLayer]  # by name, in execution order
    listed: tuple[TargetLayer, ...]
    others: dict[str, str]  # name -> what it gives instead of a map ("gives (1, 197, 192) ...")
    instead: str  # what the network has in place of a default layer


_PROBED: "weakref.WeakKeyDictionary[Backbone, _Probed]" = weakref.WeakKeyDictionary()


def _probed(backbone: Backbone) -> _Probed:
    """Return the probe's findings, from the cache after the first time."""
    with backbone.lock:
        if backbone not in _PROBED:
            _PROBED[backbone] = _summarise(backbone, run_probe(backbone))
        return _PROBED[backbone]


def _summarise(backbone: Backbone, records: list[ModuleOutput]) -> _Probed:
    """Return the layers, the listing and the default from the probe's records."""
    maps = [record for record in records if record.layout is not None]
    chosen = _without_parts(_one_name_per_tensor(maps), maps)
    default = _choose_default(chosen, maps, sum(_is_weighted_leaf(r) for r in records))

    layers = {
        record.name: TargetLayer(
            name=record.name,
            shape=record.shape,
            layout=record.layout or "NCHW",
            usable=record.reason is None,
            reason=record.reason,
            default=record is default,
        )
        for record in maps
    }
    others = {}
    shapes = {record.name: (1, *record.output_shape) for record in records}
    for name, _ in backbone.network.named_modules():
        if name and name not in layers:
            if name not in shapes:
                others[name] = "is not used in a forward pass"
            elif len(shapes[name]) == 1:
                others[name] = "gives no tensor"
            else:
                others[name] = f"gives {shapes[name]}, not a 2-D map"
    return _Probed(
        layers=layers,
        listed=_listing([layers[record.name] for record in chosen]),
        others=others,
        instead=_instead(records),
    )


def _is_weighted_leaf(record: ModuleOutput) -> bool:
    return record.leaf and record.weighted


def _one_name_per_tensor(maps: list[ModuleOutput]) -> list[ModuleOutput]:
    """Return one record per distinct tensor, in the order in which the tensors appear.

    The module that made a tensor comes first; from it the choice climbs to enclosing modules that
    return the tensor unchanged, as long as the grid shrinks at most twofold inside them.
    """
    groups: dict[object, list[ModuleOutput]] = {}
    for record in maps:
        same = record.name if record.edge is None else (record.edge.node, record.edge.output_nr)
        groups.setdefault(same, []).append(record)
    chosen = []
    for maker, *others in groups.values():
        best = maker
        for other in others:
            if best.name.startswith(f"{other.name}.") and other.shrinks <= 2:
                best = other
        chosen.append(best)
    return chosen


def _without_parts(chosen: list[ModuleOutput], maps: list[ModuleOutput]) -> list[ModuleOutput]:
    """Return the records that are no parts of a module without weights, such as a norm's."""
    whole = {record.name for record in maps if not record.leaf and not record.weighted}
    return [record for record in chosen if record.name.rpartition(".")[0] not in whole]


def _choose_default(
    chosen: list[ModuleOutput], maps: list[ModuleOutput], weighted_leaves: int
) -> ModuleOutput | None:
    """Return the record of the default layer; see `default_target_layer` for the rule."""
    late = [
        record
        for record in chosen
        if record.reason is None and 2 * record.weighted_before >= weighted_leaves
    ]
    blocks = [record for record in late if not record.leaf and record.weighted]
    if blocks:
        return blocks[-1]
    weighted = [record for record in late if record.weighted]
    if not weighted:
        return None
    best = weighted[-1]
    for record in maps[maps.index(best) + 1 :]:
        if not record.leaf or record.weighted or record.shape != best.shape:
            break
        if record.reason is None:
            best = record
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


def _instead(records: list[ModuleOutput]) -> str:
    """Return what a network without a default layer has in its later part."""
    shapes = Counter(record.output_shape for record in records if len(record.output_shape) == 2)
    if not shapes:
        return "has none that the class depends on"
    (tokens, width), _ = shapes.most_common(1)[0]
    return f"works on {tokens} tokens of {width} numbers instead"
