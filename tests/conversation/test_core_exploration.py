"""The core, explored breadth first: what is declared is reachable, and nothing is a dead end.

    pytest tests/conversation/test_core_exploration.py -rP -k counts

prints what was reached. Times, numbers and texts do not count, so the shapes of a conversation are finitely many; all events
at once would make too many of them, so each of these worlds has a few that belong together. It is explored until nothing new is
found, or a number of shapes is; the nightly profile walks farthest.
"""

from __future__ import annotations

import functools
import os
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from flare_actors.conversation import Conversation, Floor, Limits, Settings, State, TurnKind, fold, step
from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import ToolUse
from flare_actors.conversation.changes import Change
from flare_actors.conversation.commands import Command, Notify
from flare_actors.conversation.model import Deadlines, Failures, Marks, Turn, Waste
from flare_actors.conversation.notices import StateChanged
from flare_actors.conversation.states import Mute, TurnDetection, Wait
from flare_actors.conversation.table import ACTIVE, TRANSITIONS
from flare_actors.conversation.values import evolve
from flare_actors.testing.invariants import check_value
from flare_actors.testing.strategies import Move, pass_time

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

MOST = {"nightly": 50_000, "ci": 800}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 300)
"""Shapes of one world, after which the walk ends although there are more."""

_LIMITS = Limits(same_failures=2, say_queue=1, history_items=4)
_JOINED = (
    ev.ClientAttached(),
    ev.ConversationStartRequested(),
    ev.ListenerOpened(),
    ev.RecognizerReady(partials=True),
)
_SPEECH = (
    ev.SpeechStarted(utterance=1),
    ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48),
    ev.TranscriptFinished(utterance=0, text=""),
    ev.TranscriptFinished(utterance=0, text="tea"),
)


def _set(**values: object) -> ev.SettingsChanged:
    return ev.SettingsChanged(changes=tuple(Change(name=name, value=value) for name, value in values.items()))  # type: ignore[arg-type]


@attrs.frozen(kw_only=True)
class World:
    """Events that belong together, and the settings in which they matter."""

    settings: Settings
    alphabet: tuple[ev.Event, ...]
    """Besides what a healthy ear, reply and speaker would tell next, and the earliest deadline that passes."""
    begun: tuple[ev.Event, ...] = _JOINED


