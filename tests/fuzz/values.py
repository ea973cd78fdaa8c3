"""What strangers send, and the law for every answer."""

import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st

from groupcam.errors import GroupCamError, WeightsUnavailableError
from tests.support import ROOT

MOST_S = 10.0  # of one thread: a busy machine is no fault of the input
MOST_SAID = 4000  # characters of an error
OF_THIS_MACHINE = (str(ROOT), sys.prefix, str(Path.home()), tempfile.gettempdir())
# How Python, NumPy and torch complain: no sentence for a visitor.
NOT_OURS = re.compile(
    r"Traceback|unhashable|object (is|has|cannot)|NoneType|positional argument|keyword argument|"
    r"codec can't|embedded null|invalid literal|Errno|recursion|0x[0-9a-f]{6,}",
    re.IGNORECASE,
)

HOSTILE_TEXTS = (
    *("", " ", "0", "-1", "none", "None", "nan", "inf", "1e999", "9" * 5000, "٣٤", "²"),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "timm/../../etc/passwd",
        "~/.bashrc",
    ),
    *("http://127.0.0.1:1/x", "http://169.254.169.254/latest", "https://localhost/", "//x/y"),
    *("C:\\Windows\\win.ini", "cat.jpg\0.png", "%2e%2e%2f", "a" * 20_000, "\U0001f600" * 99),
    *("<img src=x onerror=alert(1)>", "${7*7}", "{{7*7}}", "'; drop table x; --", "__class__"),
    *("\ud800", "\u202etxt.exe", "a\r\nSet-Cookie: x=1", "(" * 300, "[" * 300, "-" * 300 + "1"),
)
"""Texts that have broken servers before."""

texts = st.one_of(st.sampled_from(HOSTILE_TEXTS), st.text(max_size=40))
numbers = st.one_of(
    st.integers(-3, 400),
    st.sampled_from([10**18, -(10**18), 10**400, 2**63, 1e308, -1e308, 5e-324, 32.0, 0.5]),
    st.floats(),
)


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


FORGED_FILES: tuple[dict[str, Any], ...] = (
    {"path": "/etc/passwd"},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"path": "README.md", "url": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}},
    {"path": "\ud800"},
    {"path": "x" * 5000},
    {"path": "cat.jpg\0"},
    {"path": ["/etc/passwd"]},
    {"path": None, "url": "file:///etc/passwd"},
)

json_values = st.one_of(
    st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=8,
    ),
    st.sampled_from(FORGED_FILES).map(dict),
    st.integers(1, 700).map(_deep),
    st.sampled_from([[1] * 100_000, ["grad_cam"] * 20_000, {"a" * 50: "b" * 50_000}]),
)
"""Anything that JSON can carry, and some that only a forger would write."""


class _Errors(logging.Handler):
    """Collects what was logged as an accident."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def outcome(call: Callable[[], Any], allowed: tuple[type[BaseException], ...] = ()) -> Any:
    """Return a call's answer, or None where it was refused as the house refuses.

    Anything else fails: another error, a logged accident, an answer that takes too long, a message
    that says nothing or that tells of this machine.

    Args:
        call: what a stranger sets off.
        allowed: errors of others, raised before any code of ours.
    """
    accidents = _Errors()
    logger = logging.getLogger("groupcam")
    logger.addHandler(accidents)
    started = time.thread_time()
    answer = None
    try:
        answer = call()
        _count("answered")
    except (GroupCamError, WeightsUnavailableError, gr.Error) as error:
        check_told(error.message if isinstance(error, gr.Error) else str(error))
        _count("refused")
    except allowed:
        _count("refused by Gradio")
    finally:
        logger.removeHandler(accidents)
    assert time.thread_time() - started < MOST_S
    assert [record.getMessage() for record in accidents.records] == []
    return answer


def _count(kind: str) -> None:
    """Count an answer for Hypothesis' statistics."""
    if currently_in_test_context():
        event(kind)


def check_told(message: str) -> None:
    """Check a sentence that a stranger gets to read."""
    assert len(message.split()) >= 3, message
    assert message.rstrip()[-1] in ".?…)", message[-200:]
    assert len(message) <= MOST_SAID, len(message)
    own_words = re.sub("'[^']*'", "''", message)  # what was sent is repeated in quotes
    assert NOT_OURS.search(own_words) is None, message
    for folder in OF_THIS_MACHINE:
        assert folder not in message, message
