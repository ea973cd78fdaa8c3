from typing import Any, get_args

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from timm.data.transforms_factory import create_transform

from groupcam.errors import GroupCamError
from groupcam.models import Preprocessing, View
from groupcam.models.preprocessing import (
    CropMode,
    inner_part,
    preprocessing_from_timm,
    preprocessing_from_torchvision,
)

SIZES = [(300, 451), (451, 300), (224, 224), (97, 64), (8, 160), (160, 8), (1, 1), (513, 512)]


def random_picture(height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(height * 1000 + width)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("input_size", "crop_pct", "crop_mode", "interpolation"),
    [
        ((224, 224), 0.875, "center", "bicubic"),
        ((64, 64), 1.0, "center", "bilinear"),
        ((96, 64), 0.9, "center", "bicubic"),
        ((64, 64), 1.25, "center", "bicubic"),
        ((64, 64), 1.0, "squash", "bicubic"),
        ((65, 65), 0.95, "squash", "bilinear"),
        ((64, 64), 0.9, "border", "bicubic"),
        ((63, 96), 1.0, "border", "bilinear"),
    ],
)
def test_input_equals_timms_own_transform(
    size: tuple[int, int],
    input_size: tuple[int, int],
    crop_pct: float,
    crop_mode: str,
    interpolation: str,
) -> None:
    config: dict[str, Any] = {
        "input_size": (3, *input_size),
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "interpolation": interpolation,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.3, 0.4),
    }
    rgb = random_picture(*size)

    ours = preprocessing_from_timm(config)(rgb)

    theirs = create_transform(**config, is_training=False)(Image.fromarray(rgb))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "architecture", ["resnet50", "inception_v3", "efficientnet_b0", "swin_t", "vgg19"]
)
def test_input_equals_torchvisions_own_transform(size: tuple[int, int], architecture: str) -> None:
    preset = torchvision.models.get_model_weights(architecture)["DEFAULT"].transforms()
    rgb = random_picture(*size)

    ours = preprocessing_from_torchvision(preset)(rgb)

    torch.testing.assert_close(ours, preset(Image.fromarray(rgb)), rtol=0, atol=1e-6)


def test_whole_view_keeps_all_four_corners() -> None:
    rgb = np.zeros((100, 300, 3), dtype=np.uint8)
    for channel, (row, column) in enumerate([(0, 0), (0, -60), (-20, 0)]):
        rgb[row:, column:][:20, :60, channel] = 255
    preprocessing = Preprocessing((50, 50), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    whole = preprocessing(rgb, "whole")
    crop = preprocessing(rgb, "crop")

    assert [whole[0, 2, 2], whole[1, 2, -3], whole[2, -3, 2]] == [1.0, 1.0, 1.0]
    assert crop.max() == 0  # the centred square has none of the corners
    assert whole.shape == crop.shape == (3, 50, 50)


@pytest.mark.parametrize("view", get_args(View))
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_outside_the_box_do_not_reach_the_input(
    size: tuple[int, int], crop_mode: CropMode, view: View
) -> None:
    preprocessing = Preprocessing((64, 64), resize_size=(70, 70), crop_mode=crop_mode)
    rgb = random_picture(*size)
    top, left, bottom, right = preprocessing.box(size, view)
    other = 255 - rgb
    # The resize reaches a little over the box: twice the scale, and the box is in whole pixels.
    reach = 2 + 2 * max(size) // 64
    inner = slice(max(top - reach, 0), bottom + reach), slice(max(left - reach, 0), right + reach)
    other[inner] = rgb[inner]

    assert 0 <= top < bottom <= size[0]
    assert 0 <= left < right <= size[1]
    torch.testing.assert_close(preprocessing(other, view), preprocessing(rgb, view))


def test_box_is_the_centred_square_of_a_wide_picture() -> None:
    # 100 x 300 -> shortest side 256 (x2.56) -> centre 224 = 87.5 pixels of the picture.
    preprocessing = Preprocessing((224, 224), resize_size=(256, 256))

    assert preprocessing.box((100, 300)) == (6, 106, 94, 194)
    assert preprocessing.box((100, 300), "whole") == (0, 0, 100, 300)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("input_size", [(224, 224), (64, 96)], ids=str)
def test_fit_equals_timms_border_mode_without_a_crop(
    size: tuple[int, int], input_size: tuple[int, int]
) -> None:
    config: dict[str, Any] = {
        "input_size": (3, *input_size),
        "crop_pct": 1.0,
        "crop_mode": "border",
        "interpolation": "bicubic",
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.3, 0.4),
    }
    rgb = random_picture(*size)
    # The weights' own crop plays no part.
    preprocessing = preprocessing_from_timm({**config, "crop_pct": 0.7, "crop_mode": "center"})

    ours = preprocessing(rgb, "fit")

    theirs = create_transform(**config, is_training=False)(Image.fromarray(rgb))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_fit_sees_the_whole_picture_inside_a_border_of_the_mean_colour() -> None:
    # 100 x 300 -> 75 x 224.67: the longer side 225, so 75 rows in the middle of 225.
    preprocessing = Preprocessing((225, 225))
    white = np.full((100, 300, 3), 255, np.uint8)

    inputs = preprocessing(white, "fit")

    assert preprocessing.box((100, 300), "fit") == (0, 0, 100, 300)
    assert preprocessing.inner((100, 300), "fit") == (75, 0, 150, 225)
    assert inputs[:, 75:150].min() > 2  # white, normalised
    border = torch.cat([inputs[:, :75], inputs[:, 150:]], dim=1)
    assert border.abs().max() < 0.01  # the mean becomes 0, but for rounding to whole colours


