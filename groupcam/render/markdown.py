"""Tables in Markdown, and sections of a file that a command writes."""

from collections.abc import Sequence
from pathlib import Path

from groupcam.errors import GroupCamError

Row = Sequence[str]


def markdown_table(headings: Row, rows: Sequence[Row]) -> str:
    """Return a table whose cells may hold any text: file names too."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def put_section(file: Path, start: str, end: str, section: str) -> None:
    """Put a section between its marks in a file; all else stays as it is.

    Raises:
        GroupCamError: the marks are not there.
    """
    text = file.read_text(encoding="utf-8")
    first, last = text.find(start), text.find(end)
    if not 0 <= first < last:
        raise GroupCamError(
            f"The file must hold the lines '{start}' and '{end}'; '{file}' does not. Put them "
            "where the tables belong."
        )
    before, after = text[: first + len(start)], text[last:]
    file.write_text(f"{before}\n\n{section}\n\n{after}", encoding="utf-8")


def _escaped(text: str) -> str:
    """Return text that ends no cell and starts no markup of its own."""
    for sign in "\\|`*<>":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.replace("](", "]\\(").split())