WORLDS = {
    "coming, going and failing": World(
        settings=Settings(welcome="Hello.", soft_endpoint_s=None, idle_prompts=("Are you there?",), limits=_LIMITS),
        begun=(),
        alphabet=(
            ev.ClientAttached(),
            ev.ClientDetached(),
            ev.ConversationStartRequested(),
            ev.ConversationEndRequested(),
            ev.SessionEndRequested(),
            ev.ShutdownRequested(deadline_s=5.0),
            ev.TextReceived(text="hello"),
            ev.FailureRaised(),
            ev.ListenerOpened(),
            ev.ListenerFailed(),
            ev.RecognizerReady(),
            ev.RecognizerFailed(),
        ),
    ),
    "stopping": World(
        settings=Settings(welcome="Hello.", soft_endpoint_s=None, limits=_LIMITS),
        alphabet=(
            ev.SpeechStarted(utterance=1),
            ev.TextReceived(text="hello"),
            ev.ConversationEndRequested(),
            ev.SessionEndRequested(),
            ev.FailureRaised(),
        ),
    ),
    "talking over": World(
        settings=Settings(soft_endpoint_s=None, limits=_LIMITS),
        alphabet=(
            *_SPEECH,
            ev.SpeechStopped(utterance=0, speech_s=0.1, silence_s=0.48, too_short=True),
            ev.SpeechConfirmed(utterance=0),
            ev.SpeechConfirmed(utterance=0, overdue=True),
            ev.TranscriptUpdated(utterance=0, text="mhm"),
            ev.TranscriptUpdated(utterance=0, text="tea"),
            ev.TranscriptFinished(utterance=0, text="mhm"),
            ev.InterruptRequested(),
            ev.TextReceived(text="hello"),
        ),
    ),
    "answering": World(
        settings=Settings(soft_endpoint_s=None, apology="I am sorry.", limits=_LIMITS),
        alphabet=(
            *_SPEECH,
            ev.RecognizerFailed(),
            ev.RecognizerReady(),
            ev.SayRequested(text="dinner"),
            ev.SayRequested(text="fire", interruptible=False),
            ev.PhraseReady(turn=0, index=0, text="So. "),
            ev.GenerationFinished(turn=0, audio_s=0.0),
            ev.LanguageModelFailed(turn=0),
            ev.SynthesizerFailed(turn=0),
            ev.PlaybackProgressed(turn=0, played_s=0.4),
            ev.TextReceived(text="hello"),
        ),
    ),
    "answering ahead": World(
        settings=Settings(limits=_LIMITS),
        alphabet=(
            *_SPEECH,
            ev.SpeechPaused(utterance=0),
            ev.SpeechResumed(utterance=0, pause_s=0.4),
            ev.TurnEndEstimated(utterance=0, probability=0.9),
            ev.TranscriptUpdated(utterance=0, text="tea"),
            ev.TranscriptUpdated(utterance=0, text="milk"),
            ev.PhraseReady(turn=0, index=0, text="So. "),
            ev.LanguageModelFailed(turn=0),
            ev.ClientDetached(),
            ev.ClientAttached(),
        ),
    ),
    "push to talk": World(
        settings=Settings(turn_detection=TurnDetection.MANUAL, soft_endpoint_s=None, idle_end_s=None, limits=_LIMITS),
        alphabet=(
            *_SPEECH,
            ev.CommitRequested(),
            ev.NothingCommitted(),
            ev.ResponseRequested(),
            ev.InputClearRequested(),
            _set(turn_detection="automatic"),
            _set(auto_answer=False),
        ),
    ),
    "tools": World(
        settings=Settings(mute=Mute.TOOLS, soft_endpoint_s=None, limits=_LIMITS),
        alphabet=(
            ev.TextReceived(text="hello"),
            ev.InterruptRequested(),
            ev.ToolStarted(turn=0, call="t0001c001", name="look", arguments="{}", timeout_s=9.0),
            ev.ToolStarted(turn=0, call="t0001c002", name="ask", arguments="{}", timeout_s=9.0, client=True),
            ev.ToolStarted(
                turn=0, call="t0001c003", name="dig", arguments="{}", timeout_s=9.0, detached=True, announced=True
            ),
            ev.ToolFinished(turn=0, call="t0001c001", output="green"),
            ev.ToolFinished(turn=0, call="t0001c002", output="black"),
            ev.ToolFinished(turn=0, call="t0001c003", output="gold"),
            ev.ToolResultReceived(call="t0001c002", output="black"),
            ev.SpeechStarted(utterance=1),
        ),
    ),
    "modes": World(
        settings=Settings(soft_endpoint_s=None, idle_end_s=None, limits=_LIMITS),
        alphabet=(
            *_SPEECH,
            ev.TextReceived(text="hello"),
            ev.MuteRequested(muted=True),
            ev.MuteRequested(muted=False),
            _set(input="text"),
            _set(input="audio"),
            _set(mute="speaking"),
            _set(output="text"),
            _set(barge_in="off"),
        ),
    ),
}


# --- Shapes ---------------------------------------------------------------------------------------------------------------


def _known(moment: object) -> float | None:
    """A moment that is there, whichever."""
    return None if moment is None else 0.0


def _turn_shape(turn: Turn | None) -> Turn | None:
    if turn is None:
        return None
    return evolve(
        turn,
        number=0,
        phrases=turn.phrases[:1],
        calls=_calls_shape(turn.calls),
        generated_s=_known(turn.generated_s),
        paused_at=_known(turn.paused_at),
        reported_at=_known(turn.reported_at),
        nodded=None if turn.nodded is None else Marks(),
        resumed_at=None,
        paced_s=0.0,
        played_s=0.0,
        marks=Marks(),
    )


def _calls_shape(calls: Iterable[ToolUse]) -> tuple[ToolUse, ...]:
    return tuple(sorted((evolve(use, due=0.0) for use in calls), key=lambda use: use.call))


