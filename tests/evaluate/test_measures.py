"""Every metric of the registry, and every backbone and layer, from a run's entries."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from groupcam.evaluate.data_sets import DataSet, open_data_set
from groupcam.evaluate.measures import METRICS, randomized
from groupcam.evaluate.summary import summarise
from groupcam.metrics.sanity import randomization_steps
from groupcam.metrics.similarity import spearman
from groupcam.saliency import GroupCamConfig, explain
from groupcam.steps import finish
from tests.evaluate.support import TINY, evaluate, tiny_backbone, write_picture

pytestmark = pytest.mark.usefixtures("tiny_everywhere")

MANY_PLACES = dataclasses.replace(
    TINY,
    methods=("grad_cam", "centre"),
    metrics=("complexity",),
    backbones=("timm/a", "timm/b"),
    layers=("features.3", "timm/b:features.1"),
)


@pytest.fixture
def found(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """All metrics of two methods on one picture with boxes, by method."""
    write_picture(tmp_path / "in" / "1.png", seed=1)
    annotations = {
        "images": [{"id": 1, "file_name": "1.png", "height": 40, "width": 48}],
        "categories": [{"id": 17, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 17, "bbox": [4, 4, 30, 30]}],
    }
    (tmp_path / "in" / "instances.json").write_text(json.dumps(annotations), "utf-8")
    settings = dataclasses.replace(TINY, methods=("grad_cam", "centre"), metrics=tuple(METRICS))

    (entry,) = evaluate(open_data_set(tmp_path / "in"), tmp_path / "out.jsonl", settings).entries

    return {method: one["values"] for method, one in entry["methods"].items()}


def test_every_metric_has_a_value_and_agrees_with_its_relatives(
    found: dict[str, dict[str, Any]],
) -> None:
    # The tiny network's classes are not ImageNet's, so boxes say nothing about them; and one
    # picture makes no mosaic.
    silent = ("energy_pointing_game", "pointing_game", "grid_pointing_game")
    for values in found.values():
        assert tuple(values) == tuple(METRICS)
        assert [name for name, value in values.items() if value is None] == list(silent)
        assert values["over_all"] == pytest.approx(values["insertion"] - values["deletion"])
        parts = (
            1 - values["average_drop"], values["coherency"], 1 - values["complexity"]
        )  # fmt: skip
        assert values["adcc"] == pytest.approx(3 / sum(1 / part for part in parts), abs=1e-5)


def test_a_control_has_no_cost_and_no_weights_to_forget(
    found: dict[str, dict[str, Any]],
) -> None:
    passes = ("forward_passes", "backward_passes")

    assert [found["grad_cam"][name] for name in passes] == [1, 1]
    assert [found["centre"][name] for name in passes] == [0, 0]
    assert found["centre"]["sanity_spearman"] == pytest.approx(1)
    assert found["centre"]["max_sensitivity"] == 0
    assert found["grad_cam"]["sanity_spearman"] < 1


def test_random_weights_are_those_at_the_end_of_the_cascade(tiny_inputs: torch.Tensor) -> None:
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.network.state_dict().items()}
    classes = torch.zeros(3, dtype=torch.int64)

    def map_of(network: Any, inputs: torch.Tensor, class_index: torch.Tensor) -> torch.Tensor:
        return explain(
            network, inputs, GroupCamConfig(groups=2), "features.3", class_index
        ).saliency_map

    cascade = finish(randomization_steps(backbone, tiny_inputs, classes, map_of))
    trained, forgotten = (
        map_of(one, tiny_inputs, classes) for one in (backbone, randomized(backbone))
    )

    assert [spearman(*pair) for pair in zip(trained, forgotten, strict=True)] == pytest.approx(
        cascade[-1].spearman.tolist(), abs=1e-6
    )
    for name, value in backbone.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_every_backbone_and_layer_has_its_rows(pictures: DataSet, tmp_path: Path) -> None:
    rows = summarise(evaluate(pictures, tmp_path / "out.jsonl", MANY_PLACES)).rows

    assert [(row.backbone, row.target_layer, row.method) for row in rows] == [
        (backbone, layer, method)
        for backbone, layer in (
            ("timm/a", "features.3"),
            ("timm/b", "features.3"),
            ("timm/b", "features.1"),
        )
        for method in MANY_PLACES.methods
    ]
    assert {(row.pictures, row.failed) for row in rows} == {(5, 1)}
    fields = [row.cells["complexity"].mean for row in rows if row.method == "grad_cam"]
    assert fields[0] == fields[1] != fields[2]  # the same network twice, then another layer
