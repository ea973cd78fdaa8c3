"""The report: everything escaped, nothing fetched, the numbers in it."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from groupcam.images import Picture
from groupcam.share.again import command_of
from groupcam.share.record import Record
from groupcam.share.report import report_of

EVIL = "<script>alert(1)</script>&\"'"


def written(record: Record) -> str:
    return report_of(record, color_map="inferno", opacity=0.5)


def words_of(text: str) -> str:
    """Return the page's words without marks."""
    return " ".join(re.sub(r"<[^>]*>", " ", text.partition("<body>")[2]).split())


def test_report_says_class_numbers_groups_and_checksums(record: Record) -> None:
    words, explanation = words_of(written(record)), record.explanation

    assert record.curves is not None
    assert "Where timm/tf_efficientnet_lite0 looks for “Egyptian cat”" in words
    assert f"{record.curves.insertion_auc:.4f} (higher is better)" in words
    assert f"{record.curves.deletion_auc:.4f} (lower is better)" in words
    heaviest = int(explanation.group_weights.argmax())
    weight = float(explanation.group_weights[heaviest])
    assert f"Group {heaviest + 1} · {weight:.3f}" in words
    assert record.picture_sha256 in words
    assert str(record.network.weights.sha256) in words
    assert "8 steps of" in words


def test_report_has_picture_overlay_six_groups_and_curves(record: Record) -> None:
    text = written(record)

    assert text.count('<img src="data:image/jpeg;base64,') == 2 + 6
    assert text.count("<svg") == 1
    assert all('alt="' in tag for tag in re.findall(r"<img [^>]*>", text))


def test_report_gives_the_command_whole(record: Record) -> None:
    command = command_of(record)

    assert command is not None
    assert command in words_of(written(record))


def test_report_fetches_nothing(record: Record) -> None:
    text = written(record)

    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert "url(http" not in text
    assert "<script" not in text
    assert "default-src 'none'" in text


def test_everything_that_others_can_name_is_escaped(record: Record) -> None:
    named = tuple(
        EVIL if place < 5 else name for place, name in enumerate(record.network.class_names)
    )
    network = dataclasses.replace(
        record.network, name=EVIL, device=EVIL, class_names=named, caveat=EVIL,
        weights=dataclasses.replace(record.network.weights, tag=EVIL), asked_weights=EVIL,
    )  # fmt: skip
    explanation = dataclasses.replace(
        record.explanation, class_label=EVIL, target_layer=EVIL, class_index=0
    )
    picture = Picture(record.picture.rgb, (EVIL,))
    text = written(
        dataclasses.replace(
            record, picture=picture, picture_name=EVIL, network=network, explanation=explanation
        )
    )

    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text


def test_report_of_a_blank_map_says_why(record: Record) -> None:
    blank = dataclasses.replace(
        record.explanation,
        saliency_map=torch.zeros(224, 224),
        group_weights=torch.zeros(6),
        blank_reason="No group mask helps.",
    )

    words = words_of(written(dataclasses.replace(record, explanation=blank)))

    assert "No group mask helps." in words
    assert "blank" in words


def test_report_without_curves_says_so(record: Record) -> None:
    text = written(dataclasses.replace(record, curves=None))

    assert "Not computed." in text
    assert "<svg" not in text


@pytest.mark.parametrize("shape", [(8, 160), (160, 8), (9, 9)], ids=["broad", "tall", "tiny"])
def test_any_shape_of_picture_is_reported(record: Record, shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    text = written(dataclasses.replace(record, picture=Picture(rgb), view="fit"))

    assert text.count("<img") == 8
