"""What the endpoints take: name, type, range, default and a text for each parameter."""

import dataclasses
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from gradio.components.api_component import Api

from groupcam.images import MAX_FILE_BYTES, MAX_PIXELS
from groupcam.language import say
from groupcam.models import DEFAULT_BACKBONE
from groupcam.saliency import CHOICES, GroupCamConfig
from groupcam.saliency.methods import METHODS
from groupcam.ui.comparison import DEFAULT_METHODS, FEWEST, MOST
from groupcam.ui.components import VIEWS

IMAGE_TEXT = (
    f"The picture, uploaded or by a public http(s) address: {say('picture_file.formats')}, at most "
    f"{MAX_FILE_BYTES // 2**20} MB and {MAX_PIXELS // 10**6} million pixels."
)
INCLUDED = ("overlay", "map", "none")

Schema = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One parameter of an endpoint, beside the picture."""

    name: str
    schema: Schema  # JSON schema of its value, with its range or its choices
    default: Any
    text: str  # what it is, in sentences
    example: Any = None  # for the documentation; None: it shows the default by leaving it out

    def component(self) -> Api:
        """Return the component that makes Gradio document it; what is sent comes as it was sent."""
        told: Schema = {**self.schema, "description": self.text}
        told["additional_description"] = self.text  # what Gradio's own page of the API shows
        if self.example is not None:
            told["examples"] = [self.example]
        return Api(self.default, told, self.name)


BACKBONE = Parameter(
    "backbone",
    {"type": "string"},
    DEFAULT_BACKBONE,
    "The network: 'timm/NAME' or 'torchvision/NAME', such as 'timm/resnet50'. The default is ready "
    "at once; the weights of most others are downloaded at their first use.",
)
NETWORK = (
    BACKBONE,
    Parameter(
        "view",
        {"type": "string", "enum": list(VIEWS)},
        "crop",
        "How the picture gets the shape of the network's input. One of: "
        + "; ".join(f"{name}, {say(f'settings.view_{name}')}" for name in VIEWS)
        + ".",
    ),
)
TARGET = (
    Parameter(
        "target_layer",
        {"type": "string"},
        "",
        "The layer whose channels are looked at, by a name that /layers gives as usable, such as "
        "'blocks.6'. Empty: the network's default.",
    ),
    Parameter(
        "class_name",
        {"type": "string"},
        "",
        "The class to explain, by its name or its index: 'Egyptian cat' or '285'. Empty: the most "
        "probable one.",
    ),
)
COMPARED = (
    Parameter(
        "methods",
        {"type": "array", "items": {"type": "string"}, "minItems": FEWEST, "maxItems": MOST},
        list(DEFAULT_METHODS),
        f"{FEWEST} to {MOST} different methods, with options as in 'rise:masks=500' or "
        f"'group_cam:groups=16,merge=raw'. There are: {', '.join(METHODS)}.",
        example=["group_cam", "grad_cam"],
    ),
    Parameter(
        "include",
        {"type": "string", "enum": list(INCLUDED)},
        "overlay",
        "What comes back of each map beside its numbers. One of: overlay, the map on the picture; "
        "map, the values; none.",
    ),
    Parameter(
        "box",
        {"type": "array", "items": {"type": "number"}, "maxItems": 4},
        [],
        "Where the object is: [left, top, right, bottom] in pixels of the picture, from its upper "
        "left corner. Each map is then scored by how well it points there. Empty: not scored.",
    ),
)


def _setting(field: dataclasses.Field[Any]) -> Parameter:
    """Return the parameter of a field of GroupCamConfig, with the field's own range and default."""
    kind = get_type_hints(GroupCamConfig)[field.name]
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    text = field.metadata["help"]
    text = f"{text[0].upper()}{text[1:]}."
    schema: Schema
    if field.name in CHOICES:
        schema = {"type": "string", "enum": list(CHOICES[field.name])}
        text += f" One of: {', '.join(CHOICES[field.name])}."
    else:
        schema = {"type": "integer" if kind is int else "number", "minimum": minimum}
        if maximum is None:
            text += f" At least {minimum}."
        else:
            schema["maximum"] = maximum
            text += f" From {minimum} to {maximum}."
        if type(None) in get_args(kind):
            text = f"{text[:-1]}, or null for none."
            schema = {"anyOf": [schema, {"type": "null"}]}
    return Parameter(
        field.name, schema, field.default, text, example=16 if field.name == "groups" else None
    )


SETTINGS = tuple(_setting(field) for field in dataclasses.fields(GroupCamConfig))
