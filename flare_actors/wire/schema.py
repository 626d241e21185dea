"""What can be generated from the native protocol's attrs classes: its JSON Schema, and the tables of docs/protocol.md.

The schema is served at ``/flare/schema.json``; tests hold real messages against it, and the tables against the page.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final, Union, get_args, get_origin, get_type_hints

import attrs

from flare_actors.wire.flare_client_messages import CLIENT_MESSAGES
from flare_actors.wire.flare_server_messages import SERVER_MESSAGES
from flare_actors.wire.flare_shapes import MAX_TURN
from flare_actors.wire.strict import Doc, Length, Range

__all__ = ["SCHEMA_PATH", "choices", "json_schema", "tables"]

SCHEMA_PATH: Final = "/flare/schema.json"
"""Where a server serves it."""

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Final[Mapping[object, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}

_INLINE_CHOICES: Final = 6
"""Longer enumerations have their own paragraph on the page."""

Schema = dict[str, object]


def _split(annotation: object) -> tuple[object, list[object], bool]:
    """``Annotated[X, marks] | None`` -> X, marks, whether None is allowed. Later marks override earlier ones."""
    optional = False
    if get_origin(annotation) in {Union, types.UnionType} and type(None) in get_args(annotation):
        optional = True
        rest = [each for each in get_args(annotation) if each is not type(None)]
        if len(rest) > 1:
            return Union[tuple(rest)], [], True
        annotation = rest[0]
    if hasattr(annotation, "__metadata__"):
        base, *marks = get_args(annotation)
        return base, marks, optional
    return annotation, [], optional


def _base_schema(base: object) -> Schema:
    if base in _PLAIN:
        return {"type": _PLAIN[base]}
    if isinstance(base, type) and issubclass(base, Enum):
        return {"enum": [member.value for member in base]}
    if isinstance(base, type) and attrs.has(base):
        return _object_schema(base, tag=None, closed=True)
    if get_origin(base) is tuple:
        return {"type": "array", "items": _object_schema(get_args(base)[0], tag=None, closed=True)}
    return {"type": [_PLAIN[each] for each in get_args(base)]}


def _field_schema(annotation: object) -> Schema:
    base, marks, optional = _split(annotation)
    schema = _base_schema(base)
    for mark in marks:
        match mark:
            case Doc():
                schema["description"] = mark.text
            case Range():
                schema |= {"minimum": mark.least} if mark.least is not None else {}
                schema |= {"maximum": mark.most} if mark.most is not None else {}
            case Length():
                schema |= {"minLength": mark.least, "maxLength": mark.most}
                schema |= {"pattern": mark.pattern} if mark.pattern is not None else {}
    if not optional:
        return schema
    kind = schema.get("type")
    if kind is None or "properties" in schema:  # an enumeration or an object
        return {"anyOf": [schema, {"type": "null"}]}
    return schema | {"type": [*kind, "null"] if isinstance(kind, list) else [kind, "null"]}


def _object_schema(kind: type[attrs.AttrsInstance], *, tag: str | None, closed: bool) -> Schema:
    hints = get_type_hints(kind, include_extras=True)
    properties: dict[str, object] = {} if tag is None else {"type": {"const": tag}}
    required = [] if tag is None else ["type"]
    for field in attrs.fields(kind):
        properties[field.name] = _field_schema(hints[field.name])
        if field.default is attrs.NOTHING:
            required.append(field.name)
        elif field.default is not None:
            properties[field.name] = {**_field_schema(hints[field.name]), "default": field.default}
    schema: Schema = {"type": "object", "description": _summary(kind), "properties": properties}
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def _summary(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def json_schema() -> Schema:
    """The text messages of the native protocol as a JSON Schema: ``$defs/client`` and ``$defs/server``.

    What a client sends is closed (unknown fields are refused), what a server sends is open (it may grow).
    """
    definitions: dict[str, object] = {
        "client": {"oneOf": [{"$ref": f"#/$defs/client.{name}"} for name in CLIENT_MESSAGES]},
        "server": {"oneOf": [{"$ref": f"#/$defs/server.{name}"} for name in SERVER_MESSAGES]},
    }
    for name, kind in CLIENT_MESSAGES.items():
        definitions[f"client.{name}"] = _object_schema(kind, tag=name, closed=True)
    for name, kind in SERVER_MESSAGES.items():
        definitions[f"server.{name}"] = _object_schema(kind, tag=name, closed=False)
    return {
        "$schema": _DIALECT,
        "title": "The native protocol of flare_actors",
        "description": (
            "Text messages. Binary messages are audio: from the client PCM16 little-endian mono at input_sample_rate, "
            "no header; from the server 8 bytes (1 byte version = 1, 3 bytes zero, 4 bytes little-endian turn number) "
            "and then PCM16 little-endian mono at output_sample_rate."
        ),
        "anyOf": [{"$ref": "#/$defs/client"}, {"$ref": "#/$defs/server"}],
        "$defs": definitions,
    }


# --- The tables of docs/protocol.md --------------------------------------------------------------------------------------


def _enum_words(kind: type[Enum]) -> str:
    if len(kind) > _INLINE_CHOICES:
        return f"a [{kind.__name__.lower()}](#{kind.__name__.lower()}s)"
    return " or ".join(f"`{member.value}`" for member in kind)


def _type_words(annotation: object) -> str:
    base, marks, optional = _split(annotation)
    if base in _PLAIN:
        words = _PLAIN[base]
    elif isinstance(base, type) and issubclass(base, Enum):
        words = _enum_words(base)
    elif isinstance(base, type) and attrs.has(base):
        words = "object: " + ", ".join(f"`{field.name}`" for field in attrs.fields(base))
    elif get_origin(base) is tuple:
        words = "array of objects: " + ", ".join(f"`{field.name}`" for field in attrs.fields(get_args(base)[0]))
    else:
        words = " or ".join(_PLAIN[each] for each in get_args(base))
    for mark in marks:
        if isinstance(mark, Range) and mark.least == 1 and mark.most == MAX_TURN:
            words += " from 1"  # four bytes on the wire, which is no news to a reader
        elif isinstance(mark, Range | Length) and base in _PLAIN:
            words += f" {mark.describe()}"
    return f"{words}, or null" if optional else words


def _rows(kind: type[attrs.AttrsInstance], *, needed: bool) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for field in attrs.fields(kind):
        docs = [mark.text for mark in _split(hints[field.name])[1] if isinstance(mark, Doc)]
        meaning = docs[-1] if docs else ""
        name = f"`{field.name}`"
        if needed and field.default is attrs.NOTHING:
            name += " *"
        elif field.default not in {attrs.NOTHING, None}:
            default = str(field.default).lower() if isinstance(field.default, bool) else field.default
            meaning += f"; default: {default}"
        yield f"| {name} | {_type_words(hints[field.name])} | {meaning} |"


def choices(kind: type[Enum]) -> str:
    """An enumeration's values, as one line of Markdown."""
    return ", ".join(f"`{member.value}`" for member in kind)


def tables(side: str) -> str:
    """The messages that ``"client"`` or ``"server"`` sends, as Markdown. A star marks what a client must give."""
    messages = CLIENT_MESSAGES if side == "client" else SERVER_MESSAGES
    parts = []
    for name, kind in messages.items():
        rows = list(_rows(kind, needed=side == "client"))
        table = ["| field | type | meaning |", "| --- | --- | --- |", *rows, ""] if rows else []
        parts.append("\n".join([f"#### `{name}`", "", _summary(kind), "", *table]))
    return "\n".join(parts)