def shape(c: Conversation) -> Conversation:
    """What is left of a conversation when times, numbers and texts do not count: of these there are finitely many."""
    settings: Any = (c.settings.input, c.settings.output, c.settings.turn_detection)
    settings += (c.settings.auto_answer, c.settings.mute, c.settings.barge_in)
    held = c.speculation
    return evolve(
        c,
        settings=settings,
        utterance=0,
        pause=0,
        pauses=(),
        endpoint=None,
        turns=0,
        turn=_turn_shape(c.turn),
        speculation=None
        if held is None
        else evolve(
            held,
            utterance=0,
            turn=_turn_shape(held.turn),
            started=0.0,
            finished=_known(held.finished),
            request=evolve(held.request, turn=0, messages=held.request.messages[-1:]),
        ),
        speculations_left=min(c.speculations_left, 1),
        speculated=0,
        released=0,
        wasted=Waste(),
        waste=Waste(),
        awaited=tuple(evolve(a, utterance=0, speech_ended=0.0, endpoint=0.0) for a in c.awaited[:1]),
        settling=tuple(
            evolve(s, number=0, phrases=(), ended_at=0.0, played_s=0.0, reported_at=None, clock_s=_known(s.clock_s))
            for s in c.settling[-1:]
        ),
        spoken_at=None,
        last_spoken="",
        asked=Marks(),
        detached=_calls_shape(c.detached),
        reports=_calls_shape(c.reports),
        history=(),
        items=0,
        quiet_since=0.0,
        failures=Failures(),
        stale=0,
        deadlines=Deadlines(**{wait.value: _known(getattr(c.deadlines, wait.value)) for wait in Wait}),
    )


# --- The walk -------------------------------------------------------------------------------------------------------------


@attrs.define
class Explored:
    """What a walk has found."""

    found: dict[Conversation, Conversation] = attrs.field(factory=dict)
    """One conversation of every shape."""
    seen: set[tuple[State, State]] = attrs.field(factory=set)
    """Transitions that conversations made, by themselves or on the way within one step."""
    steps: int = 0
    whole: bool = False
    """There is no other shape."""

    @property
    def regions(self) -> set[tuple[State, Floor]]:
        return {(c.state, c.floor) for c in self.found.values()}


def transitions(before: State, after: State, commands: Iterable[Command]) -> list[tuple[State, State]]:
    """The states that one step went through, as the client is told; nothing else may have changed the state."""
    told = [each.notice for each in commands if isinstance(each, Notify) and isinstance(each.notice, StateChanged)]
    now = before
    for change in told:
        assert change.old is now, f"{change} while in {now}"
        now = change.new
    assert now is after, f"{after} was entered untold"
    return [(change.old, change.new) for change in told]


def next_events(c: Conversation, alphabet: Iterable[Move]) -> Iterable[ev.Event | None]:
    """What may happen next; None: the earliest deadline passes."""
    yield None
    for move in alphabet:
        yield move.resolve(c)


def explore(world: World, start: Conversation | None = None, most: int = MOST) -> Explored:
    """Every shape that can be reached, up to a number of them."""
    result = Explored()
    now = 1e4
    if start is None:
        start, now = Conversation(settings=world.settings), 0.0
        for event in world.begun:
            before, now = start, now + 0.1
            start, commands = step(before, attrs.evolve(event, at=now))
            result.seen.update(transitions(before.state, start.state, commands))
    alphabet = (Move(None), *map(Move, world.alphabet))
    result.found[shape(start)] = start
    queue = deque([(start, now)])
    while queue and len(result.found) <= most:
        conversation, now = queue.popleft()
        for event in next_events(conversation, alphabet):
            if event is None:
                due = conversation.deadlines.earliest()
                if due is None:
                    continue
                event = ev.DeadlinePassed(at=due[0], wait=due[1])
            else:
                event = evolve(event, at=now + 0.01)
            after, commands = step(conversation, event)
            result.steps += 1
            result.seen.update(transitions(conversation.state, after.state, commands))
            key = shape(after)
            if key not in result.found:
                check_value(after)
                result.found[key] = after
                queue.append((after, event.at))
    result.whole = not queue
    return result


