"""What stands between whoever uses a provider and the provider: the port guard, and patience that ends.

``Guarded`` wraps a provider's stream so that every exception out of it becomes a ``ProviderError`` at exactly the calls
that are the provider's; exceptions of our own code keep flying through. ``Patience`` is the one cancel scope around a
stream, whose deadline is moved as the stream goes on. Sessions use them, and so do providers made of other providers.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar, Unpack

import trio

from flare_actors.errors import Part, ProviderError, ProviderTimeout
from flare_actors.ports import (
    LanguageModel,
    Message,
    ModelOptions,
    ModelOutput,
    takes_max_tokens,
    takes_tools,
)

__all__ = ["Guarded", "Patience", "ask_model", "expect", "port_guard"]

T = TypeVar("T")


class port_guard:  # noqa: N801 - used like a function; ``contextmanager`` would cost four times as much
    """Turn every exception of a provider's call into a ``ProviderError``; cancellation and interrupts pass.

    The message names the exception's type only: vendors put requests, and so speech and keys, into their texts.
    """

    __slots__ = ("_stage",)

    def __init__(self, stage: Part) -> None:
        self._stage: Part = stage

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is not None:
            _judge(self._stage, exc)


def _judge(stage: Part, exc: BaseException) -> None:
    """The one port guard: whatever a provider raises is the provider's failure. Returns if it is to go on as it is.

    Raises:
        ProviderError: what it is to those that know no vendor.
    """
    if isinstance(exc, BaseExceptionGroup):
        # A provider's own nursery: cancellation in it is still ours to obey, whatever else failed beside it. (The group
        # itself is asked first, and would match as a whole.)
        passing, _ = exc.split(lambda each: not isinstance(each, Exception | BaseExceptionGroup))
        if passing is not None:
            raise passing from None
    elif isinstance(exc, ProviderError) or not isinstance(exc, Exception):
        return
    raise _translate(stage, exc) from exc


def expect(stage: Part, holds: bool, what: str) -> None:  # noqa: FBT001 - a condition, as in assert
    """What a provider gives must make sense; if it does not, that is the provider's failure: it gave ``what``.

    Raises:
        ProviderError: it does not hold.
    """
    if not holds:
        raise ProviderError(stage, f"{stage} provider gave {what}")


def _translate(stage: Part, exc: BaseException) -> ProviderError:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if isinstance(exc, ProviderError):
        return exc
    return ProviderError(stage, f"{stage} provider raised {type(exc).__name__}")


def ask_model(
    model: LanguageModel, messages: Sequence[Message], *, locale: str, **options: Unpack[ModelOptions]
) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
    """``model.generate``, with what is wanted and no other arguments: a model may leave out what it does not know.

    Raises:
        ProviderError: it has left out what is wanted.
    """
    wanted: ModelOptions = {}
    max_tokens, tools = options.get("max_tokens"), options.get("tools")
    if max_tokens is not None:
        if not takes_max_tokens(model):
            raise ProviderError(
                "llm",
                f"{type(model).__name__} takes no limit of tokens; give its generate() the argument max_tokens "
                "(ports.LanguageModel), or set none (answer_tokens)",
            )
        wanted["max_tokens"] = max_tokens
    if tools:
        if not takes_tools(model):
            raise ProviderError(
                "llm",
                f"{type(model).__name__} takes no tools; give its generate() the arguments tools and tool_choice "
                "(ports.LanguageModel), or offer none",
                critical=True,
            )
        wanted |= {"tools": tools, "tool_choice": options.get("tool_choice", "auto")}
    return model.generate(messages, locale=locale, **wanted)


class Guarded(Generic[T]):
    """A provider's stream behind the port guard: ``async with Guarded(...) as stream: async for item in stream``.

    Args:
        stage: whose provider it is.
        ask: makes the stream; this call, too, is the provider's.
        gives: what its items must be; anything else is the provider's failure.
    """

    def __init__(
        self,
        stage: Part,
        ask: Callable[[], AbstractAsyncContextManager[AsyncIterator[T]]],
        *,
        gives: tuple[type[T], ...],
    ) -> None:
        self._stage: Part = stage
        self._ask = ask
        self._gives = gives
        self._manager: AbstractAsyncContextManager[AsyncIterator[T]] | None = None
        self._iterator: AsyncIterator[T] | None = None

    async def __aenter__(self) -> Self:
        with port_guard(self._stage):
            self._manager = self._ask()
            stream = await self._manager.__aenter__()
            try:
                self._iterator = aiter(stream)
            except TypeError as exc:  # Entered, but nothing to iterate: what was opened must be closed all the same.
                await self._manager.__aexit__(type(exc), exc, exc.__traceback__)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        assert self._manager is not None
        try:
            with port_guard(self._stage):
                suppressed = await self._manager.__aexit__(kind, exc, traceback)
        except ProviderError:
            # What our own code raised inside goes on, whatever the provider made of it. Cancellation is another matter:
            # it may have been the provider's own nursery's, of which only the provider's error is left.
            if isinstance(exc, Exception):
                return False
            raise
        if exc is None or isinstance(exc, Exception) or not suppressed:
            return False
        # A cancellation that went no further: either it was ours, then the next checkpoint finds it again, or the
        # provider has cancelled its own nursery under our hands.
        await trio.lowlevel.checkpoint_if_cancelled()
        raise ProviderError(self._stage, f"{self._stage} provider broke off its stream") from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        assert self._iterator is not None
        try:
            item = await self._iterator.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException as exc:  # Not ``port_guard``: it costs as much as the rest of this, for every token.
            _judge(self._stage, exc)
            raise
        if not isinstance(item, self._gives):
            wanted = " or ".join(each.__name__ for each in self._gives)
            raise ProviderError(self._stage, f"{self._stage} provider gave {type(item).__name__} instead of {wanted}")
        return item


class Patience:
    """One cancel scope around a provider's stream; running out of it is that stage's ``ProviderTimeout``.

        with Patience("llm", 5.0, "connect") as patience:
            ...

    Moving the deadline costs little, but do it for results, not for every token (``extend``).

    Args:
        stage: whose stream it is.
        seconds: how long it is waited for the first thing.
        what: the first thing.
    """

    def __init__(self, stage: Part, seconds: float, what: str) -> None:
        self._stage: Part = stage
        self._seconds = seconds
        self._what = what

    def __enter__(self) -> Self:
        self._now = trio.lowlevel.current_clock().current_time  # For every token: ``trio.current_time`` looks it up.
        self._deadline = self._now() + self._seconds
        self._scope = trio.CancelScope(deadline=self._deadline)
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
        self._deadline = self._scope.deadline = self._now() + seconds

    def extend(self) -> None:
        """Something came: count anew. Coarse on purpose, since moving a deadline re-sorts Trio's heap."""
        deadline = self._now() + self._seconds
        if deadline - self._deadline > self._seconds / 8:
            self._deadline = self._scope.deadline = deadline

    def at_least(self, seconds: float, what: str) -> None:
        """Leave ``seconds`` at least from now on: what follows is our own delay as well."""
        if self._deadline < self._now() + seconds:
            self.until(seconds, what)

    def renew(self, seconds: float, what: str) -> None:
        """``extend`` while the same is waited for, ``until`` where it was something else, or nothing."""
        if what == self._what and seconds == self._seconds and self._deadline < math.inf:
            self.extend()
        else:
            self.until(seconds, what)

    def rest(self) -> None:
        """Nothing is waited for from the provider."""
        self._deadline = self._scope.deadline = math.inf
