"""What a client is told: values that a codec puts on the wire. Audio is not among them (see ``ports.AudioOut``)."""

from __future__ import annotations

from typing import TypeAlias, Union

import attrs

from flare_actors.conversation.items import HistoryItem
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, Reason, State, TurnKind

__all__ = [
    "ErrorRaised",
    "HearingReady",
    "InputCleared",
    "ItemDeleted",
    "ItemInserted",
    "ItemShown",
    "ItemTruncated",
    "NothingHeard",
    "Notice",
    "PlaybackCleared",
    "PlaybackPaused",
    "PlaybackResumed",
    "ResponseTextDelta",
    "ResponseTextDone",
    "SessionEnded",
    "SessionStarted",
    "SettingsUpdated",
    "StateChanged",
    "ToolCallRequested",
    "TranscriptReceived",
    "TurnEnded",
    "TurnMetrics",
    "TurnStarted",
    "TurnUsage",
    "UserSpeechStarted",
    "UserSpeechStopped",
]


@attrs.frozen(kw_only=True)
class SessionStarted:
    """The link is attached: who you are, and what is in force. Sent once per link, before anything else."""

    session_id: str
    resume_token: str = attrs.field(repr=False)
    """Attach again with it within the grace time and the conversation goes on."""
    resumed: bool
    state: State
    """The agent's state now."""
    settings: Settings = attrs.field(repr=False)
    """What is in force."""
    input_sample_rate: int
    """Hz, PCM16 little-endian mono."""
    output_sample_rate: int
    """Hz, PCM16 little-endian mono."""


@attrs.frozen(kw_only=True)
class SettingsUpdated:
    """Settings were changed: what is in force from now on."""

    settings: Settings = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class StateChanged:
    """The agent's state changed."""

    old: State
    new: State
    at: float
    """Seconds since the session's start."""
    turn: int | None = None
    """The live turn, if there is one."""
    reason: Reason | None = None
    """Why, where something stopped."""


@attrs.frozen(kw_only=True)
class HearingReady:
    """The recogniser is open: the user may speak (`stt_ready` on the wire)."""


@attrs.frozen(kw_only=True)
class UserSpeechStarted:
    """The user began to speak."""

    utterance: int


@attrs.frozen(kw_only=True)
class UserSpeechStopped:
    """The user finished speaking (endpoint)."""

    utterance: int
    speech_s: float


@attrs.frozen(kw_only=True)
class TranscriptReceived:
    """What the recogniser understood so far (``final=False``; replaces the one before) or in the end."""

    utterance: int
    text: str = attrs.field(repr=False)
    final: bool


@attrs.frozen(kw_only=True)
class NothingHeard:
    """The utterance was too short or had no words; the agent goes on listening."""

    utterance: int


@attrs.frozen(kw_only=True)
class TurnStarted:
    """The agent begins to work on a turn."""

    turn: int
    kind: TurnKind
    output: Output = Output.AUDIO
    """What of it comes: sound and its text, or text only."""
    aside: bool = False
    """Nothing of it enters the history."""
    idle: bool = False
    """Nobody has asked for it: the user has been silent for long."""
    request_id: str | None = None
    """The client's own name for the request that it answers."""


@attrs.frozen(kw_only=True)
class ResponseTextDelta:
    """The answer's text grows by this."""

    turn: int
    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ResponseTextDone:
    """The answer's text is complete."""

    turn: int
    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ToolCallRequested:
    """The model asks for a tool of yours: carry it out and send its result. One that comes after the turn is remembered."""

    turn: int
    call: str
    """The call's id; the result carries it."""
    name: str
    arguments: str = attrs.field(repr=False)
    """The JSON text of an object. It may not be what your schema asks for: say so in the result."""
    timeout_s: float
    """So many seconds it is waited for."""
    batch: int = 1
    """So many calls of yours come of one request to the model, all at once; the answer goes on when all have results."""


@attrs.frozen(kw_only=True)
class PlaybackCleared:
    """Drop what you have of this turn's audio, and refuse what may still come of it."""

    turn: int
    reason: Reason


@attrs.frozen(kw_only=True)
class PlaybackPaused:
    """The user speaks: stand still at the very sample, and keep what you have of this turn's audio."""

    turn: int


@attrs.frozen(kw_only=True)
class PlaybackResumed:
    """It was no interruption: go on at the very sample."""

    turn: int


@attrs.frozen(kw_only=True)
class TurnEnded:
    """The turn is over; ``heard`` is what entered the history (after an interruption: the part that was played)."""

    turn: int
    reason: Reason | None
    """None: it was said to its end."""
    heard: str = attrs.field(repr=False)
    limited: bool = False
    """The model had more to say: a limit of tokens or of characters has ended the answer."""


@attrs.frozen(kw_only=True)
class TurnUsage:
    """What a request of the turn to the model took, as the model's provider counts it. Not every provider tells."""

    turn: int
    input_tokens: int
    output_tokens: int


@attrs.frozen(kw_only=True)
class InputCleared:
    """What the user was saying is forgotten."""


@attrs.frozen(kw_only=True)
class TurnMetrics:
    """The latency waterfall of one turn, in seconds; None where a stage did not take part.

    Sent when the first audio leaves. The shares add up to ``total_s``: end of speech to first audio. Push-to-talk counts from
    the commit, and waits for no silence.
    """

    turn: int
    endpoint_wait_s: float | None = None
    stt_s: float | None = None
    first_token_s: float | None = None
    first_phrase_s: float | None = None
    first_audio_s: float | None = None
    total_s: float | None = None
    ahead_s: float | None = None
    """The answer was begun so long before the endpoint; None: not before it."""
    wasted_replies: int = 0
    """Answers that were begun ahead since the turn before, and thrown away unheard."""
    wasted_s: float = 0.0
    """How long model and synthesizer were at them."""


@attrs.frozen(kw_only=True)
class ErrorRaised:
    """Something went wrong that the client should know about. Never holds speech content or secrets."""

    code: str
    message: str
    recoverable: bool
    """False: the session ends."""
    turn: int | None = None
    field: str | None = None
    """The culprit in the client's message, if the client caused it."""
    request_id: str | None = None
    """The client's own name for what caused it."""


@attrs.frozen(kw_only=True)
class ItemInserted:
    """An item of the client's is in the history."""

    item: HistoryItem
    after: str | None
    """The id of the item before it; None: it is the first."""


@attrs.frozen(kw_only=True)
class ItemDeleted:
    """An item is forgotten."""

    item_id: str


@attrs.frozen(kw_only=True)
class ItemTruncated:
    """What the history has of an item ends there."""

    item_id: str
    end_s: float


@attrs.frozen(kw_only=True)
class ItemShown:
    """What the history has of an item, for who asked."""

    item: HistoryItem


@attrs.frozen(kw_only=True)
class SessionEnded:
    """The last notice of a session."""

    reason: Reason


Notice: TypeAlias = Union[
    SessionStarted,
    SettingsUpdated,
    StateChanged,
    HearingReady,
    UserSpeechStarted,
    UserSpeechStopped,
    TranscriptReceived,
    NothingHeard,
    TurnStarted,
    ResponseTextDelta,
    ResponseTextDone,
    ToolCallRequested,
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    TurnEnded,
    TurnMetrics,
    TurnUsage,
    InputCleared,
    ErrorRaised,
    ItemInserted,
    ItemDeleted,
    ItemTruncated,
    ItemShown,
    SessionEnded,
]
