"""Is it the user, or the agent's own voice out of the loudspeaker? Levels alone, no waveforms: cheap, and good enough.

An echo is what was played a moment ago, quieter. How long ago and how much quieter is unknown, so every delay up to
``echo_tail_s`` is a hypothesis: "the echo comes d later and is never louder than what was played then plus G(d)". G(d) is
learned while the agent speaks and nobody interrupts; each hypothesis then bounds the echo, and the tightest bound counts.
Wrong delays learn a loose G and do no harm. What is louder than the bound by a margin is not echo.

Each answer is learned anew: who plugs in a headset, or turns up the volume, is not judged by yesterday's echo. Until
enough was heard of an answer only its own loudness counts (``echo_guard_db``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from flare_actors.audio import SILENCE_DB, bytes_to_seconds, levels_db, seconds_to_bytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Levels = npt.NDArray[np.float64]
    """In dBFS."""

__all__ = ["EchoGuard", "PlayedLevels"]

PIECE_S: Final = 0.02
"""Resolution in which the output's level is remembered."""
QUIET_DB: Final = -60.0
"""An agent below this is not heard: no echo to speak of, and the next answer begins."""
STEP: Final = 2
"""Pieces between two hypotheses,"""
WIDTH: Final = 4
"""and pieces that each looks at: a chunk of the input covers two or three, and delays jitter."""
FLOOR_DB: Final = -70.0
"""Below this the output's level says nothing about the input's."""
_INSTANT_S: Final = 1e-6
"""What rounding makes of no time at all: less than a sample."""


