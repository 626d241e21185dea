"""Language models made of language models. Once a token has reached the reader there is no way back."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Unpack, get_args

import trio

from flare_actors.errors import ProviderError
from flare_actors.guard import Guarded, Patience, ask_model
from flare_actors.ports import LanguageModel, Message, ModelOptions, ModelOutput, Usage
from flare_actors.providers.compose.candidates import Candidate, Candidates
from flare_actors.providers.compose.relay import Relay

__all__ = ["ComposedModel"]


class ComposedModel:
    """A language model that asks others; see ``ports.LanguageModel``.

    Args:
        candidates: whom it asks.
    """

    def __init__(self, candidates: Candidates[LanguageModel]) -> None:
        self._candidates = candidates

    def generate(
        self, messages: Sequence[Message], *, locale: str, **options: Unpack[ModelOptions]
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
        """Answer the last message, by whichever model can. A call of a tool is output like any other.

        Raises:
            ProviderError: all failed, or one failed after its answer had begun.

        Cancellation: at once; every model that was asked is left.
        """

        def ask(model: LanguageModel) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
            return ask_model(model, messages, locale=locale, **options)

        return Relay[ModelOutput](_Race(self._candidates, locale, ask).run)


class _Race:
    """One request. The models are asked one after the other, or, hedged, while the ones before have not begun yet."""

    def __init__(
        self,
        candidates: Candidates[LanguageModel],
        locale: str,
        ask: Callable[[LanguageModel], AbstractAsyncContextManager[AsyncIterator[ModelOutput]]],
    ) -> None:
        self._candidates = candidates
        self._locale = locale
        self._ask = ask
        self._relay: Relay[ModelOutput]
        self._running: dict[Candidate[LanguageModel], trio.CancelScope] = {}
        self._winner: Candidate[LanguageModel] | None = None
        self._errors: list[ProviderError] = []
        self._broken_off: ProviderError | None = None
        self._news = trio.Event()
        """Somebody began, ended or failed."""

    async def run(self, relay: Relay[ModelOutput]) -> None:
        self._relay = relay
        order = self._candidates.order(self._locale)
        hedge_s = math.inf if self._candidates.switching.hedge_s is None else self._candidates.switching.hedge_s
        self._candidates.probe(order[:1], self._probe)
        async with trio.open_nursery() as nursery:
            for number, candidate in enumerate(order):
                nursery.start_soon(self._compete, candidate)
                with trio.move_on_after(hedge_s if number + 1 < len(order) else math.inf):
                    while self._winner is None and len(self._errors) <= number:
                        await self._news.wait()
                if self._winner is not None:
                    break
        if self._broken_off is not None:
            raise self._broken_off
        if self._winner is None:
            raise self._candidates.all_failed(self._errors)

    async def _compete(self, candidate: Candidate[LanguageModel]) -> None:
        with trio.CancelScope() as scope:
            self._running[candidate] = scope
            try:
                await self._candidates.ask(candidate, self._answer, lambda: self._winner is candidate)
                self._claim(candidate)  # an empty answer is an answer
            except ProviderError as error:
                if self._winner is candidate:
                    self._broken_off = error
                else:
                    self._errors.append(error)
            finally:
                del self._running[candidate]
                self._tell()

    async def _answer(self, candidate: Candidate[LanguageModel]) -> None:
        async with self._asked(candidate) as outputs:
            self._relay.connected.set()
            async for output in outputs:
                if not isinstance(output, Usage) and not self._claim(candidate):
                    return  # Another one was quicker, at the very same moment.
                await self._relay.give(output)

    def _claim(self, candidate: Candidate[LanguageModel]) -> bool:
        """The first to begin is kept, the others are let go."""
        if self._winner is None:
            self._winner = candidate
            candidate.worked()
            sooner = True  # They were asked in this order.
            for other, scope in self._running.items():
                if other is candidate:
                    sooner = False
                    continue
                scope.cancel(reason="another model answered sooner")
                if sooner:
                    other.lost()
            self._tell()
        return self._winner is candidate

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _probe(self, candidate: Candidate[LanguageModel]) -> None:
        async with self._asked(candidate) as outputs:
            async for output in outputs:
                if not isinstance(output, Usage):
                    return

    @asynccontextmanager
    async def _asked(self, candidate: Candidate[LanguageModel]) -> AsyncGenerator[AsyncIterator[ModelOutput]]:
        model, attempts = candidate.provider, candidate.attempts
        with Patience("llm", attempts.connect_s, "connect") as patience:
            async with Guarded[ModelOutput]("llm", lambda: self._ask(model), gives=get_args(ModelOutput)) as outputs:
                yield _Timely(outputs, patience, attempts.first_s, attempts.gap_s)
                patience.until(attempts.connect_s, "close")


class _Timely:
    """A model's outputs, each waited for so long and no longer; what the reader does meanwhile takes none of that time."""

    def __init__(self, outputs: AsyncIterator[ModelOutput], patience: Patience, first_s: float, gap_s: float) -> None:
        self._outputs = outputs
        self._patience = patience
        self._gap_s = gap_s
        self._wait = (first_s, "first token")
        patience.rest()

    def __aiter__(self) -> _Timely:
        return self

    async def __anext__(self) -> ModelOutput:
        self._patience.until(*self._wait)
        output = await anext(self._outputs)
        self._patience.rest()
        if not isinstance(output, Usage):
            self._wait = (self._gap_s, "next token")
        return output
