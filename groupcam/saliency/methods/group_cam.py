"""Group-CAM: groups of channels become masks, which are scored and merged.

Zhang, Rao, Yang 2021, arXiv:2103.13859; the formulas stand in `groupcam.saliency.group_cam`. The
map shows where groups of channels lie that keep the class probable when all else is blurred.

Costs one forward and one backward pass, one forward pass of the blurred picture and one for every
group whose mask is not empty. Flaw: a group that helps only together with another one scores
nothing.
"""

from functools import partial

from torch import Tensor

from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.config import GroupCamConfig
from groupcam.saliency.group_cam import DEFAULT_CONFIG, explain_steps
from groupcam.saliency.methods.base import Maps, Method, Progress, Steps
from groupcam.steps import relay

PAPER = "arXiv:2103.13859"


def group_cam(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    config: GroupCamConfig = DEFAULT_CONFIG,
) -> Steps:
    """Return the steps of Group-CAM; see `Method`.

    Args:
        config: all settings.
    """
    batch = yield from relay(
        explain_steps(backbone, inputs, config, layer.name, class_index),
        lambda progress: Progress(progress.done, progress.total),
    )
    return Maps(
        batch.saliency_map,
        forward_passes=batch.forward_passes,
        backward_passes=batch.forward_passes.new_ones(len(batch)),
    )


METHODS = (
    Method("group_cam", "Group-CAM", PAPER, "cam", group_cam),
    Method(
        "group_cam_paper",
        "Group-CAM (paper)",
        PAPER,
        "cam",
        partial(group_cam, config=GroupCamConfig.paper()),
    ),
    Method(
        "group_cam_official",
        "Group-CAM (authors' code)",
        PAPER,
        "cam",
        partial(group_cam, config=GroupCamConfig.official()),
    ),
)
