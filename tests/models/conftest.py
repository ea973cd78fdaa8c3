"""Small networks whose layers are known by construction."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from groupcam.models import Backbone, Preprocessing


class Block(nn.Module):
    """A convolution and a ReLU that overwrites its input."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.act(self.conv(inputs))
        return outputs


class Blocks(nn.Module):
    """Stem, two stages of blocks, head: 3 x 32 x 32 -> 5 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.stages = nn.Sequential(
            nn.Sequential(Block(4, 6, stride=2), Block(6, 6)),
            nn.Sequential(Block(6, 8, stride=2)),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.unused = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.stages(self.stem(inputs))).flatten(1))
        return logits


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep to one thread: single pictures gain little from more, a busy machine loses much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def blocks() -> Backbone:
    torch.manual_seed(0)
    network = Blocks()
    # Positive weights keep every ReLU open, so every layer has a gradient.
    for parameter in network.parameters():
        parameter.data.abs_()
    return Backbone.from_module(network, Preprocessing((32, 32)), name="blocks")


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
