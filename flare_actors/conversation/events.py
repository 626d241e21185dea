"""What can happen to a conversation: past-tense facts, frozen, with the time at which they entered the inbox.

``at`` is in seconds since the session's start; the inbox stamps it, so whoever makes an event leaves it at 0. Facts of
generation carry their turn, facts of hearing their utterance: that is how a late one is recognised, in one place.
"""

from __future__ import annotations

from typing import TypeAlias, Union

import attrs

from flare_actors.conversation.states import Reason, Wait

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
    "InterruptRequested",
    "LanguageModelFailed",
    "ListenerFailed",
    "ListenerOpened",
    "MuteRequested",
    "PhraseReady",
    "PhraseSpoken",
    "PlaybackCompleted",
    "PlaybackFinished",
    "PlaybackProgressed",
    "PlaybackStopped",
    "RecognizerFailed",
    "RecognizerReady",
    "SayRequested",
    "SessionEndRequested",
    "SessionOverloaded",
    "ShutdownRequested",
    "SpeechConfirmed",
    "SpeechPaused",
    "SpeechResumed",
    "SpeechStarted",
    "SpeechStopped",
    "SynthesizerFailed",
    "TextReceived",
    "TranscriptFinished",
    "TranscriptUpdated",
    "TransportFailed",
]


@attrs.frozen(kw_only=True)
class _Fact:
    at: float = 0.0
    """Seconds since the session's start."""


# --- What a client asks for ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ConversationStartRequested(_Fact):
    """The client, or the embedder, wants to talk."""


@attrs.frozen(kw_only=True)
class ConversationEndRequested(_Fact):
    """Enough for now; the session stays, IDLE."""


@attrs.frozen(kw_only=True)
class SessionEndRequested(_Fact):
    """Enough for good."""

    reason: Reason = Reason.SESSION_ENDED
    """The server and the embedder may have others."""


@attrs.frozen(kw_only=True)
class TextReceived(_Fact):
    """The user typed instead of speaking; interrupts like a confirmed barge-in."""

    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class InterruptRequested(_Fact):
    """The user pressed the stop button: like a barge-in, without words of its own."""


@attrs.frozen(kw_only=True)
class CommitRequested(_Fact):
    """The user declares the utterance finished (push-to-talk): a hard endpoint now."""


@attrs.frozen(kw_only=True)
class MuteRequested(_Fact):
    """While muted, the user's audio is dropped before the VAD."""

    muted: bool


@attrs.frozen(kw_only=True)
class PlaybackProgressed(_Fact):
    """The client has played this much of a turn."""

    turn: int | None = None
    """None: the oldest unfinished turn."""
    played_s: float
    """Seconds of that turn's audio; clamped to what was sent."""


@attrs.frozen(kw_only=True)
class PlaybackCompleted(_Fact):
    """The client has played all it was sent. Before the generation's end that is progress, not the end of the turn."""

    turn: int | None = None
    """None: the oldest unfinished turn."""
    played_s: float | None = None
    """Seconds of that turn's audio that had been sent: stamped by the session, never by the client."""


# --- What happens to the link and the session ----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ClientAttached(_Fact):
    """A link to the client is open (again)."""

    reports_playback: bool = False
    """The client has declared that it will report what it played; else the first report tells."""


@attrs.frozen(kw_only=True)
class ClientDetached(_Fact):
    """The link closed in an orderly or disorderly way; the client may come back within the grace time."""


@attrs.frozen(kw_only=True)
class TransportFailed(_Fact):
    """The link is broken for good (protocol violation, write timeout)."""

    message: str = ""


@attrs.frozen(kw_only=True)
class SayRequested(_Fact):
    """The embedder wants this said as soon as the floor is free."""

    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ShutdownRequested(_Fact):
    """The server drains: finish the turn, at the latest in ``deadline_s``, then end."""

    deadline_s: float


@attrs.frozen(kw_only=True)
class SessionOverloaded(_Fact):
    """A bounded queue of control messages was full: facts may be lost, so the session cannot go on."""

    queue: str


@attrs.frozen(kw_only=True)
class FailureRaised(_Fact):
    """Something failed that is no stage's fault."""

    message: str = ""
    """For the log; never speech content."""
    critical: bool = False


