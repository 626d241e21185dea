"""A WebSocket to a service: dialled, refused, broken off, hung up, each as what it is to a session."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import trio

from flare_actors.errors import ProviderError, Stage
from flare_actors.providers._address import split_address
from flare_actors.providers._again import pause_s

if TYPE_CHECKING:
    import ssl

    from trio_websocket import ConnectionRejected, WebSocketConnection

    from flare_actors.providers.websocket.mapping import Json

__all__ = ["Dialler", "Line", "check_url", "told_error"]

HANG_UP_S: Final = 0.5  # A service that does not answer our close in this time has no say any more.
MOST_BYTES: Final = 4 * 1024 * 1024  # of one message: 20 s of 24 kHz audio in base64 are 1.3 MB
FOR_GOOD: Final = (401, 402, 403, 1008)  # the key or the quota: trying again cannot help


def check_url(_: object, __: object, value: str) -> None:
    """Refuse, as an attrs validator, what is no address of a WebSocket.

    Raises:
        ValueError: it is none.
    """
    url = split_address(value, ("ws", "wss"), "a ws:// or wss:// URL")
    if url.query or url.fragment:
        raise ValueError("must end with its path; what comes after a '?' belongs into the settings")


def told_error(stage: Stage, service: str, code: Json) -> ProviderError:
    """What a service said was wrong: its code only, since its words may hold ours."""
    shown = str(code)[:40] if isinstance(code, str | int) else "no code"
    return ProviderError(stage, f"{service} tells of an error ({shown})", critical=code in FOR_GOOD)


class Line:
    """An open WebSocket.

    Args:
        stage: whose it is.
        url: for messages, without its query.
        socket: what it is made of.
    """

    def __init__(self, stage: Stage, url: str, socket: WebSocketConnection) -> None:
        self._stage: Stage = stage
        self._url = url
        self._socket = socket

    async def send(self, message: Json | bytes) -> bool:
        """Send bytes as they are, anything else as JSON. False: the line is closed; receiving says why."""
        from trio_websocket import ConnectionClosed

        try:
            await self._socket.send_message(message if isinstance(message, bytes) else json.dumps(message))
        except ConnectionClosed:
            return False
        return True

    async def receive(self) -> Json:
        """Wait for the next message; None: the service has hung up in good order.

        Raises:
            ProviderError: the line broke, or what came is no JSON.
        """
        from trio_websocket import ConnectionClosed

        try:
            message = await self._socket.get_message()
        except ConnectionClosed as closed:
            reason = closed.reason
            if reason is not None and reason.code in (1000, 1005):  # 1005: a close without a code
                return None
            code = 1006 if reason is None else reason.code
            # 1008: policy, which is how services refuse a key or a quota after the handshake.
            raise ProviderError(self._stage, f"{self._url} hung up ({code})", critical=code == 1008) from None
        try:
            return json.loads(message) if isinstance(message, str) else message
        except ValueError:
            raise ProviderError(self._stage, f"{self._url} sent a message that is no JSON") from None


class Dialler:
    """Opens lines to one service.

    Args:
        stage: whose it is.
        url: ``ws://`` or ``wss://``.
        headers: of the handshake; they hold the key, and are never shown.
        retries: how often it is dialled again when there was no line and that may pass.
    """

    def __init__(self, stage: Stage, url: str, headers: Mapping[str, str], *, retries: int = 0) -> None:
        self._stage: Stage = stage
        self._url = url
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._retries = retries
        self._tls: ssl.SSLContext | None = None
        self._ready = False

    async def open(self) -> None:
        """Load the system's certificates, in a thread (20 to 50 ms); ``dial`` calls it if need be."""
        if not self._ready and urlsplit(self._url).scheme == "wss":
            import ssl

            self._tls = await trio.to_thread.run_sync(ssl.create_default_context, abandon_on_cancel=True)
        self._ready = True

    @asynccontextmanager
    async def dial(self, query: Mapping[str, str]) -> AsyncGenerator[Line]:
        """A line; leaving the block hangs up, at once if cancelled. What the block raises comes out as it is.

        Args:
            query: the URL's.

        Raises:
            ProviderError: no connection, or a refusal; critical if only a change of the settings can help.
        """
        for left in reversed(range(self._retries + 1)):
            there = False
            try:
                async with self._dial(query) as line:
                    there = True
                    yield line
                return
            except ProviderError as error:
                if there or error.critical or not left:
                    raise
            await trio.sleep(pause_s())

    @asynccontextmanager
    async def _dial(self, query: Mapping[str, str]) -> AsyncGenerator[Line]:
        from trio_websocket import ConnectionRejected

        stream = await self._connect()
        leaving: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    socket = await self._shake_hands(nursery, stream, query)
                    try:
                        yield Line(self._stage, self._url, socket)
                    finally:
                        with trio.move_on_after(HANG_UP_S):
                            await socket.aclose()
                except BaseException as error:  # only to know it again, below
                    leaving = error
                    raise
                finally:
                    nursery.cancel_scope.cancel(reason="hung up")
        except BaseExceptionGroup as group:
            refused = group.subgroup(ConnectionRejected)
            if refused is not None:  # raised by the library in its own task
                raise self._refusal(_status(refused)) from None
            if leaving is not None:
                raise leaving from leaving.__cause__
            raise
        finally:
            await trio.aclose_forcefully(stream)

    async def _shake_hands(
        self, nursery: trio.Nursery, stream: _Watched, query: Mapping[str, str]
    ) -> WebSocketConnection:
        from trio_websocket import wrap_client_stream

        url = urlsplit(self._url)
        with trio.CancelScope() as scope:
            # The library would wait for ever for the answer of somebody who has hung up.
            stream.when_ended = lambda: scope.cancel(reason="hung up")
            socket = await wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type] # any stream will do, says its documentation
                url.netloc,
                (url.path or "/") + (f"?{urlencode(query)}" if query else ""),
                extra_headers=self._headers,
                max_message_size=MOST_BYTES,
            )
        if scope.cancelled_caught:
            raise ProviderError(self._stage, f"{self._url} hung up instead of answering; is it a WebSocket?")
        stream.when_ended = lambda: None
        return socket

    async def _connect(self) -> _Watched:
        await self.open()
        url = urlsplit(self._url)
        assert url.hostname is not None
        try:
            if self._tls is None:
                return _Watched(await trio.open_tcp_stream(url.hostname, url.port or 80))
            secure = await trio.open_ssl_over_tcp_stream(url.hostname, url.port or 443, ssl_context=self._tls)
            try:
                await secure.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(secure)
                raise
            return _Watched(secure)
        except trio.BrokenResourceError as error:
            import ssl

            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                what = "its certificate is not trusted; SSL_CERT_FILE names another list of authorities"
                raise ProviderError(self._stage, f"{self._url}: {what}", critical=True) from None
            raise ProviderError(self._stage, f"{self._url} broke off the TLS handshake") from None
        except OSError as error:
            message = f"{self._url}: no connection ({type(error).__name__}); is the address right, and the network up?"
            raise ProviderError(self._stage, message) from None

    def _refusal(self, status: int) -> ProviderError:
        match status:
            case 401 | 403:
                what, critical = "refuses the API key", True
            case 402:
                what, critical = "wants to be paid", True
            case 404:
                what, critical = "is not there; the address, the model or the voice is wrong", True
            case 429:
                what, critical = "limits our rate or the number of connections", False
            case _ if 300 <= status < 400:
                what, critical = "redirects; the address is not the service's own", True
            case _ if 400 <= status < 500:
                what, critical = "refuses the request; a setting does not fit", True
            case _:
                what, critical = "failed", False
        return ProviderError(self._stage, f"{self._url} {what} ({status})", critical=critical)


def _status(refused: BaseExceptionGroup[ConnectionRejected]) -> int:
    found: BaseException = refused
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return int(getattr(found, "status_code", 0))


class _Watched(trio.abc.Stream):
    """A stream that tells when there is nothing more to come."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self._inner = inner
        self.when_ended: Callable[[], None] = lambda: None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._inner.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.when_ended()
            raise
        if not data:
            self.when_ended()
        return data

    async def aclose(self) -> None:
        await self._inner.aclose()
