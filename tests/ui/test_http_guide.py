"""The guide to the HTTP API, and its examples run as they stand."""

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from groupcam.__main__ import main
from groupcam.share.http_guide import http_guide
from tests.support import ROOT

CAT = ROOT / "assets" / "examples" / "cat.jpg"
NAMES = ["/predict", "/layers", "/explain", "/curves", "/compare"]


@pytest.fixture(scope="module")
def info(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/gradio_api/info", timeout=60) as answer:
        endpoints: dict[str, Any] = json.load(answer)
    return endpoints


@pytest.fixture(scope="module")
def guide(url: str, info: dict[str, Any]) -> str:
    return http_guide(info, url)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the picture that the examples send."""
    shutil.copy(CAT, tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def section(guide: str, name: str) -> str:
    """Return what the guide says about an endpoint."""
    return guide.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def example(guide: str, name: str, language: str) -> str:
    """Return an endpoint's example."""
    found = re.search(rf"```{language}\n(.*?)\n```", section(guide, name), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_command_prints_the_guide_of_the_running_app(
    url: str, guide: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["api", "--url", f"{url}/"])

    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert printed.out == guide
    assert re.findall(r"^## (.*)$", guide, re.MULTILINE) == NAMES


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1", "file:///etc/passwd"])
def test_an_address_without_a_page_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["api", "--url", url])

    assert code == 2
    assert f"must be the address of a running page, such as http://127.0.0.1:7860; got '{url}'" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_every_key_of_the_answer_is_told(
    name: str, info: dict[str, Any], guide: str
) -> None:
    text = section(guide, name)
    asked, _, answered = text.partition("\nAnswer: ")
    endpoint = info["named_endpoints"][name]

    for parameter in endpoint["parameters"]:
        (row,) = re.findall(rf"^\| `{parameter['parameter_name']}` \|.*$", asked, re.MULTILINE)
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        if parameter["parameter_has_default"]:
            assert json.loads(cells[2].strip("`")) == parameter["parameter_default"]
        else:
            assert cells[2] == "required"
        assert cells[3].endswith(".")
    schema = endpoint["returns"][0]["type"]
    for key in schema.get("properties", ()):
        assert f"| `{key}` |" in answered
    assert "|  |" not in text  # no meaning is missing
    assert endpoint["description"] in asked


def test_the_python_and_curl_examples_give_the_same_answers(guide: str, folder: Path) -> None:
    """Each is run as it stands; the second finds the results of the first."""
    if shutil.which("curl") is None:
        pytest.fail("The tests need curl; install it.")
    for name in NAMES:
        names: dict[str, Any] = {}
        exec(example(guide, name, "python"), names)
        done = subprocess.run(
            ["sh", "-c", example(guide, name, "bash")],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

        assert done.stderr == ""
        assert "event: complete" in done.stdout
        data = done.stdout.rpartition("data: ")[2]
        assert json.loads(data) == [names["answer"]], name
        if name == "/explain":
            assert names["values"].shape == (224, 224)
            assert float(np.max(names["values"])) == 1
            with Image.open(folder / "overlay.png") as overlay, Image.open(CAT) as picture:
                assert overlay.size == picture.size


@pytest.mark.parametrize("name", NAMES)
def test_the_javascript_example_sends_what_the_python_example_sends(
    name: str, url: str, guide: str, info: dict[str, Any]
) -> None:
    code = example(guide, name, "javascript")
    python = example(guide, name, "python")

    assert f'Client.connect("{url}")' in code
    assert f'client.predict("{name}", {{' in code
    sent = dict(re.findall(r"^  (\w+): (.*),$", code, re.MULTILINE))
    same = dict(re.findall(r"^    (\w+)=(.*),$", python, re.MULTILINE))
    assert same.pop("api_name") == f'"{name}"'
    assert {key: value.replace('"', "'") for key, value in sent.items()} == {
        key: value.replace('"', "'") for key, value in same.items()
    }
    known = {one["parameter_name"] for one in info["named_endpoints"][name]["parameters"]}
    assert set(sent) <= known
    assert ("handle_file" in code) == ("image" in known)
