import pytest
import torch
import torch.nn.functional as F

from groupcam.saliency.perturb import blur_matrix, gaussian_blur


def convolved(images: torch.Tensor, sigma: float, kernel: int) -> torch.Tensor:
    """The blur written the long way: pad by reflection, then a two-dimensional convolution."""
    offsets = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    line = torch.exp(-(offsets**2) / (2 * sigma**2))
    square = torch.outer(line, line)
    square = (square / square.sum())[None, None]
    channels = images.double().flatten(0, 1)[:, None]
    padded = F.pad(channels, (kernel // 2,) * 4, mode="reflect")
    return F.conv2d(padded, square).reshape(images.shape).float()


@pytest.mark.parametrize(("sigma", "kernel"), [(50.0, 51), (1.0, 3), (3.5, 21), (0.1, 3)])
def test_blur_equals_the_two_dimensional_convolution(
    generator: torch.Generator, sigma: float, kernel: int
) -> None:
    images = torch.randn(2, 3, 40, 33, generator=generator)

    blurred = gaussian_blur(images, sigma, kernel)

    torch.testing.assert_close(blurred, convolved(images, sigma, kernel), rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [1, 2, 5, 25])
def test_a_kernel_larger_than_the_picture_reflects_again_and_again(size: int) -> None:
    matrix = blur_matrix(size, 50.0, 51)

    # By hand: walk each offset, turning round at the first and the last pixel.
    expected = torch.zeros(size, size, dtype=torch.float64)
    weights = [2.718281828459045 ** (-(offset**2) / 5000) for offset in range(-25, 26)]
    for row in range(size):
        for offset, weight in zip(range(-25, 26), weights, strict=True):
            position, step = row, 1 if offset > 0 else -1
            for _ in range(abs(offset) if size > 1 else 0):
                if not 0 <= position + step < size:
                    step = -step
                position += step
            expected[row, position] += weight / sum(weights)
    torch.testing.assert_close(matrix, expected.float(), rtol=0, atol=1e-6)


def test_a_flat_picture_stays_flat_and_inputs_are_not_changed() -> None:
    images = torch.full((1, 3, 20, 30), 0.25)

    blurred = gaussian_blur(images, 50.0, 51)

    torch.testing.assert_close(blurred, images)
    assert (images == 0.25).all()
