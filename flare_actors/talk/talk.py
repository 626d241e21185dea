"""Play a recording to an agent and take down what comes back, as a patient listener with a stopwatch would."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final, final

import trio

from flare_actors.agent import Agent
from flare_actors.audio import BYTES_PER_SAMPLE, AudioFormat, split_frames
from flare_actors.conversation.events import ConversationStartRequested, SessionEndRequested
from flare_actors.conversation.notices import Notice
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import State
from flare_actors.errors import FlareError
from flare_actors.observe import Observer
from flare_actors.ports import AudioIn
from flare_actors.session import run_session
from flare_actors.talk.link import RecordingLink
from flare_actors.talk.listener import Listener
from flare_actors.talk.measure import WINDOW_S, SpeechMap, frame_bytes
from flare_actors.talk.report import TalkReport
from flare_actors.talk.wav import Recording

__all__ = ["TalkError", "talk"]

_LOWEST_RATE: Final = 8_000
_HIGHEST_RATE: Final = 48_000
_TAIL_S: Final = 1.5
"""Silence after the recording, on top of the endpoint's: a last utterance must have its end."""
_SETTLE_S: Final = 0.2
"""At full speed: time on the wall for the session's last word on the last frame to arrive."""
_LATE_S: Final = 0.5
_STUCK_S: Final = 120.0
"""No answer for this long is a bug: every stage has a timeout of its own, far below."""


_STUCK: Final = f"the session has given no sign of life for {_STUCK_S:.0f} s"


class TalkError(FlareError):
    """The session ended, or stayed silent, before the recording was answered."""


async def talk(
    agent: Agent,
    recording: Recording,
    *,
    settings: Settings | None = None,
    realtime: bool = True,
    barge_in: bool = False,
    watch: Callable[[Notice], None] = lambda _: None,
    observers: Sequence[Observer] = (),
) -> TalkReport:
    """Hold one conversation with a recording as the user.

    Args:
        agent: who answers.
        recording: what the user says.
        settings: the session's; None: the agent's.
        realtime: play at the recording's own speed. Else at full speed: then the time of audio counts while the user
            speaks, and time on the wall while the agent works.
        barge_in: play straight on. Else the recording is held from the end of each utterance until it is answered.
        watch: called with every notice as it comes; must be quick.
        observers: the session's.

    Raises:
        TalkError: the session ended early, or gave no sign of life for two minutes.

    Cancellation ends the session; what was taken down is lost.
    """
    settings = agent.settings if settings is None else settings
    return await _Talk(agent, recording, settings, realtime=realtime, barge_in=barge_in, watch=watch).run(observers)


