import dataclasses
from typing import Any

import pytest

from groupcam.errors import GroupCamError
from groupcam.evaluate.variants import parse_variant
from groupcam.saliency import GroupCamConfig
from groupcam.saliency.methods import METHODS


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_named_as_in_the_registry(name: str) -> None:
    variant = parse_variant(name)

    assert (variant.method, dict(variant.options)) == (METHODS[name], {})


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            "group_cam:groups=64,percentile=none,merge=raw",
            {"config": GroupCamConfig(groups=64, percentile=None, merge="raw")},
        ),
        (
            "group_cam_official:groups=8",
            {"config": dataclasses.replace(GroupCamConfig.official(), groups=8)},
        ),
        ("group_cam:percentile=50", {"config": GroupCamConfig(percentile=50.0)}),
        ("rise:masks=10, shown=0.25", {"masks": 10, "shown": 0.25}),
        ("score_cam:weighting=softmax", {"weighting": "softmax"}),
    ],
)
def test_options_become_what_the_method_is_told(text: str, options: dict[str, Any]) -> None:
    assert parse_variant(text).options == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grad_kam", "must be one of .* Did you mean 'grad_cam'"),
        ("group_cam:group=4", "must be among .* Did you mean 'groups'"),
        ("grad_cam:groups=4", "must be among none; got 'groups'"),
        ("group_cam:groups=many", "groups .* must be int; got 'many'"),
        ("group_cam:groups", "name=value"),
        ("group_cam:groups=0", "groups must be at least 1"),
        ("rise:masks=1.5", r"masks .* must be int, below 2\^53; got 1.5"),
    ],
)
def test_what_is_no_method_or_option_is_refused(text: str, message: str) -> None:
    with pytest.raises(GroupCamError, match=message):
        parse_variant(text)


def test_settings_name_every_option_with_its_value() -> None:
    assert parse_variant("rise:masks=10").settings == {
        "masks": 10, "cells": 7, "shown": 0.5, "seed": 0
    }  # fmt: skip
    assert parse_variant("group_cam:groups=4").settings["config"]["groups"] == 4


def test_only_random_controls_draw_anew_for_every_picture() -> None:
    seeds = {
        (name, picture): parse_variant(name).for_picture(picture).settings["seed"]
        for name in ("random", "rise", "random:seed=3")
        for picture in ("a.png", "b.png")
    }

    assert seeds["random", "a.png"] != seeds["random", "b.png"]
    assert seeds["rise", "a.png"] == seeds["rise", "b.png"] == 0
    assert seeds["random:seed=3", "a.png"] == seeds["random:seed=3", "b.png"] == 3
