"""What the charts of the curves show: their points, and what the browser needs in between.

The perturbed pictures of every point are put together in the browser: it is sent the picture that
the network saw, both baselines, and for every pixel the point from which on it is changed. That is
exact, because the network's input and its picture differ by a map of each pixel alone.
"""

import base64
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from groupcam.language import say
from groupcam.metrics.areas import AreaEstimate
from groupcam.metrics.curves import (
    Curves,
    PartialCurve,
    PartialCurves,
    TopClasses,
    changed_pixels,
)
from groupcam.render.figures import DELETION_COLOR, INSERTION_COLOR
from groupcam.saliency import GroupCamConfig
from groupcam.ui.runs import Run
from groupcam.ui.workbench import curve_protocol

SENT_SIDE_PX = 288  # longest side of the pictures that the browser gets, so that they stay light
MOST_PINNED = 5  # runs beside the present one; more could not be told apart

_COLORS = {"insertion": INSERTION_COLOR, "deletion": DELETION_COLOR}


# --- the points --------------------------------------------------------------------------------


def chart(run: Run, points: PartialCurves | None = None) -> dict[str, Any]:
    """Return what assets/curves.js draws and can be asked at every point.

    A point that is not ready is None in `values`, `top` (class indices) and `odds` (their
    probabilities). While points are missing the areas are estimates, each with its error.

    Args:
        run: with its curves, or without: then there are the points that are ready.
        points: those; None: there are none yet.
    """
    protocol = curve_protocol(run.capture.inputs)
    pixels = changed_pixels(run.perturbed.rank.numel(), protocol)
    sides: dict[str, dict[str, Any]] = {name: {"color": color} for name, color in _COLORS.items()}
    shown: set[int] = set()
    for name, side in sides.items():
        if points is not None:
            side |= _placed(getattr(points, name), len(pixels))
            side |= _area(getattr(points, name).area)
            shown.update(getattr(points, name).top.indices.flatten().tolist())
        elif run.curves is not None:
            top: TopClasses = getattr(run.curves, f"{name}_top")
            side |= {
                "values": _rounded(getattr(run.curves, name)),
                "top": top.indices.tolist(),
                "odds": _rounded(top.probabilities),
                "auc": getattr(run.curves, f"{name}_auc"),
            }
            shown.update(top.indices.flatten().tolist())
    return {
        "run": run.run_id,
        "picture": run.choice.picture_id[:12],
        "parts": parts_of(run),
        "label": run.explanation.class_label,
        "target": run.explanation.class_index,
        "names": {str(index): run.network.class_names[index] for index in sorted(shown)},
        "pixels": pixels.tolist(),
        "mostPinned": MOST_PINNED,
        "complete": points is None and run.curves is not None,
        "note": say("curves.blank") if run.explanation.blank_reason else "",
        **sides,
    }


def curve_points(points: PartialCurves) -> dict[str, dict[str, Any]]:
    """Return the points of both curves that are ready, with estimates of their areas."""
    return {
        name: {**_curve(one.fractions, one.values), **_area(one.area)}
        for name, one in (("insertion", points.insertion), ("deletion", points.deletion))
    }


def finished_points(done: Curves) -> dict[str, dict[str, Any]]:
    """Return all points of both curves with their areas."""
    return {
        "insertion": {**_curve(done.fractions, done.insertion), "auc": done.insertion_auc},
        "deletion": {**_curve(done.fractions, done.deletion), "auc": done.deletion_auc},
    }


def _placed(ready: PartialCurve, total: int) -> dict[str, list[Any]]:
    """Return what is known at each of the curve's points, None where nothing is."""
    found: dict[str, list[Any]] = {name: [None] * total for name in ("values", "top", "odds")}
    odds = _rounded(ready.top.probabilities)
    columns = (ready.places.tolist(), _rounded(ready.values), ready.top.indices.tolist(), odds)
    for place, *row in zip(*columns, strict=True):
        for name, value in zip(found, row, strict=True):
            found[name][place] = value
    return found


def _curve(fractions: Tensor, values: Tensor) -> dict[str, Any]:
    return {"x": _rounded(fractions), "y": _rounded(values)}


def _area(estimate: AreaEstimate) -> dict[str, Any]:
    return {"auc": estimate.value, "error": estimate.error}


def _rounded(values: Tensor) -> list[Any]:
    """Return numbers short enough for many updates a second."""
    rounded: list[Any] = np.round(values.double().numpy(), 4).tolist()
    return rounded


# --- the perturbed pictures --------------------------------------------------------------------


def perturbed(run: Run) -> dict[str, Any]:
    """Return what assets/perturbed.js puts the pictures of every point together from.

    All pictures are PNG and so exact; `steps` tells the first point at which a pixel is changed.
    Inputs with a side above SENT_SIDE_PX are sent smaller, which `note` says.
    """
    pictures = run.perturbed
    pixels = changed_pixels(pictures.rank.numel(), curve_protocol(run.capture.inputs))
    steps = torch.searchsorted(pixels, pictures.rank.cpu(), right=True).to(torch.uint8).numpy()
    rgb = run.preprocessing.to_rgb(
        torch.stack([pictures.picture, pictures.insertion_start, pictures.deletion_end])
    )
    height, width = steps.shape
    scale = min(1.0, SENT_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))  # OpenCV: (W, H)
    note = ""
    if scale < 1:
        rgb = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in rgb])
        steps = np.asarray(cv2.resize(steps, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        note = say(
            "perturbed.smaller",
            drawn=f"{size[0]} × {size[1]}",
            seen=f"{width} × {height}",
        )
    names = ("picture", "insertion_start", "deletion_end")
    return {
        "run": run.run_id,
        "steps": _png_uri(steps),
        **{name: _png_uri(one) for name, one in zip(names, rgb, strict=True)},
        "note": note,
    }


def _png_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """Return a picture, uint8 (H, W, 3) or (H, W), as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


# --- the names of runs -------------------------------------------------------------------------


def parts_of(run: Run) -> list[str]:
    """Return what a run is: class, backbone, layer, G, and all else that is not the default."""
    explanation, default = run.explanation, GroupCamConfig()
    parts = [
        explanation.class_label,
        run.choice.backbone.text,
        explanation.target_layer,
        setting_in_words("groups", explanation.config.groups),
    ]
    if run.choice.view != "crop":
        parts.append(say(f"settings.view_{run.choice.view}"))
    for field in dataclasses.fields(GroupCamConfig):
        value = getattr(explanation.config, field.name)
        if field.name != "groups" and value != getattr(default, field.name):
            parts.append(setting_in_words(field.name, value))
    return parts


def setting_in_words(name: str, value: Any) -> str:
    """Return the value of a field of GroupCamConfig in few words."""
    if value is None:
        return say(f"settings.no_{name}")
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return say(f"settings.{name}_is", value=shown)


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run; where they are about several pictures, it says which."""
    pictures = list(dict.fromkeys(run.choice.picture_id for run in runs))
    names = []
    for run in runs:
        parts = parts_of(run)
        if pictures[1:]:
            number = pictures.index(run.choice.picture_id) + 1
            parts.append(say("curves.picture", number=number))
        names.append(" · ".join(parts))
    return names
