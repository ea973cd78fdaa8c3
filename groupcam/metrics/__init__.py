"""From a saliency map to numbers."""

from groupcam.metrics.curves import (
    CurveProtocol,
    Curves,
    CurvesBatch,
    curve_steps,
    insertion_deletion,
)

__all__ = ["CurveProtocol", "Curves", "CurvesBatch", "curve_steps", "insertion_deletion"]
