"""The metrics of an evaluation, in one registry: from one picture's map to named numbers.

Metrics that follow from the same forward passes have one source, which runs once for all of them.
What each number means stands in the module of `groupcam.metrics` that its source calls.
"""

import copy
import dataclasses
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from groupcam.evaluate.mosaics import Mosaic
from groupcam.evaluate.variants import Variant
from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.metrics.adcc import adcc_steps
from groupcam.metrics.faithfulness import faithfulness_steps
from groupcam.metrics.fidelity import fidelity_auc
from groupcam.metrics.grid_pointing import tile_localisation
from groupcam.metrics.localisation import energy_pointing_game, pointing_game
from groupcam.metrics.road import road_steps
from groupcam.metrics.sanity import randomizable_layers, randomize
from groupcam.metrics.sensitivity import max_sensitivity_steps
from groupcam.metrics.similarity import spearman, ssim
from groupcam.models import Backbone
from groupcam.saliency.methods import Maps
from groupcam.steps import finish

Better = Literal["high", "low"]
Values = Mapping[str, float | None]  # None: the metric says nothing about this picture


@dataclass(frozen=True)
class Metric:
    """One column of the table."""

    name: str
    title: str
    better: Better


@dataclass(frozen=True, eq=False)
class MapCase:
    """One method's map of one picture, and what can be asked about it."""

    variant: Variant
    backbone: Backbone
    layer: str
    inputs: Tensor  # (1, 3, H, W), normalised
    class_index: Tensor  # (1,)
    maps: Maps
    elapsed_s: float
    protocol: CurveProtocol
    box_mask: Tensor | None  # bool (H, W): the class's boxes; None where there are none
    forgetful: Callable[[], Backbone]  # the same network with random weights
    mosaic: Callable[[], Mosaic | None]  # one that the picture lies in

    def map_of(self, backbone: Backbone, inputs: Tensor, class_index: Tensor) -> Tensor:
        """Return the method's maps of other inputs or of another network."""
        return self.variant.maps(backbone, inputs, self.layer, class_index).saliency_map


@dataclass(frozen=True)
class Source:
    """What gives the values of some metrics at once."""

    metrics: tuple[Metric, ...]
    measure: Callable[[MapCase], Values]


def measure(case: MapCase, wanted: tuple[str, ...]) -> dict[str, float | None]:
    """Return the wanted metrics of one map; each source runs at most once."""
    found: dict[str, float | None] = {}
    for source in SOURCES:
        if any(metric.name in wanted for metric in source.metrics):
            found |= source.measure(case)
    return {name: found[name] for name in wanted}


def randomized(backbone: Backbone) -> Backbone:
    """Return a copy of the network whose weights are all random: the end of sanity.py's cascade."""
    with backbone.lock:
        network = copy.deepcopy(backbone.network)
    for name in randomizable_layers(backbone):
        randomize(network.get_submodule(name), zlib.crc32(name.encode()))
    return dataclasses.replace(backbone, network=network, lock=threading.RLock())


def _curves(case: MapCase) -> Values:
    curves = finish(
        curve_steps(
            case.backbone,
            case.inputs,
            case.maps.saliency_map,
            case.class_index,
            protocol=case.protocol,
        )
    )
    return {
        "insertion": float(curves.insertion_auc[0]),
        "deletion": float(curves.deletion_auc[0]),
        "over_all": float(curves.over_all[0]),
        "insertion_fidelity": float(fidelity_auc(curves.insertion_retained, curves.fractions)[0]),
        "deletion_fidelity": float(fidelity_auc(curves.deletion_retained, curves.fractions)[0]),
    }


def _faithfulness(case: MapCase) -> Values:
    found = finish(
        faithfulness_steps(case.backbone, case.inputs, case.maps.saliency_map, case.class_index)
    )
    return {
        "average_drop": float(found.average_drop[0]),
        "increase_in_confidence": float(found.increase_in_confidence[0]),
        "average_gain": float(found.average_gain[0]),
        "average_drop_in_deletion": float(found.average_drop_in_deletion[0]),
    }


