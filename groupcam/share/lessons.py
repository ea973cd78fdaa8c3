"""Five short lessons: what to read, what to predict, what to look at, and why it comes so.

Their texts stand with all others, in sections lesson_NAME, lesson_scenes and lesson_numbers.
What a lesson claims is true for the default backbone, its bundled weights and the example pictures;
tests/share/test_lessons.py holds every claim to a run. The numbers themselves are never written
here: they are read from the visitor's runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from groupcam.language import say
from groupcam.metrics import Curves
from groupcam.saliency import Explanation, GroupCamConfig
from groupcam.share import lesson_figures
from groupcam.share.lesson_figures import Box

UPPER_HALF: Box = (0.0, 0.0, 0.5, 1.0)
LOWER_HALF: Box = (0.5, 0.0, 1.0, 1.0)
TRIPOD: Box = (0.38, 0.45, 1.0, 0.85)
MAN: Box = (0.07, 0.0, 1.0, 0.45)
ROCKET: Box = (0.26, 0.46, 1.0, 0.54)
SCATTER = "guided_backprop"  # the method that lesson 4 sets against Group-CAM
OPTIONS = 3  # of every lesson

Facts = tuple[tuple[str, str], ...]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Result:
    """What a scene gave."""

    explanation: Explanation
    curves: Curves | None = None  # None: they are not drawn yet
    compared: Mapping[str, Curves] = field(default_factory=dict)  # of other methods, by their name


@dataclass(frozen=True)
class Scene:
    """A picture and settings that a lesson shows."""

    name: str  # of its texts
    example: str  # the name of a bundled picture
    facts: Callable[[Explanation], Facts]
    class_name: str = ""  # "": the network's first guess
    config: GroupCamConfig = GroupCamConfig()
    methods: tuple[str, ...] = ()  # chosen for a comparison, see `groupcam.METHODS`

    @property
    def title(self) -> str:
        """Return what stands over what the scene gave."""
        return say(f"lesson_scenes.{self.name}_title")

    @property
    def button(self) -> str:
        """Return what stands on the button that shows the scene."""
        return say(f"lesson_scenes.{self.name}_button")

    def facts_of(self, result: Result) -> Facts:
        """Return the names and values of a run's numbers, those of its curves last."""
        facts = self.facts(result.explanation)
        if result.curves is None:
            return facts
        return (
            *facts,
            (say("lesson_numbers.insertion"), f"{result.curves.insertion_auc:.3f}"),
            (say("lesson_numbers.deletion"), f"{result.curves.deletion_auc:.3f}"),
        )


@dataclass(frozen=True)
class Option:
    """A possible prediction, and what to say to those who made it."""

    text: str
    reply: str


@dataclass(frozen=True)
class Lesson:
    """One lesson; its texts are said in the language that is spoken when they are asked for."""

    name: str
    figure: Callable[[Picture], str]  # from the first scene's picture, as HTML
    right: int  # place of the option that comes true
    scenes: tuple[Scene, ...]
    look_in: str  # name of the page's tab
    numbers: Callable[[Sequence[Result | None]], tuple[str, ...]]  # sentences, as far as known

    @property
    def short(self) -> str:
        """Return the lesson's name on a narrow button."""
        return say(f"lesson_{self.name}.short")

    @property
    def title(self) -> str:
        """Return what stands over the lesson."""
        return say(f"lesson_{self.name}.title")

    @property
    def explanation(self) -> tuple[str, ...]:
        """Return what to read first, as paragraphs."""
        return _paragraphs(say(f"lesson_{self.name}.explanation"))

    @property
    def question(self) -> str:
        """Return what to predict."""
        return say(f"lesson_{self.name}.question")

    @property
    def options(self) -> tuple[Option, ...]:
        """Return the predictions to choose from."""
        return tuple(
            Option(say(f"lesson_{self.name}.option_{one}"), say(f"lesson_{self.name}.reply_{one}"))
            for one in range(1, OPTIONS + 1)
        )

    def look(self, tabs: Mapping[str, str]) -> str:
        """Return what to do, and where to look.

        Args:
            tabs: what stands on the page's tabs, by their names.
        """
        return say(f"lesson_{self.name}.look", **tabs)

    @property
    def answer(self) -> tuple[str, ...]:
        """Return why it comes so, as paragraphs."""
        return _paragraphs(say(f"lesson_{self.name}.answer"))

    @property
    def examples(self) -> tuple[str, ...]:
        """Return the names of the pictures that the lesson is about, in their order."""
        return tuple(dict.fromkeys(scene.example for scene in self.scenes))


