import itertools

import pytest
import torch
from torch import Tensor

from groupcam import insertion_deletion
from groupcam.errors import GroupCamError
from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.metrics.curves import (
    KEPT_CLASSES,
    changed_pixels,
    perturbed_pictures,
)
from groupcam.models import Backbone
from groupcam.saliency import engine, finish
from tests.support import TinyCnn, as_backbone, head_of

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

    assert parts[0].insertion.fractions[[0, -1]].tolist() == [0, 1]
    sizes = [part.done for part in parts]
    assert all(fewer < more for fewer, more in itertools.pairwise(sizes))
    assert sizes[-1] == parts[-1].total == 2 * 17
    for part in parts:
        for curve, values in ((part.insertion, whole.insertion), (part.deletion, whole.deletion)):
            assert (curve.fractions.diff() > 0).all()
            at = (curve.fractions * 16).round().long()
            torch.testing.assert_close(curve.values, values[0, at])


def test_areas_are_estimated_while_the_curves_grow_and_end_exact(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    protocol = CurveProtocol(pixels_per_step=16)
    saliency = torch.rand(1, 32, 32, generator=generator)

    parts = list(curve_steps(tiny_cnn, tiny_inputs[:1], saliency, protocol=protocol))
    whole = finish(curve_steps(tiny_cnn, tiny_inputs[:1], saliency, protocol=protocol))[0]

    early = next(part for part in parts if part.done >= 18)
    assert early.insertion.area.value == pytest.approx(whole.insertion_auc, abs=0.01)
    assert early.deletion.area.value == pytest.approx(whole.deletion_auc, abs=0.01)
    assert 0 < early.insertion.area.error < parts[0].insertion.area.error
    assert 0 < early.deletion.area.error < parts[0].deletion.area.error
    assert parts[-1].insertion.area.error == parts[-1].deletion.area.error == 0
    assert parts[-1].insertion.area.value == pytest.approx(whole.insertion_auc, abs=1e-6)
    assert parts[-1].deletion.area.value == pytest.approx(whole.deletion_auc, abs=1e-6)


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
    assert torch.equal(inserted[0], pictures.insertion_start)
    assert torch.equal(inserted[1], torch.where(gone, picture, pictures.insertion_start))
    assert torch.equal(inserted[2], picture)


@pytest.mark.parametrize(("total", "step", "points"), [(50176, 448, 113), (10, 3, 5), (10, 99, 2)])
def test_the_last_step_ends_on_the_last_pixel(total: int, step: int, points: int) -> None:
    pixels = changed_pixels(total, CurveProtocol(pixels_per_step=step))

    assert len(pixels) == points
    assert (int(pixels[0]), int(pixels[-1])) == (0, total)
    assert int(pixels.diff().max()) <= step


def test_maps_that_do_not_fit_are_refused(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    with pytest.raises(GroupCamError, match=r"input's size, \(32, 32\); got \(16, 16\)"):
        insertion_deletion(tiny_cnn, tiny_inputs, torch.zeros(3, 16, 16))
    with pytest.raises(GroupCamError, match="must be finite"):
        insertion_deletion(tiny_cnn, tiny_inputs, torch.full((3, 32, 32), torch.nan))
    with pytest.raises(GroupCamError, match="at least 1; got 0"):
        CurveProtocol(pixels_per_step=0)


def test_top_classes_are_those_of_the_perturbed_pictures(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    protocol = CurveProtocol(pixels_per_step=100)
    saliency_map = tiny_inputs[0].mean(0)
    pictures = perturbed_pictures(tiny_inputs[0], saliency_map, protocol)
    pixels = changed_pixels(32 * 32, protocol)
    with tiny_cnn.frozen(), torch.no_grad():
        # All classes level at half of the way, so that the top class changes on it.
        head_of(tiny_cnn).bias.data -= tiny_cnn.logits(pictures.inserted(pixels[5:6]))[0]
        inserted = tiny_cnn.logits(pictures.inserted(pixels)).argmax(1)
        deleted = tiny_cnn.logits(pictures.deleted(pixels)).argmax(1)

    curves = insertion_deletion(tiny_cnn, tiny_inputs[:1], saliency_map[None], protocol=protocol)[0]

    changed = torch.arange(len(pixels)) != 5  # where they are level, rounding decides
    assert torch.equal(curves.insertion_top_class[changed], inserted[changed])
    assert torch.equal(curves.deletion_top_class, deleted)
    assert torch.equal(curves.insertion_retained[changed], (inserted == inserted[-1])[changed])
    assert torch.equal(curves.deletion_retained, deleted == deleted[0])
    assert len(inserted[changed].unique()) > 1  # else this would say little


def test_the_top_classes_of_every_point_have_their_probabilities(
    tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    backbone = as_backbone(TinyCnn(classes=9), classes=9)
    head_of(backbone).weight.data = torch.randn(9, 12, generator=generator) * 30
    protocol = CurveProtocol(pixels_per_step=200)
    maps = tiny_inputs[:2].mean(1)
    pixels = changed_pixels(32 * 32, protocol)

    batch = insertion_deletion(backbone, tiny_inputs[:2], maps, protocol=protocol)

    for curves, picture, saliency_map in zip(batch, tiny_inputs, maps, strict=False):
        pictures = perturbed_pictures(picture, saliency_map, protocol)
        with backbone.frozen(), torch.no_grad():
            for top, inputs in (
                (curves.insertion_top, pictures.inserted(pixels)),
                (curves.deletion_top, pictures.deleted(pixels)),
            ):
                best = backbone.logits(inputs).softmax(1).sort(dim=1, descending=True)
                assert torch.equal(top.indices, best.indices[:, :KEPT_CLASSES])
                torch.testing.assert_close(top.probabilities, best.values[:, :KEPT_CLASSES])


def test_with_few_classes_all_are_kept(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    protocol = CurveProtocol(pixels_per_step=400)

    curves = insertion_deletion(tiny_cnn, tiny_inputs[:1], tiny_inputs[:1, 0], protocol=protocol)[0]

    assert curves.deletion_top.indices.shape == (4, 3)
    torch.testing.assert_close(curves.deletion_top.probabilities.sum(1), torch.ones(4))


def test_points_on_their_way_know_their_places(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    protocol = CurveProtocol(pixels_per_step=20)
    steps = curve_steps(tiny_cnn, tiny_inputs[:1], tiny_inputs[:1, 0], protocol=protocol)

    events = list(steps)

    final = events[-1].deletion
    assert torch.equal(final.places, torch.arange(final.total))
    for event in events:
        ready = event.deletion
        assert torch.equal(ready.values, final.values[ready.places])
        assert torch.equal(ready.fractions, final.fractions[ready.places])
        assert torch.equal(ready.top.indices, final.top.indices[ready.places])
        assert torch.equal(ready.top.probabilities, final.top.probabilities[ready.places])
