"""Results as JSON lines that outlive a kill: the first line says how the others were made."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from groupcam.errors import GroupCamError

Entry = dict[str, Any]


class Journal:
    """A file of one header and any number of entries, which one process at a time may add to.

    Every entry is on the disk when `add` returns. A process that is killed while it writes leaves
    a last line that is cut off; it is removed when the file is opened the next time.

    Raises:
        GroupCamError: the file has another header, is in use, or cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self._header = header
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise GroupCamError(
                f"Only one process may write {path.name}; another one does. Wait for its end."
            ) from error
        except OSError as error:
            raise _not_writable(path, error) from error
        try:
            self._open(header)
        except OSError as error:
            self._unlock()
            raise _not_writable(path, error) from error
        except BaseException:
            self._unlock()
            raise

    def _open(self, header: Mapping[str, Any]) -> None:
        """Open the file at the end of its last whole line."""
        found = read_header(self.path)
        if found is not None and found != header:
            raise GroupCamError(
                f"{self.path.name} must have been written with the same settings. Choose another "
                "file, or remove it."
            )
        _remove_cut_off_line(self.path)
        self._file = self.path.open("ab")
        if found is None:
            self._write(header)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write down one entry."""
        self._write(entry)

    def keep(self, entries: list[Entry]) -> None:
        """Put these entries in the place of all that the file has."""
        self._file.close()
        rewrite_journal(self.path, self._header, entries)
        self._file = self.path.open("ab")

    def close(self) -> None:
        """Let others write."""
        self._file.close()
        self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _unlock(self) -> None:
        # Removed while it is held: FileLock sees to those who have opened it in the meantime.
        with contextlib.suppress(OSError):
            Path(self._lock.lock_file).unlink()
        self._lock.release()

    def _write(self, content: Mapping[str, Any]) -> None:
        self._file.write(_line(content))
        self._file.flush()
        os.fsync(self._file.fileno())


def read_header(path: Path) -> Entry | None:
    """Return the first line, or None where there is no whole one yet.

    A damaged one gives {}, which is no header of ours.
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        first = file.readline()
    if not first.endswith(b"\n"):
        return None
    return _parsed(first) or {}


def read_entries(path: Path) -> list[Entry]:
    """Return the entries of a journal in their order; those that are damaged are left out."""
    with path.open("rb") as file:
        file.readline()  # the header
        entries = (_parsed(line) for line in file if line.endswith(b"\n"))
        return [entry for entry in entries if entry is not None]


def rewrite_journal(path: Path, header: Mapping[str, Any], entries: list[Entry]) -> None:
    """Put a journal with these entries in the file's place, all at once."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.writelines(_line(content) for content in (header, *entries))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _not_writable(path: Path, error: OSError) -> GroupCamError:
    return GroupCamError(f"{path.name} must be a file that can be written; {error.strerror}.")


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _parsed(line: bytes) -> Entry | None:
    """Return a line's object, or None where it holds none."""
    try:
        content = json.loads(line)
    except ValueError:  # a UnicodeDecodeError is one
        return None
    return content if isinstance(content, dict) else None


def _remove_cut_off_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
