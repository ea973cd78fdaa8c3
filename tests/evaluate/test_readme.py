"""The README's results, and journals made small enough to be committed."""

from pathlib import Path

import pytest

from groupcam.__main__ import main
from groupcam.errors import GroupCamError
from groupcam.evaluate.data_sets import DataSet
from groupcam.evaluate.readme import (
    SECTION_END,
    SECTION_START,
    compact,
    load_results,
    readme_section,
    reference_of,
    title_of,
)
from groupcam.evaluate.run import evaluate_steps
from groupcam.evaluate.summary import summarise
from groupcam.evaluate.variants import parse_variant
from groupcam.steps import finish
from tests.evaluate.support import TINY
from tests.support import ROOT

COMMITTED = sorted((ROOT / "assets" / "results").glob("*.jsonl"))

pytestmark = pytest.mark.usefixtures("tiny_everywhere")


@pytest.fixture
def journal(pictures: DataSet, tmp_path: Path) -> Path:
    """A finished evaluation, with a picture that failed."""
    path = tmp_path / "tiny-run.jsonl"
    finish(evaluate_steps(pictures, TINY, path))
    return path


def test_results_are_read_back_without_the_pictures(journal: Path, pictures: DataSet) -> None:
    again = load_results(journal)

    assert again.settings == TINY
    assert [entry["picture"] for entry in again.entries] == [one.name for one in pictures.samples]
    assert "error" in again.entries[1]
    with pytest.raises(GroupCamError, match="results of an evaluation"):
        load_results(ROOT / "README.md")


def test_a_compact_journal_gives_the_same_table_and_is_smaller(
    journal: Path, tmp_path: Path
) -> None:
    compact(journal, tmp_path / "small.jsonl")

    assert (tmp_path / "small.jsonl").stat().st_size < journal.stat().st_size / 2
    whole, small = (summarise(load_results(path)) for path in (journal, tmp_path / "small.jsonl"))
    assert small.failures == whole.failures
    for one, other in zip(whole.rows, small.rows, strict=True):
        for metric, cell in one.cells.items():
            assert cell.mean is not None
            twin = other.cells[metric].mean
            assert twin is not None
            assert twin.value == pytest.approx(cell.mean.value, abs=1e-4)


def test_the_section_has_every_method_with_its_difference(journal: Path) -> None:
    section = readme_section([(title_of(journal), journal)])

    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert "**Tiny run.** timm/tf_efficientnet_lite0, layer features.3; 6 pictures" in section
    assert len(rows) == 2 + len(TINY.methods)
    assert rows[2].startswith("| Group-CAM, groups=2 | ")
    assert "the reference | 5 |" in rows[2]
    assert "wins" in rows[3]
    assert "wins" in rows[4]


def test_the_command_writes_between_the_marks_only(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{SECTION_START}\nold\n{SECTION_END}\n\nThe end.\n")

    for _ in range(2):
        assert main(["results", str(journal), "--readme", str(readme)]) == 0

    text = readme.read_text()
    section = readme_section([(title_of(journal), journal)])
    assert text == f"# Title\n\n{SECTION_START}\n\n{section}\n\n{SECTION_END}\n\nThe end.\n"
    assert main(["results", str(journal)]) == 0
    assert "| grad\\_cam |" in capsys.readouterr().out.replace("grad_cam", "grad\\_cam")


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_the_readme_is_that_of_the_committed_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    section = text.partition(SECTION_START)[2].partition(SECTION_END)[0].strip()

    assert COMMITTED
    assert section == readme_section([(title_of(path), path) for path in COMMITTED])


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_results_are_of_the_methods_as_they_are_now(path: Path) -> None:
    results = load_results(path)

    for name, settings in results.card["methods"].items():
        assert parse_variant(name).settings == settings
    assert reference_of(results) in results.settings.methods
