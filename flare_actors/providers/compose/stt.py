"""Recognisers made of recognisers: what was said is kept, so that another one can hear it from the beginning."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import trio

from flare_actors.audio import Resampler, seconds_to_bytes
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, expect
from flare_actors.ports import HeardAudio, Locales, Recognizer, Transcript
from flare_actors.providers.compose.candidates import Candidate, Candidates
from flare_actors.providers.compose.relay import Log, Relay

__all__ = ["ComposedRecognizer"]

KEPT_S: Final = 60.0  # twice the longest utterance that is the default; 1.9 MB at 16 kHz
IDLE_S: Final = 1.0  # A stream that ends before it got any audio, but not at once, was closed for idleness: no failure.


class ComposedRecognizer:
    """A recogniser that asks others; see ``ports.Recognizer``.

    Args:
        candidates: whom it asks. Its sample rate is the first one's; for others audio is converted.
        kept_s: audio of an utterance that is kept for the next one; one that fails later than that fails for good.
    """

    def __init__(self, candidates: Candidates[Recognizer], *, kept_s: float = KEPT_S) -> None:
        self._candidates = candidates
        self._kept_s = kept_s

    @property
    def sample_rate(self) -> int:
        """Of the first of them, in Hz."""
        return self._candidates.of[0].provider.sample_rate

    @property
    def locales(self) -> Locales:
        """All that any of them understands."""
        return self._candidates.locales

    @property
    def partials(self) -> bool:
        """Of the first of them."""
        return self._candidates.of[0].provider.partials

    def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AbstractAsyncContextManager[AsyncIterator[Transcript]]:
        """Understand one utterance, by whichever recogniser can.

        Raises:
            ProviderError: all failed, or one after more audio than is kept.

        Cancellation: at once.
        """
        rate = self.sample_rate
        log = Log(audio, eager=True, weigh=lambda piece: len(piece.pcm), limit=seconds_to_bytes(self._kept_s, rate))
        return Relay[Transcript](_Utterance(self._candidates, log, rate, locale, mode).run)


class _Utterance:
    def __init__(
        self, candidates: Candidates[Recognizer], log: Log[HeardAudio], rate: int, locale: str, mode: SttMode
    ) -> None:
        self._candidates = candidates
        self._log = log
        self._rate = rate
        self._locale = locale
        self._mode = mode
        self._relay: Relay[Transcript]
        self._begun = False

    async def run(self, relay: Relay[Transcript]) -> None:
        self._relay = relay
        relay.nursery.start_soon(self._log.pump)
        order = self._candidates.order(self._locale)
        errors: list[ProviderError] = []
        for candidate in order:
            try:
                await self._candidates.ask(candidate, self._understand, lambda: self._begun or not self._log.whole)
            except ProviderError as error:
                errors.append(error)
                if not self._log.whole:
                    raise  # The beginning is forgotten, and half an utterance is another one.
            else:
                return
        raise self._candidates.all_failed(errors)

    async def _understand(self, candidate: Candidate[Recognizer]) -> None:
        opened = trio.current_time()
        async with self._asked(candidate, self._log) as transcripts:
            self._relay.connected.set()
            async for transcript in transcripts:
                if transcript.final:
                    candidate.worked()
                    self._probe_others(candidate)
                    await self._relay.give(transcript)
                    return
                self._begun = True
                await self._relay.give(transcript)
        if self._log.count == 0 and not self._log.ended and trio.current_time() - opened >= IDLE_S:
            return
        raise ProviderError("stt", "stt provider ended without a final transcript")

    def _probe_others(self, asked: Candidate[Recognizer]) -> None:
        """Now that the utterance is over, let the broken ones hear it, too."""
        if self._log.whole and self._log.ended:
            heard = self._log.kept()

            async def again(candidate: Candidate[Recognizer]) -> None:
                log = Log(_Recorded(heard), eager=True)
                await log.pump()
                async with self._asked(candidate, log) as transcripts:
                    async for transcript in transcripts:
                        if transcript.final:
                            return
                raise ProviderError("stt", "stt provider ended without a final transcript")

            self._candidates.probe((asked,), again)

    @asynccontextmanager
    async def _asked(
        self, candidate: Candidate[Recognizer], log: Log[HeardAudio]
    ) -> AsyncGenerator[AsyncIterator[Transcript]]:
        recognizer, attempts = candidate.provider, candidate.attempts
        with Patience("stt", attempts.connect_s, "connect") as patience:
            heard = _Heard(log, self._rate, recognizer.sample_rate)
            async with Guarded[Transcript](
                "stt",
                lambda: recognizer.transcribe(heard, locale=self._locale, mode=self._mode),
                gives=(Transcript,),
            ) as transcripts:
                patience.rest()
                # Whether the provider reads on or not: from the end of the utterance on, its transcript is due.
                log.when_ended(lambda: patience.until(attempts.first_s, "final transcript"))
                yield _Checked(transcripts)
                log.when_ended(lambda: None)
                patience.until(attempts.connect_s, "close")


class _Checked:
    """Transcripts that are what they should be."""

    def __init__(self, transcripts: AsyncIterator[Transcript]) -> None:
        self._transcripts = transcripts

    def __aiter__(self) -> _Checked:
        return self

    async def __anext__(self) -> Transcript:
        transcript = await anext(self._transcripts)
        expect("stt", isinstance(transcript.text, str), "a transcript whose text is no str")
        return transcript


class _Recorded:
    """What was heard, once more."""

    def __init__(self, pieces: tuple[HeardAudio, ...]) -> None:
        self._pieces = iter(pieces)

    def __aiter__(self) -> _Recorded:
        return self

    async def __anext__(self) -> HeardAudio:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class _Heard:
    """An utterance from its beginning, at the rate that a recogniser takes."""

    def __init__(self, log: Log[HeardAudio], rate: int, wanted: int) -> None:
        self._log = log
        self._next = 0
        self._resampler = Resampler(rate, wanted)
        self._silence_s = 0.0
        self._flushed = rate == wanted

    def __aiter__(self) -> _Heard:
        return self

    async def __anext__(self) -> HeardAudio:
        while True:
            try:
                piece = await self._log.at(self._next)
            except StopAsyncIteration:
                if self._flushed:
                    raise
                self._flushed = True
                tail = self._resampler.feed(b"", last=True)
                if not tail:
                    raise
                return HeardAudio(pcm=tail, silence_s=self._silence_s)
            self._next += 1
            self._silence_s = piece.silence_s
            pcm = self._resampler.feed(piece.pcm)
            if pcm:  # The filter may keep the first milliseconds to itself.
                return HeardAudio(pcm=pcm, silence_s=piece.silence_s)
