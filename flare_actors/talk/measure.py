"""What can be measured from outside: where speech ends in a recording, where an answer becomes audible.

Nothing here asks our own voice detection, which would be judge in its own cause.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.talk.wav import Recording

__all__ = ["AUDIBLE_DB", "WINDOW_S", "SpeechMap", "first_audible", "frame_bytes"]

WINDOW_S: Final = 0.02
"""Length of a window, in seconds; the microphone sends frames of the same length."""
SPEECH_RANGE_DB: Final = 35.0
"""A window counts as speech within this of the loudest window."""
AUDIBLE_DB: Final = -50.0
"""A sample above this level, relative to full scale, can be heard."""


def frame_bytes(sample_rate: int) -> int:
    """Bytes of one window at ``sample_rate`` Hz."""
    return round(sample_rate * WINDOW_S) * BYTES_PER_SAMPLE


class SpeechMap:
    """Which windows of a recording hold speech, by level alone.

    Args:
        recording: the recording; silence altogether holds no speech.
    """

    def __init__(self, recording: Recording) -> None:
        import numpy as np

        window = frame_bytes(recording.sample_rate) // BYTES_PER_SAMPLE
        samples = np.frombuffer(recording.pcm, "<i2").astype(np.float64)
        samples = np.pad(samples, (0, -len(samples) % window))
        power = (samples.reshape(-1, window) ** 2).mean(axis=1)
        loudest = float(power.max(initial=0.0))
        speech = power > loudest * 10 ** (-SPEECH_RANGE_DB / 10) if loudest > 0 else np.zeros(len(power), bool)
        self._ends: list[int] = [(int(index) + 1) * window for index in np.flatnonzero(speech)]

    def __bool__(self) -> bool:
        return bool(self._ends)

    def last_end(self, position: int) -> int | None:
        """Give the end (in samples) of the last window of speech that ends at or before ``position``; None: there is none."""
        index = bisect_right(self._ends, position)
        return self._ends[index - 1] if index else None


def first_audible(pcm: bytes) -> int | None:
    """Index of the first sample above ``AUDIBLE_DB``; None: all of it is silence."""
    import numpy as np

    samples = np.frombuffer(pcm, "<i2").astype(np.int32)
    loud = np.abs(samples) > 32768 * 10 ** (AUDIBLE_DB / 20)
    return int(loud.argmax()) if loud.any() else None
