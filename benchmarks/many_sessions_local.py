"""How many people can the embedded engines talk with at once? Voice to voice with 1, 2, 4 and 8 simultaneous speakers.

Every speaker asks the same question in real time, a little apart, in a conversation of its own; the engines are shared, as in
a server. ``voice_to_voice@N``: from the end of speech to the audible answer; ``busy``: how soon one caller more than the server
takes is told so. The default of ``max_sessions`` follows from this on a server with more cores, and is told in its docs.
"""

from __future__ import annotations

import time

import trio
from trio_websocket import open_websocket_url

from benchmarks.corpus import corpus
from benchmarks.report import Metric, Options, summary
from benchmarks.startup import serving
from benchmarks.voice_to_voice import INSTRUCTIONS
from flare_actors.agent import Agent
from flare_actors.conversation.settings import Settings
from flare_actors.providers.local import open_local
from flare_actors.talk import Recording, talk

__all__ = ["measure"]

SPEAKERS = (1, 2, 4, 8)
_APART_S = 0.35
_PATIENCE_S = 60.0


async def speakers(agent: Agent, clip: Recording, count: int) -> list[float]:
    """Seconds that each of so many speakers waits for its answer; one that gets none within a minute waits a minute."""
    waits: list[float] = []

    async def one(number: int) -> None:
        await trio.sleep(number * _APART_S)
        wait = None
        with trio.move_on_after(_PATIENCE_S):
            report = await talk(agent, clip)
            wait = next((turn.latency.total for turn in report.turns if turn.latency.total is not None), None)
        waits.append(_PATIENCE_S if wait is None else wait)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
    return waits


async def busy() -> list[float]:
    """Milliseconds from the connection of one caller too many until it is closed."""
    waits = []
    async with serving("--max-sessions", "1") as (url, _):
        address = url.replace("http", "ws", 1).rstrip("/") + "/flare"
        async with open_websocket_url(address, subprotocols=["flare"]) as first:
            await first.send_message('{"type": "start_session"}')
            await first.get_message()
            for _ in range(10):
                started = time.perf_counter()
                async with open_websocket_url(address, subprotocols=["flare"]) as second:
                    await second.send_message('{"type": "start_session"}')
                    assert "busy" in await second.get_message()
                waits.append(1000 * (time.perf_counter() - started))
    return waits


async def measure(options: Options) -> dict[str, Metric]:
    """More and more speakers; then one too many."""
    spoken = [each.spoken for each in corpus() if not each.pause_s]
    clip = min(spoken, key=lambda each: abs(len(each.pcm) - 2 * 16_000 * 2))
    metrics = {}
    async with open_local(instructions=INSTRUCTIONS) as engines:
        agent = Agent(
            instructions=INSTRUCTIONS,
            settings=Settings(),
            voice_activity=engines.voice_activity,
            recognizer=engines.recognizer,
            language_model=engines.language_model,
            synthesizer=engines.synthesizer,
        )
        await speakers(agent, clip, 1)  # fills caches
        for count in SPEAKERS[:2] if options.quick else SPEAKERS:
            waits = [wait for _ in range(1 if options.quick else 3) for wait in await speakers(agent, clip, count)]
            metrics[f"voice_to_voice@{count}"] = summary(waits, "s")
    metrics["busy"] = summary(await busy(), "ms")
    return metrics
