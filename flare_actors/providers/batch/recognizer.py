"""Partial transcripts from a recogniser that gives final ones only, by asking it again while the user speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import final

import trio

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.guard import Guarded
from flare_actors.ports import HeardAudio, Locales, Recognizer, Transcript, locale_supported
from flare_actors.providers.batch.redecode import Decoded, Redecoding, redecode
from flare_actors.providers.compose.relay import Relay

__all__ = ["Redecoder", "with_partials"]


def with_partials(recognizer: Recognizer, settings: Redecoding | None = None, *, decodes: int = 2) -> Recognizer:
    """A recogniser that gives partial transcripts, made of one that does not.

    The utterance so far is decoded again while it goes on, ahead of the endpoint in a pause, and in pieces if it is long.
    Each decode is one request to the recogniser; what they cost is bounded by ``settings.partial_load``, in wall time.

    Args:
        recognizer: what decodes; asked in batch mode.
        settings: how eagerly.
        decodes: how many run at a time, for all sessions together; one of them is kept for final transcripts.
    """
    return Redecoder(recognizer, settings or Redecoding(), decodes=decodes)


class Redecoder:
    """A recogniser that asks another one again and again; see ``with_partials``."""

    def __init__(self, recognizer: Recognizer, settings: Redecoding, *, decodes: int) -> None:
        self.recognizer = recognizer
        self.settings = settings
        self.limiter = trio.CapacityLimiter(decodes)
        """Its borrowed tokens are the decodes that run."""

    @property
    def sample_rate(self) -> int:
        """Of the other one, in Hz."""
        return self.recognizer.sample_rate

    @property
    def locales(self) -> Locales:
        """What the other one understands."""
        return self.recognizer.locales

    @property
    def partials(self) -> bool:
        """That is what it is for."""
        return True

    def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AbstractAsyncContextManager[AsyncIterator[Transcript]]:
        """Understand one utterance; see ``ports.Recognizer``.

        Raises:
            UnsupportedLocale: the other one does not understand the locale.
            ProviderError: a decode failed.

        Cancellation: at once, the decodes that run included.
        """

        async def run(relay: Relay[Transcript]) -> None:
            if not locale_supported(locale, self.locales):
                raise UnsupportedLocale("stt", "the recogniser", locale, tuple(self.locales or ()))
            asked = _Asked(self, relay.nursery, locale)
            relay.connected.set()
            await redecode(
                relay,
                audio,
                self.settings,
                sample_rate=self.sample_rate,
                partials=mode is SttMode.STREAMING,
                start=asked.start,
                decode=asked.decode,
            )

        return Relay[Transcript](run)


class _Asked:
    """One utterance's decodes."""

    def __init__(self, by: Redecoder, nursery: trio.Nursery, locale: str) -> None:
        self._by = by
        self._nursery = nursery
        self._locale = locale

    def start(self, pcm: bytes, spare: bool) -> _Task | None:  # noqa: FBT001 - as redecode calls it
        limiter = self._by.limiter
        if limiter.available_tokens < min(1 + spare, limiter.total_tokens):
            return None
        task = _Task()
        limiter.acquire_on_behalf_of_nowait(task)
        self._nursery.start_soon(self._run, task, pcm)
        return task

    async def decode(self, pcm: bytes) -> Decoded:
        async with self._by.limiter:
            return await self._ask(pcm)

    async def _run(self, task: _Task, pcm: bytes) -> None:
        try:
            task.decoded = await self._ask(pcm)
        except ProviderError as error:
            task.error = error
        finally:
            self._by.limiter.release_on_behalf_of(task)
            task.ended.set()

    async def _ask(self, pcm: bytes) -> Decoded:
        started = trio.current_time()
        recognizer = self._by.recognizer
        async with Guarded[Transcript](
            "stt",
            lambda: recognizer.transcribe(_Whole(pcm), locale=self._locale, mode=SttMode.BATCH),
            gives=(Transcript,),
        ) as transcripts:
            async for transcript in transcripts:
                if transcript.final:
                    return Decoded(text=transcript.text, cost_s=trio.current_time() - started)
        raise ProviderError("stt", "stt provider ended without a final transcript")


@final
class _Task:
    """A decode in a task of its own."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.decoded: Decoded | None = None
        self.error: ProviderError | None = None

    async def wait(self) -> None:
        await self.ended.wait()

    @property
    def done(self) -> bool:
        return self.ended.is_set()

    async def result(self) -> Decoded:
        await self.ended.wait()
        if self.error is not None:
            raise self.error
        assert self.decoded is not None
        return self.decoded


class _Whole:
    """A whole utterance in one piece."""

    def __init__(self, pcm: bytes) -> None:
        self._pcm: bytes | None = pcm

    def __aiter__(self) -> _Whole:
        return self

    async def __anext__(self) -> HeardAudio:
        pcm, self._pcm = self._pcm, None
        if not pcm:
            raise StopAsyncIteration
        return HeardAudio(pcm=pcm)
