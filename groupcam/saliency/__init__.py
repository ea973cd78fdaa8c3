"""From (backbone, image, class) to a saliency map."""

from groupcam.saliency.config import CHOICES, PRESETS, GroupCamConfig
from groupcam.saliency.group_cam import explain, explain_steps
from groupcam.saliency.result import Explanation, ExplanationBatch
from groupcam.steps import finish

__all__ = [
    "CHOICES",
    "PRESETS",
    "Explanation",
    "ExplanationBatch",
    "GroupCamConfig",
    "explain",
    "explain_steps",
    "finish",
]
