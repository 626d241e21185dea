"""The speaker: keeps the client a little ahead of its loudspeaker, and knows what was played.

Audio leaves when there is room for a whole frame in the ``LEAD_S`` that the client may have in hand, so that a flush takes
back all but that. A clock tells what the user has heard when the client itself does not: it starts with the first frame that
the link takes, stands still while the client has nothing in hand (a gap, a congested link), and never runs ahead of what has
really left.

A turn that is paused sends nothing. A client that can stand still does so, and the clock with it; any other plays on what it
has in hand, which is a quarter of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import trio

from flare_actors.actors.channels import Alarm, Clock, Inbox, Outbox
from flare_actors.actors.echo import PlayedLevels
from flare_actors.audio import bytes_to_seconds, seconds_to_bytes
from flare_actors.conversation.events import AudioStarted, PlaybackFinished, PlaybackStopped

if TYPE_CHECKING:
    from flare_actors.actors.echo import Levels

__all__ = ["Speaker"]

_INSTANT_S: Final = 1e-6  # Less than a sample: what rounding leaves of a moment that has come.


def _no_more() -> bytes:
    return b""


class Speaker:
    """One session's voice. ``play`` backpressures the synthesizer; everything else is synchronous."""

    LEAD_S: Final = 0.24  # At most. Half of it rides out a home network's jitter (tens of ms); a barge-in discards it.
    FRAME_S: Final = 0.12  # A message costs the server 100-200 us whatever its size: fewer, larger ones.
    BEAT_S: Final = 0.005  # When frames are due, of all sessions: one awakening of the process serves them all.
    ROUNDS: Final = 10  # Of Trio's scheduler, 10 us each: enough for a few notices that wait before the first audio.
    AHEAD_S: Final = 10.0  # Synthesised ahead of the clock: 480 kB at 24 kHz, and enough that gaps are not heard.
    REFILL_S: Final = 1.0  # ... and then so much together, instead of a little for each frame that leaves.

    def __init__(self, clock: Clock, inbox: Inbox, outbox: Outbox) -> None:
        self._clock = clock
        self._inbox = inbox
        self._outbox = outbox
        outbox.on_audio_left = self._on_left
        self.sample_rate = 16_000
        """Hz of what is played: the attached link's."""
        self._realtime = True
        self._pauses = False
        self._turn: int | None = None
        self._latest = 0
        """The latest turn that was opened."""
        self._buffer = bytearray()
        self._queued = 0
        self._sent = 0
        """Bytes given to the outbox."""
        self._left = 0
        """Bytes that the link has taken of them."""
        self._anchor_at = 0.0
        self._anchor_s = 0.0
        self._held = False
        self._paused: float | None = None
        """The turn is paused since then."""
        self._stands_at_s = 0.0
        """How much of it had been played then."""
        self._finished = False
        self._cut_off: tuple[int, float] | None = None
        """The turn that was playing when its link went away, and how much of it had been played then."""
        self._more = _no_more
        self._work = trio.Event()
        self._looks_at = math.inf
        """When the pacing task looks again by itself."""
        self._room = trio.Event()
        self._levels = PlayedLevels()

    # --- The link's side -------------------------------------------------------------------------------------------------

    def attach(self, sample_rate: int, *, realtime: bool, pauses: bool = False) -> None:
        """A new link: its format, whether somebody listens in real time, and whether the client can stand still."""
        self.detach()
        self.sample_rate = sample_rate
        self._realtime = realtime
        self._pauses = pauses

    def detach(self) -> None:
        """Nobody listens any more: what was played until now is all that will have been played of the turn."""
        if self._turn is not None:
            self._cut_off = (self._turn, self._played_s())
            self._close(self._turn)

    def _on_left(self, count: int) -> None:
        """The link has taken audio of the open turn."""
        now = self._clock.now()
        left_s = self._seconds(self._left)
        if self._played_s(now) >= left_s:
            # The client had nothing in hand (the first frame, or a gap): its clock starts (again) here.
            self._anchor_at, self._anchor_s = now, left_s
        self._left += count
        if self._looks_at == math.inf:
            self._work.set()

    # --- The reply's side ------------------------------------------------------------------------------------------------

    def open(self, turn: int, *, held: bool = False) -> None:
        """Make ready for a turn's audio; while it is ``held`` none of it leaves."""
        self._turn = turn
        self._more = _no_more
        self._latest = max(self._latest, turn)
        self._held = held
        self._paused = None
        self._cut_off = None
        self._buffer.clear()
        self._queued = self._sent = self._left = 0
        self._finished = False
        self._outbox.open_turn(turn)
        if self._looks_at != math.inf:
            self._work.set()  # That would be for an earlier turn's sake, and may be too late for this one.

    def release(self, turn: int) -> None:
        """Let out what was held."""
        if turn == self._turn and self._held:
            self._held = False
            self._pump()
            self._work.set()

    def draw_on(self, turn: int, more: Callable[[], bytes]) -> None:
        """Before the turn's audio runs out, take what ``more`` gives then, which may be nothing.

        For whoever gathers audio while there is plenty. ``more`` must neither wait nor call the speaker.
        """
        if turn == self._turn:
            self._more = more

    def take(self, turn: int, pcm: bytes) -> None:
        """Take PCM16 at ``sample_rate``, however much there is already; of a turn that is not open it is dropped."""
        if turn == self._turn:
            self._buffer += pcm
            self._queued += len(pcm)
            self._pump()
            if self._buffer and self._left and self._looks_at == math.inf:
                self._work.set()  # Before anything has left, its leaving does so.

    async def play(self, turn: int, pcm: bytes, on_wait: Callable[[], None] = lambda: None) -> None:
        """Take PCM16 at ``sample_rate``; with more than ``AHEAD_S`` to be played, waits until ``REFILL_S`` less are.

        Audio of a turn that is not open is dropped. On cancel, what was taken stays taken.

        Args:
            turn: whose audio it is.
            pcm: of any length.
            on_wait: called before it waits for what was taken earlier to be played.
        """
        if turn != self._turn:
            # A synthesizer that waits for nothing must not keep the others, who are about to end it, from their turn.
            await trio.lowlevel.checkpoint()
            return
        # A synthesizer that is far ahead would go on for a while before the writer's turn comes, and other sessions'.
        if not self._queued:
            with self._inbox.quiet():
                self.take(turn, pcm)
                await self.go_first(turn)
        else:
            self.take(turn, pcm)
            await trio.lowlevel.checkpoint()
        if self.ahead_s > self.AHEAD_S:
            while turn == self._turn and self.ahead_s > self.AHEAD_S - self.REFILL_S:
                on_wait()
                self._room = trio.Event()
                await self._room.wait()

    async def go_first(self, turn: int) -> None:
        """Give a turn's first audio time to be made and to leave, if that can be at once.

        For whoever has more to do for the turn: what it does now, the user waits for.
        """
        for _ in range(self.ROUNDS):
            await trio.lowlevel.checkpoint()
            if turn != self._turn or self._left or self._held:
                return

    @property
    def ahead_s(self) -> float:
        """Seconds of the open turn that wait to be sent."""
        return self._seconds(len(self._buffer))

    def finish(self, turn: int) -> float:
        """No more audio will come. Gives the seconds of the turn's audio in all."""
        if turn == self._turn:
            self._more = _no_more
        if turn != self._turn or not self._queued:
            return 0.0
        self._finished = True
        self._work.set()
        return self._seconds(self._queued)

    def hush(self) -> int | None:
        """Nothing more of the live turn leaves until it is flushed. Gives its number; None: there is none."""
        if self._turn is None or self._held:
            return None
        self._outbox.flush(self._turn)
        return self._turn

    # --- The orchestrator's side ------------------------------------------------------------------------------------------

    def flush(self, turn: int) -> None:
        """Forget the turn's audio wherever it still is, and tell how much had been played; of held audio nobody asks."""
        if turn == self._turn and self._held:
            self._close(turn)
            return
        played_s = 0.0
        if turn == self._turn:
            played_s = self._played_s()
            self._close(turn)
        elif self._cut_off is not None and self._cut_off[0] == turn:
            played_s = self._cut_off[1]
        self._inbox.put(PlaybackStopped(turn=turn, played_s=played_s))

    def pause(self, turn: int) -> None:
        """Let nothing of the turn leave until ``resume``."""
        if turn != self._turn or self._paused is not None:
            return
        now = self._clock.now()
        self._stands_at_s = self._played_s(now)
        self._paused = now
        self._outbox.pause(turn)
        if self._pauses:
            self._levels.pause(now)
        self._work.set()

    def resume(self, turn: int) -> None:
        """Go on with the turn where it was paused."""
        if turn != self._turn or self._paused is None:
            return
        now, self._paused = self._clock.now(), None
        if self._pauses:
            self._anchor_at, self._anchor_s = now, self._stands_at_s
            self._levels.resume(now)
        self._outbox.resume(turn)
        self._pump()
        self._work.set()

    @property
    def paused(self) -> bool:
        """The open turn is paused."""
        return self._paused is not None

    def _close(self, turn: int) -> None:
        self._turn = self._paused = None
        self._more = _no_more
        self._buffer.clear()
        self._outbox.flush(turn)
        self._levels.cut(self._clock.now())
        self._room.set()

    def sent_s(self, turn: int | None) -> float | None:
        """Seconds of a turn's audio that have left; None: nothing is known of it any more.

        Args:
            turn: None: the one that is open. Of one that is still to come, and of none, nothing has.
        """
        if self._turn is not None and turn in {None, self._turn}:
            return self._seconds(self._left)
        return None if turn is not None and turn <= self._latest else 0.0

    def recent_levels(self, times: Sequence[float], delays: int) -> Levels | None:
        """How loud the client was, by the pacing clock, around each of so many delays before each of ``times``.

        See ``PlayedLevels.recent``.
        """
        return self._levels.recent(times, delays)

    # --- Its own task -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Pace the open turn's audio out, for as long as the session lives."""
        while True:
            with Alarm() as alarm:
                while True:
                    self._work = trio.Event()
                    self._looks_at = self._advance()
                    alarm.set(self._clock.trio_time(self._looks_at))
                    await self._work.wait()

    def _advance(self) -> float:
        """Do what is due now. Gives the time at which more will be, inf where something else must happen first."""
        turn = self._turn
        if turn is None or self._held or self._paused is not None:
            return math.inf
        self._pump()
        now = self._clock.now()
        played_s, left_s = self._played_s(now), self._seconds(self._left)
        in_hand_s = self._seconds(self._sent) - played_s
        if self._buffer:
            # Wait for room for a whole frame: no more wake-ups than messages.
            wait_s = in_hand_s - self.LEAD_S + self.FRAME_S
            return self._beat(now + wait_s) if self._realtime and wait_s <= left_s - played_s + _INSTANT_S else math.inf
        if not self._finished or self._sent > self._left:
            return math.inf
        if in_hand_s > _INSTANT_S:
            return now + in_hand_s
        self._finished = False
        self._inbox.put(PlaybackFinished(turn=turn, played_s=left_s))
        return math.inf

    def _beat(self, at: float) -> float:
        """The first beat from that moment on."""
        return self._clock.at(math.ceil(self._clock.trio_time(at) / self.BEAT_S) * self.BEAT_S)

    def _pump(self) -> None:
        """Send what the client may have now. Synchronous: the first audio leaves in the very call that brings it."""
        turn = self._turn
        if turn is None or self._held or self._paused is not None:
            return
        frame = seconds_to_bytes(self.FRAME_S, self.sample_rate)
        now = self._clock.now()
        while self._buffer and not self._outbox.congested:
            in_hand_s = self._seconds(self._sent) - self._played_s(now)
            if self._realtime and in_hand_s > self.LEAD_S - self.FRAME_S + _INSTANT_S:
                break
            if len(self._buffer) <= frame:
                more = self._more()
                self._buffer += more
                self._queued += len(more)
            piece = bytes(self._buffer[:frame])
            del self._buffer[: len(piece)]
            if self._sent == 0:
                self._inbox.put_patiently(AudioStarted(turn=turn))
            self._levels.add(now + in_hand_s, piece, self.sample_rate)
            self._sent += len(piece)
            self._outbox.put_audio(turn, piece)
        if self.ahead_s <= self.AHEAD_S - self.REFILL_S:
            self._room.set()

    def _played_s(self, now: float | None = None) -> float:
        """Seconds of the turn that have been heard: never more than has left."""
        left_s = self._seconds(self._left)
        if not self._realtime or not self._left:
            return left_s
        if self._paused is not None and self._pauses:
            return self._stands_at_s
        now = self._clock.now() if now is None else now
        return min(left_s, self._anchor_s + max(0.0, now - self._anchor_at))

    def _seconds(self, count: int) -> float:
        return bytes_to_seconds(count, self.sample_rate)
