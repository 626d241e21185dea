"""Does every configured provider work? Each is opened and asked one small thing, for real, and timed.

Every one is asked by itself: those behind a fallback, too, which a conversation would not notice until they are needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Final, cast

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE, Resampler, bytes_to_seconds, seconds_to_bytes, split_frames
from flare_actors.config.model import Config, ProviderChoice
from flare_actors.conversation.settings import Timeouts
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ConfigError, ProviderError, ProviderTimeout, Stage
from flare_actors.guard import Guarded, Patience, port_guard
from flare_actors.ports import (
    HeardAudio,
    LanguageModel,
    LimitReached,
    Message,
    ModelOutput,
    Phrase,
    Recognizer,
    SpeechAudio,
    Synthesizer,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Transcript,
    Usage,
    VoiceActivity,
)
from flare_actors.providers import registry
from flare_actors.providers.scripted import tone

__all__ = ["Finding", "examine"]

QUESTION: Final = (Message(role="user", content="Please answer with the one word: ready."),)
SENTENCE: Final = "This is a short test."
PIECE_S: Final = 0.1
SILENCE_S: Final = 0.5  # after the words, as an ear hands it on
STAGES: Final[tuple[Stage, ...]] = ("vad", "tts", "stt", "llm")
"""The recogniser hears what the synthesizer said, so that it has words to recognise."""


@attrs.frozen(kw_only=True)
class Finding:
    """What became of one provider."""

    stage: Stage
    use: str
    where: str
    """Its table in the file."""
    works: bool
    open_s: float | None = None
    """Until it was loaded; None: it was not."""
    connect_s: float | None = None
    """Until its stream was open."""
    first_s: float | None = None
    """From then to the first token or audio; from the end of the speech to the final transcript."""
    message: str = ""
    """What it did, or what went wrong; holds no key."""
    fix: str = ""
    """What to do; of one that works, too, if it is slower than the conversation would wait."""


@attrs.define
class _Voice:
    """What the first working synthesizer said."""

    pcm: bytes = b""
    sample_rate: int = 16_000


@attrs.define
class _Times:
    """What was measured so far, whatever comes after."""

    open_s: float | None = None
    connect_s: float | None = None
    first_s: float | None = None


async def examine(config: Config, *, patience_s: float = 20.0) -> AsyncGenerator[Finding]:
    """Ask every configured provider one small thing, one after the other; nothing is fetched.

    Args:
        config: whose providers.
        patience_s: how long each may take to open, and then to answer, in seconds.

    Cancellation: at once; a model that is being loaded is waited for.
    """
    voice = _Voice()
    for stage in STAGES:
        for number, choice in enumerate(config.providers[stage].all):
            where = f"[providers.{stage}]" if not number else f"[[providers.{stage}.fallback]] no. {number}"
            yield await _examine(stage, choice, where, config=config, voice=voice, patience_s=patience_s)


async def _examine(
    stage: Stage, choice: ProviderChoice, where: str, *, config: Config, voice: _Voice, patience_s: float
) -> Finding:
    times = _Times()
    message = fix = ""
    works = False
    try:
        async with _opened(stage, choice, times, patience_s) as engine:
            with Patience(stage, patience_s, "an answer"), port_guard(stage):
                message = await _ASK[stage](engine, config.conversation.locale, voice, times)
        works = True
        fix = _slow(stage, choice, times, config.conversation.timeouts)
    except ConfigError as error:
        message = str(error).removeprefix(f"[providers.{stage}] ")  # which says what to do
    except ProviderError as error:
        message, fix = error.message, _fix(error, where)
    return Finding(
        stage=stage,
        use=choice.use,
        where=where,
        works=works,
        **attrs.asdict(times),
        message=message,
        fix=fix,
    )


@asynccontextmanager
async def _opened(stage: Stage, choice: ProviderChoice, times: _Times, patience_s: float) -> AsyncGenerator[object]:
    refused: ConfigError | None = None
    async with AsyncExitStack() as stack:
        started = trio.current_time()
        with Patience(stage, patience_s, "opening") as patience:
            with port_guard(stage):
                try:
                    engine = await stack.enter_async_context(registry.open_provider(stage, choice.use, choice.settings))
                except ConfigError as error:
                    refused = error
            patience.rest()
        if refused is not None:
            raise refused
        times.open_s = trio.current_time() - started
        yield engine


def _fix(error: ProviderError, where: str) -> str:
    if isinstance(error, ProviderTimeout):
        return f"see whether the service is up and not overloaded, and whether {where} names the right address"
    if error.critical:
        return f"change {where}: trying again cannot help"
    return f"check the address and the service's own logs; {where} says where it is"


def _slow(stage: Stage, choice: ProviderChoice, times: _Times, timeouts: Timeouts) -> str:
    """Advice on a provider that works, but so slowly that a conversation would give it up."""
    session = {"stt": timeouts.stt_final_s, "llm": timeouts.llm_first_s, "tts": timeouts.tts_first_s}
    keys = {"stt": "stt_final_s", "llm": "llm_first_s", "tts": "tts_first_s"}
    if times.first_s is None or stage == "vad":
        return ""
    if choice.attempts is not None and times.first_s > choice.attempts.first_s:
        return f"slower than its attempts.first_s ({choice.attempts.first_s:g} s): the next one would have been asked"
    if times.first_s > session[stage]:
        return f"slower than [conversation.timeouts] {keys[stage]} ({session[stage]:g} s): a turn would have failed"
    return ""


# --- One small thing of each stage ---------------------------------------------------------------------------------------


async def _ask_vad(engine: object, locale: str, voice: _Voice, times: _Times) -> str:
    del locale, voice
    vad = cast("VoiceActivity", engine)
    detector = await vad.open()
    chunks = [tone(vad.chunk_samples / vad.sample_rate, vad.sample_rate)] * 20
    started = trio.current_time()
    for chunk in chunks:
        detector.process(chunk)
    times.first_s = (trio.current_time() - started) / len(chunks)
    return f"{times.first_s * 1000:.2f} ms for {1000 * vad.chunk_samples / vad.sample_rate:.0f} ms of audio"


async def _ask_tts(engine: object, locale: str, voice: _Voice, times: _Times) -> str:
    synthesizer = cast("Synthesizer", engine)

    async def phrases() -> AsyncGenerator[Phrase]:
        yield Phrase(index=0, text=SENTENCE)

    pcm = bytearray()
    started = trio.current_time()
    source = phrases()
    stream = Guarded[SpeechAudio]("tts", lambda: synthesizer.synthesize(source, locale=locale), gives=(SpeechAudio,))
    async with aclosing(source), stream as chunks:
        times.connect_s = trio.current_time() - started
        async for chunk in chunks:
            if times.first_s is None:
                times.first_s = trio.current_time() - started - times.connect_s
            pcm += chunk.pcm
    if not pcm:
        raise ProviderError("tts", "it gave no audio for a short sentence")
    if not voice.pcm:
        voice.pcm, voice.sample_rate = bytes(pcm), synthesizer.sample_rate
    return f"{bytes_to_seconds(len(pcm), synthesizer.sample_rate):.1f} s of speech"


async def _ask_stt(engine: object, locale: str, voice: _Voice, times: _Times) -> str:
    recognizer = cast("Recognizer", engine)
    rate = recognizer.sample_rate
    spoken = Resampler(voice.sample_rate, rate, quality="HQ").feed(voice.pcm, last=True) if voice.pcm else tone(1, rate)
    ended = 0.0

    async def utterance() -> AsyncGenerator[HeardAudio]:
        nonlocal ended
        for piece in split_frames(spoken, seconds_to_bytes(PIECE_S, rate)):
            yield HeardAudio(pcm=piece)
        for number in range(1, round(SILENCE_S / PIECE_S) + 1):
            yield HeardAudio(pcm=bytes(seconds_to_bytes(PIECE_S, rate)), silence_s=number * PIECE_S)
        ended = trio.current_time()

    text = None
    source = utterance()
    started = trio.current_time()
    stream = Guarded[Transcript](
        "stt",
        lambda: recognizer.transcribe(source, locale=locale, mode=SttMode.STREAMING),
        gives=(Transcript,),
    )
    async with aclosing(source), stream as transcripts:
        times.connect_s = trio.current_time() - started
        async for transcript in transcripts:
            if transcript.final:
                text = transcript.text
    if text is None:
        raise ProviderError("stt", "it ended without a final transcript")
    times.first_s = max(0.0, trio.current_time() - ended)
    seconds = len(spoken) / BYTES_PER_SAMPLE / rate
    return f"understood {len(text.split())} words in {seconds:.1f} s of {'speech' if voice.pcm else 'a tone'}"


async def _ask_llm(engine: object, locale: str, voice: _Voice, times: _Times) -> str:
    del voice
    model = cast("LanguageModel", engine)
    pieces = 0
    started = trio.current_time()
    stream = Guarded[ModelOutput](
        "llm",
        lambda: model.generate(QUESTION, locale=locale),
        gives=(TextDelta, ToolCallDelta, ToolCall, Usage, LimitReached),
    )
    async with stream as outputs:
        times.connect_s = trio.current_time() - started
        async for output in outputs:
            if isinstance(output, TextDelta):
                if times.first_s is None:
                    times.first_s = trio.current_time() - started - times.connect_s
                pieces += 1
    if not pieces:
        raise ProviderError("llm", "it gave an empty answer to a simple question")
    return f"answered in {pieces} pieces"


_ASK: Final[dict[Stage, Callable[[object, str, _Voice, _Times], Awaitable[str]]]] = {
    "vad": _ask_vad,
    "tts": _ask_tts,
    "stt": _ask_stt,
    "llm": _ask_llm,
}
