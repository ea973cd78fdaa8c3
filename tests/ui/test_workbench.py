import contextlib
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import groupcam
from groupcam.errors import Cancelled, GroupCamError, WeightsUnavailableError
from groupcam.language import say, speaking
from groupcam.models import Backbone
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig
from groupcam.ui import workbench as workbench_module
from groupcam.ui.runs import (
    Choice,
    Drawing,
    Event,
    Explained,
    Finished,
    Predicted,
    Run,
    Scoring,
    Surveyed,
)
from groupcam.ui.workbench import Workbench, followed

KEY = BackboneKey("test/network")
Finish = Callable[[Choice], Run]


def started(workbench: Workbench, choice: Choice) -> Generator[Event, None, None]:
    """Return a run that can be closed, as the page closes it when a visitor leaves."""
    steps = workbench.run_steps(choice)
    assert isinstance(steps, Generator)
    return steps


def test_work_in_a_thread_speaks_the_language_of_who_began() -> None:
    with speaking("de"):
        steps = followed(lambda report: say("network.stop"))
        with pytest.raises(StopIteration) as ended:
            next(steps)

    assert ended.value.value == "Anhalten"


def test_the_same_pixels_get_the_same_id(
    workbench: Workbench, picture_path: Path, tmp_path: Path
) -> None:
    with Image.open(picture_path) as image:
        image.save(tmp_path / "copy.bmp")
        image.rotate(180).save(tmp_path / "turned.png")

    first, _ = workbench.add_picture(picture_path)
    copy, _ = workbench.add_picture(tmp_path / "copy.bmp")
    turned, _ = workbench.add_picture(tmp_path / "turned.png")

    assert first == copy
    assert first != turned


def test_the_same_bytes_in_another_shape_get_another_id(
    workbench: Workbench, tmp_path: Path
) -> None:
    Image.new("L", (40, 20), 99).save(tmp_path / "wide.png")
    Image.new("L", (20, 40), 99).save(tmp_path / "tall.png")

    wide, _ = workbench.add_picture(tmp_path / "wide.png")
    tall, _ = workbench.add_picture(tmp_path / "tall.png")

    assert wide != tall


def test_a_run_loads_predicts_scores_explains_draws_finishes(
    workbench: Workbench, choice: Choice
) -> None:
    kinds = [type(event).__name__ for event in workbench.run_steps(choice)]

    order = [kind for kind, _ in itertools.groupby(kinds)]
    assert order == [
        *("Loading", "Predicted", "Scoring", "Explained", "Surveyed", "Drawing", "Finished")
    ]


def test_progress_grows_up_to_its_total(workbench: Workbench, choice: Choice) -> None:
    events = list(workbench.run_steps(choice))

    scoring = [event for event in events if isinstance(event, Scoring)]
    counts = [event.done for event in scoring]
    assert counts == sorted(counts)
    assert scoring[-1].done == scoring[-1].total
    drawn = [event.points.done for event in events if isinstance(event, Drawing)]
    assert drawn == sorted(drawn)
    assert len(drawn) > 1


def test_a_run_says_what_the_library_says(
    workbench: Workbench, choice: Choice, finish: Finish, tiny_cnn: Backbone, picture_path: Path
) -> None:
    run = finish(choice)

    expected = groupcam.explain(tiny_cnn, picture_path, choice.config, choice.target_layer)
    torch.testing.assert_close(run.explanation.saliency_map, expected.saliency_map)
    assert run.explanation.class_label == expected.class_label
    assert run.curves is not None
    # Both curves begin and end at the probabilities of the whole and of the hidden picture.
    assert float(run.curves.deletion[0]) == pytest.approx(expected.probability, abs=1e-6)
    assert float(run.curves.insertion[-1]) == pytest.approx(expected.probability, abs=1e-6)


def test_the_default_layer_and_the_top_class_stand_in_for_none(
    choice: Choice, finish: Finish, tiny_cnn: Backbone
) -> None:
    run = finish(choice._replace(target_layer=None))

    assert run.explanation.target_layer == groupcam.models.default_target_layer(tiny_cnn).name
    assert run.explanation.class_index == int(run.explanation.logits.argmax())


def test_a_named_class_is_explained(choice: Choice, finish: Finish) -> None:
    labels = {
        finish(choice._replace(class_name=name)).explanation.class_label
        for name in ("class 0", "class 1")
    }

    assert labels == {"class 0", "class 1"}


