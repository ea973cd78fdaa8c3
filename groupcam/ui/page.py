"""The page: its controls, its results, and what each event does."""

import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.models import (
    DEFAULT_BACKBONE,
    Backbone,
    TargetLayer,
    View,
    resolve_target_layer,
    target_layers,
)
from groupcam.saliency import PRESETS, GroupCamConfig
from groupcam.ui import views
from groupcam.ui.api import add_endpoints
from groupcam.ui.components import MODEL_QUEUE
from groupcam.ui.latest import LatestWins
from groupcam.ui.layout import NO_CURVES, TOP_CLASSES, TOP_PREDICTION, WELCOME, Layout
from groupcam.ui.result_views import ResultViews
from groupcam.ui.runs import Choice, Drawing, Event, Explained, Finished, Predicted, Working
from groupcam.ui.workbench import Workbench

logger = logging.getLogger(__name__)

SETTLE_S = 0.15  # a slider that is being dragged comes to rest before a run starts
UPDATE_S = 0.1  # more than ten updates a second are not seen, and cost the network time
UNEXPECTED = "Something went wrong here that should not have. It was logged; try other settings."

# What needs no server. A view's own script reads the marker's event.
MOVE_MARKER = "(at) => document.dispatchEvent(new CustomEvent('gc-fraction', {detail: at}))"
SET_OPACITY = "(a) => document.querySelector('#gc-viewer').style.setProperty('--heat-opacity', a)"
SET_LAYOUT = "(mode) => { document.querySelector('.gc-viewer').dataset.mode = mode }"
CLICK_DOWNLOAD = "() => document.querySelector('#gc-file').click()"

Updates = dict[Any, Any]


