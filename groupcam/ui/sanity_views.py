"""The sanity check as what assets/sanity.js draws, and what it shows in words."""

import math
from typing import Any

from torch import Tensor

from groupcam.images import downscale
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
            "caption": (
                f"{self._method} for {self._trained.class_label} · "
                f"{self._trained.choice.backbone.text} · {self._trained.target_layer}"
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
            return "The trained network's map is blank, so there is nothing to compare with."
        titles = [stage.title for stage in self._trained.stages]
        changed = [place for place, one in enumerate(self._found) if one.spearman < ALIKE]
        last = self._found[-1].spearman
        if not changed:
            return (
                f"{self._method} does not pass here: with the whole network random its map is "
                f"still much the same (Spearman {last:.2f}). It shows the picture, not what the "
                "network learnt."
            )
        first = changed[0]
        found = self._found[first].spearman
        if first < math.ceil(len(titles) / 3):
            text = (
                f"{self._method} passes here: with random weights down to {titles[first]} its map "
                f"is already another one (Spearman {found:.2f}), so it depends on what the network "
                "learnt."
            )
        else:
            text = (
                f"{self._method} does not pass here: its map stays much the same until "
                f"{titles[first]} is random too (Spearman {found:.2f}). It hardly depends on what "
                "the layers above learnt, and so hardly on the class."
            )
        return f"{text} One picture is a hint, no proof."
