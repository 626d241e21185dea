"""The four providers behind HTTP APIs, so that one table of faults covers all of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import trio
from http_stub import SSE, Answer, hanging, script

from flare_actors.conversation.states import SttMode
from flare_actors.ports import HeardAudio, Message, Phrase
from flare_actors.providers.anthropic import AnthropicSettings, open_anthropic
from flare_actors.providers.openai_chat import OpenAISettings, open_openai
from flare_actors.providers.openai_speech import OpenAISpeechSettings, open_openai_speech
from flare_actors.providers.openai_transcription import OpenAITranscriptionSettings, open_openai_transcription

KEY = "sk-canary-KEY"
SPEECH = "canary speech"
ASK = [Message(role="system", content="Be short."), Message(role="user", content=SPEECH)]
SPOKEN = bytes(range(200)) * 16


class Given:
    """An async iterator over what is there. A class, as the actors' are: nobody has to close it when it is left early."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)

    def __aiter__(self) -> Given:
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        for item in self._items:
            return item
        raise StopAsyncIteration


def said(*pieces: bytes) -> AsyncIterator[HeardAudio]:
    return Given(HeardAudio(pcm=pcm) for pcm in pieces)


def phrased(*texts: str) -> AsyncIterator[Phrase]:
    return Given(Phrase(index=index, text=text) for index, text in enumerate(texts))


def sse(*events: object) -> list[str]:
    return [f"data: {each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)}\n\n" for each in events]


@attrs.frozen(kw_only=True)
class Kind:
    """One provider, and what its server says."""

    stage: str
    open: Callable[..., AbstractAsyncContextManager[Any]]
    stream: Callable[[Any], AbstractAsyncContextManager[AsyncIterator[Any]]]
    path: bytes
    parts: Sequence[str | bytes]
    """A good answer."""
    kind: str
    first: int = 1
    """Parts after which the first result is there."""

    def good(self) -> Answer:
        return script(*self.parts, kind=self.kind)

    def begun(self) -> Answer:
        """It begins well, and then hangs."""
        return hanging(*self.parts[: self.first], kind=self.kind)

    async def ask(self, provider: Any) -> list[Any]:
        async with self.stream(provider) as results:
            return [each async for each in results]


def _open(opens: Callable[..., Any], settings: type) -> Callable[..., AbstractAsyncContextManager[Any]]:
    return lambda url, **more: opens(settings(base_url=url, model="m", **more), api_key=KEY)


def messages_events(*texts: str) -> list[str]:
    delta = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": each}} for each in texts
    ]
    return sse(
        {"type": "message_start", "message": {"usage": {"input_tokens": 12, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *delta,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )


CHAT = Kind(
    stage="llm",
    open=_open(open_openai, OpenAISettings),
    stream=lambda chat: chat.generate(ASK, locale="en"),
    path=b"/v1/chat/completions",
    parts=sse({"choices": [{"delta": {"content": "Hi."}}]}, {"choices": [{"finish_reason": "stop"}]}, "[DONE]"),
    kind=SSE,
)
MESSAGES = Kind(
    stage="llm",
    open=_open(open_anthropic, AnthropicSettings),
    stream=lambda model: model.generate(ASK, locale="en"),
    path=b"/v1/messages",
    parts=messages_events("Hi."),
    kind=SSE,
    first=4,
)
TRANSCRIPTION = Kind(
    stage="stt",
    open=_open(open_openai_transcription, OpenAITranscriptionSettings),
    stream=lambda stt: stt.transcribe(said(SPOKEN), locale="en-US", mode=SttMode.STREAMING),
    path=b"/v1/audio/transcriptions",
    parts=sse({"type": "transcript.text.delta", "delta": "Hi."}, {"type": "transcript.text.done", "text": "Hi."}),
    kind=SSE,
)
VOICE = Kind(
    stage="tts",
    open=_open(open_openai_speech, OpenAISpeechSettings),
    stream=lambda tts: tts.synthesize(phrased(SPEECH), locale="en"),
    path=b"/v1/audio/speech",
    parts=[SPOKEN, SPOKEN],
    kind="audio/pcm",
)
KINDS = {"chat": CHAT, "messages": MESSAGES, "transcription": TRANSCRIPTION, "speech": VOICE}

Ask = Callable[[Any], Awaitable[list[Any]]]
