"""The page's own events, called raw: Gradio lets anybody call each of them with any payload."""

import asyncio
import functools
import html
import itertools
import re
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import orjson
import pytest
from gradio.block_function import BlockFunction
from gradio.state_holder import SessionState
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from groupcam import language
from groupcam.errors import GroupCamError
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice
from tests.fuzz.conftest import TINY
from tests.fuzz.values import check_told, json_values, outcome, texts
from tests.support import ROOT

SESSIONS = itertools.count()
MOST_UPDATES = 200
# What the scripts of the page's components send; see assets/*.js.
EVENT_NAMES = (
    "name",
    "value",
    "index",
    "group",
    "groups",
    "serial",
    "turn",
    "box",
    "lesson",
    "option",
    "scene",
)


class ByGradioError(Exception):
    """Gradio refused a request before or after any code of ours."""


class Visitor:
    """Somebody with a finished run on the page, who sends what no script of ours would."""

    def __init__(self, page: Page, demo: gr.Blocks, choice: Choice) -> None:
        self.page, self.demo = page, demo
        self.events = [fn for fn in self.demo.fns.values() if fn.fn is not None]
        self.state = SessionState(self.demo)
        ui = page.ui
        for holder, value in (
            (ui.choice, choice),
            (ui.picture_id, choice.picture_id),
            (ui.shown_backbone, choice.backbone),
            (ui.weights_of, choice.backbone.name),
        ):
            self.state[holder._id] = value

    def values_of(self, event: BlockFunction) -> list[Any]:
        """Return what the page would send as it stands."""
        values = [getattr(block, "value", None) for block in event.inputs]
        backbone = (
            event.inputs.index(self.page.ui.backbone)
            if self.page.ui.backbone in event.inputs
            else None
        )
        if backbone is not None:
            values[backbone] = TINY[0]
        return values

    def send(self, event: BlockFunction, values: list[Any], payload: Any) -> None:
        """Set off an event until its last update, as Gradio's routes do."""
        try:
            data = asyncio.run(self._process(event, values, payload))
        except Exception as error:
            if not _is_ours(error):
                raise ByGradioError from error
            if isinstance(error, GroupCamError):
                raise RuntimeError("A sentence that nobody gets to read.") from error
            raise
        # What Gradio answers with; letters that are no Unicode would end in a bare 500.
        text = orjson.dumps(
            data, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
        )
        assert str(ROOT).encode() not in text
        assert b"root:x:" not in text

    async def _process(self, event: BlockFunction, values: list[Any], payload: Any) -> list[Any]:
        request = gr.Request(session_hash="visitor", query_params=QueryParams("groups=8"))
        answers, iterator = [], None
        for _ in range(MOST_UPDATES):
            answer = await self.demo.process_api(
                event,
                values,
                state=self.state,
                request=request,
                iterator=iterator,
                session_hash="visitor",
                event_data=gr.EventData(None, payload),
            )
            answers.append(answer["data"])
            iterator = answer.get("iterator")
            if not answer["is_generating"]:
                break
        return answers


