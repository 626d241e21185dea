"""Moonshine tiny: English speech to text on the CPU, 95 ms for 3 s of speech.

A batch engine behind a streaming port. What makes it quick for a conversation:

* in a pause it decodes ahead: when the ear has seen ``early_decode_s`` of silence, what is there is decoded while the
  endpoint's silence still runs; if nothing voiced follows, the final transcript is ready when the endpoint comes;
* partial transcripts are made by decoding the utterance again, within a CPU budget, and only while a handle stays free
  for somebody's final decode;
* a long utterance is decoded piecewise, cut at its pauses, so that the last decode stays short;
* every worker thread has a native handle of its own (one handle used from two threads gives wrong text).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import attrs
import trio

from flare_actors.audio import bytes_to_seconds
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import HeardAudio, Transcript, locale_supported
from flare_actors.providers._moonshine_api import SAMPLE_RATE, Decoded, Handle
from flare_actors.providers._threads import Job
from flare_actors.providers.catalog import MOONSHINE
from flare_actors.providers.provider import Provider

__all__ = ["PROVIDER", "MoonshineRecognizer", "MoonshineSettings", "open_moonshine"]

LOCALES: Final = ("en",)
# How far the ear's count of silence may lag behind the audio handed over and still mean "nothing voiced": one VAD chunk.
SILENCE_SLACK_S: Final = 0.04


@attrs.frozen(kw_only=True)
class MoonshineSettings:
    """How eagerly Moonshine decodes."""

    early_decode_s: float = attrs.field(default=0.2, validator=attrs.validators.ge(0))
    """Silence after which an utterance is decoded ahead of its endpoint; 0: never."""
    partial_every_s: float = attrs.field(default=0.5, validator=attrs.validators.gt(0))
    """New audio from one partial transcript to the next (streaming mode)."""
    partial_after_s: float = attrs.field(default=0.8, validator=attrs.validators.ge(0))
    """Audio before the first partial; from less, the model guesses words that nobody said."""
    partial_load: float = attrs.field(default=0.4, validator=[attrs.validators.gt(0), attrs.validators.le(1)])
    """The share of one core that one utterance's partials may take: long utterances get fewer of them."""
    segment_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    """An utterance is cut at its first pause (of ``early_decode_s``) after this much audio, and decoded in pieces."""
    handles: int = attrs.field(default=2, validator=[attrs.validators.ge(1), attrs.validators.le(64)])
    """Decodes that run at a time, each with about 100 MB of memory; more than there are cores gains nothing."""


class MoonshineRecognizer:
    """Moonshine for all sessions of the process.

    Args:
        settings: how eagerly it decodes.
    """

    def __init__(self, settings: MoonshineSettings | None = None) -> None:
        self.settings = settings or MoonshineSettings()
        self.limiter = trio.CapacityLimiter(self.settings.handles)
        """Bounds the decodes of all sessions; its borrowed tokens are the decodes that run."""
        self._home: deque[Handle] = deque()
        self._guard = threading.Lock()
        self._closed = False
        self._opened = False
        self._opening = trio.Lock()

    @property
    def sample_rate(self) -> int:
        """16,000 Hz."""
        return SAMPLE_RATE

    @property
    def locales(self) -> tuple[str, ...]:
        """English only."""
        return LOCALES

    async def open(self) -> None:
        """Load the model into every handle (0.2 s each); a second call does nothing. ``transcribe`` calls it if need be.

        Raises:
            ConfigError: moonshine-voice is not installed, or is not the version that brings the model.
            ProviderError: it was closed.

        Cancellation: abandons the loading; what is loaded stays for the next call.
        """
        async with self._opening:
            while not self._opened:
                self._refuse_if_closed()
                await trio.to_thread.run_sync(self._load, abandon_on_cancel=True)
                self._opened = len(self._home) >= self.settings.handles

    def close(self) -> None:
        """Free the native memory; decodes that still run free theirs when they end."""
        with self._guard:
            self._closed = True
            while self._home:
                self._home.pop().close()

    @asynccontextmanager
    async def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AsyncGenerator[AsyncIterator[Transcript]]:
        """Understand one utterance; see ``ports.Recognizer``.

        Raises:
            UnsupportedLocale: it is not English.
            ProviderError: the native library failed.

        Cancellation: at once; a decode that runs is abandoned, and its thread comes home when it is done.
        """
        if not locale_supported(locale, LOCALES):
            raise UnsupportedLocale("stt", "Moonshine", locale, LOCALES)
        await self.open()
        async with aclosing(self._results(audio, partials=mode is SttMode.STREAMING)) as results:
            yield results

    async def _results(self, audio: AsyncIterator[HeardAudio], *, partials: bool) -> AsyncGenerator[Transcript]:
        utterance = _Utterance(self.settings)
        latest: _Decode | None = None  # the last decode started
        ahead = False  # ... and nothing voiced came after what it got
        cut: _Decode | None = None  # a decode up to a pause at which a long utterance is to be cut
        told, told_complete = "", False
        async for piece in audio:
            if utterance.add(piece):
                if ahead and latest is not None and utterance.is_long:
                    cut = latest
                ahead = False
            if latest is not None and latest.job.done:
                text = utterance.account(latest, await latest.job.result())
                if partials and text and (text != told or (ahead and not told_complete)):
                    told, told_complete = text, ahead
                    yield Transcript(text=text, complete=ahead)
            if cut is not None and cut.job.done:
                utterance.cut(cut, await cut.job.result())
                cut = None
            if not ahead and utterance.pauses:
                started = self._start(utterance, spare=0)
                latest, ahead = started or latest, started is not None
            elif partials and (latest is None or latest.job.done) and utterance.wants_partial:
                latest = self._start(utterance, spare=1) or latest
        if latest is not None and (ahead or utterance.adds_nothing_to(latest)):
            text = latest.text(await latest.job.result())
        else:
            last = utterance.take()
            decoded = await trio.to_thread.run_sync(
                self._decode, last.pcm, limiter=self.limiter, abandon_on_cancel=True
            )
            text = last.text(decoded)
        yield Transcript(text=text, final=True)

    def _start(self, utterance: _Utterance, *, spare: int) -> _Decode | None:
        """Decode what is there in the background, if ``spare`` handles stay free for the final decodes of others."""
        if self.limiter.available_tokens < min(1 + spare, self.settings.handles):
            return None
        taken = utterance.take()
        return _Decode(taken=taken, job=Job(lambda: self._decode(taken.pcm), self.limiter))

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ProviderError("stt", "Moonshine was closed", critical=True)

    # --- In worker threads -----------------------------------------------------------------------------------------------

    def _load(self) -> None:
        self._give_back(Handle())

    def _decode(self, pcm: bytes) -> Decoded:
        with self._guard:
            self._refuse_if_closed()
            handle = self._home.pop() if self._home else None
        if handle is None:
            handle = Handle()
        try:
            return handle.decode(pcm)
        finally:
            self._give_back(handle)

    def _give_back(self, handle: Handle) -> None:
        with self._guard:
            if not self._closed:
                self._home.append(handle)
                return
        handle.close()


