"""What does a step between two actors cost: Trio's own, and ours through the inbox of a session?

``inbox`` is from ``put`` in one task until the orchestrator's side has the event; the floor is Trio's memory channel.
"""

from __future__ import annotations

import statistics
import time

import trio

from benchmarks import floors
from benchmarks.report import Metric, Options, reps, summary
from flare_actors.actors.channels import Clock, Inbox
from flare_actors.conversation.events import InterruptRequested

__all__ = ["measure"]


async def inbox_hop(count: int) -> list[float]:
    """Microseconds from ``put`` until ``get`` gives the event in another task."""
    inbox = Inbox(Clock())
    took: list[float] = []
    started = 0.0
    got = trio.Event()

    async def orchestrator() -> None:
        nonlocal got
        for _ in range(count + count // 10):
            await inbox.get()
            took.append(1e6 * (time.perf_counter() - started))
            got.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(orchestrator)
        for _ in range(count + count // 10):
            got = trio.Event()
            started = time.perf_counter()
            inbox.put(InterruptRequested())
            await got.wait()
    return took[count // 10 :]


async def measure(options: Options) -> dict[str, Metric]:
    """All of it, one after the other."""
    count = reps(options, 5000)
    hops = await floors.channel_hop(count)
    hop = statistics.median(hops)
    return {
        "trio.channel_hop": summary(hops, "us"),
        "trio.put_and_take_nowait": summary(await floors.nowait(count), "us", floor=hop),
        "trio.checkpoint": summary(await floors.checkpoint(count), "us", floor=hop),
        "trio.nursery_of_one": summary(await floors.nursery(count), "us", floor=hop),
        "trio.awakening_cpu": summary(await floors.awakening_cpu(reps(options, 500)), "us", floor=hop),
        "trio.websocket_echo": summary(await floors.websocket_echo(reps(options, 2000)), "us", floor=hop),
        "trio.websocket_echo_server_cpu": summary([await floors.websocket_cpu(reps(options, 2000))], "us", floor=hop),
        "trio.tcp_echo_server_cpu": summary([await floors.tcp_cpu(reps(options, 2000))], "us", floor=hop),
        "inbox": summary(await inbox_hop(count), "us", floor=hop),
    }
