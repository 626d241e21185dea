"""The core, explored to its end: what is declared is reachable, and nothing is a dead end.

    HYPOTHESIS_PROFILE=nightly pytest tests/conversation/test_core_exploration.py -rP -k promise

walks through all of it and prints what was reached. The worlds are in ``worlds``, how they are walked through is told in
``exploration``. The other profiles end the walk of a large world before its end, the quick one that of any.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

import pytest
from exploration import Explored, World, explore, key, stroll
from worlds import WORLDS

from flare_actors.conversation import Conversation, Floor, State, TurnKind, fold, step
from flare_actors.conversation import events as ev
from flare_actors.conversation.table import ACTIVE, TRANSITIONS
from flare_actors.testing.strategies import pass_time

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
MOST = {"nightly": 100_000, "ci": 500}.get(PROFILE, 200)
"""Normal forms of one world, after which the walk ends although there are more; none has nearly as many as nightly takes."""
EVERY = 1 if PROFILE == "nightly" else 3
"""Of so many normal forms one is also ended, started again, and typed to."""
STROLLS = {"nightly": 500, "ci": 10}.get(PROFILE, 0)
"""Real runs through a world that was explored to its end, of so many moves each:"""
MOVES = 60

DECLARED = {(old, new) for old in State for new in State if new in TRANSITIONS[old]}


@pytest.mark.parametrize("name", WORLDS)
def test_in_all_of_a_world_every_promise_is_kept(name: str) -> None:
    walk = explore(WORLDS[name], MOST)
    per_state = Counter(c.state.value for c in walk.found.values())
    told = [
        f"{name}: {len(walk.found)} normal forms in {walk.steps} steps{'' if walk.whole else ', and there are more'}",
        f"{len(per_state)} of {len(State)} states: {', '.join(f'{state} {n}' for state, n in per_state.most_common())}",
        f"{len(walk.regions)} of {len(State) * len(Floor)} pairs of state and floor",
        f"{len(walk.seen)} transitions; {len(DECLARED)} are declared",
    ]
    print(*told, sep="\n")  # noqa: T201 - what the test has found
    assert walk.seen <= DECLARED
    assert walk.whole or PROFILE != "nightly", "a world has an end"
    for number, conversation in enumerate(walk.found.values()):
        it_is_no_dead_end(conversation)
        if number % EVERY == 0:
            it_can_be_ended_and_started_again(conversation)
            typed_text_is_answered_or_refused_in_words(conversation)
    if walk.whole:
        real_runs_reach_nothing_else(WORLDS[name], walk, range(STROLLS))


def it_is_no_dead_end(c: Conversation) -> None:
    if c.state is State.ENDED or (c.state is State.INITIALIZING and not c.attached):
        return
    if c.state in {State.IDLE, State.LISTENING} and c.floor is Floor.SILENT:
        return
    due = c.deadlines.earliest()
    assert due is not None, f"{c} waits for nothing"
    rests = any(
        each.after.state in {State.IDLE, State.LISTENING, State.ENDED} for each in pass_time(c, until=due[0] + 200.0)
    )
    assert rests, f"{c} is stuck"


def it_can_be_ended_and_started_again(c: Conversation) -> None:
    if c.state is State.ENDED or c.draining:
        return
    again = fold(c, [ev.ConversationEndRequested(at=1e6), ev.ClientAttached(at=1e6)])
    again = fold(again, [ev.ConversationStartRequested(at=1e6), ev.ListenerOpened(at=1e6)])
    assert again.state is (State.LISTENING if c.settings.welcome is None else State.PREPARING_WELCOME)
    assert again.says == ()


def typed_text_is_answered_or_refused_in_words(c: Conversation) -> None:
    if c.state is State.ENDED or not c.attached:
        return
    after, commands = step(c, ev.TextReceived(at=1e6, text="hello"))
    if c.state is State.IDLE:
        assert after == c
        assert commands
    else:
        asked = after.answer_due or (after.turn is not None and after.turn.kind is TurnKind.RESPONSE)
        assert asked or (after.unanswered and not after.settings.auto_answer)


def real_runs_reach_nothing_else(world: World, walk: Explored, seeds: Iterable[int]) -> None:
    """What a normal form leaves out would show here, if some decision did depend on it."""
    for seed in seeds:
        for conversation in stroll(world, seed, MOVES):
            assert key(world.normal(conversation)) in walk.found, f"not explored (seed {seed}): {conversation}"


def test_every_declared_transition_and_every_state_is_reached() -> None:
    walk = explore(WORLDS["coming and going"], 400)
    assert walk.seen == DECLARED
    assert {state for state, _ in walk.regions} == set(State)


def test_the_user_can_speak_whatever_the_agent_does_once_the_ear_is_open() -> None:
    walk = explore(WORLDS["stopping"], 1_000)
    assert walk.whole
    assert {state for state, floor in walk.regions if floor is Floor.SPEAKING} == ACTIVE - {State.INITIALIZING}


def test_a_decision_that_depends_on_what_normal_forms_leave_out_is_found_by_real_runs() -> None:
    """The check of the check: were it left out that an interruption is confirmed, some real run would be nowhere."""
    walk = explore(WORLDS["talking over"], 1_000)
    assert walk.whole
    real_runs_reach_nothing_else(WORLDS["talking over"], walk, range(20))
    walk.found = {each: form for each, form in walk.found.items() if not form.confirmed}
    with pytest.raises(AssertionError, match="not explored"):
        real_runs_reach_nothing_else(WORLDS["talking over"], walk, range(20))
