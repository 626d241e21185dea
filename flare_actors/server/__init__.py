"""The server: a page, a health check and conversations over WebSockets, on one port.

``serve`` runs it, ``ServerLimits`` bounds it. Inside, from the outside in: ``connection`` (one TCP connection), ``http`` and
``pages`` (what a browser asks for), ``access`` (who may connect), ``websocket`` (one WebSocket), ``native`` and ``link`` (the
native protocol, as a session's ``ClientLink``), ``registry`` (the sessions, which outlive connections).
"""

from flare_actors.server.limits import ServerLimits
from flare_actors.server.serve import Server, ServerStatistics, serve
from flare_actors.server.tls import self_signed_context, tls_context

__all__ = ["Server", "ServerLimits", "ServerStatistics", "self_signed_context", "serve", "tls_context"]
