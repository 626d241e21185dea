"""Any service that takes text over a WebSocket and sends audio back, described by a ``TtsProtocol``."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager

import trio

from flare_actors.audio import BYTES_PER_SAMPLE, bytes_to_seconds
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import Locales, Phrase, SpeechAudio, WordTiming, locale_supported
from flare_actors.providers._pcm import MAX_PHRASE_S
from flare_actors.providers.compose.relay import Relay
from flare_actors.providers.websocket.line import Dialler, Line, told_error
from flare_actors.providers.websocket.mapping import Json, TtsProtocol, dig, fill, matches
from flare_actors.providers.websocket.words import WordFinder

__all__ = ["WebSocketSynthesizer"]


class WebSocketSynthesizer:
    """A streaming voice of a service; see ``ports.Synthesizer``.

    Args:
        protocol: what the service's messages mean.
        dialler: opens connections to it.
        query: of the connection's URL; ``$language`` is filled in.
        values: what the protocol's messages are filled in with, besides ``$text``, ``$context`` and ``$language``.
        sample_rate: Hz of the audio that it sends.
        locales: what it speaks.
    """

    def __init__(
        self,
        protocol: TtsProtocol,
        dialler: Dialler,
        query: Mapping[str, str],
        values: Mapping[str, Json],
        *,
        sample_rate: int,
        locales: Locales = None,
    ) -> None:
        self._protocol = protocol
        self._dialler = dialler
        self._query = query
        self._values = values
        self._sample_rate = sample_rate
        self._locales = locales

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that it gives."""
        return self._sample_rate

    @property
    def locales(self) -> Locales:
        """What it speaks."""
        return self._locales

    def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AbstractAsyncContextManager[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come; see ``ports.Synthesizer``.

        Raises:
            UnsupportedLocale: the service does not know the locale.
            ProviderError: no connection, a refusal, an error that the service tells, or a line that breaks.

        Cancellation: at once; the connection is closed, which ends the work of the service.
        """
        if not locale_supported(locale, self._locales):
            raise UnsupportedLocale("tts", self._protocol.service, locale, tuple(self._locales or ()))
        language = locale.partition("-")[0].lower()
        query = {key: language if value == "$language" else value for key, value in self._query.items()}
        values = {**self._values, "language": language}
        answer = _Answer(self._protocol, self._dialler, query, values, phrases, rate=self._sample_rate)
        return Relay[SpeechAudio](answer.run)


class _Answer:
    """One answer on one line."""

    def __init__(
        self,
        protocol: TtsProtocol,
        dialler: Dialler,
        query: Mapping[str, str],
        values: Mapping[str, Json],
        phrases: AsyncIterator[Phrase],
        *,
        rate: int,
    ) -> None:
        self._protocol = protocol
        self._dialler = dialler
        self._query = query
        self._values = values
        self._phrases = phrases
        self._rate = rate
        self._timings = (protocol.characters, protocol.char_starts_ms, protocol.char_durations_ms)
        self._name = uuid.uuid4().hex
        self._sent: list[int] = []
        """The indexes of the phrases sent, in order."""
        self._finders: list[WordFinder] = []
        """For the words of each of them."""
        self._words: tuple[WordTiming, ...] = ()
        """Words of the phrase that is being spoken whose timing is told with its next audio."""
        self._ends: list[int] = []
        """How many characters (but white space) were sent up to the end of each."""
        self._characters = 0
        """How many of them are spoken."""
        self._current = 0
        """The number of the phrase that is being spoken, among those sent."""
        self._odd = b""
        """Half a sample, whose other half is still to come."""
        self._bytes = 0
        """Audio of that phrase so far."""
        self._done = trio.Event()
        """The phrase sent last is spoken."""
        self._all_sent = False
        self._receiving = trio.CancelScope()
        """Ended from here when nothing more is to come."""

    async def run(self, relay: Relay[SpeechAudio]) -> None:
        async with self._dialler.dial(self._query) as line:
            for message in self._protocol.open:
                await line.send(fill(message, self._values))
            relay.connected.set()
            relay.nursery.start_soon(self._send, line)
            if self._protocol.keep_alive is not None:
                relay.nursery.start_soon(self._keep_alive, line)
            with self._receiving:
                while not self._ended(message := await line.receive()):
                    if matches(message, self._protocol.audio_when):
                        await self._give(relay, message)
                    elif self._protocol.words_when and matches(message, self._protocol.words_when):
                        self._hear_of_words(message)
                    if matches(message, self._protocol.phrase_done_when) and self._is_current(message):
                        self._done.set()
                if message is None:
                    raise ProviderError("tts", f"{self._protocol.service} hung up in the middle of an answer")

    def _ended(self, message: Json) -> bool:
        protocol = self._protocol
        if matches(message, protocol.error_when):
            raise told_error("tts", protocol.service, dig(message, protocol.error_code))
        return message is None or (self._all_sent and matches(message, protocol.done_when))

    async def _give(self, relay: Relay[SpeechAudio], message: Json) -> None:
        data = dig(message, self._protocol.audio)
        try:
            pcm = self._odd + base64.b64decode(data if isinstance(data, str) else "!", validate=True)
        except (binascii.Error, ValueError):
            raise ProviderError("tts", f"{self._protocol.service} sent audio that is no base64") from None
        # A sample may be cut in two by the service's own framing.
        whole = len(pcm) - len(pcm) % BYTES_PER_SAMPLE
        pcm, self._odd = pcm[:whole], pcm[whole:]
        if not self._sent or not self._is_current(message):
            raise ProviderError("tts", f"{self._protocol.service} sent audio of a phrase that it was not given")
        before = self._current
        self._count(dig(message, self._protocol.characters) if self._protocol.characters else None)
        if self._current != before:
            self._bytes, self._words = 0, ()
        self._words += self._finders[self._current].characters(
            *(dig(message, path) if path else None for path in self._timings),
            since_s=bytes_to_seconds(self._bytes, self._rate),
        )
        self._bytes += len(pcm)
        if bytes_to_seconds(self._bytes, self._rate) > MAX_PHRASE_S:
            what = f"gives more than {MAX_PHRASE_S:g} s of speech for one phrase"
            raise ProviderError("tts", f"{self._protocol.service} {what}")
        if pcm:
            words, self._words = self._words, ()
            await relay.give(SpeechAudio(phrase=self._sent[self._current], pcm=pcm, words=words))

    def _hear_of_words(self, message: Json) -> None:
        if self._sent and self._is_current(message):
            number = len(self._sent) - 1
            if number != self._current:
                self._current, self._bytes, self._words = number, 0, ()
            protocol = self._protocol
            self._words += self._finders[number].words(dig(message, protocol.words), dig(message, protocol.word_ends_s))

    def _count(self, characters: Json) -> None:
        """Find the phrase that the first of these characters belongs to."""
        if not isinstance(characters, list):
            if not self._protocol.characters:
                self._current = len(self._sent) - 1
            return
        spoken = sum(not each.isspace() for text in characters if isinstance(text, str) for each in text)
        if spoken:
            while self._current + 1 < len(self._ends) and self._characters >= self._ends[self._current]:
                self._current += 1
            self._characters += spoken

    def _is_current(self, message: Json) -> bool:
        key = self._protocol.phrase_key
        return not key or dig(message, key) == self._context(len(self._sent) - 1)

    def _context(self, number: int) -> str:
        return f"{self._name}-{number}"

    # --- Sending, in a task of its own --------------------------------------------------------------------------------

    async def _send(self, line: Line) -> None:
        protocol = self._protocol
        async for phrase in self._phrases:
            if not any(map(str.isalnum, phrase.text)):
                continue  # nothing to pronounce, which some services refuse
            self._done = trio.Event()
            self._sent.append(phrase.index)
            self._finders.append(WordFinder(phrase.text))
            letters = sum(not each.isspace() for each in phrase.text)
            self._ends.append(letters + (self._ends[-1] if self._ends else 0))
            values = {**self._values, "text": phrase.text.strip() + " ", "context": self._context(len(self._sent) - 1)}
            for message in protocol.say:
                if not await line.send(fill(message, values)):
                    return
            if protocol.phrase_done_when:
                await self._done.wait()
                self._odd = b""  # Half a sample at its end would be the next phrase's noise.
        self._all_sent = True
        for message in protocol.finish:
            if not await line.send(fill(message, self._values)):
                return
        if protocol.phrase_done_when:
            self._receiving.cancel(reason="every phrase is spoken")

    async def _keep_alive(self, line: Line) -> None:
        while True:
            await trio.sleep(self._protocol.keep_alive_s)
            if self._all_sent or not await line.send(self._protocol.keep_alive):
                return
