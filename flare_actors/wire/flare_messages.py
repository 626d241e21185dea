"""The native protocol's messages, field by field: the names and shapes here are the contract with every client.

They are written out instead of being taken from the conversation's own values, so that those can be renamed and the wire
cannot. `docs/protocol.md` and the JSON Schema are generated from this file. Text fields stay out of every ``repr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Final, TypeAlias

import attrs

from flare_actors.conversation import states
from flare_actors.conversation.states import BargeIn, Input, Output, Reason, State, SttMode, TurnDetection, TurnKind
from flare_actors.wire.strict import Doc, Length, Range

__all__ = ["CLIENT_MESSAGES", "MAX_TURN", "SERVER_MESSAGES"]

MAX_TURN: Final = 2**32 - 1
"""Turn numbers travel in four bytes of the audio header."""

DEFAULT_INPUT_RATE: Final = 16_000
"""Hz; what recognisers take."""
DEFAULT_OUTPUT_RATE: Final = 24_000
"""Hz; what synthesizers give."""

Turn: TypeAlias = Annotated[int, Range(1, MAX_TURN), Doc("the turn's number, from 1 within the session")]
Utterance: TypeAlias = Annotated[int, Range(0), Doc("the utterance's number within the session")]
Rate: TypeAlias = Annotated[int, Range(8_000, 48_000)]
Locale: TypeAlias = Annotated[
    str, Length(2, 35, r"^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$", "a BCP 47 tag such as en-US")
]
SilenceMs: TypeAlias = Annotated[int, Range(50, 10_000)]
Seconds: TypeAlias = Annotated[float, Range(0)]
PingId: TypeAlias = Annotated[
    str | int,
    Length(0, 128),
    Range(-(2**53), 2**53),  # what JavaScript can count
    Doc("anything that helps the client to tell its pings apart"),
]


CallId: TypeAlias = Annotated[str, Length(1, 64), Doc("the call's id")]


# --- From the client -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Request:
    """What a client asks of its session."""

    request_id: Annotated[str, Length(1, 128), Doc("your own name for it; an `error` about it repeats it")] | None = (
        None
    )


@attrs.frozen(kw_only=True)
class Resume:
    """Which session to go on with."""

    session_id: Annotated[str, Length(1, 64), Doc("from `session_started`")]
    token: Annotated[str, Length(1, 256), Doc("`resume_token` from `session_started`")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class StartSession:
    """The first message: what the client wants and what it can do. Answered with `session_started`."""

    locale: Annotated[Locale, Doc("what is spoken, both ways; default: the agent's")] | None = None
    mode: Annotated[SttMode, Doc("`streaming` asks for partial transcripts; default: the agent's")] | None = None
    input: Annotated[Input, Doc("`text`: no audio is heard; default: the agent's")] | None = None
    turn_detection: (
        Annotated[TurnDetection, Doc("`manual`: only `commit` ends an utterance (push-to-talk); default: the agent's")]
        | None
    ) = None
    auto_answer: (
        Annotated[bool, Doc("false: the client asks for each answer with `respond`; default: the agent's")] | None
    ) = None
    silence_threshold_ms: (
        Annotated[SilenceMs, Doc("silence that ends an utterance, in milliseconds; default: the agent's")] | None
    ) = None
    input_sample_rate: Annotated[Rate, Doc("Hz of the binary messages that the client sends")] = DEFAULT_INPUT_RATE
    output_sample_rate: Annotated[Rate, Doc("Hz of the audio that the client wants")] = DEFAULT_OUTPUT_RATE
    output: Annotated[Output, Doc("`text`: answers are not spoken; default: the agent's")] | None = None
    reports_playback: Annotated[
        bool, Doc("the client promises `playback_progress` and `audio_playback_completed`; else a clock decides")
    ] = False
    resume: (
        Annotated[Resume, Doc("go on with this session; the formats may differ, its settings stay as they are")] | None
    ) = None


@attrs.frozen(kw_only=True)
class StartConversation(Request):
    """The user wants to talk; the welcome is spoken, if there is one."""


@attrs.frozen(kw_only=True)
class EndConversation(Request):
    """Enough for now: the session stays, idle, and another conversation may start."""


@attrs.frozen(kw_only=True)
class Text(Request):
    """The user typed instead of speaking; interrupts the agent as speech does."""

    text: Annotated[str, Length(1, 16_000), Doc("what was typed")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class OfferedTool:
    """A tool that the client carries out."""

    name: Annotated[
        str, Length(1, 64, r"^[A-Za-z0-9_-]{1,64}$", "letters, digits, `_` and `-`"), Doc("how the model calls it")
    ]
    description: Annotated[str, Length(0, 8_000), Doc("what it does and when to call it, for the model")] = attrs.field(
        default="", repr=False
    )
    parameters: Annotated[
        str, Length(2, 64_000), Doc("the JSON text of a JSON schema of type `object`: its arguments")
    ] = attrs.field(default='{"type": "object", "properties": {}}', repr=False)


@attrs.frozen(kw_only=True)
class OfferTools(Request):
    """What the client can do for the model, from the next answer on, in place of what it offered before."""

    tools: Annotated[tuple[OfferedTool, ...], Doc("each with a name of its own")]
    tool_choice: Annotated[
        str,
        Length(4, 8, r"^(auto|none|required)$", "auto, none or required"),
        Doc("whether the model may, must not, must"),
    ] = "auto"


@attrs.frozen(kw_only=True)
class ToolResult(Request):
    """What came of a `tool_call`. One of a turn that is over is let pass."""

    call: CallId
    output: Annotated[str, Length(0, 64_000), Doc("what the model is told")] = attrs.field(repr=False)
    failed: Annotated[bool, Doc("it tells what went wrong")] = False


@attrs.frozen(kw_only=True)
class PlaybackProgress(Request):
    """How much of a turn's audio the user has heard. Several times a second is plenty."""

    turn: Annotated[Turn, Doc("default: the oldest unfinished turn")] | None = None
    played_s: Annotated[float, Range(0, 86_400), Doc("seconds of that turn's audio; clamped to what was sent")]


