"""In which order a server's events may come, as a table.

Everything in this protocol is a scope that one event opens and another one closes: a response, an output item in it, a content
part in that, the streams of the part. ``ORDER`` says for each event what must be open, what it opens and what it closes;
whatever was opened inside a scope is closed before it, and nothing is opened twice, but an item that was deleted. The words of
what the user says may be told before there is an item of it: an item's transcription is open from its first sound on.
``EventOrder`` holds a sequence of events against the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs

__all__ = ["ORDER", "EventOrder", "OutOfOrder", "Rule", "Scope"]


@attrs.frozen
class Scope:
    """Something that is open for a while; one for each value of ``key``."""

    kind: str
    key: str = ""
    """Where an event has its name: a path of fields; empty: there is one only."""
    when: tuple[str, str] | None = None
    """Only where this field has that value."""
    perhaps: bool = False
    """It may be open already."""


@attrs.frozen(kw_only=True)
class Rule:
    """What one type of event means for the scopes."""

    inside: tuple[Scope, ...] = ()
    """Must be open; what is opened is opened in the last of them."""
    opens: tuple[Scope, ...] = ()
    closes: tuple[Scope, ...] = ()


_SESSION = Scope("session")
_SPEECH = Scope("speech", "item_id")
_ITEM = Scope("item", "item_id")
_ADDING = Scope("item being added", "item.id")
_TRANSCRIPTION = Scope("transcription", "item_id")
_RESPONSE = Scope("response", "response_id")
_OUTPUT = Scope("output item", "item_id")
_PART = Scope("content part", "item_id")
_TEXT = Scope("text", "item_id")
_AUDIO = Scope("audio", "item_id")
_SPOKEN = Scope("transcript", "item_id")
_ARGUMENTS = Scope("arguments", "item_id")
_IN_PART = (_RESPONSE, _OUTPUT, _PART)

ORDER: Final[Mapping[str, Rule]] = {
    "error": Rule(),
    "session.created": Rule(opens=(_SESSION,)),
    "session.updated": Rule(inside=(_SESSION,)),
    "rate_limits.updated": Rule(inside=(_SESSION,)),
    "input_audio_buffer.speech_started": Rule(inside=(_SESSION,), opens=(_SPEECH, _TRANSCRIPTION)),
    "input_audio_buffer.speech_stopped": Rule(inside=(_SESSION,), closes=(_SPEECH,)),
    "input_audio_buffer.committed": Rule(inside=(_SESSION,), opens=(attrs.evolve(_TRANSCRIPTION, perhaps=True),)),
    "input_audio_buffer.timeout_triggered": Rule(inside=(_SESSION,)),
    "input_audio_buffer.cleared": Rule(inside=(_SESSION,)),
    "output_audio_buffer.cleared": Rule(inside=(_SESSION,)),
    "conversation.item.added": Rule(inside=(_SESSION,), opens=(Scope("item", "item.id"), _ADDING)),
    "conversation.item.done": Rule(inside=(Scope("item", "item.id"),), closes=(_ADDING,)),
    "conversation.item.retrieved": Rule(inside=(Scope("item", "item.id"),)),
    "conversation.item.truncated": Rule(inside=(_ITEM,)),
    "conversation.item.deleted": Rule(closes=(_ITEM,)),
    "conversation.item.input_audio_transcription.delta": Rule(inside=(_SESSION, _TRANSCRIPTION)),
    "conversation.item.input_audio_transcription.completed": Rule(inside=(_ITEM,), closes=(_TRANSCRIPTION,)),
    "conversation.item.input_audio_transcription.failed": Rule(inside=(_ITEM,), closes=(_TRANSCRIPTION,)),
    "response.created": Rule(inside=(_SESSION,), opens=(Scope("response", "response.id"),)),
    "response.output_item.added": Rule(
        inside=(_RESPONSE,),
        opens=(
            Scope("output item", "item.id"),
            Scope("arguments", "item.id", when=("item.type", "function_call")),
        ),
    ),
    "response.content_part.added": Rule(
        inside=(_RESPONSE, _OUTPUT),
        opens=(
            _PART,
            Scope("text", "item_id", when=("part.type", "text")),
            Scope("audio", "item_id", when=("part.type", "audio")),
            Scope("transcript", "item_id", when=("part.type", "audio")),
        ),
    ),
    "response.output_text.delta": Rule(inside=(*_IN_PART, _TEXT)),
    "response.output_text.done": Rule(inside=_IN_PART, closes=(_TEXT,)),
    "response.output_audio.delta": Rule(inside=(*_IN_PART, _AUDIO)),
    "response.output_audio.done": Rule(inside=_IN_PART, closes=(_AUDIO,)),
    "response.output_audio_transcript.delta": Rule(inside=(*_IN_PART, _SPOKEN)),
    "response.output_audio_transcript.done": Rule(inside=_IN_PART, closes=(_SPOKEN,)),
    "response.content_part.done": Rule(inside=(_RESPONSE, _OUTPUT), closes=(_PART,)),
    "response.function_call_arguments.delta": Rule(inside=(_RESPONSE, _OUTPUT, _ARGUMENTS)),
    "response.function_call_arguments.done": Rule(inside=(_RESPONSE, _OUTPUT), closes=(_ARGUMENTS,)),
    "response.output_item.done": Rule(inside=(_RESPONSE,), closes=(Scope("output item", "item.id"),)),
    "response.done": Rule(inside=(_SESSION,), closes=(Scope("response", "response.id"),)),
}
"""Every event that this server sends, and the order in which it may."""

ONE_AT_A_TIME: Final = frozenset({"session", "response", "speech"})
INSIDE: Final[Mapping[str, str]] = {
    "output item": "response",
    "content part": "output item",
    "text": "content part",
    "audio": "content part",
    "transcript": "content part",
    "arguments": "output item",
}
"""What must be closed before what."""

_Key: TypeAlias = tuple[str, object]


class OutOfOrder(AssertionError):
    """An event came when it must not."""


def _value(event: Mapping[str, Any], path: str) -> object:
    if not path:
        return None
    value: Any = event
    for name in path.split("."):
        if name not in value:
            raise OutOfOrder(f"{event.get('type')} has no {path}")
        value = value[name]
    return value


class EventOrder:
    """Follows one connection's server events."""

    def __init__(self) -> None:
        self._open: dict[_Key, list[_Key]] = {}
        """What is open, and what is open inside it."""
        self._ever: set[_Key] = set()
        self._event_ids: set[object] = set()

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take the next event.

        Raises:
            OutOfOrder: it breaks a rule, which the message names.
        """
        name = str(event.get("type"))
        rule = ORDER.get(name)
        if rule is None:
            raise OutOfOrder(f"{name} is no event of this server")
        event_id = _value(event, "event_id")
        if event_id in self._event_ids:
            raise OutOfOrder(f"{name}: event_id {event_id} came before")
        self._event_ids.add(event_id)
        for scope in rule.inside:
            self._must_be_open(name, (scope.kind, _value(event, scope.key)))
        for scope in rule.closes:
            self._close(name, (scope.kind, _value(event, scope.key)))
        for scope in rule.opens:
            key = (scope.kind, _value(event, scope.key))
            if scope.perhaps and key in self._open:
                continue
            if scope.when is None or _value(event, scope.when[0]) == scope.when[1]:
                self._begin(name, key, event, rule)

    def still_open(self, kind: str) -> list[object]:
        """The names of that kind of scope that are open."""
        return [key for known, key in self._open if known == kind]

    def _must_be_open(self, name: str, key: _Key) -> None:
        if key not in self._open:
            raise OutOfOrder(f"{name}: no {key[0]} {key[1]} is open")

    def _begin(self, name: str, key: _Key, event: Mapping[str, Any], rule: Rule) -> None:
        if key in self._ever:
            raise OutOfOrder(f"{name}: {key[0]} {key[1]} was opened before")
        if key[0] in ONE_AT_A_TIME and self.still_open(key[0]):
            raise OutOfOrder(f"{name}: a {key[0]} is open already")
        self._ever.add(key)
        self._open[key] = []
        outer = INSIDE.get(key[0])
        if outer is None:
            return
        scopes = [scope for scope in (*rule.inside, *rule.opens) if scope.kind == outer]
        self._open[outer, _value(event, scopes[0].key)].append(key)

    def _close(self, name: str, key: _Key) -> None:
        self._must_be_open(name, key)
        inner = [each for each in self._open[key] if each in self._open]
        if inner:
            raise OutOfOrder(f"{name}: {inner[0][0]} {inner[0][1]} is still open in it")
        del self._open[key]
        if key[0] == "item":  # What was deleted may be put in again.
            self._ever -= {key, ("item being added", key[1])}
