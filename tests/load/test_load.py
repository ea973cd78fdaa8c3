"""A small crowd at the app as it is started for others: nothing lost, nothing wrong."""

from pathlib import Path

from tests.load.app import running_app
from tests.load.crowd import crowd, right_answers, table
from tests.load.visits import Case, Site

CASES = (
    Case("predict", "cat"),
    Case("layers"),
    Case("explain", "cat", (("groups", 8),)),
    Case("explain", "espresso", (("groups", 8), ("target_layer", "blocks.5"))),
    Case("explain", "cat", (("groups", 8), ("class_name", "espresso"))),
    Case("page", "cat", (("groups", 8),)),
    Case("page", "rocket", (("groups", 8),)),
)
ACTIONS = {"explain": 6, "predict": 2, "layers": 2, "page": 1, "leave": 2, "anew": 1}
VISITORS = 6
SECONDS = 3.0


def test_a_small_crowd_gets_every_answer_right_and_leaves_no_file(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    variables = {"GRADIO_TEMP_DIR": str(files), "OMP_NUM_THREADS": "1"}
    with running_app(tmp_path / "log", variables) as (url, _):
        own = set(files.rglob("*.*"))  # the examples, which are kept
        site = Site(url)
        right = right_answers(site, CASES)
        figures = crowd(site, right, VISITORS, SECONDS, actions=ACTIONS)

    summary = figures.summary()
    assert figures.problems == []
    assert summary["wrong"] == summary["lost"] == summary["busy"] == 0
    assert summary["right"] >= VISITORS
    assert f"{VISITORS} visitor(s)" in table([summary])
    assert set(files.rglob("*.*")) <= own
    assert "Traceback" not in (tmp_path / "log").read_text()