def _adcc(case: MapCase) -> Values:
    found = finish(
        adcc_steps(
            case.backbone, case.inputs, case.maps.saliency_map, case.class_index, case.map_of
        )
    )
    return {
        "adcc": float(found.score[0]),
        "coherency": float(found.coherency[0]),
        "complexity": float(found.complexity[0]),
    }


def _road(case: MapCase) -> Values:
    found = finish(road_steps(case.backbone, case.inputs, case.maps.saliency_map, case.class_index))
    return {"road": float(found.score[0])}


def _localisation(case: MapCase) -> Values:
    if case.box_mask is None:
        return {"energy_pointing_game": None, "pointing_game": None}
    mask = case.box_mask[None]
    return {
        "energy_pointing_game": float(energy_pointing_game(case.maps.saliency_map, mask)[0]),
        "pointing_game": float(pointing_game(case.maps.saliency_map, mask)[0]),
    }


def _grid_pointing(case: MapCase) -> Values:
    mosaic = case.mosaic()
    if mosaic is None:
        return {"grid_pointing_game": None}
    return {
        "grid_pointing_game": tile_localisation(
            case.backbone,
            mosaic.tiles,
            mosaic.class_index,
            mosaic.tile,
            case.map_of,
            tile_size=mosaic.tile_size,
        )
    }


def _sensitivity(case: MapCase) -> Values:
    steps = max_sensitivity_steps(case.backbone, case.inputs, case.class_index, case.map_of)
    return {"max_sensitivity": float(finish(steps)[0])}


def _sanity(case: MapCase) -> Values:
    other = case.map_of(case.forgetful(), case.inputs, case.class_index)[0]
    own = case.maps.saliency_map[0]
    return {"sanity_spearman": spearman(own, other), "sanity_ssim": ssim(own, other)}


def _cost(case: MapCase) -> Values:
    return {
        "forward_passes": float(case.maps.forward_passes[0]),
        "backward_passes": float(case.maps.backward_passes[0]),
        "elapsed_s": case.elapsed_s,
    }


SOURCES = (
    Source(
        (
            Metric("insertion", "Insertion AUC", "high"),
            Metric("deletion", "Deletion AUC", "low"),
            Metric("over_all", "Over-all", "high"),
            Metric("insertion_fidelity", "Insertion fidelity", "high"),
            Metric("deletion_fidelity", "Deletion fidelity", "low"),
        ),
        _curves,
    ),
    Source(
        (
            Metric("average_drop", "Average drop", "low"),
            Metric("increase_in_confidence", "Increase in confidence", "high"),
            Metric("average_gain", "Average gain", "high"),
            Metric("average_drop_in_deletion", "Average drop in deletion", "high"),
        ),
        _faithfulness,
    ),
    Source(
        (
            Metric("adcc", "ADCC", "high"),
            Metric("coherency", "Coherency", "high"),
            Metric("complexity", "Complexity", "low"),
        ),
        _adcc,
    ),
    Source((Metric("road", "ROAD", "high"),), _road),
    Source(
        (
            Metric("energy_pointing_game", "Energy pointing game", "high"),
            Metric("pointing_game", "Pointing game", "high"),
        ),
        _localisation,
    ),
    Source((Metric("grid_pointing_game", "Grid pointing game", "high"),), _grid_pointing),
    Source((Metric("max_sensitivity", "Max-sensitivity", "low"),), _sensitivity),
    Source(
        (
            Metric("sanity_spearman", "Spearman with random weights' map", "low"),
            Metric("sanity_ssim", "SSIM with random weights' map", "low"),
        ),
        _sanity,
    ),
    Source(
        (
            Metric("forward_passes", "Forward passes", "low"),
            Metric("backward_passes", "Backward passes", "low"),
            Metric("elapsed_s", "Seconds a map", "low"),
        ),
        _cost,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for one in SOURCES for metric in one.metrics}
"""In the order in which tables show them."""

BOX_METRICS = frozenset(
    metric.name for one in SOURCES if one.measure is _localisation for metric in one.metrics
)
"""Those that need a data set with boxes."""
