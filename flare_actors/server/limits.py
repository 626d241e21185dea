"""What bounds a server: sizes, counts and patience, each with its default and why."""

from __future__ import annotations

import attrs

__all__ = ["ServerLimits"]

_seconds = attrs.validators.gt(0.0)
_count = attrs.validators.gt(0)


@attrs.frozen(kw_only=True)
class ServerLimits:
    """One server's bounds. Every field can be set in the agent's TOML file under ``[server.limits]``."""

    max_sessions: int = attrs.field(default=32, validator=_count)
    """Live sessions, those that wait for their client included; one more is told `busy` and closed with 1013."""
    max_connections: int = attrs.field(default=256, validator=_count)
    """Open TCP connections, HTTP and WebSocket together; one more gets 503."""
    max_message_bytes: int = attrs.field(default=64 * 1024, validator=_count)
    """A larger message closes the WebSocket with 1009. 64 KiB is 0.7 s of 48 kHz audio; clients send a tenth of that."""
    head_bytes: int = attrs.field(default=16 * 1024, validator=[_count, attrs.validators.le(16 * 1024)])
    """A larger HTTP request head gets 431. 16 KiB is also what h11 takes."""
    head_s: float = attrs.field(default=10.0, validator=_seconds)
    """From the connection (TLS handshake included) to the end of the request head; then 408."""
    keep_alive_s: float = attrs.field(default=15.0, validator=_seconds)
    """How long an HTTP connection may wait for its next request: a page loads its modules over one connection."""
    start_s: float = attrs.field(default=10.0, validator=_seconds)
    """From the WebSocket handshake to `start_session`; then 1008."""
    ping_after_s: float = attrs.field(default=20.0, validator=_seconds)
    """A WebSocket that was silent for this long is pinged."""
    pong_s: float = attrs.field(default=20.0, validator=_seconds)
    """How long the pong may take; then the connection counts as lost (the session waits for its client to come back)."""
    write_s: float = attrs.field(default=10.0, validator=_seconds)
    """How long one message may take to be written to a client that does not read; then the link is broken for good. (That
    shows soon, and little is beyond recall on a barge-in: Trio keeps at most 16 KiB unsent in the kernel.)"""
    close_s: float = attrs.field(default=2.0, validator=_seconds)
    """How long a client may take to answer the WebSocket's close."""
    malformed_burst: int = attrs.field(default=20, validator=_count)
    """Malformed messages that a client may send in a row; one more closes the WebSocket with 1008."""
    malformed_per_s: float = attrs.field(default=1.0, validator=_seconds)
    """How fast that allowance comes back."""
    drain_s: float = attrs.field(default=10.0, validator=attrs.validators.ge(0.0))
    """How long turns may take to finish when the server is asked to stop."""
