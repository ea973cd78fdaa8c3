"""Forwards where the GPU is lent, with a stand-in for the package that lends it.

The stand-in does what decides: arguments and answers are pickled, as for another process. The
networks of that process are its own, on the CPU here.
"""

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from groupcam.errors import GroupCamError
from groupcam.models import load_backbone
from groupcam.models.pool import BackboneKey
from groupcam.saliency import GroupCamConfig, engine
from groupcam.ui import build_demo, zero_gpu
from groupcam.ui.runs import Choice, Finished
from groupcam.ui.workbench import Workbench

KEY = BackboneKey("timm/test_resnet", None)


class Lender(SimpleNamespace):
    """The package; its GPU can be taken away."""

    is_free = True

    def __init__(self) -> None:
        super().__init__(asked=[])  # the number of inputs in each call

    def GPU(self, duration: int) -> Callable[..., Any]:  # noqa: N802 # its name
        def decorated(task: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                self.asked.append(len(args[1]))
                if not self.is_free:
                    raise ValueError("The quota is used up.")
                return pickle.loads(pickle.dumps(task(*pickle.loads(pickle.dumps(args)))))

            return call

        return decorated


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lender]:
    lender = Lender()
    monkeypatch.setitem(sys.modules, "spaces", lender)
    monkeypatch.setattr(zero_gpu, "GPU", "cpu")
    yield lender
    zero_gpu._on_gpu.cache_clear()


def explained(workbench: Workbench, picture_path: Path) -> Finished:
    picture_id, _ = workbench.add_picture(picture_path)
    choice = Choice(picture_id, KEY, None, None, GroupCamConfig(groups=8), "crop")
    *_, finished = workbench.run_steps(choice)
    assert isinstance(finished, Finished)
    return finished


def test_map_and_curves_are_those_of_this_process(
    spaces: Lender, picture_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "prepare_in_background", lambda backbone: None)
    plain = explained(Workbench(), picture_path).run

    lent = explained(Workbench(prepare=zero_gpu.lender()), picture_path).run

    torch.testing.assert_close(
        lent.explanation.saliency_map, plain.explanation.saliency_map, rtol=0, atol=1e-5
    )
    assert plain.curves is not None
    assert lent.curves is not None
    assert lent.curves.insertion_auc == pytest.approx(plain.curves.insertion_auc, abs=1e-5)
    masks_at_once, *curves = spaces.asked
    assert masks_at_once == lent.explanation.forward_passes - 1  # all but that of the capture
    assert sum(curves) > 100
    assert max(spaces.asked) > engine.MICRO_BATCH_CPU


def test_without_a_gpu_the_cpu_answers_and_none_is_asked_for_in_a_while(
    spaces: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load_backbone(KEY.name, KEY.weights)
    prepare = zero_gpu.lender()
    inputs = torch.randn(9, 3, *backbone.preprocessing.input_size)
    expected = engine.forward(backbone, inputs)
    prepare(KEY, backbone)
    spaces.is_free = False

    for _ in range(2):
        torch.testing.assert_close(engine.forward(backbone, inputs), expected)
    assert spaces.asked == [9]
    monkeypatch.setattr("groupcam.ui.zero_gpu.time.monotonic", lambda: float("inf"))
    spaces.is_free = True
    torch.testing.assert_close(engine.forward(backbone, inputs), expected)
    assert spaces.asked == [9, 9]


def test_a_network_that_was_changed_here_is_not_run_there(spaces: Lender) -> None:
    backbone = load_backbone(KEY.name, KEY.weights)
    zero_gpu.lender()(KEY, backbone)
    inputs = torch.randn(2, 3, *backbone.preprocessing.input_size)
    with torch.no_grad():
        next(backbone.network.parameters()).mul_(2)

    torch.testing.assert_close(engine.forward(backbone, inputs), backbone.logits(inputs))
    assert spaces.asked == []


def test_large_inputs_go_in_smaller_batches(spaces: Lender) -> None:
    key = KEY._replace(input_size=320)
    backbone = load_backbone(key.name, key.weights, input_size=320)
    zero_gpu.lender()(key, backbone)

    most = engine.plan_of(backbone).micro_batch

    assert most * 3 * 320 * 320 * 4 <= zero_gpu.CALL_BYTES < (most + 1) * 3 * 320 * 320 * 4


def test_elsewhere_the_app_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)

    with pytest.raises(GroupCamError, match="needs the package spaces"):
        build_demo("zerogpu")
