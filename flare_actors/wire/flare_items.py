"""The native protocol's items of the history <-> the conversation's own. Part of ``flare``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from flare_actors.conversation.items import AgentSaid, HistoryItem, Instructed, ToolCalled, ToolReturned, UserSaid
from flare_actors.wire.flare_shapes import Item, ItemRole

__all__ = ["item_of", "shape_of"]

_ROLES: Final[Mapping[type[HistoryItem], ItemRole]] = {
    UserSaid: ItemRole.USER,
    AgentSaid: ItemRole.AGENT,
    Instructed: ItemRole.SYSTEM,
    ToolCalled: ItemRole.TOOL_CALL,
    ToolReturned: ItemRole.TOOL_RESULT,
}


def shape_of(item: HistoryItem) -> Item:
    """As it goes over the wire."""
    role = _ROLES[type(item)]
    known = {field.name: getattr(item, field.name) for field in attrs.fields(type(item))}
    return Item(role=role, **known)


def item_of(shape: Item) -> HistoryItem:
    """As the history has it."""
    kind = next(kind for kind, role in _ROLES.items() if role is shape.role)
    return kind(**{field.name: getattr(shape, field.name) for field in attrs.fields(kind)})
