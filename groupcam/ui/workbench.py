"""What happens between a visitor's choice and the results: pictures, backbones, runs.

No Gradio in here: a run is a generator of events, and the page decides how they look.
"""

import contextvars
import hashlib
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from groupcam.errors import Cancelled, GroupCamError, WeightsUnavailableError, did_you_mean
from groupcam.images import Picture, open_picture
from groupcam.language import ENGLISH, say, speaking
from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.metrics.curves import Curves, CurvesBatch, PartialCurves, perturbed_pictures
from groupcam.models import (
    Backbone,
    default_target_layer,
    load_backbone,
    resolve_target_layer,
    target_layers,
)
from groupcam.models.catalogue import weight_tags
from groupcam.models.families import parameters_of
from groupcam.models.hub import Progress
from groupcam.models.input_size import input_sizes
from groupcam.models.pool import BackboneKey, BackbonePool
from groupcam.saliency import engine, explain_steps
from groupcam.saliency.capture import Capture, capture_layer
from groupcam.saliency.survey import mean_activations
from groupcam.share.record import Network
from groupcam.steps import relay, timed
from groupcam.ui.cache import ByteBoundedCache
from groupcam.ui.event_log import log_event
from groupcam.ui.runs import (
    Choice,
    Drawing,
    Event,
    Explained,
    Finished,
    Loading,
    Predicted,
    Run,
    Scoring,
    Surveyed,
    capture_bytes,
)

MAP_S = 120.0  # a map that takes longer is given up
LOAD_S = 900.0  # likewise a network, most of which is its download
CURVES_S = 300.0  # likewise both curves of a map
TICK_S = 0.25  # between reports of work in a thread that has nothing new to tell
CURVE_STEPS = 112  # the authors' number at 224 x 224; larger inputs take larger steps

MAX_INPUT_PX = 1024
FLOAT32_BYTES = 4
BACKBONE_BYTES = 1000 * 2**20
PICTURE_BYTES = 600 * 2**20
CAPTURE_BYTES = 100 * 2**20
RUN_BYTES = 200 * 2**20  # 80 runs at 224 x 224
SURVEY_BYTES = 30 * 2**20

# What an operator reads in the log, and no visitor: '/home/app/.cache/x.pth' is 'x.pth' to them.
QUOTED_FOLDERS = re.compile(r"'(?:/|\w:\\)[^']*[/\\](?=[^'/\\]*')")

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


