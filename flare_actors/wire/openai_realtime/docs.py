"""The tables of docs/openai-realtime.md, out of the shapes that the codec reads and the order that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import get_args, get_origin, get_type_hints

import attrs

from flare_actors.wire.openai_realtime import client_events as wire
from flare_actors.wire.openai_realtime import session_config as config
from flare_actors.wire.openai_realtime.errors import CODES
from flare_actors.wire.openai_realtime.order import ORDER
from flare_actors.wire.strict import Doc, Length, Range

__all__ = ["tables"]


def tables() -> str:
    """The page's generated part, in Markdown."""
    return "\n".join([*_client_events(), *_shapes(), *_server_events(), *_codes()])


def _client_events() -> Iterator[str]:
    yield "### What a client may send\n"
    yield "| event | fields | |\n| --- | --- | --- |"
    for name, kind in wire.CLIENT_EVENTS.items():
        fields = ", ".join(f"`{field.name}`" for field in attrs.fields(kind)) or "none"
        yield f"| `{name}` | {fields} | {_first_line(kind)} |"


def _shapes() -> Iterator[str]:
    events = [kind for kind in wire.CLIENT_EVENTS.values() if attrs.fields(kind)]
    shapes = [config.Session, config.AudioInput, config.AudioOutput, config.Format, config.TurnDetection]
    shapes += [config.Transcription, config.Tool, wire.Item, wire.Content, wire.ResponseParams]
    yield "\n### Field by field\n"
    yield "| of | field | takes | |\n| --- | --- | --- | --- |"
    for kind in [*shapes, *events]:
        hints = get_type_hints(kind, include_extras=True)
        for field in attrs.fields(kind):
            marks = list(_marks(hints[field.name]))
            words = "; ".join(mark.text for mark in marks if isinstance(mark, Doc))
            yield f"| {_name(kind)} | `{field.name}` | {_takes(hints[field.name], marks)} | {words} |"


def _name(kind: type) -> str:
    named = {shape: name for name, shape in wire.CLIENT_EVENTS.items()}
    return f"`{named[kind]}`" if kind in named else kind.__name__


def _marks(hint: object) -> Iterator[object]:
    if hasattr(hint, "__metadata__"):
        yield from hint.__metadata__
    for each in get_args(hint):
        if hasattr(each, "__metadata__"):
            yield from each.__metadata__


def _takes(hint: object, marks: list[object]) -> str:
    bounds = [mark.describe() for mark in marks if isinstance(mark, Length | Range)]
    base = hint
    while hasattr(base, "__metadata__") or (get_origin(base) is not None and type(None) in get_args(base)):
        base = next(each for each in get_args(base) if each is not type(None))
    if isinstance(base, type) and issubclass(base, Enum):
        return ", ".join(f"`{member.value}`" for member in base)
    if get_origin(base) is list:
        inner = get_args(base)[0]
        return f"a list of {inner.__name__}"
    plain = {str: "text", int: "a whole number", float: "a number", bool: "true or false", object: "anything"}
    if base in plain:
        return " ".join([plain[base], *bounds])
    return base.__name__ if isinstance(base, type) and attrs.has(base) else "an object" if not bounds else bounds[0]


def _server_events() -> Iterator[str]:
    yield "\n### What the server sends, and in which order\n"
    yield "| event | comes inside | opens | closes |\n| --- | --- | --- | --- |"
    for name, rule in ORDER.items():
        scopes = [", ".join(scope.kind for scope in each) for each in (rule.inside, rule.opens, rule.closes)]
        yield f"| `{name}` | {' | '.join(scopes)} |"


def _codes() -> Iterator[str]:
    yield "\n### Error codes that differ from the native protocol's\n"
    yield "| here | there |\n| --- | --- |"
    for own, code in CODES.items():
        yield f"| `{code}` | `{own}` |"


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
