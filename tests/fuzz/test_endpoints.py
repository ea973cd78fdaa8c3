"""The endpoints: whatever a program sends is answered, or refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groupcam.saliency import CHOICES
from groupcam.saliency.methods import METHODS
from groupcam.ui import api
from groupcam.ui.api import Endpoints
from groupcam.ui.comparison import Comparisons
from groupcam.ui.parameters import COMPARED, NETWORK, SETTINGS, TARGET
from groupcam.ui.uploads import uploaded_path
from groupcam.ui.workbench import Workbench
from tests.fuzz.conftest import TINY
from tests.fuzz.values import FORGED_FILES, json_values, numbers, outcome, texts

TAKEN = {
    "predict": NETWORK,
    "layers": NETWORK[:1],
    "explain": (*NETWORK, *TARGET, *SETTINGS),
    "curves": (*NETWORK, *TARGET, *SETTINGS),
    "compare": (*NETWORK, *TARGET, *COMPARED),
}
OPTIONS = (
    *("masks", "cells", "shown", "seed", "samples", "noise", "points", "window", "gamma"),
    *("references", "groups", "blur_sigma_px", "blur_kernel_px", "percentile", "merge", "centred"),
)


@st.composite
def methods(draw: st.DrawFn) -> str:
    """A method with options, as one could type it."""
    name = draw(st.sampled_from([*METHODS, *METHODS, ""]) | texts)
    values = st.one_of(
        numbers.map(repr),
        st.sampled_from(["nan", "none", "1e999", "-1e999", "{[]:1}", "1j", "()", "[" * 90, "raw"]),
        texts,
    )
    options = draw(st.dictionaries(st.sampled_from(OPTIONS) | texts, values, max_size=2))
    told = ",".join(f"{key}={value}" for key, value in options.items())
    return f"{name}:{told}" if told else name


@pytest.fixture(scope="module")
def endpoints(workbench: Workbench) -> Endpoints:
    return Endpoints(workbench, Comparisons(workbench))


def defaults(name: str, uploads: Path) -> dict[str, Any]:
    """Return a request that is answered at little cost."""
    request = {one.name: one.default for one in TAKEN[name]}
    request["backbone"] = TINY[0]
    if name != "layers":
        request["image"] = {"path": str(uploads / "picture.png")}
    if "groups" in request:
        request["groups"] = 2
    if name == "compare":
        request["methods"] = ["grad_cam", "centre"]
    return request


def last_answer(endpoints: Endpoints, name: str, request: dict[str, Any]) -> Any:
    """Return what a call ends with; before it only signs of life may come."""
    *signs, answer = api._served(getattr(endpoints, name))(**request)
    assert not any(signs)
    return answer


def call(endpoints: Endpoints, name: str, request: dict[str, Any]) -> None:
    answer = outcome(lambda: last_answer(endpoints, name, request))
    if answer is not None:
        text = json.dumps(answer)
        assert "NaN" not in text
        assert "Infinity" not in text
        text.encode()


@pytest.mark.parametrize("name", TAKEN)
def test_a_plain_request_is_answered(endpoints: Endpoints, name: str, uploads: Path) -> None:
    request = defaults(name, uploads)

    assert outcome(lambda: last_answer(endpoints, name, request)) is not None


@given(data=st.data(), name=st.sampled_from(sorted(TAKEN)))
def test_any_values_are_answered_or_refused(
    endpoints: Endpoints, uploads: Path, data: st.DataObject, name: str
) -> None:
    request = defaults(name, uploads)
    for parameter in data.draw(st.lists(st.sampled_from(sorted(request)), min_size=1, max_size=3)):
        request[parameter] = data.draw(json_values, label=parameter)

    call(endpoints, name, request)


@given(
    settings=st.fixed_dictionaries(
        {},
        optional={
            "groups": numbers,
            "blur_sigma_px": numbers,
            "blur_kernel_px": numbers,
            "percentile": numbers | st.none(),
            **{name: st.sampled_from(choices) | texts for name, choices in CHOICES.items()},
        },
    ),
    class_name=st.sampled_from(["", "0", "class 1", "CLASS 2", "-1", "3", "²"]) | texts,
    target_layer=st.sampled_from(["", "features", "features.0", "head", "features.9"]) | texts,
    view=st.sampled_from(["crop", "whole", "fit"]) | texts,
)
def test_any_settings_are_answered_or_refused(
    endpoints: Endpoints,
    uploads: Path,
    settings: dict[str, Any],
    class_name: str,
    target_layer: str,
    view: str,
) -> None:
    request = defaults("explain", uploads) | settings
    request |= {"class_name": class_name, "target_layer": target_layer, "view": view}

    call(endpoints, "explain", request)


@given(
    named=st.lists(methods(), min_size=1, max_size=3),
    box=json_values | st.lists(numbers, min_size=4, max_size=4),
)
def test_any_methods_and_boxes_are_compared_or_refused(
    endpoints: Endpoints, uploads: Path, named: list[str], box: Any
) -> None:
    request = defaults("compare", uploads) | {"methods": [*named, "centre"], "box": box}

    call(endpoints, "compare", request)


@pytest.mark.parametrize(
    "method",
    [
        "rise:masks=30000000",
        "rise:cells=100000",
        "rise:masks=9007199254740991",
        "smooth_grad:samples=20000000",
        "smooth_grad_cam_pp:samples=20000000",
        "integrated_gradients:points=100000",
        "random:cells=100000",
        "random:seed=-1",
        "rise:seed=9223372036854775808",
        "smooth_grad:noise=1e999",
        "finer_cam:gamma=1e300",
        "finer_cam:references=99999999999999999999",
        "group_cam:blur_sigma_px=" + "9" * 100,
        "random:cells={[]:1}",
        "random:cells=" + "(" * 150,
    ],
)
def test_options_that_would_fill_the_memory_are_refused(
    endpoints: Endpoints, uploads: Path, method: str
) -> None:
    request = defaults("compare", uploads) | {"methods": [method, "centre"]}

    call(endpoints, "compare", request)


def test_a_list_of_methods_without_end_is_refused_at_once(
    endpoints: Endpoints, uploads: Path
) -> None:
    request = defaults("compare", uploads) | {"methods": ["grad_cam"] * 1_000_000}

    call(endpoints, "compare", request)


@given(
    payload=json_values
    | st.fixed_dictionaries({"path": texts}, optional={"url": texts, "meta": json_values})
)
def test_only_an_uploaded_file_is_a_picture(uploads: Path, payload: Any) -> None:
    path = outcome(lambda: uploaded_path(payload))

    assert path is None or path.is_relative_to(uploads.resolve())


@pytest.mark.parametrize("payload", FORGED_FILES, ids=lambda one: str(one)[:40])
def test_a_forged_file_is_refused(uploads: Path, payload: dict[str, Any]) -> None:
    assert outcome(lambda: uploaded_path(payload)) is None


@given(depth=st.integers(1, 3000), value=st.none() | st.just({}))
def test_objects_are_found_at_any_depth(depth: int, value: dict[str, Any] | None) -> None:
    tools = pytest.importorskip("groupcam.ui.tools")
    nested: Any = value
    for _ in range(depth):
        nested = [nested]

    assert tools._holds_object(nested) == (value is not None)