class PlayedLevels:
    """How loud the agent was, and when: its own speech as a room would still hold it.

    Times are seconds on any one clock, from 0 on; speech comes in order. It is measured when somebody asks, or much has come:
    whoever brings it is in a hurry, and many pieces take hardly longer than one.
    """

    KEPT_S: Final = (
        10.0  # The speaker runs 0.24 s ahead of the present and the echo comes 0.5 s late; the rest is slack.
    )
    RELEASE_DB: Final = (
        1.0  # Per piece. A very live room lets go of 60 dB in 1.2 s; a dryer one only gets a looser bound.
    )
    MUCH_S: Final = 0.5  # Of speech, about which nobody has asked.

    def __init__(self) -> None:
        self._first = 0
        """The number of the first piece that is known; piece n begins in [n, n + 1) times ``PIECE_S``."""
        self._levels: Levels | None = None
        self._windows: Levels | None = None
        """For each piece the loudest of it and the ``WIDTH`` - 1 before it."""
        self._paused: Levels | None = None
        """What the agent, which stands still, is going to play then."""
        self._newest = bytearray()
        """What was added last."""
        self._newest_at = 0.0
        """When it begins to be played,"""
        self._newest_ends_at = 0.0
        """and when it ends."""
        self._rate = 0
        """Its rate."""
        self._cut_at: float | None = None
        """What was to be played from then on is to be forgotten: whoever falls silent does not wait for that."""

    def __len__(self) -> int:
        """Pieces that are known."""
        return 0 if self._levels is None else len(self._levels)

    def add(self, at: float, pcm: bytes, sample_rate: int) -> None:
        """PCM16 that begins to be played at ``at``."""
        if self._cut_at is not None:
            self._catch_up()
        if sample_rate != self._rate or abs(at - self._newest_ends_at) > _INSTANT_S:
            self._measure()
        if not self._newest:
            self._newest_at, self._rate = at, sample_rate
        self._newest += pcm
        self._newest_ends_at = at + bytes_to_seconds(len(pcm), sample_rate)
        if self._newest_ends_at - self._newest_at > self.MUCH_S:
            self._measure()

    def _measure(self) -> None:
        if self._newest:
            levels = levels_db(self._newest, seconds_to_bytes(PIECE_S, self._rate))
            self._newest = bytearray()
            self._put(_piece(self._newest_at), levels)

    def _catch_up(self) -> None:
        """Measure what was added, and forget what was cut off of it."""
        self._measure()
        if self._cut_at is not None:
            at, self._cut_at = self._cut_at, None
            self._take_from(at)

    def cut(self, at: float) -> None:
        """What was to be played from ``at`` on is not played after all."""
        self._paused = None
        self._cut_at = at if self._cut_at is None else min(at, self._cut_at)

    def pause(self, at: float) -> None:
        """What was to be played from ``at`` on is played later."""
        self._catch_up()
        self._paused = self._take_from(at)

    def resume(self, at: float) -> None:
        """... from ``at`` on."""
        self._catch_up()
        later, self._paused = self._paused, None
        if later is not None and len(later):
            self._put(_piece(at) + 1, later)

    def recent(self, times: Sequence[float], delays: int) -> Levels | None:
        """How loud the agent was around each of so many delays before each of ``times``, in dBFS.

        The first is that of what is played at that time (or was: it may be a while ago), each next one of ``STEP`` pieces
        earlier.

        Args:
            times: in order.
            delays: how many.

        Returns:
            A row for each time; None: at none of them it was heard.
        """
        import numpy as np

        self._catch_up()
        windows = self._windows
        if windows is None or not len(windows):
            return None
        known = len(windows)
        newest = _piece(times[-1]) - self._first
        oldest = _piece(times[0]) - self._first - STEP * (delays - 1)
        if oldest >= known and windows[-1] - self.RELEASE_DB * max(0, oldest - known + 2 - WIDTH) <= QUIET_DB:
            return None  # Long ago, and died away.
        numbers = np.array([_piece(at) - self._first for at in times])[:, None] - STEP * np.arange(delays)
        if oldest >= 0 and newest < known:
            return windows.take(numbers)
        # Before the first piece there was silence; after the last one the room lets go of it.
        after = np.maximum(0, numbers - known + 2 - WIDTH) * self.RELEASE_DB
        return np.where(numbers < 0, FLOOR_DB, windows.take(numbers.clip(0, known - 1)) - after)

    def _put(self, number: int, levels: Levels) -> None:
        """So loud are the pieces from that one on, unless the room is louder still."""
        import numpy as np

        kept = round(self.KEPT_S / PIECE_S)
        if self._levels is None or self._windows is None or not len(self) or number - self._first - len(self) >= kept:
            self._levels = self._windows = np.empty(0)
            self._first = number
        known, start = len(self), number - self._first
        if start < 0:
            levels, start = levels[-start:], 0
        end = start + len(levels)
        if end > known:
            # What was played in between, if anything is missing there, is nothing.
            self._levels = np.concatenate([self._levels, np.full(end - known, SILENCE_DB)])
        np.maximum(self._levels[start:end], levels, out=self._levels[start:end])
        # The room lets go slowly: no piece is quieter by more than that than the one before it.
        since = max(0, min(start, known) - 1)
        release = self.RELEASE_DB * np.arange(len(self) - since)
        self._levels[since:] = np.maximum.accumulate(self._levels[since:] + release) - release
        self._windows = np.concatenate([self._windows[:since], self._loudest(since)])
        if len(self) >= 2 * kept:
            self._levels, self._windows = self._levels[kept:].copy(), self._windows[kept:].copy()
            self._first += kept

    def _loudest(self, since: int) -> Levels:
        """The windows of the pieces from ``since`` on."""
        import numpy as np

        assert self._levels is not None
        before = min(since, WIDTH - 1)
        pieces = np.maximum(self._levels[since - before :], FLOOR_DB)
        if before < WIDTH - 1:
            pieces = np.concatenate([np.full(WIDTH - 1 - before, FLOOR_DB), pieces])
        pairs = np.maximum(pieces[1:], pieces[:-1])
        return np.maximum(pairs[2:], pairs[:-2])

    def _take_from(self, at: float) -> Levels | None:
        """Forget what begins after ``at``; gives its levels."""
        if self._levels is None or self._windows is None:
            return None
        kept = max(0, _piece(at) + 1 - self._first)
        taken = self._levels[kept:]
        self._levels, self._windows = self._levels[:kept], self._windows[:kept]
        return taken


def _piece(at: float) -> int:
    """The number of the piece that is played then."""
    return int((at + _INSTANT_S) / PIECE_S)


class _Chunk(NamedTuple):
    pcm: bytes
    at: float
    speaking: bool
    paused: bool


