"""The Augmentation tab: what training sees, made for real with a tiny network."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from groupcam.augment import AugmentConfig, SaliencyAugment
from groupcam.models import Backbone
from groupcam.ui import components
from groupcam.ui.augment_tab import EXAMPLES
from groupcam.ui.augmented import Seen, Working, augmented_steps
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice
from groupcam.ui.workbench import Workbench
from tests.ui.test_tabs import present

VISITOR: Any = SimpleNamespace(session_hash="visitor")
ALWAYS = AugmentConfig(probability=1)


@pytest.fixture
def picture_id(choice: Choice) -> str:
    return choice.picture_id


def show(page: Page, picture_id: str, source: Any, edge: Any, probability: Any) -> dict[Any, Any]:
    """Return the last of all that the page is sent."""
    tab = page.augment
    tab.turns._turn_s = 60
    begun = tab.begin(VISITOR, picture_id)
    shown: dict[Any, Any] = dict(begun)
    values = (source, edge, probability, *present(page, picture_id))
    updates: Iterator[Any] = tab.run(VISITOR, begun[tab.turns.token], *values)
    for update in updates:
        if update != gr.skip():
            shown.update(update)
    return shown


@pytest.mark.parametrize("edge", ["hard", "soft"])
def test_it_shows_what_the_transform_gives(
    workbench: Workbench, choice: Choice, tiny_cnn: Backbone, edge: Any
) -> None:
    config = AugmentConfig("group_cam", 1, edge)
    named = choice._replace(class_name="class 2")

    events = list(augmented_steps(workbench, named, config, [], seed=0))

    (seen,) = [event for event in events if isinstance(event, Seen)]
    inputs = tiny_cnn.preprocess(workbench.picture_of(choice).rgb, choice.view)
    config = AugmentConfig("group_cam", 1, edge, choice.config)
    augment = SaliencyAugment(tiny_cnn.network, config, target_layer=choice.target_layer)
    expected = augment.augment(inputs, torch.tensor([2]))
    assert seen.label == "class 2"
    assert seen.mask is not None
    torch.testing.assert_close(seen.mask, expected.mask[0])
    assert np.array_equal(seen.augmented, tiny_cnn.preprocessing.to_rgb(expected.images)[0])
    assert seen.forward_passes == expected.forward_passes
    assert any(isinstance(event, Working) for event in events)


def test_closing_stops_within_a_micro_batch(workbench: Workbench, choice: Choice) -> None:
    steps = augmented_steps(workbench, choice, ALWAYS, [], seed=0)
    working = next(event for event in steps if isinstance(event, Working))

    steps.close()

    assert working.done < working.total
    assert list(steps) == []


def test_your_picture_and_three_examples_are_shown(page: Page, picture_id: str) -> None:
    shown = show(page, picture_id, "group_cam", "hard", 1)

    rows = shown[page.augment.rows]["rows"]
    assert len(rows) == 4
    assert all(row["isAugmented"] and row["original"] != row["augmented"] for row in rows)
    assert "Changed: 4 of 4 pictures" in shown[page.augment.status]
    assert "gc-done" in shown[page.augment.status]


def test_what_is_not_drawn_stays_and_costs_nothing(page: Page, picture_id: str) -> None:
    shown = show(page, picture_id, "group_cam", "hard", 0)

    rows = shown[page.augment.rows]["rows"]
    assert all(row["original"] == row["augmented"] for row in rows)
    assert "left as it is: drew 0." in rows[0]["note"]
    assert "training would see all 4 as they are" in shown[page.augment.status]


@pytest.mark.parametrize("source", ["random_mask", "centre"])
def test_controls_take_no_forward_pass_for_a_map(page: Page, picture_id: str, source: str) -> None:
    shown = show(page, picture_id, source, "hard", 1)

    assert "The maps took 0 forward passes" in shown[page.augment.status]


def test_an_example_is_not_shown_twice(page: Page) -> None:
    example = next(path for path in components.EXAMPLES if path.stem == EXAMPLES[0])
    own, picture = page.workbench.add_picture(example)

    others = page.augment._others(own)

    assert len(others) == 3
    assert not any(np.array_equal(rgb, picture.rgb) for rgb in others)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("rise", "hard", 1), "source must be one of group_cam"),
        (("centre", ["x"], 1), "edge must be one of hard"),
        (("centre", "hard", "often"), "probability must be a number"),
        (("centre", "hard", float("nan")), "probability must be between 0 and 1"),
    ],
)
def test_values_that_anybody_may_send_are_checked(
    page: Page, picture_id: str, values: tuple[Any, ...], message: str
) -> None:
    shown = show(page, picture_id, *values)

    assert message in shown[page.augment.status]
    assert 'role="alert"' in shown[page.augment.status]


def test_stop_and_no_picture(page: Page, picture_id: str) -> None:
    tab = page.augment
    assert "Choose a picture first" in tab.begin(VISITOR, None)[tab.status]
    token = tab.begin(VISITOR, picture_id)[tab.turns.token]
    values = ("group_cam", "hard", 1, *present(page, picture_id))
    updates = tab.run(VISITOR, token, *values)
    next(updates)

    assert "Stopped." in tab.turns.stop_run(VISITOR)
    (last,) = updates  # a report may be on its way: it is said once more, and nothing else
    assert list(last) == [tab.status]
    assert "Stopped." in last[tab.status]