@functools.cache
def explored(name: str) -> Explored:
    """A world, once."""
    return explore(WORLDS[name])


each_world = pytest.mark.parametrize("walk", WORLDS, indirect=True)


@pytest.fixture
def walk(request: pytest.FixtureRequest) -> Explored:
    return explored(request.param)


DECLARED = {(old, new) for old in State for new in State if new in TRANSITIONS[old]}


@each_world
def test_a_world_reaches_nothing_that_is_not_declared_and_the_counts_are_told(walk: Explored) -> None:
    per_state = Counter(c.state.value for c in walk.found.values())
    told = [
        f"{len(walk.found)} shapes of a conversation in {walk.steps} steps{'' if walk.whole else ', and there are more'}",
        f"{len(per_state)} of {len(State)} states: {', '.join(f'{name} {n}' for name, n in per_state.most_common())}",
        f"{len(walk.regions)} of {len(State) * len(Floor)} pairs of state and floor",
        f"{len(walk.seen)} transitions; {len(DECLARED)} are declared",
    ]
    print(*told, sep="\n")  # noqa: T201 - what the test has found
    assert walk.whole or len(walk.found) > MOST
    assert walk.seen <= DECLARED


def test_every_state_is_reached_and_the_user_can_speak_whatever_the_agent_does() -> None:
    regions = set().union(*(explored(name).regions for name in WORLDS))
    assert {state for state, _ in regions} == set(State)
    # ... once the ear is open.
    assert {state for state, floor in regions if floor is Floor.SPEAKING} == ACTIVE - {State.INITIALIZING}


@pytest.mark.parametrize(("old", "new"), sorted(DECLARED, key=str), ids=lambda state: state.value)
def test_every_declared_transition_is_reached(old: State, new: State) -> None:
    worlds = [explored(name) for name in WORLDS]
    if any((old, new) in world.seen for world in worlds):
        return
    # Too far from the start for a short walk: from a shape that is there.
    start = next(c for world in worlds for c in world.found.values() if c.state is old)
    assert (old, new) in explore(WORLDS["coming, going and failing"], start, 1_000).seen


@each_world
def test_no_shape_of_a_conversation_is_a_dead_end(walk: Explored) -> None:
    for conversation in walk.found.values():
        if conversation.state is State.ENDED or (
            conversation.state is State.INITIALIZING and not conversation.attached
        ):
            continue
        if conversation.state in {State.IDLE, State.LISTENING} and conversation.floor is Floor.SILENT:
            continue
        due = conversation.deadlines.earliest()
        assert due is not None, f"{conversation} waits for nothing"
        rests = any(
            each.after.state in {State.IDLE, State.LISTENING, State.ENDED}
            for each in pass_time(conversation, until=due[0] + 200.0)
        )
        assert rests, f"{conversation} is stuck"


@each_world
def test_from_every_shape_the_conversation_can_be_ended_and_started_again(walk: Explored) -> None:
    for conversation in walk.found.values():
        if conversation.state is State.ENDED or conversation.draining:
            continue
        again = fold(conversation, [ev.ConversationEndRequested(at=1e6), ev.ClientAttached(at=1e6)])
        again = fold(again, [ev.ConversationStartRequested(at=1e6), ev.ListenerOpened(at=1e6)])
        begun = State.LISTENING if conversation.settings.welcome is None else State.PREPARING_WELCOME
        assert again.state is begun
        assert again.says == ()


@each_world
def test_from_every_shape_typed_text_is_answered_or_refused_in_words(walk: Explored) -> None:
    for conversation in walk.found.values():
        if conversation.state is State.ENDED or not conversation.attached:
            continue
        after, commands = step(conversation, ev.TextReceived(at=1e6, text="hello"))
        if conversation.state is State.IDLE:
            assert after == conversation
            assert commands
        else:
            asked = after.answer_due or (after.turn is not None and after.turn.kind is TurnKind.RESPONSE)
            assert asked or (after.unanswered and not after.settings.auto_answer)
