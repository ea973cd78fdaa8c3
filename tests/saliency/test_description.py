"""A map in words: that they say where it is strong, and the laws they keep."""

import re

import pytest
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.language import speaking
from groupcam.saliency.description import describe, half_energy_area

SIDE = 96


def blob(row: float, column: float, radius: float = 0.1, height: float = 1.0) -> Tensor:
    """A smooth bump; row, column and radius are shares of the side."""
    ticks = (torch.arange(SIDE) + 0.5) / SIDE
    squared = (ticks[:, None] - row).square() + (ticks[None, :] - column).square()
    return height * torch.exp(-squared / radius**2)


def where(saliency_map: Tensor) -> str:
    return describe(saliency_map).partition(";")[0]


@pytest.mark.parametrize(
    ("row", "column", "name"),
    [
        (0.1, 0.1, "upper left"),
        (0.1, 0.5, "top"),
        (0.1, 0.9, "upper right"),
        (0.5, 0.1, "left"),
        (0.5, 0.5, "centre"),
        (0.5, 0.9, "right"),
        (0.9, 0.1, "lower left"),
        (0.9, 0.5, "bottom"),
        (0.9, 0.9, "lower right"),
    ],
)
def test_one_blob_is_named_by_its_third(row: float, column: float, name: str) -> None:
    assert where(blob(row, column)) == f"strongest at the {name}"


def test_two_places_are_named_the_stronger_first() -> None:
    both = blob(0.8, 0.8) + blob(0.15, 0.15, height=0.8)

    assert where(both) == "strongest at the lower right and at the upper left"


def test_three_places_are_named_and_more_are_many() -> None:
    corners = [blob(row, column, 0.06) for row in (0.1, 0.9) for column in (0.1, 0.9)]

    three = where(corners[0] + 0.9 * corners[1] + 0.8 * corners[2])
    assert three == "strongest at the upper left, at the upper right and at the lower left"
    assert where(sum(corners, torch.zeros(SIDE, SIDE))) == "strong at many places"


def test_a_faint_or_tiny_second_place_is_not_named() -> None:
    assert where(blob(0.1, 0.1) + blob(0.9, 0.9, height=0.4)) == "strongest at the upper left"
    assert where(blob(0.1, 0.1) + blob(0.9, 0.9, radius=0.02)) == "strongest at the upper left"


def test_two_blobs_of_one_third_are_told_once() -> None:
    assert where(blob(0.05, 0.05, 0.03) + blob(0.25, 0.25, 0.03)) == "strongest at the upper left"


def test_a_ring_is_around_its_centre_and_not_at_it() -> None:
    ring = (blob(0.5, 0.5, 0.3) - blob(0.5, 0.5, 0.2)).clamp(min=0)

    assert where(ring) == "strongest around the centre"


def test_a_bar_is_named_by_its_side() -> None:
    bar = torch.zeros(SIDE, SIDE)
    bar[:, :10] = 1

    assert describe(bar) == "strongest at the left; half of its energy lies on 5% of the area"
    with speaking("de"):
        assert describe(bar) == (
            "am stärksten links; die Hälfte der Energie liegt auf 5% der Fläche"
        )


def test_an_even_map_is_spread_and_an_empty_one_blank() -> None:
    assert describe(torch.ones(7, 9)) == "spread over the whole picture"
    assert describe(torch.zeros(7, 9)) == "blank"
    assert describe(1 - blob(0.5, 0.5, 0.1)) == "spread over the whole picture"


def test_one_pixel_is_less_than_one_percent() -> None:
    single = torch.zeros(SIDE, SIDE)
    single[3, 3] = 1

    assert describe(single).endswith("half of its energy lies on less than 1% of the area")


def test_half_of_the_energy_is_counted_from_the_strongest_pixels() -> None:
    # 4 + 1 of 10 are half of the sum: 2 of 8 pixels.
    assert half_energy_area(torch.tensor([[4.0, 1, 1, 1], [1, 1, 1, 0]])) == 2 / 8
    assert half_energy_area(torch.ones(4, 4)) == 0.5
    assert half_energy_area(torch.zeros(4, 4)) == 0


def smooth_map(seed: int) -> Tensor:
    """A map of four bumps at places of chance, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    bumps = torch.rand(4, 4, generator=generator).tolist()
    found = torch.stack([blob(a, b, 0.03 + c / 8, 0.3 + d) for a, b, c, d in bumps]).sum(dim=0)
    return found / found.max()


def mirrored(text: str, one: str, other: str) -> str:
    swap = {one: other, other: one}
    return re.sub(f"{one}|{other}", lambda match: swap[match[0]], text)


@pytest.mark.parametrize("seed", range(20))
def test_mirroring_the_map_mirrors_the_words(seed: int) -> None:
    saliency_map = smooth_map(seed)
    text = describe(saliency_map)

    assert describe(saliency_map.flip(1)) == mirrored(text, "left", "right")
    upside_down = mirrored(mirrored(text, "upper", "lower"), "top", "bottom")
    assert describe(saliency_map.flip(0)) == upside_down


@pytest.mark.parametrize("seed", range(5))
def test_neither_the_scale_nor_the_size_changes_the_words(seed: int) -> None:
    saliency_map = smooth_map(seed)
    text = describe(saliency_map)

    assert describe(saliency_map * 0.01) == text
    larger = saliency_map.repeat_interleave(3, dim=0).repeat_interleave(3, dim=1)
    assert describe(larger) == text


def test_places_on_the_line_between_two_thirds_are_in_the_middle() -> None:
    single = torch.zeros(3, 6)
    single[1, 1:3] = 1  # centre at a third of the width

    assert where(single) == where(single.flip(1)) == "strongest at the centre"


@pytest.mark.parametrize(
    ("saliency_map", "message"),
    [
        (torch.zeros(1, 4, 4), r"must be of shape \(H, W\); got \(1, 4, 4\)"),
        (torch.zeros(0, 4), r"must be of shape \(H, W\); got \(0, 4\)"),
        (torch.full((4, 4), torch.nan), "finite values of 0 or more"),
        (torch.full((4, 4), -1.0), "finite values of 0 or more"),
    ],
)
def test_what_is_no_map_is_refused(saliency_map: Tensor, message: str) -> None:
    with pytest.raises(GroupCamError, match=message):
        describe(saliency_map)
