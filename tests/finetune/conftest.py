"""Pictures of three classes, and a training on them that nothing happened to."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from groupcam.finetune.run import Trained
from tests.finetune.support import finetuned, write_classes


@dataclass(frozen=True)
class Undisturbed:
    trained: Trained
    out: Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("classes"))


@pytest.fixture(scope="session")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    out = tmp_path_factory.mktemp("undisturbed")
    return Undisturbed(finetuned(folder, out), out)
