"""From a saliency map to numbers."""

from groupcam.metrics.curves import Curves, CurvesBatch, curve_steps, insertion_deletion
from groupcam.metrics.protocols import CurveProtocol

__all__ = ["CurveProtocol", "Curves", "CurvesBatch", "curve_steps", "insertion_deletion"]