class Workbench:
    """Pictures, backbones and results in bounded caches, shared by all visitors."""

    def __init__(
        self,
        device: str = "cpu",
        *,
        max_parameters: int | None = None,
        backbone_bytes: int = BACKBONE_BYTES,
        prepare: Callable[[BackboneKey, Backbone], None] | None = None,
    ) -> None:
        """Begin empty.

        Args:
            device: where networks run.
            max_parameters: a larger backbone is refused; None: one that alone would need more
                than `backbone_bytes`.
            backbone_bytes: memory for loaded backbones; one prepared for speed on a CPU takes as
                much again.
            prepare: makes a loaded backbone fast; None: `engine.prepare_in_background`.
        """
        self._device = device
        self._prepare = prepare
        self._max_parameters = max_parameters or backbone_bytes // FLOAT32_BYTES
        self._pool = BackbonePool(self._load, backbone_bytes)
        self._pictures: ByteBoundedCache[Picture] = ByteBoundedCache(PICTURE_BYTES)
        self._captures: ByteBoundedCache[Capture] = ByteBoundedCache(CAPTURE_BYTES)
        self._runs: ByteBoundedCache[Run] = ByteBoundedCache(RUN_BYTES)
        self._surveys: ByteBoundedCache[dict[str, Tensor]] = ByteBoundedCache(SURVEY_BYTES)

    def add_picture(self, path: str | Path) -> tuple[str, Picture]:
        """Return a picture's id and the picture; the same pixels always get the same id.

        Raises:
            GroupCamError: the file is no picture, damaged or outside the limits.
        """
        picture = open_picture(path)
        digest = hashlib.sha256(repr(picture.rgb.shape).encode())
        digest.update(picture.rgb.data)
        picture_id = digest.hexdigest()
        self._pictures.put(picture_id, picture, picture.rgb.nbytes)
        return picture_id, picture

    def picture_of(self, choice: Choice) -> Picture:
        """Return the picture that a choice is about.

        Raises:
            GroupCamError: it is no longer kept.
        """
        picture = self._pictures.get(choice.picture_id)
        if picture is None:
            raise GroupCamError(say("picture.not_kept"))
        return picture

    def run_of(self, choice: Choice | None) -> Run | None:
        """Return a finished or unfinished run of this choice if it is still kept."""
        return None if choice is None else self._runs.get(choice)

    def run_with(self, run_id: str) -> Run | None:
        """Return the run of this id if it is still kept."""
        return self._runs.find(lambda run: run.run_id == run_id)

    def load(self, key: BackboneKey, progress: Progress | None = None) -> Backbone:
        """Return a backbone, loading it unless it is kept.

        Raises:
            GroupCamError: the name or the weights are not known, the network is above the limit
                of this server, or it cannot be used.
            WeightsUnavailableError: its weights cannot be had here.
        """
        return self._pool.load(key, progress)

    def kept(self, key: BackboneKey) -> Backbone | None:
        """Return a backbone if it is loaded."""
        return self._pool.get(key)

    def load_apart(self, key: BackboneKey) -> Future[Backbone]:
        """Load a backbone in a thread that ends by itself, and return what will hold it."""
        outcome: Future[Backbone] = Future()
        kept = self._pool.get(key)
        if kept is not None:
            outcome.set_result(kept)
            return outcome

        def run() -> None:
            try:
                outcome.set_result(self.load(key))
            except BaseException as error:
                outcome.set_exception(error)

        speaker = contextvars.copy_context()  # a new thread would speak English
        threading.Thread(target=speaker.run, args=[run], daemon=True).start()
        return outcome

    def load_steps(self, key: BackboneKey) -> Generator[Loading, None, Backbone]:
        """Load a backbone in a thread and report on it; closing stops a download soon."""
        kept = self._pool.get(key)
        if kept is not None:
            return kept
        begun = Loading(say("status.loading", backbone=key.text))
        yield begun
        return (yield from followed(lambda progress: self.load(key, progress), begun))

    def _load(self, key: BackboneKey, progress: Progress | None) -> Backbone:
        """Load a backbone for the pool. What visitors send is checked here: no file is opened."""
        tags = weight_tags(key.name)
        if key.weights not in (None, "default", *tags):
            text = say("network.unknown_weights", backbone=key.name, given=key.weights)
            raise GroupCamError(f"{text}{did_you_mean(str(key.weights), tags)}")
        if key.input_size is not None and key.input_size > MAX_INPUT_PX:
            text = say("network.size_too_large", most=MAX_INPUT_PX, given=key.input_size)
            raise GroupCamError(text)
        parameters = parameters_of(key.name)
        if (parameters or 0) > self._max_parameters:
            raise GroupCamError(
                say(
                    "network.too_large",
                    most=self._max_parameters / 1e6,
                    name=key.name,
                    given=(parameters or 0) / 1e6,
                )
            )
        deadline = time.monotonic() + LOAD_S
        latest = (say("status.loading", backbone=key.text), 0, 0)

        def report(text: str, done: int, total: int) -> None:
            nonlocal latest
            latest = (text, done, total)
            if time.monotonic() > deadline:  # a hub may send a byte now and then
                raise WeightsUnavailableError(say("network.load_too_slow", most=LOAD_S))
            if progress is not None:
                progress(text, done, total)

        try:
            backbone = load_backbone(
                key.name,
                weights=key.weights,
                device=self._device,
                progress=report,
                room=self._pool.room(FLOAT32_BYTES * (parameters or 0), lambda: report(*latest)),
                **({} if key.input_size is None else {"input_size": key.input_size}),
            )
        except WeightsUnavailableError as error:
            logger.warning("%s", error)
            raise WeightsUnavailableError(QUOTED_FOLDERS.sub("'", str(error))) from error
        # What the page asks of every backbone, so that the first picture need not wait for it.
        default_target_layer(backbone)
        input_sizes(key.name, key.weights)
        if self._prepare is None:
            engine.prepare_in_background(backbone)
        else:
            self._prepare(key, backbone)
        return backbone

    def run_steps(self, choice: Choice) -> Generator[Event, None, None]:
        """Explain a picture and draw its curves, as events; closing stops the work.

        Raises:
            GroupCamError: something in the choice is not possible.
            WeightsUnavailableError: the backbone's weights cannot be had here.
        """
        picture = self.picture_of(choice)
        backbone = yield from self.load_steps(choice.backbone)

        run = self._runs.get(choice)
        from_cache = run is not None
        if run is None:
            capture, is_kept = self._capture(choice, picture, backbone)
            yield Predicted(backbone, capture.target_layer, capture.logits[0], is_kept)
            run = yield from self._explain(choice, picture, backbone, capture)
            self._runs.put(choice, run, run.size_bytes)
        else:
            yield Predicted(backbone, run.capture.target_layer, run.capture.logits[0], True)
        yield Explained(run, from_cache)
        yield Surveyed(backbone, self._survey(run, backbone))

        if run.curves is None:
            run = yield from self._draw_curves(run, backbone)
            self._runs.put(choice, run, run.size_bytes)
        yield Finished(run)

    def _capture(
        self, choice: Choice, picture: Picture, backbone: Backbone
    ) -> tuple[Capture, bool]:
        """Return the capture of this picture, layer and class, and whether it was kept."""
        layer = resolve_target_layer(backbone, choice.target_layer)
        key = (choice.picture_id, choice.view, choice.backbone, layer.name, choice.class_name)
        capture = self._captures.get(key)
        is_kept = capture is not None
        if capture is None:
            class_index = (
                None
                if choice.class_name is None
                else torch.tensor([backbone.class_index_of(choice.class_name)])
            )
            inputs = backbone.preprocess(picture.rgb, choice.view)
            if class_index is not None:
                class_index = class_index.to(inputs.device)
            capture = capture_layer(backbone, inputs, layer, class_index)
            self._captures.put(key, capture, capture_bytes(capture))
        return capture, is_kept

    def _explain(
        self, choice: Choice, picture: Picture, backbone: Backbone, capture: Capture
    ) -> Generator[Scoring, None, Run]:
        """Return the run without its curves."""
        steps = explain_steps(backbone, capture.inputs, choice.config, capture=capture)
        batch, elapsed_s = yield from relay(
            timed(steps, MAP_S, map_too_slow),
            lambda step: Scoring(
                choice, picture, backbone.preprocessing, step.done, step.total, step.saliency_map
            ),
        )
        explanation = replace(batch[0], elapsed_s=elapsed_s)
        with speaking(ENGLISH):  # a log is for the operator
            log_event(
                "explained",
                backbone=choice.backbone.text,
                target_layer=explanation.target_layer,
                groups=explanation.config.groups,
                forward_passes=explanation.forward_passes,
                seconds=round(explanation.elapsed_s, 3),
            )
        return Run(
            choice=choice,
            picture=picture,
            preprocessing=backbone.preprocessing,
            capture=capture,
            explanation=explanation,
            perturbed=perturbed_pictures(
                capture.inputs[0], explanation.saliency_map.to(capture.inputs.device)
            ),
            network=Network.of(backbone, choice.backbone.weights, choice.backbone.input_size),
        )

    def _survey(self, run: Run, backbone: Backbone) -> dict[str, Tensor]:
        """Return every listed layer's mean activation for the run's picture."""
        key = (run.choice.picture_id, run.choice.view, run.choice.backbone)
        means = self._surveys.get(key)
        if means is None:
            means = mean_activations(backbone, run.capture.inputs, target_layers(backbone))
            self._surveys.put(key, means, sum(mean.nbytes for mean in means.values()))
        return means

    def _draw_curves(self, run: Run, backbone: Backbone) -> Generator[Event, None, Run]:
        """Return the run with its curves."""
        steps = _curve_steps(run, run.explanation.saliency_map, backbone)
        batch, _ = yield from relay(
            timed(steps, CURVES_S, curves_too_slow), lambda points: Drawing(run, points)
        )
        return replace(run, curves=batch[0])

    def curves_of(self, run: Run, saliency_map: Tensor) -> Generator[PartialCurves, None, Curves]:
        """Return the curves of another map, (H, W), of a run's picture, layer and class."""
        backbone = self.load(run.choice.backbone)
        steps = _curve_steps(run, saliency_map, backbone)
        batch, _ = yield from timed(steps, CURVES_S, curves_too_slow)
        return batch[0]


