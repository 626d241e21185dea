"""One WebSocket, as a route gets it: whole messages in and out, within the server's limits of size and time."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import structlog
import trio
import trio_websocket

from flare_actors.errors import LinkBroken, LinkClosed
from flare_actors.server.http import Request
from flare_actors.server.limits import ServerLimits
from flare_actors.server.stream import ServerStream

__all__ = ["ClosingCode", "Route", "WebSocket", "handshake_fault", "serve_websocket"]

_log = structlog.get_logger("flare_actors.server")

_VIOLATIONS: Final = frozenset({1002, 1003, 1007, 1008, 1009})
"""Close codes that say that somebody broke the protocol, whoever closed: it would happen again."""
_FRAGMENTS: Final = 16
"""How many times the size of the largest message may come (as fragments, pings and pongs) without a whole message."""
_RECEIVE_BYTES: Final = 16 * 1024  # a few messages of audio; the library's 4 KiB would be less than one
_KEY_BYTES: Final = 16  # RFC 6455, 4.2.1: Sec-WebSocket-Key


class ClosingCode:
    """The codes that we close with (`docs/protocol.md` has what they mean to a client)."""

    NORMAL: Final = 1000
    GOING_AWAY: Final = 1001
    POLICY: Final = 1008
    INTERNAL: Final = 1011
    RESTART: Final = 1012
    TRY_LATER: Final = 1013
    SUPERSEDED: Final = 4001


@attrs.frozen(kw_only=True)
class Route:
    """A protocol that is spoken at a path."""

    path: str
    subprotocol: str
    """Selected if offered; a client that offers others only is refused."""
    key_prefix: str
    """How a browser gives its key: a subprotocol that starts so."""
    handle: Callable[[WebSocket], Awaitable[None]]
    """Speaks it until the WebSocket is closed."""
    known_key: Callable[[str], bool] = lambda _key: False
    """Keys that this protocol knows besides the server's."""
    max_message_bytes: int | None = None
    """A larger message closes the WebSocket with 1009; None: the server's limit."""

    def offered_keys(self, request: Request) -> list[str]:
        """The keys that a handshake brings along, in either way."""
        keys = [
            token.removeprefix(self.key_prefix)
            for token in request.tokens("sec-websocket-protocol")
            if token.startswith(self.key_prefix)
        ]
        for value in request.all("authorization"):
            scheme, _, key = value.partition(" ")
            if scheme.lower() == "bearer":
                keys.append(key.strip())
        return keys


def handshake_fault(request: Request, route: Route) -> str | None:
    """What is wrong with a WebSocket handshake, and what to do; None: nothing."""
    if request.one("sec-websocket-version") != "13":
        return "this is no WebSocket handshake: Sec-WebSocket-Version must be 13 (RFC 6455)"
    try:
        nonce = base64.b64decode(request.one("sec-websocket-key") or "", validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) != _KEY_BYTES:
        return "this is no WebSocket handshake: Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455)"
    if "upgrade" not in (token.lower() for token in request.tokens("connection")):
        return "this is no WebSocket handshake: Connection must say Upgrade (RFC 6455)"
    if request.followed or request.has_body:  # wsproto would lose it
        return "send nothing after the handshake until it is answered (RFC 6455)"
    offered = request.tokens("sec-websocket-protocol")
    if not all(token.isascii() for token in offered) or (offered and route.subprotocol not in offered):
        return f"offer the subprotocol {route.subprotocol!r} (or none) at {route.path}"
    return None


