"""Who can be asked, in which order, and what becomes of those who fail. Nothing here knows a stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, Generic, TypeVar

import attrs
import trio

from flare_actors.errors import ProviderError, ProviderTimeout, Stage
from flare_actors.ports import Locales, locale_supported
from flare_actors.providers._again import RETRY_S
from flare_actors.providers.compose.breaker import Breaker
from flare_actors.providers.compose.settings import NO_LIMIT, Attempts, Switching

__all__ = ["Candidate", "Candidates"]

P = TypeVar("P")
# One that may take any time to answer may not take any time to show that it works: it would never be probed again.
PROBE_S: Final = 30.0


@attrs.frozen(kw_only=True, eq=False)
class Candidate(Generic[P]):
    """One provider among those that can be asked."""

    provider: P
    attempts: Attempts = NO_LIMIT
    retries: int = 0
    """How often it is asked again when it failed at once."""
    breaker: Breaker | None = None
    """None: nothing is remembered of it."""
    tell: Callable[[bool, ProviderError | None], None] = lambda _, __: None
    """Called when it is found broken (True, and why; no error: it was slower than others), and when it works again (False)."""

    def failed(self, error: ProviderError) -> None:
        """Remember that it failed."""
        self._remember(Breaker.failed, error)

    def worked(self) -> None:
        """Remember that it worked."""
        self._remember(Breaker.worked)

    def lost(self) -> None:
        """Remember that another one was quicker."""
        self._remember(Breaker.lost)

    def _remember(self, what: Callable[[Breaker], None], error: ProviderError | None = None) -> None:
        if self.breaker is None:
            return
        before = self.breaker.broken
        what(self.breaker)
        if self.breaker.broken != before:
            self.tell(self.breaker.broken, error)


@attrs.frozen(kw_only=True, eq=False)
class Candidates(Generic[P]):
    """Providers of one stage, the preferred one first."""

    stage: Stage
    of: Sequence[Candidate[P]]
    switching: Switching = Switching()
    random: Random = attrs.field(factory=Random)
    nursery: trio.Nursery | None = None
    """Where probes run, which belong to no stream: it is the one that ``open_fallback`` holds open."""

    @property
    def locales(self) -> Locales:
        """All that any of them supports; None if one of them cannot tell."""
        found: list[str] = []
        for each in self.of:
            locales = getattr(each.provider, "locales", None)
            if locales is None:
                return None
            found += [locale for locale in locales if locale not in found]
        return tuple(found)

    def order(self, locale: str) -> tuple[Candidate[P], ...]:
        """Those that speak the locale: the healthy ones first, the broken ones only if nobody else can."""
        able = [each for each in self.of if locale_supported(locale, getattr(each.provider, "locales", None))]
        return tuple(sorted(able or self.of, key=lambda each: each.breaker is not None and each.breaker.broken))

    async def ask(
        self, candidate: Candidate[P], attempt: Callable[[Candidate[P]], Awaitable[None]], begun: Callable[[], bool]
    ) -> None:
        """Make an attempt, and again if it failed at once, before anything came of it.

        Args:
            candidate: whom to ask.
            attempt: asks it, to the end.
            begun: whether anything came of this attempt.

        Raises:
            ProviderError: it failed for good.
        """
        for left in reversed(range(candidate.retries + 1)):
            try:
                await attempt(candidate)
            except ProviderError as error:
                if left and not error.critical and not begun() and not isinstance(error, ProviderTimeout):
                    await trio.sleep(self.random.uniform(*RETRY_S))
                    continue
                candidate.failed(error)
                raise
            return

    def all_failed(self, errors: Sequence[ProviderError]) -> ProviderError:
        """Make one error of all of them; critical only if none of them can help later."""
        if len(errors) == 1:
            return errors[0]
        told = "; ".join(error.message for error in errors)
        critical = all(error.critical for error in errors)
        kind = ProviderTimeout if all(isinstance(error, ProviderTimeout) for error in errors) else ProviderError
        return kind(self.stage, f"all {len(errors)} {self.stage} providers failed: {told}", critical=critical)

    def probe(self, asked: Sequence[Candidate[P]], attempt: Callable[[Candidate[P]], Awaitable[None]]) -> None:
        """Put a request that others serve also to the broken ones whose time has come, in the background.

        Args:
            asked: those whose turn it is anyway.
            attempt: asks one, and returns once it has shown that it works.
        """
        if self.nursery is None:
            return
        for each in self.of:
            if each.breaker is not None and each.breaker.probe_due and each not in asked:
                self.nursery.start_soon(self._probe, each, each.breaker, attempt)

    async def _probe(
        self, candidate: Candidate[P], breaker: Breaker, attempt: Callable[[Candidate[P]], Awaitable[None]]
    ) -> None:
        if not breaker.probe_due:
            return  # another stream's probe was first
        with breaker.probe():
            try:
                with trio.move_on_after(PROBE_S) as patience:
                    await attempt(candidate)
                if patience.cancelled_caught:
                    raise ProviderTimeout(self.stage, f"{self.stage} provider gave nothing for {PROBE_S:g} s (probe)")
            except ProviderError as error:
                candidate.failed(error)
            else:
                candidate.worked()
