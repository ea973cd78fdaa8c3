"""What many tests share: tiny networks with known answers, the bundled network, reference figures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groupcam.models import Backbone, Preprocessing, load_backbone

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "assets" / "examples"
REFERENCE_PICTURES = ("chelsea", "coffee", "rocket")


class TinyCnn(nn.Module):
    """Two 3x3 layers, a ReLU in place, a 2x pool, a linear head: small, not trivial."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).mean(dim=(2, 3)))
        return logits


class PixelSum(nn.Module):
    """Class 0 has log-odds equal to the scaled mean of all pixels: more bright, more probable."""

    def __init__(self) -> None:
        super().__init__()
        self.identity = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.identity.weight)

    def forward(self, x: Tensor) -> Tensor:
        total = self.identity(x).mean(dim=(1, 2, 3))
        return torch.stack([total, torch.zeros_like(total)], dim=1)


def as_backbone(network: nn.Module, size: tuple[int, int] = (32, 32), classes: int = 3) -> Backbone:
    """Return a hand-made network as a backbone with mean and deviation 0.5."""
    return Backbone(
        name="test/network",
        network=network.eval(),
        preprocessing=Preprocessing(input_size=size, mean=(0.5,) * 3, std=(0.5,) * 3),
        class_names=tuple(f"class {index}" for index in range(classes)),
    )


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
    backbone = load_backbone("timm/tf_efficientnet_lite0")
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    yield backbone
    for name, value in backbone.network.state_dict().items():
        assert torch.equal(value, before[name]), name


class Reference:
    """The figures of one reference picture; see fixtures/README.md."""

    def __init__(self, name: str) -> None:
        self._figures = np.load(Path(__file__).parent / "fixtures" / f"{name}.npz")
        picture = torch.from_numpy(self._figures["picture"])
        self.inputs = (picture.permute(2, 0, 1)[None] / 127.5 - 1).contiguous()  # (1, 3, 224, 224)
        self.class_index = int(self._figures["class_index"])

    def __getitem__(self, key: str) -> npt.NDArray[np.float32]:
        figures: npt.NDArray[np.float32] = self._figures[key]
        return figures


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Reference]:
    return Reference