@attrs.frozen(kw_only=True)
class AudioPlaybackCompleted(Request):
    """All audio received of a turn has been played. Before the end of the answer that is progress, not its end."""

    turn: Annotated[Turn, Doc("default: the oldest unfinished turn")] | None = None


@attrs.frozen(kw_only=True)
class Interrupt(Request):
    """The stop button: silence the agent, keep what was heard."""


@attrs.frozen(kw_only=True)
class Commit(Request):
    """The user has finished speaking (push-to-talk): do not wait for silence."""


@attrs.frozen(kw_only=True)
class ClearInput(Request):
    """Forget what the user is saying. Answered with `input_cleared`."""


@attrs.frozen(kw_only=True)
class Respond(Request):
    """Answer now what was said so far; needed where `auto_answer` is false."""


@attrs.frozen(kw_only=True)
class UpdateSession(Request):
    """Change settings; what is left out stays. Answered with `session_updated`, or an `error` and no change at all."""

    locale: Annotated[Locale, Doc("what is spoken, both ways, from the next utterance and answer on")] | None = None
    mode: Annotated[SttMode, Doc("`streaming` asks for partial transcripts")] | None = None
    input: Annotated[Input, Doc("`text`: no audio is heard")] | None = None
    output: Annotated[Output, Doc("`text`: answers are not spoken, from the next one on")] | None = None
    silence_threshold_ms: Annotated[SilenceMs, Doc("silence that ends an utterance, in milliseconds")] | None = None
    turn_detection: Annotated[TurnDetection, Doc("`manual`: only `commit` ends an utterance")] | None = None
    auto_answer: Annotated[bool, Doc("false: the client asks for each answer with `respond`")] | None = None
    barge_in: Annotated[BargeIn, Doc("whether speech may interrupt the agent")] | None = None
    mute: Annotated[states.Mute, Doc("while what the user is not heard, besides the message `mute`")] | None = None


