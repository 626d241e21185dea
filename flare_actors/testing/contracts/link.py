"""The contract check for client links: what a session relies on of whatever stands between it and its client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Protocol

import attrs
import trio
import trio.lowlevel

from flare_actors.audio import bytes_to_seconds, is_pcm, seconds_to_bytes, split_frames
from flare_actors.conversation.events import InterruptRequested, MuteRequested, TextReceived
from flare_actors.conversation.notices import TurnStarted
from flare_actors.conversation.states import TurnKind
from flare_actors.errors import LinkBroken, LinkClosed
from flare_actors.ports import AudioIn, AudioOut, ClientLink, ClientMessage
from flare_actors.testing.contracts.common import need
from flare_actors.testing.contracts.rules import Broken, Rules
from flare_actors.testing.link import MemoryClient, memory_link
from flare_actors.testing.room import speechlike

__all__ = ["FarEnd", "check_client_link", "memory_pair"]

_GONE: Final = (LinkClosed, LinkBroken)
_BLOCK_BYTES: Final = 3_200
_FLOOD: Final = 20_000
"""Messages (64 MB) that no transport swallows without its client reading."""
_SAYS: Final[tuple[ClientMessage, ...]] = (
    TextReceived(text="message 0"),
    MuteRequested(muted=True),
    TextReceived(text="message 1"),
    MuteRequested(muted=False),
    InterruptRequested(),
)
_SPEECH_S: Final = 0.2
_PIECE_S: Final = 0.02
_HELD_S: Final = 0.05
"""What a codec's filter may hold back of the last audio."""


class FarEnd(Protocol):
    """The client's end of a link under test."""

    async def send(self, message: ClientMessage) -> None:
        """Send what a client sends: one of ``says``, or audio (PCM16 in the link's input format), in its own words."""
        ...

    async def receive(self) -> object:
        """The next message of the link's, in any form; raises anything when there will be no more."""
        ...

    async def hang_up(self) -> None:
        """Go away."""
        ...


@asynccontextmanager
async def memory_pair() -> AsyncGenerator[tuple[ClientLink, FarEnd]]:
    """The in-memory link, for ``check_client_link``; an example for links of your own."""
    client, link = memory_link()
    try:
        yield link, _MemoryEnd(client)
    finally:
        client.close()


class _MemoryEnd:
    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    async def send(self, message: ClientMessage) -> None:
        await self._client.send(message)

    async def receive(self) -> object:
        return await self._client.take()

    async def hang_up(self) -> None:
        self._client.close()


async def check_client_link(
    make: Callable[[], AbstractAsyncContextManager[tuple[ClientLink, FarEnd]]],
    *,
    says: Sequence[ClientMessage] = _SAYS,
    plain: Callable[[ClientMessage], ClientMessage] = lambda message: message,
    patience_s: float = 30.0,
    release_s: float = 2.0,
) -> None:
    """Hold a client link against its port.

    Args:
        make: an async context manager that gives a fresh link and its client's end, connected; used for every rule. What the
            link says by itself at first has been received.
        says: what a client can say in the link's protocol, two messages or more, each unlike the one before it (the last one
            comes before the first); no audio.
        plain: what of a received message the client has said, as in ``says``: without what the link adds to it, as the names
            of requests.
        patience_s: seconds that one rule may take.
        release_s: seconds that a cancelled call, or a close, may take.

    Raises:
        ContractBroken: rules were broken; it lists them.
        ValueError: ``says`` cannot show what is lost, doubled or overtaken.

    Cancellation: as soon as the link lets go of what it is asked for.
    """
    if len(says) < 2 or any(isinstance(message, AudioIn) or message == says[n - 1] for n, message in enumerate(says)):
        raise ValueError("says: give two messages or more, each unlike the one before it, and no audio")
    rules = Rules("the client link", patience_s, release_s)
    for name, probe in _PROBES.items():

        async def one(probe: Callable[[_Pair], Awaitable[None]] = probe) -> None:
            async with make() as (link, far):
                await probe(_Pair(link, far, tuple(says), plain, release_s))
                with trio.move_on_after(release_s) as patience:
                    await link.aclose()
                if patience.cancelled_caught:
                    raise Broken(f"aclose took more than {release_s:g} s; bound it")

        await rules.follow(name, one)
    await rules.judge()


