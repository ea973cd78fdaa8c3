"""The manifest: complete, finite, and silent on this machine's folders and clocks."""

import dataclasses
import json

import numpy as np
import pytest

from groupcam.models import View
from groupcam.models.weights import WeightsInfo
from groupcam.share.record import Record, manifest_of


def test_manifest_is_plain_and_finite(record: Record) -> None:
    manifest = manifest_of(record)

    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest


def test_manifest_has_every_setting_and_number(record: Record) -> None:
    manifest, explanation, curves = manifest_of(record), record.explanation, record.curves

    assert curves is not None
    assert manifest["config"] == dataclasses.asdict(explanation.config)
    assert manifest["target_layer"] == "blocks.6"
    assert manifest["class"]["index"] == explanation.class_index
    assert len(manifest["group_weights"]) == len(manifest["masked_probability"]) == 6
    gains = np.array(manifest["masked_probability"]) - manifest["baseline_probability"]
    np.testing.assert_allclose(manifest["group_weights"], gains.clip(min=0), atol=1e-6)
    assert manifest["forward_passes"] == explanation.forward_passes
    assert manifest["curves"]["insertion_auc"] == curves.insertion_auc
    assert manifest["curves"]["steps"] == 8
    assert manifest["curves"]["forward_passes"] == 18
    assert manifest["curves"]["protocol"] == dataclasses.asdict(curves.protocol)


def test_manifest_names_picture_and_weights_by_their_checksums(record: Record) -> None:
    manifest = manifest_of(record)

    assert manifest["picture"]["file"] == "cat_and_espresso.jpg"
    assert manifest["picture"]["sha256"] == record.picture_sha256
    assert manifest["network"]["weights"]["source"] == "bundled"
    # The file that the package's own list of weights names.
    assert manifest["network"]["weights"]["sha256"].startswith("579344248a93e230")


def test_folders_of_a_weights_file_are_not_passed_on(record: Record) -> None:
    weights = WeightsInfo("file", "/home/somebody/secret/mine.safetensors", "0" * 64)
    network = dataclasses.replace(record.network, weights=weights)

    text = json.dumps(manifest_of(dataclasses.replace(record, network=network)))

    assert "mine.safetensors" in text
    assert "somebody" not in text


@pytest.mark.parametrize("view", ["crop", "whole", "fit"])
def test_seen_parts_of_picture_map_and_masks_belong_together(record: Record, view: View) -> None:
    shown = dataclasses.replace(record, view=view)
    top, left, bottom, right = shown.box

    assert shown.seen.shape == (bottom - top, right - left, 3)
    seen, mapped = shown.seen.shape[:2], shown.seen_map.shape
    assert shown.seen_masks.shape == (6, *mapped)
    if view != "whole":  # which stretches
        assert mapped[0] / mapped[1] == pytest.approx(seen[0] / seen[1], rel=0.02)
