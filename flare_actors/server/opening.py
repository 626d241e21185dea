"""How any protocol gets a session for its client, and what the client is told when it gets none."""

from __future__ import annotations

from flare_actors.agent import Agent
from flare_actors.conversation.settings import Settings
from flare_actors.errors import ClientError, SessionError, UnsupportedLocale
from flare_actors.server.registry import Draining, Entry, Sessions, TooMany
from flare_actors.server.websocket import ClosingCode

__all__ = ["Refused", "open_entry"]


class Refused(Exception):
    """The client gets no session: what it is told, and the code that the WebSocket closes with."""

    def __init__(self, error: ClientError, code: int) -> None:
        super().__init__(error.message)
        self.error = error
        self.code = code


async def open_entry(settings: Settings, agent: Agent, sessions: Sessions) -> Entry:
    """Open a session.

    Raises:
        Refused: there is none to be had.
    """
    try:
        agent.check_locale(settings)
        return await sessions.open(settings)
    except UnsupportedLocale as error:
        fault = ClientError("unsupported_locale", error.message, field="locale")
        raise Refused(fault, ClosingCode.POLICY) from None
    except TooMany as error:
        raise Refused(ClientError("busy", str(error)), ClosingCode.TRY_LATER) from None
    except Draining as error:
        raise Refused(ClientError("draining", str(error)), ClosingCode.RESTART) from None
    except SessionError:
        fault = ClientError("internal_error", "the session could not be opened; the reason is in the server's log")
        raise Refused(fault, ClosingCode.INTERNAL) from None
