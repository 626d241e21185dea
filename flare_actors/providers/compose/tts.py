"""Synthesizers made of synthesizers: when one fails, the next one speaks on where it stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from flare_actors.audio import Resampler, bytes_to_seconds, is_pcm, seconds_to_bytes
from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, expect
from flare_actors.ports import Locales, Phrase, SpeechAudio, Synthesizer, WordTiming
from flare_actors.providers.compose.candidates import Candidate, Candidates
from flare_actors.providers.compose.relay import Log, Relay

__all__ = ["ComposedSynthesizer"]

# Two voices differ in pace: if the second says a phrase in so much more time than the first had got to when it failed, the
# phrase was over already, and the rest is no missing word. A fifth covers the voices in docs/providers.md.
PACE: Final = 0.2
PAUSE_S: Final = 0.3  # ... and in the pause that they leave after it.


class ComposedSynthesizer:
    """A synthesizer that asks others; see ``ports.Synthesizer``.

    A phrase that was being spoken when a voice failed is spoken by the next one from the same second on.

    Args:
        candidates: whom it asks. Its sample rate is the first one's; the audio of others is converted.
    """

    def __init__(self, candidates: Candidates[Synthesizer]) -> None:
        self._candidates = candidates

    @property
    def sample_rate(self) -> int:
        """Of the first of them, in Hz."""
        return self._candidates.of[0].provider.sample_rate

    @property
    def locales(self) -> Locales:
        """All that any of them speaks."""
        return self._candidates.locales

    def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AbstractAsyncContextManager[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come, by whichever voice can.

        Raises:
            ProviderError: all failed.

        Cancellation: at once.
        """
        return Relay[SpeechAudio](_Turn(self._candidates, Log(phrases), self.sample_rate, locale).run)


class _Turn:
    """One answer: what is to be spoken, and how far it is."""

    def __init__(self, candidates: Candidates[Synthesizer], log: Log[Phrase], rate: int, locale: str) -> None:
        self._candidates = candidates
        self._log = log
        self._rate = rate
        self._locale = locale
        self._relay: Relay[SpeechAudio]
        self._at = 0
        """The number in the log of the first phrase that may not be wholly spoken."""
        self._spoken_s = 0.0
        """How much of it is."""
        self._words: tuple[WordTiming, ...] = ()
        """When words of it end, where that is not passed on yet: it goes with audio."""
        self._attempt_spoke = False
        self._probed = False

    async def run(self, relay: Relay[SpeechAudio]) -> None:
        self._relay = relay
        relay.nursery.start_soon(self._log.pump)
        order = self._candidates.order(self._locale)
        errors: list[ProviderError] = []
        for candidate in order:
            try:
                await self._candidates.ask(candidate, self._speak, lambda: self._attempt_spoke)
            except ProviderError as error:
                errors.append(error)
            else:
                return
        raise self._candidates.all_failed(errors)

    async def _speak(self, candidate: Candidate[Synthesizer]) -> None:
        self._attempt_spoke = False
        rate = candidate.provider.sample_rate
        resampler = Resampler(rate, self._rate)
        skip = _Skip(self._spoken_s, self._rate)
        first = self._at
        phrases = _Phrases(self._log, first)
        async with self._asked(candidate, phrases) as chunks:
            self._relay.connected.set()
            async for chunk in chunks:
                expect("tts", is_pcm(chunk.pcm), "audio that is no bytes of whole PCM16 samples")
                number = phrases.number_of(chunk.phrase)
                expect("tts", number is not None and number >= self._at, "audio of a phrase that is not its turn")
                assert number is not None
                if not self._attempt_spoke:
                    self._attempt_spoke = True
                    candidate.worked()
                    self._probe_others(candidate)
                if number > self._at:
                    self._at, self._spoken_s, self._words = number, 0.0, ()
                pcm = resampler.feed(chunk.pcm)
                self._words += chunk.words  # Of what another voice has said already, too: told twice, it counts once.
                await self._give(chunk.phrase, skip.feed(pcm) if number == first else pcm)
        if not phrases.all_given:
            raise ProviderError("tts", "tts provider ended before it had taken all phrases")
        if phrases.given and not self._attempt_spoke and not self._spoken_s:
            raise ProviderError("tts", "tts provider ended without any audio for what it was to speak")
        tail = resampler.feed(b"", last=True)
        if phrases.given and rate != self._rate:
            await self._give(phrases.given[-1], skip.feed(tail) if self._at == first else tail)

    async def _give(self, phrase: int, pcm: bytes) -> None:
        if pcm:
            self._spoken_s += bytes_to_seconds(len(pcm), self._rate)
            words, self._words = self._words, ()
            await self._relay.give(SpeechAudio(phrase=phrase, pcm=pcm, words=words))

    def _probe_others(self, asked: Candidate[Synthesizer]) -> None:
        """Let the broken ones say the turn's first phrase."""
        if self._probed:
            return
        self._probed = True
        phrase = self._log.kept()[0]

        async def say(candidate: Candidate[Synthesizer]) -> None:
            log = Log(_Once(phrase), eager=True)
            await log.pump()
            async with self._asked(candidate, _Phrases(log, 0)) as chunks:
                async for _ in chunks:
                    return
            raise ProviderError("tts", "tts provider ended without any audio for what it was to speak")

        self._candidates.probe((asked,), say)

    @asynccontextmanager
    async def _asked(
        self, candidate: Candidate[Synthesizer], phrases: _Phrases
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio]]:
        synthesizer, attempts = candidate.provider, candidate.attempts
        with Patience("tts", attempts.connect_s, "connect") as patience:
            async with Guarded[SpeechAudio](
                "tts", lambda: synthesizer.synthesize(phrases, locale=self._locale), gives=(SpeechAudio,)
            ) as chunks:
                patience.rest()
                phrases.patience = patience
                phrases.waits = (attempts.first_s, attempts.gap_s)
                yield _Timely(chunks, phrases)
                patience.until(attempts.connect_s, "close")


