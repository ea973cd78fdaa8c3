import numpy as np
import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.metrics.annotations import ObjectBox
from groupcam.metrics.localisation import box_mask, energy_pointing_game, pointing_game
from groupcam.models import Preprocessing, View


def box(left: float, top: float, right: float, bottom: float) -> ObjectBox:
    return ObjectBox("cat", left, top, right, bottom, is_uncertain=False)


def test_a_box_goes_through_the_crop_by_hand() -> None:
    # A picture of 8 x 16 becomes 4 x 8, of which columns 2 to 5 are kept: 4 to 11 of the picture.
    preprocessing = Preprocessing((4, 4))

    mask = box_mask([box(6, 0, 10, 4)], preprocessing, (8, 16))

    # Columns (6 - 4) / 2 = 1 to (10 - 4) / 2 = 3, rows 0 to 2.
    assert mask.tolist() == [[False, True, True, False]] * 2 + [[False] * 4] * 2


def test_boxes_outside_the_crop_vanish_and_others_are_cut() -> None:
    preprocessing = Preprocessing((4, 4))

    outside = box_mask([box(0, 0, 4, 8)], preprocessing, (8, 16))
    cut = box_mask([box(0, 0, 6, 8)], preprocessing, (8, 16))
    whole = box_mask([box(0, 0, 4, 8)], preprocessing, (8, 16), "whole")

    assert not outside.any()
    assert cut.tolist() == [[True, False, False, False]] * 4
    assert whole.tolist() == [[True, False, False, False]] * 4


def test_no_box_gives_an_empty_mask_and_several_their_union() -> None:
    preprocessing = Preprocessing((4, 4))

    assert not box_mask([], preprocessing, (4, 4)).any()
    both = box_mask([box(0, 0, 2, 2), box(1, 1, 3, 3)], preprocessing, (4, 4))
    assert both.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("view", ["crop", "whole", "fit"])
@pytest.mark.parametrize("size_hw", [(90, 160), (160, 90), (64, 64), (30, 200)], ids=str)
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_a_box_lies_where_the_network_sees_the_object(
    view: View, size_hw: tuple[int, int], crop_mode: str
) -> None:
    # A white rectangle on black: what the network gets is white inside the box's mask.
    height, width = size_hw
    top, bottom, left, right = height // 4, height * 5 // 8, width // 3, width * 2 // 3
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[top:bottom, left:right] = 255
    preprocessing = Preprocessing(
        (64, 64),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        resize_size=(72, 72),
        crop_mode=crop_mode,  # type: ignore[arg-type]  # a parameter's values have no literal type
    )

    seen = preprocessing(rgb, view)[0]
    mask = box_mask([box(left, top, right, bottom)], preprocessing, size_hw, view)

    # Two pixels of the input are left for the blur and the rounding of resizing.
    grown = torch.nn.functional.max_pool2d(mask[None].float(), 5, 1, 2)[0] > 0
    shrunk = torch.nn.functional.max_pool2d(1 - mask[None].float(), 5, 1, 2)[0] == 0
    assert mask.any()
    assert (seen[~grown] < 0.5).all()
    assert (seen[shrunk] > 0.5).all()


def test_energy_inside_the_box_by_hand() -> None:
    maps = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.5, 0.5], [0.5, 0.5]]])
    mask = torch.tensor([[False, True], [False, True]])

    # (2 + 4) / 10, and the box's share of a flat map.
    energy = energy_pointing_game(maps, torch.stack([mask, mask]))

    assert energy.tolist() == pytest.approx([0.6, 0.5])
    assert energy_pointing_game(maps, torch.ones(2, 2, 2).bool()).tolist() == pytest.approx([1, 1])


def test_a_map_of_zeros_has_no_energy_and_points_nowhere() -> None:
    mask = torch.ones(1, 2, 2, dtype=torch.bool)

    assert energy_pointing_game(torch.zeros(1, 2, 2), mask).tolist() == [0.0]
    assert pointing_game(torch.zeros(1, 2, 2), mask).tolist() == [False]
    assert pointing_game(torch.ones(1, 2, 2), mask).tolist() == [False]


@pytest.mark.parametrize(
    ("tolerance", "hit"), [(0.0, False), (4.9, False), (5.0, True), (15.0, True)]
)
def test_a_peak_near_the_box_hits_within_the_tolerance(tolerance: float, hit: bool) -> None:
    maps = torch.zeros(1, 32, 32)
    maps[0, 3, 4] = 1.0
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 6:, 8:] = True  # 3 rows and 4 columns away: 5 pixels

    assert pointing_game(maps, mask, tolerance).tolist() == [hit]


def test_of_equal_peaks_the_first_in_reading_order_counts() -> None:
    maps = torch.zeros(2, 8, 8)
    maps[:, 1, 6] = maps[:, 5, 2] = 1.0
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, 1, 6] = masks[1, 5, 2] = True

    assert pointing_game(maps, masks, 0).tolist() == [True, False]


def test_pictures_that_cannot_be_judged_are_refused() -> None:
    maps, masks = torch.rand(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)

    masks[1] = False
    with pytest.raises(GroupCamError, match=r"none for picture 1 \(1 in all\)"):
        energy_pointing_game(maps, masks)
    with pytest.raises(GroupCamError, match="must not be negative"):
        energy_pointing_game(maps[:1] - 1, masks[:1])
    with pytest.raises(GroupCamError, match="a mask each"):
        pointing_game(maps, masks[:1])
    with pytest.raises(GroupCamError, match="at least 0; got -1"):
        pointing_game(maps[:1], masks[:1], -1)
    with pytest.raises(GroupCamError, match="must be finite"):
        pointing_game(maps[:1] / 0, masks[:1])
