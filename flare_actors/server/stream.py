"""A connection's bytes: what was read too early can be read again, and what ends badly still ends with a word.

trio-websocket closes the transport without a CLOSE frame when the client violates the protocol, and without waiting until
the client has read the CLOSE frame that it sent for an oversized message. Either way the client would see a lost
connection (and come back, and do it again) instead of the code that says what it did. So trio-websocket gets this stream:
its ``aclose`` says the missing word, and ``finish`` closes when the client has had the time to read it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio
from wsproto.frame_protocol import FrameProtocol

__all__ = ["ServerStream"]

_CLOSE_FRAME = 0x88  # FIN and opcode 8; trio-websocket writes one frame at a time
_RECEIVE_BYTES = 16 * 1024
_FAREWELL_S = 1.0


class ServerStream(trio.abc.Stream):
    """A transport of which the first bytes may be given back, and whose end is orderly.

    Args:
        transport: a plain or TLS stream; owned by this one.
    """

    def __init__(self, transport: trio.abc.Stream) -> None:
        self._transport = transport
        self.most_between_messages: int | None = None
        """Set on a WebSocket: bytes that may come without a whole message among them. trio-websocket bounds a message's
        size, but not the number of its fragments, and keeps every one of them, the empty ones too."""
        self._since_message = 0
        self._given_back = b""
        self._writing = trio.Lock()
        self._cut_short = False
        """A write was: nothing can follow it."""
        self._close_sent = False
        self._closed = False
        self._linger = False
        self.farewell: Callable[[], tuple[int, str] | None] | None = None
        """Set on a WebSocket: the code and reason to close with, if this stream has to say them; None: none fits."""

    def give_back(self, data: bytes) -> None:
        """Let ``data`` be read again, before anything else."""
        self._given_back = data + self._given_back

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As Trio's. After a write that was cut short by cancellation the stream is broken."""
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        self._writing.acquire_nowait()  # trio-websocket takes care that there is one writer at a time
        try:
            await self._write(data)
        finally:
            self._writing.release()

    async def _write(self, data: bytes | bytearray | memoryview) -> None:
        if self._cut_short:
            raise trio.BrokenResourceError("a write was cut short; nothing can follow it")
        # Cancelled before: nothing was written, and the stream can still say goodbye.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._cut_short = True
        await self._transport.send_all(data)
        self._cut_short = False
        if self.farewell is not None and data[0] == _CLOSE_FRAME:
            self._close_sent = True
            self._linger = True

    async def wait_send_all_might_not_block(self) -> None:
        """As Trio's."""
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As Trio's; what was given back comes first."""
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self._given_back:
            await trio.lowlevel.checkpoint()
            size = len(self._given_back) if max_bytes is None else max_bytes
            data, self._given_back = self._given_back[:size], self._given_back[size:]
            return data
        data = bytes(await self._transport.receive_some(max_bytes or _RECEIVE_BYTES))
        self._since_message += len(data)
        if self.most_between_messages is not None and self._since_message > self.most_between_messages:
            raise trio.BrokenResourceError("the client sends fragments without end")
        return data

    def message_came(self) -> None:
        """A whole message was among what was received."""
        self._since_message = 0

    async def aclose(self) -> None:
        """No more reading and writing. The transport stays open until ``finish``, so that the last words arrive."""
        if self._closed:
            return
        self._closed = True
        self._linger = False
        await self._say_farewell()

    async def _say_farewell(self) -> None:
        words = None if self.farewell is None or self._close_sent else self.farewell()
        if words is None:
            return
        # Shielded: the one who closes is usually cancelled in the same moment, by the one who learned of the violation.
        with trio.move_on_after(_FAREWELL_S, shield=True):
            async with self._writing:  # another frame may be on its way: let it pass
                if not (self._close_sent or self._cut_short):
                    await self._write(bytes(FrameProtocol(client=False, extensions=[]).close(*words)))

    def want_linger(self) -> None:
        """The client may still be sending: let it read the answer before the transport is torn down."""
        self._linger = True

    async def finish(self, linger_s: float) -> None:
        """Close the transport; if the client may still be sending, wait for its end first, reading into the void.

        A socket that is closed with unread input is reset, and a reset makes the other side forget what it has not read.

        Args:
            linger_s: seconds to wait at most. Cancelled: none.
        """
        self._closed = True
        try:
            await self._say_farewell()  # `aclose` may have been cancelled: whoever called it was done
            if not self._linger or self._cut_short:
                return
            # Below TLS, if there is any: its own farewell would wait for nothing.
            socket = getattr(self._transport, "transport_stream", self._transport)
            with trio.move_on_after(linger_s):
                if isinstance(socket, trio.abc.HalfCloseableStream):
                    await socket.send_eof()
                while await socket.receive_some(_RECEIVE_BYTES):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            with suppress(trio.BrokenResourceError), trio.move_on_after(linger_s):
                await self._transport.aclose()  # TLS says goodbye here, which a client that does not read can hold up

    async def abort(self) -> None:
        """Tear the transport down, whoever may be reading or writing: they get ``trio.ClosedResourceError``."""
        self._closed = True
        self._cut_short = True
        await trio.aclose_forcefully(self._transport)
