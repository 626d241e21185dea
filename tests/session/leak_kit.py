"""What the cancellation and leak tests share: plays that are cancelled at a chosen step, and a look at what is left.

A play is a scripted talk. It is run once to count its steps (every time that Trio runs a task), and then as often as wanted,
cancelled before another step each time.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType

import attrs
import trio
from session_kit import SILENCE, open_streams
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.events import (
    ConversationEndRequested,
    ConversationStartRequested,
    InterruptRequested,
    SessionEndRequested,
    TextReceived,
)
from flare_actors.conversation.notices import HearingReady, StateChanged, TurnEnded
from flare_actors.conversation.states import State
from flare_actors.errors import LinkClosed
from flare_actors.providers.scripted import tone
from flare_actors.session import Session, open_session, run_session
from flare_actors.testing import EventLog, MemoryClient, MemoryLink, memory_link
from flare_actors.testing.simulation.schedule import scheduled

QUICK = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick"


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
    instrument: CancelAt
    log: EventLog = attrs.field(factory=EventLog)
    links: list[MemoryLink] = attrs.field(factory=list)
    sessions: list[Session] = attrs.field(factory=list)

    @property
    def scope(self) -> trio.CancelScope:
        return self.instrument.scope

    def link(self, *, buffer: int = 64) -> tuple[MemoryClient, MemoryLink]:
        client, link = memory_link(buffer=buffer)
        self.links.append(link)
        return client, link


Play = Callable[[World, trio.Nursery], Awaitable[None]]


# --- The plays ------------------------------------------------------------------------------------------------------------


async def _talk(client: MemoryClient, *, hang_up: bool = False) -> None:
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
        if not hang_up:
            await _say_goodbye(client)
    except LinkClosed:
        pass
    if hang_up:
        client.close()


async def _come_back(client: MemoryClient) -> None:
    """The client's side after a lost link: it is still the same conversation, and goes on."""
    try:
        await client.send(ConversationStartRequested())
        await client.wait_for(HearingReady)
        for text in ("typed again", "and once more"):
            await client.send(InterruptRequested())
            await client.send(TextReceived(text=text))
            await trio.sleep(0.3)
        await _say_goodbye(client)
    except LinkClosed:
        pass


async def _say_goodbye(client: MemoryClient) -> None:
    """The conversation ends, and a second one, with the session."""
    await client.send(ConversationEndRequested())
    await client.send(ConversationStartRequested())
    await client.wait_for(HearingReady, count=2)
    await client.send(SessionEndRequested())


async def embedded(world: World, outer: trio.Nursery) -> None:
    """As a server does it: the session's owner here, its links in tasks of their own that outlive it."""
    with world.scope:
        async with open_session(world.agent, observers=[world.log]) as session:
            world.sessions.append(session)
            for first in (True, False):
                client, link = world.link()
                outer.start_soon(client.run)
                outer.start_soon(session.attach, link)
                await (_talk(client, hang_up=True) if first else _come_back(client))
                await trio.sleep(0.05)


async def simple(world: World, outer: trio.Nursery) -> None:
    """The simple form, with the client beside it."""
    client, link = world.link()
    outer.start_soon(client.run)

    async def serve() -> None:
        with world.scope:
            await run_session(link, world.agent, observers=[world.log])

    outer.start_soon(serve)
    await _talk(client)


async def cancelled_link(world: World, outer: trio.Nursery) -> None:
    """Only the serving of the link is cancelled; the session waits for the next one."""
    async with open_session(world.agent, observers=[world.log]) as session:
        world.sessions.append(session)
        client, link = world.link()
        outer.start_soon(client.run)

        async def attach() -> None:
            with world.scope:
                await session.attach(link)

        outer.start_soon(attach)
        await _talk(client)
        if session.ended is None:
            client, link = world.link()
            outer.start_soon(client.run)
            outer.start_soon(session.attach, link)
            await client.send(SessionEndRequested())
            await session.wait_ended()


async def closing(world: World, outer: trio.Nursery) -> None:
    """The owner leaves in order, amid an answer and with a client that no longer reads, and only then is cancelled."""
    world.instrument.armed = False
    with world.scope:
        async with open_session(world.agent, observers=[world.log]) as session:
            world.sessions.append(session)
            client, link = world.link(buffer=1)
            with trio.CancelScope() as reading:
                outer.start_soon(session.attach, link)
                async with trio.open_nursery() as reader:
                    reader.start_soon(client.run)
                    await client.send(ConversationStartRequested())
                    await client.wait_for(HearingReady)
                    await client.send(TextReceived(text="typed"))
                    await client.wait_for(StateChanged, where=lambda m: m.new is State.PLAYING_RESPONSE)
                    reading.cancel()
            await trio.sleep(0.1)
            world.instrument.armed = True


async def short(world: World, outer: trio.Nursery) -> None:
    """Two questions, and the end; for engines of which anything may be expected."""
    with world.scope:
        async with open_session(world.agent, observers=[world.log]) as session:
            world.sessions.append(session)
            client, link = world.link()
            outer.start_soon(client.run)
            outer.start_soon(session.attach, link)
            await _ask(client)


