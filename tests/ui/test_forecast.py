import pytest
import torch
from torch import Tensor

from groupcam.evaluate.variants import parse_variant
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency import GroupCamConfig
from groupcam.saliency.methods import METHODS
from groupcam.ui.forecast import forward_passes, options_of, takes_settings

FOUR = GroupCamConfig(groups=4)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_takes_more_than_foretold(
    tiny_cnn: Backbone, tiny_inputs: Tensor, method: str
) -> None:
    layer = resolve_target_layer(tiny_cnn, "features.3")
    variant = parse_variant(method)
    steps = variant.method.steps(
        tiny_cnn, tiny_inputs[:1], layer, torch.tensor([0]), **options_of(variant, FOUR)
    )

    foretold = forward_passes(method, FOUR, layer, (32, 32))

    try:
        announced = next(steps).total
    except ValueError:  # twelve channels are fewer than a preset's groups
        assert foretold is None
        return
    assert foretold is not None
    assert announced <= foretold <= announced + layer.shape[0]


def test_the_count_follows_layer_and_settings(tiny_cnn: Backbone) -> None:
    layer = resolve_target_layer(tiny_cnn, "features.3")

    assert forward_passes("grad_cam", FOUR, layer, (32, 32)) == 1
    assert forward_passes("score_cam", FOUR, layer, (32, 32)) == 1 + layer.shape[0]
    assert forward_passes("group_cam", FOUR, layer, (32, 32)) == 2 + 4
    assert forward_passes("rise:masks=70", FOUR, layer, (32, 32)) == 70


def test_only_the_plain_group_cam_takes_the_pages_settings() -> None:
    takers = [name for name in METHODS if takes_settings(parse_variant(name))]

    assert takers == ["group_cam"]
    assert not takes_settings(parse_variant("group_cam:groups=8"))
    assert options_of(parse_variant("group_cam"), FOUR) == {"config": FOUR}
    assert options_of(parse_variant("group_cam_paper"), FOUR) == {}
