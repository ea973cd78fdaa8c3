import base64
import dataclasses
import html
import io
import re
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from groupcam.images import Picture
from groupcam.models import Backbone, default_target_layer, target_layers
from groupcam.models.pool import BackboneKey
from groupcam.render.heatmap import COLOR_MAPS
from groupcam.ui import views
from groupcam.ui.runs import Choice, Explained, Loading, Run, Scoring
from groupcam.ui.workbench import Workbench

HOSTILE = '<img src=x onerror="alert(1)">&\''


@pytest.fixture
def run(choice: Choice, finish: Callable[[Choice], Run]) -> Run:
    return finish(choice)


@pytest.fixture
def hostile_run(run: Run) -> Run:
    """A run whose class, layer and backbone have names that try to be HTML."""
    return dataclasses.replace(
        run,
        choice=run.choice._replace(backbone=BackboneKey(HOSTILE)),
        explanation=dataclasses.replace(run.explanation, class_label=HOSTILE, target_layer=HOSTILE),
    )


def decoded(data_uri: str) -> npt.NDArray[np.uint8]:
    head, _, body = data_uri.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.array(image.convert("RGB"))


# --- status ------------------------------------------------------------------------------------


def test_status_escapes_what_it_says() -> None:
    shown = views.status(HOSTILE, "error")

    assert "<img" not in shown
    assert html.escape(HOSTILE) in shown


@pytest.mark.parametrize(
    ("kind", "role"),
    [("idle", "status"), ("busy", "status"), ("done", "status"), ("error", "alert")],
)
def test_an_error_is_an_alert(kind: str, role: str) -> None:
    assert f'role="{role}"' in views.status("text", kind)


def test_loading_is_counted_in_megabytes() -> None:
    shown = views.loading_status(Loading("Downloading", 12_000_000, 48_000_000))

    assert "Downloading: 12 of 48 MB" in shown
    assert "width:25.0%" in shown


def test_scoring_is_counted_in_passes() -> None:
    assert "Scoring: 9 of 34" in views.working_status("Scoring", 9, 34)


def test_work_of_unknown_length_shows_no_share() -> None:
    shown = views.loading_status(Loading("Loading timm/x"))

    assert "of 0" not in shown
    assert "gc-unknown" in shown


# --- map ---------------------------------------------------------------------------------------


def test_the_caption_says_what_was_made_and_how(run: Run) -> None:
    caption = views.caption(run)

    for part in ("class ", "%", "test/network", "features.3", "4 groups", "50 px"):
        assert part in caption


def test_the_viewer_lays_the_heatmap_on_what_was_seen(run: Run) -> None:
    shown = views.viewer(run, "inferno")

    # 40 x 30 pixels, seen through a square crop in the middle.
    left, top, width, height = shown["box"]
    assert width * 40 == pytest.approx(height * 30, abs=1)
    assert (left + width / 2, top + height / 2) == (
        pytest.approx(0.5, abs=0.03),
        pytest.approx(0.5, abs=0.03),
    )
    assert shown["aspect"] == pytest.approx(40 / 30)
    assert decoded(shown["picture"]).shape == (30, 40, 3)


