"""Clients that come and go, servers that go down, users that fall silent, and what counts as failing in a row."""

from __future__ import annotations

import attrs
import pytest
from core_driver import Core, kinds

from flare_actors.conversation import Floor, Limits, Reason, State
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import CloseListener, OpenListener, StartReply, StartStt, StopStt
from flare_actors.conversation.model import Hearing
from flare_actors.conversation.notices import ErrorRaised, NothingHeard, StateChanged, TurnEnded, TurnMetrics
from flare_actors.conversation.states import Output, Wait

S = State


# --- Links ------------------------------------------------------------------------------------------------------------------


def test_while_nobody_is_there_the_ear_stays_and_the_recogniser_is_closed() -> None:
    core = Core().starts()
    commands = core.happens(ev.ClientDetached())
    assert commands == [StopStt(reason=Reason.CLIENT_DISCONNECTED)]
    assert core.c.hearing is Hearing.STOPPED
    assert core.c.listener_open
    commands = core.happens(ev.ClientAttached())
    assert kinds(commands) == ["StartStt"]


def test_an_answer_that_was_not_heard_yet_is_given_when_the_client_is_back() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.writes("It is late. ")
    core.happens(ev.ClientDetached())
    core.stopped_at(1, 0.0)
    core.passes(5)
    assert core.state is S.LISTENING
    core.happens(ev.ClientAttached())
    assert core.state is S.PROCESSING_SPEECH
    assert core.requests == [["user: what time is it"]] * 2
    core.answers("It is late. ")
    assert core.history == ["user: what time is it", "agent: It is late."]


def test_an_answer_that_was_being_heard_is_not_given_again() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.is_answering("It is late. ")
    core.happens(ev.ClientDetached())
    core.stopped_at(1, 0.4)
    core.happens(ev.ClientAttached())
    core.passes(5)
    assert core.state is S.LISTENING
    assert core.history == ["user: what time is it", "agent: It"]


def test_the_time_without_a_client_is_nobodys_latency() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.happens(ev.ClientDetached())
    core.stopped_at(1, 0.0)
    core.passes(20)
    core.happens(ev.ClientAttached())
    core.is_answering("It is late. ")
    (metrics,) = core.told(TurnMetrics)
    assert metrics.total_s == pytest.approx(0.2)


def test_speech_of_a_client_that_has_gone_is_not_heard() -> None:
    core = Core().starts()
    core.happens(ev.ClientDetached(), ev.SpeechStarted(utterance=1))
    assert core.c.floor is Floor.SILENT
    assert core.c.stale == 1


def test_what_waits_to_be_said_waits_for_the_client_to_be_back() -> None:
    core = Core().starts()
    core.happens(ev.ClientDetached(), ev.SayRequested(text="Dinner is ready."))
    assert core.spoken == []
    core.happens(ev.ClientAttached())
    assert core.spoken == ["Dinner is ready."]


def test_text_that_arrives_as_its_client_goes_is_answered_when_it_is_back() -> None:
    core = Core().starts()
    core.happens(ev.ClientDetached(), ev.TextReceived(text="what time is it"))
    assert core.requests == []
    core.happens(ev.ClientAttached())
    assert core.requests == [["user: what time is it"]]


def test_speech_in_progress_ends_with_its_link() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.ClientDetached(), ev.ClientAttached())
    core.happens(ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=0.48))
    assert core.c.stale == 1
    core.says("what time is it")
    assert core.requests == [["user: what time is it"]]


def test_a_welcome_waits_until_somebody_is_there_to_hear_it() -> None:
    core = Core(welcome="Hello there.")
    core.happens(ev.ConversationStartRequested(), ev.ListenerOpened())
    core.passes(20)
    assert core.state is S.INITIALIZING
    core.happens(ev.ClientAttached())
    assert core.state is S.PREPARING_WELCOME


