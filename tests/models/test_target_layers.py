import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.models import (
    Backbone,
    Preprocessing,
    TargetLayer,
    default_target_layer,
    load_backbone,
    resolve_target_layer,
    target_layers,
)


def backbone_of(network: nn.Module, size: tuple[int, int] = (32, 32)) -> Backbone:
    return Backbone.from_module(network, Preprocessing(size))


def names_of(layers: list[TargetLayer]) -> list[str]:
    return [layer.name for layer in layers]


class Lambda(nn.Module):
    """A module without parameters that applies a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


def head(channels: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)


def test_listing_names_each_tensor_once_in_execution_order(blocks: Backbone) -> None:
    layers = target_layers(blocks)

    assert [(layer.name, layer.shape) for layer in layers] == [
        ("stem", (4, 16, 16)),
        # act overwrites conv's memory, yet conv's output is a tensor of its own.
        ("stages.0.0.conv", (6, 8, 8)),
        ("stages.0.0", (6, 8, 8)),
        ("stages.0.1.conv", (6, 8, 8)),
        ("stages.0", (6, 8, 8)),
        ("stages.1.0.conv", (8, 4, 4)),
        ("stages.1", (8, 4, 4)),  # not "stages", in which the grid shrinks fourfold
    ]
    assert all(layer.usable and layer.layout == "NCHW" for layer in layers)
    assert [layer.name for layer in layers if layer.default] == ["stages.1"]


@pytest.mark.parametrize("name", ["stages", "stages.1.0", "stages.1.0.act", "stages.0.1.act"])
def test_layers_that_are_not_listed_can_be_named(blocks: Backbone, name: str) -> None:
    layer = resolve_target_layer(blocks, name)

    assert layer.name == name
    assert layer.usable
    assert name not in names_of(target_layers(blocks))


def test_no_name_means_the_default(blocks: Backbone) -> None:
    assert resolve_target_layer(blocks) == default_target_layer(blocks)
    assert resolve_target_layer(blocks).name == "stages.1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stages.2", r"has no layer 'stages.2'. Did you mean '.*The default is 'stages.1'"),
        ("pool", r"'pool' gives \(1, 8, 1, 1\), not a 2-D map"),
        ("head", r"'head' gives \(1, 5\), not a 2-D map"),
        ("unused", "'unused' is not used in a forward pass"),
        ("", "has no layer ''"),
    ],
)
def test_names_without_a_map_are_refused(blocks: Backbone, name: str, message: str) -> None:
    with pytest.raises(GroupCamError, match=message):
        resolve_target_layer(blocks, name)


def test_layer_without_influence_is_not_usable() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3)
            self.cut = nn.Conv2d(3, 4, 3)
            self.zeroed = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            features = self.first(inputs) + self.cut(inputs).detach() + 0 * self.zeroed(inputs)
            logits: Tensor = self.head(features.mean((2, 3)))
            return logits

    backbone = backbone_of(Detached())

    assert {layer.name: layer.reason for layer in target_layers(backbone)} == {
        "first": None,
        "cut": "is not connected to the class by a gradient",
        "zeroed": "has a gradient of zero everywhere",
    }
    with pytest.raises(GroupCamError, match="'zeroed' has a gradient of zero everywhere"):
        resolve_target_layer(backbone, "zeroed")


def test_of_a_module_that_runs_twice_the_last_map_with_a_gradient_is_taken() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.head = nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            twice = self.conv(torch.tanh(self.conv(inputs)))
            self.conv(inputs)  # for nothing
            logits: Tensor = self.head(twice.mean((2, 3)))
            return logits

    layer = resolve_target_layer(backbone_of(Shared()), "conv")

    assert (layer.call, layer.usable) == (1, True)


def identity(maps: Tensor) -> Tensor:
    return maps


def channels_last(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1)


def channels_first(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("channels", "size"), [(16, (16, 16)), (5, (16, 16)), (12, (12, 24)), (24, (12, 24))], ids=str
)
@pytest.mark.parametrize(
    ("layout", "arrange", "restore"),
    [("NCHW", identity, identity), ("NHWC", channels_last, channels_first)],
)
def test_layout_is_told_from_data_even_where_the_shape_says_nothing(
    channels: int,
    size: tuple[int, int],
    layout: str,
    arrange: Callable[[Tensor], Tensor],
    restore: Callable[[Tensor], Tensor],
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        Lambda(arrange),
        Lambda(torch.tanh),
        Lambda(restore),
        *head(channels),
    )

    layer = resolve_target_layer(backbone_of(network, size), "2")

    assert (layer.layout, layer.shape) == (layout, (channels, *size))


def test_tokens_against_tokens_are_no_map_although_the_shape_looks_like_one() -> None:
    # (1, 4 heads, 64 tokens, 64 tokens), as attention matrices of an 8 x 8 grid are.
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 4, 4, stride=4)
            self.matrix = nn.Softmax(-1)
            self.head = nn.Linear(64, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            tokens = self.embed(inputs).flatten(2)  # (N, 4, 64)
            logits: Tensor = self.head(
                self.matrix(tokens[..., None] * tokens[..., None, :])[:, 0, 0]
            )
            return logits

    backbone = backbone_of(Attention())

    with pytest.raises(GroupCamError, match=r"'matrix' gives \(1, 4, 64, 64\), not a 2-D map"):
        resolve_target_layer(backbone, "matrix")


def test_default_of_a_flat_network_is_the_activation_after_the_last_convolution() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        *head(6),
    )
    backbone = backbone_of(network)

    assert default_target_layer(backbone).name == "5"
    assert default_target_layer(backbone).shape == (6, 16, 16)


def test_pool_that_closes_a_stage_is_not_taken_for_the_default() -> None:
    class Convolve(nn.Sequential):
        """Two layers as one block."""

    network = nn.Sequential(
        Convolve(nn.Conv2d(3, 4, 3, padding=1), nn.Tanh()), nn.MaxPool2d(2), *head(4)
    )

    assert default_target_layer(backbone_of(network)).name == "0"


def test_long_listing_stops_at_a_nesting_level_but_keeps_every_name_usable() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 3, 1)
            self.second = nn.Conv2d(3, 3, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = inputs + self.second(torch.tanh(self.first(inputs)))
            return outputs

    backbone = backbone_of(nn.Sequential(*(Residual() for _ in range(40)), *head(3)), (16, 16))

    assert names_of(target_layers(backbone)) == [str(index) for index in range(40)]
    assert resolve_target_layer(backbone, "7.first").usable


def test_probe_runs_once_per_backbone(blocks: Backbone) -> None:
    runs = []
    blocks.network.register_forward_hook(lambda *_: runs.append(1))

    first, second = target_layers(blocks), target_layers(blocks)
    resolve_target_layer(blocks, "stem")

    assert first == second
    assert len(runs) == 2  # layouts, gradients


def test_probe_keeps_no_backbone_alive() -> None:
    backbone = backbone_of(nn.Sequential(nn.Conv2d(3, 4, 3), *head(4)))
    target_layers(backbone)
    reference = weakref.ref(backbone)

    del backbone
    gc.collect()

    assert reference() is None


def state_of(network: nn.Module) -> tuple[object, ...]:
    return (
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [parameter.grad for parameter in network.parameters()],
        [len(module._forward_hooks) for module in network.modules()],
        torch.get_rng_state().tolist(),
    )


def test_probe_leaves_no_trace(blocks: Backbone) -> None:
    blocks.network.train()
    next(blocks.network.parameters()).requires_grad_(False)
    before = state_of(blocks.network)

    with torch.inference_mode():
        target_layers(blocks)

    assert state_of(blocks.network) == before


@pytest.mark.parametrize("failing_pass", [1, 2])
def test_probe_leaves_no_trace_when_the_network_raises(blocks: Backbone, failing_pass: int) -> None:
    blocks.network.train()
    passes = []

    def fail(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passes.append(1)
        if len(passes) == failing_pass:
            raise RuntimeError("broken network")

    handle = blocks.network.get_submodule("head").register_forward_pre_hook(fail)
    before = state_of(blocks.network)

    with pytest.raises(RuntimeError, match="broken network"):
        target_layers(blocks)

    assert state_of(blocks.network) == before
    handle.remove()
    assert default_target_layer(blocks).name == "stages.1"


FAMILIES = {
    "timm/resnet18": ("layer4", (512, 7, 7)),
    "timm/mobilenetv3_small_050": ("blocks.5", (288, 7, 7)),
    "timm/efficientnet_b0": ("blocks.6", (320, 7, 7)),
    "timm/tf_efficientnet_lite0": ("blocks.6", (320, 7, 7)),
    "timm/convnext_atto": ("stages.3", (320, 7, 7)),
    "timm/regnetx_002": ("s4", (368, 7, 7)),
    "timm/inception_v3": ("Mixed_7c", (2048, 8, 8)),
    "timm/mnasnet_small": ("blocks.6", (144, 7, 7)),
    "timm/swin_tiny_patch4_window7_224": ("layers.3", (768, 7, 7)),
    "torchvision/alexnet": ("features.11", (256, 13, 13)),
    "torchvision/resnet50": ("layer4", (2048, 7, 7)),
    "torchvision/vgg19": ("features.35", (512, 14, 14)),
    "torchvision/densenet121": ("features.denseblock4", (1024, 7, 7)),
    "torchvision/mobilenet_v3_small": ("features.12", (576, 7, 7)),
    "torchvision/efficientnet_b0": ("features.8", (1280, 7, 7)),
    "torchvision/regnet_x_400mf": ("trunk_output.block4", (400, 7, 7)),
    "torchvision/squeezenet1_1": ("features.12", (512, 13, 13)),
    "torchvision/shufflenet_v2_x0_5": ("conv5", (1024, 7, 7)),
    "torchvision/mnasnet0_5": ("layers.13", (160, 7, 7)),
    # Attention over the whole grid blurs the traces by which the layout is told.
    "timm/visformer_tiny": ("stage3", (384, 7, 7)),
    "torchvision/googlenet": ("inception5b", (1024, 7, 7)),
    "torchvision/swin_t": ("features.7", (768, 7, 7)),
}
CHANNELS_LAST = {"timm/swin_tiny_patch4_window7_224", "torchvision/swin_t"}


@pytest.mark.parametrize("name", FAMILIES)
def test_family_has_a_default_layer_with_a_gradient(name: str) -> None:
    backbone = load_backbone(name, weights=None)

    layers = target_layers(backbone)

    default = next(layer for layer in layers if layer.default)
    assert (default.name, default.shape) == FAMILIES[name]
    assert default.usable
    assert default.layout == ("NHWC" if name in CHANNELS_LAST else "NCHW")
    assert len(layers) <= 60
    assert default == default_target_layer(backbone)


def test_paper_layer_of_resnet_is_the_same_tensor_as_the_default() -> None:
    backbone = load_backbone("timm/resnet50", weights=None)

    paper = resolve_target_layer(backbone, "layer4.2")

    assert paper.usable
    assert paper.shape == default_target_layer(backbone).shape
    assert "layer4.2" not in names_of(target_layers(backbone))
