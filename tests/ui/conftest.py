"""A workbench with a tiny network in place of the catalogue's."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gradio_client import Client  # type: ignore[import-untyped]  # it ships no types
from PIL import Image

from groupcam.models import Backbone
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig, engine
from groupcam.ui import build_demo, run_events, tool_options
from groupcam.ui import workbench as workbench_module
from groupcam.ui.line import line_up
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice, Explained, Finished, Run
from groupcam.ui.workbench import Workbench


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep to one thread: small batches gain little from more and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def url() -> Iterator[str]:
    """The running app with its tools, as programs meet it."""
    demo = build_demo()
    _, address, _ = line_up(demo).launch(
        prevent_thread_lock=True,
        server_name="127.0.0.1",
        quiet=True,
        **tool_options(demo),
    )
    yield address.rstrip("/")
    demo.close()


@pytest.fixture(scope="package")
def client(url: str) -> Iterator[Client]:
    client = Client(url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


@pytest.fixture
def picture_path(tmp_path: Path) -> Path:
    """A picture of 40 x 30 pixels (width x height), smooth enough for masks to matter."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(coarse).resize((40, 30), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def workbench(tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    """A workbench on which every backbone's name gives `tiny_cnn`."""
    monkeypatch.setattr(workbench_module, "weight_tags", lambda name: ("first", "second"))
    monkeypatch.setattr(workbench_module, "input_sizes", lambda name, weights: (32, 48))
    monkeypatch.setattr(run_events, "input_sizes", lambda name, weights: (32, 48))
    monkeypatch.setattr(run_events, "weight_tags", lambda name: ("first", "second"))
    monkeypatch.setattr(workbench_module, "load_backbone", lambda name, **_: tiny_cnn)
    # A thread that compiles would compete with the test.
    monkeypatch.setattr(engine, "prepare_in_background", lambda backbone: None)
    return Workbench()


@pytest.fixture
def page(workbench: Workbench) -> Iterator[Page]:
    page = Page(workbench)
    demo = page.build()
    yield page
    demo.close()


@pytest.fixture
def choice(workbench: Workbench, picture_path: Path) -> Choice:
    picture_id, _ = workbench.add_picture(picture_path)
    return Choice(
        picture_id,
        BackboneKey("test/network"),
        "features.3",
        None,
        GroupCamConfig(groups=4),
        "crop",
    )


@pytest.fixture
def forwards(tiny_cnn: Backbone) -> Iterator[list[int]]:
    """The number of pictures in each forward pass of `tiny_cnn` so far."""
    batches: list[int] = []
    hook = tiny_cnn.network.register_forward_hook(
        lambda _module, inputs, _output: batches.append(len(inputs[0]))
    )
    yield batches
    hook.remove()


@pytest.fixture
def finish(workbench: Workbench) -> Callable[[Choice], Run]:
    """Runs a choice to its end and returns the finished run."""

    def finished(choice: Choice) -> Run:
        *_, last = workbench.run_steps(choice)
        assert isinstance(last, Finished)
        return last.run

    return finished


@pytest.fixture
def explain(workbench: Workbench) -> Callable[[Choice], Run]:
    """Runs a choice until its map is there and kept; the curves are not drawn."""

    def explained(choice: Choice) -> Run:
        steps = workbench.run_steps(choice)
        return next(event.run for event in steps if isinstance(event, Explained))

    return explained
