"""Answers begun ahead: released when they are just what is asked for, else withdrawn unheard and untold."""

from __future__ import annotations

import pytest
from core_driver import Core

from flare_actors.conversation import State
from flare_actors.conversation import events as ev
from flare_actors.conversation.changes import Change
from flare_actors.conversation.commands import CancelReply, FlushPlayback, ReleaseReply, StartReply
from flare_actors.conversation.notices import TurnEnded, TurnMetrics, TurnStarted
from flare_actors.conversation.speculation import MOST
from flare_actors.conversation.states import Output, Reason, TurnDetection, TurnKind

S = State


def pausing(text: str = "tea please", **choices: object) -> Core:
    """The user has said something and pauses; the words so far are known."""
    core = Core(**choices).starts()
    utterance = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=utterance, text=text), ev.SpeechPaused(utterance=utterance))
    return core


def interrupting() -> tuple[Core, int]:
    """The user has stopped an answer, of which 1.5 s were heard, and pauses; with the number of its turn."""
    core = Core().starts()
    core.says("a story")
    turn = core.is_answering("Once upon a time. ", "There was a king. ")
    utterance = core.speaks()
    core.stopped_at(turn, 1.5)
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="stop"), ev.SpeechPaused(utterance=utterance))
    return core, turn


def held(core: Core) -> int:
    assert core.c.speculation is not None
    return core.c.speculation.turn.number


def writes_ahead(core: Core, *phrases: str) -> None:
    for index, text in enumerate(phrases):
        core.happens(ev.PhraseReady(turn=held(core), index=index, text=text, first_token_at=core.now))


def test_in_a_pause_the_words_so_far_are_asked_of_the_model_and_nobody_is_told() -> None:
    core = pausing()
    (command,) = core.did(StartReply)
    assert command.held
    assert [m.content for m in command.messages] == ["tea please"]
    assert core.state is S.LISTENING
    assert core.told(TurnStarted) == []
    assert core.history == []


def test_words_that_come_after_the_pause_began_are_asked_for_as_well() -> None:
    core = Core().starts()
    utterance = core.speaks()
    core.happens(ev.SpeechPaused(utterance=utterance))
    assert core.did(StartReply) == []
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="tea"))
    assert len(core.did(StartReply)) == 1


def test_the_same_words_again_change_nothing() -> None:
    core = pausing("tea")
    core.happens(ev.TranscriptUpdated(utterance=core.c.utterance, text="tea"))
    assert len(core.did(StartReply)) == 1
    assert core.did(CancelReply) == []


def test_the_expected_transcript_releases_the_held_answer() -> None:
    core = pausing("tea please")
    number = held(core)
    writes_ahead(core, "Here you are.")
    core.pauses()
    assert core.c.turn is None
    core.is_understood("tea please")
    assert core.did(ReleaseReply) == [ReleaseReply(turn=number)]
    assert core.turn == number
    assert len(core.did(StartReply)) == 1, "it is not asked for twice"
    assert core.states[-2:] == [S.PROCESSING_SPEECH, S.PREPARING_RESPONSE]
    core.sounds(1.0)
    core.is_generated(1.0)
    core.is_played()
    assert core.history == ["user: tea please", "agent: Here you are."]
    assert (core.c.speculated, core.c.released) == (1, 1)


def test_an_answer_that_was_all_generated_ahead_is_played_to_its_end() -> None:
    core = pausing("tea")
    writes_ahead(core, "Yes. ")
    core.happens(
        ev.PhraseSpoken(turn=held(core), index=0, start_s=0.0, end_s=1.0),
        ev.GenerationFinished(turn=held(core), audio_s=1.0),
    )
    core.pauses()
    core.is_understood("tea")
    assert core.c.turn is not None
    assert core.c.deadlines.playback is not None
    assert core.c.deadlines.generation is None
    core.happens(ev.AudioStarted(turn=core.turn))
    assert core.state is S.PLAYING_RESPONSE
    core.is_played()
    assert core.state is S.LISTENING
    assert core.heard(1) == "Yes."


def test_a_text_that_was_all_written_ahead_is_delivered_at_once() -> None:
    core = pausing("tea", output=Output.TEXT)
    writes_ahead(core, "Yes.")
    core.happens(ev.GenerationFinished(turn=held(core), audio_s=0.0))
    core.pauses()
    core.is_understood("tea")
    assert core.state is S.LISTENING
    assert core.history == ["user: tea", "agent: Yes."]
    assert [notice.output for notice in core.told(TurnStarted)] == [Output.TEXT]


def test_another_transcript_withdraws_it_and_asks_anew() -> None:
    core = pausing("tea")
    ahead = held(core)
    writes_ahead(core, "Tea it is.")
    core.pauses()
    core.is_understood("tea or coffee")
    assert core.did(ReleaseReply) == []
    assert [c.turn for c in core.did(CancelReply)] == [ahead]
    assert core.requests == [["user: tea"], ["user: tea or coffee"]]
    core.answers("Both.")
    assert core.history == ["user: tea or coffee", "agent: Both."]
    assert [each.turn for each in core.told(TurnEnded)] == [2], "the lost one has used up a number, nothing else"


