"""Moonshine tiny: English speech to text on the CPU, 95 ms for 3 s of speech.

A batch engine behind a streaming port (``batch.redecode``). Every worker thread has a native handle of its own: one handle used
from two threads gives wrong text.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import HeardAudio, Transcript, locale_supported
from flare_actors.providers._moonshine_api import SAMPLE_RATE, Handle
from flare_actors.providers._threads import Job
from flare_actors.providers.batch.redecode import Decoded, Redecoding, redecode
from flare_actors.providers.catalog import MOONSHINE
from flare_actors.providers.compose.relay import Relay
from flare_actors.providers.provider import Provider

__all__ = ["PROVIDER", "MoonshineRecognizer", "MoonshineSettings", "open_moonshine"]

LOCALES: Final = ("en",)


@attrs.frozen(kw_only=True)
class MoonshineSettings(Redecoding):
    """How eagerly Moonshine decodes."""

    early_decode_s: float = attrs.field(default=0.03, validator=attrs.validators.ge(0))
    """Silence after which an utterance is decoded ahead of its endpoint; 0: never. The default is one chunk of the voice
    detector's: most of the decode has been done when the pause is told of."""
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

    @property
    def partials(self) -> bool:
        """It decodes again and again while the user speaks."""
        return True

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

        async def run(relay: Relay[Transcript]) -> None:
            relay.connected.set()
            await redecode(
                relay,
                audio,
                self.settings,
                sample_rate=SAMPLE_RATE,
                partials=mode is SttMode.STREAMING,
                start=self._start,
                decode=lambda pcm: trio.to_thread.run_sync(
                    self._decode, pcm, limiter=self.limiter, abandon_on_cancel=True
                ),
            )

        async with Relay[Transcript](run) as results:
            yield results

    def _start(self, pcm: bytes, spare: bool) -> Job[Decoded] | None:  # noqa: FBT001 - as redecode calls it
        """Decode in the background, if handles stay free for the final decodes of others."""
        if self.limiter.available_tokens < min(1 + spare, self.settings.handles):
            return None
        return Job(lambda: self._decode(pcm), self.limiter)

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


PROVIDER: Final = Provider(
    stage="stt",
    name="moonshine",
    summary="Moonshine tiny, English, in this process",
    settings=MoonshineSettings,
    open=open_moonshine,
    locales=LOCALES,
    needs=lambda _: (MOONSHINE,),
)
