"""What the harnesses of asyncio frameworks share; standard library only, since each runs in an environment of its own.

They are started as scripts, so that this module lies beside them: ``from harness_kit import ...``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["CHUNK", "SILENCE", "TOKENS", "Metronome", "Phase", "awake", "feeder_alone_us", "freeze", "now"]
__all__ += ["rss_kib", "session_costs", "sessions_per_core", "tell", "used"]

T = TypeVar("T")

SILENCE = bytes(640)
"""20 ms at 16 kHz."""
CHUNK = (0x0400).to_bytes(2, "little") * 320
TOKENS = (
    *("It is", " a bright", " day and", " all of", " it is", " still to", " come for", " you and", " for me", " too."),
    *(" So let", " us go", " out and", " see what", " there is", " to be", " seen in", " this big", " old", " town."),
)
BEATS = 4
"""Of the metronome, in a frame's 20 ms."""
FULL = 0.7
"""So much of a core has to be in use: on a processor that mostly sleeps, each awakening costs as much as several frames."""
ENOUGH = 0.95
"""If less than that comes of the speech of so many sessions, more of them are no use."""
WARM_UP = 3
"""Sessions that are started before any is measured."""


def now() -> float:
    """Milliseconds."""
    return 1000 * time.perf_counter()


def freeze() -> None:
    """The search for garbage is seldom, as ``flare-actors serve`` has it; all harnesses begin with that, ours as well."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def rss_kib() -> float:
    """The memory of this process, without garbage."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


async def awake(seconds: float) -> None:
    """Wait while the processor is kept from sleeping, as on a server that has other sessions to serve."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:  # noqa: ASYNC110 - the point is to be busy
        await asyncio.sleep(0)


async def used(seconds: float) -> float:
    """Seconds of CPU in the next so many seconds."""
    started = time.process_time()
    await asyncio.sleep(seconds)
    return time.process_time() - started


class Metronome:
    """One timer for all microphones, as ours have it: a timer for each would cost more than what is measured."""

    def __init__(self) -> None:
        self.beat = 0
        self._waiting: list[list[asyncio.Future[None]]] = [[] for _ in range(BEATS)]
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        began = time.perf_counter()
        while True:
            due = began + (self.beat + 1) * 0.02 / BEATS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.beat += 1
            waiting, self._waiting[self.beat % BEATS] = self._waiting[self.beat % BEATS], []
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    async def reached(self, beat: int) -> None:
        """Wait for one of the next four beats; one that has passed takes a round of the loop."""
        if beat > self.beat:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[beat % BEATS].append(waiting)
            await waiting
        else:
            await asyncio.sleep(0)

    def stop(self) -> None:
        """No more beats."""
        self._task.cancel()


class Phase:
    """When one microphone's frames are due: on one of the four beats in 20 ms, so that sessions do not march in step."""

    def __init__(self, metronome: Metronome, number: int, of: int) -> None:
        self._metronome = metronome
        self._beat = metronome.beat + number * BEATS // of - BEATS + 1

    async def frame(self) -> None:
        """Wait for the next one."""
        self._beat += BEATS
        await self._metronome.reached(self._beat)


async def feeder_alone_us(sessions: int, seconds: float, frame: Callable[[], object] = lambda: None) -> float:
    """Microseconds of CPU that it takes to make a frame every 20 ms, by which what hears it is not to be charged."""
    frames = 0

    async def feeder(phase: Phase) -> None:
        nonlocal frames
        while True:
            await phase.frame()
            frames += 1
            frame()

    metronome = Metronome()
    tasks = [asyncio.create_task(feeder(Phase(metronome, number, sessions))) for number in range(sessions)]
    await asyncio.sleep(0.3)
    frames = 0
    took = await used(seconds)
    for task in tasks:
        task.cancel()
    metronome.stop()
    return 1e6 * took / frames


async def sessions_per_core(
    measure: Callable[[int], Awaitable[tuple[float, float]]], sessions: int
) -> tuple[float, float]:
    """How many sessions a core carries, by the first number of them that fills most of one; ours is found so as well.

    Args:
        measure: with so many: the share of a core that they take, and how much of what should come out of them came.
        sessions: how many to begin with.

    Returns:
        Sessions, and how much came of those that were measured last.
    """
    while True:
        share, came = await measure(sessions)
        if share >= FULL or came < ENOUGH:
            return sessions * min(1.0, came) / share, came
        sessions = max(sessions + 1, round(0.85 * sessions / share))


async def session_costs(
    start: Callable[[], Awaitable[T]], stop: Callable[[T], Awaitable[object]], *, count: int, many: int
) -> tuple[dict[str, list[float]], list[T]]:
    """Start, stop, memory, tasks; and the sessions that are open still.

    Args:
        start: opens a session.
        stop: closes it.
        count: how many are opened and closed, one after the other.
        many: how many are open at a time, for memory and tasks.
    """
    starts, stops = [], []
    for number in range(count + WARM_UP):
        began = now()
        session = await start()
        ready = now()
        await stop(session)
        if number >= WARM_UP:
            starts.append(ready - began)
            stops.append(now() - ready)
    before, tasks = rss_kib(), len(asyncio.all_tasks())
    sessions = [await start() for _ in range(many)]
    await asyncio.sleep(0.3)
    costs = {
        "start_ms": starts,
        "stop_ms": stops,
        "idle_session_kib": [(rss_kib() - before) / many],
        "tasks": [(len(asyncio.all_tasks()) - tasks) / many],
    }
    return costs, sessions


def tell(found: dict[str, list[float]]) -> None:
    """Print what was measured, and end at once, whatever still runs."""
    print(json.dumps(found), flush=True)
    os._exit(0)
