"""Speech to text behind the OpenAI-compatible transcriptions API: speaches, LocalAI, vLLM, a cloud.

A batch engine: the utterance is sent as one WAV file when it has ended. Some servers give the text as they decode it
(``stream``), which shows it sooner, and ends no sooner.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final

import attrs

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.ports import ALL_LOCALES, HeardAudio, Locales, Transcript
from flare_actors.providers._http import Answer, HttpApi, HttpProvider, opened, short
from flare_actors.providers._http_settings import HttpSettings, check_url
from flare_actors.providers._pcm import wav_file
from flare_actors.providers._sse import EventReader, error_code, read_json
from flare_actors.providers.provider import Provider

__all__ = ["PROVIDER", "OpenAITranscription", "OpenAITranscriptionSettings", "open_openai_transcription"]

SAMPLE_RATE: Final = 16_000  # what Whisper and its kin work with; more would only be more to send
MAX_TEXT: Final = 1 << 16


@attrs.frozen(kw_only=True)
class OpenAITranscriptionSettings(HttpSettings):
    """Which server, which model, and how it is asked."""

    base_url: str = attrs.field(default="http://127.0.0.1:8000/v1", validator=check_url)
    """Up to and including ``/v1``. The default is a local speaches or vLLM; LocalAI listens on port 8080."""
    model: str = "whisper-1"
    """As the server names it."""
    stream: bool = False
    """Ask for the text as it is decoded; servers that cannot give all of it at once."""
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    """More fields of the request's form, e.g. ``{ prompt = "Names: Ada, Grace", temperature = 0 }``."""


class OpenAITranscription(HttpProvider):
    """A recogniser behind ``POST {base_url}/audio/transcriptions``, for all sessions of the process.

    Args:
        settings: which server, which model.
        api_key: the key itself, for embedders that have it; else the settings say where it is.

    Raises:
        ConfigError: the variable or file that should hold the key does not.
    """

    def __init__(self, settings: OpenAITranscriptionSettings | None = None, *, api_key: str | None = None) -> None:
        self.settings = settings or OpenAITranscriptionSettings()
        super().__init__(HttpApi("stt", self.settings, api_key=api_key))

    @property
    def sample_rate(self) -> int:
        """16,000 Hz."""
        return SAMPLE_RATE

    @property
    def locales(self) -> Locales:
        """Nobody can tell: it depends on the server's model."""
        return ALL_LOCALES

    @property
    def partials(self) -> bool:
        """It is asked when the utterance is over."""
        return False

    @asynccontextmanager
    async def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AsyncGenerator[AsyncIterator[Transcript]]:
        """Understand one utterance; see ``ports.Recognizer``. Nothing is sent before it has ended, nor if it has no audio.

        Raises:
            ProviderError: no connection, a refusal, a broken or foreign answer; critical if only a change of the settings can
                help.

        Cancellation: at once; it closes the connection.
        """
        await self._api.open()
        async with aclosing(self._results(audio, locale, partials=mode is SttMode.STREAMING)) as results:
            yield results

    async def _results(
        self, audio: AsyncIterator[HeardAudio], locale: str, *, partials: bool
    ) -> AsyncGenerator[Transcript]:
        pcm = bytearray()
        async for piece in audio:
            pcm += piece.pcm
        async with aclosing(self._decode(bytes(pcm), locale)) as growing:
            async for transcript in growing:
                if partials or transcript.final:
                    yield transcript

    async def _decode(self, pcm: bytes, locale: str) -> AsyncGenerator[Transcript]:
        if not pcm:
            yield Transcript(text="", final=True)
            return
        answer = await self._api.ask(
            "POST",
            "/audio/transcriptions",
            data=self._form(locale),
            files={"file": ("speech.wav", wav_file(pcm, SAMPLE_RATE), "audio/wav")},
        )
        complete = False
        try:
            if answer.kind == "text/event-stream":
                async with aclosing(self._growing(answer)) as growing:
                    async for transcript in growing:
                        complete = transcript.final
                        yield transcript
            elif answer.kind == "application/json":
                text = self._text_of(await answer.whole())
                complete = True
                yield Transcript(text=text, final=True)
            else:
                raise self._api.error(
                    f" answered {short(answer.kind) or 'without a type'} instead of JSON", critical=True
                )
        finally:
            await answer.aclose(drain=complete)

    async def _growing(self, answer: Answer) -> AsyncGenerator[Transcript]:
        reader = EventReader("stt")
        text = ""
        async for chunk in answer:
            for part in (part for data in reader.feed(chunk) for part in _read_event(data)):
                text = part.whole if part.whole is not None else text + part.more
                if len(text) > MAX_TEXT:
                    raise self._api.error(f" gives more than {MAX_TEXT} characters for one utterance")
                # It has heard everything, but not told everything.
                yield Transcript(text=text.strip(), final=part.last, complete=part.last)
                if part.last:
                    return
        raise self._api.error(" broke off its answer")

    def _text_of(self, body: bytes) -> str:
        try:
            text = json.loads(body)["text"]
        except (ValueError, TypeError, KeyError):
            text = None
        if not isinstance(text, str):
            raise self._api.error(" gave a transcription without a 'text'")
        return text[:MAX_TEXT].strip()

    def _form(self, locale: str) -> dict[str, str]:
        form: dict[str, object] = {
            "model": self.settings.model,
            "language": locale.replace("_", "-").partition("-")[0].lower(),  # ISO 639-1, as the API wants it
            "response_format": "json",
        }
        if self.settings.stream:
            form["stream"] = True
        form |= self.settings.extra
        return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in form.items()}


@asynccontextmanager
async def open_openai_transcription(
    settings: OpenAITranscriptionSettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[OpenAITranscription]:
    """A recogniser behind an OpenAI-compatible API; its connections are closed on leaving. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; the connections are closed.
    """
    async with opened(OpenAITranscription(settings, api_key=api_key)) as recognizer:
        yield recognizer


@attrs.frozen(kw_only=True)
class _Part:
    more: str = attrs.field(default="", repr=False)
    whole: str | None = attrs.field(default=None, repr=False)
    last: bool = False


def _read_event(data: str) -> Iterator[_Part]:
    """What one event says, in OpenAI's words (``transcript.text.delta``, ``.done``) or in vLLM's (chunks as of a chat)."""
    if data.strip() == "[DONE]":
        yield _Part(last=True)
        return
    event = read_json("stt", data, "transcription")
    if event.get("error"):
        raise ProviderError("stt", f"the server failed while transcribing{error_code(event['error'])}")
    match event:
        case {"type": "transcript.text.delta", "delta": str(more)}:
            yield _Part(more=more)
        case {"type": "transcript.text.done", "text": str(whole)}:
            yield _Part(whole=whole, last=True)
        case {"type": "error"}:
            raise ProviderError("stt", "the server failed while transcribing")
        case {"choices": [{"delta": {"content": str(more)}}, *_]}:
            yield _Part(more=more)
        case {"type": "transcript.text.delta" | "transcript.text.done"}:
            raise ProviderError("stt", "the event stream holds an event that is not a transcription's")
        case _:
            pass  # segments, counts, the beginning


PROVIDER: Final = Provider(
    stage="stt",
    name="openai",
    summary="any OpenAI-compatible transcriptions API: speaches, LocalAI, vLLM, a cloud",
    settings=OpenAITranscriptionSettings,
    open=open_openai_transcription,
)
