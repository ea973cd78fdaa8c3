"""What the endpoints answer, key by key: these models are the answers and their documentation."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from groupcam.models.weights import WeightsSource

Probability = float

NPY: dict[str, Any] = {"contentEncoding": "base64", "contentMediaType": "application/x-npy"}
OVERLAY: dict[str, Any] = {"format": "data-uri"}


class Answer(BaseModel):
    """Base of all: a key that is not described here cannot be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def plain(self) -> dict[str, Any]:
        """Return plain values, without the keys that were not given."""
        return _facts_last(self.model_dump(mode="json", exclude_unset=True))


class Weights(Answer):
    """Where a network's weights come from."""

    source: WeightsSource = Field(description="where they come from")
    tag: str = Field(description="the hub's tag, or the package's name")
    sha256: str | None = Field(description="checksum of their file")


class NetworkFacts(Answer):
    """What is to be known of a network to have it again."""

    backbone: str = Field(description="its name")
    weights: Weights = Field(description="its weights")
    input_size: tuple[int, int] = Field(description="height and width of its input in pixels")
    device: str = Field(description="where it ran")
    caveat: str | None = Field(description="what to keep in mind about it, else null")


class PictureFacts(Answer):
    """What is to be known of a picture to check that it is the same."""

    sha256: str = Field(description="checksum of the file as it was received")
    size: tuple[int, int] = Field(description="height and width in pixels")
    notes: tuple[str, ...] = Field(description="what was done to it, in sentences")
    view: str = Field(description="how it got the shape of the network's input")
    seen_box: tuple[int, int, int, int] = Field(
        description="top, left, bottom, right: the part of the picture that the network saw"
    )
    input_box: tuple[int, int, int, int] = Field(
        description="top, left, bottom, right: the part of the map that lies on seen_box"
    )


class Reproducible(Answer):
    """An answer with all that it takes to have it again."""

    picture: PictureFacts = Field(description="the picture")
    network: NetworkFacts = Field(description="the network, its weights and their checksum")
    versions: dict[str, str] = Field(description="versions of groupcam and what it computes with")


class Prediction(Answer):
    """One class."""

    index: int = Field(description="index of the class")
    label: str = Field(description="name of the class")
    probability: Probability = Field(description="its probability, 0 to 1")


class Predictions(Reproducible):
    """What `/predict` answers."""

    backbone: str = Field(description="name of the network")
    classes: list[Prediction] = Field(
        description="the five most probable classes, most probable first"
    )


class Layer(Answer):
    """One entry of what `/layers` answers."""

    name: str = Field(description="its name, for target_layer")
    shape: tuple[int, int, int] = Field(
        description="channels, rows and columns of its map for one picture"
    )
    layout: str = Field(description="where the map's cells are: NCHW, NHWC or among tokens")
    prefix_tokens: int = Field(description="tokens before those of the map")
    usable: bool = Field(description="whether it can be explained")
    reason: str | None = Field(description="why not, else null")
    default: bool = Field(description="whether it is the one taken when none is named")
    path: tuple[str | int, ...] = Field(description="where the map is in a nested output")
    call: int = Field(description="which of the module's calls gives the map, from 0")


class Explained(Reproducible):
    """What `/explain` answers."""

    class_index: int = Field(description="index of the class that is explained")
    class_label: str = Field(description="name of the class")
    probability: Probability = Field(description="its probability for the picture, 0 to 1")
    baseline_probability: Probability = Field(
        description="its probability for the blurred picture, 0 to 1"
    )
    target_layer: str = Field(description="the layer whose channels were grouped")
    config: dict[str, Any] = Field(description="all settings of Group-CAM, defaults included")
    group_weights: list[float] = Field(
        description="weight of each group in the map: what its mask adds to the baseline's "
        "probability, at least 0"
    )
    masked_probability: list[float] = Field(
        description="probability of the picture seen through each group's mask, 0 to 1"
    )
    forward_passes: int = Field(description="passes of the network that the map took")
    elapsed_s: float = Field(description="seconds that the map took, without waiting")
    blank_reason: str | None = Field(description="why the map is all zeros, else null")
    notes: tuple[str, ...] = Field(description="what was done to the picture, in sentences")
    saliency_map_npy: str = Field(
        description="the map, float32 (height, width) of the network's input, 0 to 1: a NumPy "
        ".npy file in base64",
        json_schema_extra=NPY,
    )
    overlay: str = Field(
        description="the map on the picture, bright where it is strong: a PNG as a data URI",
        json_schema_extra=OVERLAY,
    )


