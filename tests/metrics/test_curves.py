import itertools

import pytest
import torch
from torch import Tensor

from groupcam import insertion_deletion
from groupcam.errors import GroupCamError
from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.metrics.curves import (
    area_under_curve,
    changed_pixels,
    coarse_to_fine,
    estimate_area,
    perturbed_pictures,
)
from groupcam.models import Backbone
from groupcam.saliency import engine, finish
from tests.support import head_of

ONE_PIXEL = CurveProtocol(pixels_per_step=1, blur_kernel_px=3)


def test_curves_of_a_pixel_summing_network_by_hand(pixel_sum: Backbone) -> None:
    # Four pixels of value 4, 8, 12, 16 (all three colours); class 0's log-odds is their mean.
    picture = torch.tensor([[4.0, 8.0], [12.0, 16.0]]).expand(1, 3, 2, 2).clone()
    saliency = torch.tensor([[0.1, 0.2], [0.3, 0.4]])[None]

    curves = insertion_deletion(
        pixel_sum, picture, saliency, 0, protocol=CurveProtocol(pixels_per_step=1)
    )[0]

    # Deleting 16, 12, 8, 4 in that order leaves the sums 40, 24, 12, 4, 0; a quarter each.
    means = torch.tensor([10.0, 6.0, 3.0, 1.0, 0.0])
    torch.testing.assert_close(curves.deletion, means.sigmoid())
    assert curves.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    expected_auc = float((means.sigmoid()[:-1] + means.sigmoid()[1:]).mean() / 2)
    assert curves.deletion_auc == pytest.approx(expected_auc)


