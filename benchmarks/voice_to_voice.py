"""How long from the end of a person's speech to the first audio of the answer, with the embedded engines?

Utterances of real recordings, each cut out behind its last voiced chunk and followed by digital silence, played in real
time; ends and onsets are taken from the audio, as `flare-actors talk` does.
"""

from __future__ import annotations

import sys

import numpy as np
import trio

from benchmarks.report import Metric, Options, summary
from benchmarks.speech import RATE, REFERENCES, hear, recording
from flare_actors.agent import Agent
from flare_actors.conversation.settings import Settings
from flare_actors.providers.local import open_local
from flare_actors.providers.silero import SileroVoiceActivity
from flare_actors.talk import STAGES, Recording, talk

__all__ = ["measure"]

INSTRUCTIONS = "You are a friendly voice assistant. Answer in one short sentence."


async def utterances() -> list[Recording]:
    """Every utterance of the recordings, each as a recording of its own."""
    ear = SileroVoiceActivity()
    found = []
    for name in REFERENCES:
        for pieces in await hear(recording(name), ear):
            voiced = max(index for index, piece in enumerate(pieces) if piece.silence_s == 0.0)
            pcm = b"".join(piece.pcm for piece in pieces[: voiced + 1])
            # A cut in the room's noise would click: fade the last 10 ms.
            samples = np.frombuffer(pcm, "<i2").astype(np.float32)
            samples[-160:] *= np.linspace(1, 0, 160)
            found.append(Recording(pcm=samples.astype("<i2").tobytes(), sample_rate=RATE))
    return found


ARMS = {"fixed": Settings(soft_endpoint_s=None), "ahead": Settings()}
"""Nothing begun before the endpoint, and the default: the answer begun at the soft endpoint. Both wait for 0.48 s."""
STACKS = {arm: tuple(f"{arm}.{stage}_s" for stage in STAGES) for arm in ARMS}


async def measure(options: Options) -> dict[str, Metric]:
    """Every utterance in a conversation of its own, each arm in turn, several times."""
    clips = await utterances()
    found: dict[str, list[float]] = {f"{arm}.{name}_s": [] for arm in ARMS for name in (*STAGES, "total")}
    async with open_local(instructions=INSTRUCTIONS) as engines:
        for run in range(1 if options.quick else 3):
            for number, clip in enumerate(clips):
                for arm, settings in ARMS.items():
                    agent = Agent(
                        instructions=INSTRUCTIONS,
                        settings=settings,
                        voice_activity=engines.voice_activity,
                        recognizer=engines.recognizer,
                        language_model=engines.language_model,
                        synthesizer=engines.synthesizer,
                    )
                    report = await talk(agent, clip)
                    await trio.lowlevel.checkpoint()
                    for turn in report.turns[:1]:
                        shares = []
                        for name in (*STAGES, "total"):
                            value = getattr(turn.latency, name)
                            if value is not None:
                                found[f"{arm}.{name}_s"].append(value)
                                shares.append(f"{name} {1000 * value:.0f}")
                        what = f"run {run + 1}, clip {number + 1}, {arm}"
                        print(f"{what}: {', '.join(shares)} ms; {turn.transcript}", file=sys.stderr)
    return {name: summary(values, "s") for name, values in found.items() if values}
