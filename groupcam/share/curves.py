"""The curves of one run or of several as tables and figures."""

import csv
import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from groupcam.metrics import Curves
from groupcam.render.compared import DrawnCurves, compared_curves_figure
from groupcam.render.figures import curves_figure


def curves_csv(curves: Curves) -> str:
    """Return the points as CSV: fraction of pixels changed, insertion and deletion probability."""
    return _table(["fraction", "insertion", "deletion"], _rows(curves))


def compared_csv(runs: Mapping[str, Curves]) -> str:
    """Return the points of several runs as one CSV table with the run's name in every line."""
    rows = [(name, *row) for name, curves in runs.items() for row in _rows(curves)]
    return _table(["run", "fraction", "insertion", "deletion"], rows)


def figure_of(curves: Curves, class_label: str) -> Figure:
    """Return the curves of one run as a figure, for `png_of` and `svg_of`."""
    drawn = _drawn(curves)
    return curves_figure(*drawn, class_label=class_label)


def compared_figure(runs: Mapping[str, Curves], class_label: str = "the class") -> Figure:
    """Return the curves of several runs as a figure, for `png_of` and `svg_of`.

    Args:
        runs: at most `groupcam.render.compared.MOST_RUNS`, by the names that are to be shown.
        class_label: whose probability it is, where it is the same class in all.

    Raises:
        GroupCamError: there is no run, or there are too many.
    """
    drawn = {name: _drawn(curves) for name, curves in runs.items()}
    return compared_curves_figure(drawn, class_label=class_label)


def _drawn(curves: Curves) -> DrawnCurves:
    return DrawnCurves(
        curves.fractions.numpy(),
        curves.insertion.numpy(),
        curves.deletion.numpy(),
        curves.insertion_auc,
        curves.deletion_auc,
    )


def _rows(curves: Curves) -> list[tuple[float, float, float]]:
    points = (curves.fractions.tolist(), curves.insertion.tolist(), curves.deletion.tolist())
    return list(zip(*points, strict=True))


def _table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return CSV text with the line ends that its standard (RFC 4180) asks for."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(headings)
    writer.writerows(rows)
    return text.getvalue()
