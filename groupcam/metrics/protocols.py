"""How perturbed pictures are made: what hides a pixel, how many pixels a step, whose habits.

Areas under curves of different protocols must not be compared: the baseline alone moves them by
more than a better method does. So results name the protocol, and `PRESETS` has those in use.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from groupcam.errors import GroupCamError, did_you_mean
from groupcam.saliency.perturb import gaussian_blur

BaselineKind = Literal["blur", "zero", "mean", "noise"]


@dataclass(frozen=True)
class Baseline:
    """What hidden pixels are replaced by.

    * "blur": the picture under a Gaussian blur with reflected borders;
    * "zero": 0 in normalised space, the mean colour of the network's training pictures;
    * "mean": the picture's own mean colour;
    * "noise": standard normal noise in normalised space, the same for every picture of a size, so
      that methods meet the same noise.

    Raises:
        GroupCamError: the kind is unknown, or the blur's sigma or kernel is not possible.
    """

    kind: BaselineKind = "zero"
    blur_sigma_px: float = 50.0  # of "blur" only, as is the kernel
    blur_kernel_px: int = 51
    noise_seed: int = 0  # of "noise" only

    def __post_init__(self) -> None:
        """Check the values."""
        if self.kind not in get_args(BaselineKind):
            raise GroupCamError(
                f"The baseline must be one of {', '.join(get_args(BaselineKind))}; got "
                f"{self.kind!r}.{did_you_mean(str(self.kind), get_args(BaselineKind))}"
            )
        if not self.blur_sigma_px > 0:
            raise GroupCamError(
                f"blur_sigma_px must be above 0; got {self.blur_sigma_px}. Choose a wider blur."
            )
        if self.blur_kernel_px < 1 or self.blur_kernel_px % 2 == 0:
            raise GroupCamError(
                f"blur_kernel_px must be odd and at least 1; got {self.blur_kernel_px}. "
                "Choose an odd number, so that the kernel has a centre."
            )

    def of(self, pictures: Tensor) -> Tensor:
        """Return what lies behind normalised pictures, (..., 3, H, W); they are not changed."""
        if self.kind == "blur":
            return gaussian_blur(pictures, self.blur_sigma_px, self.blur_kernel_px)
        if self.kind == "mean":
            return pictures.mean(dim=(-2, -1), keepdim=True).expand_as(pictures).contiguous()
        if self.kind == "noise":
            # Drawn on the CPU: the same on every device.
            generator = torch.Generator().manual_seed(self.noise_seed)
            noise = torch.randn(pictures.shape[-3:], generator=generator)
            return noise.to(pictures).expand_as(pictures).contiguous()
        return torch.zeros_like(pictures)


@dataclass(frozen=True)
class CurveProtocol:
    """How the pictures of the curves are made. The defaults are those of Group-CAM's authors.

    Raises:
        GroupCamError: pixels_per_step is below 1, or a baseline is not possible.
    """

    pixels_per_step: int = 448
    blur_sigma_px: float = 50.0  # of the baselines that are "blur"
    blur_kernel_px: int = 51
    insertion_baseline: BaselineKind = "blur"  # what insertion starts from
    deletion_baseline: BaselineKind = "zero"  # what deletion ends in
    noise_seed: int = 0  # of the baselines that are "noise"

    def __post_init__(self) -> None:
        """Check the step size and the baselines."""
        if self.pixels_per_step < 1:
            raise GroupCamError(
                f"pixels_per_step must be at least 1; got {self.pixels_per_step}. "
                "Choose more pixels a step."
            )
        self.baseline(self.insertion_baseline)
        self.baseline(self.deletion_baseline)

    @classmethod
    def with_steps(cls, steps: int, size: tuple[int, int]) -> "CurveProtocol":
        """Return the protocol that takes at most this many steps at an input size (H, W)."""
        return cls(pixels_per_step=_pixels_per_step(steps, size))

    @classmethod
    def named(cls, name: str, size: tuple[int, int]) -> "CurveProtocol":
        """Return a preset (see `PRESETS`) for an input size (H, W).

        Raises:
            GroupCamError: there is no such preset.
        """
        if name not in PRESETS:
            raise GroupCamError(
                f"protocol must be one of {', '.join(PRESETS)}; got {name!r}."
                f"{did_you_mean(name, PRESETS)}"
            )
        preset = PRESETS[name]
        pixels = preset.pixels_per_step
        return cls(
            pixels_per_step=_pixels_per_step(preset.steps, size) if pixels is None else pixels,
            blur_sigma_px=preset.insertion.blur_sigma_px,
            blur_kernel_px=preset.insertion.blur_kernel_px,
            insertion_baseline=preset.insertion.kind,
            deletion_baseline=preset.deletion.kind,
        )

    def baseline(self, kind: BaselineKind) -> Baseline:
        """Return the baseline of this kind with this protocol's blur and seed."""
        return Baseline(kind, self.blur_sigma_px, self.blur_kernel_px, self.noise_seed)


DEFAULT_PROTOCOL = CurveProtocol()


@dataclass(frozen=True)
class Preset:
    """The insertion and deletion of a published code, for any input size."""

    source: str
    insertion: Baseline
    deletion: Baseline
    pixels_per_step: int | None  # None: `steps` steps
    steps: int = 0
    departure: str = ""  # in what our curves differ from that code's


PRESETS: dict[str, Preset] = {
    "authors": Preset(
        source="wofmanaf/Group-CAM at ffd807b",
        insertion=Baseline("blur", 50.0, 51),
        deletion=Baseline("zero"),
        pixels_per_step=448,
    ),
    "rise": Preset(
        source="eclique/RISE at d91ea00, evaluation.py and Evaluation.ipynb; arXiv:1806.07421",
        insertion=Baseline("blur", 5.0, 11),
        deletion=Baseline("zero"),
        pixels_per_step=224,  # a row of their 224 x 224 input
        departure=(
            "RISE's blur takes 0 outside the picture where ours reflects it, and its kernel of 11 "
            "holds a Gaussian folded back into 11 pixels, which is flatter than ours: on two "
            "pictures the insertion AUC with it was higher by 0.023 and lower by 0.002. Equal "
            "pixels come in no stated order there."
        ),
    ),
    "torch-cam": Preset(
        source="frgfm/torch-cam at f44afef, DeletionInsertionMetric",
        insertion=Baseline("zero"),
        deletion=Baseline("zero"),
        pixels_per_step=None,
        steps=20,
    ),
    "xplique": Preset(
        source="deel-ai/xplique, Insertion and Deletion in metrics/fidelity.py",
        insertion=Baseline("zero"),
        deletion=Baseline("zero"),
        pixels_per_step=None,
        steps=10,
        departure=(
            "xplique rounds every point down to whole pixels, which moves it by 10 pixels at most; "
            "equal pixels come in no stated order there."
        ),
    ),
}
"""Named protocols; "authors" is the plain default."""


def _pixels_per_step(steps: int, size: tuple[int, int]) -> int:
    return -(-size[0] * size[1] // steps)
