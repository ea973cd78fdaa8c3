"""What a visitor's choice sets off: it settles, runs, and becomes updates of the page."""

import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.language import say
from groupcam.models import (
    Backbone,
    default_target_layer,
    resolve_target_layer,
    target_layers,
)
from groupcam.models.catalogue import weight_tags
from groupcam.models.input_size import input_sizes
from groupcam.models.pool import BackboneKey
from groupcam.steps import relay
from groupcam.ui import curve_views, views
from groupcam.ui.event_log import log_accident
from groupcam.ui.latest import LatestWins
from groupcam.ui.layout import TOP_CLASSES, Layout
from groupcam.ui.payloads import check_controls, checked_text, payload_of, told
from groupcam.ui.present import DEFAULT_WEIGHTS, RANDOM_WEIGHTS, read_choice
from groupcam.ui.runs import (
    Choice,
    Drawing,
    Event,
    Explained,
    Finished,
    Loading,
    Predicted,
    Scoring,
    Surveyed,
    fitted,
)
from groupcam.ui.toasts import inform, warn
from groupcam.ui.turns import REST, Turns, Updates, Work, resting
from groupcam.ui.workbench import Workbench

SETTLE_S = 0.1  # a slider that is being dragged comes to rest before a run starts
# Seconds between reports of progress, and before the first of them: each costs the server and the
# browser some 30 ms.
UPDATE_S = 0.25
# Of a run, where others wait; curves of a usual network take less, so that those who came first are
# done first. With turns of 0.5 s, 50 visitors' curves grew together and none was ever complete.
TURN_S = 5.0
FIRST_UPDATE_S = 0.1


