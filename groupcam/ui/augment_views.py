"""What training sees, as what assets/augmentation.js draws, and in words."""

from typing import Any

import numpy as np

from groupcam.images import downscale
from groupcam.language import say
from groupcam.saliency.description import describe
from groupcam.ui import views
from groupcam.ui.augmented import Seen

SIDE_PX = 224


class Rows:
    """A row a picture: as it is, its mask, and what training sees; grows while pictures come."""

    def __init__(self, count: int, probability: float) -> None:
        """Begin without any of `count` pictures."""
        self.count = count
        self._probability = probability
        self._seen: list[Seen] = []
        self._rows: list[dict[str, Any]] = []

    @property
    def done(self) -> int:
        """Return how many pictures are there."""
        return len(self._rows)

    @property
    def value(self) -> dict[str, Any]:
        """Return what assets/augmentation.js draws."""
        return {"rows": list(self._rows)}

    def add(self, seen: Seen) -> None:
        """Take the next picture."""
        self._seen.append(seen)
        mask = np.ones(seen.rgb.shape[:2]) if seen.mask is None else seen.mask.numpy()
        grey = np.repeat((255 * mask).round().astype(np.uint8)[..., None], 3, axis=2)
        self._rows.append(
            {
                "label": seen.label,
                "original": views.data_uri(downscale(seen.rgb, SIDE_PX)),
                "mask": views.data_uri(downscale(grey, SIDE_PX)),
                "augmented": views.data_uri(downscale(seen.augmented, SIDE_PX)),
                "isAugmented": seen.mask is not None,
                "words": self._words(seen),
                "note": self._note(seen),
            }
        )

    @property
    def summary(self) -> str:
        """Return in words what all pictures together show."""
        masks = [float(seen.mask.mean()) for seen in self._seen if seen.mask is not None]
        passes = sum(seen.forward_passes for seen in self._seen)
        if not masks:
            return say("augmentation.none_changed", total=self.count)
        return say(
            "augmentation.summary",
            changed=len(masks),
            total=self.count,
            kept=sum(masks) / len(masks),
            passes=passes,
        )

    def _note(self, seen: Seen) -> str:
        if seen.mask is None or seen.saliency_map is None:
            return say("augmentation.left", number=seen.number, probability=self._probability)
        if not seen.saliency_map.any():
            return say("augmentation.blank")
        return say("augmentation.kept", kept=float(seen.mask.mean()))

    def _words(self, seen: Seen) -> str:
        """Return for those who do not see the mask where it keeps the picture sharp."""
        if seen.saliency_map is None or not seen.saliency_map.any():
            return say("augmentation.all_sharp")
        return say("augmentation.sharp_where", where=describe(seen.saliency_map))
