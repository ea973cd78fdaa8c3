"""Sanity checks: does the map change when the network forgets what it learnt?

Layers are given random weights, from the logits down to the input: in a cascade (each layer on top
of the ones before) or independently (one at a time, the others as trained). After each, the map of
the same picture and class is compared with the trained network's: Spearman's rank correlation in
[-1, 1] and SSIM in [-1, 1]. Lower is better; about 1 means that the map shows the picture's edges
and not what the network learnt. Costs 1 + L maps a picture, L layers.

Random weights are drawn from a normal distribution with the mean and deviation of the trained
tensor, so that activations keep their size. Norm layers, and parameters that belong to no layer
(position embeddings), stay as they are.

Reference:
    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, arXiv:1810.03292.

Known flaw: two maps that both follow the objects of a picture are alike for a good reason, and
SSIM counts common empty areas.
"""

import copy
import dataclasses
import threading
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError, did_you_mean
from groupcam.metrics.map_of import MapOf, maps_of
from groupcam.metrics.similarity import spearman, ssim
from groupcam.models import Backbone

Order = Literal["cascading", "independent"]


@dataclass(frozen=True, eq=False)
class RandomizedLayer:
    """How alike the maps of N pictures are after one step."""

    layer: str  # the one that was randomised last
    spearman: Tensor  # (N,)
    ssim: Tensor  # (N,)


def randomization_steps(
    backbone: Backbone,
    inputs: Tensor,
    class_index: Tensor,
    map_of: MapOf,
    *,
    order: Order = "cascading",
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> Generator[RandomizedLayer, None, tuple[RandomizedLayer, ...]]:
    """Randomise a copy of the network layer by layer; the backbone itself is not touched.

    Args:
        backbone: see `load_backbone`.
        inputs: normalised pictures, (N, 3, H, W), on the backbone's device.
        class_index: the class of each picture, (N,).
        map_of: the method; it is given the copies.
        order: whether randomised layers stay so ("cascading") or not ("independent").
        layers: names of modules from the logits down, each randomised as a whole; None takes all of
            `randomizable_layers`.
        seed: of the random weights; a layer's do not depend on the order or on other layers.

    Yields:
        The result of every layer.

    Returns:
        The results of all layers.

    Raises:
        GroupCamError: a layer or the order is unknown.
    """
    if order not in get_args(Order):
        raise GroupCamError(f"order must be one of {', '.join(get_args(Order))}; got {order!r}.")
    names = list(randomizable_layers(backbone)) if layers is None else list(layers)
    _check_names(backbone.network, names)
    private = _private_copy(backbone)
    trained = maps_of(map_of, private, inputs, class_index)
    steps: list[RandomizedLayer] = []
    for name in names:
        # A copy a step: methods may keep what they know of a backbone, so none changes its weights.
        before = private
        private = _private_copy(before)
        randomize(private.network.get_submodule(name), seed + zlib.crc32(name.encode()))
        maps = maps_of(map_of, private, inputs, class_index)
        pairs = list(zip(trained, maps, strict=True))
        steps.append(
            RandomizedLayer(
                name,
                spearman=torch.tensor([spearman(*pair) for pair in pairs]),
                ssim=torch.tensor([ssim(*pair) for pair in pairs]),
            )
        )
        if order == "independent":
            private = before
        yield steps[-1]
    return tuple(steps)


def randomizable_layers(backbone: Backbone) -> tuple[str, ...]:
    """Return the modules with a weight matrix or kernel, from the logits down to the input.

    In the order in which one forward pass reaches them, reversed. Of modules within each other
    only the innermost counts.
    """
    with backbone.frozen(), torch.no_grad(), _calls(backbone.network) as called:
        backbone.logits(torch.zeros(1, 3, *backbone.preprocessing.input_size).to(backbone.device))
    inner = [
        name
        for name in called
        if not any(other != name and _is_inside(other, name) for other in called)
    ]
    return tuple(reversed(inner))


def randomize(module: nn.Module, seed: int) -> None:
    """Give all parameters of a module random values with their own mean and deviation, in place."""
    # Drawn on the CPU: the same on every device.
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                deviation, mean = torch.std_mean(parameter.float().cpu(), correction=0)
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(mean + deviation * noise)


def _private_copy(backbone: Backbone) -> Backbone:
    with backbone.lock:
        network = copy.deepcopy(backbone.network)
    return dataclasses.replace(backbone, network=network, lock=threading.RLock())


@contextmanager
def _calls(network: nn.Module) -> Iterator[list[str]]:
    """Note which modules with a weight matrix of their own run, by their first call."""
    called: list[str] = []

    def hook_for(name: str) -> "torch.utils.hooks.RemovableHandle":
        def note(_module: nn.Module, _inputs: object) -> None:
            if name not in called:
                called.append(name)

        return network.get_submodule(name).register_forward_pre_hook(note)

    handles = [
        hook_for(name)
        for name, module in network.named_modules()
        if name and any(p.ndim >= 2 for p in module.parameters(recurse=False))
    ]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


def _is_inside(name: str, outer: str) -> bool:
    return name.startswith(f"{outer}.")


def _check_names(network: nn.Module, names: Sequence[str]) -> None:
    known = [name for name, _ in network.named_modules() if name]
    for name in names:
        if name not in known:
            raise GroupCamError(
                f"A layer must be a module of the network; got '{name}'.{did_you_mean(name, known)}"
            )
