"""The curves as a film: the perturbed pictures beside both curves, with markers that move.

Nothing is run again: the pictures come from the order of the pixels, the numbers from the curves.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from groupcam.errors import GroupCamError
from groupcam.metrics import Curves
from groupcam.metrics.curves import PerturbedPictures, changed_pixels
from groupcam.models import Preprocessing
from groupcam.render.figures import (
    DELETION_COLOR,
    INSERTION_COLOR,
    QUIET_COLOR,
    TEXT_COLOR,
    finish_curves,
    new_figure,
)
from groupcam.render.movies import write_gif, write_mp4

DEFAULT_FRAMES = 57  # every second point of the default protocol's 113
MOST_FRAMES = 113
DEFAULT_PICTURE_PX = 224
PICTURE_PX_RANGE = (96, 480)

_DPI = 100
_PLOT_WIDTH = 1.9  # of the plot, in sides of a picture
_FAINT = 0.25  # how much of the curves' part ahead is seen

UInt8Array = npt.NDArray[np.uint8]


def write_film(
    path: str | Path,
    perturbed: PerturbedPictures,
    curves: Curves,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    *,
    frames: int = DEFAULT_FRAMES,
    picture_px: int = DEFAULT_PICTURE_PX,
) -> None:
    """Write the curves as a film; see `film_frames`. An MP4 takes about 0.1 s a frame.

    Args:
        path: ends in .mp4 or .gif; nothing else is written.
        perturbed: as in `film_frames`, and so all that follows.

    Raises:
        GroupCamError: a value is not possible, or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".mp4", ".gif"):
        raise GroupCamError(
            f"The film's path must end in .mp4 or .gif; got '{Path(path).name}'. Choose one."
        )
    write = write_mp4 if suffix == ".mp4" else write_gif
    write(
        film_frames(
            perturbed, curves, preprocessing, class_names, frames=frames, picture_px=picture_px
        ),
        path,
    )


def film_frames(
    perturbed: PerturbedPictures,
    curves: Curves,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    *,
    frames: int = DEFAULT_FRAMES,
    picture_px: int = DEFAULT_PICTURE_PX,
) -> Iterator[UInt8Array]:
    """Yield the frames of the film, one after the other, uint8 (H, W, 3) of one even size.

    Each shows a point of the curves: the picture with that fraction of its most salient pixels put
    back (insertion) and taken away (deletion), the probability of the class in both, the class
    that is most probable then, and both curves with a marker at the point.

    Args:
        perturbed: the picture, the baselines and the order of the pixels.
        curves: of the same picture and map.
        preprocessing: of the backbone; it turns inputs back into pictures.
        class_names: of the backbone, (K,).
        frames: at most so many, 2 to MOST_FRAMES; both ends are always shown. With fewer points
            than that, every point is a frame.
        picture_px: longer side of a perturbed picture, within PICTURE_PX_RANGE; a frame is about
            four times as wide.

    Raises:
        GroupCamError: a value is outside its range, or the curves are of another picture size.
    """
    if not 2 <= frames <= MOST_FRAMES:
        raise GroupCamError(f"frames must be between 2 and {MOST_FRAMES}; got {frames}.")
    if not PICTURE_PX_RANGE[0] <= picture_px <= PICTURE_PX_RANGE[1]:
        low, high = PICTURE_PX_RANGE
        raise GroupCamError(f"picture_px must be between {low} and {high}; got {picture_px}.")
    pixels = changed_pixels(perturbed.rank.numel(), curves.protocol)
    points = len(curves.fractions)
    if len(pixels) != points:
        raise GroupCamError(
            f"The curves must be those of the picture; they have {points} points where its "
            f"{perturbed.rank.numel()} pixels give {len(pixels)}. Pass the ones made together."
        )
    stage = _Stage(
        curves, class_names, (perturbed.rank.shape[0], perturbed.rank.shape[1]), picture_px
    )
    for place in np.unique(np.linspace(0, points - 1, min(frames, points)).round().astype(int)):
        count = pixels[place : place + 1].to(perturbed.rank.device)
        with torch.no_grad():
            inserted = preprocessing.to_rgb(perturbed.inserted(count))[0]
            deleted = preprocessing.to_rgb(perturbed.deleted(count))[0]
        yield stage.frame(int(place), inserted, deleted)


