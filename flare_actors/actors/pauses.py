"""The pauses of an utterance: whether a turn-end model takes one for the end, and how soon its silence may be heard.

A pause is settled once nobody is asked about it any more. Until then its silence is heard at the pace of speech, however fast
it came: what the recogniser, the estimator and the core make of it would else come too late, and a burst would have other
turns than a microphone.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from flare_actors.actors.channels import Inbox
from flare_actors.conversation.events import TurnEndEstimated
from flare_actors.errors import ProviderError
from flare_actors.guard import Patience, expect, port_guard
from flare_actors.ports import TurnEndEstimator

__all__ = ["Pause", "Pauses"]


@attrs.frozen
class Pause:
    """Which one."""

    utterance: int
    """The utterance's number."""
    number: int
    """Of the pauses within it, from 1."""


class Pauses:
    """One session's pauses, one at a time.

    Args:
        estimator: asked whether each is the end; None: nobody is asked.
        chunk_s: duration of the chunks that it listens to, in seconds.
        inbox: where estimates go.
        lasts: whether a pause goes on still.
        on_fault: told of what the estimator raised.
    """

    ESTIMATED_S: Final = 8.0  # What turn-end models listen to.
    NO_IDEA: Final = 0.5  # The estimate of one that failed.

    def __init__(
        self,
        estimator: TurnEndEstimator | None,
        *,
        chunk_s: float,
        inbox: Inbox,
        lasts: Callable[[Pause], bool],
        on_fault: Callable[[ProviderError], None],
    ) -> None:
        self.estimator = estimator
        """Who is asked; ``run`` has something to do only if there is one."""
        self._inbox = inbox
        self._lasts = lasts
        self._on_fault = on_fault
        self._latest: deque[bytes] = deque(maxlen=max(1, round(self.ESTIMATED_S / chunk_s)))
        """The utterance in progress, as far as an estimator is asked about it."""
        self._asked: tuple[Pause, float] | None = None
        """A pause that was not estimated yet, and the seconds that the estimate may take."""
        self._asking = trio.Event()
        self._settled = True
        self._began_at = 0.0
        """When the present pause was noticed, on Trio's clock."""
        self._began_s = 0.0
        """The silence at that moment."""

    # --- Synchronous: the ear's side --------------------------------------------------------------------------------------

    def start(self, chunks: Sequence[bytes]) -> None:
        """A new utterance begins with these."""
        self._latest.clear()
        self._latest.extend(chunks)

    def hear(self, chunk: bytes) -> None:
        """The utterance goes on."""
        if self.estimator is not None:
            self._latest.append(chunk)

    def begin(self, pause: Pause, silence_s: float, *, settled: bool, patience_s: float) -> None:
        """The utterance has come to a pause.

        Args:
            pause: which one.
            silence_s: the silence by now, in seconds of audio.
            settled: how long it is waited for is settled already, so that nobody is asked.
            patience_s: seconds that the estimate may take.
        """
        self._began_at, self._began_s = trio.current_time(), silence_s
        self._settled = settled
        if not settled:
            self._asked = (pause, patience_s)
            self._asking.set()

    def settle(self, *, settled: bool) -> None:
        """How long the present pause is waited for was told, for good or for the time being."""
        self._settled = settled

    def due_at(self, silence_s: float) -> float:
        """When so much silence of the present pause may be heard, on Trio's clock; at any time: minus infinity."""
        return -math.inf if self._settled else self._began_at + silence_s - self._began_s

    # --- Its own task -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask whether each pause is the end, one after the other; beside the ear, which goes on hearing.

        Cancellation: at any await; an estimate that is under way is dropped.
        """
        assert self.estimator is not None
        while True:
            await self._asking.wait()
            self._asking = trio.Event()
            assert self._asked is not None
            pause, patience_s = self._asked
            probability = self.NO_IDEA
            try:
                with Patience("vad", patience_s, "turn-end estimate"), port_guard("vad"):
                    estimate = float(await self.estimator.estimate_turn_end(b"".join(self._latest)))
                    expect("vad", 0.0 <= estimate <= 1.0, f"{estimate:g} instead of a probability (0 to 1)")
                    probability = estimate
            except ProviderError as error:
                self._on_fault(error)
            if self._lasts(pause):
                self._inbox.put(TurnEndEstimated(utterance=pause.utterance, probability=probability))
