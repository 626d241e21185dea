"""Strategies for the native protocol, made from the annotations that the codec reads: at and inside every bound."""

from __future__ import annotations

import functools
import types
from enum import Enum
from typing import Annotated, Union, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from flare_actors.conversation import events, notices
from flare_actors.conversation.changes import changes
from flare_actors.conversation.items import AgentSaid, Instructed, UserSaid
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, SttMode
from flare_actors.ports import AudioIn, AudioOut, ToolSpec
from flare_actors.wire import flare
from flare_actors.wire.strict import Length, Range

_LOCALES = st.sampled_from(["en", "en-US", "de_CH", "zh-Hant-TW", "es-419"])


def of(annotation: object) -> st.SearchStrategy[object]:
    """Values that a field of this type takes."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return st.one_of([of(each) for each in get_args(annotation)])
    marks: list[object] = []
    if hasattr(annotation, "__metadata__"):
        annotation, *marks = get_args(annotation)
        if get_origin(annotation) in {Union, types.UnionType}:
            return st.one_of([_plain(each, marks) for each in get_args(annotation)])
    return _plain(annotation, marks)


def _plain(kind: object, marks: list[object]) -> st.SearchStrategy[object]:
    bounds = next((mark for mark in marks if isinstance(mark, Range)), Range())
    length = next((mark for mark in marks if isinstance(mark, Length)), Length(0, 60))
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    if kind is int:
        low, high = (None if bound is None else int(bound) for bound in (bounds.least, bounds.most))
        return st.integers(low, high)
    if kind is float:
        return st.floats(bounds.least, bounds.most, allow_nan=False, allow_infinity=False)
    if kind is str:
        if length.pattern:
            return _LOCALES
        text = st.text(st.characters(exclude_categories=["Cs"]), min_size=length.least, max_size=min(length.most, 200))
        return text if length.most > 200 else text | st.just("x" * length.most)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    assert isinstance(kind, type)
    return message(kind)


@functools.cache
def message(kind: type[attrs.AttrsInstance]) -> st.SearchStrategy[object]:
    """Instances of a message class."""
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{field.name: of(hints[field.name]) for field in attrs.fields(kind)})


TURNS = st.integers(1, 2**32 - 1)
PCM = st.binary(max_size=200).map(lambda pcm: pcm[: len(pcm) // 2 * 2])
ID = Annotated[str, Length(1, 64)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)

EVENTS: dict[type, st.SearchStrategy[object]] = {
    events.ConversationStartRequested: st.just(events.ConversationStartRequested()),
    events.ConversationEndRequested: st.just(events.ConversationEndRequested()),
    events.SessionEndRequested: st.just(events.SessionEndRequested()),
    events.InterruptRequested: st.just(events.InterruptRequested()),
    events.CommitRequested: st.just(events.CommitRequested()),
    events.InputClearRequested: st.just(events.InputClearRequested()),
    events.TextReceived: st.builds(events.TextReceived, text=of(str).filter(bool)),
    events.ToolsOffered: st.builds(
        events.ToolsOffered,
        tools=st.lists(
            st.builds(
                ToolSpec,
                name=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
                description=of(str),
                parameters=st.sampled_from(["{}", '{"type": "object", "properties": {"city": {"type": "string"}}}']),
            ),
            max_size=3,
        ).map(tuple),
        tool_choice=st.sampled_from(["auto", "none", "required"]),
    ),
    events.ToolResultReceived: st.builds(
        events.ToolResultReceived, call=of(str).filter(bool), output=of(str), failed=st.booleans()
    ),
    events.ResponseRequested: st.just(events.ResponseRequested()),
    events.SettingsChanged: st.builds(
        events.SettingsChanged,
        changes=st.fixed_dictionaries(
            {},
            optional={
                "locale": st.sampled_from(["en-US", "tr"]),
                "stt_mode": st.sampled_from(["streaming", "batch"]),
                "input": st.sampled_from(["audio", "text"]),
                "output": st.sampled_from(["audio", "text"]),
                "turn_detection": st.sampled_from(["automatic", "manual"]),
                "endpointing": st.sampled_from(["fixed", "adaptive"]),
                "auto_answer": st.booleans(),
                "barge_in": st.sampled_from(["off", "full", "guarded", "later"]),
                "mute": st.sampled_from(["never", "always", "welcome", "speaking"]),
                "endpoint_s": st.sampled_from([0.2, 0.48]),
            },
        ).map(changes),
    ),
    events.MuteRequested: st.builds(events.MuteRequested, muted=st.booleans()),
    events.PlaybackProgressed: st.builds(
        events.PlaybackProgressed, turn=st.none() | TURNS, played_s=st.floats(0, 86_400)
    ),
    events.PlaybackCompleted: st.builds(events.PlaybackCompleted, turn=st.none() | TURNS),
    events.ItemInsertRequested: st.builds(
        events.ItemInsertRequested,
        item=st.sampled_from([UserSaid, AgentSaid, Instructed]).flatmap(
            lambda kind: st.builds(kind, id=of(ID), text=of(str).filter(bool))
        ),
        after=st.none() | of(ID),
        request_id=st.none() | of(ID),
    ),
    events.ItemDeleteRequested: st.builds(events.ItemDeleteRequested, item_id=of(ID)),
    events.ItemTruncateRequested: st.builds(events.ItemTruncateRequested, item_id=of(ID), end_s=st.floats(0, 86_400)),
    events.ItemReadRequested: st.builds(events.ItemReadRequested, item_id=of(ID)),
}
"""What a client may cause."""

FROM_CLIENT = st.one_of(*EVENTS.values(), st.builds(AudioIn, PCM), message(flare.StartSession), message(flare.Ping))


@functools.cache
def notice(kind: type) -> st.SearchStrategy[object]:
    """A notice as the core makes it, with numbers as they occur."""
    by_name: dict[str, st.SearchStrategy[object]] = {
        "settings": st.builds(
            Settings,
            locale=st.sampled_from(["en-US", "tr"]),
            stt_mode=st.sampled_from(SttMode),
            output=st.sampled_from(Output),
            auto_answer=st.booleans(),
            endpoint_s=st.sampled_from([0.2, 0.48]),
        ),
        "utterance": st.integers(0, 10**6),
        "speech_s": st.floats(0, 1e6),
        "end_s": st.floats(0, 1e6),
        "input_tokens": st.integers(0, 10**6),
        "output_tokens": st.integers(0, 10**6),
        "item": st.builds(UserSaid, id=of(ID), text=of(str))
        | st.builds(AgentSaid, id=of(ID), turn=TURNS, text=of(str), audio_s=st.floats(0, 1e6))
        | st.builds(Instructed, id=of(ID), text=of(str)),
    }
    fields = attrs.fields(attrs.resolve_types(kind))
    given = {field.name: by_name[field.name] if field.name in by_name else of(field.type) for field in fields}
    if "turn" in given:
        required = attrs.fields_dict(kind)["turn"].default is attrs.NOTHING
        given["turn"] = TURNS if required else TURNS | st.none()
    return st.builds(kind, **given)


FROM_SERVER = st.one_of(
    *(notice(kind) for kind in get_args(notices.Notice)), st.builds(AudioOut, TURNS, PCM), message(flare.Pong)
)
