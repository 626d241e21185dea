"""The client side of ``talk``: a ClientLink inside the process, with a recording at its other end."""

from __future__ import annotations

from typing import Final, final

import trio

from flare_actors.audio import AudioFormat
from flare_actors.errors import LinkClosed
from flare_actors.ports import ClientMessage, ServerMessage

__all__ = ["RecordingLink"]

# The session's writer hands on as fast as it can and the client only takes notes: a little slack, no more.
_TO_CLIENT: Final = 64


@final
class RecordingLink:
    """One session's link to a client in the same process.

    Args:
        input_format: of the recording.
        output_format: of the answers.
        realtime: the recording is played at its own speed; else as fast as the session hears.
    """

    def __init__(self, *, input_format: AudioFormat, output_format: AudioFormat, realtime: bool) -> None:
        self.input_format = input_format
        self.output_format = output_format
        self.realtime = realtime
        self.reports_playback = False
        self.pauses_playback = True
        # A rendezvous: what was sent has been taken, so "sent" means "reached the session".
        self._to_session, self._from_client = trio.open_memory_channel[ClientMessage](0)
        self._to_client, self._from_session = trio.open_memory_channel[ServerMessage](_TO_CLIENT)

    # --- The session's side

    async def receive(self) -> ClientMessage:
        """Wait for the client's next message.

        Raises:
            LinkClosed: the client has gone, or the link was closed here.
        """
        try:
            return await self._from_client.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise LinkClosed("the recording's client has gone") from None

    async def send(self, *messages: ServerMessage) -> None:
        """Hand messages to the client; waits while the client is busy.

        Raises:
            LinkClosed: the client has gone, or the link was closed here.
        """
        try:
            for message in messages:
                await self._to_client.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LinkClosed("the recording's client has gone") from None

    async def aclose(self) -> None:
        """Close the session's side; the client gets what was sent before, then the end."""
        self._from_client.close()
        self._to_client.close()
        await trio.lowlevel.checkpoint()

    # --- The client's side

    async def say(self, message: ClientMessage) -> bool:
        """Send a message to the session; False: the session has gone."""
        try:
            await self._to_session.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def hear(self) -> ServerMessage | None:
        """Wait for the session's next message; None: there will be no more."""
        try:
            return await self._from_session.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return None

    def hang_up(self) -> None:
        """Close the client's side. Idempotent."""
        self._to_session.close()
        self._from_session.close()
