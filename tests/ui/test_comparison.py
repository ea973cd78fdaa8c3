from collections.abc import Sequence
from typing import Any

import pytest
import torch

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.evaluate.variants import parse_variant
from groupcam.metrics.annotations import ObjectBox
from groupcam.models import Backbone, default_target_layer
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig
from groupcam.ui import comparison
from groupcam.ui import workbench as workbench_module
from groupcam.ui.compared import (
    Axis,
    Completed,
    Entry,
    Event,
    Failed,
    Mapping,
    Planned,
    Tracing,
)
from groupcam.ui.comparison import Comparisons
from groupcam.ui.comparison_views import COLORS, DASHES, Board, pointing_value, title_of
from groupcam.ui.pointing import parse_box, pointing
from groupcam.ui.runs import Choice
from groupcam.ui.workbench import Workbench

CHEAP = ("grad_cam", "centre")


@pytest.fixture
def comparisons(workbench: Workbench) -> Comparisons:
    return Comparisons(workbench)


def run(comparisons: Comparisons, choice: Choice, axis: Axis, names: Sequence[str]) -> list[Event]:
    return list(comparisons.steps(choice, axis, names))


def of_kind(events: Sequence[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def kinds_of(events: Sequence[Event], place: int) -> list[str]:
    return [type(event).__name__ for event in events if getattr(event, "place", None) == place]


def test_every_entry_gets_its_methods_map_and_curves(
    comparisons: Comparisons, choice: Choice, tiny_cnn: Backbone, workbench: Workbench
) -> None:
    events = run(comparisons, choice, "method", ["group_cam", "grad_cam"])

    completed = {event.place: event.result for event in of_kind(events, Completed)}
    inputs = tiny_cnn.preprocess(workbench.picture_of(choice).rgb, choice.view)
    for place, name in enumerate(["group_cam:groups=4", "grad_cam"]):
        result = completed[place]
        expected = parse_variant(name).maps(
            tiny_cnn, inputs, "features.3", torch.tensor([result.class_index])
        )
        torch.testing.assert_close(result.saliency_map, expected.saliency_map[0])
        assert result.forward_passes == int(expected.forward_passes[0])
        assert result.backward_passes == int(expected.backward_passes[0])
        assert result.curves is not None
        assert result.elapsed_s > 0
    assert kinds_of(events, 1)[0] == "Begun"
    assert kinds_of(events, 1)[-1] == "Completed"


def test_all_methods_explain_one_class(comparisons: Comparisons, choice: Choice) -> None:
    (planned,) = of_kind(run(comparisons, choice, "method", CHEAP), Planned)

    (name,) = {entry.choice.class_name for entry in planned.entries}
    assert name is not None


def test_what_was_compared_costs_no_forward_pass_for_its_map_or_curves_again(
    comparisons: Comparisons, choice: Choice, forwards: list[int]
) -> None:
    run(comparisons, choice, "method", CHEAP)
    forwards.clear()

    events = run(comparisons, choice, "method", CHEAP)

    assert sum(forwards) == 1  # which class is the top one
    assert len(of_kind(events, Completed)) == 2
    assert of_kind(events, Mapping) == of_kind(events, Tracing) == []


def test_settings_do_not_matter_to_methods_that_do_not_take_them(choice: Choice) -> None:
    other = choice._replace(config=GroupCamConfig(groups=5))

    assert Entry("grad_cam", choice).key == Entry("grad_cam", other).key
    assert Entry("group_cam", choice).key != Entry("group_cam", other).key


def test_a_dear_map_holds_up_neither_maps_nor_curves(
    comparisons: Comparisons, choice: Choice
) -> None:
    events = run(comparisons, choice, "method", ["rise:masks=500", *CHEAP])

    first_of_dear = next(
        at for at, event in enumerate(events) if isinstance(event, Mapping) and event.place == 0
    )
    cheap_done = [
        at for at, event in enumerate(events) if isinstance(event, Completed) and event.place > 0
    ]
    assert len(cheap_done) == 2
    assert max(cheap_done) < first_of_dear


def test_a_method_that_fails_says_why_and_the_others_go_on(
    comparisons: Comparisons, choice: Choice
) -> None:
    events = run(comparisons, choice, "method", ["group_cam_official", "grad_cam"])

    (failed,) = of_kind(events, Failed)
    assert failed.place == 0
    assert "groups must be" in failed.reason
    assert [event.place for event in of_kind(events, Completed)] == [1]


def test_an_accident_in_one_method_is_logged_and_the_others_go_on(
    comparisons: Comparisons,
    choice: Choice,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("secret details")

    monkeypatch.setattr("groupcam.saliency.methods.grad_cam.capture_layer", explode, raising=False)
    monkeypatch.setattr("groupcam.saliency.methods.base.capture_layer", explode)

    events = run(comparisons, choice, "method", ["grad_cam", "centre"])

    (failed,) = of_kind(events, Failed)
    assert "NotImplementedError" in failed.reason
    assert "secret" not in failed.reason
    assert "secret details" in caplog.text
    assert [event.place for event in of_kind(events, Completed)] == [1]


def test_a_map_that_takes_too_long_is_given_up(
    comparisons: Comparisons, choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "MAP_S", 0.0)

    events = run(comparisons, choice, "method", ["rise:masks=500", "rise:masks=600"])

    reasons = [event.reason for event in of_kind(events, Failed)]
    assert len(reasons) == 2
    assert "of 500 forward passes it was not" in reasons[0]


def test_closing_stops_the_work(
    comparisons: Comparisons, choice: Choice, forwards: list[int], tiny_cnn: Backbone
) -> None:
    for wanted in (Mapping, Tracing):
        steps = comparisons.steps(choice, "method", ["group_cam", "grad_cam"])
        next(event for event in steps if isinstance(event, wanted))
        done = len(forwards)

        steps.close()

        assert len(forwards) == done
    assert not any(module._forward_hooks for module in list(tiny_cnn.network.modules())[1:])


@pytest.mark.parametrize(
    ("axis", "names", "message"),
    [
        ("method", [], "There must be 2 to 6 methods to compare; got 0. Add"),
        ("method", ["grad_cam"], "2 to 6 methods to compare; got 1. Add"),
        ("method", ["grad_cam"] * 2, "methods must differ"),
        ("layer", ["features.0"], "2 to 6 layers to compare; got 1"),
        ("class", [f"class {place}" for place in range(7)], "2 to 6 classes .* got 7. Leave"),
        ("method", ["grad_cam", "gradcam"], "Did you mean 'grad_cam'"),
    ],
    ids=str,
)
def test_an_impossible_comparison_is_told(
    comparisons: Comparisons, choice: Choice, axis: Axis, names: list[str], message: str
) -> None:
    with pytest.raises(GroupCamError, match=message):
        run(comparisons, choice, axis, names)


def test_a_picture_that_is_gone_is_asked_for_again(
    comparisons: Comparisons, choice: Choice
) -> None:
    with pytest.raises(GroupCamError, match="Upload it again"):
        run(comparisons, choice._replace(picture_id="gone"), "method", CHEAP)


def test_the_top_classes_stand_in_for_none(
    comparisons: Comparisons, choice: Choice, tiny_cnn: Backbone, workbench: Workbench
) -> None:
    (planned,) = of_kind(run(comparisons, choice, "class", []), Planned)

    inputs = tiny_cnn.preprocess(workbench.picture_of(choice).rgb, choice.view)
    ranked = tiny_cnn.logits(inputs)[0].argsort(descending=True)
    assert [entry.choice.class_name for entry in planned.entries] == [
        tiny_cnn.class_names[int(index)] for index in ranked
    ]


def test_layers_of_other_grids_stand_in_for_none(
    comparisons: Comparisons, choice: Choice, tiny_cnn: Backbone
) -> None:
    (planned,) = of_kind(run(comparisons, choice._replace(target_layer=None), "layer", []), Planned)

    layers = [entry.choice.target_layer for entry in planned.entries]
    assert layers[0] == default_target_layer(tiny_cnn).name
    assert len(set(layers)) == len(layers) > 1


def test_a_layer_with_fewer_channels_gets_as_many_groups(
    comparisons: Comparisons, choice: Choice
) -> None:
    config = GroupCamConfig(groups=12)  # more than the 8 of the first layer

    events = run(comparisons, choice._replace(config=config), "layer", ["features.0", "features.3"])

    assert len(of_kind(events, Completed)) == 2


def test_a_backbone_that_cannot_be_had_fails_alone(
    comparisons: Comparisons,
    choice: Choice,
    tiny_cnn: Backbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(name: str, **_: object) -> Backbone:
        if name == "test/far":
            raise WeightsUnavailableError("No hub today.")
        return tiny_cnn

    monkeypatch.setattr(workbench_module, "load_backbone", load)
    events = run(comparisons, choice, "backbone", ["test/far", "test/network"])

    assert of_kind(events, Failed) == [Failed(0, "No hub today.")]
    (done,) = of_kind(events, Completed)
    assert done.result.entry.choice == choice  # the page's own keeps layer and settings


# --- a box ---------------------------------------------------------------------------------------


def test_a_box_is_answered_from_kept_maps(
    comparisons: Comparisons, choice: Choice, forwards: list[int]
) -> None:
    events = run(comparisons, choice, "method", CHEAP)
    entries = of_kind(events, Planned)[0].entries
    forwards.clear()

    centre = comparisons.result_of(entries[1])
    assert centre is not None
    whole = pointing(centre, parse_box([0, 0, 40, 30]))
    left = pointing(centre, parse_box([0, 0, 20, 30]))

    assert forwards == []
    assert whole.energy == pytest.approx(1)
    assert whole.is_hit
    assert whole.box_share == 1
    assert left.energy == pytest.approx(0.5, abs=0.03)  # the map is symmetric
    assert left.box_share == pytest.approx(0.5, abs=0.02)


def test_a_box_outside_of_what_is_seen_is_told(comparisons: Comparisons, choice: Choice) -> None:
    events = run(comparisons, choice, "method", CHEAP)
    result = of_kind(events, Completed)[0].result

    # The square crop of 40 x 30 leaves five columns on either side.
    value = pointing_value([result, None], ObjectBox("", 0, 0, 3, 30, is_uncertain=False))

    assert "must touch what this network sees" in value["cards"][0]["reason"]
    assert value["cards"][1] == {}
    assert pointing_value([result], None) == {"text": "", "cards": []}


@pytest.mark.parametrize(
    "value", [[1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, float("nan")], "1234", {}, [5, 5, 5, 9]], ids=str
)
def test_what_is_no_box_is_refused(value: object) -> None:
    with pytest.raises(GroupCamError, match="box must"):
        parse_box(value)


# --- cards ---------------------------------------------------------------------------------------


def test_cards_hold_what_the_events_brought(
    comparisons: Comparisons, choice: Choice, workbench: Workbench
) -> None:
    board: Board | None = None
    for event in comparisons.steps(choice, "method", ["group_cam_official", *CHEAP]):
        if isinstance(event, Planned):
            board = Board(event.entries, "method", workbench.picture_of(choice), "inferno")
        elif board is not None:
            board.update(event)

    assert board is not None
    failed, cam, centre = board.value["cards"]
    assert (board.count, board.ready, board.failed) == (3, 3, 1)
    assert failed["state"] == "failed"
    assert cam["heat"].startswith("data:image/jpeg;base64,")
    assert (cam["forwards"], cam["backwards"], centre["forwards"]) == (1, 1, 0)
    assert cam["over_all"] == pytest.approx(cam["insertion"]["auc"] - cam["deletion"]["auc"])
    best = max((1, 2), key=lambda place: board.value["cards"][place]["insertion"]["auc"])
    assert best in board.value["best"]["insertion"]
    assert 0 not in board.value["best"]["insertion"]


@pytest.mark.parametrize("axis", ["backbone", "class"])
def test_areas_of_other_classes_are_not_ranked(
    comparisons: Comparisons, choice: Choice, workbench: Workbench, axis: Axis
) -> None:
    names = {"class": [], "backbone": ["test/network", "test/other"]}[axis]
    board: Board | None = None
    for event in comparisons.steps(choice, axis, names):
        if isinstance(event, Planned):
            board = Board(event.entries, axis, workbench.picture_of(choice), "inferno")
        elif board is not None:
            board.update(event)

    assert board is not None
    assert board.value["best"] == {}
    assert "say nothing about which map is better" in board.value["note"]


def test_titles_name_what_differs(choice: Choice) -> None:
    changed = choice._replace(config=GroupCamConfig(groups=8, percentile=None))

    assert title_of(Entry("group_cam", changed), "method") == (
        "Group-CAM (groups 8, percentile none)"
    )
    assert title_of(Entry("grad_cam", changed), "method") == "Grad-CAM"
    assert title_of(Entry("group_cam", changed), "layer") == "features.3"
    other = changed._replace(backbone=BackboneKey("test/other", None))
    assert title_of(Entry("group_cam", other), "backbone") == "test/other (random weights)"


def test_every_entry_has_a_line_of_its_own() -> None:
    assert len(set(COLORS)) == len(set(DASHES)) == comparison.MOST
