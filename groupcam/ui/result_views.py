"""What a visitor asks of a finished run: other colours, one group, a fraction, a file."""

import tempfile
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from groupcam.ui import views
from groupcam.ui.layout import Layout
from groupcam.ui.runs import Choice, Run
from groupcam.ui.tabs import AT_ONCE, PRIVATE
from groupcam.ui.workbench import Workbench

# What needs no server. A view's own script reads the marker's event.
MOVE_MARKER = "(at) => document.dispatchEvent(new CustomEvent('gc-fraction', {detail: at}))"
SET_OPACITY = "(a) => document.querySelector('#gc-viewer').style.setProperty('--heat-opacity', a)"
SET_LAYOUT = "(mode) => { document.querySelector('.gc-viewer').dataset.mode = mode }"
CLICK_DOWNLOAD = "() => document.querySelector('#gc-file').click()"


class ResultViews:
    """Callbacks that need no forward pass; they find the run by its choice."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        # Gradio serves copies; ours go when the process ends.
        self._files = tempfile.TemporaryDirectory(prefix="groupcam-")

    def wire(self, ui: Layout) -> None:
        """Connect what the Explain tab shows."""
        ui.masks.pick(
            self.show_group,
            [ui.choice, ui.color_map],
            ui.detail,
            **AT_ONCE,
        )
        gr.on(
            [ui.fraction.input, ui.fraction.release],
            self.show_perturbed,
            [ui.choice, ui.fraction],
            ui.perturbed,
            trigger_mode="always_last",
            **AT_ONCE,
        )
        gr.on(
            [ui.fraction.input, ui.fraction.release, ui.fraction.change],
            None,
            ui.fraction,
            js=MOVE_MARKER,
            **PRIVATE,
        )
        ui.opacity.change(
            None,
            ui.opacity,
            js=SET_OPACITY,
            **PRIVATE,
        )
        ui.layout.change(
            None,
            ui.layout,
            js=SET_LAYOUT,
            **PRIVATE,
        )
        ui.color_map.input(
            self.recolor,
            [ui.choice, ui.color_map],
            ui.viewer,
            **AT_ONCE,
        )
        for button, make_file, needs in (
            (
                ui.save_overlay,
                self.make_overlay,
                [ui.choice, ui.color_map, ui.opacity],
            ),
            (ui.save_map, self.make_map, [ui.choice]),
            (ui.save_curves, self.make_curves, [ui.choice]),
        ):
            button.click(make_file, needs, ui.file, **PRIVATE).success(
                None, None, None, js=CLICK_DOWNLOAD, **PRIVATE
            )

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
        path = self._new_file("overlay.png")
        if not cv2.imwrite(path, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
            raise gr.Error("The overlay could not be written on the server.")
        return path

    def make_map(self, choice: Choice | None) -> str:
        """Write the saliency map, float32 (H, W), and return its path."""
        path = self._new_file("saliency_map.npy")
        np.save(path, self._kept(choice).explanation.saliency_map.numpy())
        return path

    def make_curves(self, choice: Choice | None) -> str:
        """Write the curves as CSV and return the path."""
        run = self._kept(choice)
        if run.curves is None:
            raise gr.Error(
                "The curves must be complete; they are still being drawn. Wait a moment."
            )
        path = self._new_file("curves.csv")
        Path(path).write_text(views.curves_csv(run), encoding="utf-8")
        return path

    def _kept(self, choice: Choice | None) -> Run:
        """Return the run behind the page, or tell the visitor to make it again."""
        run = self.workbench.run_of(choice)
        if run is None:
            raise gr.Error("There must be a result first. Choose a picture, or press Run again.")
        return run

    def _new_file(self, name: str) -> str:
        """Return the path of a file in a new folder, so that visitors see its plain name."""
        return str(Path(tempfile.mkdtemp(dir=self._files.name)) / name)
