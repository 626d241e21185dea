"""How long does each embedded engine take, on this machine, for its part of a turn?

``stt.after_endpoint_s`` is what a user waits for the final transcript after 0.48 s of silence, when the recogniser has
decoded ahead in that pause.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

import trio

from benchmarks.report import Metric, Options, summary
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


async def measure_vad() -> dict[str, Metric]:
    """One chunk of 32 ms."""
    detector = await SileroVoiceActivity().open()
    took = []
    for _ in range(500):
        started = time.perf_counter()
        detector.process(bytes(1024))
        took.append(time.perf_counter() - started)
    return {"vad.chunk_s": summary(took, "s")}


async def measure_stt(recognizer: MoonshineRecognizer) -> dict[str, Metric]:
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
    result: dict[str, Metric] = {}
    for seconds in (3, 10):
        pcm = (speech[16_000 : 16_000 * (1 + seconds)] * 32767).astype("<i2").tobytes()
        result[f"stt.decode_of_{seconds}_s"] = summary(
            [await final([HeardAudio(pcm=pcm)], 0, SttMode.BATCH) for _ in range(RUNS)], "s"
        )
    utterances = (await hear(speech, SileroVoiceActivity()))[:6]
    result["stt.after_endpoint_s"] = summary([await final(each, CHUNK_S) for each in utterances], "s")
    return result


async def measure_tts(synthesizer: HibariSynthesizer) -> dict[str, Metric]:
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
    return {"tts.first_audio_s": summary(first, "s"), "tts.realtime_factor": summary(factor, "ratio")}


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


async def measure_llm() -> dict[str, Metric]:
    """The first request, and those that find instructions and examples in the KV cache."""
    started = time.perf_counter()
    async with open_llama_local() as model:
        loaded = time.perf_counter() - started
        cold, _ = await first_token(model, "What is the capital of France?")
        warm = [
            await first_token(model, each) for each in ("How are you?", "Why do cats purr?", "Tell me about rain.") * 2
        ]
    return {
        "llm.load_s": summary([loaded], "s"),
        "llm.first_token_cold_s": summary([cold], "s"),
        "llm.first_token_s": summary([each for each, _ in warm], "s"),
        "llm.tokens_per_s": summary([rate for _, rate in warm], "1/s"),
    }


async def measure(options: Options) -> dict[str, Metric]:
    """Everything, one engine after the other."""
    del options
    metrics = await measure_vad()
    started = time.perf_counter()
    async with open_moonshine() as recognizer:
        metrics["stt.load_s"] = summary([time.perf_counter() - started], "s")
        metrics |= await measure_stt(recognizer)
    metrics |= await measure_llm()
    started = time.perf_counter()
    async with open_hibari() as synthesizer:
        metrics["tts.load_s"] = summary([time.perf_counter() - started], "s")
        metrics |= await measure_tts(synthesizer)
    return metrics
