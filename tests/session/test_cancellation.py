"""A session is cancelled at every step that any of its tasks takes: nothing of it is left, wherever it was.

One scripted talk with everything in it (a welcome, an answer, a barge-in, typed text, a lost link, a second conversation)
is played as often as it has steps; each time another step is the last one before the cancellation.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from session_kit import SILENCE, open_streams
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.events import (
    ConversationEndRequested,
    ConversationStartRequested,
    SessionEndRequested,
    TextReceived,
)
from flare_actors.conversation.notices import HearingReady, StateChanged, TurnEnded
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import LinkClosed
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.session import Session, open_session, run_session
from flare_actors.testing import EventLog, MemoryClient, MemoryLink, memory_link, scripted_agent

# Every step in CI; in between they are so alike that every seventh will do.
STRIDE = 7 if os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick" else 1


class CancelAt(trio.abc.Instrument):
    """Cancels a scope before the n-th step of any task."""

    def __init__(self, step: int | None = None) -> None:
        self.scope = trio.CancelScope()
        self.steps = 0
        self.armed = False
        self._step = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self.armed:
            return
        if self.steps == self._step:
            self.scope.cancel(reason="the test's")
        self.steps += 1


@attrs.define
class World:
    """What a play leaves behind for the test to look at."""

    agent: Agent
    log: EventLog = attrs.field(factory=EventLog)
    links: list[MemoryLink] = attrs.field(factory=list)
    sessions: list[Session] = attrs.field(factory=list)

    def link(self) -> tuple[MemoryClient, MemoryLink]:
        client, link = memory_link()
        self.links.append(link)
        return client, link


def make_agent() -> Agent:
    """Engines that take their time at every stage, so that there is something to cancel everywhere."""
    return scripted_agent(
        recognizer=ScriptedRecognizer(delay_s=0.05),
        language_model=ScriptedLanguageModel(script=["One two. Three four."], first_token_s=0.05, gap_s=0.02),
        synthesizer=ScriptedSynthesizer(first_audio_s=0.05, realtime_factor=0.1, chunk_s=0.3),
        settings=Settings(welcome="Hi."),
    )


async def _play_client(client: MemoryClient, *, hang_up: bool) -> None:
    """The client's side of the talk; whatever happens to the session, it just goes."""
    try:
        await client.send(ConversationStartRequested())
        await client.wait_for(HearingReady)
        await client.speak(tone(0.4) + SILENCE[:20_000], chunk_s=0.1)
        await client.wait_for(StateChanged, where=lambda m: m.new is State.PLAYING_RESPONSE)
        await trio.sleep(0.2)
        await client.speak(tone(0.5, level_db=-10) + SILENCE[:20_000], chunk_s=0.1)
        await client.wait_for(TurnEnded, count=2)
        await client.send(TextReceived(text="typed"))
        await trio.sleep(0.3)
        if hang_up:
            client.close()
            return
        await client.send(ConversationEndRequested())
        await client.send(ConversationStartRequested())
        await client.wait_for(HearingReady, count=2)
        await client.send(SessionEndRequested())
    except LinkClosed:
        pass


async def embedded(world: World, outer: trio.Nursery, scope: trio.CancelScope) -> None:
    """As a server does it: the session here, its links in tasks of their own that outlive it."""
    with scope:
        async with open_session(world.agent, observers=[world.log]) as session:
            world.sessions.append(session)
            for hang_up in (True, False):
                client, link = world.link()
                outer.start_soon(client.run)
                outer.start_soon(session.attach, link)
                await _play_client(client, hang_up=hang_up)
                await trio.sleep(0.05)


async def simple(world: World, outer: trio.Nursery, scope: trio.CancelScope) -> None:
    """The simple form, with the client beside it."""
    client, link = world.link()
    outer.start_soon(client.run)

    async def serve() -> None:
        with scope:
            await run_session(link, world.agent, observers=[world.log])

    outer.start_soon(serve)
    await _play_client(client, hang_up=False)


async def cancelled_link(world: World, outer: trio.Nursery, scope: trio.CancelScope) -> None:
    """Only the serving of the link is cancelled; the session waits for the next one."""
    async with open_session(world.agent, observers=[world.log]) as session:
        world.sessions.append(session)
        client, link = world.link()
        outer.start_soon(client.run)

        async def attach() -> None:
            with scope:
                await session.attach(link)

        outer.start_soon(attach)
        await _play_client(client, hang_up=False)
        if session.ended is None:
            client, link = world.link()
            outer.start_soon(client.run)
            outer.start_soon(session.attach, link)
            await client.send(SessionEndRequested())
            await session.wait_ended()


Play = Callable[[World, trio.Nursery, trio.CancelScope], Awaitable[None]]


def play(how: Play, step: int | None) -> tuple[World, int]:
    """Play it once, cancelled before its n-th step (None: not at all). Gives how many steps it took."""
    world = World(make_agent())
    instrument = CancelAt(step)

    async def main() -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        instrument.armed = True
        with trio.fail_after(100):  # of virtual time: nothing waits for ever, however it was cancelled
            async with trio.open_nursery() as outer:
                await how(world, outer, instrument.scope)
        instrument.armed = False
        assert trio.lowlevel.current_statistics().tasks_living == tasks

    trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[instrument])
    return world, instrument.steps


def check(world: World) -> None:
    assert open_streams(world.agent) == {}
    assert all(link.closed for link in world.links)
    assert len(world.log.ended) == world.log.started
    assert world.log.faults == []
    assert world.log.lingering == []
    for session in world.sessions:
        assert session.statistics().replies_running == 0
        assert world.log.ended == [session.ended]
        assert not world.log.events or world.log.folded() == session.conversation


@pytest.mark.parametrize("how", [embedded, simple, cancelled_link], ids=lambda how: how.__name__)
def test_a_session_cancelled_at_any_step_leaves_nothing(how: Play) -> None:
    world, steps = play(how, None)
    check(world)
    assert world.log.ended == [Reason.SESSION_ENDED]
    assert len(world.log.events) > 40
    assert steps > 200
    seen: set[State] = set()
    for step in range(0, steps, STRIDE):
        world, _ = play(how, step)
        check(world)
        seen.add(world.log.conversation.state)
    # It was really cancelled everywhere, and not only at its end.
    if how is not cancelled_link:
        assert seen >= set(State) - {State.ERROR, State.ENDED}
    gc.collect()  # What was left lying about would warn now, and a warning is an error.


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
