"""A turn made of Trio's own parts, and of nothing else: what the way to the first audio cannot go below.

Inbox, orchestrator, a reply's nursery, a model's generator, a channel of phrases, a voice's generator, a link's channel: the
hops are there. A state machine, timeouts, cancellation, news for the client, levels and pacing are not.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

import trio

__all__ = ["bare_turns"]

_FRAMES: Final = 50
_FRAME: Final = bytes(640)


class _Bare:
    """The parts, and the channels between them."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tokens
        self.transcripts, self._inbox = trio.open_memory_channel[str](1)
        self._to_link, self.link = trio.open_memory_channel[bytes](_FRAMES)

    async def orchestrate(self) -> None:
        """A reply for each transcript, until there are no more."""
        async with trio.open_nursery() as replies:
            async for _ in self._inbox:
                replies.start_soon(self._reply)

    async def _reply(self) -> None:
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
        async with aclosing(self._voice(phrases)) as frames:
            async for frame in frames:
                await self._to_link.send(frame)

    async def _model(self) -> AsyncGenerator[str, None]:
        for token in self.tokens:
            yield token

    async def _voice(self, phrases: trio.MemoryReceiveChannel[str]) -> AsyncGenerator[bytes, None]:
        async for _ in phrases:
            for _ in range(_FRAMES):
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
