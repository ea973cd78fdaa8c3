from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groupcam import GroupCamConfig, explain
from groupcam.errors import GroupCamError
from groupcam.language import speaking
from groupcam.models import Backbone, resolve_target_layer
from groupcam.saliency import ExplanationBatch, engine, explain_steps, finish
from groupcam.saliency.capture import capture_layer
from groupcam.saliency.config import Evidence, Merge
from groupcam.saliency.group_cam import Progress
from groupcam.saliency.perturb import gaussian_blur
from groupcam.steps import relay
from tests.support import as_backbone, head_of

SETTINGS = [
    pytest.param(GroupCamConfig(groups=4, blur_kernel_px=9), id="default"),
    pytest.param(replace(GroupCamConfig.paper(), groups=4), id="paper"),
    pytest.param(replace(GroupCamConfig.official(), groups=5, blur_kernel_px=9), id="official"),
    pytest.param(
        replace(GroupCamConfig.paper(), groups=12, grouping="kmeans", percentile=None), id="kmeans"
    ),
    pytest.param(replace(GroupCamConfig.official(), groups=3, grouping="agglomerative"), id="tree"),
]
LAYER = "features.4"


def slow_group_cam(backbone: Backbone, picture: Tensor, config: GroupCamConfig) -> Tensor:
    """The formulas written as plain loops over contiguous groups, one forward pass at a time."""
    kept: dict[str, Tensor] = {}

    def keep(_module: nn.Module, _args: object, output: Tensor) -> None:
        output.retain_grad()
        kept["activations"] = output

    handle = backbone.network.get_submodule(LAYER).register_forward_hook(keep)
    logits = backbone.network(picture.requires_grad_())
    handle.remove()
    target = int(logits.argmax())
    logits[0, target].backward()
    assert kept["activations"].grad is not None
    activations, gradients = kept["activations"].detach()[0], kept["activations"].grad[0]
    blurred = gaussian_blur(picture, config.blur_sigma_px, config.blur_kernel_px)
    merged = torch.zeros(picture.shape[-2:])
    summed = shown = torch.zeros(activations.shape[1:])
    with torch.no_grad():
        baseline = backbone.network(blurred).softmax(1)[0, target]
        parts = np.array_split(np.arange(len(activations)), config.groups)
        for part in parts:
            mask = torch.zeros(activations.shape[1:])
            for channel in part:
                weighted = gradients[channel].mean() * activations[channel]
                mask += weighted if config.evidence == "signed" else weighted.relu()
            mask = whole = mask.relu()
            if config.percentile is not None:
                threshold = np.percentile(mask.numpy(), config.percentile)
                mask = torch.where(mask > threshold, mask, 0)
            if mask.max() == mask.min():
                continue
            large = F.interpolate(mask[None, None], picture.shape[-2:], mode="bilinear")
            scaled = (large - large.min()) / (large.max() - large.min())
            seen = picture * scaled + blurred * (1 - scaled)
            gain = (backbone.network(seen).softmax(1)[0, target] - baseline).clamp(min=0)
            if config.merge in ("whole", "balanced"):
                cells = (whole - whole.min()) / (whole.max() - whole.min())
                summed = summed + gain * cells
                shown = shown + cells
            else:
                merged += gain * (large if config.merge == "raw" else scaled)[0, 0]
    if config.merge in ("whole", "balanced"):
        if config.merge == "balanced":
            summed = torch.where(shown > 0, summed / shown.sqrt(), 0)
        merged = F.interpolate(summed[None, None], picture.shape[-2:], mode="bilinear")[0, 0]
    return (merged - merged.min()) / (merged.max() - merged.min())


