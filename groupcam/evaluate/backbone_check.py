"""One backbone, from its name to a checked saliency map.

As a program, `python -m groupcam.evaluate.backbone_check NAME` prints the result as one line of
JSON. The sweep starts one such process a backbone, so that none can harm another.
"""

import contextlib
import dataclasses
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groupcam.errors import GroupCamError
from groupcam.models import Backbone, check_layout, default_target_layer, load_backbone
from groupcam.models.families import CheckedBackbone, Verdict, family_of, parameters_of
from groupcam.saliency import Explanation, GroupCamConfig, explain
from groupcam.saliency.capture import Capture, capture_layer
from groupcam.saliency.perturb import gaussian_blur

GROUPS = 8  # few, so that a sweep ends; they take every step that 32 take
# Until a map is not blank. To random weights no class means more than another, and often every mask
# lowers the probability of the top one.
CLASSES_TRIED = 5
# How `load_backbone` says that a network is no classifier, and that it is too large; torch's
# allocator on the CPU has no error class of its own either.
NO_LOGITS = "must give logits"
MEMORY_SIGNS = ("must fit into the memory", "DefaultCPUAllocator")
PICTURE_SIZE = (300, 400)  # (H, W): neither square nor any network's own size
SHARP_PICTURES = 3  # that norms are calibrated on
REASON_LENGTH = 400  # characters; some libraries put whole tables in their messages


class CheckError(Exception):
    """A law that every explanation keeps was broken."""


def made_up_picture(seed: int = 0) -> np.ndarray:
    """Return a picture, the same for the same seed, uint8 (H, W, 3).

    Noise whose amplitude falls with the frequency, as in photographs, which makes large and small
    blobs of colour.
    """
    height, width = PICTURE_SIZE
    noise = np.random.default_rng(seed).standard_normal((height, width, 3))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    frequency[0, 0] = np.inf  # the mean colour is added below
    spectrum = np.fft.fft2(noise, axes=(0, 1)) / frequency[:, :, None]
    blobs = np.fft.ifft2(spectrum, axes=(0, 1)).real
    rgb: np.ndarray = (127.5 + 50 * blobs / blobs.std()).clip(0, 255).astype(np.uint8)
    return rgb


def check_backbone(name: str) -> CheckedBackbone:
    """Build a backbone with random weights, explain the picture, and check the result.

    Args:
        name: "library/architecture".
    """
    findings = _Findings(name)
    verdict: Verdict = "ok"
    started = time.perf_counter()
    try:
        reason = findings.check()
    # A sweep reports whatever the networks of two libraries raise.
    except Exception as error:
        verdict = _verdict_on(error)
        is_ours = isinstance(error, GroupCamError | CheckError)
        kind = "" if is_ours else f"{type(error).__name__}: "
        reason = f"{findings.stage}: {kind}{error}"
    return CheckedBackbone(
        family=family_of(name) or "",
        name=name,
        **findings.known,
        seconds=round(time.perf_counter() - started, 1),
        verdict=verdict,
        reason=shortened(reason),
    )


def shortened(reason: str) -> str:
    """Return a message in one line of bounded length."""
    line = " ".join(reason.split())
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 3]}..."


def _verdict_on(error: Exception) -> Verdict:
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in MEMORY_SIGNS):
        return "out of memory"
    return "no classifier head" if NO_LOGITS in str(error) else "failed"


