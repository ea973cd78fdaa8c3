"""The page's own components, and the controls of GroupCamConfig."""

import dataclasses
import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from groupcam.errors import GroupCamError, shown
from groupcam.language import say, section
from groupcam.models import View
from groupcam.saliency import CHOICES, PRESETS, GroupCamConfig

ASSETS = Path(__file__).resolve().parents[2] / "assets"
EXAMPLES = sorted((ASSETS / "examples").glob("*.jpg"))
MODEL_QUEUE = "model"  # everything that runs a network waits in one line

VIEWS: tuple[View, ...] = get_args(View)  # say(f"settings.view_{name}") tells what each is


def from_assets(name: str, value: Any, **settings: Any) -> gr.HTML:
    """Return the component whose markup and script are assets/NAME.html and assets/NAME.js.

    Both speak by the names in section NAME of the language's sentences: [[name]] in the markup,
    say(name, values) in the script.
    """
    markup = (ASSETS / f"{name}.html").read_text(encoding="utf-8")
    script = (ASSETS / f"{name}.js").read_text(encoding="utf-8")
    texts = section(name)
    return gr.HTML(
        value,
        html_template=re.sub(r"\[\[(\w+)\]\]", lambda found: escape(texts[found[1]]), markup),
        js_on_load=f"const say = gcSpeaker({json.dumps(texts, ensure_ascii=False)});\n{script}",
        **settings,
    )


class ConfigControls:
    """One control for each field of GroupCamConfig, with the field's own range and default."""

    def __init__(self) -> None:
        default = GroupCamConfig()
        self.groups = _slider("groups", maximum=320, step=1)
        self.blur_sigma_px = _slider("blur_sigma_px", maximum=100, step=0.1)
        with gr.Accordion(say("settings.advanced"), open=False) as self.advanced:
            with gr.Row():
                self.presets = {
                    name: gr.Button(say(f"settings.preset_{name}"), size="sm") for name in PRESETS
                }
            self.view = gr.Radio(
                [(say(f"settings.view_{name}"), name) for name in VIEWS],
                value="crop",
                label=say("settings.view_label"),
                info=say("settings.view_help"),
            )
            self.choices = {name: _choice(name) for name in CHOICES}
            self.is_denoised = gr.Checkbox(
                default.percentile is not None,
                label=say("settings.is_denoised_label"),
                interactive=True,
            )
            self.percentile = _slider("percentile", maximum=99, step=1)
            self.blur_kernel_px = _slider("blur_kernel_px", maximum=201, step=2)

    @property
    def by_field(self) -> dict[str, Any]:
        """Return the control of each field of GroupCamConfig, in the fields' order."""
        names = [field.name for field in dataclasses.fields(GroupCamConfig)]
        return {name: self.choices.get(name) or getattr(self, name) for name in names}

    @property
    def all(self) -> list[Any]:
        """Return every control, in the order that `parse` expects."""
        return [self.view, self.is_denoised, *self.by_field.values()]

    def parse(self, values: Sequence[Any]) -> tuple[View, GroupCamConfig]:
        """Return view and settings from the controls' raw values, which anybody may have sent.

        Raises:
            GroupCamError: a value is out of range or not among its choices.
            TypeError: a value is of the wrong type.
        """
        view, is_denoised, *settings = values
        named = dict(zip(self.by_field, settings, strict=True))
        if not is_denoised:
            named["percentile"] = None
        return checked_settings(view, named)

    def values_of(self, config: GroupCamConfig) -> dict[Any, Any]:
        """Return what each control shows for some settings."""
        values = {control: getattr(config, name) for name, control in self.by_field.items()}
        values[self.is_denoised] = config.percentile is not None
        if config.percentile is None:  # the slider keeps its place, to come back to
            del values[self.percentile]
        return values


def checked_settings(view: Any, settings: dict[str, Any]) -> tuple[View, GroupCamConfig]:
    """Return view and settings from raw values, which anybody may have sent.

    Raises:
        GroupCamError: a value is out of range or not among its choices.
        TypeError: a value is of the wrong type.
    """
    if view not in VIEWS:
        raise GroupCamError(say("settings.unknown_view", views=", ".join(VIEWS), given=shown(view)))
    whole = {
        name: int(settings[name])
        for name in ("groups", "blur_kernel_px")  # JSON knows one kind of number: 32.0 is 32
        if isinstance(settings.get(name), float) and settings[name].is_integer()
    }
    return view, GroupCamConfig(**{**settings, **whole})


def _help(name: str) -> str:
    """Return the field's help text as a sentence, in the page's language."""
    text = say(f"settings.{name}_help")
    return f"{text[0].upper()}{text[1:]}."


def _slider(name: str, *, maximum: float, step: float) -> gr.Slider:
    """Return a slider from the field's minimum up to a maximum that suits a page."""
    field = GroupCamConfig.__dataclass_fields__[name]
    return gr.Slider(
        field.metadata["minimum"],
        maximum,
        value=getattr(GroupCamConfig(), name),
        step=step,
        label=say(f"settings.{name}_label"),
        info=_help(name),
        interactive=True,
    )


def _choice(name: str) -> gr.Dropdown:
    """Return a list of the field's choices."""
    return gr.Dropdown(
        list(CHOICES[name]),
        value=getattr(GroupCamConfig(), name),
        label=say(f"settings.{name}_label"),
        info=_help(name),
        interactive=True,
    )
