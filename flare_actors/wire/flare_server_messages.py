"""What a server of the native protocol sends, field by field; written out as ``flare_client_messages`` is, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import attrs

from flare_actors.conversation import states
from flare_actors.conversation.states import (
    BargeIn,
    Endpointing,
    Input,
    Output,
    Reason,
    State,
    SttMode,
    TurnDetection,
    TurnKind,
)
from flare_actors.wire.flare_shapes import Item, PingId, Seconds, Turn
from flare_actors.wire.strict import Doc, Length, Range

__all__ = ["SERVER_MESSAGES"]

Utterance: TypeAlias = Annotated[int, Range(0), Doc("the utterance's number within the session")]


@attrs.frozen(kw_only=True)
class _SettingsInForce:
    locale: Annotated[str, Length(2, 255), Doc("BCP 47 tag of what is spoken")]
    stt_mode: Annotated[SttMode, Doc("whether partial transcripts come, if the recogniser has them")]
    input: Annotated[Input, Doc("whether audio is heard")]
    output: Annotated[Output, Doc("whether answers are spoken")]
    silence_threshold_ms: Annotated[int, Range(1, 10_000), Doc("silence that ends an utterance, in milliseconds")]
    turn_detection: Annotated[TurnDetection, Doc("what ends an utterance: silence, or `commit` only")]
    endpointing: Annotated[Endpointing, Doc("whether that silence adapts to the words and the speaker")]
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
    idle: Annotated[bool, Doc("nobody has asked for it: the user has been silent for long")] = False
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
    """The model asks for a tool of yours: answer with `tool_result`. One that comes after the turn is remembered."""

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
class PlaybackPause:
    """The user speaks: stand still at once, and keep what you have of this turn's audio. The turn's end is the pause's, too."""

    turn: Turn


@attrs.frozen(kw_only=True)
class PlaybackResume:
    """It was no interruption: go on where you stood still."""

    turn: Turn


@attrs.frozen(kw_only=True)
class TurnEnded:
    """The answer is over."""

    turn: Turn
    reason: Annotated[Reason, Doc("why it was cut short; null: it was said to its end")] | None = None
    heard: Annotated[str, Doc("what entered the history: after an interruption, the part that was played")] = (
        attrs.field(repr=False)
    )
    limited: Annotated[bool, Doc("the model had more to say: a limit of tokens or of characters ended the answer")] = (
        False
    )


@attrs.frozen(kw_only=True)
class TurnMetrics:
    """The latency of an answer, stage by stage, in seconds; null where a stage took no part."""

    turn: Turn
    endpoint_wait_s: (
        Annotated[float, Doc("silence waited for until the user counted as finished; null in push-to-talk, too")] | None
    ) = None
    stt_s: Annotated[float, Doc("then, until the final transcript")] | None = None
    first_token_s: Annotated[float, Doc("then, until the model's first token")] | None = None
    first_phrase_s: Annotated[float, Doc("then, until the first speakable phrase")] | None = None
    first_audio_s: Annotated[float, Doc("then, until its first audio left")] | None = None
    total_s: Annotated[float, Doc("end of speech, or its `commit` in push-to-talk, to first audio")] | None = None
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
    "playback_pause": PlaybackPause,
    "playback_resume": PlaybackResume,
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
