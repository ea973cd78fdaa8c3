from typing import Any

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


@pytest.mark.parametrize("view", ["crop", "whole"])
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
