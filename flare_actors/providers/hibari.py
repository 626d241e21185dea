"""hibari: English text to speech on the CPU, about a hundred times faster than real time, at 24 kHz.

A phrase is spoken sentence by sentence in worker threads. The engine begins each sentence with 0.24-0.31 s of silence and
ends it with up to 0.5 s; a listener would wait for the former on every turn, so both are cut (docs/providers.md).
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, TypeVarTuple

import attrs
import trio

from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import Phrase, SpeechAudio, locale_supported
from flare_actors.providers._extras import need
from flare_actors.providers.batch.synthesizer import speak_phrases
from flare_actors.providers.catalog import HIBARI
from flare_actors.providers.provider import Provider

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PROVIDER", "HibariSettings", "HibariSynthesizer", "open_hibari"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SAMPLE_RATE: Final = 24_000
LOCALES: Final = ("en",)
BUNDLED_VOICE: Final = "heart"  # every other voice would be downloaded by the engine itself
QUIET: Final = 10 ** (-50 / 20)  # -50 dBFS: where a listener begins to hear
MAX_PHONEMES: Final = 400  # 25 s of speech; unbounded, a run-on text takes gigabytes
SENTENCE_END: Final = (".", "!", "?", "…", ":")
CLOSERS: Final = "\"')]\u201d\u2019"


@attrs.frozen(kw_only=True)
class HibariSettings:
    """How hibari speaks."""

    speed: float = attrs.field(default=1.0, validator=[attrs.validators.ge(0.5), attrs.validators.le(2)])
    """1 is the voice's own pace."""
    pause_s: float = attrs.field(default=0.3, validator=[attrs.validators.ge(0), attrs.validators.le(1)])
    """Silence left after a sentence; half of it after a phrase that ends inside one."""
    onset_s: float = attrs.field(default=0.005, validator=[attrs.validators.ge(0), attrs.validators.le(0.3)])
    """Silence left before the first sound."""
    threads: int = attrs.field(default=2, validator=[attrs.validators.ge(1), attrs.validators.le(64)])
    """Sentences that are synthesized at a time, by all sessions together."""


class _Engine(Protocol):
    """What we use of hibari.Hibari."""

    def phonemize(self, text: str) -> list[str]: ...

    def from_phonemes(self, phonemes: str, speed: float = 1.0) -> npt.NDArray[np.float32]: ...


class HibariSynthesizer:
    """hibari for all sessions of the process; its model is safe to share between threads.

    Args:
        settings: how it speaks.
    """

    def __init__(self, settings: HibariSettings | None = None) -> None:
        self.settings = settings or HibariSettings()
        self.limiter = trio.CapacityLimiter(self.settings.threads)
        """Bounds the work of all sessions; its borrowed tokens are the threads at work."""
        self._engine: _Engine | None = None
        self._opening = trio.Lock()

    @property
    def sample_rate(self) -> int:
        """24,000 Hz."""
        return SAMPLE_RATE

    @property
    def locales(self) -> tuple[str, ...]:
        """English only (the voice is American)."""
        return LOCALES

    async def open(self) -> None:
        """Load voice and pronunciation (0.5 s); a second call does nothing. ``synthesize`` calls it if need be.

        Raises:
            ConfigError: hibari-tts is not installed.
        """
        await self._opened()

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come; see ``ports.Synthesizer``.

        Raises:
            UnsupportedLocale: it is not English.
            ProviderError: the engine's rules fall over a phrase.

        Cancellation: at once; a sentence that is being synthesized is abandoned, and its thread comes home when it is done.
        """
        if not locale_supported(locale, LOCALES):
            raise UnsupportedLocale("tts", "hibari", locale, LOCALES)
        engine = await self._opened()
        spoken = speak_phrases(phrases, partial(self._sentences, engine), sample_rate=SAMPLE_RATE)
        async with aclosing(spoken) as chunks:
            yield chunks

    async def _opened(self) -> _Engine:
        async with self._opening:
            if self._engine is None:
                self._engine = await trio.to_thread.run_sync(_load, abandon_on_cancel=True)
            return self._engine

    async def _sentences(self, engine: _Engine, text: str) -> AsyncGenerator[bytes]:
        # Compatibility forms ("\u00b9", "\u2167") become plain ones: the engine's number reader falls over them.
        text = unicodedata.normalize("NFKC", text).strip()
        if any(map(str.isalnum, text)):
            for phonemes in await self._in_thread(_pronounce, engine, text):
                yield await self._in_thread(self._speak, engine, phonemes)

    async def _in_thread(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(call, *args, limiter=self.limiter, abandon_on_cancel=True)

    def _speak(self, engine: _Engine, phonemes: str) -> bytes:
        import numpy as np

        tail_s = self.settings.pause_s * (1.0 if phonemes.rstrip(CLOSERS).endswith(SENTENCE_END) else 0.5)
        audio = engine.from_phonemes(phonemes, speed=self.settings.speed)
        pcm = np.clip(_trim(audio, self.settings.onset_s, tail_s) * 32767.0, -32768, 32767).astype("<i2")
        return bytes(pcm.tobytes())


@asynccontextmanager
async def open_hibari(settings: HibariSettings | None = None) -> AsyncGenerator[HibariSynthesizer]:
    """A loaded synthesizer."""
    synthesizer = HibariSynthesizer(settings)
    await synthesizer.open()
    yield synthesizer


def _pronounce(engine: _Engine, text: str) -> list[str]:
    try:
        sentences = engine.phonemize(text)
    except (ValueError, LookupError, TypeError) as error:
        # Its rules meet a text they do not expect. Their message quotes it, and speech belongs into no log.
        raise ProviderError("tts", f"hibari cannot pronounce a phrase ({type(error).__name__})") from None
    return [part for sentence in sentences for part in _split(sentence)]


def _split(sentence: str) -> Iterator[str]:
    """At spaces, in stretches that the engine speaks in bounded time and memory; it cuts at clauses only."""
    while len(sentence) > MAX_PHONEMES:
        at = sentence.rfind(" ", 1, MAX_PHONEMES)
        at = MAX_PHONEMES if at < 0 else at
        yield sentence[:at]
        sentence = sentence[at:].lstrip()
    if sentence:
        yield sentence


def _load() -> _Engine:
    engine: _Engine = need("hibari").Hibari(voice=BUNDLED_VOICE)
    # Pronunciation tables and the first run's memory come lazily: not on a live turn.
    for phonemes in engine.phonemize("Ready, set, go."):
        engine.from_phonemes(phonemes)
    return engine


def _trim(audio: npt.NDArray[np.float32], onset_s: float, tail_s: float) -> npt.NDArray[np.float32]:
    """Cut the silence before the first sound to ``onset_s`` and after the last to ``tail_s``; soft edges, no click."""
    import numpy as np

    loud = np.flatnonzero(np.abs(audio) > QUIET)
    if not len(loud):
        return audio[:0]
    start = max(0, int(loud[0]) - round(onset_s * SAMPLE_RATE))
    trimmed = audio[start : int(loud[-1]) + 1 + round(tail_s * SAMPLE_RATE)].copy()
    edge = min(len(trimmed), SAMPLE_RATE // 200)  # 5 ms
    ramp = np.linspace(0, 1, edge, dtype=np.float32)
    trimmed[:edge] *= ramp
    trimmed[len(trimmed) - edge :] *= ramp[::-1]
    return trimmed


PROVIDER: Final = Provider(
    stage="tts",
    name="hibari",
    summary="hibari, an American English voice, in this process",
    settings=HibariSettings,
    open=open_hibari,
    locales=LOCALES,
    needs=lambda _: (HIBARI,),
)