def test_a_welcome_waits_until_the_ear_is_open() -> None:
    core = Core(welcome="Hello there.")
    core.happens(ev.ConversationStartRequested(), ev.ClientAttached())
    assert core.state is S.INITIALIZING
    core.happens(ev.ListenerOpened())
    assert core.state is S.PREPARING_WELCOME


def test_a_conversation_that_somebody_has_joined_is_no_longer_counted_as_idle() -> None:
    core = Core(session_idle_s=100.0)
    core.happens(ev.ConversationStartRequested(), ev.ListenerOpened())
    core.passes(50)
    core.happens(ev.ClientAttached())
    core.passes(60)
    assert core.state is S.LISTENING


def test_a_conversation_that_nobody_joins_ends_with_the_session() -> None:
    core = Core(session_idle_s=100.0)
    core.happens(ev.ConversationStartRequested(), ev.ListenerOpened())
    core.passes(101)
    assert core.c.ended is Reason.IDLE
    assert CloseListener(reason=Reason.IDLE) in core.done


def test_a_session_without_grace_ends_with_its_link() -> None:
    core = Core(reconnect_grace_s=0.0).starts()
    core.happens(ev.ClientDetached())
    core.passes(0.01)
    assert core.c.ended is Reason.CLIENT_DISCONNECTED


def test_a_session_whose_link_broke_ends_with_nobody_there() -> None:
    core = Core().starts()
    core.happens(ev.TransportFailed())
    assert core.c.ended is Reason.TRANSPORT_ERROR
    assert not core.c.attached


def test_an_idle_session_ends_too_when_its_client_does_not_come_back() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ClientDetached())
    core.passes(31)
    assert core.states == [S.IDLE, S.ENDED]
    assert core.c.ended is Reason.CLIENT_DISCONNECTED


def test_a_recogniser_that_is_down_keeps_its_back_off_while_nobody_is_there() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed(), ev.ClientDetached())
    assert core.state is S.ERROR
    core.passes(3)
    assert core.state is S.LISTENING
    assert not core.did(StartStt)[1:]
    core.happens(ev.ClientAttached())
    assert len(core.did(StartStt)) == 2


# --- Shutdown ---------------------------------------------------------------------------------------------------------------


def test_a_shutdown_lets_the_turn_finish_and_then_ends() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.is_answering("It is late. ")
    core.happens(ev.ShutdownRequested(deadline_s=10.0))
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(1.0)
    core.is_played()
    assert core.c.ended is Reason.SHUTDOWN
    assert core.told(TurnEnded) == [TurnEnded(turn=1, reason=None, heard="It is late.")]


def test_a_shutdown_waits_no_longer_than_its_deadline() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.happens(ev.ShutdownRequested(deadline_s=5.0))
    core.passes(4.9)
    assert core.state is S.PROCESSING_SPEECH
    core.passes(0.2)
    assert core.c.ended is Reason.SHUTDOWN


@pytest.mark.parametrize("state", [S.IDLE, S.INITIALIZING, S.LISTENING, S.ERROR])
def test_a_shutdown_with_nothing_under_way_is_immediate(state: State) -> None:
    core = Core()
    core.happens(ev.ClientAttached())
    if state is not S.IDLE:
        core.happens(ev.ConversationStartRequested())
    if state in {S.LISTENING, S.ERROR}:
        core.happens(ev.ListenerOpened())
    if state is S.ERROR:
        core.happens(ev.FailureRaised())
    assert core.state is state
    core.happens(ev.ShutdownRequested(deadline_s=10.0))
    assert core.c.ended is Reason.SHUTDOWN


def test_a_shutdown_lets_the_user_finish_and_be_answered() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.ShutdownRequested(deadline_s=10.0))
    core.pauses()
    core.is_understood("what time is it")
    core.answers("It is late. ")
    assert core.c.ended is Reason.SHUTDOWN
    assert core.history[-1] == "agent: It is late."


