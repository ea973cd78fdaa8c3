"""Whatever the caller has (picture, file, array, tensor) becomes the network's input."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.images import open_picture
from groupcam.models import Backbone, View

PictureSource = Image.Image | str | Path | bytes | np.ndarray
ClassIndices = int | Sequence[int] | Tensor


def prepare_inputs(backbone: Backbone, image: PictureSource | Tensor, view: View) -> Tensor:
    """Return the network's input, (N, 3, H, W), on its device.

    A picture goes through the backbone's own preprocessing and gives N = 1. A tensor must be
    normalised already and is taken as it is, at any size that the network takes.

    Raises:
        GroupCamError: the picture cannot be read, or the tensor's shape or values are not right.
        TypeError: the image is none of the accepted types.
    """
    if not isinstance(image, Tensor):
        return backbone.preprocess(open_picture(image).rgb, view)
    if not image.is_floating_point():
        raise TypeError(
            f"An image tensor must hold normalised floats; got {image.dtype}. "
            "Give a uint8 array (H, W, 3) instead, or normalise the tensor."
        )
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        raise GroupCamError(
            f"An image tensor must have the shape (N, 3, H, W); got {tuple(image.shape)}. "
            "Add the axis of pictures with image[None], or put the colours on the second axis."
        )
    if not torch.isfinite(image).all():
        raise GroupCamError("An image tensor must be finite; got NaN or infinite values.")
    return image.detach().to(backbone.device, torch.float32)


def resolve_classes(
    backbone: Backbone, class_index: ClassIndices | None, pictures: int
) -> Tensor | None:
    """Return one class index a picture, (N,), or None for each picture's top class.

    Raises:
        GroupCamError: an index is outside 0..K-1, or their number is not N.
        TypeError: an index is not a whole number.
    """
    if class_index is None:
        return None
    if isinstance(class_index, Tensor):
        class_index = class_index.tolist()
    if isinstance(class_index, int | np.integer) or not isinstance(class_index, Sequence):
        class_index = [class_index] * pictures  # its type is checked below
    if len(class_index) != pictures:
        raise GroupCamError(
            f"class_index must be one index, or one for each of the {pictures} pictures; "
            f"got {len(class_index)}."
        )
    for index in class_index:
        if not isinstance(index, int | np.integer) or isinstance(index, bool):
            raise TypeError(f"class_index must be a whole number; got {index!r}.")
    indices = [backbone.class_index_of(int(index)) for index in class_index]
    return torch.tensor(indices, device=backbone.device)