def test_the_heatmap_is_hottest_where_the_map_is_one(run: Run) -> None:
    saliency_map = torch.zeros(32, 32)
    saliency_map[:, 16:] = 1
    explanation = dataclasses.replace(run.explanation, saliency_map=saliency_map)

    heat = decoded(
        views.viewer(dataclasses.replace(run, explanation=explanation), "inferno")["heat"]
    )

    # inferno runs from black to pale yellow
    assert heat[:, : heat.shape[1] // 4].mean() < 10
    assert heat[:, -heat.shape[1] // 4 :].mean() > 200


def test_a_blank_map_has_a_reason_instead_of_a_heatmap(run: Run) -> None:
    none = torch.zeros_like(run.explanation.group_weights)
    explanation = dataclasses.replace(
        run.explanation, group_weights=none, blank_reason="No group gained."
    )

    shown = views.viewer(dataclasses.replace(run, explanation=explanation), "inferno")

    assert (shown["heat"], shown["words"]) == ("", "")
    assert shown["blank"].startswith("No group mask brings 'class 1' above the ")


def test_the_map_is_told_in_words(run: Run) -> None:
    saliency_map = torch.zeros_like(run.explanation.saliency_map)
    saliency_map[:4, :4] = 1
    explanation = dataclasses.replace(run.explanation, saliency_map=saliency_map)

    words = views.viewer(dataclasses.replace(run, explanation=explanation), "inferno")["words"]

    assert words.startswith("Strongest at the upper left; half of its energy lies on")


@pytest.mark.parametrize("color_map", COLOR_MAPS)
def test_every_colour_map_has_its_legend(run: Run, color_map: str) -> None:
    colors = views.viewer(run, color_map)["colors"]

    assert len(colors) > 2
    assert all(re.fullmatch("#[0-9a-f]{6}", color) for color in colors)


def test_a_large_picture_is_sent_smaller_and_saved_whole(run: Run) -> None:
    large = Picture(np.full((1500, 2000, 3), 128, np.uint8))
    run = dataclasses.replace(run, picture=large)

    assert max(decoded(views.viewer(run, "inferno")["picture"]).shape) == views.SHOWN_SIDE_PX
    assert views.saved_overlay(run, "inferno", 0.5).shape == (1500, 2000, 3)


def test_an_overlay_without_opacity_is_the_picture_where_it_was_seen(run: Run) -> None:
    run = dataclasses.replace(run, choice=run.choice._replace(view="whole"))

    np.testing.assert_array_equal(views.saved_overlay(run, "inferno", 0), run.picture.rgb)


def test_a_border_around_the_picture_is_cut_off_map_and_masks(run: Run) -> None:
    """40 x 30 pixels, fitted into 32 x 32: rows 4 to 28 hold picture."""
    in_border = torch.zeros(32, 32)
    in_border[:4] = in_border[28:] = 1
    fitted = dataclasses.replace(run, choice=run.choice._replace(view="fit"))

    for saliency_map, is_hot in ((in_border, False), (1 - in_border, True)):
        explanation = dataclasses.replace(run.explanation, saliency_map=saliency_map)
        shown = dataclasses.replace(fitted, explanation=explanation)

        heat = decoded(views.viewer(shown, "inferno")["heat"])
        saved = views.saved_overlay(shown, "inferno", 1)

        assert (heat.min() > 100) if is_hot else (heat.max() < 10)
        assert saved.shape == (30, 40, 3)
        np.testing.assert_array_less(*((100, saved.mean(2)) if is_hot else (saved.mean(2), 10)))

    white = Picture(np.full((30, 40, 3), 255, np.uint8))
    explanation = dataclasses.replace(run.explanation, cell_masks=in_border.expand(4, -1, -1))
    shown = dataclasses.replace(fitted, explanation=explanation, picture=white)
    assert decoded(views.masks(shown)["sprite"]).max() < 100  # each tile hides all of the picture


# --- group masks -------------------------------------------------------------------------------


def test_masks_come_heaviest_first_with_their_numbers(run: Run) -> None:
    shown = views.masks(run)

    weights = [tile["weight"] for tile in shown["tiles"]]
    assert weights == sorted(weights, reverse=True)
    assert sorted(tile["group"] for tile in shown["tiles"]) == [0, 1, 2, 3]
    for tile in shown["tiles"]:
        assert tile["weight"] == pytest.approx(float(run.explanation.group_weights[tile["group"]]))
        assert tile["masked"] == pytest.approx(
            float(run.explanation.masked_probability[tile["group"]])
        )
    assert shown["blurred"] == run.explanation.baseline_probability


def test_the_sprite_holds_the_masks_in_the_order_of_the_tiles(run: Run) -> None:
    """One mask that shows everything, three that hide it: one bright tile, at its place."""
    cell_masks = torch.zeros(4, 16, 16)
    cell_masks[2] = torch.linspace(0.9, 1, 256).view(16, 16)
    cell_masks[:, 0, 0] = 0.01  # not constant, so that each can be scaled
    cell_masks[2, 0, 0] = 0
    weights = torch.tensor([0.3, 0.1, 0.2, 0.4])  # order: groups 4, 1, 3, 2
    white = Picture(np.full((30, 40, 3), 255, np.uint8))
    explanation = dataclasses.replace(run.explanation, cell_masks=cell_masks, group_weights=weights)

    shown = views.masks(dataclasses.replace(run, explanation=explanation, picture=white))

    sprite = decoded(shown["sprite"])
    side = sprite.shape[0] // shown["rows"]
    assert (shown["columns"], shown["rows"]) == (4, 1)
    assert [tile["group"] for tile in shown["tiles"]] == [3, 0, 2, 1]
    brightness = [sprite[:, place * side : (place + 1) * side].mean() for place in range(4)]
    assert int(np.argmax(brightness)) == 2
    assert brightness[2] > 2 * max(brightness[0], brightness[1], brightness[3])


def test_a_group_in_full_gives_its_number_and_gain(run: Run) -> None:
    heaviest = int(run.explanation.group_weights.argmax())

    shown = views.mask_detail(run, heaviest, "inferno")

    assert f"Group {heaviest + 1}<" in shown
    assert f"{float(run.explanation.masked_probability[heaviest]):.2%}" in shown
    assert f"{float(run.explanation.group_weights[heaviest]):.4f}" in shown
    members = int((run.explanation.channel_groups == heaviest).sum())
    assert 0 < members <= views.CHANNELS_SHOWN
    assert shown.count("<img") == 2 + members  # mask, masked input, channels


def test_an_empty_mask_says_that_it_was_not_scored(run: Run) -> None:
    cell_masks = run.explanation.cell_masks.clone()
    cell_masks[1] = 0
    explanation = dataclasses.replace(run.explanation, cell_masks=cell_masks)
    run = dataclasses.replace(run, explanation=explanation)

    assert "not scored" in views.mask_detail(run, 1, "inferno")
    assert [tile["dead"] for tile in views.masks(run)["tiles"] if tile["group"] == 1] == [True]


def test_a_group_without_gain_has_weight_zero(run: Run) -> None:
    explanation = dataclasses.replace(run.explanation, group_weights=torch.zeros(4))

    shown = views.mask_detail(dataclasses.replace(run, explanation=explanation), 0, "inferno")

    assert "weight 0" in shown


def test_hostile_names_stay_text(hostile_run: Run) -> None:
    parts = [
        *(views.mask_detail(hostile_run, group, "inferno") for group in range(4)),
        views.status(views.caption(hostile_run), "done"),
    ]

    for part in parts:
        assert 'onerror="alert' not in part
        assert not re.search(r"<img src=x", part)


# --- a map on its way ---------------------------------------------------------------------------


def test_a_map_sharpens_into_the_final_one(workbench: Workbench, choice: Choice) -> None:
    events = list(workbench.run_steps(choice))
    maps = [
        views.sharpening(event, event.saliency_map()[0], "inferno")
        for event in events
        if isinstance(event, Scoring) and event.saliency_map is not None
    ]
    final = next(event.run for event in events if isinstance(event, Explained))

    done = views.viewer(final, "inferno")

    assert len(maps) > 1
    assert maps[0]["heat"] != done["heat"]
    assert maps[-1]["heat"] == done["heat"]
    assert all(one["picture"] == done["picture"] and one["box"] == done["box"] for one in maps)
    assert "Sharpening" in maps[0]["caption"]


def test_a_map_without_any_score_yet_shows_no_heat(run: Run) -> None:
    scoring = Scoring(run.choice, run.picture, run.preprocessing, 2, 9, None)

    shown = views.sharpening(scoring, torch.zeros_like(run.explanation.saliency_map), "inferno")

    assert shown["heat"] == ""
    assert shown["blank"] == ""


# --- target layers -----------------------------------------------------------------------------


def test_layers_stand_in_stages_of_one_grid(tiny_cnn: Backbone) -> None:
    found = target_layers(tiny_cnn)

    shown = views.layers(found)

    names = [[layer["name"] for layer in stage["layers"]] for stage in shown["stages"]]
    assert names == [["features.0", "features.1"], ["features.2", "features.3", "features"]]
    assert [stage["title"] for stage in shown["stages"]] == [
        "32 × 32 cells · 2 layers",
        "16 × 16 cells · 3 layers",
    ]
    assert shown["chosen"] == default_target_layer(tiny_cnn).name
    assert shown["sprite"] == ""


def test_each_layer_has_its_own_place_in_the_sprite(tiny_cnn: Backbone) -> None:
    found = target_layers(tiny_cnn)
    means = {layer.name: torch.zeros(layer.shape[1:]) for layer in found}
    means["features.3"][0, 0] = 1  # the only bright cell of all layers

    shown = views.layers(found, "features.3", means)

    tiles = {layer["name"]: layer["tile"] for stage in shown["stages"] for layer in stage["layers"]}
    assert sorted(tiles.values()) == list(range(len(found)))
    encoded = base64.b64decode(shown["sprite"].partition(",")[2])
    sheet = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    side = views.LAYER_PX
    brightest = np.unravel_index(int(sheet.argmax()), sheet.shape)
    row, column = divmod(tiles["features.3"], shown["columns"])
    assert (brightest[0] // side, brightest[1] // side) == (row, column)
