"""From entries to tables, plots and the report."""

import csv
import html.parser
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import DataSet, Sample, open_data_set
from groupcam.evaluate.plots import summary_figure
from groupcam.evaluate.report import protocol_text, report_html
from groupcam.evaluate.run import Results
from groupcam.evaluate.settings import EvaluateSettings, protocol_card
from groupcam.evaluate.summary import holm, summarise
from groupcam.evaluate.tables import as_csv, as_markdown, comparison_rows, mean_rows
from tests.evaluate.support import evaluate, write_picture

SETTINGS = EvaluateSettings(methods=("grad_cam", "sobel"), metrics=("insertion", "deletion"))
# Pictures by (insertion, deletion); None: the method failed.
GRAD_CAM = [(0.5, 0.2), (0.6, 0.1), (0.7, 0.3), (0.4, 0.2)]
SOBEL = [(0.4, 0.3), (0.6, 0.3), (0.5, 0.2), None]


def entry(number: int, *values: tuple[float, float] | None) -> dict[str, Any]:
    """Return what a run would have written."""
    return {
        "picture": f"{number}.png",
        "backbone": "timm/x",
        "layer": None,
        "target_layer": "blocks.6",
        "class_label": "cat",
        "probability": 0.9,
        "seen_box": [0, 0, 40, 48],
        "methods": {
            method: {"error": "no luck"}
            if pair is None
            else {
                "values": dict(zip(SETTINGS.metrics, pair, strict=True)),
                "map": "AAAA" * 341 + "AA==",
            }
            for method, pair in zip(SETTINGS.methods, values, strict=True)
        },
    }


@pytest.fixture
def results() -> Results:
    entries = [
        entry(number, *pair) for number, pair in enumerate(zip(GRAD_CAM, SOBEL, strict=True))
    ]
    entries.append(
        {
            **{key: entries[0][key] for key in ("backbone", "layer")},
            "picture": "4.png",
            "error": "damaged <b>badly</b>",
        }
    )
    data = DataSet("plain", tuple(Sample(one["picture"], Path(one["picture"])) for one in entries))
    return Results(protocol_card(SETTINGS, data), SETTINGS, tuple(entries))


# --- numbers -----------------------------------------------------------------------------------


def test_means_are_over_all_pictures_with_a_value(results: Results) -> None:
    summary = summarise(results)

    grad_cam, sobel = summary.rows
    assert (grad_cam.pictures, grad_cam.failed) == (4, 1)
    assert (sobel.pictures, sobel.failed) == (3, 2)
    means = [row.cells[metric].mean for row in summary.rows for metric in summary.metrics]
    assert [mean and mean.value for mean in means] == pytest.approx([0.55, 0.2, 0.5, 0.8 / 3])
    assert all(mean and mean.low <= mean.value <= mean.high for mean in means)


def test_comparison_takes_common_pictures_and_knows_where_better_is(results: Results) -> None:
    comparisons = {
        metric: cell.comparison for metric, cell in summarise(results).rows[1].cells.items()
    }

    insertion, deletion = comparisons["insertion"], comparisons["deletion"]
    assert insertion is not None
    assert deletion is not None
    assert (insertion.pictures, deletion.pictures) == (3, 3)
    # Differences -0.1, 0, -0.2 and 0.1, 0.2, -0.1.
    assert insertion.difference.value == pytest.approx(-0.1)
    assert deletion.difference.value == pytest.approx(0.2 / 3)
    # Better are: none and half a tie of insertion (high), the last of deletion (low).
    assert insertion.wins.value == pytest.approx(0.5 / 3)
    assert deletion.wins.value == pytest.approx(1 / 3)
    # Of the signs of -0.1, 0, -0.2, only all equal ones give a sum as large: 4 of 8.
    assert insertion.p_value == pytest.approx(0.5)


def test_reference_is_the_first_method_or_the_one_asked_for(results: Results) -> None:
    assert summarise(results).reference == "grad_cam"
    assert summarise(results, "sobel").rows[1].cells["insertion"].comparison is None
    with pytest.raises(GroupCamError, match=r"reference must be one of .* Did you mean 'sobel'"):
        summarise(results, "sobe")


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    # 3 x 0.01; 2 x 0.04; then 1 x 0.05, which must not be below the one before.
    assert holm([0.04, 0.01, 0.05]) == pytest.approx([0.08, 0.03, 0.08])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


