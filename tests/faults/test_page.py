"""What breaks under a visitor's run: it is told, no number is made up, and the page serves on."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from torch import Tensor, nn

from groupcam.errors import WeightsUnavailableError
from groupcam.models import Backbone, target_layers
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig, engine
from groupcam.saliency.engine import Plan
from groupcam.saliency.graph import CompiledGraph, compile_graph
from groupcam.ui import workbench as workbench_module
from groupcam.ui.page import Page
from groupcam.ui.runs import Choice, Explained, Finished
from groupcam.ui.workbench import Workbench

VISITOR: Any = SimpleNamespace(session_hash="visitor")
NETWORK = ("test/network", "default", "", "", "")  # and its weights, size, layer, class
Show = Callable[[], str]


@pytest.fixture
def show(page: Page, picture_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Runs the picture on the page anew and returns the last status."""
    picture_id, _ = page.workbench.add_picture(picture_path)
    numbers = iter(range(1, 100))

    def shown() -> str:
        ui = page.ui
        settings = {"groups": 4, "blur_sigma_px": 10.0 + next(numbers)}
        raw = [
            ui.settings.view.value,
            ui.settings.is_denoised.value,
            *(settings.get(name, one.value) for name, one in ui.settings.by_field.items()),
        ]
        token = page.runs.settle(VISITOR, picture_id, *NETWORK, *raw)
        status = ""
        shown_key = BackboneKey("test/network")
        for updates in page.runs.run(
            VISITOR, token, picture_id, shown_key, shown_key.name, "inferno", *NETWORK, *raw
        ):
            status = updates.get(ui.status, status)
        return status

    return shown


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toasts need a running app."""
    monkeypatch.setattr(gr, "Warning", lambda message: None)
    monkeypatch.setattr(gr, "Info", lambda message: None)


class Trouble:
    """What happens in a network's forward pass from the n-th call on, while it is wanted."""

    def __init__(self, network: nn.Module) -> None:
        self.after = 0
        self.act: Callable[[Tensor], Tensor | None] | None = None
        self.calls: list[int] = []
        network.register_forward_hook(self._hook)

    def begin(self, act: Callable[[Tensor], Tensor | None], after: int = 0) -> None:
        """Let it happen, but for the next calls, which are counted anew."""
        self.calls.clear()
        self.act, self.after = act, after

    def _hook(self, _module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        self.calls.append(len(inputs[0]))
        return self.act(output) if self.act and len(self.calls) > self.after else None


@pytest.fixture
def trouble(tiny_cnn: Backbone) -> Trouble:
    target_layers(tiny_cnn)  # known from here on, so that the trouble comes in runs
    return Trouble(tiny_cnn.network)


def fail(error: Exception) -> Callable[[Tensor], Tensor]:
    def failing(output: Tensor) -> Tensor:
        raise error

    return failing


def spoiled_by(value: float) -> Callable[[Tensor], Tensor]:
    return lambda output: output * value  # which still has a gradient


NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    MemoryError(),
)


NO_MEMORY_IDS = ["GPU", "torch on the CPU", "Python"]


@pytest.mark.parametrize("error", NO_MEMORY, ids=NO_MEMORY_IDS)
def test_memory_that_runs_out_at_any_time_is_told(
    show: Show, trouble: Trouble, error: Exception
) -> None:
    for after in (0, 1, 3):  # at the capture, at the first masks, later
        trouble.begin(fail(error), after)
        assert "memory ran out" in show()

    trouble.act = None
    assert "gc-done" in show()


@pytest.mark.parametrize("error", NO_MEMORY, ids=NO_MEMORY_IDS)
def test_masks_that_do_not_fit_into_memory_go_in_smaller_batches(
    workbench: Workbench, choice: Choice, trouble: Trouble, tiny_cnn: Backbone, error: Exception
) -> None:
    def tight(output: Tensor) -> None:
        if len(output) > 1:
            raise error

    engine.use(tiny_cnn, Plan(4))
    trouble.begin(tight)

    found = explained(workbench, choice)

    assert engine.plan_of(tiny_cnn).micro_batch == 1
    assert set(trouble.calls) == {4, 2, 1}
    assert found.max() == 1


def test_a_network_that_gives_no_numbers_is_told(show: Show, trouble: Trouble) -> None:
    for value in (torch.nan, torch.inf):
        for after in (0, 1, 4):  # at the capture, at the masks, later
            trouble.begin(spoiled_by(value), after)
            assert "The logits must be finite; test/network gave NaN or infinite" in show()

    trouble.act = None
    assert "gc-done" in show()


