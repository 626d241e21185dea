"""Any language model behind the Anthropic messages API: Claude, and the servers that speak like it (llama.cpp, vLLM, Ollama).

A second shape of streaming behind the same port: an answer is a list of blocks (text, tool calls), each streamed in pieces.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import attrs

from flare_actors.ports import Message, ModelOutput, ToolChoice, ToolSpec
from flare_actors.providers._http import HttpApi, HttpProvider, opened, short
from flare_actors.providers._http_settings import HttpSettings, check_url
from flare_actors.providers._messages_events import MessagesReader, write_messages, write_tools
from flare_actors.providers.provider import Provider

__all__ = ["PROVIDER", "AnthropicMessages", "AnthropicSettings", "open_anthropic"]

VERSION: Final = "2023-06-01"  # of the API; the only one that streams as it is read here


@attrs.frozen(kw_only=True)
class AnthropicSettings(HttpSettings):
    """Which server, which model, and how it samples."""

    base_url: str = attrs.field(default="https://api.anthropic.com/v1", validator=check_url)
    """Up to and including ``/v1``."""
    model: str = "claude-haiku-4-5"
    """As the server names it; a quick one, for somebody is waiting."""
    temperature: float | None = attrs.field(
        default=None, validator=attrs.validators.optional([attrs.validators.ge(0), attrs.validators.le(1)])
    )
    """None: the server's own."""
    max_tokens: int = attrs.field(default=300, validator=attrs.validators.ge(1))
    """Longest answer; spoken answers are short."""
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    """More fields of the request's body, e.g. ``{ top_p = 0.9 }``."""


class AnthropicMessages(HttpProvider):
    """A language model behind ``POST {base_url}/messages``, for all sessions of the process.

    Args:
        settings: which server, which model.
        api_key: the key itself, for embedders that have it; else the settings say where it is.

    Raises:
        ConfigError: the variable or file that should hold the key does not.
    """

    def __init__(self, settings: AnthropicSettings | None = None, *, api_key: str | None = None) -> None:
        self.settings = settings or AnthropicSettings()
        super().__init__(
            HttpApi(
                "llm",
                self.settings,
                api_key=api_key,
                key_header=lambda key: {"x-api-key": key},
                headers={"anthropic-version": VERSION},
            )
        )

    @asynccontextmanager
    async def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        max_tokens: int | None = None,
    ) -> AsyncGenerator[AsyncIterator[ModelOutput]]:
        """Answer the last message; see ``ports.LanguageModel``. ``Usage`` comes last.

        Args:
            messages: what the model is shown.
            locale: not used; the model follows the language of the messages.
            tools: what it may call.
            tool_choice: whether it may, must or must not.
            max_tokens: the longest answer, if the settings have no lower limit.

        Raises:
            ProviderError: no connection, a refusal, a broken or foreign stream; critical if only a change of the settings
                can help (the key, the model's name, the URL).

        Cancellation: at once; it closes the connection, which stops the generation on the server.
        """
        del locale
        await self._api.open()
        async with aclosing(
            self._results(self._body(messages, max_tokens) | write_tools(tools, tool_choice))
        ) as results:
            yield results

    async def _results(self, body: Mapping[str, object]) -> AsyncGenerator[ModelOutput]:
        answer = await self._api.ask("POST", "/messages", json=body)
        reader = MessagesReader()
        try:
            if answer.kind != "text/event-stream":
                kind = short(answer.kind) or "without a type"
                raise self._api.error(f" answered {kind} instead of an event stream", critical=True)
            async for chunk in answer:
                for output in reader.feed(chunk):
                    yield output
                if reader.done:
                    break
            if not reader.done:
                raise self._api.error(" broke off its answer")
            if reader.usage is not None:
                yield reader.usage
        finally:
            await answer.aclose(drain=reader.done)

    def _body(self, messages: Sequence[Message], max_tokens: int | None) -> dict[str, object]:
        settings = self.settings
        instructions, turns = write_messages(messages)
        body: dict[str, object] = {
            "model": settings.model,
            "messages": turns,
            "max_tokens": min(settings.max_tokens, max_tokens or settings.max_tokens),
            "stream": True,
        }
        if instructions:
            body["system"] = instructions
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        return body | dict(settings.extra)


@asynccontextmanager
async def open_anthropic(
    settings: AnthropicSettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[AnthropicMessages]:
    """A model behind a messages API; its connections are closed on leaving. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; the connections are closed.
    """
    async with opened(AnthropicMessages(settings, api_key=api_key)) as model:
        yield model


PROVIDER: Final = Provider(
    stage="llm",
    name="anthropic",
    summary="the Anthropic messages API: Claude, or a server that speaks like it",
    settings=AnthropicSettings,
    open=open_anthropic,
)
