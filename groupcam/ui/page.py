"""The page: its controls, its results, and what each event does."""

import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.models import (
    DEFAULT_BACKBONE,
    Backbone,
    TargetLayer,
    View,
    list_backbones,
    resolve_target_layer,
    target_layers,
)
from groupcam.render.heatmap import COLOR_MAPS, DEFAULT_COLOR_MAP, DEFAULT_OPACITY
from groupcam.saliency import PRESETS, GroupCamConfig
from groupcam.ui import components, views
from groupcam.ui.api import add_endpoints
from groupcam.ui.components import EXAMPLES, MODEL_QUEUE
from groupcam.ui.latest import LatestWins
from groupcam.ui.workbench import (
    Choice,
    Drawing,
    Event,
    Explained,
    Finished,
    Predicted,
    Run,
    Workbench,
    Working,
)

logger = logging.getLogger(__name__)

TOP_CLASSES = 5
SETTLE_S = 0.15  # a slider that is being dragged comes to rest before a run starts
UPDATE_S = 0.1  # more than ten updates a second are not seen, and cost the network time
UNEXPECTED = "Something went wrong here that should not have. It was logged; try other settings."
WELCOME = "Ready. Choose a picture to see where the network looks."
TOP_PREDICTION = ("Top prediction", "")

Updates = dict[Any, Any]


