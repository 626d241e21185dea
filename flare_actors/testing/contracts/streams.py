"""The rules that every engine's streams keep, whatever flows in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, TypeVar

import attrs
import trio

from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import Locales, locale_supported
from flare_actors.testing.contracts.rules import Broken, Rules, Run, evenly, run_cancelled

__all__ = ["Scene", "Source", "follow_stream_rules", "judge_cancelled", "refuses_unknown_locale"]

T = TypeVar("T")

_AT_A_TIME: Final = 4
_EARLY: Final = 6
"""Streams that are left early: as many tasks would be left, if each left one."""
_OBEY: Final = (
    "let trio.Cancelled pass (no `except BaseException`, no long shielded scope), and abandon worker threads "
)
_OBEY_HOW: Final = f"({_OBEY}with abandon_on_cancel=True)"


class Source(Generic[T]):
    """Input of a stream. No generator, so there is nothing to close; one reader at a time.

    Args:
        items: what it gives.
        then: waited for before it ends; None: it ends at once.
    """

    def __init__(self, items: Iterable[T], *, then: trio.Event | None = None) -> None:
        self._items = iter(items)
        self._then = then
        self.readers = 0
        """Tasks that wait for the next item."""
        self.given = 0
        """Items so far."""

    def __aiter__(self) -> Source[T]:
        return self

    async def __anext__(self) -> T:
        if self.readers:
            raise Broken("two tasks read the input at once; read it in one")
        self.readers += 1
        try:
            await trio.lowlevel.checkpoint()
            for item in self._items:
                self.given += 1
                return item
            if self._then is not None:
                await self._then.wait()
            raise StopAsyncIteration
        finally:
            self.readers -= 1


@attrs.frozen(kw_only=True)
class Scene(Generic[T]):
    """One stream that should go well: how to ask for it, and what of it is right."""

    ask: Callable[[], AbstractAsyncContextManager[AsyncIterator[T]]]
    judge: Callable[[list[T]], None]
    """Raises Broken if these are not the items of a whole stream."""


def _opened(scene: Scene[T], method: str) -> AbstractAsyncContextManager[AsyncIterator[T]]:
    asked: Any = scene.ask()
    if not hasattr(type(asked), "__aenter__"):
        if hasattr(asked, "close"):
            asked.close()
        raise Broken(
            f"{method} gives {type(asked).__name__} instead of an async context manager; make it a plain `def`, or an "
            "`async def` with a `yield` under contextlib.asynccontextmanager"
        )
    return asked  # type: ignore[no-any-return] # as far as anybody can tell before it is entered


async def _whole(scene: Scene[T]) -> None:
    items: list[T] = []
    try:
        async with scene.ask() as stream:
            items += [item async for item in stream]
            try:
                more = await anext(aiter(stream))
            except StopAsyncIteration:
                pass
            else:
                raise Broken(f"it ended, and then gave {type(more).__name__}; what has ended stays so")
    except ProviderError as error:
        raise Broken(f"it failed ({type(error).__name__}: {error}) with input that any engine must master") from None
    scene.judge(items)


def _descendants() -> int:
    """Tasks below this one."""
    count, nurseries = 0, list(trio.lowlevel.current_task().child_nurseries)
    while nurseries:
        for task in nurseries.pop().child_tasks:
            count += 1
            nurseries += task.child_nurseries
    return count


@attrs.frozen
class _Probes(Generic[T]):
    """What can be said of a stream without knowing what is in it."""

    rules: Rules
    scene: Scene[T]
    method: str

    async def whole(self) -> None:
        _opened(self.scene, self.method)
        await _whole(self.scene)

    async def concurrent(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(_AT_A_TIME):
                nursery.start_soon(_whole, self.scene)

    async def together(self) -> None:
        try:
            await self.concurrent()
        except* Broken as group:
            raise Broken(f"{_AT_A_TIME} streams at a time: {group.exceptions[0]}") from None

    async def left_early(self) -> None:
        before = _descendants()
        for number in range(_EARLY):
            async with self.scene.ask() as stream:
                if number % 2:
                    await anext(aiter(stream), None)
        left = 0
        for _ in range(20):
            left = _descendants() - before
            if left < _EARLY // 2:
                return
            await trio.sleep(self.rules.release_s / 20)
        raise Broken(
            f"{left} tasks run on after {_EARLY} streams were left; keep a stream's tasks in the stream's nursery"
        )

    async def nothing_after(self) -> None:
        async with self.scene.ask() as stream:
            items = aiter(stream)
        try:
            with trio.move_on_after(self.rules.release_s) as patience:
                item = await anext(items)
        except (StopAsyncIteration, ProviderError, trio.ClosedResourceError, trio.EndOfChannel):
            return
        if patience.cancelled_caught:
            raise Broken("a stream that was left still waits for results; close it when it is left")
        raise Broken(f"a stream that was left still gives {type(item).__name__}; close it when it is left")

    async def exception_passes(self) -> None:
        class OfTheConsumer(Exception):
            pass

        mine = OfTheConsumer()
        try:
            async with self.scene.ask() as stream:
                await anext(aiter(stream), None)
                raise mine
        except OfTheConsumer as error:
            if error is not mine:
                raise Broken("the consumer's exception was replaced by another one") from None
        except BaseExceptionGroup:
            raise Broken(
                "the consumer's exception came out wrapped in a group: a nursery is open around the consumer; unwrap it at "
                "the end of the context manager (trio's strict_exception_groups wraps even one)"
            ) from None
        else:
            raise Broken("the consumer's exception was swallowed; a stream's context manager must not return True")

    async def own_scopes(self) -> None:
        async with self.scene.ask() as stream:
            items = aiter(stream)
            while True:
                try:
                    with trio.CancelScope():
                        await anext(items)
                except StopAsyncIteration:
                    break
                except RuntimeError as error:
                    raise Broken(
                        f"a cancel scope or nursery is held open across a `yield` of the generator ({error}); a deadline or "
                        "a break of the consumer would strike the wrong code; open it in the context manager instead"
                    ) from None

    async def dead_on_arrival(self) -> None:
        with trio.move_on_after(0) as scope:
            async with self.scene.ask() as stream:
                async for _ in stream:
                    pass
            await trio.lowlevel.checkpoint_if_cancelled()
        if not scope.cancelled_caught:
            raise Broken(f"the consumer's deadline had passed before it began, and it ran on {_OBEY_HOW}")

    async def at_every_wait(self) -> None:
        for wait in evenly((await run_cancelled(self.scene.ask)).waits, self.rules.most):
            judge_cancelled(
                self.rules, await run_cancelled(self.scene.ask, at_wait=wait), f"at its wait number {wait + 1}", True
            )
        await _whole(self.scene)

    async def at_every_step(self) -> None:
        for step in evenly((await run_cancelled(self.scene.ask)).steps, self.rules.most):
            run = await run_cancelled(self.scene.ask, before_step=step)
            judge_cancelled(self.rules, run, f"before step {step + 1} of its task", False)
        await _whole(self.scene)


async def follow_stream_rules(rules: Rules, scene: Scene[T], method: str) -> None:
    """Try everything that can be said of a stream without knowing what is in it.

    Args:
        rules: the check.
        scene: a stream that should go well.
        method: what asks for it, for messages.
    """
    probes = _Probes(rules, scene, method)
    await rules.follow("a stream is whole", probes.whole)
    if "a stream is whole" in rules.broken:
        return  # Nothing else could be told apart from that.
    await rules.follow("several streams at a time", probes.together)
    await rules.follow("a stream may be left early", probes.left_early)
    await rules.follow("a stream that was left is over", probes.nothing_after)
    await rules.follow("the consumer's exceptions pass", probes.exception_passes)
    await rules.follow("no scope is held open across a yield", probes.own_scopes)
    await rules.follow("a deadline that has passed ends it", probes.dead_on_arrival)
    await rules.follow("cancelled at every wait", probes.at_every_wait)
    await rules.follow("cancelled before every step", probes.at_every_step)


def judge_cancelled(rules: Rules, run: Run[Any], when: str, delivered: bool) -> None:  # noqa: FBT001 - see below
    """Raise Broken if a run that was cancelled did not end as it should.

    ``delivered``: it was waiting as it was cancelled, so it was told for certain.
    """
    if run.error is not None:
        raise Broken(f"cancelled {when}, it raised {type(run.error).__name__}({run.error}) instead {_OBEY_HOW}")
    if run.took_s > rules.release_s:
        raise Broken(f"cancelled {when}, it held on for {run.took_s:.1f} s {_OBEY_HOW}")
    if delivered and run.canceled and run.whole:
        raise Broken(f"cancelled {when}, it went on to its end: the cancellation was swallowed {_OBEY_HOW}")


def refuses_unknown_locale(
    locales: Locales, ask: Callable[[str], AbstractAsyncContextManager[AsyncIterator[Any]]]
) -> Callable[[], Any]:
    """The rule that a locale that it does not declare is refused."""

    async def probe() -> None:
        unknown = next((tag for tag in ("tlh", "vo", "ia") if not locale_supported(tag, locales)), None)
        if unknown is None:
            return
        try:
            async with ask(unknown) as stream:
                async for _ in stream:
                    pass
        except UnsupportedLocale:
            return
        except ProviderError as error:
            if error.critical:
                return
            raise Broken(f"locale {unknown!r} failed without being critical; raise UnsupportedLocale") from None
        raise Broken(
            f"locale {unknown!r} is not among its locales, and was served; raise UnsupportedLocale on entering"
        )

    return probe
