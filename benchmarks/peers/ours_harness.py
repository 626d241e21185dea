"""Flare actors, asked the same: ``python -m benchmarks.peers.ours_harness MEASURE COUNT``; prints JSON: METRIC -> values."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from benchmarks import audio_in, barge_in, duplex, session_cost
from benchmarks import first_audio as first
from benchmarks.peers.harness_kit import sessions_per_core
from flare_actors.garbage import calm_garbage_collection
from flare_actors.ports import AudioOut
from flare_actors.providers.silero import SileroVoiceActivity


async def first_audio(count: int) -> dict[str, list[float]]:
    """A question, and an interruption."""
    found = first.between(await first.turns(count), "transcript", AudioOut.__name__)
    stopped = await barge_in.interruptions(count, "call")
    return {
        "first_audio_ms": found,
        "output_silent_ms": [silent for silent, *_ in stopped],
        "tts_closed_ms": [tts for *_, tts in stopped],
    }


async def hearing(count: int) -> dict[str, list[float]]:
    """Frames of 20 sessions."""
    found = []
    for _ in range(count):
        feeder = await audio_in.feeder_us(3.0)
        found.append(await audio_in.frame_us(3.0) - feeder)
    return {"audio_in_us": found}


async def hearing_with_vad(count: int) -> dict[str, list[float]]:
    """The same with Silero."""
    found = []
    for _ in range(count):
        feeder = await audio_in.feeder_us(3.0)
        found.append(await audio_in.frame_us(3.0, SileroVoiceActivity()) - feeder)
    return {"audio_in_silero_us": found}


async def both_ways(count: int) -> dict[str, list[float]]:
    """Sessions per core."""
    found = []
    for _ in range(count):
        per_core, _ = await sessions_per_core(partial(duplex.in_process, 4.0), duplex.IN_PROCESS)
        found.append(per_core)
    return {"duplex_sessions_per_core": found}


async def cost(count: int) -> dict[str, list[float]]:
    """Start, stop, memory, tasks."""
    visits = await session_cost.start_and_stop(count)
    ((_, kib, tasks, _),) = await session_cost.growth((500,))
    return {
        "start_ms": [start for start, _ in visits],
        "stop_ms": [stop for _, stop in visits],
        "idle_session_kib": [kib],
        "tasks": [tasks],
    }


_MEASURES: dict[str, Callable[[int], Awaitable[dict[str, list[float]]]]] = {
    "first_audio": first_audio,
    "audio_in": hearing,
    "audio_in_vad": hearing_with_vad,
    "duplex": both_ways,
    "session_cost": cost,
}

if __name__ == "__main__":
    calm_garbage_collection()
    print(json.dumps(trio.run(_MEASURES[sys.argv[1]], int(sys.argv[2]))), flush=True)
