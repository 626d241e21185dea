"""What the native protocol's messages of both sides are made of: numbers, names, and the items of the history."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final, TypeAlias

import attrs

from flare_actors.wire.strict import Doc, Length, Range

__all__ = ["MAX_TURN", "Item", "ItemRole", "PingId", "Seconds", "Turn"]

MAX_TURN: Final = 2**32 - 1
"""Turn numbers travel in four bytes of the audio header."""

Turn: TypeAlias = Annotated[int, Range(1, MAX_TURN), Doc("the turn's number, from 1 within the session")]
Seconds: TypeAlias = Annotated[float, Range(0)]
PingId: TypeAlias = Annotated[
    str | int,
    Length(0, 128),
    Range(-(2**53), 2**53),  # what JavaScript can count
    Doc("anything that helps the client to tell its pings apart"),
]


class ItemRole(Enum):
    """What an item of the history is: somebody's words, a call of a tool by the model, or its result."""

    USER = "user"
    AGENT = "agent"
    SYSTEM = "system"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"


@attrs.frozen(kw_only=True)
class Item:
    """An item of the history."""

    id: Annotated[str, Length(0, 128), Doc("its name within the conversation")]
    role: ItemRole
    text: Annotated[str, Doc("of the agent: what was heard; of a call: its arguments, the JSON text of an object")] = (
        attrs.field(repr=False)
    )
    turn: Annotated[int, Range(0, MAX_TURN), Doc("of the agent: the turn; 0: the client put it there")] = 0
    interrupted: Annotated[bool, Doc("of the agent: it was cut short")] = False
    audio_s: Annotated[Seconds, Doc("of the agent: how long it took to say")] = 0.0
    call: Annotated[str, Doc("of a call and its result: the call's id")] = ""
    name: Annotated[str, Doc("of a call: the tool")] = ""
    failed: Annotated[bool, Doc("of a result: it tells what went wrong")] = False
    client: Annotated[bool, Doc("of a result: the client was to carry it out")] = False
