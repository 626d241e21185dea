"""What does a decision cost: one event into the conversation core, a new conversation and commands out?

The events are those of a live session: questions, answers that are interrupted, one that is played to its end. They are
folded again and again, each event timed by itself.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence

import trio

from benchmarks import floors
from benchmarks.kit import world
from benchmarks.report import Metric, Options, reps, summary
from flare_actors.conversation.events import Event, InterruptRequested
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import TurnEnded
from flare_actors.conversation.step import fold, step
from flare_actors.ports import AudioOut

__all__ = ["measure"]


async def record() -> tuple[Conversation, list[Event]]:
    """A conversation, and the events of five interrupted turns and one that is played to its end."""
    async with world(rests=True) as talk:
        start = talk.session.conversation
        events: list[Event] = []
        talk.watching.events = events
        for number in range(6):
            await talk.ask()
            await talk.until(AudioOut)
            await trio.sleep(0.05)
            if number < 5:
                talk.link.inbound.send_nowait(InterruptRequested())
                await talk.listening_again()
            else:
                await talk.until(TurnEnded)
    return start, events


def each_step(conversation: Conversation, events: Sequence[Event], runs: int) -> dict[str, list[float]]:
    """Microseconds by the kind of event."""
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        at = conversation
        for event in events:
            started = time.perf_counter()
            at, _commands = step(at, event)
            took[type(event).__name__].append(1e6 * (time.perf_counter() - started))
    return took


async def measure(options: Options) -> dict[str, Metric]:
    """Each kind of event, and whole folds."""
    hop = statistics.median(await floors.channel_hop())
    start, events = await record()
    took = each_step(start, events, reps(options, 200))
    rates = []
    for _ in range(reps(options, 100)):
        started = time.perf_counter()
        fold(start, events)
        rates.append(len(events) / (time.perf_counter() - started))
    every = [value for values in took.values() for value in values]
    metrics = {"step": summary(every, "us", floor=hop), "fold": summary(rates, "1/s")}
    return metrics | {f"step.{kind}": summary(values, "us", floor=hop) for kind, values in sorted(took.items())}
