"""What the lessons claim holds for the default backbone; their sentences are short."""

import re
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

import groupcam
from groupcam.images import open_picture
from groupcam.language import LANGUAGES, speaking
from groupcam.metrics import CurveProtocol, Curves
from groupcam.models import Backbone, default_target_layer
from groupcam.saliency import Explanation
from groupcam.saliency.group_cam import merged_map
from groupcam.saliency.methods import METHODS
from groupcam.share.lessons import (
    LESSONS,
    LOWER_HALF,
    MAN,
    ROCKET,
    SCATTER,
    TRIPOD,
    UPPER_HALF,
    Lesson,
    Result,
    area_of,
    bright_area,
    gaining_groups,
    has_peak_inside,
    percent,
    share_inside,
)
from groupcam.steps import finish
from tests.support import ROOT

EXAMPLES = ROOT / "assets" / "examples"
Shown = Callable[[str, int], Explanation]
TABS = {"explain": "Explain", "steps": "Step by step", "compare": "Compare"}
PROTOCOL = CurveProtocol.with_steps(14, (224, 224))


@pytest.fixture(scope="module")
def shown(lite0: Backbone) -> Shown:
    """Explains a scene of a lesson, by the lesson's name and the scene's place, once."""
    kept: dict[tuple[str, int], Explanation] = {}

    def explained(name: str, place: int) -> Explanation:
        if (name, place) not in kept:
            lesson = next(lesson for lesson in LESSONS if lesson.name == name)
            scene = lesson.scenes[place]
            class_index = lite0.class_index_of(scene.class_name) if scene.class_name else None
            path = EXAMPLES / f"{scene.example}.jpg"
            kept[name, place] = groupcam.explain(lite0, path, scene.config, class_index=class_index)
        return kept[name, place]

    return explained


def curves_of(backbone: Backbone, example: str, saliency_map: torch.Tensor) -> Curves:
    path = EXAMPLES / f"{example}.jpg"
    return groupcam.insertion_deletion(backbone, path, saliency_map, protocol=PROTOCOL)


# --- claims --------------------------------------------------------------------------------------


def test_lesson_map_moves_with_the_class(shown: Shown) -> None:
    first, espresso = shown("map", 0), shown("map", 1)

    assert first.class_label == "Egyptian cat"
    assert share_inside(first, UPPER_HALF) > 0.7
    assert share_inside(espresso, LOWER_HALF) > 0.7


def test_lesson_groups_shrink_the_bright_area(shown: Shown, lite0: Backbone) -> None:
    one, many = shown("groups", 0), shown("groups", 1)

    assert default_target_layer(lite0).shape[0] == 320
    assert bright_area(many) < 0.75 * bright_area(one)
    assert (one.forward_passes, many.forward_passes) == (3, 34)
    # One group: another score gives the same map.
    again = merged_map(
        one.cell_masks[None],
        one.whole_masks[None],
        torch.tensor([[0.1]]),
        (224, 224),
        one.config.merge,
    )
    torch.testing.assert_close(again[0], one.saliency_map)


def test_lesson_blur_leaves_little_to_gain(shown: Shown) -> None:
    strong, weak = shown("blur", 0), shown("blur", 1)

    assert strong.class_label == weak.class_label == "Egyptian cat"
    assert strong.baseline_probability < 0.01
    assert gaining_groups(strong) > 24
    assert weak.baseline_probability > weak.probability
    assert 0 < gaining_groups(weak) <= 8


def test_lesson_curves_disagree_about_scattered_pixels(shown: Shown, lite0: Backbone) -> None:
    patch = shown("curves", 0)
    inputs = lite0.preprocess(open_picture(EXAMPLES / "espresso.jpg").rgb)
    layer = default_target_layer(lite0)
    classes = torch.tensor([patch.class_index])
    scatter = finish(METHODS[SCATTER].steps(lite0, inputs, layer, classes)).saliency_map[0]

    a = curves_of(lite0, "espresso", patch.saliency_map)
    b = curves_of(lite0, "espresso", scatter)

    assert patch.class_label == "espresso"
    assert b.deletion_auc < 0.5 * a.deletion_auc
    assert a.insertion_auc > b.insertion_auc + 0.1
    assert a.insertion[0] < 0.01  # the blurred picture
    assert pieces(patch.saliency_map) <= 2
    assert pieces(scatter) > 100


def pieces(saliency_map: torch.Tensor) -> int:
    """Return into how many pieces the most salient twentieth of the pixels falls."""
    values = saliency_map.numpy()
    marked = (values > np.quantile(values, 0.95)).astype(np.uint8)
    return int(cv2.connectedComponents(marked)[0]) - 1  # without the background


def test_lesson_object_is_sure_of_the_tripod_and_not_of_the_rocket(shown: Shown) -> None:
    tripod, rocket = shown("object", 0), shown("object", 1)

    assert (tripod.class_label, rocket.class_label) == ("tripod", "missile")
    assert has_peak_inside(tripod, TRIPOD)
    assert share_inside(tripod, TRIPOD) > 1.5 * area_of(TRIPOD)
    assert share_inside(tripod, MAN) < area_of(MAN)
    assert not has_peak_inside(rocket, ROCKET)
    assert tripod.cell_masks.shape[1:] == (7, 7)
    assert (ROCKET[3] - ROCKET[1]) * 7 < 1  # thinner than a cell


# --- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_sentences_are_short_and_plain(lesson: Lesson, code: str) -> None:
    with speaking(code):
        explanation, answer = lesson.explanation, lesson.answer
        options = [text for option in lesson.options for text in (option.text, option.reply)]
        texts = [*explanation, lesson.question, *options, lesson.look(TABS), *answer]

    assert len(answer) >= 2
    for text in texts:
        assert text.endswith((".", "?")), text
        for sentence in re.split(r"(?<=[.?])\s", text):
            assert len(sentence.split()) <= 25, sentence
    sentences = [one for text in explanation for one in re.split(r"(?<=[.?])\s", text)]
    assert 3 <= len(sentences) <= 6
    assert 0 <= lesson.right < len(lesson.options)
    assert {scene.example for scene in lesson.scenes} <= {path.stem for path in EXAMPLES.iterdir()}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_numbers_are_told_only_of_runs_that_are_there(lesson: Lesson) -> None:
    assert not any(re.search(r"\d", text) for text in lesson.numbers([None] * len(lesson.scenes)))


def test_numbers_are_those_of_the_run(shown: Shown, lite0: Backbone) -> None:
    lesson = next(lesson for lesson in LESSONS if lesson.name == "curves")
    explanation = shown("curves", 0)
    curves = curves_of(lite0, "espresso", explanation.saliency_map)

    alone = lesson.numbers([Result(explanation, curves)])
    both = lesson.numbers([Result(explanation, curves, {SCATTER: curves})])

    assert f"insertion {curves.insertion_auc:.2f}" in alone[0]
    assert "Press Compare" in alone[1]
    assert f"deletion {curves.deletion_auc:.2f}" in both[1]
    facts = dict(lesson.scenes[0].facts_of(Result(explanation, curves)))
    assert facts["deletion AUC"] == f"{curves.deletion_auc:.3f}"
    assert "deletion AUC" not in dict(lesson.scenes[0].facts_of(Result(explanation)))


@pytest.mark.parametrize(
    ("value", "text"), [(0.957, "96%"), (0.0252, "2.5%"), (0.0002, "below 0.1%")], ids=str
)
def test_parts_are_written_as_people_read_them(value: float, text: str) -> None:
    assert percent(value) == text
