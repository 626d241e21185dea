"""A turn made of Trio's own parts, and of nothing else: what the way to the first audio, and to its end, cannot go below.

Inbox, orchestrator, a reply's nursery, a model's generator, a channel of phrases, a voice's generator, a link's channel: the
hops are there. A state machine, timeouts, cancellation, news for the client, levels and pacing are not.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

import trio

__all__ = ["bare_stops", "bare_turns"]

_FRAMES: Final = 50
_FRAME: Final = bytes(640)


class _Bare:
    """The parts, and the channels between them; ``forever`` neither model nor voice ends."""

    def __init__(self, tokens: Sequence[str], *, forever: bool = False) -> None:
        self.tokens = tokens
        self.forever = forever
        self.voice_closed = 0.0
        """When, on ``perf_counter``."""
        self.transcripts, self._inbox = trio.open_memory_channel[str](1)
        self._to_link, self.link = trio.open_memory_channel[bytes](_FRAMES)

    async def orchestrate(self) -> None:
        """A reply for each transcript, until there are no more."""
        async with trio.open_nursery() as replies:
            async for _ in self._inbox:
                replies.start_soon(self.reply)

    async def reply(self) -> None:
        """Think and speak."""
        put, phrases = trio.open_memory_channel[str](8)
        async with trio.open_nursery() as nursery, aclosing(self._model()) as tokens:
            nursery.start_soon(self._speak, phrases)
            with put:
                phrase = ""
                async for token in tokens:
                    phrase += token
                    if token.endswith("."):
                        await put.send(phrase)
                        phrase = ""

    async def _speak(self, phrases: trio.MemoryReceiveChannel[str]) -> None:
        try:
            async with aclosing(self._voice(phrases)) as frames:
                async for frame in frames:
                    await self._to_link.send(frame)
        finally:
            self.voice_closed = time.perf_counter()

    async def _model(self) -> AsyncGenerator[str, None]:
        for token in self.tokens:
            yield token
        if self.forever:
            await trio.sleep_forever()

    async def _voice(self, phrases: trio.MemoryReceiveChannel[str]) -> AsyncGenerator[bytes, None]:
        async for _ in phrases:
            given = 0
            while given < _FRAMES or self.forever:
                given += 1
                yield _FRAME


async def bare_turns(count: int, tokens: Sequence[str], pause: Callable[[], Awaitable[None]]) -> list[float]:
    """Milliseconds from a transcript to the first audio at the link; the first tenth, in which caches fill, is left out.

    Args:
        count: how many turns.
        tokens: what the model writes; a phrase ends with a full stop.
        pause: waited for before each turn.
    """
    bare, found = _Bare(tokens), list[float]()
    phrases = sum(token.endswith(".") for token in tokens)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bare.orchestrate)
        for _ in range(count + count // 10):
            await pause()
            began = time.perf_counter()
            bare.transcripts.send_nowait("hello")
            await bare.link.receive()
            found.append(1000 * (time.perf_counter() - began))
            for _ in range(phrases * _FRAMES - 1):
                await bare.link.receive()
        bare.transcripts.close()
    return found[count // 10 :]


async def bare_stops(count: int, tokens: Sequence[str], pause: Callable[[], Awaitable[None]]) -> list[float]:
    """Milliseconds from the cancelling of a reply that speaks until its voice's generator is closed; see ``bare_turns``."""
    found = list[float]()
    for _ in range(count + count // 10):
        bare = _Bare(tokens, forever=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bare.reply)
            await bare.link.receive()
            await pause()
            began = time.perf_counter()
            nursery.cancel_scope.cancel()
        found.append(1000 * (bare.voice_closed - began))
    return found[count // 10 :]
