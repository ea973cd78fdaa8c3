"""The weights door: a checkpoint gives its tensors or one sentence; it never runs code."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from groupcam.models import load_backbone
from groupcam.models.checkpoints import read_checkpoint
from tests.fuzz.values import json_values, outcome

TENSORS = {
    "features.weight": torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2),
    "features.bias": torch.tensor([0.5, -0.5], dtype=torch.float16),
    "count": torch.tensor(3),
}


def _saved(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


CORPUS: dict[str, tuple[str, bytes]] = {
    "safetensors": (".safetensors", safetensors.torch.save(TENSORS)),
    "archive": (".pth", _saved(TENSORS)),
    "wrapped": (".bin", _saved({"state_dict": TENSORS, "epoch": 3})),
    "of the old format": (".pt", _saved(TENSORS, _use_new_zipfile_serialization=False)),
    "bare pickle": (".pth", pickle.dumps({"weight": [1.0, 2.0]})),
}


def read_or_refused(path: Path) -> dict[str, Tensor] | None:
    tensors = outcome(lambda: read_checkpoint(path))
    if tensors is None:
        return None
    assert all(isinstance(name, str) for name in tensors)
    assert all(isinstance(tensor, Tensor) for tensor in tensors.values())
    # What is promised to be there is there: nothing grows when it is copied into a network.
    assert sum(tensor.nbytes for tensor in tensors.values()) <= 100 * path.stat().st_size
    return dict(tensors)


@pytest.mark.parametrize("name", ["safetensors", "archive", "wrapped", "of the old format"])
def test_the_corpus_is_of_checkpoints(name: str, tmp_path: Path) -> None:
    suffix, content = CORPUS[name]
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)

    tensors = read_or_refused(path)

    assert tensors is not None
    assert set(tensors) == set(TENSORS)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A checkpoint's suffix and content, changed at some places."""
    suffix, original = CORPUS[draw(st.sampled_from(sorted(CORPUS)))]
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["flip", "set", "cut", "insert", "remove"]))
        if kind == "flip" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set" and content:
            content[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del content[place:]
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=20))
        else:
            del content[place : place + draw(st.integers(1, 20))]
    return draw(st.sampled_from([suffix, suffix, suffix, ".pth", ".safetensors"])), bytes(content)


@given(file=damaged())
def test_a_damaged_checkpoint_is_read_or_refused(file: tuple[str, bytes], tmp_path: Path) -> None:
    suffix, content = file
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)

    read_or_refused(path)


@given(
    content=st.binary(max_size=200),
    start=st.sampled_from([b"", b"PK\3\4", b"\x80\2", b"\x80\4}", b"\x40\0\0\0\0\0\0\0{"]),
    suffix=st.sampled_from([".safetensors", ".pth", ".bin"]),
)
def test_any_bytes_are_read_or_refused(
    content: bytes, start: bytes, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(start + content)

    read_or_refused(path)


@given(opcodes=st.lists(st.sampled_from([bytes([code]) for code in range(256)]), max_size=60))
@example(opcodes=[b"N"])  # found by it: a file that holds None
def test_any_program_for_the_unpickler_is_refused(opcodes: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", b"\x80\2}" + b"".join(opcodes) + b".")
        archive.writestr("weights/version", "3\n")

    read_or_refused(path)


@given(
    header=st.dictionaries(
        st.sampled_from(["a", "b", "__metadata__"]),
        st.one_of(
            json_values,
            st.fixed_dictionaries(
                {
                    "dtype": st.sampled_from(
                        ["F32", "F64", "BF16", "I64", "BOOL", "F8_E4M3", "U16", "F4"]
                    ),
                    "shape": st.lists(st.integers(0, 2**62), max_size=4),
                    "data_offsets": st.lists(st.integers(0, 2**62), max_size=3),
                }
            ),
        ),
        max_size=3,
    ),
    claimed=st.sampled_from([None, 0, 1, 2**31, 2**63]),
)
def test_lying_headers_are_refused(
    header: dict[str, Any], claimed: int | None, tmp_path: Path
) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "weights.safetensors"
    length = len(text) if claimed is None else claimed
    path.write_bytes(struct.pack("<Q", length) + text + bytes(64))

    read_or_refused(path)


class _Payload:
    """Calls a function while it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def _payloads(mark: Path) -> dict[str, Any]:
    """Return objects that leave a mark when they are unpickled by Python's own reader."""
    return {
        "os": _Payload(os.system, f"touch {mark}"),
        "eval": _Payload(eval, f"open({str(mark)!r}, 'w').close()"),
        "exec": _Payload(exec, f"open({str(mark)!r}, 'w').close()"),
        "open": _Payload(open, str(mark), "w"),
        "path": _Payload(Path.touch, mark),
        "nested": {"state_dict": {"weight": torch.ones(1), "x": _Payload(os.mkdir, str(mark))}},
    }


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("form", ["archive", "old", "bare"])
@pytest.mark.parametrize("name", ["os", "eval", "exec", "open", "path", "nested"])
def test_code_in_a_checkpoint_does_not_run(
    name: str, form: str, suffix: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    payload = _payloads(mark)[name]
    path = tmp_path / f"weights{suffix}"
    if form == "bare":
        path.write_bytes(pickle.dumps(payload))
    else:
        path.write_bytes(_saved(payload, _use_new_zipfile_serialization=form == "archive"))

    assert read_or_refused(path) is None
    assert not mark.exists()
    if suffix != ".safetensors":  # the payload would have worked
        pickle.loads(pickle.dumps(payload))
        assert mark.exists()


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    """A zip bomb: 200 MB of zeros in 200 kB."""
    path = tmp_path / "weights.pth"
    stored = _saved({"weight": torch.zeros(50_000_000)})
    with (
        zipfile.ZipFile(io.BytesIO(stored)) as source,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for entry in source.infolist():
            archive.writestr(entry.filename, source.read(entry))
    assert path.stat().st_size < 1_000_000

    assert read_or_refused(path) is None


def test_a_tensor_that_claims_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    """Strides of 0 make terabytes of one number, until something copies them."""
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(1).expand(10**6, 10**6)}, path)

    assert read_or_refused(path) is None


@settings(max_examples=settings().max_examples // 10)  # each builds a network
@given(
    shapes=st.dictionaries(
        st.integers(0, 400), st.lists(st.integers(0, 9), max_size=5).map(tuple), max_size=6
    ),
    dtype=st.sampled_from([torch.float32, torch.int64, torch.bool, torch.complex64]),
    is_cut=st.booleans(),
)
def test_tensors_of_any_shape_are_loaded_or_refused(
    shapes: dict[int, tuple[int, ...]], dtype: torch.dtype, is_cut: bool, tmp_path: Path
) -> None:
    """Conversions of old formats, interpolated position embeddings: all meet foreign tensors."""
    tensors = dict(VIT)
    names = list(tensors)
    for place, shape in shapes.items():
        tensors[names[place % len(names)]] = torch.zeros(shape, dtype=dtype)
    if is_cut:
        tensors.pop(names[len(shapes)])
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(tensors, path)

    outcome(lambda: load_backbone("timm/test_vit", path))


def test_a_tensor_that_timm_asserts_against_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(
        {**VIT, "patch_embed.proj.weight": torch.zeros(1, 2, 3, 4, 5)}, path
    )

    assert outcome(lambda: load_backbone("timm/test_vit", path)) is None


VIT = {
    name: tensor.contiguous()
    for name, tensor in load_backbone("timm/test_vit", None).network.state_dict().items()
}
