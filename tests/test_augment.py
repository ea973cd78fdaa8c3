"""What training sees: the right places are kept, and the network does not notice."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

import groupcam
from groupcam.augment import NUMBERS, AugmentConfig, SaliencyAugment, bare, keep_mask
from groupcam.errors import GroupCamError
from groupcam.models import Backbone
from groupcam.saliency import GroupCamConfig
from tests.support import TinyCnn

FOUR_GROUPS = GroupCamConfig(groups=4)
ALWAYS = AugmentConfig(probability=1, group_cam=FOUR_GROUPS)
LABELS = torch.tensor([2, 1, 2])  # to which each picture has something to show


class Trained(nn.Module):
    """All that a training step changes beside the weights: running statistics, dropout's draws."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
        )
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(self.features(x).mean(dim=(2, 3))))
        return logits


@pytest.fixture
def trained() -> nn.Module:
    """A network in the middle of its training, its first layer frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Trained()
    network.head.weight.data *= 30
    network.train()
    network.features[0].requires_grad_(False)
    network.features[1].eval()
    return network


def state_of(network: nn.Module) -> dict[str, Any]:
    """Return all that could have been left changed."""
    return {
        "tensors": {name: value.clone() for name, value in network.state_dict().items()},
        "gradients": {
            name: None if one.grad is None else one.grad.clone()
            for name, one in network.named_parameters()
        },
        "wants": [one.requires_grad for one in network.parameters()],
        "modes": [module.training for module in network.modules()],
        "hooks": [len(module._forward_hooks) for module in network.modules()],
    }


def assert_same_state(found: dict[str, Any], expected: dict[str, Any]) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# --- the mask ------------------------------------------------------------------------------------


def test_a_hard_mask_keeps_what_is_at_least_the_mean_of_its_own_map() -> None:
    maps = torch.tensor([[[0.0, 0.2], [0.4, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])  # means 0.4, 0.25

    expected = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(keep_mask(maps, "hard"), expected, rtol=0, atol=0)


def test_a_soft_mask_keeps_the_same_places_and_fades_outside() -> None:
    maps = torch.tensor([[[0.0, 0.2], [0.4, 1.0]]])

    torch.testing.assert_close(keep_mask(maps, "soft"), torch.tensor([[[0.0, 0.5], [1.0, 1.0]]]))


@pytest.mark.parametrize("edge", ["hard", "soft"])
def test_a_map_that_says_nothing_keeps_everything(edge: Any) -> None:
    assert keep_mask(torch.zeros(1, 2, 2), edge).eq(1).all()


def test_pictures_are_kept_where_the_map_of_their_label_is_high(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    found = SaliencyAugment(tiny_cnn.network, ALWAYS).augment(tiny_inputs, LABELS)

    kernel = torch.exp(-(torch.arange(-25.0, 26) ** 2) / (2 * 50**2))
    kernel = (kernel[:, None] * kernel / kernel.sum() ** 2).expand(3, 1, 51, 51)
    for place, (picture, label) in enumerate(zip(tiny_inputs, LABELS.tolist(), strict=True)):
        explained = groupcam.explain(tiny_cnn, picture[None], FOUR_GROUPS, class_index=label)
        blurred = F.conv2d(F.pad(picture[None], (25,) * 4, "reflect"), kernel, groups=3)[0]
        is_kept = explained.saliency_map[0] >= explained.saliency_map[0].mean()
        assert 0.1 < is_kept.float().mean() < 0.9
        expected = torch.where(is_kept, picture, blurred)
        torch.testing.assert_close(found.images[place], expected, rtol=0, atol=1e-5)
        assert torch.equal(found.images[place][:, is_kept], picture[:, is_kept])


def test_the_label_is_explained_not_the_top_class(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    augment = SaliencyAugment(tiny_cnn.network, ALWAYS)

    first, last = (
        augment.augment(tiny_inputs, torch.full((3,), label)).saliency_map for label in (0, 2)
    )
    probabilities = augment.augment(tiny_inputs, F.one_hot(torch.full((3,), 2), 3).float())

    assert not torch.allclose(first, last)
    assert torch.equal(probabilities.saliency_map, last)


def test_costs_are_counted(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    found = SaliencyAugment(tiny_cnn.network, ALWAYS).augment(tiny_inputs, LABELS)
    explained = groupcam.explain(tiny_cnn, tiny_inputs, FOUR_GROUPS, class_index=LABELS)
    control = SaliencyAugment(tiny_cnn.network, AugmentConfig("centre", 1))

    assert found.forward_passes == int(explained.forward_passes.sum())
    assert found.backward_passes == 3
    assert control.augment(tiny_inputs, LABELS).forward_passes == 0


def test_controls_hide_about_as_much_and_see_no_network(tiny_inputs: Tensor) -> None:
    nothing = nn.Identity()  # gives no logits: it would fail if it was asked
    numbers = torch.rand(3, NUMBERS, generator=torch.Generator().manual_seed(1))

    random, centre = (
        SaliencyAugment(nothing, AugmentConfig(source, 1)).augment(tiny_inputs, LABELS, numbers)
        for source in ("random_mask", "centre")
    )

    assert centre.mask[:, 16, 16].eq(1).all()
    assert centre.mask[:, 0, 0].eq(0).all()
    assert not torch.equal(random.mask[0], random.mask[1])  # each picture has its own
    for found in (random, centre):
        assert 0.25 < found.mask.mean() < 0.75


# --- which pictures ------------------------------------------------------------------------------


def test_probability_0_leaves_the_batch_bit_for_bit(tiny_inputs: Tensor) -> None:
    config = AugmentConfig(probability=0)

    images, labels = SaliencyAugment(nn.Identity(), config)(tiny_inputs, LABELS)

    assert torch.equal(images, tiny_inputs)
    assert labels is LABELS


def test_only_the_pictures_that_are_drawn_change(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    config = AugmentConfig(probability=0.5, group_cam=FOUR_GROUPS)
    numbers = torch.zeros(3, NUMBERS)
    numbers[:, 0] = torch.tensor([0.6, 0.4, 0.5])
    before = tiny_inputs.clone()

    found = SaliencyAugment(tiny_cnn.network, config).augment(tiny_inputs, LABELS, numbers)

    assert found.is_augmented.tolist() == [False, True, False]
    assert torch.equal(found.images[[0, 2]], before[[0, 2]])
    assert not torch.allclose(found.images[1], before[1])
    assert torch.equal(tiny_inputs, before)


def test_random_numbers_come_from_the_given_generator_alone(tiny_inputs: Tensor) -> None:
    def masks(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        config = AugmentConfig("random_mask", 1)
        augment = SaliencyAugment(nn.Identity(), config, generator=generator)
        return augment.augment(tiny_inputs, LABELS).mask

    state = torch.get_rng_state()

    assert torch.equal(masks(1), masks(1))
    assert not torch.equal(masks(1), masks(2))
    assert torch.equal(torch.get_rng_state(), state)


# --- the network does not notice -----------------------------------------------------------------


def step(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Make one step of a training."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    F.cross_entropy(network(images), labels).backward()
    optimizer.step()


def test_a_step_leaves_everything_as_plain_training_on_the_same_pictures_does(
    trained: nn.Module, tiny_inputs: Tensor
) -> None:
    plain = copy.deepcopy(trained)
    seen = SaliencyAugment(copy.deepcopy(trained), ALWAYS).augment(tiny_inputs, LABELS).images
    generator = torch.Generator().manual_seed(0)

    torch.manual_seed(5)
    images, labels = SaliencyAugment(trained, ALWAYS, generator=generator)(tiny_inputs, LABELS)
    step(trained, images, labels)
    torch.manual_seed(5)
    step(plain, seen, LABELS)

    assert_same_state(state_of(trained), state_of(plain))


def test_gradients_that_wait_for_a_step_stay(trained: nn.Module, tiny_inputs: Tensor) -> None:
    F.cross_entropy(trained(tiny_inputs), LABELS).backward()
    before = state_of(trained)

    SaliencyAugment(trained, ALWAYS)(tiny_inputs, LABELS)

    assert_same_state(state_of(trained), before)
    assert before["gradients"]["head.weight"].any()


def test_the_network_is_as_it_was_after_an_error(trained: nn.Module, tiny_inputs: Tensor) -> None:
    before = state_of(trained)
    augment = SaliencyAugment(trained, ALWAYS)

    with pytest.raises(GroupCamError, match="class index"):
        augment(tiny_inputs, LABELS + 3)
    with pytest.raises(GroupCamError, match="finite"):
        augment(tiny_inputs * torch.nan, LABELS)

    assert_same_state(state_of(trained), before)


def test_maps_follow_the_weights(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    network = tiny_cnn.network
    augment = SaliencyAugment(network, ALWAYS)
    first = augment.augment(tiny_inputs, LABELS).saliency_map
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.manual_seed(0))

    later = augment.augment(tiny_inputs, LABELS).saliency_map

    anew = groupcam.explain(tiny_cnn, tiny_inputs, FOUR_GROUPS, class_index=LABELS)
    assert not torch.allclose(later, first)
    torch.testing.assert_close(later, anew.saliency_map)


def test_autocast_around_it_changes_nothing(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    augment = SaliencyAugment(tiny_cnn.network, ALWAYS)
    outside, _ = augment(tiny_inputs, LABELS)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = augment(tiny_inputs, LABELS)
        assert tiny_cnn.network(inside).dtype == torch.bfloat16

    assert torch.equal(inside, outside)
    assert augment(tiny_inputs.bfloat16(), LABELS)[0].dtype == torch.bfloat16


# --- with others ---------------------------------------------------------------------------------


def test_it_stands_beside_cutmix_in_a_torchvision_pipeline(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    augment = SaliencyAugment(tiny_cnn.network, ALWAYS)
    both = v2.Compose([augment, v2.CutMix(num_classes=3)])
    other_way = v2.Compose([v2.CutMix(num_classes=3), augment])

    for pipeline in (both, other_way):
        images, labels = pipeline(tiny_inputs, LABELS)
        assert images.shape == tiny_inputs.shape
        assert labels.shape == (3, 3)


def test_what_is_no_batch_is_refused(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    augment = SaliencyAugment(tiny_cnn.network, ALWAYS)

    with pytest.raises(TypeError, match="after the normalisation"):
        augment(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), LABELS)
    with pytest.raises(GroupCamError, match="after the loader"):
        augment(tiny_inputs[0], LABELS[:1])
    with pytest.raises(GroupCamError, match="labels"):
        augment(tiny_inputs, LABELS[:2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 1.5}, "probability must be between 0 and 1"),
        ({"source": "rise"}, "source must be one of group_cam"),
        ({"edge": "round"}, "edge must be one of hard, soft"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GroupCamError, match=message):
        AugmentConfig(**settings)


def test_the_network_within_is_explained() -> None:
    network = TinyCnn()
    compiled = nn.Identity()  # what torch.compile returns has the network under this name
    compiled._orig_mod = network

    assert bare(nn.DataParallel(compiled)) is network
