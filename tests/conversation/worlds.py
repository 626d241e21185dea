"""The worlds that the core is explored in: what belongs together is in one, in every order.

All events at once would be too many to come to an end with, so each world has a few.
"""

from __future__ import annotations

from typing import Final

from exploration import LIMITS, World

from flare_actors.conversation import Limits, Settings
from flare_actors.conversation import events as ev
from flare_actors.conversation.changes import Change
from flare_actors.conversation.states import Mute, Output, TurnDetection

_IMPATIENT: Final = Limits(same_failures=2, say_queue=1, history_items=4)
_JOINED: Final = (
    ev.ClientAttached(),
    ev.ConversationStartRequested(),
    ev.ListenerOpened(),
    ev.RecognizerReady(partials=True),
)
_WORDS: Final = ev.TranscriptUpdated(utterance=0, text="tea")
_SPEECH: Final = (
    ev.SpeechStarted(utterance=1),
    _WORDS,
    ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48),
    ev.TranscriptFinished(utterance=0, text=""),
    ev.TranscriptFinished(utterance=0, text="tea"),
)


def _set(**values: object) -> ev.SettingsChanged:
    return ev.SettingsChanged(changes=tuple(Change(name=name, value=value) for name, value in values.items()))  # type: ignore[arg-type]


WORLDS: Final = {
    "coming and going": World(
        settings=Settings(welcome="Hello.", soft_endpoint_s=None, idle_prompts=("Are you there?",), limits=_IMPATIENT),
        begun=(),
        counted=("unknown",),
        alphabet=(
            _WORDS,
            ev.ClientAttached(),
            ev.ClientDetached(),
            ev.ConversationStartRequested(),
            ev.ConversationEndRequested(),
            ev.SessionEndRequested(),
            ev.ShutdownRequested(deadline_s=5.0),
            ev.ListenerOpened(),
            ev.RecognizerReady(),
            ev.TextReceived(text="hello"),
            ev.FailureRaised(),
        ),
    ),
    "failing to hear": World(
        settings=Settings(soft_endpoint_s=None, idle_end_s=None, limits=_IMPATIENT),
        begun=_JOINED,
        counted=("vad", "stt"),
        alphabet=(
            *_SPEECH,
            ev.ListenerOpened(),
            ev.ListenerFailed(),
            ev.RecognizerReady(),
            ev.RecognizerFailed(),
            ev.FailureRaised(),
            ev.ClientDetached(),
            ev.ClientAttached(),
        ),
    ),
    "failing to answer": World(
        settings=Settings(soft_endpoint_s=None, apology="I am sorry.", limits=_IMPATIENT),
        begun=_JOINED,
        counted=("llm", "tts"),
        alphabet=(
            _WORDS,
            ev.TextReceived(text="hello"),
            ev.PhraseReady(turn=0, index=0, text="So. "),
            ev.AudioStarted(turn=0),
            ev.GenerationFinished(turn=0, audio_s=0.0),
            ev.LanguageModelFailed(turn=0),
            ev.SynthesizerFailed(turn=0),
        ),
    ),
    "telling what was played": World(
        settings=Settings(soft_endpoint_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            _WORDS,
            ev.SpeechStarted(utterance=1),
            ev.SpeechStopped(utterance=0, speech_s=0.1, silence_s=0.48, too_short=True),
            ev.InterruptRequested(),
            ev.AudioStarted(turn=0),
            ev.GenerationFinished(turn=0, audio_s=1.0),
            ev.PlaybackProgressed(turn=0, played_s=0.4),
            ev.PlaybackProgressed(played_s=100.0),
            ev.PlaybackCompleted(),
            ev.PlaybackCompleted(turn=0, played_s=0.4),
            ev.PlaybackFinished(turn=0, played_s=1.0),
        ),
    ),
    "stopping": World(
        settings=Settings(welcome="Hello.", soft_endpoint_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            _WORDS,
            ev.SpeechStarted(utterance=1),
            ev.TextReceived(text="hello"),
            ev.InterruptRequested(),
            ev.ConversationEndRequested(),
            ev.SessionEndRequested(),
            ev.FailureRaised(),
        ),
    ),
    "talking over": World(
        settings=Settings(soft_endpoint_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            *_SPEECH,
            ev.SpeechStopped(utterance=0, speech_s=0.1, silence_s=0.48, too_short=True),
            ev.SpeechConfirmed(utterance=0),
            ev.SpeechConfirmed(utterance=0, overdue=True),
            ev.TranscriptUpdated(utterance=0, text="mhm"),
            ev.TranscriptFinished(utterance=0, text="mhm"),
            ev.InterruptRequested(),
            ev.TextReceived(text="hello"),
        ),
    ),
    "saying": World(
        settings=Settings(soft_endpoint_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            *_SPEECH,
            ev.SpeechConfirmed(utterance=0, overdue=True),
            ev.SayRequested(text="dinner"),
            ev.SayRequested(text="fire", interruptible=False),
            ev.TextReceived(text="hello"),
            ev.InterruptRequested(),
        ),
    ),
    "answering ahead": World(
        settings=Settings(limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            *_SPEECH,
            ev.SpeechPaused(utterance=0),
            ev.SpeechResumed(utterance=0, pause_s=0.4),
            ev.TurnEndEstimated(utterance=0, probability=0.9),
            ev.TranscriptUpdated(utterance=0, text="milk"),
            ev.PhraseReady(turn=0, index=0, text="So. "),
            ev.LanguageModelFailed(turn=0),
            ev.ClientDetached(),
            ev.ClientAttached(),
        ),
    ),
    "push to talk": World(
        settings=Settings(turn_detection=TurnDetection.MANUAL, soft_endpoint_s=None, idle_end_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(*_SPEECH, ev.CommitRequested(), ev.NothingCommitted(), ev.InputClearRequested()),
    ),
    "answers on request": World(
        settings=Settings(auto_answer=False, soft_endpoint_s=None, idle_end_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            *_SPEECH,
            ev.ResponseRequested(),
            ev.ResponseRequested(output=Output.TEXT, aside=True),
            ev.InterruptRequested(),
        ),
    ),
    "tools": World(
        settings=Settings(mute=Mute.TOOLS, soft_endpoint_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            _WORDS,
            ev.TextReceived(text="hello"),
            ev.InterruptRequested(),
            ev.ToolStarted(turn=0, call="t0001c001", name="look", arguments="{}", timeout_s=9.0),
            ev.ToolStarted(turn=0, call="t0001c002", name="ask", arguments="{}", timeout_s=9.0, client=True),
            ev.ToolFinished(turn=0, call="t0001c001", output="green"),
            ev.ToolFinished(turn=0, call="t0001c002", output="black"),
            ev.ToolResultReceived(call="t0001c002", output="black"),
        ),
    ),
    "tools in the background": World(
        settings=Settings(soft_endpoint_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            _WORDS,
            ev.TextReceived(text="hello"),
            ev.InterruptRequested(),
            ev.ToolStarted(
                turn=0, call="t0001c001", name="dig", arguments="{}", timeout_s=9.0, detached=True, announced=True
            ),
            ev.ToolStarted(turn=0, call="t0001c002", name="look", arguments="{}", timeout_s=9.0, detached=True),
            ev.ToolFinished(turn=0, call="t0001c001", output="gold"),
            ev.ToolFinished(turn=0, call="t0001c002", output="green"),
            ev.ConversationEndRequested(),
        ),
    ),
    "deafness": World(
        settings=Settings(soft_endpoint_s=None, idle_end_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            *_SPEECH,
            ev.TextReceived(text="hello"),
            ev.MuteRequested(muted=True),
            ev.MuteRequested(muted=False),
            _set(input="text"),
            _set(input="audio"),
            _set(mute="speaking"),
            _set(barge_in="off"),
        ),
    ),
    "ways to hear": World(
        settings=Settings(soft_endpoint_s=None, idle_end_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            *_SPEECH,
            ev.CommitRequested(),
            _set(turn_detection="manual"),
            _set(turn_detection="automatic"),
        ),
    ),
    "ways to answer": World(
        settings=Settings(soft_endpoint_s=None, idle_end_s=None, limits=LIMITS),
        begun=_JOINED,
        alphabet=(
            *_SPEECH,
            ev.ResponseRequested(),
            _set(output="text"),
            _set(output="audio"),
            _set(auto_answer=False),
        ),
    ),
}
