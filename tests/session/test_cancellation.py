"""A session is cancelled at every step that any of its tasks takes: nothing of it is left, wherever it was.

One scripted talk with everything in it (a welcome, an answer that was begun ahead and calls a tool, a barge-in, typed text, a
lost link, a second conversation) is played as often as it has steps; each time another step is the last one before the
cancellation. What "nothing" means is in leak_kit.py: no task, no stream of an engine, no channel, no file descriptor, no
complaint of a destructor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from leak_kit import (
    QUICK,
    Play,
    cancelled_link,
    check,
    closing,
    embedded,
    forget_everything_before,
    nothing_is_left,
    play,
    simple,
)
from session_kit import open_streams
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State
from flare_actors.ports import Message, ToolCall
from flare_actors.providers.scripted import Line, ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer
from flare_actors.session import open_session
from flare_actors.testing import EventLog, memory_link, scripted_agent
from flare_actors.tools import tool

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

# Every step in CI; in between they are so alike that every seventh will do.
STRIDE = 7 if QUICK else 1
PARTS = 1 if QUICK else 4
"""All these steps are shared between test processes."""


@pytest.fixture(autouse=True, scope="module")
def _forgetful() -> None:
    forget_everything_before()


def answer(messages: Sequence[Message]) -> Line:
    """The first question needs a tool."""
    asked = [message.role for message in messages if message.role in {"user", "tool"}]
    return ["Let me see.", ToolCall(call="a", name="look")] if asked == ["user"] else "One two. Three four."


@tool
async def look() -> str:
    """Take a moment."""
    await trio.sleep(0.3)
    return "seen"


def make_agent() -> Agent:
    """Engines that take their time at every stage, so that there is something to cancel everywhere."""
    return scripted_agent(
        tools=[look],
        recognizer=ScriptedRecognizer(delay_s=0.05, partials=True),
        language_model=ScriptedLanguageModel(script=answer, first_token_s=0.05, gap_s=0.02),
        synthesizer=ScriptedSynthesizer(first_audio_s=0.05, realtime_factor=0.1, chunk_s=0.3),
        settings=Settings(welcome="Hi."),
    )


def once(how: Play, step: int | None) -> tuple[int, tuple[State, str], list[Reason | None]]:
    """Play it, see that nothing is left, and tell: its steps, where it was and what it was amid, why it ended."""
    with nothing_is_left():
        world, steps = play(how, make_agent(), step)
        check(world)
        conversation, ended = world.log.conversation, world.log.ended
        del world
    return steps, (conversation.state, _amid(conversation)), ended


def _amid(c: Conversation) -> str:
    """What went on besides."""
    if c.speculation is not None:
        return "answering ahead"
    if c.turn is None:
        return ""
    return "standing still" if c.turn.paused_at is not None else "at a tool" if c.turn.carries_out_tools else ""


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("how", [embedded, simple, cancelled_link, closing], ids=lambda how: how.__name__)
def test_a_session_cancelled_at_any_step_leaves_nothing(how: Play, part: int) -> None:
    steps, _, ended = once(how, None)
    assert ended == [Reason.SESSION_ENDED]
    assert steps > (20 if how is closing else 200)
    stride = 1 if how is closing else STRIDE
    seen = {once(how, step)[1] for step in range(part * stride, steps, PARTS * stride)}
    # It was really cancelled everywhere, and not only at its end.
    if how in {embedded, simple}:
        assert {state for state, _ in seen} >= set(State) - {State.ERROR, State.ENDED}
        assert {amid for _, amid in seen} == {"", "answering ahead", "at a tool", "standing still"}


def test_the_leak_check_itself_finds_what_is_left() -> None:
    class Bad:
        def __del__(self) -> None:
            raise ValueError("too late")

    kept: list[object] = []
    with pytest.raises(AssertionError, match="send channel"), nothing_is_left():
        kept.append(trio.open_memory_channel[int](0))
    kept.clear()
    with pytest.raises(AssertionError, match="too late"), nothing_is_left():
        Bad()
    with pytest.raises(AssertionError, match="descriptors"), Path(__file__).open() as file, nothing_is_left():
        file.close()
    with nothing_is_left():
        pass


def test_a_close_that_is_cancelled_leaves_nothing() -> None:
    """The block is left in order, and its owner is cancelled while it waits for the last notices to leave."""

    async def main() -> None:
        # A client that does not read: the close would wait a second for it.
        agent, log = make_agent(), EventLog()
        _client, link = memory_link(buffer=0)
        async with trio.open_nursery() as outer:
            with trio.move_on_after(0.3) as scope:
                async with open_session(agent, observers=[log]) as session:
                    outer.start_soon(session.attach, link)
                    session.start_conversation()
                    await trio.sleep(0.1)
            assert scope.cancelled_caught
            assert open_streams(agent) == {}
            assert session.ended is Reason.SESSION_ENDED
            assert log.ended == [Reason.SESSION_ENDED]
            assert await session.wait_ended() is Reason.SESSION_ENDED  # a second wait is no trap either
        assert link.closed

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_an_owner_that_is_cancelled_without_ever_closing_leaves_nothing() -> None:
    async def main() -> None:
        agent, log = make_agent(), EventLog()
        client, link = memory_link()
        async with trio.open_nursery() as outer:
            outer.start_soon(client.run)

            async def owner() -> None:
                async with open_session(agent, observers=[log]) as session:
                    outer.start_soon(session.attach, link)
                    session.start_conversation()
                    await trio.sleep_forever()

            outer.start_soon(owner)
            await trio.sleep(0.4)
            assert open_streams(agent)
            outer.cancel_scope.cancel()
        assert open_streams(agent) == {}
        assert link.closed
        assert log.ended == [None]

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_session_cancelled_before_it_began_ends_all_the_same() -> None:
    async def main() -> None:
        log = EventLog()
        with trio.CancelScope() as scope:
            scope.cancel()
            async with open_session(make_agent(), observers=[log]) as session:
                session.start_conversation()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert log.ended == [None]

    trio.run(main, clock=MockClock(autojump_threshold=0))
