"""What happens between a visitor's choice and the results: pictures, backbones, runs.

No Gradio in here: a run is a generator of events, and the page decides how they look.
"""

import hashlib
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.images import Picture, open_picture
from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.metrics.curves import perturbed_pictures
from groupcam.models import (
    Backbone,
    default_target_layer,
    load_backbone,
    resolve_name,
    resolve_target_layer,
    target_layers,
)
from groupcam.saliency import engine, explain_steps
from groupcam.saliency.capture import Capture, capture_layer
from groupcam.saliency.survey import mean_activations
from groupcam.steps import relay
from groupcam.ui.cache import ByteBoundedCache
from groupcam.ui.runs import (
    Choice,
    Drawing,
    Event,
    Explained,
    Finished,
    Predicted,
    Run,
    Surveyed,
    Working,
    capture_bytes,
)

CURVE_STEPS = 112  # the authors' number at 224 x 224; larger inputs take larger steps

BACKBONES_KEPT = 3
PICTURE_BYTES = 600 * 2**20
CAPTURE_BYTES = 300 * 2**20
RUN_BYTES = 400 * 2**20
SURVEY_BYTES = 30 * 2**20

Result = TypeVar("Result")


class Workbench:
    """Pictures, backbones and results in bounded caches, shared by all visitors."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self._pictures: ByteBoundedCache[Picture] = ByteBoundedCache(PICTURE_BYTES)
        self._captures: ByteBoundedCache[Capture] = ByteBoundedCache(CAPTURE_BYTES)
        self._runs: ByteBoundedCache[Run] = ByteBoundedCache(RUN_BYTES)
        self._surveys: ByteBoundedCache[dict[str, Tensor]] = ByteBoundedCache(SURVEY_BYTES)
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()
        self._loading = threading.Lock()

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

    def run_of(self, choice: Choice | None) -> Run | None:
        """Return a finished or unfinished run of this choice if it is still kept."""
        return None if choice is None else self._runs.get(choice)

    def backbone(self, name: str) -> Backbone | None:
        """Return a loaded backbone, which counts as used now, or None."""
        with self._loading:
            if name in self._backbones:
                self._backbones.move_to_end(name)
            return self._backbones.get(name)

    def load(self, name: str, progress: Callable[[str, int, int], None] | None = None) -> Backbone:
        """Return a backbone with its default weights, loading it unless it is kept.

        Raises:
            GroupCamError: the name is not known, or the network cannot be used.
            WeightsUnavailableError: its weights cannot be had here.
        """
        kept = self.backbone(name)
        if kept is not None:
            return kept
        resolve_name(name)
        backbone = load_backbone(name, device=self._device, progress=progress)
        default_target_layer(backbone)  # probes the layers, so that the first picture need not
        engine.prepare_in_background(backbone)
        with self._loading:
            self._backbones[name] = backbone
            while len(self._backbones) > BACKBONES_KEPT:
                self._backbones.popitem(last=False)
        return backbone

    def load_steps(self, name: str) -> Generator[Working, None, Backbone]:
        """Load a backbone in a thread and report on it; stopping early lets it finish there."""
        kept = self.backbone(name)
        if kept is not None:
            return kept
        yield Working("load", f"Loading {name}")
        return (yield from _followed(lambda progress: self.load(name, progress)))

    def run_steps(self, choice: Choice) -> Iterator[Event]:
        """Explain a picture and draw its curves, as events; closing stops the work.

        Raises:
            GroupCamError: something in the choice is not possible.
            WeightsUnavailableError: the backbone's weights cannot be had here.
        """
        picture = self._pictures.get(choice.picture_id)
        if picture is None:
            raise GroupCamError(
                "The picture must still be on the server; it is not. Upload it again."
            )
        backbone = yield from self.load_steps(choice.backbone)

        run = self._runs.get(choice)
        from_cache = run is not None
        if run is None:
            capture = self._capture(choice, picture, backbone)
            yield Predicted(backbone, capture.target_layer, capture.logits[0])
            run = yield from self._explain(choice, picture, backbone, capture)
            self._runs.put(choice, run, run.size_bytes)
        else:
            yield Predicted(backbone, run.capture.target_layer, run.capture.logits[0])
        yield Explained(run, from_cache)
        yield Surveyed(backbone, self._survey(run))

        if run.curves is None:
            run = yield from self._draw_curves(run)
            self._runs.put(choice, run, run.size_bytes)
        yield Finished(run)

    def _capture(self, choice: Choice, picture: Picture, backbone: Backbone) -> Capture:
        """Return the capture of this picture, layer and class, reused when it is kept."""
        layer = resolve_target_layer(backbone, choice.target_layer)
        key = (choice.picture_id, choice.view, choice.backbone, layer.name, choice.class_name)
        capture = self._captures.get(key)
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
        return capture

    def _explain(
        self, choice: Choice, picture: Picture, backbone: Backbone, capture: Capture
    ) -> Generator[Working, None, Run]:
        """Return the run without its curves."""
        steps = explain_steps(backbone, capture.inputs, choice.config, capture=capture)
        batch = yield from relay(
            steps,
            lambda step: Working("score", "Scoring the group masks", step.done, step.total),
        )
        explanation = batch[0]
        return Run(
            choice=choice,
            picture=picture,
            backbone=backbone,
            capture=capture,
            explanation=explanation,
            perturbed=perturbed_pictures(
                capture.inputs[0], explanation.saliency_map.to(capture.inputs.device)
            ),
        )

    def _survey(self, run: Run) -> dict[str, Tensor]:
        """Return every listed layer's mean activation for the run's picture."""
        key = (run.choice.picture_id, run.choice.view, run.choice.backbone)
        means = self._surveys.get(key)
        if means is None:
            layers = target_layers(run.backbone)
            means = mean_activations(run.backbone, run.capture.inputs, layers)
            self._surveys.put(key, means, sum(mean.nbytes for mean in means.values()))
        return means

    def _draw_curves(self, run: Run) -> Generator[Event, None, Run]:
        """Return the run with its curves."""
        inputs = run.capture.inputs
        steps = curve_steps(
            run.backbone,
            inputs,
            run.explanation.saliency_map[None].to(inputs.device),
            run.capture.class_index,
            protocol=CurveProtocol.with_steps(CURVE_STEPS, (inputs.shape[-2], inputs.shape[-1])),
        )
        batch = yield from relay(steps, lambda points: Drawing(run, points))
        return replace(run, curves=batch[0])


def _followed(
    work: Callable[[Callable[[str, int, int], None]], Result],
) -> Generator[Working, None, Result]:
    """Run `work` in a thread, yield its progress, return its result or raise its error."""
    reports: queue.Queue[Working | None] = queue.Queue()
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(
                work(lambda text, done, total: reports.put(Working("load", text, done, total)))
            )
        except BaseException as error:
            failure.append(error)
        finally:
            reports.put(None)

    threading.Thread(target=target, daemon=True).start()
    while (report := reports.get()) is not None:
        yield report
    if failure:
        raise failure[0]
    return outcome[0]
