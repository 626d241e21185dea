"""The utterances of a session: where each begins, pauses and ends, told as facts, and its audio in a feed of its own.

``UtteranceDetector`` says what a chunk changes, and knows nothing of clocks and queues; what that means to everybody else is
here. The ear gives the chunks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from flare_actors.actors.channels import Inbox
from flare_actors.actors.pauses import Pause, Pauses
from flare_actors.actors.utterance import UtteranceAudio, UtteranceFeed
from flare_actors.conversation.endpointing import Heard, UtteranceDetector
from flare_actors.conversation.events import (
    SpeechConfirmed,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Endpointing, TurnDetection
from flare_actors.errors import ProviderError
from flare_actors.ports import TurnEndEstimator

__all__ = ["Utterances"]

_UNTIL_OPENED: Final = Settings()


class Utterances:
    """One session's, one at a time. All of it is synchronous but the pauses' own task.

    Args:
        sample_rate: Hz of what is heard.
        chunk_s: duration of each chunk that it is heard in, in seconds.
        inbox: where facts go.
        begin: takes each that is worth a recogniser, as soon as it is; False: nobody is there to understand it.
        estimator: asked in each pause whether it is the end; None: nobody is asked.
        on_fault: told of what the estimator raised.
    """

    LOST_S: Final = 1.0  # Amid an utterance no audio for endpoint_s and this much longer: the microphone is gone.

    def __init__(
        self,
        *,
        sample_rate: int,
        chunk_s: float,
        inbox: Inbox,
        begin: Callable[[UtteranceFeed], bool],
        estimator: TurnEndEstimator | None,
        on_fault: Callable[[ProviderError], None],
    ) -> None:
        self._chunk_s = chunk_s
        self._inbox = inbox
        self.endpointing = UtteranceDetector(_UNTIL_OPENED, chunk_s)
        """Where the one in progress stands; to be read."""
        self._audio = UtteranceAudio(sample_rate, begin)
        self.pauses = Pauses(
            estimator,
            chunk_s=chunk_s,
            inbox=inbox,
            lasts=lambda pause: self.endpointing.paused and pause == self._pause,
            on_fault=on_fault,
        )
        """Of the utterance in progress."""
        self._heard_at = -math.inf
        """When the latest chunk was heard, on Trio's clock."""
        self.count = 0
        """So far; the latest one's number."""

    # --- As it stands -----------------------------------------------------------------------------------------------------

    @property
    def pause_due_at(self) -> float:
        """When the next chunk of the present pause may be heard, on Trio's clock; minus infinity: at any time."""
        return self.pauses.due_at(self.endpointing.silence_s + self._chunk_s)

    @property
    def lost_at(self) -> float:
        """When a microphone that fell silent amid an utterance is given up, on Trio's clock; inf: not at all."""
        endpointing = self.endpointing
        if not endpointing.speaking or endpointing.settings.turn_detection is TurnDetection.MANUAL:
            return math.inf
        return self._heard_at + endpointing.wait_s + self.LOST_S

    @property
    def _pause(self) -> Pause:
        """The latest pause of the latest utterance."""
        return Pause(self.count, self.endpointing.pauses)

    # --- What is asked ----------------------------------------------------------------------------------------------------

    def restart(self, settings: Settings) -> None:
        """The ear is opened: nothing was heard before."""
        self.endpointing = UtteranceDetector(settings, self._chunk_s)

    def use(self, settings: Settings) -> None:
        """By these settings from now on."""
        self.endpointing.settings = settings
        self._audio.use(round(settings.preroll_s / self._chunk_s))

    def set_endpoint(self, settings: Settings) -> None:
        """By these settings, in which only the silence that ends an utterance is another one."""
        self.endpointing.settings = settings
        if not self.endpointing.paused:
            self.endpointing.wait_s = settings.endpoint_s

    def wait(self, utterance: int, pause: int, silence_s: float, *, settled: bool) -> bool:
        """See ``Ear.wait``. False: that pause is over."""
        if not self.endpointing.paused or Pause(utterance, pause) != self._pause:
            return False
        self.endpointing.wait_s = silence_s
        self.pauses.settle(settled=settled)
        return True

    def end(self) -> None:
        """End the one in progress now, if there is one."""
        self._tell(self.endpointing.stop())

    def drop(self) -> None:
        """Nothing comes of the one in progress."""
        if self.endpointing.speaking:
            self.endpointing.stop()
            # Its start may be on its way still: nobody is to wait for its end.
            self._inbox.put(
                SpeechStopped(utterance=self.count, speech_s=0.0, silence_s=0.0, taken=False, too_short=True)
            )
        self._audio.stop()

    def forget(self) -> None:
        """Whoever speaks now begins to speak, and nobody is told of an end."""
        self._audio.stop()
        self.endpointing.forget()

    # --- What is heard ----------------------------------------------------------------------------------------------------

    def hear(self, chunk: bytes, now: float, probability: float, *, credible: bool) -> None:
        """One more chunk.

        Args:
            chunk: PCM16.
            now: when it was heard, on Trio's clock.
            probability: that it is speech, 0 to 1.
            credible: False: it may well be the agent's own echo.
        """
        self._heard_at = now
        was_speaking = self.endpointing.speaking
        changes = self.endpointing.feed(probability, credible=credible)
        if was_speaking or Heard.STARTED in changes:
            if Heard.STARTED in changes:
                self._audio.start()
                self.pauses.start(self._audio.preroll)
            self.pauses.hear(chunk)
            self._audio.put(chunk, self.endpointing.silence_s)
        self._audio.remember(chunk)
        self._tell(changes)

    def _tell(self, changes: tuple[Heard, ...]) -> None:
        for change in changes:
            if change is Heard.STARTED:
                self.count += 1
                self._inbox.put(SpeechStarted(utterance=self.count, pause_s=self.endpointing.pause_s))
            elif change is Heard.ENOUGH:
                self._audio.begin(self.count)
            elif change is Heard.CONFIRMED:
                self._inbox.put(SpeechConfirmed(utterance=self.count))
            elif change is Heard.OVERDUE:
                self._inbox.put(SpeechConfirmed(utterance=self.count, overdue=True))
            elif change is Heard.PAUSED:
                settings = self.endpointing.settings
                self._inbox.put(SpeechPaused(utterance=self.count))
                self.pauses.begin(
                    self._pause,
                    self.endpointing.silence_s,
                    settled=settings.endpointing is Endpointing.FIXED,
                    patience_s=settings.timeouts.connect_s,
                )
            elif change is Heard.RESUMED:
                self._inbox.put(SpeechResumed(utterance=self.count, pause_s=self.endpointing.pause_s))
            else:
                self._stopped()

    def _stopped(self) -> None:
        # The endpoint goes out before the feed ends, so that no transcript can overtake it.
        self._inbox.put(
            SpeechStopped(
                utterance=self.count,
                speech_s=self.endpointing.speech_s,
                silence_s=self.endpointing.silence_s,
                taken=self._audio.taken,
                too_short=not self._audio.begun,
            )
        )
        self._audio.stop()
