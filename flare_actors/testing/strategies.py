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
from flare_actors.conversation.calls import AnswerRest, ToolSpec
from flare_actors.conversation.commands import Command
from flare_actors.conversation.history import SpokenWord
from flare_actors.conversation.items import AgentSaid, HistoryItem, Instructed, ToolCalled, ToolReturned, UserSaid
from flare_actors.conversation.model import Conversation, Turn
from flare_actors.conversation.states import Floor, Output, Wait
from flare_actors.conversation.step import step
from flare_actors.conversation.values import evolve
from flare_actors.testing.choices import changes, settings
from flare_actors.testing.values import events

__all__ = ["Move", "Script", "Step", "conversations", "moves", "pass_time", "play", "scripts", "settings"]


@attrs.frozen
class Move:
    """What happens next, to be resolved against the conversation in which it happens."""

    event: ev.Event | None
    """None: what a healthy ear, reply and speaker would tell next."""
    relative: bool = True
    """Its ``turn`` is counted from the live turn (or the latest), its ``utterance`` from the one whose transcript is due (or
    the one in progress), the ``index`` of a new phrase from the next one, an item that is named by a number from the history's
    end; False: the event is meant as it is."""

    def resolve(self, conversation: Conversation) -> ev.Event:
        """The event itself, but for its time."""
        event = self.event
        if event is None:
            return _healthy(conversation)
        if not self.relative:
            return event
        match event:
            case ev.TranscriptFinished():
                return evolve(event, utterance=_due_transcript(conversation) + event.utterance)
            case (
                ev.SpeechStarted()
                | ev.SpeechConfirmed()
                | ev.SpeechPaused()
                | ev.SpeechResumed()
                | ev.TurnEndEstimated()
                | ev.SpeechStopped()
                | ev.TranscriptUpdated()
            ):
                return evolve(event, utterance=conversation.utterance + event.utterance)
            case ev.PhraseReady():
                latest = _latest(conversation)
                index = len(latest.phrases) if latest is not None else 0
                return evolve(event, turn=_turn(conversation) + event.turn, index=index + event.index)
            case ev.ToolFinished(call="due"):
                return evolve(event, turn=_turn(conversation) + event.turn, call=_pending(conversation))
            case (
                ev.PhraseSpoken()
                | ev.WordsSpoken()
                | ev.AudioStarted()
                | ev.ToolStarted()
                | ev.ToolFinished()
                | ev.GenerationFinished()
                | ev.UsageReported()
                | ev.LanguageModelFailed()
                | ev.SynthesizerFailed()
                | ev.PlaybackFinished()
                | ev.PlaybackStopped()
            ):
                return evolve(event, turn=_turn(conversation) + event.turn)
            case ev.ToolResultReceived(call="due"):
                return evolve(event, call=_pending(conversation))
            case ev.PlaybackProgressed(turn=turn) | ev.PlaybackCompleted(turn=turn) if turn is not None:
                return evolve(event, turn=_turn(conversation) + turn)
            case ev.ItemDeleteRequested() | ev.ItemTruncateRequested() | ev.ItemReadRequested():
                return evolve(event, item_id=_item(conversation, event.item_id))
            case ev.ItemInsertRequested(after=str() as known):
                return evolve(event, after=_item(conversation, known))
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


# --- Moves -------------------------------------------------------------------------------------------------------------------


def _latest(c: Conversation) -> Turn | None:
    """The live turn, or the one that is generated ahead."""
    return c.turn or (c.speculation.turn if c.speculation is not None else None)


def _turn(c: Conversation) -> int:
    turn = _latest(c)
    return turn.number if turn is not None else c.turns


def _item(c: Conversation, named: str) -> str:
    """The item of that number, counted from the history's end; a name that is no number stays."""
    if not named.isdecimal():
        return named
    number = int(named)
    return c.history[-number - 1].id if number < len(c.history) else f"turn_{_turn(c)}"


def _pending(c: Conversation) -> str:
    """A call whose result is due."""
    latest = _latest(c)
    calls = (*(latest.calls if latest is not None else ()), *c.detached)
    return next((use.call for use in calls if use.output is None or use.detached), "none")


def _due_transcript(c: Conversation) -> int:
    return c.awaited[0].utterance if c.awaited else c.utterance


