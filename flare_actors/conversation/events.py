"""What can happen to a conversation: past-tense facts, frozen, with the time at which they entered the inbox.

``at`` is in seconds since the session's start; the inbox stamps it, so whoever makes an event leaves it at 0. Facts of
generation carry their turn, facts of hearing their utterance: that is how a late one is recognised, in one place.
"""

from __future__ import annotations

from typing import TypeAlias, Union

import attrs

from flare_actors.conversation.history import SpokenWord
from flare_actors.conversation.requests import (
    ClientAttached,
    ClientDetached,
    ClientEvent,
    CommitRequested,
    ConversationEndRequested,
    ConversationStartRequested,
    DeadlinePassed,
    Fact,
    FailureRaised,
    InputClearRequested,
    InterruptRequested,
    ItemDeleteRequested,
    ItemInsertRequested,
    ItemReadRequested,
    ItemTruncateRequested,
    MuteRequested,
    PlaybackCompleted,
    PlaybackProgressed,
    ResponseRequested,
    SayRequested,
    SessionEndRequested,
    SessionOverloaded,
    SettingsChanged,
    ShutdownRequested,
    TextReceived,
    ToolResultReceived,
    ToolsOffered,
    TransportFailed,
)

__all__ = [
    "AudioStarted",
    "ClientAttached",
    "ClientDetached",
    "ClientEvent",
    "CommitRequested",
    "ConversationEndRequested",
    "ConversationStartRequested",
    "DeadlinePassed",
    "Event",
    "FailureRaised",
    "GenerationFinished",
    "InputClearRequested",
    "InterruptRequested",
    "ItemDeleteRequested",
    "ItemInsertRequested",
    "ItemReadRequested",
    "ItemTruncateRequested",
    "LanguageModelFailed",
    "ListenerFailed",
    "ListenerOpened",
    "MuteRequested",
    "NothingCommitted",
    "PhraseReady",
    "PhraseSpoken",
    "PlaybackCompleted",
    "PlaybackFinished",
    "PlaybackProgressed",
    "PlaybackStopped",
    "RecognizerFailed",
    "RecognizerReady",
    "ResponseRequested",
    "SayRequested",
    "SessionEndRequested",
    "SessionOverloaded",
    "SettingsChanged",
    "ShutdownRequested",
    "SpeechConfirmed",
    "SpeechPaused",
    "SpeechResumed",
    "SpeechStarted",
    "SpeechStopped",
    "SynthesizerFailed",
    "TextReceived",
    "ToolFinished",
    "ToolResultReceived",
    "ToolStarted",
    "ToolsOffered",
    "TranscriptFinished",
    "TranscriptUpdated",
    "TransportFailed",
    "TurnEndEstimated",
    "UsageReported",
    "WordsSpoken",
]


# --- What the listener heard -----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class ListenerOpened(Fact):
    """The ear hears: voice activity detection runs from here until the conversation ends."""

    estimates: bool = False
    """It has a turn-end model: a TurnEndEstimated comes for every pause."""


@attrs.frozen(kw_only=True, slots=False)
class ListenerFailed(Fact):
    """The voice activity detection cannot be opened, or broke."""

    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True, slots=False)
class SpeechStarted(Fact):
    """Voice activity began: a new utterance."""

    utterance: int
    pause_s: float | None = None
    """Seconds of audio since the last voice of the utterance before; None: there was none, or nobody knows."""


@attrs.frozen(kw_only=True, slots=False)
class SpeechConfirmed(Fact):
    """The utterance has lasted long enough (``interruption_min_s`` of voice) to count as an interruption by its length."""

    utterance: int
    overdue: bool = False
    """It has lasted ``interruption_max_wait_s``: its first word is not waited for any longer."""


@attrs.frozen(kw_only=True, slots=False)
class SpeechPaused(Fact):
    """The soft endpoint: silence for ``soft_endpoint_s``, so that the utterance may be over."""

    utterance: int


@attrs.frozen(kw_only=True, slots=False)
class SpeechResumed(Fact):
    """Voice again after the soft endpoint: the utterance goes on."""

    utterance: int
    pause_s: float | None = None
    """Seconds of silence before it."""


@attrs.frozen(kw_only=True, slots=False)
class TurnEndEstimated(Fact):
    """A turn-end model has listened to the utterance up to the present pause."""

    utterance: int
    probability: float
    """... that the user has finished, 0 to 1."""


@attrs.frozen(kw_only=True, slots=False)
class SpeechStopped(Fact):
    """The utterance ended: enough silence, a commit, or its maximum length."""

    utterance: int
    speech_s: float
    """Voiced time, in seconds of audio."""
    silence_s: float
    """Silence since the last voiced chunk, in seconds of audio."""
    taken: bool = True
    """A recogniser got it, so that a transcript is to be expected (if it is long enough)."""
    too_short: bool = False
    """Less than ``min_speech_s``: it never reaches the recogniser and no transcript will come."""


@attrs.frozen(kw_only=True, slots=False)
class NothingCommitted(Fact):
    """There was no utterance to be ended by a commit."""


