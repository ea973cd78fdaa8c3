"""Group-CAM: where an image classifier looks, and why.

>>> import groupcam
>>> backbone = groupcam.load_backbone("timm/tf_efficientnet_lite0")
>>> result = groupcam.explain(backbone, "assets/examples/cat.jpg")
>>> result.class_label, result.target_layer
('Egyptian cat', 'blocks.6')
"""

import importlib
from typing import TYPE_CHECKING

from groupcam.errors import GroupCamError, WeightsUnavailableError

__all__ = [
    "METHODS",
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

if TYPE_CHECKING:
    from groupcam.metrics import Curves, insertion_deletion
    from groupcam.models import list_backbones, load_backbone, target_layers
    from groupcam.saliency import Explanation, GroupCamConfig, explain
    from groupcam.saliency.methods import METHODS
else:
    # Imported at first use: torch and timm take seconds, for which --help and --version of the
    # command line need not wait.
    _HOMES = {
        "METHODS": "groupcam.saliency.methods",
        "Curves": "groupcam.metrics",
        "Explanation": "groupcam.saliency",
        "GroupCamConfig": "groupcam.saliency",
        "explain": "groupcam.saliency",
        "insertion_deletion": "groupcam.metrics",
        "list_backbones": "groupcam.models",
        "load_backbone": "groupcam.models",
        "target_layers": "groupcam.models",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
