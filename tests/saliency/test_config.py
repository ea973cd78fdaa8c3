import dataclasses
from typing import Any

import pytest

from groupcam import GroupCamConfig
from groupcam.errors import GroupCamError


def test_presets_differ_where_the_authors_code_departs_from_the_paper() -> None:
    paper, official = GroupCamConfig.paper(), GroupCamConfig.official()

    assert (paper.groups, paper.blur_sigma_px, paper.blur_kernel_px) == (32, 50.0, 51)
    assert (paper.percentile, paper.merge) == (70.0, "normalized")
    assert dataclasses.replace(paper, percentile=None, merge="raw") == official


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ({"groups": 1}, {"groups": 0}, "groups must be at least 1; got 0"),
        ({"blur_sigma_px": 0.1}, {"blur_sigma_px": 0}, "must be between 0.1 and 1000; got 0"),
        ({"blur_sigma_px": 1000}, {"blur_sigma_px": -1.0}, "between 0.1 and 1000; got -1.0"),
        ({"blur_sigma_px": 2}, {"blur_sigma_px": float("nan")}, "must be a finite number"),
        ({"blur_kernel_px": 3}, {"blur_kernel_px": 4}, "odd, .*; got 4. Choose 5"),
        ({"blur_kernel_px": 1001}, {"blur_kernel_px": 1003}, "between 3 and 1001; got 1003"),
        ({"percentile": 99.9}, {"percentile": 100}, "must be below 100"),
        ({"percentile": None}, {"percentile": -1}, "between 0 and 100; got -1"),
        ({"grouping": "kmeans"}, {"grouping": "k-means"}, "got 'k-means'. Did you mean 'kmeans'"),
        (
            {"merge": "raw"},
            {"merge": "row"},
            "must be one of raw, normalized, whole, balanced; got 'row'",
        ),
        ({"precision": "bfloat16"}, {"precision": "float16"}, "must be one of float32, bfloat16"),
    ],
)
def test_values_out_of_range_are_refused(
    good: dict[str, Any], bad: dict[str, Any], message: str
) -> None:
    GroupCamConfig(**good)

    with pytest.raises(GroupCamError, match=message):
        GroupCamConfig(**bad)


@pytest.mark.parametrize("bad", [{"groups": 2.0}, {"groups": True}, {"blur_sigma_px": "50"}])
def test_values_of_another_type_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be a"):
        GroupCamConfig(**bad)