class EchoGuard:
    """Judges one chunk of a conversation's input after the other: when somebody asks, or some at a time.

    Done together it takes a quarter of the time, and most chunks are silence, of which nobody asks.

    The figures are from simulations with speech and echoes of -20 to -40 dB at 50 to 300 ms, dry and reverberant: no answer
    interrupts itself, and who is 10 dB louder than the echo is heard.

    Args:
        guard_db: input quieter than the recent output by more than this is echo, as long as nothing better is known.
        tail_s: the longest delay of an echo.
        played: the output's levels, around each of so many delays before each of some times (``PlayedLevels.recent``).
    """

    TOGETHER: Final = 12  # Chunks: 0.4 s, and 12 kB.

    MARGIN_DB: Final = 6.0  # A bound learned from a second of speech is exceeded by a few dB in the next.
    LEARN_CHUNKS: Final = 20  # With those held: a second of an answer at 32 ms a chunk.
    HELD_CHUNKS: Final = 10  # What turns out to be the beginning of an utterance is not learned as echo.
    RISE_DB: Final = 6.0  # At most, per chunk: one knock does not deafen the rest of an answer.

    def __init__(
        self, *, guard_db: float, tail_s: float, played: Callable[[Sequence[float], int], Levels | None]
    ) -> None:
        self._guard_db = guard_db
        self._played = played
        self._delays = max(1, math.ceil(tail_s / (STEP * PIECE_S)))
        """How many hypotheses there are."""
        self._heard: list[_Chunk] = []
        """Chunks that were not looked at yet."""
        self._credible = True
        self._gains: Levels | None = None
        """By how much the echo is louder than what was played, at most, for each delay (it is quieter: less than 0)."""
        self._held: Levels | None = None
        """What may turn out to be somebody who begins to speak: a row for each of the latest chunks."""
        self._learned = 0

    def hear(self, chunk: bytes, at: float, *, speaking: bool, paused: bool = False) -> None:
        """One more chunk.

        Args:
            chunk: PCM16 of the input; all are of one length.
            at: when it was heard, on the clock of ``played``.
            speaking: an utterance is in progress: nothing is learned from it.
            paused: the agent is quiet amid an answer: the rest of it will sound as what was heard.
        """
        if self._heard and at - self._heard[0].at > PlayedLevels.KEPT_S / 2:
            self._heard.clear()  # The microphone fell silent: what was played then is not known for much longer.
        self._heard.append(_Chunk(chunk, at, speaking, paused))
        if len(self._heard) >= self.TOGETHER:
            self._look()

    @property
    def credible(self) -> bool:
        """May the chunk that was heard last be the user's voice?"""
        if self._heard:
            self._look()
        return self._credible

    def _look(self) -> None:
        """Learn from what was heard, and judge the last of it."""
        heard, self._heard = self._heard, []
        played = self._played([chunk.at for chunk in heard], self._delays)
        if played is None:
            self._credible = True
            if not all(chunk.paused for chunk in heard):
                self._forget()
            return
        levels = levels_db(b"".join(chunk.pcm for chunk in heard), len(heard[0].pcm))
        gains = levels[:, None] - played
        loudest = played.max(axis=1).tolist()
        known = 0
        for index, chunk in enumerate(heard):
            quiet = loudest[index] <= QUIET_DB
            if quiet or chunk.speaking:
                self._hold(gains[known:index])
                known = index + 1
                if not quiet:
                    self._held = None
                elif not chunk.paused:
                    self._forget()
        self._hold(gains[known:])
        self._credible = loudest[-1] <= QUIET_DB or bool(levels[-1] > self._threshold(played[-1], loudest[-1]))

    def _threshold(self, played: Levels, loudest: float) -> float:
        """What is louder is no echo."""
        threshold = loudest - self._guard_db
        if self._gains is not None and self._learned >= self.LEARN_CHUNKS:
            threshold = min(threshold, float((played + self._gains).min()) + self.MARGIN_DB)
        return threshold

    def _hold(self, gains: Levels) -> None:
        """What was heard while nobody spoke, a row for each chunk; learned is what has been held for long enough."""
        import numpy as np

        if len(gains):
            held = gains if self._held is None else np.concatenate([self._held, gains])
            ripe = max(0, len(held) - self.HELD_CHUNKS)
            self._held = held[ripe:]
            self._learn(held[:ripe])

    def _learn(self, gains: Levels) -> None:
        import numpy as np

        few = self.LEARN_CHUNKS - self._learned
        if 0 < few < len(gains):
            self._learn(gains[:few])
            self._learn(gains[few:])
        elif len(gains):
            self._learned += len(gains)
            highest = gains.max(axis=0)
            if self._gains is None:
                self._gains = highest
            elif few > 0 or (highest <= self._gains + self.RISE_DB).all():
                self._gains = np.maximum(self._gains, highest)
            else:
                for each in gains:
                    self._gains = np.maximum(self._gains, np.minimum(each, self._gains + self.RISE_DB))

    def _forget(self) -> None:
        """The agent is quiet: the next answer is learned anew."""
        self._gains = self._held = None
        self._learned = 0
