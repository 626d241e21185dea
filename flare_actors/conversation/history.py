"""What was said and heard: the conversation's memory, and how much of an answer the user really heard.

Only heard text enters the history. How much was heard follows from seconds of audio: each phrase knows its stretch of the
turn's audio; a phrase played in part counts by whole words, in proportion to its audio. Rounding goes against a word, and
of a phrase whose audio is not known to its end the last word never counts.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import Final, Literal

import attrs

from flare_actors.conversation.commands import ChatMessage
from flare_actors.conversation.items import AgentSaid, HistoryItem, Instructed, UserSaid
from flare_actors.conversation.values import evolve

__all__ = [
    "AgentSaid",
    "HistoryItem",
    "Instructed",
    "SpokenPhrase",
    "UserSaid",
    "amend",
    "build_messages",
    "cut",
    "heard_text",
    "insert",
    "is_echo",
    "remember",
    "without_unheard",
    "write_down",
]

_CHARS_PER_SECOND: Final = 15.0
"""Speaking rate assumed for a phrase whose audio had not been measured to its end, where no phrase before it tells the
voice's own: about 180 words a minute at 5 letters."""

_ALMOST_ALL: Final = 1 - 1e-9
_ROUNDING_S: Final = 1e-6  # Less than a sample.

_ECHO_WORDS: Final = 3
"""Shorter transcripts are never echo: answers often repeat a word or two of the question ("yes, tea")."""
_ECHO_SHARE: Final = 0.8
"""Of a transcript's words that the agent must have said: recognisers mishear every tenth word of clean speech, and an echo
is none."""

_WORD: Final = re.compile(r"\S+\s*")
_LETTERS: Final = re.compile(r"[^\W_]+", re.UNICODE)


@attrs.frozen(kw_only=True, slots=False)
class SpokenPhrase:
    """A phrase and the stretch of the turn's audio that speaks it, as far as it is known."""

    text: str = attrs.field(repr=False)
    start_s: float | None = None
    end_s: float | None = None


def _words_heard(text: str, share: float) -> str:
    """The longest run of whole words from the start whose letters fit into ``share`` (0 to 1) of the text."""
    letters = len(text.rstrip())
    budget = share * letters
    end = 0
    for word in _WORD.finditer(text):
        if word.start() + len(word.group().rstrip()) > budget:
            break
        end = word.end()
    return text[:end]


def heard_text(phrases: Sequence[SpokenPhrase], played_s: float) -> str:
    """The part of a turn's text that ``played_s`` seconds of its audio speak.

    Args:
        phrases: in order; those without ``end_s`` were still being synthesised.
        played_s: seconds of the turn's audio that the user heard.
    """
    if played_s <= 0:
        return ""
    heard: list[str] = []
    cursor = 0.0
    for index, phrase in enumerate(phrases):
        start = phrase.start_s if phrase.start_s is not None else cursor
        end = phrase.end_s
        if end is None:
            # It had no sound of its own, or nobody told its end: it was over when the next one began.
            end = next((later.start_s for later in phrases[index + 1 :] if later.start_s is not None), None)
        if end is None:
            rate = len("".join(heard)) / start if start > 0 and heard else _CHARS_PER_SECOND
            share = (played_s - start) * rate / max(1, len(phrase.text))
            heard.append(_words_heard(phrase.text, min(_ALMOST_ALL, share)))
            break
        if played_s < end - _ROUNDING_S:
            heard.append(_words_heard(phrase.text, (played_s - start) / (end - start) if end > start else 0.0))
            break
        heard.append(phrase.text)
        cursor = end
    return "".join(heard).rstrip()


def remember(history: tuple[HistoryItem, ...], item: HistoryItem, limit: int) -> tuple[HistoryItem, ...]:
    """Append ``item``; of more than ``limit`` items the oldest are forgotten."""
    return (*history, item)[-limit:]


def write_down(history: tuple[HistoryItem, ...], item: AgentSaid, limit: int) -> tuple[HistoryItem, ...]:
    """Enter what the agent said at the place that is held for its turn, else at the end."""
    if any(known.id == item.id for known in history):
        return amend(history, item)
    return remember(history, item, limit)


def amend(history: tuple[HistoryItem, ...], item: AgentSaid) -> tuple[HistoryItem, ...]:
    """Correct what the agent said in a turn, if that is remembered."""
    return tuple(item if known.id == item.id else known for known in history)


def insert(history: tuple[HistoryItem, ...], item: HistoryItem, place: int, limit: int) -> tuple[HistoryItem, ...]:
    """Enter ``item`` at that place; of more than ``limit`` items the oldest are forgotten."""
    return (*history[:place], item, *history[place:])[-limit:]


def cut(item: AgentSaid, played_s: float) -> AgentSaid:
    """Only so many seconds of it were heard: whole words, in proportion to its audio."""
    share = min(1.0, played_s / item.audio_s) if item.audio_s > 0 else 0.0
    text = _words_heard(item.text, share).rstrip()
    return evolve(item, text=text, interrupted=True, audio_s=min(played_s, item.audio_s))


def without_unheard(history: tuple[HistoryItem, ...], open_turns: Container[int]) -> tuple[HistoryItem, ...]:
    """Give up the places of turns of which nothing was heard; ``open_turns`` may still turn out to have been."""
    return tuple(item for item in history if not isinstance(item, AgentSaid) or item.text or item.turn in open_turns)


def build_messages(history: Iterable[HistoryItem]) -> tuple[ChatMessage, ...]:
    """The history as a model wants it: neighbours of one role merged, nothing empty, the user's words last.

    What was heard of an answer that is asked for again is left out: the model starts that answer anew.
    """
    messages: list[ChatMessage] = []
    for item in history:
        text = item.text.strip()
        if not text:
            continue
        role = _role(item)
        if messages and messages[-1].role == role:
            messages[-1] = ChatMessage(role=role, content=f"{messages[-1].content} {text}")
        else:
            messages.append(ChatMessage(role=role, content=text))
    if messages and messages[-1].role == "assistant":
        messages.pop()
    return tuple(messages)


def _role(item: HistoryItem) -> Literal["system", "user", "assistant"]:
    match item:
        case UserSaid():
            return "user"
        case AgentSaid():
            return "assistant"
        case Instructed():
            return "system"


def is_echo(transcript: str, spoken: str) -> bool:
    """Does the transcript only repeat what the agent itself was saying?

    An echo is a piece of the agent's words: most of its words (``_ECHO_SHARE``) come in the agent's order and close
    together. Words that are scattered over a long answer ("what is the ...") are anybody's, and so the user's.
    """
    heard = _words(transcript)
    if len(heard) < _ECHO_WORDS:
        return False
    enough = _ECHO_SHARE * len(heard)
    own = _words(spoken)
    if _in_order(heard, own) < enough:
        return False
    # Room for the words that the recogniser left out.
    window = len(heard) + max(2, len(heard) // 2)
    known = set(heard)
    starts = (index for index, word in enumerate(own) if word in known)
    return any(_in_order(heard, own[start : start + window]) >= enough for start in starts)


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _LETTERS.findall(text)]


def _in_order(heard: Sequence[str], own: Sequence[str]) -> int:
    """How many words of ``heard`` are found in ``own`` in the same order: their longest common subsequence.

    Bit-parallel, one big-integer addition a word: Hyyro, "Bit-parallel LCS-length computation revisited", 2004.
    """
    places: dict[str, int] = {}
    for index, word in enumerate(heard):
        places[word] = places.get(word, 0) | 1 << index
    everything = (1 << len(heard)) - 1
    row = everything
    for word in own:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(heard) - row.bit_count()
