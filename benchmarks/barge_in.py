"""How long from the decision that the user interrupts until the output is silent, and until the engines' streams are closed?

``voice``: from the detector's answer about the chunk that decides it; ``request``: from the client's message, on its way to the
reader; ``call``: from ``Session.interrupt``, as an embedder has it, and as the peers are asked. The output is silent when what
has not left is purged and no more can leave; ``client_told`` is when that reaches the link, for the client to drop what it has
in hand. ``trio.bare_stop`` is the floor: a reply of Trio's bare parts, cancelled.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Final, Literal, TypeAlias, get_args

from benchmarks import floors
from benchmarks.bare_turn import bare_stops
from benchmarks.kit import LOUD, TOKENS, World, awake, now_ms, world
from benchmarks.report import Metric, Options, reps, summary
from flare_actors.conversation.events import InterruptRequested
from flare_actors.conversation.notices import PlaybackCleared
from flare_actors.ports import AudioIn, AudioOut

__all__ = ["WAYS", "How", "interruptions", "measure"]


NAMES: Final = ("output_silent", "client_told", "llm_closed", "tts_closed")
How: TypeAlias = Literal["voice", "request", "call"]
WAYS: Final[tuple[How, ...]] = get_args(How)


async def _one(talk: World, how: How) -> tuple[float, ...]:
    """Milliseconds from the decision, in the order of ``NAMES``."""
    await talk.ask()
    await talk.until(AudioOut)
    await talk.pause(0.06)  # in the middle of a sentence, and of nothing else: the voice is as far ahead as it gets
    times = talk.times
    for what in ("silenced", PlaybackCleared.__name__):
        times.at.pop(what, None)
    cleared = PlaybackCleared.__name__
    if how == "voice":
        while cleared not in times.at:
            talk.link.inbound.send_nowait(AudioIn(LOUD))
            await talk.pause(0.02)
        decided = times.at["heard_chunk"]
    else:
        decided = now_ms()
        if how == "call":
            talk.session.interrupt()
        else:
            talk.link.inbound.send_nowait(InterruptRequested())
        await times.wait(cleared)
    await times.wait("tts_closed")
    await times.wait("llm_closed")
    result = tuple(times.at[what] - decided for what in ("silenced", cleared, "llm_closed", "tts_closed"))
    await talk.listening_again()
    return result


async def interruptions(count: int, how: How, *, rests: bool = False) -> list[tuple[float, ...]]:
    """So many interruptions of one session."""
    async with world(forever=True, rests=rests) as talk:
        return [await _one(talk, how) for _ in range(count + 5)][5:]


async def measure(options: Options) -> dict[str, Metric]:
    """Each way of interrupting."""
    hop = statistics.median(await floors.channel_hop()) / 1000
    metrics = {}
    for how in WAYS:
        found = await interruptions(reps(options, 100 if how == "voice" else 400), how)
        for name, values in zip(NAMES, zip(*found, strict=True), strict=True):
            metrics[f"{how}.{name}"] = summary(values, "ms", floor=hop)
    bare = await bare_stops(reps(options, 400), TOKENS, partial(awake, 0.06))
    return metrics | {"trio.bare_stop": summary(bare, "ms", floor=hop)}
