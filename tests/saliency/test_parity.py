"""The authors' own figures, and what their code cannot do."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from groupcam import GroupCamConfig, explain, insertion_deletion
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency.capture import capture_layer
from groupcam.saliency.perturb import gaussian_blur
from tests.support import Reference

OFFICIAL_MAPS = [
    (picture, layer, groups)
    for picture in ("chelsea", "coffee", "rocket")
    for layer in ("blocks.6", "bn2")
    for groups in (16, 32)
    if (picture, layer, groups) != ("chelsea", "blocks.6", 32)  # all NaN in the authors' code
]


def official_config(groups: int) -> GroupCamConfig:
    return replace(GroupCamConfig.official(), groups=groups)


@pytest.mark.parametrize(("picture", "layer", "groups"), OFFICIAL_MAPS)
def test_official_preset_gives_the_authors_map(
    lite0: Backbone, picture: str, layer: str, groups: int
) -> None:
    figures = Reference(picture)

    result = explain(lite0, figures.inputs, official_config(groups), layer, figures.class_index)

    key = f"official/group_cam/{layer}/groups{groups}"
    ours = result.saliency_map[0].numpy()
    if picture != "chelsea" and (layer, groups) == ("blocks.6", 32):
        np.testing.assert_allclose(ours, figures[key], rtol=0, atol=1e-4)
    else:
        np.testing.assert_allclose(ours[::4, ::4], figures[f"{key}/every_4th"], rtol=0, atol=1e-4)


def test_a_dead_group_makes_the_authors_map_nan_and_ours_finite(lite0: Backbone) -> None:
    figures = Reference("chelsea")

    result = explain(lite0, figures.inputs, GroupCamConfig.official(), "blocks.6")[0]

    assert result.is_dead_group.sum() == 1
    assert result.group_weights[result.is_dead_group] == 0
    assert result.forward_passes == 2 + 31
    assert torch.isfinite(result.saliency_map).all()
    assert result.saliency_map.max() == 1
    assert result.blank_reason is None


@pytest.mark.parametrize("picture", ["chelsea", "coffee", "rocket"])
def test_logits_and_blur_equal_the_references(lite0: Backbone, picture: str) -> None:
    figures = Reference(picture)

    capture = capture_layer(lite0, figures.inputs, resolve_target_layer(lite0, "blocks.6"))
    blurred = gaussian_blur(figures.inputs, 50.0, 51)

    np.testing.assert_allclose(capture.logits[0].numpy(), figures["logits"], rtol=0, atol=1e-4)
    assert int(capture.class_index) == figures.class_index
    np.testing.assert_allclose(blurred[0, :, 100].numpy(), figures["blurred_row"], atol=1e-5)


@pytest.mark.parametrize("layer", ["blocks.6", "bn2"])
@pytest.mark.parametrize("picture", ["coffee", "rocket"])
def test_one_group_is_grad_cam(lite0: Backbone, picture: str, layer: str) -> None:
    figures = Reference(picture)

    result = explain(lite0, figures.inputs, official_config(1), layer)

    grad_cam = figures[f"official/grad_cam/{layer}/every_4th"]
    assert result.group_weights[0, 0] > 0
    np.testing.assert_allclose(
        result.saliency_map[0, ::4, ::4].numpy(), grad_cam, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("picture", ["coffee", "rocket"])
def test_curves_of_the_authors_map_are_the_authors(lite0: Backbone, picture: str) -> None:
    figures = Reference(picture)
    authors_map = figures["official/group_cam/blocks.6/groups32"]

    curves = insertion_deletion(
        lite0, figures.inputs, torch.from_numpy(authors_map)[None], figures.class_index
    )[0]

    # Where a step ends amid equal pixels, the authors' order is that of an unstable sort, which
    # differs from one processor to the next: there only the area can be compared.
    falling = np.sort(authors_map.ravel())[::-1]
    ends = np.arange(448, falling.size, 448)
    is_clear = np.concatenate([[True], falling[ends - 1] != falling[ends], [True]])
    assert is_clear.mean() > 0.7
    for ours, theirs in (
        (curves.insertion, figures["official/ins_curve"]),
        (curves.deletion, figures["official/del_curve"]),
    ):
        np.testing.assert_allclose(ours.numpy()[is_clear], theirs[is_clear], rtol=0, atol=1e-5)
    assert curves.insertion_auc == pytest.approx(float(figures["official/ins_auc"]), abs=1e-3)
    assert curves.deletion_auc == pytest.approx(float(figures["official/del_auc"]), abs=1e-3)
