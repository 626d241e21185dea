"""Any language model behind the OpenAI-compatible chat completions API: llama.cpp, Ollama, vLLM, a cloud.

The answer is streamed as server-sent events. It is read at full speed and given on as it comes; leaving the stream closes
the connection, which is how such servers learn that nobody wants the rest.

Most servers send nothing, not even headers, before the first token (Ollama may load the model first), so entering the
stream does not wait for them: the request is sent by the first step of the iteration, and the session's patience with a
first token covers it all. Only the bare TCP connect has a limit here (``connect_s``).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import attrs
import trio

from flare_actors.errors import ConfigError, ProviderError
from flare_actors.ports import Message, ModelOutput, ToolChoice, ToolSpec
from flare_actors.providers._chat_events import AnswerReader, ErrorEvent, error_code

if TYPE_CHECKING:
    import ssl

    import httpx2
from flare_actors.providers.provider import Provider

__all__ = ["PROVIDER", "OpenAIChat", "OpenAISettings", "open_openai"]

# Overloaded or restarting: worth a second try before anybody heard anything. 429 without a wait is a burst limit.
RETRYABLE: Final = frozenset({429, 500, 502, 503, 504})
RETRY_S: Final = (0.05, 0.25)  # jittered, so that sessions that failed together do not come back together
MAX_ERROR_BYTES: Final = 65_536
ERROR_BODY_S: Final = 1.0
# After [DONE] the end of the response is usually there already; read, it lets the connection serve the next turn.
DRAIN_S: Final = 0.1
KEEPALIVE_S: Final = 120.0  # between two turns of a conversation; a TLS handshake costs 50-150 ms


@attrs.frozen(kw_only=True)
class OpenAISettings:
    """Which server, which model, and how it samples."""

    base_url: str = attrs.field(default="http://127.0.0.1:11434/v1")
    """Up to and including ``/v1``. The default is a local Ollama; llama.cpp's server listens on port 8080."""
    model: str = "llama3.2"
    """As the server names it."""
    api_key_env: str | None = attrs.field(default=None)
    """The environment variable that holds the key; the key itself belongs into no file."""
    api_key_file: Path | None = None
    """The file that holds the key."""
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
    retries: int = attrs.field(default=1, validator=[attrs.validators.ge(0), attrs.validators.le(5)])
    """How often a request is sent again that failed before its answer began."""
    connect_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    """Until the TCP connection is there."""
    connections: int = attrs.field(default=64, validator=attrs.validators.ge(1))
    """Answers that are streamed at a time, by all sessions together; more wait."""

    @api_key_env.validator
    def _is_a_name(self, _: object, value: str | None) -> None:
        if value is not None and not value.isidentifier():
            raise ValueError("must be the name of an environment variable, not the key itself")  # and is not shown

    @base_url.validator
    def _is_a_url(self, _: object, value: str) -> None:
        url = urlsplit(value)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError("must be an http:// or https:// URL, e.g. 'http://127.0.0.1:11434/v1'")
        if url.username or url.password:
            raise ValueError("must hold no user name or password; use api_key_env")


