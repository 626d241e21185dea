"""What a client knows of the conversation's items: which there are, in which order, and what has become of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from flare_actors.conversation import notices as told
from flare_actors.conversation.items import RESERVED_ID, AgentSaid, ToolCalled, ToolReturned
from flare_actors.errors import ClientError
from flare_actors.wire.openai_realtime.connection import Asked, Connection
from flare_actors.wire.openai_realtime.errors import ITEM_CODES
from flare_actors.wire.openai_realtime.items import item_object
from flare_actors.wire.openai_realtime.session_config import Json

__all__ = ["KnownItems"]

_MS: Final = 1000
_MOST_COMING: Final = 256
"""Items on their way to the session, and back."""
_MOST_CUTS: Final = 16
"""Cuts of which the session has not told yet."""


class KnownItems:
    """The items that the client was told of, and not that they are gone.

    Args:
        connection: where they are told.
        most: so many at a time; the oldest are forgotten first, as in the history.
    """

    def __init__(self, connection: Connection, *, most: int) -> None:
        self._connection = connection
        self._most = most
        self._order: list[str] = []
        self._unheard: set[str] = set()
        """Of these, answers of which nothing was heard, as far as is known: the history may have given them up."""
        self._kept: dict[str, Json] = {}
        """Of these, such as the history has not, or not yet, or not under that name: as the client was told of them."""
        self._own: set[str] = set()
        """Of these, such as the history never has."""
        self._names: dict[str, str] = {}
        """Of these, such as the history has by another name: its names for them."""
        self._wholes: dict[str, str] = {}
        """Later messages of an answer, and its first one, which stands for all of it in the history."""
        self._coming: OrderedDict[str, str | None] = OrderedDict()
        """Items that the client puts in, of which the session has not told yet: where they are to be."""
        self._leaving: dict[str, str] = {}
        """Items that the client has had deleted, of which the session has not told yet, and the history's names for them."""
        self._cuts: OrderedDict[tuple[str, float], tuple[str, float | None]] = OrderedDict()
        """Where the history is asked to cut a turn: where the client has cut a later message of it; None: it is to go."""

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._order or item_id in self._coming

    def has_taken(self, item_id: str) -> bool:
        """No other item can have that name."""
        return item_id in self._coming or (item_id in self._order and item_id not in self._leaving)

    def expect(self, item_id: str, after: str | None) -> tuple[str, ...]:
        """The client puts an item in: by which names the history may know the one before it, the likeliest first."""
        self._coming[item_id] = after
        if len(self._coming) > _MOST_COMING:
            self.refuse(next(iter(self._coming)))
        if after not in self._order:
            # It may be told of in this very moment.
            return () if after is None else (self._names.get(after, self._connection.bare(after)),)
        places = [after]
        before = self._order[: self._order.index(after)]
        while before and (places[-1] in self._unheard or places[-1] in self._kept):
            places.append(before.pop())
        names = [self.name(self._wholes.get(each, each)) for each in places]
        return (*names, "")

    def admit(self, item_id: str) -> str:
        """The client puts in an item of that name: the history's name for it, which keeps some for itself."""
        name = f"client_{item_id}" if RESERVED_ID.fullmatch(item_id) else item_id
        self._names[item_id] = name
        return name

    def leave(self, item_id: str) -> None:
        """The client has it deleted: it may put in another one of that name at once."""
        self._leaving[item_id] = self.name(item_id)

    def refuse(self, item_id: str) -> None:
        """The session has not taken that one."""
        self._coming.pop(item_id, None)
        if item_id not in self._order:
            self._names.pop(item_id, None)

    def rename(self, item_id: str, name: str) -> None:
        """The client calls it so, the history otherwise."""
        self._names[item_id] = name

    def belong(self, item_id: str, first: str) -> None:
        """It is a later message of an answer that the history has as one item."""
        self._wholes[item_id] = first

    def name(self, item_id: str) -> str:
        """The history's name for it."""
        return self._names.get(item_id, item_id)

    def check_delete(self, item_id: str) -> None:
        """Refuse what cannot be taken out by itself.

        Raises:
            ClientError: it is a part of an answer.
        """
        whole = self._wholes.get(item_id)
        if whole is not None:
            raise ClientError(
                ITEM_CODES["conversation.item.delete"],
                f"it is a part of the answer that begins with {whole}; delete that one, and this goes with it",
                field="item_id",
            )

    def previous(self, item_id: str) -> str | None:
        """The item before it; a new one, of the conversation's own, is the last."""
        if item_id not in self._order:
            self._names.setdefault(item_id, self._connection.bare(item_id))
            self._enter(item_id, len(self._order))
        place = self._order.index(item_id) if item_id in self._order else 0
        return self._order[place - 1] if place else None

    def show(self, item: Json) -> None:
        """Tell of a whole item."""
        previous = self.previous(str(item["id"]))
        self._connection.emit("conversation.item.added", previous_item_id=previous, item=item)
        self._connection.emit("conversation.item.done", previous_item_id=previous, item=item)

    def delete(self, item_id: str) -> None:
        """Tell that an item is gone."""
        self._leave(item_id)
        self._connection.emit("conversation.item.deleted", item_id=item_id)

    def tell(self, notice: told.ItemInserted | told.ItemShown | told.ItemDeleted | told.ItemTruncated) -> None:
        """What the client has asked for is done."""
        emit = self._connection.emit
        match notice:
            case told.ItemInserted(item=item):
                item_id = self._client_name(item.id)
                after = self._coming.pop(item_id, None)
                if after != "" and after not in self._order:
                    after = self._order[-1] if self._order else None
                self._enter(item_id, self._order.index(after) + 1 if after else 0)
                self.show(item_object(item) | {"id": item_id})
            case told.ItemShown(item=item):
                shown = item_object(item) | {"id": self._client_name(item.id)}
                if isinstance(item, ToolCalled | ToolReturned) and item.turn:
                    shown["call_id"] = self._connection.own(item.call)
                emit("conversation.item.retrieved", item=shown)
            case told.ItemDeleted(item_id=name):
                item_id = next((known for known, its in self._leaving.items() if its == name), self._client_name(name))
                for part in [part for part, first in self._wholes.items() if first == item_id and part in self._order]:
                    self.delete(part)
                self.delete(item_id)
            case told.ItemTruncated(item_id=name, end_s=asked_s):
                item_id, end_s = self._cuts.pop((name, asked_s), (self._client_name(name), asked_s))
                if end_s is None:
                    self.delete(item_id)
                    return
                self.suspect(item_id)
                emit("conversation.item.truncated", item_id=item_id, content_index=0, audio_end_ms=round(end_s * _MS))

    def suspect(self, item_id: str) -> None:
        """Nothing was heard of it; or perhaps nothing, where the client has cut it short."""
        if item_id in self._order:
            self._unheard.add(item_id)

    def _client_name(self, name: str) -> str:
        return next((mine for mine, theirs in self._names.items() if theirs == name), name)

    def keep(self, item: Json, *, own: bool = False) -> None:
        """The history will not answer for that item: not yet, or, if it is our ``own``, never."""
        if item["id"] in self._order:
            self._kept[str(item["id"])] = item
            if own:
                self._own.add(str(item["id"]))

    def cut(self, item_id: str, end_s: float | None, *, turn: str, turn_end_s: float) -> None:
        """The cut of that message is asked for as one of its whole turn; it is told as that of the message, or its end."""
        self._cuts[turn, turn_end_s] = item_id, end_s
        if len(self._cuts) > _MOST_CUTS:
            self._cuts.popitem(last=False)

    def refuse_leave(self, item_id: str) -> None:
        """The session has not deleted, or cut, that one."""
        self._leaving.pop(item_id, None)
        self._cuts = OrderedDict((asked, place) for asked, place in self._cuts.items() if place[0] != item_id)

    def answer(self, asked: Asked) -> bool:
        """Answer for an item that the history has not, if the client was told of it.

        The history gives up what nobody has heard as soon as the model is asked again; to the client it is an item like any
        other, until it has it deleted. And it enters a turn as one item, and its calls when it is over: such can be read as
        they were told, but not taken out by themselves.
        """
        item_id = asked.item_id
        if item_id in self._own and asked.name == "conversation.item.delete":
            self.delete(item_id)
            return True
        if item_id is None:
            return False
        if item_id not in self._unheard:
            if asked.name != "conversation.item.retrieve" or item_id not in self._kept:
                return False
            self._connection.emit("conversation.item.retrieved", item=self._kept[item_id])
            return True
        match asked.name:
            case "conversation.item.retrieve":
                self.tell(told.ItemShown(item=AgentSaid(id=item_id, text="", interrupted=True)))
            case "conversation.item.truncate":
                self.tell(told.ItemTruncated(item_id=item_id, end_s=0.0))
            case "conversation.item.delete":
                self.tell(told.ItemDeleted(item_id=item_id))
        return True

    def _enter(self, item_id: str, place: int) -> None:
        self._order.insert(place, item_id)
        for forgotten in self._order[: -self._most]:
            self._leave(forgotten)

    def _leave(self, item_id: str) -> None:
        self._unheard.discard(item_id)
        self._kept.pop(item_id, None)
        self._own.discard(item_id)
        self._leaving.pop(item_id, None)
        if item_id not in self._coming:  # There is another one of that name already.
            self._names.pop(item_id, None)
        self._wholes.pop(item_id, None)
        if item_id in self._order:
            self._order.remove(item_id)
