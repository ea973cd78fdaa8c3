"""Endpoints for programs: the same work as the page's, one call each, no session.

`/predict`, `/layers`, `/explain`, `/curves` and `/compare` take the names and defaults of the
library. Values come as they were sent and are checked by the library, which says what is wrong.
"""

import base64
import dataclasses
import functools
import io
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import cv2
import gradio as gr
import numpy as np
from torch import Tensor

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.evaluate.variants import parse_variant
from groupcam.images import Picture
from groupcam.metrics.annotations import ObjectBox
from groupcam.models import DEFAULT_BACKBONE, resolve_target_layer, target_layers
from groupcam.models.pool import BackboneKey
from groupcam.render.heatmap import DEFAULT_COLOR_MAP, DEFAULT_OPACITY
from groupcam.saliency import GroupCamConfig
from groupcam.ui import views
from groupcam.ui.compared import Begun, Compared, Completed, Failed
from groupcam.ui.comparison import DEFAULT_METHODS, Comparisons
from groupcam.ui.components import MODEL_QUEUE, checked_settings
from groupcam.ui.layout import TOP_CLASSES
from groupcam.ui.pointing import parse_box, pointing
from groupcam.ui.runs import Choice, Event, Explained, Finished, Predicted
from groupcam.ui.uploads import uploaded_path
from groupcam.ui.workbench import Workbench

INCLUDED = ("overlay", "map", "none")
OVERLAY_SIDE_PX = 448  # of the answer's overlays, so that six of them are no burden
MOST_PASSES = 3000  # a call is answered in one go, while others wait

Answer = dict[str, Any]
Found = TypeVar("Found", Predicted, Explained, Finished)
logger = logging.getLogger(__name__)


def add_endpoints(workbench: Workbench, comparisons: Comparisons) -> None:
    """Add the endpoints to the page that is being built."""
    endpoints = Endpoints(workbench, comparisons)
    network: dict[str, Any] = {
        "image": gr.Image(visible=False, type="filepath", image_mode=None, label="image"),
        "backbone": gr.Textbox(DEFAULT_BACKBONE, visible=False, label="backbone"),
        "view": gr.Textbox("crop", visible=False, label="view: crop, whole or fit"),
    }
    target: dict[str, Any] = {
        "target_layer": gr.Textbox("", visible=False, label="target layer; empty: the default"),
        "class_name": gr.Textbox("", visible=False, label="class or its index; empty: the top"),
    }
    settings: dict[str, Any] = {}
    for field in dataclasses.fields(GroupCamConfig):
        default = getattr(GroupCamConfig(), field.name)
        component = gr.Textbox if isinstance(default, str) else gr.Number
        settings[field.name] = component(default, visible=False, label=field.metadata["help"])
    compared: dict[str, Any] = {
        "methods": gr.JSON(
            list(DEFAULT_METHODS),
            visible=False,
            label="2 to 6 methods; options as in 'rise:masks=500'",
        ),
        "include": gr.Textbox("overlay", visible=False, label="overlay, map or none"),
        "box": gr.JSON(
            [],
            visible=False,
            label="left, top, right, bottom in pixels of the picture; empty: none",
        ),
    }
    for function, inputs in (
        (endpoints.predict, network),
        (endpoints.layers, {"backbone": network["backbone"]}),
        (endpoints.explain, {**network, **target, **settings}),
        (endpoints.curves, {**network, **target, **settings}),
        (endpoints.compare, {**network, **target, **compared}),
    ):
        gr.Button(visible=False).click(
            _with_clear_errors(function),
            inputs_kwargs=inputs,
            outputs=gr.JSON(visible=False, label=function.__name__),
            api_name=function.__name__,
            api_description=function.__doc__,
            preprocess=False,
            concurrency_limit=1,
            concurrency_id=MODEL_QUEUE,
        )


