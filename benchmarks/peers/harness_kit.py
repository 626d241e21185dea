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

__all__ = ["CHUNK", "SILENCE", "TOKENS", "awake", "feeder_alone_us", "freeze", "now"]
__all__ += ["rss_kib", "session_costs", "tell", "used"]

T = TypeVar("T")

SILENCE = bytes(640)
"""20 ms at 16 kHz."""
CHUNK = (0x0400).to_bytes(2, "little") * 320
TOKENS = (
    *("It is", " a bright", " day and", " all of", " it is", " still to", " come for", " you and", " for me", " too."),
    *(" So let", " us go", " out and", " see what", " there is", " to be", " seen in", " this big", " old", " town."),
)
WARM_UP = 3
"""Sessions that are started before any is measured."""


def now() -> float:
    """Milliseconds."""
    return 1000 * time.perf_counter()


def freeze() -> None:
    """No search for garbage looks at what was loaded; all harnesses begin with that, ours as well."""
    gc.collect()
    gc.freeze()


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


async def feeder_alone_us(sessions: int, seconds: float, frame: Callable[[], object] = lambda: None) -> float:
    """Microseconds of CPU that it takes to make a frame every 20 ms, by which what hears it is not to be charged."""
    frames = 0

    async def feeder(phase: float) -> None:
        nonlocal frames
        due = time.perf_counter() + phase * 0.02
        while True:
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            frames += 1
            frame()

    tasks = [asyncio.create_task(feeder(number / sessions)) for number in range(sessions)]
    await asyncio.sleep(0.3)
    frames = 0
    took = await used(seconds)
    for task in tasks:
        task.cancel()
    return 1e6 * took / frames


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