def test_a_shutdown_waits_for_what_is_being_understood() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.happens(ev.ShutdownRequested(deadline_s=10.0))
    assert core.state is S.LISTENING
    core.is_understood("")
    assert core.c.ended is Reason.SHUTDOWN


def test_a_shutdown_waits_for_what_was_said_while_an_answer_was_stopped() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.happens(ev.ShutdownRequested(deadline_s=10.0))
    core.speaks(confirmed=False)
    core.pauses()
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 0.0)
    assert core.state is S.LISTENING
    core.is_understood("in Ankara")
    core.answers("Noon. ")
    assert core.c.ended is Reason.SHUTDOWN
    assert core.history[-1] == "agent: Noon."


def test_a_shutdown_does_not_drop_an_answer_that_is_owed() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.happens(ev.ShutdownRequested(deadline_s=10.0))
    core.speaks()
    core.stopped_at(1, 0.0)
    core.pauses()
    core.is_understood("")
    assert core.state is S.PROCESSING_SPEECH
    core.answers("It is late. ")
    assert core.c.ended is Reason.SHUTDOWN


def test_a_shutdown_begins_nothing_that_nobody_has_asked_for() -> None:
    core = Core(apology="I am sorry.").starts()
    core.says("what time is it")
    core.happens(ev.SayRequested(text="Dinner."), ev.ShutdownRequested(deadline_s=10.0))
    core.happens(ev.LanguageModelFailed(turn=1))
    assert core.c.ended is Reason.SHUTDOWN
    assert core.spoken == []


def test_a_shutdown_owes_nobody_who_is_not_there_an_answer() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.happens(ev.ClientDetached(), ev.ShutdownRequested(deadline_s=10.0))
    assert core.c.ended is Reason.SHUTDOWN


def test_a_shutdown_waits_for_nobody_who_is_not_there() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.happens(ev.ShutdownRequested(deadline_s=10.0), ev.ClientDetached())
    assert core.c.ended is Reason.SHUTDOWN


# --- Silence ----------------------------------------------------------------------------------------------------------------


def test_what_the_user_says_starts_the_count_of_silence_anew() -> None:
    core = Core(idle_end_s=60.0).starts()
    for _ in range(3):
        core.passes(50)
        core.says("hello")
        core.stopped_at(core.turn, 0.0)
        core.answers("Hello. ")
    assert core.state is S.LISTENING
    core.passes(61)
    assert core.state is S.IDLE


def test_sounds_without_words_do_not_keep_a_conversation_alive() -> None:
    core = Core(idle_end_s=60.0).starts()
    for _ in range(7):
        core.passes(10)
        core.speaks(confirmed=False)
        core.pauses(too_short=True)
    assert core.state is S.IDLE
    assert core.told(StateChanged)[-1].reason is Reason.IDLE


def test_nobody_is_idle_while_speaking_or_waiting_to_be_understood() -> None:
    core = Core(idle_end_s=5.0).starts()
    core.speaks()
    core.passes(20)
    core.pauses()
    core.passes(7)
    assert core.state is S.LISTENING
    core.is_understood("that took long")
    assert core.state is S.PROCESSING_SPEECH


def test_nobody_is_idle_whose_earlier_words_are_still_being_understood() -> None:
    core = Core(idle_end_s=5.0).starts()
    core.speaks()
    core.pauses()
    core.speaks(confirmed=False)
    core.pauses(too_short=True)
    core.passes(8)
    assert core.state is S.LISTENING
    core.is_understood("that took long", utterance=1)
    assert core.state is S.PROCESSING_SPEECH


def test_a_user_who_answers_is_prompted_again_later() -> None:
    core = Core(idle_prompts=("Are you there?",), idle_prompt_s=20.0).starts()
    core.passes(21)
    core.answers("Are you there?")
    core.says("yes")
    core.answers("Good. ")
    core.passes(21)
    assert core.spoken == ["Are you there?", "Are you there?"]