# --- tables and plots --------------------------------------------------------------------------


def test_csv_has_a_line_a_method_and_metric_with_all_digits(results: Results) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(summarise(results)))))

    assert [(line["method"], line["metric"]) for line in lines] == [
        (method, metric) for method in SETTINGS.methods for metric in SETTINGS.metrics
    ]
    assert float(lines[3]["mean"]) == pytest.approx(0.8 / 3, abs=1e-12)
    assert [line["failed"] for line in lines] == ["1", "1", "2", "2"]
    assert lines[0]["difference"] == ""
    assert float(lines[3]["difference"]) == pytest.approx(0.2 / 3, abs=1e-12)


def test_markdown_shows_both_tables_and_every_failure(results: Results) -> None:
    text = as_markdown(summarise(results), protocol_text(results.card))

    lines = text.splitlines()
    assert any(line.startswith("| timm/x | blocks.6 | grad_cam | 0.550 [") for line in lines)
    assert any(line.startswith("| timm/x | blocks.6 | sobel | -0.100 [") for line in lines)
    assert "| 3.png | timm/x | sobel | no luck |" in lines
    assert r"| 4.png | timm/x | all | damaged \<b\>badly\</b\> |" in lines


def test_plot_has_means_and_differences_for_every_metric(results: Results) -> None:
    figure = summary_figure(summarise(results))

    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == [
        "Insertion AUC, high is better",
        "Deletion AUC, low is better",
        "difference to grad_cam",
        "difference to grad_cam",
    ]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["grad_cam", "sobel"]


def test_one_method_has_nothing_to_be_compared_with(results: Results) -> None:
    settings = EvaluateSettings(methods=("grad_cam",), metrics=SETTINGS.metrics)
    summary = summarise(Results(results.card, settings, results.entries))

    assert len(mean_rows(summary)[1]) == 1
    assert comparison_rows(summary)[1] == []
    assert len([axes for axes in summary_figure(summary).axes if axes.get_visible()]) == 2


# --- the report --------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """What a page holds: its links, its images' captions, and whether every tag is closed."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.alts: list[str] = []
        self.captions: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.sources += [found[name] or "" for name in ("src", "href") if name in found]
        if tag == "img":
            self.alts.append(found["alt"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["figcaption"]:
            self.captions.append(data)


def test_report_needs_no_other_file_and_escapes_what_it_shows(
    results: Results, tmp_path: Path
) -> None:
    for number in range(3):  # the fourth is gone since
        write_picture(tmp_path / f"{number}.png", number)
    summary = summarise(results)

    text = report_html(results, summary, open_data_set(tmp_path))
    page = Page(text)

    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "<b>badly" not in text
    assert "&lt;b&gt;badly" in text


def test_report_ranks_pictures_from_the_best_and_from_the_worst(results: Results) -> None:
    page = Page(report_html(results, summarise(results), DataSet("plain", ())))

    # Grad-CAM's insertion: 0.7, 0.6 are the better half; 0.4, 0.5 the worse one, worst first.
    assert [caption.split("; ")[-1] for caption in page.captions[:4]] == [
        "2.png", "1.png", "3.png", "0.png"
    ]  # fmt: skip
    assert page.alts == ["Means and differences"]  # no picture can be read any more


@pytest.mark.usefixtures("tiny_everywhere")
def test_maps_of_the_report_lie_on_what_the_network_saw(tmp_path: Path) -> None:
    from groupcam.evaluate.one_picture import decode_thumbnail

    write_picture(tmp_path / "in" / "wide.png", seed=1, size=(40, 80))
    settings = EvaluateSettings(methods=("centre",), metrics=("average_drop",), prepare=False)

    (found,) = evaluate(open_data_set(tmp_path / "in"), tmp_path / "out.jsonl", settings).entries

    top, left, bottom, right = found["seen_box"]
    thumbnail = decode_thumbnail(found["methods"]["centre"]["map"])
    assert (bottom - top, right - left) == (40, 40)
    assert (left + right) / 2 == pytest.approx(40, abs=1)
    assert thumbnail.max() == pytest.approx(thumbnail[15:17, 15:17].mean(), abs=0.02)
    np.testing.assert_allclose(thumbnail, thumbnail[::-1, ::-1], atol=1 / 255)
