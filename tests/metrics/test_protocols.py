import pytest
import torch

from groupcam import insertion_deletion
from groupcam.errors import GroupCamError
from groupcam.metrics import CurveProtocol
from groupcam.metrics.perturbed import changed_pixels
from groupcam.metrics.protocols import PRESETS, Baseline
from groupcam.models import Backbone
from groupcam.saliency.perturb import gaussian_blur

SIZE = (224, 224)


def test_the_plain_default_is_the_authors_protocol() -> None:
    default = CurveProtocol()

    assert CurveProtocol.named("authors", SIZE) == default
    assert (default.pixels_per_step, default.blur_sigma_px, default.blur_kernel_px) == (448, 50, 51)
    assert (default.insertion_baseline, default.deletion_baseline) == ("blur", "zero")


@pytest.mark.parametrize(
    ("name", "points", "step", "insertion", "sigma", "kernel"),
    [
        ("authors", 113, 448, "blur", 50, 51),
        ("rise", 225, 224, "blur", 5, 11),
        ("torch-cam", 21, 2509, "zero", 50, 51),
        ("xplique", 11, 5018, "zero", 50, 51),
    ],
)
def test_presets_in_figures(
    name: str, points: int, step: int, insertion: str, sigma: float, kernel: int
) -> None:
    protocol = CurveProtocol.named(name, SIZE)

    pixels = changed_pixels(SIZE[0] * SIZE[1], protocol)
    assert len(pixels) == points
    assert int(pixels[1]) == protocol.pixels_per_step == step
    assert protocol.insertion_baseline == insertion
    assert protocol.deletion_baseline == "zero"
    assert (protocol.blur_sigma_px, protocol.blur_kernel_px) == (sigma, kernel)
    assert PRESETS[name].source


def test_presets_given_in_steps_hold_at_every_input_size() -> None:
    protocol = CurveProtocol.named("xplique", (20, 30))

    assert changed_pixels(600, protocol).tolist() == list(range(0, 601, 60))


def test_baselines_by_hand() -> None:
    picture = torch.arange(12.0).reshape(1, 3, 2, 2)

    assert not Baseline("zero").of(picture).any()
    # Means of 0..3, 4..7 and 8..11.
    assert Baseline("mean").of(picture)[0, :, 0, 0].tolist() == [1.5, 5.5, 9.5]
    assert (Baseline("mean").of(picture).std(dim=(2, 3)) == 0).all()
    blurred = Baseline("blur", blur_sigma_px=2.0, blur_kernel_px=3).of(picture)
    torch.testing.assert_close(blurred, gaussian_blur(picture, 2.0, 3))
    assert picture.flatten().tolist() == list(range(12))


def test_noise_is_standard_normal_and_the_same_for_all_pictures() -> None:
    pictures = torch.zeros(2, 3, 64, 64)

    noise = Baseline("noise").of(pictures)

    assert torch.equal(noise[0], noise[1])
    assert torch.equal(noise[0], Baseline("noise").of(pictures[0]))
    assert abs(float(noise[0].mean())) < 0.05
    assert float(noise[0].std()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(noise, Baseline("noise", noise_seed=1).of(pictures))


def test_baselines_are_what_insertion_starts_from_and_deletion_ends_in(
    pixel_sum: Backbone,
) -> None:
    # The log-odds of class 0 are the mean of all pixels, 10; the mean colour keeps it.
    picture = torch.tensor([[4.0, 8.0], [12.0, 16.0]]).expand(1, 3, 2, 2).clone()
    protocol = CurveProtocol(pixels_per_step=1, insertion_baseline="zero", deletion_baseline="mean")

    curves = insertion_deletion(
        pixel_sum, picture, torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 0, protocol=protocol
    )[0]

    # 16, 12, 8, 4 come in, a quarter of the pixels each; then they become 10 one by one.
    inserted = torch.tensor([0.0, 4.0, 7.0, 9.0, 10.0]).sigmoid()
    deleted = torch.tensor([10.0, 8.5, 8.0, 8.5, 10.0]).sigmoid()
    torch.testing.assert_close(curves.insertion, inserted)
    torch.testing.assert_close(curves.deletion, deleted)


def test_impossible_protocols_are_refused() -> None:
    with pytest.raises(GroupCamError, match="must be one of blur, zero, mean, noise; got 'nois'"):
        CurveProtocol(insertion_baseline="nois")  # type: ignore[arg-type]  # the point
    with pytest.raises(GroupCamError, match=r"got 'torchcam'. Did you mean 'torch-cam'"):
        CurveProtocol.named("torchcam", SIZE)
    with pytest.raises(GroupCamError, match="blur_kernel_px must be odd and at least 1; got 10"):
        Baseline("blur", blur_kernel_px=10)
    with pytest.raises(GroupCamError, match="blur_sigma_px must be above 0; got 0"):
        CurveProtocol(blur_sigma_px=0)
