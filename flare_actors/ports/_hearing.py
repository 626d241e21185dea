"""Voice activity and speech to text: from the microphone to words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeGuard, runtime_checkable

import attrs

from flare_actors.conversation.states import SttMode
from flare_actors.ports._locales import Locales

__all__ = [
    "BatchVoiceActivity",
    "HeardAudio",
    "Recognizer",
    "Transcript",
    "TurnEndEstimator",
    "VoiceActivity",
    "VoiceDetector",
    "estimates_turn_end",
    "hears_many",
]


class VoiceDetector(Protocol):
    """The voice activity of one stream of audio. Synchronous and fast (well under 1 ms): it runs inline."""

    def process(self, chunk: bytes) -> float:
        """Speech probability of the next chunk: ``VoiceActivity.chunk_samples`` samples of PCM16.

        0 to 1: anything else is the detector's failure, as what it raises is, and another one is opened.
        """
        ...

    def reset(self) -> None:
        """Forget the past, as at the start of a stream."""
        ...


@runtime_checkable
class VoiceActivity(Protocol):
    """Tells speech from everything else. Makes one detector per conversation; models are shared."""

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that detectors take."""
        ...

    @property
    def chunk_samples(self) -> int:
        """Samples per chunk; every call of ``process`` gets exactly this many."""
        ...

    async def open(self) -> VoiceDetector:
        """Make a detector; may load a model (in a thread)."""
        ...


@runtime_checkable
class BatchVoiceActivity(Protocol):
    """What a ``VoiceActivity`` may be besides: one to which chunks of many streams at once cost less than one by one.

    Chunks of several sessions of a process that come at about the same time (a round of Trio's scheduler) are then heard
    together.
    """

    def process_many(self, chunks: Sequence[tuple[VoiceDetector, bytes]]) -> Sequence[float]:
        """For each detector, which are ones of its own and all different, what ``process`` of the chunk would give.

        Synchronous and fast, as that is; no chunks have no answers. If it raises, nothing was heard: each chunk is processed by
        itself instead.
        """
        ...


@runtime_checkable
class TurnEndEstimator(Protocol):
    """What a ``VoiceActivity`` may be besides: a model of whether a speaker who pauses has finished."""

    async def estimate_turn_end(self, pcm: bytes) -> float:
        """Probability, 0 to 1, that the turn is over behind these last seconds (at most 8) of it: PCM16 at ``sample_rate``.

        What it raises ends no session: the pause is judged without it.
        """
        ...


def hears_many(voice_activity: VoiceActivity) -> TypeGuard[BatchVoiceActivity]:
    """Whether it is a ``BatchVoiceActivity``, too; asked for each session, where ``isinstance`` would take 20 us."""
    return callable(getattr(voice_activity, "process_many", None))


def estimates_turn_end(voice_activity: VoiceActivity) -> TypeGuard[TurnEndEstimator]:
    """Whether it is a ``TurnEndEstimator``, too."""
    return callable(getattr(voice_activity, "estimate_turn_end", None))


@attrs.frozen(kw_only=True)
class HeardAudio:
    """A piece of one utterance, on its way to the recogniser."""

    pcm: bytes = attrs.field(repr=False)
    """PCM16 at the recogniser's sample rate, whole samples."""
    silence_s: float = 0.0
    """Trailing silence of the utterance up to the end of this piece, as the ear judges; 0 while there is voice. A batch
    engine may decode early in a pause and keep the result when nothing but silence follows."""


@attrs.frozen(kw_only=True)
class Transcript:
    """What was understood of an utterance."""

    text: str = attrs.field(repr=False)
    """All of the utterance so far (partials replace each other)."""
    final: bool = False
    complete: bool = True
    """Of a partial one: nothing that was said up to now is known to be missing in it. In a pause such a one is answered ahead
    of the endpoint, so a recogniser that knows better says False."""


@runtime_checkable
class Recognizer(Protocol):
    """Speech to text, one utterance at a time."""

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that it takes."""
        ...

    @property
    def locales(self) -> Locales:
        """What it understands."""
        ...

    @property
    def partials(self) -> bool:
        """In streaming mode it tells words within a fraction of a second, while they are spoken.

        Then an interruption is decided by its first word; without words, by how long it lasts.
        """
        ...

    def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AbstractAsyncContextManager[AsyncIterator[Transcript]]:
        """Understand one utterance.

        Args:
            audio: the utterance as it is spoken; it may be long until the first piece comes (the stream is opened ahead
                of the user's words); its end is the endpoint. After the end the final transcript is due.
            locale: BCP 47 tag of what is spoken.
            mode: whether partial transcripts are wanted.

        Gives partial transcripts and, last, exactly one final one, then ends. An utterance without words gives a final
        transcript with empty text.

        Raises:
            ProviderError: it failed; the utterance is lost.
        """
        ...
