"""Group-CAM: where an image classifier looks, and why.

>>> import groupcam
>>> backbone = groupcam.load_backbone("timm/tf_efficientnet_lite0")
>>> result = groupcam.explain(backbone, "assets/examples/cat.jpg")
"""

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.metrics import Curves, insertion_deletion
from groupcam.models import list_backbones, load_backbone, target_layers
from groupcam.saliency import Explanation, GroupCamConfig, explain

__all__ = [
    "Curves",
    "Explanation",
    "GroupCamConfig",
    "GroupCamError",
    "WeightsUnavailableError",
    "explain",
    "insertion_deletion",
    "list_backbones",
    "load_backbone",
    "target_layers",
]

__version__ = "0.1.0"