def test_the_user_who_goes_on_withdraws_it() -> None:
    core = pausing("tea")
    commands = core.happens(ev.SpeechResumed(utterance=core.c.utterance))
    assert commands == [CancelReply(turn=1, reason=Reason.BARGE_IN), FlushPlayback(turn=1)]
    assert core.state is S.LISTENING
    assert core.c.speculation is None


def test_each_pause_is_answered_but_not_for_ever() -> None:
    core = Core().starts()
    utterance = core.speaks()
    core.happens(ev.SpeechPaused(utterance=utterance))
    for number in range(2 * MOST):
        core.happens(ev.TranscriptUpdated(utterance=utterance, text=f"tea {number}"))
    assert len(core.did(StartReply)) == MOST == 4
    core.happens(
        ev.SpeechResumed(utterance=utterance),
        ev.SpeechPaused(utterance=utterance),
        ev.TranscriptUpdated(utterance=utterance, text="more"),
    )
    assert core.c.speculation is not None, "the next pause has its own"


@pytest.mark.parametrize(
    "event",
    [
        ev.ConversationEndRequested(),
        ev.SessionEndRequested(),
        ev.ClientDetached(),
        ev.TransportFailed(),
        ev.TextReceived(text="typed"),
        ev.RecognizerFailed(),
        ev.ListenerFailed(),
        ev.FailureRaised(),
        ev.LanguageModelFailed(turn=1),
        ev.SynthesizerFailed(turn=1),
        ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=0.5, taken=False),
    ],
    ids=lambda event: type(event).__name__,
)
def test_whatever_makes_it_unwanted_withdraws_it(event: ev.Event) -> None:
    core = pausing()
    core.happens(event)
    assert core.c.speculation is None
    assert [c.turn for c in core.did(CancelReply)] == [1]
    assert core.told(TurnEnded) == []


def test_a_failure_ahead_is_nobodys_failure_until_it_is_asked_for_in_earnest() -> None:
    core = pausing("tea")
    core.happens(ev.LanguageModelFailed(turn=held(core)))
    assert core.errors == []
    assert core.c.failures.llm == 0
    core.pauses()
    core.is_understood("tea")
    assert core.state is S.PROCESSING_SPEECH


def test_nothing_of_a_held_turn_is_playing() -> None:
    core = pausing()
    before = core.c.stale
    core.happens(ev.AudioStarted(turn=held(core)), ev.PlaybackFinished(turn=held(core), played_s=1.0))
    assert core.state is S.LISTENING
    assert core.c.stale == before + 2


def test_a_history_that_was_amended_meanwhile_is_asked_with() -> None:
    core, turn = interrupting()
    assert core.c.speculation is not None
    core.happens(ev.PlaybackProgressed(turn=turn, played_s=0.5))
    core.pauses()
    core.is_understood("stop")
    assert core.did(ReleaseReply) == []
    assert core.requests[-1] != core.requests[-2], "it was asked anew, with what was heard"


def test_nothing_is_begun_before_it_is_known_what_was_heard() -> None:
    core = Core().starts()
    core.says("a story")
    core.is_answering("Once upon a time. ")
    utterance = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="stop"), ev.SpeechPaused(utterance=utterance))
    assert core.c.speculation is None


def test_words_of_which_some_are_known_to_be_missing_are_not_answered() -> None:
    core = Core().starts()
    utterance = core.speaks()
    core.happens(
        ev.TranscriptUpdated(utterance=utterance, text="tea and", complete=False), ev.SpeechPaused(utterance=utterance)
    )
    assert core.did(StartReply) == []
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="tea and cake"))
    assert core.requests == [["user: tea and cake"]]


def test_the_words_before_a_pause_are_not_all_that_there_are_in_the_next() -> None:
    core = pausing("tea")
    utterance = core.c.utterance
    core.happens(ev.SpeechResumed(utterance=utterance), ev.SpeechPaused(utterance=utterance))
    assert len(core.did(StartReply)) == 1


@pytest.mark.parametrize("text", ["", "  "])
def test_without_words_there_is_nothing_to_answer(text: str) -> None:
    assert pausing(text).did(StartReply) == []


@pytest.mark.parametrize("choices", [{"auto_answer": False}, {"turn_detection": TurnDetection.MANUAL}], ids=str)
def test_what_is_not_answered_by_itself_is_not_answered_ahead(choices: dict[str, object]) -> None:
    assert pausing(**choices).did(StartReply) == []


def test_the_setting_turns_it_off() -> None:
    assert pausing(soft_endpoint_s=None).did(StartReply) == []


def test_an_empty_final_transcript_withdraws_it() -> None:
    core = pausing("er, tea")
    core.pauses()
    core.is_understood("")
    assert core.c.speculation is None
    assert core.state is S.LISTENING
    assert [c.turn for c in core.did(CancelReply)] == [1]


