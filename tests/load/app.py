"""The app as a process of its own on this machine, for tests and measurements."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from tests.load.visits import Case, Site, Visitor
from tests.support import ROOT

START_S = 180.0  # the machine may be busy
STOP_S = 60.0


@contextlib.contextmanager
def running_app(log: Path, variables: Mapping[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Yield address and process id of a new app that is at its full speed; it ends afterwards.

    Args:
        log: where what it says goes.
        variables: of its environment, beside this process's own.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until the app answers and has prepared the default network: results then stay equal.

    Raises:
        RuntimeError: that takes too long, or the process has ended.
    """
    deadline = time.monotonic() + START_S
    calm = 0
    while calm < 3:
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise RuntimeError(f"The app at {url} must be ready within {START_S:.0f} s.")
        time.sleep(0.3)
        with contextlib.suppress(httpx.HTTPError):
            if calm == 0:  # asks for the network, so that it is loaded
                Visitor(Site(url)).answer(Case("layers"))
            health = httpx.get(f"{url}/health", timeout=10).json()
            calm = 0 if health["preparing"] else calm + 1
