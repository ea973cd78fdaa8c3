"""The one door for pictures: whatever a user hands in becomes RGB uint8, or one clear sentence.

Files come from strangers, so only raster formats are tried, limits are checked from the header
before anything is decoded, and one picture is decoded at a time.
"""

import threading
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from groupcam.errors import GroupCamError
from groupcam.language import say

MAX_FILE_BYTES = 100 * 1024 * 1024
MAX_PIXELS = 50_000_000  # the largest common phone sensors; 150 MB once decoded
MIN_SIDE_PX = 8
MAX_ASPECT = 20

# Raster formats only: PIL also knows EPS (runs Ghostscript) and others that no camera writes.
# A phone's multi-picture JPEG (MPO) is opened through JPEG. Compressed TIFF is refused below: it is
# decoded by libtiff, where most memory errors of PIL before 13 lie (its notes on 13.0.0, Security).
_PIL_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_TRANSPOSE_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
_EXIF_HEADER = b"Exif\0\0"
# PIL before 13 copies all metadata once for each repeated header (CVE-2026-96643): minutes for a
# few MB. Cameras write one header, or a few when the metadata is long.
_MAX_EXIF_HEADERS = 64
_UINT16_GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_RGB_MODES = ("1", "L", "P", "RGB", "RGBX", "YCbCr", "CMYK", "HSV")
_ALPHA_MODES = ("LA", "PA", "La", "RGBA", "RGBa")
_BAND_PIXELS = 2**18  # blended at once: small enough for a processor's cache, and for any memory

# Bounds memory on a server, and Python's warning filters may be changed by one thread only.
_DECODING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture ready for a network or a page, and what was done to get there.

    Attributes:
        rgb: uint8, (H, W, 3), upright; an array of its own.
        notes: one plain sentence for each change the user should know of.
    """

    rgb: npt.NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def open_picture(
    source: str | Path | bytes | Image.Image | npt.NDArray[Any],
) -> Picture:
    """Return any picture as upright RGB.

    EXIF rotation is applied, transparency is laid over white, 16-bit grey is scaled (not clipped),
    and of an animation or a multi-page file the first picture is taken.

    Args:
        source: path, content of a file, PIL picture (its current frame is used), or uint8 array
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    Raises:
        GroupCamError: not a picture, damaged, or outside the limits of this module.
        TypeError: `source` is of another type, or an array that is not uint8.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the picture")
    if isinstance(source, bytes):
        return _from_bytes(source, "the picture")
    if isinstance(source, str | Path):
        return _from_bytes(_read(source), _shown_name(source))
    raise TypeError(
        "A picture must be a path, the bytes of a file, a PIL picture or a uint8 array; "
        f"got {type(source).__name__}. Convert it to one of these."
    )


def downscale(rgb: npt.NDArray[np.uint8], longest_side: int) -> npt.NDArray[np.uint8]:
    """Return the picture with its longest side at most `longest_side`, averaging over areas.

    A picture that is small enough is returned as it is.

    Args:
        rgb: uint8, (H, W, 3).
        longest_side: pixels, >= 1.
    """
    if longest_side < 1:
        raise GroupCamError(f"longest_side must be at least 1; got {longest_side}.")
    height, width = rgb.shape[:2]
    if max(height, width) <= longest_side:
        return rgb
    scale = longest_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))  # PIL: (W, H)
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))


def _shown_name(path: str | Path) -> str:
    """Return the file's base name, quoted: never a folder of this machine."""
    name = Path(path).name
    return repr(name if len(name) <= 60 else f"{name[:57]}...")


def _read(path: str | Path) -> bytes:
    """Return the content of a picture file of bounded size."""
    shown = _shown_name(path)
    if isinstance(path, str) and path.lower().startswith(("http://", "https://")):
        raise GroupCamError(say("picture_file.web_address"))
    # `from None`: the causes name folders of this machine, and messages may reach a web page.
    try:
        if Path(path).is_dir():
            raise GroupCamError(say("picture_file.folder", file=shown))
        if not Path(path).is_file():
            raise GroupCamError(say("picture_file.absent", file=shown))
        if Path(path).stat().st_size > MAX_FILE_BYTES:
            raise GroupCamError(_too_many_bytes(shown))
        content = Path(path).read_bytes()
    except GroupCamError:
        raise
    except (OSError, ValueError):  # no permission, name too long, NUL in the name, disk error
        raise GroupCamError(say("picture_file.unreadable", file=shown)) from None
    return content


