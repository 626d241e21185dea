"""What does a session cost that only listens: memory, tasks, and the time to start and to stop it, up to 5,000 of them?

A session with a link, in a conversation, its recogniser open, nobody speaking. ``rss@N`` is the growth of the resident set per
session when there are N; that it stays the same is what "linear" means.
"""

from __future__ import annotations

import gc
import os
import statistics
from pathlib import Path

import trio

from benchmarks import floors
from benchmarks.kit import now_ms
from benchmarks.load import instant_agent
from benchmarks.report import Metric, Options, reps, summary
from flare_actors.agent import Agent
from flare_actors.audio import AudioFormat
from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.notices import HearingReady
from flare_actors.errors import LinkClosed
from flare_actors.ports import ClientMessage, ServerMessage
from flare_actors.session import open_session

__all__ = ["growth", "measure", "start_and_stop"]

SIZES = (1, 10, 100, 1000, 5000)


class QuietLink:
    """A client that starts a conversation and says nothing more."""

    input_format = AudioFormat()
    output_format = AudioFormat()
    realtime = True
    reports_playback = False
    pauses_playback = False

    def __init__(self) -> None:
        self._started = False
        self._gone = trio.Event()
        self.ready = trio.Event()

    async def receive(self) -> ClientMessage:
        """See ``ports.ClientLink``."""
        if self._started:
            await self._gone.wait()
            raise LinkClosed("the client has gone")
        self._started = True
        return ConversationStartRequested()

    async def send(self, *messages: ServerMessage) -> None:
        """See ``ports.ClientLink``."""
        if any(isinstance(message, HearingReady) for message in messages):
            self.ready.set()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See ``ports.ClientLink``."""
        self._gone.set()
        await trio.lowlevel.checkpoint()


def _rss_kib() -> float:
    gc.collect()
    resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / 1024


async def growth(sizes: tuple[int, ...]) -> list[tuple[int, float, float, float]]:
    """For each size: KiB a session, tasks a session, ms to start one when there are so many."""
    agent = instant_agent()
    found = []

    async def one(link: QuietLink) -> None:
        async with open_session(agent) as session:
            await session.attach(link)

    async with trio.open_nursery() as nursery:
        for _ in range(3):  # what is imported and cached once is nobody's
            await _visit(agent)
        before, tasks = _rss_kib(), trio.lowlevel.current_statistics().tasks_living
        count = 0
        took: list[float] = []
        for size in sizes:
            took.clear()
            while count < size:
                link = QuietLink()
                started = now_ms()
                nursery.start_soon(one, link)
                await link.ready.wait()
                took.append(now_ms() - started)
                count += 1
            await trio.sleep(0.1)
            living = trio.lowlevel.current_statistics().tasks_living
            found.append((size, (_rss_kib() - before) / size, (living - tasks) / size, statistics.median(took[-100:])))
        nursery.cancel_scope.cancel()
    return found


async def _visit(agent: Agent) -> tuple[float, float]:
    """Start one, and stop it; gives the ms that each took."""
    link = QuietLink()
    async with trio.open_nursery() as nursery:
        started = now_ms()
        async with open_session(agent) as session:
            nursery.start_soon(session.attach, link)
            await link.ready.wait()
            ready = now_ms()
        return ready - started, now_ms() - ready


async def start_and_stop(count: int) -> list[tuple[float, float]]:
    """So many sessions, one after the other."""
    agent = instant_agent()
    return [await _visit(agent) for _ in range(count + 5)][5:]


async def measure(options: Options) -> dict[str, Metric]:
    """One after the other, then more and more."""
    hop = statistics.median(await floors.channel_hop()) / 1000
    visits = await start_and_stop(reps(options, 300))
    metrics = {
        "start": summary([each for each, _ in visits], "ms", floor=hop),
        "stop": summary([each for _, each in visits], "ms", floor=hop),
    }
    for size, kib, tasks, start in await growth(SIZES[:-1] if options.quick else SIZES):
        metrics[f"rss@{size}"] = summary([kib], "KiB")
        metrics[f"tasks@{size}"] = summary([tasks], "tasks")
        metrics[f"start@{size}"] = summary([start], "ms", floor=hop)
    return metrics
