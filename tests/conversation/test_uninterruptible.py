"""What is said to its end whatever the user says: that is heard, kept, and answered after it."""

from __future__ import annotations

import pytest
from core_driver import Core

from flare_actors.conversation import Reason, State
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import CancelReply, PausePlayback

S = State
NOTICE = "This call is recorded."


def telling(*, partials: bool = True) -> Core:
    core = Core().starts(partials=partials)
    core.happens(ev.SayRequested(text=NOTICE, interruptible=False))
    core.is_answering(NOTICE)
    assert core.state is S.PLAYING_RESPONSE
    return core


@pytest.mark.parametrize("partials", [False, True])
def test_words_do_not_stop_it_and_are_answered_after_it(partials: bool) -> None:
    core = telling(partials=partials)
    number = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=number, text="what time is it"))
    core.happens(ev.SpeechConfirmed(utterance=number, overdue=True))
    core.pauses()
    core.is_understood("what time is it")
    assert core.state is S.PLAYING_RESPONSE
    assert core.did(PausePlayback) == []
    core.is_generated(1.0)
    core.is_played()
    assert core.state is S.PROCESSING_SPEECH
    assert core.requests == [[f"assistant: {NOTICE}", "user: what time is it"]]
    assert core.heard(1) == NOTICE


def test_who_still_speaks_when_it_is_over_is_not_talked_over() -> None:
    core = telling(partials=False)
    core.says("what time is it")
    number = core.speaks()
    core.happens(ev.SpeechConfirmed(utterance=number, overdue=True))
    core.is_generated(1.0)
    core.is_played()
    core.passes(2.0)
    assert core.state is S.LISTENING
    core.pauses()
    core.is_understood("in Ankara")
    assert core.requests == [[f"assistant: {NOTICE}", "user: what time is it in Ankara"]]


def test_typed_words_do_not_either() -> None:
    core = telling()
    core.happens(ev.TextReceived(text="what time is it"))
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(1.0)
    core.is_played()
    assert core.requests == [[f"assistant: {NOTICE}", "user: what time is it"]]


def test_mhm_to_it_is_no_question() -> None:
    core = telling()
    core.says("mhm", confirmed=False)
    core.passes(1.5)
    core.is_generated(1.0)
    core.is_played()
    assert core.state is S.LISTENING


@pytest.mark.parametrize("what", [ev.InterruptRequested(), ev.ConversationEndRequested(), ev.ClientDetached()])
def test_the_stop_button_and_the_end_stop_it_all_the_same(what: ev.Event) -> None:
    core = telling()
    core.happens(what)
    assert [cancel.turn for cancel in core.did(CancelReply)] == [1]


def test_what_may_be_interrupted_is() -> None:
    core = Core().starts()
    core.happens(ev.SayRequested(text=NOTICE))
    core.is_answering(NOTICE)
    core.speaks()
    assert core.did(CancelReply) == [CancelReply(turn=1, reason=Reason.BARGE_IN)]
