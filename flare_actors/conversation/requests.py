"""What a client, its link, the embedder and the server ask of a conversation, or tell it: one half of its events.

Part of ``events``, which has them all.
"""

from __future__ import annotations

from typing import TypeAlias, Union

import attrs

from flare_actors.conversation.calls import AnswerRest, ToolChoice, ToolSpec
from flare_actors.conversation.changes import Change
from flare_actors.conversation.items import HistoryItem
from flare_actors.conversation.states import Output, Reason, Wait

__all__ = [
    "ClientAttached",
    "ClientDetached",
    "ClientEvent",
    "CommitRequested",
    "ConversationEndRequested",
    "ConversationStartRequested",
    "DeadlinePassed",
    "Fact",
    "FailureRaised",
    "InputClearRequested",
    "InterruptRequested",
    "ItemDeleteRequested",
    "ItemInsertRequested",
    "ItemReadRequested",
    "ItemTruncateRequested",
    "MuteRequested",
    "PlaybackCompleted",
    "PlaybackProgressed",
    "Request",
    "ResponseRequested",
    "SayRequested",
    "SessionEndRequested",
    "SessionOverloaded",
    "SettingsChanged",
    "ShutdownRequested",
    "TextReceived",
    "ToolResultReceived",
    "ToolsOffered",
    "TransportFailed",
]


@attrs.frozen(kw_only=True, slots=False)
class Fact:
    """Something that happened."""

    at: float = 0.0
    """Seconds since the session's start."""


@attrs.frozen(kw_only=True, slots=False)
class Request(Fact):
    """Something that a client asks for."""

    request_id: str | None = None
    """The client's own name for it, which an error about it repeats."""


# --- What a client asks for ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class ConversationStartRequested(Request):
    """The client, or the embedder, wants to talk."""


@attrs.frozen(kw_only=True, slots=False)
class ConversationEndRequested(Request):
    """Enough for now; the session stays, IDLE."""


@attrs.frozen(kw_only=True, slots=False)
class SessionEndRequested(Request):
    """Enough for good."""

    reason: Reason = Reason.SESSION_ENDED
    """The server and the embedder may have others."""


@attrs.frozen(kw_only=True, slots=False)
class TextReceived(Request):
    """The user typed instead of speaking; interrupts like a confirmed barge-in."""

    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True, slots=False)
class ToolsOffered(Request):
    """The client offers tools that it carries out itself, from the next answer on, in place of those it offered before."""

    tools: tuple[ToolSpec, ...]
    tool_choice: ToolChoice = "auto"
    """For all tools, the agent's own, too; of an answer's several requests to the model it governs the first."""


@attrs.frozen(kw_only=True, slots=False)
class ToolResultReceived(Request):
    """The client has carried out a call (``ToolCallRequested``)."""

    call: str
    output: str = attrs.field(repr=False)
    failed: bool = False
    rest: AnswerRest | None = None
    """What is different in the rest of the answer; of several results the latest that has it counts."""


@attrs.frozen(kw_only=True, slots=False)
class InterruptRequested(Request):
    """The user pressed the stop button: like a barge-in, without words of its own."""


@attrs.frozen(kw_only=True, slots=False)
class CommitRequested(Request):
    """The user declares the utterance finished (push-to-talk): a hard endpoint now."""


@attrs.frozen(kw_only=True, slots=False)
class InputClearRequested(Request):
    """Forget what the user is saying, and what was said and is not understood yet."""


@attrs.frozen(kw_only=True, slots=False)
class ResponseRequested(Request):
    """The client, or the embedder, asks for an answer now: to what was said so far, or out of the agent's own accord."""

    instructions: str | None = attrs.field(default=None, repr=False)
    """For this answer alone, after the agent's own."""
    replace: bool = False
    """... in place of the agent's own."""
    output: Output | None = None
    """For this answer alone; None: as the settings say."""
    max_tokens: int | None = None
    """The longest answer in the model's tokens, in place of ``answer_tokens``; 0: as long as the model likes."""
    tools: tuple[ToolSpec, ...] | None = None
    """For this answer alone, in place of those that the client offers; None: those."""
    tool_choice: ToolChoice | None = None
    """For this answer alone; None: as the client has chosen for all."""
    items: tuple[HistoryItem, ...] | None = None
    """What is answered, in place of the history; None: the history."""
    aside: bool = False
    """Nothing of it enters the history."""
    ticket: int | None = None
    """As in ``SayRequested``; None: the client asks."""