def _is_ours(error: BaseException) -> bool:
    """Return whether code of ours was at work when an error was raised.

    What only hands on does not count: `in_language` is around Gradio's own events too.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(str(ROOT / "groupcam"))]
    return any(frame.filename != language.__file__ for frame in ours)


@pytest.fixture(scope="module")
def visitor(page: Page, demo: gr.Blocks, choice: Choice) -> Visitor:
    return Visitor(page, demo, choice)


@pytest.fixture(autouse=True)
def is_built(demo: gr.Blocks) -> None:
    """Have the page built, also where a test calls its callbacks alone."""


payloads = json_values | st.dictionaries(st.sampled_from(EVENT_NAMES), json_values, max_size=4)


def test_every_event_is_found(visitor: Visitor) -> None:
    assert len(visitor.events) > 40


def sent(payload: Any) -> gr.EventData:
    """Return an event as Gradio hands it on."""
    return gr.EventData(None, payload)


def refused(call: Callable[[], Any]) -> str:
    """Return the sentence with which an event refuses."""
    with pytest.raises(gr.Error) as error:
        call()
    check_told(error.value.message)
    return str(error.value.message)


@pytest.mark.parametrize("color_map", [None, ["inferno"], {}], ids=str)
def test_colours_that_are_none_are_refused(page: Page, choice: Choice, color_map: Any) -> None:
    group = sent({"group": 0})

    assert "color_map" in refused(lambda: page.views.recolor(choice, color_map))
    assert "color_map" in refused(lambda: page.views.show_group(choice, color_map, group))
    assert "color_map" in refused(lambda: page.steps.show_group(choice, color_map, group))


def test_groups_that_are_no_numbers_are_refused(page: Page, choice: Choice) -> None:
    request = gr.Request(session_hash="visitor")
    several: list[list[Any]] = [[{}], [[]], ["\ud800"], [10**300], [None]]
    for groups in several:
        answer = page.steps.show_map(request, choice, "inferno", sent({"groups": groups}))
        check_told(answer[page.steps.map]["blank"])


@pytest.mark.parametrize("payload", [None, [], {}, "x", {"index": 0}], ids=str)
def test_a_pick_of_nothing_is_the_default(page: Page, payload: Any) -> None:
    assert page.runs.choose_class(sent(payload)) == ""
    assert page.runs.choose_layer(sent(payload)) == ""


@pytest.mark.parametrize("value", [5, {"path": "x"}, ["x"], "x" * 201, "\ud800", "a\0"], ids=str)
def test_a_pick_that_is_no_name_is_refused(page: Page, value: Any) -> None:
    refused(lambda: page.runs.choose_class(sent({"value": value})))
    refused(lambda: page.runs.choose_layer(sent({"name": value or 5})))


@pytest.mark.parametrize("serial", [{"path": "x"}, "1", 1.5, 10**30, None], ids=str)
def test_only_a_number_is_sent_back(page: Page, choice: Choice, serial: Any) -> None:
    answer = page.steps.show_group(choice, "inferno", sent({"group": 0, "serial": serial}))

    assert answer["serial"] is None


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, ["x"] * 1000, {"a": 1}, 10**400, float("inf")],
    ids=lambda one: str(one)[:9],
)
def test_what_is_remembered_of_a_visitor_is_small(page: Page, choice: Choice, value: Any) -> None:
    visitor = gr.Request(session_hash="visitor")

    refused(lambda: page.runs.settle(visitor, choice.picture_id, value))


@given(which=st.integers(0, 999), data=st.data(), payload=payloads)
def test_any_event_with_any_values_is_answered_or_refused(
    visitor: Visitor, which: int, data: st.DataObject, payload: Any
) -> None:
    event = visitor.events[which % len(visitor.events)]
    values = visitor.values_of(event)
    for _ in range(data.draw(st.integers(0, 2)) if values else 0):
        values[data.draw(st.integers(0, len(values) - 1))] = data.draw(json_values)

    outcome(lambda: visitor.send(event, values, payload), allowed=(ByGradioError,))


@example(group=False, serial=None, lesson="", name="groups")  # found by it: an index to Python
@given(
    group=json_values,
    serial=json_values,
    lesson=texts | st.sampled_from(["moves", "groups", "blur", "curves", "object"]),
    name=st.sampled_from(["groups", "merge", "percentile", "is_denoised"]) | texts,
)
def test_any_payload_of_a_component_is_answered_or_refused(
    visitor: Visitor, group: Any, serial: Any, lesson: str, name: str
) -> None:
    payload = {
        **{"group": group, "groups": group, "option": group, "scene": group, "box": group},
        **{"serial": serial, "lesson": lesson, "name": name, "value": group},
    }
    with_payload = [
        event
        for event in visitor.events
        if event.targets and event.targets[0][1] in SENT_BY_SCRIPTS
    ]
    assert with_payload
    for event in with_payload:
        send = functools.partial(visitor.send, event, visitor.values_of(event), payload)
        outcome(send, allowed=(ByGradioError,))


SENT_BY_SCRIPTS = ("pick", "choose", "switch", "adjust", "ask", "scene", "draw")


def _statuses(updates: dict[Any, Any]) -> Iterator[str]:
    """Return the errors that updates show, as plain text."""
    for value in updates.values():
        if isinstance(value, str) and 'role="alert"' in value:
            yield html.unescape(re.sub(r"<[^>]*>", " ", value)).strip()


def _plays(page: Page, choice: Choice) -> dict[str, Callable[[list[Any]], Iterator[Any]]]:
    """Return what begins each kind of work with raw values of the controls, in their order."""
    state: list[Any] = [choice.picture_id, choice.backbone, choice.backbone.name]

    def request() -> Any:
        return gr.Request(session_hash=f"visitor {next(SESSIONS)}")

    def explain(values: list[Any]) -> Iterator[Any]:
        visitor = request()
        token = page.runs.settle(visitor, choice.picture_id, *values[2:])
        return page.runs.run(visitor, token, *state, values[0], *values[2:])

    def in_turns(tab: Any) -> Callable[[list[Any]], Iterator[Any]]:
        def play(values: list[Any]) -> Iterator[Any]:
            visitor = request()
            token = tab.begin(visitor, choice.picture_id)[tab.turns.token]
            head, tail = [values[0]], []
            if tab is page.compare:
                tail = [values[1], ["grad_cam", "centre"], [], [], []]
                tail = (
                    tail
                    if isinstance(values[1], str)
                    else [*tail[:1], values[1], values[1], [], []]
                )
            elif tab is page.questions:
                head += [values[1], ""]
            elif tab is page.augment:
                head = [values[1], "hard", values[0]]
            else:
                head += [values[1]]
            begun: Iterator[Any] = tab.run(visitor, token, *head, *state, *values[2:], *tail)
            return begun

        return play

    tabs = (page.compare, page.sanity, page.questions, page.augment)
    return {"explain": explain, **{tab.name: in_turns(tab) for tab in tabs}}


@given(
    kind=st.sampled_from(["explain", "compare", "sanity", "questions", "augmentation"]),
    changes=st.dictionaries(st.integers(0, 99), json_values, max_size=3),
    color_map=st.sampled_from(["inferno", "viridis", 0.5]) | json_values,
    second=st.sampled_from(["method", "layer", "grad_cam", "centre", "class 1", ""]) | json_values,
)
def test_any_controls_are_run_or_refused(
    page: Page, choice: Choice, kind: str, changes: dict[int, Any], color_map: Any, second: Any
) -> None:
    named = {**page.ui.settings.by_field}
    controls = [TINY[0], "default", "", "features.3", "", "crop", True]
    controls += [getattr(choice.config, name) for name in named]
    for place, value in changes.items():
        controls[place % len(controls)] = value
    values = [color_map, second, *controls]

    def played() -> None:
        for updates in _plays(page, choice)[kind](values):
            if isinstance(updates, dict) and updates.get("__type__") != "update":
                for text in _statuses(updates):
                    check_told(text)

    outcome(played)
