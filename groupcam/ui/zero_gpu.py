"""Forward passes on a ZeroGPU Space, whose GPU is lent to single calls of a function.

Networks stay on the CPU of the page's process, where activations and gradients are captured: one
pass forth and back. The many masked forwards go, a batch a call, to a process of the package
`spaces`, a fork of this one that has the GPU during the call and keeps its networks between calls.
"""

import functools
import logging
import time
import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.models import Backbone, load_backbone
from groupcam.models.pool import BackboneKey
from groupcam.saliency import engine
from groupcam.saliency.engine import Plan
from groupcam.saliency.graph import fingerprint_of

DEVICE = "zerogpu"  # in GROUPCAM_DEVICE
CALL_S = 20  # asked for at each call: loading a network anew takes most of it
CALL_BYTES = 40 * 2**20  # of inputs, which are copied to the other process: 69 at 224 x 224
REST_S = 20.0  # after a call that failed, mostly because a visitor's share of the GPU was used up
MOST_ON_GPU = 8  # networks
GPU = "cuda"

logger = logging.getLogger(__name__)


def logits_on_gpu(key: BackboneKey, inputs: Tensor) -> Tensor:
    """Return logits (M, K) of inputs (M, 3, H, W), all on the CPU; runs where the GPU is."""
    backbone = _on_gpu(key)
    with backbone.frozen(), torch.no_grad():
        there = inputs.to(backbone.device, memory_format=torch.channels_last)
        return backbone.logits(there).cpu()


@functools.lru_cache(MOST_ON_GPU)
def _on_gpu(key: BackboneKey) -> Backbone:
    torch.set_num_threads(1)  # the fork of a process with several threads could wait for ever
    return load_backbone(key.name, key.weights, GPU, input_size=key.input_size)


class LentGpu:
    """One network's forwards in that process; on this one's CPU while there is no GPU."""

    def __init__(
        self,
        key: BackboneKey,
        backbone: Backbone,
        lend: Callable[[BackboneKey, Tensor], Tensor],
    ) -> None:
        self._key = key
        self._backbone = weakref.ref(backbone)  # whose plan this is
        self._lend = lend
        self._fingerprint = fingerprint_of(backbone.network)
        self._rests_until = 0.0

    def stands_for(self, network: nn.Module, size: tuple[int, int]) -> bool:
        """Return whether the network still is that of its key, and nothing observes it."""
        backbone = self._backbone()
        return (
            backbone is not None
            and size == backbone.preprocessing.input_size
            and self._fingerprint is not None
            and fingerprint_of(network) == self._fingerprint
        )

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return logits (M, K) of inputs (M, 3, H, W)."""
        if time.monotonic() >= self._rests_until:
            try:
                return self._lend(self._key, inputs)
            except Exception as error:  # of `spaces`, which has none of its own
                logger.warning("%s runs on the CPU for a while: %s", self._key.text, error)
                self._rests_until = time.monotonic() + REST_S
        backbone = self._backbone()
        assert backbone is not None  # who calls holds it
        parts = inputs.split(engine.MICRO_BATCH_CPU)
        return torch.cat([engine.eager(backbone, part) for part in parts])


def lender() -> Callable[[BackboneKey, Backbone], None]:
    """Return what lets a loaded backbone use the GPU that is lent; call it before the launch.

    Raises:
        GroupCamError: the package that lends it is not there.
    """
    try:
        import spaces  # only where it is needed: it changes torch
    except ImportError as error:
        raise GroupCamError(
            f"GROUPCAM_DEVICE={DEVICE} needs the package spaces, which ZeroGPU Spaces have; it is "
            "not installed. Choose cpu or cuda elsewhere."
        ) from error
    lend = spaces.GPU(duration=CALL_S)(logits_on_gpu)

    def prepare(key: BackboneKey, backbone: Backbone) -> None:
        height, width = backbone.preprocessing.input_size
        at_once = max(1, CALL_BYTES // (4 * 3 * height * width))
        engine.use(backbone, Plan(at_once, LentGpu(key, backbone, lend)))

    return prepare
