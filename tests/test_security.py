"""SECURITY.md against the code: every proof that it names exists, every setting is listed."""

import re

import pytest

from tests.support import ROOT

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
PROOF = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def section(title: str) -> str:
    """Return the text under a heading."""
    _, _, rest = TEXT.partition(f"\n## {title}\n")
    assert rest, title
    return rest.partition("\n## ")[0]


def rows(text: str) -> list[str]:
    """Return the lines of a section's table, without its head."""
    return [line for line in text.splitlines() if line.startswith("| ")][2:]


@pytest.mark.parametrize(("path", "name"), sorted(set(PROOF.findall(TEXT))))
def test_a_proof_that_is_named_exists(path: str, name: str) -> None:
    source = (ROOT / path).read_text(encoding="utf-8")

    assert re.search(rf"^(async )?def {name or 'test_'}", source, re.MULTILINE)


@pytest.mark.parametrize("row", rows(section("What the app promises")), ids=lambda row: row[2:50])
def test_every_promise_has_a_proof(row: str) -> None:
    assert PROOF.search(row)


def test_every_setting_that_is_read_is_listed() -> None:
    sources = [ROOT / "app.py", *(ROOT / "groupcam").rglob("*.py")]
    read = {
        name
        for path in sources
        for name in re.findall(r"\bGROUPCAM_[A-Z_]+\b", path.read_text(encoding="utf-8"))
    }
    listed = set(re.findall(r"`(GROUPCAM_[A-Z_]+)`", section("Settings for operators")))

    assert read
    assert read == listed
