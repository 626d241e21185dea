"""The native protocol's items of the history <-> the conversation's own. Part of ``flare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flare_actors.conversation.items import AgentSaid, HistoryItem, Instructed, UserSaid
from flare_actors.wire import flare_messages as wire
from flare_actors.wire.flare_messages import Role

__all__ = ["item_of", "shape_of"]

_ROLES: Final[Mapping[type[HistoryItem], Role]] = {
    UserSaid: Role.USER,
    AgentSaid: Role.AGENT,
    Instructed: Role.SYSTEM,
}


def shape_of(item: HistoryItem) -> wire.Item:
    """As it goes over the wire."""
    role = _ROLES[type(item)]
    if isinstance(item, AgentSaid):
        return wire.Item(
            id=item.id,
            role=role,
            text=item.text,
            turn=item.turn,
            interrupted=item.interrupted,
            audio_s=item.audio_s,
        )
    return wire.Item(id=item.id, role=role, text=item.text)


def item_of(shape: wire.Item) -> HistoryItem:
    """As the history has it."""
    match shape.role:
        case Role.USER:
            return UserSaid(id=shape.id, text=shape.text)
        case Role.SYSTEM:
            return Instructed(id=shape.id, text=shape.text)
        case Role.AGENT:
            return AgentSaid(
                id=shape.id,
                turn=shape.turn,
                text=shape.text,
                interrupted=shape.interrupted,
                audio_s=shape.audio_s,
            )
