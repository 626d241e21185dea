"""What does it cost to hear: processor time for each 20 ms frame of microphone audio, 20 sessions at real-time pace?

The cost of the microphone itself (a task switch a frame, and one timer for all of them) is measured by itself and taken off.
``instant_vad`` is everything but the detector; ``silero`` is with the detector that the embedded agent uses. ``silero_chunk@N``
is that alone: a 32 ms chunk when N streams' chunks are heard at once (sessions do that with what comes at the same time).
"""

from __future__ import annotations

import random
import statistics
import time

import trio

from benchmarks import floors
from benchmarks.load import Microphone, instant_agent, metronome, talking, used_s
from benchmarks.report import Metric, Options, reps, summary
from flare_actors.ports import VoiceActivity, VoiceDetector
from flare_actors.providers.silero import SileroVoiceActivity

__all__ = ["chunk_us", "feeder_us", "frame_us", "measure"]

SESSIONS = 20
NOISE = random.Random(1).randbytes(1024)


async def feeder_us(seconds: float, sessions: int = SESSIONS) -> float:
    """Microseconds a frame of microphones to which nobody listens."""

    async def drain(link: Microphone) -> None:
        while True:
            await link.receive()

    async with metronome() as beating, trio.open_nursery() as nursery:
        links = [Microphone(beating, number / sessions) for number in range(sessions)]
        for link in links:
            nursery.start_soon(drain, link)
        await trio.sleep(0.3)
        before = sum(link.frames for link in links)
        used = await used_s(seconds)
        nursery.cancel_scope.cancel()
    return 1e6 * used / (sum(link.frames for link in links) - before)


async def frame_us(seconds: float, voice_activity: VoiceActivity | None = None, sessions: int = SESSIONS) -> float:
    """Microseconds a frame of microphones to which sessions listen."""
    async with talking(sessions, instant_agent(voice_activity=voice_activity)) as talks:
        before = sum(talk.link.frames for talk in talks)
        used = await used_s(seconds)
        return 1e6 * used / (sum(talk.link.frames for talk in talks) - before)


async def chunk_us(streams: int, count: int = 100) -> float:
    """Microseconds of Silero for a chunk, if it gets one of each of so many streams at a time."""
    vad = SileroVoiceActivity()
    chunks: list[tuple[VoiceDetector, bytes]] = [(await vad.open(), NOISE) for _ in range(streams)]
    for _ in range(count // 10):
        vad.process_many(chunks)
    before = time.process_time()
    for _ in range(count):
        vad.process_many(chunks)
    return 1e6 * (time.process_time() - before) / count / streams


async def measure(options: Options) -> dict[str, Metric]:
    """Feeder and sessions in turn."""
    hop = statistics.median(await floors.channel_hop())
    runs, seconds = reps(options, 5), 2.0 if options.quick else 5.0
    found: dict[str, list[float]] = {"feeder": [], "instant_vad": [], "silero": []}
    for _ in range(runs):
        feeder = await feeder_us(seconds)
        found["feeder"].append(feeder)
        found["instant_vad"].append(await frame_us(seconds) - feeder)
        found["silero"].append(await frame_us(seconds, SileroVoiceActivity()) - feeder)
        for streams in (1, 4, 16):
            found.setdefault(f"silero_chunk@{streams}", []).append(await chunk_us(streams))
    return {name: summary(values, "us", floor=hop) for name, values in found.items()}
