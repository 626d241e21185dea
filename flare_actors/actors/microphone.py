"""What has come in from the microphone and was not heard yet: in chunks, bounded, and at a bearable pace."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from flare_actors.audio import BYTES_PER_SAMPLE, Resampler, bytes_to_seconds, seconds_to_bytes

__all__ = ["Microphone"]


class Microphone:
    """One session's, whichever link it hangs on.

    Args:
        sample_rate: Hz at which it is heard.
        chunk_samples: samples of each chunk that it is heard in.
    """

    BACKLOG_S: Final = 2.0  # More unheard audio than this is worthless to a live conversation: drop the oldest.
    MARKS: Final = 16  # Clears that are on their way; more at a time are one.
    FASTEST: Final = 1.25  # Times real time: no sound card's clock is that wrong, so who sends more is no microphone.

    def __init__(self, sample_rate: int, chunk_samples: int) -> None:
        self._rate = sample_rate
        self._chunk_bytes = chunk_samples * BYTES_PER_SAMPLE
        self.chunk_s = bytes_to_seconds(self._chunk_bytes, sample_rate)
        """Duration of a chunk, in seconds."""
        self._resampler = Resampler(sample_rate, sample_rate)
        self._backlog = bytearray()
        self._most_bytes = seconds_to_bytes(self.BACKLOG_S, sample_rate)
        self._in_bytes = 0
        """All that has ever come in."""
        self._marks: deque[int] = deque(maxlen=self.MARKS)
        self.realtime = True
        """A person speaks; else it is a recording, which may be heard as fast as it comes."""
        self.due_at = -math.inf
        """When the next chunk may be heard, on Trio's clock: late by what came too fast, early by what came late."""
        self.dropped_s = 0.0
        """Audio dropped because it came faster than it could be heard, in seconds."""

    def attach(self, sample_rate: int, *, realtime: bool) -> None:
        """A new link, whose audio has this rate; what is left of the old one's is forgotten."""
        self._resampler = Resampler(sample_rate, self._rate)
        self.realtime = realtime
        self.due_at = -math.inf
        self.clear()

    def put(self, pcm: bytes) -> None:
        """Audio has come in, at the link's rate; too much of it drops the oldest, counted."""
        audio = self._resampler.feed(pcm)
        self._backlog += audio
        self._in_bytes += len(audio)
        excess = len(self._backlog) - self._most_bytes
        if excess > 0:
            del self._backlog[:excess]
            self.dropped_s += bytes_to_seconds(excess, self._rate)

    def clear(self) -> None:
        """Forget what was not heard yet."""
        self._backlog.clear()
        self._marks.clear()

    def mark(self) -> None:
        """What has come in by now is to be forgotten, as soon as ``clear_to_mark`` says so."""
        self._marks.append(self._in_bytes)

    def clear_to_mark(self) -> None:
        """Forget what was not heard of what had come in before the oldest mark; of all, without one."""
        until = self._marks.popleft() if self._marks else self._in_bytes
        heard = self._in_bytes - len(self._backlog)
        del self._backlog[: max(0, until - heard)]

    @property
    def chunks(self) -> int:
        """Whole chunks that wait to be heard."""
        return len(self._backlog) // self._chunk_bytes

    def take(self, now: float) -> bytes:
        """The next chunk; there must be one. It is heard ``now``, on Trio's clock."""
        chunk = bytes(self._backlog[: self._chunk_bytes])
        del self._backlog[: self._chunk_bytes]
        if self.realtime:
            # What comes late (a network that stalled) may be caught up with, as far as the backlog keeps it.
            self.due_at = max(self.due_at, now - self.BACKLOG_S) + self.chunk_s / self.FASTEST
        return chunk

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be heard."""
        return len(self._backlog)
