"""What belongs together in a conversation, move by move: what no draw of single moves would come upon.

A tool's result is for a call that was made, a recogniser is started again only if it failed while the agent was heard, an
answer that was begun ahead is let out only after the very words that it answers. Each scene leads there from wherever the
conversation stands; what else happens meanwhile is up to whoever plays it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from hypothesis import strategies as st

from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.changes import Change
from flare_actors.conversation.history import SpokenWord
from flare_actors.conversation.items import UserSaid

__all__ = ["SCENES", "Scene", "scenes"]

Scene: TypeAlias = tuple[ev.Event | float | None, ...]
"""Events, meant as ``Move`` means them; seconds that pass; None for what a healthy ear, reply and speaker would tell next."""

_ON: Final = None
_JOIN: Final = (
    ev.ClientAttached(),
    ev.ConversationStartRequested(),
    ev.ListenerOpened(estimates=True),
    ev.RecognizerReady(partials=True),
)
_ASK: Final = (*_JOIN, ev.TextReceived(text="and now?"), _ON)
"""A turn is live, or waits for the word on the one before, which comes."""
_HEARD: Final = (*_ASK, *[_ON] * 3, ev.AudioStarted(turn=0))
"""... and the agent is heard."""
_SAID: Final = (*_HEARD, _ON, ev.PlaybackFinished(turn=0, played_s=1.0))
"""... and has come to its end."""
_SPEAK: Final = (
    *_JOIN,
    ev.InterruptRequested(),
    _ON,
    ev.SpeechStarted(utterance=1),
    ev.TranscriptUpdated(utterance=0, text="tea."),
)
_STOP: Final = ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48)
_UNDERSTOOD: Final = ev.TranscriptFinished(utterance=0, text="tea.")


def _tool(**kind: bool) -> ev.ToolStarted:
    return ev.ToolStarted(turn=0, call="t0001c001", name="tea", arguments="{}", timeout_s=1.0, **kind)


def _set(name: str, value: str | float | bool | None) -> ev.SettingsChanged:  # noqa: FBT001 - some settings are booleans
    return ev.SettingsChanged(changes=(Change(name=name, value=value),))


_RESULT: Final = ev.ToolResultReceived(call="due", output="black")

_ANSWERS: Final[Mapping[str, Scene]] = {
    "an answer is heard to its end": _SAID,
    "the model tells what it took": (*_ASK, ev.UsageReported(turn=0, input_tokens=9, output_tokens=3)),
    "the voice tells its words": (*_HEARD, ev.WordsSpoken(turn=0, index=0, words=(SpokenWord(share=0.5, at_s=0.2),))),
    "the agent has something to say": (*_JOIN, ev.SayRequested(text="dinner is ready"), ev.InterruptRequested(), _ON),
    "an answer is asked for": (*_JOIN, ev.InterruptRequested(), _ON, ev.ResponseRequested(), _ON, _ON),
    "the client tells what it has played": (
        *(*_HEARD, ev.PlaybackProgressed(turn=0, played_s=0.4), ev.GenerationFinished(turn=0, audio_s=1.0)),
        ev.PlaybackCompleted(),
    ),
    "an answer is cut short afterwards": (*_SAID, ev.ItemTruncateRequested(item_id="0", end_s=0.4)),
    "an item is put in, read and taken out": (
        *(*_JOIN, ev.ItemInsertRequested(item=UserSaid(id="mine", text="before that"))),
        *(ev.ItemReadRequested(item_id="mine"), ev.ItemDeleteRequested(item_id="mine")),
    ),
}

_TOOLS: Final[Mapping[str, Scene]] = {
    "a tool gives its result": (*_ASK, _tool(), 0.5, ev.ToolFinished(turn=0, call="due", output="green"), _ON),
    "the client's tool gives its result": (*_ASK, _tool(client=True), 0.5, _RESULT, _ON),
    "the client's tool is late": (*_ASK, _tool(client=True, survives=True), ev.InterruptRequested(), 1.0, _RESULT),
    "a tool goes on in the background": (
        *(*_ASK, _tool(detached=True, announced=True), *[_ON] * 6),
        *(ev.ToolFinished(turn=0, call="due", output="gold"), _ON),
    ),
    "the client has tools": (*_JOIN, ev.ToolsOffered(tools=(ToolSpec(name="tea"),)), *_ASK),
}

_HEARING: Final[Mapping[str, Scene]] = {
    "nothing is said": (*_SPEAK, ev.SpeechStopped(utterance=0, speech_s=0.1, silence_s=0.48, too_short=True)),
    "nothing is understood": (*_SPEAK, _STOP, ev.TranscriptFinished(utterance=0, text="")),
    "the user coughs": (*_HEARD, ev.SpeechStarted(utterance=1), 1.2),
    "the user nods": (
        *(*_HEARD, ev.SpeechStarted(utterance=1), ev.TranscriptUpdated(utterance=0, text="mhm"), _STOP),
        ev.TranscriptFinished(utterance=0, text="mhm"),
    ),
    "the user interrupts": (
        *(*_HEARD, ev.SpeechStarted(utterance=1), ev.SpeechConfirmed(utterance=0, overdue=True), 0.1),
        *(_ON, _STOP, _UNDERSTOOD),
    ),
    "an answer is begun ahead": (
        *(*_SPEAK, ev.SpeechPaused(utterance=0), ev.TurnEndEstimated(utterance=0, probability=0.9)),
        *(ev.PhraseReady(turn=0, index=0, text="So. "), _STOP, _UNDERSTOOD, _ON),
    ),
    "the user hesitates": (*_SPEAK, ev.SpeechPaused(utterance=0), ev.SpeechResumed(utterance=0, pause_s=0.4), _STOP),
    "a button is let go": (*_SPEAK, ev.CommitRequested(), _STOP, _UNDERSTOOD),
    "a button is pressed and let go": (*_JOIN, ev.CommitRequested(), ev.NothingCommitted()),
    "nobody tells what became of a commit": (*_JOIN, ev.CommitRequested(), 4.0),
    "what is being said is forgotten": (*_SPEAK, ev.InputClearRequested()),
    "the user is silent": (*_SAID, 350.0),
}

_FAILURES: Final[Mapping[str, Scene]] = {
    "a recogniser is lost and started again while the agent is heard": (*_HEARD, ev.RecognizerFailed(), 2.5, *_JOIN),
    "a recogniser is lost while the user has the floor": (*_SPEAK, ev.RecognizerFailed(), 25.0),
    "the ear is lost": (*_JOIN, ev.ListenerFailed(), 1.5, ev.ListenerOpened()),
    "the ear does not open": (*_JOIN, ev.ConversationEndRequested(), ev.ConversationStartRequested(), 16.0),
    "a transcript does not come": (*_SPEAK, _STOP, 16.0),
    "an utterance does not end": (*_SPEAK, 70.0),
    "something else goes wrong": (*_JOIN, ev.FailureRaised(), 1.5),
    "the model fails": (*_ASK, ev.LanguageModelFailed(turn=0), _ON),
    "the synthesizer fails": (*_ASK, ev.SynthesizerFailed(turn=0), _ON),
    "nothing comes of a turn": (*_ASK, 50.0),
    "the end of a turn is not told": (*_HEARD, ev.GenerationFinished(turn=0, audio_s=1.0), 8.0),
    "what was played is not told": (*_HEARD, ev.TextReceived(text="no"), 2.0),
}

_CHANGES: Final[Mapping[str, Scene]] = {
    "the client comes back": (*_HEARD, ev.ClientDetached(), 1.0, ev.ClientAttached()),
    "the conversation is ended and another one started": (*_ASK, ev.ConversationEndRequested(), *_JOIN),
    "the user is muted": (*_JOIN, ev.MuteRequested(muted=True), ev.MuteRequested(muted=False)),
    "settings change": (*_JOIN, _set("output", "text"), *_ASK, _set("output", "audio"), *_ASK),
}

_ENDINGS: Final[Mapping[str, Scene]] = {
    "the session is ended": (ev.SessionEndRequested(),),
    "the transport breaks": (ev.TransportFailed(),),
    "the server goes down and does not wait": (*_ASK, ev.ShutdownRequested(deadline_s=5.0), 6.0),
    "the session cannot keep up": (ev.SessionOverloaded(queue="inbox"),),
    "the client does not come back": (*_JOIN, ev.ClientDetached(), 40.0),
    "nobody starts another conversation": (*_JOIN, ev.ConversationEndRequested(), 700.0),
    "a stage cannot be used": (*_JOIN, ev.RecognizerFailed(critical=True)),
}
"""What mostly ends a session."""


SCENES: Final[Mapping[str, Mapping[str, Scene]]] = {
    "answers": _ANSWERS,
    "tools": _TOOLS,
    "hearing": _HEARING,
    "failures": _FAILURES,
    "changes": _CHANGES,
    "endings": _ENDINGS,
}
"""By what they are about, and by what happens in them."""


@st.composite
def scenes(draw: st.DrawFn, about: str) -> Scene:
    """One of those of ``SCENES[about]``, mostly to its end."""
    # A composite is printed by its name: Hypothesis prints what a rule draws from, again and again, and this is long.
    scene = draw(st.sampled_from(tuple(SCENES[about].values())))
    return scene if draw(st.integers(0, 3)) else scene[: draw(st.integers(1, len(scene)))]
