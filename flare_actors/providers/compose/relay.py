"""Streams that are made in a task of their own, and sources that can be read again.

A stream that changes its provider in the middle has to enter and leave the providers' context managers while somebody is
iterating it. Those may hold nurseries, which must be left in the order in which they were entered; so everything that
concerns a provider happens in one task, from which the results are relayed.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

import trio

from flare_actors.errors import ProviderError

__all__ = ["Log", "Relay"]

T = TypeVar("T")


class Relay(Generic[T]):
    """An async context manager that gives a stream: what ``drive`` gives, in a nursery that ends with the block.

    Entering waits until ``connected`` is set, or ``drive`` has ended. What ``drive`` raises as a ``ProviderError`` comes out
    where the stream is read (or entered); anything else is a bug and flies through the nursery. An exception of the block
    itself comes out as it is, not in a group.

    Args:
        drive: makes the items, with ``give``.
    """

    def __init__(self, drive: Callable[[Relay[T]], Awaitable[None]]) -> None:
        self._drive = drive
        # Nothing is made ahead: only audio may wait for its listener, and that is for the listener to say.
        self._send, self._receive = trio.open_memory_channel[T](0)
        self._manager = trio.open_nursery()
        self._error: ProviderError | None = None
        self.nursery: trio.Nursery
        """For tasks that serve this stream; cancelled when the block is left."""
        self.connected = trio.Event()

    async def give(self, item: T) -> None:
        """Hand an item to whoever reads the stream; waits until it is taken."""
        await self._send.send(item)

    async def __aenter__(self) -> Self:
        self.nursery = await self._manager.__aenter__()
        try:
            self.nursery.start_soon(self._run)
            await self.connected.wait()
        except BaseException:  # Cancelled, too: nobody else will leave the nursery.
            await self.__aexit__(*sys.exc_info())
            raise
        if self._error is not None:
            await self._end()
            raise self._error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if exc is None or isinstance(exc, Exception):
            await self._end()
            return None
        self.nursery.cancel_scope.cancel(reason="the stream was left")
        return await self._manager.__aexit__(kind, exc, traceback)

    async def _end(self) -> None:
        self.nursery.cancel_scope.cancel(reason="the stream was left")
        await self._manager.__aexit__(None, None, None)

    async def _run(self) -> None:
        try:
            await self._drive(self)
        except ProviderError as error:
            self._error = error
        finally:
            self.connected.set()
            self._send.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None


class Log(Generic[T]):
    """What a source gave, kept so that somebody else can read it from the beginning.

    The source is read by ``pump`` alone, in a task of its own: a reader that is cancelled leaves it whole.

    Args:
        source: what is read, once.
        eager: read it as it comes; else only as far as somebody wants.
        weigh: what an item adds to the limit.
        limit: beyond this, what was read already is forgotten, the oldest first (``whole`` is then False).
    """

    def __init__(
        self,
        source: AsyncIterator[T],
        *,
        eager: bool = False,
        weigh: Callable[[T], int] = lambda _: 0,
        limit: int = 1,
    ) -> None:
        self._source = source
        self._weigh = weigh
        self._limit = limit
        self._items: deque[T] = deque()
        self._weight = 0
        self._start = 0
        """The number of the first item that is kept."""
        self._read = 0
        """Items that some reader has had."""
        self._wanted = sys.maxsize if eager else 0
        self._ask = trio.Event()
        if eager:
            self._ask.set()
        self._news = trio.Event()
        self.ended = False
        """The source has nothing more."""
        self._on_end: Callable[[], None] = lambda: None

    @property
    def whole(self) -> bool:
        """Nothing is forgotten."""
        return self._start == 0

    @property
    def count(self) -> int:
        """Items so far, those forgotten included."""
        return self._start + len(self._items)

    def kept(self) -> tuple[T, ...]:
        """What is kept."""
        return tuple(self._items)

    def when_ended(self, call: Callable[[], None]) -> None:
        """Call this at the source's end, or now if that was; replaces the call before."""
        self._on_end = call
        if self.ended:
            call()

    async def pump(self) -> None:
        """Read the source, until it ends."""
        while True:
            await self._ask.wait()
            while self._wanted > self.count:
                try:
                    item = await anext(self._source)
                except StopAsyncIteration:
                    self.ended = True
                    self._tell()
                    self._on_end()
                    return
                self._items.append(item)
                self._weight += self._weigh(item)
                self._forget()
                self._tell()
            self._ask = trio.Event()

    async def at(self, number: int) -> T:
        """Give item ``number``, waiting for it if need be.

        Raises:
            StopAsyncIteration: there is none; the source has ended.
        """
        while number >= self.count:
            if self.ended:
                raise StopAsyncIteration
            self._wanted = max(self._wanted, number + 1)
            self._ask.set()
            await self._news.wait()
        self._read = max(self._read, number + 1)
        return self._items[max(0, number - self._start)]

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _forget(self) -> None:
        while self._weight > self._limit and self._start < self._read:
            self._weight -= self._weigh(self._items.popleft())
            self._start += 1
