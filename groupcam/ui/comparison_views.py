"""A comparison as what assets/compare.js draws: one card an entry, and all curves.

Everything that a visitor or a model hub can name is set as text by the scripts.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch

from groupcam.errors import GroupCamError
from groupcam.evaluate.variants import parse_variant
from groupcam.images import Picture, downscale
from groupcam.language import say
from groupcam.metrics.annotations import ObjectBox
from groupcam.models.preprocessing import inner_part
from groupcam.render.heatmap import heatmap
from groupcam.saliency import GroupCamConfig
from groupcam.ui import compared, curve_views, views
from groupcam.ui.compared import Axis, Compared, Entry
from groupcam.ui.forecast import takes_settings
from groupcam.ui.pointing import pointing
from groupcam.ui.runs import Placed

CARD_SIDE_PX = 480  # longest side of the picture in a card
HEAT_SIDE_PX = 224
# Colours end at this quantile of a map: gradients of pixels have a few that outshine all others.
BRIGHTEST = 0.995
# Okabe and Ito's colours, told apart by all kinds of colour vision; their yellow is too light for
# a line on white. Lines also differ in their dashes, and the last two are darker than the original.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B87F00", "#2E9BD6")
DASHES = ("", "8 4", "2 3", "10 3 2 3", "5 2", "12 4 4 4")

# Along these axes areas cannot be compared: each follows its own class or network.
INCOMPARABLE: tuple[Axis, ...] = ("backbone", "class")


class Board:
    """The cards of one comparison; events change them."""

    def __init__(
        self, entries: Sequence[Entry], axis: Axis, picture: Picture, color_map: str
    ) -> None:
        """Begin with cards that wait."""
        self._axis = axis
        self._color_map = color_map
        self._picture = picture
        self._caption = ""  # what all cards share
        self._picture_uri = views.data_uri(downscale(picture.rgb, CARD_SIDE_PX))
        self._cards: list[dict[str, Any]] = [
            {
                "title": title_of(entry, axis),
                "about": "",
                "state": "waits",
                "text": say("compare.waits"),
                "color": COLORS[place],
                "dash": DASHES[place],
            }
            for place, entry in enumerate(entries)
        ]

    @property
    def value(self) -> dict[str, Any]:
        """Return what assets/compare.js draws."""
        height, width = self._picture.rgb.shape[:2]
        return {
            "picture": self._picture_uri,
            "aspect": width / height,
            "cards": [dict(card) for card in self._cards],
            "best": self._best(),
            "caption": self._caption,
            "note": self._note(),
        }

    def _note(self) -> str:
        notes = [say("compare.time_note")]
        if self._axis in INCOMPARABLE:
            notes.insert(0, say(f"compare.areas_note_{self._axis}"))
        return " ".join(notes)

    @property
    def picture_value(self) -> dict[str, Any]:
        """Return what assets/box.js draws on."""
        height, width = self._picture.rgb.shape[:2]
        return {"picture": self._picture_uri, "width": width, "height": height}

    @property
    def count(self) -> int:
        """Return how many cards there are."""
        return len(self._cards)

    @property
    def ready(self) -> int:
        """Return how many cards have all that they can have."""
        return sum(card["state"] in ("done", "failed") for card in self._cards)

    @property
    def failed(self) -> int:
        """Return how many cards could not be filled."""
        return sum(card["state"] == "failed" for card in self._cards)

    def update(self, event: compared.Event) -> None:
        """Take what an event brings."""
        if isinstance(event, compared.Begun):
            if event.map_passes:
                text = say("compare.waits_for_passes", passes=event.map_passes)
                self._change(event.place, text=text)
        elif isinstance(event, compared.Mapping):
            text = say("compare.maps", done=event.done, total=event.total)
            self._change(event.place, state="maps", text=text, part=_part(event.done, event.total))
        elif isinstance(event, compared.Mapped):
            self._show_map(event.place, event.result)
        elif isinstance(event, compared.Tracing):
            points = event.points
            curves = curve_views.curve_points(points)
            part = _part(points.done, points.total)
            self._change(
                event.place, state="traces", text=say("compare.traces"), part=part, **curves
            )
        elif isinstance(event, compared.Completed):
            done = event.result.curves
            assert done is not None  # a completed entry has them
            self._change(
                event.place,
                state="done",
                text="",
                over_all=done.over_all,
                **curve_views.finished_points(done),
            )
        elif isinstance(event, compared.Failed):
            self._change(event.place, state="failed", text=event.reason)

    def _show_map(self, place: int, result: Compared) -> None:
        facts: dict[Axis, str] = {
            "class": f"{result.class_label} {result.probability:.1%}",
            "backbone": result.entry.choice.backbone.text,
            "layer": result.target_layer,
        }
        if self._axis == "backbone":  # class and layer may be others on every network
            self._caption, about = "", f"{facts['class']} · {facts['layer']}"
        else:
            self._caption = " · ".join(text for axis, text in facts.items() if axis != self._axis)
            about = f"{result.probability:.1%}" if self._axis == "class" else ""
        self._change(
            place,
            state="waits",
            text=say("compare.waits_for_curves"),
            about=about,
            **_heat(result, self._color_map),
            seconds=round(result.elapsed_s, 3),
            forwards=result.forward_passes,
            backwards=result.backward_passes,
            isBlank=not bool(result.saliency_map.any()),
        )

    def _change(self, place: int, **changes: Any) -> None:
        self._cards[place].update(changes)

    def _best(self) -> dict[str, list[int]]:
        """Return which cards are best in each number; none where numbers cannot be compared."""
        done = {place: card for place, card in enumerate(self._cards) if card["state"] == "done"}
        if self._axis in INCOMPARABLE or len(done) < 2:
            return {}
        return {
            name: _places_of_best(numbers, highest=highest)
            for name, highest, numbers in (
                ("insertion", True, {p: c["insertion"]["auc"] for p, c in done.items()}),
                ("deletion", False, {p: c["deletion"]["auc"] for p, c in done.items()}),
                ("over_all", True, {p: c["over_all"] for p, c in done.items()}),
            )
        }


def title_of(entry: Entry, axis: Axis) -> str:
    """Return what an entry is called where only the axis differs."""
    if axis == "layer":
        return entry.choice.target_layer or say("compare.default_layer")
    if axis == "backbone":
        return entry.choice.backbone.text
    if axis == "class":
        return entry.choice.class_name or say("compare.top_class")
    variant = parse_variant(entry.method)
    if not takes_settings(variant):
        return variant.method.title
    return f"{variant.method.title}{_settings_text(entry.choice.config)}"


def _settings_text(config: GroupCamConfig) -> str:
    """Return which settings differ from the defaults."""
    default = vars(GroupCamConfig())
    changed = [
        say(f"compare.no_{name}") if value is None else say(f"compare.with_{name}", value=value)
        for name, value in vars(config).items()
        if value != default[name]
    ]
    return f" ({', '.join(changed)})" if changed else ""


def _heat(shown: Compared, color_map: str) -> dict[str, Any]:
    return {
        "heat": heat_uri(shown, shown.saliency_map, color_map),
        "words": views.words(shown, shown.saliency_map),
        "box": box_of(shown),
    }


def heat_uri(place: Placed, saliency_map: torch.Tensor, color_map: str) -> str:
    """Return the part of a map, (H, W), that lies on the picture, in colours and small."""
    top, left, bottom, right = place.box
    scale = HEAT_SIDE_PX / max(bottom - top, right - left)
    # OpenCV: (W, H)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    seen = inner_part(saliency_map.numpy(), place.inner)
    brightest = float(np.quantile(seen, BRIGHTEST)) or 1.0
    small = np.clip(cv2.resize(seen / brightest, size, interpolation=cv2.INTER_AREA), 0, 1)
    return views.data_uri(heatmap(small, color_map))


def box_of(place: Placed) -> list[float]:
    """Return left, top, width and height of what the network saw, in parts of the picture."""
    height, width = place.size_hw
    top, left, bottom, right = place.box
    return [left / width, top / height, (right - left) / width, (bottom - top) / height]


def pointing_value(results: Sequence[Compared | None], box: ObjectBox | None) -> dict[str, Any]:
    """Return what assets/pointing.js tells the cards: how each map answers to the box."""
    if box is None:
        return {"text": "", "cards": []}
    cards: list[dict[str, Any]] = []
    share = None
    for result in results:
        if result is None:
            cards.append({})
            continue
        try:
            found = pointing(result, box)
        except GroupCamError as error:
            cards.append({"reason": str(error)})
            continue
        share = found.box_share if share is None else share
        cards.append({"energy": found.energy, "hit": found.is_hit})
    text = ""
    if share is not None:
        text = say("pointing.share", share=share)
    return {"text": text, "cards": cards}


def _part(done: int, total: int) -> float:
    return round(done / total, 3) if total else 1.0


def _places_of_best(numbers: dict[int, float], *, highest: bool) -> list[int]:
    """Return whose number is best to the three decimals that are shown."""
    shown = {place: round(number, 3) for place, number in numbers.items()}
    best = max(shown.values()) if highest else min(shown.values())
    return [place for place, number in shown.items() if number == best]