def _curve_steps(
    run: Run, saliency_map: Tensor, backbone: Backbone
) -> Generator[PartialCurves, None, CurvesBatch]:
    inputs = run.capture.inputs
    return curve_steps(
        backbone,
        inputs,
        saliency_map[None].to(inputs.device),
        run.capture.class_index,
        protocol=curve_protocol(inputs),
    )


def curve_protocol(inputs: Tensor) -> CurveProtocol:
    """Return how the page makes the curves of inputs (N, 3, H, W)."""
    return CurveProtocol.with_steps(CURVE_STEPS, (inputs.shape[-2], inputs.shape[-1]))


class Counted(Protocol):
    """A step that knows how far the work is."""

    @property
    def done(self) -> int:
        """Return the number of forward passes so far."""

    @property
    def total(self) -> int:
        """Return how many there will be."""


def map_too_slow(step: Counted) -> GroupCamError:
    """Return what is said of a map that is given up."""
    return GroupCamError(say("status.map_too_slow", most=MAP_S, done=step.done, total=step.total))


def curves_too_slow(step: Counted) -> GroupCamError:
    """Return what is said of curves that are given up."""
    return GroupCamError(
        say("status.curves_too_slow", most=CURVES_S, done=step.done, total=step.total)
    )


def followed(
    work: Callable[[Progress], Result], latest: Loading | None = None
) -> Generator[Loading, None, Result]:
    """Run `work` in a thread, yield its progress, return its result or raise its error.

    It speaks the language of whoever begins. Work that has nothing new to tell for a while is
    reported with its latest word again, so that whoever follows it can turn to others meanwhile.

    Closing the generator makes the next report of progress raise `Cancelled` in the thread.
    """
    closed = threading.Event()
    reports: queue.Queue[Loading | None] = queue.Queue()
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def tell(text: str, done: int, total: int) -> None:
        if closed.is_set():
            raise Cancelled("Nobody waits for it any more.")
        reports.put(Loading(text, done, total))

    def target() -> None:
        try:
            outcome.append(work(tell))
        except BaseException as error:
            failure.append(error)
        finally:
            reports.put(None)

    speaker = contextvars.copy_context()  # a new thread would speak English
    threading.Thread(target=speaker.run, args=[target], daemon=True).start()
    try:
        while True:
            try:
                report = reports.get(timeout=None if latest is None else TICK_S)
            except queue.Empty:
                pass
            else:
                if report is None:
                    break
                latest = report
            assert latest is not None  # else there was no end to the wait for the first
            yield latest
    finally:
        closed.set()
    if failure:
        raise failure[0]
    return outcome[0]
