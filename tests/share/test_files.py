"""The files of a result and their archive."""

import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from groupcam.share.files import bundle, files_of
from groupcam.share.record import Record, manifest_of

WITHOUT_CURVES = {"overlay.png", "saliency_map.npy", "masks.png", "report.html"}
CURVES = {"curves.png", "curves.svg", "curves.csv"}


@pytest.fixture(scope="module")
def archive(record: Record) -> bytes:
    return bundle(record)


def contents_of(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert found.testzip() is None
        return {name: found.read(name) for name in found.namelist()}


def picture_of(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_archive_has_every_file(archive: bytes) -> None:
    assert set(contents_of(archive)) == WITHOUT_CURVES | CURVES | {"manifest.json"}


def test_files_are_what_they_are_called(archive: bytes, record: Record) -> None:
    contents = contents_of(archive)

    saliency_map = np.load(io.BytesIO(contents["saliency_map.npy"]))
    assert saliency_map.dtype == np.float32
    np.testing.assert_array_equal(saliency_map, record.explanation.saliency_map.numpy())
    height, width = record.picture.rgb.shape[:2]
    assert picture_of(contents["overlay.png"]).size == (width, height)
    for name in ("masks.png", "curves.png"):
        assert picture_of(contents[name]).format == "PNG"
    assert contents["curves.svg"].startswith(b"<?xml")
    assert contents["curves.csv"].startswith(b"fraction,insertion,deletion\r\n")
    assert contents["report.html"].startswith(b"<!doctype html>")
    assert json.loads(contents["manifest.json"]) == manifest_of(record)


def test_equal_results_give_equal_archives(archive: bytes, record: Record) -> None:
    later = dataclasses.replace(record.explanation, elapsed_s=record.explanation.elapsed_s + 1)

    assert bundle(dataclasses.replace(record, explanation=later)) == archive


def test_archive_tells_no_time_and_no_machine(archive: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        for entry in found.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.create_system == 3
            assert entry.external_attr >> 16 == 0o644
            assert "/" not in entry.filename


def test_without_curves_there_are_no_files_of_them(record: Record) -> None:
    files = files_of(dataclasses.replace(record, curves=None))

    assert set(files) == WITHOUT_CURVES


def test_colours_and_opacity_reach_overlay_and_report(record: Record) -> None:
    plain = dataclasses.replace(record, curves=None)
    one, other = (files_of(plain, color_map=name) for name in ("inferno", "viridis"))
    bare = files_of(plain, opacity=0.0)

    assert one["overlay.png"] != other["overlay.png"]
    assert b"(viridis:" in other["report.html"]
    top, left, bottom, right = record.box
    drawn = np.array(picture_of(bare["overlay.png"]))[top:bottom, left:right]
    np.testing.assert_array_equal(drawn, record.seen)


@pytest.mark.parametrize("side", [10, 4096])
def test_overlay_is_no_larger_than_asked(record: Record, side: int) -> None:
    plain = dataclasses.replace(record, curves=None)

    drawn = picture_of(files_of(plain, overlay_side_px=side)["overlay.png"])

    assert max(drawn.size) == min(side, max(record.picture.rgb.shape))
