"""The public makers: ports in, a port of the same kind out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Generic, TypeVar

import trio

from flare_actors.errors import ProviderError, Stage
from flare_actors.ports import LanguageModel, Recognizer, Synthesizer
from flare_actors.providers.compose.breaker import Breaker
from flare_actors.providers.compose.candidates import Candidate, Candidates
from flare_actors.providers.compose.llm import ComposedModel
from flare_actors.providers.compose.settings import Attempts, Switching
from flare_actors.providers.compose.stt import ComposedRecognizer
from flare_actors.providers.compose.tts import ComposedSynthesizer

__all__ = ["fallback", "hedge", "with_retries", "with_timeouts"]

P = TypeVar("P", LanguageModel, Recognizer, Synthesizer)


def with_timeouts(provider: P, *, connect_s: float = math.inf, first_s: float = math.inf, gap_s: float = math.inf) -> P:
    """A provider whose stream fails with ``ProviderTimeout`` when nothing comes.

    What the reader does with a result, and the wait for a phrase that is not written yet, are nobody's delay.

    Args:
        provider: what is waited for.
        connect_s: until its stream is open; closing it may take as long.
        first_s: until its first result (STT: from the end of the utterance to the final transcript; TTS: from a phrase to
            its audio).
        gap_s: between two results (STT: not used).
    """
    attempts = Attempts(connect_s=connect_s, first_s=first_s, gap_s=gap_s)
    made: P = _composed([Candidate(provider=provider, attempts=attempts)])
    return made


def with_retries(provider: P, *, retries: int = 1, random: Random | None = None) -> P:
    """A provider that is asked again when it failed before anything came of it.

    For providers that do not do so themselves: those of this package that talk to servers do (their setting ``retries``),
    and know more of what is worth another try, and when.

    Args:
        provider: what is asked.
        retries: how often, after 0.05 to 0.25 s; not after a timeout, nor after an error that only a change of the settings
            can help.
        random: for the jitter.
    """
    made: P = _composed([Candidate(provider=provider, retries=retries)], random=random)
    return made


def hedge(first: LanguageModel, second: LanguageModel, *, after_s: float) -> LanguageModel:
    """A model that also asks a second one when the first has written nothing for a while; the first to answer is kept.

    The other one is cancelled. If one fails before it began, the other one is asked and waited for.

    Args:
        first: who is asked at once.
        second: who is asked later.
        after_s: how much later.
    """
    of = [Candidate(provider=first), Candidate(provider=second)]
    made: LanguageModel = _composed(of, switching=Switching(hedge_s=after_s))
    return made


class fallback(Generic[P]):  # noqa: N801 - used as a function is, like contextlib's
    """An async context manager that gives a provider which is served by the first of several that works.

        async with fallback([cloud, local]) as model:
            ...

    It changes to the next one on an error and on a hang, as long as that can be done unheard: a model until its first token,
    a recogniser until its final transcript (the utterance is replayed), a synthesizer always (the next voice speaks on where
    the first one stopped). One that failed is remembered as broken and no longer asked first; after a while the requests
    that others serve are put to it, too, in the background, and when it works again it is asked first again. So a provider
    that is dead or slow costs its timeout once, and then nothing.

    Args:
        providers: of one stage, the preferred one first; at least one. What they give has the sample rate of the first.
        attempts: how long each is waited for: one for all, or one for each.
        switching: when one counts as broken.
        tell: called with a provider when it is found broken (True, and why; no error: it was slower than the others three
            times), and when it works again (False, and None).
        clock: seconds, for the time between probes; Trio's, if not given.
        random: for the jitter of the probes.

    Raises:
        ValueError: there is no provider, or there are not as many ``attempts`` as providers.

    Cancellation: leaving the block cancels the probes that still run.
    """

    def __init__(
        self,
        providers: Sequence[P],
        *,
        attempts: Attempts | Sequence[Attempts] = Attempts(),
        switching: Switching = Switching(),
        tell: Callable[[P, bool, ProviderError | None], None] | None = None,
        clock: Callable[[], float] | None = None,
        random: Random | None = None,
    ) -> None:
        if not providers:
            raise ValueError("fallback needs at least one provider")
        each = [attempts] * len(providers) if isinstance(attempts, Attempts) else list(attempts)
        if len(each) != len(providers):
            raise ValueError(f"fallback got {len(providers)} providers, but attempts for {len(each)}")
        self._switching = switching
        self._random = random or Random()  # noqa: S311 - jitter, no secret
        self._candidates: list[Candidate[Any]] = [
            Candidate(
                provider=provider,
                attempts=waits,
                breaker=Breaker(switching, clock=clock or trio.current_time, random=self._random),
                tell=partial(tell, provider) if tell is not None else lambda _, __: None,
            )
            for provider, waits in zip(providers, each, strict=True)
        ]
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery

    async def __aenter__(self) -> P:
        self._nursery = await self._manager.__aenter__()
        made: P = _composed(self._candidates, switching=self._switching, random=self._random, nursery=self._nursery)
        return made

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._nursery.cancel_scope.cancel(reason="the providers are closed")
        if exc is None or isinstance(exc, Exception):
            await self._manager.__aexit__(None, None, None)  # and so the block's own error comes out ungrouped
            return None
        return await self._manager.__aexit__(kind, exc, traceback)


def _composed(
    of: Sequence[Candidate[Any]],
    *,
    switching: Switching = Switching(),
    random: Random | None = None,
    nursery: trio.Nursery | None = None,
) -> Any:  # noqa: ANN401 - of the kind of those that it is made of
    provider = of[0].provider
    stage: Stage = (
        "llm" if isinstance(provider, LanguageModel) else "stt" if isinstance(provider, Recognizer) else "tts"
    )
    candidates: Candidates[Any] = Candidates(
        stage=stage,
        of=of,
        switching=switching,
        random=random or Random(),  # noqa: S311 - jitter, no secret
        nursery=nursery,
    )
    kinds = {"llm": ComposedModel, "stt": ComposedRecognizer, "tts": ComposedSynthesizer}
    return kinds[stage](candidates)
