"""What visitors do: one at a time for the right answers, then many at once.

They speak Gradio's own protocol over httpx: fifty of its Python clients would each load the page's
whole description and cost the machine more than the app does.
"""

import itertools
import json
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import torch
from gradio_client.utils import apply_diff  # type: ignore[import-untyped]  # it ships no types

from groupcam.saliency import GroupCamConfig
from groupcam.saliency.perturb import blur_matrix
from tests.support import ROOT

PATIENCE_S = 600.0  # for the next word about an answer; after that it is lost
MOST_TURNS = 10_000
SIDES = (224, 32)  # of the inputs of the default network and of the tests' tiny one
PICTURES = ("cat", "espresso", "rocket", "raccoon", "astronaut", "photographer", "cat_and_espresso")
# What differs from one call to the next, although the answer is the same.
PASSING = ("elapsed_s", "config", "settings", "method", "versions")
VIEWER, CURVES = 1, 11  # places among what a run of the page updates; the word comes last


class BusyError(Exception):
    """The app said that too many wait."""


class RefusedError(Exception):
    """The app said in a sentence why there is no answer."""


@dataclass(frozen=True)
class Case:
    """A question with one right answer."""

    endpoint: str  # or "page"
    picture: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def query(self) -> str:
        """Return the end of the address of a page that shows the picture."""
        return f"?example={self.picture}"

    @property
    def fresh_options(self) -> dict[str, Any]:
        """Return the options, with a blur for which no result is kept: the app must work anew."""
        options = dict(self.options)
        if self.endpoint in ("explain", "curves", "page"):
            options["blur_sigma_px"] = fresh_sigma()
        if self.endpoint == "compare":
            options["methods"] = [
                f"{name},blur_sigma_px={fresh_sigma()!r}" if "groups=" in name else name
                for name in options["methods"]
            ]
        return options


def _case(endpoint: str, picture: str, **options: Any) -> Case:
    return Case(endpoint, picture, tuple(options.items()))


CASES = (
    *(_case("predict", picture) for picture in PICTURES),
    Case("layers"),
    *(_case("explain", picture, groups=32) for picture in PICTURES),
    *(_case("explain", picture, groups=8, target_layer="blocks.5") for picture in PICTURES[:3]),
    *(_case("explain", picture, groups=16, class_name="espresso") for picture in PICTURES[:3]),
    *(_case("curves", picture, groups=8) for picture in PICTURES[:4]),
    *(
        _case("compare", picture, methods=("group_cam:groups=4", "grad_cam"), include="map")
        for picture in PICTURES[:2]
    ),
    *(_case("page", picture, groups=16) for picture in PICTURES[:5]),
)


def _equal_sigmas() -> Iterator[float]:
    """Yield sigmas that all give the default's blur, to the last bit."""
    config = GroupCamConfig()

    def blurs(sigma: float) -> list[torch.Tensor]:
        return [blur_matrix.__wrapped__(side, sigma, config.blur_kernel_px) for side in SIDES]

    usual = blurs(config.blur_sigma_px)
    for number in itertools.count(secrets.randbelow(10**4)):  # another app's process asks others
        sigma = config.blur_sigma_px + number * 1e-13
        if all(map(torch.equal, blurs(sigma), usual)):
            yield sigma


_SIGMAS = _equal_sigmas()
_SIGMAS_LOCK = threading.Lock()


def fresh_sigma() -> float:
    """Return a blur that was not asked for before and is no other than the default."""
    with _SIGMAS_LOCK:
        return next(_SIGMAS)


@dataclass
class Timing:
    """How long an answer took, in seconds."""

    waited_s: float = 0.0  # before the app began with it, and between turns
    served_s: float = 0.0  # while the app worked for it
    map_s: float | None = None  # of a page: until its map was there


