"""Hypothesis strategies that drive conversations: settings, moves, scripts, and what can really be reached by them.

(Any event at all, for codecs and stores, is in ``values``.) A script's moves are resolved against the conversation as it
stands ("the live turn's first audio", "the transcript that is due, or a late one"), so that they hit more often than they
miss, and shrink well. ``play`` runs a script as an orchestrator would: deadlines pass in order, before whatever is later than
they are.

A strategy is made once: to make one of all events takes ten times as long as to draw from it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import attrs
from hypothesis import strategies as st

from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.changes import Change, Value
from flare_actors.conversation.commands import Command
from flare_actors.conversation.history import SpokenWord
from flare_actors.conversation.model import Conversation, Turn
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.conversation.states import (
    BargeIn,
    Endpointing,
    Floor,
    Input,
    Mute,
    Output,
    SttMode,
    TurnDetection,
    Wait,
)
from flare_actors.conversation.step import step
from flare_actors.testing.values import events

__all__ = ["Move", "Script", "Step", "conversations", "moves", "pass_time", "play", "scripts", "settings"]


@attrs.frozen
class Move:
    """What happens next, to be resolved against the conversation in which it happens."""

    event: ev.Event | None
    """None: what a healthy ear, reply and speaker would tell next."""
    relative: bool = True
    """Its ``turn`` is counted from the live turn (or the latest), its ``utterance`` from the one whose transcript is due (or
    the one in progress), the ``index`` of a new phrase from the next one; False: the event is meant as it is."""

    def resolve(self, conversation: Conversation) -> ev.Event:
        """The event itself, but for its time."""
        event = self.event
        if event is None:
            return _healthy(conversation)
        if not self.relative:
            return event
        match event:
            case ev.TranscriptFinished():
                return attrs.evolve(event, utterance=_due_transcript(conversation) + event.utterance)
            case (
                ev.SpeechStarted()
                | ev.SpeechConfirmed()
                | ev.SpeechPaused()
                | ev.SpeechResumed()
                | ev.TurnEndEstimated()
                | ev.SpeechStopped()
                | ev.TranscriptUpdated()
            ):
                return attrs.evolve(event, utterance=conversation.utterance + event.utterance)
            case ev.PhraseReady():
                latest = _latest(conversation)
                index = len(latest.phrases) if latest is not None else 0
                return attrs.evolve(event, turn=_turn(conversation) + event.turn, index=index + event.index)
            case (
                ev.PhraseSpoken()
                | ev.WordsSpoken()
                | ev.AudioStarted()
                | ev.ToolStarted()
                | ev.ToolFinished()
                | ev.GenerationFinished()
                | ev.LanguageModelFailed()
                | ev.SynthesizerFailed()
                | ev.PlaybackFinished()
                | ev.PlaybackStopped()
            ):
                return attrs.evolve(event, turn=_turn(conversation) + event.turn)
            case ev.PlaybackProgressed(turn=turn) | ev.PlaybackCompleted(turn=turn) if turn is not None:
                return attrs.evolve(event, turn=_turn(conversation) + turn)
            case _:
                return event


Script: TypeAlias = Sequence[tuple[float, Move]]
"""Moves, each with the seconds that pass before it."""

# Mostly a conversation's pace; now and then long enough for every deadline there is.
_GAPS: Final = (*(0.0, 0.01, 0.1, 0.1, 0.3, 0.3, 0.5) * 6, 1.0, 1.0, 3.0, 10.0, 35.0, 400.0)
_WORDS: Final = ("yes", "mhm", "tea", "what", "is", "the", "time", "no", "wait", "um", "to", "now.", "günaydin", "你好")
_CALLS: Final = st.sampled_from(["t0001c001", "t0001c002", "t0002c001"])
_PHRASES: Final = ("Well. ", "It is late, ", "very late indeed. ", "**Tea** it is! ", "😀 ")


def _said() -> st.SearchStrategy[str]:
    words = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map(" ".join)
    return st.one_of(words, st.just(""), st.just("   "))


@functools.cache
def settings() -> st.SearchStrategy[Settings]:
    """Any choice of what changes decisions; times are such that each of them can matter within a script."""
    return st.builds(
        Settings,
        locale=st.sampled_from(["en-US", "tr-TR"]),
        stt_mode=st.sampled_from(SttMode),
        input=st.sampled_from([*[Input.AUDIO] * 7, Input.TEXT]),
        turn_detection=st.sampled_from([*[TurnDetection.AUTOMATIC] * 3, TurnDetection.MANUAL]),
        auto_answer=st.sampled_from([True, True, True, False]),
        mute=st.sampled_from([*[Mute.NEVER] * 4, *Mute]),
        session_max_s=st.sampled_from([None, None, None, 60.0]),
        soft_endpoint_s=st.sampled_from([0.2, 0.2, None]),
        endpointing=st.sampled_from(Endpointing),
        output=st.sampled_from([Output.AUDIO, Output.AUDIO, Output.TEXT]),
        welcome=st.sampled_from([None, "Hello. How are you?"]),
        apology=st.sampled_from([None, "I am sorry."]),
        barge_in=st.sampled_from(BargeIn),
        false_interruption_s=st.sampled_from([1.0, 1.0, 0.2, 0.0]),
        reconnect_grace_s=st.sampled_from([30.0, 5.0, 0.0]),
        idle_prompts=st.sampled_from([(), ("Are you there?",), ("Hello?", "Still there?")]),
        idle_answer=st.booleans(),
        idle_prompt_s=st.sampled_from([1.0, 30.0]),
        idle_end_s=st.sampled_from([300.0, None, 2.0]),
        session_idle_s=st.sampled_from([600.0, None, 2.0]),
        timeouts=st.builds(Timeouts, playback_report_s=st.sampled_from([0.5, 2.0])),
        limits=st.builds(
            Limits,
            history_items=st.sampled_from([2, 3, 200]),
            say_queue=st.sampled_from([1, 8]),
            same_failures=st.sampled_from([3, 3, 1]),
            text_chars=st.sampled_from([12, 8_000]),
        ),
    )


def _changes() -> st.SearchStrategy[Change]:
    """A change of some setting, mostly one that it takes."""
    to_the_point: list[tuple[str, Value]] = [
        ("input", "text"),
        ("input", "audio"),
        ("output", "text"),
        ("output", "audio"),
        ("turn_detection", "manual"),
        ("turn_detection", "automatic"),
        ("auto_answer", False),
        ("auto_answer", True),
        ("mute", "always"),
        ("mute", "speaking"),
        ("mute", "never"),
        ("barge_in", "off"),
        ("barge_in", "full"),
        ("locale", "tr-TR"),
        ("stt_mode", "batch"),
        ("endpoint_s", 0.3),
        ("idle_end_s", None),
        ("session_idle_s", 5.0),
        ("session_max_s", 300.0),
        ("welcome", "Hi."),
        ("endpoint_s", -1.0),
        ("endpoint_s", "long"),
        ("barge_in", "perhaps"),
        ("limits", 3),
        ("colour", "red"),
    ]
    return st.sampled_from(to_the_point).map(lambda pair: Change(name=pair[0], value=pair[1]))


# --- Moves -------------------------------------------------------------------------------------------------------------------


def _latest(c: Conversation) -> Turn | None:
    """The live turn, or the one that is generated ahead."""
    return c.turn or (c.speculation.turn if c.speculation is not None else None)


def _turn(c: Conversation) -> int:
    turn = _latest(c)
    return turn.number if turn is not None else c.turns


def _due_transcript(c: Conversation) -> int:
    return c.awaited[0].utterance if c.awaited else c.utterance


def _healthy(c: Conversation) -> ev.Event:
    if c.floor is Floor.SPEAKING:
        if c.settings.soft_endpoint_s is not None and not c.paused:
            return ev.SpeechPaused(utterance=c.utterance)
        if not c.partial:
            return ev.TranscriptUpdated(utterance=c.utterance, text="tea")
        if c.speculation is not None and not c.speculation.turn.phrases:
            return ev.PhraseReady(turn=c.speculation.turn.number, index=0, text=_PHRASES[1], first_token_at=0.0)
        return ev.SpeechStopped(utterance=c.utterance, speech_s=1.0, silence_s=0.48)
    if c.awaited:
        return ev.TranscriptFinished(utterance=c.awaited[0].utterance, text=c.partial or "tea")
    unsettled = next((s.number for s in c.settling if not s.settled), None)
    if unsettled is not None:
        return ev.PlaybackStopped(turn=unsettled, played_s=0.7)
    turn = c.turn
    if turn is None:
        return ev.SpeechStarted(utterance=c.utterance + 1)
    spoken = turn.output is Output.AUDIO
    if not turn.phrases:
        return ev.PhraseReady(turn=turn.number, index=0, text=_PHRASES[1], first_token_at=0.0)
    if spoken and not turn.playing:
        return ev.AudioStarted(turn=turn.number)
    if turn.generated_s is None:
        return ev.GenerationFinished(turn=turn.number, audio_s=float(len(turn.phrases)) if spoken else 0.0)
    return ev.PlaybackFinished(turn=turn.number, played_s=turn.generated_s)


_OFF: Final = (0, 0, 0, 0, -1, 1)
_PLAYED: Final = (0.0, 0.4, 1.0, 2.5, 100.0)

_PLAIN: Final[tuple[ev.Event, ...]] = (
    ev.ConversationStartRequested(),
    ev.ConversationStartRequested(),
    ev.ConversationEndRequested(),
    ev.InterruptRequested(),
    ev.CommitRequested(),
    ev.NothingCommitted(),
    ev.MuteRequested(muted=True),
    ev.ClientAttached(),
    ev.ClientAttached(),
    ev.ClientAttached(reports_playback=True),
    ev.ClientDetached(),
    ev.FailureRaised(),
    ev.ListenerOpened(),
    ev.ListenerOpened(estimates=True),
    ev.ListenerFailed(),
    ev.RecognizerReady(),
    ev.RecognizerReady(partials=True),
    ev.RecognizerFailed(),
    ev.PlaybackCompleted(),
    ev.SpeechStarted(utterance=1),
    ev.SpeechStarted(utterance=1),
    ev.SpeechConfirmed(utterance=0),
    ev.SpeechConfirmed(utterance=0),
    ev.SpeechConfirmed(utterance=0, overdue=True),
    ev.SpeechPaused(utterance=0),
    ev.SpeechPaused(utterance=0),
    ev.SpeechResumed(utterance=0, pause_s=0.4),
    ev.TurnEndEstimated(utterance=0, probability=0.1),
    ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48),
    ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48),
    ev.SpeechStopped(utterance=0, speech_s=0.1, silence_s=0.48, too_short=True),
)
_RARE: Final[tuple[ev.Event, ...]] = (
    ev.SessionEndRequested(),
    ev.TransportFailed(),
    ev.ShutdownRequested(deadline_s=5.0),
    ev.SessionOverloaded(queue="inbox"),
    ev.FailureRaised(critical=True),
    ev.RecognizerFailed(critical=True),
)


@functools.cache
def moves() -> st.SearchStrategy[Move]:
    """What can happen next: mostly to the point, now and then late, early, twice or nonsense."""
    off, played = st.sampled_from(_OFF), st.sampled_from(_PLAYED)
    relative: list[st.SearchStrategy[ev.Event]] = [
        st.sampled_from(_PLAIN),
        st.sampled_from(_PLAIN),
        st.builds(ev.TextReceived, text=_said()),
        st.builds(ev.SayRequested, text=_said(), interruptible=st.booleans()),
        st.builds(
            ev.ResponseRequested,
            instructions=st.none() | _said(),
            output=st.sampled_from([None, *Output]),
            max_tokens=st.sampled_from([None, 0, 5]),
            tools=st.sampled_from([None, (), (ToolSpec(name="tea"),)]),
        ),
        st.builds(ev.SettingsChanged, changes=st.lists(_changes(), min_size=1, max_size=2).map(tuple)),
        st.builds(ev.TranscriptFinished, utterance=off, text=_said()),
        st.builds(ev.TranscriptUpdated, utterance=off, text=_said(), complete=st.booleans()),
        st.builds(ev.PhraseReady, turn=off, index=st.just(0), text=st.sampled_from(_PHRASES)),
        st.builds(
            lambda turn, n: ev.PhraseSpoken(turn=turn, index=n, start_s=float(n), end_s=float(n + 1)),
            off,
            st.integers(0, 3),
        ),
        st.builds(
            lambda turn, n, words: ev.WordsSpoken(turn=turn, index=n, words=words),
            off,
            st.integers(0, 3),
            st.lists(st.builds(SpokenWord, share=st.floats(0, 1), at_s=st.floats(0, 5)), max_size=3).map(tuple),
        ),
        st.builds(ev.AudioStarted, turn=off),
        st.builds(
            ev.ToolStarted,
            turn=off,
            call=_CALLS,
            name=st.just("tea"),
            arguments=st.just("{}"),
            step=st.integers(0, 2),
            timeout_s=st.sampled_from([1.0, 60.0]),
            client=st.booleans(),
            detached=st.booleans(),
            announced=st.booleans(),
            survives=st.booleans(),
        ),
        st.builds(ev.ToolFinished, turn=off, call=_CALLS, output=st.just("green"), failed=st.booleans()),
        st.builds(ev.ToolResultReceived, call=_CALLS, output=st.just("black")),
        st.builds(ev.ToolsOffered, tools=st.sampled_from([(), (ToolSpec(name="tea"),)])),
        st.builds(ev.GenerationFinished, turn=off, audio_s=played, limited=st.booleans()),
        st.builds(ev.LanguageModelFailed, turn=off),
        st.builds(ev.SynthesizerFailed, turn=off),
        st.builds(ev.PlaybackFinished, turn=off, played_s=played),
        st.builds(ev.PlaybackStopped, turn=off, played_s=played),
        st.builds(ev.PlaybackProgressed, turn=st.none() | off, played_s=played),
        st.builds(ev.PlaybackCompleted, turn=st.none() | off, played_s=st.none() | played),
    ]
    healthy = st.just(Move(None))
    to_the_point = st.one_of(relative).map(Move)
    nonsense = st.one_of(events(), st.builds(ev.DeadlinePassed, wait=st.sampled_from(Wait))).map(
        lambda event: Move(event, relative=False)
    )
    rare = st.sampled_from(_RARE).map(Move)
    # Hypothesis weighs alternatives alike.
    return st.sampled_from([healthy] * 26 + [to_the_point] * 30 + [nonsense] * 3 + [rare]).flatmap(lambda kind: kind)


@functools.cache
def scripts(max_size: int = 40) -> st.SearchStrategy[Script]:
    """What happens in a session, which mostly somebody has joined and started, and when."""
    joined = [(0.0, Move(ev.ClientAttached())), (0.1, Move(ev.ConversationStartRequested()))]
    ready = [*joined, (0.1, Move(ev.ListenerOpened())), (0.1, Move(ev.RecognizerReady(partials=True)))]
    move = st.tuples(st.sampled_from(_GAPS), moves())
    # Left to itself, Hypothesis makes lists too short for a second conversation.
    rest = st.one_of(st.lists(move, max_size=max_size), st.lists(move, min_size=max_size // 2, max_size=max_size))
    return st.tuples(st.sampled_from([[], joined, ready, ready]), rest).map(lambda parts: [*parts[0], *parts[1]])


@attrs.frozen(kw_only=True)
class Step:
    """One step of a conversation that was played."""

    before: Conversation
    event: ev.Event
    after: Conversation
    commands: tuple[Command, ...]


def play(conversation: Conversation, script: Iterable[tuple[float, Move]], *, at: float = 0.0) -> Iterator[Step]:
    """Take a conversation through a script, as an orchestrator would, starting at ``at`` seconds.

    Raises:
        AssertionError: deadlines pass without end, and no time with them.
    """
    for gap, move in script:
        at += gap
        for passed in pass_time(conversation, until=at):
            yield passed
            conversation = passed.after
        event = attrs.evolve(move.resolve(conversation), at=at)
        after, commands = step(conversation, event)
        yield Step(before=conversation, event=event, after=after, commands=commands)
        conversation = after


def pass_time(conversation: Conversation, *, until: float) -> Iterator[Step]:
    """Let nothing happen but deadlines, up to the moment ``until``."""
    last, at_once = 0.0, 0
    while (due := conversation.deadlines.earliest()) is not None and due[0] <= until:
        at_once = at_once + 1 if due[0] <= last else 0
        assert at_once < 50, f"deadlines pass without end at {due[0]} s: {due[1]}"
        last = due[0]
        event = ev.DeadlinePassed(at=due[0], wait=due[1])
        after, commands = step(conversation, event)
        yield Step(before=conversation, event=event, after=after, commands=commands)
        conversation = after


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """A conversation as some script has left it."""
    conversation = Conversation(settings=draw(settings()))
    for each in play(conversation, draw(scripts())):
        conversation = each.after
    return conversation