class Endpoints:
    """What the endpoints answer."""

    def __init__(self, workbench: Workbench, comparisons: Comparisons) -> None:
        self._workbench = workbench
        self._comparisons = comparisons

    def predict(self, image: Any, backbone: Any, view: Any) -> Answer:
        """Return the top classes of a picture with their probabilities."""
        return self._predictions(self._run(Predicted, image, backbone, view))

    def layers(self, backbone: Any) -> list[Answer]:
        """Return the layers of a backbone that can be explained, with shapes and the default."""
        loaded = self._workbench.load(BackboneKey(_text("backbone", backbone)))
        return [dataclasses.asdict(layer) for layer in target_layers(loaded)]

    def explain(self, image: Any, backbone: Any, view: Any, **options: Any) -> Answer:
        """Return map (base64 of a .npy file), overlay (PNG data URI) and every group's numbers."""
        run = self._run(Explained, image, backbone, view, **options).run
        explanation = run.explanation
        overlay = views.saved_overlay(run, DEFAULT_COLOR_MAP, DEFAULT_OPACITY)
        _, png = cv2.imencode(".png", cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
        return {
            "class_index": explanation.class_index,
            "class_label": explanation.class_label,
            "probability": explanation.probability,
            "baseline_probability": explanation.baseline_probability,
            "target_layer": explanation.target_layer,
            "config": dataclasses.asdict(explanation.config),
            "group_weights": explanation.group_weights.tolist(),
            "masked_probability": explanation.masked_probability.tolist(),
            "forward_passes": explanation.forward_passes,
            "elapsed_s": explanation.elapsed_s,
            "blank_reason": explanation.blank_reason,
            "notes": list(run.picture.notes),
            "saliency_map_npy": _npy(explanation.saliency_map),
            "overlay": "data:image/png;base64," + base64.b64encode(png.tobytes()).decode(),
        }

    def curves(self, image: Any, backbone: Any, view: Any, **options: Any) -> Answer:
        """Return the insertion and deletion curves of the map with their areas."""
        run = self._run(Finished, image, backbone, view, **options).run
        assert run.curves is not None  # a finished run has them
        return {
            "class_index": run.curves.class_index,
            "class_label": run.explanation.class_label,
            "fractions": run.curves.fractions.tolist(),
            "insertion": run.curves.insertion.tolist(),
            "deletion": run.curves.deletion.tolist(),
            "insertion_auc": run.curves.insertion_auc,
            "deletion_auc": run.curves.deletion_auc,
            "protocol": dataclasses.asdict(run.curves.protocol),
        }

    def compare(self, image: Any, backbone: Any, view: Any, **options: Any) -> Answer:
        """Return map, areas and cost of several methods on one picture, all of one class."""
        box = None if options["box"] in (None, []) else parse_box(options["box"])
        include = options["include"]
        if include not in INCLUDED:
            raise GroupCamError(f"include must be one of {', '.join(INCLUDED)}; got {include!r}.")
        methods = options["methods"]
        if not isinstance(methods, list) or not all(isinstance(name, str) for name in methods):
            raise GroupCamError(f"methods must be a list of names; got {methods!r}.")
        variants = [parse_variant(name) for name in methods]
        target = {name: options[name] for name in ("target_layer", "class_name")}
        choice = self._choice(image, backbone, view, GroupCamConfig(), **target)
        picture = self._workbench.picture_of(choice)
        found: dict[int, Compared] = {}
        failed: dict[int, str] = {}
        passes = 0
        for event in self._comparisons.steps(choice, "method", methods):
            if isinstance(event, Begun):
                passes += event.map_passes or 0
                if passes > MOST_PASSES:
                    raise GroupCamError(
                        f"methods must need at most {MOST_PASSES:,} forward passes together, so "
                        f"that others can be answered; these need up to {passes:,} or more. Leave "
                        "some out, or use `python -m groupcam evaluate`."
                    )
            elif isinstance(event, Completed):
                found[event.place] = event.result
            elif isinstance(event, Failed):
                failed[event.place] = event.reason
        return {
            "backbone": choice.backbone.name,
            "target_layer": choice.target_layer,
            "methods": [
                {"method": name, "title": variant.method.title}
                | (
                    _compared(found[place], picture, include, box)
                    if place in found
                    else {"error": failed[place]}
                )
                for place, (name, variant) in enumerate(zip(methods, variants, strict=True))
            ],
        }

    def _run(
        self, wanted: type[Found], image: Any, backbone: Any, view: Any, **options: Any
    ) -> Found:
        """Run until the wanted event and return it."""
        target = {
            name: options.pop(name) for name in ("target_layer", "class_name") if name in options
        }
        view, config = checked_settings(view, options)
        choice = self._choice(image, backbone, view, config, **target)
        events: Any = self._workbench.run_steps(choice)
        event: Event
        for event in events:
            if isinstance(event, wanted):
                events.close()
                return event
        raise RuntimeError(f"The run ended without {wanted.__name__}.")

    def _choice(
        self,
        image: Any,
        backbone: Any,
        view: Any,
        config: GroupCamConfig,
        *,
        target_layer: Any = "",
        class_name: Any = "",
    ) -> Choice:
        """Return what was asked for; the backbone is loaded, and names are checked by it."""
        path = uploaded_path(image)
        layer = _text("target_layer", target_layer)
        name = _text("class_name", class_name)
        view, _ = checked_settings(view, {})
        loaded = self._workbench.load(BackboneKey(_text("backbone", backbone)))
        layer = resolve_target_layer(loaded, layer or None).name
        if name:
            name = loaded.class_names[loaded.class_index_of(name)]
        picture_id, _ = self._workbench.add_picture(path)
        return Choice(picture_id, BackboneKey(loaded.name), layer, name or None, config, view)

    def _predictions(self, event: Predicted) -> Answer:
        """Return the top classes, most probable first."""
        return {
            "backbone": event.backbone.name,
            "classes": [
                {"index": index, "label": label, "probability": value}
                for index, label, value in event.top(TOP_CLASSES)
            ],
        }


def _compared(result: Compared, picture: Picture, include: str, box: ObjectBox | None) -> Answer:
    """Return what one method gave."""
    assert result.curves is not None  # a completed entry has them
    answer = {
        "class_index": result.class_index,
        "class_label": result.class_label,
        "probability": result.probability,
        "insertion_auc": result.curves.insertion_auc,
        "deletion_auc": result.curves.deletion_auc,
        "over_all": result.curves.over_all,
        "forward_passes": result.forward_passes,
        "backward_passes": result.backward_passes,
        "elapsed_s": result.elapsed_s,
    }
    if include == "map":
        answer["saliency_map_npy"] = _npy(result.saliency_map)
    elif include == "overlay":
        answer["overlay"] = views.data_uri(
            views.overlay_of(
                picture,
                result,
                result.saliency_map,
                DEFAULT_COLOR_MAP,
                DEFAULT_OPACITY,
                longest_side_px=OVERLAY_SIDE_PX,
            )
        )
    if box is not None:
        found = pointing(result, box)
        answer |= {"energy_pointing_game": found.energy, "pointing_game": found.is_hit}
    return answer


def _npy(saliency_map: Tensor) -> str:
    """Return a map as a .npy file in base64."""
    file = io.BytesIO()
    np.save(file, saliency_map.numpy())
    return base64.b64encode(file.getvalue()).decode()


def _text(name: str, value: Any) -> str:
    """Return a parameter that must be a text; nothing counts as an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise GroupCamError(f"{name} must be a text; got {value!r}.")
    return value


def _with_clear_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what the caller can mend into one sentence, and hide everything else."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            raise gr.Error(str(error)) from error
        except Exception as error:
            logger.exception("An endpoint failed.")
            raise gr.Error("Something went wrong here that should not have.") from error

    return wrapped
