"""Saliency as data augmentation: keep what the network finds salient, blur the rest.

x' = x·m + blur(x)·(1 - m) with m = [S >= mean(S)], where S is the Group-CAM map of the true label
by the network as it is at this step of its training: the paper's use in fine-tuning
(arXiv:2103.13859). The authors' code adds (1 - m) instead of multiplying by it, and takes the mean
over the whole batch; this follows the paper, picture by picture.

It is a batch transform, used after the loader like torchvision's CutMix:

    augment = SaliencyAugment(network, AugmentConfig(probability=0.5))
    for images, labels in loader:
        images, labels = augment(images, labels)
        loss = criterion(network(images), labels)
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError, shown
from groupcam.models import Backbone, Preprocessing, resolve_target_layer
from groupcam.saliency import GroupCamConfig, explain
from groupcam.saliency.methods.centre import centred_gaussian
from groupcam.saliency.perturb import gaussian_blur
from groupcam.saliency.scoring import min_max_scale, upsample_masks

Source = Literal["group_cam", "random_mask", "centre"]
Edge = Literal["hard", "soft"]

CELLS = 7  # side of the grid of a random mask, as coarse as a map of the last layer
NUMBERS = 1 + CELLS * CELLS  # random ones a picture: whether, and the random mask's cells


@dataclass(frozen=True)
class AugmentConfig:
    """How pictures are augmented.

    Raises:
        GroupCamError: a value is outside its range or not among its choices.
    """

    # The controls hide about as much, and cost no forward pass: a random map, the same rule; or a
    # Gaussian around the centre.
    source: Source = "group_cam"
    probability: float = 0.5  # that a picture is augmented, each for itself
    # "hard": [S >= mean(S)], as in the paper. "soft": min(1, S / mean(S)), which keeps the same
    # places as they are and fades towards those where S is 0.
    edge: Edge = "hard"
    group_cam: GroupCamConfig = GroupCamConfig()  # the map; its blur is that of all sources

    def __post_init__(self) -> None:
        """Check every field against its range or choices."""
        for name, choices in (("source", get_args(Source)), ("edge", get_args(Edge))):
            if getattr(self, name) not in choices:
                raise GroupCamError(
                    f"{name} must be one of {', '.join(choices)}; got {shown(getattr(self, name))}."
                )
        if isinstance(self.probability, bool) or not isinstance(self.probability, int | float):
            raise TypeError(f"probability must be a number; got {shown(self.probability)}.")
        if not 0 <= self.probability <= 1:
            raise GroupCamError(f"probability must be between 0 and 1; got {self.probability}.")


@dataclass(frozen=True, eq=False)
class Augmented:
    """A batch as training sees it, and what it cost."""

    images: Tensor  # (N, 3, H, W), dtype and device of those given
    is_augmented: Tensor  # (N,), bool, on the CPU, as are:
    saliency_map: Tensor  # (N, H, W), float32 in [0, 1]; zeros where a picture is not augmented
    mask: Tensor  # (N, H, W), float32 in [0, 1]: 1 where the picture is as it was
    forward_passes: int = 0
    backward_passes: int = 0


class SaliencyAugment:
    """A batch transform (images, labels) -> (images, labels) that blurs what is not salient.

    The network is explained in evaluation mode and comes back as it was, on errors too: the mode
    of every module, running statistics, gradients, requires_grad, hooks. It runs outside
    autocast, in the precision of `config.group_cam`, so the result is the same inside and outside
    of it. Around DistributedDataParallel or torch.compile the network within is taken, and the
    processes of a training need not talk: each augments its own part of the batch.

    Random numbers: `NUMBERS` a picture, whatever the settings, from `generator` or from torch's
    default one on the CPU; no other random state changes. Give each process its own seed.
    """

    def __init__(
        self,
        network: nn.Module,
        config: AugmentConfig | None = None,
        *,
        target_layer: str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Take a network, of which nothing is asked yet.

        Args:
            network: maps (N, 3, H, W) to logits (N, K).
            config: how pictures are augmented; None: `AugmentConfig()`.
            target_layer: as in `explain`; None takes the default layer of the network as it is at
                the first batch.
            generator: of the random numbers, on the CPU.
        """
        self.network = bare(network)
        self.config = config or AugmentConfig()
        self._target_layer = target_layer
        self._generator = generator
        self._backbone: Backbone | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the augmented pictures and the labels as they are; see `augment`."""
        return self.augment(images, labels).images, labels

    def draw(self, pictures: int) -> Tensor:
        """Return the random numbers for some pictures, (N, NUMBERS), uniform in [0, 1)."""
        return torch.rand(pictures, NUMBERS, generator=self._generator)

    @torch.no_grad()
    def augment(self, images: Tensor, labels: Tensor, numbers: Tensor | None = None) -> Augmented:
        """Return the batch as training sees it.

        Costs nothing for a control; for Group-CAM a forward pass, a backward pass down to the
        target layer and up to G + 1 forward passes for each picture that is augmented.

        Args:
            images: normalised pictures, (N, 3, H, W), float; not changed.
            labels: the true classes, (N,), or probabilities of the classes, (N, K), of which the
                likeliest is explained.
            numbers: from `draw`; None draws them now. The first of a picture decides whether it
                is augmented, the others are the cells of a random mask.

        Raises:
            GroupCamError: images or labels do not fit together or the network; the network's
                values are not finite; it has no layer to explain.
            TypeError: images are not floats.
        """
        _check(images, labels)
        if numbers is None:
            numbers = self.draw(len(images))
        chosen = (numbers[:, 0] < self.config.probability).nonzero()[:, 0]
        is_augmented = torch.zeros(len(images), dtype=torch.bool)
        is_augmented[chosen] = True
        size = (images.shape[-2], images.shape[-1])
        saliency_map = torch.zeros(len(images), *size)
        mask = torch.ones_like(saliency_map)
        if not len(chosen):
            return Augmented(images, is_augmented, saliency_map, mask)

        there = chosen.to(images.device)
        pictures = images[there].float()
        targets = (labels.argmax(dim=1) if labels.ndim == 2 else labels).cpu()[chosen]
        with (
            torch.autocast(images.device.type, enabled=False),
            torch.autocast(device_of(self.network).type, enabled=False),
        ):
            maps, forwards, backwards = self._maps(pictures, targets, numbers[chosen, 1:])
            masks = keep_mask(maps, self.config.edge)
            shown = blurred_outside(pictures, masks.to(images.device), self.config.group_cam)
        saliency_map[chosen], mask[chosen] = maps, masks
        result = images.index_copy(0, there, shown.to(images.dtype))
        return Augmented(result, is_augmented, saliency_map, mask, forwards, backwards)

    def explained_layer(self, size: tuple[int, int]) -> str:
        """Return the name of the layer that is explained at an input size (H, W).

        Raises:
            GroupCamError: the network has no such layer.
        """
        return resolve_target_layer(self._backbone_for(size), self._target_layer).name

    def _maps(self, images: Tensor, labels: Tensor, cells: Tensor) -> tuple[Tensor, int, int]:
        """Return maps (N, H, W) on the CPU, and how many forward and backward passes they cost."""
        size = (images.shape[-2], images.shape[-1])
        control = control_maps(self.config.source, cells, size)
        if control is not None:
            return control, 0, 0
        found = explain(
            self._backbone_for(size), images, self.config.group_cam, self._target_layer, labels
        )
        return found.saliency_map, int(found.forward_passes.sum()), len(images)

    def _backbone_for(self, size: tuple[int, int]) -> Backbone:
        """Return the network as what `explain` takes; made anew when pictures change their size."""
        if self._backbone is None or self._backbone.preprocessing.input_size != size:
            # No plan is ever prepared for it, so its forwards run eagerly: a compiled graph would
            # keep the weights of the step at which it was made.
            self._backbone = Backbone.from_module(self.network, Preprocessing(size))
        return self._backbone


def control_maps(source: Source, cells: Tensor, size: tuple[int, int]) -> Tensor | None:
    """Return the maps of a control, (N, H, W) in [0, 1]; None for one that asks the network.

    Args:
        source: where the maps come from.
        cells: random numbers, (N, CELLS * CELLS).
        size: (H, W) of the pictures.
    """
    if source == "random_mask":
        return min_max_scale(upsample_masks(cells.reshape(-1, CELLS, CELLS), size))
    if source == "centre":
        return centred_gaussian(size).expand(len(cells), -1, -1)
    return None


def keep_mask(saliency_map: Tensor, edge: Edge) -> Tensor:
    """Return how much of each pixel is kept, (N, H, W) in [0, 1], from maps (N, H, W) >= 0.

    A map of zeros says nothing, and keeps everything.
    """
    mean = saliency_map.mean(dim=(-2, -1), keepdim=True)
    if edge == "hard":
        return (saliency_map >= mean).float()
    return torch.where(mean > 0, saliency_map / torch.where(mean > 0, mean, 1), 1).clamp_max(1)


def blurred_outside(images: Tensor, mask: Tensor, config: GroupCamConfig) -> Tensor:
    """Return pictures, (N, 3, H, W), blurred where their mask, (N, H, W), is 0.

    Where the mask is 1, pixels keep every bit.
    """
    blurred = gaussian_blur(images, config.blur_sigma_px, config.blur_kernel_px)
    return torch.lerp(blurred, images, mask[:, None])


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's parameters are (CPU for a network without any)."""
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def bare(network: nn.Module) -> nn.Module:
    """Return the network inside DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        inner = getattr(network, "_orig_mod", None)  # of what torch.compile returns
        if isinstance(network, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = network.module
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def _check(images: Tensor, labels: Tensor) -> None:
    """Refuse what is no batch of normalised pictures with their labels."""
    if not images.is_floating_point():
        raise TypeError(
            f"images must be normalised floats; got {images.dtype}. Put the transform after the "
            "normalisation."
        )
    if images.ndim != 4 or labels.ndim not in (1, 2) or len(labels) != len(images):
        raise GroupCamError(
            "images must be (N, 3, H, W) with labels (N,) or (N, K); got images "
            f"{tuple(images.shape)} and labels {tuple(labels.shape)}. Use the transform on "
            "batches, after the loader."
        )
