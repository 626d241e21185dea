"""The core, explored breadth first over a small alphabet: what is declared is reachable, and nothing is a dead end.

    pytest tests/conversation/test_core_exploration.py -rP -k counts

prints what was reached.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable

import attrs
import pytest

from flare_actors.conversation import Conversation, Floor, Limits, Settings, State, fold, step
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import Command, Notify
from flare_actors.conversation.model import Deadlines, Failures, Marks
from flare_actors.conversation.notices import StateChanged
from flare_actors.conversation.states import Wait
from flare_actors.conversation.table import ACTIVE, TRANSITIONS
from flare_actors.testing.invariants import check_value
from flare_actors.testing.strategies import Move, pass_time

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

MOST_STATES = {"nightly": 100_000, "ci": 6_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 2_500)

SETTINGS = Settings(
    welcome="Hello.",
    apology="I am sorry.",
    idle_prompts=("Are you there?",),
    limits=Limits(same_failures=2, say_queue=1, history_items=4),
)

ALPHABET: tuple[Move | None, ...] = (
    None,  # The earliest deadline passes.
    Move(None),  # What a healthy ear, reply and speaker would tell next.
    *map(
        Move,
        (
            ev.ClientAttached(),
            ev.ClientDetached(),
            ev.ConversationStartRequested(),
            ev.ConversationEndRequested(),
            ev.SessionEndRequested(),
            ev.ShutdownRequested(deadline_s=5.0),
            ev.TextReceived(text="hello"),
            ev.SayRequested(text="dinner"),
            ev.InterruptRequested(),
            ev.FailureRaised(),
            ev.ListenerOpened(),
            ev.ListenerFailed(),
            ev.RecognizerReady(),
            ev.RecognizerFailed(),
            ev.SpeechStarted(utterance=1),
            ev.SpeechConfirmed(utterance=0),
            ev.SpeechStopped(utterance=0, speech_s=1.0, silence_s=0.48),
            ev.TranscriptFinished(utterance=0, text=""),
            ev.TranscriptFinished(utterance=0, text="tea"),
            ev.PhraseReady(turn=0, index=0, text="So. "),
            ev.GenerationFinished(turn=0, audio_s=0.0),
            ev.LanguageModelFailed(turn=0),
            ev.SynthesizerFailed(turn=0),
        ),
    ),
)


def shape(c: Conversation) -> Conversation:
    """What is left of a conversation when times, numbers and texts do not count: of these there are finitely many."""
    due = {wait.value: 0.0 if getattr(c.deadlines, wait.value) is not None else None for wait in Wait}
    turn = c.turn
    if turn is not None:
        turn = attrs.evolve(
            turn, number=0, phrases=turn.phrases[:1], generated_s=None if turn.generated_s is None else 0.0, paced_s=0.0
        )
        turn = attrs.evolve(turn, marks=Marks(), played_s=0.0, reported_at=None, resumed_at=None, nodded=None)
        turn = attrs.evolve(turn, paused_at=None if turn.paused_at is None else 0.0)
    return attrs.evolve(
        c,
        utterance=0,
        turns=0,
        turn=turn,
        awaited=tuple(attrs.evolve(a, utterance=0, speech_ended=0.0, endpoint=0.0) for a in c.awaited[:1]),
        settling=tuple(attrs.evolve(s, number=0, phrases=(), ended_at=0.0, played_s=0.0) for s in c.settling[-1:]),
        spoken_at=None,
        last_spoken="",
        asked=Marks(),
        history=(),
        quiet_since=0.0,
        failures=Failures(),
        stale=0,
        deadlines=Deadlines(**due),
    )


@attrs.define
class Explored:
    """What a walk has found."""

    found: dict[Conversation, Conversation]
    """One conversation of every shape."""
    seen: set[tuple[State, State]] = attrs.field(factory=set)
    """Transitions that conversations made, by themselves or on the way within one step."""
    steps: int = 0
    frontier: int = 0
    """Shapes from which it did not go on."""

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


def explore(start: Conversation, most: int) -> Explored:
    """Every shape that can be reached, up to a number of them."""
    result = Explored({shape(start): start})
    found = result.found
    queue = deque([(start, 0.0)])
    while queue and len(found) < most:
        conversation, now = queue.popleft()
        for move in ALPHABET:
            if move is None:
                due = conversation.deadlines.earliest()
                if due is None:
                    continue
                event: ev.Event = ev.DeadlinePassed(at=due[0], wait=due[1])
            else:
                event = attrs.evolve(move.resolve(conversation), at=now + 0.01)
            after, commands = step(conversation, event)
            result.steps += 1
            result.seen.update(transitions(conversation.state, after.state, commands))
            key = shape(after)
            if key not in found:
                check_value(after)
                found[key] = after
                queue.append((after, event.at))
    result.frontier = len(queue)
    return result


@pytest.fixture(scope="module")
def walk() -> Explored:
    return explore(Conversation(settings=SETTINGS), MOST_STATES)


@pytest.fixture(scope="module")
def explored(walk: Explored) -> dict[Conversation, Conversation]:
    return walk.found


DECLARED = [(old, new) for old in State for new in State if new in TRANSITIONS[old]]


def test_nothing_is_reached_that_is_not_declared_and_the_counts_are_told(walk: Explored) -> None:
    per_state = Counter(c.state.value for c in walk.found.values())
    told = [
        f"{len(walk.found)} shapes of a conversation in {walk.steps} steps; not gone on from: {walk.frontier}",
        f"{len(per_state)} of {len(State)} states: {', '.join(f'{name} {n}' for name, n in per_state.most_common())}",
        f"{len(walk.regions)} of {len(State) * len(Floor)} pairs of state and floor",
        f"{len(walk.seen)} transitions; {len(DECLARED)} are declared",
    ]
    print(*told, sep="\n")  # noqa: T201 - what the test has found
    assert walk.seen <= set(DECLARED)
    assert set(per_state) == {state.value for state in State}
    # The user can speak whatever the agent does, once the ear is open.
    assert {state for state, floor in walk.regions if floor is Floor.SPEAKING} == ACTIVE - {State.INITIALIZING}


@pytest.mark.parametrize(("old", "new"), DECLARED, ids=lambda state: state.value)
def test_every_declared_transition_is_reachable(old: State, new: State, walk: Explored) -> None:
    if (old, new) in walk.seen:
        return
    # Too far from the start for a short walk: from the shapes that are there.
    again = explore(next(c for c in walk.found.values() if c.state is old), 2_000)
    assert (old, new) in again.seen


def test_no_shape_of_a_conversation_is_a_dead_end(explored) -> None:
    for conversation in explored.values():
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


def test_from_every_shape_the_conversation_can_be_ended_and_started_again(explored) -> None:
    for conversation in explored.values():
        if conversation.state is State.ENDED or conversation.draining:
            continue
        again = fold(conversation, [ev.ConversationEndRequested(at=1e6), ev.ClientAttached(at=1e6)])
        again = fold(again, [ev.ConversationStartRequested(at=1e6), ev.ListenerOpened(at=1e6)])
        assert again.state is State.PREPARING_WELCOME
        assert again.says == ()


def test_from_every_shape_typed_text_is_answered_or_refused_in_words(explored) -> None:
    for conversation in explored.values():
        if conversation.state is State.ENDED or not conversation.attached:
            continue
        after, commands = step(conversation, ev.TextReceived(at=1e6, text="hello"))
        if conversation.state is State.IDLE:
            assert after == conversation
            assert commands
        else:
            assert after.answer_due or after.state is State.PROCESSING_SPEECH
