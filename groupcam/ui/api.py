"""Endpoints for programs: the same work as the page's, one call each, no session.

`/predict`, `/layers`, `/explain`, `/curves` and `/compare` take the names and defaults of the
library. Values come as they were sent and are checked by the library, which says what is wrong.
What they take is described in parameters.py, what they answer in answers.py.
"""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import io
import textwrap
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import gradio as gr
import numpy as np
from gradio.components.api_component import Api
from gradio.context import Context
from torch import Tensor

from groupcam.errors import GroupCamError, WeightsUnavailableError, shown
from groupcam.evaluate.variants import Variant, parse_variant
from groupcam.images import Picture
from groupcam.metrics.annotations import ObjectBox
from groupcam.models import Backbone, TargetLayer, resolve_target_layer, target_layers
from groupcam.models.pool import BackboneKey
from groupcam.render.heatmap import DEFAULT_COLOR_MAP, DEFAULT_OPACITY
from groupcam.saliency import GroupCamConfig
from groupcam.share.record import Network, network_facts, versions
from groupcam.ui import answers, views
from groupcam.ui.answers import Answer, schema_of
from groupcam.ui.compared import Begun, Compared, Completed, Failed
from groupcam.ui.comparison import MOST, Comparisons, check_count
from groupcam.ui.components import MODEL_QUEUE, checked_settings
from groupcam.ui.event_log import log_accident
from groupcam.ui.forecast import takes_settings
from groupcam.ui.layout import TOP_CLASSES
from groupcam.ui.parameters import (
    BACKBONE,
    COMPARED,
    IMAGE_TEXT,
    INCLUDED,
    NETWORK,
    SETTINGS,
    TARGET,
    Parameter,
)
from groupcam.ui.payloads import checked_text
from groupcam.ui.pointing import parse_box, pointing
from groupcam.ui.runs import Choice, Event, Explained, Finished, Predicted, fitted
from groupcam.ui.turns import someone_waits
from groupcam.ui.uploads import uploaded_path
from groupcam.ui.workbench import TICK_S, Workbench

OVERLAY_SIDE_PX = 448  # of the answer's overlays, so that six of them are no burden
MOST_PASSES = 3000  # a call is answered in one go, while others wait
CALL_S = 300.0  # a call that takes longer is given up
CALL_WAITED_FOR_S = 60.0  # likewise, where others wait; maps that are done are kept for a while
LOAD_S = 20.0  # for a network; fetching it goes on
LOAD_WAITED_FOR_S = 3.0  # likewise, where others wait
SIGN_S = 0.25  # between signs of life: how soon the work of a caller who has left ends
MOST_SAID = 2000  # characters of an error

