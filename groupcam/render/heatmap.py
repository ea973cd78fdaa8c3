"""Saliency maps and masks as colours: heatmaps, overlays on the picture, gallery tiles."""

from functools import cache
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

from groupcam.errors import GroupCamError, did_you_mean, shown

try:
    import cv2
except ImportError as error:
    raise ImportError(
        "groupcam.render needs OpenCV, which cannot be loaded here. On Debian or Ubuntu install "
        "the system package libgl1 (apt-get install libgl1)."
    ) from error

# Names of matplotlib's maps; "jet" is the habit of the field.
COLOR_MAPS: tuple[str, ...] = ("inferno", "magma", "viridis", "cividis", "turbo", "jet")
# Chosen by looking at overlays: lightness rises all the way, so what is salient glows, the rest
# steps back, and no colour vision is needed. The hottest colour of turbo and jet is a dark red,
# which dims the very spot it marks.
DEFAULT_COLOR_MAP = "inferno"
DEFAULT_OPACITY = 0.5

# Room for rounding when a map was resized or averaged; nothing visible (1/255 = 0.004).
_RANGE_TOLERANCE = 1e-4
# What the network did not see, and what a mask hides: grey and darkened, yet recognisable.
_UNSEEN_BRIGHTNESS = 0.45
_HIDDEN_BRIGHTNESS = 0.30
_LINE_GREY = 190
_PX_PER_LINE_PX = 400  # a line of 1 px for every 400 px of the picture's longer side

UInt8Array = npt.NDArray[np.uint8]


def heatmap(saliency_map: npt.NDArray[Any], color_map: str = DEFAULT_COLOR_MAP) -> UInt8Array:
    """Return the map in colours, uint8 (H, W, 3): 0 in the coldest, 1 in the hottest colour.

    Args:
        saliency_map: float, (H, W), in [0, 1].
        color_map: one of COLOR_MAPS.

    Raises:
        GroupCamError: wrong shape, values outside [0, 1] or NaN, unknown colour map.
        TypeError: the map is not floating point.
    """
    values = _checked_unit_map(saliency_map, "saliency_map")
    return _color_table(color_map)[_as_uint8(values * 255)]


def overlay(
    rgb: UInt8Array,
    saliency_map: npt.NDArray[Any],
    *,
    color_map: str = DEFAULT_COLOR_MAP,
    opacity: float = DEFAULT_OPACITY,
    box: tuple[int, int, int, int] | None = None,
) -> UInt8Array:
    """Return the picture with the coloured map blended over it, uint8 (H, W, 3).

    With opacity 0 and no box this is the picture, with opacity 1 and no box the heatmap.

    Args:
        rgb: the picture, uint8 (H, W, 3).
        saliency_map: float in [0, 1], any size; stretched bilinearly over `box`.
        color_map: one of COLOR_MAPS.
        opacity: share of the heatmap, in [0, 1].
        box: (top, left, bottom, right) in pixels: the part of the picture that the network saw.
            The rest is shown grey and darker, with a thin line between. None: the whole picture.

    Raises:
        GroupCamError: a value outside its range, a wrong shape, or a box outside the picture.
        TypeError: the picture is not uint8 or the map not floating point.
    """
    _check_rgb(rgb)
    values = _checked_unit_map(saliency_map, "saliency_map")
    if not 0 <= opacity <= 1:  # also refuses NaN
        raise GroupCamError(f"opacity must be between 0 and 1; got {opacity}.")
    top, left, bottom, right = _checked_box(box, rgb.shape[:2])

    seen = rgb[top:bottom, left:right]
    heat = heatmap(_resized(values, seen.shape[:2]), color_map)
    blended = cv2.addWeighted(seen, 1 - opacity, heat, opacity, 0)
    if seen.shape == rgb.shape:
        return np.asarray(blended, dtype=np.uint8)
    picture = _greyed(rgb, _UNSEEN_BRIGHTNESS)
    # On a grey picture only a line tells the unseen from the cold; it covers nothing that is seen.
    line = max(1, round(max(rgb.shape) / _PX_PER_LINE_PX))
    picture[max(0, top - line) : bottom + line, max(0, left - line) : right + line] = _LINE_GREY
    picture[top:bottom, left:right] = blended
    return picture


