"""What was said and heard: the conversation's memory, and how much of an answer the user really heard.

Only heard text enters the history. How much was heard follows from seconds of audio: each phrase knows its stretch of the
turn's audio; a phrase played in part counts by whole words, in proportion to its audio. Neither rounding nor estimates
ever count a word whose audio was not played to its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias, Union

import attrs

from flare_actors.conversation.commands import ChatMessage

__all__ = [
    "AgentSaid",
    "HistoryItem",
    "SpokenPhrase",
    "UserSaid",
    "build_messages",
    "heard_text",
    "is_echo",
    "remember",
]

_CHARS_PER_SECOND: Final = 15.0
"""Speaking rate assumed for a phrase whose audio had not been measured to its end: about 180 words a minute at 5 letters."""

_WORD: Final = re.compile(r"\S+\s*")
_LETTERS: Final = re.compile(r"[^\W_]+", re.UNICODE)


@attrs.frozen(kw_only=True)
class UserSaid:
    """The user's words, spoken or typed."""

    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class AgentSaid:
    """What the user heard of the agent."""

    turn: int
    text: str = attrs.field(repr=False)
    interrupted: bool = False


HistoryItem: TypeAlias = Union[UserSaid, AgentSaid]


@attrs.frozen(kw_only=True)
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
    heard: list[str] = []
    cursor = 0.0
    for phrase in phrases:
        start = phrase.start_s if phrase.start_s is not None else cursor
        end = phrase.end_s if phrase.end_s is not None else start + len(phrase.text) / _CHARS_PER_SECOND
        if played_s >= end - 1e-6 and phrase.end_s is not None:
            heard.append(phrase.text)
            cursor = end
            continue
        if played_s > start and end > start:
            heard.append(_words_heard(phrase.text, min(1.0, (played_s - start) / (end - start))))
        break
    return "".join(heard).rstrip()


def remember(history: tuple[HistoryItem, ...], item: HistoryItem, limit: int) -> tuple[HistoryItem, ...]:
    """Append ``item``; of more than ``limit`` items the oldest are forgotten."""
    return (*history, item)[-limit:]


def build_messages(history: Iterable[HistoryItem]) -> tuple[ChatMessage, ...]:
    """The history as a model wants it: neighbours of one role merged, nothing empty."""
    messages: list[ChatMessage] = []
    for item in history:
        role = "user" if isinstance(item, UserSaid) else "assistant"
        text = item.text.strip()
        if not text:
            continue
        if messages and messages[-1].role == role:
            messages[-1] = ChatMessage(role=messages[-1].role, content=f"{messages[-1].content} {text}")
        elif isinstance(item, UserSaid):
            messages.append(ChatMessage(role="user", content=text))
        else:
            messages.append(ChatMessage(role="assistant", content=text))
    return tuple(messages)


def is_echo(transcript: str, spoken: str) -> bool:
    """Does the transcript only repeat, in order, what the agent itself was saying?

    At least three words and four fifths of them must be found in the agent's words, in the agent's order: short answers
    that happen to repeat a word of the question ("yes, tea") are the user's.
    """
    heard = [word.casefold() for word in _LETTERS.findall(transcript)]
    if len(heard) < 3:
        return False
    position, found = 0, 0
    own = [word.casefold() for word in _LETTERS.findall(spoken)]
    for word in heard:
        try:
            position = own.index(word, position) + 1
        except ValueError:
            continue
        found += 1
    return found >= 0.8 * len(heard)
