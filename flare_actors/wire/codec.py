"""What a transport asks of a protocol: messages of a client to values of a session, and back. Pure, with a connection's state.

A link owns one codec and calls it from one task at a time; what ``receive`` and ``send`` give goes out in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import attrs

from flare_actors.conversation.states import Reason
from flare_actors.errors import ClientError
from flare_actors.ports import ClientMessage, ServerMessage

__all__ = ["Codec", "Frame", "Received"]

Frame: TypeAlias = str | bytes
"""A text or a binary message."""


@attrs.frozen(kw_only=True)
class Received:
    """What a message of a client's comes to."""

    messages: Sequence[ClientMessage] = ()
    """For the session."""
    replies: Sequence[Frame] = ()
    """For the client, at once."""
    error: ClientError | None = None
    """It was no message of this protocol; ``replies`` say so."""


class Codec(Protocol):
    """One connection's protocol."""

    @property
    def input_rate(self) -> int:
        """Hz of the PCM16 that the session gets."""
        ...

    @property
    def output_rate(self) -> int:
        """Hz of the PCM16 that the session gives."""
        ...

    @property
    def reports_playback(self) -> bool:
        """See ``ports.ClientLink``."""
        ...

    @property
    def pauses_playback(self) -> bool:
        """See ``ports.ClientLink``."""
        ...

    @property
    def keeps_audio(self) -> bool:
        """Audio that comes faster than a person speaks is a recording, and is heard at the pace of speech, not dropped."""
        ...

    def opening(self) -> Sequence[ClientMessage]:
        """What the session is told first, without the client having said it."""
        ...

    def receive(self, data: Frame) -> Received:
        """Take a message of the client's."""
        ...

    def send(self, message: ServerMessage) -> Sequence[Frame]:
        """Say what the session tells; may be nothing."""
        ...

    def fault(self, error: ClientError) -> Sequence[Frame]:
        """Say why the connection is closed."""
        ...

    def ending(self, reason: Reason) -> tuple[int, str]:
        """The close code and reason for the session's end."""
        ...
