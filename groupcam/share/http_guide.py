"""How to call a running page from a program, as Markdown written from what the page says itself.

The page describes its endpoints at `/gradio_api/info`; nothing about one is typed here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

PICTURE = "cat.jpg"  # the file that all examples send
FILE_TYPE = "filepath"  # what Gradio calls the type of a file
PREFIX = "gradio_api"

Info = Mapping[str, Any]


def http_guide(info: Info, url: str) -> str:
    """Return the guide to a page.

    Args:
        info: what the page answers at `/gradio_api/info`.
        url: the page's address.
    """
    url = url.rstrip("/")
    parts = [_introduction(url)]
    told: dict[str, str] = {}
    for name, endpoint in info["named_endpoints"].items():
        parts += [
            f"## {name}",
            endpoint["description"],
            _parameters(endpoint["parameters"]),
            "Answer: " + _answer(endpoint["returns"][0]["type"], name, told),
            _fenced("python", python_example(name, endpoint, url)),
            _fenced("javascript", javascript_example(name, endpoint, url)),
            _fenced("bash", curl_example(name, endpoint, url)),
        ]
    return "\n\n".join(parts) + "\n"


def python_example(name: str, endpoint: Info, url: str) -> str:
    """Return a program that calls an endpoint with gradio_client and saves what is a file."""
    arguments = _example_arguments(endpoint)
    takes_file = any(_is_file(one) for one in arguments)
    standard, others, saving = _saving(endpoint["returns"][0]["type"])
    lines = [*standard, ""] if standard else []
    lines += [*others, f"from gradio_client import Client{', handle_file' if takes_file else ''}"]
    lines += ["", f'client = Client("{url}")', "answer = client.predict("]
    for parameter in arguments:
        value = f'handle_file("{PICTURE}")' if _is_file(parameter) else repr(_example_of(parameter))
        lines.append(f"    {parameter['parameter_name']}={value},")
    lines += [f'    api_name="{name}",', ")", "print(str(answer)[:1000])  # its beginning"]
    return "\n".join([*lines, *saving])


def javascript_example(name: str, endpoint: Info, url: str) -> str:
    """Return a program that calls an endpoint with @gradio/client, in Node.js."""
    arguments = _example_arguments(endpoint)
    takes_file = any(_is_file(one) for one in arguments)
    lines = [f'import {{ Client{", handle_file" if takes_file else ""} }} from "@gradio/client";']
    lines += ["", f'const client = await Client.connect("{url}");']
    lines.append(f'const result = await client.predict("{name}", {{')
    for parameter in arguments:
        value = (
            f'handle_file("{PICTURE}")'
            if _is_file(parameter)
            else json.dumps(_example_of(parameter), ensure_ascii=False)
        )
        lines.append(f"  {parameter['parameter_name']}: {value},")
    lines += ["});", "const answer = result.data[0];", "console.log(Object.keys(answer));"]
    return "\n".join(lines)


def curl_example(name: str, endpoint: Info, url: str) -> str:
    """Return commands for any shell: send the picture, ask, and read the answer's event."""
    lines = []
    fields = []
    for parameter in _example_arguments(endpoint):
        if _is_file(parameter):
            lines.append(
                f'FILE=$(curl -sS -F "files=@{PICTURE}" {url}/{PREFIX}/upload '
                """| sed 's/^\\["//; s/"\\]$//')"""
            )
            value = """{"path": "'"$FILE"'", "meta": {"_type": "gradio.FileData"}}"""
        else:
            value = json.dumps(_example_of(parameter)).replace("'", "'\\''")
        fields.append(f'"{parameter["parameter_name"]}": {value}')
    body = "{" + ", ".join(fields) + "}"
    lines += [
        f"EVENT=$(curl -sS {url}/{PREFIX}/call/v2{name} -H 'Content-Type: application/json' \\",
        f"""  -d '{body}' \\""",
        """  | sed 's/.*"event_id": *"//; s/".*//')""",
        f"curl -sSN {url}/{PREFIX}/call{name}/$EVENT",
    ]
    return "\n".join(lines)


def _introduction(url: str) -> str:
    """Return what holds for every endpoint."""
    return f"""\
# Calling {url} from a program

Written by `python -m groupcam api --url {url}` from {url}/{PREFIX}/info.
The page shows the same endpoints under "Use via API" at its foot.

Python: `pip install gradio_client`. JavaScript: `npm install @gradio/client`, in Node.js; in a
browser give `handle_file` the File of an input instead of a path. curl: a call is a POST that
answers with an `event_id`, and a GET that waits for its events; after `event: complete` comes
`data: [answer]`, after `event: error` one sentence that says what must be changed. A picture is
uploaded first.

All examples send `{PICTURE}` from the folder they run in. What is left out has its default.
Calls wait in one line with the work of everybody who uses the page."""