def test_a_client_that_is_away_is_neither_prompted_nor_idle() -> None:
    core = Core(idle_prompts=("Are you there?",), idle_prompt_s=5.0, idle_end_s=10.0).starts()
    core.happens(ev.ClientDetached())
    core.passes(25)
    assert core.spoken == []
    assert core.state is S.LISTENING


@pytest.mark.parametrize("wait", [Wait.IDLE, Wait.SESSION_IDLE])
def test_patience_can_be_without_end(wait: Wait) -> None:
    core = Core(idle_end_s=None, session_idle_s=None)
    core.happens(ev.ClientAttached())
    if wait is Wait.IDLE:
        core.starts()
    core.passes(1e6)
    assert core.state is (S.LISTENING if wait is Wait.IDLE else S.IDLE)


# --- Deadlines --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", list(Wait))
def test_a_deadline_that_was_moved_or_cleared_has_not_passed(wait: Wait) -> None:
    core = Core(idle_end_s=None, session_idle_s=None).starts()
    before = core.c
    assert core.happens(ev.DeadlinePassed(wait=wait)) == []
    assert core.c.stale == before.stale + 1


# --- Failures ---------------------------------------------------------------------------------------------------------------


def test_stt_that_fails_while_the_agent_speaks_is_started_again_in_the_background() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.is_answering("It is late. ")
    core.happens(ev.RecognizerFailed())
    assert core.state is S.PLAYING_RESPONSE
    core.passes(2.1)
    assert core.did(StartStt)[-1].retry
    core.happens(ev.RecognizerReady())
    core.is_generated(1.0)
    core.is_played()
    assert core.state is S.LISTENING


def test_stt_still_down_when_the_turn_ends_is_an_error_until_its_back_off_is_over() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.is_answering("It is late. ")
    core.is_generated(1.0)
    core.happens(ev.RecognizerFailed())
    core.is_played()
    assert core.state is S.ERROR
    assert core.due(Wait.RECOVERY) == pytest.approx(1.9)
    core.passes(2)
    assert core.state is S.LISTENING


def test_an_utterance_during_which_the_recogniser_was_down_is_not_awaited() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.is_answering("It is late. ")
    core.speaks(confirmed=False)
    core.happens(ev.RecognizerFailed())
    core.passes(2.1)
    core.happens(ev.RecognizerReady())
    core.is_generated(1.0)
    core.is_played()
    core.pauses()
    assert core.c.awaited == ()
    assert core.state is S.LISTENING
    core.passes(30)
    assert core.errors == ["stt_failed"]


def test_an_utterance_that_the_recogniser_follows_after_all_is_awaited() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed())
    core.speaks()
    core.passes(2.1)
    core.pauses()
    core.is_understood("what time is it")
    assert core.requests == [["user: what time is it"]]


def test_an_utterance_that_no_recogniser_took_is_not_awaited() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=0.48, taken=False))
    assert core.c.awaited == ()
    assert [n.utterance for n in core.told(NothingHeard)] == [1]


def test_the_user_who_goes_on_speaking_while_stt_is_down_is_not_talked_over() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.SayRequested(text="By the way."))
    core.happens(ev.RecognizerFailed())
    core.passes(2.1)
    core.happens(ev.RecognizerReady())
    assert core.state is S.LISTENING
    assert core.c.floor is Floor.SPEAKING
    assert core.spoken == []
    core.pauses()
    assert [n.utterance for n in core.told(NothingHeard)] == [1]
    assert core.spoken == ["By the way."]


def test_a_recogniser_that_waits_for_its_restart_is_not_restarted_for_nobody() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.is_answering("It is late. ")
    core.happens(ev.RecognizerFailed(), ev.ClientDetached())
    core.passes(10)
    assert len(core.did(StartStt)) == 1
    core.happens(ev.ClientAttached())
    assert len(core.did(StartStt)) == 2


