import numpy as np
import pytest

from groupcam.metrics.refine import Array, Refinement


def refine(curves: Array, at_once: int, most: int | None = None) -> tuple[Refinement, list[int]]:
    """Compute points until all, or `most`, are there; return how many came each time too."""
    refinement = Refinement(*curves.shape)
    sizes: list[int] = []
    while points := refinement.next_points(at_once):
        refinement.add(points, np.array([curves[point] for point in points]))
        sizes.append(len(points))
        if most is not None and sum(sizes) >= most:
            break
    return refinement, sizes


@pytest.mark.parametrize("places", [2, 3, 5, 16, 113])
@pytest.mark.parametrize("at_once", [1, 2, 7, 64, 1000])
def test_every_point_is_computed_once(places: int, at_once: int) -> None:
    curves = np.random.default_rng(0).random((2, places))
    refinement = Refinement(2, places)
    seen = []

    while points := refinement.next_points(at_once):
        seen += points
        refinement.add(points, np.array([curves[point] for point in points]))

    assert sorted(seen) == [(curve, place) for curve in range(2) for place in range(places)]
    assert refinement.ready(1).tolist() == list(range(places))


def test_batches_are_full_until_few_points_are_left() -> None:
    _, sizes = refine(np.random.default_rng(0).random((2, 113)), 16)

    # The ten first points, then all others: 226 in all.
    assert sizes == [16] * 14 + [2]


def test_both_ends_the_middle_and_the_quarters_come_first() -> None:
    refinement, _ = refine(np.zeros((2, 113)), 1, most=10)

    for curve in range(2):
        assert refinement.ready(curve).tolist() == [0, 28, 56, 84, 112]


def test_points_gather_where_a_curve_bends() -> None:
    places = np.linspace(0, 1, 113)
    bent = 1 / (1 + np.exp((places - 0.7) * 60))  # falls around 0.7, flat elsewhere
    level = np.full(113, 0.5)

    refinement, _ = refine(np.stack([bent, level]), 1, most=34)

    there = refinement.ready(0)
    assert len(there) > len(refinement.ready(1))
    assert ((there > 64) & (there < 94)).sum() > len(there) / 2


def test_flat_curves_are_refined_evenly() -> None:
    refinement, _ = refine(np.full((1, 113), 0.25), 1, most=17)

    assert np.diff(refinement.ready(0)).max() <= 8


@pytest.mark.parametrize("centre", [0.2, 0.37, 0.55, 0.81])
def test_an_area_is_known_from_fewer_points_than_by_halving_all_gaps(centre: float) -> None:
    places = np.linspace(0, 1, 113)
    curve = 1 / (1 + np.exp((places - centre) * 200))
    evenly = np.arange(0, 113, 7)  # 17 points

    refinement, _ = refine(curve[None], 1, most=len(evenly))

    final = float(np.trapezoid(curve, places))
    ready = refinement.ready(0)
    adaptive = abs(float(np.trapezoid(curve[ready], places[ready])) - final)
    assert adaptive < 0.002
    assert adaptive < abs(float(np.trapezoid(curve[evenly], places[evenly])) - final)


def test_values_that_are_no_numbers_do_not_stop_it() -> None:
    _, sizes = refine(np.full((2, 9), np.nan), 4)

    assert sum(sizes) == 18
