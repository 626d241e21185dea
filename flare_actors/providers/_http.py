"""What every provider behind an HTTP API shares: one pool of connections, one way to fail, nothing left behind.

Most inference servers send nothing, not even headers, before their first result, so entering a provider's stream does not wait
for them: the request is sent by the first step of the iteration, and the session's patience with a first result covers it
all. Only the bare TCP connect has a limit here (``connect_s``).
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import trio

from flare_actors.errors import ProviderError, Stage
from flare_actors.providers._again import pause_s
from flare_actors.providers._http_settings import HttpSettings
from flare_actors.providers._key import read_key
from flare_actors.providers._sse import error_code

if TYPE_CHECKING:
    import ssl

    import httpx2

__all__ = ["Answer", "HttpApi", "HttpProvider", "bearer", "opened", "short"]

# Overloaded or restarting: worth a second try before anybody heard anything. 429 without a wait is a burst limit, 529 is
# Anthropic's "overloaded".
RETRYABLE: Final = frozenset({429, 500, 502, 503, 504, 529})
# A server that names a longer wait is taken at its word: the turn fails now, which is better than a silent second try.
MAX_RETRY_AFTER_S: Final = 1.0
MAX_ERROR_BYTES: Final = 65_536
MAX_JSON_BYTES: Final = 1 << 20
ERROR_BODY_S: Final = 1.0
# After its last event the end of a response is usually there already; read, it lets the connection serve the next turn.
DRAIN_S: Final = 0.1
KEEPALIVE_S: Final = 120.0  # between two turns of a conversation; a TLS handshake costs 50-150 ms


def bearer(key: str) -> Mapping[str, str]:
    """The key's header as most APIs want it."""
    return {"authorization": f"Bearer {key}"}


