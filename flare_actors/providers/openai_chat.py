"""Any language model behind the OpenAI-compatible chat completions API: llama.cpp, Ollama, vLLM, a cloud.

The answer is streamed as server-sent events. It is read at full speed and given on as it comes; leaving the stream closes
the connection, which is how such servers learn that nobody wants the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import attrs

from flare_actors.ports import Message, ModelOutput, ToolChoice, ToolSpec
from flare_actors.providers._chat_events import AnswerReader, ErrorEvent
from flare_actors.providers._http import HttpApi, HttpProvider, opened, short
from flare_actors.providers._http_settings import HttpSettings, check_url
from flare_actors.providers.provider import Provider

__all__ = ["PROVIDER", "OpenAIChat", "OpenAISettings", "open_openai"]


@attrs.frozen(kw_only=True)
class OpenAISettings(HttpSettings):
    """Which server, which model, and how it samples."""

    base_url: str = attrs.field(default="http://127.0.0.1:11434/v1", validator=check_url)
    """Up to and including ``/v1``. The default is a local Ollama; llama.cpp's server listens on port 8080."""
    model: str = "llama3.2"
    """As the server names it."""
    temperature: float | None = attrs.field(
        default=None, validator=attrs.validators.optional([attrs.validators.ge(0), attrs.validators.le(2)])
    )
    """None: the server's own."""
    max_tokens: int = attrs.field(default=300, validator=attrs.validators.ge(0))
    """Longest answer; spoken answers are short. 0: the server's own limit."""
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    """More fields of the request's body, e.g. ``{ top_p = 0.9, seed = 1 }``."""
    usage: bool = True
    """Ask for token counts (``stream_options``); a few older servers refuse to be asked."""


class OpenAIChat(HttpProvider):
    """A language model behind ``POST {base_url}/chat/completions``, for all sessions of the process.

    Args:
        settings: which server, which model.
        api_key: the key itself, for embedders that have it; else the settings say where it is.

    Raises:
        ConfigError: the variable or file that should hold the key does not.
    """

    def __init__(self, settings: OpenAISettings | None = None, *, api_key: str | None = None) -> None:
        self.settings = settings or OpenAISettings()
        super().__init__(HttpApi("llm", self.settings, api_key=api_key))

    @asynccontextmanager
    async def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        max_tokens: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[AsyncIterator[ModelOutput]]:
        """Answer the last message; see ``ports.LanguageModel``. ``Usage`` comes last, where the server counts.

        Args:
            messages: what the model is shown.
            locale: not used; the model follows the language of the messages.
            tools: what it may call. Not every server and model knows tools; some refuse the request then.
            tool_choice: whether it may, must or must not.
            max_tokens: the longest answer, if the settings have no lower limit.
            extra: more fields of this request's body, over those of the settings.

        Raises:
            ProviderError: no connection, a refusal, a broken or foreign stream; critical if only a change of the settings
                can help (the key, the model's name, the URL).

        Cancellation: at once; it closes the connection, which stops the generation on the server.
        """
        del locale
        await self._api.open()
        body = self._body(messages, max_tokens) | _offer(tools, tool_choice) | dict(extra or {})
        async with aclosing(self._results(body)) as results:
            yield results

    async def _results(self, body: Mapping[str, object]) -> AsyncGenerator[ModelOutput]:
        answer = await self._api.ask("POST", "/chat/completions", json=body)
        reader = AnswerReader()
        try:
            if answer.kind != "text/event-stream":
                kind = short(answer.kind) or "without a type"
                raise self._api.error(f" answered {kind} instead of an event stream", critical=True)
            async for chunk in answer:
                for output in reader.feed(chunk):
                    if isinstance(output, ErrorEvent):
                        raise self._api.error(f" failed while answering{output.code}")
                    yield output
                if reader.done:
                    break
            if not reader.finished:
                raise self._api.error(" broke off its answer")
            if reader.usage is not None:
                yield reader.usage
        finally:
            await answer.aclose(drain=reader.done)

    def _body(self, messages: Sequence[Message], max_tokens: int | None) -> dict[str, object]:
        settings = self.settings
        body: dict[str, object] = {
            "model": settings.model,
            "messages": [_write_message(each) for each in messages],
            "stream": True,
        }
        if settings.usage:
            body["stream_options"] = {"include_usage": True}
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        if limits := [most for most in (settings.max_tokens, max_tokens) if most]:
            body["max_tokens"] = min(limits)
        return body | dict(settings.extra)


@asynccontextmanager
async def open_openai(
    settings: OpenAISettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[OpenAIChat]:
    """A model behind an OpenAI-compatible API; its connections are closed on leaving. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; the connections are closed.
    """
    async with opened(OpenAIChat(settings, api_key=api_key)) as chat:
        yield chat


def _write_message(message: Message) -> dict[str, object]:
    written: dict[str, object] = {"role": message.role, "content": message.content}
    if message.calls:
        written["content"] = message.content or None
        written["tool_calls"] = [
            {"id": each.call, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in message.calls
        ]
    if message.call is not None:
        written["tool_call_id"] = message.call
    return written


def _offer(tools: Sequence[ToolSpec], choice: ToolChoice) -> dict[str, object]:
    if not tools:
        return {}
    functions = [{"name": each.name, "description": each.description, "parameters": each.schema} for each in tools]
    return {"tools": [{"type": "function", "function": each} for each in functions], "tool_choice": choice}


PROVIDER: Final = Provider(
    stage="llm",
    name="openai",
    summary="any OpenAI-compatible API: Ollama, llama.cpp, vLLM, a cloud",
    settings=OpenAISettings,
    open=open_openai,
)
