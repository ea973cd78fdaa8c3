"""The Compare tab: several explanations of the present picture side by side."""

import time
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr

from groupcam.errors import GroupCamError, WeightsUnavailableError, shown
from groupcam.language import say
from groupcam.models import target_layers
from groupcam.models.pool import BackboneKey
from groupcam.saliency.methods import METHODS, Method
from groupcam.ui import components, views
from groupcam.ui.compared import (
    AXES,
    Axis,
    Begun,
    Entry,
    Event,
    Failed,
    Mapped,
    Planned,
)
from groupcam.ui.comparison import DEFAULT_METHODS, FEWEST, MOST, Comparisons
from groupcam.ui.comparison_views import Board, pointing_value
from groupcam.ui.event_log import log_accident
from groupcam.ui.forecast import forward_passes
from groupcam.ui.layout import Layout, backbone_choices
from groupcam.ui.payloads import checked_text, payload_of, serial_of, told
from groupcam.ui.pointing import parse_box
from groupcam.ui.present import read_choice
from groupcam.ui.run_events import UPDATE_S
from groupcam.ui.runs import Loading, fitted
from groupcam.ui.tabs import AT_ONCE
from groupcam.ui.turns import Turns, Updates, Work
from groupcam.ui.workbench import Workbench

KINDS = ("cam", "perturbation", "gradient", "control")  # of methods, in the order of the list
DEFAULT_BACKBONES = 3


class CompareTab:
    """What stands in the tab, and what its events do."""

    name = "compare"

    def __init__(self, workbench: Workbench, comparisons: Comparisons) -> None:
        self._workbench = workbench
        self._comparisons = comparisons

    @property
    def title(self) -> str:
        """Return what stands on the tab."""
        return say("compare.title")

    # --- layout ----------------------------------------------------------------------------------

    def place(self, ui: Layout) -> None:
        """Create the components."""
        self.turns = Turns()
        self.entries = gr.State(())  # what the cards show, by place
        self.axis = gr.Radio(
            [(say(f"compare.axis_{axis}"), axis) for axis in AXES],
            value="method",
            label=say("compare.axis"),
            interactive=True,
        )
        self.chosen: dict[Axis, gr.Dropdown] = {
            "method": _several("method", _method_choices(), list(DEFAULT_METHODS)),
            "layer": _several("layer", [], []),
            "backbone": _several(
                "backbone",
                backbone_choices(ui.backbones),
                [entry.name for entry in ui.backbones if entry.ready_offline][:DEFAULT_BACKBONES],
            ),
            "class": _several("class", [], []),
        }
        self.forecast = gr.HTML("", elem_id="gc-forecast")
        with gr.Row():
            self.compare = gr.Button(
                say("compare.start"), variant="primary", size="sm", min_width=90
            )
            self.stop = gr.Button(say("compare.stop"), size="sm", min_width=90)
        self.status = gr.HTML(views.status(say("compare.ready")), elem_id="gc-compare-status")
        self.cards = components.from_assets("compare", {}, elem_id="gc-compare")
        self.box = components.from_assets("box", {}, elem_id="gc-box")
        self.pointing = components.from_assets("pointing", {}, elem_id="gc-pointing")

    # --- wiring ----------------------------------------------------------------------------------

    def wire(self, ui: Layout, opened: gr.Tab) -> None:
        """Connect the events."""
        self._ui = ui
        choice = [self.axis, *self.chosen.values()]
        raw: dict[str, Any] = {"preprocess": False}
        self.turns.connect(
            status=self.status,
            start=self.compare,
            begin=self.begin,
            begin_inputs=[ui.picture_id],
            stop=self.stop,
            stopped=lambda: views.status(say("compare.stopped")),
            run=self.run,
            inputs=[ui.color_map, *ui.present, *choice],
            outputs=[self.cards, self.entries, self.box],
        )
        self.box.draw(  # not "once", which would pass over a box drawn while one is answered
            self.show_pointing, self.entries, self.pointing, trigger_mode="multiple", **AT_ONCE
        )
        self.axis.change(self.show_axis, self.axis, list(self.chosen.values()), **raw, **AT_ONCE)
        ui.shown_backbone.change(
            self.list_names,
            ui.shown_backbone,
            [self.chosen["layer"], self.chosen["class"]],
            **AT_ONCE,
        )
        changes: list[Any] = [opened.select, ui.choice.change, self.axis.change]
        gr.on(
            [*changes, *(dropdown.change for dropdown in self.chosen.values())],
            self.foretell,
            [*ui.present, *choice],
            self.forecast,
            trigger_mode="always_last",
            **raw,
            **AT_ONCE,
        )

    # --- events ----------------------------------------------------------------------------------

    def show_axis(self, axis: Axis) -> list[Any]:
        """Show the list of what differs."""
        return [gr.Dropdown(visible=name == axis) for name in self.chosen]

    @told
    def list_names(self, key: BackboneKey | None) -> list[Any]:
        """List the layers and classes of a backbone that the page has just turned to."""
        if key is None:
            return [gr.skip(), gr.skip()]
        backbone = self._workbench.load(key)
        layers = [layer.name for layer in target_layers(backbone) if layer.usable]
        return [
            gr.Dropdown(choices=layers, value=[], multiselect=True),
            gr.Dropdown(choices=list(backbone.class_names), value=[], multiselect=True),
        ]

    def foretell(self, picture_id: str | None, *values: Any) -> str:
        """Say how many forward passes the choice will take, as far as that is known."""
        present, (axis, *chosen) = values[: -1 - len(AXES)], values[-1 - len(AXES) :]
        try:
            names = _names(dict(zip(AXES, chosen, strict=True)).get(axis))
            wish = read_choice(self._ui.settings, picture_id or "", *present)
            backbone = self._workbench.kept(wish.backbone)
            if axis != "method" or backbone is None:
                return ""
            layer = next(
                (one for one in target_layers(backbone) if one.name == wish.target_layer), None
            ) or next(one for one in target_layers(backbone) if one.default)
            size = backbone.preprocessing.input_size
            counts = {
                METHODS[name].title: forward_passes(name, fitted(wish.config, layer), layer, size)
                for name in names
            }
        except (GroupCamError, TypeError, StopIteration, KeyError):
            return ""  # what is wrong with the choice is said when it is compared
        parts = [
            f"{title} {say('compare.unknown') if count is None else f'{count:,}'}"
            for title, count in counts.items()
        ]
        text = escape(say("compare.forecast", counts=", ".join(parts)))
        return f'<p class="gc-quiet">{text}</p>' if parts else ""

    def begin(self, request: gr.Request, picture_id: str | None) -> Updates:
        """Make a new comparison the visitor's only one."""
        if picture_id is None:
            return {self.turns.token: None, self.status: views.status(say("compare.no_picture"))}
        token = self.turns.begin(str(request.session_hash))
        text = views.status(say("compare.queued"), "busy")
        return {self.turns.token: token, self.status: text}

    def leave(self, session: str) -> None:
        """Forget a visitor who closed the page."""
        self.turns.stop(session)

    def run(
        self, request: gr.Request, token: int | None, color_map: str, *values: Any
    ) -> Iterator[Updates | Any]:
        """Compare, one turn at a time, as updates of the page."""
        session = str(request.session_hash)
        yield from self.turns.follow(session, token, lambda: self._work(color_map, *values))

    def _work(self, color_map: str, picture_id: str, *values: Any) -> Work:
        """Compare what the controls say, as updates of the page."""
        present, (axis, *chosen) = values[: -1 - len(AXES)], values[-1 - len(AXES) :]
        try:
            if not isinstance(axis, str) or axis not in AXES:
                text = say("compare.unknown_axis", names=", ".join(AXES), given=shown(axis))
                raise GroupCamError(text)
            names = _names(dict(zip(AXES, chosen, strict=True))[axis])
            choice = read_choice(self._ui.settings, picture_id, *present)
            picture = self._workbench.picture_of(choice)
            board: Board | None = None
            next_report = 0.0
            for event in self._comparisons.steps(choice, axis, names):
                if isinstance(event, Planned):
                    board = Board(event.entries, axis, picture, color_map)
                    yield {
                        self.entries: event.entries,
                        self.cards: board.value,
                        self.box: board.picture_value,
                    }
                    continue
                if board is not None:
                    board.update(event)
                is_late = time.monotonic() >= next_report
                if is_late or isinstance(event, Mapped | Failed):
                    next_report = time.monotonic() + UPDATE_S
                    yield self._updates_of(event, board, axis)
                else:
                    yield {}
            assert board is not None  # the plan comes first
            text = views.status(_finished_text(board, axis), "done")
            yield {self.cards: board.value, self.status: text}
        except (GroupCamError, TypeError, WeightsUnavailableError) as error:
            yield {self.status: views.status(str(error), "error")}
        except Exception as error:
            yield {self.status: views.status(log_accident("A comparison failed.", error), "error")}

    def _updates_of(self, event: Event, board: Board | None, axis: Axis) -> Updates:
        """Return what an event changes on the page."""
        if isinstance(event, Loading):
            return {self.status: views.loading_status(event)}
        if board is None or isinstance(event, Begun):
            return {}
        text = say(f"compare.comparing_{axis}", done=board.ready, total=board.count)
        status = views.status(text, "busy", board.ready, board.count)
        return {self.cards: board.value, self.status: status}

    @told
    def show_pointing(self, entries: Sequence[Entry], event: gr.EventData) -> dict[str, Any]:
        """Say how every map answers to the box that was drawn; no forward pass."""
        payload = payload_of(event)
        raw = payload.get("box")
        box = None if raw is None else parse_box(raw)
        results = [self._comparisons.result_of(entry) for entry in entries]
        # Equal answers must reach the cards too: they may be new.
        about = {"serial": serial_of(payload), "stamp": time.monotonic()}
        return {**pointing_value(results, box), **about}


