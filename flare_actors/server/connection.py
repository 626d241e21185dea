"""One TCP connection, from its first byte to its last: requests one after the other, the last maybe a WebSocket."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from typing import Final, TypeAlias

import attrs
import structlog
import trio

from flare_actors.server.access import Access
from flare_actors.server.boundary import contained, tolerated
from flare_actors.server.http import (
    BadRequest,
    Request,
    Response,
    json_response,
    read_body,
    read_request,
    text_response,
    write_response,
)
from flare_actors.server.limits import ServerLimits
from flare_actors.server.pages import Health, answer
from flare_actors.server.stream import ServerStream
from flare_actors.server.websocket import Route, handshake_fault, serve_websocket

__all__ = ["Action", "Site", "serve_connection"]

_log = structlog.get_logger("flare_actors.server")

_RETRY_AFTER: Final = ("Retry-After", "5")
_CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="flare-actors"')

Action: TypeAlias = Callable[[bytes], tuple[int, object]]
"""Answers a POST's body: the status, and a JSON value."""


@attrs.frozen(kw_only=True)
class Site:
    """What all connections of a server share."""

    access: Access
    limits: ServerLimits
    routes: Mapping[str, Route]
    """By path."""
    actions: Mapping[str, Action] = attrs.field(factory=dict)
    """What may be asked for by POST, by path."""
    health: Callable[[], Health]
    root: Traversable
    """The page's files."""


async def serve_connection(transport: trio.abc.Stream, site: Site, *, turned_away: bool = False) -> None:
    """Serve one connection and close it. Whatever happens in it stays in it; only cancellation passes.

    Args:
        transport: plain or TLS; owned by this call.
        site: the server.
        turned_away: the server is full: answer 503, whatever is asked.
    """
    local, remote = _addresses(transport)
    facts: dict[str, object] = {"remote": remote}
    stream = ServerStream(transport)
    with contained("connection_crashed", facts), tolerated(facts):
        try:
            await _Connection(stream, site, local=local, remote=remote).serve(turned_away=turned_away)
        finally:
            await stream.finish(site.limits.close_s)


def _addresses(transport: trio.abc.Stream) -> tuple[str | None, str]:
    """Ours and the client's, as far as this stream has any."""
    lower = getattr(transport, "transport_stream", transport)
    if isinstance(lower, trio.SocketStream):
        with contextlib.suppress(OSError):
            return lower.socket.getsockname()[0], lower.socket.getpeername()[0]
    return None, "unknown"


@attrs.frozen(kw_only=True)
class _Decision:
    """Speak a protocol, or answer."""

    route: Route | None = None
    response: Response | None = None


class _Connection:
    def __init__(self, stream: ServerStream, site: Site, *, local: str | None, remote: str) -> None:
        self._stream = stream
        self._site = site
        self._local = local
        self._remote = remote

    async def serve(self, *, turned_away: bool) -> None:
        limits = self._site.limits
        patience_s = limits.head_s
        while (request := await self._read(patience_s)) is not None:
            if turned_away:
                await self._write(text_response(503, "too many connections; try again later", [_RETRY_AFTER]), request)
                return
            route = self._site.routes.get(request.path)
            if (action := self._site.actions.get(request.path)) is not None:
                response: Response | None = await self._act(request, action, patience_s)
            else:
                response = self._page(request) if route is None else self._refusal(request, route)
            if route is not None and response is None:
                await serve_websocket(self._stream, request, route, limits=limits, remote=self._remote)
                return
            if response is None or not await self._write(response, request):
                return
            patience_s = limits.keep_alive_s

    async def _read(self, patience_s: float) -> Request | None:
        limits = self._site.limits
        try:
            with trio.move_on_after(patience_s):
                return await read_request(self._stream, head_bytes=limits.head_bytes)
        except BadRequest as bad:
            await self._write(text_response(bad.status, bad.why))
            return None
        if patience_s == limits.head_s:  # a connection that was used before may fall silent
            await self._write(text_response(408, f"no request came within {patience_s:g} s"))
        return None

    async def _write(self, response: Response, request: Request | None = None) -> bool:
        """Answer; returns whether another request may follow."""
        again = False
        with trio.move_on_after(self._site.limits.write_s):
            again = await write_response(self._stream, response, request)
        if not again:
            self._stream.want_linger()
        return again

    async def _act(self, request: Request, action: Action, patience_s: float) -> Response:
        """Do what a program asks for by POST."""
        if request.method != "POST":
            return text_response(405, f"{request.path} takes POST", [("Allow", "POST")])
        if refused := self._stranger(request):
            return refused
        keys = [value.partition(" ")[2].strip() for value in request.all("authorization")]
        if not self._site.access.key_allowed(keys):
            _log.info("request_refused", why="wrong_key", remote=self._remote, path=request.path)
            return text_response(401, "send the API key: Authorization: Bearer KEY", [_CHALLENGE])
        body = b""
        if request.has_body:
            try:
                with trio.fail_after(patience_s):
                    body = await read_body(self._stream, request, most_bytes=self._site.limits.max_message_bytes)
            except BadRequest as bad:
                return text_response(bad.status, bad.why)
            except trio.TooSlowError:
                return text_response(408, f"the body did not come within {patience_s:g} s")
        status, value = action(body)
        return json_response(status, value, [("Cache-Control", "no-store")])

    def _page(self, request: Request) -> Response:
        return answer(request, health=self._site.health(), root=self._site.root)

    def _refusal(self, request: Request, route: Route) -> Response | None:
        """Why that client may not speak that protocol; None: it may."""
        if request.method != "GET":
            return text_response(405, f"{route.path} takes GET, for a WebSocket handshake", [("Allow", "GET")])
        if refused := self._stranger(request):
            return refused
        keys = route.offered_keys(request)
        if not self._site.access.key_allowed(keys) and not any(map(route.known_key, keys)):
            _log.info("request_refused", why="wrong_key", remote=self._remote, path=route.path)
            return text_response(
                401,
                f"send the API key: Authorization: Bearer KEY, or the subprotocol {route.key_prefix}KEY",
                [_CHALLENGE],
            )
        if not request.wants_websocket:
            return text_response(426, f"{route.path} speaks WebSocket (RFC 6455)", [("Upgrade", "websocket")])
        if fault := handshake_fault(request, route):
            return text_response(400, fault, [("Sec-WebSocket-Version", "13")])
        if self._site.health().status != "ok":
            return text_response(503, "the server is shutting down; try again later", [_RETRY_AFTER])
        return None

    def _stranger(self, request: Request) -> Response | None:
        """Whoever is not on one of our pages, or does not call us by a name of ours, is refused, on every address."""
        access = self._site.access
        if not access.host_allowed(request.one("host"), self._local):
            return self._forbid("unknown_host", "this server does not know that Host; allow it (allowed_hosts)")
        if not access.origin_allowed(request.all("origin"), self._local):
            return self._forbid("foreign_origin", "pages of that Origin may not connect; allow it (allowed_origins)")
        return None

    def _forbid(self, why: str, words: str) -> Response:
        _log.warning("request_refused", why=why, remote=self._remote)
        return text_response(403, words)
