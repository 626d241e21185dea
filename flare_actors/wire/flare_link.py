"""The native protocol as a link's codec, after ``start_session``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

from flare_actors.conversation.events import ConversationEndRequested, ConversationStartRequested
from flare_actors.conversation.notices import ErrorRaised, SessionStarted, StateChanged
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import ClientError
from flare_actors.ports import AudioIn, ClientMessage, ServerMessage
from flare_actors.wire import flare
from flare_actors.wire.codec import Frame, Received

__all__ = ["FlareCodec", "error_notice"]

_SILENT: Final = frozenset({State.IDLE, State.ENDED})
"""States in which nobody listens to the microphone."""
_ENDINGS: Final[Mapping[Reason, tuple[int, str]]] = {
    Reason.SHUTDOWN: (1012, "the server is shutting down"),
    Reason.CRITICAL_ERROR: (1011, "the session failed"),
    Reason.OVERLOADED: (1011, "the session was overloaded"),
}


def error_notice(error: ClientError, *, recoverable: bool = True) -> ErrorRaised:
    """What a client is told of its fault."""
    return ErrorRaised(code=error.code, message=error.message, recoverable=recoverable, field=error.field)


class FlareCodec:
    """``wire.codec.Codec`` for one connection.

    It answers by itself what does not concern the session: pings, malformed messages, audio that nobody waits for.

    Args:
        start: what the client wants of its link.
    """

    keeps_audio = False

    def __init__(self, start: flare.StartSession) -> None:
        self._start = start
        self._ever_talked = False
        self._talking = False

    @property
    def input_rate(self) -> int:
        """As the client asked."""
        return self._start.input_sample_rate

    @property
    def output_rate(self) -> int:
        """As the client asked."""
        return self._start.output_sample_rate

    @property
    def reports_playback(self) -> bool:
        """As the client declared."""
        return self._start.reports_playback

    @property
    def pauses_playback(self) -> bool:
        """As the client declared."""
        return self._start.pauses_playback

    def opening(self) -> Sequence[ClientMessage]:
        """The client starts its conversations itself."""
        return ()

    def receive(self, data: Frame) -> Received:
        """Take a message of the client's."""
        try:
            message = flare.decode_client(data)
            if isinstance(message, flare.Ping):
                return Received(replies=[flare.encode_server(flare.Pong(id=message.id))])
            return Received(messages=[message] if self._concerns_session(message) else ())
        except ClientError as error:
            return Received(replies=[flare.encode_server(error_notice(error))], error=error)

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

    def send(self, message: ServerMessage) -> Sequence[Frame]:
        """Say what the session tells."""
        match message:
            case StateChanged():
                self._follow(message.new)
            case SessionStarted():
                self._follow(message.state)
            case _:
                pass
        return [flare.encode_server(message)]

    def _follow(self, state: State) -> None:
        self._talking = state not in _SILENT
        self._ever_talked |= self._talking

    def fault(self, error: ClientError) -> Sequence[Frame]:
        """Say why the connection is closed."""
        return [flare.encode_server(error_notice(error, recoverable=False))]

    def ending(self, reason: Reason) -> tuple[int, str]:
        """The close code and reason for the session's end."""
        return _ENDINGS.get(reason, (1000, reason.value))
