"""What the chart of the curves and the perturbed pictures are sent."""

import base64
import dataclasses
import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from groupcam.metrics.curves import changed_pixels
from groupcam.models import Backbone
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig
from groupcam.ui import curve_views
from groupcam.ui.runs import Choice, Drawing, Run
from groupcam.ui.workbench import Workbench


@pytest.fixture
def run(choice: Choice, finish: Callable[[Choice], Run]) -> Run:
    return finish(choice)


def decoded(data_uri: str) -> npt.NDArray[np.uint8]:
    head, _, body = data_uri.partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.array(image)


# --- points ------------------------------------------------------------------------------------


def test_curves_on_their_way_have_what_is_known_at_its_place(
    workbench: Workbench, choice: Choice, run: Run
) -> None:
    assert run.curves is not None
    fresh = choice._replace(config=GroupCamConfig(groups=3))
    event = next(event for event in workbench.run_steps(fresh) if isinstance(event, Drawing))

    shown = curve_views.chart(event.run, event.points)

    side, ready = shown["insertion"], event.points.insertion
    known = [place for place, value in enumerate(side["values"]) if value is not None]
    assert known == ready.places.tolist()
    assert 0 < len(known) < len(side["values"]) == len(shown["pixels"])
    assert [place for place, top in enumerate(side["top"]) if top is not None] == known
    assert [side["values"][place] for place in known] == pytest.approx(ready.values, abs=1e-4)
    assert [side["odds"][place] for place in known] == [
        pytest.approx(row, abs=1e-4) for row in ready.top.probabilities
    ]
    assert side["auc"] == ready.area.value
    assert shown["deletion"]["error"] == event.points.deletion.area.error
    assert not shown["complete"]


def test_complete_curves_have_their_areas_and_top_classes(run: Run, tiny_cnn: Backbone) -> None:
    assert run.curves is not None

    shown = curve_views.chart(run)

    pixels = np.array(shown["pixels"])
    assert shown["complete"]
    assert (pixels[0], pixels[-1]) == (0, 32 * 32)
    for side in (shown["insertion"], shown["deletion"]):
        assert "error" not in side
        area = np.trapezoid(side["values"], pixels / pixels[-1])
        assert side["auc"] == pytest.approx(area, abs=1e-3)
    assert shown["insertion"]["top"] == run.curves.insertion_top.indices.tolist()
    assert shown["names"] == {str(at): name for at, name in enumerate(tiny_cnn.class_names)}
    target = [
        odds[top.index(shown["target"])]
        for top, odds in zip(shown["deletion"]["top"], shown["deletion"]["odds"], strict=True)
    ]
    assert target == shown["deletion"]["values"]


def test_no_curves_yet_is_a_chart_without_points(run: Run) -> None:
    shown = curve_views.chart(dataclasses.replace(run, curves=None))

    assert "values" not in shown["insertion"]
    assert shown["label"] == run.explanation.class_label
    assert not shown["complete"]


def test_curves_of_a_blank_map_say_what_they_are_worth(run: Run) -> None:
    blank = dataclasses.replace(run.explanation, blank_reason="No group helped.")

    assert curve_views.chart(run)["note"] == ""
    assert "row by row" in curve_views.chart(dataclasses.replace(run, explanation=blank))["note"]


# --- perturbed pictures ------------------------------------------------------------------------


def test_the_pictures_of_every_point_can_be_put_together_exactly(run: Run) -> None:
    assert run.curves is not None
    sent = curve_views.perturbed(run)
    steps = decoded(sent["steps"])[..., None]
    picture, start, end = (
        decoded(sent[name]) for name in ("picture", "insertion_start", "deletion_end")
    )
    pixels = changed_pixels(32 * 32, run.curves.protocol)

    inserted = run.preprocessing.to_rgb(run.perturbed.inserted(pixels))
    deleted = run.preprocessing.to_rgb(run.perturbed.deleted(pixels))

    assert curve_views.chart(run)["pixels"] == pixels.tolist()
    for place in range(len(pixels)):
        np.testing.assert_array_equal(np.where(steps <= place, picture, start), inserted[place])
        np.testing.assert_array_equal(np.where(steps <= place, end, picture), deleted[place])
    assert sent["note"] == ""
    assert sent["run"] == run.run_id


def test_large_inputs_are_sent_smaller_and_it_is_said(run: Run) -> None:
    """Even noise, which no picture format makes smaller, stays below half a megabyte."""
    noise = torch.randn(3, 600, 300, generator=torch.Generator().manual_seed(0))
    pictures = dataclasses.replace(
        run.perturbed,
        picture=noise,
        insertion_start=torch.nn.functional.avg_pool2d(noise, 31, stride=1, padding=15),
        deletion_end=torch.zeros_like(noise),
        rank=torch.arange(600 * 300).reshape(600, 300),
    )
    capture = dataclasses.replace(run.capture, inputs=noise[None])

    sent = curve_views.perturbed(dataclasses.replace(run, perturbed=pictures, capture=capture))

    steps = decoded(sent["steps"])
    assert decoded(sent["picture"]).shape == (288, 144, 3)
    assert steps.shape == (288, 144)
    assert (steps.min(), steps.max()) == (1, 112)
    assert (np.diff(steps[:, 0].astype(int)) >= 0).all()
    assert sent["note"] == (
        "The pictures are drawn at 144 × 288 pixels; the network saw 300 × 600."
    )
    assert sum(len(text) for text in sent.values()) < 500_000


# --- names -------------------------------------------------------------------------------------


def test_a_run_is_named_by_what_it_is_and_what_is_not_the_default(run: Run) -> None:
    changed = GroupCamConfig(groups=8, percentile=None, blur_sigma_px=20.5, merge="raw")
    other = dataclasses.replace(
        run,
        choice=run.choice._replace(view="fit", backbone=BackboneKey("test/network", None)),
        explanation=dataclasses.replace(run.explanation, config=changed),
    )
    label = run.explanation.class_label

    assert curve_views.parts_of(run) == [label, "test/network", "features.3", "G 4"]
    assert curve_views.parts_of(other) == [
        *(label, "test/network (random weights)", "features.3", "G 8"),
        *("the whole picture, with a border", "blur sigma 20.5 px", "no percentile", "merge raw"),
    ]


def test_runs_of_several_pictures_are_told_apart(run: Run) -> None:
    other = dataclasses.replace(run, choice=run.choice._replace(picture_id="another"))

    (alone,) = curve_views.names_of([run])

    assert curve_views.names_of([run, other]) == [f"{alone} · picture 1", f"{alone} · picture 2"]
    assert run.run_id != other.run_id
