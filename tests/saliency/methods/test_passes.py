"""Micro-batches of passes, what happens when memory runs out, and rounding errors between them."""

import pytest
import torch
from torch import Tensor, nn

from groupcam.saliency.methods.base import without_rounding
from groupcam.saliency.methods.passes import in_micro_batches
from groupcam.steps import finish
from tests.saliency.methods.support import NO_LAYER, counted_pictures, map_of
from tests.support import PixelSum, as_backbone


class Small(PixelSum):
    """Has memory for a few pictures at once."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError("no room")
        return super().forward(x)


def test_every_pass_runs_once_in_order() -> None:
    backbone = as_backbone(nn.Identity())

    steps = in_micro_batches(backbone, 10, lambda chosen: list(range(10)[chosen]))
    done = list(steps)

    assert done == [4, 8, 10]
    parts = finish(in_micro_batches(backbone, 10, lambda chosen: list(range(10)[chosen])))
    assert [number for part in parts for number in part] == list(range(10))


@pytest.mark.parametrize("name", ["integrated_gradients", "guided_backprop", "rise"])
def test_fewer_go_at_once_when_memory_runs_out(name: str, generator: torch.Generator) -> None:
    inputs = torch.randn(3, 3, 8, 8, generator=generator)
    options = {"rise": {"masks": 8}}.get(name, {})
    roomy, small = (as_backbone(Small(room), (8, 8), classes=2) for room in (99, 1))
    expected = map_of(name, roomy, inputs, NO_LAYER, 0, **options)

    with counted_pictures(small.network) as shown:
        ours = map_of(name, small, inputs, NO_LAYER, 0, **options)

    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert shown.count(1) > sum(count > 1 for count in shown)


def test_memory_that_one_picture_exceeds_is_an_error(generator: torch.Generator) -> None:
    inputs = torch.randn(3, 3, 8, 8, generator=generator)

    with pytest.raises(torch.OutOfMemoryError):
        map_of("guided_backprop", as_backbone(Small(0), (8, 8), classes=2), inputs, NO_LAYER)


def test_differences_that_are_mere_rounding_are_none() -> None:
    differences = torch.tensor([[1e-8, -1e-8, 1e-4, -1e-4], [1e-8, -1e-8, 1e-4, -1e-4]])

    cleaned = without_rounding(differences, torch.tensor([[-1.0], [1e-4]]))

    assert cleaned.tolist() == [[0, 0, *differences[0, 2:].tolist()], differences[1].tolist()]