def test_a_network_that_raises_is_told_and_logged(
    show: Show, trouble: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    trouble.begin(fail(ArithmeticError("the head fails")), 2)

    assert "Something went wrong here" in show()
    assert "the head fails" in caplog.text

    trouble.act = None
    assert "gc-done" in show()


def test_a_graph_that_fails_in_the_middle_gives_way_to_the_network(
    workbench: Workbench,
    choice: Choice,
    tiny_cnn: Backbone,
    picture_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine.use(tiny_cnn, Plan(2))
    expected = explained(workbench, choice)
    graph = compile_graph(tiny_cnn)
    answer = CompiledGraph.__call__
    calls: list[int] = []

    def fails_later(graph: CompiledGraph, inputs: Tensor) -> Tensor:
        calls.append(len(inputs))
        if len(calls) == 2:
            raise RuntimeError("a primitive could not be executed")
        return answer(graph, inputs)

    monkeypatch.setattr(CompiledGraph, "__call__", fails_later)
    engine.use(tiny_cnn, Plan(2, graph))

    another = Workbench()  # which has kept no result
    another.add_picture(picture_path)

    found = explained(another, choice)

    assert calls == [2, 2]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_hub_that_fails_is_told_and_the_next_try_loads(
    page: Page, show: Show, tiny_cnn: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(name: str, **_: object) -> Backbone:
        raise WeightsUnavailableError("The weights could not be downloaded from hub.example.")

    monkeypatch.setattr(workbench_module, "load_backbone", down)
    assert "could not be downloaded from hub.example" in show()

    monkeypatch.setattr(workbench_module, "load_backbone", lambda name, **_: tiny_cnn)
    assert "gc-done" in show()


def explained(workbench: Workbench, choice: Choice) -> Tensor:
    """Return the map of a choice; its curves are not drawn."""
    for event in workbench.run_steps(choice):
        if isinstance(event, Explained):
            return event.run.explanation.saliency_map
    raise AssertionError("There was no map.")


@pytest.fixture
def choices(choice: Choice) -> list[Choice]:
    """Return choices that differ in class and layer."""
    return [
        choice._replace(
            class_name=f"class {number}", target_layer=layer, config=GroupCamConfig(groups=4)
        )
        for number in range(3)
        for layer in ("features.0", "features.3")
    ]


def test_visitors_on_one_network_at_the_same_time_get_what_each_gets_alone(
    workbench: Workbench, choices: list[Choice], picture_path: Path
) -> None:
    alone = {choice: numbers_of(workbench, choice) for choice in choices}
    shared = Workbench()
    shared.add_picture(picture_path)
    found: dict[Choice, list[Tensor]] = {}
    at_once = threading.Barrier(len(choices))

    def visit(choice: Choice) -> None:
        at_once.wait(30)
        found[choice] = numbers_of(shared, choice)

    threads = [threading.Thread(target=visit, args=[choice]) for choice in choices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    for choice in choices:
        for value, expected in zip(found[choice], alone[choice], strict=True):
            assert torch.equal(value, expected), choice


def numbers_of(workbench: Workbench, choice: Choice) -> list[Tensor]:
    """Return all that a finished run found."""
    *_, last = workbench.run_steps(choice)
    assert isinstance(last, Finished)
    run = last.run
    assert run.curves is not None
    explanation = run.explanation
    return [
        *(explanation.saliency_map, explanation.group_weights, explanation.logits),
        *(run.capture.gradients, run.curves.insertion, run.curves.deletion),
    ]


def test_a_run_that_fails_leaves_the_others_as_they_are(
    workbench: Workbench, choice: Choice, trouble: Trouble
) -> None:
    expected = numbers_of(workbench, choice)
    failing = workbench.run_steps(choice._replace(class_name="class 2"))
    next(failing)
    trouble.begin(fail(RuntimeError("boom")))
    with pytest.raises(RuntimeError, match="boom"):
        list(failing)
    trouble.act = None

    kept = numbers_of(workbench, choice)
    anew = numbers_of(workbench, choice._replace(class_name="class 2"))

    assert all(torch.equal(*pair) for pair in zip(kept, expected, strict=True))
    assert all(torch.isfinite(one).all() for one in anew)