def _healthy(c: Conversation) -> ev.Event:  # noqa: C901 - one arm a fact
    if c.committing and c.floor is Floor.SILENT:
        return ev.NothingCommitted()
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
    last = len(turn.phrases) - 1
    if spoken and turn.phrases[last].end_s is None:
        return ev.PhraseSpoken(turn=turn.number, index=last, start_s=float(last), end_s=last + 1.0)
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
    ev.MuteRequested(muted=False),
    ev.InputClearRequested(),
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
    ev.SpeechResumed(utterance=0),
    ev.SpeechResumed(utterance=0, pause_s=0.4),
    ev.TurnEndEstimated(utterance=0, probability=0.1),
    ev.TurnEndEstimated(utterance=0, probability=0.9),
    ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48),
    ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48),
    ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48, taken=False),
    ev.SpeechStopped(utterance=0, speech_s=0.1, silence_s=0.48, too_short=True),
)
_TOOLS: Final = st.sampled_from([None, (), (ToolSpec(name="tea"),), (ToolSpec(name="tea"), ToolSpec(name="cup"))])
_CHOICES: Final = st.sampled_from([None, "auto", "none", "required"])
_ITEMS: Final[tuple[HistoryItem, ...]] = (
    UserSaid(text="before that"),
    UserSaid(id="mine", text="a rather long thing to have said"),
    AgentSaid(text="as I said"),
    AgentSaid(id="turn_1", text="never said"),
    Instructed(text="Be polite."),
    UserSaid(text=" "),
    ToolCalled(call="x1", name="tea", text="{}"),
    *(ToolReturned(id=f"result-{n}", call="x1", text="green") for n in range(5)),
)
_NAMES: Final = ("0", "1", "2", "9", "mine", "nobody's")
_RARE: Final[tuple[ev.Event, ...]] = (
    ev.SessionEndRequested(),
    ev.TransportFailed(),
    ev.ShutdownRequested(deadline_s=5.0),
    ev.SessionOverloaded(queue="inbox"),
    ev.FailureRaised(critical=True),
    ev.RecognizerFailed(critical=True),
)


@st.composite
def moves(draw: st.DrawFn) -> Move:
    """What can happen next: mostly to the point, now and then late, early, twice or nonsense."""
    # A composite is printed by its name: Hypothesis prints what a rule draws from, again and again, and this is long.
    return draw(_moves())


@functools.cache
def _moves() -> st.SearchStrategy[Move]:
    off, played = st.sampled_from(_OFF), st.sampled_from(_PLAYED)
    relative: list[st.SearchStrategy[ev.Event]] = [
        *[st.sampled_from(_PLAIN)] * 3,
        st.builds(ev.TextReceived, text=_said()),
        st.builds(ev.SayRequested, text=_said(), interruptible=st.booleans()),
        st.builds(
            ev.ResponseRequested,
            instructions=st.none() | _said(),
            output=st.sampled_from([None, *Output]),
            replace=st.booleans(),
            max_tokens=st.sampled_from([None, 0, 5]),
            tools=_TOOLS,
            tool_choice=_CHOICES,
            items=st.none() | st.none() | st.lists(st.sampled_from(_ITEMS), max_size=3).map(tuple),
            aside=st.booleans(),
        ),
        st.builds(
            ev.ItemInsertRequested, item=st.sampled_from(_ITEMS), after=st.sampled_from([None, None, "", *_NAMES])
        ),
        st.one_of(
            st.builds(ev.ItemDeleteRequested, item_id=st.sampled_from(_NAMES)),
            st.builds(ev.ItemReadRequested, item_id=st.sampled_from(_NAMES)),
            st.builds(ev.ItemTruncateRequested, item_id=st.sampled_from(_NAMES), end_s=played),
        ),
        st.builds(ev.SettingsChanged, changes=st.lists(changes(), min_size=1, max_size=2).map(tuple)),
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
        st.builds(
            ev.ToolFinished, turn=off, call=_CALLS | st.just("due"), output=st.just("green"), failed=st.booleans()
        ),
        st.builds(
            ev.ToolResultReceived,
            call=_CALLS | st.just("due"),
            output=st.just("black"),
            rest=st.none() | st.builds(AnswerRest, instructions=st.none() | _said(), tools=_TOOLS),
        ),
        st.builds(ev.ToolsOffered, tools=_TOOLS.map(lambda tools: tools or ()), tool_choice=st.just("auto")),
        st.builds(ev.UsageReported, turn=off, input_tokens=st.just(9), output_tokens=st.just(3)),
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
    return st.sampled_from([healthy] * 60 + [to_the_point] * 60 + [nonsense] * 4 + [rare]).flatmap(lambda kind: kind)


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
        event = evolve(move.resolve(conversation), at=at)
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
