"""Other packages' figures, on real weights and on a tiny network."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from groupcam.models import Backbone
from groupcam.saliency.methods.integrated_gradients import attribute
from groupcam.saliency.scoring import min_max_scale, upsample_masks
from groupcam.steps import finish
from tests.saliency.methods.support import figures, map_of
from tests.support import Reference

LAYER = "blocks.6"
PEERS: list[tuple[str, dict[str, Any], str]] = [
    ("grad_cam_pp", {"form": "widespread"}, "official/grad_cam_pp"),
    ("hires_cam", {}, "pytorch_grad_cam/HiResCAM"),
    ("layer_cam", {}, "pytorch_grad_cam/LayerCAM"),
    ("xgrad_cam", {}, "pytorch_grad_cam/XGradCAM"),
    ("eigen_cam", {"centred": True}, "pytorch_grad_cam/EigenCAM"),
    ("shapley_cam", {}, "pytorch_grad_cam/ShapleyCAM/ReST"),
    ("shapley_cam", {"utility": "logit"}, "pytorch_grad_cam/ShapleyCAM/logit"),
]


def explained(lite0: Backbone, picture: str, name: str, **options: Any) -> Tensor:
    reference = Reference(picture)
    return map_of(name, lite0, reference.inputs, LAYER, reference.class_index, **options)[0]


@pytest.mark.parametrize("picture", ["chelsea", "coffee", "rocket"])
@pytest.mark.parametrize(("name", "options", "peer"), PEERS, ids=[peer for *_, peer in PEERS])
def test_cams_equal_other_packages(
    lite0: Backbone, picture: str, name: str, options: dict[str, Any], peer: str
) -> None:
    ours = explained(lite0, picture, name, **options)

    # Both divide by differences, to which some packages add a small number.
    tolerance = 1e-3 if name in {"grad_cam_pp", "xgrad_cam"} else 1e-5
    expected = figures()[f"{picture}/{peer}/{LAYER}"]
    np.testing.assert_allclose(ours[::8, ::8].numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("picture", ["chelsea", "coffee", "rocket"])
def test_grad_cam_equals_the_group_cam_authors(lite0: Backbone, picture: str) -> None:
    ours = explained(lite0, picture, "grad_cam")

    expected = Reference(picture)[f"official/grad_cam/{LAYER}/every_4th"]
    np.testing.assert_allclose(ours[::4, ::4].numpy(), expected, rtol=0, atol=1e-5)


def test_score_cam_equals_its_authors(lite0: Backbone) -> None:
    ours = explained(lite0, "rocket", "score_cam")

    expected = figures()[f"rocket/official/score_cam/{LAYER}"]
    np.testing.assert_allclose(ours[::8, ::8].numpy(), expected, rtol=0, atol=1e-4)


def test_group_cam_official_equals_the_authors(lite0: Backbone) -> None:
    ours = explained(lite0, "coffee", "group_cam_official")

    expected = Reference("coffee")[f"official/group_cam/{LAYER}/groups32"]
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("picture", ["chelsea", "coffee", "rocket"])
def test_finer_cam_equals_torch_cam(lite0: Backbone, picture: str) -> None:
    ours = explained(lite0, picture, "finer_cam")

    cam = torch.from_numpy(figures()[f"{picture}/torchcam/FinerCAM/{LAYER}"])
    expected = min_max_scale(upsample_masks(cam, (224, 224)))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_integrated_gradients_equal_captum(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    # float64: where a ReLU turns within float32's rounding of a point, processors disagree.
    tiny_cnn.network.double()
    inputs = tiny_inputs[1:].double()
    ours = finish(attribute(tiny_cnn, inputs, torch.tensor([1, 2]), points=50))

    expected = torch.from_numpy(figures()["tiny_cnn/captum/IntegratedGradients"])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_occlusion_equals_captum(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    ours = map_of("occlusion", tiny_cnn, tiny_inputs, None, torch.arange(3), cells=8, window=2)

    expected = torch.from_numpy(figures()["tiny_cnn/captum/Occlusion"])
    torch.testing.assert_close(ours, min_max_scale(expected.relu()), rtol=0, atol=1e-3)


def test_guided_backprop_equals_captum(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    ours = map_of("guided_backprop", tiny_cnn, tiny_inputs, None, torch.arange(3))

    expected = torch.from_numpy(figures()["tiny_cnn/captum/GuidedBackprop"])
    torch.testing.assert_close(ours, min_max_scale(expected), rtol=0, atol=1e-5)


def test_ablation_cam_equals_pytorch_grad_cam(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    ours = map_of("ablation_cam", tiny_cnn, tiny_inputs[1:], "features.4", torch.tensor([1, 2]))

    expected = torch.from_numpy(figures()["tiny_cnn/pytorch_grad_cam/AblationCAM"])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
