"""Cams against their papers' formulas, written out by hand or in plain loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from groupcam import GroupCamError
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency.capture import Capture, capture_layer
from groupcam.saliency.methods import grad_cam, hires_cam, layer_cam, xgrad_cam
from groupcam.saliency.methods.eigen_cam import compute_cam as eigen_cam
from groupcam.saliency.methods.finer_cam import nearest_classes
from groupcam.saliency.methods.shapley_cam import shapley_weights
from groupcam.saliency.scoring import min_max_scale, upsample_masks
from tests.saliency.methods.support import LAYOUTS, AsIs, Marked, map_of
from tests.support import as_backbone, head_of

LAYER = "features.4"


def as_map(cam: Tensor, size: tuple[int, int] = (32, 32)) -> Tensor:
    """What a cam (N, h, w) becomes: cut off below 0, resized, scaled."""
    return min_max_scale(upsample_masks(cam.relu(), size))


def captured(backbone: Backbone, inputs: Tensor, class_index: int) -> Capture:
    classes = torch.full((len(inputs),), class_index)
    return capture_layer(backbone, inputs, resolve_target_layer(backbone, LAYER), classes)


@pytest.fixture
def by_hand() -> Capture:
    """One picture, two channels of 1 x 2 cells, numbers chosen."""
    return Capture(
        inputs=torch.zeros(1, 3, 2, 2),
        logits=torch.zeros(1, 2),
        class_index=torch.tensor([0]),
        activations=torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]]),
        gradients=torch.tensor([[[[2.0, -1.0]], [[-3.0, 4.0]]]]),
        target_layer=AsIs.layout,
    )


def test_gradient_cams_by_hand(by_hand: Capture) -> None:
    # Mean gradients 0.5 and 0.5.
    assert grad_cam.compute_cam(by_hand).tolist() == [[[0.5 + 1, 1.5 + 0]]]
    # 2*1 - 3*2 and -1*3 + 4*0.
    assert hires_cam.compute_cam(by_hand).tolist() == [[[-4, -3]]]
    # 2*1 + 0*2 and 0*3 + 4*0.
    assert layer_cam.compute_cam(by_hand).tolist() == [[[2, 0]]]
    # Weights (2*1 - 1*3) / 4 = -0.25 and (-3*2 + 0) / 2 = -3.
    assert xgrad_cam.compute_cam(by_hand).tolist() == [[[-0.25 - 6, -0.75]]]


def test_xgrad_cam_gives_a_channel_that_adds_up_to_zero_no_weight(by_hand: Capture) -> None:
    by_hand.activations[0, 1] = torch.tensor([[2.0, -2.0]])

    assert xgrad_cam.compute_cam(by_hand).tolist() == [[[-0.25, -0.75]]]


def test_hires_cam_adds_up_to_the_logit_where_the_rest_is_linear(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    capture = captured(tiny_cnn, tiny_inputs, 1)

    total = hires_cam.compute_cam(capture).sum((1, 2)) + head_of(tiny_cnn).bias[1]

    torch.testing.assert_close(total, capture.logits[:, 1])


def test_grad_cam_is_hires_cam_when_the_head_averages_over_cells(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    torch.testing.assert_close(
        map_of("grad_cam", tiny_cnn, tiny_inputs, LAYER, 1),
        map_of("hires_cam", tiny_cnn, tiny_inputs, LAYER, 1),
    )


def loops_of_grad_cam_pp(
    activations: Tensor, first: Tensor, second: Tensor, third: Tensor
) -> Tensor:
    """The paper's equation 19, cell by cell, from means of g, g^2 and g^3; all (C, h, w)."""
    cam = torch.zeros(activations.shape[1:], dtype=torch.float64)
    for channel, fires in enumerate(activations.double()):
        weight = 0.0
        for cell in itertools.product(*(range(side) for side in fires.shape)):
            g1, g2, g3 = (float(moment[channel][cell]) for moment in (first, second, third))
            denominator = 2 * g2 + float(fires.sum()) * g3
            weight += g2 / denominator * max(g1, 0) if denominator else 0.0
        cam += weight * fires
    return cam.float()


