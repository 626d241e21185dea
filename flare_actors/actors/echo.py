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
from operator import add
from typing import Final

from flare_actors.audio import SILENCE_DB, level_db, seconds_to_bytes, split_frames

__all__ = ["EchoGuard", "PlayedLevels"]

PIECE_S: Final = 0.02
"""Resolution in which the output's level is remembered."""
QUIET_DB: Final = -60.0
"""An agent below this is not heard: no echo to speak of, and the next answer begins."""


class PlayedLevels:
    """How loud the agent was, and when: its own speech as a room would still hold it.

    Times are seconds on any one clock; pieces come in order.
    """

    KEPT_S: Final = (
        10.0  # The speaker runs 0.26 s ahead of the present and the echo comes 0.5 s late; the rest is slack.
    )
    RELEASE_DB: Final = (
        1.0  # Per piece. A very live room lets go of 60 dB in 1.2 s; a dryer one only gets a looser bound.
    )

    def __init__(self) -> None:
        self._pieces: deque[tuple[float, float]] = deque(maxlen=round(self.KEPT_S / PIECE_S))
        self._paused: tuple[float, list[tuple[float, float]]] | None = None
        """Since when the agent stands still, and what it is going to play then."""

    def add(self, at: float, pcm: bytes, sample_rate: int) -> None:
        """PCM16 that begins to be played at ``at``."""
        for part in split_frames(pcm, seconds_to_bytes(PIECE_S, sample_rate)):
            level = level_db(part)
            if self._pieces:
                before, held = self._pieces[-1]
                level = max(level, held - self.RELEASE_DB * max(1.0, (at - before) / PIECE_S))
            self._pieces.append((at, level))
            at += PIECE_S

    def cut(self, at: float) -> None:
        """What was to be played from ``at`` on is not played after all."""
        self._paused = None
        while self._pieces and self._pieces[-1][0] > at:
            self._pieces.pop()

    def pause(self, at: float) -> None:
        """What was to be played from ``at`` on is played later."""
        later = [piece for piece in self._pieces if piece[0] > at]
        self.cut(at)
        self._paused = (at, later)

    def resume(self, at: float) -> None:
        """... from ``at`` on."""
        if self._paused is not None:
            paused_at, later = self._paused
            self._paused = None
            self._pieces.extend((each + at - paused_at, level) for each, level in later)

    def recent(self, now: float, count: int) -> list[float]:
        """The levels of the last ``count`` pieces' time, newest first, in dBFS; empty if the agent was not heard then."""
        pieces = self._pieces
        if not pieces:
            return []
        since = int((now - pieces[-1][0]) / PIECE_S)
        if since >= count and pieces[-1][1] - self.RELEASE_DB * since <= QUIET_DB:
            return []  # Long ago, and died away.
        levels = [SILENCE_DB] * count
        for at, level in reversed(pieces):
            age = int((now - at) / PIECE_S)
            if age >= count:
                levels[-1] = max(levels[-1], level - self.RELEASE_DB * (age - count + 1))
                break
            if at <= now and level > levels[age]:
                levels[age] = level
        held = SILENCE_DB
        for age in range(count - 1, -1, -1):
            held -= self.RELEASE_DB
            if levels[age] > held:
                held = levels[age]
            else:
                levels[age] = held
        return levels


class EchoGuard:
    """Judges one chunk of a conversation's input after the other.

    The figures are from simulations with speech and echoes of -20 to -40 dB at 50 to 300 ms, dry and reverberant: no answer
    interrupts itself, and who is 10 dB louder than the echo is heard.

    Args:
        guard_db: input quieter than the recent output by more than this is echo, as long as nothing better is known.
        tail_s: the longest delay of an echo.
    """

    MARGIN_DB: Final = 6.0  # A bound learned from a second of speech is exceeded by a few dB in the next.
    LEARN_CHUNKS: Final = 20  # With those held: a second of an answer at 32 ms a chunk.
    HELD_CHUNKS: Final = 10  # What turns out to be the beginning of an utterance is not learned as echo.
    RISE_DB: Final = 6.0  # At most, per chunk: one knock does not deafen the rest of an answer.
    FLOOR_DB: Final = -70.0  # Below this the output's level says nothing about the input's.
    STEP: Final = 2  # Pieces between two hypotheses,
    WIDTH: Final = 4  # and pieces that each looks at: a chunk covers two or three, and delays jitter.

    def __init__(self, *, guard_db: float, tail_s: float) -> None:
        self._guard_db = guard_db
        self._delays = max(1, math.ceil(tail_s / (self.STEP * PIECE_S)))
        self.pieces = self.STEP * (self._delays - 1) + self.WIDTH
        """How many pieces of the output's recent past ``credible`` wants to see."""
        self._gains = [-math.inf] * self._delays
        self._held: deque[list[float]] = deque()
        self._learned = 0

    def credible(self, chunk: bytes, played: list[float], *, speaking: bool, paused: bool = False) -> bool:
        """May a chunk be the user's voice?

        Args:
            chunk: PCM16 of the input.
            played: the output's last ``pieces`` levels, newest first; empty: it was not heard.
            speaking: an utterance is in progress: nothing is learned from it.
            paused: the agent is quiet amid an answer: the rest of it will sound as what was heard.
        """
        loudest = max(played, default=SILENCE_DB)
        if loudest <= QUIET_DB:
            if not paused:
                self._forget()
            return True
        level = level_db(chunk)
        outputs = [
            max(self.FLOOR_DB, *played[at : at + self.WIDTH]) for at in range(0, self._delays * self.STEP, self.STEP)
        ]
        threshold = loudest - self._guard_db
        if self._learned >= self.LEARN_CHUNKS:
            threshold = min(threshold, min(map(add, outputs, self._gains)) + self.MARGIN_DB)
        if speaking:
            self._held.clear()
        else:
            self._held.append([level - output for output in outputs])
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
