"""How alike two maps are: Pearson, Spearman and SSIM.

All three are 1 for equal maps, and a higher value means more alike.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.errors import GroupCamError

# Wang, Bovik, Sheikh, Simoncelli 2004, section III.C.
SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def pearson(first: Tensor, second: Tensor) -> float:
    """Return the linear correlation of two maps of one size, in [-1, 1].

    1 for two flat maps, 0 where only one is flat.

    Known flaw: one bright spot that both share outweighs everything else.
    """
    _check_same_size(first, second)
    values = torch.stack([first.flatten(), second.flatten()]).double()
    is_flat = values.amax(dim=1) == values.amin(dim=1)
    if is_flat.any():
        return float(is_flat.all())
    return float(torch.corrcoef(values)[0, 1].clamp(-1, 1))


def spearman(first: Tensor, second: Tensor) -> float:
    """Return the rank correlation of two maps of one size, in [-1, 1].

    The linear correlation of the ranks; equal values share their mean rank. 1 for two flat maps, 0
    where only one is flat.

    Known flaw: it counts the order among pixels that hardly matter as much as that of the others.
    """
    _check_same_size(first, second)
    return pearson(_mean_ranks(first), _mean_ranks(second))


def ssim(first: Tensor, second: Tensor, value_range: float = 1.0) -> float:
    """Return the structural similarity of two maps of one size, in [-1, 1].

    The mean over all windows of 11 x 11 pixels that fit into the maps, weighted by a Gaussian of
    sigma 1.5, of
    (2 m1 m2 + c1)(2 cov + c2) / ((m1^2 + m2^2 + c1)(var1 + var2 + c2)), with c = (k range)^2 and
    k1 = 0.01, k2 = 0.03. Along an axis that is shorter the window is as short.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli 2004, doi:10.1109/TIP.2003.819861.

    Known flaw: large areas where both maps are empty count as perfectly alike.

    Args:
        first: (H, W).
        second: (H, W).
        value_range: how far apart two values may be; 1 for saliency maps.
    """
    _check_same_size(first, second)
    height, width = (min(SSIM_WINDOW_PX, side) for side in first.shape)
    window = torch.outer(_gaussian(height), _gaussian(width))[None, None]
    x, y = first.double()[None, None], second.double()[None, None]
    moments = torch.cat([x, y, x * x, y * y, x * y])  # (5, 1, H, W)
    mean_x, mean_y, xx, yy, xy = F.conv2d(moments, window)[:, 0]
    c1, c2 = (SSIM_K1 * value_range) ** 2, (SSIM_K2 * value_range) ** 2
    # Rounding may leave a variance of -1e-17.
    variances = (xx - mean_x**2).clamp(min=0) + (yy - mean_y**2).clamp(min=0)
    alike = (2 * mean_x * mean_y + c1) * (2 * (xy - mean_x * mean_y) + c2)
    return float((alike / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))).mean())


def _mean_ranks(values: Tensor) -> Tensor:
    """Return the rank of every value, float64, (M,)."""
    _, place, counts = values.flatten().unique(return_inverse=True, return_counts=True)
    ends = counts.cumsum(0).double()
    ranks: Tensor = (ends - (counts - 1) / 2)[place]
    return ranks


def _gaussian(size: int) -> Tensor:
    """Return the weights of one axis of the window, (size,), of sum 1."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA_PX**2))
    return weights / weights.sum()


def _check_same_size(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.numel() == 0:
        raise GroupCamError(
            "Two maps must have one size to be compared; got "
            f"{tuple(first.shape)} and {tuple(second.shape)}. Resize one of them."
        )
