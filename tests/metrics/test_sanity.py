import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.sanity import randomizable_layers, randomization_steps, randomize
from groupcam.models import Backbone, load_backbone
from groupcam.saliency import GroupCamConfig, explain, finish

CLASSES = torch.tensor([0, 1, 2])


def feature_map(backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
    """Return the mean activation of the last layer, which the head does not change."""
    with torch.no_grad():
        features = backbone.network.get_submodule("features")(inputs)
    return F.interpolate(features.mean(dim=1, keepdim=True), inputs.shape[-2:])[:, 0]


def group_cam(backbone: Backbone, inputs: Tensor, classes: Tensor) -> Tensor:
    config = GroupCamConfig(groups=4, blur_kernel_px=9)
    return explain(backbone, inputs, config, "features.3", classes).saliency_map


def edges(_backbone: Backbone, inputs: Tensor, _classes: Tensor) -> Tensor:
    """Return a map that knows nothing of the network."""
    return inputs.mean(dim=1).abs()


def test_layers_go_from_the_logits_down_to_the_input(tiny_cnn: Backbone) -> None:
    assert randomizable_layers(tiny_cnn) == ("head", "features.3", "features.0")


def test_layers_of_a_transformer_are_its_innermost_modules() -> None:
    layers = randomizable_layers(load_backbone("timm/test_vit", weights=None))

    assert (layers[0], layers[-1]) == ("head", "patch_embed.proj")
    assert "blocks.0.attn.qkv" in layers
    assert not {"blocks.0", "blocks.0.attn", "norm"} & set(layers)


def test_a_cascade_reaches_the_map_where_the_layers_matter(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    head, second, first = finish(randomization_steps(tiny_cnn, tiny_inputs, CLASSES, feature_map))

    assert (head.layer, second.layer, first.layer) == ("head", "features.3", "features.0")
    # The map is made below the head: nothing changes until its own layers do.
    assert head.spearman.tolist() == head.ssim.tolist() == pytest.approx([1, 1, 1])
    assert (second.spearman < 0.99).all()
    assert (second.ssim < 0.99).all()
    assert not torch.equal(second.spearman, first.spearman)


def test_independent_layers_are_randomised_alone(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    cascade = finish(randomization_steps(tiny_cnn, tiny_inputs, CLASSES, feature_map))
    alone = finish(
        randomization_steps(tiny_cnn, tiny_inputs, CLASSES, feature_map, order="independent")
    )
    reverse = finish(
        randomization_steps(
            tiny_cnn,
            tiny_inputs,
            CLASSES,
            feature_map,
            order="independent",
            layers=["features.0", "features.3"],
        )
    )

    # Above the last layer both are the same; below, the cascade has changed more.
    assert torch.equal(cascade[1].ssim, alone[1].ssim)
    assert not torch.equal(cascade[2].ssim, alone[2].ssim)
    # Independent layers do not depend on what came before.
    assert torch.equal(reverse[0].ssim, alone[2].ssim)
    assert torch.equal(reverse[1].ssim, alone[1].ssim)


def test_a_map_of_edges_fails_the_check_and_group_cam_changes(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    insensitive = finish(randomization_steps(tiny_cnn, tiny_inputs, CLASSES, edges))
    ours = finish(randomization_steps(tiny_cnn, tiny_inputs, CLASSES, group_cam))

    assert all((step.spearman == 1).all() for step in insensitive)
    assert float(ours[-1].spearman.mean()) < 0.8


def test_the_backbone_is_not_touched_and_steps_can_be_stopped(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    before = {name: value.clone() for name, value in tiny_cnn.network.state_dict().items()}
    given: list[Backbone] = []

    def noted(backbone: Backbone, inputs: Tensor, classes: Tensor) -> Tensor:
        given.append(backbone)
        return feature_map(backbone, inputs, classes)

    steps = randomization_steps(tiny_cnn, tiny_inputs, CLASSES, noted)
    assert next(steps).layer == "head"
    steps.close()

    assert len(given) == 2
    assert all(one.network is not tiny_cnn.network for one in given)
    for name, value in tiny_cnn.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_random_weights_keep_their_mean_and_deviation_and_come_from_a_seed() -> None:
    trained = 0.2 + 0.05 * torch.linspace(-1, 1, 9216).reshape(64, 16, 3, 3)

    def randomized(seed: int) -> dict[str, Tensor]:
        module = torch.nn.Conv2d(16, 64, 3)
        module.load_state_dict({"weight": trained, "bias": torch.full((64,), 0.5)})
        randomize(module, seed)
        return module.state_dict()

    found, same, other = randomized(1), randomized(1), randomized(2)

    assert float(found["weight"].mean()) == pytest.approx(0.2, abs=0.002)
    assert float(found["weight"].std()) == pytest.approx(float(trained.std()), rel=0.03)
    assert found["bias"].tolist() == [0.5] * 64  # a constant has no deviation
    both = torch.stack([found["weight"].flatten(), trained.flatten()])
    assert abs(float(torch.corrcoef(both)[0, 1])) < 0.05
    assert torch.equal(found["weight"], same["weight"])
    assert not torch.equal(found["weight"], other["weight"])


def test_unknown_layers_and_orders_are_refused(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    with pytest.raises(GroupCamError, match=r"got 'features.33'. Did you mean 'features.3'"):
        finish(
            randomization_steps(tiny_cnn, tiny_inputs, CLASSES, feature_map, layers=["features.33"])
        )
    with pytest.raises(GroupCamError, match="cascading, independent; got 'both'"):
        finish(
            randomization_steps(
                tiny_cnn,
                tiny_inputs,
                CLASSES,
                feature_map,
                order="both",  # type: ignore[arg-type]  # the point
            )
        )