class Page:
    """One page with its workbench; `build` lays it out and wires it."""

    def __init__(self, device: str = "cpu") -> None:
        self.workbench = Workbench(device)
        self.latest = LatestWins()
        self.views = ResultViews(self.workbench)

    def build(self) -> gr.Blocks:
        """Return the page."""
        demo: gr.Blocks
        with gr.Blocks(
            title="groupcam", analytics_enabled=False, delete_cache=(3600, 24 * 3600)
        ) as demo:
            self.ui = Layout()
            self._wire(demo)
            add_endpoints(self.workbench)
        return demo

    # --- wiring --------------------------------------------------------------------------------

    def _wire(self, demo: gr.Blocks) -> None:
        controls = [self.ui.backbone, self.ui.layer, self.ui.class_name, *self.ui.settings.all]
        inputs = [
            self.ui.token,
            self.ui.picture_id,
            self.ui.shown_backbone,
            self.ui.color_map,
            self.ui.fraction,
        ]
        outputs = [
            *(
                self.ui.status,
                self.ui.viewer,
                self.ui.top,
                self.ui.layer,
                self.ui.class_name,
                self.ui.masks,
            ),
            *(
                self.ui.detail,
                self.ui.curves,
                self.ui.perturbed,
                self.ui.choice,
                self.ui.shown_backbone,
            ),
            self.ui.settings.groups,
        ]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

        def then_run(event: Any) -> None:
            """After an event: wait until the choice rests, then run it unless it ran already."""
            event.success(
                self.settle,
                [self.ui.picture_id, *controls],
                self.ui.token,
                queue=False,
                trigger_mode="always_last",
                preprocess=False,
                **private,
            ).success(
                self.run,
                [*inputs, *controls],
                outputs,
                trigger_mode="multiple",
                preprocess=False,
                concurrency_limit=1,
                concurrency_id=MODEL_QUEUE,
                show_progress_on=self.ui.status,
                **{**private, "show_progress": "minimal"},
            )

        demo.load(
            self.open_page,
            None,
            [self.ui.layer, self.ui.class_name, self.ui.shown_backbone],
            **private,
        )
        demo.unload(self.leave)
        then_run(
            self.ui.picture.change(
                self.take_picture,
                [self.ui.picture, self.ui.picture_id, self.ui.picture_path],
                [
                    *(
                        self.ui.picture,
                        self.ui.picture_id,
                        self.ui.picture_path,
                        self.ui.class_name,
                    ),
                    *(self.ui.status, self.ui.viewer, self.ui.top, self.ui.masks, self.ui.detail),
                    *(self.ui.curves, self.ui.perturbed, self.ui.choice),
                ],
                preprocess=False,
                trigger_mode="always_last",
                **private,
            )
        )
        user_changes = [self.ui.backbone.input, self.ui.layer.input, self.ui.class_name.input]
        for control in self.ui.settings.all:
            user_changes.append(control.input)
            if isinstance(control, gr.Slider):
                user_changes.append(control.release)  # the reset button and number box
        then_run(gr.on(user_changes, lambda: None, **private, queue=False))
        then_run(
            self.ui.top.select(self.choose_class, None, self.ui.class_name, **private, queue=False)
        )
        for name, button in self.ui.settings.presets.items():
            then_run(
                button.click(
                    lambda config=PRESETS[name]: self.ui.settings.values_of(config),
                    None,
                    self.ui.settings.all,
                    **private,
                    queue=False,
                )
            )
        then_run(self.ui.run_again.click(self.forget, None, None, **private, queue=False))
        self.ui.stop.click(self.stop_run, None, self.ui.status, **private, queue=False)

        self.ui.masks.pick(
            self.views.show_group,
            [self.ui.choice, self.ui.color_map],
            self.ui.detail,
            **private,
            queue=False,
        )
        gr.on(
            [self.ui.fraction.input, self.ui.fraction.release],
            self.views.show_perturbed,
            [self.ui.choice, self.ui.fraction],
            self.ui.perturbed,
            trigger_mode="always_last",
            queue=False,
            **private,
        )
        gr.on(
            [self.ui.fraction.input, self.ui.fraction.release, self.ui.fraction.change],
            None,
            self.ui.fraction,
            js=MOVE_MARKER,
            **private,
        )
        self.ui.opacity.change(
            None,
            self.ui.opacity,
            js=SET_OPACITY,
            **private,
        )
        self.ui.layout.change(
            None,
            self.ui.layout,
            js=SET_LAYOUT,
            **private,
        )
        self.ui.color_map.input(
            self.views.recolor,
            [self.ui.choice, self.ui.color_map],
            self.ui.viewer,
            **private,
            queue=False,
        )
        for button, make_file, needs in (
            (
                self.ui.save_overlay,
                self.views.make_overlay,
                [self.ui.choice, self.ui.color_map, self.ui.opacity],
            ),
            (self.ui.save_map, self.views.make_map, [self.ui.choice]),
            (self.ui.save_curves, self.views.make_curves, [self.ui.choice]),
        ):
            button.click(make_file, needs, self.ui.file, **private).success(
                None, None, None, js=CLICK_DOWNLOAD, **private
            )

    # --- events: the picture and the choice ------------------------------------------------------

    def open_page(self) -> tuple[Any, Any, str]:
        """Fill the lists of layers and classes for the default backbone."""
        backbone = self.workbench.load(DEFAULT_BACKBONE)
        return _layer_list(backbone, None), _class_list(backbone, ""), backbone.name

    def take_picture(
        self,
        upload: dict[str, Any] | None,
        picture_id: str | None,
        path: str | None,
        request: gr.Request,
    ) -> Updates:
        """Open a picture; one that cannot be used gives a sentence, and the last one stays."""
        if upload is None and picture_id is None:  # a refused upload was taken back
            return {self.ui.picture_path: None}
        if upload is None:
            self.latest.forget(str(request.session_hash))
            return {
                self.ui.picture_id: None,
                self.ui.picture_path: None,
                self.ui.choice: None,
                self.ui.status: views.status(WELCOME),
                self.ui.viewer: {},
                self.ui.top: None,
                self.ui.masks: {},
                self.ui.detail: "",
                self.ui.perturbed: "",
                self.ui.curves: NO_CURVES,
            }
        try:
            new_id, picture = self.workbench.add_picture(str(upload.get("path")))
        except GroupCamError as error:
            return {self.ui.picture: path, self.ui.status: views.status(str(error), "error")}
        if new_id == picture_id:
            return {self.ui.picture_path: upload["path"]}
        for note in picture.notes:
            gr.Info(note)
        return {
            self.ui.picture_id: new_id,
            self.ui.picture_path: upload["path"],
            self.ui.class_name: "",
            self.ui.status: views.status("Looking at the picture …", "busy"),
        }

    def settle(self, request: gr.Request, picture_id: str | None, *controls: Any) -> Any:
        """Wait until the controls rest; return a token for the run, or nothing to run."""
        if picture_id is None:
            return gr.skip()
        token = self.latest.choose(str(request.session_hash), (picture_id, *controls))
        if token is None:
            return gr.skip()
        time.sleep(SETTLE_S)
        return token

    def choose_class(self, event: gr.SelectData) -> str:
        """Take the class whose bar was clicked."""
        return str(event.value)

    def forget(self, request: gr.Request) -> None:
        """Let the same choice run again."""
        self.latest.forget(str(request.session_hash))

    def stop_run(self, request: gr.Request) -> str:
        """Stop the visitor's run within one micro-batch."""
        self.forget(request)
        return views.status("Stopped. Change anything or press Run again.")

    def leave(self, request: gr.Request) -> None:
        """Forget a visitor who closed the page."""
        self.forget(request)

    # --- events: the run -------------------------------------------------------------------------

    def run(
        self,
        request: gr.Request,
        token: int | None,
        picture_id: str | None,
        shown_backbone: str,
        color_map: str,
        percent: float,
        backbone_name: str,
        layer: str | None,
        class_name: str,
        *settings: Any,
    ) -> Iterator[Updates | Any]:
        """Explain the picture and draw its curves, as updates of the page; latest wins."""
        session = str(request.session_hash)
        yield gr.skip()  # a generator that ends before its first yield would clear everything
        if token is None or picture_id is None or not self.latest.claim(session, token):
            return
        try:
            view, config = self.ui.settings.parse(settings)
            steps = self._steps(
                picture_id,
                shown_backbone,
                color_map,
                percent,
                backbone_name,
                layer,
                class_name,
                config,
                view,
            )
            for updates in steps:
                if not self.latest.is_fresh(session, token):
                    return
                yield updates
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            self.latest.forget(session)  # so that the same choice can be tried again
            gr.Warning(str(error))
            yield {self.ui.status: views.status(str(error), "error")}
        except Exception:
            logger.exception("A run failed.")
            self.latest.forget(session)
            yield {self.ui.status: views.status(UNEXPECTED, "error")}

    def _steps(
        self,
        picture_id: str,
        shown_backbone: str,
        color_map: str,
        percent: float,
        backbone_name: str,
        layer: str | None,
        class_name: str,
        config: GroupCamConfig,
        view: View,
    ) -> Iterator[Updates]:
        """Load the backbone, bring the lists in line with it, and run."""
        loading = self.workbench.load_steps(backbone_name)
        while True:
            try:
                yield {self.ui.status: views.working_status(next(loading))}
            except StopIteration as end:
                backbone: Backbone = end.value
                break
        if backbone.name != shown_backbone:
            layer = None
            class_name = class_name if class_name in backbone.class_names else ""
        target = resolve_target_layer(backbone, layer or None)
        if backbone.name != shown_backbone:
            yield {
                self.ui.layer: _layer_list(backbone, target.name),
                self.ui.class_name: _class_list(backbone, class_name),
                self.ui.shown_backbone: backbone.name,
            }
        config = yield from self._fit_groups(config, target)
        choice = Choice(picture_id, backbone.name, target.name, class_name or None, config, view)
        last_update = 0.0
        for event in self.workbench.run_steps(choice):
            passing = isinstance(event, Working | Drawing)
            if passing and time.monotonic() - last_update < UPDATE_S:
                continue
            last_update = time.monotonic()
            yield self._updates_of(event, choice, color_map, percent)

    def _fit_groups(
        self, config: GroupCamConfig, target: TargetLayer
    ) -> Generator[Updates, None, GroupCamConfig]:
        """Bring the group count within the layer's channels, and say so."""
        channels = target.shape[0]
        fitted = min(config.groups, channels)
        if fitted < config.groups:
            gr.Info(f"'{target.name}' has {channels} channels, so {fitted} groups are used.")
        yield {self.ui.settings.groups: gr.Slider(maximum=channels, value=fitted)}
        return replace(config, groups=fitted)

    def _updates_of(self, event: Event, choice: Choice, color_map: str, percent: float) -> Updates:
        """Return what an event changes on the page."""
        if isinstance(event, Working):
            return {self.ui.status: views.working_status(event)}
        if isinstance(event, Predicted):
            probabilities = event.logits.softmax(0).topk(min(TOP_CLASSES, len(event.logits)))
            names = event.backbone.class_names
            ranked = zip(probabilities.indices, probabilities.values, strict=True)
            return {self.ui.top: {names[int(index)]: float(value) for index, value in ranked}}
        if isinstance(event, Explained):
            run = event.run
            heaviest = int(run.explanation.group_weights.argmax())
            return {
                self.ui.choice: choice,
                self.ui.viewer: views.viewer(run, color_map),
                self.ui.masks: views.masks(run),
                self.ui.detail: views.mask_detail(run, heaviest, color_map),
                self.ui.perturbed: views.perturbed(run, percent),
                self.ui.status: views.status("Map done. Drawing the curves …", "busy"),
            }
        if isinstance(event, Drawing):
            done, total = len(event.points.fractions), event.points.total
            working = Working("curves", "Drawing the curves", done, total)
            return {
                self.ui.curves: views.curves(event.run, event.points),
                self.ui.status: views.working_status(working),
            }
        assert isinstance(event, Finished)
        return {
            self.ui.curves: views.curves(event.run),
            self.ui.perturbed: views.perturbed(event.run, percent),
            self.ui.status: views.status(views.finished_text(event.run), "done"),
        }


def _layer_list(backbone: Backbone, chosen: str | None) -> Any:
    """Return the list of usable layers with their shapes, one chosen."""
    layers = [layer for layer in target_layers(backbone) if layer.usable]
    default = next((layer.name for layer in layers if layer.default), None)
    labels = [
        (
            f"{layer.name}  ·  {' × '.join(map(str, layer.shape))}"
            f"{'  · default' if layer.default else ''}",
            layer.name,
        )
        for layer in layers
    ]
    return gr.Dropdown(choices=labels, value=chosen or default)


def _class_list(backbone: Backbone, chosen: str) -> Any:
    """Return the list of all classes, one chosen; "" stands for the top prediction."""
    names = [(name, name) for name in backbone.class_names]
    return gr.Dropdown(choices=[TOP_PREDICTION, *names], value=chosen)
