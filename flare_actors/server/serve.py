"""A whole server: listens, owns the sessions, drains.

async with trio.open_nursery() as nursery:
    server = await nursery.start(serve, agent)
    print(server.url)
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final, Literal

import attrs
import structlog
import trio

from flare_actors.agent import Agent
from flare_actors.conversation.settings import Settings
from flare_actors.errors import ConfigError
from flare_actors.observe import Observer
from flare_actors.server.access import Access, check_exposure, is_loopback
from flare_actors.server.client_secrets import ClientSecrets
from flare_actors.server.connection import Site, serve_connection
from flare_actors.server.limits import ServerLimits
from flare_actors.server.native import native_route
from flare_actors.server.openai_realtime import SECRETS_PATH, realtime_route
from flare_actors.server.pages import Health, web_root
from flare_actors.server.registry import LiveSession, OpenSession, Sessions
from flare_actors.server.tls import local_addresses
from flare_actors.server.websocket import Route, WebSocket
from flare_actors.session import open_session

__all__ = ["Server", "ServerStatistics", "check_address", "serve"]

_log = structlog.get_logger("flare_actors.server")

_DEFAULT_LIMITS: Final = ServerLimits()
_SETTLE_S: Final = 2.0  # after the drain's deadline: sessions cancel their turn and say goodbye
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 - compared with what was asked for


@attrs.frozen(kw_only=True)
class ServerStatistics:
    """How much there is of everything."""

    sessions: int
    connections: int
    draining: bool


class Server:
    """A running server, as ``nursery.start(serve, ...)`` gives it."""

    def __init__(
        self, *, host: str, ports: tuple[int, ...], scheme: Literal["http", "https"], limits: ServerLimits
    ) -> None:
        self.host = host
        """As it was asked for."""
        self.ports = ports
        self.scheme: Literal["http", "https"] = scheme
        self.limits = limits
        self.sessions: Sessions | None = None
        self._connections = 0
        self._speaking = 0
        self._silent = trio.Event()
        self._drain_asked = trio.Event()
        self._drain_s = limits.drain_s

    @property
    def port(self) -> int:
        """The port (the first one, where there are several)."""
        return self.ports[0]

    @property
    def url(self) -> str:
        """The page, for a browser on this machine."""
        return self._url("localhost" if self.host in _EVERYWHERE or self.host == "127.0.0.1" else self.host)

    @property
    def network_urls(self) -> list[str]:
        """The page, for other machines; none while the server listens on loopback only."""
        if self.host in _EVERYWHERE:
            return [self._url(address) for address in local_addresses()]
        return [] if is_loopback(self.host) else [self.url]

    def _url(self, host: str) -> str:
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def draining(self) -> bool:
        """It has been asked to stop."""
        return self._drain_asked.is_set()

    def request_drain(self, deadline_s: float | None = None) -> None:
        """Take no new sessions, let turns finish, and then let ``serve`` return. Asking again changes nothing.

        Args:
            deadline_s: seconds that turns may take; default: the limits' ``drain_s``.
        """
        if not self.draining:
            self._drain_s = self.limits.drain_s if deadline_s is None else deadline_s
            self._drain_asked.set()

    def statistics(self) -> ServerStatistics:
        """How much there is of everything."""
        sessions = len(self.sessions) if self.sessions is not None else 0
        return ServerStatistics(sessions=sessions, connections=self._connections, draining=self.draining)

    # --- What `serve` is made of ------------------------------------------------------------------------------------------

    def counted(self, route: Route) -> Route:
        """The route, with its WebSockets counted: a drain waits until they have said goodbye."""

        async def handle(websocket: WebSocket) -> None:
            self._speaking += 1
            try:
                await route.handle(websocket)
            finally:
                self._speaking -= 1
                if not self._speaking:
                    self._silent.set()

        return attrs.evolve(route, handle=handle)

    async def accept(self, site: Site, transport: trio.abc.Stream) -> None:
        """Serve one connection, or turn it away."""
        most = self.limits.max_connections
        if self._connections >= 2 * most:  # no time even for a refusal
            return
        self._connections += 1
        try:
            await serve_connection(transport, site, turned_away=self._connections > most)
        finally:
            self._connections -= 1

    async def drain(self) -> None:
        """Wait until it is asked for, then until every session has ended or the deadline has passed.

        The listeners stay open, so that `/healthz` can tell a load balancer why nobody else gets in.
        """
        await self._drain_asked.wait()
        assert self.sessions is not None
        _log.info("server_draining", sessions=len(self.sessions), deadline_s=self._drain_s)
        self.sessions.shutdown(self._drain_s)
        with trio.move_on_after(self._drain_s + _SETTLE_S):
            await self.sessions.wait_empty()
        if self._speaking:
            self._silent = trio.Event()
            with trio.move_on_after(self.limits.close_s):
                await self._silent.wait()


async def serve(  # noqa: PLR0913 - one call starts a server; every choice has its default
    agent: Agent,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    limits: ServerLimits = _DEFAULT_LIMITS,
    api_keys: Sequence[str] = (),
    insecure_no_auth: bool = False,
    allowed_origins: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    ssl_context: ssl.SSLContext | None = None,
    observers: Sequence[Observer] = (),
    health_facts: Mapping[str, object] | None = None,
    handle_signals: bool = False,
    open_one: OpenSession | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the page, the native protocol, OpenAI Realtime and `/healthz` until drained or cancelled.

    Args:
        agent: who talks.
        host: an address of this machine; ``""``: every interface.
        port: 0: any free one (see ``Server.port``).
        limits: what bounds it.
        api_keys: one of them must be shown by whoever talks; none: nobody is asked (loopback only).
        insecure_no_auth: talk to strangers.
        allowed_origins: origins of foreign pages that may connect, e.g. ``https://voice.example.com``.
        allowed_hosts: further names of this server, e.g. behind a proxy.
        ssl_context: serve over TLS (see ``tls_context`` and ``self_signed_context``).
        observers: hooks for every session.
        health_facts: further fields of `/healthz`; public.
        handle_signals: drain on SIGINT and SIGTERM, stop at once on the second; else they are the caller's business.
        open_one: opens a session; default: ``open_session`` with this agent and these observers.
        task_status: gives the ``Server`` once it accepts connections.

    Raises:
        ConfigError: it must not or cannot listen there; the message says what to do. Catch it around ``await
            nursery.start(serve, ...)``, which raises it as it is: what leaves a nursery is a group.

    Cancellation: ends every session and connection at once. Clients are told with a close code where that takes no time;
    ``Server.request_drain`` is the friendly way.
    """
    check_exposure(host, api_keys=api_keys, insecure_no_auth=insecure_no_auth)
    listeners = await _listen(host, port)
    with contextlib.ExitStack() as stack:  # Whatever fails before there is a nursery to own them: they are closed.
        for listener in listeners:
            stack.callback(listener.socket.close)
        server = Server(
            host=host,
            ports=tuple(dict.fromkeys(listener.socket.getsockname()[1] for listener in listeners)),
            scheme="http" if ssl_context is None else "https",
            limits=limits,
        )
        access = Access.make(
            scheme=server.scheme,
            host=None if host in _EVERYWHERE else host,
            ports=server.ports,
            allowed_origins=allowed_origins,
            allowed_hosts=allowed_hosts,
            api_keys=api_keys,
        )

        def open_default(settings: Settings) -> AbstractAsyncContextManager[LiveSession]:
            return open_session(agent, settings=settings, observers=observers)

        def health() -> Health:
            return Health(
                status="draining" if server.draining else "ok",
                sessions=server.statistics().sessions,
                connections=server.statistics().connections,
                auth_required=bool(api_keys),
                facts=health_facts or {},
            )

        async with trio.open_nursery() as nursery:  # owns the sessions, the connections and the listeners
            sessions = Sessions(nursery, open_one or open_default, max_sessions=limits.max_sessions)
            secrets = ClientSecrets(api_keys)
            routes = [native_route(agent, sessions, limits), realtime_route(agent, sessions, limits, secrets)]
            site = Site(
                access=access,
                limits=limits,
                routes={route.path: server.counted(route) for route in routes},
                actions={SECRETS_PATH: secrets.answer},
                health=health,
                root=web_root(),
            )
            if handle_signals:
                await nursery.start(_drain_on_signals, server, nursery.cancel_scope)
            accepting: list[trio.abc.Listener[trio.abc.Stream]] = [
                _perhaps_over_tls(each, ssl_context) for each in listeners
            ]
            nursery.start_soon(partial(trio.serve_listeners, partial(server.accept, site), accepting))
            server.sessions = sessions
            _log.info("server_listening", url=server.url, ports=server.ports, auth_required=bool(api_keys))
            task_status.started(server)
            await server.drain()
            nursery.cancel_scope.cancel(reason="drained")
    _log.info("server_stopped")


