"""The machinery of contract checks: rules that are tried one by one, and runs that are cancelled at a chosen moment."""

from __future__ import annotations

import gc
import math
import sys
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar, Union

import attrs
import trio
import trio.testing

__all__ = ["Broken", "ContractBroken", "Make", "Rules", "Run", "evenly", "open_made", "run_cancelled"]

T = TypeVar("T")

Make = Callable[[], Union[T, AbstractAsyncContextManager[T]]]
"""Makes what is checked: the thing itself, or an async context manager that gives it and closes it again."""


class ContractBroken(AssertionError):
    """An implementation breaks rules of its port.

    Args:
        subject: what was checked.
        broken: the rules' names, and what happened.
        kept: the names of the rules that were kept.
    """

    def __init__(self, subject: str, broken: dict[str, str], kept: tuple[str, ...]) -> None:
        lines = "\n".join(f"  {name}: {what}" for name, what in broken.items())
        super().__init__(f"{subject} breaks {len(broken)} of {len(broken) + len(kept)} rules of its port:\n{lines}")
        self.broken = broken
        """What happened, by the name of the rule that was broken."""
        self.kept = kept
        """The rules that were kept."""


class Broken(Exception):
    """A rule is broken; the message says what happened and what to do."""


@attrs.define
class Rules:
    """Tries rules, one after the other, and remembers what became of them."""

    subject: str
    patience_s: float
    """The longest that one rule may take."""
    release_s: float
    """The longest that a cancelled stream may hold on."""
    most: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    """Cancellations that are tried at most per rule, by those rules that try several."""
    broken: dict[str, str] = attrs.Factory(dict)
    kept: list[str] = attrs.Factory(list)

    async def follow(self, name: str, probe: Callable[[], Awaitable[None]], *, idle_s: float = 0.0) -> None:
        """Try one rule, of whose time ``idle_s`` is waited on purpose."""
        with _complaints() as complaints:
            wrong = await self._try(probe, self.patience_s + idle_s)
        if not wrong and complaints:
            wrong = (
                f"something was left for the garbage collector: {complaints[0]}; close what a stream opens when the stream "
                "is left (`async with aclosing(...)`)"
            )
        if wrong:
            self.broken[name] = wrong
        else:
            self.kept.append(name)

    @staticmethod
    async def _try(probe: Callable[[], Awaitable[None]], patience_s: float) -> str:
        """What goes wrong; nothing: empty."""
        try:
            with trio.move_on_after(patience_s) as patience:
                await probe()
        except Exception as error:  # noqa: BLE001 - whatever it raises is what was looked for
            # It may come through a nursery, of the rule or of whoever makes what is checked.
            broken = next((each for each in _leaves(error) if isinstance(each, Broken)), None)
            if broken is not None:
                return str(broken)
            return f"it raised {_named(error)}; a port raises ProviderError, and only if it has failed"
        if patience.cancelled_caught:
            return f"it was not done after {patience_s:g} s; something hangs, or patience_s is too short"
        return ""

    async def judge(self) -> None:
        """Raise ContractBroken if a rule was broken."""

        async def collect() -> None:
            gc.collect()
            await trio.lowlevel.checkpoint()

        await self.follow("nothing is left for the garbage collector", collect)
        if self.broken:
            raise ContractBroken(self.subject, self.broken, tuple(self.kept))


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _named(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__} of {', '.join(_named(each) for each in error.exceptions)}"
    return f"{type(error).__name__}({error})" if str(error) else type(error).__name__


@contextmanager
def _complaints() -> Generator[list[str]]:
    """What destructors and warnings complain of."""
    found: list[str] = []
    hook, sys.unraisablehook = (
        sys.unraisablehook,
        lambda unraisable: found.append(f"{unraisable.object!r}: {unraisable.exc_value!r}"),
    )
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", ResourceWarning)
            warnings.simplefilter("always", RuntimeWarning)
            yield found
        found += [str(each.message) for each in warned if issubclass(each.category, ResourceWarning | RuntimeWarning)]
    finally:
        sys.unraisablehook = hook


@asynccontextmanager
async def open_made(make: Make[T]) -> AsyncGenerator[T]:
    """What ``make`` makes, closed at the end if it can be."""
    made: Any = make()
    if hasattr(type(made), "__aenter__"):
        async with made as entered:
            yield entered
    else:
        yield made


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of ``range(count)``, the first and the last among them; of one, the first."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [0]
    return sorted({round(index * (count - 1) / (most - 1)) for index in range(most)})


class _Steps(trio.abc.Instrument):
    """Counts the steps of one task, and may do something before one of them."""

    def __init__(self, task: trio.lowlevel.Task, before: Callable[[int], None]) -> None:
        self._task = task
        self._before = before
        self._news = trio.Event()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._before(self.count)
            self.count += 1
            self._news.set()

    async def wait_step(self) -> None:
        self._news = trio.Event()
        await self._news.wait()


@attrs.define
class Run(Generic[T]):
    """One stream, asked for and read to its end or to its cancellation."""

    items: list[T] = attrs.Factory(list)
    waits: int = 0
    """How often it waited for something."""
    steps: int = 0
    """Steps that its task took."""
    whole: bool = False
    """It came to its end."""
    canceled: bool = False
    """It was cancelled before its end. (Threads and networks wait more often at one time than at another.)"""
    error: BaseException | None = None
    took_s: float = 0.0
    """From the cancellation to the end."""


async def run_cancelled(
    ask: Callable[[], AbstractAsyncContextManager[AsyncIterator[T]]],
    *,
    at_wait: int | None = None,
    before_step: int | None = None,
) -> Run[T]:
    """Read one stream, and cancel it: the n-th time that it waits for something, or before its n-th step, or not at all."""
    run: Run[T] = Run()
    scope = trio.CancelScope()
    canceled_at = math.inf
    ended = trio.Event()

    def cancel() -> None:
        nonlocal canceled_at
        if ended.is_set():
            return
        run.canceled = True
        canceled_at = min(canceled_at, trio.current_time())
        scope.cancel(reason="the contract check's")

    async def read(task_status: trio.TaskStatus[_Steps]) -> None:
        instrument = _Steps(trio.lowlevel.current_task(), lambda step: cancel() if step == before_step else None)
        trio.lowlevel.add_instrument(instrument)
        task_status.started(instrument)
        try:
            with scope:
                async with ask() as items:
                    async for item in items:
                        run.items.append(item)
                run.whole = True
        except Exception as error:  # noqa: BLE001 - it is judged by whoever asked for this run
            run.error = error
        finally:
            trio.lowlevel.remove_instrument(instrument)
            run.steps = instrument.count
            run.took_s = max(0.0, trio.current_time() - canceled_at)
            ended.set()

    async def watch(instrument: _Steps) -> None:
        while True:
            await trio.testing.wait_all_tasks_blocked()
            if run.waits == at_wait:
                cancel()
                await _wait_with_words(ended)
                return
            run.waits += 1
            await instrument.wait_step()

    async with trio.open_nursery() as nursery:
        instrument = await nursery.start(read)
        nursery.start_soon(watch, instrument)
        await ended.wait()
        nursery.cancel_scope.cancel()
    return run


async def _wait_with_words(ended: trio.Event) -> None:
    """Nobody can stop who does not let go; at least somebody says so."""
    with trio.CancelScope(shield=True):
        with trio.move_on_after(20):
            await ended.wait()
            return
        sys.stderr.write("contract check: a stream was cancelled 20 s ago and has not ended; it is waited for\n")
        await ended.wait()
