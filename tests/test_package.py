"""What importing loads, and that the public names and their example are true."""

import doctest
import subprocess
import sys

import pytest

import groupcam
from tests.support import ROOT


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-c", "import groupcam"], id="import"),
        pytest.param(["-m", "groupcam", "--help"], id="help"),
    ],
)
def test_neither_torch_nor_gradio_is_loaded_before_it_is_needed(arguments: list[str]) -> None:
    report = run_python("-X", "importtime", *arguments).stderr

    loaded = {line.rpartition("|")[2].strip() for line in report.splitlines()}
    assert "groupcam.errors" in loaded
    assert loaded.isdisjoint({"torch", "timm", "gradio"})


def test_library_needs_no_gradio_and_loads_scikit_learn_only_to_cluster() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "groupcam").rglob("*.py")
        if "ui" not in path.parts
    ]
    block = "sys.modules['gradio'] = sys.modules['sklearn'] = None"  # importing them raises

    run_python("-c", f"import sys; {block}; import {', '.join(modules)}")

    assert {"groupcam.cli.explain", "groupcam.metrics", "groupcam.saliency"} <= set(modules)


@pytest.mark.parametrize("name", groupcam.__all__)
def test_public_names_exist_and_are_listed(name: str) -> None:
    assert hasattr(groupcam, name)
    assert name in dir(groupcam)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'groupcam' has no attribute 'explian'"):
        _ = groupcam.explian  # type: ignore[attr-defined]  # that mypy complains is the point


def test_example_of_the_package_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # its picture is named from there

    outcome = doctest.testmod(groupcam)

    assert outcome.attempted > 0
    assert outcome.failed == 0
