"""A session's link to a client over a WebSocket, in whatever protocol its codec speaks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import structlog
import trio

from flare_actors.audio import AudioFormat, bytes_to_seconds, seconds_to_bytes, split_frames
from flare_actors.conversation.notices import SessionEnded
from flare_actors.errors import ClientError, LinkBroken, LinkClosed
from flare_actors.ports import AudioIn, ClientMessage, ServerMessage
from flare_actors.server.limits import ServerLimits
from flare_actors.server.websocket import ClosingCode, WebSocket
from flare_actors.wire.codec import Codec, Frame

__all__ = ["Allowance", "WebSocketLink", "flood"]

_log = structlog.get_logger("flare_actors.server")

_PIECE_S: Final = 0.1  # A recording may come in one message: it is heard in pieces.
_AHEAD_S: Final = 1.0  # Half of what an ear keeps unheard.
_PACE: Final = 1.2  # Times real time; an ear hears at 1.25 times.


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


def flood(error: ClientError) -> ClientError:
    """What a client is told when its allowance is used up."""
    return ClientError("too_many_errors", f"too many malformed messages; the last one: {error.message}")


class WebSocketLink:
    """``ports.ClientLink`` over a WebSocket.

    Args:
        websocket: the connection.
        codec: what is spoken on it.
        allowance: what is left of it for malformed messages.
        explain: the code and reason to close with, where the session itself has said nothing; None: it has failed.
    """

    def __init__(
        self,
        websocket: WebSocket,
        codec: Codec,
        *,
        allowance: Allowance,
        explain: Callable[[], tuple[int, str] | None] = lambda: None,
    ) -> None:
        self._websocket = websocket
        self._codec = codec
        self._allowance = allowance
        self._explain = explain
        self._input_format = AudioFormat(sample_rate=codec.input_rate)
        self._output_format = AudioFormat(sample_rate=codec.output_rate)
        self._coming: deque[ClientMessage] = deque(codec.opening())
        self._heard_until = -math.inf
        # Reader and writer both send, and one message may be several frames: they go out in the order they are made in. So
        # they are queued as they are made, and whoever may send sends what is there: at most what each of them has in hand.
        self._frames: deque[Frame] = deque()
        self._sending = trio.Lock()
        self._ending: tuple[int, str] | None = None

    @property
    def input_format(self) -> AudioFormat:
        """As the codec has it."""
        return self._input_format

    @property
    def output_format(self) -> AudioFormat:
        """As the codec has it."""
        return self._output_format

    @property
    def realtime(self) -> bool:
        """A person is there."""
        return True

    @property
    def reports_playback(self) -> bool:
        """As the client declared."""
        return self._codec.reports_playback

    @property
    def pauses_playback(self) -> bool:
        """As the client declared."""
        return self._codec.pauses_playback

    async def receive(self) -> ClientMessage:
        """The next message that concerns the session.

        Raises:
            LinkClosed: the client is gone; it may come back.
            LinkBroken: it broke the protocol for good: a WebSocket violation, or a flood of malformed messages.
        """
        while not self._coming:
            received = self._codec.receive(await self._websocket.receive())
            if received.error is not None and not self._allowance.spend():
                await self._break(received.error)
            if received.replies:
                await self._write(received.replies)
            self._coming.extend(self._in_pieces(received.messages))
        message = self._coming.popleft()
        if isinstance(message, AudioIn) and self._codec.keeps_audio:
            await self._keep_pace(bytes_to_seconds(len(message.pcm), self._input_format.sample_rate))
        return message

    def _in_pieces(self, messages: Iterable[ClientMessage]) -> Iterable[ClientMessage]:
        for message in messages:
            if isinstance(message, AudioIn) and self._codec.keeps_audio:
                yield from map(
                    AudioIn, split_frames(message.pcm, seconds_to_bytes(_PIECE_S, self._input_format.sample_rate))
                )
            else:
                yield message

    async def _keep_pace(self, seconds: float) -> None:
        """Wait until the ear has room for so much more."""
        now = trio.current_time()
        self._heard_until = max(self._heard_until, now) + seconds / _PACE
        if self._heard_until - _AHEAD_S > now:
            await trio.sleep_until(self._heard_until - _AHEAD_S)
        elif self._coming:
            await (
                trio.lowlevel.checkpoint()
            )  # One message may hold many pieces; a frame of its own was waited for already.

    async def _break(self, error: ClientError) -> None:
        self._ending = (ClosingCode.POLICY, "too many malformed messages")
        last = flood(error)
        await self._write(self._codec.fault(last))
        _log.info("malformed_flood", remote=self._websocket.remote, code=error.code)
        raise LinkBroken(last.message)

    async def send(self, *messages: ServerMessage) -> None:
        """Send; waits while the client does not read, for the server's ``write_s`` a frame at most.

        Raises:
            LinkClosed: the client is gone; it may come back.
            LinkBroken: it does not read what it is sent.
        """
        frames: list[Frame] = []
        for message in messages:
            if isinstance(message, SessionEnded):
                self._ending = self._codec.ending(message.reason)
            frames += self._codec.send(message)
        await self._write(frames)

    async def _write(self, frames: Iterable[Frame]) -> None:
        self._frames.extend(frames)
        try:
            self._sending.acquire_nowait()  # ``async with`` costs a round of the scheduler also when it is free.
        except trio.WouldBlock:
            await self._sending.acquire()
        try:
            while self._frames:
                await self._websocket.send(self._frames.popleft())
        finally:
            self._sending.release()

    async def aclose(self) -> None:
        """Close with the code that says why. Idempotent; at once when cancelled, else within the server's ``close_s``."""
        if self._ending is None:
            self._ending = self._explain()
        if self._ending is None:
            # Nobody said goodbye: the session is no more (or the connection is not, and this fails at once).
            self._ending = (ClosingCode.INTERNAL, "the session failed")
            fault = ClientError("internal_error", "the session has failed; please start again")
            with trio.move_on_after(self._websocket.limits.close_s):
                try:
                    await self._write(self._codec.fault(fault))
                except (LinkBroken, LinkClosed):
                    return
        await self._websocket.close(*self._ending)
