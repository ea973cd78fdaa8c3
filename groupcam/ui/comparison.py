"""Several explanations of one picture side by side: the plan, and the work it takes.

No Gradio in here: a comparison is a generator of events, and the page decides how they look.
"""

import dataclasses
import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.evaluate.variants import parse_variant
from groupcam.language import say
from groupcam.memory import is_out_of_memory
from groupcam.metrics import curve_steps
from groupcam.metrics.curves import changed_pixels
from groupcam.models import Backbone, TargetLayer, resolve_target_layer, target_layers
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig
from groupcam.saliency.engine import forward
from groupcam.saliency.methods import METHODS
from groupcam.steps import relay, timed
from groupcam.ui.cache import ByteBoundedCache
from groupcam.ui.compared import (
    Axis,
    Begun,
    Compared,
    Completed,
    Entry,
    Event,
    Events,
    Failed,
    Mapped,
    Mapping,
    Planned,
    Tracing,
)
from groupcam.ui.event_log import log_accident
from groupcam.ui.forecast import forward_passes, options_of
from groupcam.ui.runs import Choice, fitted
from groupcam.ui.workbench import (
    CURVES_S,
    MAP_S,
    Workbench,
    curve_protocol,
    curves_too_slow,
    map_too_slow,
)

FEWEST, MOST = 2, 6
DEFAULT_METHODS = ("group_cam", "group_cam_official", "grad_cam", "layer_cam")
DEFAULT_CLASSES, DEFAULT_LAYERS = 3, 3  # how many stand in for none chosen

RESULT_BYTES = 100 * 2**20

Result = TypeVar("Result")


