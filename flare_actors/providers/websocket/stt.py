"""Any service that takes audio over a WebSocket and sends transcripts back, described by an ``SttProtocol``."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

import trio

from flare_actors.audio import bytes_to_seconds, seconds_to_bytes
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import HeardAudio, Locales, Transcript, locale_supported
from flare_actors.providers.compose.relay import Relay
from flare_actors.providers.websocket.line import Dialler, Line, told_error
from flare_actors.providers.websocket.mapping import Json, SttProtocol, dig, matches, number

__all__ = ["WebSocketRecognizer"]

SLACK_S: Final = 0.05  # services count their audio in steps
MAX_TEXT: Final = 1 << 16  # characters of one utterance: half an hour of speech


class WebSocketRecognizer:
    """A streaming recogniser of a service; see ``ports.Recognizer``.

    Args:
        protocol: what the service's messages mean.
        dialler: opens connections to it.
        query: of the connection's URL; ``$locale`` and ``$language`` are filled in.
        sample_rate: Hz of the audio that it is sent.
        locales: what it understands.
        ahead: connect before the user speaks. Saves nothing if the connection is there before the first words are spoken,
            which it is if it takes less than a short utterance; costs money with services that are paid by the open minute.
    """

    def __init__(
        self,
        protocol: SttProtocol,
        dialler: Dialler,
        query: Mapping[str, str],
        *,
        sample_rate: int,
        locales: Locales,
        ahead: bool,
    ) -> None:
        self._protocol = protocol
        self._dialler = dialler
        self._query = query
        self._sample_rate = sample_rate
        self._locales = locales
        self._ahead = ahead

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that it takes."""
        return self._sample_rate

    @property
    def locales(self) -> Locales:
        """What it understands."""
        return self._locales

    @property
    def partials(self) -> bool:
        """These services write down while they listen."""
        return True

    def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AbstractAsyncContextManager[AsyncIterator[Transcript]]:
        """Understand one utterance; see ``ports.Recognizer``.

        Raises:
            UnsupportedLocale: the service does not know the locale.
            ProviderError: no connection, a refusal, an error that the service tells, or a line that breaks.

        Cancellation: at once; the connection is closed.
        """
        if not locale_supported(locale, self._locales):
            raise UnsupportedLocale("stt", self._protocol.service, locale, tuple(self._locales or ()))
        names = {"$locale": locale, "$language": locale.partition("-")[0].lower()}
        query = {key: names.get(value, value) for key, value in self._query.items()}
        utterance = _Utterance(
            self._protocol, self._dialler, query, audio, rate=self._sample_rate, partials=mode is SttMode.STREAMING
        )
        return Relay[Transcript](utterance.run_ahead if self._ahead else utterance.run_late)


class _Utterance:
    """One utterance on one line."""

    def __init__(
        self,
        protocol: SttProtocol,
        dialler: Dialler,
        query: Mapping[str, str],
        audio: AsyncIterator[HeardAudio],
        *,
        rate: int,
        partials: bool,
    ) -> None:
        self._protocol = protocol
        self._dialler = dialler
        self._query = query
        self._audio = audio
        self._rate = rate
        self._partials = partials
        self._first: HeardAudio | None = None
        self._talking = trio.Event()
        """Audio has come, or will never come."""
        self._finished = False
        """Everything has been sent."""
        self._heard_s = 0.0
        self._voiced_s = 0.0
        """Up to where there was voice in what was sent."""
        self._stretches: dict[object, str] = {}
        self._told = ("", False)

    async def run_ahead(self, relay: Relay[Transcript]) -> None:
        await self._run(relay)

    async def run_late(self, relay: Relay[Transcript]) -> None:
        relay.connected.set()
        try:
            self._first = await anext(self._audio)
        except StopAsyncIteration:
            await relay.give(Transcript(text="", final=True))
            return
        await self._run(relay)

    async def _run(self, relay: Relay[Transcript]) -> None:
        async with self._dialler.dial(self._query) as line:
            if self._protocol.ready_when:
                await self._wait_ready(line)
            relay.connected.set()
            relay.nursery.start_soon(self._send, line)
            if self._protocol.keep_alive is not None:
                relay.nursery.start_soon(self._keep_alive, line)
            while not self._read(message := await line.receive()):
                text, complete = self._text(), self._complete(message)
                if self._partials and text and (text != self._told[0] or complete > self._told[1]):
                    self._told = (text, complete)
                    await relay.give(Transcript(text=text, complete=complete))
            if not self._finished:
                if not self._talking.is_set():
                    return  # Nobody spoke for long, and it has hung up in good order.
                raise ProviderError("stt", f"{self._protocol.service} hung up in the middle of an utterance")
            await relay.give(Transcript(text=self._text(), final=True))

    async def _wait_ready(self, line: Line) -> None:
        while not matches(message := await line.receive(), self._protocol.ready_when):
            self._complain(message)
            if message is None:
                raise ProviderError("stt", f"{self._protocol.service} hung up before it was ready")

    def _read(self, message: Json) -> bool:
        """Take note of a message; whether it was the last."""
        protocol = self._protocol
        self._complain(message)
        if matches(message, protocol.text_when):
            text = dig(message, protocol.text)
            if not isinstance(text, str):
                raise ProviderError("stt", f"{protocol.service} sent a transcript without text")
            found = dig(message, protocol.key)
            key = found if isinstance(found, str | int | float) else None
            if text or key in self._stretches:
                self._stretches[key] = text
            if sum(map(len, self._stretches.values())) > MAX_TEXT:
                raise ProviderError(
                    "stt", f"{protocol.service} gives more than {MAX_TEXT} characters for one utterance"
                )
        return message is None or (self._finished and matches(message, protocol.done_when))

    def _complain(self, message: Json) -> None:
        if matches(message, self._protocol.error_when):
            raise told_error("stt", self._protocol.service, dig(message, self._protocol.error_code))

    def _text(self) -> str:
        return " ".join(text.strip() for text in self._stretches.values() if text.strip())

    def _complete(self, message: Json) -> bool:
        """Whether the text holds everything that was voiced up to now, as far as the service tells."""
        if self._protocol.until_s:
            ends = [number(message, path) for path in self._protocol.until_s]
            return sum(math.nan if end is None else end for end in ends) >= self._voiced_s - SLACK_S
        return bool(dig(message, self._protocol.settled)) if self._protocol.settled else False

    # --- Sending, in a task of its own --------------------------------------------------------------------------------

    async def _send(self, line: Line) -> None:
        protocol = self._protocol
        least, most = (seconds_to_bytes(each, self._rate) for each in (protocol.least_s, protocol.most_s))
        waiting = bytearray()
        piece = self._first or await anext(self._audio, None)
        while piece is not None:
            self._talking.set()
            self._heard_s += bytes_to_seconds(len(piece.pcm), self._rate)
            self._voiced_s = max(self._voiced_s, self._heard_s - piece.silence_s)
            waiting += piece.pcm
            while len(waiting) >= least:
                part, waiting = bytes(waiting[:most]), waiting[most:]
                if not await line.send(part):
                    return
            piece = await anext(self._audio, None)
        if waiting:
            part = bytes(waiting).ljust(least, b"\0") if protocol.pad_last else bytes(waiting)
            if not await line.send(part):
                return
        self._talking.set()
        self._finished = True
        for message in protocol.finish:
            if not await line.send(message):
                return

    async def _keep_alive(self, line: Line) -> None:
        while not self._talking.is_set():
            with trio.move_on_after(self._protocol.keep_alive_s):
                await self._talking.wait()
            if not self._talking.is_set() and not await line.send(self._protocol.keep_alive):
                return
