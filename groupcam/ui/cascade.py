"""The sanity check on one picture: the map while the network forgets, from the logits down.

What `groupcam.metrics.sanity` does layer by layer is shown in stages, each a run of layers that
follow one another; after a stage the weights are those of that cascade after its last layer. No
Gradio in here.
"""

import copy
import dataclasses
import itertools
import threading
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groupcam.evaluate.variants import parse_variant
from groupcam.metrics.sanity import randomizable_layers, randomize
from groupcam.metrics.similarity import spearman, ssim
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency.engine import forward
from groupcam.saliency.methods import Maps, Progress
from groupcam.steps import relay, timed
from groupcam.ui.forecast import options_of
from groupcam.ui.runs import Choice, Loading, Shown, fitted
from groupcam.ui.workbench import MAP_S, Workbench, map_too_slow

METHODS = ("group_cam", "grad_cam", "guided_backprop", "sobel")
"""Those offered: the page's own, its next of kin, one known to fail, one that sees no network."""

# A map each, so few: ten of Group-CAM with EfficientNet-Lite0 take about 10 s on two CPU cores.
MOST_STAGES = 14
FEWEST_STAGES = 6  # fewer come only where the network has no more layers


@dataclass(frozen=True)
class Stage:
    """Layers that are randomised at once."""

    title: str
    layers: tuple[str, ...]  # from the logits down


@dataclass(frozen=True, eq=False)
class Trained(Shown):
    """The map of the network as it is, and what will be done."""

    target_layer: str
    class_label: str
    saliency_map: Tensor  # (H, W)
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Working:
    """A map is being made: that of the trained network (0) or after a stage (1, 2, ...)."""

    place: int
    done: int  # forward passes
    total: int


@dataclass(frozen=True, eq=False)
class Forgotten:
    """The map after a stage, and how alike it is to the trained network's."""

    saliency_map: Tensor  # (H, W)
    spearman: float
    ssim: float


Event = Loading | Trained | Working | Forgotten


def cascade_steps(
    workbench: Workbench, choice: Choice, method: str
) -> Generator[Event, None, None]:
    """Make the maps of the cascade, as events; closing stops within one micro-batch.

    Works on a private copy of the network, which goes at the end. The class is the trained
    network's throughout.

    Args:
        workbench: has the picture and the backbone.
        choice: what the page shows.
        method: as `parse_variant` takes it.

    Raises:
        GroupCamError: something in the choice is not possible.
        WeightsUnavailableError: the backbone's weights cannot be had here.
    """
    variant = parse_variant(method)
    picture = workbench.picture_of(choice)
    backbone = yield from workbench.load_steps(choice.backbone)
    layer = resolve_target_layer(backbone, choice.target_layer)
    options = options_of(variant, fitted(choice.config, layer))
    inputs = backbone.preprocess(picture.rgb, choice.view)
    class_index = (
        int(forward(backbone, inputs)[0].argmax())
        if choice.class_name is None
        else backbone.class_index_of(choice.class_name)
    )
    classes = torch.tensor([class_index], device=inputs.device)

    def map_of(network: Backbone, place: int) -> Generator[Working, None, Tensor]:
        steps: Generator[Progress, None, Maps] = variant.method.steps(
            network, inputs, layer, classes, **options
        )
        maps, _ = yield from relay(
            timed(steps, MAP_S, map_too_slow), lambda step: Working(place, step.done, step.total)
        )
        return maps.saliency_map[0]

    stages = stages_of(randomizable_layers(backbone))
    # One copy for all maps, the trained one's too: its layers are found while it is trained, as in
    # a random network they may not be told apart, and finding them takes as long as a map.
    private = _copy_of(backbone)
    trained = yield from map_of(private, 0)
    yield Trained(
        choice=choice,
        picture=picture,
        preprocessing=backbone.preprocessing,
        target_layer=layer.name,
        class_label=backbone.class_names[class_index],
        saliency_map=trained,
        stages=stages,
    )
    for place, stage in enumerate(stages, 1):
        for name in stage.layers:
            randomize(private.network.get_submodule(name), zlib.crc32(name.encode()))
        found = yield from map_of(private, place)
        yield Forgotten(found, spearman(trained, found), ssim(trained, found))


def stages_of(layers: Sequence[str]) -> tuple[Stage, ...]:
    """Return runs of layers as they are nested in the network: at most `MOST_STAGES`.

    Cut at the deepest nesting that gives no more than that; where this gives too few, the next
    nesting's runs are put together evenly.

    Args:
        layers: names from the logits down.
    """
    deepest = max((name.count(".") + 1 for name in layers), default=1)
    stages: list[list[str]] = []
    for depth in range(1, deepest + 1):
        finer = _runs(layers, depth)
        if len(finer) > MOST_STAGES:
            if len(stages) < FEWEST_STAGES:
                stages = _put_together(finer, MOST_STAGES)
            break
        stages = finer
    return tuple(Stage(_title(run, layers), tuple(run)) for run in stages)


def _runs(layers: Sequence[str], depth: int) -> list[list[str]]:
    """Return the runs of layers whose names begin with the same parts."""

    def beginning(name: str) -> list[str]:
        return name.split(".")[:depth]

    return [list(run) for _, run in itertools.groupby(layers, key=beginning)]


def _put_together(runs: list[list[str]], count: int) -> list[list[str]]:
    """Return `count` runs, each of about as many of the given ones."""
    edges = [round(place * len(runs) / count) for place in range(count + 1)]
    return [list(itertools.chain(*runs[a:b])) for a, b in itertools.pairwise(edges)]


def _title(run: Sequence[str], layers: Sequence[str]) -> str:
    """Return what a run of layers is called: the module that holds just them, or first to last."""
    if len(run) == 1:
        return run[0]
    columns = zip(*(name.split(".") for name in run), strict=False)
    shared = [column[0] for column in itertools.takewhile(lambda one: len(set(one)) == 1, columns)]
    holder = ".".join(shared)
    inside = [name for name in layers if name.startswith(f"{holder}.")]
    return holder if inside == list(run) else f"{run[0]} … {run[-1]}"


def _copy_of(backbone: Backbone) -> Backbone:
    with backbone.lock:
        network = copy.deepcopy(backbone.network)
    return dataclasses.replace(backbone, network=network, lock=threading.RLock())
