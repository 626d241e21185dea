"""How long from the final transcript until the answer's first audio reaches the client's link, if no engine takes any time?

It goes through everything that a real answer goes through: the core, a reply scope, the model's stream, phrases, the
synthesizer's stream, the pacing speaker and the link's writer. The processor is kept awake until the transcript comes, as on a
server with other sessions; ``from_sleep`` is the same with a processor that has slept for 5 ms. The floor is a turn made of
Trio's bare parts (``trio.bare_turn``).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Final

from benchmarks import floors
from benchmarks.bare_turn import bare_turns
from benchmarks.kit import TOKENS, awake, world
from benchmarks.report import Metric, Options, reps, summary
from flare_actors.conversation.events import InterruptRequested
from flare_actors.ports import AudioOut

__all__ = ["measure", "turns"]

_PARTS: Final = (
    ("transcript_to_request", "transcript", "asked"),
    ("request_to_phrase", "asked", "phrase"),
    ("phrase_to_link", "phrase", AudioOut.__name__),
)
STACKS: Final = {"first audio": tuple(name for name, _, _ in _PARTS)}


_CONVERSATION: Final = 20
"""Turns of one session; then comes another one, as conversations do not go on for ever."""
_WARM_UP: Final = 5


async def turns(count: int, *, rests: bool = False) -> list[dict[str, float]]:
    """For each of so many turns, when what happened, in ms; the first ones of a session, which fill caches, are left out."""
    found: list[dict[str, float]] = []
    while len(found) < count:
        async with world(forever=True, rests=rests) as talk:
            for number in range(_CONVERSATION):
                await talk.ask()
                await talk.until(AudioOut)
                if number >= _WARM_UP:
                    found.append(dict(talk.times.at))
                talk.link.inbound.send_nowait(InterruptRequested())
                await talk.listening_again()
    return found[:count]


def between(found: Sequence[dict[str, float]], start: str, end: str) -> list[float]:
    """Milliseconds from one thing to another, in every turn."""
    return [each[end] - each[start] for each in found]


async def measure(options: Options) -> dict[str, Metric]:
    """The whole, and its parts."""
    hop = statistics.median(await floors.channel_hop()) / 1000
    bare = await bare_turns(reps(options, 500), TOKENS, partial(awake, 0.005))
    floor = statistics.median(bare)
    found = await turns(reps(options, 500))
    rested = await turns(reps(options, 500), rests=True)
    metrics = {
        "first_audio": summary(between(found, "transcript", AudioOut.__name__), "ms", floor=floor),
        "from_sleep": summary(between(rested, "transcript", AudioOut.__name__), "ms", floor=floor),
    }
    metrics |= {name: summary(between(found, start, end), "ms", floor=floor) for name, start, end in _PARTS}
    return metrics | {"trio.bare_turn": summary(bare, "ms", floor=hop)}
