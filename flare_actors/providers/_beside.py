"""Something to be done beside what a stream's reader does: sending audio while transcripts come in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

__all__ = ["beside"]


@asynccontextmanager
async def beside(work: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Run ``work`` in a task of its own while the block runs; leaving the block cancels it.

    What the block raises comes out as it is, not in a group, as if there were no nursery. What ``work`` raises ends the block.
    """
    leaving: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            try:
                yield
            except BaseException as error:  # only to know it again, below
                leaving = error
                raise
            finally:
                nursery.cancel_scope.cancel(reason="the stream is left")
    except BaseExceptionGroup:
        if leaving is None:
            raise
        raise leaving  # noqa: B904 - it is the block's own, with its own history
