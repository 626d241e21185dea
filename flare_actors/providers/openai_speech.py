"""Text to speech behind the OpenAI-compatible speech API: speaches, LocalAI, Kokoro servers, a cloud.

Each phrase is one request, whose audio is given on as it comes; the next phrase is asked for while the one before is played.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final, Literal

import attrs

from flare_actors.ports import ALL_LOCALES, Locales, Phrase, SpeechAudio
from flare_actors.providers._http import HttpApi, HttpProvider, opened, short
from flare_actors.providers._http_settings import HttpSettings, check_url
from flare_actors.providers._pcm import RawReader, WavReader
from flare_actors.providers.provider import Provider

__all__ = ["PROVIDER", "OpenAISpeech", "OpenAISpeechSettings", "open_openai_speech"]

# What servers call audio. "binary/octet-stream" and none at all are seen too; a text is never audio.
NO_AUDIO: Final = ("text/", "application/json", "application/problem", "application/xml", "multipart/")


@attrs.frozen(kw_only=True)
class OpenAISpeechSettings(HttpSettings):
    """Which server, which voice, and how it sounds."""

    base_url: str = attrs.field(default="http://127.0.0.1:8000/v1", validator=check_url)
    """Up to and including ``/v1``. The default is a local speaches; LocalAI listens on port 8080."""
    model: str = "tts-1"
    """As the server names it."""
    voice: str = "alloy"
    """As the server names it."""
    format: Literal["pcm", "wav"] = "pcm"
    """What is asked for: ``pcm`` comes soonest, but says not at which rate; ``wav`` says it."""
    sample_rate: int = attrs.field(default=24_000, validator=[attrs.validators.ge(8_000), attrs.validators.le(48_000)])
    """Hz of the server's ``pcm``. A ``wav`` at another rate is resampled to this one."""
    speed: float | None = attrs.field(
        default=None, validator=attrs.validators.optional([attrs.validators.ge(0.25), attrs.validators.le(4.0)])
    )
    """1 is the voice's own pace. None: the server's own."""
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    """More fields of the request's body, e.g. ``{ instructions = "Speak calmly." }``."""


class OpenAISpeech(HttpProvider):
    """A synthesizer behind ``POST {base_url}/audio/speech``, for all sessions of the process.

    Args:
        settings: which server, which voice.
        api_key: the key itself, for embedders that have it; else the settings say where it is.

    Raises:
        ConfigError: the variable or file that should hold the key does not.
    """

    def __init__(self, settings: OpenAISpeechSettings | None = None, *, api_key: str | None = None) -> None:
        self.settings = settings or OpenAISpeechSettings()
        super().__init__(HttpApi("tts", self.settings, api_key=api_key))

    @property
    def sample_rate(self) -> int:
        """As the settings say."""
        return self.settings.sample_rate

    @property
    def locales(self) -> Locales:
        """Nobody can tell: it depends on the server's model."""
        return ALL_LOCALES

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come; see ``ports.Synthesizer``. The voice decides on the language.

        Raises:
            ProviderError: no connection, a refusal, an answer that is no such audio, breaks off or does not end; critical if
                only a change of the settings can help.

        Cancellation: at once; it closes the connection.
        """
        del locale
        await self._api.open()
        async with aclosing(self._results(phrases)) as results:
            yield results

    async def _results(self, phrases: AsyncIterator[Phrase]) -> AsyncGenerator[SpeechAudio]:
        async for phrase in phrases:
            if not any(map(str.isalnum, phrase.text)):
                continue  # nothing to pronounce, over which some engines fall
            answer = await self._api.ask("POST", "/audio/speech", json=self._body(phrase.text))
            complete = False
            try:
                if answer.kind.startswith(NO_AUDIO):
                    raise self._api.error(f" answered {short(answer.kind)} instead of audio", critical=True)
                rate = self.settings.sample_rate
                raw = self.settings.format == "pcm"
                reader = RawReader(rate, rate, mpeg=answer.kind == "audio/mpeg") if raw else WavReader(rate)
                async for chunk in answer:
                    if pcm := reader.feed(chunk):
                        yield SpeechAudio(phrase=phrase.index, pcm=pcm)
                complete = True
                if pcm := reader.finish():
                    yield SpeechAudio(phrase=phrase.index, pcm=pcm)
            finally:
                await answer.aclose(drain=complete)

    def _body(self, text: str) -> dict[str, object]:
        settings = self.settings
        body: dict[str, object] = {
            "model": settings.model,
            "input": text,
            "voice": settings.voice,
            "response_format": settings.format,
        }
        if settings.speed is not None:
            body["speed"] = settings.speed
        return body | dict(settings.extra)


@asynccontextmanager
async def open_openai_speech(
    settings: OpenAISpeechSettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[OpenAISpeech]:
    """A voice behind an OpenAI-compatible API; its connections are closed on leaving. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; the connections are closed.
    """
    async with opened(OpenAISpeech(settings, api_key=api_key)) as synthesizer:
        yield synthesizer


PROVIDER: Final = Provider(
    stage="tts",
    name="openai",
    summary="any OpenAI-compatible speech API: speaches, LocalAI, Kokoro servers, a cloud",
    settings=OpenAISpeechSettings,
    open=open_openai_speech,
)