def test_inner_is_all_of_the_input_unless_there_is_a_border() -> None:
    center, border = (
        Preprocessing((64, 96), resize_size=(70, 105), crop_mode=mode)
        for mode in ("center", "border")
    )

    assert center.inner((100, 300)) == center.inner((100, 300), "whole") == (0, 0, 64, 96)
    assert center.box((100, 300), "fit") == (0, 0, 100, 300)
    # 100 x 300 -> 35 x 105 fits into 70 x 105; 35 rows of the 64 are picture.
    assert border.inner((100, 300)) == (14, 0, 49, 96)


PICTURES = [(120, 90), (90, 120), (100, 100), (60, 240), (240, 60), (400, 380), (9, 13)]


@pytest.mark.parametrize("view", get_args(View))
@pytest.mark.parametrize("crop_mode", get_args(CropMode))
@pytest.mark.parametrize("input_size", [(64, 64), (48, 80)], ids=str)
@pytest.mark.parametrize("size", PICTURES, ids=str)
def test_a_bright_dot_comes_back_to_the_pixel_where_it_was(
    size: tuple[int, int], input_size: tuple[int, int], crop_mode: CropMode, view: View
) -> None:
    """What a view lays on the picture is `inner` of the map, stretched over `box`."""
    resize_size = (input_size[0] * 9 // 8, input_size[1] * 9 // 8)
    preprocessing = Preprocessing(input_size, resize_size=resize_size, crop_mode=crop_mode)
    top, left, bottom, right = preprocessing.box(size, view)

    for share in (0.1, 0.37, 0.5, 0.9):
        dot = (top + int(share * (bottom - top)), left + int((1 - share) * (right - left)))
        rgb = np.zeros((*size, 3), np.uint8)
        rgb[dot] = 255
        # Above black and above the border, which is no brighter than the mean.
        brightness = preprocessing(rgb, view).sum(0) - preprocessing(rgb * 0, view).sum(0)

        seen = inner_part(brightness, preprocessing.inner(size, view))
        row, column = divmod(int(seen.argmax()), seen.shape[1])

        scales = ((bottom - top) / seen.shape[0], (right - left) / seen.shape[1])
        found = (top + (row + 0.5) * scales[0], left + (column + 0.5) * scales[1])
        for here, there, scale in zip(found, dot, scales, strict=True):
            assert abs(here - (there + 0.5)) <= max(1.0, scale)


def test_to_rgb_undoes_the_normalisation() -> None:
    rgb = random_picture(32, 32)
    preprocessing = Preprocessing((32, 32))

    inputs = torch.stack([preprocessing(rgb), preprocessing(rgb[::-1].copy())])
    pictures = preprocessing.to_rgb(inputs)

    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, np.stack([rgb, rgb[::-1]]))


def test_to_rgb_clips_what_no_picture_can_show() -> None:
    preprocessing = Preprocessing((2, 2))

    assert preprocessing.to_rgb(torch.full((3, 2, 2), 100.0)).min() == 255
    assert preprocessing.to_rgb(torch.full((3, 2, 2), -100.0)).max() == 0


def test_picture_is_not_changed() -> None:
    rgb = random_picture(50, 70)
    before = rgb.copy()

    Preprocessing((32, 32))(rgb)

    np.testing.assert_array_equal(rgb, before)


def test_reversed_picture_view_is_accepted() -> None:
    rgb = random_picture(50, 70)

    mirrored = Preprocessing((50, 70))(rgb[:, ::-1])

    torch.testing.assert_close(mirrored, Preprocessing((50, 70))(rgb).flip(-1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": (0, 4)}, r"input_size must be .*got \(0, 4\)"),
        ({"resize_size": (4, -1)}, "resize_size must be"),
        ({"mean": (0.5,)}, "mean and std must be three numbers"),
        ({"std": (0.0, 1.0, 1.0)}, "std above 0"),
        ({"crop_mode": "centre"}, "crop_mode must be one of .*'centre'"),
        ({"interpolation": "cubic"}, "interpolation must be one of .*'cubic'"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"input_size": (4, 4), **settings}

    with pytest.raises(GroupCamError, match=message):
        Preprocessing(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rgb",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "grey", "empty"],
)
def test_other_arrays_than_rgb_pictures_are_refused(rgb: np.ndarray) -> None:
    with pytest.raises(GroupCamError, match=r"uint8 array \(H, W, 3\)"):
        Preprocessing((4, 4))(rgb)


def test_unknown_view_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(GroupCamError, match=r"view must be one of .*'all'"):
        Preprocessing((4, 4))(picture, "all")  # type: ignore[arg-type]


def test_networks_for_other_than_rgb_are_refused() -> None:
    config = {"input_size": (1, 28, 28)}

    with pytest.raises(GroupCamError, match=r"must take RGB pictures .* it takes 1"):
        preprocessing_from_timm(config)
