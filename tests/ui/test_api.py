"""The endpoints as programs meet them: through gradio_client, and by hand over HTTP."""

import base64
import dataclasses
import hashlib
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file  # type: ignore[import-untyped]  # it ships no types
from gradio_client.exceptions import AppError  # type: ignore[import-untyped]
from PIL import Image

import groupcam
from groupcam.evaluate.data_sets import Sample
from groupcam.evaluate.one_picture import Subject, evaluate_picture
from groupcam.evaluate.settings import EvaluateSettings
from groupcam.models import DEFAULT_BACKBONE, Backbone
from groupcam.saliency import GroupCamConfig
from tests.support import ROOT

CAT = ROOT / "assets" / "examples" / "cat.jpg"
NAN = float("nan")
GROUPS = 16  # as in the guide's examples: the app keeps the results


@pytest.fixture(scope="module")
def uploaded(client: Client) -> dict[str, Any]:
    """The cat as an endpoint takes it, uploaded."""
    request = httpx.post(f"{client.src}gradio_api/upload", files={"files": CAT.open("rb")})
    return {"path": request.json()[0], "meta": {"_type": "gradio.FileData"}}


def call(url: str, name: str, parameters: Any) -> tuple[str, str]:
    """Call an endpoint over plain HTTP; return the last event's kind and its data.

    The parameters go by their place, or by their name with "v2/" before the endpoint's.
    """
    body = {"data": parameters} if isinstance(parameters, list) else parameters
    request = urllib.request.Request(
        f"{url}/gradio_api/call/{name}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        event_id = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{url}/gradio_api/call/{name}/{event_id}", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return kinds[-1], data[-1]


def test_layers_lists_usable_layers_with_one_default(client: Client) -> None:
    layers = client.predict(backbone=DEFAULT_BACKBONE, api_name="/layers")

    by_name = {layer["name"]: layer for layer in layers}
    assert by_name["blocks.6"]["shape"] == [320, 7, 7]
    assert [layer["name"] for layer in layers if layer["default"]] == ["blocks.6"]


def test_predict_names_the_top_classes(client: Client) -> None:
    answer = client.predict(image=handle_file(CAT), api_name="/predict")

    assert answer["backbone"] == DEFAULT_BACKBONE
    assert answer["classes"][0]["label"] == "Egyptian cat"
    values = [entry["probability"] for entry in answer["classes"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == 5
    assert 0 < sum(values) <= 1


def test_explain_gives_the_librarys_map(client: Client, lite0: Backbone) -> None:
    answer = client.predict(image=handle_file(CAT), groups=GROUPS, api_name="/explain")

    expected = groupcam.explain(lite0, CAT, GroupCamConfig(groups=GROUPS))
    saliency_map = np.load(io.BytesIO(base64.b64decode(answer["saliency_map_npy"])))
    assert saliency_map.dtype == np.float32
    np.testing.assert_allclose(saliency_map, expected.saliency_map.numpy(), atol=1e-5)
    assert answer["class_label"] == expected.class_label
    assert answer["target_layer"] == expected.target_layer
    assert answer["group_weights"] == pytest.approx(expected.group_weights.tolist(), abs=1e-5)
    assert answer["probability"] == pytest.approx(expected.probability, abs=1e-5)


def test_explain_gives_the_overlay_at_the_pictures_size(client: Client) -> None:
    answer = client.predict(image=handle_file(CAT), groups=GROUPS, api_name="/explain")

    head, _, body = answer["overlay"].partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as overlay, Image.open(CAT) as picture:
        assert overlay.size == picture.size


def test_explain_heeds_layer_class_and_settings(client: Client) -> None:
    answer = client.predict(
        image=handle_file(CAT),
        target_layer="blocks.4",
        class_name="espresso",
        groups=3,
        blur_sigma_px=10,
        percentile=None,
        merge="raw",
        api_name="/explain",
    )

    assert answer["target_layer"] == "blocks.4"
    assert answer["class_label"] == "espresso"
    assert answer["config"] == {
        **vars(GroupCamConfig()),
        "groups": 3,
        "blur_sigma_px": 10,
        "percentile": None,
        "merge": "raw",
    }


def test_curves_run_between_hidden_and_whole_picture(client: Client) -> None:
    answer = client.predict(image=handle_file(CAT), groups=GROUPS, api_name="/curves")

    assert len(answer["fractions"]) == 113
    assert (answer["fractions"][0], answer["fractions"][-1]) == (0, 1)
    assert answer["insertion"][-1] == pytest.approx(answer["deletion"][0], abs=1e-5)
    for name in ("insertion", "deletion"):
        area = np.trapezoid(answer[name], answer["fractions"])
        assert answer[f"{name}_auc"] == pytest.approx(area, abs=1e-5)


def test_compare_gives_what_an_evaluation_gives(client: Client, lite0: Backbone) -> None:
    answer = client.predict(
        image=handle_file(CAT), methods=["grad_cam", "centre"], include="map", api_name="/compare"
    )

    settings = EvaluateSettings(
        methods=("grad_cam",), metrics=("insertion", "deletion", "over_all")
    )
    layer = groupcam.models.default_target_layer(lite0).name
    entry = evaluate_picture(Subject(lite0, layer, settings), Sample("cat", CAT))
    first, control = answer["methods"]
    expected = entry["methods"]["grad_cam"]["values"]
    assert first["insertion_auc"] == pytest.approx(expected["insertion"], abs=1e-4)
    assert first["deletion_auc"] == pytest.approx(expected["deletion"], abs=1e-4)
    assert first["over_all"] == pytest.approx(expected["over_all"], abs=1e-4)
    assert (first["class_label"], answer["target_layer"]) == ("Egyptian cat", layer)
    assert (first["forward_passes"], first["backward_passes"]) == (1, 1)
    assert (control["forward_passes"], control["title"]) == (0, "Centre")
    saliency_map = np.load(io.BytesIO(base64.b64decode(first["saliency_map_npy"])))
    assert saliency_map.shape == (224, 224)
    assert "overlay" not in first


def test_compare_scores_a_box_draws_a_small_overlay_and_goes_on_where_a_method_fails(
    client: Client,
) -> None:
    with Image.open(CAT) as picture:
        whole = [0, 0, *picture.size]

    answer = client.predict(
        image=handle_file(CAT),
        methods=["group_cam:groups=1000", "centre"],
        class_name="espresso",
        target_layer="blocks.4",
        view="whole",
        box=whole,
        api_name="/compare",
    )

    failed, found = answer["methods"]
    assert "groups must be" in failed["error"]
    assert failed["settings"] == {"config": {**vars(GroupCamConfig()), "groups": 1000}}
    assert "config" not in found["settings"]
    assert answer["target_layer"] == "blocks.4"
    assert found["class_label"] == "espresso"
    assert found["energy_pointing_game"] == pytest.approx(1)
    assert found["pointing_game"] is True
    with Image.open(io.BytesIO(base64.b64decode(found["overlay"].partition(",")[2]))) as overlay:
        assert max(overlay.size) == 448


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["grad_cam"]}, "There must be 2 to 6 methods to compare; got 1"),
        ({"methods": ["grad_cam", "grad_cam"]}, "methods must differ"),
        ({"methods": ["grad_cam", "gradcam"]}, "Did you mean"),
        ({"methods": "grad_cam"}, "methods must be a list of names"),
        ({"methods": ["rise", "centre"]}, "at most 3,000 forward passes together"),
        ({"include": "all"}, "include must be one of overlay, map, none; got 'all'"),
        ({"box": [1, 2, 3]}, "box must be a list of four numbers"),
        ({"box": [9, 9, 1, 1]}, "box must have left < right"),
        ({"target_layer": "blocks.66"}, "blocks.6"),
        ({"view": "sideways"}, "view must be one of crop, whole, fit"),
        ({"image": None}, "image must be an uploaded file"),
    ],
    ids=str,
)
def test_a_comparison_that_cannot_be_is_answered_with_a_sentence(
    client: Client, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(AppError) as error:
        client.predict(**{"image": handle_file(CAT), **changes}, api_name="/compare")

    assert message in str(error.value)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "timm/tf_efficientnet_lite9"}, "Did you mean 'timm/tf_efficientnet_lite"),
        ({"backbone": "nothing like it"}, "LIBRARY/ARCHITECTURE"),
        ({"target_layer": "blocks.66"}, "blocks.6"),
        ({"class_name": "Egyptian dog"}, "Egyptian cat"),
        ({"view": "sideways"}, "view must be one of crop, whole, fit; got 'sideways'"),
        ({"groups": 0}, "groups must be at least 1; got 0"),
        ({"groups": 321}, "320"),
        ({"groups": 2.5}, "groups must be a whole number; got 2.5"),
        ({"groups": "abc"}, "groups must be a whole number; got 'abc'"),
        ({"blur_kernel_px": 50}, "blur_kernel_px must be odd"),
        ({"merge": "both"}, "merge must be one of"),
        ({"image": None}, "image must be an uploaded file"),
    ],
    ids=str,
)
def test_a_mistake_is_answered_with_a_sentence(
    client: Client, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(AppError) as error:
        client.predict(**{"image": handle_file(CAT), **changes}, api_name="/explain")

    assert message in str(error.value)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("name", ["predict", "explain", "curves", "compare"])
def test_an_answer_has_what_it_takes_to_have_it_again(
    client: Client, lite0: Backbone, name: str
) -> None:
    settings: dict[str, Any] = {"groups": GROUPS} if name in ("explain", "curves") else {}
    if name == "compare":
        settings = {"methods": ["grad_cam", "centre"]}

    answer = client.predict(image=handle_file(CAT), **settings, api_name=f"/{name}")

    picture, network = answer["picture"], answer["network"]
    assert picture["sha256"] == hashlib.sha256(CAT.read_bytes()).hexdigest()
    with Image.open(CAT) as cat:
        size = (cat.height, cat.width)
    assert picture["size"] == list(size)
    assert picture["view"] == "crop"
    assert picture["seen_box"] == list(lite0.preprocessing.box(size, "crop"))
    assert picture["input_box"] == [0, 0, 224, 224]
    assert network["backbone"] == DEFAULT_BACKBONE
    assert network["weights"] == dataclasses.asdict(lite0.weights)
    assert network["weights"]["sha256"] is not None
    assert answer["versions"]["groupcam"] == groupcam.__version__
    assert answer["versions"]["torch"] == torch.__version__
    if name in ("explain", "curves"):
        assert answer["config"] == {**vars(GroupCamConfig()), "groups": GROUPS}
        assert answer["target_layer"] == "blocks.6"
    if name in ("curves", "compare"):
        assert answer["protocol"]["pixels_per_step"] == 448


@pytest.mark.parametrize(
    ("name", "parameter", "value", "message"),
    [
        ("predict", "view", 3, "view must be one of crop, whole, fit; got 3"),
        ("predict", "view", ["crop"], "view must be one of crop, whole, fit; got ['crop']"),
        ("predict", "backbone", {"a": 1}, "backbone must be a text; got {'a': 1}"),
        ("layers", "backbone", 5, "backbone must be a text; got 5"),
        ("layers", "backbone", "x" * 10_000, "backbone must have at most 200 characters"),
        ("layers", "backbone", "timm/../../etc/passwd", "one of"),
        ("layers", "backbone", "/etc/passwd", "one of"),
        ("layers", "backbone", "timm/hf-hub:timm/resnet18", "one of"),
        ("layers", "backbone", "timm/local-dir:/etc", "one of"),
        ("explain", "target_layer", "../../etc/passwd", "blocks.6"),
        ("explain", "target_layer", 6, "target_layer must be a text; got 6"),
        ("explain", "class_name", "/etc/passwd", "The class must be one of the 1000"),
        ("explain", "class_name", 285, "class_name must be a text; got 285"),
        ("explain", "class_name", "1000", "between 0 and 999"),
        ("explain", "class_name", "9" * 5000, "class_name must have at most 200 characters"),
        ("explain", "groups", NAN, "groups must be a whole number; got nan"),
        ("explain", "groups", None, "groups must be a whole number; got None"),
        ("explain", "groups", True, "groups must be a whole number; got True"),
        ("explain", "groups", 10**400, "320"),
        ("explain", "blur_sigma_px", NAN, "blur_sigma_px must be a finite number; got nan"),
        ("explain", "blur_sigma_px", 10**400, "blur_sigma_px must be between 0.1 and 1000"),
        ("explain", "blur_sigma_px", -1, "blur_sigma_px must be between 0.1 and 1000; got -1"),
        ("explain", "percentile", "60", "percentile must be a number; got '60'"),
        ("explain", "percentile", 100, "percentile must be below 100"),
        ("explain", "merge", ["raw"], "merge must be one of"),
        ("explain", "precision", "float16", "precision must be one of float32, bfloat16"),
        ("curves", "groups", -3, "groups must be at least 1; got -3"),
        ("curves", "evidence", "Signed", "evidence must be one of signed, positive"),
        ("curves", "view", "../crop", "view must be one of crop, whole, fit"),
        ("compare", "methods", [5, "centre"], "methods must be a list of names"),
        ("compare", "methods", [], "There must be 2 to 6 methods"),
        ("compare", "methods", ["rise:masks=nan", "centre"], "masks in"),
        ("compare", "methods", ["m" * 300, "centre"], "method must have at most 200 characters"),
        ("compare", "include", ["map"], "include must be a text"),
        ("compare", "box", [NAN, 0, 9, 9], "box must be a list of four numbers"),
        ("compare", "box", [True, False, 9, 9], "box must be a list of four numbers"),
        ("compare", "box", [0, 0, 10**400, 9], "box must be a list of four numbers"),
        ("compare", "box", "0 0 9 9", "box must be a list of four numbers"),
        ("compare", "class_name", "no such class", "The class must be one of the 1000"),
    ],
)
def test_what_nobody_can_mean_is_answered_with_a_sentence(
    url: str, uploaded: dict[str, Any], name: str, parameter: str, value: Any, message: str
) -> None:
    image = {} if name == "layers" else {"image": uploaded}

    kind, data = call(url, f"v2/{name}", {**image, parameter: value})

    assert kind == "error"
    assert message in json.loads(data)["error"]
    assert "Traceback" not in data
    assert len(data) < 4000


@pytest.mark.parametrize("name", ["predict", "explain", "curves", "compare"])
@pytest.mark.parametrize("image", [None, "cat.jpg", 5, ["cat.jpg"], {}, {"path": 5}], ids=str)
def test_what_is_no_file_is_refused(
    url: str, name: str, image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of it by Gradio already, before any sentence of ours."""
    opened: list[Any] = []
    monkeypatch.setattr("groupcam.ui.workbench.open_picture", lambda source: opened.append(source))

    kind, data = call(url, f"v2/{name}", {"image": image})

    assert kind == "error"
    assert opened == []
    assert "Traceback" not in data


def test_a_file_that_is_no_picture_is_named(client: Client, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")

    with pytest.raises(AppError, match=r"must be a JPEG, PNG.*'notes\.png'"):
        client.predict(image=handle_file(tmp_path / "notes.png"), api_name="/predict")


@pytest.mark.parametrize(
    "meta",
    [
        pytest.param({}, id="bare"),
        pytest.param({"meta": {"_type": "gradio.FileData"}}, id="meta"),
    ],
)
@pytest.mark.parametrize("path", ["/etc/passwd", str(ROOT / "README.md"), str(CAT)])
@pytest.mark.parametrize("name", ["predict", "explain", "compare"])
def test_files_of_the_server_are_never_opened(
    url: str, name: str, path: str, meta: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a picture: only what the caller uploaded."""
    opened: list[Any] = []
    monkeypatch.setattr("groupcam.ui.workbench.open_picture", lambda source: opened.append(source))
    parameters = _defaults(url, name)

    kind, data = call(url, name, [{"path": path, **meta}, *parameters[1:]])

    assert kind == "error"
    assert opened == []
    assert "root:" not in data
    assert "groupcam" not in data.replace(path, "")


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}], ids=["bare", "meta"])
def test_addresses_inside_the_network_are_never_asked(url: str, meta: dict[str, Any]) -> None:
    parameters = _defaults(url, "predict")

    for image in ({"url": f"{url}/config", **meta}, {"path": f"{url}/config", **meta}):
        kind, data = call(url, "predict", [image, *parameters[1:]])
        assert kind == "error"
        assert "components" not in data


def test_the_folder_of_the_checkout_is_not_served(url: str) -> None:
    for path in (ROOT / "pyproject.toml", Path("/etc/passwd")):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{url}/gradio_api/file={path}", timeout=60)
        assert error.value.code in (403, 404)


def _defaults(url: str, name: str) -> list[Any]:
    """Return an endpoint's default parameters in order."""
    with urllib.request.urlopen(f"{url}/gradio_api/info", timeout=60) as answer:
        parameters = json.load(answer)["named_endpoints"][f"/{name}"]["parameters"]
    return [parameter.get("parameter_default") for parameter in parameters]
