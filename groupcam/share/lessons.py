"""Five short lessons: what to read, what to predict, what to look at, and why it comes so.

What a lesson claims is true for the default backbone, its bundled weights and the example pictures;
tests/share/test_lessons.py holds every claim to a run. The numbers themselves are never written
here: they are read from the visitor's runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

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

Facts = tuple[tuple[str, str], ...]
Picture = npt.NDArray[np.uint8]


PICTURES = {
    "cat": "A cat",
    "cat_and_espresso": "A cat above a cup of espresso, in one picture",
    "espresso": "A cup of espresso",
    "photographer": "A photographer behind a tripod",
    "rocket": "A rocket before its launch",
}
"""What stands under an example's picture."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a scene gave."""

    explanation: Explanation
    curves: Curves | None = None  # None: they are not drawn yet
    compared: Mapping[str, Curves] = field(default_factory=dict)  # of other methods, by their name


@dataclass(frozen=True)
class Scene:
    """A picture and settings that a lesson shows."""

    title: str
    button: str
    example: str  # the name of a bundled picture
    facts: Callable[[Explanation], Facts]
    class_name: str = ""  # "": the network's first guess
    config: GroupCamConfig = GroupCamConfig()
    methods: tuple[str, ...] = ()  # chosen for a comparison, see `groupcam.METHODS`

    def facts_of(self, result: Result) -> Facts:
        """Return the names and values of a run's numbers, those of its curves last."""
        facts = self.facts(result.explanation)
        if result.curves is None:
            return facts
        return (
            *facts,
            ("insertion AUC", f"{result.curves.insertion_auc:.3f}"),
            ("deletion AUC", f"{result.curves.deletion_auc:.3f}"),
        )


@dataclass(frozen=True)
class Option:
    """A possible prediction, and what to say to those who made it."""

    text: str
    reply: str


@dataclass(frozen=True)
class Lesson:
    """One lesson."""

    name: str
    short: str  # on a narrow button
    title: str
    explanation: tuple[str, ...]
    figure: Callable[[Picture], str]  # from the first scene's picture, as HTML
    question: str
    options: tuple[Option, ...]
    right: int  # place of the option that comes true
    scenes: tuple[Scene, ...]
    look: str
    look_in: str  # title of the tab
    answer: tuple[str, ...]
    numbers: Callable[[Sequence[Result | None]], tuple[str, ...]]  # sentences, as far as known

    @property
    def examples(self) -> tuple[str, ...]:
        """Return the names of the pictures that the lesson is about, in their order."""
        return tuple(dict.fromkeys(scene.example for scene in self.scenes))


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
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}" if value >= 0.001 else "below 0.1%"


# --- numbers, lesson by lesson -------------------------------------------------------------------


def _halves(explanation: Explanation) -> Facts:
    return (
        ("class", explanation.class_label),
        ("on the cat's half", percent(share_inside(explanation, UPPER_HALF))),
        ("on the cup's half", percent(share_inside(explanation, LOWER_HALF))),
    )


def _tell_halves(results: Sequence[Result | None]) -> tuple[str, ...]:
    return tuple(
        f"Measured: {percent(share_inside(result.explanation, half))} of the brightness for "
        f"“{result.explanation.class_label}” lies on the {thing}'s half."
        for result, half, thing in zip(
            results, (UPPER_HALF, LOWER_HALF), ("cat", "cup"), strict=True
        )
        if result is not None
    )


def _cost(explanation: Explanation) -> Facts:
    return (
        ("groups", str(len(explanation.group_weights))),
        ("looks at the picture", str(explanation.forward_passes)),
        ("bright area", percent(bright_area(explanation))),
    )


def _tell_cost(results: Sequence[Result | None]) -> tuple[str, ...]:
    one, many = results
    if one is None or many is None:
        return ()
    return (
        f"Measured: the bright area falls from {percent(bright_area(one.explanation))} of the "
        f"picture to {percent(bright_area(many.explanation))}. The price is "
        f"{many.explanation.forward_passes} looks of the network instead of "
        f"{one.explanation.forward_passes}.",
    )


