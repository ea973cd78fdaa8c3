import pytest
import torch
from torch import Tensor

from groupcam.metrics import CurveProtocol, curve_steps
from groupcam.metrics.cost import count_forward_passes
from groupcam.metrics.fidelity import fidelity_auc, retained_fraction
from groupcam.metrics.perturbed import changed_pixels, perturbed_pictures
from groupcam.models import Backbone
from groupcam.saliency import finish
from tests.support import head_of

PROTOCOL = CurveProtocol(pixels_per_step=64)


def test_areas_by_hand_and_their_mean_is_the_area_under_the_fraction() -> None:
    fractions = torch.tensor([0.0, 0.25, 0.75, 1.0])
    retained = torch.tensor([[True, True, False, False], [True, False, False, True]])

    # 1 until 0.25, then falling to 0 at 0.75; and 1 falling to 0 at 0.25, rising again from 0.75.
    assert fidelity_auc(retained, fractions).tolist() == pytest.approx([0.5, 0.25])
    fraction = retained_fraction(retained)
    assert fraction.tolist() == [1.0, 0.5, 0.0, 0.5]
    assert float(torch.trapezoid(fraction, fractions)) == pytest.approx(0.375)


def test_decisions_along_the_curves_are_the_networks_own(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    maps = torch.rand(3, 32, 32, generator=generator)
    with torch.no_grad():  # classes level on half a picture, so that decisions change on the way
        head_of(tiny_cnn).bias.sub_(tiny_cnn.network(tiny_inputs / 2).mean(dim=0))

    # The class followed is another than the top one: what counts is the top one.
    curves = finish(
        curve_steps(tiny_cnn, tiny_inputs, maps, torch.tensor([2, 2, 2]), protocol=PROTOCOL)
    )

    pixels = changed_pixels(32 * 32, PROTOCOL)
    for picture in range(3):
        pictures = perturbed_pictures(tiny_inputs[picture], maps[picture], PROTOCOL)
        with torch.no_grad():
            original = tiny_cnn.network(tiny_inputs[picture : picture + 1]).argmax(1)
            inserted = tiny_cnn.network(pictures.inserted(pixels)).argmax(1)
            deleted = tiny_cnn.network(pictures.deleted(pixels)).argmax(1)
        assert torch.equal(curves.insertion_retained[picture], inserted == original)
        assert torch.equal(curves.deletion_retained[picture], deleted == original)
    assert curves.insertion_retained[:, -1].all()
    assert curves.deletion_retained[:, 0].all()
    both = torch.stack([curves.insertion_retained, curves.deletion_retained])
    assert int((~both).sum()) > 0, "no decision changed: the test shows nothing"
    assert torch.equal(curves[1].deletion_retained, curves.deletion_retained[1])


def test_decisions_cost_no_further_forward_passes(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    maps = torch.rand(3, 32, 32, generator=generator)

    def curves(backbone: Backbone, inputs: Tensor, classes: Tensor) -> Tensor:
        finish(curve_steps(backbone, inputs, maps, classes, protocol=PROTOCOL))
        return maps

    passes = count_forward_passes(tiny_cnn, tiny_inputs, torch.tensor([0, 1, 2]), curves)

    assert passes == 3 * 2 * 17


def test_over_all_is_insertion_minus_deletion(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    maps = torch.rand(3, 32, 32, generator=generator)

    curves = finish(curve_steps(tiny_cnn, tiny_inputs, maps, protocol=PROTOCOL))

    expected = (curves.insertion_auc - curves.deletion_auc).tolist()
    assert [one.over_all for one in curves] == pytest.approx(expected)
    assert curves.over_all.tolist() == pytest.approx(expected)
