"""Occlusion: how much less probable the class is with a window of the picture covered.

    S at a pixel = mean over the windows that cover it of (p_c(x) - p_c(x with the window covered))

Zeiler, Fergus 2013, arXiv:1311.2901, figure 7. The picture is cut into a grid of cells; a window
of `window` x `window` cells slides by one cell; what it covers is 0 in normalised space, a grey.
The map shows what the class needs. Costs one forward pass and one for every window, 170 by
default. Flaw: an object larger than the window, or there twice, is never covered whole.
"""

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.models import Backbone, TargetLayer
from groupcam.saliency.methods.base import (
    Method,
    Progress,
    Steps,
    require_at_least,
    require_room,
    size_of,
    to_maps,
    without_rounding,
)
from groupcam.saliency.methods.passes import in_micro_batches
from groupcam.saliency.scoring import probabilities
from groupcam.steps import relay


def occlusion(
    backbone: Backbone,
    inputs: Tensor,
    layer: TargetLayer,
    class_index: Tensor,
    *,
    cells: int = 14,
    window: int = 2,
) -> Steps:
    """Return the steps of occlusion; see `Method`.

    Args:
        cells: side of the grid, at most the picture's in pixels.
        window: side of the window in cells, at most `cells`.
    """
    require_at_least("window", window, 1)
    require_at_least("cells", cells, window)
    if cells > min(size_of(inputs)):
        raise GroupCamError(
            f"cells must be at most {min(size_of(inputs))}, the picture's side in pixels; "
            f"got {cells}. Choose fewer."
        )
    height, width = size_of(inputs)
    require_room("cells", cells, (cells - window + 1) ** 2 * height * width)
    windows = place_windows(size_of(inputs), cells, window).to(inputs.device)  # (R, H, W)
    shown = torch.cat([torch.zeros_like(windows[:1]), windows]).logical_not()  # first: all
    count, jobs = len(inputs), len(inputs) * len(shown)

    def run(chosen: slice) -> Tensor:
        numbers = torch.arange(chosen.start, chosen.stop, device=inputs.device)
        picture, which = numbers // len(shown), numbers % len(shown)
        covered = inputs[picture] * shown[which][:, None]
        return probabilities(backbone, covered, class_index[picture])

    scored = yield from relay(
        in_micro_batches(backbone, jobs, run), lambda done: Progress(done, jobs)
    )
    probability = torch.cat(scored).unflatten(0, (count, len(shown)))
    losses = without_rounding(probability[:, :1] - probability[:, 1:], probability[:, :1])  # (N, R)
    covers = windows.to(inputs)
    raw = torch.einsum("nr,rhw->nhw", losses, covers) / covers.sum(0)
    return to_maps(raw, size_of(inputs), len(shown), 0)


def place_windows(size: tuple[int, int], cells: int, window: int) -> Tensor:
    """Return which pixels each window covers, bool (R, H, W), row by row; R = (cells-window+1)^2.

    Every pixel is covered by at least one window.
    """
    covers = []  # of rows, of columns: bool (cells - window + 1, length)
    for length in size:
        cell = torch.arange(length) * cells // length  # the cell of each pixel
        first = torch.arange(cells - window + 1)[:, None]
        covers.append((cell >= first) & (cell < first + window))
    rows, columns = covers
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


METHODS = (Method("occlusion", "Occlusion", "arXiv:1311.2901", "perturbation", occlusion),)