@attrs.frozen(kw_only=True)
class Mute(Request):
    """While muted, the user's audio is dropped unheard."""

    muted: Annotated[bool, Doc("true: from now on; false: no longer")]


class Role(Enum):
    """Whose words an item of the history holds."""

    USER = "user"
    AGENT = "agent"
    SYSTEM = "system"


class ItemRole(Enum):
    """What an item of the history is: somebody's words, a call of a tool by the model, or its result."""

    USER = "user"
    AGENT = "agent"
    SYSTEM = "system"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"


ItemId: TypeAlias = Annotated[str, Length(1, 64), Doc("from `item_inserted`; or `turn_N`, `utterance_N`")]


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


@attrs.frozen(kw_only=True)
class InsertItem(Request):
    """Put an item into the history. Nothing is answered for it; `text` is for that. Answered with `item_inserted`."""

    role: Role
    text: Annotated[str, Length(1, 16_000), Doc("the words")] = attrs.field(repr=False)
    id: Annotated[str, Length(1, 64), Doc("its name; default: one is made")] | None = None
    after: Annotated[str, Length(0, 64), Doc("the item before it; empty: none; default: the last")] | None = None


@attrs.frozen(kw_only=True)
class DeleteItem(Request):
    """Forget an item. Answered with `item_deleted`."""

    item_id: ItemId


@attrs.frozen(kw_only=True)
class TruncateItem(Request):
    """The user has heard only so much of what the agent said; if it is still being said, it stops. `item_truncated`."""

    item_id: ItemId
    end_s: Annotated[float, Range(0, 86_400), Doc("seconds of its audio")]


@attrs.frozen(kw_only=True)
class ReadItem(Request):
    """What does the history have? Answered with `item`."""

    item_id: ItemId


@attrs.frozen(kw_only=True)
class EndSession(Request):
    """Enough for good. Answered with `session_ended` and the close of the connection."""


@attrs.frozen(kw_only=True)
class Ping:
    """Are you there? Answered with `pong` at once."""

    id: PingId | None = None


# --- From the server -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _SettingsInForce:
    locale: Annotated[str, Length(2, 255), Doc("BCP 47 tag of what is spoken")]
    stt_mode: Annotated[SttMode, Doc("whether partial transcripts come, if the recogniser has them")]
    input: Annotated[Input, Doc("whether audio is heard")]
    output: Annotated[Output, Doc("whether answers are spoken")]
    silence_threshold_ms: Annotated[int, Range(1, 10_000), Doc("silence that ends an utterance, in milliseconds")]
    turn_detection: Annotated[TurnDetection, Doc("what ends an utterance: silence, or `commit` only")]
    auto_answer: Annotated[bool, Doc("false: the client asks for each answer with `respond`")]
    barge_in: Annotated[BargeIn, Doc("whether speech interrupts the agent")]
    mute: Annotated[states.Mute, Doc("while what the user is not heard")]


@attrs.frozen(kw_only=True)
class SessionUpdated(_SettingsInForce):
    """Settings were changed: what is in force from now on."""


@attrs.frozen(kw_only=True)
class SessionStarted(_SettingsInForce):
    """The connection is attached to a session. The first message of every connection, with the settings in force."""

    session_id: Annotated[str, Doc("stable over reconnects; also in the server's log")]
    resume_token: Annotated[str, Doc("a secret: with it this session can be resumed")] = attrs.field(repr=False)
    resumed: Annotated[bool, Doc("an earlier conversation goes on")]
    state: Annotated[State, Doc("the agent's state now")]
    input_sample_rate: Annotated[int, Doc("Hz of what the client sends")]
    output_sample_rate: Annotated[int, Doc("Hz of what the client gets")]


@attrs.frozen(kw_only=True)
class StateTransition:
    """The agent's state changed."""

    old_state: Annotated[State, Doc("the state before")]
    new_state: Annotated[State, Doc("the state now")]
    timestamp: Annotated[float, Doc("seconds since the session's start")]
    turn: Annotated[Turn, Doc("the live turn, if there is one")] | None = None
    reason: Annotated[Reason, Doc("why, where something stopped")] | None = None


