import numpy as np
import pytest

from groupcam.errors import GroupCamError
from groupcam.metrics.statistics import (
    difference_interval,
    mean_interval,
    sign_flip_p_value,
    win_rate,
)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(1).normal(3, 2, size=400)

    interval = mean_interval(values)

    assert interval.value == pytest.approx(values.mean())
    error = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(interval.value - error, abs=0.02)
    assert interval.high == pytest.approx(interval.value + error, abs=0.02)
    assert mean_interval(values) == interval
    assert mean_interval(values, seed=1) != interval


def test_the_interval_holds_the_true_mean_about_95_times_in_100() -> None:
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        interval = mean_interval(generator.exponential(1, size=50))
        held += interval.low <= 1 <= interval.high

    assert 88 <= held <= 99


def test_one_picture_and_equal_pictures_have_an_interval_of_no_width() -> None:
    for values in ([0.4], [0.4] * 10):
        interval = mean_interval(values)
        assert [interval.value, interval.low, interval.high] == pytest.approx([0.4] * 3)


def test_paired_differences_are_sharper_than_two_intervals() -> None:
    generator = np.random.default_rng(3)
    easy = generator.normal(0, 1, size=100)  # how easy a picture is, for both methods
    first = easy + 0.1 + generator.normal(0, 0.1, size=100)

    interval = difference_interval(first, easy)

    assert interval.value == pytest.approx((first - easy).mean())
    assert 0 < interval.low < interval.high < 0.2
    assert interval.high - interval.low < 0.1 * (
        mean_interval(easy).high - mean_interval(easy).low + 1
    )


@pytest.mark.parametrize(
    ("first", "p_value"),
    [
        ([1.0, 2.0, 3.0], 2 / 8),  # only +++ and --- are as far from 0 as 6
        ([1.0, -1.0], 1.0),
        ([1.0, 2.0, -3.0, 4.0], 10 / 16),  # |sums| 10 10 8 8 6 6 4 4 4 4 and six smaller ones
        ([0.0, 0.0], 1.0),
        ([0.5], 1.0),
    ],
)
def test_all_signs_are_tried_for_few_pictures(first: list[float], p_value: float) -> None:
    assert sign_flip_p_value(first, [0.0] * len(first)) == pytest.approx(p_value)
    assert sign_flip_p_value([0.0] * len(first), first) == pytest.approx(p_value)


def test_random_signs_agree_with_the_normal_approximation() -> None:
    generator = np.random.default_rng(4)
    differences = generator.normal(0.2, 1, size=100)

    p_value = sign_flip_p_value(differences, np.zeros(100))

    # Two-sided tail of the sum over the root of the sum of squares: 2.13 here.
    z = abs(differences.sum()) / np.sqrt((differences**2).sum())
    tail = 2 * (1 - _normal_cdf(z))
    assert p_value == pytest.approx(tail, abs=0.015)
    assert sign_flip_p_value(differences + 5, np.zeros(100)) == pytest.approx(1 / 10_001)


def test_chance_alone_gives_small_p_values_as_often_as_they_say() -> None:
    generator = np.random.default_rng(5)
    p_values = [
        sign_flip_p_value(generator.normal(size=10), generator.normal(size=10)) for _ in range(400)
    ]

    assert 0.03 <= np.mean([p <= 0.05 for p in p_values]) <= 0.08
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_win_rates_by_wilsons_formula() -> None:
    rate = win_rate([1.0] * 8 + [0.0] * 2, [0.5] * 10)

    # 8 of 10, as in Newcombe's tables: 0.490 to 0.943.
    assert (rate.value, rate.low, rate.high) == pytest.approx((0.8, 0.490, 0.943), abs=5e-4)
    half = win_rate([1.0, 2.0], [1.0, 2.0])
    assert half.value == 0.5
    assert half.low + half.high == pytest.approx(1)
    sure = win_rate([1.0], [0.0])
    assert (sure.value, sure.high) == (1.0, 1.0)
    assert 0 < sure.low < 0.5


def test_values_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(GroupCamError, match="3 and 2 values"):
        difference_interval([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(GroupCamError, match="at least one picture"):
        mean_interval([])
    with pytest.raises(GroupCamError, match=r"with 1 values that are not finite"):
        win_rate([1.0, float("nan")], [1.0, 2.0])


def _normal_cdf(z: float) -> float:
    x = np.linspace(-10, z, 100_001)
    return float(np.trapezoid(np.exp(-(x**2) / 2), x) / np.sqrt(2 * np.pi))
