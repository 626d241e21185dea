"""Chunks of several sessions, heard together: a network that is run once for all of them costs each of them a fraction.

No task of its own: whoever brings the first chunk lets the others have their turn, one round of Trio's scheduler, and then
hears what has come. While one session is alone that is its chunk; the busier a process, the more come in one round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import trio

from flare_actors.errors import ProviderError
from flare_actors.guard import expect, port_guard
from flare_actors.ports import BatchVoiceActivity, VoiceActivity, VoiceDetector, hears_many

__all__ = ["Batch", "batch_of", "hear_alone"]


class _Chunk(NamedTuple):
    detector: VoiceDetector
    pcm: bytes
    then: Callable[[float | ProviderError], None]


class Batch:
    """The chunks that came in this round, for one ``VoiceActivity``.

    Args:
        voice_activity: hears them.
    """

    MOST: Final = 16  # At a time: more are hardly cheaper each (``audio_in``).

    def __init__(self, voice_activity: BatchVoiceActivity) -> None:
        self._voice_activity = voice_activity
        self._waiting: list[_Chunk] = []
        self._led = False

    def add(self, detector: VoiceDetector, pcm: bytes, then: Callable[[float | ProviderError], None]) -> None:
        """One more; no other one of the same detector may be waiting.

        Args:
            detector: hears it.
            pcm: the chunk.
            then: is given its speech probability, or what went wrong; must not raise.
        """
        self._waiting.append(_Chunk(detector, pcm, then))

    async def lead(self) -> None:
        """For whoever may have brought the first: let the others come, and hear all of them. Else it returns at once.

        Cancellation: they are heard all the same, since they are not only ours.
        """
        if not self._waiting or self._led:
            return
        self._led = True
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._led = False
            self.hear()

    def hear(self) -> None:
        """Hear what waits, now."""
        while self._waiting:
            chunks = self._waiting[: self.MOST]
            del self._waiting[: self.MOST]
            together = self._together(chunks)
            for index, chunk in enumerate(chunks):
                chunk.then(hear_alone(chunk.detector, chunk.pcm) if together is None else together[index])

    def _together(self, chunks: list[_Chunk]) -> list[float | ProviderError] | None:
        """None: one of them was too much for it; which one, each by itself will tell."""
        if len(chunks) == 1:
            return None
        try:
            with port_guard("vad"):
                given = self._voice_activity.process_many([(chunk.detector, chunk.pcm) for chunk in chunks])
                # Nonsense is that one stream's failure: all of them were heard, and must not be heard twice.
                heard: list[float | ProviderError] = [
                    each if 0.0 <= (each := float(one)) <= 1.0 else _no_probability(each) for one in given
                ]
                expect("vad", len(heard) == len(chunks), "probabilities for other chunks than it was given")
        except ProviderError:
            return None
        return heard


def hear_alone(detector: VoiceDetector, pcm: bytes) -> float | ProviderError:
    """The speech probability of a chunk, or what went wrong."""
    try:
        heard = float(detector.process(pcm))
    except BaseException:  # noqa: BLE001 - for the guard, which costs as much as all this if it stands around every chunk
        try:
            with port_guard("vad"):
                raise
        except ProviderError as error:
            return error
    # Not ``expect``, which is a call for every chunk. Not a number is in no range.
    return heard if 0.0 <= heard <= 1.0 else _no_probability(heard)


def _no_probability(given: float) -> ProviderError:
    return ProviderError("vad", f"vad provider gave {given:g} instead of a probability (0 to 1)")


_batches: trio.lowlevel.RunVar[WeakValueDictionary[int, Batch]] = trio.lowlevel.RunVar("flare_actors.batches")


def batch_of(voice_activity: VoiceActivity) -> Batch | None:
    """The one batch of this voice activity in this Trio run; None: it hears one stream at a time."""
    if not hears_many(voice_activity):
        return None
    try:
        batches = _batches.get()
    except LookupError:
        batches = WeakValueDictionary()
        _batches.set(batches)
    # A batch keeps its voice activity, so that nothing else can have its identity while there is a batch.
    found = batches.get(id(voice_activity))
    if found is None:
        found = batches[id(voice_activity)] = Batch(voice_activity)
    return found
