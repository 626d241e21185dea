"""The other end: what comes from a client and what goes to it, and the link that carries both."""

from __future__ import annotations

from typing import Protocol, TypeAlias, Union, runtime_checkable

import attrs

from flare_actors.audio import AudioFormat
from flare_actors.conversation.events import ClientEvent
from flare_actors.conversation.notices import Notice

__all__ = ["AudioIn", "AudioOut", "ClientLink", "ClientMessage", "ServerMessage"]


@attrs.frozen
class AudioIn:
    """Microphone audio: PCM16 in the link's input format, whole samples, any length."""

    pcm: bytes = attrs.field(repr=False)


@attrs.frozen
class AudioOut:
    """A frame of the agent's speech: PCM16 in the link's output format."""

    turn: int
    pcm: bytes = attrs.field(repr=False)


ClientMessage: TypeAlias = Union[ClientEvent, AudioIn]
"""What comes from a client."""
ServerMessage: TypeAlias = Union[Notice, AudioOut]
"""What goes to a client."""


@runtime_checkable
class ClientLink(Protocol):
    """A session's connection to its client: values in, values out. A server makes one of a transport and a codec."""

    @property
    def input_format(self) -> AudioFormat:
        """Of every ``AudioIn`` that ``receive`` gives."""
        ...

    @property
    def output_format(self) -> AudioFormat:
        """Of every ``AudioOut`` that ``send`` takes."""
        ...

    @property
    def realtime(self) -> bool:
        """Whether a person speaks and listens.

        True: audio that comes too fast is dropped, the answer is paced. False: a recording or a test; audio input is
        backpressured instead, the answer leaves at full speed and counts as played on leaving.
        """
        ...

    @property
    def reports_playback(self) -> bool:
        """The client has declared that it reports what it played."""
        ...

    @property
    def pauses_playback(self) -> bool:
        """The client has declared that it stands still at ``PlaybackPaused`` and goes on at ``PlaybackResumed``.

        Any other gets nothing more to play until it is decided who goes on, and runs empty a moment later.
        """
        ...

    async def receive(self) -> ClientMessage:
        """The next message. Messages that the client should not have sent are answered by the link itself.

        Raises:
            LinkClosed: the client is gone in an orderly way, or the connection was lost; it may come back.
            LinkBroken: the client violated the protocol for good.
        """
        ...

    async def send(self, *messages: ServerMessage) -> None:
        """Send what there is to say, in this order; waits while the transport is congested.

        What has been waiting comes in one call, which ends with the first audio among it, so that it can be written at once.
        A turn's audio comes after its ``TurnStarted``, but may come before the ``StateChanged`` of the same moment. Cancelling
        may leave the transport unusable: close it then.

        Raises:
            LinkClosed, LinkBroken: as for ``receive``.
        """
        ...

    async def aclose(self) -> None:
        """Close the transport. Idempotent; quick when cancelled."""
        ...
