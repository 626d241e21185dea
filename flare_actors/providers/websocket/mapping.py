"""What the messages of a service mean, as data: where in a message to look, and what to send when.

Pure. A service is described by a value (``SttProtocol``, ``TtsProtocol``); the adapters in ``stt`` and ``tts`` do the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import attrs

__all__ = ["PRESENT", "Json", "Pattern", "SttProtocol", "TtsProtocol", "dig", "fill", "matches", "number"]

Json: TypeAlias = object
"""What ``json.loads`` gives."""
Pattern: TypeAlias = Mapping[str, object]
"""Paths into a message and what has to be there."""
PRESENT: Final = object()
"""In a pattern: anything but nothing (null, false, "" and an absent field are nothing)."""


def dig(message: Json, path: str) -> Json:
    """What is at a path (``channel.alternatives.0.transcript``); None if the message does not go so deep."""
    for step in path.split("."):
        if isinstance(message, Mapping):
            message = message.get(step)
        elif isinstance(message, Sequence) and not isinstance(message, str) and step.isdecimal():
            message = message[int(step)] if int(step) < len(message) else None
        else:
            return None
    return message


def matches(message: Json, pattern: Pattern) -> bool:
    """Whether everything that the pattern asks for is in the message. An empty pattern matches nothing."""
    if not pattern:
        return False
    for path, wanted in pattern.items():
        found = dig(message, path)
        if not found if wanted is PRESENT else found != wanted or type(found) is not type(wanted):
            return False
    return True


def number(message: Json, path: str) -> float | None:
    """A number at a path."""
    found = dig(message, path)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def fill(template: Json, values: Mapping[str, Json]) -> Json:
    """A message: the template with each text ``$name`` replaced by the value of that name."""
    match template:
        case str() if template.startswith("$"):
            return values[template[1:]]
        case Mapping():
            return {key: fill(each, values) for key, each in template.items()}
        case list() | tuple():
            return [fill(each, values) for each in template]
        case _:
            return template


@attrs.frozen(kw_only=True)
class SttProtocol:
    """How a service is sent audio, and what it answers. One connection per utterance."""

    service: str
    """For people."""
    finish: tuple[Json, ...]
    """Sent when the utterance is over; the service then tells what it still has, and ends."""
    text_when: Pattern
    """A message that tells a stretch of the utterance; a later one with the same key replaces it."""
    text: str
    """Where its text is."""
    key: str
    """Where it says which stretch it is."""
    done_when: Pattern
    """The service has told everything. (So does an orderly close.)"""
    error_when: Pattern
    error_code: str
    """Where an error says what kind it is: a word or a number, never what was said."""
    ready_when: Pattern = attrs.field(factory=dict)
    """What the service says first, before it takes audio; empty: it takes it at once."""
    until_s: tuple[str, ...] = ()
    """Where it says up to which second of the audio it has told everything: the sum of these."""
    settled: str = ""
    """Or where it says that nothing more will come of this stretch."""
    keep_alive: Json = None
    """Sent every ``keep_alive_s`` until audio comes; None: silence is no reason to hang up."""
    keep_alive_s: float = 4.0
    least_s: float = 0.02
    """Audio goes out in messages of at least this."""
    most_s: float = 1.0
    """... and at most this."""
    pad_last: bool = False
    """A last piece that is shorter than ``least_s`` is filled up with silence."""


@attrs.frozen(kw_only=True)
class TtsProtocol:
    """How a service is sent phrases, and what it answers. One connection per answer."""

    service: str
    open: tuple[Json, ...] = ()
    """Sent first."""
    say: tuple[Json, ...]
    """Sent for each phrase; ``$text`` and ``$context`` (a name of the phrase) are filled in, and what the settings say."""
    finish: tuple[Json, ...] = ()
    """Sent after the last phrase."""
    audio_when: Pattern
    audio: str
    """Where the audio is, in base64."""
    characters: str = ""
    """Where a message with audio says which characters it speaks: a list of them, in the order of what was sent. Empty: it
    does not, and the next phrase is sent when the one before is done (``phrase_done_when``)."""
    char_starts_ms: str = ""
    """Where it says when each of them begins, in milliseconds of that message's audio. Empty: it does not."""
    char_durations_ms: str = ""
    """... and how long it is."""
    words_when: Pattern = attrs.field(factory=dict)
    """A message that tells of words, besides those with audio. Empty: there are none."""
    words: str = ""
    """Where the words are: a list of texts."""
    word_ends_s: str = ""
    """... and when each ends, in seconds of the phrase's audio."""
    phrase_done_when: Pattern = attrs.field(factory=dict)
    phrase_key: str = ""
    """Where ``$context`` comes back."""
    done_when: Pattern = attrs.field(factory=dict)
    """Everything is spoken."""
    error_when: Pattern
    error_code: str
    keep_alive: Json = None
    """Sent every ``keep_alive_s`` while the model writes."""
    keep_alive_s: float = 10.0
