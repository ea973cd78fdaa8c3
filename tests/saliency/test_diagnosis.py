"""Why a map is blank or weak: every finding is reached by a real run, and told where it holds."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from groupcam.models import Backbone, resolve_target_layer
from groupcam.models.weights import WeightsInfo
from groupcam.saliency import Explanation, GroupCamConfig, explain_steps
from groupcam.saliency.capture import capture_layer
from groupcam.saliency.diagnosis import Finding, diagnose, percent
from groupcam.steps import finish
from tests.support import ROOT, TinyCnn, as_backbone, head_of

LAYER = "features.4"
SIX = GroupCamConfig(groups=6)


def run_of(
    backbone: Backbone,
    inputs: Tensor,
    class_index: int | None = None,
    config: GroupCamConfig = SIX,
    layer: str | None = LAYER,
) -> tuple[Explanation, tuple[Finding, ...]]:
    """Explain one picture and return what is found about it."""
    classes = None if class_index is None else torch.tensor([class_index])
    capture = capture_layer(backbone, inputs, resolve_target_layer(backbone, layer), classes)
    explanation = finish(explain_steps(backbone, inputs, config, capture=capture))[0]
    found = diagnose(
        explanation,
        backbone.class_names,
        channel_weights=capture.channel_weights[0],
        caveat=backbone.caveat,
    )
    return explanation, found


def only(found: tuple[Finding, ...], kind: str) -> Finding:
    (finding,) = (one for one in found if one.kind == kind)
    return finding


def ranked(backbone: Backbone, inputs: Tensor) -> list[int]:
    """The classes of a picture, the most probable first."""
    with torch.no_grad():
        return [int(index) for index in backbone.network(inputs)[0].argsort(descending=True)]


@pytest.fixture
def inputs(tiny_inputs: Tensor) -> Tensor:
    return tiny_inputs[1:2]


class Meter(nn.Module):
    """Class 0 grows with the three channels' means, and jumps where any pixel is above 0.9."""

    def __init__(self) -> None:
        super().__init__()
        self.identity = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.identity.weight)

    def forward(self, x: Tensor) -> Tensor:
        found = self.identity(x).relu()
        total = found.mean(dim=(1, 2, 3)) + 1000 * (found.amax(dim=(1, 2, 3)) - 0.9).relu()
        return torch.stack([total, torch.zeros_like(total)], dim=1)


@pytest.fixture
def meter() -> Backbone:
    return as_backbone(Meter(), size=(4, 4), classes=2)


def test_a_healthy_run_has_no_findings(tiny_cnn: Backbone, inputs: Tensor) -> None:
    explanation, found = run_of(tiny_cnn, inputs)

    assert explanation.saliency_map.any()
    assert found == ()


def test_the_default_network_on_an_example_has_no_findings(lite0: Backbone) -> None:
    from groupcam.images import open_picture

    rgb = open_picture(ROOT / "assets" / "examples" / "cat.jpg").rgb

    _, found = run_of(lite0, lite0.preprocess(rgb), None, GroupCamConfig(), None)

    assert found == ()


# --- blank ---------------------------------------------------------------------------------------


def test_a_layer_that_moves_no_score_is_told_from_one_that_speaks_against(
    tiny_cnn: Backbone, inputs: Tensor
) -> None:
    head_of(tiny_cnn).weight.data[0] = 0  # its score is its bias, whatever the picture
    head_of(tiny_cnn).weight.data[2] = -1.0  # ReLU outputs times negative weights

    unmoved = run_of(tiny_cnn, inputs, 0)[1][0]
    against = run_of(tiny_cnn, inputs, 2)[1][0]

    assert (unmoved.kind, unmoved.severity) == ("no_gradient", "blank")
    assert unmoved.text == (
        "Nothing at 'features.4' moves the score of 'class 0': the weight (mean gradient) of each "
        "of the 12 channels is 0."
    )
    assert (against.kind, against.severity) == ("nothing_for_class", "blank")
    assert "nothing speaks for 'class 2': each of the 6 group masks is empty" in against.text


def test_without_the_channel_weights_no_gradient_is_claimed(
    tiny_cnn: Backbone, inputs: Tensor
) -> None:
    head_of(tiny_cnn).weight.data[0] = 0
    explanation, _ = run_of(tiny_cnn, inputs, 0)

    found = diagnose(explanation, tiny_cnn.class_names)

    assert found[0].kind == "nothing_for_class"


@pytest.mark.parametrize(
    ("percentile", "words", "advice"),
    [
        (None, "the same in all 4 × 4 cells, which", "another layer"),
        (60.0, "cells after the de-noising at percentile 60, which", "lower percentile"),
    ],
)
def test_even_masks_are_told(
    meter: Backbone, percentile: float | None, words: str, advice: str
) -> None:
    config = GroupCamConfig(groups=3, percentile=percentile)

    _, found = run_of(meter, torch.full((1, 3, 4, 4), 0.5), 0, config, "identity")

    assert (found[0].kind, found[0].severity) == ("flat_masks", "blank")
    assert words in found[0].text
    assert advice in found[0].advice


def test_masks_that_gain_nothing_are_told_with_the_best(tiny_cnn: Backbone, inputs: Tensor) -> None:
    # A gradient, yet too small to change a probability in float32.
    nn.init.constant_(head_of(tiny_cnn).weight, 1e-9)

    explanation, found = run_of(tiny_cnn, inputs, 0)

    live = int((~explanation.is_dead_group).sum())
    assert (found[0].kind, found[0].severity) == ("no_gain", "blank")
    share = percent(explanation.baseline_probability)
    assert f"the best of {live} it is {share}, no more than the {share} of the" in found[0].text


