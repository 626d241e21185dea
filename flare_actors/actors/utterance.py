"""One utterance's audio, between the ear that fills it and the recogniser that reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from flare_actors.ports import HeardAudio

__all__ = ["UtteranceFeed"]


class UtteranceFeed:
    """An async iterator over an utterance as it is spoken. Bounded by the utterance's maximum length (30 s: 960 kB).

    Args:
        number: the utterance's number.
        sample_rate: Hz of its audio.
    """

    def __init__(self, number: int, sample_rate: int) -> None:
        self.number = number
        self.sample_rate = sample_rate
        self.closed = False
        """All of it is in: the endpoint was reached."""
        self.on_close: Callable[[], None] | None = None
        """Called at the endpoint."""
        self._pieces: deque[HeardAudio] = deque()
        self._more = trio.Event()
        self._all_in = trio.Event()

    def put(self, piece: HeardAudio) -> None:
        """The utterance goes on."""
        self._pieces.append(piece)
        self._more.set()

    def close(self) -> None:
        """The endpoint: the iterator ends after what is in."""
        self.closed = True
        self._more.set()
        self._all_in.set()
        if self.on_close is not None:
            self.on_close()

    async def wait_closed(self) -> None:
        """Wait for the endpoint."""
        await self._all_in.wait()

    def __aiter__(self) -> UtteranceFeed:
        return self

    async def __anext__(self) -> HeardAudio:
        while not self._pieces:
            if self.closed:
                raise StopAsyncIteration
            self._more = trio.Event()
            await self._more.wait()
        return self._pieces.popleft()
