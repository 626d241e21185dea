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
from collections import deque
from collections.abc import Callable, Sequence
from operator import add
from typing import Final, NamedTuple

from flare_actors.audio import SILENCE_DB, level_db, levels_db, seconds_to_bytes

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


class PlayedLevels:
    """How loud the agent was, and when: its own speech as a room would still hold it.

    Times are seconds on any one clock, from 0 on; speech comes in order. What a chunk of the input is compared with is made
    once a piece of speech, when somebody asks about that time or much has come: a chunk is then judged by a slice.
    """

    KEPT_S: Final = (
        10.0  # The speaker runs 0.26 s ahead of the present and the echo comes 0.5 s late; the rest is slack.
    )
    RELEASE_DB: Final = (
        1.0  # Per piece. A very live room lets go of 60 dB in 1.2 s; a dryer one only gets a looser bound.
    )
    MUCH: Final = 8  # Messages of speech: half a second that nobody has asked about.

    def __init__(self) -> None:
        self._first = 0
        """The number of the first piece that is known; piece n begins in [n, n + 1) times ``PIECE_S``."""
        self._levels: list[float] = []
        self._windows: list[float] = []
        """For each piece the loudest of it and the ``WIDTH`` - 1 before it."""
        self._paused: list[float] | None = None
        """What the agent, which stands still, is going to play then."""
        self._newest: list[tuple[float, bytes, int]] = []
        """What was added last. It is measured when somebody asks, or much has come: whoever brings it is in a hurry."""

    def add(self, at: float, pcm: bytes, sample_rate: int) -> None:
        """PCM16 that begins to be played at ``at``."""
        self._newest.append((at, pcm, sample_rate))
        if len(self._newest) > self.MUCH:
            self._measure()

    def _measure(self) -> None:
        for at, pcm, sample_rate in self._newest:
            for level in levels_db(pcm, seconds_to_bytes(PIECE_S, sample_rate)):
                self._put(int(at / PIECE_S), level)
                at += PIECE_S
        self._newest.clear()

    def cut(self, at: float) -> None:
        """What was to be played from ``at`` on is not played after all."""
        while self._newest and self._newest[-1][0] >= at + PIECE_S:
            self._newest.pop()  # Nothing of it is.
        self._measure()
        self._paused = None
        self._take_from(at)

    def pause(self, at: float) -> None:
        """What was to be played from ``at`` on is played later."""
        self._measure()
        self._paused = self._take_from(at)

    def resume(self, at: float) -> None:
        """... from ``at`` on."""
        self._measure()
        later, self._paused = self._paused, None
        for number, level in enumerate(later or (), int(at / PIECE_S) + 1):
            self._put(number, level)

    def recent(self, now: float, delays: int) -> Sequence[float]:
        """How loud the agent was around each of so many delays before ``now``, in dBFS; empty if it was not heard then.

        The first is that of what is played ``now`` (or was: it may be a while ago), each next one of ``STEP`` pieces earlier.
        """
        self._measure()
        windows = self._windows
        newest = int(now / PIECE_S) - self._first
        oldest = newest - STEP * (delays - 1)
        if oldest >= 0 and newest < len(windows):
            return windows[newest : oldest - 1 if oldest else None : -STEP]
        if not windows or (oldest >= len(windows) and self._window(oldest) <= QUIET_DB):
            return ()  # Long ago, and died away.
        return [self._window(index) for index in range(newest, oldest - 1, -STEP)]

    def _put(self, number: int, level: float) -> None:
        """So loud is a piece, unless the room is louder still."""
        kept = round(self.KEPT_S / PIECE_S)
        if not self._levels or number - self._first - len(self._levels) >= kept:
            self._levels.clear()
            self._windows.clear()
            self._first = number
        index = number - self._first
        while len(self._levels) <= index:  # Nothing was played in between.
            self._append(self._levels[-1] - self.RELEASE_DB if self._levels else SILENCE_DB)
        while 0 <= index < len(self._levels) and self._levels[index] < level:
            self._levels[index] = level
            self._windows[index] = self._loudest(index)
            index += 1
            level -= self.RELEASE_DB
        if len(self._levels) >= 2 * kept:
            del self._levels[:kept], self._windows[:kept]
            self._first += kept

    def _append(self, level: float) -> None:
        self._levels.append(level)
        self._windows.append(self._loudest(len(self._levels) - 1))

    def _loudest(self, index: int) -> float:
        return max(FLOOR_DB, *self._levels[max(0, index + 1 - WIDTH) : index + 1])

    def _window(self, index: int) -> float:
        """Before the first piece there was silence; after the last one the room lets go of it."""
        if index < 0:
            return FLOOR_DB
        after = index - len(self._windows)
        return self._windows[index] if after < 0 else self._windows[-1] - self.RELEASE_DB * max(0, after + 2 - WIDTH)

    def _take_from(self, at: float) -> list[float]:
        """Forget what begins after ``at``; gives its levels."""
        kept = max(0, int(at / PIECE_S) + 1 - self._first)
        taken = self._levels[kept:]
        del self._levels[kept:], self._windows[kept:]
        return taken


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
        played: the output's levels, at a time, at so many delays (``PlayedLevels.recent``); empty: it was not heard.
    """

    TOGETHER: Final = 6  # Chunks: 0.2 s, and 6 kB.

    MARGIN_DB: Final = 6.0  # A bound learned from a second of speech is exceeded by a few dB in the next.
    LEARN_CHUNKS: Final = 20  # With those held: a second of an answer at 32 ms a chunk.
    HELD_CHUNKS: Final = 10  # What turns out to be the beginning of an utterance is not learned as echo.
    RISE_DB: Final = 6.0  # At most, per chunk: one knock does not deafen the rest of an answer.

    def __init__(self, *, guard_db: float, tail_s: float, played: Callable[[float, int], Sequence[float]]) -> None:
        self._guard_db = guard_db
        self._played = played
        self._delays = max(1, math.ceil(tail_s / (STEP * PIECE_S)))
        """How many hypotheses there are."""
        self._heard: list[_Chunk] = []
        """Chunks that were not looked at yet."""
        self._credible = True
        self._gains = [-math.inf] * self._delays
        self._held: deque[list[float]] = deque()
        self._learned = 0

    def hear(self, chunk: bytes, at: float, *, speaking: bool, paused: bool = False) -> None:
        """One more chunk.

        Args:
            chunk: PCM16 of the input.
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
        for chunk in self._heard:
            self._credible = self._judge(chunk)
        self._heard.clear()

    def _judge(self, chunk: _Chunk) -> bool:
        """What the chunk is, by what was learned before it; and learn from it."""
        played = self._played(chunk.at, self._delays)
        loudest = max(played, default=SILENCE_DB)
        if loudest <= QUIET_DB:
            if not chunk.paused:
                self._forget()
            return True
        level = level_db(chunk.pcm)
        threshold = loudest - self._guard_db
        if self._learned >= self.LEARN_CHUNKS:
            threshold = min(threshold, min(map(add, played, self._gains)) + self.MARGIN_DB)
        if chunk.speaking:
            self._held.clear()
        else:
            self._held.append([level - output for output in played])
            if len(self._held) > self.HELD_CHUNKS:
                self._learn(self._held.popleft())
        return level > threshold

    def _learn(self, gains: list[float]) -> None:
        if self._learned >= self.LEARN_CHUNKS:
            gains = [min(gain, known + self.RISE_DB) for gain, known in zip(gains, self._gains, strict=True)]
        self._gains = list(map(max, self._gains, gains))
        self._learned += 1

    def _forget(self) -> None:
        """The agent is quiet: the next answer is learned anew."""
        if self._learned or self._held:
            self._gains = [-math.inf] * self._delays
            self._held.clear()
            self._learned = 0
