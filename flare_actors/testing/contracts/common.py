"""What the checks of all engines share: conditions, what a port says of itself, input with nothing in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from flare_actors.errors import ProviderError
from flare_actors.testing.contracts.rules import Broken, Make, Rules, open_made

__all__ = ["after_close", "check_locales", "check_rate", "need", "only_fails_properly"]


def need(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition, as in assert
    """Raise Broken, with these words, if it does not hold."""
    if not holds:
        raise Broken(what)


def check_rate(rate: object) -> None:
    """Raise Broken if this is no sample rate that a session can work with."""
    need(
        isinstance(rate, int) and 8_000 <= rate <= 48_000,
        f"sample_rate is {rate!r}; give whole Hz from 8000 to 48000, also before the engine has loaded anything",
    )


def check_locales(locales: object) -> None:
    """Raise Broken if this does not say what is spoken."""
    tags = locales is None or (isinstance(locales, Sequence) and {type(each) for each in locales} <= {str})
    need(
        tags and not isinstance(locales, str),
        f"locales is {locales!r}; give a sequence of BCP 47 tags, or None for 'whatever it is asked'",
    )


async def only_fails_properly(stream: AbstractAsyncContextManager[AsyncIterator[Any]]) -> list[Any]:
    """Input with nothing in it: served or refused, both are right."""
    try:
        async with stream as results:
            return [item async for item in results]
    except ProviderError:
        return []


async def after_close(rules: Rules, make: Make[Any], ask: Any) -> None:  # noqa: ANN401 - any of the three ports
    """What was closed refuses, or opens again; it neither hangs nor crashes."""

    async def probe() -> None:
        async with open_made(make) as engine:
            pass
        await only_fails_properly(ask(engine))

    await rules.follow("after its close it refuses, or serves as ever", probe)
