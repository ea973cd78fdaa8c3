"""Insertion and deletion fidelity: how long the decision stays the original one.

The retained fraction at a point is the fraction of pictures whose top class is still that of the
whole picture; the fidelity is the area under it against the fraction of pixels changed, in [0, 1]:
insertion fidelity better when high, deletion fidelity when low. A picture's own area is that of its
0/1 curve, and the mean of these areas is the area under the fraction. Costs nothing beyond the
curves, whose points keep whether the top class is the original one (`curves.CurvesBatch`).

Reference:
    The agreement of top-1 decisions, "post-hoc accuracy" in Chen, Song, Wainwright, Jordan 2018
    (L2X, arXiv:1802.07814), taken along RISE's curves (arXiv:1806.07421).

Known flaw: a decision may stay the original one at any probability, and a class that an empty
picture gets anyway is retained throughout.
"""

from torch import Tensor

from groupcam.metrics.areas import area_under_curve


def fidelity_auc(retained: Tensor, fractions: Tensor) -> Tensor:
    """Return the area under each picture's 0/1 curve, (N,) in [0, 1].

    Args:
        retained: bool (N, S+1), `insertion_retained` or `deletion_retained` of the curves.
        fractions: (S+1,), those of the curves.
    """
    return area_under_curve(retained.float(), fractions)


def retained_fraction(retained: Tensor) -> Tensor:
    """Return at each point the fraction of N pictures whose decision is the original, (S+1,).

    Args:
        retained: bool (N, S+1), N >= 1.
    """
    return retained.float().mean(dim=0)
