"""What holds for every method."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from groupcam import METHODS
from groupcam.models import Backbone, load_backbone, resolve_target_layer
from groupcam.saliency.engine import plan_of
from groupcam.saliency.methods import Progress
from groupcam.steps import finish
from tests.saliency.methods.support import QUICK, counted_pictures, map_of, run_method
from tests.saliency.test_leaks import FailingHead, is_unlocked, state_of

REQUIRED = {
    "group_cam",
    "group_cam_official",
    "group_cam_paper",
    "grad_cam",
    "grad_cam_pp",
    "smooth_grad_cam_pp",
    "hires_cam",
    "layer_cam",
    "xgrad_cam",
    "eigen_cam",
    "ablation_cam",
    "score_cam",
    "score_cam_increase",
    "recipro_cam",
    "shapley_cam",
    "finer_cam",
    "rise",
    "occlusion",
    "integrated_gradients",
    "smooth_grad",
    "guided_backprop",
    "random",
    "centre",
    "sobel",
}
LAYER = "features.4"
every_method = pytest.mark.parametrize("name", METHODS)
every_working_method = pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if method.kind != "control"]
)


@pytest.fixture
def classes() -> Tensor:
    return torch.tensor([0, 1, 2])


@pytest.fixture(scope="module")
def small_vit() -> Backbone:
    """Tokens with a class token before them; random weights."""
    return load_backbone("timm/test_vit", weights=None)


def test_the_registry_has_every_method_under_its_own_name() -> None:
    assert set(METHODS) >= REQUIRED
    for name, method in METHODS.items():
        assert method.name == name
        assert method.title
        assert bool(method.paper) == (method.kind != "control")
    assert len({method.title for method in METHODS.values()}) == len(METHODS)


@every_method
def test_signatures_are_alike_and_options_are_named_and_have_defaults(name: str) -> None:
    parameters = list(inspect.signature(METHODS[name].steps).parameters.values())

    assert [p.name for p in parameters[:4]] == ["backbone", "inputs", "layer", "class_index"]
    for option in parameters[4:]:
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert option.default is not inspect.Parameter.empty
    assert set(QUICK.get(name, {})) <= {option.name for option in parameters[4:]}


@every_method
def test_maps_are_finite_and_span_0_to_1(
    tiny_cnn: Backbone, tiny_inputs: Tensor, classes: Tensor, name: str
) -> None:
    maps = run_method(name, tiny_cnn, tiny_inputs, LAYER, classes, **QUICK.get(name, {}))

    saliency = maps.saliency_map
    assert saliency.shape == (3, 32, 32)
    assert saliency.dtype == torch.float32
    assert torch.isfinite(saliency).all()
    for picture in saliency:
        assert (picture.min(), picture.max()) == (0, 1) or not picture.any()
    assert saliency.any()
    assert not saliency.requires_grad


@every_method
def test_passes_are_counted_as_the_network_sees_them(
    tiny_cnn: Backbone, tiny_inputs: Tensor, classes: Tensor, name: str
) -> None:
    layer = resolve_target_layer(tiny_cnn, LAYER)
    progress: list[Progress] = []

    with counted_pictures(tiny_cnn.network) as shown:
        steps = METHODS[name].steps(tiny_cnn, tiny_inputs, layer, classes, **QUICK.get(name, {}))
        while True:
            try:
                progress.append(next(steps))
            except StopIteration as end:
                maps = end.value
                break

    assert maps.forward_passes.shape == maps.backward_passes.shape == (3,)
    assert maps.forward_passes.dtype == torch.int64
    assert maps.forward_passes.sum() == sum(shown)
    assert (progress[-1].done, progress[-1].total) == (sum(shown), sum(shown))
    done = [step.done for step in progress]
    assert done == sorted(done)
    totals = [step.total for step in progress]
    assert totals == sorted(totals, reverse=True)
    assert max(shown, default=0) <= plan_of(tiny_cnn).micro_batch


@every_method
def test_a_map_does_not_depend_on_the_pictures_beside_it(
    tiny_cnn: Backbone, tiny_inputs: Tensor, classes: Tensor, name: str
) -> None:
    options = QUICK.get(name, {})

    together = map_of(name, tiny_cnn, tiny_inputs, LAYER, classes, **options)
    alone = [
        map_of(name, tiny_cnn, tiny_inputs[i : i + 1], LAYER, classes[i : i + 1], **options)
        for i in range(3)
    ]

    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)


@every_method
def test_results_repeat_and_the_networks_state_comes_back(
    tiny_cnn: Backbone, tiny_inputs: Tensor, classes: Tensor, name: str
) -> None:
    tiny_cnn.network.train()
    tiny_cnn.network.get_submodule("features.0").eval()
    resolve_target_layer(tiny_cnn, LAYER)
    before, inputs_before = state_of(tiny_cnn.network), tiny_inputs.clone()

    first, second = (
        map_of(name, tiny_cnn, tiny_inputs, LAYER, classes, **QUICK.get(name, {})) for _ in "12"
    )

    assert torch.equal(first, second)
    assert state_of(tiny_cnn.network) == before
    assert is_unlocked(tiny_cnn)
    assert torch.equal(tiny_inputs, inputs_before)


@every_working_method
@pytest.mark.parametrize("fails_at", [1, 2])
def test_the_networks_state_comes_back_when_it_fails(
    tiny_cnn: Backbone, tiny_inputs: Tensor, classes: Tensor, name: str, fails_at: int
) -> None:
    layer = resolve_target_layer(tiny_cnn, LAYER)
    pictures = torch.cat([tiny_inputs, tiny_inputs])  # two micro-batches of the quickest methods
    head = FailingHead(tiny_cnn.network.get_submodule("head"), fails_at)
    tiny_cnn.network.head = head
    before = state_of(tiny_cnn.network)
    options = QUICK.get(name, {})

    with pytest.raises(ArithmeticError, match="the head fails"):
        finish(METHODS[name].steps(tiny_cnn, pictures, layer, classes.repeat(2), **options))

    assert state_of(tiny_cnn.network) == before
    assert is_unlocked(tiny_cnn)


@every_working_method
def test_closing_stops_after_the_micro_batch(
    tiny_cnn: Backbone, tiny_inputs: Tensor, classes: Tensor, name: str
) -> None:
    layer = resolve_target_layer(tiny_cnn, LAYER)
    before = state_of(tiny_cnn.network)

    with counted_pictures(tiny_cnn.network) as shown:
        steps = METHODS[name].steps(tiny_cnn, tiny_inputs, layer, classes, **QUICK.get(name, {}))
        first = next(steps)
        steps.close()

    assert first.done == sum(shown) <= plan_of(tiny_cnn).micro_batch
    assert state_of(tiny_cnn.network) == before
    assert is_unlocked(tiny_cnn)


@every_method
def test_tokens_give_maps_too(small_vit: Backbone, name: str) -> None:
    layer = resolve_target_layer(small_vit)
    assert (layer.layout, layer.prefix_tokens) == ("tokens", 1)
    inputs = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    before = state_of(small_vit.network)

    maps = run_method(name, small_vit, inputs, class_index=7, **QUICK.get(name, {}))

    assert maps.saliency_map.shape == (2, 160, 160)
    assert torch.isfinite(maps.saliency_map).all()
    assert state_of(small_vit.network) == before


@every_method
def test_inference_mode_changes_nothing(tiny_cnn: Backbone, tiny_inputs: Tensor, name: str) -> None:
    options = QUICK.get(name, {})
    expected = map_of(name, tiny_cnn, tiny_inputs, LAYER, 1, **options)

    with torch.inference_mode():
        frozen = map_of(name, tiny_cnn, tiny_inputs.clone(), LAYER, 1, **options)

    torch.testing.assert_close(frozen, expected)


def silence_the_layer(backbone: Backbone) -> None:
    bias = backbone.network.get_submodule("features.3").bias
    assert isinstance(bias, Tensor)
    bias.data -= 1e3


def silence_the_head(backbone: Backbone) -> None:
    for parameter in backbone.network.get_submodule("head").parameters():
        parameter.data.zero_()


@every_working_method
@pytest.mark.parametrize("silence", [silence_the_layer, silence_the_head])
def test_a_network_without_evidence_gives_zeros(
    tiny_cnn: Backbone, tiny_inputs: Tensor, name: str, silence: Any
) -> None:
    resolve_target_layer(tiny_cnn, LAYER)  # before the layer loses its gradient
    silence(tiny_cnn)

    saliency = map_of(name, tiny_cnn, tiny_inputs, LAYER, 1, **QUICK.get(name, {}))

    assert torch.isfinite(saliency).all()
    # These answer to more than the change of the class.
    of_the_layer = silence is silence_the_head and name in {
        "eigen_cam",
        "score_cam",
        "score_cam_softmax",
    }
    if not of_the_layer and name != "rise":
        assert not saliency.any()
