import pytest
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.grid_pointing import (
    choose_mosaics,
    grid_pointing_steps,
    mosaic_input,
    tile_masks,
)
from groupcam.metrics.map_of import MapOf
from groupcam.models import Backbone
from groupcam.saliency import GroupCamConfig, explain, finish


def grey_tiles(*values: float, side: int = 2) -> Tensor:
    return (
        torch.tensor(values, dtype=torch.float32)[:, None, None, None]
        .expand(-1, 3, side, side)
        .clone()
    )


def given(maps: Tensor) -> MapOf:
    """Return the method that gives these maps whatever it is asked."""
    return lambda _backbone, _inputs, _classes: maps


def test_tiles_lie_in_reading_order() -> None:
    mosaic = mosaic_input(grey_tiles(1.0, 2.0, 3.0, 4.0))

    assert mosaic.shape == (1, 3, 4, 4)
    assert mosaic[0, 0].tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2


def test_a_shrunk_mosaic_has_the_size_of_one_input() -> None:
    mosaic = mosaic_input(grey_tiles(*range(9), side=12), "shrunk")

    assert mosaic.shape == (1, 3, 12, 12)
    # Inside the tiles, away from the seams.
    assert mosaic[0, 1, 2::4, 2::4].flatten().tolist() == pytest.approx(list(range(9)), abs=0.3)


@pytest.mark.parametrize(("per_side", "size"), [(2, (4, 6)), (3, (9, 9)), (3, (224, 224))])
def test_every_pixel_belongs_to_one_tile(per_side: int, size: tuple[int, int]) -> None:
    masks = tile_masks(per_side, size)

    assert masks.shape == (per_side**2, *size)
    assert (masks.sum(dim=0) == 1).all()
    assert masks[0, 0, 0]
    assert masks[1, 0, -1] if per_side == 2 else masks[2, 0, -1]
    shares = masks.float().mean(dim=(1, 2))
    assert shares.tolist() == pytest.approx([1 / per_side**2] * per_side**2, abs=0.01)


def test_localisation_by_hand(tiny_cnn: Backbone) -> None:
    tiles = grey_tiles(1.0, 2.0, 3.0, 0.0)
    asked: list[int] = []

    def brightness(_backbone: Backbone, inputs: Tensor, classes: Tensor) -> Tensor:
        asked.extend(classes.tolist())
        return inputs.mean(dim=1)

    classes = torch.tensor([2, 0, 1, 5])
    found = finish(grid_pointing_steps(tiny_cnn, tiles, classes, brightness))

    # Each tile's share of the whole brightness, 1 + 2 + 3 + 0.
    assert found.tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6, 0])
    assert asked == [2, 0, 1, 5]


def test_a_flat_map_gets_a_tiles_share_and_an_empty_one_nothing(tiny_cnn: Backbone) -> None:
    tiles, classes = grey_tiles(1.0, 2.0, 3.0, 4.0), torch.arange(4)

    for value, share in ((0.7, 0.25), (0.0, 0.0)):
        maps = torch.full((1, 4, 4), value)
        found = finish(grid_pointing_steps(tiny_cnn, tiles, classes, given(maps)))
        assert found.tolist() == [share] * 4


@pytest.mark.parametrize("tile_size", ["full", "shrunk"])
def test_group_cam_plays_on_mosaics_and_steps_can_be_stopped(
    tiny_cnn: Backbone, tiny_inputs: Tensor, tile_size: str
) -> None:
    tiles = torch.cat([tiny_inputs, tiny_inputs[:1].flip(-1)])
    # Three classes are all that the network has; the fourth tile needs another.
    classes = torch.tensor([0, 1, 2, 0])

    def group_cam(backbone: Backbone, inputs: Tensor, classes: Tensor) -> Tensor:
        config = GroupCamConfig(groups=4, blur_kernel_px=9)
        return explain(backbone, inputs, config, "features.3", classes).saliency_map

    with pytest.raises(GroupCamError, match="3 classes for 4 tiles"):
        finish(grid_pointing_steps(tiny_cnn, tiles, classes, group_cam))
    steps = grid_pointing_steps(
        tiny_cnn,
        tiles,
        torch.tensor([0, 1, 2, 3]),
        group_cam,
        tile_size=tile_size,  # type: ignore[arg-type]  # a parameter's values have no literal type
    )
    assert [next(steps), next(steps), next(steps)] == [1, 2, 3]
    steps.close()


def test_mosaics_are_made_of_confident_pictures_of_different_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(12, (200,), generator=generator)
    probability = torch.rand(200, generator=generator) * 0.1 + 0.9

    chosen = choose_mosaics(classes, probability, per_side=3, mosaics=4, least_probability=0.95)

    assert chosen.shape == (4, 9)
    assert len(chosen.unique()) == 36
    assert (probability[chosen] >= 0.95).all()
    assert all(len(classes[row].unique()) == 9 for row in chosen)
    again = choose_mosaics(classes, probability, per_side=3, mosaics=4, least_probability=0.95)
    assert torch.equal(again, chosen)
    other = choose_mosaics(
        classes, probability, per_side=3, mosaics=4, least_probability=0.95, seed=1
    )
    assert not torch.equal(other, chosen)


def test_there_are_as_many_mosaics_as_the_pictures_allow() -> None:
    classes = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 3])

    assert len(choose_mosaics(classes, torch.ones(9))) == 2
    with pytest.raises(GroupCamError, match="4 confident pictures of different classes"):
        choose_mosaics(classes[:3], torch.ones(3))
    with pytest.raises(GroupCamError, match=r"above 0\.5"):
        choose_mosaics(classes, torch.ones(9), least_probability=0.5)
    with pytest.raises(GroupCamError, match="n x n tiles, n at least 2; got 3"):
        mosaic_input(grey_tiles(1.0, 2.0, 3.0))
