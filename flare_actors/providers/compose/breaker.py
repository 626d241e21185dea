"""A circuit breaker: remembers that a provider is broken, and when to try it again. Pure but for the clock it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from flare_actors.providers.compose.settings import Switching

__all__ = ["Breaker"]

JITTER: Final = (0.8, 1.2)  # processes that saw the same failure do not all probe at the same moment
LOST_RACES: Final = 3  # one late answer is chance; three in a row are a provider that is slow


class Breaker:
    """What is known of one provider's health, from every session of the process.

    Args:
        switching: when it counts as broken, and when it is probed.
        clock: seconds, from any origin.
        random: for the jitter.
    """

    def __init__(self, switching: Switching, *, clock: Callable[[], float], random: Random) -> None:
        self._switching = switching
        self._clock = clock
        self._random = random
        self._failures = 0
        self._lost = 0
        self._opened = 0
        """How often it was found broken since it last worked."""
        self._probe_at = 0.0
        self._probing = False

    @property
    def broken(self) -> bool:
        """Ask others first."""
        return self._opened > 0

    @property
    def probe_due(self) -> bool:
        """It is broken, has been left alone long enough, and nobody is finding out just now."""
        return self.broken and not self._probing and self._clock() >= self._probe_at

    def worked(self) -> None:
        """It gave what it was asked for."""
        self._failures = self._lost = self._opened = 0

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        if self._failures >= self._switching.failures or self.broken:
            self._open()

    def lost(self) -> None:
        """Another one that was asked later answered sooner."""
        self._lost += 1
        if self._lost >= LOST_RACES:
            self._lost = 0
            self.failed()

    @contextmanager
    def probe(self) -> Iterator[None]:
        """While somebody finds out whether it works again, nobody else does."""
        self._probing = True
        try:
            yield
        finally:
            self._probing = False

    def _open(self) -> None:
        wait_s = min(self._switching.probe_after_s * 2.0 ** min(self._opened, 32), self._switching.probe_most_s)
        self._opened += 1
        self._probe_at = self._clock() + wait_s * self._random.uniform(*JITTER)
