"""Reader and writer of the attached link. They come and go with it; the session stays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import trio

from flare_actors.actors.channels import Inbox, Outbox
from flare_actors.actors.ear import Ear
from flare_actors.actors.speaker import Speaker
from flare_actors.audio import BYTES_PER_SAMPLE, split_frames
from flare_actors.conversation.events import (
    InputClearRequested,
    InterruptRequested,
    PlaybackCompleted,
    PlaybackProgressed,
    SettingsChanged,
    TransportFailed,
)
from flare_actors.conversation.notices import ErrorRaised
from flare_actors.errors import LinkBroken, LinkClosed
from flare_actors.ports import AudioIn, ClientLink

__all__ = ["carry"]

# A recording may come in one message; the ear takes it in pieces that never fill its backlog (0.17 s at 48 kHz).
_PIECE_BYTES: Final = 16_384


async def carry(
    link: ClientLink,
    connection: int,
    *,
    inbox: Inbox,
    outbox: Outbox,
    ear: Ear,
    speaker: Speaker,
    refusal: Callable[[SettingsChanged], ErrorRaised | None],
    hush: Callable[[], None],
) -> None:
    """Carry messages both ways until the link closes or breaks, or the outbox is closed and empty.

    Args:
        link: the client's.
        connection: the outbox's number for it.
        inbox: where what the client sends goes.
        outbox: what the client is sent.
        ear: where its audio goes.
        speaker: knows what was sent, by which the client's reports are held.
        refusal: what the client is told instead, if these settings cannot be; None: they can.
        hush: ends the live turn, of which the client asks just that.

    Returns when there is nothing more to carry; a broken link is told to the session. Cancelling stops at once and
    leaves the closing of the link to the caller.
    """
    async with trio.open_nursery() as nursery:

        def tell_broken(error: LinkBroken) -> None:
            if outbox.serves(connection):  # Else a newer link took its place, and nobody misses this one.
                inbox.put(TransportFailed(message=str(error)))

        async def read() -> None:
            try:
                await _read(
                    link,
                    inbox,
                    ear,
                    speaker,
                    lambda event: _refused(event, refusal, outbox),
                    hush=hush,
                    serves=partial(outbox.serves, connection),
                )
            except LinkBroken as error:
                tell_broken(error)
            except LinkClosed:
                pass
            nursery.cancel_scope.cancel(reason="the link is closed")

        nursery.start_soon(read)
        try:
            while messages := await outbox.get(connection):
                await link.send(*messages)
        except LinkBroken as error:
            tell_broken(error)
        except LinkClosed:
            pass
        nursery.cancel_scope.cancel(reason="the link is closed")


def _refused(event: SettingsChanged, refusal: Callable[[SettingsChanged], ErrorRaised | None], outbox: Outbox) -> bool:
    """Tell the client at once, if these settings cannot be."""
    error = refusal(event)
    if error is not None:
        outbox.put(error)
    return error is not None


async def _read(
    link: ClientLink,
    inbox: Inbox,
    ear: Ear,
    speaker: Speaker,
    refused: Callable[[SettingsChanged], bool],
    *,
    hush: Callable[[], None],
    serves: Callable[[], bool],
) -> None:
    """Audio goes straight to the ear, everything else to the orchestrator."""
    while True:
        message = await link.receive()
        if not serves():
            return  # It was read in the moment in which a newer link took this one's place.
        if isinstance(message, AudioIn):
            if len(message.pcm) % BYTES_PER_SAMPLE:
                raise LinkBroken("audio of half a sample; messages must hold whole PCM16 samples")
            if link.realtime:
                ear.feed(message.pcm)
                await ear.together()
                continue
            for piece in split_frames(message.pcm, _PIECE_BYTES):
                ear.feed(piece)
                await ear.wait_room()
        elif isinstance(message, PlaybackProgressed):
            # Nobody can have played what was not sent.
            sent_s = speaker.sent_s(message.turn)
            played_s = message.played_s
            inbox.put(attrs.evolve(message, played_s=played_s if sent_s is None else min(played_s, sent_s)))
        elif isinstance(message, PlaybackCompleted):
            inbox.put(attrs.evolve(message, played_s=speaker.sent_s(message.turn)))
        elif not (isinstance(message, SettingsChanged) and refused(message)):
            if isinstance(message, InputClearRequested):
                ear.expect_clear()
            elif isinstance(message, InterruptRequested):
                hush()
            inbox.put(message)
        await inbox.relieve()  # A link may have many messages ready at once.
