"""What training would see of a few pictures, one after the other. No Gradio in here."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from groupcam.augment import NUMBERS, AugmentConfig, blurred_outside, control_maps, keep_mask
from groupcam.models import resolve_target_layer
from groupcam.saliency import explain_steps
from groupcam.saliency.engine import forward
from groupcam.saliency.group_cam import Progress
from groupcam.steps import relay, timed
from groupcam.ui.runs import Choice, Loading, fitted
from groupcam.ui.workbench import MAP_S, Workbench, map_too_slow

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Working:
    """The map of a picture is being made."""

    place: int
    done: int  # forward passes
    total: int


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture as training sees it."""

    label: str
    number: float  # drawn, in [0, 1): below the probability, the picture is augmented
    rgb: UInt8Array  # (H, W, 3): what the network gets of the picture, as are:
    augmented: UInt8Array
    mask: Tensor | None  # (H, W) in [0, 1]; None: the picture is left as it is
    saliency_map: Tensor | None  # (H, W)
    forward_passes: int


Event = Loading | Working | Seen


def augmented_steps(
    workbench: Workbench,
    choice: Choice,
    config: AugmentConfig,
    pictures: Sequence[UInt8Array],
    seed: int,
) -> Generator[Event, None, None]:
    """Augment the chosen picture and then others; closing stops within one micro-batch.

    The class of the chosen picture is the one that is explained, that of the others their top one:
    training would take the true ones.

    Args:
        workbench: has the picture and the backbone.
        choice: what the page shows; its settings are those of Group-CAM.
        config: how pictures are augmented, all but the settings of Group-CAM.
        pictures: the others, uint8 (H, W, 3).
        seed: of what is drawn.

    Raises:
        GroupCamError: something in the choice is not possible.
        WeightsUnavailableError: the backbone's weights cannot be had here.
    """
    own = workbench.picture_of(choice)
    backbone = yield from workbench.load_steps(choice.backbone)
    layer = resolve_target_layer(backbone, choice.target_layer)
    config = replace(config, group_cam=fitted(choice.config, layer))
    generator = torch.Generator().manual_seed(seed)
    for place, rgb in enumerate((own.rgb, *pictures)):
        inputs = backbone.preprocess(rgb, choice.view)
        numbers = torch.rand(1, NUMBERS, generator=generator)
        class_index = int(forward(backbone, inputs)[0].argmax())
        if place == 0 and choice.class_name is not None:
            class_index = backbone.class_index_of(choice.class_name)
        maps = mask = None
        passes, shown = 0, inputs
        if numbers[0, 0] < config.probability:
            size = (inputs.shape[-2], inputs.shape[-1])
            maps = control_maps(config.source, numbers[:, 1:], size)
            if maps is None:
                steps = explain_steps(
                    backbone,
                    inputs,
                    config.group_cam,
                    layer.name,
                    torch.tensor([class_index], device=inputs.device),
                )
                found, _ = yield from relay(timed(steps, MAP_S, map_too_slow), _working(place))
                maps, passes = found.saliency_map, int(found.forward_passes[0])
            mask = keep_mask(maps, config.edge)
            shown = blurred_outside(inputs, mask.to(inputs.device), config.group_cam)
        yield Seen(
            label=backbone.class_names[class_index],
            number=float(numbers[0, 0]),
            rgb=backbone.preprocessing.to_rgb(inputs)[0],
            augmented=backbone.preprocessing.to_rgb(shown)[0],
            mask=None if mask is None else mask[0],
            saliency_map=None if maps is None else maps[0],
            forward_passes=passes,
        )


def _working(place: int) -> Callable[[Progress], Working]:
    """Return what tells how far the map of a picture is."""
    return lambda step: Working(place, step.done, step.total)