@attrs.frozen(kw_only=True, slots=False)
class SettingsChanged(Request):
    """The client, or the embedder, wants some settings to be others from now on. All of it holds, or nothing."""

    changes: tuple[Change, ...]


@attrs.frozen(kw_only=True, slots=False)
class MuteRequested(Request):
    """While muted, the user's audio is dropped before the VAD."""

    muted: bool


@attrs.frozen(kw_only=True, slots=False)
class PlaybackProgressed(Request):
    """The client has played this much of a turn."""

    turn: int | None = None
    """None: the oldest unfinished turn."""
    played_s: float
    """Seconds of that turn's audio; clamped to what was sent."""


@attrs.frozen(kw_only=True, slots=False)
class PlaybackCompleted(Request):
    """The client has played all it was sent. Before the generation's end that is progress, not the end of the turn."""

    turn: int | None = None
    """None: the oldest unfinished turn."""
    played_s: float | None = None
    """Seconds of that turn's audio that had been sent: stamped by the session, never by the client."""


@attrs.frozen(kw_only=True, slots=False)
class ItemInsertRequested(Request):
    """The client puts an item of its own into the history; nothing is answered for it."""

    item: HistoryItem
    """Without an ``id`` it gets one."""
    after: str | None = None
    """The id of the item before it; empty: it becomes the first; None: the last."""
    else_after: tuple[str, ...] = ()
    """Where the history has given that one up: the first of these that it has."""


@attrs.frozen(kw_only=True, slots=False)
class ItemDeleteRequested(Request):
    """The client wants an item forgotten."""

    item_id: str


@attrs.frozen(kw_only=True, slots=False)
class ItemTruncateRequested(Request):
    """The user heard only so much of what the agent said; what is still being said stops there."""

    item_id: str
    end_s: float
    """Seconds of the item's audio."""


@attrs.frozen(kw_only=True, slots=False)
class ItemReadRequested(Request):
    """The client wants to know what the history has."""

    item_id: str


# --- What happens to the link and the session ----------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class ClientAttached(Fact):
    """A link to the client is open (again)."""

    reports_playback: bool = False
    """The client has declared that it will report what it played; else the first report tells."""


@attrs.frozen(kw_only=True, slots=False)
class ClientDetached(Fact):
    """The link closed in an orderly or disorderly way; the client may come back within the grace time."""


@attrs.frozen(kw_only=True, slots=False)
class TransportFailed(Fact):
    """The link is broken for good (protocol violation, write timeout)."""

    message: str = ""


@attrs.frozen(kw_only=True, slots=False)
class SayRequested(Fact):
    """The embedder wants this said as soon as the floor is free."""

    text: str = attrs.field(repr=False)
    interruptible: bool = True
    """The user's words may stop it; else they are answered after it."""
    ticket: int | None = None
    """The session's name for it, by which it tells the embedder what became of it."""


@attrs.frozen(kw_only=True, slots=False)
class ShutdownRequested(Fact):
    """The server drains: finish the turn, at the latest in ``deadline_s``, then end."""

    deadline_s: float


@attrs.frozen(kw_only=True, slots=False)
class SessionOverloaded(Fact):
    """A bounded queue of control messages was full: facts may be lost, so the session cannot go on."""

    queue: str


@attrs.frozen(kw_only=True, slots=False)
class FailureRaised(Fact):
    """Something failed that is no stage's fault."""

    message: str = ""
    """For the log; never speech content."""
    critical: bool = False


@attrs.frozen(kw_only=True, slots=False)
class DeadlinePassed(Fact):
    """The moment named by the conversation's earliest deadline has come."""

    wait: Wait


ClientEvent: TypeAlias = Union[
    ConversationStartRequested,
    ConversationEndRequested,
    SessionEndRequested,
    TextReceived,
    ToolsOffered,
    ToolResultReceived,
    InterruptRequested,
    CommitRequested,
    InputClearRequested,
    ResponseRequested,
    SettingsChanged,
    MuteRequested,
    PlaybackProgressed,
    PlaybackCompleted,
    ItemInsertRequested,
    ItemDeleteRequested,
    ItemTruncateRequested,
    ItemReadRequested,
]
"""The events that a client may cause; a codec makes these and no others."""
