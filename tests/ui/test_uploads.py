from pathlib import Path
from typing import Any

import pytest

from groupcam.errors import GroupCamError
from groupcam.ui.uploads import uploaded_path


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder.resolve()


def test_an_uploaded_file_is_found(uploads: Path) -> None:
    assert uploaded_path({"path": str(uploads / "a" / "cat.jpg")}) == uploads / "a" / "cat.jpg"


def test_a_link_that_leads_out_is_refused(uploads: Path) -> None:
    (uploads / "cat.jpg").symlink_to("/etc/passwd")

    with pytest.raises(GroupCamError, match="image must be an uploaded file"):
        uploaded_path({"path": str(uploads / "cat.jpg")})


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "cat.jpg",
        {},
        {"path": None},
        {"path": ["cat.jpg"]},
        {"path": "/etc/passwd"},
        {"path": "{uploads}/../cat.jpg"},
        {"path": "{uploads}-not/cat.jpg"},
        {"path": "{uploads}/cat.jpg\0"},
        {"path": "http://127.0.0.1:1/cat.jpg"},
        {"url": "http://127.0.0.1:1/cat.jpg"},
    ],
    ids=str,
)
def test_everything_else_is_refused(uploads: Path, payload: Any) -> None:
    if isinstance(payload, dict) and isinstance(payload.get("path"), str):
        payload = {"path": payload["path"].replace("{uploads}", str(uploads))}

    with pytest.raises(GroupCamError, match="image must be an uploaded file"):
        uploaded_path(payload)