def test_masks_that_make_up_for_each_other_are_told(meter: Backbone) -> None:
    # One channel shows the left half, one the right; each alone makes the class certain.
    left = torch.zeros(4, 4)
    left[:, :2] = 1
    halves = torch.stack([left, 1 - left, torch.zeros(4, 4)])[None]
    config = GroupCamConfig(groups=3, percentile=None, grouping="contiguous", merge="raw")

    explanation, found = run_of(meter, halves, 0, config, "identity")

    assert explanation.masked_probability[:2].tolist() == [1, 1]
    assert (found[0].kind, found[0].severity) == ("flat_sum", "blank")


# --- weak ----------------------------------------------------------------------------------------


def test_random_weights_are_told(tiny_cnn: Backbone, inputs: Tensor) -> None:
    untrained = dataclasses.replace(tiny_cnn, weights=WeightsInfo("random"))

    _, found = run_of(untrained, inputs)

    assert [finding.kind for finding in found] == ["weights"]
    assert "With random weights the network knows nothing" in found[0].text


def test_another_class_than_the_top_one_is_told_with_its_rank(
    tiny_cnn: Backbone, inputs: Tensor
) -> None:
    top, second, last = ranked(tiny_cnn, inputs)

    told = {rank: run_of(tiny_cnn, inputs, rank)[1] for rank in (top, second, last)}

    assert all(finding.kind != "other_class" for finding in told[top])
    for place, index in ((2, second), (3, last)):
        finding = only(told[index], "other_class")
        assert finding.severity == "caution"
        assert f"does not see 'class {index}' here first" in finding.text
        assert f"number {place} of 3 classes. First is 'class {top}' with" in finding.text
        assert finding.advice == f"Explain 'class {top}'."


def test_a_blur_that_hides_nothing_is_told(tiny_cnn: Backbone, inputs: Tensor) -> None:
    faint = dataclasses.replace(SIX, blur_sigma_px=0.1, blur_kernel_px=3)

    explanation, found = run_of(tiny_cnn, inputs, None, faint)

    assert explanation.baseline_probability == pytest.approx(explanation.probability, abs=1e-3)
    finding = only(found, "sharp_as_blurred")
    assert "Even blurred, the picture has" in finding.text
    assert "Blur more strongly" in finding.advice


def test_small_gains_are_told(tiny_cnn: Backbone, inputs: Tensor) -> None:
    top = ranked(tiny_cnn, inputs)[0]
    head_of(tiny_cnn).weight.data *= 0.01

    explanation, found = run_of(tiny_cnn, inputs, top)

    assert explanation.saliency_map.max() == 1  # nothing in the map says how weak it is
    assert 0 < explanation.group_weights.max() < 0.01
    assert "The gains are small" in only(found, "small_gains").text


def test_few_cells_are_told() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(9)
        network = TinyCnn()
    network.head.weight.data *= 30
    backbone = as_backbone(network, size=(8, 8))
    inputs = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1

    explanation, found = run_of(backbone, inputs)

    assert explanation.saliency_map.any()
    assert "has only 4 × 4 cells" in only(found, "few_cells").text
    assert only(found, "few_cells").severity == "caution"


def test_one_group_that_holds_the_weights_and_dead_ones_are_told(
    tiny_cnn: Backbone, inputs: Tensor
) -> None:
    top = ranked(tiny_cnn, inputs)[0]
    strongest = int(tiny_cnn.network.get_submodule("features")(inputs).mean((2, 3))[0].argmax())
    weight = head_of(tiny_cnn).weight.data
    kept = weight[top, strongest].abs() + 1
    weight.zero_()
    weight[top, strongest] = kept
    contiguous = dataclasses.replace(SIX, grouping="contiguous")

    explanation, found = run_of(tiny_cnn, inputs, top, contiguous)

    group = int(explanation.channel_groups[strongest])
    finding = only(found, "one_group")
    assert finding.severity == "note"
    assert f"Group {group + 1} alone holds 100% of the weights of all 6 groups" in finding.text
    assert "5 of 6 group masks are empty" in only(found, "dead_groups").text


# --- laws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("percentile", [None, 60.0, 99.0])
@pytest.mark.parametrize("groups", [1, 3, 12])
def test_exactly_the_blank_maps_have_one_reason_and_it_stands_first(
    tiny_cnn: Backbone, tiny_inputs: Tensor, groups: int, percentile: float | None
) -> None:
    head_of(tiny_cnn).weight.data[2] = -1.0
    config = GroupCamConfig(groups=groups, percentile=percentile)
    blanks = 0

    for index in range(3):
        explanation, found = run_of(tiny_cnn, tiny_inputs[index : index + 1], index, config)

        severities = [finding.severity for finding in found]
        is_blank = explanation.blank_reason is not None
        blanks += is_blank
        assert severities.count("blank") == is_blank
        assert severities == sorted(severities, key=["blank", "caution", "note"].index)
        assert all(finding.text.endswith((".", "!")) for finding in found)

    assert 0 < blanks < 3


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0, "0.0%"),
        (1e-9, "less than 0.0001%"),
        (3.4e-6, "0.00034%"),
        (0.0234, "2.34%"),
        (0.123, "12.3%"),
        (0.99999, "more than 99.9%"),
        (1, "100.0%"),
    ],
)
def test_a_probability_is_rounded_neither_to_none_nor_to_all(probability: float, text: str) -> None:
    assert percent(probability) == text
