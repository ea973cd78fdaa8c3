"""What a measurement was made on."""

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

import groupcam
from groupcam.evaluate.bench.contenders import peak_gflops

PACKAGES = ("torch", "torchvision", "timm", "openvino", "grad-cam", "torchcam")


def total_memory_mib(device: str) -> float:
    """Return the memory of the machine, or of the GPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 2**20
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20


def hardware(device: str) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    found = {
        "device": device,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(total_memory_mib("cpu") / 1024, 1),
        "matrix_product_gflops": round(peak_gflops(device)),
    }
    if torch.device(device).type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on, of what is installed."""
    found = {"groupcam": groupcam.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
