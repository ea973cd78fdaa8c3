"""The door for pictures: good ones come through unchanged, bad ones get one clear sentence."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from groupcam.errors import GroupCamError
from groupcam.images import MAX_FILE_BYTES, Picture, downscale, open_picture

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"


def quadrants(height: int = 24, width: int = 32) -> npt.NDArray[np.uint8]:
    """Return a picture whose quarters are red, green / blue, white: every turn of it differs."""
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    rgb[: height // 2, : width // 2] = (255, 0, 0)
    rgb[: height // 2, width // 2 :] = (0, 255, 0)
    rgb[height // 2 :, : width // 2] = (0, 0, 255)
    rgb[height // 2 :, width // 2 :] = (255, 255, 255)
    return rgb


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that announces a size and holds next to no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b"\0"))
        + png_chunk(b"IEND", b"")
    )


def bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(info), 0, 0, 54) + info


def message_of(source: Any) -> str:
    with pytest.raises(GroupCamError) as caught:
        open_picture(source)
    return str(caught.value)


def picture_or_message(source: bytes) -> Picture | str:
    try:
        return open_picture(source)
    except GroupCamError as error:
        return str(error)


class TestFormats:
    @pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
    def test_lossless_formats_come_through_exactly(self, file_format: str) -> None:
        picture = open_picture(encode(Image.fromarray(quadrants()), file_format))

        np.testing.assert_array_equal(picture.rgb, quadrants())
        assert picture.rgb.dtype == np.uint8
        assert picture.notes == ()

    @pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "AVIF"])
    def test_lossy_formats_come_through_nearly(self, file_format: str) -> None:
        smooth = np.full((24, 32, 3), (200, 120, 40), dtype=np.uint8)

        picture = open_picture(encode(Image.fromarray(smooth), file_format, quality=95))

        assert np.abs(picture.rgb.astype(int) - smooth).max() <= 4  # a lossy code's rounding
        assert picture.notes == ()

    def test_path_string_bytes_pil_and_array_agree(self, tmp_path: Path) -> None:
        image = Image.fromarray(quadrants())
        path = tmp_path / "a.png"
        image.save(path)

        pictures = [
            open_picture(source)
            for source in (path, str(path), path.read_bytes(), image, quadrants())
        ]

        for picture in pictures:
            np.testing.assert_array_equal(picture.rgb, quadrants())

    def test_extension_does_not_matter(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes(encode(Image.fromarray(quadrants()), "PNG"))

        np.testing.assert_array_equal(open_picture(path).rgb, quadrants())

    @pytest.mark.parametrize(
        "path", sorted(EXAMPLES.glob("*.jpg")), ids=lambda path: str(path.name)
    )
    def test_examples_open_without_remarks(self, path: Path) -> None:
        picture = open_picture(path)

        assert max(picture.rgb.shape) <= 640
        assert picture.notes == ()
        assert path.name in (EXAMPLES.parent / "README.md").read_text("utf-8")
        assert path.stat().st_size <= 120 * 1024

    def test_the_three_main_examples_exist(self) -> None:
        names = {path.stem for path in EXAMPLES.glob("*.jpg")}

        assert {"cat", "espresso", "rocket"} <= names


class TestModes:
    def test_grey_is_repeated(self) -> None:
        grey = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)

        picture = open_picture(encode(Image.fromarray(grey), "PNG"))

        np.testing.assert_array_equal(picture.rgb, np.stack([grey] * 3, axis=2))
        assert picture.notes == ()

    def test_one_bit_becomes_black_and_white(self) -> None:
        bits = np.arange(24 * 32).reshape(24, 32) % 3 == 0

        picture = open_picture(encode(Image.fromarray(bits), "PNG"))

        np.testing.assert_array_equal(picture.rgb[:, :, 0], np.where(bits, 255, 0))

    def test_16_bit_png_is_scaled_not_clipped(self) -> None:
        grey = np.zeros((8, 9), dtype=np.uint16)
        grey[0, :5] = (128, 129, 32768, 65535, 257 * 7)

        picture = open_picture(encode(Image.fromarray(grey), "PNG"))

        # 128 / 257 = 0.498, 129 / 257 = 0.502, 32768 / 257 = 127.5 (rounded up), 65535 / 257 = 255
        assert picture.rgb[0, :5, 1].tolist() == [0, 1, 128, 255, 7]
        assert picture.notes == ("16-bit grey picture: brought to 8 bit by dividing by 257.",)

    def test_16_bit_tiff_equals_16_bit_png(self) -> None:
        image = Image.fromarray(np.linspace(0, 65535, 8 * 9).astype(np.uint16).reshape(8, 9))

        np.testing.assert_array_equal(
            open_picture(encode(image, "TIFF")).rgb, open_picture(encode(image, "PNG")).rgb
        )

    @pytest.mark.parametrize("dtype", [np.int32, np.float32])
    def test_measured_values_are_spread_over_their_own_range(self, dtype: type) -> None:
        values: npt.NDArray[Any] = np.zeros((8, 9), dtype=dtype)
        values[0, :2] = (-100, 410)

        picture = open_picture(encode(Image.fromarray(values), "TIFF"))

        # -100 -> 0, 0 -> 100 / 510 * 255 = 50, 410 -> 255
        assert picture.rgb[0, :3, 0].tolist() == [0, 255, 50]
        assert "spread from its own -100..410 over 0..255" in picture.notes[0]

    def test_flat_measured_values_become_black(self) -> None:
        picture = open_picture(Image.fromarray(np.full((8, 9), 7.5, dtype=np.float32)))

        assert picture.rgb.max() == 0

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_nan_and_infinity_are_refused(self, bad: float) -> None:
        values = np.zeros((8, 9), dtype=np.float32)
        values[3, 3] = bad

        with pytest.raises(GroupCamError, match="must have finite values"):
            open_picture(encode(Image.fromarray(values), "TIFF"))

    def test_transparent_parts_are_laid_over_white(self) -> None:
        rgba = np.zeros((8, 9, 4), dtype=np.uint8)
        rgba[:, :, 0] = 200
        rgba[0, :3, 3] = (0, 255, 51)  # invisible, solid, one fifth

        picture = open_picture(encode(Image.fromarray(rgba), "PNG"))

        # one fifth of (200, 0, 0) and four fifths of white: 40 + 204, 0 + 204
        assert picture.rgb[0, :3].tolist() == [[255, 255, 255], [200, 0, 0], [244, 204, 204]]
        assert picture.notes == ("Transparent picture: its see-through parts are laid over white.",)

    def test_solid_alpha_changes_nothing_and_says_nothing(self) -> None:
        rgba = np.dstack([quadrants(), np.full((24, 32), 255, dtype=np.uint8)])

        picture = open_picture(encode(Image.fromarray(rgba), "PNG"))

        np.testing.assert_array_equal(picture.rgb, quadrants())
        assert picture.notes == ()

    def test_grey_with_alpha(self) -> None:
        grey_alpha = Image.fromarray(np.full((8, 9, 2), (100, 0), dtype=np.uint8))

        assert grey_alpha.mode == "LA"
        assert open_picture(encode(grey_alpha, "PNG")).rgb.min() == 255

    @pytest.mark.parametrize("file_format", ["PNG", "GIF"])
    def test_palette_with_transparent_colour(self, file_format: str) -> None:
        palette = Image.new("P", (9, 8), 0)
        palette.putpalette([10, 20, 30, 200, 100, 50])
        palette.putpixel((0, 0), 1)

        picture = open_picture(encode(palette, file_format, transparency=0))

        assert picture.rgb[0, 0].tolist() == [200, 100, 50]
        assert picture.rgb[1:].min() == 255
        assert len(picture.notes) == 1

    def test_palette_without_transparency(self) -> None:
        palette = Image.fromarray(quadrants()).quantize(4)

        picture = open_picture(encode(palette, "PNG"))

        np.testing.assert_array_equal(picture.rgb, quadrants())
        assert picture.notes == ()

    def test_palette_with_an_alpha_for_every_colour_gives_no_warning(self) -> None:
        palette = Image.fromarray(quadrants()).quantize(4)
        content = encode(palette, "PNG", transparency=bytes([255, 255, 255, 128]))

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            picture = open_picture(content)

        assert len(picture.notes) == 1

    def test_cmyk_jpeg_keeps_light_light(self) -> None:
        ink = np.zeros((16, 16, 4), dtype=np.uint8)
        ink[:, 8:, 1:3] = 255  # left without ink, right full magenta and yellow: red
        content = encode(Image.frombytes("CMYK", (16, 16), ink.tobytes()), "JPEG", quality=95)

        picture = open_picture(content)

        assert picture.rgb[8, 1].min() >= 250
        assert picture.rgb[8, 14, 0] >= 250
        assert picture.rgb[8, 14, 1:].max() <= 5
        assert "CMYK" in picture.notes[0]

    def test_exotic_colour_mode_is_refused_by_name(self) -> None:
        lab = Image.new("LAB", (9, 8))

        with pytest.raises(GroupCamError, match=r"colour mode 'LAB'\. Save it as RGB"):
            open_picture(lab)


class TestOrientationAndFrames:
    @pytest.mark.parametrize(
        ("orientation", "turned"),
        [
            (1, lambda a: a),
            (2, lambda a: a[:, ::-1]),
            (3, lambda a: a[::-1, ::-1]),
            (4, lambda a: a[::-1]),
            (5, lambda a: a.transpose(1, 0, 2)),
            (6, lambda a: np.rot90(a, -1)),
            (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
            (8, lambda a: np.rot90(a)),
        ],
    )
    @pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
    def test_exif_orientation(self, orientation: int, turned: Any, file_format: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation

        picture = open_picture(encode(Image.fromarray(quadrants()), file_format, exif=exif))

        np.testing.assert_array_equal(picture.rgb, turned(quadrants()))
        assert picture.notes == ()

    def test_phone_jpeg_is_upright(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6

        picture = open_picture(encode(Image.fromarray(quadrants(48, 64)), "JPEG", exif=exif))

        assert picture.rgb.shape == (64, 48, 3)
        assert picture.rgb[8, 40, 0] > 200 > 50 > picture.rgb[8, 40, 1]  # red is top right

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
    def test_broken_exif_does_not_matter(self, exif: bytes) -> None:
        content = encode(Image.fromarray(quadrants()), "PNG", exif=exif)

        np.testing.assert_array_equal(open_picture(content).rgb, quadrants())

    @pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
    def test_first_frame_of_an_animation(self, file_format: str) -> None:
        frames = [Image.new("RGB", (9, 8), (value, 0, 0)) for value in (255, 100, 0)]
        options = {"lossless": True} if file_format == "WEBP" else {}

        picture = open_picture(
            encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
        )

        assert picture.rgb[4, 4].tolist() == [255, 0, 0]
        assert picture.notes == ("Animated picture: only the first frame is used.",)

    def test_first_page_of_a_tiff(self) -> None:
        pages = [Image.new("RGB", (9, 8), (value, 0, 0)) for value in (255, 100)]

        picture = open_picture(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))

        assert picture.rgb[4, 4].tolist() == [255, 0, 0]
        assert picture.notes == ("File with several pages: only the first page is used.",)

    def test_second_picture_of_a_phones_multi_picture_file_is_its_own_business(self) -> None:
        images = [Image.new("RGB", (16, 16), (value, 0, 0)) for value in (255, 0)]

        picture = open_picture(encode(images[0], "MPO", save_all=True, append_images=images[1:]))

        assert picture.rgb[4, 4, 0] >= 250
        assert picture.notes == ()

    def test_pil_picture_is_used_at_its_frame_and_left_there(self) -> None:
        frames = [Image.new("RGB", (9, 8), (value, 0, 0)) for value in (255, 100)]
        image = Image.open(
            io.BytesIO(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
        )
        image.seek(1)

        picture = open_picture(image)

        assert picture.rgb[4, 4].tolist() == [100, 0, 0]
        assert picture.notes == ("Animated picture: only the current frame is used.",)
        assert image.tell() == 1


class TestArrays:
    def test_result_is_a_copy(self) -> None:
        array = quadrants()

        picture = open_picture(array)
        picture.rgb[:] = 0

        np.testing.assert_array_equal(array, quadrants())

    @pytest.mark.parametrize("shape", [(8, 9), (8, 9, 1)])
    def test_grey_arrays_are_repeated(self, shape: tuple[int, ...]) -> None:
        array = np.arange(72, dtype=np.uint8).reshape(shape)

        picture = open_picture(array)

        np.testing.assert_array_equal(picture.rgb, np.stack([array.reshape(8, 9)] * 3, axis=2))

    def test_array_with_alpha_equals_the_file(self) -> None:
        rgba = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype=np.uint8)

        picture = open_picture(rgba)

        np.testing.assert_array_equal(
            picture.rgb, open_picture(encode(Image.fromarray(rgba), "PNG")).rgb
        )
        assert len(picture.notes) == 1

    def test_strided_array_becomes_contiguous(self) -> None:
        picture = open_picture(quadrants()[:, ::-1])

        assert picture.rgb.flags.c_contiguous
        np.testing.assert_array_equal(picture.rgb, quadrants()[:, ::-1])

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16, bool])
    def test_other_dtypes_are_refused(self, dtype: type) -> None:
        with pytest.raises(TypeError, match=r"must be uint8 in 0\.\.255; got .*Scale floats"):
            open_picture(np.zeros((8, 9, 3), dtype=dtype))

    @pytest.mark.parametrize("shape", [(8,), (3, 8, 9), (1, 8, 9, 3), (8, 9, 2), (8, 9, 5)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(GroupCamError, match=r"channels last; got \("):
            open_picture(np.zeros(shape, dtype=np.uint8))

    def test_empty_array_is_refused(self) -> None:
        with pytest.raises(GroupCamError, match="at least 8 pixels"):
            open_picture(np.zeros((0, 0, 3), dtype=np.uint8))


class TestSizeLimits:
    @pytest.mark.parametrize("size_hw", [(8, 8), (8, 160), (160, 8)])
    def test_nearest_allowed_sizes(self, size_hw: tuple[int, int]) -> None:
        picture = open_picture(encode(Image.new("RGB", size_hw[::-1]), "PNG"))

        assert picture.rgb.shape == (*size_hw, 3)

    @pytest.mark.parametrize("size_hw", [(1, 1), (7, 8), (8, 7), (1, 4000)])
    def test_too_small(self, size_hw: tuple[int, int]) -> None:
        expected = rf"at least 8 pixels wide and high; got {size_hw[1]} x {size_hw[0]} pixels"

        with pytest.raises(GroupCamError, match=expected):
            open_picture(encode(Image.new("RGB", size_hw[::-1]), "PNG"))
        with pytest.raises(GroupCamError, match=expected):
            open_picture(np.zeros((*size_hw, 3), dtype=np.uint8))

    @pytest.mark.parametrize("size_hw", [(8, 161), (161, 8)])
    def test_too_long(self, size_hw: tuple[int, int]) -> None:
        with pytest.raises(GroupCamError, match="at most 20 times as long as it is broad; got"):
            open_picture(Image.new("RGB", size_hw[::-1]))

    @pytest.mark.parametrize(
        "content",
        [
            png_header(20_000, 20_000),
            png_header(10_000, 5_001),
            png_header(12_000, 10_000),  # where PIL alone would only warn
            bmp_header(20_000, 20_000),
            bmp_header(9_000, 9_000),
        ],
        ids=["png-400MP", "png-50MP", "png-120MP", "bmp-400MP", "bmp-81MP"],
    )
    def test_too_many_pixels_are_refused_from_the_header(self, content: bytes) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            message = message_of(content)

        assert message.startswith("A picture must have at most 50 megapixels; ")

    def test_header_of_an_allowed_size_without_pixels_is_damaged(self) -> None:
        with pytest.raises(GroupCamError, match="must be whole; the picture breaks off"):
            open_picture(png_header(100, 100))

    def test_gif_frame_larger_than_its_screen_is_measured(self) -> None:
        content = bytearray(encode(Image.new("P", (16, 16)), "GIF"))
        frame = content.index(b",", 13)  # the image descriptor: left, top, width, height
        content[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)

        assert "at most 50 megapixels" in message_of(bytes(content))

    def test_file_with_too_many_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "big.png"
        with path.open("wb") as file:
            file.truncate(MAX_FILE_BYTES + 1)  # sparse: takes no room on the disk

        with pytest.raises(GroupCamError, match=r"at most 100 MB; 'big\.png' has more"):
            open_picture(path)

    def test_the_users_pil_settings_are_left_alone(self) -> None:
        before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)

        open_picture(encode(Image.fromarray(quadrants()), "PNG"))

        assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "must not be empty"),
            (b"dear diary", "is none of these, or is damaged. Save it as JPEG or PNG"),
            (b"\x89PNG\r\n\x1a\n", "is none of these, or is damaged"),
            (b"\xff\xd8\xff", "is none of these, or is damaged"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is none of these"),
            (b"%PDF-1.7\n", "is none of these"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is none of these"),
            (b"P6 9 8 255\n" + bytes(9 * 8 * 3), "is none of these"),  # PPM: PIL could, we do not
            (b"\0\0\0\x18ftypheic\0\0\0\0", "is a HEIC photo. Save or share it as JPEG"),
        ],
        ids=["empty", "text", "png-magic", "jpeg-magic", "eps", "pdf", "svg", "ppm", "heic"],
    )
    def test_not_a_picture(self, tmp_path: Path, content: bytes, expected: str) -> None:
        path = tmp_path / "holiday.png"
        path.write_bytes(content)

        message = message_of(path)

        assert expected in message
        assert "'holiday.png'" in message
        assert str(tmp_path) not in message

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF"])
    def test_truncated(self, tmp_path: Path, file_format: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        content = encode(Image.fromarray(noise), file_format)
        path = tmp_path / "half"

        path.write_bytes(content)
        assert isinstance(open_picture(path), Picture)

        path.write_bytes(content[: len(content) // 2])
        assert "damaged" in message_of(path)

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
    def test_random_damage_gives_a_picture_or_one_sentence(self, file_format: str) -> None:
        generator = np.random.default_rng(7)
        noise = generator.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        whole = np.frombuffer(encode(Image.fromarray(noise), file_format), dtype=np.uint8)

        for _ in range(60):
            content = whole.copy()
            places = generator.integers(0, min(len(content), 300), 6)
            content[places] = generator.integers(0, 256, 6)
            outcome = picture_or_message(content.tobytes())
            if isinstance(outcome, str):
                assert outcome.startswith("A picture")
            else:
                assert outcome.rgb.dtype == np.uint8
                assert outcome.rgb.ndim == 3

    def test_broken_png_checksum(self) -> None:
        content = bytearray(encode(Image.fromarray(quadrants()), "PNG"))
        content[content.index(b"IDAT") + 6] ^= 0xFF

        assert "damaged" in message_of(bytes(content))

    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
    def test_compressed_tiff_is_refused(self, tmp_path: Path, compression: str) -> None:
        path = tmp_path / "scan.tif"
        Image.fromarray(quadrants()).save(path, compression=compression)

        with pytest.raises(GroupCamError, match=r"must be uncompressed; 'scan\.tif' is compressed"):
            open_picture(path)
        # Who opens a file of their own with PIL trusts it.
        with Image.open(path) as image:
            assert open_picture(image).rgb.shape == (24, 32, 3)

    def test_repeated_exif_headers_are_refused_quickly(self) -> None:
        content = encode(Image.fromarray(quadrants()), "JPEG")
        headers = b"Exif\0\0" * 10_000
        segment = b"\xff\xe1" + struct.pack(">H", len(headers) + 2) + headers

        assert "repeats its EXIF header" in message_of(content[:2] + segment * 20 + content[2:])

    def test_compressed_text_bomb_in_a_png(self) -> None:
        content = encode(Image.fromarray(quadrants()), "PNG")
        bomb = b"Comment\0\0" + zlib.compress(bytes(8 * 1024 * 1024), 9)

        assert "damaged" in message_of(content[:33] + png_chunk(b"zTXt", bomb) + content[33:])

        note = b"Comment\0\0" + zlib.compress(b"a cat")
        assert open_picture(content[:33] + png_chunk(b"zTXt", note) + content[33:]).notes == ()


class TestPaths:
    def test_missing_file(self, tmp_path: Path) -> None:
        message = message_of(tmp_path / "nowhere.png")

        assert "there is no file 'nowhere.png'. Check the path." in message
        assert str(tmp_path) not in message

    def test_folder(self, tmp_path: Path) -> None:
        assert f"{tmp_path.name!r} is a folder" in message_of(tmp_path)

    def test_device_is_not_read(self) -> None:
        assert "must be an existing file" in message_of("/dev/zero")

    @pytest.mark.parametrize(
        "path",
        ["a\0b.png", "x" * 5000, "", "data:image/png;base64,AAAA", "\ud800.png"],
        ids=["nul", "long", "empty", "data-url", "lone-surrogate"],
    )
    def test_odd_names_give_a_short_sentence(self, path: str) -> None:
        message = message_of(path)

        assert message.startswith("A picture must be ")
        assert len(message) < 250
        message.encode("utf-8")

    def test_web_address(self) -> None:
        assert "got a web address. Download it first." in message_of("https://example.org/a.png")

    def test_no_folder_of_the_server_in_any_cause(self, tmp_path: Path) -> None:
        path = tmp_path / "text.png"
        path.write_text("no picture")

        with pytest.raises(GroupCamError) as caught:
            open_picture(path)

        cause: BaseException | None = caught.value
        while cause is not None:
            assert str(tmp_path) not in str(cause)
            cause = cause.__cause__

    @pytest.mark.parametrize("source", [None, 3, [1, 2], object(), io.BytesIO(b"x")])
    def test_other_types(self, source: Any) -> None:
        with pytest.raises(TypeError, match=r"must be a path, .* got \w+\. Convert it"):
            open_picture(source)

    def test_closed_pil_file_is_a_sentence(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        Image.fromarray(quadrants()).save(path)
        image = Image.open(path)
        image.close()

        with pytest.raises(GroupCamError, match="breaks off or is damaged"):
            open_picture(image)


class TestDownscale:
    def test_averages_over_areas(self) -> None:
        columns = np.array([0, 100, 50, 150], dtype=np.uint8)
        rgb = np.broadcast_to(columns[None, :, None], (2, 4, 3)).copy()

        np.testing.assert_array_equal(downscale(rgb, 2)[0, :, 0], [50, 100])

    @pytest.mark.parametrize(
        ("size_hw", "expected"),
        [((400, 300), (100, 75)), ((10, 200), (5, 100)), ((1, 900), (1, 100))],
    )
    def test_keeps_the_shape(self, size_hw: tuple[int, int], expected: tuple[int, int]) -> None:
        rgb = np.zeros((*size_hw, 3), dtype=np.uint8)

        assert downscale(rgb, 100).shape == (*expected, 3)

    def test_small_picture_is_returned_as_it_is(self) -> None:
        rgb = quadrants()

        assert downscale(rgb, 32) is rgb

    def test_side_must_be_positive(self) -> None:
        with pytest.raises(GroupCamError, match="longest_side must be at least 1; got 0"):
            downscale(quadrants(), 0)