class _Phrases:
    """A turn's phrases as one synthesizer takes them. It knows whether audio is due: not while there is nothing to say."""

    def __init__(self, log: Log[Phrase], first: int) -> None:
        self._log = log
        self._first = first
        self.given: list[int] = []
        """The indexes of the phrases taken, in order."""
        self.all_given = False
        self.patience: Patience | None = None
        self.waits = (0.0, 0.0)
        self._hungry = False
        """The synthesizer waits for a phrase, so nobody waits for the synthesizer."""
        self._awaited = False
        """Its audio is waited for."""
        self._sounding = False
        """Audio came since a phrase was last given."""

    def number_of(self, phrase: int) -> int | None:
        """The place in the log of a phrase that was given."""
        return self._first + self.given.index(phrase) if phrase in self.given else None

    def await_audio(self) -> None:
        self._awaited = True
        self._arm()

    def audio_came(self) -> None:
        self._awaited, self._sounding = False, True
        assert self.patience is not None
        self.patience.rest()

    def _arm(self) -> None:
        if self.patience is None or not self._awaited:
            return
        if self._hungry:
            self.patience.rest()
        elif self._sounding:
            self.patience.until(self.waits[1], "next audio")
        else:
            self.patience.until(self.waits[0], "first audio of a phrase")

    def __aiter__(self) -> _Phrases:
        return self

    async def __anext__(self) -> Phrase:
        self._hungry = True
        self._arm()
        try:
            phrase = await self._log.at(self._first + len(self.given))
        except StopAsyncIteration:
            self.all_given = True
            raise
        finally:
            self._hungry = self._sounding = False
            self._arm()
        self.given.append(phrase.index)
        return phrase


class _Timely:
    """A synthesizer's audio, waited for so long and no longer."""

    def __init__(self, chunks: AsyncIterator[SpeechAudio], phrases: _Phrases) -> None:
        self._chunks = chunks
        self._phrases = phrases

    def __aiter__(self) -> _Timely:
        return self

    async def __anext__(self) -> SpeechAudio:
        self._phrases.await_audio()
        chunk = await anext(self._chunks)
        self._phrases.audio_came()
        return chunk


class _Skip:
    """The audio of a phrase without its beginning, which another voice has spoken already.

    Args:
        seconds: how much of it is spoken.
        rate: Hz of the audio.
    """

    def __init__(self, seconds: float, rate: int) -> None:
        self._left = seconds_to_bytes(seconds, rate)
        # If there is less than this after it, the phrase was over, and it is never given.
        self._hold = seconds_to_bytes(seconds * PACE + PAUSE_S, rate) if seconds else 0
        self._held = bytearray()

    def feed(self, pcm: bytes) -> bytes:
        skipped = min(self._left, len(pcm))
        self._left -= skipped
        if not self._hold:
            return pcm[skipped:]
        self._held += pcm[skipped:]
        if len(self._held) < self._hold:
            return b""
        self._hold = 0
        return bytes(self._held)


class _Once:
    """One phrase, and no more."""

    def __init__(self, phrase: Phrase) -> None:
        self._phrase: Phrase | None = phrase

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> Phrase:
        phrase, self._phrase = self._phrase, None
        if phrase is None:
            raise StopAsyncIteration
        return phrase
