"""A session's link to a client that speaks the native protocol over a WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeGuard

import structlog
import trio

from flare_actors.audio import AudioFormat
from flare_actors.conversation.events import ConversationEndRequested, ConversationStartRequested
from flare_actors.conversation.notices import ErrorRaised, SessionEnded, SessionStarted, StateChanged
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import ClientError, LinkBroken, LinkClosed
from flare_actors.ports import AudioIn, ClientMessage, ServerMessage
from flare_actors.server.limits import ServerLimits
from flare_actors.server.websocket import ClosingCode, WebSocket
from flare_actors.wire import flare

__all__ = ["Allowance", "WebSocketLink", "error_notice"]

_log = structlog.get_logger("flare_actors.server")

_SILENT: Final = frozenset({State.IDLE, State.ENDED})
"""States in which nobody listens to the microphone."""
_ENDINGS: Final = {
    Reason.SHUTDOWN: (ClosingCode.RESTART, "the server is shutting down"),
    Reason.CRITICAL_ERROR: (ClosingCode.INTERNAL, "the session failed"),
    Reason.OVERLOADED: (ClosingCode.INTERNAL, "the session was overloaded"),
}


class Allowance:
    """How many malformed messages a client may still send: a bucket that refills slowly."""

    def __init__(self, limits: ServerLimits) -> None:
        self._burst = limits.malformed_burst
        self._per_s = limits.malformed_per_s
        self._left = float(limits.malformed_burst)
        self._at = trio.current_time()

    def spend(self) -> bool:
        """Take one; False: there is none left."""
        now = trio.current_time()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def error_notice(error: ClientError, *, recoverable: bool = True) -> ErrorRaised:
    """What a client is told of its fault."""
    return ErrorRaised(code=error.code, message=error.message, recoverable=recoverable, field=error.field)


class WebSocketLink:
    """``ports.ClientLink`` over a WebSocket, after ``start_session``.

    It answers by itself what does not concern the session: pings, malformed messages, audio that nobody waits for.

    Args:
        websocket: the connection.
        start: what the client wants of it.
        allowance: what is left of it for malformed messages.
        explain: the code and reason to close with, where the session itself has said nothing; None: it has failed.
    """

    def __init__(
        self,
        websocket: WebSocket,
        start: flare.StartSession,
        *,
        allowance: Allowance,
        explain: Callable[[], tuple[int, str] | None] = lambda: None,
    ) -> None:
        self._websocket = websocket
        self._start = start
        self._allowance = allowance
        self._explain = explain
        self._input_format = AudioFormat(sample_rate=start.input_sample_rate)
        self._output_format = AudioFormat(sample_rate=start.output_sample_rate)
        self._ending: tuple[int, str] | None = None
        self._ever_talked = False
        self._talking = False
        self.dropped_messages = 0
        """Audio messages that came outside a conversation."""

    @property
    def input_format(self) -> AudioFormat:
        """As the client asked."""
        return self._input_format

    @property
    def output_format(self) -> AudioFormat:
        """As the client asked."""
        return self._output_format

    @property
    def realtime(self) -> bool:
        """A person is there."""
        return True

    @property
    def reports_playback(self) -> bool:
        """As the client declared."""
        return self._start.reports_playback

    async def receive(self) -> ClientMessage:
        """The next message that concerns the session.

        Raises:
            LinkClosed: the client is gone; it may come back.
            LinkBroken: it broke the protocol for good: a WebSocket violation, or a flood of malformed messages.
        """
        while True:
            data = await self._websocket.receive()
            try:
                message = flare.decode_client(data)
                if isinstance(message, flare.Ping):
                    await self._websocket.send(flare.encode_server(flare.Pong(id=message.id)))
                elif self._concerns_session(message):
                    return message
            except ClientError as error:
                await self._refuse(error)

    def _concerns_session(self, message: ClientMessage | flare.StartSession) -> TypeGuard[ClientMessage]:
        """Is somebody waiting for this message? Raises ClientError where the client should know that nobody is."""
        match message:
            case flare.StartSession():
                raise ClientError("session_already_started", "start_session comes once, as the first message")
            case ConversationStartRequested():
                self._talking = self._ever_talked = True
            case ConversationEndRequested():
                self._talking = False
            case AudioIn() if not self._talking:
                self.dropped_messages += 1
                if not self._ever_talked:  # else it was on its way when the conversation ended
                    self._ever_talked = True  # explained once
                    raise ClientError(
                        "no_conversation", "audio outside a conversation is dropped; send start_conversation first"
                    )
                return False
            case AudioIn():
                return bool(message.pcm)
            case _:
                pass
        return True

    async def _refuse(self, error: ClientError) -> None:
        if not self._allowance.spend():
            flood = ClientError("too_many_errors", f"too many malformed messages; the last one: {error.message}")
            self._ending = (ClosingCode.POLICY, "too many malformed messages")
            await self._websocket.send(flare.encode_server(error_notice(flood, recoverable=False)))
            _log.info("malformed_flood", remote=self._websocket.remote, code=error.code)
            raise LinkBroken(flood.message)
        await self._websocket.send(flare.encode_server(error_notice(error)))

    async def send(self, message: ServerMessage) -> None:
        """Send; waits while the client does not read, for the server's ``write_s`` at most.

        Raises:
            LinkClosed: the client is gone; it may come back.
            LinkBroken: it does not read what it is sent.
        """
        match message:
            case StateChanged():
                self._follow(message.new)
            case SessionStarted():
                self._follow(message.state)
            case SessionEnded():
                self._ending = _ENDINGS.get(message.reason, (ClosingCode.NORMAL, message.reason.value))
            case _:
                pass
        await self._websocket.send(flare.encode_server(message))

    def _follow(self, state: State) -> None:
        self._talking = state not in _SILENT
        self._ever_talked |= self._talking

    async def aclose(self) -> None:
        """Close with the code that says why. Idempotent; at once when cancelled, else within the server's ``close_s``."""
        if self._ending is None:
            self._ending = self._explain()
        if self._ending is None:
            # Nobody said goodbye: the session is no more (or the connection is not, and this fails at once).
            self._ending = (ClosingCode.INTERNAL, "the session failed")
            fault = ErrorRaised(
                code="internal_error", message="the session has failed; please start again", recoverable=False
            )
            with trio.move_on_after(self._websocket.limits.close_s):
                try:
                    await self._websocket.send(flare.encode_server(fault))
                except (LinkBroken, LinkClosed):
                    return
        await self._websocket.close(*self._ending)
