"""The model libraries behind one interface: timm and torchvision.

A library is added by one class that follows `Library` and one entry in `LIBRARIES`.
"""

import functools
import warnings
from pathlib import Path
from typing import Any, Protocol

import timm
import timm.models
import torchvision
from timm.data.config import resolve_data_config
from torch import Tensor, nn

from groupcam.models.hub import HubFile, UrlFile, WeightsFile
from groupcam.models.labels import imagenet_names, numbered_names, unique_names
from groupcam.models.preprocessing import (
    Preprocessing,
    preprocessing_from_timm,
    preprocessing_from_torchvision,
)

IMAGENET_CLASSES = 1000
TIMM_FILENAMES = ("model.safetensors", "pytorch_model.bin")  # what timm itself looks for, in order


class Library(Protocol):
    """What groupcam asks of a model library. Nothing here touches the network."""

    def tags(self) -> dict[str, tuple[str, ...]]:
        """Return for each architecture its tags of pretrained classifiers, the default first."""

    def encoder_tags(self, architecture: str) -> tuple[str, ...]:
        """Return the tags of its pretrained encoders: weights without a classifier."""

    def weights_file(self, architecture: str, tag: str) -> WeightsFile:
        """Return where the weights of a tag are."""

    def build(
        self,
        architecture: str,
        tag: str | None,
        classes: int | None = None,
        state_dict: dict[str, Tensor] | None = None,
    ) -> nn.Module:
        """Return the network, with random weights or with those given.

        Raises:
            RuntimeError: the given weights do not fit.
        """

    def build_official(
        self, architecture: str, tag: str, path: Path, state_dict: dict[str, Tensor]
    ) -> nn.Module:
        """Return the network with the library's own weights: the file and what was read from it."""

    def preprocessing(self, architecture: str, tag: str | None) -> Preprocessing:
        """Return the evaluation transform that belongs to a tag (None: the default tag's)."""

    def class_names(self, architecture: str, tag: str | None, classes: int) -> tuple[str, ...]:
        """Return one unique name per class."""


class TimmLibrary:
    """PyTorch Image Models."""

    @functools.cache  # noqa: B019 - one instance, alive as long as the process
    def tags(self) -> dict[str, tuple[str, ...]]:
        """Return for each architecture its tags of pretrained classifiers, the default first.

        Some weights are bare feature extractors (0 classes); they are left out.
        """
        tags: dict[str, list[str]] = {name: [] for name in timm.list_models()}
        for name in timm.list_pretrained():
            architecture, tag = timm.models.split_model_name_tag(name)
            if self._config(architecture, tag).num_classes:
                tags[architecture].append(tag)
        for architecture, names in tags.items():
            default = self._config(architecture, None).tag or ""
            names.sort(key=lambda tag: tag != default)
        return {architecture: tuple(names) for architecture, names in tags.items()}

    def encoder_tags(self, architecture: str) -> tuple[str, ...]:
        """Return the tags whose weights have 0 classes in timm's configuration."""
        names = timm.list_pretrained(f"{architecture}.*")
        tags = [timm.models.split_model_name_tag(name)[1] for name in names]
        return tuple(tag for tag in tags if not self._config(architecture, tag).num_classes)

    def weights_file(self, architecture: str, tag: str) -> WeightsFile:
        """Return the file on the Hugging Face hub, or the web address of older weights."""
        config = self._config(architecture, tag)
        if config.hf_hub_id:
            named = (config.hf_hub_filename,) if config.hf_hub_filename else TIMM_FILENAMES
            return HubFile(config.hf_hub_id, named)
        return UrlFile(config.url)

    def build(
        self,
        architecture: str,
        tag: str | None,
        classes: int | None = None,
        state_dict: dict[str, Tensor] | None = None,
    ) -> nn.Module:
        """Return the network; given weights go through timm's own conversion of old formats."""
        config = self._config(architecture, tag)
        classes = classes or config.num_classes or IMAGENET_CLASSES
        network: nn.Module = timm.create_model(
            architecture,
            pretrained=state_dict is not None,
            pretrained_cfg=tag or None,
            # source=None: weights come from the state_dict and from nowhere else.
            pretrained_cfg_overlay={
                "num_classes": classes,
                "state_dict": state_dict,
                "source": None,
            },
            num_classes=classes,
        )
        # timm keeps the loaded tensors in the configuration; they would double the memory.
        configuration: Any = network.pretrained_cfg
        configuration["state_dict"] = None
        return network

    def build_official(
        self, architecture: str, tag: str, path: Path, state_dict: dict[str, Tensor]
    ) -> nn.Module:
        """Return the network with the weights of a tag."""
        return self.build(architecture, tag, state_dict=state_dict)

    def preprocessing(self, architecture: str, tag: str | None) -> Preprocessing:
        """Return the evaluation transform of timm's configuration for the tag."""
        config = self._config(architecture, tag).to_dict()
        return preprocessing_from_timm(resolve_data_config(pretrained_cfg=config))

    def class_names(self, architecture: str, tag: str | None, classes: int) -> tuple[str, ...]:
        """Return the weights' own labels, else ImageNet's by the number of classes."""
        config = self._config(architecture, tag)
        labels = config.label_names
        if labels is not None and len(labels) == classes:
            described = config.label_descriptions or {}
            return unique_names([described.get(label, label) for label in labels], labels)
        return imagenet_names(classes) or numbered_names(classes)

    def _config(self, architecture: str, tag: str | None) -> Any:
        return timm.models.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)