class HttpApi:
    """One API of one stage, for all sessions of the process.

    Args:
        stage: whose provider asks.
        settings: where, and how patiently.
        api_key: the key itself, for embedders that have it; else the settings say where it is.
        key_header: how the key is shown.
        headers: more headers of every request.

    Raises:
        ConfigError: the variable or file that should hold the key does not.
    """

    def __init__(
        self,
        stage: Stage,
        settings: HttpSettings,
        *,
        api_key: str | None = None,
        key_header: Callable[[str], Mapping[str, str]] = bearer,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.stage: Stage = stage
        self.url = settings.base_url.rstrip("/")
        self._settings = settings
        self._key = read_key(stage, settings, api_key)
        self._key_header = key_header
        self._more = dict(headers or {})
        self._client: httpx2.AsyncClient | None = None
        self._opening = trio.Lock()

    async def open(self) -> None:
        """Load the HTTP client and the system's certificates, in a thread; a second call does nothing."""
        await self._opened()

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def models(self) -> tuple[str, ...]:
        """Ask the server for the names of its models: reachable, key accepted.

        Raises:
            ProviderError: it is not, or does not; critical if only a change of the settings can help.
        """
        answer = await self.ask("GET", "/models")
        try:
            body = await answer.beginning()
        finally:
            await answer.aclose()
        try:
            return tuple(str(each["id"]) for each in json.loads(body)["data"])
        except (ValueError, TypeError, KeyError):
            raise self.error("/models is no list of models; is base_url right?", critical=True) from None

    def error(self, what: str, *, critical: bool = False) -> ProviderError:
        """An error of this API: its URL and ``what``, which begins with a space, a colon or a path."""
        return ProviderError(self.stage, f"{self.url}{what}", critical=critical)

    async def ask(self, method: str, path: str, **content: Any) -> Answer:  # noqa: ANN401 - httpx2's own arguments
        """Send a request until there is a good answer or no sense in trying; whoever gets it closes it.

        Args:
            method: ``GET`` or ``POST``.
            path: below ``base_url``.
            content: ``json``, or ``data`` and ``files``.

        Raises:
            ProviderError: no connection, or a refusal; critical if only a change of the settings can help.

        Cancellation: at once; the connection is closed.
        """
        import httpx2

        client = await self._opened()
        request = client.build_request(method, f"{self.url}{path}", headers=self._headers(), **content)
        for left in reversed(range(self._settings.retries + 1)):
            try:
                response = await client.send(request, stream=True)
            except httpx2.TransportError as error:
                if left and not isinstance(error, httpx2.TimeoutException):
                    await trio.sleep(pause_s())
                    continue
                raise self.error(self._lost(error)) from None
            if response.status_code == 200:
                return Answer(self, response)
            answer = Answer(self, response)
            try:
                wait_s = _wait_s(response)
                if left and wait_s <= MAX_RETRY_AFTER_S:
                    await trio.sleep(wait_s)
                    continue
                raise self._refusal(response, _code_in(await answer.beginning()))
            finally:
                await answer.aclose()
        raise AssertionError("the last try raises or returns")

    def _refusal(self, response: httpx2.Response, code: str) -> ProviderError:
        status = response.status_code
        match status:
            case 401 | 403 if self._key:
                return self.error(f" refuses the API key ({status}{code})", critical=True)
            case 401 | 403:
                what = " wants an API key: set api_key_env to the name of the variable that holds it"
                return self.error(f"{what} ({status}{code})", critical=True)
            case 402:
                return self.error(f" wants to be paid ({status}{code})", critical=True)
            case 404:
                wrong = "wrong" if urlsplit(self.url).path else "wrong: most APIs are below /v1"
                what = f" knows no model {self._settings.model!r}, or base_url is {wrong} ({status}{code})"
                return self.error(what, critical=True)
            case 429:
                wait_s = _asked_s(response)
                until = f"; it asks for {wait_s:g} s of rest" if wait_s is not None else ""
                return self.error(f" limits our rate or quota ({status}{code}){until}")
            case _ if 300 <= status < 400:
                return self.error(f" redirects ({status}); base_url is not the API's own address", critical=True)
            case _ if 400 <= status < 500:
                return self.error(f" refuses the request ({status}{code})")
            case _:
                return self.error(f" failed ({status}{code})")

    def _lost(self, error: httpx2.TransportError) -> str:
        import httpx2

        if isinstance(error, httpx2.ConnectTimeout):
            there = "; does it speak https there?" if self.url.startswith("https:") else ""
            return f": no connection within {self._settings.connect_s:g} s{there}"
        if isinstance(error, httpx2.ProxyError):
            return ": the proxy of the environment (HTTPS_PROXY) does not let us through; NO_PROXY names exceptions"
        if isinstance(error, httpx2.ConnectError):
            if _certificate(error):
                return ": its certificate is not trusted; is base_url right? SSL_CERT_FILE names another list of authorities"
            return ": no connection; is the server running, and base_url right?"
        return ": the connection was lost before an answer; is that the address of an API?"

    async def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    try:
                        self._client = await trio.to_thread.run_sync(self._make_client, abandon_on_cancel=True)
                    except (ImportError, OSError, ValueError) as error:
                        what = "the environment's proxy (HTTPS_PROXY, ALL_PROXY) or SSL_CERT_FILE is of no use"
                        raise self.error(f": {what} ({type(error).__name__})", critical=True) from None
        return self._client

    def _make_client(self) -> httpx2.AsyncClient:
        import httpx2

        url = urlsplit(self.url)
        local = url.hostname in ("127.0.0.1", "localhost", "::1")
        verify: ssl.SSLContext | bool = httpx2.create_ssl_context() if url.scheme == "https" else False
        most = self._settings.connections
        return httpx2.AsyncClient(
            verify=verify,
            trust_env=not local,  # no proxy stands between us and ourselves
            timeout=httpx2.Timeout(None, connect=self._settings.connect_s),
            limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=KEEPALIVE_S),
        )

    def _headers(self) -> dict[str, str]:
        # Compressed, a stream of tokens would be held back until a block is full.
        headers = {"accept": "text/event-stream, application/json, audio/*", "accept-encoding": "identity"}
        return headers | self._more | dict(self._key_header(self._key) if self._key else {})


