"""Bad input by the thousand, at every door that strangers can knock at.

A run of all tests takes the profile "quick": the same few hundred inputs for each door, every time.
This takes 10,000 new ones for each test, for hours:

    python -m pytest tests/fuzz --hypothesis-profile=long --timeout=0 --hypothesis-show-statistics
"""

import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from PIL import Image

from groupcam.models import DEFAULT_BACKBONE, Backbone, load_backbone
from groupcam.models.catalogue import weight_tags
from groupcam.models.input_size import input_sizes
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig, engine
from groupcam.ui import run_events
from groupcam.ui import workbench as workbench_module
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice
from groupcam.ui.workbench import Workbench
from tests.support import TinyCnn, as_backbone

_SHARED: dict[str, Any] = {
    "deadline": None,  # the tests' own clock says how long an answer may take
    # All but the explanation of a failure, which traces every line of torch.
    "phases": [Phase.explicit, Phase.generate, Phase.shrink],
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("quick", max_examples=40, derandomize=True, **_SHARED)
settings.register_profile("long", max_examples=10_000, database=None, **_SHARED)
if settings.get_current_profile_name() != "long":
    settings.load_profile("quick")

TINY = ("test/network", DEFAULT_BACKBONE)
MOST_GROWTH_MB = 1500


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


@pytest.fixture(autouse=True, scope="module")
def memory_is_bounded() -> Iterator[None]:
    """Whatever was sent to a door, this process's peak did not grow by more than the bound."""
    before = _peak_mb()
    yield
    assert _peak_mb() - before < MOST_GROWTH_MB


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads, with one picture."""
    folder = tmp_path_factory.mktemp("uploads")
    patch.setenv("GRADIO_TEMP_DIR", str(folder))
    Image.linear_gradient("L").resize((40, 30)).save(folder / "picture.png")
    return folder


@pytest.fixture(scope="module")
def workbench(uploads: Path, patch: pytest.MonkeyPatch) -> Workbench:
    """A workbench on which two names give a tiny network; all others are as they are."""
    with torch.random.fork_rng():
        torch.manual_seed(9)
        tiny = as_backbone(TinyCnn())

    def tags(name: str) -> tuple[str, ...]:
        return ("first", "second") if name in TINY else weight_tags(name)

    def sizes(name: str, weights: str | None) -> tuple[int, ...]:
        return (32, 48) if name in TINY else input_sizes(name, weights)

    def loaded(name: str, **options: Any) -> Backbone:
        return tiny if name in TINY else load_backbone(name, **options)

    for module in (workbench_module, run_events):
        patch.setattr(module, "weight_tags", tags)
        patch.setattr(module, "input_sizes", sizes)
    patch.setattr(workbench_module, "load_backbone", loaded)
    patch.setattr(engine, "prepare_in_background", lambda backbone: None)
    patch.setattr(run_events, "SETTLE_S", 0)
    return Workbench()


@pytest.fixture(scope="module")
def page(workbench: Workbench) -> Page:
    return Page(workbench)


@pytest.fixture(scope="module")
def demo(page: Page) -> Iterator[gr.Blocks]:
    """The page, built."""
    demo = page.build()
    # As after `launch`: Gradio then checks files as it does on a server.
    demo.has_launched, demo.allowed_paths, demo.blocked_paths = True, [], []
    yield demo
    demo.close()


@pytest.fixture(scope="module")
def choice(workbench: Workbench, uploads: Path) -> Choice:
    """What a visitor has chosen; its run is finished and kept."""
    picture_id, _ = workbench.add_picture(uploads / "picture.png")
    choice = Choice(
        picture_id, BackboneKey(TINY[0]), "features.3", None, GroupCamConfig(groups=4), "crop"
    )
    for _ in workbench.run_steps(choice):
        pass
    return choice
