"""The port guard, patience, and the count of who does not let go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from flare_actors.actors.supervision import Lingering
from flare_actors.errors import ProviderError, ProviderTimeout
from flare_actors.guard import Guarded, Patience, expect, port_guard


class Vendor(Exception):
    """A vendor's own."""


class Ours(Exception):
    """A bug of ours."""


def caught(exc: BaseException) -> ProviderError:
    with pytest.raises(ProviderError) as info, port_guard("llm"):
        raise exc
    return info.value


# --- port_guard ------------------------------------------------------------------------------------------------------------


def test_a_foreign_exception_becomes_that_stages_error_and_its_text_stays_out() -> None:
    cause = Vendor("Authorization: Bearer secret")
    error = caught(cause)
    assert (error.stage, error.message, error.critical) == ("llm", "llm provider raised Vendor", False)
    assert error.__cause__ is cause


def test_a_provider_error_passes_as_it_is() -> None:
    error = ProviderError("tts", "mine", critical=True)
    assert caught(error) is error


def test_of_a_vendors_group_the_first_is_named_and_a_provider_error_in_it_is_kept() -> None:
    assert (
        caught(ExceptionGroup("", [ExceptionGroup("", [Vendor(), KeyError()])])).message == "llm provider raised Vendor"
    )
    inner = ProviderError("llm", "known", critical=True)
    assert caught(ExceptionGroup("", [inner, Vendor()])) is inner


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass(interrupt: type[BaseException]) -> None:
    with pytest.raises(interrupt), port_guard("llm"):
        raise interrupt
    with pytest.raises(BaseExceptionGroup) as info, port_guard("llm"):
        raise BaseExceptionGroup("", [Vendor(), interrupt()])
    assert info.value.subgroup(Vendor) is None


def test_a_stop_iteration_out_of_a_call_is_a_failure_like_any_other() -> None:
    assert caught(StopAsyncIteration()).message == "llm provider raised StopAsyncIteration"


def test_what_is_expected_and_does_not_hold_is_the_providers_failure() -> None:
    expect("tts", True, "anything")
    with pytest.raises(ProviderError, match="tts provider gave half a sample"):
        expect("tts", False, "half a sample")