class Page:
    """One page with its workbench; `build` lays it out and wires it."""

    def __init__(self, device: str = "cpu") -> None:
        self.workbench = Workbench(device)
        self.latest = LatestWins()

    # --- layout --------------------------------------------------------------------------------

    def build(self) -> gr.Blocks:
        """Return the page."""
        with gr.Blocks(
            title="groupcam", analytics_enabled=False, delete_cache=(3600, 24 * 3600)
        ) as demo:
            self.picture_id = gr.State(None)
            self.picture_path = gr.State(None)
            self.shown_backbone = gr.State("")
            self.choice = gr.State(None)
            self.token = gr.State(None)
            gr.HTML(
                "<h1>groupcam</h1><p>Where an image classifier looks, and why: "
                "Group-CAM for any timm or torchvision backbone.</p>",
                elem_id="gc-title",
            )
            with gr.Row():
                with gr.Column(scale=3, min_width=320):
                    self._build_controls()
                with gr.Column(scale=8, min_width=340):
                    self._build_results()
            self._wire(demo)
            add_endpoints(self.workbench)
        return demo

    def _build_controls(self) -> None:
        self.picture = gr.Image(
            label="Picture",
            type="filepath",
            image_mode=None,
            sources=["upload", "clipboard", "webcam"],
            height=260,
            buttons=[],
            elem_id="gc-picture",
        )
        gr.Examples(
            [[str(path)] for path in EXAMPLES],
            inputs=[self.picture],
            example_labels=[path.stem.replace("_", " ") for path in EXAMPLES],
            label="Examples (public domain)",
            examples_per_page=12,
        )
        self.backbone = gr.Dropdown(
            _backbone_choices(),
            value=DEFAULT_BACKBONE,
            label="Backbone",
            info="Type to search. ✓ is ready without a download.",
            elem_id="gc-backbone",
        )
        self.layer = gr.Dropdown(
            [], value=None, label="Target layer", info="channels × rows × columns", interactive=True
        )
        self.class_name = gr.Dropdown(
            [TOP_PREDICTION],
            value="",
            label="Target class",
            info="Type to search all classes, or click a prediction below.",
            interactive=True,
        )
        self.top = gr.Label(
            label="What the network sees", num_top_classes=TOP_CLASSES, elem_id="gc-top"
        )
        self.settings = components.ConfigControls()
        with gr.Row():
            self.run_again = gr.Button("Run again", size="sm")
            self.stop = gr.Button("Stop", size="sm", variant="stop")

    def _build_results(self) -> None:
        self.status = gr.HTML(views.status(WELCOME), elem_id="gc-status")
        with gr.Row():
            with gr.Column(scale=6, min_width=340, elem_classes="gc-panel"):
                gr.Markdown("### Where it looks")
                self.viewer = components.from_assets("viewer", {}, elem_id="gc-viewer")
                with gr.Row():
                    self.layout = gr.Radio(
                        [("Divider", "divider"), ("Side by side", "side")],
                        value="divider",
                        label="View",
                        min_width=150,
                        interactive=True,
                    )
                    self.color_map = gr.Dropdown(
                        list(COLOR_MAPS),
                        value=DEFAULT_COLOR_MAP,
                        label="Colour map",
                        min_width=120,
                    )
                    self.opacity = gr.Slider(
                        0, 1, value=DEFAULT_OPACITY, step=0.05, label="Opacity", min_width=150
                    )
                with gr.Row():
                    self.save_overlay = gr.Button("Overlay (PNG)", size="sm", min_width=90)
                    self.save_map = gr.Button("Map (NPY)", size="sm", min_width=90)
                    self.save_curves = gr.Button("Curves (CSV)", size="sm", min_width=90)
                self.file = gr.DownloadButton(visible="hidden", elem_id="gc-file")
            with gr.Column(scale=5, min_width=320, elem_classes="gc-panel"):
                gr.Markdown("### Does it matter? Deletion and insertion")
                self.curves = components.from_assets(
                    "curves", {"x": [], "insertion": [], "deletion": []}, elem_id="gc-curves"
                )
                self.fraction = gr.Slider(
                    0, 100, value=20, step=1, label="Pixels changed (%)", interactive=True
                )
                self.perturbed = gr.HTML("", elem_id="gc-perturbed")
        with gr.Row():
            with gr.Column(scale=6, min_width=340, elem_classes="gc-panel"):
                gr.Markdown("### The group masks behind the map, heaviest first")
                self.masks = components.from_assets("masks", {}, elem_id="gc-masks")
            with gr.Column(scale=5, min_width=320, elem_classes="gc-panel"):
                gr.Markdown("### One group in full")
                self.detail = gr.HTML(
                    '<p class="gc-quiet">Choose a mask to see what the network saw through it.</p>',
                    elem_id="gc-detail",
                )

    # --- wiring --------------------------------------------------------------------------------

    def _wire(self, demo: gr.Blocks) -> None:
        controls = [self.backbone, self.layer, self.class_name, *self.settings.all]
        inputs = [self.token, self.picture_id, self.shown_backbone, self.color_map, self.fraction]
        outputs = [
            *(self.status, self.viewer, self.top, self.layer, self.class_name, self.masks),
            *(self.detail, self.curves, self.perturbed, self.choice, self.shown_backbone),
            self.settings.groups,
        ]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

        def then_run(event: Any) -> None:
            """After an event: wait until the choice rests, then run it unless it ran already."""
            event.success(
                self.settle,
                [self.picture_id, *controls],
                self.token,
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
                show_progress_on=self.status,
                **{**private, "show_progress": "minimal"},
            )

        demo.load(
            self.open_page, None, [self.layer, self.class_name, self.shown_backbone], **private
        )
        demo.unload(self.leave)
        then_run(
            self.picture.change(
                self.take_picture,
                [self.picture, self.picture_id, self.picture_path],
                [
                    *(self.picture, self.picture_id, self.picture_path, self.class_name),
                    *(self.status, self.viewer, self.top, self.masks, self.detail),
                    *(self.curves, self.perturbed, self.choice),
                ],
                preprocess=False,
                trigger_mode="always_last",
                **private,
            )
        )
        user_changes = [self.backbone.input, self.layer.input, self.class_name.input]
        for control in self.settings.all:
            user_changes.append(control.input)
            if isinstance(control, gr.Slider):
                user_changes.append(control.release)  # the reset button and number box
        then_run(gr.on(user_changes, lambda: None, **private, queue=False))
        then_run(self.top.select(self.choose_class, None, self.class_name, **private, queue=False))
        for name, button in self.settings.presets.items():
            then_run(
                button.click(
                    lambda config=PRESETS[name]: self.settings.values_of(config),
                    None,
                    self.settings.all,
                    **private,
                    queue=False,
                )
            )
        then_run(self.run_again.click(self.forget, None, None, **private, queue=False))
        self.stop.click(self.stop_run, None, self.status, **private, queue=False)

        self.masks.pick(
            self.show_group, [self.choice, self.color_map], self.detail, **private, queue=False
        )
        gr.on(
            [self.fraction.input, self.fraction.release],
            self.show_perturbed,
            [self.choice, self.fraction],
            self.perturbed,
            trigger_mode="always_last",
            queue=False,
            **private,
        )
        gr.on(
            [self.fraction.input, self.fraction.release, self.fraction.change],
            None,
            self.fraction,
            js="(percent) => document.dispatchEvent(new CustomEvent('gc-fraction', {detail: percent}))",
            **private,
        )
        self.opacity.change(
            None,
            self.opacity,
            js="(part) => document.querySelector('#gc-viewer').style.setProperty('--heat-opacity', part)",
            **private,
        )
        self.layout.change(
            None,
            self.layout,
            js="(mode) => { document.querySelector('.gc-viewer').dataset.mode = mode }",
            **private,
        )
        self.color_map.input(
            self.recolor, [self.choice, self.color_map], self.viewer, **private, queue=False
        )
        download = "() => document.querySelector('#gc-file').click()"
        for button, make_file, needs in (
            (self.save_overlay, self.make_overlay, [self.choice, self.color_map, self.opacity]),
            (self.save_map, self.make_map, [self.choice]),
            (self.save_curves, self.make_curves, [self.choice]),
        ):
            button.click(make_file, needs, self.file, **private).success(
                None, None, None, js=download, **private
            )

    # --- events: the picture and the choice ------------------------------------------------------

    def open_page(self) -> tuple[Any, Any, str]:
        """Fill the lists of layers and classes for the default backbone."""
        backbone = self.workbench.load(DEFAULT_BACKBONE)
        return _layer_list(backbone, None), _class_list(backbone, ""), backbone.name

    def take_picture(
        self, upload: dict[str, Any] | None, picture_id: str | None, path: str | None,
        request: gr.Request,
    ) -> Updates:
        """Open a picture; one that cannot be used gives a sentence, and the last one stays."""
        if upload is None:
            self.latest.forget(str(request.session_hash))
            return {
                self.picture_id: None, self.picture_path: None, self.choice: None,
                self.status: views.status(WELCOME), self.viewer: {}, self.top: None,
                self.masks: {}, self.detail: "", self.perturbed: "",
                self.curves: {"x": [], "insertion": [], "deletion": []},
            }
        try:
            new_id, picture = self.workbench.add_picture(str(upload.get("path")))
        except GroupCamError as error:
            gr.Warning(str(error))
            return {self.picture: path, self.status: views.status(str(error), "error")}
        if new_id == picture_id:
            return {self.picture_path: upload["path"]}
        for note in picture.notes:
            gr.Info(note)
        return {
            self.picture_id: new_id,
            self.picture_path: upload["path"],
            self.class_name: "",
            self.status: views.status("Looking at the picture …", "busy"),
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
            view, config = self.settings.parse(settings)
            steps = self._steps(
                picture_id, shown_backbone, color_map, percent,
                backbone_name, layer, class_name, config, view,
            )
            for updates in steps:
                if not self.latest.is_fresh(session, token):
                    return
                yield updates
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            self.latest.forget(session)  # so that the same choice can be tried again
            gr.Warning(str(error))
            yield {self.status: views.status(str(error), "error")}
        except Exception:
            logger.exception("A run failed.")
            self.latest.forget(session)
            yield {self.status: views.status(UNEXPECTED, "error")}

    def _steps(
        self, picture_id: str, shown_backbone: str, color_map: str, percent: float,
        backbone_name: str, layer: str | None, class_name: str,
        config: GroupCamConfig, view: View,
    ) -> Iterator[Updates]:
        """Load the backbone, bring the lists in line with it, and run."""
        loading = self.workbench.load_steps(backbone_name)
        while True:
            try:
                yield {self.status: views.working_status(next(loading))}
            except StopIteration as end:
                backbone: Backbone = end.value
                break
        if backbone.name != shown_backbone:
            layer = None
            class_name = class_name if class_name in backbone.class_names else ""
        target = resolve_target_layer(backbone, layer or None)
        if backbone.name != shown_backbone:
            yield {
                self.layer: _layer_list(backbone, target.name),
                self.class_name: _class_list(backbone, class_name),
                self.shown_backbone: backbone.name,
            }
        config = yield from self._fit_groups(config, target)
        choice = Choice(
            picture_id, backbone.name, target.name, class_name or None, config, view
        )
        last_update = 0.0
        for event in self.workbench.run_steps(choice):
            passing = isinstance(event, Working | Drawing)
            if passing and time.monotonic() - last_update < UPDATE_S:
                continue
            last_update = time.monotonic()
            yield self._updates_of(event, choice, color_map, percent)

    def _fit_groups(
        self, config: GroupCamConfig, target: TargetLayer
    ) -> Iterator[Updates] | Any:
        """Bring the group count within the layer's channels, and say so."""
        channels = target.shape[0]
        fitted = min(config.groups, channels)
        if fitted < config.groups:
            gr.Info(f"'{target.name}' has {channels} channels, so {fitted} groups are used.")
        yield {self.settings.groups: gr.Slider(maximum=channels, value=fitted)}
        values = {field.name: getattr(config, field.name) for field in fields(config)}
        return GroupCamConfig(**{**values, "groups": fitted})

    def _updates_of(
        self, event: Event, choice: Choice, color_map: str, percent: float
    ) -> Updates:
        """Return what an event changes on the page."""
        if isinstance(event, Working):
            return {self.status: views.working_status(event)}
        if isinstance(event, Predicted):
            probabilities = event.logits.softmax(0).topk(min(TOP_CLASSES, len(event.logits)))
            names = event.backbone.class_names
            ranked = zip(probabilities.indices, probabilities.values, strict=True)
            return {self.top: {names[int(index)]: float(value) for index, value in ranked}}
        if isinstance(event, Explained):
            run = event.run
            heaviest = int(run.explanation.group_weights.argmax())
            return {
                self.choice: choice,
                self.viewer: views.viewer(run, color_map),
                self.masks: views.masks(run),
                self.detail: views.mask_detail(run, heaviest, color_map),
                self.perturbed: views.perturbed(run, percent),
                self.status: views.status("Map done. Drawing the curves …", "busy"),
            }
        if isinstance(event, Drawing):
            done, total = len(event.points.fractions), event.points.total
            working = Working("curves", "Drawing the curves", done, total)
            return {
                self.curves: views.curves(event.run, event.points),
                self.status: views.working_status(working),
            }
        assert isinstance(event, Finished)
        return {
            self.curves: views.curves(event.run),
            self.perturbed: views.perturbed(event.run, percent),
            self.status: views.status(views.finished_text(event.run), "done"),
        }

    # --- events: views of a finished run -----------------------------------------------------------

    def show_group(self, choice: Choice | None, color_map: str, event: gr.EventData) -> Any:
        """Show the group whose mask was clicked."""
        run = self._kept(choice)
        group = event._data.get("group") if isinstance(event._data, dict) else None
        if not isinstance(group, int) or not 0 <= group < run.explanation.config.groups:
            raise gr.Error(f"The group must be one of the {run.explanation.config.groups} shown.")
        return views.mask_detail(run, group, color_map)

    def show_perturbed(self, choice: Choice | None, percent: float) -> Any:
        """Show the perturbed pictures at the slider's fraction."""
        run = self.workbench.run_of(choice)
        return gr.skip() if run is None else views.perturbed(run, percent)

    def recolor(self, choice: Choice | None, color_map: str) -> Any:
        """Draw the map in other colours, without any forward pass."""
        run = self.workbench.run_of(choice)
        return gr.skip() if run is None else views.viewer(run, color_map)

    def make_overlay(self, choice: Choice | None, color_map: str, opacity: float) -> str:
        """Write the overlay as it is seen and return its path."""
        rgb = views.saved_overlay(self._kept(choice), color_map, opacity)
        path = _new_file("overlay.png")
        if not cv2.imwrite(path, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
            raise gr.Error("The overlay could not be written on the server.")
        return path

    def make_map(self, choice: Choice | None) -> str:
        """Write the saliency map, float32 (H, W), and return its path."""
        path = _new_file("saliency_map.npy")
        np.save(path, self._kept(choice).explanation.saliency_map.numpy())
        return path

    def make_curves(self, choice: Choice | None) -> str:
        """Write the curves as CSV and return the path."""
        run = self._kept(choice)
        if run.curves is None:
            raise gr.Error("The curves must be complete; they are still being drawn. Wait a moment.")
        path = _new_file("curves.csv")
        Path(path).write_text(views.curves_csv(run), encoding="utf-8")
        return path

    def _kept(self, choice: Choice | None) -> Run:
        """Return the run behind the page, or tell the visitor to make it again."""
        run = self.workbench.run_of(choice)
        if run is None:
            raise gr.Error("There must be a result first. Choose a picture, or press Run again.")
        return run


def _backbone_choices() -> list[tuple[str, str]]:
    """Return (label, name) of every backbone, ready ones first."""
    choices = []
    for entry in list_backbones():
        mark = "✓ " if entry.ready_offline else ""
        note = "" if entry.pretrained else " (no pretrained weights)"
        choices.append((f"{mark}{entry.name}{note}", entry.name))
    return choices


def _layer_list(backbone: Backbone, chosen: str | None) -> Any:
    """Return the list of usable layers with their shapes, one chosen."""
    layers = [layer for layer in target_layers(backbone) if layer.usable]
    default = next((layer.name for layer in layers if layer.default), None)
    labels = [
        (f"{layer.name}  ·  {' × '.join(map(str, layer.shape))}"
         f"{'  · default' if layer.default else ''}", layer.name)
        for layer in layers
    ]
    return gr.Dropdown(choices=labels, value=chosen or default)


def _class_list(backbone: Backbone, chosen: str) -> Any:
    """Return the list of all classes, one chosen; "" stands for the top prediction."""
    names = [(name, name) for name in backbone.class_names]
    return gr.Dropdown(choices=[TOP_PREDICTION, *names], value=chosen)


def _new_file(name: str) -> str:
    """Return the path of a file in a new folder, which keeps the name a visitor sees plain."""
    return str(Path(tempfile.mkdtemp(prefix="groupcam-")) / name)
