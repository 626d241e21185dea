"""The items of a conversation's history: values that events, notices and the history itself share."""

from __future__ import annotations

import re
from typing import Final, TypeAlias, Union

import attrs

__all__ = [
    "RESERVED_ID",
    "AgentSaid",
    "HistoryItem",
    "Instructed",
    "ToolCalled",
    "ToolReturned",
    "UserSaid",
    "result_id",
    "turn_id",
    "utterance_id",
]

RESERVED_ID: Final = re.compile(r"(turn|utterance|item)_[0-9]+|(call|result)_t[0-9]+c[0-9]+")
"""The names that a conversation itself gives to items."""


def turn_id(turn: int) -> str:
    """The name of what the agent said in a turn."""
    return f"turn_{turn}"


def utterance_id(utterance: int) -> str:
    """The name of what the user said in an utterance."""
    return f"utterance_{utterance}"


def result_id(call: str) -> str:
    """The name of what came of a call."""
    return f"result_{call}"


@attrs.frozen(kw_only=True, slots=False)
class UserSaid:
    """The user's words, spoken or typed."""

    id: str = ""
    """Its name within the conversation; empty only before it is entered."""
    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False)
class AgentSaid:
    """What the user heard of the agent."""

    turn: int = 0
    """0: nobody said it; the client has put it there."""
    id: str = attrs.Factory(lambda item: turn_id(item.turn) if item.turn else "", takes_self=True)
    text: str = attrs.field(repr=False)
    interrupted: bool = False
    audio_s: float = 0.0
    """How long it took to say, in seconds of audio; 0 where there was none."""


@attrs.frozen(kw_only=True, slots=False)
class Instructed:
    """What the client has told the model amid the conversation (a system message)."""

    id: str = ""
    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False)
class ToolCalled:
    """The model had a tool called. Without its result, which comes after it, the model is shown nothing of it."""

    turn: int = 0
    """0: the client has put it there."""
    call: str
    """The call's id."""
    id: str = attrs.Factory(lambda item: f"call_{item.call}", takes_self=True)
    name: str
    text: str = attrs.field(repr=False)
    """Its arguments: the JSON text of an object."""


@attrs.frozen(kw_only=True, slots=False)
class ToolReturned:
    """What came of a call."""

    turn: int = 0
    call: str
    id: str = attrs.Factory(lambda item: result_id(item.call), takes_self=True)
    text: str = attrs.field(repr=False)
    failed: bool = False
    client: bool = False
    """The client was to carry it out: where it has brought nothing so far, its result may still come."""


HistoryItem: TypeAlias = Union[UserSaid, AgentSaid, Instructed, ToolCalled, ToolReturned]
