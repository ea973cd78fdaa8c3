"""How a picture becomes a network's input: resize, crop, normalise, exactly as its weights want it.

The arithmetic follows two sources, and the tests hold it equal to both on many picture sizes:
timm's `create_transform(..., is_training=False)` and torchvision's `ImageClassification` preset.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groupcam.errors import GroupCamError

View = Literal["crop", "whole", "fit"]
CropMode = Literal["center", "squash", "border"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]

Values = TypeVar("Values", np.ndarray, Tensor)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """The way from an RGB picture to one network's input and back.

    A picture is first resized to `resize_size`, then the centre of `input_size` is cut out:

    * "center": aspect kept, the picture covers `resize_size`;
    * "squash": aspect given up, the picture becomes `resize_size`;
    * "border": aspect kept, the picture fits into `resize_size`, the rest is the mean colour.

    Preprocessing((224, 224)) suits a network of one's own: ImageNet's mean and deviation, the
    largest centred square.

    Raises:
        GroupCamError: a size is not positive, mean or std are not three numbers, a mode is unknown.
    """

    input_size: tuple[int, int]  # (H, W) of the network's input
    mean: tuple[float, ...] = IMAGENET_MEAN  # per RGB channel, for values in [0, 1]
    std: tuple[float, ...] = IMAGENET_STD
    resize_size: tuple[int, int] | None = None  # (H, W) before the crop; None: input_size
    crop_mode: CropMode = "center"
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work before any picture is touched."""
        for name, size in (("input_size", self.input_size), ("resize_size", self.resized_to)):
            if len(size) != 2 or min(size) < 1:
                raise GroupCamError(f"{name} must be (height, width), both at least 1; got {size}.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise GroupCamError(
                "mean and std must be three numbers each (RGB), std above 0; "
                f"got mean={self.mean}, std={self.std}."
            )
        if self.crop_mode not in get_args(CropMode):
            raise GroupCamError(
                f"crop_mode must be one of {get_args(CropMode)}; got {self.crop_mode!r}."
            )
        if self.interpolation not in get_args(Interpolation):
            raise GroupCamError(
                f"interpolation must be one of {get_args(Interpolation)}; "
                f"got {self.interpolation!r}."
            )

    @property
    def resized_to(self) -> tuple[int, int]:
        """Size (H, W) that the picture is resized for, before the crop."""
        return self.resize_size or self.input_size

    def __call__(self, rgb: np.ndarray, view: View = "crop") -> Tensor:
        """Return the network's input for a picture.

        Args:
            rgb: uint8 (H, W, 3); not changed.
            view: "crop" is the weights' own transform; the others cut nothing off: "whole"
                stretches the picture to `input_size`, "fit" keeps its aspect and fills the rest
                with the mean colour.

        Returns:
            Normalised float32 (3, H, W) with H, W = `input_size`.

        Raises:
            GroupCamError: rgb is not uint8 (H, W, 3), or view is unknown.
        """
        _check_picture(rgb)
        place = self._placement(_size_of(rgb), view)
        height, width = self.input_size
        resample = Image.Resampling[self.interpolation.upper()]
        picture = Image.fromarray(rgb)
        if picture.size != (place.width, place.height):
            picture = picture.resize((place.width, place.height), resample)

        # Along an axis shorter than the input there is nothing to crop, only a border to add.
        top, left = max(place.top, 0), max(place.left, 0)
        bottom, right = min(top + height, place.height), min(left + width, place.width)
        picture = picture.crop((left, top, right, bottom))
        if picture.size != (width, height):
            canvas = Image.new("RGB", (width, height), self._border_colour(view))
            canvas.paste(picture, (max(-place.left, 0), max(-place.top, 0)))
            picture = canvas

        values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
        mean, std = self._channel_statistics(values)
        return (values.contiguous() - mean) / std

    def box(self, size_hw: tuple[int, int], view: View = "crop") -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right) of the part of a picture that the network sees.

        Args:
            size_hw: the picture's (H, W) in pixels.
            view: as in a call.

        Returns:
            Whole pixels of the picture: 0 <= top < bottom <= H and 0 <= left < right <= W.
        """
        place = self._placement(size_hw, view)
        top, bottom = _span(place.top, self.input_size[0], place.height, size_hw[0])
        left, right = _span(place.left, self.input_size[1], place.width, size_hw[1])
        return top, left, bottom, right

    def inner(self, size_hw: tuple[int, int], view: View = "crop") -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right) of the part of the input that holds picture.

        It shows what `box` cuts out of the picture; around it there is only border. So a map of
        the input belongs on the picture like this: its `inner` part, stretched over `box`.

        Args:
            size_hw: the picture's (H, W) in pixels.
            view: as in a call.

        Returns:
            Pixels of the input; all of it unless the picture is smaller along an axis.
        """
        place = self._placement(size_hw, view)
        height, width = self.input_size
        top, left = max(-place.top, 0), max(-place.left, 0)
        return top, left, min(height, top + place.height), min(width, left + place.width)

    def to_rgb(self, inputs: Tensor) -> np.ndarray:
        """Return the pictures behind normalised inputs: (..., 3, H, W) -> uint8 (..., H, W, 3)."""
        inputs = inputs.detach().float()
        mean, std = self._channel_statistics(inputs)
        values = (inputs * std + mean).mul(255).round().clamp(0, 255)
        return values.to(torch.uint8).movedim(-3, -1).contiguous().cpu().numpy()

    def _channel_statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and std as (3, 1, 1) on the device of `like`."""
        mean = torch.tensor(self.mean, device=like.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=like.device).view(3, 1, 1)
        return mean, std

    def _border_colour(self, view: View) -> tuple[int, int, int]:
        """Return what surrounds a picture that does not fill the input."""
        if view != "fit" and self.crop_mode != "border":
            return (0, 0, 0)
        red, green, blue = (round(255 * value) for value in self.mean)
        return (red, green, blue)

    def _placement(self, size_hw: tuple[int, int], view: View) -> "_Placement":
        """Return the resized picture's size and where the input lies in it."""
        if view not in get_args(View):
            raise GroupCamError(f"view must be one of {get_args(View)}; got {view!r}.")
        if view == "whole":
            return _Placement(*self.input_size, top=0, left=0)
        height, width = self._resized_size(size_hw, view)
        return _Placement(
            height,
            width,
            top=_centred_offset(height, self.input_size[0]),
            left=_centred_offset(width, self.input_size[1]),
        )

    def _resized_size(self, size_hw: tuple[int, int], view: View) -> tuple[int, int]:
        """Return the picture's size (H, W) after the resize of view "crop" or "fit".

        "fit" is the crop mode "border" with nothing cut off.
        """
        height, width = size_hw
        target_height, target_width = self.input_size if view == "fit" else self.resized_to
        crop_mode = "border" if view == "fit" else self.crop_mode
        if crop_mode == "squash":
            return target_height, target_width
        if crop_mode == "center" and target_height == target_width:
            # torchvision.transforms.Resize(int): the long side is cut, not rounded.
            if height <= width:
                return target_height, max(1, int(target_height * width / height))
            return max(1, int(target_width * height / width)), target_width
        # timm.data.transforms.ResizeKeepRatio
        ratios = (height / target_height, width / target_width)
        ratio = max(ratios) if crop_mode == "border" else min(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


@dataclass(frozen=True)
class _Placement:
    height: int  # of the resized picture
    width: int
    top: int  # of the input inside the resized picture; negative where a border is added
    left: int


def inner_part(values: Values, inner: tuple[int, int, int, int]) -> Values:
    """Return the part of a map of the input, (..., H, W), that `Preprocessing.inner` names."""
    top, left, bottom, right = inner
    return values[..., top:bottom, left:right]


def preprocessing_from_timm(data_config: dict[str, Any]) -> Preprocessing:
    """Return what `timm.data.create_transform(**data_config)` does to a picture in evaluation.

    Args:
        data_config: as `timm.data.resolve_model_data_config` gives it.

    Raises:
        GroupCamError: the network does not take RGB pictures.
    """
    channels, height, width = data_config["input_size"]
    if channels != 3:
        raise GroupCamError(
            f"The network must take RGB pictures (3 channels); it takes {channels}. "
            "Choose another backbone."
        )
    fraction = data_config["crop_pct"]
    return Preprocessing(
        input_size=(height, width),
        mean=tuple(data_config["mean"]),
        std=tuple(data_config["std"]),
        resize_size=(int(height / fraction), int(width / fraction)),
        crop_mode=data_config["crop_mode"],
        interpolation=data_config["interpolation"],
    )


def preprocessing_from_torchvision(
    preset: Any, input_size: tuple[int, int] | None = None
) -> Preprocessing:
    """Return what a torchvision `ImageClassification` preset (`weights.transforms()`) does.

    Args:
        preset: the weights' transform.
        input_size: another (H, W) than its own. The share of the resized picture that the crop
            keeps stays the same.
    """
    (crop,) = preset.crop_size
    (resize,) = preset.resize_size
    height, width = input_size or (crop, crop)
    return Preprocessing(
        input_size=(height, width),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        resize_size=(round(height * resize / crop), round(width * resize / crop)),
        interpolation=preset.interpolation.value,
    )


def _centred_offset(length: int, window: int) -> int:
    """Return where a centred window starts, rounded as torchvision does (CenterCrop, its pad)."""
    if length < window:
        return -((window - length) // 2)
    return round((length - window) / 2)


def _span(offset: int, window: int, resized: int, original: int) -> tuple[int, int]:
    """Return the pixels [start, stop) of the original axis that fall into the window."""
    start = round(max(offset, 0) * original / resized)
    stop = round(min(offset + window, resized) * original / resized)
    start = min(start, original - 1)
    return start, min(max(stop, start + 1), original)


def _size_of(rgb: np.ndarray) -> tuple[int, int]:
    return int(rgb.shape[0]), int(rgb.shape[1])


def _check_picture(rgb: np.ndarray) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise GroupCamError(
            "A picture must be a uint8 array (H, W, 3); "
            f"got {rgb.dtype} {rgb.shape}. Use groupcam.images.open_picture."
        )
