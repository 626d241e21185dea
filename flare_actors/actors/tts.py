"""The voice of one turn: phrases -> audio for the speaker, and the word on which stretch of audio speaks which phrase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from flare_actors.actors.supervision import Guarded, Patience
from flare_actors.audio import Resampler, bytes_to_seconds
from flare_actors.conversation.events import PhraseSpoken, SynthesizerFailed
from flare_actors.conversation.phrases import speakable
from flare_actors.errors import ProviderError
from flare_actors.ports import Phrase, SpeechAudio

if TYPE_CHECKING:
    from flare_actors.actors.reply import Reply

__all__ = ["speak"]


async def speak(reply: Reply, phrases: trio.MemoryReceiveChannel[Phrase]) -> None:
    """Speak phrases until they end or the synthesizer fails, which is told; the text goes to the client in any case."""
    try:
        with Patience("tts") as patience:
            await _Voice(reply, phrases, patience).run()
    except ProviderError as error:
        reply.fault(error)
        reply.tell(SynthesizerFailed(turn=reply.turn, message=error.message, critical=error.critical))


class _Voice:
    """One synthesizer stream, and the iterator that the provider takes its phrases from.

    A class, not a generator: nobody has to close it when the provider stops in the middle.
    """

    def __init__(self, reply: Reply, phrases: trio.MemoryReceiveChannel[Phrase], patience: Patience) -> None:
        self._reply = reply
        self._phrases = phrases
        self._patience = patience
        self._timeouts = reply.settings.timeouts
        self._spoken_until_s = 0.0
        self._current: int | None = None
        """The phrase whose audio is coming in."""
        self._started_s = 0.0
        self._hungry = False
        """The provider waits for the next phrase, so we do not wait for the provider."""
        self._told = -1
        """The last phrase of which PhraseSpoken was told."""

    async def run(self) -> None:
        reply = self._reply
        synthesizer = reply.agent.synthesizer
        rate = synthesizer.sample_rate
        resampler = Resampler(rate, reply.speaker.sample_rate)
        self._patience.until(self._timeouts.connect_s, "connect")
        manager = synthesizer.synthesize(self, locale=reply.command.locale)
        async with Guarded[SpeechAudio]("tts", manager) as chunks:
            self._patience.until(self._timeouts.tts_first_s, "first audio")
            async for chunk in chunks:
                if reply.closed:
                    return  # The provider swallowed its cancellation: its output is refused.
                if len(chunk.pcm) % 2:
                    raise ProviderError("tts", "tts provider gave half a sample; chunks must be whole PCM16 samples")
                self._turn_to(chunk.phrase)
                self._spoken_until_s += bytes_to_seconds(len(chunk.pcm), rate)
                self._patience.rest()  # The speaker's backpressure is not the provider's delay.
                await reply.speaker.play(reply.turn, resampler.feed(chunk.pcm))
                if not self._hungry:
                    self._patience.until(self._timeouts.tts_gap_s, "next audio")
            self._patience.rest()
            await reply.speaker.play(reply.turn, resampler.feed(b"", last=True))
        self._turn_to(None)

    def _turn_to(self, phrase: int | None) -> None:
        """Audio of another phrase begins (None: of none any more): the ones before it are spoken."""
        if phrase == self._current and phrase is not None:
            return
        if self._current is not None:
            self._tell(self._current, self._started_s)
        # Phrases without anything to pronounce have no audio, but a place.
        last = phrase - 1 if phrase is not None else self._reply.phrases - 1
        for silent in range(self._told + 1, last + 1):
            self._tell(silent, self._spoken_until_s)
        self._current, self._started_s = phrase, self._spoken_until_s

    def _tell(self, index: int, start_s: float) -> None:
        self._told = max(self._told, index)
        self._reply.tell(PhraseSpoken(turn=self._reply.turn, index=index, start_s=start_s, end_s=self._spoken_until_s))

    def __aiter__(self) -> _Voice:
        return self

    async def __anext__(self) -> Phrase:
        while True:
            try:
                phrase = await self._next_phrase()
            except trio.EndOfChannel:
                self._patience.until(self._timeouts.tts_first_s, "end of speech")
                raise StopAsyncIteration from None
            text = speakable(phrase.text)
            if text.strip():
                self._patience.until(self._timeouts.tts_first_s, "first audio of a phrase")
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
