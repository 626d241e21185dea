"""A blocking call that is started now and awaited later, or never.

``trio.to_thread.run_sync`` needs a task that waits for it from the beginning; a decode that is begun ahead may be wanted
later, or never, and its token comes home in any case.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Generic, TypeVar

import outcome
import trio

__all__ = ["Job"]

T = TypeVar("T")


class Job(Generic[T]):
    """Start ``call`` in a worker thread at once; nothing waits for it but ``result``.

    The limiter's token comes home when the call returns, whether or not anybody still wants the result. To abandon a job,
    forget it.

    Args:
        call: the blocking work.
        limiter: what bounds how many such calls run at a time.

    Raises:
        trio.WouldBlock: the limiter has no free token; nothing was started.
    """

    def __init__(self, call: Callable[[], T], limiter: trio.CapacityLimiter) -> None:
        self._done = trio.Event()
        self._value: T
        self._error: BaseException | None = None
        self._limiter = limiter
        limiter.acquire_on_behalf_of_nowait(self)
        token = trio.lowlevel.current_trio_token()

        def deliver(result: outcome.Outcome[T]) -> None:
            with contextlib.suppress(trio.RunFinishedError):  # the run is over, and nobody is left to count tokens
                token.run_sync_soon(self._come_home, result)

        try:
            trio.lowlevel.start_thread_soon(call, deliver)
        except RuntimeError:  # the system has no thread to give
            limiter.release_on_behalf_of(self)
            raise

    async def wait(self) -> None:
        """Wait until it is done, or has failed. Cancelling the wait leaves the job alone."""
        await self._done.wait()

    @property
    def done(self) -> bool:
        """``result`` will not wait."""
        return self._done.is_set()

    async def result(self) -> T:
        """What the call returned, or raised. Cancelling the wait leaves the job alone."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def _come_home(self, result: outcome.Outcome[T]) -> None:
        self._limiter.release_on_behalf_of(self)
        if isinstance(result, outcome.Error):
            self._error = result.error
        else:
            self._value = result.unwrap()
        self._done.set()
