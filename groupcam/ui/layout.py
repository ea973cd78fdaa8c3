"""What stands on the page and where: every control and every result, without any behaviour."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from groupcam.language import ENGLISH, LANGUAGES, present_language
from groupcam.models import DEFAULT_BACKBONE, BackboneEntry, list_backbones
from groupcam.models.families import check_of
from groupcam.render.heatmap import COLOR_MAPS, DEFAULT_COLOR_MAP, DEFAULT_OPACITY
from groupcam.ui import components, views
from groupcam.ui.components import EXAMPLES
from groupcam.ui.exports import EXPORTS
from groupcam.ui.present import DEFAULT_WEIGHTS

TOP_CLASSES = 5
WELCOME = "Ready. Choose a picture to see where the network looks."
TOP_PREDICTION = ("Top prediction", "")
OWN_SIZE = ("the weights' own", "")
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
        # Four blocks in the order of a phone; page.css sets them in two columns elsewhere.
        with gr.Row(elem_id="gc-main"):
            with gr.Column(elem_id="gc-input", min_width=0):
                self._build_picture()
            with gr.Column(elem_id="gc-results", min_width=0):
                self.status = gr.HTML(views.status(WELCOME), elem_id="gc-status")
                self.tabs: dict[str, gr.Tab] = {}
                with gr.Tabs(elem_id="gc-tabs") as self.tab_strip:
                    for name, title, place in ((EXPLAIN, "Explain", Layout._build_explain), *tabs):
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

    def _build_controls(self) -> None:
        self.backbone = gr.Dropdown(
            backbone_choices(self.backbones),
            value=DEFAULT_BACKBONE,
            label="Backbone",
            info="Type to search. ✓ is ready without a download, ✗ cannot be explained.",
            elem_id="gc-backbone",
        )
        self.weights = gr.Dropdown(
            [("default", DEFAULT_WEIGHTS)],
            value=DEFAULT_WEIGHTS,
            label="Weights",
            info="Others than the default are downloaded; random ones know nothing.",
            interactive=True,
        )
        self.layers = components.from_assets("layers", {}, elem_id="gc-layers")
        self.layer = gr.Textbox("", visible=False)  # the chosen one's name; "": the default
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
        with self.settings.advanced:
            self.input_size = gr.Dropdown(
                [OWN_SIZE],
                value=OWN_SIZE[1],
                label="Input size",
                info="A larger input has more cells and takes longer.",
                interactive=True,
            )
        with gr.Row():
            self.run_again = gr.Button("Run again", size="sm", min_width=90)
            self.stop = gr.Button("Stop", size="sm", min_width=90)
        self.link = components.from_assets("link", {}, elem_id="gc-link")

    def _build_explain(self) -> None:
        with gr.Row():
            with gr.Column(scale=6, min_width=340, elem_classes="gc-panel"):
                gr.Markdown("### Where it looks")
                self.viewer = components.from_assets("viewer", {}, elem_id="gc-viewer")
                with gr.Row():
                    self.layout = gr.Radio(
                        [("Divider", "divider"), ("Side by side", "side")],
                        value="divider",
                        label="Layout",
                        min_width=230,
                        interactive=True,
                    )
                    self.color_map = gr.Dropdown(
                        list(COLOR_MAPS),
                        value=DEFAULT_COLOR_MAP,
                        label="Colour map",
                        min_width=130,
                    )
                    self.opacity = gr.Slider(
                        0, 1, value=DEFAULT_OPACITY, step=0.05, label="Opacity", min_width=190
                    )
                gr.Markdown("### Download")
                with gr.Row(elem_id="gc-downloads"):
                    self.downloads = {
                        kind: gr.Button(export.label, size="sm", min_width=90)
                        for kind, export in EXPORTS.items()
                    }
                self.download_status = gr.HTML("", elem_id="gc-download-status")
                self.pinned = gr.Textbox("", visible=False)  # ids of runs, by the chart
                self.files = {
                    kind: gr.DownloadButton(visible="hidden", elem_id=f"gc-file-{kind}")
                    for kind in EXPORTS
                }
            with gr.Column(scale=5, min_width=320, elem_classes="gc-panel"):
                gr.Markdown("### Does it matter? Deletion and insertion")
                self.curves = components.from_assets("curves", {}, elem_id="gc-curves")
                self.perturbed = components.from_assets("perturbed", {}, elem_id="gc-perturbed")

    def _build_masks(self) -> None:
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
        note = "" if entry.pretrained else " (no pretrained weights)"
        check = check_of(entry.name)
        if check is not None and check.verdict != "ok":
            mark, note = "✗ ", f" ({check.reason})"
        choices.append((f"{mark}{entry.name}{note}", entry.name))
    return choices