def test_ends_of_the_curves_are_the_picture_and_the_baselines(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    saliency = torch.rand(3, 32, 32, generator=generator)

    batch = insertion_deletion(tiny_cnn, tiny_inputs, saliency, 1)

    with torch.no_grad():
        original = tiny_cnn.network(tiny_inputs).softmax(1)[:, 1]
        black = tiny_cnn.network(torch.zeros_like(tiny_inputs)).softmax(1)[:, 1]
    torch.testing.assert_close(batch.insertion[:, -1], original)
    torch.testing.assert_close(batch.deletion[:, 0], original)
    torch.testing.assert_close(batch.deletion[:, -1], black)


def test_a_network_that_ignores_the_picture_has_flat_curves(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    torch.nn.init.zeros_(head_of(tiny_cnn).weight)

    batch = insertion_deletion(tiny_cnn, tiny_inputs, torch.rand(3, 32, 32, generator=generator), 1)

    probability = head_of(tiny_cnn).bias.softmax(0)[1].item()
    assert batch.insertion_auc.tolist() == pytest.approx([probability] * 3)
    assert batch.deletion_auc.tolist() == pytest.approx([probability] * 3)


def test_micro_batches_do_not_change_the_curves(
    tiny_cnn: Backbone,
    tiny_inputs: Tensor,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saliency = torch.rand(3, 32, 32, generator=generator)
    protocol = CurveProtocol(pixels_per_step=100)
    expected = insertion_deletion(tiny_cnn, tiny_inputs, saliency, 0, protocol=protocol)

    monkeypatch.setattr(engine, "MICRO_BATCH_CPU", 2)
    alone = insertion_deletion(tiny_cnn, tiny_inputs[1:2], saliency[1:2], 0, protocol=protocol)

    torch.testing.assert_close(alone.insertion[0], expected.insertion[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(alone.deletion[0], expected.deletion[1], rtol=0, atol=1e-6)


def test_partial_curves_grow_from_the_ends_to_the_whole(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    protocol = CurveProtocol(pixels_per_step=64)
    saliency = torch.rand(1, 32, 32, generator=generator)

    parts = list(curve_steps(tiny_cnn, tiny_inputs[:1], saliency, protocol=protocol))
    whole = finish(curve_steps(tiny_cnn, tiny_inputs[:1], saliency, protocol=protocol))

    assert parts[0].fractions[[0, -1]].tolist() == [0, 1]
    sizes = [len(part.fractions) for part in parts]
    assert all(fewer < more for fewer, more in itertools.pairwise(sizes))
    assert sizes[-1] == parts[-1].total == 17
    for part in parts:
        assert (part.fractions.diff() > 0).all()
        at = (part.fractions * 16).round().long()
        torch.testing.assert_close(part.insertion, whole.insertion[0, at])
        torch.testing.assert_close(part.deletion, whole.deletion[0, at])


def test_areas_are_estimated_while_the_curves_grow_and_end_exact(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    protocol = CurveProtocol(pixels_per_step=16)
    saliency = torch.rand(1, 32, 32, generator=generator)

    parts = list(curve_steps(tiny_cnn, tiny_inputs[:1], saliency, protocol=protocol))
    whole = finish(curve_steps(tiny_cnn, tiny_inputs[:1], saliency, protocol=protocol))[0]

    early = next(part for part in parts if len(part.fractions) >= 9)
    assert early.insertion_area.value == pytest.approx(whole.insertion_auc, abs=0.01)
    assert early.deletion_area.value == pytest.approx(whole.deletion_auc, abs=0.01)
    assert 0 < early.insertion_area.error < parts[0].insertion_area.error
    assert 0 < early.deletion_area.error < parts[0].deletion_area.error
    assert parts[-1].insertion_area.error == parts[-1].deletion_area.error == 0
    assert parts[-1].insertion_area.value == pytest.approx(whole.insertion_auc, abs=1e-6)
    assert parts[-1].deletion_area.value == pytest.approx(whole.deletion_auc, abs=1e-6)


def test_the_error_of_an_area_holds_for_most_rough_curves_and_shrinks() -> None:
    # Falling curves with noise of a twentieth of their height, whose areas are known.
    generator = torch.Generator().manual_seed(3)
    fractions = torch.linspace(0, 1, 113)
    order = coarse_to_fine(113)
    held, errors = [], []
    for _ in range(100):
        steepness = 2 + 20 * torch.rand(1, generator=generator)
        curve = (-steepness * fractions).exp() + 0.05 * torch.randn(113, generator=generator)
        final = float(area_under_curve(curve, fractions))
        estimates = []
        for ready in (order[:9], order[:17], order[:65]):
            at = ready.sort().values
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


@pytest.mark.parametrize("ready", [1, 2])
def test_one_or_two_points_leave_the_area_open_between_zero_and_one(ready: int) -> None:
    area = estimate_area(torch.tensor([0.8, 0.2])[:ready], torch.tensor([0.0, 1.0])[:ready], 113)

    assert area.value - area.error <= 0 + 1e-6
    assert area.value + area.error >= 1 - 1e-6


def test_equal_pixels_keep_their_reading_order() -> None:
    saliency = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.5]])

    pictures = perturbed_pictures(torch.ones(3, 2, 3), saliency, ONE_PIXEL)

    assert pictures.rank.tolist() == [[3, 0, 4], [1, 5, 2]]


def test_perturbed_pictures_change_the_most_salient_pixels_first() -> None:
    picture = torch.arange(12.0).reshape(3, 2, 2) + 1
    pictures = perturbed_pictures(picture, torch.tensor([[0.9, 0.1], [0.2, 0.5]]), ONE_PIXEL)

    deleted = pictures.deleted(torch.tensor([0, 2, 4]))
    inserted = pictures.inserted(torch.tensor([0, 2, 4]))

    gone = torch.tensor([[True, False], [False, True]])
    assert torch.equal(deleted[0], picture)
    assert torch.equal(deleted[1] == 0, gone.expand(3, 2, 2))
    assert not deleted[2].any()
    assert torch.equal(inserted[0], pictures.blurred)
    assert torch.equal(inserted[1], torch.where(gone, picture, pictures.blurred))
    assert torch.equal(inserted[2], picture)


@pytest.mark.parametrize(("total", "step", "points"), [(50176, 448, 113), (10, 3, 5), (10, 99, 2)])
def test_the_last_step_ends_on_the_last_pixel(total: int, step: int, points: int) -> None:
    pixels = changed_pixels(total, CurveProtocol(pixels_per_step=step))

    assert len(pixels) == points
    assert (int(pixels[0]), int(pixels[-1])) == (0, total)
    assert int(pixels.diff().max()) <= step


@pytest.mark.parametrize("points", [2, 3, 5, 16, 113])
def test_coarse_to_fine_is_an_order_of_all_points(points: int) -> None:
    order = coarse_to_fine(points).tolist()

    assert sorted(order) == list(range(points))
    assert order[:2] == [0, points - 1]


def test_area_of_a_straight_line_does_not_depend_on_uneven_steps() -> None:
    fractions = torch.tensor([0.0, 0.3, 0.6, 0.9, 1.0])

    assert float(area_under_curve(1 - fractions, fractions)) == pytest.approx(0.5)


def test_maps_that_do_not_fit_are_refused(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    with pytest.raises(GroupCamError, match=r"input's size, \(32, 32\); got \(16, 16\)"):
        insertion_deletion(tiny_cnn, tiny_inputs, torch.zeros(3, 16, 16))
    with pytest.raises(GroupCamError, match="must be finite"):
        insertion_deletion(tiny_cnn, tiny_inputs, torch.full((3, 32, 32), torch.nan))
    with pytest.raises(GroupCamError, match="at least 1; got 0"):
        CurveProtocol(pixels_per_step=0)