class Curves(Reproducible):
    """What `/curves` answers."""

    class_index: int = Field(description="index of the class that is explained")
    class_label: str = Field(description="name of the class")
    target_layer: str = Field(description="the layer whose channels were grouped")
    config: dict[str, Any] = Field(description="all settings of Group-CAM, defaults included")
    fractions: list[float] = Field(
        description="fraction of the pixels changed at each point, 0 to 1"
    )
    insertion: list[float] = Field(
        description="probability of the class while pixels come back, most salient first"
    )
    deletion: list[float] = Field(
        description="probability of the class while pixels go, most salient first"
    )
    insertion_auc: float = Field(description="area under insertion, 0 to 1; higher is better")
    deletion_auc: float = Field(description="area under deletion, 0 to 1; lower is better")
    over_all: float = Field(description="insertion_auc - deletion_auc; higher is better")
    protocol: dict[str, Any] = Field(
        description="how pixels were changed; areas of different protocols do not compare"
    )


class ComparedMethod(Answer):
    """One entry of what `/compare` answers: results, or `error`."""

    method: str = Field(description="the method as it was asked for")
    title: str = Field(description="its name in words")
    settings: dict[str, Any] = Field(description="all its options, defaults included")
    error: str = Field("", description="why there is no result; then no other key follows")
    class_index: int = Field(0, description="index of the class that is explained")
    class_label: str = Field("", description="name of the class")
    probability: Probability = Field(0, description="its probability for the picture, 0 to 1")
    insertion_auc: float = Field(0, description="area under insertion, 0 to 1; higher is better")
    deletion_auc: float = Field(0, description="area under deletion, 0 to 1; lower is better")
    over_all: float = Field(0, description="insertion_auc - deletion_auc; higher is better")
    forward_passes: int = Field(0, description="forward passes that the map took")
    backward_passes: int = Field(0, description="backward passes that the map took")
    elapsed_s: float = Field(0, description="seconds that the map took, without waiting")
    saliency_map_npy: str = Field(
        "",
        description="with include=map: the map, float32 (height, width) of the network's input, "
        "0 to 1: a NumPy .npy file in base64",
        json_schema_extra=NPY,
    )
    overlay: str = Field(
        "",
        description="with include=overlay: the map on the picture, bright where it is strong: a "
        "JPEG as a data URI",
        json_schema_extra=OVERLAY,
    )
    energy_pointing_game: float = Field(
        0, description="with a box: the share of the map inside it, 0 to 1"
    )
    pointing_game: bool = Field(
        False, description="with a box: whether the map's peak is in it or within 15 px of it"
    )


class Comparison(Reproducible):
    """What `/compare` answers."""

    backbone: str = Field(description="name of the network")
    target_layer: str = Field(description="the layer that the methods look at")
    protocol: dict[str, Any] = Field(description="how the curves changed pixels")
    methods: list[ComparedMethod] = Field(description="one entry a method, as asked for")


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON schema of an answer: what a reader and Gradio make use of."""
    schema: dict[str, Any] = _plainer(TypeAdapter(kind).json_schema())
    if "properties" in schema:
        schema["properties"] = _facts_last(schema["properties"])
    return schema


def _facts_last(keys: dict[str, Any]) -> dict[str, Any]:
    """Return the same keys, those of every answer behind its own."""
    return dict(sorted(keys.items(), key=lambda item: item[0] in Reproducible.model_fields))


def _plainer(value: Any) -> Any:
    """Return a schema without titles, which say nothing, and without what Gradio cannot read."""
    if isinstance(value, Mapping):
        return {
            key: _plainer(part)
            for key, part in value.items()
            # A property named title is no text.
            if not (key == "title" and isinstance(part, str)) and part is not False
        }
    if isinstance(value, list):
        return [_plainer(part) for part in value]
    return value