Found = TypeVar("Found", Predicted, Explained, Finished)
Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Yields nothing after every micro-batch; closing it ends the work."""
Work = Steps[Answer | Sequence[Answer]]


def add_endpoints(workbench: Workbench, comparisons: Comparisons) -> None:
    """Add the endpoints to the page that is being built."""
    app = Context.root_block
    assert app is not None  # endpoints belong to a page
    others_wait = functools.partial(someone_waits, app)
    endpoints = Endpoints(workbench, comparisons, others_wait)
    image = gr.Image(visible=False, type="filepath", image_mode=None, label=IMAGE_TEXT)
    shared = {one.name: one.component() for one in (*NETWORK, *TARGET, *SETTINGS, *COMPARED)}
    listed: Sequence[tuple[Callable[..., Work], Any, tuple[Parameter, ...]]] = (
        (endpoints.predict, answers.Predictions, NETWORK),
        (endpoints.layers, list[answers.Layer], (BACKBONE,)),
        (endpoints.explain, answers.Explained, (*NETWORK, *TARGET, *SETTINGS)),
        (endpoints.curves, answers.Curves, (*NETWORK, *TARGET, *SETTINGS)),
        (endpoints.compare, answers.Comparison, (*NETWORK, *TARGET, *COMPARED)),
    )
    for function, answer, parameters in listed:
        inputs: dict[str, Any] = {one.name: shared[one.name] for one in parameters}
        if function != endpoints.layers:
            inputs = {"image": image, **inputs}
        gr.Button(visible=False).click(
            _served(function, others_wait),
            inputs_kwargs=inputs,
            outputs=Api(None, schema_of(answer), "answer"),
            api_name=function.__name__,
            preprocess=False,
            postprocess=False,
            concurrency_limit=1,
            concurrency_id=MODEL_QUEUE,
        )


@dataclass(frozen=True, eq=False)
class Asked:
    """A request whose names are known and whose picture is open."""

    choice: Choice
    picture: Picture
    picture_sha256: str  # of its file
    backbone: Backbone
    layer: TargetLayer

    @property
    def facts(self) -> dict[str, Any]:
        """Return what it takes to have the answer again."""
        size = (self.picture.rgb.shape[0], self.picture.rgb.shape[1])
        preprocessing, view = self.backbone.preprocessing, self.choice.view
        return {
            "picture": {
                "sha256": self.picture_sha256,
                "size": size,
                "notes": self.picture.notes,
                "view": view,
                "seen_box": preprocessing.box(size, view),
                "input_box": preprocessing.inner(size, view),
            },
            "network": network_facts(Network.of(self.backbone)),
            "versions": versions(),
        }


class Endpoints:
    """What the endpoints answer; a method's docstring is its endpoint's public description."""

    def __init__(
        self,
        workbench: Workbench,
        comparisons: Comparisons,
        others_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._workbench = workbench
        self._comparisons = comparisons
        self._others_wait = others_wait

    def predict(self, *, image: Any, backbone: Any, view: Any) -> Work:
        """Tell what an image classifier sees in a picture: its five most probable classes.

        Costs one forward pass of the network, a fraction of a second. Use it first, to learn which
        classes there are to explain.
        """
        asked = yield from self._asked(image, backbone, view)
        event = yield from self._run(Predicted, asked)
        return answers.Predictions(
            **asked.facts,
            backbone=event.backbone.name,
            classes=[
                answers.Prediction(index=index, label=label, probability=value)
                for index, label, value in event.top(TOP_CLASSES)
            ],
        )

    def layers(self, *, backbone: Any) -> Work:
        """List the layers of an image classifier that can be explained, in order of execution.

        Needs no picture. Use it to choose a target_layer for the other calls: early layers are
        fine and say little about the class, late ones are coarse and say much.
        """
        loaded = yield from self._load(backbone)
        return [answers.Layer(**dataclasses.asdict(layer)) for layer in target_layers(loaded)]

    def explain(self, *, image: Any, backbone: Any, view: Any, **options: Any) -> Work:
        """Show where an image classifier looks for a class, by Group-CAM: a saliency map.

        The channels of a layer are put into groups, each group becomes a mask, and the picture is
        shown to the network through each mask: the more probable the class then is, the more the
        mask weighs in the map. Costs a forward pass for each group and two more, about a second
        at 32 groups on a CPU; the same call again costs nothing while its result is kept.
        """
        asked = yield from self._asked_with(options, image, backbone, view)
        run = (yield from self._run(Explained, asked)).run
        explanation = run.explanation
        overlay = views.saved_overlay(run, DEFAULT_COLOR_MAP, DEFAULT_OPACITY)
        _, png = cv2.imencode(".png", cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
        return answers.Explained(
            **asked.facts,
            class_index=explanation.class_index,
            class_label=explanation.class_label,
            probability=explanation.probability,
            baseline_probability=explanation.baseline_probability,
            target_layer=explanation.target_layer,
            config=dataclasses.asdict(explanation.config),
            group_weights=explanation.group_weights.tolist(),
            masked_probability=explanation.masked_probability.tolist(),
            forward_passes=explanation.forward_passes,
            elapsed_s=explanation.elapsed_s,
            blank_reason=explanation.blank_reason,
            notes=run.picture.notes,
            saliency_map_npy=_npy(explanation.saliency_map),
            overlay="data:image/png;base64," + base64.b64encode(png.tobytes()).decode(),
        )

    def curves(self, *, image: Any, backbone: Any, view: Any, **options: Any) -> Work:
        """Check a Group-CAM map against the network: insertion and deletion curves with areas.

        Pixels are taken in order of falling saliency: insertion puts them into the blurred picture,
        deletion takes them out of the picture. A map that shows what the network uses makes the
        class probability rise early and fall early. Costs what the map costs and about 226 forward
        passes more, some seconds on a CPU. Areas compare only within one protocol.
        """
        asked = yield from self._asked_with(options, image, backbone, view)
        run = (yield from self._run(Finished, asked)).run
        assert run.curves is not None  # a finished run has them
        return answers.Curves(
            **asked.facts,
            class_index=run.curves.class_index,
            class_label=run.explanation.class_label,
            target_layer=run.explanation.target_layer,
            config=dataclasses.asdict(run.explanation.config),
            fractions=run.curves.fractions.tolist(),
            insertion=run.curves.insertion.tolist(),
            deletion=run.curves.deletion.tolist(),
            insertion_auc=run.curves.insertion_auc,
            deletion_auc=run.curves.deletion_auc,
            over_all=run.curves.over_all,
            protocol=dataclasses.asdict(run.curves.protocol),
        )

    def compare(self, *, image: Any, backbone: Any, view: Any, **options: Any) -> Work:
        """Compare 2 to 6 saliency methods on one picture and class: maps, areas, cost.

        All explain the same class of the same network at the same layer; a method that cannot be
        used has an error in its place. Costs each map's passes (at most 3,000 together) and about
        226 more for each method's curves: some seconds a method on a CPU.
        """
        box = None if options["box"] in (None, []) else parse_box(options["box"])
        include = checked_text("include", options["include"])
        if include not in INCLUDED:
            raise GroupCamError(f"include must be one of {', '.join(INCLUDED)}; got {include!r}.")
        methods = options["methods"]
        if not isinstance(methods, list) or not all(isinstance(name, str) for name in methods):
            raise GroupCamError(f"methods must be a list of names; got {shown(methods)}.")
        if len(methods) > MOST:
            check_count("method", methods)
        variants = [parse_variant(checked_text("method", name)) for name in methods]
        target = {name: options[name] for name in ("target_layer", "class_name")}
        asked = yield from self._asked(image, backbone, view, **target)
        found, failed = yield from self._compared(asked.choice, methods)
        protocols = [one.curves.protocol for one in found.values() if one.curves is not None]
        return answers.Comparison(
            **asked.facts,
            backbone=asked.backbone.name,
            target_layer=asked.layer.name,
            protocol=dataclasses.asdict(protocols[0]) if protocols else {},
            methods=[
                answers.ComparedMethod(
                    method=name,
                    title=variant.method.title,
                    settings=_settings(variant, asked.layer),
                    **(
                        _numbers(found[place], asked.picture, include, box)
                        if place in found
                        else {"error": failed[place]}
                    ),
                )
                for place, (name, variant) in enumerate(zip(methods, variants, strict=True))
            ],
        )

    def _compared(
        self, choice: Choice, methods: list[str]
    ) -> Steps[tuple[dict[int, Compared], dict[int, str]]]:
        """Return the results, and why there is none, by the method's place."""
        found: dict[int, Compared] = {}
        failed: dict[int, str] = {}
        passes = 0
        for event in self._comparisons.steps(choice, "method", methods):
            yield
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
        return found, failed

    def _asked_with(
        self, options: dict[str, Any], image: Any, backbone: Any, view: Any
    ) -> Steps[Asked]:
        """Return a request with settings of its own."""
        target = {name: options.pop(name) for name in ("target_layer", "class_name")}
        _, config = checked_settings(view, options)
        return (yield from self._asked(image, backbone, view, config, **target))

    def _asked(
        self,
        image: Any,
        backbone: Any,
        view: Any,
        config: GroupCamConfig | None = None,
        *,
        target_layer: Any = "",
        class_name: Any = "",
    ) -> Steps[Asked]:
        """Return what was asked for; the backbone is loaded, and names are checked by it."""
        path = uploaded_path(image)
        layer_name = checked_text("target_layer", target_layer)
        name = checked_text("class_name", class_name)
        view, _ = checked_settings(view, {})
        loaded = yield from self._load(backbone)
        layer = resolve_target_layer(loaded, layer_name or None)
        if name:
            name = loaded.class_names[loaded.class_index_of(name)]
        picture_id, picture = self._workbench.add_picture(path)
        choice = Choice(
            picture_id,
            BackboneKey(loaded.name),
            layer.name,
            name or None,
            config or GroupCamConfig(),
            view,
        )
        return Asked(choice, picture, _sha256(path), loaded, layer)

    def _load(self, backbone: Any) -> Steps[Backbone]:
        """Return a backbone; one that takes long to fetch is fetched on while others are served."""
        key = BackboneKey(checked_text("backbone", backbone))
        begun = time.monotonic()
        outcome = self._workbench.load_apart(key)
        while not wait([outcome], TICK_S).done:
            yield
            most = LOAD_WAITED_FOR_S if self._others_wait() else LOAD_S
            if time.monotonic() > begun + most:
                raise GroupCamError(
                    f"backbone {key.name} must be ready within {most:.0f} s; it is still being "
                    "fetched, which goes on. Call again in a minute."
                )
        return outcome.result()

    def _run(self, wanted: type[Found], asked: Asked) -> Steps[Found]:
        """Run until the wanted event and return it."""
        with contextlib.closing(self._workbench.run_steps(asked.choice)) as events:
            event: Event
            for event in events:
                if isinstance(event, wanted):
                    return event
                yield
        raise RuntimeError(f"The run ended without {wanted.__name__}.")


