"""Where maps are in the outputs of many families, held against reshapes written out by hand."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groupcam import GroupCamConfig, explain
from groupcam.errors import GroupCamError
from groupcam.models import (
    Backbone,
    MapLayout,
    Preprocessing,
    check_layout,
    default_target_layer,
    from_nchw,
    load_backbone,
    resolve_target_layer,
    to_nchw,
)
from groupcam.saliency.capture import capture_layer

MapOf = Callable[[Any], Tensor]


def tokens_after(prefix: int, height: int, width: int) -> MapOf:
    def map_of(tokens: Tensor) -> Tensor:
        images, _, channels = tokens.shape
        return tokens[:, prefix:].reshape(images, height, width, channels).permute(0, 3, 1, 2)

    return map_of


def channels_last(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)


def channels_first(maps: Tensor) -> Tensor:
    return maps


# The default layer and how its output holds the map.
FAMILIES: dict[str, tuple[str, MapOf]] = {
    "test_vit": ("blocks.4", lambda x: x[:, 1:].reshape(-1, 10, 10, 64).permute(0, 3, 1, 2)),
    "deit_tiny_distilled_patch16_224": ("blocks.10", tokens_after(2, 14, 14)),
    "cait_xxs24_224": ("blocks", tokens_after(0, 14, 14)),  # the class token comes later
    "xcit_nano_12_p16_224": ("cls_attn_blocks.0", tokens_after(1, 14, 14)),
    "mixer_s32_224": ("blocks", tokens_after(0, 7, 7)),
    "efficientformer_l1": ("stages.3", tokens_after(0, 7, 7)),
    "hiera_tiny_224": ("blocks.11", tokens_after(0, 7, 7)),
    "tnt_s_legacy_patch16_224": ("blocks.10", lambda x: tokens_after(1, 14, 14)(x[1])),
    "levit_128s": ("stages.2", tokens_after(0, 4, 4)),
    "swin_tiny_patch4_window7_224": ("layers.3", channels_last),
    "swinv2_tiny_window8_256": ("layers.3", channels_last),
    "test_mambaout": ("stages.3", channels_last),
    "davit_tiny": ("stages.3", channels_first),
    "maxvit_rmlp_pico_rw_256": ("stages.3", channels_first),
    "pvt_v2_b0": ("stages.3", channels_first),
    "test_convnext": ("stages.3", channels_first),
}


@functools.cache
def backbone_named(name: str) -> Backbone:
    return load_backbone(f"timm/{name}", weights=None)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[Backbone, str, MapOf]:
    return backbone_named(request.param), *FAMILIES[request.param]


def test_capture_is_the_map_and_the_gradient_of_plain_autograd(
    family: tuple[Backbone, str, MapOf],
) -> None:
    backbone, name, map_of = family
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 3, *backbone.preprocessing.input_size, generator=generator)

    capture = capture_layer(backbone, inputs, default_target_layer(backbone))

    output: Any = None
    gradients: Any

    def keep(_module: nn.Module, _inputs: object, given: Any) -> None:
        nonlocal output
        output = given
        for tensor in (given,) if isinstance(given, Tensor) else given:
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.retain_grad()

    hook = backbone.network.get_submodule(name).register_forward_hook(keep)
    logits = backbone.logits(inputs.requires_grad_())
    hook.remove()
    logits.gather(1, capture.class_index[:, None]).sum().backward()
    if isinstance(output, Tensor):
        gradients = output.grad
    else:
        gradients = tuple(part.grad if isinstance(part, Tensor) else None for part in output)
    assert capture.target_layer.name == name
    assert torch.equal(capture.activations, map_of(output).detach())
    torch.testing.assert_close(capture.gradients, map_of(gradients), rtol=1e-4, atol=1e-9)
    assert capture.gradients.abs().amax() > 0


def test_layout_obeys_the_law_of_corners_and_gives_a_finite_map(
    family: tuple[Backbone, str, MapOf],
) -> None:
    backbone, _, _ = family
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(1, 3, *backbone.preprocessing.input_size, generator=generator)

    problem = check_layout(backbone, default_target_layer(backbone))
    saliency_map = explain(backbone, inputs, GroupCamConfig(groups=2)).saliency_map

    assert problem is None
    assert torch.isfinite(saliency_map).all()


def test_patch_tokens_that_the_class_does_not_depend_on_are_not_usable() -> None:
    backbone = backbone_named("test_vit")

    last = backbone.network.get_submodule("blocks")
    assert isinstance(last, nn.Sequential)
    with pytest.raises(
        GroupCamError, match=f"'blocks.{len(last) - 1}' has a gradient of zero everywhere"
    ):
        resolve_target_layer(backbone, f"blocks.{len(last) - 1}")
    assert resolve_target_layer(backbone, f"blocks.{len(last) - 1}.norm1").usable


def test_tokens_in_another_order_than_the_pictures_rows_are_not_usable() -> None:
    backbone = backbone_named("hiera_tiny_224")

    with pytest.raises(GroupCamError, match=r"\(1, 3136, 96\), whose tokens are not in raster"):
        resolve_target_layer(backbone, "blocks.0")


@pytest.mark.parametrize("name", ["mixer_s32_224", "test_convnext"])
def test_random_weights_let_the_logits_depend_on_the_picture(name: str) -> None:
    backbone = backbone_named(name)
    inputs = torch.randn(
        2, 3, *backbone.preprocessing.input_size, generator=torch.Generator().manual_seed(0)
    )

    first, second = backbone.logits(inputs)

    assert (first - second).abs().amax() > 0
    assert torch.equal(first, load_backbone(backbone.name, weights=None).logits(inputs)[0])


class Tokens(nn.Module):
    """A grid of cells as tokens among others, mixed a little by attention, in any container."""

    def __init__(
        self,
        cell: tuple[int, int],
        before: int = 0,
        after: int = 0,
        *,
        wrap: Callable[[Tensor], Any] = lambda tokens: tokens,
        unwrap: Callable[[Any], Tensor] = lambda output: output,
    ) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 24, cell, stride=cell)
        self.before = nn.Parameter(torch.randn(1, before, 24))
        self.after = nn.Parameter(torch.randn(1, after, 24))
        self.block = Block(wrap)
        self.unwrap = unwrap
        self.head = nn.Linear(24, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        cells = self.embed(inputs).flatten(2).transpose(1, 2)
        extra = [tokens.expand(len(cells), -1, -1) for tokens in (self.before, self.after)]
        tokens = torch.cat([extra[0], cells, extra[1]], dim=1)
        logits: Tensor = self.head(self.unwrap(self.block(tokens)).tanh().mean(1))
        return logits


class Block(nn.Module):
    """Attention among tokens, kept small beside the tokens themselves."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.qkv = nn.Linear(24, 72)
        self.wrap = wrap

    def forward(self, tokens: Tensor) -> Any:
        query, key, value = self.qkv(tokens).chunk(3, dim=2)
        return self.wrap(tokens + F.scaled_dot_product_attention(query, key, value))