def _parameters(parameters: list[Info]) -> str:
    """Return an endpoint's parameters as a table."""
    lines = ["| Parameter | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for parameter in parameters:
        default = "required"
        if parameter["parameter_has_default"]:
            default = f"`{json.dumps(parameter['parameter_default'], ensure_ascii=False)}`"
        lines.append(
            _row(
                f"`{parameter['parameter_name']}`",
                "file" if _is_file(parameter) else _type_words(parameter["type"], {}),
                default,
                parameter["type"].get("description") or parameter["label"],
            )
        )
    return "\n".join(lines)


def _answer(schema: Info, name: str, told: dict[str, str]) -> str:
    """Return what comes back, key by key.

    Args:
        schema: of the answer.
        name: of the endpoint.
        told: the endpoint under which a kind of object was described; is added to.
    """
    definitions = schema.get("$defs", {})
    is_list = schema.get("type") == "array"
    kind = _resolved(schema["items"] if is_list else schema, definitions)
    lines = ["a list of objects." if is_list else "an object.", ""]
    lines += ["| Key | Type | Meaning |", "| --- | --- | --- |"]
    lines += [_row(*cells) for cells in _keys(kind, definitions, "", name, told)]
    return "\n".join(lines)


def _keys(
    schema: Info, definitions: Info, prefix: str, name: str, told: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield path, type and meaning of the keys of an object and of the objects inside."""
    for key, part in schema.get("properties", {}).items():
        path = f"{prefix}{key}"
        is_list = part.get("type") == "array" and isinstance(part.get("items"), Mapping)
        inner = part["items"] if is_list else part
        kind = inner.get("$ref", "")
        meaning = part.get("description", "")
        if told.get(kind, name) != name:
            meaning += f"; its keys stand under {told[kind]}"
        yield f"`{path}`", _type_words(part, definitions), meaning
        if kind and told.setdefault(kind, name) == name:
            ending = "[]." if is_list else "."
            yield from _keys(
                _resolved(inner, definitions), definitions, f"{path}{ending}", name, told
            )


def _type_words(schema: Info, definitions: Info) -> str:
    """Return a type in words, with its choices and its range."""
    schema = _resolved(schema, definitions)
    if "anyOf" in schema:
        return " or ".join(_type_words(one, definitions) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    words = str(schema.get("type", "any"))
    if words == "array":
        inner = schema.get("items")
        if not inner and schema.get("prefixItems"):
            inner = schema["prefixItems"][0]
        words = "list" if not inner else f"list of {_type_words(inner, definitions)}"
        fewest, most = schema.get("minItems"), schema.get("maxItems")
        if fewest == most and most is not None:
            return f"{words}, {most}"
        return words if most is None else f"{words}, {fewest or 0} to {most}"
    minimum, maximum = schema.get("minimum"), schema.get("maximum")
    if minimum is not None:
        words += f" ≥ {minimum}" if maximum is None else f", {minimum} to {maximum}"
    return words


def _resolved(schema: Info, definitions: Info) -> Info:
    """Return a schema, or the one that it refers to."""
    reference = str(schema.get("$ref", "")).rpartition("/")[2]
    return {**definitions[reference], **schema} if reference else schema


def _saving(schema: Info) -> tuple[list[str], list[str], list[str]]:
    """Return the lines of Python that take the files out of an answer.

    First come the imports of the standard library, then other imports, then the work.
    """
    standard, others, work = {"import base64"}, set(), []
    for name, told in schema.get("properties", {}).items():
        if told.get("contentMediaType") == "application/x-npy":
            standard.add("import io")
            others.add("import numpy as np")
            work.append(f'values = np.load(io.BytesIO(base64.b64decode(answer["{name}"])))')
        elif told.get("format") == "data-uri":
            standard.add("from pathlib import Path")
            work.append(f'content = answer["{name}"].partition(",")[2]')
            work.append(f'Path("{name}.png").write_bytes(base64.b64decode(content))')
    # Plain imports first, as every formatter has them.
    return sorted(standard, key=_import_order) if work else [], sorted(others), work


def _import_order(line: str) -> tuple[bool, str]:
    return line.startswith("from"), line


def _example_arguments(endpoint: Info) -> list[Info]:
    """Return the parameters that an example gives: the required ones and those with an example."""
    return [
        parameter
        for parameter in endpoint["parameters"]
        if not parameter["parameter_has_default"] or parameter["type"].get("examples")
    ]


def _example_of(parameter: Info) -> Any:
    """Return the value that an example gives."""
    return parameter["type"]["examples"][0]


def _is_file(parameter: Info) -> bool:
    return bool(parameter["python_type"]["type"] == FILE_TYPE)


def _row(*cells: str) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def _fenced(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```"
