"""The native protocol at `/flare`: from the WebSocket to a session, new or resumed."""

from __future__ import annotations

import attrs
import structlog
import trio

from flare_actors.agent import Agent
from flare_actors.conversation.notices import ErrorRaised
from flare_actors.conversation.settings import Settings
from flare_actors.errors import ClientError, LinkBroken, LinkClosed
from flare_actors.server.limits import ServerLimits
from flare_actors.server.link import Allowance, WebSocketLink, flood
from flare_actors.server.opening import Refused, open_entry
from flare_actors.server.registry import Entry, Sessions
from flare_actors.server.websocket import ClosingCode, Route, WebSocket
from flare_actors.wire import flare
from flare_actors.wire.flare_link import FlareCodec, error_notice

__all__ = ["KEY_PREFIX", "native_route", "settings_for"]

_log = structlog.get_logger("flare_actors.server")

KEY_PREFIX = "flare-api-key."
"""A browser's key: the subprotocol ``flare-api-key.KEY``."""


def native_route(agent: Agent, sessions: Sessions, limits: ServerLimits) -> Route:
    """The route of the native protocol."""

    async def handle(websocket: WebSocket) -> None:
        try:
            await _serve(websocket, agent, sessions, limits)
        except (LinkClosed, LinkBroken):
            pass  # before there was a session to tell it to
        except Refused as refused:
            _log.info("session_refused", remote=websocket.remote, code=refused.error.code)
            await _tell(websocket, error_notice(refused.error, recoverable=False))
            await websocket.close(refused.code, refused.error.code)

    return Route(path=flare.PATH, subprotocol=flare.SUBPROTOCOL, key_prefix=KEY_PREFIX, handle=handle)


def settings_for(start: flare.StartSession, settings: Settings) -> Settings:
    """The agent's settings with what the client asks for."""
    return attrs.evolve(settings, **flare.settings_asked(start))  # type: ignore[arg-type] # the codec has held them against their types


async def _serve(websocket: WebSocket, agent: Agent, sessions: Sessions, limits: ServerLimits) -> None:
    allowance = Allowance(limits)
    start: flare.StartSession | None = None
    with trio.move_on_after(limits.start_s) as patience, sessions.waiting(patience):
        start = await _start_message(websocket, allowance)
    if start is None and sessions.draining:
        raise Refused(ClientError("draining", "the server is shutting down; try again later"), ClosingCode.RESTART)
    if start is None:
        error = ClientError("start_timeout", f"start_session must come within {limits.start_s:g} s")
        raise Refused(error, ClosingCode.POLICY)
    entry = await _resume(websocket, start, sessions)
    resumed = entry is not None
    if entry is None:
        entry = await _open(start, agent, sessions)
    else:
        _log.info("session_resumed", session_id=entry.session.id, remote=websocket.remote)

    def explain() -> tuple[int, str] | None:
        if entry.link is not link:
            return ClosingCode.SUPERSEDED, "a newer connection has taken the session over"
        return (ClosingCode.RESTART, "the server is shutting down") if sessions.draining else None

    link = WebSocketLink(websocket, FlareCodec(start), allowance=allowance, explain=explain)
    await entry.attach(link, resumed=resumed)


async def _start_message(websocket: WebSocket, allowance: Allowance) -> flare.StartSession:
    """Wait for `start_session`; what comes before it is answered."""
    while True:
        try:
            message = flare.decode_client(await websocket.receive())
            if isinstance(message, flare.StartSession):
                return message
            if not isinstance(message, flare.Ping):
                raise ClientError("session_not_started", "the first message must be start_session", field="type")  # noqa: TRY301 - told like the codec's
        except ClientError as error:
            if not allowance.spend():
                raise Refused(flood(error), ClosingCode.POLICY) from None
            await _tell(websocket, error_notice(error))
        else:
            await websocket.send(flare.encode_server(flare.Pong(id=message.id)))


async def _resume(websocket: WebSocket, start: flare.StartSession, sessions: Sessions) -> Entry | None:
    if start.resume is None:
        return None
    entry = sessions.find(start.resume.session_id, start.resume.token)
    if entry is None:
        # One answer for every cause: nobody learns here which sessions there are.
        _log.info("resume_failed", remote=websocket.remote)
        error = ClientError(
            "resume_failed", "no such session, or a wrong token, or it is over; this is a new one", field="resume"
        )
        await _tell(websocket, error_notice(error))
    return entry


async def _open(start: flare.StartSession, agent: Agent, sessions: Sessions) -> Entry:
    settings = settings_for(start, agent.settings)
    return await open_entry(settings, agent, sessions)


async def _tell(websocket: WebSocket, notice: ErrorRaised) -> None:
    await websocket.send(flare.encode_server(notice))
