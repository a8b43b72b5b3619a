"""The reference of all settings, rendered from the model, as Markdown and as TOML."""

from __future__ import annotations

import json
import types
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SecretStr

from config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic.fields import FieldInfo

_BOUNDS = (("ge", "≥ {}"), ("gt", "> {}"), ("le", "≤ {}"), ("lt", "< {}"), ("pattern", "`{}`"))


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every section with its model, in the order of `Settings`."""
    for name, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        yield name, model


def markdown() -> str:
    """Return one table a section, rows `key | type | default | meaning`."""
    lines: list[str] = []
    for name, model in sections():
        lines += ["", f"## `{name}`", "", (model.__doc__ or "").strip(), ""]
        lines += _table(model)
    return "\n".join(lines) + "\n"


def _table(model: type[BaseModel]) -> list[str]:
    if not model.model_fields:
        return []
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    nested: list[type[BaseModel]] = []
    for key, field in model.model_fields.items():
        default = f"`{toml(field.default)}`" if toml(field.default) else "unset"
        if field.is_required():
            default = "required"
        cells = (f"`{key}`", _type(field), default, " ".join((field.description or "").split()))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        nested += _models(field.annotation)
    for inner in nested:
        lines += ["", f"Each entry: {(inner.__doc__ or '').strip()}", "", *_table(inner)]
    return lines


def default_toml() -> str:
    """Return a TOML file with every key at its default, commented out."""
    lines = [
        "# Every setting of Vitrina with its default. Remove the '#' of what you change, and start",
        "# with: vitrina serve --config FILE. Written by `./run docs`; see docs/configuration.md.",
    ]
    for name, model in sections():
        lines += ["", f"# {(model.__doc__ or '').strip()}", f"[{name}]"]
        for key, field in model.model_fields.items():
            meaning = " ".join((field.description or "").split())
            value = toml(field.default)
            lines += [f"# {meaning}", f"#{key} = {value}" if value else f"#{key} ="]
    return "\n".join(lines) + "\n"


def toml(value: object) -> str:
    """Render a default as a TOML value; None as nothing, for it cannot be written."""
    match value:
        case None | SecretStr():
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case BaseModel():
            pairs = (f"{key} = {toml(item)}" for key, item in value)
            return "{" + ", ".join(pairs) + "}"
        case dict():
            pairs = (f"{key} = {toml(item)}" for key, item in value.items())
            return "{" + ", ".join(pairs) + "}"
        case tuple():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def _type(field: FieldInfo) -> str:
    name = _type_name(field.annotation)
    return ", ".join([name, *_bounds(field.metadata)])


def _bounds(rules: Sequence[object]) -> list[str]:
    return [
        text.format(getattr(rule, attribute))
        for rule in rules
        for attribute, text in _BOUNDS
        if getattr(rule, attribute, None) is not None
    ]


def _type_name(annotation: Any) -> str:
    arguments = typing.get_args(annotation)
    # `|` makes the one or the other, by what stands beside it.
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        kinds = [_type_name(kind) for kind in arguments if kind is not type(None)]
        return " or ".join([*kinds, "unset"] if type(None) in arguments else kinds)
    if typing.get_origin(annotation) is typing.Annotated:
        return ", ".join([_type_name(arguments[0]), *_bounds(arguments[1].metadata)])
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type_name(arguments[0])}"
    if typing.get_origin(annotation) is dict:
        return f"table of {_type_name(arguments[1])}"
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    names = {"str": "text", "SecretStr": "secret", "int": "whole number", "float": "number"}
    names |= {"bool": "true or false", "Path": "path"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return names.get(annotation.__name__, str(annotation.__name__))


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [
        kind
        for kind in typing.get_args(annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    ]
