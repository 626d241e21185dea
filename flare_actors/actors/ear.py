"""The ear: voice activity detection, pre-roll and endpointing. It never waits for a recogniser.

Audio comes in through ``feed``, in the reader's own step. A chunk that comes when it is due is heard there and then, or
together with other sessions' chunks if the detector can; the ear's task has the rest: bursts, pauses, commits, a microphone
that is gone. The detector runs inline (150 us against 112 us for a thread hop), and the orchestrator is told facts. Each
utterance's audio goes into a feed of its own, which a recogniser reads when it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio

from flare_actors.actors.batch import Batch, batch_of, hear_alone
from flare_actors.actors.channels import Alarm, Clock, Inbox
from flare_actors.actors.echo import EchoGuard
from flare_actors.actors.microphone import Microphone
from flare_actors.actors.pauses import Pause, Pauses
from flare_actors.actors.utterance import UtteranceAudio, UtteranceFeed
from flare_actors.conversation.endpointing import Heard, UtteranceDetector
from flare_actors.conversation.events import (
    ListenerFailed,
    ListenerOpened,
    NothingCommitted,
    SpeechConfirmed,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Endpointing, TurnDetection
from flare_actors.errors import ProviderError
from flare_actors.guard import Patience, port_guard
from flare_actors.ports import TurnEndEstimator, VoiceActivity, VoiceDetector

if TYPE_CHECKING:
    from flare_actors.actors.echo import Levels

__all__ = ["Ear"]


class Ear:
    """One session's ear.

    Args:
        voice_activity: makes the detector.
        inbox: where facts go.
        begin: takes each utterance that is worth a recogniser, as soon as it is.
        clock: the session's.
        played: how loud the agent was around each of so many delays before each of some times (``PlayedLevels.recent``).
        on_fault: told of what a provider raised.
        paused: whether the agent stands still amid what it says.
    """

    LOST_S: Final = 1.0  # Amid an utterance no audio for endpoint_s and this much longer: the microphone is gone.

    def __init__(
        self,
        voice_activity: VoiceActivity,
        inbox: Inbox,
        begin: Callable[[UtteranceFeed], bool],
        played: Callable[[Sequence[float], int], Levels | None],
        on_fault: Callable[[ProviderError], None],
        *,
        clock: Clock,
        paused: Callable[[], bool],
    ) -> None:
        self._voice_activity = voice_activity
        self._clock = clock
        self._inbox = inbox
        self._played = played
        self._on_fault = on_fault
        self._agent_paused = paused
        self._rate = voice_activity.sample_rate
        self._microphone = Microphone(self._rate, voice_activity.chunk_samples)
        self._wake = trio.Event()
        self._drained = trio.Event()
        self._wanted: Settings | None = None
        """What an open ear was asked to hear with; None: it is to be closed."""
        self._settings: Settings | None = None
        self._detector: VoiceDetector | None = None
        self._batch: Batch | None = None
        """Hears chunks of several sessions at once."""
        self._awaited = False
        """A chunk is in the batch."""
        self._endpointing = UtteranceDetector(Settings(), self._microphone.chunk_s)
        self._audio = UtteranceAudio(self._rate, begin)
        self._guard: EchoGuard | None = None
        """Tells the agent's own voice from the user's; None: it is not asked."""
        self._muted = False
        self._rests = False
        """Its task waits for whatever is next."""
        self._bug: BaseException | None = None
        """What went wrong when a chunk was heard in ``feed``."""
        self._heard_at = -math.inf
        """When the latest chunk was heard, on Trio's clock."""
        self._commit = False
        self._answer_commit = False
        self._commit_chunks = 0
        """What had come in before the commit and is to be heard first; what came later is not waited for."""
        self._pauses = Pauses(
            voice_activity if isinstance(voice_activity, TurnEndEstimator) else None,
            chunk_s=self._microphone.chunk_s,
            inbox=inbox,
            lasts=lambda pause: self._endpointing.paused and pause == self._pause,
            on_fault=on_fault,
        )
        self.utterances = 0
        """Utterances so far; the latest one's number."""

    @property
    def dropped_s(self) -> float:
        """Seconds of audio dropped because it came faster than it could be heard."""
        return self._microphone.dropped_s

    # --- Synchronous: the reader's and the orchestrator's side ------------------------------------------------------------

    def attach(self, sample_rate: int, *, realtime: bool) -> None:
        """A new link: its audio has this rate, and nothing of the old one's is continued."""
        self._settle()
        self._microphone.attach(sample_rate, realtime=realtime)
        self._drained.set()
        # Who speaks now begins to speak: the utterance that the old link broke off has no end any more.
        self._forget_utterance()
        self._endpointing.forget()

    def feed(self, pcm: bytes) -> None:
        """Take microphone audio. Dropped while muted or closed; too much of it drops the oldest, counted."""
        if self._wanted is None or self._muted:
            return
        self._microphone.put(pcm)
        chunks = self._microphone.chunks
        if not chunks or self._detector is None:
            return
        self._settle()
        if chunks == 1 and self._rests:
            now = trio.current_time()
            if self._nothing_else(now):
                self._hear_here(self._detector, now)
                return
        self._wake.set()

    async def together(self) -> None:
        """After ``feed``: let other sessions' chunks come, which cost less together, if this one is the first of them."""
        if self._batch is not None:
            await self._batch.lead()

    def _hear_here(self, detector: VoiceDetector, now: float) -> None:
        """Hear a chunk without the ear's task, which is woken if somebody begins to speak, or for a bug: its own, not ours."""
        chunk = self._microphone.take(now)

        def then(heard: float | ProviderError) -> None:
            self._awaited = False
            was_speaking = self._endpointing.speaking
            try:
                self._judge(chunk, now, heard)
            except BaseException as bug:  # noqa: BLE001 - its task raises it
                self._bug = bug
            if self._rests:
                self._silent_since = now
            if self._bug is not None or (self._endpointing.speaking and not was_speaking):
                self._wake.set()

        if self._batch is None:
            then(hear_alone(detector, chunk))
        else:
            self._awaited = True
            self._batch.add(detector, chunk, then)

    def _settle(self) -> None:
        """What else is to be done comes after the chunk that is in the batch."""
        if self._awaited and self._batch is not None:
            self._batch.hear()

    def _nothing_else(self, now: float) -> bool:
        """Nothing is to be done before the next chunk, and it is not too soon for it."""
        return (
            self._microphone.realtime
            and self._next_due() <= now
            and not self._endpointing.overdue
            and not self._wake.is_set()
            and not len(self._inbox)  # What the client asked for before this chunk is not carried out yet.
        )

    async def wait_room(self) -> None:
        """Wait until the ear has caught up: for audio that is a recording, not a person."""
        while self._wanted is not None and self._microphone.chunks:
            self._drained = trio.Event()
            await self._drained.wait()

    def open(self, settings: Settings) -> None:
        """Hear with these settings; answered with ListenerOpened or ListenerFailed."""
        self._wanted = settings
        self._wake.set()

    def close(self) -> None:
        """Stop hearing; what was being heard is forgotten."""
        self._settle()
        self._wanted = self._settings = self._detector = None
        self._forget_unheard()
        self._forget_utterance()
        self._endpointing.stop()
        self._wake.set()

    def use(self, settings: Settings) -> None:
        """Hear by these settings from now on, if the ear is open or about to be."""
        if self._wanted is None:
            return
        self._wanted = settings
        if self._settings is not None:
            self._adopt(settings)
            self._wake.set()  # How long a microphone that fell silent is waited for may have changed.

    def set_endpoint(self, endpoint_s: float) -> None:
        """The silence that ends an utterance has changed."""
        if self._settings is not None and self._settings.endpoint_s != endpoint_s:
            self._settings = attrs.evolve(self._settings, endpoint_s=endpoint_s)
            self._endpointing.settings = self._settings
            if not self._endpointing.paused:
                self._endpointing.wait_s = endpoint_s

    def wait(self, utterance: int, pause: int, silence_s: float, *, settled: bool) -> None:
        """End the utterance after ``silence_s`` of silence, if it is still in its so-manieth pause.

        Args:
            utterance: its number.
            pause: which of its pauses.
            silence_s: seconds of audio.
            settled: no other word on this pause will come, so that it need not be waited for.
        """
        if self._endpointing.paused and Pause(utterance, pause) == self._pause:
            self._endpointing.wait_s = silence_s
            self._pauses.settle(settled=settled)
            self._wake.set()

    def mute(self, muted: bool) -> None:  # noqa: FBT001 - the one thing that it sets
        """Drop audio from now on (an utterance in progress ends), or stop dropping it."""
        self._muted = muted
        if muted:
            self._forget_unheard()
            self._end_now()

    def expect_clear(self) -> None:
        """A ``clear`` is on its way through the orchestrator, for which audio does not wait: what still comes is not meant."""
        if self._wanted is not None:
            self._microphone.mark()

    def clear(self) -> None:
        """Forget the utterance in progress and what was not heard yet, up to the ``expect_clear``; nothing comes of it."""
        self._settle()
        self._microphone.clear_to_mark()
        self._drained.set()
        if self._endpointing.speaking:
            self._endpointing.stop()
            # Its start may be on its way still: nobody is to wait for its end.
            self._inbox.put(
                SpeechStopped(utterance=self.utterances, speech_s=0.0, silence_s=0.0, taken=False, too_short=True)
            )
        self._forget_utterance()

    def commit(self) -> None:
        """End the utterance in progress now; answered with SpeechStopped, or NothingCommitted if there is none."""
        self._answer_commit = True
        self._end_now()

    def _end_now(self) -> None:
        self._commit = True
        self._commit_chunks = self._microphone.chunks
        self._wake.set()

    def _forget_unheard(self) -> None:
        self._microphone.clear()
        self._drained.set()

    # --- Its own task -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hear, for as long as the session lives."""
        if self._pauses.estimator is None:
            await self._hear()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pauses.run)
            await self._hear()

    async def _hear(self) -> None:
        while True:
            with Alarm() as alarm:
                await self._hear_until(alarm)
            if self._lost_at() <= trio.current_time() and not self._microphone.chunks:
                self._apply(self._endpointing.stop())

    async def _hear_until(self, alarm: Alarm) -> None:
        """Hear until the alarm rings, which it may while the microphone is not lost."""
        while True:
            self._settle()
            if self._bug is not None:
                raise self._bug
            if self._wanted is not None and self._detector is None:
                alarm.set(math.inf)
                await self._open()
                continue
            if self._detector is not None and self._microphone.chunks:
                if self._endpointing.overdue:
                    self._apply(self._endpointing.stop())
                    continue
                due_at, now = self._next_due(), trio.current_time()
                if due_at > now:
                    await self._hold(due_at)
                    continue
                chunk = self._microphone.take(now)
                self._judge(chunk, now, hear_alone(self._detector, chunk))
                self._commit_chunks -= 1
                if self._microphone.chunks and not (self._commit and self._commit_chunks <= 0):
                    await trio.lowlevel.checkpoint()  # A burst must not hold up the other sessions.
                    continue
            if self._commit or self._endpointing.overdue:
                self._commit = False
                if self._answer_commit and not self._endpointing.speaking:
                    self._inbox.put(NothingCommitted())
                self._answer_commit = False
                self._apply(self._endpointing.stop())
                continue
            self._drained.set()
            await self._sleep(alarm)

    @property
    def _pause(self) -> Pause:
        """The latest pause of the latest utterance."""
        return Pause(self.utterances, self._endpointing.pauses)

    def _next_due(self) -> float:
        """When the next chunk may be heard, on Trio's clock."""
        if not self._endpointing.paused:
            return self._microphone.due_at
        return max(self._microphone.due_at, self._pauses.due_at(self._endpointing.silence_s + self._microphone.chunk_s))

    async def _hold(self, due_at: float) -> None:
        """Audio comes faster than anybody speaks: hear it at a bearable pace, while ``feed`` drops the rest."""
        self._wake = trio.Event()
        with trio.move_on_at(due_at):
            await self._wake.wait()

    async def _sleep(self, alarm: Alarm) -> None:
        """Until there is a chunk, or something is asked; a microphone that falls silent amid an utterance ends it."""
        self._wake = trio.Event()
        alarm.set_by(self._lost_at())
        self._rests = True
        try:
            await self._wake.wait()
        finally:
            self._rests = False

    def _lost_at(self) -> float:
        """When a microphone that fell silent amid an utterance is given up, on Trio's clock; inf: not at all."""
        settings = self._settings
        if not self._endpointing.speaking or settings is None or settings.turn_detection is TurnDetection.MANUAL:
            return math.inf
        return self._heard_at + self._endpointing.wait_s + self.LOST_S

    async def _open(self) -> None:
        settings = self._wanted
        assert settings is not None
        try:
            with Patience("vad", settings.timeouts.connect_s, "open"), port_guard("vad"):
                detector = await self._voice_activity.open()
        except ProviderError as error:
            self._on_fault(error)
            if self._wanted is settings:
                self._wanted = None
                self._inbox.put(ListenerFailed(message=error.message, critical=error.critical))
            return
        if self._wanted is not settings:
            return  # Closed, or opened anew, in the meantime.
        self._detector = detector
        self._batch = batch_of(self._voice_activity)
        self._commit = False
        self._endpointing = UtteranceDetector(settings, self._microphone.chunk_s)
        self._adopt(settings)
        self._inbox.put(ListenerOpened(estimates=self._pauses.estimator is not None))

    def _adopt(self, settings: Settings) -> None:
        known, self._settings = self._settings, settings
        self._endpointing.settings = settings
        self._audio.use(round(settings.preroll_s / self._microphone.chunk_s))
        echo = (settings.barge_in, settings.echo_guard_db, settings.echo_tail_s)
        if known is None or echo != (known.barge_in, known.echo_guard_db, known.echo_tail_s):
            self._guard = None
            if settings.barge_in.guards:
                self._guard = EchoGuard(
                    guard_db=settings.echo_guard_db, tail_s=settings.echo_tail_s, played=self._played
                )

    def _judge(self, chunk: bytes, now: float, heard: float | ProviderError) -> None:
        """What comes of a chunk that was heard ``now``, on Trio's clock: its speech probability, or what went wrong."""
        if isinstance(heard, ProviderError):
            self._on_fault(heard)
            self.close()
            self._inbox.put(ListenerFailed(message=heard.message, critical=heard.critical))
            return
        self._heard_at = now
        was_speaking = self._endpointing.speaking
        credible = True
        # A recording does not hear the answer, and at full speed "a moment ago" means nothing.
        if self._guard is not None and self._microphone.realtime:
            self._guard.hear(chunk, self._clock.at(now), speaking=was_speaking, paused=self._agent_paused())
            credible = heard < self._endpointing.threshold or self._guard.credible
        changes = self._endpointing.feed(heard, credible=credible)
        if was_speaking or Heard.STARTED in changes:
            if Heard.STARTED in changes:
                self._audio.start()
                self._pauses.start(self._audio.preroll)
            self._pauses.hear(chunk)
            self._audio.put(chunk, self._endpointing.silence_s)
        self._audio.remember(chunk)
        self._apply(changes)

    def _apply(self, changes: tuple[Heard, ...]) -> None:
        for change in changes:
            if change is Heard.STARTED:
                self.utterances += 1
                self._inbox.put(SpeechStarted(utterance=self.utterances, pause_s=self._endpointing.pause_s))
            elif change is Heard.ENOUGH:
                self._audio.begin(self.utterances)
            elif change is Heard.CONFIRMED:
                self._inbox.put(SpeechConfirmed(utterance=self.utterances))
            elif change is Heard.OVERDUE:
                self._inbox.put(SpeechConfirmed(utterance=self.utterances, overdue=True))
            elif change is Heard.PAUSED:
                settings = self._endpointing.settings
                self._inbox.put(SpeechPaused(utterance=self.utterances))
                self._pauses.begin(
                    self._pause,
                    self._endpointing.silence_s,
                    settled=settings.endpointing is Endpointing.FIXED,
                    patience_s=settings.timeouts.connect_s,
                )
            elif change is Heard.RESUMED:
                self._inbox.put(SpeechResumed(utterance=self.utterances, pause_s=self._endpointing.pause_s))
            else:
                self._stopped()

    def _stopped(self) -> None:
        # The endpoint goes out before the feed ends, so that no transcript can overtake it.
        self._inbox.put(
            SpeechStopped(
                utterance=self.utterances,
                speech_s=self._endpointing.speech_s,
                silence_s=self._endpointing.silence_s,
                taken=self._audio.taken,
                too_short=not self._audio.begun,
            )
        )
        self._audio.stop()

    def _forget_utterance(self) -> None:
        self._audio.stop()
        self._commit = False
