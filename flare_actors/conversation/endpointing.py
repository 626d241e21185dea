"""When does an utterance begin, count, and end? Pure arithmetic on speech probabilities; time is samples, never a clock.

Voice must last two chunks before it counts as speech (a knock is over by then), and stays voice down to 0.15 below the
threshold (the hysteresis that Silero's own iterator uses). Silence since the last voiced chunk ends the utterance.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import TurnDetection

__all__ = ["Heard", "UtteranceDetector"]

_ONSET_CHUNKS: Final = 2
_HYSTERESIS: Final = 0.15


class Heard(Enum):
    """What a chunk of audio changed."""

    STARTED = "started"
    """An utterance began (some chunks ago: the onset's own chunks and the pre-roll belong to it)."""
    ENOUGH = "enough"
    """Its voiced time has reached ``min_speech_s``: it is worth a recogniser."""
    CONFIRMED = "confirmed"
    """Its voiced time has reached ``interruption_min_s``."""
    OVERDUE = "overdue"
    """... and ``interruption_max_wait_s``."""
    PAUSED = "paused"
    """Silence has lasted ``Settings.pause_s``: it may have ended."""
    RESUMED = "resumed"
    """Voice after all."""
    STOPPED = "stopped"
    """It ended, by silence, by its maximum length, or by ``stop``."""


class UtteranceDetector:
    """Follows one stream of chunks.

    Args:
        settings: thresholds and times.
        chunk_s: duration of a chunk in seconds.
    """

    def __init__(self, settings: Settings, chunk_s: float) -> None:
        self.settings = settings
        """What counts; may be replaced between chunks."""
        self._chunk_s = chunk_s
        self._run = 0
        self._paused: bool  # Of the utterance in progress, as is its length below.
        self.speaking = False
        self.speech_s = 0.0
        """Voiced time of the utterance, in seconds."""
        self.silence_s = 0.0
        """Since its last voiced chunk, in seconds."""
        self._length_s: float
        self.wait_s = settings.endpoint_s
        """Silence that ends the utterance in progress; ``endpoint_s`` again after each pause."""
        self.pauses = 0
        """Pauses of the utterance in progress."""
        self.pause_s: float | None = None
        """The latest pause: within the utterance in progress, or before it; None: there was no utterance before."""
        self._since_s: float | None = None

    @property
    def paused(self) -> bool:
        """The utterance in progress has reached its soft endpoint, and may have ended."""
        return self.speaking and self._paused

    @property
    def _by_silence(self) -> bool:
        """Silence ends an utterance; else only a commit does."""
        return self.settings.turn_detection is TurnDetection.AUTOMATIC

    @property
    def overdue(self) -> bool:
        """The utterance in progress has been silent for long enough."""
        # Half a chunk of tolerance: 15 chunks of 32 ms are meant by 0.48 s, whatever floating point makes of them.
        return self.speaking and self._by_silence and self.silence_s >= self.wait_s - self._chunk_s / 2

    def forget(self) -> None:
        """What was heard before has nothing to do with what comes."""
        self.stop()
        self._since_s = None

    @property
    def too_short(self) -> bool:
        """The utterance has not (yet) enough voice to be worth a recogniser."""
        return self.speech_s < self.settings.min_speech_s

    @property
    def threshold(self) -> float:
        """From this probability on, the next chunk is voice."""
        threshold = self.settings.vad_threshold
        return max(0.01, threshold - _HYSTERESIS) if self.speaking else threshold

    def feed(self, probability: float, *, credible: bool = True) -> tuple[Heard, ...]:
        """Take the next chunk's speech probability.

        Args:
            probability: 0 to 1.
            credible: False: it may well be the agent's own echo, so it does not count as voice.
        """
        voiced = credible and probability >= self.threshold
        if not self.speaking:
            self._run = self._run + 1 if voiced else 0
            if self._since_s is not None:
                self._since_s += self._chunk_s
            if self._run < _ONSET_CHUNKS:
                return ()
            self.speaking = True
            self._paused = False
            self.pauses = 0
            self.pause_s = None if self._since_s is None else self._since_s - self._run * self._chunk_s
            self.wait_s = self.settings.endpoint_s
            self.speech_s = self._length_s = 0.0
            return (Heard.STARTED, *self._count(self._run * self._chunk_s))
        self._length_s += self._chunk_s
        changes: tuple[Heard, ...] = ()
        if voiced:
            silence_s, self.silence_s = self.silence_s, 0.0
            changes = self._count(self._chunk_s)
            if self._paused:
                self._paused = False
                self.pause_s = silence_s
                self.wait_s = self.settings.endpoint_s
                changes = (*changes, Heard.RESUMED)
        else:
            self.silence_s += self._chunk_s
        if self.overdue or self._length_s >= self.settings.max_utterance_s:
            return (*changes, *self.stop())
        soft_s = self.settings.pause_s if self._by_silence else None
        if soft_s is not None and not self._paused and self.silence_s >= max(soft_s - self._chunk_s / 2, self._chunk_s):
            self._paused = True
            self.pauses += 1
            changes = (*changes, Heard.PAUSED)
        return changes

    def stop(self) -> tuple[Heard, ...]:
        """End the utterance in progress now, if there is one."""
        if not self.speaking:
            return ()
        self.speaking = False
        self._run = 0
        self._since_s = self.silence_s
        return (Heard.STOPPED,)

    def _count(self, voiced_s: float) -> tuple[Heard, ...]:
        before = self.speech_s
        self.speech_s += voiced_s
        if before == 0.0:
            self.silence_s = 0.0
        changes = []
        least_s = self.settings.interruption_min_s
        for at_s, change in (
            (self.settings.min_speech_s, Heard.ENOUGH),
            (least_s, Heard.CONFIRMED),
            (max(least_s, self.settings.interruption_max_wait_s), Heard.OVERDUE),
        ):
            if self.speech_s >= at_s and (before < at_s or before == 0.0):
                changes.append(change)
        return tuple(changes)
