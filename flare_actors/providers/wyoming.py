"""Wyoming servers, the Home Assistant ecosystem's speech engines, over TCP: faster-whisper, Piper and a hundred others.

One connection per utterance and one per answer; closing it is how the protocol cancels. The server's ``info`` says what it can:
where it gives transcripts piece by piece, they are partial ones here; where it takes text piece by piece, it is asked that way,
phrase by phrase: a server's own sentence splitter waits for the next sentence before it speaks the first, and would not tell
which audio speaks which phrase.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import attrs

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.ports import HeardAudio, Locales, Phrase, SpeechAudio, Transcript
from flare_actors.providers._again import RetrySettings
from flare_actors.providers._beside import beside
from flare_actors.providers._pcm import PcmReader
from flare_actors.providers._wyoming_codec import Event
from flare_actors.providers._wyoming_wire import Connection, ConnectionLost, WyomingServer, audio_format, check_uri
from flare_actors.providers.provider import Provider

__all__ = [
    "RECOGNIZER",
    "SYNTHESIZER",
    "WyomingRecognizer",
    "WyomingSpeech",
    "WyomingSttSettings",
    "WyomingTtsSettings",
    "open_wyoming_recognizer",
    "open_wyoming_synthesizer",
]

SAMPLE_RATE: Final = 16_000  # what Wyoming's recognisers work with; others are converted by the server
MAX_TEXT: Final = 1 << 16


@attrs.frozen(kw_only=True)
class WyomingSttSettings(RetrySettings):
    """Where the recogniser is."""

    uri: str = attrs.field(default="tcp://127.0.0.1:10300", validator=check_uri)
    """``tcp://HOST:PORT``, as the server was started with."""
    model: str | None = None
    """As the server's ``info`` names it. None: the server's own."""
    connect_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    """Until the TCP connection is there."""


@attrs.frozen(kw_only=True)
class WyomingTtsSettings(RetrySettings):
    """Where the synthesizer is, and which voice speaks."""

    uri: str = attrs.field(default="tcp://127.0.0.1:10200", validator=check_uri)
    """``tcp://HOST:PORT``, as the server was started with."""
    voice: str | None = None
    """As the server's ``info`` names it, e.g. ``en_US-joe-medium``. None: the server's own."""
    speaker: str | None = attrs.field(default=None)
    """Of a ``voice`` with several."""
    sample_rate: int = attrs.field(default=22_050, validator=[attrs.validators.ge(8_000), attrs.validators.le(48_000)])
    """Hz of what is given on; a voice at another rate is resampled to it (Piper's: 22,050; ``low`` and ``x-low``: 16,000)."""
    connect_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    """Until the TCP connection is there."""

    @speaker.validator
    def _has_a_voice(self, _: object, value: str | None) -> None:
        if value is not None and self.voice is None:
            raise ValueError("needs a voice whose speaker it is")


# --- Hearing -------------------------------------------------------------------------------------------------------------


