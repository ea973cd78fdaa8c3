"""Other packages' methods, where they are installed: pytorch-grad-cam and torch-cam.

They are optional (`pip install grad-cam torchcam`) and imported only here.
"""

import contextlib
import copy
import importlib
import importlib.metadata
import io
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from groupcam.models import Backbone, TargetLayer, to_nchw
from groupcam.models.bands import tensors_in

PACKAGES = {"pytorch_grad_cam": "grad-cam", "torchcam": "torchcam"}
GRAD_CAM_METHODS = ("GradCAM", "ScoreCAM", "AblationCAM")
INPUTS_AT_ONCE = 32  # both packages' own advice for methods with a forward pass a channel


def installed_peers() -> dict[str, str]:
    """Return the version of every package of `PACKAGES` that is installed."""
    versions = {}
    for package in PACKAGES.values():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def peers(plain: Backbone, layer: TargetLayer) -> dict[str, Callable[[Tensor], object]]:
    """Return what explains the top class of a picture (1, 3, H, W), by the name of the method.

    Empty where no package is installed. Methods that change the module at the layer are left out
    where its output is no tensor (N, C, h, w).
    """
    installed = installed_peers()
    runs: dict[str, Callable[[Tensor], object]] = {}
    if "grad-cam" in installed:
        methods = GRAD_CAM_METHODS if _gives_a_map(layer) else GRAD_CAM_METHODS[:2]
        runs |= {f"pytorch-grad-cam {name}": _grad_cam(plain, layer, name) for name in methods}
    if "torchcam" in installed and _gives_a_map(layer):
        runs["torch-cam ScoreCAM"] = _torch_cam(plain, layer)
    return runs


def _gives_a_map(layer: TargetLayer) -> bool:
    return layer.layout == "NCHW" and layer.path == ()


def _grad_cam(plain: Backbone, layer: TargetLayer, method: str) -> Callable[[Tensor], object]:
    package = importlib.import_module("pytorch_grad_cam")
    targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")

    def to_map(output: object) -> Tensor:
        return to_nchw(dict(tensors_in(output))[layer.path], layer)

    network = copy.deepcopy(plain.network)  # theirs to change
    modules = [network.get_submodule(layer.name)]

    def run(picture: Tensor) -> object:
        with _quiet(), getattr(package, method)(network, modules, reshape_transform=to_map) as cam:
            cam.batch_size = INPUTS_AT_ONCE
            class_index = int(plain.logits(picture).argmax())
            return cam(picture, [targets.ClassifierOutputTarget(class_index)])

    return run


def _torch_cam(plain: Backbone, layer: TargetLayer) -> Callable[[Tensor], object]:
    methods = importlib.import_module("torchcam.methods")
    network = copy.deepcopy(plain.network)
    module = network.get_submodule(layer.name)

    def run(picture: Tensor) -> object:
        with _quiet(), methods.ScoreCAM(network, module, batch_size=INPUTS_AT_ONCE) as cam:
            with torch.no_grad():
                logits = network(picture)
            return cam(int(logits.argmax()), logits)

    return run


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep their progress bars off the terminal."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
