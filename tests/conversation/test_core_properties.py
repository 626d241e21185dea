"""Whatever happens, in whatever order: promises of the core that hold after every step."""

from __future__ import annotations

import random
from collections.abc import Iterator

import attrs
import pytest
from healthy_world import NOD, World
from hypothesis import given
from hypothesis import strategies as st

from flare_actors import journal
from flare_actors.conversation import Conversation, Settings, State, TurnKind, fold, step
from flare_actors.conversation.commands import StartReply
from flare_actors.conversation.events import Event
from flare_actors.conversation.states import TurnDetection
from flare_actors.testing.invariants import ConversationChecker, check_value
from flare_actors.testing.strategies import Script, Step, conversations, pass_time, play, scripts, settings
from flare_actors.testing.values import events

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

RESTING = {State.LISTENING, State.IDLE, State.ENDED}


@given(settings(), scripts())
def test_no_order_of_events_breaks_a_promise_of_the_core(chosen: Settings, script: Script) -> None:
    checker = ConversationChecker()
    for each in play(Conversation(settings=chosen), script):
        checker.check(each.before, each.event, each.after, each.commands)


@given(settings(), st.lists(events(), max_size=20))
def test_no_nonsense_whatever_makes_the_core_raise(chosen: Settings, nonsense: list[Event]) -> None:
    conversation = Conversation(settings=chosen)
    for event in nonsense:  # Time may run backwards here, too.
        conversation, _ = step(conversation, event)
        assert (conversation.state is State.ENDED) == (conversation.ended is not None)


@given(settings(), scripts(max_size=20))
def test_events_and_conversation_go_through_json_unchanged_at_every_step(chosen: Settings, script: Script) -> None:
    for each in play(Conversation(settings=chosen), script):
        assert journal.event_from_json(journal.event_to_json(each.event)) == each.event
        assert journal.conversation_from_json(journal.conversation_to_json(each.after)) == each.after


@given(settings(), scripts())
def test_the_events_alone_rebuild_the_conversation(chosen: Settings, script: Script) -> None:
    steps = list(play(Conversation(settings=chosen), script))
    happened = [each.event for each in steps]
    live = steps[-1].after if steps else Conversation(settings=chosen)
    assert fold(Conversation(settings=chosen), happened) == live
    # From any point of it on, too: that is how another node goes on.
    half = len(steps) // 2
    begun = fold(Conversation(settings=chosen), happened[:half])
    reloaded = journal.conversation_from_json(journal.conversation_to_json(begun))
    assert journal.replay(reloaded, happened[half:]) == live


@given(conversations())
def test_left_alone_every_conversation_comes_to_rest(conversation: Conversation) -> None:
    if conversation.state in RESTING:
        return
    never_joined = conversation.state is State.INITIALIZING and not conversation.attached
    if never_joined and conversation.settings.session_idle_s is None and conversation.deadlines.grace is None:
        return  # That is what such settings ask for.
    # Two back-offs, a stuck turn and its report, or the patience with a client that never came.
    patience = 200.0 + (conversation.settings.session_idle_s or 0.0)
    due = conversation.deadlines.earliest()
    assert due is not None
    for each in pass_time(conversation, until=due[0] + patience):
        check_value(each.after)
        if each.after.state in RESTING:
            return
    raise AssertionError("it is stuck")


@given(conversations(), events())
def test_nothing_changes_after_the_end(conversation: Conversation, event: Event) -> None:
    ended, _ = step(conversation, journal.load_event({"type": "transport_failed", "at": 1e9}))
    after, commands = step(ended, event)
    assert commands == ()
    assert (after.state, after.ended, after.history) == (State.ENDED, ended.ended, ended.history)


# --- With a healthy world ----------------------------------------------------------------------------------------------------


def talk(seed: int, chosen: Settings) -> tuple[World, list[Step]]:
    """A conversation of healthy providers with a lively user, to the point where nothing more is to come."""
    world = World(chosen, random.Random(seed))
    return world, list(world.run())


# Made so, and not filtered: nine of ten settings would be thrown away, and Hypothesis complains of that now and then.
healthy_settings = settings().map(
    lambda s: attrs.evolve(
        s,
        limits=attrs.evolve(s.limits, text_chars=8_000, history_items=200),
        auto_answer=True,
        turn_detection=TurnDetection.AUTOMATIC,
    )
)
seeds = st.integers(0, 2**32)


@given(seeds, healthy_settings)
def test_with_healthy_providers_every_conversation_ends_up_listening_with_nothing_owed(
    seed: int, chosen: Settings
) -> None:
    world, steps = talk(seed, chosen)
    checker = ConversationChecker()
    for each in steps:
        checker.check(each.before, each.event, each.after, each.commands)
    last = world.conversation
    turn = last.turn
    unasked = turn is not None and turn.wish is not None and turn.wish.idle
    prompting = turn is not None and (turn.kind is TurnKind.IDLE_PROMPT or unasked)
    if last.ended is None and last.state is not State.IDLE and not prompting:
        assert last.state is State.LISTENING
        assert not last.answer_due
        assert last.settling == () or all(settling.settled for settling in last.settling)


@given(seeds, healthy_settings)
def test_every_word_that_was_understood_is_asked_of_the_model(seed: int, chosen: Settings) -> None:
    world, steps = talk(seed, chosen)
    if world.conversation.state is not State.LISTENING:
        return
    asked = " ".join(message.content for request in requests(steps) for message in request.messages)
    for words in world.understood:
        assert words in asked, f"{words!r} was lost"


@given(seeds, healthy_settings)
def test_no_question_is_answered_twice(seed: int, chosen: Settings) -> None:
    # An agent that goes on by itself answers no question.
    _, steps = talk(seed, attrs.evolve(chosen, idle_answer=False))
    answered: set[str] = set()
    ended = {each.before.turn.number for each in steps if finished(each) and each.before.turn is not None}
    for request in requests(steps):
        if request.turn not in ended:
            continue
        new = set(request.messages[-1].content.split()) - answered
        assert new, f"turn {request.turn} answers what was answered: {request.messages[-1].content}"
        answered |= new - {NOD}


def requests(steps: list[Step]) -> Iterator[StartReply]:
    """What the model was asked."""
    for each in steps:
        for command in each.commands:
            if isinstance(command, StartReply) and command.text is None:
                yield command


def finished(each: Step) -> bool:
    """Did the live turn end in this step, said to its end?"""
    turn = each.before.turn
    return (
        turn is not None
        and (each.after.turn is None or each.after.turn.number != turn.number)
        and all(settling.number != turn.number for settling in each.after.settling)
        and each.after.ended is None
    )
