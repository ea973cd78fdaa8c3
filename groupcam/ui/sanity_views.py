"""The sanity check as what assets/sanity.js draws, and what it shows in words."""

import math
from typing import Any

from torch import Tensor

from groupcam.images import downscale
from groupcam.language import say
from groupcam.ui import views
from groupcam.ui.cascade import Forgotten, Trained
from groupcam.ui.comparison_views import CARD_SIDE_PX, COLORS, box_of, heat_uri

ALIKE = 0.5  # Spearman: above it two maps still put much the same cells first
SPEARMAN_COLOR, SSIM_COLOR = COLORS[:2]


class Scrubber:
    """What the slider goes through; grows while maps come."""

    def __init__(self, trained: Trained, method: str, color_map: str) -> None:
        """Begin with the trained network's map."""
        self._trained = trained
        self._method = method
        self._color_map = color_map
        self._found: list[Forgotten] = []
        self._heats: list[str] = []
        self._words: list[str] = []
        self._show(trained.saliency_map)
        height, width = trained.picture.rgb.shape[:2]
        self._picture = {
            "picture": views.data_uri(downscale(trained.picture.rgb, CARD_SIDE_PX)),
            "aspect": width / height,
            "box": box_of(trained),
        }

    @property
    def value(self) -> dict[str, Any]:
        """Return what assets/sanity.js draws."""
        return {
            **self._picture,
            "caption": say(
                "sanity.caption",
                method=self._method,
                label=self._trained.class_label,
                backbone=self._trained.choice.backbone.text,
                layer=self._trained.target_layer,
            ),
            "titles": [stage.title for stage in self._trained.stages],
            "layers": [len(stage.layers) for stage in self._trained.stages],
            "heats": list(self._heats),
            "words": list(self._words),
            "blank": [not bool(self._trained.saliency_map.any())]
            + [not bool(one.saliency_map.any()) for one in self._found],
            "spearman": [round(one.spearman, 3) for one in self._found],
            "ssim": [round(one.ssim, 3) for one in self._found],
            "colors": {"spearman": SPEARMAN_COLOR, "ssim": SSIM_COLOR},
        }

    @property
    def done(self) -> int:
        """Return how many stages are done."""
        return len(self._found)

    @property
    def total(self) -> int:
        """Return how many stages there are."""
        return len(self._trained.stages)

    def add(self, found: Forgotten) -> None:
        """Take the map after the next stage."""
        self._found.append(found)
        self._show(found.saliency_map)

    def _show(self, saliency_map: Tensor) -> None:
        self._heats.append(heat_uri(self._trained, saliency_map, self._color_map))
        self._words.append(views.words(self._trained, saliency_map))

    @property
    def verdict(self) -> str:
        """Return in words what the complete cascade shows."""
        if not self._trained.saliency_map.any():
            return say("sanity.blank")
        titles = [stage.title for stage in self._trained.stages]
        changed = [place for place, one in enumerate(self._found) if one.spearman < ALIKE]
        last = self._found[-1].spearman
        if not changed:
            return say("sanity.never_changes", method=self._method, spearman=last)
        first = changed[0]
        found = self._found[first].spearman
        when = "soon" if first < math.ceil(len(titles) / 3) else "late"
        text = say(
            f"sanity.changes_{when}", method=self._method, layer=titles[first], spearman=found
        )
        return f"{text} {say('sanity.only_a_hint')}"