@attrs.frozen(kw_only=True, slots=False)
class RecognizerReady(Fact):
    """The recogniser is open for the next utterance."""

    partials: bool = False
    """It tells words while they are spoken."""


@attrs.frozen(kw_only=True, slots=False)
class RecognizerFailed(Fact):
    """The recogniser failed or timed out; it stays down until it is started again."""

    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True, slots=False)
class TranscriptUpdated(Fact):
    """A partial transcript; the next one replaces it."""

    utterance: int
    text: str = attrs.field(repr=False)
    complete: bool = True
    """False: something that was said before is known to be missing."""


@attrs.frozen(kw_only=True, slots=False)
class TranscriptFinished(Fact):
    """The final transcript of an utterance; may be empty."""

    utterance: int
    text: str = attrs.field(repr=False)


# --- What the reply of a turn did ----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)
class PhraseReady(Fact):
    """The model has written a speakable phrase, which the synthesizer now gets."""

    turn: int
    index: int
    """From 0 within the turn."""
    text: str = attrs.field(repr=False)
    """With its spaces: a turn's phrases, concatenated, are the answer."""
    first_token_at: float | None = None
    """When the model's first token came (only with phrase 0 of a generated answer)."""


@attrs.frozen(kw_only=True, slots=False)
class PhraseSpoken(Fact):
    """The synthesizer has finished a phrase: it is this stretch of the turn's audio."""

    turn: int
    index: int
    start_s: float
    end_s: float


@attrs.frozen(kw_only=True, slots=False)
class WordsSpoken(Fact):
    """The synthesizer has told when words of a phrase end, in the turn's audio."""

    turn: int
    index: int
    words: tuple[SpokenWord, ...]


@attrs.frozen(kw_only=True, slots=False)
class AudioStarted(Fact):
    """The first audio of the turn is on its way to the client."""

    turn: int


@attrs.frozen(kw_only=True, slots=False)
class ToolStarted(Fact):
    """A tool that the model asked for is being carried out."""

    turn: int
    call: str
    """The call's id, unique within the session."""
    name: str
    arguments: str = attrs.field(repr=False)
    """The JSON text of an object."""
    step: int = 0
    """Which of the turn's requests to the model it came of, from 0."""
    timeout_s: float
    """So long it may take."""
    client: bool = False
    """The client is to carry it out."""
    batch: int = 1
    """So many calls for the client came of that request to the model."""
    detached: bool = False
    """It goes on when the turn is over or cancelled, and its result is told whenever it is there."""
    announced: bool = False
    """Of a detached one: when it is done, the agent speaks of it by itself."""
    survives: bool = False
    """It is remembered although its turn is interrupted."""


@attrs.frozen(kw_only=True, slots=False)
class ToolFinished(Fact):
    """A tool that was started has its result, or has failed."""

    turn: int
    call: str
    output: str = attrs.field(repr=False)
    """What the model is told."""
    failed: bool = False


@attrs.frozen(kw_only=True, slots=False)
class GenerationFinished(Fact):
    """Nothing more will be generated for this turn."""

    turn: int
    audio_s: float
    """Audio generated in all; 0 where nothing was to be spoken or the synthesizer gave nothing."""
    limited: bool = False
    """The model had more to say than it may: a limit of tokens or of characters has ended the answer."""


@attrs.frozen(kw_only=True, slots=False)
class UsageReported(Fact):
    """The model's provider has told what a request of the turn took."""

    turn: int
    input_tokens: int
    output_tokens: int


@attrs.frozen(kw_only=True, slots=False)
class LanguageModelFailed(Fact):
    """The model failed or timed out; what it had written before stays."""

    turn: int
    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True, slots=False)
class SynthesizerFailed(Fact):
    """The synthesizer failed or timed out; the text still goes to the client."""

    turn: int
    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True, slots=False)
class PlaybackFinished(Fact):
    """By the pacing clock, all audio of the turn has been played."""

    turn: int
    played_s: float


@attrs.frozen(kw_only=True, slots=False)
class PlaybackStopped(Fact):
    """The speaker has flushed a turn: this much of it had been played, by the pacing clock."""

    turn: int
    played_s: float


Event: TypeAlias = Union[
    ClientEvent,
    ClientAttached,
    ClientDetached,
    TransportFailed,
    SayRequested,
    ShutdownRequested,
    SessionOverloaded,
    FailureRaised,
    DeadlinePassed,
    ListenerOpened,
    ListenerFailed,
    SpeechStarted,
    SpeechConfirmed,
    SpeechPaused,
    SpeechResumed,
    TurnEndEstimated,
    SpeechStopped,
    NothingCommitted,
    RecognizerReady,
    RecognizerFailed,
    TranscriptUpdated,
    TranscriptFinished,
    PhraseReady,
    PhraseSpoken,
    WordsSpoken,
    AudioStarted,
    ToolStarted,
    ToolFinished,
    GenerationFinished,
    UsageReported,
    LanguageModelFailed,
    SynthesizerFailed,
    PlaybackFinished,
    PlaybackStopped,
]
