"""How long until a served engine's first result: real servers on this machine, and what our own clients add?

The Wyoming servers are measured where they are installed (``python .ci/wyoming.py``). ``client.*`` asks a server that answers
at once, over loopback: what is left is our client, httpx2 and the system.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import h11
import trio

from benchmarks import wyoming_servers
from benchmarks.engines import SENTENCE, first_token
from benchmarks.report import Metric, Options, reps, summary
from benchmarks.speech import recording
from flare_actors.conversation.states import SttMode
from flare_actors.ports import HeardAudio, Phrase, Recognizer, Synthesizer
from flare_actors.providers.anthropic import AnthropicSettings, open_anthropic
from flare_actors.providers.llama_local import LlamaSettings, open_llama_local
from flare_actors.providers.openai_chat import OpenAISettings, open_openai
from flare_actors.providers.openai_speech import OpenAISpeechSettings, open_openai_speech
from flare_actors.providers.openai_transcription import OpenAITranscriptionSettings, open_openai_transcription
from flare_actors.providers.wyoming import open_wyoming_recognizer, open_wyoming_synthesizer

RUNS: Final = 10
SPEECH_S: Final = 3
QUESTIONS: Final = ("How are you?", "Why do cats purr?", "Tell me about rain.")


async def after_endpoint(recognizer: Recognizer) -> float:
    """Seconds from the end of an utterance of 3 s to its final transcript."""
    pcm = (recording("two_cities.wav")[16_000 : 16_000 * (1 + SPEECH_S)] * 32767).astype("<i2").tobytes()
    ended = 0.0

    async def audio() -> AsyncIterator[HeardAudio]:
        nonlocal ended
        for start in range(0, len(pcm), 1024):
            yield HeardAudio(pcm=pcm[start : start + 1024])
        ended = time.perf_counter()

    async with recognizer.transcribe(audio(), locale="en-US", mode=SttMode.BATCH) as transcripts:
        async for _ in transcripts:
            pass
    return time.perf_counter() - ended


async def first_audio(synthesizer: Synthesizer) -> float:
    """Seconds from a sentence of eight words to its first audio."""
    first = 0.0

    async def phrases() -> AsyncIterator[Phrase]:
        yield Phrase(index=0, text=SENTENCE)

    started = time.perf_counter()
    async with synthesizer.synthesize(phrases(), locale="en-US") as audio:
        async for _ in audio:
            first = first or time.perf_counter() - started
    return first


async def timed(call: Callable[[], Awaitable[float]], runs: int) -> Metric:
    """A call's seconds; the first one, which connects and warms up, is not counted."""
    await call()
    return summary([await call() for _ in range(runs)], "s")


async def measure_llama(runs: int) -> dict[str, Metric]:
    """The same llama.cpp server through both shapes of API, each question new, the instructions in its cache."""
    async with open_llama_local(LlamaSettings(slots=1, max_tokens=12)) as llama:
        api = llama._chat._api  # noqa: SLF001 - the server of its own that it has started
        url, key = api.url, api._key  # noqa: SLF001
        metrics = {}
        async with (
            open_openai(OpenAISettings(base_url=url, model="m", max_tokens=12), api_key=key) as chat,
            open_anthropic(AnthropicSettings(base_url=url, model="m", max_tokens=12), api_key=key) as messages,
        ):
            for name, model in (("openai", chat), ("anthropic", messages)):
                await first_token(model, "Hello.")
                took = [(await first_token(model, QUESTIONS[run % 3]))[0] for run in range(runs)]
                metrics[f"llama_cpp.{name}.first_token_s"] = summary(took, "s")
    return metrics


async def measure_wyoming(runs: int) -> dict[str, Metric]:
    """faster-whisper tiny.en and Piper, as the tests run them."""
    metrics = {}
    with wyoming_servers.whisper() as ears:
        async with open_wyoming_recognizer(ears) as recognizer:
            metrics["wyoming.stt.final_after_endpoint_s"] = await timed(partial(after_endpoint, recognizer), runs)
    with wyoming_servers.piper() as voice:
        async with open_wyoming_synthesizer(voice) as synthesizer:
            metrics["wyoming.tts.first_audio_s"] = await timed(partial(first_audio, synthesizer), runs)
    return metrics


@asynccontextmanager
async def instant_server() -> AsyncIterator[str]:
    """An HTTP server that has every answer ready; gives its base URL."""
    chunk = b'data: {"choices": [{"delta": {"content": "Yes."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    answers = {
        b"/v1/chat/completions": (b"text/event-stream", chunk),
        b"/v1/audio/transcriptions": (b"application/json", b'{"text": "Yes."}'),
        b"/v1/audio/speech": (b"audio/pcm", bytes(48_000)),
    }

    async def serve(stream: trio.SocketStream) -> None:
        wire = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        target = b""
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await stream.receive_some(1 << 20))
            elif isinstance(event, h11.Request):
                target = event.target
            elif isinstance(event, h11.EndOfMessage):
                kind, body = answers[target]
                head = h11.Response(
                    status_code=200, headers=[("content-type", kind), ("content-length", str(len(body)))]
                )
                parts: tuple[Any, ...] = (head, h11.Data(data=body), h11.EndOfMessage())
                await stream.send_all(b"".join(wire.send(part) or b"" for part in parts))
                wire.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        nursery.cancel_scope.cancel()


async def measure_clients(runs: int) -> dict[str, Metric]:
    """Our share of a first result."""

    async def token() -> float:
        return (await first_token(chat, "Hello."))[0]

    async with (
        instant_server() as url,
        open_openai(OpenAISettings(base_url=url)) as chat,
        open_openai_transcription(OpenAITranscriptionSettings(base_url=url)) as recognizer,
        open_openai_speech(OpenAISpeechSettings(base_url=url)) as synthesizer,
    ):
        return {
            "client.openai.first_token_s": await timed(token, runs),
            "client.openai.stt_s": await timed(partial(after_endpoint, recognizer), runs),
            "client.openai.tts_s": await timed(partial(first_audio, synthesizer), runs),
        }


async def measure(options: Options) -> dict[str, Metric]:
    """Clients, llama.cpp, Wyoming."""
    metrics = await measure_clients(reps(options, 100))
    metrics |= await measure_llama(reps(options, RUNS))
    if wyoming_servers.installed():
        metrics |= await measure_wyoming(reps(options, RUNS))
    return metrics
