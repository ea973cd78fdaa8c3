"""Short settings for every method, and networks whose maps lie in other layouts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from groupcam import METHODS, GroupCamConfig
from groupcam.models import Backbone, TargetLayer, resolve_target_layer
from groupcam.saliency.methods import Maps
from groupcam.steps import finish

QUICK: dict[str, dict[str, Any]] = {
    "group_cam": {"config": GroupCamConfig(groups=4)},
    "group_cam_paper": {"config": GroupCamConfig(groups=4)},
    "group_cam_official": {"config": GroupCamConfig(groups=4, percentile=None, merge="raw")},
    "smooth_grad_cam_pp": {"samples": 3},
    "rise": {"masks": 10},
    "occlusion": {"cells": 4},
    "integrated_gradients": {"points": 5},
    "smooth_grad": {"samples": 5},
}
"""Options that make a method quick; those not named are quick enough."""


def figures() -> dict[str, npt.NDArray[np.floating]]:
    """Other packages' figures; see fixtures/README.md."""
    return dict(np.load(Path(__file__).parents[2] / "fixtures" / "methods.npz"))


def run_method(
    name: str,
    backbone: Backbone,
    inputs: Tensor,
    layer: str | TargetLayer | None = None,
    class_index: int | Tensor = 0,
    **options: Any,
) -> Maps:
    """Run a method to its end, with its own defaults where no options are given."""
    if not isinstance(layer, TargetLayer):
        layer = resolve_target_layer(backbone, layer)
    if isinstance(class_index, int):
        class_index = torch.full((len(inputs),), class_index)
    return finish(METHODS[name].steps(backbone, inputs, layer, class_index, **options))


def map_of(*arguments: Any, **options: Any) -> Tensor:
    """The saliency maps alone, (N, H, W); arguments as for `run_method`."""
    return run_method(*arguments, **options).saliency_map


@contextmanager
def counted_pictures(network: nn.Module) -> Iterator[list[int]]:
    """Note how many pictures each forward pass shows the network."""
    shown: list[int] = []
    handle = network.register_forward_pre_hook(lambda _, inputs: shown.append(len(inputs[0])))
    try:
        yield shown
    finally:
        handle.remove()


class Marked(nn.Module):
    """A linear network over a map (2, 4, 4), which the module `mark` gives in some layout.

    logits = head(mean over the cells of relu(map)); the map is a fixed linear image of the input,
    (3, 8, 8), whose own layout is undone right after `mark`.
    """

    def __init__(self, mark: nn.Module) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.stem = nn.Conv2d(3, 2, 2, stride=2)
        self.head = nn.Linear(2, 3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.mark = mark

    def forward(self, x: Tensor) -> Tensor:
        maps = self.mark.undo(self.mark(self.mark.arrange(self.stem(x))))  # type: ignore[operator]
        logits: Tensor = self.head(maps.relu().mean(dim=(2, 3)))
        return logits


class AsIs(nn.Module):
    """(N, C, h, w) as a new tensor."""

    layout = TargetLayer(name="mark", layout="NCHW", shape=(2, 4, 4), usable=True)

    def arrange(self, maps: Tensor) -> Tensor:
        return maps

    def forward(self, arranged: Any) -> Any:
        return arranged * 1

    def undo(self, output: Any) -> Tensor:
        maps: Tensor = output
        return maps


class HandedOn(AsIs):
    """The very tensor that came in, which the network goes on to use by its other name."""

    def arrange(self, maps: Tensor) -> Tensor:
        self._kept = maps
        return maps

    def forward(self, arranged: Any) -> Any:
        return arranged

    def undo(self, output: Any) -> Tensor:
        return self._kept


class ChannelsLast(AsIs):
    """(N, h, w, C)."""

    layout = TargetLayer(name="mark", layout="NHWC", shape=(2, 4, 4), usable=True)

    def arrange(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1)

    def undo(self, output: Any) -> Tensor:
        maps: Tensor = output.permute(0, 3, 1, 2)
        return maps


class Tokens(AsIs):
    """(N, 1 + h * w, C) in a dictionary inside a tuple, after a class token."""

    layout = TargetLayer(
        name="mark",
        layout="tokens",
        shape=(2, 4, 4),
        usable=True,
        prefix_tokens=1,
        path=(1, "tokens"),
    )

    def arrange(self, maps: Tensor) -> Tensor:
        cells = maps.flatten(2).transpose(1, 2)
        return torch.cat([cells.mean(1, keepdim=True) + 5, cells], dim=1)

    def forward(self, arranged: Any) -> Any:
        return (arranged[:, 0], {"tokens": arranged * 1})

    def undo(self, output: Any) -> Tensor:
        cells: Tensor = output[1]["tokens"][:, 1:]
        return cells.transpose(1, 2).reshape(-1, 2, 4, 4)


class TokensLast(AsIs):
    """(N, C, h * w)."""

    layout = TargetLayer(name="mark", layout="tokens_last", shape=(2, 4, 4), usable=True)

    def arrange(self, maps: Tensor) -> Tensor:
        return maps.flatten(2)

    def undo(self, output: Any) -> Tensor:
        maps: Tensor = output.unflatten(2, (4, 4))
        return maps


class SecondCall(AsIs):
    """Turns the signs; runs twice in a pass, and its second output is the map."""

    layout = TargetLayer(name="mark", layout="NCHW", shape=(2, 4, 4), usable=True, call=1)

    def forward(self, arranged: Any) -> Any:
        return -arranged

    def undo(self, output: Any) -> Tensor:
        maps: Tensor = self(output)
        return maps


NO_LAYER = AsIs.layout
"""For methods that ignore the layer, and networks that have none."""

LAYOUTS = (AsIs, HandedOn, ChannelsLast, Tokens, TokensLast, SecondCall)
