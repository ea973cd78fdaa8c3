"""Tiny networks with known answers and the authors' figures, for tests to build from."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from groupcam.models import Backbone, Preprocessing

ROOT = Path(__file__).resolve().parent.parent


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


def head_of(backbone: Backbone) -> nn.Linear:
    """Return the linear head of the `tiny_cnn` fixture, for a test to change."""
    head = backbone.network.get_submodule("head")
    assert isinstance(head, nn.Linear)
    return head


class Reference:
    """The authors' figures of one picture; see fixtures/README.md."""

    def __init__(self, name: str) -> None:
        self._figures = np.load(Path(__file__).parent / "fixtures" / f"{name}.npz")
        picture = torch.from_numpy(self._figures["picture"])
        self.inputs = (picture.permute(2, 0, 1)[None] / 127.5 - 1).contiguous()  # (1, 3, 224, 224)
        self.class_index = int(self._figures["class_index"])

    def __getitem__(self, key: str) -> npt.NDArray[np.float32]:
        figures: npt.NDArray[np.float32] = self._figures[key]
        return figures