class Site:
    """An app's address, and what its events are called."""

    def __init__(self, url: str) -> None:
        self.url = url
        config = httpx.get(f"{url}/config", timeout=60).json()
        self.events: dict[str, dict[str, Any]] = {}
        for event in config["dependencies"]:  # those of the first page stand first
            self.events.setdefault(event["api_name"], event)
        values = {one["id"]: one["props"].get("value") for one in config["components"]}
        self._present = [values.get(one) for one in self.events["run"]["inputs"]]

    def run_inputs(
        self, token: int, settings: dict[str, Any], network: tuple[str, str] | None = None
    ) -> list[Any]:
        """Return what the page sends with a run.

        Args:
            token: from opening the page.
            settings: those of Group-CAM that are not as at first.
            network: name and weights of a backbone; None: the default.
        """
        fields = list(GroupCamConfig.__dataclass_fields__)
        values = [token, *self._present[1:]]
        if network is not None:
            values[5:7] = network  # behind the token, three States and the colour map
        for name, value in settings.items():
            values[len(values) - len(fields) + fields.index(name)] = value
        return values

    def call_inputs(self, case: Case, upload: Any) -> list[Any]:
        """Return what a program sends to an endpoint, in the order of its parameters."""
        info = self.parameters[case.endpoint]
        given = {"image": upload, **case.fresh_options}
        return [given.get(one["parameter_name"], one["parameter_default"]) for one in info]

    @property
    def parameters(self) -> dict[str, list[dict[str, Any]]]:
        """Return the parameters of every endpoint by its name."""
        if not hasattr(self, "_parameters"):
            info = httpx.get(f"{self.url}/gradio_api/info", timeout=60).json()
            self._parameters = {
                name.strip("/"): endpoint["parameters"]
                for name, endpoint in info["named_endpoints"].items()
            }
        return self._parameters