class Comparisons:
    """Compares, and keeps the results in a bounded cache shared by all visitors."""

    def __init__(self, workbench: Workbench) -> None:
        """Begin empty."""
        self._workbench = workbench
        self._results: ByteBoundedCache[Compared] = ByteBoundedCache(RESULT_BYTES)

    def result_of(self, entry: Entry) -> Compared | None:
        """Return the kept result of an entry, with or without its curves."""
        return self._results.get(entry.key)

    def steps(self, present: Choice, axis: Axis, chosen: Sequence[str]) -> Events:
        """Plan and make a comparison, as events; closing stops it within one micro-batch.

        Args:
            present: what stands on the page; the entries differ from it along the axis.
            axis: what differs.
            chosen: names along the axis, 2 to 6. For layers and classes none chosen stands for the
                last layers of the last three grids and the picture's top three classes.

        Raises:
            GroupCamError: the names or what stands on the page are not possible.
            WeightsUnavailableError: the weights of the page's backbone cannot be had here.
        """
        entries = yield from self._plan(present, axis, chosen)
        yield Planned(entries)
        yield from self.entry_steps(entries)

    def entry_steps(self, entries: Sequence[Entry]) -> Events:
        """Make the entries' maps and curves, as events.

        One backbone after the other; for each first the maps that cost less than their curves,
        then those curves, then the dear maps, so that none of these holds the others up. What one
        entry cannot have is its own event.
        """
        by_backbone: dict[BackboneKey, list[int]] = {}
        for place, entry in enumerate(entries):
            by_backbone.setdefault(entry.choice.backbone, []).append(place)
        for key, places in by_backbone.items():
            try:
                backbone = yield from self._workbench.load_steps(key)
            except (GroupCamError, WeightsUnavailableError) as error:
                yield from (Failed(place, str(error)) for place in places)
                continue
            yield from self._on_one_backbone(backbone, {place: entries[place] for place in places})

    # --- plan ------------------------------------------------------------------------------------

    def _plan(
        self, present: Choice, axis: Axis, chosen: Sequence[str]
    ) -> Generator[Event, None, tuple[Entry, ...]]:
        """Return the entries; loads the page's backbone where the plan depends on it."""
        self._workbench.picture_of(present)
        if axis == "backbone":
            check_count(axis, chosen)
            return tuple(self._on_backbone(present, name) for name in chosen)
        if chosen or axis == "method":
            check_count(axis, chosen)
        backbone = yield from self._workbench.load_steps(present.backbone)
        layer = resolve_target_layer(backbone, present.target_layer)
        choice = present._replace(target_layer=layer.name)
        if axis == "layer":
            names = chosen or default_layers(backbone, layer)
            return tuple(Entry(_PAGE_METHOD, choice._replace(target_layer=name)) for name in names)
        ranked = self._logits(backbone, choice).argsort(descending=True)
        if axis == "class":
            top = [backbone.class_names[int(index)] for index in ranked[:DEFAULT_CLASSES]]
            return tuple(
                Entry(_PAGE_METHOD, choice._replace(class_name=name)) for name in chosen or top
            )
        if choice.class_name is None:
            choice = choice._replace(class_name=backbone.class_names[int(ranked[0])])
        for method in chosen:
            parse_variant(method)  # says what is wrong with a name
        return tuple(Entry(method, choice) for method in chosen)

    def _on_backbone(self, present: Choice, name: str) -> Entry:
        """Return the entry of a backbone: the page's as it stands there, others as they come."""
        if name == present.backbone.name:
            return Entry(_PAGE_METHOD, present)
        other = present._replace(backbone=BackboneKey(name), target_layer=None)
        return Entry(_PAGE_METHOD, other)

    # --- work ------------------------------------------------------------------------------------

    def _on_one_backbone(self, backbone: Backbone, entries: dict[int, Entry]) -> Events:
        """Make the maps and curves of entries that share a backbone, by their place."""
        jobs: list[_Job] = []
        for place, entry in entries.items():
            kept = self.result_of(entry)
            if kept is not None and kept.curves is not None:
                yield Mapped(place, kept)
                yield Completed(place, kept)
                continue
            try:
                job = self._prepare(place, entry, backbone)
            except GroupCamError as error:
                yield Failed(place, str(error))
                continue
            yield Begun(place, job.map_passes, job.curve_passes)
            jobs.append(job)
        jobs.sort(key=lambda job: (job.map_passes is None, job.map_passes))
        is_cheap = [
            job.map_passes is not None and job.map_passes <= job.curve_passes for job in jobs
        ]
        cheap = [job for job, cheap in zip(jobs, is_cheap, strict=True) if cheap]
        dear = [job for job, cheap in zip(jobs, is_cheap, strict=True) if not cheap]
        mapped = []
        for job in cheap:
            mapped.append((job, (yield from self._guarded(job, self._map(job, backbone)))))
        # In the order of the cards, as they are read.
        for job, result in sorted(mapped, key=lambda one: one[0].place):
            if result is not None:
                yield from self._guarded(job, self._trace(job, result, backbone))
        for job in dear:
            result = yield from self._guarded(job, self._map(job, backbone))
            if result is not None:
                yield from self._guarded(job, self._trace(job, result, backbone))

    def _guarded(
        self, job: "_Job", steps: Generator[Event, None, Result]
    ) -> Generator[Event, None, Result | None]:
        """Pass an entry's steps on; what goes wrong with it is told, and the others go on."""
        try:
            return (yield from steps)
        except GroupCamError as error:
            yield Failed(job.place, str(error))
        except Exception as error:  # from a network or method that nobody has tried together
            text = f"{job.entry.method} failed on {job.entry.choice.backbone.name}"
            told = log_accident(text, error)
            if not is_out_of_memory(error):
                told = say("compare.does_not_work", error=type(error).__name__)
            yield Failed(job.place, told)
        return None

    def _prepare(self, place: int, entry: Entry, backbone: Backbone) -> "_Job":
        """Find out what an entry's map is made of and what it will take.

        Raises:
            GroupCamError: layer, class or settings are not possible on this backbone.
        """
        choice = entry.choice
        picture = self._workbench.picture_of(choice)
        layer = resolve_target_layer(backbone, choice.target_layer)
        logits = self._logits(backbone, choice)
        class_index = (
            int(logits.argmax())
            if choice.class_name is None
            else backbone.class_index_of(choice.class_name)
        )
        inputs = backbone.preprocess(picture.rgb, choice.view)
        config = fitted(choice.config, layer)
        size = (inputs.shape[-2], inputs.shape[-1])
        points = len(changed_pixels(size[0] * size[1], curve_protocol(inputs)))
        return _Job(
            place,
            entry,
            (picture.rgb.shape[0], picture.rgb.shape[1]),
            inputs,
            layer,
            config,
            class_index,
            float(logits.softmax(0)[class_index]),
            forward_passes(entry.method, config, layer, size),
            2 * points,
        )

    def _map(self, job: "_Job", backbone: Backbone) -> Generator[Event, None, Compared]:
        """Return an entry's result without curves."""
        kept = self.result_of(job.entry)
        if kept is None:
            variant = parse_variant(job.entry.method)
            steps = variant.method.steps(
                backbone,
                job.inputs,
                job.layer,
                torch.tensor([job.class_index], device=job.inputs.device),
                **options_of(variant, job.config),
            )
            maps, elapsed_s = yield from relay(
                timed(steps, MAP_S, map_too_slow),
                lambda progress: Mapping(job.place, progress.done, progress.total),
            )
            kept = Compared(
                entry=job.entry,
                preprocessing=backbone.preprocessing,
                size_hw=job.size_hw,
                target_layer=job.layer.name,
                class_index=job.class_index,
                class_label=backbone.class_names[job.class_index],
                probability=job.probability,
                saliency_map=maps.saliency_map[0],
                forward_passes=int(maps.forward_passes[0]),
                backward_passes=int(maps.backward_passes[0]),
                elapsed_s=elapsed_s,
            )
            self._keep(kept)
        yield Mapped(job.place, kept)
        return kept

    def _trace(self, job: "_Job", result: Compared, backbone: Backbone) -> Events:
        """Draw the curves of an entry's map."""
        steps = curve_steps(
            backbone,
            job.inputs,
            result.saliency_map[None].to(job.inputs.device),
            torch.tensor([job.class_index], device=job.inputs.device),
            protocol=curve_protocol(job.inputs),
        )
        batch, _ = yield from relay(
            timed(steps, CURVES_S, curves_too_slow),
            lambda points: Tracing(job.place, result, points),
        )
        done = dataclasses.replace(result, curves=batch[0])
        self._keep(done)
        yield Completed(job.place, done)

    def _keep(self, result: Compared) -> None:
        self._results.put(result.entry.key, result, 2 * result.saliency_map.nbytes)

    def _logits(self, backbone: Backbone, choice: Choice) -> Tensor:
        """Return what the network says of the whole picture, (K,)."""
        inputs = backbone.preprocess(self._workbench.picture_of(choice).rgb, choice.view)
        return forward(backbone, inputs)[0].float().cpu()


