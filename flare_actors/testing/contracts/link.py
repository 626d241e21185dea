"""The contract check for client links: what a session relies on of whatever stands between it and its client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Protocol

import trio
import trio.lowlevel

from flare_actors.conversation.events import InterruptRequested, MuteRequested, TextReceived
from flare_actors.conversation.notices import HearingReady, TurnStarted
from flare_actors.conversation.states import TurnKind
from flare_actors.errors import LinkBroken, LinkClosed
from flare_actors.ports import AudioIn, AudioOut, ClientLink, ClientMessage
from flare_actors.testing.contracts.common import need
from flare_actors.testing.contracts.rules import Broken, Rules
from flare_actors.testing.link import MemoryClient, memory_link

__all__ = ["FarEnd", "check_client_link", "memory_pair"]

_GONE: Final = (LinkClosed, LinkBroken)
_BLOCK_BYTES: Final = 3_200
_FLOOD: Final = 20_000
"""Messages (64 MB) that no transport swallows without its client reading."""


class FarEnd(Protocol):
    """The client's end of a link under test."""

    async def send(self, message: ClientMessage) -> None:
        """Send what a client sends."""
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
    patience_s: float = 30.0,
    release_s: float = 2.0,
) -> None:
    """Hold a client link against its port.

    Args:
        make: an async context manager that gives a fresh link and its client's end, connected; used for every rule.
        patience_s: seconds that one rule may take.
        release_s: seconds that a cancelled call, or a close, may take.

    Raises:
        ContractBroken: rules were broken; it lists them.

    Cancellation: as soon as the link lets go of what it is asked for.
    """
    rules = Rules("the client link", patience_s, release_s)
    for name, probe in _PROBES.items():

        async def one(probe: Callable[[ClientLink, FarEnd, float], Awaitable[None]] = probe) -> None:
            async with make() as (link, far):
                await probe(link, far, release_s)
                with trio.move_on_after(release_s) as patience:
                    await link.aclose()
                if patience.cancelled_caught:
                    raise Broken(f"aclose took more than {release_s:g} s; bound it")

        await rules.follow(name, one)
    await rules.judge()


async def _formats(link: ClientLink, far: FarEnd, release_s: float) -> None:
    del far, release_s
    for name in ("input_format", "output_format"):
        rate = getattr(link, name).sample_rate
        need(8_000 <= rate <= 48_000, f"{name} has {rate} Hz; give 8000 to 48000")
        need(getattr(link, name) == getattr(link, name), f"{name} changes; it is for the link's life")
    for name in ("realtime", "reports_playback", "pauses_playback"):
        need(isinstance(getattr(link, name), bool), f"{name} is no bool")


async def _order(link: ClientLink, far: FarEnd, release_s: float) -> None:
    del release_s
    sent: list[ClientMessage] = []
    for number in range(5):
        sent += [TextReceived(text=f"message {number}"), MuteRequested(muted=number % 2 == 0)]
    got: list[ClientMessage] = []
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            for message in sent:
                await far.send(message)

        nursery.start_soon(send)
        while len(got) < len(sent):
            message = await link.receive()
            got.append(message)
    need(got == sent, f"the client sent {sent}, and received was {got}; nothing may be lost, doubled or overtaken")