@pytest.mark.parametrize("evidence", ["signed", "positive"])
@pytest.mark.parametrize("percentile", [None, 50.0, 70.0])
@pytest.mark.parametrize("merge", ["raw", "normalized", "whole", "balanced"])
@pytest.mark.parametrize("groups", [1, 3, 12])
def test_map_equals_the_formulas_in_plain_loops(
    tiny_cnn: Backbone,
    tiny_inputs: Tensor,
    groups: int,
    merge: Merge,
    percentile: float | None,
    evidence: Evidence,
) -> None:
    config = GroupCamConfig(
        groups=groups,
        blur_sigma_px=4.0,
        blur_kernel_px=9,
        percentile=percentile,
        evidence=evidence,
        grouping="contiguous",
        merge=merge,
    )

    ours = explain(tiny_cnn, tiny_inputs[:1], config, LAYER).saliency_map[0]

    oracle = slow_group_cam(tiny_cnn, tiny_inputs[:1].clone(), config)
    torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-4)


@pytest.mark.parametrize("config", SETTINGS)
@pytest.mark.parametrize("size", [(32, 32), (20, 44), (9, 64)], ids=str)
def test_maps_are_finite_and_span_zero_to_one(
    tiny_cnn: Backbone, generator: torch.Generator, config: GroupCamConfig, size: tuple[int, int]
) -> None:
    inputs = torch.rand(2, 3, *size, generator=generator) * 2 - 1

    batch = explain(tiny_cnn, inputs, config, LAYER)

    assert batch.saliency_map.shape == (2, *size)
    assert batch.saliency_map.dtype == torch.float32
    assert batch.group_masks.shape == (2, config.groups, *size)
    for picture in (batch[0], batch[1]):
        assert picture.saliency_map.min() == 0
        assert picture.saliency_map.max() == (0 if picture.blank_reason else 1)
        assert 0 <= picture.group_masks.min() <= picture.group_masks.max() <= 1
        gains = (picture.masked_probability - picture.baseline_probability).relu()
        torch.testing.assert_close(picture.group_weights, gains)


