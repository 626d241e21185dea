"""The server's sessions: each in its own task of the server's nursery, outliving the connections that come and go."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol, TypeAlias

import attrs
import structlog
import trio

from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason
from flare_actors.errors import SessionError
from flare_actors.ports import ClientLink
from flare_actors.server.boundary import contained

__all__ = ["Draining", "Entry", "LiveSession", "OpenSession", "Sessions", "TooMany"]

_log = structlog.get_logger("flare_actors.server")


class LiveSession(Protocol):
    """What a server needs of a session; ``flare_actors.session.Session`` is one."""

    @property
    def id(self) -> str:
        """Public name."""
        ...

    @property
    def resume_token(self) -> str:
        """Secret."""
        ...

    @property
    def ended(self) -> Reason | None:
        """None while it lives."""
        ...

    async def attach(self, link: ClientLink, *, resumed: bool = False) -> None:
        """Serve a link until it closes, a newer one comes, or the session ends."""
        ...

    def shutdown(self, deadline_s: float) -> None:
        """Finish the turn, then end."""
        ...

    def end(self, reason: Reason = Reason.SESSION_ENDED) -> None:
        """End."""
        ...

    async def wait_ended(self) -> Reason:
        """Wait for the end."""
        ...


OpenSession: TypeAlias = Callable[[Settings], AbstractAsyncContextManager[LiveSession]]
"""Opens a session with these settings; leaving the block ends it."""


class TooMany(SessionError):
    """The server has as many sessions as it takes."""


class Draining(SessionError):
    """The server is shutting down."""


@attrs.define(eq=False)
class Entry:
    """A session and the newest of its links."""

    session: LiveSession
    link: ClientLink | None = None

    async def attach(self, link: ClientLink, *, resumed: bool) -> None:
        """Serve ``link``, which supersedes any other."""
        self.link = link
        await self.session.attach(link, resumed=resumed)


class Sessions:
    """All sessions of a server.

    Args:
        nursery: the server's: it owns the sessions, so that a lost connection does not end one.
        open_session: opens one.
        max_sessions: how many may live at a time, those included that wait for their client.
    """

    def __init__(self, nursery: trio.Nursery, open_session: OpenSession, *, max_sessions: int) -> None:
        self._nursery = nursery
        self._open_session = open_session
        self._max_sessions = max_sessions
        self._entries: dict[str, Entry] = {}
        self._count = 0
        self._empty = trio.Event()
        self._empty.set()
        self._drain_until: float | None = None
        self._waiting: set[trio.CancelScope] = set()

    def __len__(self) -> int:
        return self._count

    @property
    def draining(self) -> bool:
        """No more sessions are taken."""
        return self._drain_until is not None

    @contextmanager
    def waiting(self, scope: trio.CancelScope) -> Iterator[None]:
        """While a client has no session yet, the server's drain cancels it."""
        self._waiting.add(scope)
        try:
            yield
        finally:
            self._waiting.discard(scope)

    async def open(self, settings: Settings) -> Entry:
        """Open a session, in a task of its own. Cancelled while it opens, it is not opened.

        Raises:
            TooMany: there are ``max_sessions``.
            Draining: the server takes no more.
            SessionError: it could not be opened; the reason is in the log.
        """
        if self.draining:
            raise Draining("the server is shutting down; try again later")
        if self._count >= self._max_sessions:
            raise TooMany(f"the server takes {self._max_sessions} sessions at a time; try again later")
        self._count += 1  # now: opening takes time, and others ask meanwhile
        self._empty = trio.Event() if self._count == 1 else self._empty
        entry: Entry | None = await self._nursery.start(self._live, settings)
        if entry is None:
            raise SessionError("the session could not be opened")
        return entry

    async def _live(self, settings: Settings, *, task_status: trio.TaskStatus[Entry | None]) -> None:
        """One session, from its opening to its end; its faults end here."""
        facts: dict[str, object] = {}
        opened = False
        try:
            with contained("session_crashed", facts):
                async with self._open_session(settings) as session:
                    facts["session_id"] = session.id
                    entry = Entry(session)
                    self._entries[session.id] = entry
                    try:
                        opened = True
                        task_status.started(entry)
                        _log.debug("session_opened", session_id=session.id, sessions=self._count)
                        if self._drain_until is not None:
                            session.shutdown(max(0.0, self._drain_until - trio.current_time()))
                        reason = await session.wait_ended()
                        _log.debug("session_closed", session_id=session.id, reason=reason.value)
                    finally:
                        del self._entries[session.id]
            if not opened:
                task_status.started(None)
        finally:
            self._count -= 1
            if not self._count:
                self._empty.set()

    def find(self, session_id: str, token: str) -> Entry | None:
        """The live session of that id, if the token is its resume token (compared in constant time)."""
        entry = self._entries.get(session_id)
        known = entry.session.resume_token if entry else ""
        right = hmac.compare_digest(known.encode(), token.encode())
        return entry if entry and right and entry.session.ended is None else None

    def shutdown(self, deadline_s: float) -> None:
        """Ask every session to finish its turn and end, those that are being opened, too; send waiting clients away."""
        self._drain_until = trio.current_time() + deadline_s
        for scope in self._waiting:
            scope.cancel(reason="the server is shutting down")
        for entry in list(self._entries.values()):
            entry.session.shutdown(deadline_s)

    async def wait_empty(self) -> None:
        """Wait until no session lives."""
        await self._empty.wait()
