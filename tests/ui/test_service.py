"""Health, log and stop of a running app."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]

from groupcam.ui.components import EXAMPLES
from groupcam.ui.event_log import JsonLines, log_event
from groupcam.ui.service import Service

ROOT = Path(__file__).resolve().parents[2]


def test_work_is_counted_while_it_runs_and_by_how_it_ended() -> None:
    service = Service()
    seen = []

    @service.watched
    def steps(count: int) -> Iterator[int]:
        for number in range(count):
            seen.append(service.health()["running"])
            yield number
        if not count:
            raise ValueError("nothing to do")

    assert list(steps(2)) == [0, 1]
    assert seen == [1, 1]
    left = steps(2)
    next(left)
    left.close()
    with pytest.raises(ValueError, match="nothing"):
        list(steps(0))

    health = service.health()
    assert (health["running"], health["done"], health["left"], health["failed"]) == (0, 1, 1, 1)
    assert health["status"] == "ok"
    assert health["preparing"] is False


def test_a_stop_waits_for_what_runs_and_lets_nothing_begin() -> None:
    service = Service()
    may_end = threading.Event()
    begun = threading.Event()

    @service.watched
    def work() -> str:
        begun.set()
        may_end.wait(10)
        return "whole"

    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    assert begun.wait(10)

    assert not service.stop(patience_s=0.05)
    with pytest.raises(gr.Error, match="being restarted"):
        work()
    may_end.set()
    assert service.stop(patience_s=10)
    thread.join()
    assert results == ["whole"]
    assert service.health()["status"] == "stopping"


def test_a_line_of_the_log_is_one_json_object(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "groupcam"):
        log_event("explained", backbone='a "b"\nc', seconds=0.25)
    line = JsonLines().format(caplog.records[-1])

    assert "\n" not in line
    found = json.loads(line)
    assert (found["event"], found["backbone"], found["seconds"]) == ("explained", 'a "b"\nc', 0.25)


def health_of(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_running_app_ends_what_runs_when_it_is_told_to_stop(tmp_path: Path) -> None:
    log = tmp_path / "log"
    environment = os.environ | {"GROUPCAM_LOG": "json", "GRADIO_SERVER_NAME": "127.0.0.1"}
    with log.open("w") as errors:
        app = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert app.stdout is not None
        url = next(line.split()[-1].rstrip("/") for line in app.stdout if "http://" in line)
        assert health_of(url)[0] == 200
        client = Client(url, verbose=False, analytics_enabled=False)
        job = client.submit(image=handle_file(str(EXAMPLES[0])), api_name="/curves")
        deadline = time.monotonic() + 60
        while health_of(url)[1]["running"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        app.send_signal(signal.SIGTERM)
        while (answer := health_of(url))[0] == 200:
            assert time.monotonic() < deadline
        assert answer[0] == 503
        assert answer[1]["status"] == "stopping"

        assert 0 < job.result(timeout=60)["insertion_auc"] < 1
        assert app.wait(30) == 0
    finally:
        app.kill()
        app.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    events = {line["event"]: line for line in lines if "event" in line}
    assert events["curves"]["outcome"] == "done"
    assert events["explained"]["groups"] == 32
    assert EXAMPLES[0].name not in log.read_text()
    assert "Traceback" not in log.read_text()
