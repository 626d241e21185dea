"""Hypothesis strategies for every value that this package speaks: events, commands, notices, settings, messages on the wire.

All of them are made from the classes' own annotations, bounds and validators, so that what is new is covered as soon as it is
there. ``values(MyClass)`` does the same for attrs classes of yours. To drive a conversation, ``strategies.scripts`` is the
better tool: it knows what may happen next.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.commands import Command
from flare_actors.conversation.events import Event
from flare_actors.conversation.notices import Notice
from flare_actors.conversation.settings import Settings
from flare_actors.ports import AudioOut
from flare_actors.wire import flare
from flare_actors.wire.flare_client_messages import CLIENT_MESSAGES
from flare_actors.wire.flare_server_messages import SERVER_MESSAGES
from flare_actors.wire.openai_realtime.client_events import CLIENT_EVENTS
from flare_actors.wire.strict import Length, Range

__all__ = [
    "any_settings",
    "client_messages",
    "client_texts",
    "commands",
    "events",
    "notices",
    "pcm",
    "realtime_texts",
    "server_messages",
    "server_texts",
    "values",
]

T = TypeVar("T")

_COUNTS: Final = (0, 9)
"""Small numbers: those of turns and utterances that a conversation of a few moves has."""
_AMOUNTS: Final = (0.0, 100.0)
_SHARES: Final = (0.01, 0.99)
"""Most validators of numbers let these in."""
_PATTERNED: Final = ("en", "en-US", "de_CH", "zh-Hant-TW", "es-419", "item-1", "a", "0", "true")
"""What patterns are tried with; the fields that have one are tags and names."""
_TOOLS: Final = st.builds(
    ToolSpec,
    name=st.sampled_from(["tea", "get_time", "a-1"]),
    description=st.text(max_size=9),
    parameters=st.sampled_from(["{}", '{"type": "object", "properties": {"cups": {"type": "integer"}}}']),
)
"""Of random texts none is a name and none a JSON schema."""
_TEXT: Final = st.characters(exclude_categories=["Cs"])


def values(kind: type[T]) -> st.SearchStrategy[T]:
    """Any value of an attrs class (or of a union of such): any field, at and inside every bound.

    Args:
        kind: the class; every field's type is one that JSON can hold, or has a default.

    Raises:
        TypeError: a field without a default has a type that nothing is known of.
    """
    return cast("st.SearchStrategy[T]", _of(kind))


@functools.cache
def events() -> st.SearchStrategy[Event]:
    """Any event with any field."""
    return cast("st.SearchStrategy[Event]", _of(Event))


@functools.cache
def commands() -> st.SearchStrategy[Command]:
    """Any command with any field."""
    return cast("st.SearchStrategy[Command]", _of(Command))


@functools.cache
def notices() -> st.SearchStrategy[Notice]:
    """Any notice with any field."""
    return cast("st.SearchStrategy[Notice]", _of(Notice))


def any_settings() -> st.SearchStrategy[Settings]:
    """Settings with any value that is let in, field by field, however odd together."""
    return values(Settings)


def pcm(max_size: int = 200) -> st.SearchStrategy[bytes]:
    """PCM16: whole samples, perhaps none."""
    return st.binary(max_size=max_size).map(lambda data: data[: len(data) // 2 * 2])


# --- The protocols -----------------------------------------------------------------------------------------------------------


@functools.cache
def client_texts() -> st.SearchStrategy[str]:
    """Every text message that a client of the native protocol may send, as it stands on the wire."""
    return _texts(CLIENT_MESSAGES)


@functools.cache
def server_texts() -> st.SearchStrategy[str]:
    """Every text message that a server of the native protocol may send, as it stands on the wire."""
    return _texts(SERVER_MESSAGES)


@functools.cache
def client_messages() -> st.SearchStrategy[flare.FromClient]:
    """Everything that a client may send, audio included, as the values that the codec takes and gives."""
    return _sendable(client_texts(), flare.decode_client).map(flare.decode_client) | pcm().map(flare.decode_client)


@functools.cache
def server_messages() -> st.SearchStrategy[flare.FromServer]:
    """Everything that a server may send, audio included, as the values that the codec takes and gives."""
    told = (
        _sendable(server_texts(), flare.decode_server)
        .map(flare.decode_server)
        .filter(lambda message: message is not None)
    )
    heard = st.builds(AudioOut, st.integers(1, 2**32 - 1), pcm())
    return cast("st.SearchStrategy[flare.FromServer]", told | heard)


@functools.cache
def realtime_texts() -> st.SearchStrategy[str]:
    """Every event that a client of the OpenAI Realtime API may send, as it stands on the wire."""
    return _texts(CLIENT_EVENTS)


def _texts(kinds: Mapping[str, type[attrs.AttrsInstance]]) -> st.SearchStrategy[str]:
    def text(name: str, kind: type[attrs.AttrsInstance]) -> st.SearchStrategy[str]:
        return _of(kind).map(lambda value: _written(name, cast("attrs.AttrsInstance", value)))

    return st.one_of([text(name, kind) for name, kind in kinds.items()])


def _written(name: str, value: attrs.AttrsInstance) -> str:
    body = attrs.asdict(value, value_serializer=lambda _self, _field, each: _plain(each))
    return json.dumps({"type": name, **{key: each for key, each in body.items() if each is not None}})


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def _sendable(texts: st.SearchStrategy[str], decode: Callable[[str], object]) -> st.SearchStrategy[str]:
    """Without those that the values behind them do not let in: a rule between two fields, a setting out of its bounds."""
    from flare_actors.errors import ClientError

    def fits(text: str) -> bool:
        try:
            decode(text)
        except (ClientError, ValueError):
            return False
        return True

    return texts.filter(fits)


# --- From annotations --------------------------------------------------------------------------------------------------------


def _of(annotation: object) -> st.SearchStrategy[Any]:
    marks: Sequence[object] = ()
    if hasattr(annotation, "__metadata__"):
        annotation, *marks = get_args(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return st.one_of([_of(each) if hasattr(each, "__metadata__") else _one(each, marks) for each in arguments])
    return _one(annotation, marks)


def _one(kind: Any, marks: Sequence[object]) -> st.SearchStrategy[Any]:  # noqa: ANN401 - any annotation there is
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(_of(arguments[0]), max_size=3).map(tuple)
    if origin in {list, Sequence}:
        return st.lists(_of(arguments[0]), max_size=3)
    if origin in {dict, Mapping}:
        return st.dictionaries(_of(arguments[0]), _of(arguments[1]), max_size=3)
    if hasattr(kind, "__metadata__") or origin in {Union, UnionType}:
        return _of(kind)
    return _scalar(kind, marks)


def _scalar(kind: Any, marks: Sequence[object]) -> st.SearchStrategy[Any]:  # noqa: ANN401 - any annotation there is
    bounds = next((mark for mark in marks if isinstance(mark, Range)), None)
    simple: dict[object, Callable[[], st.SearchStrategy[Any]]] = {
        NoneType: st.none,
        bool: st.booleans,
        int: lambda: _integers(bounds),
        float: lambda: _floats(bounds),
        str: lambda: _strings(next((mark for mark in marks if isinstance(mark, Length)), Length(0, 30))),
        bytes: pcm,
        object: lambda: st.none() | st.booleans() | st.integers(*_COUNTS) | st.text(_TEXT, max_size=8),
    }
    if kind in simple:
        return simple[kind]()
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if kind is ToolSpec:
        return _TOOLS
    if isinstance(kind, type) and attrs.has(kind):
        return _objects(kind)
    raise TypeError(f"no values are known of {kind!r}; give the field a default, or build it yourself with st.builds")


def _integers(bounds: Range | None) -> st.SearchStrategy[int]:
    if bounds is None:
        return st.integers(*_COUNTS)
    return st.integers(*(None if each is None else int(each) for each in (bounds.least, bounds.most)))


def _floats(bounds: Range | None) -> st.SearchStrategy[float]:
    if bounds is None:
        return st.floats(*_SHARES) | st.floats(*_AMOUNTS)
    return st.floats(bounds.least, bounds.most, allow_nan=False, allow_infinity=False)


def _strings(length: Length) -> st.SearchStrategy[str]:
    if length.pattern is not None:
        fitting = [each for each in _PATTERNED if length.holds(each)]
        return (
            st.sampled_from(fitting) if fitting else st.from_regex(length.pattern, fullmatch=True).filter(length.holds)
        )
    text = st.text(_TEXT, min_size=length.least, max_size=min(length.most, 200))
    return text if length.most > 200 else text | st.just("x" * length.most)


@functools.cache
def _objects(kind: type[attrs.AttrsInstance]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    given: dict[str, st.SearchStrategy[Any]] = {}
    for field in attrs.fields(kind):
        if not field.init:
            continue
        try:
            strategy = _of(hints[field.name])
        except TypeError:
            if field.default is attrs.NOTHING:
                raise
            continue
        given[field.alias or field.name] = strategy if field.validator is None else strategy.filter(_let_in(field))
    return st.deferred(lambda: _built(kind, given))


def _let_in(field: attrs.Attribute[Any]) -> Callable[[object], bool]:
    """Does the field's validator let a value in? One that looks at other fields is asked when all are there."""

    def valid(value: object) -> bool:
        assert field.validator is not None
        try:
            field.validator(None, field, value)
        except (ValueError, TypeError):
            return False
        except AttributeError:
            return True
        return True

    return valid


@st.composite
def _built(draw: st.DrawFn, kind: type[Any], given: Mapping[str, st.SearchStrategy[Any]]) -> object:
    fields = {name: draw(strategy) for name, strategy in given.items()}
    try:
        return kind(**fields)
    except ValueError:  # Two fields that do not go together.
        return draw(st.nothing())
