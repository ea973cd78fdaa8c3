"""Reading a weights file without ever running code from it."""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from groupcam.errors import GroupCamError, shown

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WRAPPER_KEYS = ("state_dict", "model_state_dict", "model")  # how training scripts nest weights
PREFIXES = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before each name
SHOWN_NAMES = 3
CLASS_NAMES = "class_names"
LONGEST_NAME = 300  # characters; longer ones are no names


class BrokenFileError(GroupCamError):
    """A weights file is cut off, or never was one."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a weights file, on the CPU.

    The usual wrappings of training scripts ({"state_dict": ...}, names under "module.") come off.

    Raises:
        BrokenFileError: it is cut off, or no weights file at all.
        GroupCamError: there is no such file, or it holds code or something else than named tensors.
    """
    if not path.is_file():
        raise GroupCamError(f"A weights file must exist; there is none at '{path}'.")
    if path.suffix == ".safetensors":
        try:
            tensors = safetensors.torch.load_file(path)
        except Exception as error:  # its own, and whatever a header that lies sets off in torch
            raise BrokenFileError(_broken(path)) from error
        return _named_tensors(tensors, path)
    _check_unpacked_size(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's reader refuses code and stumbles over garbage with one and the same type.
        if _is_pickle(path):
            raise GroupCamError(_refused(path)) from error
        raise BrokenFileError(_broken(path)) from error
    except Exception as error:  # garbage makes torch's reader raise nearly every type
        raise BrokenFileError(_broken(path)) from error
    return _named_tensors(content, path)


def class_names_in(path: Path) -> tuple[str, ...] | None:
    """Return the names of the classes that a .safetensors file tells of, or None.

    They stand in its metadata under `CLASS_NAMES`, as a JSON list of different texts.
    """
    if path.suffix != ".safetensors":
        return None
    with safetensors.safe_open(path, framework="pt") as file:
        told = (file.metadata() or {}).get(CLASS_NAMES)
    try:
        names = json.loads(told or "null")
    except (ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return None
    is_usable = len(set(names)) == len(names) and max(map(len, names), default=0) <= LONGEST_NAME
    return tuple(names) if names and is_usable else None


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """Return how two sets of named tensors differ, in one phrase, or None if they fit."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    reshaped = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    parts = [
        f"{len(names)} {what} ({', '.join(names[:SHOWN_NAMES])}{', ...' * (len(names) > 3)})"
        for what, names in (
            ("missing", missing),
            ("unknown", unexpected),
            ("of another shape", reshaped),
        )
        if names
    ]
    return "; ".join(parts) or None


def _named_tensors(content: object, path: Path) -> dict[str, Tensor]:
    """Return the tensors by name from whatever a training script saved around them."""
    for key in WRAPPER_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise GroupCamError(_not_weights(path, _kind(content)))
    if not content:  # timm takes that for no weights, and asks the hub for them
        raise GroupCamError(_not_weights(path, "none"))
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise GroupCamError(_not_weights(path, f"{shown(name)}: {_kind(value)}"))
        if value.layout == torch.strided and value.nbytes > value.untyped_storage().nbytes():
            raise GroupCamError(
                f"A tensor in a weights file must be stored whole; {shown(name)} in '{path.name}' "
                "repeats its values. Save it again with .contiguous() tensors."
            )
    named = dict(content)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in named):
            named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    return named


def _kind(value: object) -> str:
    """Return what something is, in a word for a sentence."""
    return "None" if value is None else type(value).__name__


def _check_unpacked_size(path: Path) -> None:
    """Refuse an archive that grows when it is read; torch packs its tensors as they are.

    Raises:
        GroupCamError: it does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # no archive, or a broken one: what it is, torch's reader will find out
        return
    if unpacked > path.stat().st_size:
        raise GroupCamError(
            f"A weights file must hold its tensors uncompressed; '{path.name}' unpacks to "
            f"{unpacked:,} bytes, more than it has. Save it again with torch.save."
        )


def _is_pickle(path: Path) -> bool:
    """Return whether a file begins as Python's pickles or torch's archives of them do."""
    with path.open("rb") as file:
        return file.read(2).startswith((b"\x80", b"PK"))


def _refused(path: Path) -> str:
    return (
        f"A weights file must hold tensors only; '{path.name}' holds Python objects that could run "
        "code, so it is refused. Save the network's state_dict() alone, best as .safetensors."
    )


def _broken(path: Path) -> str:
    return (
        f"A weights file must be complete; '{path.name}' ({path.stat().st_size:,} bytes) is cut "
        "off or not a weights file at all. Download or save it again."
    )


def _not_weights(path: Path, found: str) -> str:
    return (
        f"A weights file must hold tensors by name; '{path.name}' holds {found}. "
        "Save the network's state_dict()."
    )
