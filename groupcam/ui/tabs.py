"""What a tab of the page is. A new one is a module with such a class, and an entry in `Page`."""

from typing import Any, Protocol

import gradio as gr

from groupcam.ui.layout import Layout

# The page updates every component that ever showed progress whenever any event reports, and copies
# it each time: only status lines may be some (a list of classes is long).
PRIVATE: dict[str, Any] = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "show_progress_on": [],
}
"""Arguments of every event that is the page's own."""

AT_ONCE: dict[str, Any] = {**PRIVATE, "queue": False}
"""Arguments of events that run no network."""


def is_open(name: str) -> str:
    """Return the script that tells an event, as its last value, whether a tab is open."""
    return (
        "(...values) => [...values.slice(0, -1), "
        f"document.querySelector('#gc-main').dataset.tab === '{name}']"
    )


class Tab(Protocol):
    """One tab beside the shared picture and controls; it keeps what it shows when left."""

    name: str  # in the page's markup

    @property
    def title(self) -> str:
        """Return what stands on the tab, in the present language."""

    def place(self, ui: Layout) -> None:
        """Create the components; called once, inside the tab, while the page is laid out."""

    def wire(self, ui: Layout, opened: gr.Tab) -> None:
        """Connect the events; called once, when all components of the page are there."""

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page."""