@pytest.mark.parametrize("config", SETTINGS)
def test_batches_and_micro_batches_do_not_change_the_map(
    tiny_cnn: Backbone, tiny_inputs: Tensor, config: GroupCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = explain(tiny_cnn, tiny_inputs, config, LAYER)

    monkeypatch.setattr(engine, "MICRO_BATCH_CPU", 1)
    monkeypatch.setattr("groupcam.saliency.capture.PICTURES_AT_ONCE", 1)
    alone = [explain(tiny_cnn, picture[None], config, LAYER)[0] for picture in tiny_inputs]

    for index, picture in enumerate(alone):
        torch.testing.assert_close(
            together.saliency_map[index], picture.saliency_map, rtol=0, atol=1e-5
        )
        assert together[index].forward_passes == picture.forward_passes


def test_forward_passes_are_counted_as_they_are_made(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    seen = []
    handle = tiny_cnn.network.register_forward_hook(
        lambda _module, args, _output: seen.append(len(args[0]))
    )
    explain(tiny_cnn, tiny_inputs[:1], GroupCamConfig(groups=12), LAYER)  # probes the layers
    seen.clear()

    result = explain(tiny_cnn, tiny_inputs[:1], GroupCamConfig(groups=12), LAYER)[0]

    handle.remove()
    live = int((~result.is_dead_group).sum())
    assert live < 12  # so the test shows that dead groups cost nothing
    assert sum(seen) == result.forward_passes == 2 + live


def test_masked_pictures_of_several_pictures_share_full_micro_batches(
    tiny_cnn: Backbone, tiny_inputs: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MICRO_BATCH_CPU", 7)
    explain(tiny_cnn, tiny_inputs[:1], GroupCamConfig(groups=5), LAYER)  # probes the layers
    seen = []
    handle = tiny_cnn.network.register_forward_hook(
        lambda _module, args, _output: seen.append(len(args[0]))
    )

    result = explain(tiny_cnn, tiny_inputs, GroupCamConfig(groups=5), LAYER)

    handle.remove()
    capture, *scoring = seen
    assert capture == 3
    assert sum(scoring) == int(result.forward_passes.sum()) - 3
    assert set(scoring[:-1]) == {7}
    assert scoring[-1] <= 7


def test_classes_can_be_chosen_for_all_or_for_each_picture(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    for_all = explain(tiny_cnn, tiny_inputs, class_index=1, config=GroupCamConfig(groups=3))
    for_each = explain(
        tiny_cnn, tiny_inputs, class_index=[0, 1, 2], config=GroupCamConfig(groups=3)
    )

    assert for_all.class_index.tolist() == [1, 1, 1]
    assert for_each.class_label == ("class 0", "class 1", "class 2")
    torch.testing.assert_close(for_all.saliency_map[1], for_each.saliency_map[1])
    with pytest.raises(GroupCamError, match="one for each of the 3 pictures; got 2"):
        explain(tiny_cnn, tiny_inputs, class_index=[0, 1])
    fraction: Any = 0.5  # from a caller who does not check types
    with pytest.raises(TypeError, match=r"must be a whole number; got 0\.5"):
        explain(tiny_cnn, tiny_inputs, class_index=fraction)


def test_a_network_that_sees_nothing_gives_zeros_and_says_why(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    # A gradient, yet too small to change a probability in float32.
    nn.init.constant_(head_of(tiny_cnn).weight, 1e-9)

    result = explain(tiny_cnn, tiny_inputs[:1], GroupCamConfig(groups=3), LAYER, 0)[0]

    assert not result.saliency_map.any()
    assert result.blank_reason is not None
    assert "No group mask brings 'class 0' above the" in result.blank_reason


def test_a_result_says_why_in_english_and_tells_it_in_the_present_language(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    nn.init.constant_(head_of(tiny_cnn).weight, 1e-9)

    with speaking("de"):
        result = explain(tiny_cnn, tiny_inputs[:1], GroupCamConfig(groups=3), LAYER, 0)[0]
        told = result.why_blank

    assert result.blank_reason == result.why_blank
    assert result.why_blank.startswith("No group mask brings 'class 0' above the")
    assert told.startswith("Keine Gruppenmaske bringt „class 0“ über die")


def test_a_class_no_channel_speaks_for_gives_zeros_and_says_why(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    head_of(tiny_cnn).weight.data[2] = -1.0  # ReLU outputs times negative weights

    result = explain(tiny_cnn, tiny_inputs[:1], GroupCamConfig(groups=3), LAYER, 2)[0]

    assert not result.saliency_map.any()
    assert result.forward_passes == 2
    assert result.is_dead_group.all()
    assert "Every group mask is empty: at 'features.4'" in str(result.blank_reason)


def test_the_map_peaks_on_the_bright_square() -> None:
    class BrightCnn(nn.Module):
        """Its only channel is brightness, which is also the logit of class 0."""

        def __init__(self) -> None:
            super().__init__()
            self.brightness = nn.Conv2d(3, 2, 4, stride=4, bias=False)
            nn.init.constant_(self.brightness.weight, 1 / 48)

        def forward(self, x: Tensor) -> Tensor:
            brightest: Tensor = self.brightness(x).amax(dim=(2, 3))
            return brightest * torch.tensor([9.0, 0.0])

    picture = torch.full((1, 3, 32, 32), 0.05)
    picture[:, :, 4:12, 20:28] = 1.0

    result = explain(
        as_backbone(BrightCnn(), classes=2), picture, GroupCamConfig(groups=1), "brightness", 0
    )

    peak = divmod(int(result.saliency_map[0].argmax()), 32)
    assert 4 <= peak[0] < 12
    assert 20 <= peak[1] < 28


def test_a_mirrored_picture_gives_the_mirrored_map(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    for module in tiny_cnn.network.modules():
        if isinstance(module, nn.Conv2d):  # a mirror-symmetric kernel
            module.weight.data += module.weight.data.flip(-1)
    config = GroupCamConfig(groups=4, blur_kernel_px=9)

    straight = explain(tiny_cnn, tiny_inputs, config, LAYER)
    mirrored = explain(tiny_cnn, tiny_inputs.flip(-1), config, LAYER)

    torch.testing.assert_close(
        mirrored.saliency_map, straight.saliency_map.flip(-1), rtol=0, atol=1e-4
    )


def test_bfloat16_changes_the_scores_a_little(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    exact = explain(tiny_cnn, tiny_inputs, GroupCamConfig(groups=3))
    rough = explain(tiny_cnn, tiny_inputs, GroupCamConfig(groups=3, precision="bfloat16"))

    assert not torch.equal(exact.masked_probability, rough.masked_probability)
    torch.testing.assert_close(exact.masked_probability, rough.masked_probability, rtol=0, atol=0.1)


def test_a_capture_can_be_reused_for_other_settings(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    config = GroupCamConfig(groups=5, blur_sigma_px=3.0)
    capture = capture_layer(tiny_cnn, tiny_inputs, resolve_target_layer(tiny_cnn, LAYER))

    reused = finish(explain_steps(tiny_cnn, tiny_inputs, config, capture=capture))

    afresh = explain(tiny_cnn, tiny_inputs, config, LAYER)
    torch.testing.assert_close(reused.saliency_map, afresh.saliency_map)


def test_the_map_of_the_groups_scored_so_far_grows_into_the_final_one(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    config = GroupCamConfig(groups=12, blur_kernel_px=9, blur_sigma_px=4.0)
    steps = explain_steps(tiny_cnn, tiny_inputs[:1], config, LAYER)
    maps = [torch.zeros(1, 32, 32)]

    batch = finish(note_maps(steps, maps))

    assert all(torch.isfinite(one).all() for one in maps)
    torch.testing.assert_close(maps[-1], batch.saliency_map)
    assert batch.saliency_map.amax() == 1


def note_maps(
    steps: Generator[Progress, None, ExplanationBatch], maps: list[Tensor]
) -> Generator[None, None, ExplanationBatch]:
    """Pass the steps on and keep the map of each that has one."""

    def note(step: Progress) -> None:
        if step.saliency_map is not None:
            maps.append(step.saliency_map())

    return (yield from relay(steps, note))


def test_steps_report_progress_and_can_be_stopped(tiny_cnn: Backbone, tiny_inputs: Tensor) -> None:
    forwards = []
    handle = tiny_cnn.network.register_forward_hook(lambda *_: forwards.append(1))
    explain(tiny_cnn, tiny_inputs[:1], target_layer=LAYER, config=GroupCamConfig(groups=12))

    steps = explain_steps(tiny_cnn, tiny_inputs, GroupCamConfig(groups=12), LAYER)
    forwards.clear()
    first, second = next(steps), next(steps)
    steps.close()

    handle.remove()
    assert (first.stage, first.done) == ("capture", 3)
    assert (second.stage, second.done) == ("score", 3 + engine.MICRO_BATCH_CPU)
    assert second.total > second.done
    assert len(forwards) == 2  # the capture and one micro-batch, nothing after the close


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.zeros(3, 32, 32), GroupCamError, r"shape \(N, 3, H, W\); got \(3, 32, 32\)"),
        (torch.zeros(1, 32, 32, 3), GroupCamError, r"got \(1, 32, 32, 3\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError, "normalised floats; got torch.u"),
        (torch.full((1, 3, 8, 8), torch.nan), GroupCamError, "must be finite"),
        ("no/such/file.png", GroupCamError, "there is no file 'file.png'"),
        (7, TypeError, "got int"),
    ],
)
def test_unusable_images_are_refused(
    tiny_cnn: Backbone, image: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        explain(tiny_cnn, image)


def test_unknown_layers_and_classes_are_refused_with_the_nearest(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    with pytest.raises(GroupCamError, match=r"features\.4"):
        explain(tiny_cnn, tiny_inputs, target_layer="feature.4")
    with pytest.raises(GroupCamError, match="3"):
        explain(tiny_cnn, tiny_inputs, class_index=3)
    with pytest.raises(GroupCamError, match="groups must be between 1 and 12"):
        explain(tiny_cnn, tiny_inputs, GroupCamConfig(groups=13), LAYER)