def _numbers(
    result: Compared, picture: Picture, include: str, box: ObjectBox | None
) -> dict[str, Any]:
    """Return what one method gave."""
    assert result.curves is not None  # a completed entry has them
    numbers = {
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
        numbers["saliency_map_npy"] = _npy(result.saliency_map)
    elif include == "overlay":
        numbers["overlay"] = views.data_uri(
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
        numbers |= {"energy_pointing_game": found.energy, "pointing_game": found.is_hit}
    return numbers


def _settings(variant: Variant, layer: TargetLayer) -> dict[str, Any]:
    """Return all that a method was told, as plain data."""
    if takes_settings(variant):
        return {"config": dataclasses.asdict(fitted(GroupCamConfig(), layer))}
    return variant.settings


def _npy(saliency_map: Tensor) -> str:
    """Return a map as a .npy file in base64."""
    file = io.BytesIO()
    np.save(file, saliency_map.numpy())
    return base64.b64encode(file.getvalue()).decode()


def _sha256(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _served(
    function: Callable[..., Work], others_wait: Callable[[], bool] = lambda: False
) -> Callable[..., Iterator[Any]]:
    """Return an endpoint's function for Gradio, with its name and text, that gives plain values.

    What the caller can mend becomes one sentence, and everything else is hidden. Signs of life on
    the way end the work of a caller who has left; they are null.
    """

    def served(**named: Any) -> Iterator[Any]:
        begun = told = time.monotonic()
        try:
            with contextlib.closing(function(**named)) as steps:
                while True:
                    try:
                        next(steps)
                    except StopIteration as end:
                        answer = end.value
                        break
                    most = CALL_WAITED_FOR_S if others_wait() else CALL_S
                    if time.monotonic() > begun + most:
                        raise GroupCamError(
                            f"A call must be answered within {most:.0f} s, so that others are "
                            "answered too; this one was not. Ask for less, or use groupcam on "
                            "your own machine."
                        )
                    if time.monotonic() > told + SIGN_S:
                        yield None  # where a caller has left, nothing comes after this
                        told = time.monotonic()
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            # What was sent may be in it, and be long.
            sentence = textwrap.shorten(str(error), MOST_SAID, placeholder=" …")
            raise gr.Error(sentence) from error
        except Exception as error:
            raise gr.Error(log_accident("An endpoint failed.", error)) from error
        yield [one.plain() for one in answer] if isinstance(answer, Sequence) else answer.plain()

    # Not functools.wraps: Gradio reads the parameters' texts from the components only where the
    # signature names none.
    served.__name__ = function.__name__
    served.__doc__ = function.__doc__
    return served