def _gains(explanation: Explanation) -> Facts:
    return (
        ("p(picture)", percent(explanation.probability)),
        ("p(blurred)", percent(explanation.baseline_probability)),
        (
            "groups above 0",
            f"{gaining_groups(explanation)} of {len(explanation.group_weights)}",
        ),
    )


def _tell_gains(results: Sequence[Result | None]) -> tuple[str, ...]:
    told = []
    for result in results:
        if result is not None:
            explanation = result.explanation
            told.append(
                f"Measured with sigma {explanation.config.blur_sigma_px:g}: "
                f"p(blurred) is {percent(explanation.baseline_probability)}, and "
                f"{gaining_groups(explanation)} of {len(explanation.group_weights)} groups have a "
                "score above 0."
            )
    return tuple(told)


def _boxes(*boxes: tuple[str, Box]) -> Callable[[Explanation], Facts]:
    def facts(explanation: Explanation) -> Facts:
        return tuple(
            (
                f"in the box “{name}”",
                f"{percent(share_inside(explanation, box))} on {percent(area_of(box))} of the area",
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
            told.append(
                f"Measured: the box “{name}” is {times:.1f} times as bright as the picture on "
                f"average. The brightest place lies {where} it."
            )
    return tuple(told)


def _sure(explanation: Explanation) -> Facts:
    return (
        ("class", explanation.class_label),
        ("p(picture)", percent(explanation.probability)),
    )


def _tell_curves(results: Sequence[Result | None]) -> tuple[str, ...]:
    (result,) = results
    if result is None or result.curves is None:
        return ()
    told = [
        f"Measured: Group-CAM has insertion {result.curves.insertion_auc:.2f} and deletion "
        f"{result.curves.deletion_auc:.2f}."
    ]
    other = result.compared.get(SCATTER)
    told.append(
        "Press Compare in the tab Compare, and the numbers of the other map follow here."
        if other is None
        else f"Guided backpropagation has insertion {other.insertion_auc:.2f} and deletion "
        f"{other.deletion_auc:.2f}."
    )
    return tuple(told)


# --- the lessons ---------------------------------------------------------------------------------

LESSONS: tuple[Lesson, ...] = (
    Lesson(
        name="map",
        short="The map",
        title="What is a class activation map?",
        explanation=(
            "A convolutional network (CNN) turns a picture into many small maps, its channels. "
            "Each channel lights up where it finds its own pattern, such as fur or a round rim.",
            "Some channels speak for a class, others against it. How strongly a channel speaks "
            "is its weight.",
            "Add up the channels, each times its weight. The sum is a class activation map: it "
            "is bright where the picture speaks for that one class.",
        ),
        figure=lambda seen: lesson_figures.weighted_sum(),
        question="The network's first guess for this picture is “Egyptian cat”. Now we ask it "
        "about “espresso” instead. Where will the map be bright?",
        options=(
            Option(
                "On the cat: it is what the network is surest of.",
                "The map does not follow the first guess. It follows the class that we ask about.",
            ),
            Option("On the cup.", "The bright place moves with the class that we ask about."),
            Option(
                "On both alike: a map shows all that the network has found.",
                "A map leaves out what does not speak for the class that we ask about.",
            ),
        ),
        right=1,
        scenes=(
            Scene(
                "First guess",
                "Show me the first guess",
                "cat_and_espresso",
                _halves,
            ),
            Scene(
                "Espresso",
                "Show me espresso",
                "cat_and_espresso",
                _halves,
                class_name="espresso",
            ),
        ),
        look="Press the first button and look at the map in the tab Explain. Come back, press the "
        "second one and look again.",
        look_in="Explain",
        answer=(
            "A map belongs to one class. For “Egyptian cat” most of its brightness lies on the "
            "cat's half; for “espresso” most of it lies on the cup's half.",
            "So always read a map together with its class. The same network looks elsewhere "
            "when the question changes.",
        ),
        numbers=_tell_halves,
    ),
    Lesson(
        name="groups",
        short="Groups",
        title="Why groups of channels?",
        explanation=(
            "How much does a channel matter? Show the network only the part of the picture where "
            "the channel lights up, and ask again.",
            "But this layer has 320 channels: one at a time, that is 320 questions for one map. "
            "And one faint channel alone shows too little of the picture.",
            "Group-CAM puts channels that light up at the same places into G groups, each with "
            "one mask and one question.",
            "The more its mask helps the class, the more a group counts in the map.",
        ),
        figure=lambda seen: lesson_figures.grouping(),
        question="First we put all 320 channels into one group, then into 32 groups. How does the "
        "bright area of the map change?",
        options=(
            Option(
                "It stays as it is: the channels are the same.",
                "The channels are the same, but with 32 groups each can count differently.",
            ),
            Option(
                "It grows: more groups cover more of the picture.",
                "More groups do not add anything to the picture. They tell its parts apart.",
            ),
            Option(
                "It shrinks to what helps the class most.",
                "With 32 groups, those that help most can count most.",
            ),
        ),
        right=2,
        scenes=(
            Scene(
                "G = 1",
                "Show me one group",
                "espresso",
                _cost,
                config=GroupCamConfig(groups=1),
            ),
            Scene("G = 32", "Show me 32 groups", "espresso", _cost),
        ),
        look="Watch the tab Step by step after each button: step 5 has one bar for each group, "
        "and step 6 has the map.",
        look_in="Step by step",
        answer=(
            "With one group the network's answer makes no difference: whatever the score, "
            "the map is scaled to 0..1 in the end. All channels together give one broad patch.",
            "With 32 groups the network is asked about each of 32 masks. Those that bring the "
            "espresso back count most, so the bright area shrinks.",
            "Each group costs one more look of the network. Two more are always needed: one at "
            "the picture and one at the blurred picture.",
        ),
        numbers=_tell_cost,
    ),
    Lesson(
        name="blur",
        short="The blur",
        title="What does “hidden” mean?",
        explanation=(
            "To ask about one part of a picture, we must hide the rest. But a network cannot see "
            "“nothing”: every pixel must have some colour.",
            "Grey boxes would be new things with sharp edges. Group-CAM blurs what it hides: the "
            "colours stay, the details go.",
            "Sigma says how far the blur reaches, in pixels. The score of a mask is what it gains "
            "over the blurred picture: p(through the mask) − p(blurred), and never below 0.",
        ),
        figure=lambda seen: lesson_figures.blurred(seen, (2.0, 50.0)),
        question="Blurred with sigma 50, this is no Egyptian cat to the network. Now we hide with "
        "sigma 2 only. How many of the 32 groups will still get a score above 0?",
        options=(
            Option(
                "All of them: their masks are the same as before.",
                "The masks are the same, but what they are compared with has changed.",
            ),
            Option(
                "Only a few.",
                "The blurred picture has the class already, so there is little to gain.",
            ),
            Option(
                "None: the network cannot see the cat any more.",
                "It still can: a blur with sigma 2 hides very little.",
            ),
        ),
        right=1,
        scenes=(
            Scene("Sigma 50", "Show me sigma 50", "cat", _gains),
            Scene(
                "Sigma 2",
                "Show me sigma 2",
                "cat",
                _gains,
                config=GroupCamConfig(blur_sigma_px=2.0),
            ),
        ),
        look="Watch the tab Step by step after each button: step 4 shows the blurred picture with "
        "its probability, step 5 the score of each group.",
        look_in="Step by step",
        answer=(
            "With sigma 2 the blurred picture alone is an Egyptian cat to the network, even more "
            "so than the sharp one. Most masks cannot gain anything over it, so they score 0.",
            "With sigma 50 the blurred picture says nothing about the class. Then a mask that "
            "brings back a part of the cat has something to gain.",
            "“Hidden” depends on the baseline, which is what stands in the hidden place. A map "
            "says “compared with this blur”, and its settings belong to it.",
        ),
        numbers=_tell_gains,
    ),
    Lesson(
        name="curves",
        short="Curves",
        title="How to read deletion and insertion",
        explanation=(
            "A map claims that its bright pixels matter; two curves test this.",
            "Deletion turns pixels grey, the brightest of the map first: a small area under the "
            "curve (AUC) is good.",
            "Insertion puts pixels back into the blurred picture, the brightest first: a large "
            "area is good. The earlier the probability falls or rises, the better the map.",
            "The pictures on the way are full of holes. The network never met such pictures when "
            "it learnt: they are off-distribution.",
        ),
        figure=lambda seen: lesson_figures.curves(),
        question="Map A, from Group-CAM, is one patch on the cup. Map B, from another method "
        "(guided backpropagation), marks single pixels scattered over edges. Which one gets the "
        "better, smaller area for deletion?",
        options=(
            Option(
                "Map A: it takes the espresso away as a whole.",
                "To us that hides the object best, but the network reacts to more than objects.",
            ),
            Option(
                "Map B: scattered holes confuse the network sooner.",
                "Holes all over the picture destroy fine patterns everywhere at once.",
            ),
            Option(
                "Both about the same: the same number of pixels is gone.",
                "Where the pixels are matters more than how many are gone.",
            ),
        ),
        right=1,
        scenes=(
            Scene(
                "Group-CAM",
                "Show me the cup",
                "espresso",
                _sure,
                methods=("group_cam", SCATTER),
            ),
        ),
        look="The tab Explain draws map A and its curves. Then open the tab Compare: both methods "
        "are chosen there, so just press Compare.",
        look_in="Compare",
        answer=(
            "Map B wins at deletion, and by far, although it shows no object. A few grey specks "
            "along every edge make a picture that the network has never met.",
            "At insertion map A wins: a patch of real picture tells the network more than the same "
            "number of single pixels.",
            "So one curve alone can mislead. Look at both, and at the pictures behind them.",
            "Both areas also depend on the baseline: grey for deletion, blur for insertion. "
            "Compare only areas that were made in the same way.",
        ),
        numbers=_tell_curves,
    ),
    Lesson(
        name="object",
        short="The object?",
        title="Is it the object or the background?",
        explanation=(
            "A network can be right for a wrong reason: it may know a ship by the water around "
            "it. A map helps to find that out.",
            "Draw a box around the object and measure how much of the map's brightness lies "
            "inside. Then compare this with how much of the picture the box covers.",
            "But a map of this layer has only 7 × 7 cells. Each of them is 32 pixels wide: "
            "finer than that it cannot point.",
        ),
        figure=lambda seen: lesson_figures.boxed(seen, (("tripod", TRIPOD), ("man", MAN))),
        question="The network calls this picture “tripod”. A second picture, a thin rocket in a "
        "wide evening sky, it calls “missile”. Where is the brightest place of each map?",
        options=(
            Option(
                "On the man, and on the rocket.",
                "The man is larger, but to this network he says little about a tripod.",
            ),
            Option(
                "On the tripod, and on the rocket.",
                "The tripod is right. The rocket is thinner than one cell of the map.",
            ),
            Option(
                "On the tripod, and on the sky beside the rocket.",
                "The rocket is thinner than one cell of the map.",
            ),
        ),
        right=2,
        scenes=(
            Scene(
                "Photographer",
                "Show me the photographer",
                "photographer",
                _boxes(("tripod", TRIPOD), ("man", MAN)),
            ),
            Scene("Rocket", "Show me the rocket", "rocket", _boxes(("rocket", ROCKET))),
        ),
        look="Press the first button and look at the map in the tab Explain. Come back, press the "
        "second one and look again.",
        look_in="Explain",
        answer=(
            "For “tripod” the box around the tripod is clearly brighter than the picture on "
            "average, and the box around the man is darker. The map speaks for the object.",
            "For “missile” the brightest place lies on the sky beside the rocket. That does not "
            "prove that the sky matters: a cell there also sees a part of the rocket.",
            "A map alone cannot settle such a case. Hide the object, or only the background, and "
            "see what the probability does.",
        ),
        numbers=_tell_boxes,
    ),
)