def backbone_of(network: nn.Module, size: tuple[int, int] = (48, 48)) -> Backbone:
    return Backbone.from_module(network, Preprocessing(size))


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    ("cell", "grid"), [((4, 4), (12, 12)), ((6, 4), (8, 12)), ((4, 12), (12, 4))], ids=str
)
@pytest.mark.parametrize(
    ("before", "after"), [(0, 0), (1, 0), (2, 0), (5, 0), (12, 0), (16, 0), (0, 1), (0, 3)], ids=str
)
def test_any_grid_is_found_among_any_number_of_other_tokens(
    cell: tuple[int, int], grid: tuple[int, int], before: int, after: int
) -> None:
    backbone = backbone_of(Tokens(cell, before, after))

    layer = resolve_target_layer(backbone, "block")

    assert (layer.layout, layer.prefix_tokens, layer.shape) == ("tokens", before, (24, *grid))
    assert check_layout(backbone, layer) is None


@pytest.mark.parametrize(
    ("wrap", "unwrap", "path"),
    [
        (lambda x: (x, (12, 12)), lambda out: out[0], (0,)),
        (lambda x: [x.mean(1), x], lambda out: out[1], (1,)),
        (lambda x: {"size": 12, "tokens": [x]}, lambda out: out["tokens"][0], ("tokens", 0)),
    ],
    ids=["tuple", "list", "dict"],
)
def test_map_is_found_inside_an_output_and_its_gradient_goes_through_it(
    wrap: Callable[[Tensor], Any], unwrap: Callable[[Any], Tensor], path: tuple[int | str, ...]
) -> None:
    plain = backbone_of(Tokens((4, 4), 1))
    wrapped = backbone_of(Tokens((4, 4), 1, wrap=wrap, unwrap=unwrap))
    wrapped.network.load_state_dict(plain.network.state_dict())
    inputs = torch.randn(2, 3, 48, 48)

    expected = capture_layer(plain, inputs, resolve_target_layer(plain, "block"))
    layer = resolve_target_layer(wrapped, "block")
    capture = capture_layer(wrapped, inputs, layer)

    assert layer.path == path
    torch.testing.assert_close(capture.activations, expected.activations)
    torch.testing.assert_close(capture.gradients, expected.gradients)