async def _ask(client: MemoryClient) -> None:
    try:
        await client.send(ConversationStartRequested())
        with trio.move_on_after(6):
            await client.wait_for(HearingReady)
        await client.speak(tone(0.4) + SILENCE[:20_000], chunk_s=0.1)
        await trio.sleep(2)
        await client.send(TextReceived(text="typed"))
        await trio.sleep(1)
        await client.send(TextReceived(text="and interrupted"))
        await trio.sleep(3)
    except LinkClosed:
        pass


def leaving(after_s: float, *, reads: bool) -> Play:
    """The same, and the owner leaves in order amid it, whatever its engines are at, and only then is cancelled.

    Args:
        after_s: when.
        reads: the client still does then; else the last notices cannot leave, and the close waits for them.
    """

    async def play(world: World, outer: trio.Nursery) -> None:
        world.instrument.armed = False
        reading = trio.CancelScope()

        async def read() -> None:
            with reading:
                await client.run()

        with world.scope:
            async with open_session(world.agent, observers=[world.log]) as session:
                world.sessions.append(session)
                client, link = world.link(buffer=64 if reads else 1)
                outer.start_soon(read)
                outer.start_soon(session.attach, link)
                with trio.move_on_after(after_s):
                    await _ask(client)
                if not reads:
                    reading.cancel()
                world.instrument.armed = True
        reading.cancel()

    return play


# --- Playing them ---------------------------------------------------------------------------------------------------------


def play(how: Play, agent: Agent, step: int | None, *, virtual: bool = True) -> tuple[World, int]:
    """Play it once, cancelled before its n-th step (None: not at all). Gives how many steps it took.

    On virtual time the steps before it are the very same each time, so that all of them are really tried.
    """
    instrument = CancelAt(step)
    world = World(agent, instrument)

    async def main() -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        instrument.armed = True
        with trio.fail_after(100):  # of virtual time: nothing waits for ever, however it was cancelled
            async with trio.open_nursery() as outer:
                await how(world, outer)
        instrument.armed = False
        assert trio.lowlevel.current_statistics().tasks_living == tasks

    with scheduled("") if virtual else nullcontext():
        trio.run(main, clock=MockClock(autojump_threshold=0) if virtual else None, instruments=[instrument])
    assert not virtual or step is None or instrument.scope.cancel_called
    return world, instrument.steps


def check(world: World) -> None:
    """Everything that a session promises of its end, when no engine was to blame for anything."""
    check_ended(world)
    assert world.log.faults == []
    assert world.log.lingering == []


def check_ended(world: World) -> None:
    """Everything that a session promises of its end, whatever its engines did."""
    assert open_streams(world.agent) == {}
    assert all(link.closed for link in world.links)
    assert len(world.log.ended) == world.log.started
    for session in world.sessions:
        assert session.statistics().replies_running == 0
        assert world.log.ended == [session.ended]
        assert not world.log.events or world.log.folded() == session.conversation


# --- What is left ---------------------------------------------------------------------------------------------------------

_OF_A_SESSION = (
    Session,
    trio.MemoryReceiveChannel,
    trio.MemorySendChannel,
    trio.Nursery,
    trio.lowlevel.Task,
    AsyncGeneratorType,
    CoroutineType,
)


def _descriptors() -> dict[str, str]:
    """What the process has open, number -> what it is; {} where the system does not tell."""
    folder = next((each for each in (Path("/proc/self/fd"), Path("/dev/fd")) if each.is_dir()), None)
    found = {}
    for each in folder.iterdir() if folder is not None else ():
        with suppress(FileNotFoundError):  # the one with which they are read is closed by now
            found[each.name] = str(each.readlink()) if each.is_symlink() else ""
    return found


def forget_everything_before() -> None:
    """Collecting garbage looks only at what is made from now on: a thousand times cheaper, and nobody else's is found."""
    gc.collect()
    gc.freeze()


@contextmanager
def nothing_is_left() -> Generator[None, None, None]:
    """After the block no part of a session lives, no descriptor is open that was not, and no destructor has complained."""
    unraisable: list[str] = []
    hook, sys.unraisablehook = (
        sys.unraisablehook,
        lambda args: unraisable.append(f"{args.object!r}: {args.exc_value!r}"),
    )
    descriptors = _descriptors()
    gc.freeze()  # What earlier blocks left, were it a failure with all its frames, is none of this one.
    try:
        yield
        gc.collect()
        living = gc.get_objects()
        # Some of the classes are abstract, which makes `isinstance` dear: each class that lives is asked once.
        kinds = {kind for kind in set(map(type, living)) if issubclass(kind, _OF_A_SESSION)}
        left = [repr(each) for each in living if type(each) in kinds]
        assert not left, f"alive: {left}"
        assert not unraisable, f"complaints: {unraisable}"
        opened = _descriptors()
        assert opened == descriptors, f"descriptors: {descriptors} before, {opened} after"
    finally:
        sys.unraisablehook = hook