class HttpProvider:
    """What every such provider can do besides its port.

    Args:
        api: what it asks.
    """

    def __init__(self, api: HttpApi) -> None:
        self._api = api

    async def open(self) -> None:
        """Load the HTTP client and the system's certificates, in a thread; nothing is sent. A stream does it if need be."""
        await self._api.open()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._api.aclose()

    async def check(self) -> tuple[str, ...]:
        """Ask the server for the names of its models: reachable, key accepted.

        Raises:
            ProviderError: it is not, or does not; critical if only a change of the settings can help.

        Cancellation: at once; the connection is closed.
        """
        return await self._api.models()


P = TypeVar("P", bound=HttpProvider)


@asynccontextmanager
async def opened(provider: P) -> AsyncGenerator[P]:
    """A provider that is open until the block is left; its connections are closed then."""
    await provider.open()
    try:
        yield provider
    finally:
        await provider.aclose()


class Answer:
    """A good answer that has begun: an async iterator over its bytes, as they come. Close it.

    A class, not a generator: nobody has to end it when its reader stops in the middle.
    """

    def __init__(self, api: HttpApi, response: httpx2.Response) -> None:
        self._api = api
        self._response = response
        self._chunks = response.aiter_bytes()
        self.kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        """The content type; empty: there is none."""
        # Some servers forget the line feeds after their last event.
        self._end = b"\n\n" if self.kind == "text/event-stream" else b""

    def __aiter__(self) -> Answer:
        return self

    async def __anext__(self) -> bytes:
        import httpx2

        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            end, self._end = self._end, b""
            if not end:
                raise
            return end
        except httpx2.HTTPError as error:
            raise self._api.error(f" broke off its answer: {type(error).__name__}") from None

    async def whole(self) -> bytes:
        """All of a body that has an end.

        Raises:
            ProviderError: it broke off, or it has none.
        """
        body = bytearray()
        async for chunk in self:
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                raise self._api.error(f" gave an answer of more than {MAX_JSON_BYTES} bytes")
        return bytes(body)

    async def beginning(self) -> bytes:
        """The beginning of a short body, as far as it comes soon."""
        import httpx2

        body = bytearray()
        with trio.move_on_after(ERROR_BODY_S):
            try:
                async for chunk in self._chunks:
                    body += chunk
                    if len(body) > MAX_ERROR_BYTES:
                        break
            except httpx2.HTTPError:
                pass  # its status says enough
        return bytes(body[:MAX_ERROR_BYTES])

    async def aclose(self, *, drain: bool = False) -> None:
        """Close the connection; with ``drain``, keep it for the next request if the body is about to end.

        Cancellation: the connection is closed all the same, at once.
        """
        await _let_end(self._chunks, DRAIN_S if drain else 0)
        await self._response.aclose()


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


def _certificate(error: BaseException | None) -> bool:
    import ssl

    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def short(text: str) -> str:
    """A foreign word for a message: printable, and not long."""
    return "".join(c for c in text[:64] if c.isprintable())


def _code_in(body: bytes) -> str:
    try:
        data = json.loads(body)
    except ValueError:
        return ""
    return error_code(data.get("error")) if isinstance(data, Mapping) else ""


def _wait_s(response: httpx2.Response) -> float:
    """How long to wait before a second try; infinite: there is no sense in one."""
    if response.status_code not in RETRYABLE:
        return math.inf
    asked_s = _asked_s(response)
    return pause_s() if asked_s is None else asked_s


def _asked_s(response: httpx2.Response) -> float | None:
    """``Retry-After`` in seconds; None: not given, or a date, which no API sends for a short wait."""
    try:
        asked_s = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return asked_s if 0 <= asked_s < math.inf else None