def _too_many_bytes(shown: str) -> str:
    """Return the message for a file above MAX_FILE_BYTES."""
    return say("picture_file.too_many_bytes", most=MAX_FILE_BYTES // 1024**2, file=shown)


def _from_bytes(content: bytes, shown: str) -> Picture:
    """Return the picture encoded in `content`; `shown` names it in messages."""
    if not content:
        raise GroupCamError(say("picture_file.empty", file=shown))
    if len(content) > MAX_FILE_BYTES:
        raise GroupCamError(_too_many_bytes(shown))
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS:
        formats = say("picture_file.formats")
        raise GroupCamError(say("picture_file.heic", formats=formats, file=shown))
    if content.count(_EXIF_HEADER) > _MAX_EXIF_HEADERS:
        raise GroupCamError(say("picture_file.metadata", file=shown))
    try:
        with _DECODING, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content), formats=_PIL_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise GroupCamError(
            say("picture_file.far_too_large", most=MAX_PIXELS // 10**6, file=shown)
        ) from error
    except Exception as error:  # PIL's readers raise nearly every type on crafted files
        formats = say("picture_file.formats")
        raise GroupCamError(
            say("picture_file.other_format", formats=formats, file=shown)
        ) from error
    with image:
        if image.format == "TIFF" and image.info.get("compression") != "raw":
            raise GroupCamError(say("picture_file.compressed_tiff", file=shown))
        return _from_pil(image, shown)


def _from_pil(image: Image.Image, shown: str) -> Picture:
    """Return an opened, perhaps not yet decoded, PIL picture as RGB."""
    _check_size(image.height, image.width)
    try:
        with _DECODING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            frame_notes = _frame_notes(image)
            upright = _upright(image)
            _check_size(upright.height, upright.width)
            rgb, colour_notes = _to_rgb(upright, shown)
    except GroupCamError:
        raise
    except Exception as error:  # as above
        raise GroupCamError(say("picture_file.damaged", file=shown)) from error
    return Picture(rgb, frame_notes + colour_notes)


def _from_array(array: npt.NDArray[Any]) -> Picture:
    """Return a uint8 array as RGB, in memory of its own."""
    if array.dtype != np.uint8:
        raise TypeError(
            f"A picture array must be uint8 in 0..255; got {array.dtype}. Scale floats in [0, 1] "
            "with (array * 255).round().astype('uint8')."
        )
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (1, 3, 4)):
        raise GroupCamError(
            "A picture array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), channels last; "
            f"got {array.shape}. Reorder its axes, or pass one picture at a time."
        )
    _check_size(*array.shape[:2])
    if array.ndim == 3 and array.shape[2] == 4:
        rgb, notes = _over_white(array)
        return Picture(rgb, notes)
    if array.ndim == 2:
        array = array[:, :, None]
    return Picture(np.array(np.broadcast_to(array, (*array.shape[:2], 3)), order="C"))


def _check_size(height: int, width: int) -> None:
    """Raise GroupCamError unless a picture of this size is allowed."""
    size = {"width": width, "height": height}
    if height * width > MAX_PIXELS:
        raise GroupCamError(say("picture_file.too_large", most=MAX_PIXELS // 10**6, **size))
    if min(height, width) < MIN_SIDE_PX:
        raise GroupCamError(say("picture_file.too_small", least=MIN_SIDE_PX, **size))
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise GroupCamError(say("picture_file.too_long", most=MAX_ASPECT, **size))


def _frame_notes(image: Image.Image) -> tuple[str, ...]:
    """Return a note when the file holds more pictures than the one that is used."""
    # `is_animated` looks one frame ahead; `n_frames` would walk through the whole file.
    # The further pictures of an MPO are a phone's own extras (depth, another exposure).
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return ()
    which = "first" if image.tell() == 0 else "current"
    if image.format == "TIFF":
        return (say(f"picture_file.note_{which}_page"),)
    return (say(f"picture_file.note_{which}_frame"),)


def _upright(image: Image.Image) -> Image.Image:
    """Return the decoded picture turned as its EXIF orientation says."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # broken metadata does not make the picture unusable
        orientation = None
    method = _TRANSPOSE_OF_ORIENTATION.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image, shown: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Return a decoded picture of any mode as RGB with notes."""
    if image.mode in _UINT16_GREY_MODES:
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 = 255 * 257
        return _grey_to_rgb(grey.astype(np.uint8)), (say("picture_file.note_16_bit"),)
    if image.mode in ("I", "F"):
        return _stretched(np.asarray(image), shown)
    if image.mode in _ALPHA_MODES or (image.mode in _RGB_MODES and image.has_transparency_data):
        return _over_white(np.asarray(image.convert("RGBA")))
    if image.mode in _RGB_MODES:
        notes = (say("picture_file.note_cmyk"),) if image.mode == "CMYK" else ()
        return np.array(image.convert("RGB")), notes
    raise GroupCamError(say("picture_file.color_mode", file=shown, mode=repr(image.mode)))


def _stretched(
    values: npt.NDArray[Any], shown: str
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Return a measurement-like picture (H, W), int32 or float32, spread over 0..255."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max of a NaN are NaN
        raise GroupCamError(say("picture_file.not_finite", file=shown))
    span = high - low
    # A flat picture has no span to spread: it becomes black.
    scale = 255.0 / span if span > 0 else 0.0
    grey = np.rint((values.astype(np.float64) - low) * scale).astype(np.uint8)
    note = say("picture_file.note_spread", dtype=values.dtype, low=low, high=high)
    return _grey_to_rgb(grey), (note,)


def _grey_to_rgb(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return (H, W) as (H, W, 3)."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def _over_white(rgba: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Return (H, W, 4) with straight alpha laid over white; the note only if anything shows."""
    alpha = rgba[:, :, 3:]
    if alpha.min() == 255:
        return np.array(rgba[:, :, :3], order="C"), ()
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    rows = max(1, _BAND_PIXELS // rgba.shape[1])
    for top in range(0, len(rgba), rows):
        band = slice(top, top + rows)
        weight = alpha[band].astype(np.uint16)
        blended = rgba[band, :, :3] * weight + 255 * (255 - weight)  # at most 255 * 255: uint16
        rgb[band] = (blended + 127) // 255
    return rgb, (say("picture_file.note_alpha"),)
