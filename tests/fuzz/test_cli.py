"""The command line: any argument gives a result or one line, and an exit code."""

import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from groupcam.__main__ import EXIT_ERROR, VERBS, main
from groupcam.cli import explain
from groupcam.models import Backbone, load_backbone
from tests.fuzz.values import HOSTILE_TEXTS, NOT_OURS, numbers, outcome

OPTIONS = {
    "explain": (
        *("--backbone", "--weights", "--device", "--input-size", "--target-layer", "--class"),
        *("--view", "--preset", "--groups", "--blur-sigma-px", "--blur-kernel-px", "--percentile"),
        *(
            "--evidence",
            "--grouping",
            "--merge",
            "--precision",
            "--color-map",
            "--opacity",
            "--zip",
        ),
        "--no-curves",
    ),
    "evaluate": (
        *("--annotations", "--backbone", "--class", "--device", "--half", "--layer", "--limit"),
        *("--method", "--metric", "--out", "--protocol", "--reference", "--steps", "--view"),
        *("--weights", "--no-prepare", "--retry-failed"),
    ),
    "results": ("--compact", "--readme"),
    "backbones": ("--ready", "--jobs", "--out", "--timeout"),
    "weights": ("--dataset", "--max-params", "--ready"),
    "layers": (),
    "api": ("--url",),
    "bench": ("--backbones", "--device", "--groups", "--limit", "--pictures", "--sizes"),
}
"""Options of each verb, but for those that set off work of minutes."""

arguments = st.one_of(
    # What a shell can hand over: bytes but for NUL, those that are no text as lone surrogates.
    st.sampled_from([text for text in HOSTILE_TEXTS if "\0" not in text and text != "\ud800"]),
    st.binary(max_size=30).map(
        lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
    ),
    numbers.map(str),
)


def run(argv: list[str]) -> None:
    """Run the command line; check its exit code and what it says."""

    def finished() -> None:
        said, complaint = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            try:
                code = main(argv)
            except SystemExit as error:  # --help and --version
                code = int(str(error.code or 0))
        assert code in (0, EXIT_ERROR)
        if code == EXIT_ERROR:
            # One line but for progress bars, and no traceback.
            last = complaint.getvalue().rstrip().splitlines()[-1]
            assert "error: " in last
            assert NOT_OURS.search(last.replace(" ".join(argv), "")) is None or any(
                NOT_OURS.search(one) for one in argv
            ), last

    outcome(finished)


@pytest.fixture
def picture(tmp_path: Path, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, and a tiny network in the place of the default one."""

    def loaded(name: str, *others: Any) -> Backbone:
        return tiny_cnn if name == "test/network" else load_backbone(name, *others)

    monkeypatch.setattr(explain, "load_backbone", loaded)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").resize((40, 30)).save(path)
    return path


@given(values=st.dictionaries(st.sampled_from(OPTIONS["explain"]), arguments, max_size=3))
def test_any_options_of_explain(picture: Path, values: dict[str, str]) -> None:
    options = [part for name, value in values.items() for part in (name, value)]
    if "--backbone" not in values:
        options += ["--backbone", "test/network"]

    run(["explain", str(picture), "--out", "result", "--no-curves", *options])


@given(out=arguments.filter(lambda text: "/" not in text and len(text) < 200))
def test_any_name_of_a_result(picture: Path, out: str) -> None:
    run(["explain", str(picture), "--backbone", "test/network", "--no-curves", f"--out={out}"])


@given(image=arguments, view=arguments)
def test_any_picture(picture: Path, image: str, view: str) -> None:
    run(["explain", "--out", "result", f"--view={view}", "--backbone", "test/network", "--", image])


@given(
    verb=st.sampled_from([*sorted(VERBS), "no-such-verb"]),
    data=st.data(),
    position=st.lists(arguments, max_size=2),
)
def test_any_command(picture: Path, verb: str, data: st.DataObject, position: list[str]) -> None:
    known = OPTIONS.get(verb, ())
    options = [
        part
        for name in data.draw(st.lists(st.sampled_from([*known, "--no-such"]), max_size=3))
        for part in (name, data.draw(arguments))
    ]
    if verb == "bench":
        options.append("--no-such")  # it would measure for minutes

    run([verb, *position, *options])


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["explain", "picture.png", "--out", "result", "--zip", "9" * 400], "name too long"),
        (["results", "(" * 300], "name too long"),
        (["explain", "picture.png", "--out=--"], "--out must have a value"),
        (["weights", "--max-params", "9" * 400], "must be a count such as"),
    ],
)
def test_what_10_000_inputs_found(
    picture: Path, argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == EXIT_ERROR
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:1", "http://127.0.0.1:1/a b", "http://[", "http://127.0.0.1:x/"),
        *("http://\udcff/", "ftp://127.0.0.1", "file:///etc/passwd", "http://127.0.0.1:1\r\nX: y"),
        "http://" + "a" * 300 + ".invalid/",
    ],
)
def test_any_address_of_a_page(url: str) -> None:
    run(["api", "--url", url])
