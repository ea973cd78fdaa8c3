"""Links: what is written is read back, short; what strangers write is checked."""

from typing import Any
from urllib.parse import parse_qsl

import pytest

from groupcam.errors import GroupCamError
from groupcam.saliency import GroupCamConfig
from groupcam.ui.links import Opening, link_names, opening_of, query_of
from groupcam.ui.payloads import MOST_CHARACTERS

OPENINGS = [
    Opening(example="cat"),
    Opening(example="cat_and_espresso", class_name="espresso & more?", tab="compare"),
    Opening(backbone="timm/resnet50.a1_in1k", weights="random", input_size="288"),
    Opening(target_layer="blocks.4", view="whole"),
    Opening(config=GroupCamConfig.official()),
    Opening(config=GroupCamConfig.paper()),
    Opening(config=GroupCamConfig(groups=7, blur_sigma_px=0.1, percentile=None)),
    Opening(config=GroupCamConfig(blur_sigma_px=1 / 3, blur_kernel_px=9, percentile=0)),
]


def read(query: str) -> Opening | None:
    return opening_of(dict(parse_qsl(query)))


@pytest.mark.parametrize("opening", OPENINGS, ids=query_of)
def test_a_link_is_read_back_as_it_was_written(opening: Opening) -> None:
    found = read(query_of(opening))

    assert found is not None
    assert found.config.blur_sigma_px == pytest.approx(opening.config.blur_sigma_px, rel=1e-9)
    assert query_of(found) == query_of(opening)
    for name in ("example", "backbone", "weights", "input_size", "target_layer", "class_name"):
        assert getattr(found, name) == getattr(opening, name)
    assert (found.view, found.tab) == (opening.view, opening.tab)


def test_a_link_says_no_more_than_what_differs_from_the_defaults() -> None:
    assert query_of(Opening()) == ""
    assert query_of(Opening(example="cat")) == "example=cat"
    assert query_of(Opening(config=GroupCamConfig(groups=8))) == "groups=8"


def test_an_address_without_a_link_asks_for_nothing() -> None:
    assert opening_of({}) is None
    assert opening_of({"__theme": "dark", "view": "api", "utm_source": "mail"}) is None


def test_every_name_in_a_link_is_known_to_the_page() -> None:
    every = Opening(
        "cat", "a", "b", "1", "c", "d", "fit", GroupCamConfig(2, 3, 5, 7, precision="bfloat16"), "e"
    )

    assert {name for name, _ in parse_qsl(query_of(every))} <= set(link_names())
    assert len(link_names()) == len(set(link_names()))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"groups": "many"}, "'groups' must be a number; got 'many'"),
        ({"groups": "nan"}, "must be a number"),
        ({"groups": "0"}, "groups must be"),
        ({"groups": "1.5"}, "groups must be"),
        ({"blur_sigma_px": "1e999"}, "must be a number"),
        ({"grouping": "alphabetical"}, "grouping must be one of"),
        ({"groups": "none"}, "groups must be"),
        ({"fit": "upside-down"}, "view must be one of"),
        ({"example": "../../etc/passwd"}, "example must be one of"),
        ({"example": "caat"}, "Did you mean 'cat'"),
        ({"class": "x" * (MOST_CHARACTERS + 1)}, f"at most {MOST_CHARACTERS} letters"),
    ],
    ids=str,
)
def test_what_a_link_cannot_ask_for_is_said(query: dict[str, str], message: str) -> None:
    with pytest.raises((GroupCamError, TypeError), match=message):
        opening_of(query)


def test_names_are_only_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link's words are compared with what there is; none of them is looked for as a file."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("A link must not open a file.")

    monkeypatch.setattr("builtins.open", refuse)
    found = opening_of({"backbone": "/etc/passwd", "class": "../x", "layer": "/tmp", "tab": "/"})

    assert found is not None
    assert found.backbone == "/etc/passwd"
