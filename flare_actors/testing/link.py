"""An in-memory link: the session's end is a ``ClientLink``, the other end is the test's client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from flare_actors.audio import AudioFormat
from flare_actors.errors import LinkBroken, LinkClosed
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage

__all__ = ["MemoryClient", "MemoryLink", "memory_link"]

M = TypeVar("M")


class MemoryLink:
    """The session's end."""

    def __init__(
        self,
        incoming: trio.MemoryReceiveChannel[ClientMessage],
        outgoing: trio.MemorySendChannel[ServerMessage],
        *,
        input_format: AudioFormat,
        output_format: AudioFormat,
        realtime: bool,
        reports_playback: bool,
        pauses_playback: bool,
    ) -> None:
        self.input_format = input_format
        self.output_format = output_format
        self.realtime = realtime
        self.reports_playback = reports_playback
        self.pauses_playback = pauses_playback
        self.closed = False
        self._incoming = incoming
        self._outgoing = outgoing
        self._broken: str | None = None

    async def receive(self) -> ClientMessage:
        """See ``ports.ClientLink``."""
        try:
            message = await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            if self._broken is not None:
                raise LinkBroken(self._broken) from None
            raise LinkClosed("the client closed the link") from None
        return message

    async def send(self, *messages: ServerMessage) -> None:
        """See ``ports.ClientLink``."""
        try:
            for message in messages:
                await self._outgoing.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LinkClosed("the client closed the link") from None

    async def aclose(self) -> None:
        """See ``ports.ClientLink``."""
        self.closed = True
        self._incoming.close()
        self._outgoing.close()
        await trio.lowlevel.checkpoint()


class MemoryClient:
    """The client's end: sends what a client sends, and keeps everything it is sent."""

    def __init__(
        self,
        link: MemoryLink,
        outgoing: trio.MemorySendChannel[ClientMessage],
        incoming: trio.MemoryReceiveChannel[ServerMessage],
    ) -> None:
        self._link = link
        self._outgoing = outgoing
        self._incoming = incoming
        self.received: list[ServerMessage] = []
        """Everything so far, in order."""
        self.listeners: list[Callable[[ServerMessage], None]] = []
        """Called with every message as it comes."""
        self.closed = False
        """The link is closed, and everything that was sent has been received."""
        self._news = trio.Event()

    @property
    def input_format(self) -> AudioFormat:
        """Of what ``speak`` sends."""
        return self._link.input_format

    @property
    def output_format(self) -> AudioFormat:
        """Of what it gets."""
        return self._link.output_format

    async def send(self, message: ClientMessage) -> None:
        """Send one message; waits while the session does not read.

        Raises:
            LinkClosed: the session has closed the link.
        """
        try:
            await self._outgoing.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LinkClosed("the session closed the link") from None

    async def speak(self, pcm: bytes, *, chunk_s: float = 0.02, paced: bool = True) -> None:
        """Send microphone audio, in real (or virtual) time if ``paced``."""
        rate = self._link.input_format.sample_rate
        size = round(chunk_s * rate) * 2
        for start in range(0, len(pcm), size):
            await self.send(AudioIn(pcm[start : start + size]))
            if paced:
                await trio.sleep(chunk_s)

    async def run(self) -> None:
        """Receive until the session closes the link, or the client does. Run it in a nursery beside the test."""
        try:
            async for message in self._incoming:
                self.received.append(message)
                for listener in self.listeners:
                    listener(message)
                self._tell()
        except trio.ClosedResourceError:
            pass  # The client itself hung up.
        self.closed = True
        self._tell()

    async def take(self) -> ServerMessage:
        """The next message, for a client that does not ``run``.

        Raises:
            LinkClosed: the link is closed, and there is none.
        """
        try:
            return await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise LinkClosed("the session closed the link") from None

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def wait_for(self, kind: type[M], *, count: int = 1, where: Callable[[M], bool] = lambda _message: True) -> M:
        """Wait for the ``count``-th message of a kind (of all that were ever received) that ``where`` accepts.

        Raises:
            LinkClosed: the link was closed, and it was not among what came before.
        """
        while True:
            found = [message for message in self.all(kind) if where(message)]
            if len(found) >= count:
                return found[count - 1]
            if self.closed:
                raise LinkClosed(f"the link was closed before {kind.__name__} number {count} came")
            await self._news.wait()

    async def wait_closed(self) -> None:
        """Wait until the link is closed and everything that was sent has been received."""
        while not self.closed:
            await self._news.wait()

    def all(self, kind: type[M]) -> list[M]:
        """The messages of a kind so far."""
        return [message for message in self.received if isinstance(message, kind)]

    def audio(self, turn: int | None = None) -> bytes:
        """The audio received so far, of one turn or of all."""
        return b"".join(m.pcm for m in self.all(AudioOut) if turn is None or m.turn == turn)

    def close(self) -> None:
        """Leave in an orderly way."""
        self._outgoing.close()
        self._incoming.close()

    def break_link(self, message: str = "the client broke the protocol") -> None:
        """Leave in a way that cannot be repaired."""
        self._link._broken = message  # noqa: SLF001 - two ends of one thing
        self.close()


def memory_link(
    *,
    input_rate: int = 16_000,
    output_rate: int = 16_000,
    realtime: bool = True,
    reports_playback: bool = False,
    pauses_playback: bool = True,
    buffer: int = 64,
) -> tuple[MemoryClient, MemoryLink]:
    """A connected pair.

    Args:
        input_rate: Hz of what the client sends.
        output_rate: Hz of what it gets.
        realtime: see ``ports.ClientLink``.
        reports_playback: see ``ports.ClientLink``.
        pauses_playback: see ``ports.ClientLink``.
        buffer: messages on their way in each direction.
    """
    to_session, from_client = trio.open_memory_channel[ClientMessage](buffer)
    to_client, from_session = trio.open_memory_channel[ServerMessage](buffer)
    link = MemoryLink(
        from_client,
        to_client,
        input_format=AudioFormat(sample_rate=input_rate),
        output_format=AudioFormat(sample_rate=output_rate),
        realtime=realtime,
        reports_playback=reports_playback,
        pauses_playback=pauses_playback,
    )
    return MemoryClient(link, to_session, from_session), link