def check_count(axis: Axis, chosen: Sequence[str]) -> None:
    """Refuse too few, too many or equal names.

    Raises:
        GroupCamError: so it is.
    """
    if not FEWEST <= len(chosen) <= MOST:
        numbers = {"fewest": FEWEST, "most": MOST, "given": len(chosen)}
        if len(chosen) < FEWEST:
            raise GroupCamError(say(f"compare.too_few_{axis}", **numbers))
        raise GroupCamError(say(f"compare.too_many_{axis}", **numbers))
    if len(set(chosen)) < len(chosen):
        raise GroupCamError(say(f"compare.equal_{axis}", names=", ".join(chosen)))


def default_layers(backbone: Backbone, chosen: TargetLayer) -> list[str]:
    """Return the chosen layer and the last layers of the grids before and after its own."""
    usable = [layer for layer in target_layers(backbone) if layer.usable]
    ends = [
        list(members)[-1].name
        for grid, members in itertools.groupby(usable, key=lambda layer: layer.shape[1:])
        if grid != chosen.shape[1:]
    ]
    return [chosen.name, *reversed(ends)][:DEFAULT_LAYERS]


# The registry's first, which is what the page explains with.
_PAGE_METHOD = next(iter(METHODS))


@dataclass(frozen=True, eq=False)
class _Job:
    """An entry, ready to be worked on."""

    place: int
    entry: Entry
    size_hw: tuple[int, int]  # of the picture
    inputs: Tensor  # (1, 3, H, W)
    layer: TargetLayer
    config: GroupCamConfig
    class_index: int
    probability: float
    map_passes: int | None
    curve_passes: int
