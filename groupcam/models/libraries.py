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
from torchvision.models.vision_transformer import interpolate_embeddings

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

    def build_for_size(
        self,
        architecture: str,
        tag: str | None,
        network: nn.Module,
        classes: int,
        input_size: tuple[int, int],
    ) -> nn.Module:
        """Return a copy of a network for another input size (H, W).

        The weights are `network`'s; those that belong to places of the input, such as position
        embeddings, are interpolated as the library does it.

        Raises:
            TypeError: the architecture has no input size to set when it is built.
            Exception: it cannot be built for this size, in the library's own words.
        """

    def preprocessing(
        self, architecture: str, tag: str | None, input_size: tuple[int, int] | None = None
    ) -> Preprocessing:
        """Return the evaluation transform that belongs to a tag (None: the default tag's).

        With another `input_size` (H, W) the crop keeps its share of the resized picture.
        """

    def smallest_input_size(self, architecture: str, tag: str | None) -> tuple[int, int]:
        """Return the least (H, W) that the library states for a tag; (1, 1) if it does not."""

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
        classes = classes or self._config(architecture, tag).num_classes or IMAGENET_CLASSES
        return self._create(architecture, tag, classes, state_dict, {})

    def build_official(
        self, architecture: str, tag: str, path: Path, state_dict: dict[str, Tensor]
    ) -> nn.Module:
        """Return the network with the weights of a tag."""
        return self.build(architecture, tag, state_dict=state_dict)

    def build_for_size(
        self,
        architecture: str,
        tag: str | None,
        network: nn.Module,
        classes: int,
        input_size: tuple[int, int],
    ) -> nn.Module:
        """Return a copy of a network for another input size (H, W)."""
        return self._create(
            architecture,
            tag,
            classes,
            network.state_dict(),
            # These weights have lost the background class that some files begin with.
            {"label_offset": None},
            img_size=input_size,
        )

    def preprocessing(
        self, architecture: str, tag: str | None, input_size: tuple[int, int] | None = None
    ) -> Preprocessing:
        """Return the evaluation transform of timm's configuration for the tag."""
        config = self._config(architecture, tag).to_dict()
        if input_size is not None:
            config["input_size"] = (config["input_size"][0], *input_size)
        return preprocessing_from_timm(resolve_data_config(pretrained_cfg=config))

    def smallest_input_size(self, architecture: str, tag: str | None) -> tuple[int, int]:
        """Return timm's `min_input_size`; (1, 1) if it is not stated."""
        stated = self._config(architecture, tag).min_input_size
        return (1, 1) if stated is None else (stated[1], stated[2])

    def class_names(self, architecture: str, tag: str | None, classes: int) -> tuple[str, ...]:
        """Return the weights' own labels, else ImageNet's by the number of classes."""
        config = self._config(architecture, tag)
        labels = config.label_names
        if labels is not None and len(labels) == classes:
            described = config.label_descriptions or {}
            return unique_names([described.get(label, label) for label in labels], labels)
        return imagenet_names(classes) or numbered_names(classes)

    def _create(
        self,
        architecture: str,
        tag: str | None,
        classes: int,
        state_dict: dict[str, Tensor] | None,
        overlay: dict[str, Any],
        **settings: Any,
    ) -> nn.Module:
        """Return the network that timm builds, with some fields of its configuration replaced.

        `settings` are the architecture's own; timm says with a TypeError which are unknown.
        """
        network: nn.Module = timm.create_model(
            architecture,
            pretrained=state_dict is not None,
            pretrained_cfg=tag or None,
            # source=None: weights come from the state_dict and from nowhere else.
            pretrained_cfg_overlay={
                "num_classes": classes,
                "state_dict": state_dict,
                "source": None,
                **overlay,
            },
            num_classes=classes,
            **settings,
        )
        # timm keeps the loaded tensors in the configuration; they would double the memory.
        configuration: Any = network.pretrained_cfg
        configuration["state_dict"] = None
        return network

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
        settings: dict[str, Any] = {"weights": None, "num_classes": classes or IMAGENET_CLASSES}
        (size,) = self._weights(architecture, tag).transforms().crop_size
        network: Any
        with warnings.catch_warnings():
            # Two old architectures announce a future change of their random initialisation.
            warnings.simplefilter("ignore", FutureWarning)
            try:  # transformers are built for one size, which is not always their weights'
                network = torchvision.models.get_model(architecture, image_size=size, **settings)
            except TypeError:  # all others take any size
                network = torchvision.models.get_model(architecture, **settings)
        if state_dict is not None:
            if "encoder.pos_embedding" in state_dict:
                state_dict = interpolate_embeddings(size, network.patch_size, state_dict)
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

    def build_for_size(
        self,
        architecture: str,
        tag: str | None,
        network: nn.Module,
        classes: int,
        input_size: tuple[int, int],
    ) -> nn.Module:
        """Return a copy of a network for another input size (H, W).

        Torchvision has two names for the setting: one takes (H, W), one the side of a square.
        """
        settings: list[dict[str, Any]] = [{"input_size": input_size}]
        if input_size[0] == input_size[1]:
            settings.append({"image_size": input_size[0]})
        state_dict = network.state_dict()
        for setting in settings:
            try:
                built: Any = torchvision.models.get_model(
                    architecture, weights=None, num_classes=classes, **setting
                )
            except TypeError as error:
                refusal = error
                continue
            if "encoder.pos_embedding" in state_dict:
                state_dict = interpolate_embeddings(input_size[0], built.patch_size, state_dict)
            built.load_state_dict(state_dict)
            resized: nn.Module = built
            return resized
        raise refusal

    def preprocessing(
        self, architecture: str, tag: str | None, input_size: tuple[int, int] | None = None
    ) -> Preprocessing:
        """Return the transform of the weights."""
        preset = self._weights(architecture, tag).transforms()
        return preprocessing_from_torchvision(preset, input_size)

    def smallest_input_size(self, architecture: str, tag: str | None) -> tuple[int, int]:
        """Return (1, 1): torchvision's `min_size` is of the network as built for its weights."""
        return (1, 1)

    def class_names(self, architecture: str, tag: str | None, classes: int) -> tuple[str, ...]:
        """Return the categories that the weights list."""
        categories = self._weights(architecture, tag).meta["categories"]
        return unique_names(categories) if len(categories) == classes else numbered_names(classes)

    def _weights(self, architecture: str, tag: str | None) -> Any:
        return torchvision.models.get_model_weights(architecture)[tag or "DEFAULT"]


LIBRARIES: dict[str, Library] = {"timm": TimmLibrary(), "torchvision": TorchvisionLibrary()}