def test_a_kept_run_costs_no_forward_pass(
    workbench: Workbench, choice: Choice, finish: Finish, forwards: list[int]
) -> None:
    run = finish(choice)
    forwards.clear()

    events = list(workbench.run_steps(choice))

    assert forwards == []
    assert [type(event) for event in events] == [Predicted, Explained, Surveyed, Finished]
    assert isinstance(events[1], Explained)
    assert events[1].from_cache
    assert events[1].run is run


def test_the_first_run_is_not_called_kept(workbench: Workbench, choice: Choice) -> None:
    explained = [event for event in workbench.run_steps(choice) if isinstance(event, Explained)]

    assert [event.from_cache for event in explained] == [False]


@pytest.mark.parametrize(
    "changes", [{"groups": 6}, {"blur_sigma_px": 3.0}, {"merge": "raw"}], ids=str
)
def test_new_settings_reuse_the_capture(
    workbench: Workbench,
    choice: Choice,
    finish: Finish,
    forwards: list[int],
    changes: dict[str, Any],
) -> None:
    capture = finish(choice).capture
    config = dataclasses.replace(choice.config, **changes)
    steps = workbench.run_steps(choice._replace(config=config))
    forwards.clear()

    explained = next(event for event in steps if isinstance(event, Explained))

    assert explained.run.capture is capture
    # The blurred picture and every live group: nothing for the capture.
    live = config.groups - int(explained.run.explanation.is_dead_group.sum())
    assert sum(forwards) == 1 + live


@pytest.mark.parametrize(
    "changes",
    [{"target_layer": "features.0"}, {"class_name": "class 2"}, {"view": "whole"}],
    ids=str,
)
def test_another_layer_class_or_view_needs_a_capture_of_its_own(
    choice: Choice, finish: Finish, changes: dict[str, Any]
) -> None:
    capture = finish(choice).capture

    assert finish(choice._replace(**changes)).capture is not capture


def test_a_run_cut_short_after_its_map_goes_on_with_the_curves(
    workbench: Workbench, choice: Choice, forwards: list[int]
) -> None:
    steps = started(workbench, choice)
    run = next(event for event in steps if isinstance(event, Explained)).run
    steps.close()
    forwards.clear()

    events = list(workbench.run_steps(choice))

    assert run.curves is None
    assert isinstance(events[-1], Finished)
    assert events[-1].run.curves is not None
    assert events[-1].run.explanation is run.explanation


def test_closing_the_run_stops_the_work(
    workbench: Workbench, choice: Choice, forwards: list[int]
) -> None:
    steps = started(workbench, choice)
    next(event for event in steps if isinstance(event, Drawing))
    done = len(forwards)

    steps.close()

    assert len(forwards) == done
    assert list(steps) == []
    kept = workbench.run_of(choice)
    assert kept is not None
    assert kept.curves is None


def test_closing_the_run_leaves_the_network_as_found(
    workbench: Workbench, choice: Choice, tiny_cnn: Backbone
) -> None:
    for wanted in (Predicted, Scoring, Explained, Drawing):
        steps = started(workbench, choice._replace(config=GroupCamConfig(groups=5)))
        next(event for event in steps if isinstance(event, wanted))
        steps.close()

    assert not any(module._forward_hooks for module in tiny_cnn.network.modules())
    assert not tiny_cnn.network.training
    assert tiny_cnn.lock.acquire(timeout=10)
    tiny_cnn.lock.release()


