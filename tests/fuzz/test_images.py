"""The image door: no file, however it was made, does more than become RGB or one sentence."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from groupcam.errors import GroupCamError
from groupcam.images import MAX_ASPECT, MAX_FILE_BYTES, MAX_PIXELS, MIN_SIDE_PX, open_picture
from tests.fuzz.values import check_told, outcome

SIZE = (24, 18)  # (W, H), as PIL has it
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def _picture(mode: str) -> Image.Image:
    """Return a small picture that no encoder can make much smaller."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(noise.view(np.uint16)[:, :, 0].copy())
    if mode in ("F", "I"):
        return Image.fromarray(noise.view(np.uint32)[:, :, 0].astype(np.float32)).convert(mode)
    return Image.fromarray(noise).convert(mode)


def _saved(mode: str, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    _picture(mode).save(file, kind, **options)
    return file.getvalue()


def _animated(kind: str) -> bytes:
    frames = [_picture("RGB"), _picture("RGB").rotate(180), _picture("RGB").rotate(90)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=40)
    return file.getvalue()


def _turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _saved("RGB", "JPEG", exif=exif)


def _with_texts() -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("comment", "a" * 200, zip=True)
    texts.add_itxt("title", "ä" * 50, "de", "Titel")
    return _saved("RGB", "PNG", pnginfo=texts)


CORPUS: dict[str, bytes] = {
    "jpeg": _saved("RGB", "JPEG"),
    "jpeg progressive": _saved("RGB", "JPEG", progressive=True),
    "jpeg grey": _saved("L", "JPEG"),
    "jpeg cmyk": _saved("CMYK", "JPEG"),
    "jpeg turned": _turned(6),
    "png": _saved("RGB", "PNG"),
    "png alpha": _saved("RGBA", "PNG"),
    "png grey alpha": _saved("LA", "PNG"),
    "png 16 bit": _saved("I;16", "PNG"),
    "png palette": _saved("P", "PNG", transparency=3),
    "png bits": _saved("1", "PNG"),
    "png texts": _with_texts(),
    "apng": _animated("PNG"),
    "webp": _saved("RGB", "WEBP"),
    "webp lossless": _saved("RGBA", "WEBP", lossless=True),
    "webp animated": _animated("WEBP"),
    "avif": _saved("RGB", "AVIF"),
    "gif": _saved("P", "GIF"),
    "gif animated": _animated("GIF"),
    "bmp": _saved("RGB", "BMP"),
    "tiff": _saved("RGB", "TIFF"),
    "tiff 16 bit": _saved("I;16", "TIFF"),
    "tiff float": _saved("F", "TIFF"),
    "tiff pages": _animated("TIFF"),
    "mpo": _animated("MPO"),
}


def _checksummed(content: bytes) -> bytes:
    """Return a PNG whose header's checksum is right again, so that its numbers are believed."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") or len(content) < 33:
        return content
    return content[:29] + struct.pack(">I", zlib.crc32(content[12:29])) + content[33:]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file that was a picture once."""
    content = bytearray(CORPUS[draw(st.sampled_from(sorted(CORPUS)))])
    for _ in range(draw(st.integers(1, 5))):
        at_start = draw(st.booleans())  # where sizes, modes and offsets are
        place = draw(
            st.integers(0, max(0, min(64, len(content)) - 1 if at_start else len(content)))
        )
        kind = draw(st.sampled_from(["flip", "set", "number", "cut", "insert", "remove", "repeat"]))
        if kind == "flip" and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and place < len(content):
            content[place] = draw(st.integers(0, 255))
        elif kind == "number":
            layout = draw(st.sampled_from([">H", "<H", ">I", "<I"]))
            number = draw(st.sampled_from(INTERESTING)) % 256 ** struct.calcsize(layout)
            content[place : place + struct.calcsize(layout)] = struct.pack(layout, number)
        elif kind == "cut":
            del content[place:]
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=40))
        elif kind == "remove":
            del content[place : place + draw(st.integers(1, 40))]
        else:
            part = content[place : place + draw(st.integers(1, 200))]
            content[place:place] = part * draw(st.integers(1, 8))
    return _checksummed(bytes(content)) if draw(st.booleans()) else bytes(content)


def opened_or_refused(content: bytes) -> None:
    picture = outcome(lambda: open_picture(content))
    if picture is not None:
        height, width, channels = picture.rgb.shape
        assert picture.rgb.dtype == np.uint8
        assert channels == 3
        assert min(height, width) >= MIN_SIDE_PX
        assert height * width <= MAX_PIXELS
        assert max(height, width) <= MAX_ASPECT * min(height, width)
        for note in picture.notes:
            check_told(note)


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_of_pictures(name: str) -> None:
    assert open_picture(CORPUS[name]).rgb.shape[2] == 3


@given(content=damaged())
def test_a_damaged_picture_is_opened_or_refused(content: bytes) -> None:
    opened_or_refused(content)


@given(
    content=st.binary(max_size=300),
    start=st.sampled_from([b"", *(c[:16] for c in CORPUS.values())]),
)
def test_any_bytes_are_opened_or_refused(content: bytes, start: bytes) -> None:
    opened_or_refused(start + content)


def _png_of(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = CORPUS["png"]
    return _checksummed(content[:16] + header + content[29:])


def _patched(name: str, place: int, layout: str, *sides: int) -> bytes:
    content = bytearray(CORPUS[name])
    content[place : place + struct.calcsize(layout)] = struct.pack(layout, *sides)
    return bytes(content)


def _jpeg_of(side: int) -> bytes:
    frame = CORPUS["jpeg"].index(b"\xff\xc0")
    return _patched("jpeg", frame + 5, ">HH", side, side)


HUGE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: _jpeg_of(65_500),
    "png": lambda: _png_of(60_000, 60_000),
    "png, the largest": lambda: _png_of(2**31 - 1, 2**31 - 1),
    "gif": lambda: _patched("gif", 6, "<HH", 65_535, 65_535),
    "bmp": lambda: _patched("bmp", 18, "<ii", 60_000, 60_000),
    "bmp, upside down": lambda: _patched("bmp", 18, "<ii", 60_000, -60_000),
    "webp animated": lambda: _patched("webp animated", 24, "<HBHB", 16_382, 0, 16_382, 0),
}


@pytest.mark.parametrize("make", HUGE.values(), ids=HUGE)
def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(
    make: Callable[[], bytes],
) -> None:
    assert outcome(lambda: open_picture(make())) is None


def test_a_tiny_file_of_the_largest_size_is_opened_within_the_bound() -> None:
    """7000 x 7000 half transparent pixels in 38 bytes: the dearest picture that is let in."""
    content = bytes.fromhex(
        "524946461e000000574542505650384c110000002f57dbd51607d0842634a1808188e87f0000"
    )

    picture = outcome(lambda: open_picture(content))

    assert picture is not None
    assert picture.rgb.shape == (7000, 7000, 3)


def test_more_bytes_than_allowed_are_refused() -> None:
    with pytest.raises(GroupCamError, match="at most 100 MB"):
        open_picture(b"\xff\xd8" + bytes(MAX_FILE_BYTES))


def test_texts_that_unpack_to_gigabytes_are_not_unpacked() -> None:
    packed = zlib.compress(bytes(50_000_000))
    chunk = b"zTXtcomment\0\0" + packed
    text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))

    opened_or_refused(CORPUS["png"][:33] + text * 9 + CORPUS["png"][33:])
