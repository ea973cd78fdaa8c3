"""How many arenas of the C library the threads of an app share."""

import os
import platform
import subprocess
import sys

import pytest

from tests.support import ROOT

# Sixteen threads allocate at the same time; then glibc tells its arenas as XML.
PROGRAM = """
import ctypes, sys, threading
from groupcam.memory import share_arenas

if sys.argv[1] == "shared":
    share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fdopen.restype = ctypes.c_void_p
ready, done = threading.Barrier(17), threading.Barrier(17)

def allocate():
    ready.wait()
    for _ in range(1000):
        libc.malloc(ctypes.c_size_t(100))
    done.wait()

for _ in range(16):
    threading.Thread(target=allocate, daemon=True).start()
ready.wait()
done.wait()
output = libc.fdopen(1, b"w")
libc.malloc_info(0, ctypes.c_void_p(output))
libc.fflush(ctypes.c_void_p(output))
"""


def arenas(*, shared: bool, **variables: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "shared" if shared else "own"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_threads_share_two_arenas_unless_the_operator_says_otherwise() -> None:
    assert arenas(shared=True) <= 2
    assert arenas(shared=False) > 2
    assert arenas(shared=True, MALLOC_ARENA_MAX="5") in range(3, 6)