def test_tokens_after_their_channels_are_found() -> None:
    backbone = backbone_of(
        Tokens((4, 6), wrap=lambda x: x.transpose(1, 2), unwrap=lambda x: x.transpose(1, 2))
    )

    layer = resolve_target_layer(backbone, "block")

    assert (layer.layout, layer.shape) == ("tokens_last", (24, 12, 8))


def test_shuffled_tokens_are_no_map() -> None:
    order = torch.randperm(144)
    backbone = backbone_of(Tokens((4, 4), wrap=lambda tokens: tokens[:, order]))

    with pytest.raises(GroupCamError, match=r"whose tokens are not in raster order"):
        resolve_target_layer(backbone, "block")


@pytest.mark.parametrize(
    "wrong",
    [
        {"prefix_tokens": 0},
        {"prefix_tokens": 2},
        {"shape": (24, 6, 24)},
        {"shape": (24, 24, 6)},
        {"shape": (24, 9, 16)},
    ],
    ids=str,
)
def test_law_of_corners_refuses_wrong_readings_of_tokens(wrong: dict[str, Any]) -> None:
    backbone = backbone_of(Tokens((4, 4), 1, 1))
    layer = resolve_target_layer(backbone, "block")

    problem = check_layout(backbone, replace(layer, **wrong))

    assert check_layout(backbone, layer) is None
    assert problem is not None
    assert "corner" in problem


def test_law_of_corners_refuses_channels_for_rows() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 12, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3)
    )
    backbone = backbone_of(network)
    layer = resolve_target_layer(backbone, "0")

    assert check_layout(backbone, layer) is None
    assert check_layout(backbone, replace(layer, layout="NHWC")) is not None


def test_mirrored_picture_gives_the_mirrored_map_where_the_network_is_symmetric() -> None:
    network = Tokens((4, 4), 2)
    network.embed.weight.data += network.embed.weight.data.flip(3)
    backbone = backbone_of(network)
    inputs = torch.randn(1, 3, 48, 48)
    layer = resolve_target_layer(backbone, "block")

    seen = capture_layer(backbone, inputs, layer)
    mirrored = capture_layer(backbone, inputs.flip(3), layer, seen.class_index)

    torch.testing.assert_close(mirrored.activations, seen.activations.flip(3))
    torch.testing.assert_close(mirrored.gradients, seen.gradients.flip(3))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        # At these sizes every stride begins and ends at the picture's border.
        ("resnet18", 225),
        ("test_efficientnet", 225),
        ("mobilenetv3_small_050", 225),
        ("ghostnet_100", 225),
        ("regnetx_002", 225),
        ("fbnetc_100", 225),
        ("starnet_s1", 225),
        ("test_mambaout", 225),
        ("convnext_atto", 224),
        ("edgenext_xx_small", 224),
    ],
)
def test_mirrored_picture_gives_the_mirrored_map_of_symmetric_convolutions(
    name: str, size: int
) -> None:
    backbone = load_backbone(f"timm/{name}", None, input_size=size)
    for module in backbone.network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = (module.weight.data + module.weight.data.flip(3)) / 2
    inputs = torch.randn(1, 3, size, size)
    layer = default_target_layer(backbone)

    seen = capture_layer(backbone, inputs, layer)
    mirrored = capture_layer(backbone, inputs.flip(3), layer, seen.class_index)

    scale = float(seen.activations.abs().max())
    assert not torch.allclose(mirrored.activations / scale, seen.activations / scale, atol=1e-3)
    torch.testing.assert_close(
        mirrored.activations / scale, seen.activations.flip(3) / scale, rtol=0, atol=1e-4
    )
    scale = float(seen.gradients.abs().max())
    torch.testing.assert_close(
        mirrored.gradients / scale, seen.gradients.flip(3) / scale, rtol=0, atol=1e-3
    )