def test_speech_in_progress_is_forgotten_with_a_failure() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.speaks()
    core.happens(ev.FailureRaised())
    core.passes(1.1)
    assert core.state is S.LISTENING
    core.is_understood("what time is it", utterance=1)
    core.happens(ev.SpeechStopped(utterance=2, speech_s=1.0, silence_s=0.48))
    assert core.c.stale == 2
    assert core.requests == []


LATE = [
    ev.ListenerOpened(),
    ev.ListenerFailed(critical=True),
    ev.SpeechStarted(utterance=7),
    ev.SpeechConfirmed(utterance=7),
    ev.SpeechStopped(utterance=7, speech_s=1.0, silence_s=0.48),
    ev.RecognizerReady(),
    ev.RecognizerFailed(critical=True),
    ev.TranscriptUpdated(utterance=7, text="tea"),
    ev.TranscriptFinished(utterance=7, text="tea"),
    ev.PhraseReady(turn=7, index=0, text="So. "),
    ev.PlaybackStopped(turn=7, played_s=1.0),
    ev.PlaybackProgressed(turn=7, played_s=1.0),
]


@pytest.mark.parametrize("event", LATE, ids=lambda event: type(event).__name__)
def test_facts_of_a_conversation_that_has_ended_are_dropped_and_counted(event: ev.Event) -> None:
    core = Core().starts()
    core.happens(ev.ConversationEndRequested())
    before = core.c
    assert core.happens(event) == []
    expected = attrs.evolve(before, stale=before.stale + 1)
    if isinstance(event, ev.PlaybackProgressed):
        expected = attrs.evolve(expected, reports_playback=True)
    assert core.c == expected
    core.happens(ev.ConversationStartRequested(), ev.ListenerOpened())
    assert core.state is S.LISTENING


def test_a_stuck_recogniser_is_noticed_though_the_user_goes_on_speaking() -> None:
    core = Core().starts()
    for _ in range(4):
        core.speaks()
        core.pauses()
        core.passes(4)
    assert core.errors == ["stt_failed"]


def test_a_longer_back_off_is_not_cut_short_by_another_failure() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed(), ev.FailureRaised())
    core.passes(1.5)
    assert core.state is S.ERROR
    core.passes(0.5)
    assert core.state is S.LISTENING


def test_a_recogniser_that_is_down_fails_once() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed(), ev.RecognizerFailed(critical=True))
    assert core.c.ended is None
    assert core.c.failures.stt == 1
    assert core.c.stale == 1


def test_an_answer_that_nobody_heard_does_not_prove_the_model() -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    core.says("hello")
    core.happens(ev.LanguageModelFailed(turn=1))
    core.stopped_at(1, 0.0)
    core.says("hello")
    core.writes("Hello. ")
    core.happens(ev.InterruptRequested())
    assert core.c.failures.llm == 1


def test_an_answer_that_nobody_heard_does_not_prove_the_voice() -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    core.says("hello")
    core.writes("Hello. ")
    core.happens(ev.SynthesizerFailed(turn=1))
    core.is_generated(0.0)
    core.says("hello")
    core.writes("Hello. ")
    core.happens(ev.InterruptRequested())
    assert core.c.failures.tts == 1


def test_speech_over_an_error_ends_with_its_link() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed())
    core.speaks()
    core.happens(ev.ClientDetached())
    assert core.c.floor is Floor.SILENT


def test_failures_with_a_success_between_them_are_not_in_a_row() -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    for _ in range(4):
        core.happens(ev.RecognizerFailed())
        core.passes(3)
        core.says("hello")  # A transcript: STT works.
        core.happens(ev.LanguageModelFailed(turn=core.turn))
        core.stopped_at(core.turn, 0.0)
        core.says("hello")
        core.answers("Hello. ")  # A turn that was heard: model and voice work.
        core.says("hello")
        core.writes("Hello. ")
        core.happens(ev.SynthesizerFailed(turn=core.turn))
        core.is_generated(0.0)
        core.says("hello")
        core.answers("Hello. ")
    assert core.c.ended is None