def _several(axis: Axis, choices: list[Any], value: list[str]) -> gr.Dropdown:
    """Return a list from which several can be chosen."""
    return gr.Dropdown(
        choices,
        value=value,
        multiselect=True,
        max_choices=MOST,
        label=say(f"compare.axis_{axis}"),
        info=say(f"compare.axis_{axis}_help", fewest=FEWEST, most=MOST),
        interactive=True,
        visible=axis == "method",
    )


def _method_choices() -> list[tuple[str, str]]:
    """Return (title, name) of every method, kind after kind."""

    def title(method: Method) -> str:
        if method.kind == "cam":
            return method.title
        return f"{method.title} · {say(f'compare.kind_{method.kind}')}"

    ranked = sorted(METHODS.values(), key=lambda method: KINDS.index(method.kind))
    return [(title(method), method.name) for method in ranked]


def _names(value: Any) -> list[str]:
    """Return what a list sent, which anybody may have made up.

    Raises:
        GroupCamError: it is no list of names.
    """
    names = [] if value is None else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GroupCamError(say("compare.no_names", given=shown(value)))
    # One too many is enough to be told that there are too many.
    return [checked_text("A name", name) for name in names[: MOST + 1]]


def _finished_text(board: Board, axis: Axis) -> str:
    """Return the sentence that stands when everything is done."""
    text = say(f"compare.done_{axis}", count=board.count - board.failed)
    return f"{text} {say('compare.failed', count=board.failed)}" if board.failed else text
