"""From one value a picture to a table: means with intervals, and whether two methods differ.

Everything is drawn from a seed, so a table is the same every time. Methods are compared on the
same pictures (paired), which is far sharper than comparing two intervals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groupcam.errors import GroupCamError

Array = npt.NDArray[np.float64]

RESAMPLES = 10_000
EXACT_UP_TO = 14  # pictures: 2^14 signs are fewer than twice RESAMPLES
CHUNK = 1_000_000  # values of resamples held at once, 8 MB
Z_95 = 1.959963984540054  # two-sided quantile of the normal distribution


@dataclass(frozen=True)
class Interval:
    """A value and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


def mean_interval(values: Sequence[float] | Array, seed: int = 0) -> Interval:
    """Return the mean of per-picture values with its 95 % interval.

    The percentile bootstrap: pictures are drawn with replacement 10,000 times, and the interval
    holds the middle 95 % of the means. One picture gives an interval of no width, which says
    nothing.

    Reference:
        Efron, Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.

    Known flaw: too narrow for fewer than about 20 pictures.

    Raises:
        GroupCamError: there is no value, or one is not finite.
    """
    checked = _checked(values)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    at_once = max(1, CHUNK // len(checked))
    for start in range(0, RESAMPLES, at_once):
        count = min(at_once, RESAMPLES - start)
        drawn = generator.integers(len(checked), size=(count, len(checked)))
        means[start : start + count] = checked[drawn].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(checked.mean()), float(low), float(high))


def difference_interval(
    first: Sequence[float] | Array, second: Sequence[float] | Array, seed: int = 0
) -> Interval:
    """Return the mean of first - second on the same pictures with its 95 % interval.

    Raises:
        GroupCamError: the lengths differ, there is no value, or one is not finite.
    """
    return mean_interval(_differences(first, second), seed)


def sign_flip_p_value(
    first: Sequence[float] | Array, second: Sequence[float] | Array, seed: int = 0
) -> float:
    """Return how often chance alone gives a mean difference at least as large, in (0, 1].

    If the two methods were exchangeable, each picture's difference could as well have the other
    sign. All 2^N signs are tried for up to 14 pictures, else 10,000 random ones beside those
    observed. Two-sided: small means that the methods differ, whichever is better.

    Reference:
        Fisher's randomisation test for pairs; Good 2005, Permutation, Parametric and Bootstrap
        Tests of Hypotheses, chapter 3.

    Known flaw: it says that a difference is there, not that it matters; with many pictures the
    smallest one is found. Comparing many methods needs a correction for their number.

    Raises:
        GroupCamError: the lengths differ, there is no value, or one is not finite.
    """
    differences = _differences(first, second)
    observed = abs(differences.sum())
    # Sums of the same numbers in another order differ in the last bits.
    limit = observed - 1e-9 * np.abs(differences).sum()
    count = len(differences)
    if count <= EXACT_UP_TO:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float((np.abs((2 * bits - 1) @ differences) >= limit).mean())
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // count)
    extreme = 0
    for start in range(0, RESAMPLES, at_once):
        size = (min(at_once, RESAMPLES - start), count)
        signs = 2.0 * generator.integers(2, size=size) - 1
        extreme += int((np.abs(signs @ differences) >= limit).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def win_rate(first: Sequence[float] | Array, second: Sequence[float] | Array) -> Interval:
    """Return on which fraction of pictures first > second, with its 95 % interval, in [0, 1].

    A tie is half a win. The interval is Wilson's, which stays inside [0, 1] and is right for few
    pictures too.

    Reference:
        Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Known flaw: a win by a hair counts like any other. For metrics where low is better, the wins of
    the better method are 1 - this.

    Raises:
        GroupCamError: the lengths differ, there is no value, or one is not finite.
    """
    differences = _differences(first, second)
    count = len(differences)
    rate = float(((differences > 0) + 0.5 * (differences == 0)).mean())
    spread = 1 + Z_95**2 / count
    centre = (rate + Z_95**2 / (2 * count)) / spread
    half = Z_95 * math.sqrt(rate * (1 - rate) / count + (Z_95 / (2 * count)) ** 2) / spread
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def _differences(first: Sequence[float] | Array, second: Sequence[float] | Array) -> Array:
    """Return first - second of each picture."""
    if len(first) != len(second):
        raise GroupCamError(
            "Two methods must have values of the same pictures, in the same order; got "
            f"{len(first)} and {len(second)} values."
        )
    return _checked(first) - _checked(second)


def _checked(values: Sequence[float] | Array) -> Array:
    """Return the values as an array.

    Raises:
        GroupCamError: there is none, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
        raise GroupCamError(
            "There must be one finite value a picture, and at least one picture; got an array of "
            f"shape {array.shape} with {int((~np.isfinite(array)).sum())} values that are not "
            "finite. Leave out pictures without a value."
        )
    return array
