"""The page: the only part of groupcam that needs Gradio."""

from typing import Any

import gradio as gr

from groupcam.ui.components import ASSETS
from groupcam.ui.page import Page

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif"]


def build_demo(device: str = "cpu") -> gr.Blocks:
    """Return the page; its networks run on `device`. Launch it with `launch_options()`."""
    return Page(device).build()


def launch_options() -> dict[str, Any]:
    """Return the look of the page and its limits, as arguments for `launch`."""
    return {
        "theme": gr.themes.Default(
            primary_hue="blue",
            neutral_hue="slate",
            font=FONTS,
            font_mono=["ui-monospace", "monospace"],
        ).set(  # the theme's own quiet text has 2.6 : 1 on white; 4.5 : 1 is what eyes need
            body_text_color_subdued="*neutral_600",
            body_text_color_subdued_dark="*neutral_300",
            block_info_text_color="*neutral_600",
            block_info_text_color_dark="*neutral_300",
        ),
        "css_paths": [ASSETS / "page.css"],
        "head": f"<script>{(ASSETS / 'page.js').read_text(encoding='utf-8')}</script>",
        "max_file_size": "100mb",
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
    }