def test_a_picture_that_is_gone_is_asked_for_again(workbench: Workbench, choice: Choice) -> None:
    steps = workbench.run_steps(choice._replace(picture_id="gone"))

    with pytest.raises(
        GroupCamError, match=r"picture must still be on the server.*Upload it again"
    ):
        next(iter(steps))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_layer": "features.33"}, "features.33"),
        ({"class_name": "class 33"}, "class 33"),
        ({"config": GroupCamConfig(groups=13)}, "groups must be .*12"),
    ],
    ids=["layer", "class", "groups"],
)
def test_an_impossible_choice_is_told(
    workbench: Workbench, choice: Choice, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(GroupCamError, match=message):
        list(workbench.run_steps(choice._replace(**changes)))


def test_an_impossible_choice_leaves_the_earlier_run(
    workbench: Workbench, choice: Choice, finish: Finish
) -> None:
    run = finish(choice)

    with pytest.raises(GroupCamError):
        list(workbench.run_steps(choice._replace(class_name="class 33")))

    assert workbench.run_of(choice) is run


def test_no_choice_has_no_run(workbench: Workbench, choice: Choice) -> None:
    assert workbench.run_of(None) is None
    assert workbench.run_of(choice) is None


def test_a_network_that_arrives_too_slowly_is_given_up(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, *, progress: Callable[[str, int, int], None], **_: object) -> Backbone:
        for done in range(1000):
            progress("Downloading weights", done, 1000)
            time.sleep(0.01)
        raise AssertionError("It was not given up.")

    monkeypatch.setattr(workbench_module, "load_backbone", load)
    monkeypatch.setattr(workbench_module, "LOAD_S", 0.05)

    with pytest.raises(WeightsUnavailableError, match=r"must be loaded within 0 s here"):
        list(workbench.load_steps(KEY))
    with pytest.raises(WeightsUnavailableError, match=r"must be loaded within 0 s here"):
        workbench.load_apart(KEY).result(timeout=10)


def test_a_network_is_built_where_there_is_room(
    workbench: Workbench, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    @contextlib.contextmanager
    def room(needed_bytes: int, report: Callable[[], None]) -> Iterator[None]:
        asked.append(needed_bytes)
        yield

    def load(name: str, *, room: contextlib.AbstractContextManager[None], **_: Any) -> Backbone:
        with room:
            return tiny_cnn

    monkeypatch.setattr(workbench._pool, "room", room)
    monkeypatch.setattr(workbench_module, "load_backbone", load)

    workbench.load(BackboneKey("timm/resnet18"))

    assert asked == [4 * 11_689_512]


def test_loading_reports_and_hands_back_the_backbone(
    workbench: Workbench, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, *, progress: Callable[[str, int, int], None], **_: object) -> Backbone:
        progress("Downloading weights", 1, 2)
        progress("Downloading weights", 2, 2)
        return tiny_cnn

    monkeypatch.setattr(workbench_module, "load_backbone", load)
    steps = workbench.load_steps(KEY)
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            loaded = end.value
            break

    assert [(event.done, event.total) for event in seen] == [
        (0, 0),
        (1, 2),
        (2, 2),
    ]
    assert loaded is tiny_cnn


def test_closing_stops_a_download(
    workbench: Workbench, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def load(name: str, *, progress: Callable[[str, int, int], None], **_: object) -> Backbone:
        try:
            for done in range(1000):
                progress("Downloading weights", done, 1000)
                time.sleep(0.01)
        except Cancelled:
            stopped.set()
            raise
        return tiny_cnn

    monkeypatch.setattr(workbench_module, "load_backbone", load)
    steps = workbench.load_steps(KEY)
    next(steps)
    next(steps)

    steps.close()

    assert stopped.wait(timeout=5)


def test_weights_that_are_no_tag_are_refused_and_no_file_is_opened(
    workbench: Workbench, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({}, path)

    with pytest.raises(GroupCamError, match="weights must be 'default', random or a tag"):
        workbench.load(BackboneKey("test/network", str(path)))


def test_a_backbone_above_the_limit_is_refused_before_it_is_built(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(workbench_module, "load_backbone")
    monkeypatch.setattr(workbench_module, "parameters_of", lambda name: 25_000_000)
    limited = Workbench(max_parameters=20_000_000)

    with pytest.raises(GroupCamError, match=r"at most 20 million .* has 25 million"):
        limited.load(KEY)


def test_a_backbone_that_alone_would_fill_the_memory_is_refused_by_default(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(workbench_module, "load_backbone")
    monkeypatch.setattr(workbench_module, "parameters_of", lambda name: 25_000_001)
    limited = Workbench(backbone_bytes=100_000_000)

    with pytest.raises(GroupCamError, match=r"at most 25 million .* has 25 million"):
        limited.load(KEY)


def test_a_load_that_fails_raises_its_own_error_and_may_be_tried_again(
    workbench: Workbench, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **_: object) -> Backbone:
        raise WeightsUnavailableError("No hub today.")

    monkeypatch.setattr(workbench_module, "load_backbone", fail)

    with pytest.raises(WeightsUnavailableError, match="No hub today"):
        list(workbench.load_steps(KEY))
    monkeypatch.setattr(workbench_module, "load_backbone", lambda name, **_: tiny_cnn)
    assert workbench.load(KEY) is tiny_cnn


def test_a_run_knows_its_size(choice: Choice, finish: Finish) -> None:
    run = finish(choice)

    # At least the map, the ranks, two pictures and the activations of 12 x 16 x 16 in float32.
    assert run.size_bytes >= 4 * (32 * 32 + 2 * 3 * 32 * 32 + 12 * 16 * 16)
