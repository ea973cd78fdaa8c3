"""The logits in what a network answers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.language import say


def logits_of(answer: object, batch: int) -> Tensor:
    """Return the logits (N, K) in a network's answer: itself, its "logits", or its first entry.

    Raises:
        GroupCamError: there is no (N, K) tensor with N = `batch`.
    """
    if isinstance(answer, Mapping):
        answer = answer["logits"] if "logits" in answer else next(iter(answer.values()), None)
    elif isinstance(answer, Sequence):
        answer = answer[0] if len(answer) else None
    if not isinstance(answer, Tensor) or answer.ndim != 2 or answer.shape[0] != batch:
        found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise GroupCamError(
            f"The network must give logits (N, K), here ({batch}, K); got {found}. "
            "Choose a classifier, or wrap the network so that it returns its logits."
        )
    return answer


def check_finite(values: Tensor, network: str) -> None:
    """Refuse logits, or probabilities made of them, that are no numbers.

    Raises:
        GroupCamError: one is NaN or infinite.
    """
    if not torch.isfinite(values).all():
        raise GroupCamError(say("refused.logits_not_finite", backbone=network))