class TorchvisionLibrary:
    """The classifiers of torchvision.models."""

    @functools.cache  # noqa: B019 - one instance, alive as long as the process
    def tags(self) -> dict[str, tuple[str, ...]]:
        """Return for each architecture its tags of pretrained classifiers, the default first."""
        tags = {}
        for architecture in torchvision.models.list_models(module=torchvision.models):
            weights = torchvision.models.get_model_weights(architecture)
            default = weights["DEFAULT"].name if len(weights) else None
            names = [member.name for member in weights if member.meta["categories"]]
            tags[architecture] = tuple(sorted(names, key=lambda name: name != default))
        return tags

    def encoder_tags(self, architecture: str) -> tuple[str, ...]:
        """Return the tags without categories: their files lack the classifier's values."""
        weights = torchvision.models.get_model_weights(architecture)
        return tuple(member.name for member in weights if not member.meta["categories"])

    def weights_file(self, architecture: str, tag: str) -> WeightsFile:
        """Return the web address of the weights."""
        return UrlFile(self._weights(architecture, tag).url)

    def build(
        self,
        architecture: str,
        tag: str | None,
        classes: int | None = None,
        state_dict: dict[str, Tensor] | None = None,
    ) -> nn.Module:
        """Return the network, with random weights or with those given."""
        with warnings.catch_warnings():
            # Two old architectures announce a future change of their random initialisation.
            warnings.simplefilter("ignore", FutureWarning)
            network: Any = torchvision.models.get_model(
                architecture, weights=None, num_classes=classes or IMAGENET_CLASSES
            )
        if state_dict is not None:
            network.load_state_dict(state_dict)
            if hasattr(network, "transform_input"):
                # torchvision sets it with all weights of such architectures (inputs scaled as in
                # TensorFlow), so weights in a file descend from ones that need it.
                network.transform_input = True
        built: nn.Module = network
        return built

    def build_official(
        self, architecture: str, tag: str, path: Path, state_dict: dict[str, Tensor]
    ) -> nn.Module:
        """Return the network with the weights of a tag, by torchvision's own loader.

        The loader reads `path`, where torch hub keeps it. It does not ask for tensors only, so
        the file must have been read that way before: `state_dict` is the proof.
        """
        weights = self._weights(architecture, tag)
        network: nn.Module = torchvision.models.get_model(
            architecture, weights=weights, progress=False
        )
        return network

    def preprocessing(self, architecture: str, tag: str | None) -> Preprocessing:
        """Return the transform of the weights."""
        return preprocessing_from_torchvision(self._weights(architecture, tag).transforms())

    def class_names(self, architecture: str, tag: str | None, classes: int) -> tuple[str, ...]:
        """Return the categories that the weights list."""
        categories = self._weights(architecture, tag).meta["categories"]
        return unique_names(categories) if len(categories) == classes else numbered_names(classes)

    def _weights(self, architecture: str, tag: str | None) -> Any:
        return torchvision.models.get_model_weights(architecture)[tag or "DEFAULT"]


LIBRARIES: dict[str, Library] = {"timm": TimmLibrary(), "torchvision": TorchvisionLibrary()}
