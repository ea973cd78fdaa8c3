"""How to make a result again: the command and the lines of Python that do it."""

import dataclasses
import shlex

from groupcam.metrics.protocols import DEFAULT_PROTOCOL
from groupcam.saliency import GroupCamConfig
from groupcam.share.record import Record


def command_of(record: Record) -> str | None:
    """Return the command line that makes the result again in the folder where the picture is.

    Curves of another protocol than the default one are left to `python_of`. None where there is no
    such command: the network was handed in as a Python object.
    """
    network, explanation = record.network, record.explanation
    if network.weights.source == "given":
        return None
    options = {"--backbone": network.name, "--weights": _weights(record) or "none"}
    if network.asked_input_size is not None:
        size = network.asked_input_size
        options["--input-size"] = str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"
    if network.device != "cpu":
        options["--device"] = network.device
    options["--target-layer"] = explanation.target_layer
    options["--class"] = str(explanation.class_index)
    options["--view"] = record.view
    for name, value in _changed_settings(explanation.config).items():
        options[f"--{name.replace('_', '-')}"] = "none" if value is None else str(value)
    words = ["python", "-m", "groupcam", "explain", _path(record.picture_name), "--out", "result"]
    # With "=", since a value may begin with a dash.
    words += [f"{option}={value}" for option, value in options.items()]
    if record.curves is None or record.curves.protocol != DEFAULT_PROTOCOL:
        words.append("--no-curves")
    return shlex.join(words)


def python_of(record: Record) -> str:
    """Return the lines of Python that make the result again in the folder where the picture is."""
    network, explanation = record.network, record.explanation
    picture = repr(_path(record.picture_name))
    if network.weights.source == "given":
        load = "backbone = ...  # a network of one's own: groupcam.models.Backbone.from_module"
    else:
        arguments = [repr(network.name), f"weights={_weights(record)!r}"]
        if network.asked_input_size is not None:
            arguments.append(f"input_size={network.asked_input_size!r}")
        if network.device != "cpu":
            arguments.append(f"device={network.device!r}")
        load = f"backbone = groupcam.load_backbone({', '.join(arguments)})"
    settings = ", ".join(
        f"{name}={value!r}" for name, value in _changed_settings(explanation.config).items()
    )
    view = f"view={record.view!r}"
    lines = [
        "import groupcam",
        load,
        f"config = groupcam.GroupCamConfig({settings})",
        f"result = groupcam.explain(backbone, {picture}, config, "
        f"{explanation.target_layer!r}, {explanation.class_index}, {view})",
    ]
    if record.curves is not None:
        given = ""
        changed = _changed(record.curves.protocol, DEFAULT_PROTOCOL)
        if changed:
            values = ", ".join(f"{name}={value!r}" for name, value in changed.items())
            lines.insert(1, "from groupcam.metrics import CurveProtocol")
            given = f", protocol=CurveProtocol({values})"
        lines.append(
            f"curves = groupcam.insertion_deletion(backbone, {picture}, result.saliency_map, "
            f"{explanation.class_index}, {view}{given})"
        )
    return "\n".join(lines)


def _weights(record: Record) -> str | None:
    """Return what to give as weights: a file by its name alone, for it is to lie beside."""
    network = record.network
    if network.weights.source == "file":
        return _path(network.weights.tag.replace("\\", "/").rpartition("/")[2])
    return network.asked_weights


def _changed_settings(config: GroupCamConfig) -> dict[str, object]:
    """Return the settings that are not the defaults."""
    return _changed(config, GroupCamConfig())


def _changed(given: object, default: object) -> dict[str, object]:
    """Return the fields of a data class that differ from another one's."""
    return {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(given)  # type: ignore[arg-type]  # data classes, see above
        if getattr(given, field.name) != getattr(default, field.name)
    }


def _path(name: str) -> str:
    """Return a file's name so that no reader takes it for an option, a tag or an address."""
    return f"./{name}"