async def test_cancellation_passes_alone_and_in_groups(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope, port_guard("llm"):
        await trio.sleep_forever()
    assert scope.cancelled_caught

    async def dies() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Vendor

    with trio.move_on_after(1) as scope, port_guard("llm"):
        async with trio.open_nursery() as nursery:  # a vendor's own, one task of which dies of the cancellation
            nursery.start_soon(dies)
            nursery.start_soon(trio.sleep_forever)
    assert scope.cancelled_caught


# --- Guarded ---------------------------------------------------------------------------------------------------------------


def stream(
    *,
    enter: Callable[[], Awaitable[object]] | None = None,
    items: tuple[object, ...] = (1, 2),
    each: Callable[[], Awaitable[object]] | None = None,
    leave: Callable[[], Awaitable[object]] | None = None,
) -> tuple[Callable[[], object], list[str]]:
    """A provider's stream, with something to happen at each stage; and the log of what did."""
    log: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[AsyncIterator[object]]:
        if enter is not None:
            await enter()
        log.append("entered")

        async def run() -> AsyncIterator[object]:
            for item in items:
                if each is not None:
                    await each()
                yield item

        iterator = run()
        try:
            yield iterator
        finally:
            log.append("left")
            await iterator.aclose()
            if leave is not None:
                await leave()

    return manager, log


async def fails() -> None:
    raise Vendor


async def read(ask: Callable[[], object], *, gives: tuple[type, ...] = (int,)) -> list[object]:
    async with Guarded[object]("stt", ask, gives=gives) as guarded:  # type: ignore[arg-type]
        return [item async for item in guarded]


async def test_what_a_provider_gives_comes_through() -> None:
    ask, log = stream()
    assert await read(ask) == [1, 2]
    assert log == ["entered", "left"]


@pytest.mark.parametrize("where", ["enter", "each", "leave"])
async def test_a_vendors_exception_is_translated_wherever_it_comes_from(where: str) -> None:
    ask, log = stream(**{where: fails})
    with pytest.raises(ProviderError, match="stt provider raised Vendor"):
        await read(ask)
    assert log in ([], ["entered", "left"])


async def test_the_call_itself_is_the_providers_too() -> None:
    def ask() -> object:
        raise Vendor

    with pytest.raises(ProviderError, match="stt provider raised Vendor"):
        await read(ask)
    with pytest.raises(ProviderError, match="stt provider raised"):
        await read(lambda: None)  # not even a context manager


async def test_a_stream_that_is_no_iterator_is_closed_all_the_same() -> None:
    left = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[object]:
        try:
            yield 42
        finally:
            left.append(True)

    with pytest.raises(ProviderError, match="stt provider raised TypeError"):
        await read(manager)
    assert left == [True]


async def test_items_of_the_wrong_kind_are_the_providers_failure() -> None:
    ask, log = stream(items=(1, "two"))
    with pytest.raises(ProviderError, match="stt provider gave str instead of int"):
        await read(ask)
    assert log == ["entered", "left"]


@pytest.mark.parametrize("leave", [None, fails])
async def test_an_exception_of_our_own_goes_on_as_it_is(leave: Callable[[], Awaitable[object]] | None) -> None:
    ask, log = stream(leave=leave)
    bug = Ours()

    async def body() -> None:
        async with Guarded[object]("stt", ask, gives=(int,)):  # type: ignore[arg-type]
            raise bug

    with pytest.raises(Ours) as info:
        await body()
    assert info.value is bug
    assert log == ["entered", "left"]


async def test_an_exception_of_our_own_goes_on_even_out_of_a_vendors_nursery() -> None:
    @asynccontextmanager
    async def manager() -> AsyncIterator[AsyncIterator[object]]:
        async with trio.open_nursery():
            yield _Endless()

    async def body() -> None:
        async with Guarded[object]("stt", manager, gives=(int,)):  # type: ignore[arg-type]
            raise Ours

    with pytest.raises(Ours):
        await body()


class _Endless:
    def __aiter__(self) -> _Endless:
        return self

    async def __anext__(self) -> object:
        await trio.sleep_forever()


@asynccontextmanager
async def with_background(act: Callable[[trio.Nursery], Awaitable[object]]) -> AsyncIterator[AsyncIterator[object]]:
    """A provider with a task of its own beside its stream."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act, nursery)
        yield _Endless()


async def test_a_crash_in_the_vendors_background_is_its_failure_and_not_a_stray_cancellation(
    autojump_clock: MockClock,
) -> None:
    async def act(_: trio.Nursery) -> None:
        await trio.sleep(1)
        raise Vendor

    with pytest.raises(ProviderError, match="stt provider raised Vendor"):
        await read(lambda: with_background(act))


async def test_a_vendor_that_cancels_itself_has_broken_off_its_stream(autojump_clock: MockClock) -> None:
    async def act(nursery: trio.Nursery) -> None:
        await trio.sleep(1)
        nursery.cancel_scope.cancel()

    with pytest.raises(ProviderError, match="stt provider broke off its stream"):
        await read(lambda: with_background(act))


async def test_a_cancellation_that_the_provider_suppressed_is_found_again(autojump_clock: MockClock) -> None:
    class Suppresses:
        async def __aenter__(self) -> _Endless:
            return _Endless()

        async def __aexit__(self, *exc: object) -> bool:
            return True

    with trio.move_on_after(1) as scope:
        await read(Suppresses)
    assert scope.cancelled_caught


async def test_a_suppressed_bug_is_not_suppressed() -> None:
    class Suppresses:
        async def __aenter__(self) -> _Endless:
            return _Endless()

        async def __aexit__(self, *exc: object) -> bool:
            return True

    async def body() -> None:
        async with Guarded[object]("stt", Suppresses, gives=(int,)):  # type: ignore[arg-type,type-abstract]
            raise Ours

    with pytest.raises(Ours):
        await body()


# --- Patience --------------------------------------------------------------------------------------------------------------


async def test_running_out_of_patience_is_a_timeout_that_says_what_was_waited_for(autojump_clock: MockClock) -> None:
    async def wait() -> None:
        with Patience("llm", 2.5, "first token"):
            await trio.sleep_forever()

    started = trio.current_time()
    with pytest.raises(ProviderTimeout, match=r"llm provider gave nothing for 2.5 s \(first token\)"):
        await wait()
    assert trio.current_time() - started == 2.5


async def test_resting_patience_never_ends(autojump_clock: MockClock) -> None:
    with Patience("llm", 1, "a") as patience:
        patience.rest()
        await trio.sleep(1000)


@pytest.mark.parametrize("gap", [0.01, 0.4, 0.99])
async def test_patience_is_extended_by_whatever_comes_and_by_nothing_else(
    autojump_clock: MockClock, gap: float
) -> None:
    last = 0.0

    async def read() -> None:
        nonlocal last
        with Patience("llm", 1.0, "next") as patience:
            for _ in range(50):
                patience.extend()
                await trio.sleep(gap * 7 / 8)
            patience.extend()
            last = trio.current_time()
            await trio.sleep_forever()

    with pytest.raises(ProviderTimeout):
        await read()
    # Coarse: at most an eighth less than it says, never more.
    assert 7 / 8 - 1e-9 <= trio.current_time() - last <= 1.0


async def test_a_cancellation_from_outside_is_no_timeout(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope, Patience("llm", 1, "at the very same moment"):
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_exception_at_the_last_moment_is_that_exception(autojump_clock: MockClock) -> None:
    async def wait() -> None:
        with Patience("llm", 1, "x"):
            try:
                await trio.sleep_forever()
            finally:
                raise Ours

    with pytest.raises(Ours):
        await wait()


# --- Lingering -------------------------------------------------------------------------------------------------------------


async def test_who_ends_in_time_is_not_told_and_who_does_not_is_until_it_ends(autojump_clock: MockClock) -> None:
    told: list[tuple[int | None, int]] = []
    lingering = Lingering(lambda turn, count: told.append((turn, count)), lambda: None)
    quick, slow = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lingering.watch, quick, 1)
        nursery.start_soon(lingering.watch, slow, 2)
        await trio.sleep(0.5)
        quick.set()
        await trio.sleep(5)
        assert told == [(2, 1)]
        assert lingering.count == 1
        slow.set()
    assert lingering.count == 0


async def test_one_too_many_is_told_each_time_it_happens(autojump_clock: MockClock) -> None:
    too_many: list[int] = []
    lingering = Lingering(lambda *_: None, lambda: too_many.append(lingering.count))
    events = [trio.Event() for _ in range(Lingering.MOST + 2)]
    async with trio.open_nursery() as nursery:
        for turn, event in enumerate(events):
            nursery.start_soon(lingering.watch, event, turn)
        await trio.sleep(2)
        for event in events:
            event.set()
    assert too_many == [Lingering.MOST + 1, Lingering.MOST + 2]


async def test_a_watch_outlasts_cancellation_but_never_what_it_watches(autojump_clock: MockClock) -> None:
    told: list[tuple[int | None, int]] = []
    lingering = Lingering(lambda turn, count: told.append((turn, count)), lambda: None)
    ended = trio.Event()
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lingering.watch, ended)
            nursery.cancel_scope.cancel()

            async def end() -> None:
                await trio.sleep(3)
                ended.set()

            outer.start_soon(end)
        assert ended.is_set()
    assert told == [(None, 1)]
