import numpy as np
import pytest
import torch
from torch import Tensor

from groupcam.errors import GroupCamError
from groupcam.metrics.impute import impute
from groupcam.metrics.road import road_steps
from groupcam.models import Backbone
from groupcam.saliency import engine, finish

NO_NOISE = torch.zeros(())


def solved(picture: Tensor, is_removed: Tensor) -> Tensor:
    """Impute by writing the equations of all removed pixels out and solving them exactly."""
    removed = [tuple(place) for place in is_removed.nonzero().tolist()]
    number = {place: index for index, place in enumerate(removed)}
    height, width = is_removed.shape
    system = np.zeros((len(removed), len(removed)))
    known = np.zeros((len(removed), 3))
    for (row, column), index in number.items():
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                there = (row + down, column + right)
                inside = 0 <= there[0] < height and 0 <= there[1] < width
                if (down, right) == (0, 0) or not inside:
                    continue
                weight = 1 / 12 if down and right else 1 / 6
                system[index, index] += weight
                if there in number:
                    system[index, number[there]] -= weight
                else:
                    known[index] += weight * picture[:, there[0], there[1]].double().numpy()
    filled = picture.clone()
    for place, values in zip(removed, np.linalg.solve(system, known), strict=True):
        filled[:, place[0], place[1]] = torch.from_numpy(values).float()
    return filled


def test_one_removed_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    picture = torch.arange(9.0).reshape(1, 3, 3).expand(3, 3, 3).clone()
    removed = torch.zeros(2, 3, 3, dtype=torch.bool)
    removed[0, 0, 0] = removed[1, 1, 2] = True

    corner, edge = impute(picture, removed, NO_NOISE)

    # At the corner 1 and 3 across an edge, 4 across a corner: (2 + 6 + 4) / 5 of the weights.
    assert float(corner[0, 0, 0]) == pytest.approx(12 / 5)
    # At the right edge 2, 4, 8 across an edge, 1 and 7 across a corner: (28 + 8) / 8.
    assert float(edge[0, 1, 2]) == pytest.approx(36 / 8)
    assert torch.equal(corner[:, ~removed[0]], picture[:, ~removed[0]])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("size", [(17, 22), (32, 9)], ids=["17x22", "32x9"])
def test_scattered_holes_are_filled_as_by_the_exact_solution(
    share: float, size: tuple[int, int], generator: torch.Generator
) -> None:
    picture = torch.randn(3, *size, generator=generator)
    removed = torch.rand(2, *size, generator=generator) < share
    removed[:, 0, 0] = False

    filled = impute(picture, removed, NO_NOISE)

    for one, hole in zip(filled, removed, strict=True):
        # Half of the noise that is added in use.
        torch.testing.assert_close(one, solved(picture, hole), rtol=0, atol=5e-3)


def test_a_hole_in_a_ramp_is_filled_by_the_ramp() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(3, 64, 64).clone()
    removed = torch.zeros(1, 64, 64, dtype=torch.bool)
    removed[:, 10:50, 20:60] = True

    filled = impute(ramp, removed, NO_NOISE)

    torch.testing.assert_close(filled[0], ramp, rtol=0, atol=5e-3)


def test_noise_is_added_to_removed_pixels_only() -> None:
    picture = torch.zeros(3, 8, 8)
    removed = torch.zeros(1, 8, 8, dtype=torch.bool)
    removed[:, 2:4] = True

    filled = impute(picture, removed, torch.full((3, 8, 8), 0.25))

    assert (filled[0][:, removed[0]] == 0.25).all()
    assert not filled[0][:, ~removed[0]].any()


def test_road_removes_the_most_and_the_least_salient_pixels(
    tiny_cnn: Backbone, tiny_inputs: Tensor, generator: torch.Generator
) -> None:
    maps = torch.rand(3, 32, 32, generator=generator)
    classes = torch.tensor([0, 1, 2])

    road = finish(
        road_steps(tiny_cnn, tiny_inputs, maps, classes, fractions=(0.25, 0.5), noise=0.0)
    )

    for picture in range(3):
        for place, share in enumerate((0.25, 0.5)):
            limit = maps[picture].quantile(share)
            most = solved(tiny_inputs[picture], maps[picture] > maps[picture].quantile(1 - share))
            least = solved(tiny_inputs[picture], maps[picture] < limit)
            with torch.no_grad():
                expected = tiny_cnn.network(torch.stack([most, least])).softmax(1)
            found = [
                float(road.most_salient_removed[picture, place]),
                float(road.least_salient_removed[picture, place]),
            ]
            # The imputed values are within 0.005.
            assert found == pytest.approx(expected[:, classes[picture]].tolist(), abs=5e-3)
    torch.testing.assert_close(
        road.score, (road.least_salient_removed - road.most_salient_removed).mean(dim=1)
    )


def test_road_is_high_where_the_map_is_right_and_negative_where_it_is_wrong(
    pixel_sum: Backbone,
) -> None:
    # Only the bright spot speaks for class 0; without it the picture is dark.
    picture = torch.full((1, 3, 16, 16), -1.0)
    picture[..., 4:8, 4:8] = 40.0
    right = picture[:, 0].clone()

    scores = [
        float(
            finish(
                road_steps(pixel_sum, picture, saliency, torch.tensor([0]), fractions=(0.2, 0.4))
            ).score
        )
        for saliency in (right, -right)
    ]

    assert scores[0] > 0.5
    assert scores[1] < -0.5


def test_top_decisions_are_compared_with_the_whole_pictures(pixel_sum: Backbone) -> None:
    picture = torch.full((1, 3, 16, 16), -1.0)
    picture[..., 4:8, 4:8] = 40.0

    road = finish(
        road_steps(pixel_sum, picture, picture[:, 0], torch.tensor([0]), fractions=(0.2, 0.4))
    )

    assert road.most_retained.tolist() == [[False, False]]
    assert road.least_retained.tolist() == [[True, True]]


def test_road_can_be_stopped_and_micro_batches_do_not_change_it(
    tiny_cnn: Backbone,
    tiny_inputs: Tensor,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maps, classes = torch.rand(3, 32, 32, generator=generator), torch.tensor([0, 1, 2])
    together = finish(road_steps(tiny_cnn, tiny_inputs, maps, classes))

    monkeypatch.setattr(engine, "MICRO_BATCH_CPU", 2)
    steps = road_steps(tiny_cnn, tiny_inputs[1:2], maps[1:2], classes[1:2])

    assert next(steps) == 3
    steps.close()
    alone = finish(road_steps(tiny_cnn, tiny_inputs[1:2], maps[1:2], classes[1:2]))
    torch.testing.assert_close(alone.score[0], together.score[1], rtol=0, atol=1e-4)


def test_a_picture_without_any_pixel_left_is_refused(
    tiny_cnn: Backbone, tiny_inputs: Tensor
) -> None:
    maps, classes = torch.zeros(3, 32, 32), torch.tensor([0, 1, 2])

    with pytest.raises(GroupCamError, match=r"both excluded.*got \(0.5, 1.0\)"):
        finish(road_steps(tiny_cnn, tiny_inputs, maps, classes, fractions=(0.5, 1.0)))
