"""How long does each embedded engine take, on this machine, for its part of a turn?

Medians and worst of several runs, in milliseconds unless the key says otherwise. ``stt.after_endpoint`` is what a user waits
for the final transcript after 0.48 s of silence, when the recogniser has decoded ahead in that pause. Prints JSON::

    python -m benchmarks.engines
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence

import trio

from benchmarks.speech import hear, recording
from flare_actors.conversation.states import SttMode
from flare_actors.ports import HeardAudio, LanguageModel, Message, Phrase, TextDelta
from flare_actors.providers.hibari import HibariSynthesizer, open_hibari
from flare_actors.providers.llama_local import open_llama_local
from flare_actors.providers.moonshine import MoonshineRecognizer, open_moonshine
from flare_actors.providers.silero import SileroVoiceActivity

RUNS = 7
CHUNK_S = 0.032
INSTRUCTIONS = "You are a friendly voice assistant. Answer in one or two short sentences, in plain spoken English."
SENTENCE = "Paris is the capital city of France, indeed."


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median and worst, in milliseconds."""
    return {"median": round(statistics.median(seconds) * 1e3, 3), "worst": round(max(seconds) * 1e3, 3)}


async def measure_vad() -> dict[str, float]:
    """One chunk of 32 ms."""
    detector = await SileroVoiceActivity().open()
    took = []
    for _ in range(500):
        started = time.perf_counter()
        detector.process(bytes(1024))
        took.append(time.perf_counter() - started)
    return summary(took)


async def measure_stt(recognizer: MoonshineRecognizer) -> dict[str, object]:
    """Batch decodes of given lengths, and live utterances with their pause."""

    async def final(pieces: Sequence[HeardAudio], pace_s: float, mode: SttMode = SttMode.STREAMING) -> float:
        ended = 0.0

        async def audio() -> AsyncIterator[HeardAudio]:
            nonlocal ended
            for piece in pieces:
                await trio.sleep(pace_s)
                yield piece
            ended = time.perf_counter()

        async with recognizer.transcribe(audio(), locale="en", mode=mode) as transcripts:
            async for _ in transcripts:
                pass
        return time.perf_counter() - ended

    speech = recording("two_cities.wav")
    result: dict[str, object] = {}
    for seconds in (3, 10):
        pcm = (speech[16_000 : 16_000 * (1 + seconds)] * 32767).astype("<i2").tobytes()
        result[f"decode_{seconds}_s"] = summary(
            [await final([HeardAudio(pcm=pcm)], 0, SttMode.BATCH) for _ in range(RUNS)]
        )
    utterances = (await hear(speech, SileroVoiceActivity()))[:6]
    result["after_endpoint"] = summary([await final(each, CHUNK_S) for each in utterances])
    result["after_endpoint_utterance_s"] = [round(len(each) * CHUNK_S, 1) for each in utterances]
    return result


async def measure_tts(synthesizer: HibariSynthesizer) -> dict[str, object]:
    """A sentence of eight words: first audio, and work per second of audio."""
    first, factor = [], []
    for _ in range(RUNS):

        async def phrases() -> AsyncIterator[Phrase]:
            yield Phrase(index=0, text=SENTENCE)

        started = time.perf_counter()
        samples = 0
        async with synthesizer.synthesize(phrases(), locale="en") as audio:
            async for each in audio:
                if not samples:
                    first.append(time.perf_counter() - started)
                samples += len(each.pcm) // 2
        factor.append((time.perf_counter() - started) / (samples / synthesizer.sample_rate))
    return {"first_audio": summary(first), "realtime_factor": round(statistics.median(factor), 4)}


async def first_token(model: LanguageModel, question: str) -> tuple[float, float]:
    """Seconds to the first token, and tokens per second after it."""
    messages = [Message(role="system", content=INSTRUCTIONS), Message(role="user", content=question)]
    started = first = time.perf_counter()
    tokens = 0
    async with model.generate(messages, locale="en") as outputs:
        async for each in outputs:
            if isinstance(each, TextDelta):
                tokens += 1
                if tokens == 1:
                    first = time.perf_counter()
    return first - started, (tokens - 1) / max(1e-9, time.perf_counter() - first)


async def measure_llm() -> dict[str, object]:
    """The first request, and those that find instructions and examples in the KV cache."""
    started = time.perf_counter()
    async with open_llama_local() as model:
        loaded = time.perf_counter() - started
        cold, _ = await first_token(model, "What is the capital of France?")
        warm = [
            await first_token(model, each) for each in ("How are you?", "Why do cats purr?", "Tell me about rain.") * 2
        ]
    return {
        "load": round(loaded * 1e3),
        "first_token_cold": round(cold * 1e3),
        "first_token_prefix_cached": summary([each for each, _ in warm]),
        "tokens_per_second": round(statistics.median(rate for _, rate in warm), 1),
    }


async def measure() -> dict[str, object]:
    """Everything, one engine after the other."""
    started = time.perf_counter()
    async with open_moonshine() as recognizer:
        stt = {"load": round((time.perf_counter() - started) * 1e3), **await measure_stt(recognizer)}
    started = time.perf_counter()
    async with open_hibari() as synthesizer:
        tts = {"load": round((time.perf_counter() - started) * 1e3), **await measure_tts(synthesizer)}
    return {
        "machine": {"cores": os.cpu_count(), "load_average": os.getloadavg()[0] if sys.platform != "win32" else None},
        "vad_chunk": await measure_vad(),
        "stt": stt,
        "llm": await measure_llm(),
        "tts": tts,
    }


if __name__ == "__main__":
    print(json.dumps(trio.run(measure), indent=2))
