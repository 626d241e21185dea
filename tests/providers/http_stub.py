"""A strict HTTP server for tests of clients: it reads whole requests, and answers by hand, byte by byte, as badly as asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import h11
import trio

SSE = "text/event-stream; charset=utf-8"

Answer = Callable[["Exchange"], Awaitable[None]]


@attrs.define
class Exchange:
    """One request at the server, and the raw wire for the answer."""

    stream: trio.SocketStream
    request: h11.Request
    body: bytes
    gone: trio.Event = attrs.field(factory=trio.Event)

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.request.headers}

    async def head(self, status: int = 200, kind: str = SSE, *more: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", "transfer-encoding: chunked", *more, "", ""]
        await self.stream.send_all("\r\n".join(lines).encode())

    async def send(self, data: str | bytes) -> None:
        data = data.encode() if isinstance(data, str) else data
        await self.stream.send_all(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.stream.send_all(b"0\r\n\r\n")

    async def until_gone(self) -> None:
        """Wait for the client to close its side."""
        while await self.stream.receive_some(4096):
            pass
        self.gone.set()


@attrs.define
class Server:
    """Answers each request with the next script; the last one repeats."""

    scripts: list[Answer]
    exchanges: list[Exchange] = attrs.field(factory=list)
    connections: int = 0
    url: str = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        wire = h11.Connection(h11.SERVER)
        exchange: Exchange | None = None
        with trio.CancelScope():
            try:
                while True:
                    request, body = None, b""
                    while not isinstance(event := wire.next_event(), h11.EndOfMessage):
                        match event:
                            case h11.Request():
                                request = event
                            case h11.Data():
                                body += bytes(event.data)
                            case h11.NEED_DATA:
                                wire.receive_data(await stream.receive_some(65_536))
                            case h11.ConnectionClosed():
                                return
                    assert request is not None
                    exchange = Exchange(stream, request, body)
                    self.exchanges.append(exchange)
                    await self.scripts[min(len(self.exchanges), len(self.scripts)) - 1](exchange)
                    # Whatever was written by hand is a complete response, as far as h11 needs to know.
                    wire = h11.Connection(h11.SERVER)
            except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
                if exchange is not None:
                    exchange.gone.set()
            finally:
                await trio.aclose_forcefully(stream)


@asynccontextmanager
async def listening(*scripts: Answer) -> AsyncGenerator[Server]:
    """The server, on a port of its own."""
    server = Server(list(scripts))
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, host="127.0.0.1")
        listeners = await nursery.start(serve, server.serve, 0)
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        yield server
        nursery.cancel_scope.cancel()


def script(*parts: str | bytes, status: int = 200, kind: str = SSE, end: bool = True) -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.head(status, kind)
        for part in parts:
            await exchange.send(part)
        if end:
            await exchange.end()

    return answer


def hanging(*parts: str | bytes, kind: str = SSE, head: bool = True) -> Answer:
    """Sends parts, then nothing more, and watches the client, as inference servers do."""

    async def answer(exchange: Exchange) -> None:
        if head:
            await exchange.head(200, kind)
        for part in parts:
            await exchange.send(part)
        await exchange.until_gone()
        raise trio.BrokenResourceError

    return answer