class WebSocket:
    """An accepted WebSocket. One task may receive and any may send; everything is bounded in time.

    Args:
        connection: of trio-websocket.
        stream: what it stands on.
        limits: the server's.
        remote: the client's address, for the log.
        request: the handshake.
    """

    def __init__(
        self,
        connection: trio_websocket.WebSocketConnection,
        stream: ServerStream,
        limits: ServerLimits,
        remote: str,
        request: Request,
    ) -> None:
        self.limits = limits
        self.remote = remote
        self.request = request
        self._connection = connection
        self._stream = stream
        self._heard_at = trio.current_time()
        self._broken: str | None = None

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            LinkClosed: the connection is closed or lost.
            LinkBroken: it was closed because somebody broke the protocol, or the client does not read.
        """
        try:
            message: str | bytes = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise self._why(closed) from None
        self._heard_at = trio.current_time()
        self._stream.message_came()
        return message

    async def send(self, message: str | bytes) -> None:
        """Write a message; waits while the client does not read, at most ``write_s``.

        Cancelling it in the middle of a message makes the connection unusable, as cutting off the rest would.

        Raises:
            LinkClosed, LinkBroken: as for ``receive``.
        """
        try:
            with trio.move_on_after(self.limits.write_s) as patience:
                await self._connection.send_message(message)
        except trio_websocket.ConnectionClosed as closed:
            raise self._why(closed) from None
        if patience.cancelled_caught:
            self._broken = f"the client has read nothing for {self.limits.write_s:g} s"
            await self._stream.abort()
            raise LinkBroken(self._broken)

    async def close(self, code: int = ClosingCode.NORMAL, reason: str = "") -> None:
        """Close, waiting at most ``close_s`` for the client to agree. Idempotent; at once when cancelled."""
        with trio.move_on_after(self.limits.close_s):
            await self._connection.aclose(code, reason or None)

    async def keep_alive(self) -> None:
        """Ping a client that is silent; tear the connection down when no pong comes. Until the connection is closed."""
        while True:
            await trio.sleep_until(self._heard_at + self.limits.ping_after_s)
            if trio.current_time() < self._heard_at + self.limits.ping_after_s:
                continue
            try:
                with trio.move_on_after(self.limits.pong_s) as patience:
                    await self._connection.ping()
            except trio_websocket.ConnectionClosed:
                return
            if patience.cancelled_caught:
                _log.info("no_pong", remote=self.remote, after_s=self.limits.pong_s)
                await self._stream.abort()
                return
            self._heard_at = trio.current_time()

    def _why(self, closed: trio_websocket.ConnectionClosed) -> LinkClosed | LinkBroken:
        if self._broken is not None:
            return LinkBroken(self._broken)
        code = closed.reason.code if closed.reason else ClosingCode.NORMAL
        if code in _VIOLATIONS:
            return LinkBroken(f"the WebSocket was closed with code {code}")
        return LinkClosed(f"the WebSocket was closed with code {code}")


async def serve_websocket(
    stream: ServerStream, request: Request, route: Route, *, limits: ServerLimits, remote: str
) -> None:
    """Accept a handshake that is known to be good, and let the route speak. Closes the WebSocket, not the stream.

    Args:
        stream: the connection; the request's head is given back to it.
        request: the handshake.
        route: what to speak.
        limits: the server's.
        remote: the client's address, for the log.
    """
    stream.give_back(request.raw)
    selected = route.subprotocol if request.tokens("sec-websocket-protocol") else None
    most = route.max_message_bytes or limits.max_message_bytes
    async with trio.open_nursery() as nursery:  # of this connection: trio-websocket's reader and the pings
        asked = await trio_websocket.wrap_server_stream(
            nursery, stream, max_message_size=most, receive_buffer_size=_RECEIVE_BYTES
        )
        connection = await asked.accept(subprotocol=selected)

        def farewell() -> tuple[int, str] | None:
            closed = connection.closed
            return (closed.code, closed.reason or "") if closed and closed.code in _VIOLATIONS else None

        stream.farewell = farewell
        stream.most_between_messages = _FRAGMENTS * most
        websocket = WebSocket(connection, stream, limits, remote, request)
        nursery.start_soon(websocket.keep_alive)
        code = ClosingCode.INTERNAL
        try:
            await route.handle(websocket)
            code = ClosingCode.NORMAL
        finally:
            await websocket.close(code)
            nursery.cancel_scope.cancel()