async def _both_ways(link: ClientLink, far: FarEnd, release_s: float) -> None:
    """A wait for the client must not stop what it is sent, nor the other way round."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive_quietly, link)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(release_s) as patience:
            await link.send(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
            await link.send(AudioOut(turn=1, pcm=bytes(640)))
            await far.receive()
            await far.receive()
        need(not patience.cancelled_caught, "while receive waits nothing can be sent; they must not share a lock")
        nursery.cancel_scope.cancel()


async def _passed_on(link: ClientLink, far: FarEnd, *messages: ClientMessage) -> ClientMessage:
    """The first that is received of what is sent; a client may have to wait until it is."""

    async def send() -> None:
        for message in messages:
            await far.send(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        received = await link.receive()
        if received == AudioIn(b"") and len(messages) > 1:
            received = await link.receive()
    return received


async def _receive_quietly(link: ClientLink) -> None:
    with suppress(*_GONE):
        await link.receive()


async def _receive_cancelled(link: ClientLink, far: FarEnd, release_s: float) -> None:
    for number in range(3):
        with trio.move_on_after(0.05) as scope:
            await link.receive()
        need(scope.cancelled_caught, "receive gave a message that nobody had sent")
        with trio.move_on_after(release_s) as patience:
            message = await _passed_on(link, far, TextReceived(text=f"after {number}"))
            need(
                message == TextReceived(text=f"after {number}"),
                f"after a cancelled receive the next one gave {message}; cancelling must lose nothing",
            )
        need(
            not patience.cancelled_caught,
            "a cancelled receive took the next message with it; cancelling must lose nothing",
        )


async def _send_cancelled(link: ClientLink, far: FarEnd, release_s: float) -> None:
    """The client does not read: a send that waits can be cancelled, and the link closed."""
    del far
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
                need(trio.current_time() - began <= release_s, "a cancelled send held on")

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


async def _far_end_leaves(link: ClientLink, far: FarEnd, release_s: float) -> None:
    told = await _is_told(link, far.hang_up, release_s)
    need(told, "the client left, and receive did not raise LinkClosed or LinkBroken")
    await _refuses(link, "the client had left")


async def _refuses(link: ClientLink, when: str) -> None:
    try:
        message = await link.receive()
    except _GONE:
        pass
    else:
        raise Broken(f"{when}, and receive gave {type(message).__name__} instead of raising LinkClosed")
    try:
        for _ in range(_FLOOD):  # A transport may take some more for a client that is gone.
            await link.send(HearingReady())
    except _GONE:
        return
    raise Broken(f"{when}, and send went on and on instead of raising LinkClosed")


async def _used_after_close(link: ClientLink, far: FarEnd, release_s: float) -> None:
    del far, release_s
    await link.aclose()
    await link.aclose()  # idempotent
    await _refuses(link, "the link was closed")


async def _closed_amid_receive(link: ClientLink, far: FarEnd, release_s: float) -> None:
    del far
    told = await _is_told(link, link.aclose, release_s)
    need(told, "aclose leaves a receive in another task waiting; wake it with LinkClosed")


async def _close_cancelled(link: ClientLink, far: FarEnd, release_s: float) -> None:
    began = trio.current_time()
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.aclose()
    need(trio.current_time() - began <= release_s, "a cancelled aclose held on; close forcefully then")
    await link.aclose()
    await _refuses(link, "a first aclose was cancelled, a second was not")
    with trio.move_on_after(release_s) as patience:
        try:
            while True:
                await far.receive()
        except Exception:  # noqa: BLE001, S110 - a far end may say it in its own way
            pass
    need(not patience.cancelled_caught, "the link was closed, and the client was never told")


async def _silent_client(link: ClientLink, far: FarEnd, release_s: float) -> None:
    """Empty audio is no reason to fail."""
    del release_s
    first = await _passed_on(link, far, InterruptRequested())
    need(first == InterruptRequested(), f"the client interrupted, and received was {first}")
    got = await _passed_on(link, far, AudioIn(b""), InterruptRequested())
    need(got == InterruptRequested(), f"empty audio was received as {got}; give it, or leave it out")


_PROBES: Final[dict[str, Callable[[ClientLink, FarEnd, float], Awaitable[None]]]] = {
    "it says what it carries": _formats,
    "messages come whole and in order": _order,
    "it carries both ways at once": _both_ways,
    "empty audio does no harm": _silent_client,
    "a cancelled receive loses nothing": _receive_cancelled,
    "a send that waits can be cancelled": _send_cancelled,
    "the client leaves": _far_end_leaves,
    "after its close it refuses": _used_after_close,
    "a close wakes who receives": _closed_amid_receive,
    "a close can be cancelled": _close_cancelled,
}
