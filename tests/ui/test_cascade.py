from typing import Any

import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.evaluate.variants import parse_variant
from groupcam.metrics.sanity import randomization_steps
from groupcam.models import Backbone
from groupcam.steps import finish
from groupcam.ui.cascade import (
    METHODS,
    MOST_STAGES,
    Forgotten,
    Trained,
    Working,
    cascade_steps,
    stages_of,
)
from groupcam.ui.runs import Choice
from groupcam.ui.sanity_views import Scrubber
from groupcam.ui.workbench import Workbench


def test_the_stages_give_what_the_metric_gives(
    workbench: Workbench, choice: Choice, tiny_cnn: Backbone
) -> None:
    named = choice._replace(class_name="class 1")

    events = list(cascade_steps(workbench, named, "grad_cam"))

    found = [event for event in events if isinstance(event, Forgotten)]
    inputs = tiny_cnn.preprocess(workbench.picture_of(choice).rgb, choice.view)
    variant = parse_variant("grad_cam")
    expected = finish(
        randomization_steps(
            tiny_cnn,
            inputs,
            torch.tensor([1]),
            lambda network, pictures, classes: (
                variant.maps(network, pictures, "features.3", classes).saliency_map
            ),
        )
    )
    trained = next(event for event in events if isinstance(event, Trained))
    assert [stage.layers for stage in trained.stages] == [(one.layer,) for one in expected]
    assert [one.spearman for one in found] == pytest.approx([float(e.spearman) for e in expected])
    assert [one.ssim for one in found] == pytest.approx([float(e.ssim) for e in expected])


@pytest.mark.parametrize("method", METHODS)
def test_the_shared_network_is_left_as_it_is(
    workbench: Workbench, choice: Choice, tiny_cnn: Backbone, method: str
) -> None:
    before = {name: value.clone() for name, value in tiny_cnn.network.state_dict().items()}

    events = list(cascade_steps(workbench, choice, method))

    assert sum(isinstance(event, Forgotten) for event in events) == 3
    for name, value in tiny_cnn.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert workbench.load(choice.backbone) is tiny_cnn


def test_closing_stops_within_a_micro_batch(workbench: Workbench, choice: Choice) -> None:
    steps = cascade_steps(workbench, choice, "group_cam")
    next(event for event in steps if isinstance(event, Trained))
    working = next(event for event in steps if isinstance(event, Working))

    steps.close()

    assert working.done < working.total
    assert list(steps) == []


def test_an_unknown_class_is_told(workbench: Workbench, choice: Choice) -> None:
    with pytest.raises(GroupCamError, match="class 33"):
        list(cascade_steps(workbench, choice._replace(class_name="class 33"), "grad_cam"))


# --- stages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "titles"),
    [
        pytest.param(
            ["head", *(f"blocks.{b}.{part}" for b in (2, 1, 0) for part in "ba"), "stem"],
            ["head", *(f"blocks.{b}.{part}" for b in (2, 1, 0) for part in "ba"), "stem"],
            id="few layers, each alone",
        ),
        pytest.param(
            ["head", *(f"blocks.{b}.{part}" for b in range(9, -1, -1) for part in "ba"), "stem"],
            ["head", *(f"blocks.{b}" for b in range(9, -1, -1)), "stem"],
            id="blocks",
        ),
    ],
)
def test_stages_are_the_networks_own_parts(layers: list[str], titles: list[str]) -> None:
    assert [stage.title for stage in stages_of(layers)] == titles


def test_a_flat_network_is_cut_evenly() -> None:
    layers = [f"features.{place}" for place in range(29, -1, -1)]

    stages = stages_of(layers)

    assert len(stages) == MOST_STAGES
    assert [name for stage in stages for name in stage.layers] == layers
    assert {len(stage.layers) for stage in stages} == {2, 3}
    assert stages[0].title == "features.29 … features.28"


# --- words ---------------------------------------------------------------------------------------


def scrubber_after(
    workbench: Workbench, choice: Choice, likeness: list[float], method: str = "Grad-CAM"
) -> Scrubber:
    """Return what is shown when the maps of three stages were this much alike."""
    scrubber: Scrubber | None = None
    values = iter(likeness)
    for event in cascade_steps(workbench, choice, "grad_cam"):
        if isinstance(event, Trained):
            scrubber = Scrubber(event, method, "inferno")
        elif isinstance(event, Forgotten):
            assert scrubber is not None
            scrubber.add(Forgotten(event.saliency_map, next(values), 0.5))
    assert scrubber is not None
    return scrubber


@pytest.mark.parametrize(
    ("likeness", "words"),
    [
        ([0.1, 0.9, 0.9], "Grad-CAM passes here: with random weights down to head"),
        ([0.9, 0.9, 0.2], "does not pass here: its map stays much the same until features.0"),
        ([1.0, 1.0, 1.0], "does not pass here: with the whole network random"),
    ],
    ids=["at once", "late", "never"],
)
def test_the_verdict_says_when_the_map_changes(
    workbench: Workbench, choice: Choice, likeness: list[float], words: str
) -> None:
    assert words in scrubber_after(workbench, choice, likeness).verdict


def test_the_slider_gets_a_map_a_stage(workbench: Workbench, choice: Choice) -> None:
    value: dict[str, Any] = scrubber_after(workbench, choice, [0.1, 0.2, 0.3]).value

    assert value["titles"] == ["head", "features.3", "features.0"]
    assert len(value["heats"]) == len(value["blank"]) == 4
    assert value["spearman"] == [0.1, 0.2, 0.3]
    assert "Grad-CAM for class" in value["caption"]
