"""All files of one result, as bytes: what `explain --out` writes and what an archive holds."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from groupcam.images import downscale
from groupcam.render.figures import masks_sheet, png_of, svg_of
from groupcam.render.heatmap import DEFAULT_COLOR_MAP, DEFAULT_OPACITY, overlay
from groupcam.share.curves import curves_csv, figure_of
from groupcam.share.record import Record, manifest_of
from groupcam.share.report import report_of

OVERLAY = "overlay.png"
SALIENCY_MAP = "saliency_map.npy"
MASKS = "masks.png"
CURVES = "curves.png"
CURVES_DRAWING = "curves.svg"
CURVES_TABLE = "curves.csv"
REPORT = "report.html"
MANIFEST = "manifest.json"

# Twice a tile of the masks sheet: sharp in print, and a 50-megapixel picture costs no more.
_MASKED_PICTURE_SIDE_PX = 400
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a ZIP file can name


def bundle(
    record: Record,
    *,
    color_map: str = DEFAULT_COLOR_MAP,
    opacity: float = DEFAULT_OPACITY,
    overlay_side_px: int | None = None,
) -> bytes:
    """Return one ZIP file with everything about a result; equal results give equal bytes.

    Args:
        record: the result.
        color_map: of the overlay, see `groupcam.render.heatmap.overlay`.
        opacity: of the overlay.
        overlay_side_px: longest side of the overlay; None: as large as the picture.
    """
    files = files_of(record, color_map=color_map, opacity=opacity, overlay_side_px=overlay_side_px)
    return archive_of(files, manifest_of(record))


def files_of(
    record: Record,
    *,
    color_map: str = DEFAULT_COLOR_MAP,
    opacity: float = DEFAULT_OPACITY,
    overlay_side_px: int | None = None,
) -> dict[str, bytes]:
    """Return the files of a result by name, all but the manifest.

    The saliency map is float32 at the size of the network's input. Without curves there are no
    files of curves.

    Args:
        record: the result.
        color_map: as in `bundle`, and so all that follows.
    """
    explanation = record.explanation
    sheet = masks_sheet(
        downscale(record.seen, _MASKED_PICTURE_SIDE_PX),
        record.seen_masks,
        explanation.group_weights.numpy(),
    )
    files = {
        OVERLAY: _png(_overlay(record, color_map, opacity, overlay_side_px)),
        SALIENCY_MAP: _npy(explanation.saliency_map.numpy()),
        MASKS: png_of(sheet),
    }
    if record.curves is not None:
        figure = figure_of(record.curves, explanation.class_label)
        files[CURVES] = png_of(figure)
        files[CURVES_DRAWING] = svg_of(figure).encode()
        files[CURVES_TABLE] = curves_csv(record.curves).encode()
    files[REPORT] = report_of(record, color_map=color_map, opacity=opacity).encode()
    return files


def json_of(content: dict[str, Any]) -> bytes:
    """Return plain values as a JSON file; every number in them must be finite."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def archive_of(files: Mapping[str, bytes], manifest: dict[str, Any]) -> bytes:
    """Return a ZIP file with these files and the manifest.

    It does not tell when, where or by whom it was made.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, MANIFEST: json_of(manifest)}.items():
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _overlay(
    record: Record, color_map: str, opacity: float, side_px: int | None
) -> npt.NDArray[np.uint8]:
    """Return the overlay on the whole picture, no larger than allowed."""
    rgb, box = record.picture.rgb, record.box
    height, width = rgb.shape[:2]
    if side_px is not None and max(height, width) > side_px:
        rgb = downscale(rgb, side_px)
        # The box of the picture itself, in the smaller one's pixels; at least one of them.
        tall, wide = rgb.shape[0] / height, rgb.shape[1] / width
        top, left = int(box[0] * tall), int(box[1] * wide)
        bottom, right = max(top + 1, round(box[2] * tall)), max(left + 1, round(box[3] * wide))
        box = (top, left, bottom, right)
    return overlay(rgb, record.seen_map, color_map=color_map, opacity=opacity, box=box)


def _png(rgb: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def _npy(values: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
