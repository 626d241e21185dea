"""How long from the decision that the user interrupts until the output is silent, and until the engines' streams are closed?

``voice``: from the detector's answer about the chunk that decides it; ``request``: from the client's message, on its way to the
reader. The output is silent when what has not left is purged and no more can leave; ``client_told`` is when that reaches the
link, for the client to drop what it has in hand.
"""

from __future__ import annotations

import statistics
from typing import Final

from benchmarks import floors
from benchmarks.kit import LOUD, World, now_ms, world
from benchmarks.report import Metric, Options, reps, summary
from flare_actors.conversation.events import InterruptRequested
from flare_actors.conversation.notices import PlaybackCleared
from flare_actors.ports import AudioIn, AudioOut

__all__ = ["interruptions", "measure"]


NAMES: Final = ("output_silent", "client_told", "llm_closed", "tts_closed")


async def _one(talk: World, *, by_voice: bool) -> tuple[float, ...]:
    """Milliseconds from the decision, in the order of ``NAMES``."""
    await talk.ask()
    await talk.until(AudioOut)
    await talk.pause(0.06)  # in the middle of a sentence, and of nothing else: the voice is as far ahead as it gets
    times = talk.times
    times.at.pop(PlaybackCleared.__name__, None)
    cleared = PlaybackCleared.__name__
    if by_voice:
        while cleared not in times.at:
            talk.link.inbound.send_nowait(AudioIn(LOUD))
            await talk.pause(0.02)
        decided = times.at["heard_chunk"]
    else:
        decided = now_ms()
        talk.link.inbound.send_nowait(InterruptRequested())
        await times.wait(cleared)
    await times.wait("tts_closed")
    await times.wait("llm_closed")
    result = tuple(times.at[what] - decided for what in ("silenced", cleared, "llm_closed", "tts_closed"))
    await talk.listening_again()
    return result


async def interruptions(count: int, *, by_voice: bool, rests: bool = False) -> list[tuple[float, ...]]:
    """So many interruptions of one session."""
    async with world(forever=True, rests=rests) as talk:
        return [await _one(talk, by_voice=by_voice) for _ in range(count + 5)][5:]


async def measure(options: Options) -> dict[str, Metric]:
    """By voice, and by request."""
    hop = statistics.median(await floors.channel_hop()) / 1000
    metrics = {}
    for how, by_voice, count in (("voice", True, 100), ("request", False, 400)):
        found = await interruptions(reps(options, count), by_voice=by_voice)
        for name, values in zip(NAMES, zip(*found, strict=True), strict=True):
            metrics[f"{how}.{name}"] = summary(values, "ms", floor=hop)
    return metrics
