"""The choice that the page's controls make, from the raw values that anybody may have sent."""

from typing import Any

from groupcam.errors import GroupCamError, shown
from groupcam.language import say
from groupcam.models.pool import BackboneKey
from groupcam.ui.components import ConfigControls
from groupcam.ui.payloads import check_controls, checked_text
from groupcam.ui.runs import Choice

DEFAULT_WEIGHTS, RANDOM_WEIGHTS = "default", "random"


def read_choice(
    controls: ConfigControls,
    picture_id: str,
    shown_backbone: BackboneKey | None,
    weights_of: str,
    backbone_name: str,
    weights: str,
    input_size: str,
    layer: str | None,
    class_name: str | None,
    *settings: Any,
) -> Choice:
    """Return what the controls ask for; what belongs to another backbone's lists is left out.

    Args:
        controls: parse the settings.
        picture_id: see `Workbench.add_picture`.
        shown_backbone: the one that the lists of layers, classes and sizes belong to.
        weights_of: the name of the backbone that the list of weights is for.
        backbone_name: as chosen, likewise what follows.
        weights: a tag, "default" or "random".
        input_size: a number of pixels; "": the weights' own.
        layer: "": the default.
        class_name: "": the top prediction.
        settings: the values of `controls.all`.

    Raises:
        GroupCamError: a value is out of range or not among its choices.
        TypeError: a value is of the wrong type.
    """
    check_controls(settings)
    backbone_name = checked_text("The backbone", backbone_name)
    weights = checked_text("The weights", weights)
    input_size = checked_text("The input size", input_size)
    layer = checked_text("The layer", layer)
    class_name = checked_text("The class", class_name)
    view, config = controls.parse(settings)
    if weights_of != backbone_name:
        weights = DEFAULT_WEIGHTS
    if shown_backbone is None or shown_backbone.name != backbone_name:
        layer, input_size = "", ""
    backbone = key_of(backbone_name, weights, input_size)
    return Choice(picture_id, backbone, layer or None, class_name or None, config, view)


def key_of(name: str, weights: str, input_size: str) -> BackboneKey:
    """Return the backbone that the lists of names, weights and input sizes stand for.

    Raises:
        GroupCamError: the input size is no number of pixels.
    """
    size = _pixels(input_size) if input_size else None
    return BackboneKey(name, None if weights == RANDOM_WEIGHTS else weights, size)


def _pixels(text: str) -> int:
    """Return the whole number that a visitor sent as an input size."""
    if not text.isdecimal() or len(text) > 5:
        raise GroupCamError(say("network.unknown_size", given=shown(text)[1:-1]))
    return int(text)
