"""Fetching one file over HTTP: watched, resumed, tried again, and never half there.

Whatever blocks (a connection, a read, a wait) runs in a thread of its own while the caller's
thread reports progress several times a second. So a caller can stop at any moment, by raising from
the function that takes the reports, even while the server is silent.
"""

import contextlib
import errno
import functools
import glob
import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
from filelock import FileLock, Timeout

from groupcam.models.checkpoints import sha256_of

Result = TypeVar("Result")

STALL_S = 10.0  # without a byte from the server, or without a connection: the attempt has failed
RETRY_DELAYS_S = (0.3, 1.0)  # before the second and the third attempt
TICK_S = 0.25  # between reports while nothing arrives: how soon a caller can stop
MARK_DIGITS = 16
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class AlteredContentError(OSError):
    """What arrived is not what its SHA-256 promises."""


@dataclass
class Watch:
    """The bytes so far, and whom to tell. An exception that `report` raises stops the work."""

    report: Callable[[int, int], None]  # bytes done, bytes in all or 0
    done: int = 0
    total: int = 0

    def at(self, done: int, total: int) -> None:
        """Report new counts."""
        self.done, self.total = done, total
        self.report(done, total)

    def wait_for(self, call: Callable[[], Result]) -> Result:
        """Return what `call` returns or raise its error; report until it does.

        When a report raises, the call is left to end in its thread, its outcome unused.
        """
        outcome: Future[Result] = Future()

        def run() -> None:
            try:
                outcome.set_result(call())
            except BaseException as error:
                outcome.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        while not wait([outcome], TICK_S).done:
            self.report(self.done, self.total)
        return outcome.result()


def persist(attempt: Callable[[], Result], watch: Watch) -> Result:
    """Return what `attempt` returns, tried again after failures that may pass by themselves."""
    for delay in RETRY_DELAYS_S:
        try:
            return attempt()
        except (httpx2.HTTPError, OSError) as error:
            if not _may_pass(error):
                raise
        watch.wait_for(functools.partial(time.sleep, delay))
    return attempt()


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error of httpx2 or of the hub's client tells of, or None."""
    return getattr(getattr(error, "response", None), "status_code", None)


@contextlib.contextmanager
def one_at_a_time(target: Path, watch: Watch) -> Iterator[None]:
    """Wait until no other thread or process holds `target`, and hold it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{target}.lock")
    while True:
        try:
            lock.acquire(timeout=TICK_S)
            break
        except Timeout:
            watch.report(watch.done, watch.total)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # Who waits for it sees that it is gone, and makes a new one.
            Path(lock.lock_file).unlink()
        lock.release()


def fetch(
    client: httpx2.Client,
    url: str,
    target: Path,
    watch: Watch,
    *,
    headers: Mapping[str, str] | None = None,
    sha256: str = "",
) -> None:
    """Write an address's content to `target`, whole or not at all.

    What arrives goes to `TARGET.MARK.part` beside it, which stays when the download breaks off or
    is stopped; the next call continues there if the server still has the same content. MARK
    stands for the content's ETag, date and length. It costs one file name instead of a second
    file, and a HEAD request, which some servers refuse, is not needed.

    Args:
        client: makes the request and follows redirects.
        url: where the content is.
        target: where it goes. To be held (`one_at_a_time`) meanwhile.
        watch: hears of every piece.
        headers: for the request.
        sha256: what the content's SHA-256 begins with; "" if that is not known.

    Raises:
        httpx2.HTTPError: no connection, silence, a connection cut off, an answer that is an error.
        AlteredContentError: the content is not that of `sha256`; nothing of it is kept.
        OSError: the file cannot be written. When the disk is full, nothing of it is kept.
    """
    kept = next(target.parent.glob(f"{glob.escape(target.name)}.*.part"), None)
    for resuming in (True, False):
        start = kept.stat().st_size if resuming and kept is not None else 0
        stream = _stream(client, url, headers or {}, start)
        try:
            answer, _ = watch.wait_for(functools.partial(next, stream))
            part, total, continues = _part_of(answer, target, start, sha256)
            if start and answer.status_code != httpx2.codes.OK and not (continues and part == kept):
                # The rest of another content, nothing after the last byte, ranges not understood.
                continue
            answer.raise_for_status()
            if kept is not None and kept != part:
                kept.unlink()
            _write(stream, part, start if continues else 0, total, watch)
            break
        finally:
            # A read that is still under way in its thread closes the connection when it ends.
            with contextlib.suppress(ValueError):
                stream.close()
    if sha256 and not watch.wait_for(lambda: sha256_of(part)).startswith(sha256):
        part.unlink()
        raise AlteredContentError(f"the content's SHA-256 does not begin with {sha256}")
    part.replace(target)


def _stream(
    client: httpx2.Client, url: str, headers: Mapping[str, str], start: int
) -> Generator[tuple[httpx2.Response, bytes], None, None]:
    """Yield the answer without content, then with each piece of it, from byte `start` on."""
    headers = {**headers, "Accept-Encoding": "identity"}  # lengths and ranges of the file itself
    if start:
        headers["Range"] = f"bytes={start}-"
    with client.stream(
        "GET", url, headers=headers, timeout=STALL_S, follow_redirects=True
    ) as answer:
        yield answer, b""
        for piece in answer.iter_raw():
            if piece:
                yield answer, piece


def _part_of(
    answer: httpx2.Response, target: Path, start: int, sha256: str
) -> tuple[Path, int, bool]:
    """Return where the content is gathered, its length (0: unknown), if it begins at `start`."""
    told = CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    total = int(told[2] if told else answer.headers.get("Content-Length") or 0)
    continues = (
        answer.status_code == httpx2.codes.PARTIAL_CONTENT
        and told is not None
        and int(told[1]) == start
    )
    etag, date = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    if etag.startswith("W/"):
        etag = ""  # weak: the same meaning, perhaps in other bytes
    mark = hashlib.sha256(f"{etag}|{date}|{total}".encode()).hexdigest()[:MARK_DIGITS]
    if not (etag or date or sha256):
        mark = secrets.token_hex(MARK_DIGITS // 2)  # nothing could prove it the same content
    return target.with_name(f"{target.name}.{mark}.part"), total, continues


def _write(
    stream: Iterator[tuple[httpx2.Response, bytes]],
    part: Path,
    done: int,
    total: int,
    watch: Watch,
) -> None:
    """Write what the stream brings to `part`, after the `done` bytes that it has."""
    try:
        with part.open("ab" if done else "wb") as file:
            watch.at(done, total)
            while arrived := watch.wait_for(lambda: next(stream, None)):
                file.write(arrived[1])
                done += len(arrived[1])
                watch.at(done, total)
    except OSError as error:
        if error.errno in DISK_FULL:
            part.unlink(missing_ok=True)
        raise
    if total and done != total:
        raise httpx2.RemoteProtocolError(f"only {done} of {total} bytes arrived")


def _may_pass(error: Exception) -> bool:
    """Return whether the same request may succeed a second later.

    A host that gives no sign of life for `STALL_S` is not asked again: most often a firewall.
    """
    status = status_of(error)
    if status is not None:
        return status >= 500
    return isinstance(
        error, httpx2.NetworkError | httpx2.TimeoutException | httpx2.RemoteProtocolError
    ) and not isinstance(error, httpx2.ConnectTimeout)
