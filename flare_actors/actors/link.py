"""Reader and writer of the attached link. They come and go with it; the session stays."""

from __future__ import annotations

import attrs
import trio

from flare_actors.actors.channels import Inbox, Outbox
from flare_actors.actors.ear import Ear
from flare_actors.actors.speaker import Speaker
from flare_actors.conversation.events import PlaybackCompleted, PlaybackProgressed, TransportFailed
from flare_actors.errors import LinkBroken, LinkClosed
from flare_actors.ports import AudioIn, ClientLink

__all__ = ["carry"]


async def carry(link: ClientLink, *, inbox: Inbox, outbox: Outbox, ear: Ear, speaker: Speaker) -> None:
    """Carry messages both ways until the link closes or breaks, or the outbox is closed and empty.

    Returns when there is nothing more to carry; a broken link is told to the session. Cancelling stops at once and
    leaves the closing of the link to the caller.
    """
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            try:
                await _read(link, inbox, ear, speaker)
            except LinkBroken as error:
                inbox.put(TransportFailed(message=str(error)))
            except LinkClosed:
                pass
            nursery.cancel_scope.cancel(reason="the link is closed")

        async def write() -> None:
            try:
                while (message := await outbox.get()) is not None:
                    await link.send(message)
            except LinkBroken as error:
                inbox.put(TransportFailed(message=str(error)))
            except LinkClosed:
                pass
            nursery.cancel_scope.cancel(reason="the link is closed")

        nursery.start_soon(read)
        nursery.start_soon(write)


async def _read(link: ClientLink, inbox: Inbox, ear: Ear, speaker: Speaker) -> None:
    """Audio goes straight to the ear, everything else to the orchestrator."""
    while True:
        message = await link.receive()
        if isinstance(message, AudioIn):
            ear.feed(message.pcm)
            if not link.realtime:
                await ear.wait_room()
        elif isinstance(message, PlaybackProgressed):
            # Nobody can have played what was not sent.
            sent_s = speaker.sent_s(message.turn)
            played_s = max(0.0, message.played_s)
            inbox.put(attrs.evolve(message, played_s=played_s if sent_s is None else min(played_s, sent_s)))
        elif isinstance(message, PlaybackCompleted):
            inbox.put(attrs.evolve(message, played_s=speaker.sent_s(message.turn)))
        else:
            inbox.put(message)