class OpenAIChat:
    """A language model behind ``POST {base_url}/chat/completions``, for all sessions of the process.

    Args:
        settings: which server, which model.
        api_key: the key itself, for embedders that have it; else the settings say where it is.

    Raises:
        ConfigError: the variable or file that should hold the key does not.
    """

    def __init__(self, settings: OpenAISettings | None = None, *, api_key: str | None = None) -> None:
        self.settings = settings or OpenAISettings()
        self._key = api_key or _read_key(self.settings)
        self._url = self.settings.base_url.rstrip("/")
        self._client: httpx2.AsyncClient | None = None
        self._opening = trio.Lock()

    async def open(self) -> None:
        """Load the HTTP client and the system's certificates, in a thread. ``generate`` calls it if need be."""
        await self._opened()

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def check(self) -> tuple[str, ...]:
        """Ask the server for the names of its models: reachable, key accepted.

        Raises:
            ProviderError: it is not, or does not; critical if only a change of the settings can help.
        """
        client = await self._opened()
        response = await self._send(client.build_request("GET", f"{self._url}/models", headers=self._headers()))
        chunks = response.aiter_bytes()
        try:
            body = await _read_some(chunks)
        finally:
            await _let_end(chunks)
            await response.aclose()
        try:
            return tuple(str(each["id"]) for each in json.loads(body)["data"])
        except (ValueError, TypeError, KeyError):
            raise ProviderError(
                "llm", f"{self._url}/models is no list of models; is base_url right?", critical=True
            ) from None

    @asynccontextmanager
    async def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        extra: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[AsyncIterator[ModelOutput]]:
        """Answer the last message; see ``ports.LanguageModel``. ``Usage`` comes last, where the server counts.

        Args:
            messages: what the model is shown.
            locale: not used; the model follows the language of the messages.
            tools: what it may call. Not every server and model knows tools; some refuse the request then.
            tool_choice: whether it may, must or must not.
            extra: more fields of this request's body, over those of the settings.

        Raises:
            ProviderError: no connection, a refusal, a broken or foreign stream; critical if only a change of the settings
                can help (the key, the model's name, the URL).

        Cancellation: at once; it closes the connection, which stops the generation on the server.
        """
        del locale
        client = await self._opened()
        request = client.build_request(
            "POST",
            f"{self._url}/chat/completions",
            headers=self._headers(),
            json=self._body(messages) | _offer(tools, tool_choice) | dict(extra or {}),
        )
        async with aclosing(self._results(request)) as results:
            yield results

    async def _results(self, request: httpx2.Request) -> AsyncGenerator[ModelOutput]:
        import httpx2

        response = await self._send(request)
        kind = response.headers.get("content-type", "")
        if not kind.lower().startswith("text/event-stream"):
            await response.aclose()
            raise ProviderError(
                "llm",
                f"{self._url} answered {_short(kind) or 'without a type'} instead of an event stream",
                critical=True,
            )
        chunks = response.aiter_bytes()
        reader = AnswerReader()
        try:
            async for chunk in chunks:
                for output in reader.feed(chunk):
                    if isinstance(output, ErrorEvent):
                        raise ProviderError("llm", f"{self._url} failed while answering{output.code}")
                    yield output
                if reader.done:
                    break
            if not reader.finished:
                raise ProviderError("llm", f"{self._url} broke off its answer")
            if reader.usage is not None:
                yield reader.usage
        except httpx2.HTTPError as error:
            raise ProviderError("llm", f"{self._url} broke off its answer: {type(error).__name__}") from None
        finally:
            await _let_end(chunks, DRAIN_S if reader.done else 0)
            await response.aclose()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        """Send until there is a good answer or no sense in trying."""
        import httpx2

        client = await self._opened()
        for left in reversed(range(self.settings.retries + 1)):
            try:
                response = await client.send(request, stream=True)
            except httpx2.TransportError as error:
                if left:
                    await trio.sleep(random.uniform(*RETRY_S))  # noqa: S311 - not a secret
                    continue
                raise ProviderError("llm", self._unreachable(error)) from None
            if response.status_code == 200:
                return response
            try:
                if left and response.status_code in RETRYABLE:
                    await trio.sleep(random.uniform(*RETRY_S))  # noqa: S311
                    continue
                raise await self._refusal(response)
            finally:
                await response.aclose()
        raise AssertionError("the last try raises or returns")

    async def _refusal(self, response: httpx2.Response) -> ProviderError:
        chunks = response.aiter_bytes()
        try:
            code = error_code(await _read_some(chunks))
        finally:
            await _let_end(chunks)
        status = response.status_code
        match status:
            case 401 | 403:
                has = "the API key" if self._key else "requests without an API key (api_key_env)"
                return ProviderError("llm", f"{self._url} refuses {has} ({status}{code})", critical=True)
            case 404:
                message = f"{self._url} knows no model {self.settings.model!r}, or base_url is wrong ({status}{code})"
                return ProviderError("llm", message, critical=True)
            case 429:
                return ProviderError("llm", f"{self._url} limits our rate or quota ({status}{code})")
            case _ if 300 <= status < 400:
                message = f"{self._url} redirects ({status}); base_url is not the API's own address"
                return ProviderError("llm", message, critical=True)
            case _ if 400 <= status < 500:
                return ProviderError("llm", f"{self._url} refuses the request ({status}{code})")
            case _:
                return ProviderError("llm", f"{self._url} failed ({status}{code})")

    def _unreachable(self, error: httpx2.TransportError) -> str:
        import httpx2

        if isinstance(error, httpx2.ConnectTimeout):
            return f"{self._url}: no connection within {self.settings.connect_s:g} s"
        if isinstance(error, httpx2.ConnectError):
            return f"{self._url}: no connection; is the server running, and base_url right?"
        return f"{self._url}: the connection was lost before an answer ({type(error).__name__})"

    async def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await trio.to_thread.run_sync(self._make_client, abandon_on_cancel=True)
        return self._client

    def _make_client(self) -> httpx2.AsyncClient:
        import httpx2

        url = urlsplit(self._url)
        local = url.hostname in ("127.0.0.1", "localhost", "::1")
        verify: ssl.SSLContext | bool = httpx2.create_ssl_context() if url.scheme == "https" else False
        most = self.settings.connections
        return httpx2.AsyncClient(
            verify=verify,
            trust_env=not local,  # no proxy stands between us and ourselves
            timeout=httpx2.Timeout(None, connect=self.settings.connect_s),
            limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=KEEPALIVE_S),
        )

    def _headers(self) -> dict[str, str]:
        # Compressed, a stream of tokens would be held back until a block is full.
        headers = {"accept": "text/event-stream, application/json", "accept-encoding": "identity"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        return headers

    def _body(self, messages: Sequence[Message]) -> dict[str, object]:
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
        if settings.max_tokens:
            body["max_tokens"] = settings.max_tokens
        return body | dict(settings.extra)


@asynccontextmanager
async def open_openai(
    settings: OpenAISettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[OpenAIChat]:
    """A model behind an OpenAI-compatible API; its connections are closed on leaving. Nothing is sent yet."""
    chat = OpenAIChat(settings, api_key=api_key)
    await chat.open()
    try:
        yield chat
    finally:
        await chat.aclose()


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


def _read_key(settings: OpenAISettings) -> str | None:
    if settings.api_key_env is not None:
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"[providers.llm] api_key_env: the environment variable {settings.api_key_env} is not set; "
                "export it before you start"
            )
        return key
    if settings.api_key_file is not None:
        try:
            key = settings.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise ConfigError(f"[providers.llm] api_key_file: cannot read {settings.api_key_file}: {reason}") from None
        if not key:
            raise ConfigError(f"[providers.llm] api_key_file: {settings.api_key_file} is empty; write the key into it")
        return key
    return None


async def _read_some(chunks: AsyncIterator[bytes]) -> bytes:
    """The beginning of a short body, as far as it comes soon."""
    body = bytearray()
    with trio.move_on_after(ERROR_BODY_S):
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                break
    return bytes(body[:MAX_ERROR_BYTES])


async def _let_end(steps: AsyncIterator[object], grace_s: float = 0) -> None:
    """End a stack of foreign async generators by cancelling it from inside.

    ``aclose`` ends the outermost only; those underneath would be left to the garbage collector, which complains.
    """
    import httpx2

    with trio.move_on_after(grace_s):
        try:
            async for _ in steps:
                pass
        except httpx2.HTTPError:
            pass  # it broke while nobody was interested any more


def _short(text: str) -> str:
    return "".join(c for c in text[:64] if c.isprintable())


PROVIDER: Final = Provider(
    stage="llm",
    name="openai",
    summary="any OpenAI-compatible API: Ollama, llama.cpp, vLLM, a cloud",
    settings=OpenAISettings,
    open=open_openai,
)