@dataclass
class _Findings:
    """What has been found out about a backbone so far; kept when a later stage fails."""

    name: str
    stage: str = "building"
    known: dict[str, Any] = field(default_factory=dict)  # columns of CheckedBackbone

    def check(self) -> str:
        """Go through all stages and return the reason of a blank map, else "".

        Raises:
            CheckError: a law is broken.
            Exception: whatever the network raises.
        """
        self.known["parameters"] = parameters_of(self.name)
        backbone = load_backbone(self.name, weights=None)
        height, width = backbone.preprocessing.input_size
        parameters = sum(parameter.numel() for parameter in backbone.network.parameters())
        self.known |= {"parameters": parameters, "input_size": f"{height} x {width}"}

        self.stage = "finding a layer"
        layer = default_target_layer(backbone)
        channels, cells_high, cells_wide = layer.shape
        self.known |= {
            "target_layer": layer.name,
            "layout": layer.layout,
            "grid": f"{cells_high} x {cells_wide}",
            "channels": channels,
        }

        self.stage = "checking the layout"
        problem = check_layout(backbone, layer)
        _calibrate_norms(backbone)
        if problem is not None:
            problem = check_layout(backbone, layer)
        _require(problem is None, problem or "")

        self.stage = "capturing"
        picture = made_up_picture()
        capture = capture_layer(backbone, backbone.preprocess(picture), layer)
        _require(tuple(capture.activations.shape[1:]) == layer.shape, "layer has another shape")
        _require(bool(capture.gradients.any()), "gradient at the layer is zero everywhere")

        self.stage = "explaining"
        config = GroupCamConfig(groups=min(GROUPS, channels))
        blank_reason = None
        for class_index in _classes_to_try(backbone, capture):
            explanation = explain(backbone, picture, config, class_index=class_index)
            self.known["passes"] = explanation.forward_passes
            _check_map(explanation, (height, width))
            blank_reason = explanation.blank_reason
            if blank_reason is None:
                break
        return blank_reason or ""


def _calibrate_norms(backbone: Backbone) -> None:
    """Set the running statistics of batch norms to those of a few pictures, one of them blurred.

    As they are initialised, such norms change nothing, and no class probability may depend on the
    picture: measured, its trace in the logits is 1e-13 in some networks and 1e11 in others. The
    layout needs no such statistics, and in a few networks they hide it.
    """
    norms = [
        module
        for module in backbone.network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    pictures = [backbone.preprocess(made_up_picture(seed)) for seed in range(SHARP_PICTURES)]
    pictures.append(_blurred(pictures[0]))
    with torch.no_grad():
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        backbone.network(torch.cat(pictures))
        backbone.network.eval()


def _classes_to_try(backbone: Backbone, capture: Capture) -> list[int]:
    """Return the top class, then those whose probability falls most when the picture is blurred."""
    with backbone.frozen(), torch.no_grad():
        blurred_logits = backbone.logits(_blurred(capture.inputs))
    falls = (capture.logits.softmax(1) - blurred_logits.softmax(1))[0]
    classes = [int(capture.class_index), *falls.argsort(descending=True).tolist()]
    return list(dict.fromkeys(classes))[:CLASSES_TRIED]


def _blurred(inputs: Tensor) -> Tensor:
    config = GroupCamConfig()
    return gaussian_blur(inputs, config.blur_sigma_px, config.blur_kernel_px)


def _check_map(explanation: Explanation, size: tuple[int, int]) -> None:
    """Hold a map to its laws.

    Raises:
        CheckError: one is broken.
    """
    saliency_map = explanation.saliency_map
    _require(tuple(saliency_map.shape) == size, f"map is {tuple(saliency_map.shape)}, not {size}")
    _require(bool(torch.isfinite(saliency_map).all()), "map is not finite")
    lowest, highest = float(saliency_map.min()), float(saliency_map.max())
    _require(lowest >= 0 and highest <= 1, f"map reaches from {lowest} to {highest}, not 0 to 1")
    is_blank = explanation.blank_reason is not None
    _require(is_blank or highest > lowest, "map is flat, and no reason is given")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)


def main() -> None:
    """Check the backbone named on the command line."""
    # Some networks print while they are built; the result must stand alone.
    with contextlib.redirect_stdout(sys.stderr):
        result = check_backbone(sys.argv[1])
    print(json.dumps(dataclasses.asdict(result)))  # noqa: T201 - read by the sweep


if __name__ == "__main__":
    main()