def test_grad_cam_pp_follows_its_equation(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    layer = resolve_target_layer(tiny_cnn, "features.2")  # gradients that differ between cells
    capture = capture_layer(tiny_cnn, tiny_inputs[:1], layer, torch.tensor([1]))
    g = capture.gradients[0].double()

    ours = map_of("grad_cam_pp", tiny_cnn, tiny_inputs[:1], "features.2", 1)

    expected = loops_of_grad_cam_pp(capture.activations[0], g, g**2, g**3)
    assert len(g.unique()) > 100
    torch.testing.assert_close(ours, as_map(expected[None]), rtol=0, atol=1e-5)


def test_smooth_grad_cam_pp_without_noise_is_grad_cam_pp(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    plain = map_of("grad_cam_pp", tiny_cnn, tiny_inputs, "features.2", 1)

    smooth = map_of(
        "smooth_grad_cam_pp", tiny_cnn, tiny_inputs, "features.2", 1, samples=3, noise=0
    )

    torch.testing.assert_close(smooth, plain, rtol=0, atol=1e-5)


def test_smooth_grad_cam_pp_averages_derivatives_over_noisy_copies(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    picture = tiny_inputs[1:2]
    layer = resolve_target_layer(tiny_cnn, "features.2")
    copies = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    deviation = 0.2 * float(picture.max() - picture.min())
    gradients = [
        capture_layer(tiny_cnn, picture + deviation * copy, layer, torch.tensor([1])).gradients[0]
        for copy in copies
    ]
    moments = [torch.stack([g.double() ** p for g in gradients]).mean(0) for p in (1, 2, 3)]
    clean = capture_layer(tiny_cnn, picture, layer, torch.tensor([1])).activations[0]

    ours = map_of(
        "smooth_grad_cam_pp",
        *(tiny_cnn, picture, "features.2", 1),
        **{"samples": 4, "noise": 0.2, "seed": 5},
    )

    expected = as_map(loops_of_grad_cam_pp(clean, *moments)[None])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert not torch.allclose(
        ours, map_of("grad_cam_pp", tiny_cnn, picture, "features.2", 1), atol=1e-3
    )


@pytest.mark.parametrize("centred", [False, True])
def test_eigen_cam_is_the_first_singular_pattern(generator: torch.Generator, centred: bool) -> None:
    activations = torch.randn(2, 5, 4, 3, generator=generator)

    ours = eigen_cam(activations, centred)

    for cam, maps in zip(ours, activations.numpy(), strict=True):
        cells = maps.reshape(5, 12).T
        if centred:
            cells = cells - cells.mean(0)
        projection = cells @ np.linalg.svd(cells)[2][0]
        projection *= np.sign(projection[np.abs(projection).argmax()])
        np.testing.assert_allclose(cam.numpy().ravel(), projection, rtol=0, atol=1e-5)


def test_eigen_cam_knows_nothing_of_the_class(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    maps = [map_of("eigen_cam", tiny_cnn, tiny_inputs, LAYER, index) for index in (0, 1)]

    assert torch.equal(*maps)


class QuadraticHead(nn.Module):
    """Logit 0 is a quadratic form of the two numbers that each of two cells holds."""

    def __init__(self) -> None:
        super().__init__()
        self.mark = nn.Conv2d(3, 2, 1)
        generator = torch.Generator().manual_seed(1)
        self.form = torch.randn(4, 4, generator=generator)
        self.linear = torch.randn(4, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.mark(x).flatten(1))

    def after(self, cells: Tensor) -> Tensor:
        logit = ((cells @ self.form) * cells).sum(1) + cells @ self.linear
        return torch.stack([logit, -logit], dim=1)


def test_shapley_weights_give_exact_shapley_values_of_a_quadratic_logit(
    generator: torch.Generator,
) -> None:
    network = QuadraticHead()
    picture = torch.randn(1, 3, 1, 2, generator=generator)
    layer = AsIs.layout
    with torch.no_grad():
        cells = network.mark(picture).flatten()

        def utility(players: tuple[int, ...]) -> float:
            hidden = torch.zeros(4)
            hidden[list(players)] = cells[list(players)]
            return float(network.after(hidden[None])[0, 0])

        expected = torch.zeros(4)
        for player in range(4):
            others = [other for other in range(4) if other != player]
            for size in range(4):
                share = math.factorial(size) * math.factorial(3 - size) / math.factorial(4)
                for coalition in itertools.combinations(others, size):
                    gain = utility((*coalition, player)) - utility(coalition)
                    expected[player] += share * gain

    activations, weights = shapley_weights(
        as_backbone(network, size=(1, 2), classes=2), picture, layer, torch.tensor([0]), "logit"
    )

    torch.testing.assert_close((activations * weights).flatten(), expected)


def test_shapley_cam_with_the_logit_is_grad_cam_before_a_linear_head_and_with_rest_is_not(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    grad = map_of("grad_cam", tiny_cnn, tiny_inputs, LAYER, 0)

    torch.testing.assert_close(
        map_of("shapley_cam", tiny_cnn, tiny_inputs, LAYER, 0, utility="logit"), grad
    )
    assert not torch.allclose(
        map_of("shapley_cam", tiny_cnn, tiny_inputs, LAYER, 0), grad, atol=1e-3
    )


@pytest.mark.parametrize("arrangement", LAYOUTS)
def test_every_layout_gives_the_same_shapley_weights(
    generator: torch.Generator, arrangement: type[AsIs]
) -> None:
    inputs = torch.randn(2, 3, 8, 8, generator=generator)
    classes = torch.tensor([0, 2])

    weights = [
        shapley_weights(as_backbone(Marked(one()), (8, 8)), inputs, one.layout, classes, "rest")
        for one in (AsIs, arrangement)
    ]

    torch.testing.assert_close(weights[1], weights[0])


def test_finer_cam_without_comparison_is_grad_cam(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    torch.testing.assert_close(
        map_of("finer_cam", tiny_cnn, tiny_inputs, LAYER, 1, gamma=0),
        map_of("grad_cam", tiny_cnn, tiny_inputs, LAYER, 1),
    )


def test_finer_cam_contrasts_with_the_mean_of_given_classes(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    cams = [grad_cam.compute_cam(captured(tiny_cnn, tiny_inputs, index)) for index in range(3)]

    one = map_of("finer_cam", tiny_cnn, tiny_inputs, LAYER, 0, gamma=0.5, reference_index=[2])
    both = map_of("finer_cam", tiny_cnn, tiny_inputs, LAYER, 0, gamma=1, reference_index=[1, 2])

    torch.testing.assert_close(one, as_map(cams[0] - 0.5 * cams[2]))
    torch.testing.assert_close(both, as_map(cams[0] - (cams[1] + cams[2]) / 2))


def test_nearest_classes_come_in_order_and_without_the_class_itself() -> None:
    logits = torch.tensor([[1.0, 5.0, 4.0, 1.5], [2.0, 2.0, 9.0, 2.5]])

    nearest = nearest_classes(logits, torch.tensor([2, 0]), count=2)

    assert nearest.tolist() == [[1, 3], [1, 3]]
    assert nearest_classes(logits, torch.tensor([2, 0]), count=9).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("score_cam", {"weighting": "sofmax"}, "weighting must be .*Did you mean 'softmax'"),
        ("grad_cam_pp", {"form": "book"}, "form must be one of paper, widespread; got 'book'"),
        ("shapley_cam", {"utility": "logits"}, "utility must be .*Did you mean 'logit'"),
    ],
)
def test_unknown_choices_are_refused_and_the_nearest_is_named(
    tiny_cnn: Backbone, tiny_inputs: Tensor, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(GroupCamError, match=message):
        map_of(name, tiny_cnn, tiny_inputs, LAYER, 0, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -0.1}, "gamma must be at least 0; got -0.1"),
        ({"references": 0}, "references must be at least 1; got 0"),
        ({"reference_index": []}, "reference_index must be at least 1"),
        ({"reference_index": [3]}, "class index must be between 0 and 2"),
    ],
)
def test_finer_cam_refuses_what_it_cannot_compare(
    tiny_cnn: Backbone, tiny_inputs: Tensor, options: dict[str, object], message: str
) -> None:
    with pytest.raises(GroupCamError, match=message):
        map_of("finer_cam", tiny_cnn, tiny_inputs, LAYER, 0, **options)
