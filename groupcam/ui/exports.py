"""What each download of the Explain tab holds, and how its file is called."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from groupcam.errors import GroupCamError
from groupcam.language import ENGLISH, say, speaking
from groupcam.metrics import Curves
from groupcam.models.checkpoints import sha256_of
from groupcam.models.hub import Progress
from groupcam.render.figures import png_of, svg_of
from groupcam.render.movies import write_gif, write_mp4
from groupcam.share.curves import compared_csv, compared_figure, figure_of
from groupcam.share.files import bundle
from groupcam.share.film import DEFAULT_FRAMES, film_frames
from groupcam.share.record import Record
from groupcam.ui import views
from groupcam.ui.curve_views import names_of
from groupcam.ui.runs import Run

NAME_PART = 40  # characters of a class, backbone or layer in a file's name


@dataclass(frozen=True, eq=False)
class Order:
    """What a visitor asked to have as a file."""

    run: Run
    pinned: tuple[Run, ...]  # other runs whose curves go with it
    picture_path: Path | None  # the uploaded file, while the page shows that picture
    color_map: str
    opacity: float

    @property
    def runs(self) -> dict[str, Curves]:
        """Return the complete curves by the names of their runs, the present run's first."""
        runs = (self.run, *self.pinned)
        with speaking(ENGLISH):  # as everything in the files
            names = names_of(runs)
        return {
            name: run.curves
            for name, run in zip(names, runs, strict=True)
            if run.curves is not None
        }


@dataclass(frozen=True)
class Export:
    """One kind of file."""

    ending: str  # of the file's name
    write: Callable[[Path, Order, Progress], None]
    needs_curves: bool = True
    takes_pinned: bool = False  # the curves of pinned runs go with it
    takes_long: bool = False


def file_name(order: Order, export: Export) -> str:
    """Return a name that tells what is in the file, from letters that every system takes."""
    run = order.run
    parts = (run.explanation.class_label, run.network.name.rpartition("/")[2])
    named = [plain(part) for part in (*parts, run.explanation.target_layer)]
    several = export.takes_pinned and len(order.runs) > 1
    which = [f"{len(order.runs)}-runs"] if several else []
    return "-".join(["groupcam", *filter(None, named), *which, export.ending])


def plain(text: str) -> str:
    """Return a text as part of a file's name: a-z, 0-9, dot, dash and underscore; maybe empty."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", ascii_text)[:NAME_PART].strip("-.")


def complete(run: Run) -> Curves:
    """Return the curves of a run.

    Raises:
        GroupCamError: they are not complete.
    """
    if run.curves is None:
        raise GroupCamError(say("downloads.no_curves"))
    return run.curves


# --- what writes them --------------------------------------------------------------------------


def _write_overlay(path: Path, order: Order, report: Progress) -> None:
    rgb = views.saved_overlay(order.run, order.color_map, order.opacity)
    done, png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    if not done:
        raise RuntimeError("OpenCV could not encode a PNG.")
    path.write_bytes(png.tobytes())


def _write_map(path: Path, order: Order, report: Progress) -> None:
    np.save(path, order.run.explanation.saliency_map.numpy())


def _write_table(path: Path, order: Order, report: Progress) -> None:
    path.write_bytes(compared_csv(order.runs).encode())


def _write_png(path: Path, order: Order, report: Progress) -> None:
    path.write_bytes(png_of(_figure(order)))


def _write_svg(path: Path, order: Order, report: Progress) -> None:
    path.write_text(svg_of(_figure(order)), encoding="utf-8")


def _write_film(path: Path, order: Order, report: Progress) -> None:
    """Write an MP4 or a GIF, as the path's ending says."""
    run = order.run
    curves = complete(run)
    total = min(DEFAULT_FRAMES, len(curves.fractions))

    def counted() -> Iterator[npt.NDArray[np.uint8]]:
        frames = film_frames(
            run.perturbed, curves, run.preprocessing, run.network.class_names, frames=DEFAULT_FRAMES
        )
        for done, frame in enumerate(frames, 1):
            report(say("downloads.film_frames"), done, total)
            yield frame
        report(say("downloads.film_file"), 0, 0)

    write = write_mp4 if path.suffix == ".mp4" else write_gif
    write(counted(), path)


def _write_archive(path: Path, order: Order, report: Progress) -> None:
    run, picture = order.run, order.picture_path
    if picture is None or not picture.is_file():
        raise GroupCamError(say("downloads.no_picture"))
    report(say("downloads.packing"), 0, 0)
    record = Record(
        picture=run.picture,
        picture_name=picture.name,
        picture_sha256=sha256_of(picture),
        view=run.choice.view,
        network=run.network,
        explanation=run.explanation,
        curves=complete(run),
    )
    with speaking(ENGLISH):  # as all that is not for the page alone
        archive = bundle(
            record,
            color_map=order.color_map,
            opacity=order.opacity,
            overlay_side_px=views.SAVED_SIDE_PX,
        )
    path.write_bytes(archive)


def _figure(order: Order) -> Figure:
    """Return the curves of the present run, or of all that are pinned too."""
    if len(order.runs) == 1:
        return figure_of(complete(order.run), order.run.explanation.class_label)
    labels = {run.explanation.class_label for run in (order.run, *order.pinned)}
    return compared_figure(order.runs, labels.pop() if len(labels) == 1 else "the run's class")


EXPORTS: dict[str, Export] = {
    "overlay": Export("overlay.png", _write_overlay, needs_curves=False),
    "map": Export("map.npy", _write_map, needs_curves=False),
    "table": Export("curves.csv", _write_table, takes_pinned=True),
    "chart": Export("curves.png", _write_png, takes_pinned=True),
    "drawing": Export("curves.svg", _write_svg, takes_pinned=True),
    "mp4": Export("film.mp4", _write_film, takes_long=True),
    "gif": Export("film.gif", _write_film, takes_long=True),
    "everything": Export("all.zip", _write_archive, takes_long=True),
}
"""Every kind of file, in the order of its buttons."""
