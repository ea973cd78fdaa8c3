"""What stands on the page and where: every control and every result, without any behaviour."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from groupcam.language import ENGLISH, LANGUAGES, present_language, say
from groupcam.models import DEFAULT_BACKBONE, BackboneEntry, list_backbones
from groupcam.models.families import check_of
from groupcam.render.heatmap import COLOR_MAPS, DEFAULT_COLOR_MAP, DEFAULT_OPACITY
from groupcam.ui import components, views
from groupcam.ui.components import EXAMPLES
from groupcam.ui.exports import EXPORTS
from groupcam.ui.present import DEFAULT_WEIGHTS

TOP_CLASSES = 5
EXPLAIN = "explain"  # the name of the first tab


class Layout:
    """The page's components; creating it places them in the surrounding Blocks."""

    def __init__(self, tabs: Sequence[tuple[str, str, Callable[["Layout"], None]]] = ()) -> None:
        """Place everything.

        Args:
            tabs: name, title and what places the components of every tab after the first.
        """
        self.backbones = list_backbones()
        self.picture_id = gr.State(None)
        self.picture_path = gr.State(None)
        self.shown_backbone = gr.State(None)  # the BackboneKey that layers and classes belong to
        self.weights_of = gr.State("")  # the name of the backbone that the list of weights is for
        self.choice = gr.State(None)
        # In the browser, not a State: a queued run must see the token of its own choice, and a
        # State is read only when the run starts.
        self.token = gr.Number(None, visible=False)
        components.from_assets("title", _languages(), elem_id="gc-title")
        components.from_assets("gradio", {}, elem_classes="gc-unseen")
        # Four blocks in the order of a phone; page.css sets them in two columns elsewhere.
        with gr.Row(elem_id="gc-main"):
            with gr.Column(elem_id="gc-input", min_width=0):
                self._build_picture()
            with gr.Column(elem_id="gc-results", min_width=0):
                self.status = gr.HTML(views.status(say("status.welcome")), elem_id="gc-status")
                self.tabs: dict[str, gr.Tab] = {}
                with gr.Tabs(elem_id="gc-tabs") as self.tab_strip:
                    explain = (EXPLAIN, say("explain.title"), Layout._build_explain)
                    for name, title, place in (explain, *tabs):
                        with gr.Tab(title, id=name) as self.tabs[name]:
                            place(self)
            with gr.Column(elem_id="gc-controls", min_width=0):
                self._build_controls()
            with gr.Column(elem_id="gc-groups", min_width=0):
                self._build_masks()

    @property
    def controls(self) -> list[Any]:
        """Return every control that a visitor's choice is made with."""
        return [
            *(self.backbone, self.weights, self.input_size, self.layer, self.class_name),
            *self.settings.all,
        ]

    @property
    def present(self) -> list[Any]:
        """Return what `read_choice` takes, in its order."""
        return [self.picture_id, self.shown_backbone, self.weights_of, *self.controls]

    def _build_picture(self) -> None:
        self.picture = gr.Image(
            label=say("picture.label"),
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
            example_labels=[say(f"picture.example_{path.stem}") for path in EXAMPLES],
            label=say("picture.examples"),
            examples_per_page=12,
        )

    def _build_controls(self) -> None:
        self.backbone = gr.Dropdown(
            backbone_choices(self.backbones),
            value=DEFAULT_BACKBONE,
            label=say("network.backbone"),
            info=say("network.backbone_help"),
            elem_id="gc-backbone",
        )
        self.weights = gr.Dropdown(
            [(say("network.weights_default"), DEFAULT_WEIGHTS)],
            value=DEFAULT_WEIGHTS,
            label=say("network.weights"),
            info=say("network.weights_help"),
            interactive=True,
        )
        self.layers = components.from_assets("layers", {}, elem_id="gc-layers")
        self.layer = gr.Textbox("", visible=False)  # the chosen one's name; "": the default
        self.class_name = gr.Dropdown(
            [(say("network.class_top"), "")],
            value="",
            label=say("network.class"),
            info=say("network.class_help"),
            interactive=True,
        )
        self.top = gr.Label(
            label=say("network.top_classes"), num_top_classes=TOP_CLASSES, elem_id="gc-top"
        )
        self.settings = components.ConfigControls()
        with self.settings.advanced:
            self.input_size = gr.Dropdown(
                [(say("network.size_own"), "")],
                value="",
                label=say("network.size"),
                info=say("network.size_help"),
                interactive=True,
            )
        with gr.Row():
            self.run_again = gr.Button(say("network.run_again"), size="sm", min_width=90)
            self.stop = gr.Button(say("network.stop"), size="sm", min_width=90)
        self.link = components.from_assets("link", {}, elem_id="gc-link")

    def _build_explain(self) -> None:
        with gr.Row():
            with gr.Column(scale=6, min_width=340, elem_classes="gc-panel"):
                gr.Markdown(f"### {say('explain.map')}")
                self.viewer = components.from_assets("viewer", {}, elem_id="gc-viewer")
                with gr.Row():
                    self.layout = gr.Radio(
                        [(say(f"explain.layout_{name}"), name) for name in ("divider", "side")],
                        value="divider",
                        label=say("explain.layout"),
                        min_width=230,
                        interactive=True,
                    )
                    self.color_map = gr.Dropdown(
                        list(COLOR_MAPS),
                        value=DEFAULT_COLOR_MAP,
                        label=say("explain.color_map"),
                        min_width=130,
                    )
                    self.opacity = gr.Slider(
                        0,
                        1,
                        value=DEFAULT_OPACITY,
                        step=0.05,
                        label=say("explain.opacity"),
                        min_width=190,
                    )
                gr.Markdown(f"### {say('downloads.heading')}")
                with gr.Row(elem_id="gc-downloads"):
                    self.downloads = {
                        kind: gr.Button(say(f"downloads.{kind}_file"), size="sm", min_width=90)
                        for kind in EXPORTS
                    }
                self.download_status = gr.HTML("", elem_id="gc-download-status")
                self.pinned = gr.Textbox("", visible=False)  # ids of runs, by the chart
                self.files = {
                    kind: gr.DownloadButton(visible="hidden", elem_id=f"gc-file-{kind}")
                    for kind in EXPORTS
                }
            with gr.Column(scale=5, min_width=320, elem_classes="gc-panel"):
                gr.Markdown(f"### {say('explain.curves')}")
                self.curves = components.from_assets("curves", {}, elem_id="gc-curves")
                self.perturbed = components.from_assets("perturbed", {}, elem_id="gc-perturbed")

    def _build_masks(self) -> None:
        with gr.Row():
            with gr.Column(scale=6, min_width=340, elem_classes="gc-panel"):
                gr.Markdown(f"### {say('explain.masks')}")
                self.masks = components.from_assets("masks", {}, elem_id="gc-masks")
            with gr.Column(scale=5, min_width=320, elem_classes="gc-panel"):
                gr.Markdown(f"### {say('explain.detail')}")
                self.detail = gr.HTML(
                    f'<p class="gc-quiet">{escape(say("explain.no_detail"))}</p>',
                    elem_id="gc-detail",
                )


def _languages() -> dict[str, Any]:
    """Return what assets/title.js draws; paths hold wherever the app is mounted."""
    present = present_language()
    paths = {code: code for code in LANGUAGES} | {ENGLISH: "./"}
    languages = [
        {"code": code, "name": name, "path": paths[code]} for code, name in LANGUAGES.items()
    ]
    return {"present": present, "languages": languages}


def backbone_choices(entries: Sequence[BackboneEntry]) -> list[tuple[str, str]]:
    """Return (label, name) of backbones in their order."""
    choices = []
    for entry in entries:
        mark = "✓ " if entry.ready_offline else ""
        note = "" if entry.pretrained else f" ({say('network.no_pretrained')})"
        check = check_of(entry.name)
        if check is not None and check.verdict != "ok":
            mark, note = "✗ ", f" ({check.reason})"
        choices.append((f"{mark}{entry.name}{note}", entry.name))
    return choices