@final
class _Talk:
    def __init__(
        self,
        agent: Agent,
        recording: Recording,
        settings: Settings,
        *,
        realtime: bool,
        barge_in: bool,
        watch: Callable[[Notice], None],
    ) -> None:
        self._agent = agent
        self._recording = recording
        self._settings = settings
        self._realtime = realtime
        self._barge_in = barge_in
        self._link = RecordingLink(
            input_format=AudioFormat(sample_rate=recording.sample_rate),
            output_format=AudioFormat(sample_rate=min(_HIGHEST_RATE, max(_LOWEST_RATE, agent.synthesizer.sample_rate))),
            realtime=realtime,
        )
        self._frame = frame_bytes(recording.sample_rate)
        self._speech = SpeechMap(recording)
        self._listener = Listener(
            sample_rate=self._link.output_format.sample_rate,
            now=self._now,
            speech_ended=self._speech_ended,
            watch=watch,
        )
        # The recording's position (in samples) after each frame of it, and when that frame had been spoken.
        self._positions: list[int] = []
        self._times: list[float] = []
        self._spoken_s = 0.0
        self._waited_s = 0.0
        self._waiting_since: float | None = None
        self._next_frame_at: float | None = None
        self._news = trio.Event()
        self._last_news = trio.current_time()
        self._gone = False
        self._problem: str | None = None

    async def run(self, observers: Sequence[Observer]) -> TalkReport:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._speak)
            await run_session(self._link, self._agent, settings=self._settings, observers=observers)
            # Closed, the link gives the listener what the session sent last; then both tasks end by themselves.
            await self._link.aclose()
        listener = self._listener
        if self._problem is not None:
            raise TalkError(self._problem + (f": {listener.failure}" if listener.failure else ""))
        return TalkReport(
            turns=listener.turns(),
            transcript=" ".join(listener.transcripts),
            states=tuple(listener.states),
            audio=listener.audio(),
            sample_rate=self._link.output_format.sample_rate,
        )

    # --- The ears

    async def _listen(self) -> None:
        while (message := await self._link.hear()) is not None:
            self._listener.take(message)
            self._wake()
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        self._last_news = trio.current_time()
        self._news.set()
        self._news = trio.Event()

    def _speech_ended(self) -> float | None:
        """When the speech before this moment had ended."""
        if not self._positions or (end := self._speech.last_end(self._positions[-1])) is None:
            return None
        return self._times[bisect_left(self._positions, end)]

    def _now(self) -> float:
        if self._realtime:
            return trio.current_time()
        waiting = 0.0 if self._waiting_since is None else trio.current_time() - self._waiting_since
        return self._spoken_s + self._waited_s + waiting

    # --- The mouth

    async def _speak(self) -> None:
        finished = await self._hold_conversation()
        if not finished and self._problem is None:
            ended = self._listener.ended
            self._problem = "the session ended early" + (f" ({ended.value})" if ended else "")
        if not await self._link.say(SessionEndRequested()) or self._problem is not None:
            self._link.hang_up()

    async def _hold_conversation(self) -> bool:
        """Say all of the recording and wait for all answers; False: the session has gone, or is stuck."""
        if not await self._link.say(ConversationStartRequested()):
            return False
        while self._listener.state is not State.LISTENING:
            if not await self._wait():
                return False
        position = 0
        for frame in split_frames(self._recording.pcm, self._frame):
            while self._listener.answering and not self._barge_in:
                if not await self._wait():
                    return False
            if not await self._send(frame):
                return False
            position += len(frame) // BYTES_PER_SAMPLE
            self._positions.append(position)
            self._times.append(self._now())
        return await self._fall_silent()

    async def _fall_silent(self) -> bool:
        """Say nothing until the last utterance has had its end and its answer."""
        tail_s = max(self._settings.endpoint_s, self._settings.endpoint_max_s) + _TAIL_S
        silent_s = 0.0
        while silent_s < tail_s or self._busy():
            if self._listener.answering:
                silent_s = 0.0
                going_on = await self._wait()
            else:
                silent_s += WINDOW_S
                going_on = await self._send(bytes(self._frame))
                if not self._realtime and silent_s >= tail_s:
                    await trio.sleep(_SETTLE_S)
            if not going_on:
                return False
        return True

    def _busy(self) -> bool:
        listener = self._listener
        return listener.answering or listener.user_speaking or listener.state is not State.LISTENING

    async def _wait(self) -> bool:
        """Let a moment pass without the recording: a frame of silence, or, at full speed, until something happens."""
        if self._realtime:
            if trio.current_time() - self._last_news > _STUCK_S:
                self._problem = _STUCK
            return self._problem is None and await self._send(bytes(self._frame))
        news = self._news
        self._waiting_since = trio.current_time()
        with trio.move_on_after(_STUCK_S) as patience:
            await news.wait()
        self._waited_s += trio.current_time() - self._waiting_since
        self._waiting_since = None
        if patience.cancelled_caught:
            self._problem = _STUCK
        return not self._gone and self._problem is None

    async def _send(self, frame: bytes) -> bool:
        """Send a frame once it has been spoken; False: there is nobody to send it to."""
        if self._realtime:
            now = trio.current_time()
            # A frame is there when its last sample has been spoken. A process that was paused does not catch up in a burst.
            due = now if self._next_frame_at is None or now - self._next_frame_at > _LATE_S else self._next_frame_at
            self._next_frame_at = due + WINDOW_S
            await trio.sleep_until(self._next_frame_at)
        sent = not self._gone and await self._link.say(AudioIn(frame))
        if not self._listener.answering:
            # Else the session had stopped listening while this frame was on its way.
            self._spoken_s += WINDOW_S
        return sent
