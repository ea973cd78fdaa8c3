"""Bringing the page into a given state: at the first visit, from a link, by a lesson."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from groupcam.language import say
from groupcam.models import default_target_layer, resolve_target_layer
from groupcam.models.pool import BackboneKey
from groupcam.steps import relay
from groupcam.ui import views
from groupcam.ui.components import EXAMPLES
from groupcam.ui.latest import LatestWins
from groupcam.ui.layout import Layout
from groupcam.ui.links import Opening, link_names, query_of
from groupcam.ui.present import RANDOM_WEIGHTS, key_of
from groupcam.ui.run_events import RunEvents
from groupcam.ui.runs import Choice
from groupcam.ui.turns import Updates
from groupcam.ui.workbench import Workbench


class Opener:
    """Sets the shared controls and the picture, as a visitor would, and makes the choice."""

    def __init__(
        self, workbench: Workbench, latest: LatestWins, ui: Layout, runs: RunEvents
    ) -> None:
        self._workbench = workbench
        self._latest = latest
        self._ui = ui
        self._runs = runs
        self._examples: dict[str, str] = {}  # the name of each picture's id

    @property
    def outputs(self) -> list[Any]:
        """Return all that `steps` may update."""
        ui = self._ui
        return [
            *(ui.token, ui.status, ui.tab_strip, ui.picture, ui.picture_id, ui.picture_path),
            *(ui.shown_backbone, ui.weights_of, ui.layers),
            *ui.controls,
        ]

    def steps(self, session: str, opening: Opening, picture_id: str | None) -> Iterator[Updates]:
        """Load the backbone and set everything, as updates of the page; the last has a token.

        The event must be followed by a run. Without any picture there is no token, and the page
        waits for one.

        Args:
            session: the visitor's.
            opening: what to show.
            picture_id: the visitor's present picture.

        Raises:
            GroupCamError: something in the opening is not possible; nothing was changed.
            WeightsUnavailableError: the backbone's weights cannot be had here.
        """
        ui = self._ui
        key: BackboneKey = key_of(opening.backbone, opening.weights, opening.input_size)
        backbone = yield from relay(
            self._workbench.load_steps(key), lambda step: {ui.status: views.loading_status(step)}
        )
        layer = resolve_target_layer(backbone, opening.target_layer or None)
        if opening.class_name:
            backbone.class_index_of(opening.class_name)
        updates: Updates = {
            **self._runs.weights_of(key),
            **self._runs.lists_of(key, backbone, opening.class_name, layer.name),
            **ui.settings.values_of(opening.config),
            ui.settings.groups: gr.Slider(maximum=layer.shape[0], value=opening.config.groups),
            ui.settings.view: opening.view,
            ui.backbone: opening.backbone,
            ui.layer: opening.target_layer,
        }
        if opening.tab in ui.tabs:
            updates[ui.tab_strip] = gr.Tabs(selected=opening.tab)
        if opening.example is not None:
            path = next(path for path in EXAMPLES if path.stem == opening.example)
            picture_id, _ = self._workbench.add_picture(path)
            updates |= {
                ui.picture: str(path),
                ui.picture_id: picture_id,
                ui.picture_path: str(path),
            }
        if picture_id is None:
            yield {**updates, ui.status: views.status(say("status.welcome"))}
            return
        self._latest.forget(session)
        updates[ui.token] = self._latest.choose(session, (picture_id, opening))
        yield {**updates, ui.status: views.status(say("status.looking"), "busy")}

    def link_of(self, choice: Choice | None) -> dict[str, Any]:
        """Return what assets/link.js makes a link of, and whether the picture comes with it."""
        if choice is None:
            return {}
        if not self._examples:
            self._examples = {self._workbench.add_picture(path)[0]: path.stem for path in EXAMPLES}
        key = choice.backbone
        backbone = self._workbench.kept(key)
        layer = choice.target_layer or ""
        if backbone is not None and default_target_layer(backbone).name == layer:
            layer = ""
        opening = Opening(
            example=self._examples.get(choice.picture_id),
            backbone=key.name,
            weights=RANDOM_WEIGHTS if key.weights is None else key.weights,
            input_size="" if key.input_size is None else str(key.input_size),
            target_layer=layer,
            class_name=choice.class_name or "",
            view=choice.view,
            config=choice.config,
        )
        return {
            "query": query_of(opening),
            "names": link_names(),
            "has_picture": opening.example is not None,
        }
