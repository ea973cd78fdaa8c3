"""Fixtures that many tests share."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from groupcam.models import DEFAULT_BACKBONE, Backbone, load_backbone
from tests.support import PixelSum, TinyCnn, as_backbone


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def tiny_cnn() -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(9)
        network = TinyCnn()
    network.head.weight.data *= 30  # so that a mask changes the probabilities clearly
    return as_backbone(network)


@pytest.fixture
def pixel_sum() -> Backbone:
    return as_backbone(PixelSum(), size=(4, 4), classes=2)


@pytest.fixture
def tiny_inputs(generator: torch.Generator) -> Tensor:
    """Three pictures of 32 x 32, smooth enough for masks to make a difference."""
    coarse = torch.rand(3, 3, 6, 6, generator=generator) * 2 - 1
    return F.interpolate(coarse, size=(32, 32), mode="bilinear")


@pytest.fixture(scope="session")
def lite0() -> Iterator[Backbone]:
    """The default backbone with its bundled weights; that tests leave it as found is checked."""
    backbone = load_backbone(DEFAULT_BACKBONE)
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    yield backbone
    for name, value in backbone.network.state_dict().items():
        assert torch.equal(value, before[name]), name
