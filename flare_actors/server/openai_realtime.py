"""OpenAI Realtime at `/v1/realtime`: from the WebSocket to a session of its own."""

from __future__ import annotations

import secrets
from typing import Final
from urllib.parse import parse_qs

import structlog

from flare_actors.agent import Agent
from flare_actors.conversation.settings import Settings
from flare_actors.errors import ClientError, LinkBroken, LinkClosed, UnsupportedLocale
from flare_actors.ports import takes_max_tokens
from flare_actors.server.client_secrets import ClientSecrets
from flare_actors.server.limits import ServerLimits
from flare_actors.server.link import Allowance, WebSocketLink
from flare_actors.server.opening import Refused, open_entry
from flare_actors.server.registry import Sessions
from flare_actors.server.websocket import ClosingCode, Route, WebSocket
from flare_actors.wire.openai_realtime import KEY_PREFIX, PATH, SUBPROTOCOL, RealtimeCodec

__all__ = ["SECRETS_PATH", "realtime_route"]

_log = structlog.get_logger("flare_actors.server")

SECRETS_PATH: Final = f"{PATH}/client_secrets"
"""Where client secrets are made."""

_LARGER: Final = 64
"""Times the native protocol's largest message: clients send whole recordings in one event, as base64."""
_MOST_MODEL: Final = 128


def realtime_route(agent: Agent, sessions: Sessions, limits: ServerLimits, known: ClientSecrets) -> Route:
    """The route of OpenAI Realtime."""

    def check(settings: Settings) -> None:
        try:
            agent.check_locale(settings)
        except UnsupportedLocale as error:
            raise ClientError(
                "invalid_field", error.message, field="session.audio.input.transcription.language"
            ) from None
        if settings.answer_tokens is not None and not takes_max_tokens(agent.language_model):
            model = type(agent.language_model).__name__
            raise ClientError(
                "invalid_field", f"max_output_tokens: {model} takes no limit; leave it out", field="max_output_tokens"
            )

    async def handle(websocket: WebSocket) -> None:
        keys = route.offered_keys(websocket.request)
        opened = next(filter(None, map(known.open, keys)), None)
        codec = RealtimeCodec(
            agent.settings,
            model=_model(websocket.request.query),
            token=secrets.token_hex(6),
            session=opened.session if opened is not None else None,
            check=check,
        )
        try:
            await _serve(websocket, codec, agent, sessions)
        except (LinkClosed, LinkBroken):
            pass  # before there was a session to tell it to
        except Refused as refused:
            _log.info("session_refused", remote=websocket.remote, code=refused.error.code)
            for frame in codec.fault(refused.error):
                await websocket.send(frame)
            code = ClosingCode.GOING_AWAY if refused.code == ClosingCode.RESTART else refused.code
            await websocket.close(code, refused.error.code)

    route = Route(
        path=PATH,
        subprotocol=SUBPROTOCOL,
        key_prefix=KEY_PREFIX,
        handle=handle,
        known_key=lambda key: known.open(key) is not None,
        max_message_bytes=_LARGER * limits.max_message_bytes,
    )
    return route


def _model(query: str) -> str:
    """What the client calls the model; it is told it back, and gets the agent."""
    try:
        given = parse_qs(query, max_num_fields=16).get("model", [""])[0]
    except ValueError:
        given = ""
    return given[:_MOST_MODEL] or "flare-actors"


async def _serve(websocket: WebSocket, codec: RealtimeCodec, agent: Agent, sessions: Sessions) -> None:
    entry = await open_entry(codec.settings, agent, sessions)

    def explain() -> tuple[int, str] | None:
        if codec.over:
            return ClosingCode.NORMAL, "session_expired"
        return (ClosingCode.GOING_AWAY, "the server is shutting down") if sessions.draining else None

    link = WebSocketLink(websocket, codec, allowance=Allowance(websocket.limits), explain=explain)
    await entry.attach(link, resumed=False)
