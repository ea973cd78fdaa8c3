import pytest
import torch

from groupcam.metrics.areas import area_under_curve, estimate_area


def test_area_of_a_straight_line_does_not_depend_on_uneven_steps() -> None:
    fractions = torch.tensor([0.0, 0.3, 0.6, 0.9, 1.0])

    assert float(area_under_curve(1 - fractions, fractions)) == pytest.approx(0.5)


def test_the_error_of_an_area_holds_for_most_rough_curves_and_shrinks() -> None:
    # Falling curves with noise of a twentieth of their height, whose areas are known.
    generator = torch.Generator().manual_seed(3)
    fractions = torch.linspace(0, 1, 113)
    held, errors = [], []
    for _ in range(100):
        steepness = 2 + 20 * torch.rand(1, generator=generator)
        curve = (-steepness * fractions).exp() + 0.05 * torch.randn(113, generator=generator)
        final = float(area_under_curve(curve, fractions))
        estimates = []
        for ready in (9, 17, 65):
            at = torch.linspace(0, 112, ready).round().long()
            estimates.append(estimate_area(curve[at], fractions[at], 113))
        held += [abs(estimate.value - final) <= estimate.error for estimate in estimates]
        errors.append([estimate.error for estimate in estimates])

    assert sum(held) / len(held) >= 0.9
    nine, seventeen, most = torch.tensor(errors).median(dim=0).values.tolist()
    assert nine > 1.5 * seventeen > 3 * most


def test_the_area_under_a_straight_line_is_known_from_three_points() -> None:
    fractions = torch.tensor([0.0, 0.25, 1.0])

    area = estimate_area(1 - fractions, fractions, 113)

    assert (area.value, area.error) == pytest.approx((0.5, 0.0), abs=1e-6)


@pytest.mark.parametrize("ready", [0, 1, 2])
def test_two_points_or_fewer_leave_the_area_open_between_zero_and_one(ready: int) -> None:
    area = estimate_area(torch.tensor([0.8, 0.2])[:ready], torch.tensor([0.0, 1.0])[:ready], 113)

    assert area.value - area.error <= 0 + 1e-6
    assert area.value + area.error >= 1 - 1e-6
