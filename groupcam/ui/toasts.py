"""Short messages in a corner of the page.

Gradio shows them as HTML, and they repeat what strangers named: each is escaped here.
"""

from html import escape

import gradio as gr


def warn(text: str) -> None:
    """Show what did not work."""
    gr.Warning(escape(text, quote=False))


def inform(text: str) -> None:
    """Show what was done otherwise than asked."""
    gr.Info(escape(text, quote=False))


def refusal(text: str) -> gr.Error:
    """Return what to raise where an event of the page cannot be answered at all."""
    return gr.Error(escape(text, quote=False))
