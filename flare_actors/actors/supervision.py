"""What stands between a session and its providers: the port guard, and patience that ends.

``Guarded`` wraps a provider's stream so that every exception out of it becomes a ``ProviderError`` at exactly the calls
that are the provider's; exceptions of our own code keep flying through. ``Patience`` is the one cancel scope around a
stream, whose deadline is moved as the stream goes on.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Generic, Self, TypeVar

import trio

from flare_actors.errors import ProviderError, ProviderTimeout, Stage

__all__ = ["Guarded", "Patience", "port_guard"]

T = TypeVar("T")


@contextmanager
def port_guard(stage: Stage) -> Iterator[None]:
    """Turn every exception of a provider's call into a ``ProviderError``; cancellation and interrupts pass.

    The message names the exception's type only: vendors put requests, and so speech and keys, into their texts.
    """
    try:
        yield
    except (ProviderError, StopAsyncIteration):
        raise
    except BaseExceptionGroup as group:
        # A provider's own nursery: cancellation in it is still ours to obey, whatever else failed beside it.
        passing, faults = group.split(lambda exc: not isinstance(exc, Exception))
        if passing is not None:
            raise passing from None
        assert faults is not None
        raise _translate(stage, faults) from group
    except Exception as exc:  # The one port guard: whatever a provider raises is the provider's failure.
        raise _translate(stage, exc) from exc


def _translate(stage: Stage, exc: BaseException) -> ProviderError:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, ProviderError):
        return exc
    return ProviderError(stage, f"{stage} provider raised {type(exc).__name__}")


def _contains(exc: BaseException, wanted: BaseException) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return any(_contains(each, wanted) for each in exc.exceptions)
    return exc is wanted


class Guarded(Generic[T]):
    """A provider's stream behind the port guard: ``async with Guarded(...) as stream: async for item in stream``."""

    def __init__(self, stage: Stage, manager: AbstractAsyncContextManager[AsyncIterator[T]]) -> None:
        self._stage: Stage = stage
        self._manager = manager
        self._iterator: AsyncIterator[T] | None = None

    async def __aenter__(self) -> Self:
        with port_guard(self._stage):
            self._iterator = aiter(await self._manager.__aenter__())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            with port_guard(self._stage):
                await self._manager.__aexit__(kind, exc, traceback)
        except ProviderError as error:
            # What our own code raised inside the block comes back wrapped by the provider's nursery, if it has one.
            if exc is None or not (error is exc or (error.__cause__ is not None and _contains(error.__cause__, exc))):
                raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        assert self._iterator is not None
        with port_guard(self._stage):
            return await self._iterator.__anext__()


class Patience:
    """One cancel scope around a provider's stream; running out of it is that stage's ``ProviderTimeout``.

        with Patience("llm") as patience:
            patience.until(5.0, "connect")
            ...

    Moving the deadline costs little, but do it for results, not for every token (``extend``).
    """

    def __init__(self, stage: Stage) -> None:
        self._stage: Stage = stage
        self._scope = trio.CancelScope()
        self._what = ""
        self._seconds = math.inf

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        suppressed = self._scope.__exit__(kind, exc, traceback)
        if self._scope.cancelled_caught:
            raise ProviderTimeout(
                self._stage, f"{self._stage} provider gave nothing for {self._seconds:g} s ({self._what})"
            )
        return bool(suppressed)

    def until(self, seconds: float, what: str) -> None:
        """From now on, wait ``seconds`` at most for ``what``."""
        self._seconds, self._what = seconds, what
        self._scope.deadline = trio.current_time() + seconds

    def extend(self) -> None:
        """Something came: count anew. Coarse on purpose, since moving a deadline re-sorts Trio's heap."""
        deadline = trio.current_time() + self._seconds
        if deadline - self._scope.deadline > self._seconds / 8:
            self._scope.deadline = deadline

    def rest(self) -> None:
        """Nothing is waited for from the provider."""
        self._scope.deadline = math.inf
