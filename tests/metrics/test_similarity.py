import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.similarity import pearson, spearman, ssim


def test_rank_correlation_by_hand() -> None:
    values = torch.tensor([[0.0, 0.0], [1.0, 2.0]])

    assert spearman(values, values.exp()) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)
    # Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: the covariance 4.5 over the root of 4.5 x 5.
    counted = torch.arange(4.0).reshape(2, 2)
    assert spearman(values, counted) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_linear_correlation_by_hand() -> None:
    # Deviations -2, -1, 0, 3 and -1, 1, 0, 0: the sum of products 1 over the root of 14 x 2.
    first = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    second = torch.tensor([[1.0, 3.0], [2.0, 2.0]])

    assert pearson(first, second) == pytest.approx(1 / math.sqrt(28))
    assert pearson(first, 3 * first + 1) == pytest.approx(1)
    assert pearson(first, -first) == pytest.approx(-1)


@pytest.mark.parametrize("alike", [pearson, spearman], ids=["pearson", "spearman"])
def test_flat_maps_are_alike_only_to_each_other(alike: Callable[[Tensor, Tensor], float]) -> None:
    flat, other = torch.full((2, 2), 0.3), torch.tensor([[0.0, 0.0], [1.0, 2.0]])

    assert alike(flat, flat + 1) == 1
    assert alike(flat, other) == 0


def test_structural_similarity_of_flat_maps_by_hand() -> None:
    first, second = torch.full((20, 20), 0.5), torch.full((20, 20), 0.25)

    # Without variance the second factor is 1: (2 x 0.125 + c1) / (0.25 + 0.0625 + c1).
    expected = (0.25 + 1e-4) / (0.3125 + 1e-4)
    assert ssim(first, second) == pytest.approx(expected)
    assert ssim(first, first) == pytest.approx(1)


def test_structural_similarity_is_the_mean_over_all_windows(generator: torch.Generator) -> None:
    first = torch.rand(12, 13, generator=generator)
    second = (first + 0.3 * torch.rand(12, 13, generator=generator)).clamp(0, 1)

    # The formula of the paper, window by window, with the weights of a Gaussian of sigma 1.5.
    weight = {
        (row, column): math.exp(-((row - 5) ** 2 + (column - 5) ** 2) / 4.5)
        for row in range(11)
        for column in range(11)
    }
    total = sum(weight.values())
    values = []
    for top in range(2):
        for left in range(3):
            pairs = [
                (
                    w / total,
                    float(first[top + row, left + col]),
                    float(second[top + row, left + col]),
                )
                for (row, col), w in weight.items()
            ]
            mean_x, mean_y = sum(w * x for w, x, _ in pairs), sum(w * y for w, _, y in pairs)
            var_x = sum(w * (x - mean_x) ** 2 for w, x, _ in pairs)
            var_y = sum(w * (y - mean_y) ** 2 for w, _, y in pairs)
            both = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in pairs)
            c1, c2 = 0.01**2, 0.03**2
            luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            values.append(luminance * (2 * both + c2) / (var_x + var_y + c2))
    assert ssim(first, second) == pytest.approx(sum(values) / 6, abs=1e-9)
    assert ssim(first, second) == ssim(second, first)


def test_maps_smaller_than_the_window_are_compared_as_a_whole() -> None:
    small = torch.tensor([[0.0, 1.0], [1.0, 0.0]])

    assert ssim(small, small) == pytest.approx(1)
    assert ssim(small, 1 - small) < -0.9


def test_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(GroupCamError, match=r"one size to be compared; got \(2, 2\) and \(4,\)"):
        spearman(torch.zeros(2, 2), torch.zeros(4))