@attrs.frozen(kw_only=True)
class SttReady:
    """The recogniser is open: the user may speak."""


@attrs.frozen(kw_only=True)
class SpeechStarted:
    """The user began to speak."""

    utterance: Utterance


@attrs.frozen(kw_only=True)
class SpeechStopped:
    """The user finished speaking."""

    utterance: Utterance
    speech_s: Annotated[Seconds, Doc("voiced seconds")]


@attrs.frozen(kw_only=True)
class PartialTranscript:
    """What is understood so far; replaces the one before."""

    utterance: Utterance
    text: Annotated[str, Doc("all of the utterance so far")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Transcript:
    """What was understood in the end."""

    utterance: Utterance
    text: Annotated[str, Doc("all of the utterance")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class NothingHeard:
    """The utterance was too short or held no words; the agent goes on listening."""

    utterance: Utterance


@attrs.frozen(kw_only=True)
class TurnStarted:
    """The agent begins to work on an answer."""

    turn: Turn
    kind: Annotated[TurnKind, Doc("what caused it")]
    output: Annotated[Output, Doc("`text`: it is not spoken")]
    aside: Annotated[bool, Doc("nothing of it enters the history")] = False
    request_id: Annotated[str, Doc("the `request_id` of the `respond` that it answers")] | None = None


@attrs.frozen(kw_only=True)
class ResponseTextDelta:
    """The answer's text grows by this."""

    turn: Turn
    text: Annotated[str, Doc("to be appended")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ResponseTextDone:
    """The answer's text is complete."""

    turn: Turn
    text: Annotated[str, Doc("the whole answer")] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ToolCall:
    """The model asks for a tool of yours: answer with `tool_result`, as long as the turn is alive."""

    turn: Turn
    call: Annotated[str, Doc("the call's id; the result carries it")]
    name: Annotated[str, Doc("which tool")]
    arguments: Annotated[str, Doc("the JSON text of an object, as the model wrote it")] = attrs.field(repr=False)
    timeout_s: Annotated[float, Doc("so many seconds it is waited for")]
    batch: Annotated[int, Doc("so many calls of yours come at once; the answer goes on when all have results")] = 1


@attrs.frozen(kw_only=True)
class PlaybackClear:
    """Drop what you have of this turn's audio, at once, and refuse what may still come of it."""

    turn: Turn
    reason: Annotated[Reason, Doc("why")]


@attrs.frozen(kw_only=True)
class TurnEnded:
    """The answer is over."""

    turn: Turn
    reason: Annotated[Reason, Doc("why it was cut short; null: it was said to its end")] | None = None
    heard: Annotated[str, Doc("what entered the history: after an interruption, the part that was played")] = (
        attrs.field(repr=False)
    )


@attrs.frozen(kw_only=True)
class TurnMetrics:
    """The latency of an answer, stage by stage, in seconds; null where a stage took no part."""

    turn: Turn
    endpoint_wait_s: Annotated[float, Doc("silence waited for until the user counted as finished")] | None = None
    stt_s: Annotated[float, Doc("then, until the final transcript")] | None = None
    first_token_s: Annotated[float, Doc("then, until the model's first token")] | None = None
    first_phrase_s: Annotated[float, Doc("then, until the first speakable phrase")] | None = None
    first_audio_s: Annotated[float, Doc("then, until its first audio left")] | None = None
    total_s: Annotated[float, Doc("end of speech to first audio")] | None = None
    ahead_s: Annotated[float, Doc("the answer was begun so long before the endpoint; null: not before it")] | None = (
        None
    )
    wasted_replies: Annotated[int, Doc("answers begun ahead since the turn before, and thrown away unheard")] = 0
    wasted_s: Annotated[float, Doc("how long model and synthesizer were at them")] = 0.0


@attrs.frozen(kw_only=True)
class TurnUsage:
    """What a request of the turn to the model took, where its provider tells."""

    turn: Turn
    input_tokens: Annotated[int, Range(0), Doc("tokens that the model read")]
    output_tokens: Annotated[int, Range(0), Doc("tokens that it wrote")]


@attrs.frozen(kw_only=True)
class InputCleared:
    """What the user was saying is forgotten; no transcript of it comes."""


@attrs.frozen(kw_only=True)
class Error:
    """Something went wrong that the client should know about."""

    code: Annotated[str, Doc("a stable machine-readable word")]
    message: Annotated[str, Doc("what was wrong and what to do, in English")]
    recoverable: Annotated[bool, Doc("false: the session, or the attempt to start one, ends")]
    turn: Annotated[Turn, Doc("the turn it belongs to")] | None = None
    field: Annotated[str, Doc("the culprit in the client's message, if the client caused it")] | None = None
    request_id: Annotated[str, Doc("the culprit's `request_id`, if it had one")] | None = None


@attrs.frozen(kw_only=True)
class ItemInserted:
    """The history has a new item of the client's."""

    item: Item
    after: Annotated[str, Doc("the item before it; null: it is the first")] | None = None


@attrs.frozen(kw_only=True)
class ItemDeleted:
    """An item is forgotten."""

    item_id: Annotated[str, Doc("which")]


@attrs.frozen(kw_only=True)
class ItemTruncated:
    """What the history has of an item ends there."""

    item_id: Annotated[str, Doc("which")]
    end_s: Annotated[Seconds, Doc("seconds of its audio")]


@attrs.frozen(kw_only=True)
class ItemShown:
    """The answer to `read_item`."""

    item: Item


@attrs.frozen(kw_only=True)
class SessionEnded:
    """The session is over; the connection closes after this."""

    reason: Annotated[Reason, Doc("why")]


@attrs.frozen(kw_only=True)
class Pong:
    """The answer to `ping`."""

    id: Annotated[PingId, Doc("the ping's `id`")] | None = None


CLIENT_MESSAGES: Final[Mapping[str, type[attrs.AttrsInstance]]] = {
    "start_session": StartSession,
    "start_conversation": StartConversation,
    "end_conversation": EndConversation,
    "text": Text,
    "offer_tools": OfferTools,
    "tool_result": ToolResult,
    "playback_progress": PlaybackProgress,
    "audio_playback_completed": AudioPlaybackCompleted,
    "interrupt": Interrupt,
    "commit": Commit,
    "clear_input": ClearInput,
    "respond": Respond,
    "update_session": UpdateSession,
    "mute": Mute,
    "insert_item": InsertItem,
    "delete_item": DeleteItem,
    "truncate_item": TruncateItem,
    "read_item": ReadItem,
    "end_session": EndSession,
    "ping": Ping,
}
"""What a client may send, by `type`."""

SERVER_MESSAGES: Final[Mapping[str, type[attrs.AttrsInstance]]] = {
    "session_started": SessionStarted,
    "session_updated": SessionUpdated,
    "state_transition": StateTransition,
    "stt_ready": SttReady,
    "speech_started": SpeechStarted,
    "speech_stopped": SpeechStopped,
    "partial_transcript": PartialTranscript,
    "transcript": Transcript,
    "nothing_heard": NothingHeard,
    "turn_started": TurnStarted,
    "response_text_delta": ResponseTextDelta,
    "response_text_done": ResponseTextDone,
    "tool_call": ToolCall,
    "playback_clear": PlaybackClear,
    "turn_ended": TurnEnded,
    "turn_metrics": TurnMetrics,
    "turn_usage": TurnUsage,
    "input_cleared": InputCleared,
    "error": Error,
    "item_inserted": ItemInserted,
    "item_deleted": ItemDeleted,
    "item_truncated": ItemTruncated,
    "item": ItemShown,
    "session_ended": SessionEnded,
    "pong": Pong,
}
"""What a server sends, by `type`. A client lets pass what it does not know: the list will grow."""
