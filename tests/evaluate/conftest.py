"""The tiny network in the place of every backbone."""

from pathlib import Path

import pytest

from groupcam.evaluate import run
from groupcam.evaluate.data_sets import DataSet
from tests.evaluate.support import plain_folder, tiny_backbone


@pytest.fixture
def tiny_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "load_backbone", tiny_backbone)


@pytest.fixture
def pictures(tmp_path: Path) -> DataSet:
    """Six pictures, the second of which is damaged."""
    return plain_folder(tmp_path / "pictures")