def test_an_answer_that_was_heard_in_part_proves_model_and_voice() -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    for _ in range(4):
        core.says("hello")
        core.happens(ev.LanguageModelFailed(turn=core.turn))
        core.stopped_at(core.turn, 0.0)
        core.says("hello")
        turn = core.is_answering("Hello to you. ")
        core.happens(ev.InterruptRequested())
        core.stopped_at(turn, 0.5)
    assert core.c.ended is None


def test_a_stage_that_fails_twice_in_one_turn_failed_once() -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    core.says("hello")
    core.writes("Hello. ")
    for event in (ev.SynthesizerFailed(turn=1), ev.LanguageModelFailed(turn=1)) * 2:
        core.happens(event)
    assert core.c.ended is None
    assert core.errors == ["tts_failed", "llm_failed"]
    assert core.c.stale == 2


def test_a_spoken_apology_does_not_prove_the_model() -> None:
    core = Core(apology="I am sorry.", limits=Limits(same_failures=3)).starts()
    for _ in range(3):
        assert core.c.ended is None
        core.says("hello")
        failed = core.turn
        core.happens(ev.LanguageModelFailed(turn=failed))
        if core.c.ended is None:
            core.stopped_at(failed, 0.0)
            core.answers("I am sorry.")
    assert core.c.ended is Reason.CRITICAL_ERROR


def test_half_an_answer_does_not_prove_the_model() -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    core.says("hello")
    core.writes("Hello. ")
    core.happens(ev.LanguageModelFailed(turn=1))
    core.sounds(1.0)
    core.is_generated(1.0)
    core.is_played()
    core.says("hello")
    core.happens(ev.LanguageModelFailed(turn=2))
    assert core.c.ended is Reason.CRITICAL_ERROR


def test_an_answer_without_a_word_does_not_prove_the_model() -> None:
    core = Core(limits=Limits(same_failures=2), output=Output.TEXT).starts()
    core.says("hello")
    core.happens(ev.LanguageModelFailed(turn=1))
    core.stopped_at(1, 0.0)
    core.says("hello")
    core.is_generated(0.0)
    assert core.c.failures.llm == 1
    core.says("hello")
    core.writes("Hello. ")
    core.is_generated(0.0)
    assert core.c.failures.llm == 0


def test_an_ear_that_broke_is_closed_and_opened_again_and_tells_only_once() -> None:
    core = Core().starts()
    core.happens(ev.ListenerFailed(), ev.ListenerFailed())
    assert core.errors == ["vad_failed"]
    assert core.c.failures.vad == 1
    core.passes(1.1)
    assert len(core.did(OpenListener)) == 2
    core.happens(ev.ListenerOpened())
    core.says("hello")
    assert core.state is S.PROCESSING_SPEECH


def test_another_failure_while_the_ear_opens_does_not_open_it_twice() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.FailureRaised())
    core.passes(1.1)
    assert core.state is S.LISTENING
    assert len(core.did(OpenListener)) == 1
    assert core.due(Wait.INITIALIZE) is not None


def test_an_overload_ends_the_session_because_facts_may_be_lost() -> None:
    core = Core().starts()
    core.happens(ev.SessionOverloaded(queue="inbox"))
    assert core.c.ended is Reason.OVERLOADED
    assert core.told(ErrorRaised)[0].code == "overloaded"


def test_what_the_user_says_about_nothing_is_not_in_errors() -> None:
    secret = "my card number is 4111"
    core = Core(limits=Limits(text_chars=5)).starts()
    core.happens(ev.TextReceived(text=secret), ev.SayRequested(text=secret))
    assert core.told(ErrorRaised)
    assert not any(secret in notice.message for notice in core.told(ErrorRaised))
    assert secret not in repr(core.c)
    assert secret not in repr(core.journal)
    assert secret not in repr(core.did(StartReply))
