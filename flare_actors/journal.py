"""Events and conversations as JSON and back, unchanged: what journals, recovery on another node and replays stand on.

``step`` is pure and events carry their time, so the events of a session are the session: ``replay`` folds them. What is
written is plain JSON: objects with the fields' names, enums by their value, a member of a union with its class in
``type``. What is read is read strictly, because a journal that is nearly right makes a conversation that is wrong: no
unknown field, no coercion, and an error that names the field. Journals hold what people said; errors never quote it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import GenericAlias, UnionType
from typing import Final, TypeAlias, TypeVar, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from flare_actors.conversation.changes import Value
from flare_actors.conversation.events import Event
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.step import fold
from flare_actors.errors import FlareError
from flare_actors.strict_json import Wrong, json_kind, register_scalars

__all__ = [
    "JournalError",
    "JsonObject",
    "conversation_from_json",
    "conversation_to_json",
    "dump_conversation",
    "dump_event",
    "event_from_json",
    "event_to_json",
    "load_conversation",
    "load_event",
    "replay",
]

JsonObject: TypeAlias = dict[str, object]
"""A JSON object, parsed."""

_T = TypeVar("_T")
_TAG: Final = "type"


class JournalError(FlareError):
    """What was to be read is no event, or no conversation, of this version; the message names the field and what it takes."""


def dump_event(event: Event) -> JsonObject:
    """An event as a JSON object with its class in ``type``."""
    return cast("JsonObject", _converter().unstructure(event, unstructure_as=Event))


def load_event(data: object) -> Event:
    """The event that ``dump_event`` made ``data`` from.

    Raises:
        JournalError: it made no such thing.
    """
    # Unions are no types for a type checker, but cattrs takes them.
    return _load(data, cast("type[Event]", Event), "event")


def dump_conversation(conversation: Conversation) -> JsonObject:
    """A conversation, whole, as a JSON object."""
    return cast("JsonObject", _converter().unstructure(conversation))


def load_conversation(data: object) -> Conversation:
    """The conversation that ``dump_conversation`` made ``data`` from.

    Raises:
        JournalError: it made no such thing.
    """
    return _load(data, Conversation, "conversation")


def event_to_json(event: Event) -> str:
    """An event as one line of JSON."""
    return _write(dump_event(event))


def event_from_json(text: str) -> Event:
    """The event that ``event_to_json`` wrote.

    Raises:
        JournalError: it wrote no such thing.
    """
    return load_event(_read(text, "event"))


def conversation_to_json(conversation: Conversation) -> str:
    """A conversation as one line of JSON."""
    return _write(dump_conversation(conversation))


def conversation_from_json(text: str) -> Conversation:
    """The conversation that ``conversation_to_json`` wrote.

    Raises:
        JournalError: it wrote no such thing.
    """
    return load_conversation(_read(text, "conversation"))


def replay(conversation: Conversation, events: Iterable[Event]) -> Conversation:
    """The conversation as it stood after ``events``, exactly: the past is a fold."""
    return fold(conversation, events)


# --- JSON text ---------------------------------------------------------------------------------------------------------------


def _write(data: JsonObject) -> str:
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _read(text: str, what: str) -> object:
    try:
        return json.loads(text)
    # ValueError: no JSON, or an integer of thousands of digits; RecursionError: brackets as deep as the text is long.
    except (ValueError, RecursionError):
        raise JournalError(f"{what}: not JSON") from None


# --- Values ------------------------------------------------------------------------------------------------------------------


@cache
def _converter() -> cattrs.Converter:
    """Made on first use: cattrs generates two functions for each of the forty classes."""
    converter = cattrs.Converter(forbid_extra_keys=True, unstruct_collection_overrides={tuple: list})
    register_scalars(converter, half_surrogates=True)
    converter.register_structure_hook_func(lambda kind: kind == Value, _read_value)
    converter.register_unstructure_hook_func(
        lambda kind: kind == Value, lambda value: list(value) if isinstance(value, tuple) else value
    )
    converter.register_structure_hook_factory(attrs.has, lambda kind: _object_reader(converter, kind))
    converter.register_structure_hook_factory(_is_tuple, lambda kind: _array_reader(converter, kind))
    converter.register_structure_hook_factory(_is_union, lambda kind: _member_reader(converter, kind))
    converter.register_unstructure_hook_factory(_is_union, lambda kind: _member_writer(converter, kind))
    return converter


def _read_value(value: object, _: object) -> Value:
    """A setting's value, of whatever kind: which one it takes is for the core to say."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise Wrong(f"expected a scalar or an array of strings, got {json_kind(value)}")


