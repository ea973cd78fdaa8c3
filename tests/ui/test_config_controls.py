import dataclasses
from typing import Any

import gradio as gr
import pytest

from groupcam.errors import GroupCamError
from groupcam.saliency import CHOICES, PRESETS, GroupCamConfig
from groupcam.ui.components import ConfigControls

FIELDS = {field.name: field for field in dataclasses.fields(GroupCamConfig)}


@pytest.fixture
def controls() -> ConfigControls:
    with gr.Blocks():
        return ConfigControls()


def values_with(controls: ConfigControls, **changes: Any) -> list[Any]:
    """Return what the controls send before anybody touches them, with some values changed."""
    named = {"view": controls.view, "is_denoised": controls.is_denoised, **controls.by_field}
    assert set(changes) <= set(named)
    return [changes.get(name, control.value) for name, control in named.items()]


def test_every_field_has_one_control(controls: ConfigControls) -> None:
    assert list(controls.by_field) == list(FIELDS)
    assert len({id(control) for control in controls.all}) == len(FIELDS) + 2


def test_the_order_of_all_is_view_denoising_fields(controls: ConfigControls) -> None:
    assert controls.all == [controls.view, controls.is_denoised, *controls.by_field.values()]


@pytest.mark.parametrize("name", FIELDS)
def test_a_control_starts_at_the_fields_default(controls: ConfigControls, name: str) -> None:
    assert controls.by_field[name].value == FIELDS[name].default


@pytest.mark.parametrize(
    "name", [name for name in FIELDS if FIELDS[name].metadata["minimum"] is not None]
)
def test_a_slider_keeps_within_the_fields_range(controls: ConfigControls, name: str) -> None:
    slider, limits = controls.by_field[name], FIELDS[name].metadata

    assert slider.minimum == limits["minimum"]
    assert limits["maximum"] is None or slider.maximum <= limits["maximum"]


@pytest.mark.parametrize("name", CHOICES)
def test_a_list_offers_the_fields_choices(controls: ConfigControls, name: str) -> None:
    offered = tuple(value for _, value in controls.by_field[name].choices)

    assert offered == CHOICES[name]


@pytest.mark.parametrize("name", FIELDS)
def test_a_control_shows_the_fields_help(controls: ConfigControls, name: str) -> None:
    assert controls.by_field[name].info.lower() == f"{FIELDS[name].metadata['help']}.".lower()


def test_untouched_controls_give_the_defaults(controls: ConfigControls) -> None:
    assert controls.parse(values_with(controls)) == ("crop", GroupCamConfig())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("groups", 7),
        ("blur_sigma_px", 3.5),
        ("blur_kernel_px", 11),
        ("percentile", 55.0),
        ("grouping", "kmeans"),
        ("merge", "raw"),
        ("precision", "bfloat16"),
    ],
)
def test_each_control_sets_its_own_field(controls: ConfigControls, name: str, value: Any) -> None:
    _, config = controls.parse(values_with(controls, **{name: value}))

    assert config == dataclasses.replace(GroupCamConfig(), **{name: value})


def test_the_view_is_passed_on(controls: ConfigControls) -> None:
    assert controls.parse(values_with(controls, view="whole")) == ("whole", GroupCamConfig())


def test_without_denoising_the_percentile_is_none(controls: ConfigControls) -> None:
    _, config = controls.parse(values_with(controls, is_denoised=False))

    assert config.percentile is None


@pytest.mark.parametrize("name", ["groups", "blur_kernel_px"])
def test_a_whole_float_becomes_a_whole_number(controls: ConfigControls, name: str) -> None:
    _, config = controls.parse(values_with(controls, **{name: 33.0}))

    assert getattr(config, name) == 33
    assert isinstance(getattr(config, name), int)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"view": "sideways"}, GroupCamError, "one of crop, whole, fit; got 'sideways'"),
        ({"view": None}, GroupCamError, "view must be one of"),
        ({"groups": 0}, GroupCamError, "groups must be at least 1; got 0"),
        ({"groups": 2.5}, TypeError, "groups must be a whole number"),
        ({"groups": "abc"}, TypeError, "groups must be a whole number; got 'abc'"),
        ({"groups": None}, TypeError, "groups must be a whole number"),
        ({"blur_sigma_px": -1}, GroupCamError, "blur_sigma_px must be between"),
        ({"blur_sigma_px": float("nan")}, GroupCamError, "blur_sigma_px must be a finite number"),
        ({"blur_kernel_px": 50}, GroupCamError, "blur_kernel_px must be odd"),
        ({"percentile": 100}, GroupCamError, "percentile must be below 100"),
        ({"percentile": "70"}, TypeError, "percentile must be a number"),
        ({"grouping": "kmean"}, GroupCamError, "grouping must be one of .*Did you mean 'kmeans'"),
        ({"merge": None}, GroupCamError, "merge must be one of"),
    ],
    ids=str,
)
def test_values_that_nobody_can_set_on_the_page_are_refused(
    controls: ConfigControls, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        controls.parse(values_with(controls, **changes))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_on_the_controls_reads_back_as_itself(
    controls: ConfigControls, preset: str
) -> None:
    shown = controls.values_of(PRESETS[preset])
    values = [shown.get(control, control.value) for control in controls.all]

    assert controls.parse(values) == ("crop", PRESETS[preset])
