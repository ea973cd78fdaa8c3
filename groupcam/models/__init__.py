"""From a backbone's name to a ready network, and to the layers that can be explained in it."""

from groupcam.models.backbone import Backbone, load_backbone
from groupcam.models.catalogue import (
    DEFAULT_BACKBONE,
    BackboneEntry,
    list_backbones,
    resolve_name,
)
from groupcam.models.hub import Progress
from groupcam.models.input_size import input_sizes
from groupcam.models.layout_check import check_layout
from groupcam.models.layouts import Layout, MapLayout, from_nchw, to_nchw
from groupcam.models.preprocessing import Preprocessing, View
from groupcam.models.target_layers import (
    TargetLayer,
    default_target_layer,
    resolve_target_layer,
    target_layers,
)
from groupcam.models.weights import WeightsInfo
from groupcam.models.weights_list import WeightsEntry, list_weights

__all__ = [
    "DEFAULT_BACKBONE",
    "Backbone",
    "BackboneEntry",
    "Layout",
    "MapLayout",
    "Preprocessing",
    "Progress",
    "TargetLayer",
    "View",
    "WeightsEntry",
    "WeightsInfo",
    "check_layout",
    "default_target_layer",
    "from_nchw",
    "input_sizes",
    "list_backbones",
    "list_weights",
    "load_backbone",
    "resolve_name",
    "resolve_target_layer",
    "target_layers",
    "to_nchw",
]