class WyomingRecognizer:
    """A Wyoming speech-to-text server, for all sessions of the process.

    Args:
        settings: where it is.
    """

    def __init__(self, settings: WyomingSttSettings | None = None) -> None:
        self.settings = settings or WyomingSttSettings()
        self._server = WyomingServer("stt", self.settings, self.settings.model)

    @property
    def sample_rate(self) -> int:
        """16,000 Hz."""
        return SAMPLE_RATE

    @property
    def locales(self) -> Locales:
        """What the server says of its model; None until it was asked."""
        return self._server.languages

    @property
    def partials(self) -> bool:
        """Few servers tell words before the utterance is over, and none says whether it does."""
        return False

    async def open(self) -> None:
        """Ask the server what it is, if it is there.

        Raises:
            ProviderError: what answers is not such a server, or has no such model.
        """
        await self._server.greet()

    async def check(self) -> tuple[str, ...]:
        """Ask the server for the names of its models.

        Raises:
            ProviderError: it is not there, or has no such model.
        """
        return await self._server.check()

    @asynccontextmanager
    async def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AsyncGenerator[AsyncIterator[Transcript]]:
        """Understand one utterance; see ``ports.Recognizer``. Audio is sent as it is spoken.

        A server that closes the connection before it got any audio was bored: the stream then ends without a transcript.

        Raises:
            UnsupportedLocale: the server's model does not know it.
            ProviderError: no connection, or it was lost, or what comes is not Wyoming.

        Cancellation: at once; it closes the connection.
        """
        connection, program = await self._server.dial()
        try:
            request: dict[str, object] = {}
            if (language := self._server.language(program, locale)) is not None:
                request["language"] = language
            if self.settings.model is not None:
                request["name"] = self.settings.model
            format_ = audio_format(SAMPLE_RATE)
            await connection.send(Event(type="transcribe", data=request), Event(type="audio-start", data=format_))
            sending = _Sending(connection, audio)
            async with (
                beside(sending.run),
                aclosing(self._results(connection, sending, partials=mode is SttMode.STREAMING)) as results,
            ):
                yield results
        finally:
            await connection.aclose()

    async def _results(
        self, connection: Connection, sending: _Sending, *, partials: bool
    ) -> AsyncGenerator[Transcript]:
        text = ""
        while (event := await connection.receive()) is not None:
            more = event.data.get("text")
            if event.type in ("transcript", "transcript-chunk") and not isinstance(more, str):
                raise ProviderError("stt", f"{self.settings.uri} gives a {event.type} without a text")
            match event.type:
                case "transcript":
                    yield Transcript(text=str(more)[:MAX_TEXT].strip(), final=True)
                    return
                case "transcript-stop":
                    yield Transcript(text=text.strip(), final=True)
                    return
                case "transcript-chunk":
                    text += str(more)
                    if len(text) > MAX_TEXT:
                        message = f"{self.settings.uri} gives more than {MAX_TEXT} characters for one utterance"
                        raise ProviderError("stt", message)
                    if partials and text.strip():
                        # How far behind the voice it is, the protocol does not say.
                        yield Transcript(text=text.strip(), complete=False)
        if sending.nothing:
            yield Transcript(text="", final=True)
        elif sending.begun:
            raise ProviderError("stt", f"{self.settings.uri} closed the connection before its answer was complete")


class _Sending:
    """The utterance on its way to the server."""

    def __init__(self, connection: Connection, audio: AsyncIterator[HeardAudio]) -> None:
        self._connection = connection
        self._audio = audio
        self.begun = False
        """There was audio."""
        self.nothing = False
        """The utterance has ended, and there was none."""

    async def run(self) -> None:
        format_ = audio_format(SAMPLE_RATE)
        try:
            async for piece in self._audio:
                if piece.pcm:
                    self.begun = True
                    await self._connection.send(Event(type="audio-chunk", data=format_, payload=piece.pcm))
            if self.begun:
                await self._connection.send(Event(type="audio-stop"))
            else:
                self.nothing = True  # Silence has no words; many a model would make some up.
                await self._connection.aclose()
        except ProviderError:
            pass  # The reader meets the same end, and perhaps the server's word on it.


@asynccontextmanager
async def open_wyoming_recognizer(settings: WyomingSttSettings | None = None) -> AsyncGenerator[WyomingRecognizer]:
    """A recogniser behind a Wyoming server, which was asked what it is if it is there.

    Raises:
        ProviderError: what answers is not such a server, or has no such model.

    Cancellation: at any await in the block; there is nothing to close but the streams' own connections.
    """
    recognizer = WyomingRecognizer(settings)
    await recognizer.open()
    yield recognizer


# --- Speaking ------------------------------------------------------------------------------------------------------------