def test_gradient_counts_every_use_of_a_tensor_that_a_module_overwrites() -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 4, 4, stride=4)
            self.act = nn.ReLU(inplace=True)
            self.head = nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            embedded = self.embed(inputs)
            activated = self.act(embedded)
            logits: Tensor = self.head((activated * activated + 2 * embedded).mean((2, 3)))
            return logits

    backbone = backbone_of(Shortcut())
    inputs = torch.randn(1, 3, 48, 48)

    capture = capture_layer(backbone, inputs, resolve_target_layer(backbone, "act"))

    # d(mean of a * a + 2 a) / da = (2 a + 2) / 144, then the head.
    weights = backbone.network.get_submodule("head").get_parameter("weight")
    by_hand = (2 * capture.activations + 2) / 144 * weights[capture.class_index][:, :, None, None]
    torch.testing.assert_close(capture.gradients, by_hand)
    assert not inputs.requires_grad


def test_gradient_at_a_repeated_module_is_that_of_the_call_with_the_map() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.head = nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            logits: Tensor = self.head(self.conv(torch.tanh(self.conv(inputs))).mean((2, 3)))
            return logits

    backbone = backbone_of(Shared())
    inputs = torch.randn(1, 3, 48, 48)

    capture = capture_layer(backbone, inputs, resolve_target_layer(backbone, "conv"))

    conv = backbone.network.get_submodule("conv")
    weights = backbone.network.get_submodule("head").get_parameter("weight")
    by_hand = weights[capture.class_index][:, :, None, None].expand(1, 3, 48, 48) / 48**2
    torch.testing.assert_close(capture.activations, conv(torch.tanh(conv(inputs))))
    torch.testing.assert_close(capture.gradients, by_hand)


LAYOUTS = [
    MapLayout(layout="NCHW", shape=(3, 4, 5)),
    MapLayout(layout="NHWC", shape=(3, 4, 5)),
    MapLayout(layout="tokens", shape=(3, 4, 5), prefix_tokens=2),
    MapLayout(layout="tokens_last", shape=(3, 4, 5), prefix_tokens=1),
]
SHAPES = {
    "NCHW": (2, 3, 4, 5),
    "NHWC": (2, 4, 5, 3),
    "tokens": (2, 23, 3),
    "tokens_last": (2, 3, 21),
}


@pytest.mark.parametrize("where", LAYOUTS, ids=lambda where: where.layout)
def test_maps_there_and_back_are_the_identity(where: MapLayout) -> None:
    tensor = torch.randn(SHAPES[where.layout])

    maps = to_nchw(tensor, where)

    assert maps.shape == (2, 3, 4, 5)
    assert torch.equal(from_nchw(maps, where, tensor), tensor)
    # Only the map's cells come from it.
    changed = from_nchw(torch.zeros_like(maps), where, tensor)
    assert int((changed != 0).sum()) == tensor.numel() - maps.numel()


def test_first_token_of_a_row_follows_the_last_of_the_row_above() -> None:
    where = MapLayout(layout="tokens", shape=(1, 2, 3), prefix_tokens=1)

    maps = to_nchw(torch.arange(7.0).view(1, 7, 1), where)

    assert maps.tolist() == [[[[1, 2, 3], [4, 5, 6]]]]