class RunEvents:
    """Callbacks that start, follow and stop a visitor's runs."""

    def __init__(self, workbench: Workbench, latest: LatestWins, ui: Layout) -> None:
        self.workbench = workbench
        self.latest = latest
        self.ui = ui
        self.turns = Turns(TURN_S, latest=latest, token=ui.token)

    @told
    def settle(self, request: gr.Request, picture_id: str | None, *controls: Any) -> Any:
        """Wait until the controls rest; return a token for the run, or nothing to run."""
        if picture_id is None:
            return gr.skip()
        check_controls(controls)
        token = self.latest.choose(str(request.session_hash), (picture_id, *controls))
        if token is None:
            return gr.skip()
        time.sleep(SETTLE_S)
        return token

    def weights_of(self, key: BackboneKey) -> Updates:
        """Return the list of a backbone's weights, with those of the key chosen."""
        return {self.ui.weights_of: key.name, self.ui.weights: weights_list(key)}

    def lists_of(
        self, key: BackboneKey, backbone: Backbone, class_name: str, layer: str | None = None
    ) -> Updates:
        """Return the lists of a backbone's layers and classes, with what is chosen of each."""
        return {
            self.ui.shown_backbone: key,
            self.ui.input_size: size_list(key, backbone),
            self.ui.layers: views.layers(target_layers(backbone), layer),
            self.ui.class_name: class_list(backbone, class_name),
        }

    @told
    def choose_layer(self, event: gr.EventData) -> str:
        """Take the layer that was picked in the tree; whether it exists, the run will say."""
        return checked_text("The layer", payload_of(event).get("name"))

    @told
    def choose_class(self, event: gr.EventData) -> str:
        """Take the class whose bar was clicked."""
        return checked_text("The class", payload_of(event).get("value"))

    def forget(self, request: gr.Request) -> None:
        """Let the same choice run again."""
        self.leave(str(request.session_hash))

    def leave(self, session: str) -> None:
        """End a visitor's run within one micro-batch, or drop it between two turns."""
        self.turns.stop(session)

    def stopped(self) -> str:
        """Return the status of a run that was stopped."""
        return views.status(say("status.stopped"))

    def run(
        self,
        request: gr.Request,
        token: int | None,
        picture_id: str | None,
        shown_backbone: BackboneKey | None,
        weights_of: str,
        color_map: str,
        backbone_name: str,
        weights: str,
        input_size: str,
        layer: str | None,
        class_name: str,
        *settings: Any,
    ) -> Iterator[Updates | Any]:
        """Explain the picture and draw its curves, as updates of the page; latest wins."""
        if token is None or picture_id is None:
            yield gr.skip()  # a generator that ends before its first yield clears everything
            return
        session = str(request.session_hash)
        present = (
            *(picture_id, shown_backbone, weights_of, backbone_name, weights, input_size),
            *(layer, class_name, *settings),
        )
        yield from self.turns.follow(
            session, token, lambda: self._work(session, token, color_map, *present)
        )

    def _work(
        self, session: str, token: int, color_map: str, picture_id: str, *present: Any
    ) -> Work:
        """Explain and draw what the controls say, as updates of the page."""
        shown_backbone, weights_of, backbone_name, *_ = present
        try:
            wish = read_choice(self.ui.settings, picture_id, *present)
            if weights_of != backbone_name:  # the page still shows those of another one
                yield self.weights_of(wish.backbone)  # before it loads, which may fail
            yield from self._steps(wish, shown_backbone, color_map)
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            yield from self._failed(session, token, str(error))
        except Exception as error:
            told = log_accident("A run failed.", error)
            yield from self._failed(session, token, told)

    def _failed(self, session: str, token: int, message: str) -> Iterator[Updates]:
        """Say what went wrong and let the same choice be tried again; a stale run stays silent."""
        if self.latest.is_fresh(session, token):
            warn(message)
            yield {self.ui.status: views.status(message, "error")}
        if self.latest.is_fresh(session, token):
            self.latest.forget(session)

    def _steps(
        self, wish: Choice, shown_backbone: BackboneKey | None, color_map: str
    ) -> Iterator[Updates]:
        """Load the backbone, bring the wish and the lists in line with it, and run."""
        loading = relay(
            self.workbench.load_steps(wish.backbone),
            lambda step: {self.ui.status: views.loading_status(step)},
        )
        backbone = yield from resting(loading)
        class_name = wish.class_name
        if wish.backbone != shown_backbone:  # the lists are still those of another one
            class_name = class_name if class_name in backbone.class_names else None
            lists = self.lists_of(wish.backbone, backbone, class_name or "", wish.target_layer)
            yield {**lists, self.ui.layer: wish.target_layer or ""}
        target = resolve_target_layer(backbone, wish.target_layer)
        config = fitted(wish.config, target)
        slider: dict[str, Any] = {"maximum": target.shape[0]}
        if config != wish.config:
            inform(say("status.groups_fitted", layer=target.name, channels=target.shape[0]))
            slider["value"] = config.groups  # else it is left alone: the visitor may be moving it
        choice = wish._replace(target_layer=target.name, class_name=class_name, config=config)
        next_report = 0.0
        waiting: Updates = {}  # goes with the next report
        for event in self.workbench.run_steps(choice):
            is_progress = isinstance(event, Loading | Scoring | Drawing)
            if is_progress and time.monotonic() < next_report:
                continue
            updates = waiting | self._updates_of(event, choice, color_map)
            waiting = {}
            if isinstance(event, Predicted):
                updates[self.ui.settings.groups] = gr.Slider(**slider)
                next_report = time.monotonic() + FIRST_UPDATE_S
                if event.is_kept:  # the page most likely shows it already: not worth a report
                    waiting = updates
                    continue
            else:
                next_report = time.monotonic() + UPDATE_S
            yield updates
            if isinstance(event, Explained):  # the map need not wait for these
                waiting = {self.ui.perturbed: curve_views.perturbed(event.run)}
                if event.run.curves is None:
                    yield REST  # others see their maps before this visitor's curves are drawn

    def _updates_of(self, event: Event, choice: Choice, color_map: str) -> Updates:
        """Return what an event changes on the page."""
        if isinstance(event, Loading):
            return {self.ui.status: views.loading_status(event)}
        if isinstance(event, Predicted):
            return {self.ui.top: {label: value for _, label, value in event.top(TOP_CLASSES)}}
        if isinstance(event, Scoring):
            status = views.working_status(say("status.scoring"), event.done, event.total)
            updates: Updates = {self.ui.status: status}
            if event.saliency_map is not None:
                (saliency_map,) = event.saliency_map()
                updates[self.ui.viewer] = views.sharpening(event, saliency_map, color_map)
            return updates
        if isinstance(event, Explained):
            run = event.run
            heaviest = int(run.explanation.group_weights.argmax())
            return {
                self.ui.choice: choice,
                self.ui.viewer: views.viewer(run, color_map),
                self.ui.masks: views.masks(run),
                self.ui.detail: views.mask_detail(run, heaviest, color_map),
                self.ui.curves: curve_views.chart(run),
                self.ui.status: views.status(say("status.map_done"), "busy"),
            }
        if isinstance(event, Surveyed):
            found = target_layers(event.backbone)
            return {self.ui.layers: views.layers(found, choice.target_layer, event.means)}
        if isinstance(event, Drawing):
            points = event.points
            return {
                self.ui.curves: curve_views.chart(event.run, points),
                self.ui.status: views.working_status(
                    say("status.drawing"), points.done, points.total
                ),
            }
        assert isinstance(event, Finished)
        return {
            self.ui.curves: curve_views.chart(event.run),
            self.ui.status: views.status(views.finished_text(event.run), "done"),
        }


def weights_list(key: BackboneKey) -> Any:
    """Return the list of a backbone's weights, those of the key chosen."""
    tags = weight_tags(key.name)
    default = (
        say("network.weights_default_tag", tag=tags[0]) if tags else say("network.weights_none")
    )
    return gr.Dropdown(
        choices=[
            (default, DEFAULT_WEIGHTS),
            *((tag, tag) for tag in tags[1:]),
            (say("network.weights_random"), RANDOM_WEIGHTS),
        ],
        value=RANDOM_WEIGHTS if key.weights is None else key.weights,
    )


def size_list(key: BackboneKey, backbone: Backbone) -> Any:
    """Return the list of input sizes, that of the key chosen."""
    own, *others = input_sizes(key.name, key.weights)
    chosen = "" if key.input_size is None else str(key.input_size)
    grid = " × ".join(map(str, default_target_layer(backbone).shape[1:]))
    sizes = [
        (say("network.size_of_weights", pixels=own), ""),
        *((f"{side} px", str(side)) for side in others),
    ]
    return gr.Dropdown(
        choices=[
            (f"{text} · {say('network.cells', grid=grid)}" if value == chosen else text, value)
            for text, value in sizes
        ],
        value=chosen,
    )


def class_list(backbone: Backbone, chosen: str) -> Any:
    """Return the list of all classes, one chosen; "" stands for the top prediction."""
    names = [(name, name) for name in backbone.class_names]
    return gr.Dropdown(choices=[(say("network.class_top"), ""), *names], value=chosen)