class Visitor:
    """One browser's session; a question after the other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._http = httpx.Client(timeout=httpx.Timeout(60, read=PATIENCE_S))
        self._uploads: dict[str, Any] = {}
        self._begin()

    def close(self) -> None:
        """Leave for good."""
        self._end()
        self._http.close()

    # --- what a visitor does ---------------------------------------------------------------------

    def answer(self, case: Case) -> tuple[Any, Timing]:
        """Ask and return the answer without what differs each time, and how long it took."""
        timing = Timing()
        if case.endpoint == "page":
            began = time.monotonic()
            return self._run(self._open(case.query, timing), case, timing, began), timing
        return self.outcome(self.join(case.endpoint, case), timing), timing

    def join(self, endpoint: str, case: Case) -> str:
        """Ask, and return the event's id without waiting.

        Raises:
            BusyError: the line is full.
        """
        return self._join(endpoint, self._inputs(case))

    def outcome(self, event: str, timing: Timing) -> Any:
        """Wait for an answer and return it without what differs each time."""
        *_, outputs = self._outputs(event, timing)
        return lasting(outputs[0])

    def see(self, query: str, network: tuple[str, str], *, curves: bool, **settings: Any) -> None:
        """Open a page by a link and look at its map, and its curves or not; then leave for good.

        The page stays open meanwhile as a browser's does, so that the app hears when it closes.
        """
        url = f"{self._site.url}/gradio_api/heartbeat/{self._session}"
        with self._http.stream("GET", url):
            inputs = self._site.run_inputs(self._open(query, Timing()), settings, network)
            has_map = False
            outputs: list[Any] = []
            for outputs in self._turns(inputs, Timing()):
                viewer = outputs[VIEWER]  # random weights may give a blank map, with its reason
                has_map = has_map or bool(viewer.get("words") or viewer.get("blank"))
                if has_map and not curves:
                    break
            self._end()
        if not has_map:
            raise RefusedError(f"{query}: the page's run ended without a map: {outputs[0]}")
        self._begin()

    def leave(self, case: Case, after_s: float) -> None:
        """Ask, and go away in the middle as a closed tab does; then come back as another."""
        if case.endpoint == "page":
            token = self._open(case.query, Timing())
            self._join("run", self._site.run_inputs(token, case.fresh_options))
        else:
            self.join(case.endpoint, case)
        self.leave_after(after_s)

    def leave_after(self, seconds: float) -> None:
        """Go away in the middle of what was asked."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._next()["msg"] == "process_completed":
                break
        self._end()
        self._begin()

    def ask_anew(self, first: Case, second: Case, after_s: float) -> tuple[Any, Timing]:
        """Open a page and, while it works, another in its place; return the second's answer."""
        timing = Timing()
        token = self._open(first.query, Timing())
        stale = self._join("run", self._site.run_inputs(token, first.fresh_options))
        time.sleep(after_s)
        began = time.monotonic()
        answer = self._run(self._open(second.query, timing), second, timing, began)
        for message in self._messages(stale):  # it ended too, and nobody waits for it
            del message
        return answer, timing

    # --- the page --------------------------------------------------------------------------------

    def _open(self, query: str, timing: Timing) -> int:
        """Open the page by a link and return the token of what it is to show."""
        event = self._join("open_page", [], query)
        token = None
        for outputs in self._outputs(event, timing):
            token = outputs[0] if isinstance(outputs[0], int) else token
        if token is None:
            raise RefusedError("The page opened without anything to show.")
        return token

    def _turns(self, inputs: list[Any], timing: Timing) -> Iterator[list[Any]]:
        """Yield all outputs of a run of the page after each report, turn after turn."""
        for _ in range(MOST_TURNS):
            outputs: list[Any] = []
            for outputs in self._outputs(self._join("run", inputs), timing):
                yield outputs
            if "turn" not in outputs[-1]:
                return

    def _run(self, token: int, case: Case, timing: Timing, began: float) -> dict[str, Any]:
        """Follow a run of the page until the curves are drawn."""
        viewer: dict[str, Any] = {}
        curves: dict[str, Any] = {}
        for outputs in self._turns(self._site.run_inputs(token, case.fresh_options), timing):
            viewer = outputs[VIEWER] if "heat" in outputs[VIEWER] else viewer
            curves = outputs[CURVES] if "insertion" in outputs[CURVES] else curves
            if viewer.get("words") and timing.map_s is None:
                timing.map_s = time.monotonic() - began
        if not curves.get("complete"):
            raise RefusedError("The page's run ended without curves.")
        return {
            "heat": viewer["heat"],
            "areas": [curves[name]["auc"] for name in ("insertion", "deletion")],
            "values": [curves[name]["values"] for name in ("insertion", "deletion")],
        }

    # --- the protocol ----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._session = secrets.token_hex(8)
        self._stream: Any = None
        self._kept: dict[str, deque[dict[str, Any]]] = defaultdict(deque)

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _inputs(self, case: Case) -> list[Any]:
        return self._site.call_inputs(case, self._uploaded(case.picture) if case.picture else None)

    def _uploaded(self, picture: str) -> Any:
        """Return a picture as an endpoint takes it, uploaded once."""
        if picture not in self._uploads:
            path = ROOT / "assets" / "examples" / f"{picture}.jpg"
            with path.open("rb") as file:
                answer = self._http.post(
                    f"{self._site.url}/gradio_api/upload", files={"files": file}
                )
            file_data = {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}
            self._uploads[picture] = file_data
        return self._uploads[picture]

    def _join(self, name: str, inputs: list[Any], query: str = "") -> str:
        """Put an event into the line and return its id.

        Raises:
            BusyError: the line is full.
        """
        answer = self._http.post(
            f"{self._site.url}/gradio_api/queue/join{query}",
            json={
                "data": inputs,
                "fn_index": self._site.events[name]["id"],
                "session_hash": self._session,
            },
        )
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise BusyError(answer.json()["detail"])
        answer.raise_for_status()
        self._joined = time.monotonic()
        event_id: str = answer.json()["event_id"]
        return event_id

    def _outputs(self, event: str, timing: Timing) -> Iterator[list[Any]]:
        """Yield all outputs of an event after each of its reports.

        Raises:
            RefusedError: the app says why there is nothing.
        """
        begun = self._joined
        outputs: list[Any] = []
        for message in self._messages(event):
            now = time.monotonic()
            if message["msg"] == "process_starts":
                timing.waited_s += now - begun
                begun = now
            elif message["msg"] == "process_generating":
                data = message["output"]["data"]
                outputs = (
                    [apply_diff(*pair) for pair in zip(outputs, data, strict=True)]
                    if outputs
                    else data
                )
                yield outputs
            elif message["msg"] == "process_completed":
                timing.served_s += now - begun
                if not message["success"]:
                    raise RefusedError(str(message["output"].get("error")))
                yield message["output"]["data"]

    def _messages(self, event: str) -> Iterator[dict[str, Any]]:
        """Yield what the app says of an event, up to its end; the rest is kept."""
        while True:
            message = self._kept[event].popleft() if self._kept[event] else self._next()
            if message.get("event_id") != event:
                self._kept[str(message.get("event_id"))].append(message)
                continue
            yield message
            if message["msg"] == "process_completed":
                return

    def _next(self) -> dict[str, Any]:
        """Return the next message of the session; its stream is opened where it is closed."""
        while True:
            if self._stream is None:
                self._stream = self._read()
            message: dict[str, Any] | None = next(self._stream, None)
            if message is None or message["msg"] == "close_stream":
                self._end()
            elif message["msg"] == "unexpected_error":
                raise RuntimeError(f"The stream broke: {message['message']}")
            elif message["msg"] != "heartbeat":
                return message

    def _read(self) -> Iterator[dict[str, Any]]:
        url = f"{self._site.url}/gradio_api/queue/data"
        with self._http.stream("GET", url, params={"session_hash": self._session}) as answer:
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))


def lasting(answer: Any) -> Any:
    """Return an answer without what differs from one call to the next."""
    if isinstance(answer, dict):
        return {name: lasting(value) for name, value in answer.items() if name not in PASSING}
    if isinstance(answer, list):
        return [lasting(value) for value in answer]
    return answer
