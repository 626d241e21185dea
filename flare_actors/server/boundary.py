"""Where a fault stops: one session's or one connection's, never the server's.

This is the session boundary of the house, the one place but the port guard that takes every ``Exception``. It lets
``trio.Cancelled``, ``KeyboardInterrupt`` and their kin through, also out of a group that mixes them with others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog
import trio
import trio_websocket
import wsproto.utilities

from flare_actors.errors import LinkBroken, LinkClosed

__all__ = ["contained", "tolerated"]

_log = structlog.get_logger("flare_actors.server")

_HAPPENS = (
    LinkBroken,
    LinkClosed,
    ConnectionError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    # trio-websocket answers a PING that comes after its own CLOSE with a PONG, which wsproto refuses with this
    # (python-trio/trio-websocket#184).
    wsproto.utilities.ProtocolError,
)
"""What strangers and networks do to a connection: no fault of ours."""


@contextmanager
def contained(event: str, facts: Mapping[str, object]) -> Iterator[None]:
    """Log every bug inside as an error, with its traceback, and go on after it.

    Args:
        event: the log line, e.g. ``session_crashed``.
        facts: what to log with it; may grow meanwhile.
    """
    try:
        yield
    except* Exception as bugs:  # noqa: BLE001 - the session boundary
        _log.error(event, exc_info=bugs, **facts)


@contextmanager
def tolerated(facts: Mapping[str, object]) -> Iterator[None]:
    """Take what strangers and networks do to a connection as part of life, and go on after it."""
    try:
        yield
    except* _HAPPENS as happened:
        _log.debug("connection_lost", why=_names(happened), **facts)


def _names(group: BaseExceptionGroup[BaseException]) -> str:
    return ", ".join(
        _names(error) if isinstance(error, BaseExceptionGroup) else type(error).__name__ for error in group.exceptions
    )
