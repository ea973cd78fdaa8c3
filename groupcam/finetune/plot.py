"""The course of a training as a plot."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from groupcam.evaluate.journal import Entry
from groupcam.render.figures import DELETION_COLOR, INSERTION_COLOR, new_figure

LINES = (
    ("", "training", DELETION_COLOR, "--"),
    ("validation_", "validation", INSERTION_COLOR, "-"),
)
PANELS = (("loss", "loss"), ("accuracy", "share of pictures recognised"))


def training_figure(entries: Sequence[Entry]) -> Figure:
    """Return loss and accuracy over the epochs.

    What is measured while training is on augmented pictures, and the mean since the point before.
    """
    figure = new_figure(7.6, 3.0)
    for axes, (name, title) in zip(figure.subplots(1, 2), PANELS, strict=True):
        for prefix, label, color, style in LINES:
            points = [(one["epochs"], one[f"{prefix}{name}"]) for one in entries]
            known = [(epochs, value) for epochs, value in points if value is not None]
            if known:
                axes.plot(
                    *zip(*known, strict=True),
                    color=color, linestyle=style, marker="o", markersize=3, label=label,
                )  # fmt: skip
        axes.set_xlabel("epochs")
        axes.set_title(title, fontsize=9.5)
        axes.grid(color="#E4E4E4", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=8.5)
    figure.subplots_adjust(left=0.07, right=0.985, bottom=0.16, top=0.9, wspace=0.18)
    return figure