class _Stage:
    """All that stays the same from frame to frame, and where the rest goes."""

    def __init__(
        self, curves: Curves, class_names: Sequence[str], size_hw: tuple[int, int], picture_px: int
    ) -> None:
        """Draw the background once: drawing a plot takes longer than everything else."""
        self._curves, self._names = curves, class_names
        scale = picture_px / max(size_hw)
        self._size = (max(1, round(size_hw[1] * scale)), max(1, round(size_hw[0] * scale)))  # W, H
        unit = picture_px / 224
        self._gap = round(14 * unit)
        self._line = round(19 * unit)
        self._fonts = (_font(round(14 * unit), "bold"), _font(round(13 * unit)))
        self._radius = 5.0 * unit
        self._top = self._gap + round(1.5 * self._line)
        self._lefts = (self._gap, 2 * self._gap + self._size[0])
        self._plot_left = self._lefts[1] + self._size[0] + self._gap
        height = self._top + self._size[1] + round(3.6 * self._line) + self._gap
        plot_width = round(_PLOT_WIDTH * picture_px)
        # At least as high as a plot needs, for very broad pictures; even, as MP4 wants it.
        self._height = max(height, round(0.6 * plot_width)) // 2 * 2
        self._width = (self._plot_left + plot_width) // 2 * 2
        self._full, self._faint = self._backgrounds(unit)

    def frame(self, place: int, inserted: UInt8Array, deleted: UInt8Array) -> UInt8Array:
        """Return the frame of one point of the curves."""
        fraction = float(self._curves.fractions[place])
        marker_x = self._at(fraction, 0)[0]
        split = round(marker_x)
        canvas = np.concatenate([self._full[:, :split], self._faint[:, split:]], axis=1)
        cv2.line(canvas, (split, self._plot_top), (split, self._plot_bottom), (150,) * 3, 1)
        sides = (
            (self._curves.insertion, INSERTION_COLOR, inserted),
            (self._curves.deletion, DELETION_COLOR, deleted),
        )
        for left, (values, color, picture) in zip(self._lefts, sides, strict=True):
            self._draw_marker(canvas, self._at(fraction, float(values[place])), _rgb(color))
            shown = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
            canvas[self._top : self._top + self._size[1], left : left + self._size[0]] = shown
        image = Image.fromarray(canvas)
        self._write_texts(ImageDraw.Draw(image), place, fraction)
        return np.array(image)

    def _write_texts(self, draw: ImageDraw.ImageDraw, place: int, fraction: float) -> None:
        """Write what belongs to the point under both pictures."""
        curves = self._curves
        bold, plain = self._fonts
        label = self._names[curves.class_index]
        sides = (
            (curves.insertion, curves.insertion_top_class, f"{fraction:.0%} shown"),
            (curves.deletion, curves.deletion_top_class, f"{fraction:.0%} removed"),
        )
        for left, (values, top_class, what) in zip(self._lefts, sides, strict=True):
            below = self._top + self._size[1] + round(0.35 * self._line)
            top = self._names[int(top_class[place])]
            number = f" {float(values[place]):.1%}"
            room = self._size[0] - bold.getlength(number)
            lines = (
                (what, plain, TEXT_COLOR),
                (_fitted(label, bold, room) + number, bold, TEXT_COLOR),
                (_fitted(f"top class: {top}", plain, self._size[0]), plain, QUIET_COLOR),
            )
            for row, (text, font, color) in enumerate(lines):
                draw.text((left, below + row * self._line), text, font=font, fill=color)

    def _backgrounds(self, unit: float) -> tuple[UInt8Array, UInt8Array]:
        """Return the frame without its moving parts, with the curves full and faint."""
        curves = self._curves
        figure = new_figure(self._width / _DPI, self._height / _DPI)
        figure.set_dpi(_DPI)
        axes = figure.add_axes(
            (
                (self._plot_left + 50 * unit) / self._width,
                48 * unit / self._height,
                (self._width - self._plot_left - 66 * unit) / self._width,
                (self._height - self._top - 60 * unit) / self._height,
            )
        )
        drawn = [
            axes.plot(curves.fractions, values, color=color, linewidth=2 * unit, linestyle=style)[0]
            for values, color, style in (
                (curves.insertion, INSERTION_COLOR, "-"),
                (curves.deletion, DELETION_COLOR, "--"),
            )
        ]
        finish_curves(axes, self._names[curves.class_index])
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels()):
            text.set_fontsize(9.5 * unit)
        axes.tick_params(labelsize=8.5 * unit)
        pictures = []
        for alpha in (1.0, _FAINT):
            for line in drawn:
                line.set_alpha(alpha)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="rgba", dpi=_DPI, facecolor="white")
            rgba = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
            pictures.append(self._with_titles(rgba.reshape(self._height, self._width, 4)[:, :, :3]))
        corners = axes.transData.transform(np.array([[0.0, 0.0], [1.0, 1.0]]))
        self._origin, self._span = corners[0], corners[1] - corners[0]
        self._plot_bottom, self._plot_top = (round(self._at(0, y)[1]) for y in (0, 1))
        return pictures[0], pictures[1]

    def _with_titles(self, canvas: npt.NDArray[np.uint8]) -> UInt8Array:
        """Return the background with the headings of pictures and curves."""
        image = Image.fromarray(np.ascontiguousarray(canvas))
        draw = ImageDraw.Draw(image)
        bold, plain = self._fonts
        curves = self._curves
        headings = (("Insertion", INSERTION_COLOR), ("Deletion", DELETION_COLOR))
        for left, (name, color) in zip(self._lefts, headings, strict=True):
            draw.text((left, self._gap), name, font=bold, fill=color)
        start = float(self._plot_left + self._line)
        areas = (curves.insertion_auc, curves.deletion_auc)
        for (name, color), area, sign in zip(headings, areas, "↑↓", strict=True):
            text = f"{name} AUC {area:.3f} {sign}"
            draw.text((start, self._gap), text, font=plain, fill=color)
            start += plain.getlength(text) + self._line
        return np.array(image)

    def _at(self, fraction: float, value: float) -> tuple[float, float]:
        """Return where a point of a curve lies, (x, y) in pixels from the top left."""
        x, y = self._origin + self._span * (fraction, value)
        return float(x), float(self._height - y)

    def _draw_marker(
        self, canvas: UInt8Array, at: tuple[float, float], color: tuple[int, int, int]
    ) -> None:
        """Draw a disc with a white rim, placed to a sixteenth of a pixel."""
        centre = (round(at[0] * 16), round(at[1] * 16))
        for radius, fill in ((1.4 * self._radius, (255, 255, 255)), (self._radius, color)):
            cv2.circle(canvas, centre, round(radius * 16), fill, -1, cv2.LINE_AA, shift=4)


def _font(size_px: int, weight: str = "regular") -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings along, the same on every machine."""
    wanted = font_manager.FontProperties(family="DejaVu Sans", weight=weight)
    return ImageFont.truetype(font_manager.findfont(wanted), max(size_px, 6))


def _fitted(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Return the text on one line, cut to so many pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1].rstrip()
    return f"{text}…"


def _rgb(color: str) -> tuple[int, int, int]:
    """Return "#RRGGBB" as numbers."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