@attrs.frozen
class _Pair:
    """A link, its client's end, and what can be said."""

    link: ClientLink
    far: FarEnd
    says: tuple[ClientMessage, ...]
    plain: Callable[[ClientMessage], ClientMessage]
    release_s: float

    async def receive(self) -> ClientMessage:
        """What comes, as the client has said it."""
        message = await self.link.receive()
        return message if isinstance(message, AudioIn) else self.plain(message)

    async def say(self, *messages: ClientMessage) -> None:
        """Send it all."""
        for message in messages:
            await self.far.send(message)

    async def passed_on(self, *messages: ClientMessage) -> ClientMessage:
        """The first that is received of what is sent; a client may have to wait until it is."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.say, *messages)
            received = await self.receive()
            if received == AudioIn(b"") and len(messages) > 1:
                received = await self.receive()
        return received


async def _formats(pair: _Pair) -> None:
    link = pair.link
    for name in ("input_format", "output_format"):
        rate = getattr(link, name).sample_rate
        need(8_000 <= rate <= 48_000, f"{name} has {rate} Hz; give 8000 to 48000")
        need(getattr(link, name) == getattr(link, name), f"{name} changes; it is for the link's life")
    for name in ("realtime", "reports_playback", "pauses_playback"):
        need(isinstance(getattr(link, name), bool), f"{name} is no bool")


async def _order(pair: _Pair) -> None:
    sent = [*pair.says, *pair.says]
    got: list[ClientMessage] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.say, *sent)
        while len(got) < len(sent):
            message = await pair.receive()
            got.append(message)
    need(got == sent, f"the client sent {sent}, and received was {got}; nothing may be lost, doubled or overtaken")


async def _audio(pair: _Pair) -> None:
    """In pieces of any length, and maybe not quite as it was: codecs lose some of it, but none of its time."""
    rate = pair.link.input_format.sample_rate
    speech = speechlike(_SPEECH_S, rate)
    mark, heard = pair.says[0], 0
    sent: list[ClientMessage] = [AudioIn(piece) for piece in split_frames(speech, seconds_to_bytes(_PIECE_S, rate))]
    sent.append(mark)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.say, *sent)
        while isinstance(message := await pair.receive(), AudioIn):
            need(
                is_pcm(message.pcm),
                "it gave audio that is no bytes of whole PCM16 samples; keep half a sample for the next message",
            )
            heard += len(message.pcm)
        need(message == mark, f"behind its audio the client sent {mark}, and received was {message}")
    need(
        len(speech) - seconds_to_bytes(_HELD_S, rate) <= heard <= len(speech),
        f"of {_SPEECH_S:g} s of audio {bytes_to_seconds(heard, rate):g} s came before the message behind it; nothing may be "
        "lost, doubled or overtaken",
    )


async def _both_ways(pair: _Pair) -> None:
    """A wait for the client must not stop what it is sent, nor the other way round."""
    link, far = pair.link, pair.far
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive_quietly, link)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(pair.release_s) as patience:
            await link.send(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
            await link.send(AudioOut(turn=1, pcm=bytes(640)))
            await far.receive()
            await far.receive()
        need(not patience.cancelled_caught, "while receive waits nothing can be sent; they must not share a lock")
        nursery.cancel_scope.cancel()


async def _together(pair: _Pair) -> None:
    """What waits to be sent comes in one call."""
    link, far = pair.link, pair.far
    frame = AudioOut(turn=1, pcm=bytes(640))
    try:
        await link.send(TurnStarted(turn=1, kind=TurnKind.RESPONSE), frame)
    except TypeError as exc:
        raise Broken("it takes one message at a time; write send(self, *messages)") from exc
    with trio.move_on_after(pair.release_s) as patience:
        await far.receive()
        await far.receive()
    need(not patience.cancelled_caught, "two messages were sent in one call, and not both came")


async def _receive_quietly(link: ClientLink) -> None:
    with suppress(*_GONE):
        await link.receive()


async def _receive_cancelled(pair: _Pair) -> None:
    for said in (pair.says * 2)[:3]:
        with trio.move_on_after(0.05) as scope:
            await pair.receive()
        need(scope.cancelled_caught, "receive gave a message that nobody had sent")
        with trio.move_on_after(pair.release_s) as patience:
            message = await pair.passed_on(said)
            need(
                message == said,
                f"after a cancelled receive {said} was sent, and {message} was received; cancelling must lose nothing",
            )
        need(
            not patience.cancelled_caught,
            "a cancelled receive took the next message with it; cancelling must lose nothing",
        )


async def _send_cancelled(pair: _Pair) -> None:
    """The client does not read: a send that waits can be cancelled, and the link closed."""
    link = pair.link
    block = AudioOut(turn=1, pcm=bytes(_BLOCK_BYTES))
    await link.send(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def flood() -> None:
                for _ in range(_FLOOD):
                    await link.send(block)
                raise Broken(
                    f"{_FLOOD} messages were sent to a client that reads nothing; send must wait at some point"
                )

            async def stop() -> None:
                # It waits when nothing else happens for a moment.
                await trio.testing.wait_all_tasks_blocked(0.05)
                began = trio.current_time()
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                need(trio.current_time() - began <= pair.release_s, "a cancelled send held on")

            nursery.start_soon(flood)
            nursery.start_soon(stop)
    need(scope.cancelled_caught, "a send that waited swallowed its cancellation")


async def _is_told(link: ClientLink, ends: Callable[[], Awaitable[None]], release_s: float) -> bool:
    """Does a receive that waits learn of an end within ``release_s`` seconds?"""
    async with trio.open_nursery() as nursery:
        gone = trio.Event()

        async def wait() -> None:
            try:
                await link.receive()
            except _GONE:
                gone.set()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await ends()
        with trio.move_on_after(release_s):
            await gone.wait()
        nursery.cancel_scope.cancel()
    return gone.is_set()


async def _far_end_leaves(pair: _Pair) -> None:
    told = await _is_told(pair.link, pair.far.hang_up, pair.release_s)
    need(told, "the client left, and receive did not raise LinkClosed or LinkBroken")
    await _refuses(pair.link, "the client had left")


async def _refuses(link: ClientLink, when: str) -> None:
    try:
        message = await link.receive()
    except _GONE:
        pass
    else:
        raise Broken(f"{when}, and receive gave {type(message).__name__} instead of raising LinkClosed")
    try:
        # Such as no protocol leaves out; a transport may take some more for a client that is gone.
        await link.send(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
        for _ in range(_FLOOD):
            await link.send(AudioOut(turn=1, pcm=bytes(640)))
    except _GONE:
        return
    raise Broken(f"{when}, and send went on and on instead of raising LinkClosed")


async def _used_after_close(pair: _Pair) -> None:
    await pair.link.aclose()
    await pair.link.aclose()  # idempotent
    await _refuses(pair.link, "the link was closed")


async def _closed_amid_receive(pair: _Pair) -> None:
    told = await _is_told(pair.link, pair.link.aclose, pair.release_s)
    need(told, "aclose leaves a receive in another task waiting; wake it with LinkClosed")


async def _close_cancelled(pair: _Pair) -> None:
    link = pair.link
    began = trio.current_time()
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.aclose()
    need(trio.current_time() - began <= pair.release_s, "a cancelled aclose held on; close forcefully then")
    await link.aclose()
    await _refuses(link, "a first aclose was cancelled, a second was not")
    with trio.move_on_after(pair.release_s) as patience:
        try:
            while True:
                await pair.far.receive()
        except Exception:  # noqa: BLE001, S110 - a far end may say it in its own way
            pass
    need(not patience.cancelled_caught, "the link was closed, and the client was never told")


async def _silent_client(pair: _Pair) -> None:
    """Empty audio is no reason to fail."""
    last = pair.says[-1]
    first = await pair.passed_on(last)
    need(first == last, f"the client sent {last}, and received was {first}")
    got = await pair.passed_on(AudioIn(b""), last)
    need(got == last, f"empty audio was received as {got}; give it, or leave it out")


_PROBES: Final[dict[str, Callable[[_Pair], Awaitable[None]]]] = {
    "it says what it carries": _formats,
    "messages come whole and in order": _order,
    "audio comes whole and in order": _audio,
    "it carries both ways at once": _both_ways,
    "it takes several messages at once": _together,
    "empty audio does no harm": _silent_client,
    "a cancelled receive loses nothing": _receive_cancelled,
    "a send that waits can be cancelled": _send_cancelled,
    "the client leaves": _far_end_leaves,
    "after its close it refuses": _used_after_close,
    "a close wakes who receives": _closed_amid_receive,
    "a close can be cancelled": _close_cancelled,
}
