"""The voice of one turn: phrases -> audio for the speaker, and the word on which stretch of audio speaks which phrase."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from flare_actors.audio import Resampler, bytes_to_seconds, is_pcm, seconds_to_bytes
from flare_actors.conversation.events import PhraseSpoken, SynthesizerFailed, WordsSpoken
from flare_actors.conversation.history import SpokenWord
from flare_actors.conversation.phrases import speakable
from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, expect, port_guard
from flare_actors.ports import Phrase, SpeechAudio, WordTiming

if TYPE_CHECKING:
    from flare_actors.actors.reply import Reply

__all__ = ["speak"]


async def speak(reply: Reply, phrases: trio.MemoryReceiveChannel[Phrase]) -> None:
    """Speak phrases until they end or the synthesizer fails, which is told; the text goes to the client in any case."""
    voice = _Voice(reply, phrases)
    try:
        await voice.run()
    except ProviderError as error:
        voice.hand_on_rest()
        reply.fault(error)
        reply.tell(SynthesizerFailed(turn=reply.turn, message=error.message, critical=error.critical))


class _Voice:
    """One synthesizer stream, and the iterator that the provider takes its phrases from.

    A class, not a generator: nobody has to close it when the provider stops in the middle.
    """

    AHEAD_S: Final = 1.0  # While the speaker has so much in hand, nobody waits for what comes:
    GATHERED_S: Final = 0.24  # it goes on in pieces of this, since a piece costs the same whatever its length.

    def __init__(self, reply: Reply, phrases: trio.MemoryReceiveChannel[Phrase]) -> None:
        self._reply = reply
        self._phrases = phrases
        self._timeouts = reply.settings.timeouts
        self._patience = Patience("tts", self._timeouts.connect_s, "connect")
        self._spoken_until_s = 0.0
        self._current: int | None = None
        """The phrase whose audio is coming in."""
        self._started_s = 0.0
        self._given = -1
        """The last phrase that the provider was given."""
        self._chars: dict[int, int] = {}
        """The length of what the provider was given, by phrase, of those that are not spoken."""
        self._told = -1
        """The last phrase of which PhraseSpoken was told."""
        self._all_given = False
        self._hungry = False
        """The provider waits for the next phrase, so we do not wait for the provider."""
        self._resampler: Resampler | None = None
        """To the speaker's rate; None before there is audio, and when that was all."""
        self._gathered = bytearray()
        """Audio at the provider's rate that has not gone on yet."""
        self._busy = False
        """The audio that came last is being played: what the provider does meanwhile (it may take phrases ahead, in a task
        of its own) is nobody's delay."""

    async def run(self) -> None:
        """Speak.

        Raises:
            ProviderError: the synthesizer failed; what it gave before may be gathered still.
        """
        with self._patience:
            await self._run()

    def hand_on_rest(self) -> None:
        """What was gathered is to be heard, although no more will come."""
        self._reply.speaker.take(self._reply.turn, self._gather(last=True))

    def _gather(self, *, last: bool = False) -> bytes:
        """What was gathered, at the speaker's rate; ``last`` with the filter's tail, once."""
        if self._resampler is None or not (self._gathered or last):
            return b""
        gathered = bytes(self._gathered)
        self._gathered.clear()
        resampler = self._resampler
        if last:
            self._resampler = None
        return resampler.feed(gathered, last=last)

    async def _run(self) -> None:
        reply = self._reply
        synthesizer = reply.agent.synthesizer
        with port_guard("tts"):  # An engine that was never opened may not even know its rate.
            rate = synthesizer.sample_rate
            self._resampler = Resampler(rate, reply.speaker.sample_rate)
        # Whatever the provider waits for, or makes us wait for: what it has given is heard in time.
        reply.speaker.draw_on(reply.turn, self._gather)
        enough = seconds_to_bytes(self.GATHERED_S, rate)
        async with Guarded(
            "tts", lambda: synthesizer.synthesize(self, locale=reply.command.locale), gives=(SpeechAudio,)
        ) as chunks:
            self._expect(self._timeouts.tts_first_s, "first audio")
            async for chunk in chunks:
                if reply.closed:
                    return  # The provider swallowed its cancellation: its output is refused.
                self._check(chunk)
                await self._turn_to(chunk.phrase)
                self._tell_words(chunk)
                self._spoken_until_s += bytes_to_seconds(len(chunk.pcm), rate)
                self._gathered += chunk.pcm
                if len(self._gathered) >= enough or reply.speaker.ahead_s < self.AHEAD_S:
                    await self._play()
                self._expect(self._timeouts.tts_gap_s, "next audio")
            if not self._all_given:
                raise ProviderError("tts", "tts provider ended before it had taken all phrases")
            if self._given >= 0 and not self._spoken_until_s:
                raise ProviderError("tts", "tts provider ended without any audio for what it was to speak")
            await self._play(last=True)
            self._patience.until(self._timeouts.connect_s, "close")
        await self._turn_to(None)

    def _check(self, chunk: SpeechAudio) -> None:
        expect("tts", is_pcm(chunk.pcm), "audio that is no bytes of whole PCM16 samples")
        expect("tts", chunk.phrase in self._chars, "audio of a phrase that is not its turn")
        expect("tts", _are_timings(chunk.words), "words that end at no time")

    def _tell_words(self, chunk: SpeechAudio) -> None:
        """When words end, as a share of what is spoken of the phrase: the core's own text may have marks for the eye."""
        if not chunk.words:
            return
        chars = self._chars[chunk.phrase]
        words = tuple(
            SpokenWord(share=min(1.0, each.chars / chars), at_s=self._started_s + max(0.0, each.end_s))
            for each in chunk.words
        )
        self._reply.tell(WordsSpoken(turn=self._reply.turn, index=chunk.phrase, words=words))

    async def _play(self, *, last: bool = False) -> None:
        """Hand audio on; the speaker's backpressure is not the provider's delay."""
        self._busy = True
        await self._reply.speaker.play(self._reply.turn, self._gather(last=last), self._patience.rest)
        self._busy = False

    def _expect(self, seconds: float, what: str) -> None:
        """Audio is due now, unless the provider has nothing to speak, or we are not ready for more."""
        if not self._hungry and not self._busy:
            self._patience.renew(seconds, what)

    async def _turn_to(self, phrase: int | None) -> None:
        """Audio of another phrase begins (None: of none any more): the ones before it are spoken."""
        if phrase == self._current and phrase is not None:
            return
        if self._current is not None:
            self._tell(self._current, self._started_s)
        # Phrases without anything to pronounce have no audio, but a place.
        last = phrase - 1 if phrase is not None else self._reply.phrases - 1
        for silent in range(self._told + 1, last + 1):
            self._tell(silent, self._spoken_until_s)
            await self._reply.relieve()
        self._current, self._started_s = phrase, self._spoken_until_s

    def _tell(self, index: int, start_s: float) -> None:
        self._told = max(self._told, index)
        self._chars.pop(index, None)
        self._reply.tell(PhraseSpoken(turn=self._reply.turn, index=index, start_s=start_s, end_s=self._spoken_until_s))

    def __aiter__(self) -> _Voice:
        return self

    async def __anext__(self) -> Phrase:
        while True:
            try:
                phrase = await self._next_phrase()
            except trio.EndOfChannel:
                self._all_given = True
                self._expect(self._timeouts.tts_first_s, "end of speech")
                raise StopAsyncIteration from None
            text = speakable(phrase.text)
            if text.strip():
                self._given = phrase.index
                self._chars[phrase.index] = len(text)
                self._expect(self._timeouts.tts_first_s, "first audio of a phrase")
                return Phrase(index=phrase.index, text=text)

    async def _next_phrase(self) -> Phrase:
        try:
            return self._phrases.receive_nowait()
        except trio.WouldBlock:
            self._hungry = True
            self._patience.rest()
            try:
                return await self._phrases.receive()
            finally:
                self._hungry = False


def _are_timings(words: object) -> bool:
    return isinstance(words, tuple) and all(
        isinstance(each, WordTiming) and _is_number(each.chars) and _is_number(each.end_s) for each in words
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