def test_the_time_spent_ahead_is_no_share_of_the_waiting() -> None:
    core = pausing("tea")
    writes_ahead(core, "Yes.")
    core.pauses()
    core.is_understood("tea")
    core.happens(ev.AudioStarted(turn=core.turn))
    (metrics,) = core.told(TurnMetrics)
    assert metrics.first_token_s == 0.0
    assert metrics.first_phrase_s == 0.0
    assert metrics.first_audio_s == pytest.approx(0.1)


# --- What it costs -----------------------------------------------------------------------------------------------------------


def test_what_was_begun_in_vain_is_counted_with_the_time_it_took() -> None:
    core = pausing("tea")
    core.happens(ev.SpeechResumed(utterance=core.c.utterance), after=0.7)
    assert (core.c.wasted.replies, core.c.wasted.work_s) == (1, pytest.approx(0.7))
    core.happens(ev.SpeechPaused(utterance=core.c.utterance))
    core.happens(ev.TranscriptUpdated(utterance=core.c.utterance, text="tea please"))
    core.happens(ev.GenerationFinished(turn=held(core), audio_s=1.0), after=0.2)
    core.happens(ev.SpeechResumed(utterance=core.c.utterance), after=5.0)
    # Once it was made, it cost nothing any more.
    assert (core.c.wasted.replies, core.c.wasted.work_s) == (2, pytest.approx(0.9))


def test_the_client_is_told_of_the_waste_with_the_turn_that_it_was_for() -> None:
    core = pausing("tea")
    core.happens(ev.SpeechResumed(utterance=core.c.utterance), after=0.7)
    core.happens(ev.SpeechPaused(utterance=core.c.utterance))
    core.happens(ev.TranscriptUpdated(utterance=core.c.utterance, text="tea please"))
    core.happens(ev.SpeechStopped(utterance=core.c.utterance, speech_s=1.0, silence_s=0.48), after=0.3)
    core.is_understood("tea please")
    core.writes("Here you are.")
    core.sounds(1.0)
    (metrics,) = core.told(TurnMetrics)
    assert metrics.ahead_s == pytest.approx(0.3)
    assert (metrics.wasted_replies, metrics.wasted_s) == (1, pytest.approx(0.7))
    core.is_generated(1.0)
    core.is_played()
    core.says("thanks")
    core.writes("Welcome.")
    core.sounds(1.0)
    _, metrics = core.told(TurnMetrics)
    assert (metrics.ahead_s, metrics.wasted_replies, metrics.wasted_s) == (None, 0, 0.0)
    assert core.c.wasted.replies == 1


def test_what_was_heard_before_it_is_final_once_it_is_let_out() -> None:
    core, turn = interrupting()
    core.pauses()
    core.is_understood("stop")
    assert core.did(ReleaseReply)
    before, stale = core.history, core.c.stale
    core.happens(ev.PlaybackProgressed(turn=turn, played_s=0.2))
    assert (core.history, core.c.stale) == (before, stale + 1)


def test_a_turn_of_which_nothing_was_heard_has_no_place_any_more_once_it_is_let_out() -> None:
    core = Core().starts()
    core.says("a story")
    turn = core.is_answering("Once upon a time. ")
    utterance = core.speaks()
    core.stopped_at(turn, 0.0)
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="stop"), ev.SpeechPaused(utterance=utterance))
    core.pauses()
    core.is_understood("stop")
    assert core.did(ReleaseReply)
    assert [item.text for item in core.c.history] == ["a story", "stop"]


def test_words_of_who_goes_on_are_not_answered_before_the_next_pause() -> None:
    core = pausing("tea")
    utterance = core.c.utterance
    core.happens(
        ev.SpeechResumed(utterance=utterance, pause_s=0.3),
        ev.TranscriptUpdated(utterance=utterance, text="tea and milk"),
    )
    assert len(core.did(StartReply)) == 1
    core.happens(ev.SpeechPaused(utterance=utterance))
    assert len(core.did(StartReply)) == 2


def test_what_waited_for_the_floor_is_said_in_place_of_an_answer_to_a_cough() -> None:
    core = pausing("tea")
    core.happens(ev.SayRequested(text="Your tea is ready."))
    core.pauses(too_short=True)
    assert core.did(CancelReply) == [CancelReply(turn=1, reason=Reason.BARGE_IN)]
    assert [notice.kind for notice in core.told(TurnStarted)] == [TurnKind.SAY]


def test_a_held_answer_that_is_not_to_be_given_by_itself_any_more_is_not_let_out_for_something_else() -> None:
    core = pausing("tea")
    core.happens(
        ev.SayRequested(text="One moment."), ev.SettingsChanged(changes=(Change(name="auto_answer", value=False),))
    )
    core.pauses()
    core.is_understood("tea")
    assert core.did(ReleaseReply) == []
    assert core.spoken == ["One moment."]
