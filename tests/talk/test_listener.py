"""The loudspeaker of ``talk``: what it has played when it is told to stand still, to go on, and to drop the rest."""

from __future__ import annotations

from flare_actors.conversation.notices import PlaybackCleared, PlaybackPaused, PlaybackResumed, TurnStarted
from flare_actors.conversation.states import Reason, TurnKind
from flare_actors.ports import AudioOut
from flare_actors.talk.listener import Listener

RATE = 8_000
SECOND = bytes(range(1, 251)) * 64


class Ears:
    def __init__(self) -> None:
        self.now = 0.0
        self.listener = Listener(
            sample_rate=RATE, now=lambda: self.now, speech_ended=lambda: None, watch=lambda _notice: None
        )
        self.listener.take(TurnStarted(turn=1, kind=TurnKind.RESPONSE))

    def at(self, now: float, message: object) -> None:
        self.now = now
        self.listener.take(message)  # type: ignore[arg-type]


def test_what_is_cleared_while_it_stands_still_was_played_up_to_there() -> None:
    ears = Ears()
    ears.at(0.0, AudioOut(1, SECOND))
    ears.at(0.25, PlaybackPaused(turn=1))
    ears.at(0.75, PlaybackCleared(turn=1, reason=Reason.BARGE_IN))
    assert ears.listener.audio() == SECOND[: len(SECOND) // 4]


def test_after_going_on_the_rest_comes_as_much_later() -> None:
    ears = Ears()
    ears.at(0.0, AudioOut(1, SECOND))
    ears.at(0.0, AudioOut(1, SECOND))
    ears.at(0.5, PlaybackPaused(turn=1))
    ears.at(1.5, PlaybackResumed(turn=1))
    ears.at(2.25, PlaybackCleared(turn=1, reason=Reason.BARGE_IN))
    assert ears.listener.audio() == SECOND + SECOND[: len(SECOND) // 4]


def test_a_pause_before_the_first_sound_moves_nothing() -> None:
    ears = Ears()
    ears.at(0.0, PlaybackPaused(turn=1))
    ears.at(1.0, PlaybackResumed(turn=1))
    ears.at(1.0, AudioOut(1, SECOND))
    ears.at(1.5, PlaybackCleared(turn=1, reason=Reason.BARGE_IN))
    assert ears.listener.audio() == SECOND[: len(SECOND) // 2]