def picture_caption(example: str) -> str:
    """Return what stands under an example's picture."""
    return say(f"lesson_pictures.{example}")


def _paragraphs(text: str) -> tuple[str, ...]:
    """Return the paragraphs of a text, which empty lines part."""
    return tuple(" ".join(one.split()) for one in text.strip().split("\n\n"))


# --- what is read from a run ---------------------------------------------------------------------


def share_inside(explanation: Explanation, box: Box) -> float:
    """Return the part of the map's sum that lies in a box, 0..1; 0 for a blank map."""
    saliency_map = explanation.saliency_map
    total = float(saliency_map.sum())
    height, width = saliency_map.shape
    top, left, bottom, right = box
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    return float(saliency_map[rows, columns].sum()) / total if total else 0.0


def area_of(box: Box) -> float:
    """Return the part of the picture that a box covers, 0..1."""
    top, left, bottom, right = box
    return (bottom - top) * (right - left)


def has_peak_inside(explanation: Explanation, box: Box) -> bool:
    """Return whether the map's largest value lies in a box."""
    saliency_map = explanation.saliency_map
    row, column = divmod(int(saliency_map.argmax()), saliency_map.shape[1])
    top, left, bottom, right = box
    height, width = saliency_map.shape
    return top * height <= row < bottom * height and left * width <= column < right * width


def bright_area(explanation: Explanation) -> float:
    """Return the part of the picture where the map is above one half, 0..1."""
    return float((explanation.saliency_map > 0.5).float().mean())


def gaining_groups(explanation: Explanation) -> int:
    """Return how many groups have a score above 0."""
    return int((explanation.group_weights > 0).sum())


def percent(value: float) -> str:
    """Return a part of 1 as people read it."""
    if value < 0.001:
        return say("lesson_numbers.tiny_share")
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


# --- numbers, lesson by lesson -------------------------------------------------------------------


def _halves(explanation: Explanation) -> Facts:
    cat, cup = (share_inside(explanation, half) for half in (UPPER_HALF, LOWER_HALF))
    return (
        (say("lesson_numbers.class"), explanation.class_label),
        (say("lesson_numbers.on_cat"), percent(cat)),
        (say("lesson_numbers.on_cup"), percent(cup)),
    )


def _tell_halves(results: Sequence[Result | None]) -> tuple[str, ...]:
    return tuple(
        say(
            f"lesson_numbers.measured_on_{thing}",
            share=percent(share_inside(result.explanation, half)),
            label=result.explanation.class_label,
        )
        for result, half, thing in zip(
            results, (UPPER_HALF, LOWER_HALF), ("cat", "cup"), strict=True
        )
        if result is not None
    )


def _cost(explanation: Explanation) -> Facts:
    return (
        (say("lesson_numbers.groups"), str(len(explanation.group_weights))),
        (say("lesson_numbers.looks"), str(explanation.forward_passes)),
        (say("lesson_numbers.bright_area"), percent(bright_area(explanation))),
    )


def _tell_cost(results: Sequence[Result | None]) -> tuple[str, ...]:
    one, many = results
    if one is None or many is None:
        return ()
    text = say(
        "lesson_numbers.measured_cost",
        before=percent(bright_area(one.explanation)),
        after=percent(bright_area(many.explanation)),
        many=many.explanation.forward_passes,
        few=one.explanation.forward_passes,
    )
    return (text,)


def _gains(explanation: Explanation) -> Facts:
    gaining = say(
        "lesson_numbers.gaining_of",
        gaining=gaining_groups(explanation),
        groups=len(explanation.group_weights),
    )
    return (
        (say("lesson_numbers.p_picture"), percent(explanation.probability)),
        (say("lesson_numbers.p_blurred"), percent(explanation.baseline_probability)),
        (say("lesson_numbers.gaining"), gaining),
    )


