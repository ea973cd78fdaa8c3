"""The network that is trained on: pretrained, with a classifier for the classes at hand."""

import dataclasses

import torch
from torch import nn

from groupcam.errors import GroupCamError, did_you_mean, shown
from groupcam.evaluate.one_picture import wordnet_ids_of
from groupcam.models import Backbone, load_backbone
from groupcam.models.weights import classifier_tensors


@dataclasses.dataclass(frozen=True, eq=False)
class Learner:
    """A network that learns, on its device."""

    backbone: Backbone
    labels: tuple[int, ...]  # the network's class of each folder
    parts: tuple[str, ...]  # names of the modules that learn; none: all

    def set_modes(self) -> None:
        """Put what learns into training mode; running statistics of all else stay."""
        network = self.backbone.network
        network.train()
        if self.parts:
            for name, module in network.named_modules():
                module.training = self._learns(name)

    def choose_parameters(self) -> None:
        """Let the parameters of what learns want a gradient, and no others."""
        for name, parameter in self.backbone.network.named_parameters():
            parameter.requires_grad_(not self.parts or self._learns(name))

    def _learns(self, name: str) -> bool:
        return any(name == part or name.startswith(f"{part}.") for part in self.parts)


def load_learner(
    name: str,
    weights: str | None,
    classes: tuple[str, ...],
    *,
    parts: tuple[str, ...] = (),
    input_size: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Learner:
    """Return a backbone that can learn the classes.

    Its own classifier stays where all classes are WordNet ids of its own classes, as in the
    paper's fine-tuning on ImageNet. Otherwise it gets a new one, drawn from the seed.

    Args:
        name: as `load_backbone` takes it, as are `weights` and `input_size`.
        weights: to begin with.
        classes: names of the folders.
        parts: names of the modules that learn, beside a new classifier; none: all.
        input_size: side of the pictures.
        seed: of the new classifier.
        device: where it learns.

    Raises:
        GroupCamError: a part or something about the backbone is unknown or not possible.
        WeightsUnavailableError: the weights must be downloaded and cannot be.
    """
    backbone = load_backbone(name, weights, device, input_size=input_size)
    known = wordnet_ids_of(backbone)
    if all(one in known for one in classes):
        labels = tuple(known[one] for one in classes)
        new: tuple[str, ...] = ()
    else:
        labels = tuple(range(len(classes)))
        new = _replace_classifier(backbone, len(classes), seed)
        backbone = dataclasses.replace(backbone, class_names=classes)
    modules = dict(backbone.network.named_modules())
    for part in parts:
        if part not in modules:
            raise GroupCamError(
                f"trained must name modules of {name}; it has no {shown(part)}."
                f"{did_you_mean(part, modules)}"
            )
    learner = Learner(backbone, labels, (*parts, *new) if parts else ())
    learner.choose_parameters()
    return learner


def _replace_classifier(backbone: Backbone, classes: int, seed: int) -> tuple[str, ...]:
    """Give the network layers of so many classes in place of its last; return their names."""
    network = backbone.network
    names = tuple(
        dict.fromkeys(name.rpartition(".")[0] for name in classifier_tensors(backbone.name))
    )
    for name in names:
        old = network.get_submodule(name)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            new: nn.Module
            if isinstance(old, nn.Linear):
                new = nn.Linear(old.in_features, classes, bias=old.bias is not None)
            elif isinstance(old, nn.Conv2d) and old.kernel_size == (1, 1):
                new = nn.Conv2d(old.in_channels, classes, 1, bias=old.bias is not None)
            else:
                raise GroupCamError(
                    f"The classifier must be a linear layer to be replaced; '{name}' of "
                    f"{backbone.name} is a {type(old).__name__}. Choose another backbone."
                )
        network.set_submodule(name, new.to(backbone.device))
    if hasattr(network, "num_classes"):
        setattr(network, "num_classes", classes)  # noqa: B010 - what timm's networks tell others
    return names