@asynccontextmanager
async def open_moonshine(settings: MoonshineSettings | None = None) -> AsyncGenerator[MoonshineRecognizer]:
    """A loaded recogniser; its native memory is freed on leaving."""
    recognizer = MoonshineRecognizer(settings)
    try:
        await recognizer.open()
        yield recognizer
    finally:
        recognizer.close()


@attrs.frozen(kw_only=True)
class _Taken:
    """The part of an utterance that a decode gets, and what was understood before it."""

    before: str = attrs.field(repr=False)
    pcm: bytes = attrs.field(repr=False)
    end: int
    """Bytes of the utterance up to the end of ``pcm``."""

    def text(self, decoded: Decoded) -> str:
        return f"{self.before} {decoded.text}".strip()


@attrs.frozen(kw_only=True)
class _Decode:
    taken: _Taken
    job: Job[Decoded]

    def text(self, decoded: Decoded) -> str:
        return self.taken.text(decoded)


class _Utterance:
    """What was heard so far, and when it is worth a decode. Pure: no clock but the audio's own."""

    def __init__(self, settings: MoonshineSettings) -> None:
        self._settings = settings
        self._pcm = bytearray()
        self._silence_s = 0.0
        self._heard = False  # any voice at all
        self._voiced = False  # ... since the last take
        self._taken = 0
        self._cost_s = 0.0
        self._before = ""
        self._start = 0

    def add(self, piece: HeardAudio) -> bool:
        """Append; True if there is voice in it. A silent piece makes the ear's silence longer by its own length."""
        self._pcm += piece.pcm
        length_s = bytes_to_seconds(len(piece.pcm), SAMPLE_RATE)
        voiced = piece.silence_s <= 0 or piece.silence_s < self._silence_s + length_s - SILENCE_SLACK_S
        self._silence_s = piece.silence_s
        self._heard = self._heard or voiced
        self._voiced = self._voiced or voiced
        return voiced

    @property
    def pauses(self) -> bool:
        early_s = self._settings.early_decode_s
        return early_s > 0 and self._heard and self._silence_s >= early_s

    @property
    def wants_partial(self) -> bool:
        new_s = bytes_to_seconds(len(self._pcm) - self._taken, SAMPLE_RATE)
        return (
            self._voiced
            and bytes_to_seconds(len(self._pcm), SAMPLE_RATE) >= self._settings.partial_after_s
            and new_s >= max(self._settings.partial_every_s, self._cost_s / self._settings.partial_load)
        )

    @property
    def is_long(self) -> bool:
        return bytes_to_seconds(len(self._pcm) - self._start, SAMPLE_RATE) >= self._settings.segment_s

    def adds_nothing_to(self, decode: _Decode) -> bool:
        return decode.taken.end == len(self._pcm)

    def take(self) -> _Taken:
        self._taken = len(self._pcm)
        self._voiced = False
        return _Taken(before=self._before, pcm=bytes(self._pcm[self._start :]), end=self._taken)

    def account(self, decode: _Decode, decoded: Decoded) -> str:
        """Take note of what a decode cost; its text."""
        self._cost_s = decoded.cost_s
        return decode.text(decoded)

    def cut(self, decode: _Decode, decoded: Decoded) -> None:
        """What this decode understood stays; later ones begin after it."""
        self._before = decode.text(decoded)
        self._start = decode.taken.end


PROVIDER: Final = Provider(
    stage="stt",
    name="moonshine",
    summary="Moonshine tiny, English, in this process",
    settings=MoonshineSettings,
    open=open_moonshine,
    locales=LOCALES,
    needs=lambda _: (MOONSHINE,),
)