def _tell_gains(results: Sequence[Result | None]) -> tuple[str, ...]:
    return tuple(
        say(
            "lesson_numbers.measured_gains",
            sigma=result.explanation.config.blur_sigma_px,
            blurred=percent(result.explanation.baseline_probability),
            gaining=gaining_groups(result.explanation),
            groups=len(result.explanation.group_weights),
        )
        for result in results
        if result is not None
    )


def _boxes(*boxes: tuple[str, Box]) -> Callable[[Explanation], Facts]:
    def facts(explanation: Explanation) -> Facts:
        return tuple(
            (
                say("lesson_numbers.in_box", box=_box_name(name)),
                say(
                    "lesson_numbers.share_in_box",
                    share=percent(share_inside(explanation, box)),
                    area=percent(area_of(box)),
                ),
            )
            for name, box in boxes
        )

    return facts


def _tell_boxes(results: Sequence[Result | None]) -> tuple[str, ...]:
    told = []
    for result, (name, box) in zip(results, (("tripod", TRIPOD), ("rocket", ROCKET)), strict=True):
        if result is not None:
            times = share_inside(result.explanation, box) / area_of(box)
            where = "inside" if has_peak_inside(result.explanation, box) else "outside"
            text = say(f"lesson_numbers.measured_peak_{where}", box=_box_name(name), times=times)
            told.append(text)
    return tuple(told)


def _box_name(name: str) -> str:
    return say(f"lesson_numbers.box_{name}")


def _sure(explanation: Explanation) -> Facts:
    return (
        (say("lesson_numbers.class"), explanation.class_label),
        (say("lesson_numbers.p_picture"), percent(explanation.probability)),
    )


def _tell_curves(results: Sequence[Result | None]) -> tuple[str, ...]:
    (result,) = results
    if result is None or result.curves is None:
        return ()
    own, other = result.curves, result.compared.get(SCATTER)
    measured = say(
        "lesson_numbers.measured_curves", insertion=own.insertion_auc, deletion=own.deletion_auc
    )
    if other is None:
        return measured, say("lesson_numbers.press_compare")
    return measured, say(
        "lesson_numbers.measured_others", insertion=other.insertion_auc, deletion=other.deletion_auc
    )


# --- the lessons ---------------------------------------------------------------------------------


def _boxed(seen: Picture) -> str:
    boxes = [(_box_name("tripod"), TRIPOD), (_box_name("man"), MAN)]
    return lesson_figures.boxed(seen, boxes, say("lesson_object.figure"))


LESSONS: tuple[Lesson, ...] = (
    Lesson(
        name="map",
        figure=lambda seen: lesson_figures.weighted_sum(),
        right=1,
        scenes=(
            Scene("first_guess", "cat_and_espresso", _halves),
            Scene("espresso", "cat_and_espresso", _halves, class_name="espresso"),
        ),
        look_in="explain",
        numbers=_tell_halves,
    ),
    Lesson(
        name="groups",
        figure=lambda seen: lesson_figures.grouping(),
        right=2,
        scenes=(
            Scene("one_group", "espresso", _cost, config=GroupCamConfig(groups=1)),
            Scene("many_groups", "espresso", _cost),
        ),
        look_in="steps",
        numbers=_tell_cost,
    ),
    Lesson(
        name="blur",
        figure=lambda seen: lesson_figures.blurred(seen, (2.0, 50.0)),
        right=1,
        scenes=(
            Scene("strong_blur", "cat", _gains),
            Scene("weak_blur", "cat", _gains, config=GroupCamConfig(blur_sigma_px=2.0)),
        ),
        look_in="steps",
        numbers=_tell_gains,
    ),
    Lesson(
        name="curves",
        figure=lambda seen: lesson_figures.curves(),
        right=1,
        scenes=(Scene("cup", "espresso", _sure, methods=("group_cam", SCATTER)),),
        look_in="compare",
        numbers=_tell_curves,
    ),
    Lesson(
        name="object",
        figure=_boxed,
        right=2,
        scenes=(
            Scene("photographer", "photographer", _boxes(("tripod", TRIPOD), ("man", MAN))),
            Scene("rocket", "rocket", _boxes(("rocket", ROCKET))),
        ),
        look_in="explain",
        numbers=_tell_boxes,
    ),
)
