"""What hidden pixels are replaced by: the Gaussian blur with reflected borders."""

import functools

import torch
from torch import Tensor


def gaussian_blur(images: Tensor, sigma_px: float, kernel_px: int) -> Tensor:
    """Return the images under a Gaussian blur with reflected borders.

    The blur is linear and separable, so it is one (H, H) and one (W, W) matrix product with the
    reflection folded into the matrices. That equals the two-dimensional convolution to float
    precision, and a kernel may be larger than the image: the reflection then bounces back and
    forth between the borders.

    Args:
        images: (..., H, W), float; not changed.
        sigma_px: standard deviation in pixels, > 0.
        kernel_px: odd width of the kernel in pixels.

    Returns:
        Blurred images, same shape, dtype and device.
    """
    height, width = images.shape[-2:]
    rows = blur_matrix(height, sigma_px, kernel_px).to(images)
    columns = blur_matrix(width, sigma_px, kernel_px).to(images)
    return rows @ images @ columns.T


@functools.lru_cache(maxsize=32)
def blur_matrix(size: int, sigma_px: float, kernel_px: int) -> Tensor:
    """Return the (size, size) float32 matrix whose product with a column blurs it.

    Every row sums to 1.
    """
    radius = kernel_px // 2
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-(offsets.double() ** 2) / (2 * sigma_px**2))
    kernel /= kernel.sum()
    positions = torch.arange(size)[:, None] + offsets  # (size, kernel_px)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, _reflect(positions, size), kernel.expand_as(positions).contiguous())
    return matrix.float()


def _reflect(positions: Tensor, size: int) -> Tensor:
    """Return positions folded into 0..size-1 as by mirrors on the first and last pixel."""
    if size == 1:
        return torch.zeros_like(positions)
    period = 2 * (size - 1)
    folded = positions.remainder(period)
    return torch.minimum(folded, period - folded)