@attrs.frozen(kw_only=True)
class DeadlinePassed(_Fact):
    """The moment named by the conversation's earliest deadline has come."""

    wait: Wait


# --- What the listener heard -----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ListenerOpened(_Fact):
    """The ear hears: voice activity detection runs from here until the conversation ends."""


@attrs.frozen(kw_only=True)
class ListenerFailed(_Fact):
    """The voice activity detection cannot be opened, or broke."""

    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True)
class SpeechStarted(_Fact):
    """Voice activity began: a new utterance."""

    utterance: int


@attrs.frozen(kw_only=True)
class SpeechConfirmed(_Fact):
    """The utterance has lasted long enough (``interruption_min_s`` of voice) to count as an interruption."""

    utterance: int


@attrs.frozen(kw_only=True)
class SpeechPaused(_Fact):
    """The soft endpoint: silence for ``soft_endpoint_s``, so that the utterance may be over."""

    utterance: int


@attrs.frozen(kw_only=True)
class SpeechResumed(_Fact):
    """Voice again after the soft endpoint: the utterance goes on."""

    utterance: int


@attrs.frozen(kw_only=True)
class SpeechStopped(_Fact):
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


@attrs.frozen(kw_only=True)
class RecognizerReady(_Fact):
    """The recogniser is open for the next utterance."""


@attrs.frozen(kw_only=True)
class RecognizerFailed(_Fact):
    """The recogniser failed or timed out; it stays down until it is started again."""

    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True)
class TranscriptUpdated(_Fact):
    """A partial transcript; the next one replaces it."""

    utterance: int
    text: str = attrs.field(repr=False)
    complete: bool = True
    """False: something that was said before is known to be missing."""


@attrs.frozen(kw_only=True)
class TranscriptFinished(_Fact):
    """The final transcript of an utterance; may be empty."""

    utterance: int
    text: str = attrs.field(repr=False)


# --- What the reply of a turn did ----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PhraseReady(_Fact):
    """The model has written a speakable phrase, which the synthesizer now gets."""

    turn: int
    index: int
    """From 0 within the turn."""
    text: str = attrs.field(repr=False)
    """With its spaces: a turn's phrases, concatenated, are the answer."""
    first_token_at: float | None = None
    """When the model's first token came (only with phrase 0 of a generated answer)."""


@attrs.frozen(kw_only=True)
class PhraseSpoken(_Fact):
    """The synthesizer has finished a phrase: it is this stretch of the turn's audio."""

    turn: int
    index: int
    start_s: float
    end_s: float


@attrs.frozen(kw_only=True)
class AudioStarted(_Fact):
    """The first audio of the turn is on its way to the client."""

    turn: int


@attrs.frozen(kw_only=True)
class GenerationFinished(_Fact):
    """Nothing more will be generated for this turn."""

    turn: int
    audio_s: float
    """Audio generated in all; 0 where nothing was to be spoken or the synthesizer gave nothing."""


@attrs.frozen(kw_only=True)
class LanguageModelFailed(_Fact):
    """The model failed or timed out; what it had written before stays."""

    turn: int
    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True)
class SynthesizerFailed(_Fact):
    """The synthesizer failed or timed out; the text still goes to the client."""

    turn: int
    message: str = ""
    critical: bool = False


@attrs.frozen(kw_only=True)
class PlaybackFinished(_Fact):
    """By the pacing clock, all audio of the turn has been played."""

    turn: int
    played_s: float


@attrs.frozen(kw_only=True)
class PlaybackStopped(_Fact):
    """The speaker has flushed a turn: this much of it had been played, by the pacing clock."""

    turn: int
    played_s: float


ClientEvent: TypeAlias = Union[
    ConversationStartRequested,
    ConversationEndRequested,
    SessionEndRequested,
    TextReceived,
    InterruptRequested,
    CommitRequested,
    MuteRequested,
    PlaybackProgressed,
    PlaybackCompleted,
]
"""The events that a client may cause; a codec makes these and no others."""

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
    SpeechStopped,
    RecognizerReady,
    RecognizerFailed,
    TranscriptUpdated,
    TranscriptFinished,
    PhraseReady,
    PhraseSpoken,
    AudioStarted,
    GenerationFinished,
    LanguageModelFailed,
    SynthesizerFailed,
    PlaybackFinished,
    PlaybackStopped,
]