class WyomingSpeech:
    """A Wyoming text-to-speech server, for all sessions of the process.

    Args:
        settings: where it is, and which voice speaks.
    """

    def __init__(self, settings: WyomingTtsSettings | None = None) -> None:
        self.settings = settings or WyomingTtsSettings()
        self._server = WyomingServer("tts", self.settings, self.settings.voice)

    @property
    def sample_rate(self) -> int:
        """As the settings say."""
        return self.settings.sample_rate

    @property
    def locales(self) -> Locales:
        """What the server says of its voice, or of all of them; None until it was asked."""
        return self._server.languages

    async def open(self) -> None:
        """Ask the server what it is, if it is there.

        Raises:
            ProviderError: what answers is not such a server, or has no such voice.
        """
        await self._server.greet()

    async def check(self) -> tuple[str, ...]:
        """Ask the server for the names of its voices.

        Raises:
            ProviderError: it is not there, or has no such voice.
        """
        return await self._server.check()

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come; see ``ports.Synthesizer``.

        Raises:
            UnsupportedLocale: the voice does not speak it.
            ProviderError: no connection, or it was lost, or what comes is not Wyoming, not PCM16 mono, or without end.

        Cancellation: at once; it closes the connection.
        """
        connection, program = await self._server.dial()
        language = None
        try:
            language = self._server.language(program, locale)
        finally:
            if language is None and program.languages:
                await connection.aclose()
        voice: dict[str, object] = {}
        if self.settings.voice is not None:
            voice["name"] = self.settings.voice
            if self.settings.speaker is not None:
                voice["speaker"] = self.settings.speaker
        elif language is not None:
            voice["language"] = language
        speaking = _Speaking(self._server, connection, {"voice": voice} if voice else {}, streams=program.streams)
        try:
            async with aclosing(self._results(speaking, phrases)) as results:
                yield results
        finally:
            await speaking.connection.aclose()

    async def _results(self, speaking: _Speaking, phrases: AsyncIterator[Phrase]) -> AsyncGenerator[SpeechAudio]:
        async for phrase in phrases:
            if not any(map(str.isalnum, phrase.text)):
                continue  # nothing to pronounce, over which some engines fall
            event = await speaking.ask(phrase.text)
            reader: PcmReader | None = None
            rate = 0
            while event.type != speaking.last:
                if event.type == "audio-chunk":
                    if reader is None or event.data.get("rate") != rate:
                        if reader is not None and (pcm := reader.finish()):
                            yield SpeechAudio(phrase=phrase.index, pcm=pcm)
                        rate = self._rate_of(event)
                        reader = PcmReader(rate, self.settings.sample_rate)
                    if pcm := reader.feed(event.payload):
                        yield SpeechAudio(phrase=phrase.index, pcm=pcm)
                event = await speaking.connection.expect()
            if reader is not None and (pcm := reader.finish()):
                yield SpeechAudio(phrase=phrase.index, pcm=pcm)

    def _rate_of(self, event: Event) -> int:
        match event.data:
            case {"rate": int(rate), "width": 2, "channels": 1}:
                return rate
        raise ProviderError("tts", f"{self.settings.uri} gives audio that is not PCM16 mono", critical=True)


class _Speaking:
    """One answer's connection, and how the server is asked."""

    def __init__(
        self, server: WyomingServer, connection: Connection, voice: dict[str, object], *, streams: bool
    ) -> None:
        self._server = server
        self._voice = voice
        self._streams = streams
        self._used = False
        self.connection = connection
        self.last = "synthesize-stopped" if streams else "audio-stop"
        """The event that ends a phrase."""

    async def ask(self, text: str) -> Event:
        """Ask for a phrase; the first event of the answer. Servers may close the connection after each phrase."""
        if self._streams:
            events = [
                Event(type="synthesize-start", data=self._voice),
                Event(type="synthesize-chunk", data={"text": text}),
                Event(type="synthesize-stop"),
            ]
        else:
            events = [Event(type="synthesize", data={"text": text, **self._voice})]
        if self._used:
            try:
                await self.connection.send(*events)
                if (event := await self.connection.receive()) is not None:
                    return event
            except ConnectionLost:
                pass
            await self.connection.aclose()
            self.connection, _ = await self._server.dial()
        self._used = True
        await self.connection.send(*events)
        return await self.connection.expect()


@asynccontextmanager
async def open_wyoming_synthesizer(settings: WyomingTtsSettings | None = None) -> AsyncGenerator[WyomingSpeech]:
    """A voice behind a Wyoming server, which was asked what it is if it is there.

    Raises:
        ProviderError: what answers is not such a server, or has no such voice.

    Cancellation: at any await in the block; there is nothing to close but the streams' own connections.
    """
    synthesizer = WyomingSpeech(settings)
    await synthesizer.open()
    yield synthesizer


RECOGNIZER: Final = Provider(
    stage="stt",
    name="wyoming",
    summary="a Wyoming server: faster-whisper, or any other of Home Assistant's",
    settings=WyomingSttSettings,
    open=open_wyoming_recognizer,
)
SYNTHESIZER: Final = Provider(
    stage="tts",
    name="wyoming",
    summary="a Wyoming server: Piper, or any other of Home Assistant's",
    settings=WyomingTtsSettings,
    open=open_wyoming_synthesizer,
)
