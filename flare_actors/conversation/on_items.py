"""What a client does to the history: items put in, taken out, cut short and read."""

from __future__ import annotations

from flare_actors.conversation.draft import SAME_S
from flare_actors.conversation.events import (
    ItemDeleteRequested,
    ItemInsertRequested,
    ItemReadRequested,
    ItemTruncateRequested,
)
from flare_actors.conversation.history import AgentSaid, HistoryItem, amend, cut, insert
from flare_actors.conversation.items import RESERVED_ID, ToolReturned, turn_id
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.notices import ItemDeleted, ItemInserted, ItemShown, ItemTruncated
from flare_actors.conversation.on_client import report_played
from flare_actors.conversation.states import Reason, State
from flare_actors.conversation.values import evolve


def on_insert(d: Draft, e: ItemInsertRequested) -> None:
    limit = d.c.settings.limits.text_chars
    if d.c.state is State.IDLE:
        d.complain("not_started", "no conversation is going on; start one first")
    elif not e.item.text.strip() and not isinstance(e.item, ToolReturned):
        d.complain("empty_text", "the text is empty; send at least one word", field="text")
    elif len(e.item.text) > limit:
        d.complain(
            "text_too_long", f"the text has {len(e.item.text)} characters; at most {limit} are taken", field="text"
        )
    elif RESERVED_ID.fullmatch(e.item.id) or any(known.id == e.item.id for known in d.c.history):
        d.complain("item_id_taken", "that id is the conversation's own; choose another, or none", field="id")
    else:
        _insert(d, e)


def _insert(d: Draft, e: ItemInsertRequested) -> None:
    d.hold_place()
    history = d.c.history
    place: int | None = len(history)
    if e.after is not None:
        places = {"": 0} | {known.id: index for index, known in enumerate(history, 1)}
        place = next((places[known] for known in (e.after, *e.else_after) if known in places), None)
    if place is None:
        d.complain("item_not_found", "the history has no item of that id to come after", field="after")
        return
    item = e.item if e.item.id else evolve(e.item, id=d.new_item_id())
    # Who puts something in is not silent.
    d.set(history=insert(history, item, place, d.c.settings.limits.history_items), prompts=0, quiet_since=d.at)
    d.tell(ItemInserted(item=item, after=history[place - 1].id if place else None))
    _watch_idle(d)


def on_delete(d: Draft, e: ItemDeleteRequested) -> None:
    if d.c.turn is not None and e.item_id == turn_id(d.c.turn.number):
        d.complain("item_in_progress", "that is still being said; interrupt it first", field="item_id")
    elif _find(d, e.item_id) is None:
        _complain_unknown(d)
    else:
        d.set(history=tuple(item for item in d.c.history if item.id != e.item_id))
        d.tell(ItemDeleted(item_id=e.item_id))
        _watch_idle(d)


def on_read(d: Draft, e: ItemReadRequested) -> None:
    item = _find(d, e.item_id)
    if item is None:
        _complain_unknown(d)
    else:
        d.tell(ItemShown(item=item))


def on_truncate(d: Draft, e: ItemTruncateRequested) -> None:
    item = _find(d, e.item_id)
    if not isinstance(item, AgentSaid):
        if item is None:
            _complain_unknown(d)
        else:
            d.complain("item_not_truncatable", "only what the agent said can be cut short", field="item_id")
        return
    live = d.c.turn is not None and d.c.turn.number == item.turn
    open_turn = live or any(settling.number == item.turn for settling in d.c.settling)
    if not open_turn and e.end_s > item.audio_s + SAME_S:
        had_ms, wanted_ms = round(item.audio_s * 1000), round(e.end_s * 1000)
        d.complain("audio_too_short", f"the audio has {had_ms} ms and cannot be cut at {wanted_ms}", field="end_s")
        return
    d.tell(ItemTruncated(item_id=e.item_id, end_s=e.end_s))
    if not open_turn:
        d.set(history=amend(d.c.history, cut(item, e.end_s)))
        return
    # What the client has played is its own word, as in any report; here it has also stopped playing.
    report_played(d, item.turn, e.end_s)
    if d.c.turn is not None and d.c.turn.number == item.turn:
        d.interrupt(Reason.BARGE_IN)
        d.listen(Reason.BARGE_IN)


def _watch_idle(d: Draft) -> None:
    """Whether a silent user is answered once more hangs on what the history has."""
    if d.c.state is State.LISTENING:
        d.watch_idle()


def _find(d: Draft, item_id: str) -> HistoryItem | None:
    """The item of that name. What is being said may have left nothing in the history yet."""
    for item in d.c.history:
        if item.id == item_id:
            return item
    if d.c.turn is None or item_id != turn_id(d.c.turn.number):
        return None
    return AgentSaid(turn=d.c.turn.number, text="", interrupted=True)


def _complain_unknown(d: Draft) -> None:
    d.complain("item_not_found", "the history has no item of that id", field="item_id")
