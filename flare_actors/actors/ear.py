"""The ear: voice activity detection, pre-roll and endpointing. It never waits for a recogniser.

Audio comes in through ``feed``, in the reader's own step. A chunk that comes when it is due is heard there and then, or
together with other sessions' chunks if the detector can; the ear's task has the rest: bursts, pauses, commits, a microphone
that is gone. The detector runs inline (150 us against 112 us for a thread hop). What comes of a chunk, ``Utterances`` tells:
facts, and each utterance's audio in a feed of its own, which a recogniser reads when it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from flare_actors.actors.batch import Batch, batch_of, hear_alone
from flare_actors.actors.channels import Alarm, Clock, Inbox
from flare_actors.actors.echo import EchoGuard
from flare_actors.actors.microphone import Microphone
from flare_actors.actors.utterance import UtteranceFeed
from flare_actors.actors.utterances import Utterances
from flare_actors.conversation.events import ListenerFailed, ListenerOpened, NothingCommitted
from flare_actors.conversation.settings import Settings
from flare_actors.errors import ProviderError
from flare_actors.guard import Patience, port_guard
from flare_actors.ports import VoiceActivity, VoiceDetector, estimates_turn_end

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
        self._microphone = Microphone(voice_activity.sample_rate, voice_activity.chunk_samples)
        self._utterances = Utterances(
            sample_rate=voice_activity.sample_rate,
            chunk_s=self._microphone.chunk_s,
            inbox=inbox,
            begin=begin,
            estimator=voice_activity if estimates_turn_end(voice_activity) else None,
            on_fault=on_fault,
        )
        self._wake = trio.Event()
        self._alarm = Alarm()
        """Ends what its task waits for when the microphone may be lost."""
        self._drained = trio.Event()
        self._wanted: Settings | None = None
        """What an open ear was asked to hear with; None: it is to be closed."""
        self._settings: Settings | None = None
        self._detector: VoiceDetector | None = None
        self._batch: Batch | None = None
        """Hears chunks of several sessions at once."""
        self._awaited = False
        """A chunk is in the batch."""
        self._guard: EchoGuard | None = None
        """Tells the agent's own voice from the user's; None: it is not asked."""
        self._muted = False
        self._rests = False
        """Its task waits for whatever is next."""
        self._bug: BaseException | None = None
        """What went wrong when a chunk was heard in ``feed``."""
        self._commit = False
        self._answer_commit = False
        self._commit_chunks = 0
        """What had come in before the commit and is to be heard first; what came later is not waited for."""

    @property
    def utterances(self) -> int:
        """Utterances so far; the latest one's number."""
        return self._utterances.count

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
        self._commit = False
        self._utterances.forget()  # The one that the old link broke off has no end any more.

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
            now = self._clock.trio_now()
            if self._nothing_else(now):
                self._hear_here(self._detector, now)
                return
        self._wake.set()

    async def together(self) -> None:
        """After ``feed``: let other sessions' chunks come, which cost less together, if this one is the first of them."""
        if self._batch is not None:
            await self._batch.lead()

    def _hear_here(self, detector: VoiceDetector, now: float) -> None:
        """Hear a chunk without the ear's task, which is woken only for a bug: that is the session's, not the reader's."""
        chunk = self._microphone.take(now)

        def then(heard: float | ProviderError) -> None:
            self._awaited = False
            try:
                self._judge(chunk, now, heard)
            except BaseException as bug:  # noqa: BLE001 - its task raises it
                self._bug = bug
                self._wake.set()
            if self._utterances.endpointing.speaking:
                self._alarm.set_by(self._utterances.lost_at)

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
            and not self._utterances.endpointing.overdue
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
        self._commit = False
        self._utterances.forget()
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
            self._utterances.set_endpoint(self._settings)

    def wait(self, utterance: int, pause: int, silence_s: float, *, settled: bool) -> None:
        """End the utterance after ``silence_s`` of silence, if it is still in its so-manieth pause.

        Args:
            utterance: its number.
            pause: which of its pauses.
            silence_s: seconds of audio.
            settled: no other word on this pause will come, so that it need not be waited for.
        """
        if self._utterances.wait(utterance, pause, silence_s, settled=settled):
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
        self._commit = False
        self._utterances.drop()

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
        pauses = self._utterances.pauses
        if pauses.estimator is None:
            await self._hear()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pauses.run)
            await self._hear()

    async def _hear(self) -> None:
        while True:
            with self._alarm:
                await self._hear_until_alarm()
            self._alarm = Alarm()

    async def _hear_until_alarm(self) -> None:
        """Hear until the alarm rings, which it may while the microphone is not lost."""
        while True:
            self._settle()
            if self._bug is not None:
                raise self._bug
            if self._wanted is not None and self._detector is None:
                self._alarm.set(math.inf)
                await self._open()
                continue
            if self._detector is not None and self._microphone.chunks:
                if self._utterances.endpointing.overdue:
                    self._utterances.end()
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
            if self._commit or self._utterances.endpointing.overdue or self._utterances.lost_at <= trio.current_time():
                self._commit = False
                if self._answer_commit and not self._utterances.endpointing.speaking:
                    self._inbox.put(NothingCommitted())
                self._answer_commit = False
                self._utterances.end()
                continue
            self._drained.set()
            await self._sleep()

    def _next_due(self) -> float:
        """When the next chunk may be heard, on Trio's clock."""
        due_at = self._microphone.due_at
        return max(due_at, self._utterances.pause_due_at) if self._utterances.endpointing.paused else due_at

    async def _hold(self, due_at: float) -> None:
        """Audio comes faster than anybody speaks: hear it at a bearable pace, while ``feed`` drops the rest."""
        self._wake = trio.Event()
        with trio.move_on_at(due_at):
            await self._wake.wait()

    async def _sleep(self) -> None:
        """Until there is a chunk, or something is asked; a microphone that falls silent amid an utterance ends it."""
        self._wake = trio.Event()
        self._alarm.set_by(self._utterances.lost_at)
        self._rests = True
        try:
            await self._wake.wait()
        finally:
            self._rests = False

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
        self._utterances.restart(settings)
        self._adopt(settings)
        self._inbox.put(ListenerOpened(estimates=self._utterances.pauses.estimator is not None))

    def _adopt(self, settings: Settings) -> None:
        known, self._settings = self._settings, settings
        self._utterances.use(settings)
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
        endpointing = self._utterances.endpointing
        credible = True
        # A recording does not hear the answer, and at full speed "a moment ago" means nothing.
        if self._guard is not None and self._microphone.realtime:
            self._guard.hear(chunk, self._clock.at(now), speaking=endpointing.speaking, paused=self._agent_paused())
            credible = heard < endpointing.threshold or self._guard.credible
        self._utterances.hear(chunk, now, heard, credible=credible)
