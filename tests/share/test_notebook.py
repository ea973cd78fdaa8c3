"""What results show of themselves in a notebook, and what that does not cost others."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import torch

import groupcam
from groupcam.metrics import Curves
from groupcam.models import Backbone
from groupcam.saliency import Explanation
from groupcam.saliency.group_cam import explain
from tests.support import ROOT

EVIL = "<script>alert(1)</script>"
SEEN = np.full((224, 224, 3), 128, np.uint8)


def bars_of(html: str) -> list[float]:
    """Return the lengths of the bars in pixels."""
    return [float(length) for length in re.findall(r"height:10px;\s*width:([\d.]+)px", html)]


def test_explanation_shows_class_probability_and_both_pictures(explanation: Explanation) -> None:
    html = dataclasses.replace(explanation, picture_seen=SEEN)._repr_html_()

    assert f"<b>Egyptian cat</b> {explanation.probability:.1%}" in html
    assert html.count('<img src="data:image/jpeg;base64,') == 2
    assert "as the network saw it" in html


def test_without_the_picture_the_map_is_shown_alone(explanation: Explanation) -> None:
    html = dataclasses.replace(explanation, picture_seen=None)._repr_html_()

    assert html.count("<img") == 1
    assert "saliency map" in html


def test_bars_are_as_long_as_the_weights(explanation: Explanation) -> None:
    weights = torch.tensor([0.1, 0.4, 0.0, 0.2, 0.0, 0.3])

    html = dataclasses.replace(explanation, group_weights=weights)._repr_html_()

    assert bars_of(html) == [100, 75, 50, 25, 0, 0]
    assert html.index("Group 2 · 0.400") < html.index("Group 6 · 0.300") < html.index("Group 4")


def test_blank_map_says_why(explanation: Explanation) -> None:
    blank = dataclasses.replace(
        explanation,
        saliency_map=torch.zeros(224, 224),
        group_weights=torch.zeros(6),
        blank_reason=f"Nothing {EVIL}",
        picture_seen=SEEN,
    )

    html = blank._repr_html_()

    assert "Nothing &lt;script&gt;" in html
    assert html.count("<img") == 1  # no overlay of nothing
    assert bars_of(html) == [0] * 6


def test_names_are_escaped(explanation: Explanation) -> None:
    html = dataclasses.replace(explanation, class_label=EVIL, target_layer=EVIL)._repr_html_()

    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 2


def test_curves_show_areas_protocol_and_drawing(curves: Curves) -> None:
    html, svg = curves._repr_html_(), curves._repr_svg_()

    assert f"Over-all {curves.over_all:.3f} · 8 steps" in html
    assert html.count("<svg") == svg.count("<svg") == 1
    assert f"Insertion: AUC {curves.insertion_auc:.3f}" in svg


def test_text_stays_short(explanation: Explanation, curves: Curves) -> None:
    assert repr(explanation).startswith("Explanation('Egyptian cat', probability=0.15")
    assert "6 groups, map (224, 224))" in repr(explanation)
    assert repr(curves) == (
        f"Curves(insertion_auc={curves.insertion_auc:.4f}, "
        f"deletion_auc={curves.deletion_auc:.4f}, class_index=285, 8 steps)"
    )


def test_a_pictures_own_part_of_a_batch_is_shown(
    tiny_cnn: Backbone, tiny_inputs: torch.Tensor
) -> None:
    batch = explain(tiny_cnn, tiny_inputs, groupcam.GroupCamConfig(groups=3))
    seen = tiny_cnn.preprocessing.to_rgb(tiny_inputs)

    one = dataclasses.replace(batch, picture_seen=seen)[1]

    assert one.picture_seen is not None
    np.testing.assert_array_equal(one.picture_seen, seen[1])
    assert one._repr_html_().count("<img") == 2


def test_results_load_nothing_for_drawing_before_they_are_shown() -> None:
    code = (
        "import sys, groupcam.metrics, groupcam.saliency; "
        "sys.exit('groupcam.share' in sys.modules or 'groupcam.render' in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
