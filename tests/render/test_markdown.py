from pathlib import Path

import pytest

from groupcam.errors import GroupCamError
from groupcam.render.markdown import markdown_table, put_section

START, END = "<!-- start -->", "<!-- end -->"


def test_a_cell_may_hold_any_text() -> None:
    table = markdown_table(("Name", "Value"), [("a|b\n`c` <i>", "1"), ("[x](y)", "*2*")])

    assert table.splitlines() == [
        "| Name | Value |",
        "| --- | --- |",
        r"| a\|b \`c\` \<i\> | 1 |",
        r"| [x]\(y) | \*2\* |",
    ]


def test_a_section_changes_between_its_marks_only(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")

    for text in ("first", "Übersicht"):
        put_section(file, START, END, text)

    assert file.read_text("utf-8") == f"before\n{START}\n\nÜbersicht\n\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", START, END, f"{END}\n{START}"])
def test_marks_must_be_there_and_in_order(tmp_path: Path, text: str) -> None:
    file = tmp_path / "README.md"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(GroupCamError, match="must hold the lines"):
        put_section(file, START, END, "new")

    assert file.read_text("utf-8") == text