def masked_tile(rgb: UInt8Array, mask: npt.NDArray[Any]) -> UInt8Array:
    """Return the picture shown through a mask, uint8 (H, W, 3).

    Where the mask is 1 the picture is unchanged; where it is 0 it is grey and dark.

    Args:
        rgb: the picture, or the part of it that the mask covers, uint8 (H, W, 3).
        mask: float in [0, 1], any size; stretched bilinearly over the picture.

    Raises:
        GroupCamError: wrong shape, values outside [0, 1] or NaN.
        TypeError: the picture is not uint8 or the mask not floating point.
    """
    _check_rgb(rgb)
    weight = _resized(_checked_unit_map(mask, "mask"), rgb.shape[:2])[:, :, None]  # (H, W, 1)
    hidden = _greyed(rgb, _HIDDEN_BRIGHTNESS)
    return _as_uint8(rgb * weight + hidden * (1 - weight))


def _color_table(color_map: str) -> UInt8Array:
    """Return the 256 colours of a map, uint8 (256, 3), coldest first."""
    if not isinstance(color_map, str) or color_map not in COLOR_MAPS:
        raise GroupCamError(
            f"color_map must be one of {', '.join(COLOR_MAPS)}; got {shown(color_map)}."
            f"{did_you_mean(shown(color_map), COLOR_MAPS)}"
        )
    return _colors_of(color_map)


@cache
def _colors_of(color_map: str) -> UInt8Array:
    """Return a table of `_color_table`, made once."""
    colors = matplotlib.colormaps[color_map](np.linspace(0, 1, 256))  # (256, 4) in [0, 1]
    return _as_uint8(np.asarray(colors)[:, :3] * 255)


def _checked_unit_map(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    """Return a float map (H, W) in [0, 1] as float32, or raise."""
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.floating):
        got = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise TypeError(f"{name} must be a float array in [0, 1]; got {got}. Divide it by its max.")
    if values.ndim != 2 or values.size == 0:
        raise GroupCamError(f"{name} must be (H, W); got {values.shape}. Pass one map at a time.")
    low, high = float(values.min()), float(values.max())
    if not (low >= -_RANGE_TOLERANCE and high <= 1 + _RANGE_TOLERANCE):  # also true of NaN
        raise GroupCamError(
            f"{name} must be finite and in [0, 1]; got {low:g}..{high:g}. Scale it first."
        )
    clipped: npt.NDArray[np.float32] = np.clip(values, 0, 1).astype(np.float32)
    return clipped


def _check_rgb(rgb: npt.NDArray[Any]) -> None:
    """Raise unless the picture is uint8 (H, W, 3)."""
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8:
        got = rgb.dtype if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise TypeError(f"rgb must be a uint8 array; got {got}. Use groupcam.images.open_picture.")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise GroupCamError(f"rgb must be (H, W, 3); got {rgb.shape}.")


def _checked_box(
    box: tuple[int, int, int, int] | None, size_hw: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return the box, by default all of the picture, or raise if it does not lie inside."""
    height, width = size_hw
    if box is None:
        return 0, 0, height, width
    top, left, bottom, right = box
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise GroupCamError(
            f"box must be (top, left, bottom, right) inside the {height} x {width} (H x W) "
            f"picture; got {box}."
        )
    return top, left, bottom, right


def _resized(values: npt.NDArray[np.float32], size_hw: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a map stretched bilinearly to (H, W); unchanged at its own size."""
    height, width = size_hw
    if values.shape == (height, width):
        return values
    resized = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.asarray(resized, dtype=np.float32), 0, 1)


def _greyed(rgb: UInt8Array, brightness: float) -> UInt8Array:
    """Return the picture without colour and darker, a new array (H, W, 3)."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)  # (H, W)
    return np.repeat(_as_uint8(grey * brightness)[:, :, None], 3, axis=2)


def _as_uint8(values: npt.NDArray[Any]) -> UInt8Array:
    """Return values in 0..255 rounded to uint8."""
    rounded: UInt8Array = np.rint(values).astype(np.uint8)
    return rounded