def _perhaps_over_tls(
    listener: trio.SocketListener, context: ssl.SSLContext | None
) -> trio.SocketListener | trio.SSLListener[trio.SocketStream]:
    return listener if context is None else trio.SSLListener(listener, context, https_compatible=True)


async def check_address(host: str, port: int) -> None:
    """See whether a server could listen there, before anything that takes time is done for it.

    Args:
        host: address or name, as for ``serve``.
        port: as for ``serve``; 0: any free one.

    Raises:
        ConfigError: it cannot; says why.

    Cancellation: leaves nothing open.
    """
    for listener in await _listen(host, port):
        await listener.aclose()


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host.strip("[]") or None)
    except socket.gaierror:
        fix = "give an address of this machine, such as 127.0.0.1"
        raise ConfigError(f"host {host!r} has no address here; {fix}") from None
    except OSError as error:
        fix = {
            errno.EADDRINUSE: "something listens there already; stop it, or use another port (0: any free one)",
            errno.EACCES: "this user may not use that port; use one above 1023",
            errno.EADDRNOTAVAIL: "that is no address of this machine; 127.0.0.1 always is",
        }.get(error.errno or 0, str(error))
        raise ConfigError(f"cannot listen on {host!r}, port {port}: {fix}") from None


async def _drain_on_signals(
    server: Server, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            _log.info("signal_received", signal=signal.Signals(number).name)
            if server.draining:
                scope.cancel(reason="asked twice")
                return
            server.request_drain()