def _is_tuple(kind: object) -> bool:
    return get_origin(kind) is tuple


def _is_union(kind: object) -> bool:
    """A union of classes: ``X | None`` is none, it needs no tag."""
    return get_origin(kind) in {Union, UnionType} and all(map(attrs.has, get_args(kind)))


def _tag(kind: type) -> str:
    """``SpeechStarted`` is written ``speech_started``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _member_writer(converter: cattrs.Converter, union: object) -> Callable[[object], JsonObject]:
    writers = {kind: (_tag(kind), converter.get_unstructure_hook(kind)) for kind in get_args(union)}

    def write(value: object) -> JsonObject:
        tag, writer = writers[type(value)]
        return {_TAG: tag, **writer(value)}

    return write


def _member_reader(converter: cattrs.Converter, union: object) -> Callable[[object, object], object]:
    readers = {_tag(kind): (kind, converter.get_structure_hook(kind)) for kind in get_args(union)}

    def read(value: object, _: object) -> object:
        if not isinstance(value, Mapping):
            raise Wrong(f"expected an object, got {json_kind(value)}")
        tag = value.get(_TAG)
        if not isinstance(tag, str) or tag not in readers:
            raise Wrong(f"expected a {_TAG!r} that is one of {', '.join(sorted(readers))}")
        kind, reader = readers[tag]
        return reader({name: field for name, field in value.items() if name != _TAG}, kind)

    return read


def _object_reader(converter: cattrs.Converter, kind: type[attrs.AttrsInstance]) -> Callable[[object, object], object]:
    reader = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def read(value: object, _: object) -> object:
        if not isinstance(value, Mapping):
            raise Wrong(f"expected an object, got {json_kind(value)}")
        return reader(value, kind)

    return read


def _array_reader(converter: cattrs.Converter, kind: object) -> Callable[[object, object], object]:
    reader = converter.get_structure_hook(GenericAlias(list, get_args(kind)[:1]))

    def read(value: object, _: object) -> object:
        if not isinstance(value, list | tuple):
            raise Wrong(f"expected an array, got {json_kind(value)}")
        return tuple(reader(value, list))

    return read


# --- Errors ------------------------------------------------------------------------------------------------------------------


def _load(data: object, kind: type[_T], what: str) -> _T:
    try:
        return _converter().structure(data, kind)
    except Wrong as error:
        raise JournalError(f"{what}: {error}") from None
    except BaseValidationError as errors:
        path, message = _first(errors, what)
        raise JournalError(f"{path}: {message}") from None


def _first(errors: BaseValidationError, path: str) -> tuple[str, str]:
    """The path and the message of the first thing that is wrong."""
    for error in errors.exceptions:
        note = next(
            (
                n
                for n in getattr(error, "__notes__", ())
                if isinstance(n, AttributeValidationNote | IterableValidationNote)
            ),
            None,
        )
        here = path
        if isinstance(note, AttributeValidationNote):
            here = f"{path}.{note.name}"
        elif isinstance(note, IterableValidationNote):
            here = f"{path}[{note.index}]"
        if isinstance(error, BaseValidationError):
            return _first(error, here)
        match error:
            case KeyError():
                return here, "required and missing"
            case ForbiddenExtraKeysError():
                return here, f"unknown field {', '.join(map(repr, sorted(error.extra_fields)))}"
            case Wrong():
                return here, str(error)
            case _:
                # A validator of the class: out of bounds.
                return here, f"out of bounds: {error.args[0] if error.args else type(error).__name__}"
    return path, "cannot be read"
