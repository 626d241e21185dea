"""Who has the floor: interruptions, going on, echo, typed text, commit, mute, and what waits to be said."""

from __future__ import annotations

import pytest
from core_driver import Core, kinds

from flare_actors.conversation import BargeIn, Floor, Limits, Reason, State, Timeouts
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import (
    CancelReply,
    CommitUtterance,
    FlushPlayback,
    SetMute,
    StartReply,
    StartStt,
)
from flare_actors.conversation.notices import (
    NothingHeard,
    PlaybackCleared,
    StateChanged,
    TranscriptReceived,
    TurnEnded,
    TurnMetrics,
    TurnStarted,
    UserSpeechStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.states import TurnKind, Wait

S = State


def answering(*phrases: str, **choices: object) -> Core:
    """The agent is heard answering a question; each phrase lasts a second."""
    core = Core(**choices).starts()
    core.says("what time is it")
    core.is_answering(*(phrases or ("It is late. ", "Very late indeed. ")))
    assert core.state is S.PLAYING_RESPONSE
    return core


# --- Barge-in --------------------------------------------------------------------------------------------------------------


def test_confirmed_speech_over_an_answer_cancels_it_flushes_it_and_listens() -> None:
    core = answering()
    number = core.speaks(confirmed=False)
    assert core.state is S.PLAYING_RESPONSE
    commands = core.happens(ev.SpeechConfirmed(utterance=number))
    assert kinds(commands) == ["FlushPlayback", "CancelReply", "PlaybackCleared", "StateChanged", "StartStt"]
    assert CancelReply(turn=1, reason=Reason.BARGE_IN) in commands
    assert FlushPlayback(turn=1) in commands
    assert core.told(PlaybackCleared) == [PlaybackCleared(turn=1, reason=Reason.BARGE_IN)]
    assert core.state is S.LISTENING
    assert core.c.floor is Floor.SPEAKING


def test_speech_over_the_welcome_interrupts_it_too() -> None:
    core = Core(welcome="Hello there.").starts()
    core.is_answering("Hello there.")
    core.speaks()
    assert core.state is S.LISTENING
    core.stopped_at(1, 0.6)
    core.pauses()
    core.is_understood("what time is it")
    assert core.history == ["agent: Hello", "user: what time is it"]


def test_an_interruption_that_is_not_confirmed_changes_nothing() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.pauses(speech_s=0.27)
    assert core.state is S.PLAYING_RESPONSE
    # It was a cough, or talk in the room.
    core.is_understood("")
    assert core.told(NothingHeard) == []
    core.is_generated(2.0)
    core.is_played()
    assert core.history == ["user: what time is it", "agent: It is late. Very late indeed."]


def test_the_history_has_what_was_heard_of_an_interrupted_answer_and_nothing_more() -> None:
    core = answering()
    core.speaks()
    core.stopped_at(1, 1.5)
    assert core.told(TurnEnded) == [TurnEnded(turn=1, reason=Reason.BARGE_IN, heard="It is late. Very")]
    core.pauses()
    core.is_understood("thanks")
    assert core.requests[-1] == ["user: what time is it", "assistant: It is late. Very", "user: thanks"]


def test_the_words_that_interrupted_are_answered() -> None:
    core = answering()
    core.speaks()
    core.stopped_at(1, 0.0)
    core.pauses()
    core.is_understood("never mind")
    assert core.state is S.PROCESSING_SPEECH
    core.answers("As you like. ")
    assert [turn.kind for turn in core.told(TurnStarted)] == [TurnKind.RESPONSE, TurnKind.RESPONSE]


def test_a_request_waits_for_the_word_on_what_was_heard() -> None:
    core = answering()
    core.says("thanks")
    assert core.state is S.PROCESSING_SPEECH
    assert len(core.did(StartReply)) == 1
    core.stopped_at(1, 1.0)
    assert core.requests[-1] == ["user: what time is it", "assistant: It is late.", "user: thanks"]


def test_a_request_does_not_wait_for_ever_for_what_was_heard() -> None:
    core = answering()
    core.says("thanks")
    assert core.due(Wait.SETTLE) == pytest.approx(1.0)
    core.passes(1.1)
    assert core.requests[-1] == ["user: what time is it thanks"]
    assert core.heard(1) == ""
    core.stopped_at(1, 2.0)
    assert core.c.stale == 1


def test_an_answer_interrupted_by_a_sound_without_words_is_not_given_again() -> None:
    core = answering()
    core.speaks()
    core.stopped_at(1, 1.0)
    core.pauses()
    core.is_understood("")
    assert core.state is S.LISTENING
    assert core.told(NothingHeard) == [NothingHeard(utterance=2)]
    assert len(core.requests) == 1


def test_the_stop_button_stops_the_answer_and_nothing_is_owed() -> None:
    core = answering()
    core.happens(ev.InterruptRequested())
    assert core.state is S.LISTENING
    assert core.told(StateChanged)[-1].reason is Reason.BARGE_IN
    core.stopped_at(1, 1.0)
    core.passes(5)
    assert core.state is S.LISTENING
    assert core.history[-1] == "agent: It is late."


@pytest.mark.parametrize("event", [ev.InterruptRequested(), ev.CommitRequested()])
def test_buttons_pressed_too_late_are_harmless(event: ev.Event) -> None:
    core = Core().starts()
    before = core.c
    core.happens(event)
    if isinstance(event, ev.CommitRequested):
        assert core.c.committing
        core.happens(ev.NothingCommitted())
    assert core.c == before
    assert core.errors == []


def test_eight_interruptions_before_any_account_comes_are_all_accounted_for() -> None:
    core = Core().starts()
    for n in range(12):
        core.happens(ev.SayRequested(text=f"number {n}"))
        core.is_answering(f"number {n}")
        core.happens(ev.InterruptRequested())
    assert len(core.c.settling) == 8
    for n in range(12):
        core.stopped_at(n + 1, 1.0)
    assert {notice.turn for notice in core.told(TurnEnded)} == set(range(1, 13))
    core.says("hello")
    assert core.c.settling == ()


def test_of_more_interruptions_than_are_kept_open_the_oldest_is_closed_with_its_own_report() -> None:
    core = Core().starts()
    for n in range(9):
        core.happens(ev.SayRequested(text=f"number {n}"))
        core.is_answering(f"number {n}")
        if n == 0:
            core.happens(ev.PlaybackProgressed(turn=1, played_s=1.0))
        core.happens(ev.InterruptRequested())
    assert core.heard(1) == "number 0"


@pytest.mark.parametrize("barge_in", list(BargeIn))
def test_the_ways_of_barging_in_that_are_said_to_interrupt_do_so_and_no_others(barge_in: BargeIn) -> None:
    core = answering(barge_in=barge_in)
    core.speaks()
    assert (core.state is S.LISTENING) == barge_in.interrupts


def test_words_that_interrupt_once_they_are_understood_are_no_failure() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.pauses()
    commands = core.is_understood("and tomorrow")
    assert CancelReply(turn=1, reason=Reason.BARGE_IN) in commands
    changed = [notice for notice in core.told(StateChanged) if notice.old is S.PLAYING_RESPONSE]
    assert [(notice.new, notice.reason) for notice in changed] == [(S.LISTENING, Reason.BARGE_IN)]
    assert not any(command.retry for command in core.did(StartStt))


# --- Barge-in off -----------------------------------------------------------------------------------------------------------


def test_with_barge_in_off_an_answer_is_finished_and_words_over_it_do_not_count() -> None:
    core = answering(barge_in=BargeIn.OFF)
    core.speaks()
    assert core.state is S.PLAYING_RESPONSE
    core.pauses()
    core.is_understood("stop")
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(2.0)
    core.is_played()
    assert core.state is S.LISTENING
    assert core.history == ["user: what time is it", "agent: It is late. Very late indeed."]


def test_with_barge_in_off_words_that_go_on_after_the_answer_are_answered_after_it() -> None:
    core = answering(barge_in=BargeIn.OFF)
    core.speaks()
    core.is_generated(2.0)
    core.is_played()
    core.pauses()
    core.is_understood("and tomorrow")
    assert core.requests[-1] == [
        "user: what time is it",
        "assistant: It is late. Very late indeed.",
        "user: and tomorrow",
    ]


def test_with_barge_in_later_an_answer_is_finished_and_words_over_it_are_answered_after_it() -> None:
    core = answering(barge_in=BargeIn.LATER)
    core.speaks()
    core.pauses()
    core.is_understood("and tomorrow")
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(2.0)
    core.is_played()
    assert core.requests[-1] == [
        "user: what time is it",
        "assistant: It is late. Very late indeed.",
        "user: and tomorrow",
    ]


def test_with_barge_in_later_an_answer_is_not_taken_back_before_it_is_heard_either() -> None:
    core = Core(barge_in=BargeIn.LATER).starts()
    core.says("what time is it")
    core.speaks()
    core.is_answering("It is late. ")
    core.pauses()
    core.is_understood("and tomorrow")
    assert core.did(CancelReply) == []
    core.is_generated(1.0)
    core.is_played()
    assert core.requests[-1][-1] == "user: and tomorrow"


def test_words_said_while_the_agent_may_not_be_interrupted_come_after_its_own_in_the_history() -> None:
    core = Core(barge_in=BargeIn.OFF).starts()
    core.happens(ev.SayRequested(text="Dinner is ready."))
    assert core.state is S.PREPARING_RESPONSE
    core.says("what time is it")
    assert core.state is S.PREPARING_RESPONSE
    core.answers("Dinner is ready.")
    assert core.state is S.PROCESSING_SPEECH
    assert core.history == ["agent: Dinner is ready.", "user: what time is it"]
    assert core.requests == [["assistant: Dinner is ready.", "user: what time is it"]]


def test_words_that_come_before_a_request_is_built_are_in_it_and_answered_once() -> None:
    core = answering(barge_in=BargeIn.OFF)
    core.happens(ev.InterruptRequested(), ev.SayRequested(text="Dinner."))
    core.speaks(confirmed=False)
    core.pauses()
    core.happens(ev.TextReceived(text="one"))
    core.is_understood("two")
    core.stopped_at(2, 0.0)
    core.stopped_at(1, 1.0)
    assert core.requests[-1][-1] == "user: one two"
    core.answers("Three. ")
    assert core.state is S.LISTENING
    assert len(core.requests) == 2
    assert core.history[-3:] == ["user: one", "user: two", "agent: Three."]


def test_with_barge_in_off_a_failed_answer_does_not_take_a_newer_question_with_it() -> None:
    core = Core(barge_in=BargeIn.OFF).starts()
    core.says("what time is it")
    core.speaks(confirmed=False)
    core.pauses()
    core.writes("It is late. ")
    core.happens(ev.AudioStarted(turn=1))
    core.is_understood("and where am I")
    core.passes(Timeouts().generation_s + 1)
    core.stopped_at(1, 0.0)
    assert core.requests[-1][-1].endswith("and where am I")


# --- Going on before the answer is heard ------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_going_on_before_anything_is_heard_merges_both_stretches_into_one_question(begun: bool) -> None:
    core = Core().starts()
    core.says("what time is it")
    if begun:
        core.writes("It is late. ")
    core.speaks()
    assert core.state is S.LISTENING
    assert CancelReply(turn=1, reason=Reason.BARGE_IN) in core.done
    core.stopped_at(1, 0.0)
    core.pauses()
    core.is_understood("in Ankara")
    assert core.requests[-1] == ["user: what time is it in Ankara"]
    core.answers("Noon. ")
    assert core.history == ["user: what time is it", "user: in Ankara", "agent: Noon."]
    assert [notice.heard for notice in core.told(TurnEnded)] == ["", "Noon."]


def test_a_sound_without_words_does_not_cost_the_answer_that_was_owed() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.speaks()
    core.stopped_at(1, 0.0)
    core.pauses()
    core.is_understood("")
    assert core.state is S.PROCESSING_SPEECH
    assert core.requests == [["user: what time is it"]] * 2
    core.answers("It is late. ")
    assert core.history == ["user: what time is it", "agent: It is late."]


def test_an_answer_asked_for_again_starts_anew_though_a_sound_of_it_had_left() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.writes("It is late. ")
    core.speaks()
    core.stopped_at(1, 0.7)  # Its first audio was on the way, unknown to anybody here.
    assert core.heard(1) == "It is"
    core.pauses()
    core.is_understood("")
    assert core.requests[-1] == ["user: what time is it"]


def test_an_unconfirmed_sound_while_the_answer_is_prepared_does_not_stop_it() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.speaks(confirmed=False)
    core.pauses(too_short=True)
    assert core.state is S.PROCESSING_SPEECH
    core.answers("It is late. ")
    assert core.history[-1] == "agent: It is late."


def test_words_understood_late_take_an_unheard_answer_back() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.says("in Ankara", confirmed=False)
    core.stopped_at(1, 0.0)
    assert core.state is S.PROCESSING_SPEECH
    assert core.requests[-1] == ["user: what time is it in Ankara"]


def test_two_utterances_in_a_row_are_one_question_when_the_second_ends_before_the_first_is_understood() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.speaks()
    core.pauses()
    core.is_understood("what time is it", utterance=1)
    assert core.state is S.LISTENING
    core.is_understood("in Ankara", utterance=2)
    assert core.requests == [["user: what time is it in Ankara"]]


def test_an_answer_waits_while_the_user_is_known_to_go_on() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.speaks()
    core.is_understood("what time is it", utterance=1)
    assert core.state is S.LISTENING
    core.pauses()
    core.is_understood("in Ankara", utterance=2)
    assert core.requests == [["user: what time is it in Ankara"]]


def test_a_sound_that_is_not_confirmed_does_not_delay_an_answer() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.speaks(confirmed=False)
    core.is_understood("what time is it", utterance=1)
    assert core.state is S.PROCESSING_SPEECH


def test_transcripts_come_in_order_so_an_earlier_one_is_no_longer_awaited() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.speaks()
    core.pauses()
    core.is_understood("in Ankara", utterance=2)
    assert core.c.awaited == ()
    assert core.state is S.PROCESSING_SPEECH
    core.is_understood("what time is it", utterance=1)
    assert core.c.stale == 1


# --- Hearing ----------------------------------------------------------------------------------------------------------------


def test_of_more_than_eight_utterances_that_nobody_has_understood_the_oldest_is_given_up() -> None:
    core = Core().starts()
    for _ in range(9):
        core.speaks()
        core.pauses()
    core.is_understood("what time is it", utterance=1)
    assert core.c.stale == 1
    core.is_understood("in Ankara", utterance=2)
    assert core.history == ["user: in Ankara"]


def test_the_client_is_told_when_the_user_begins_and_ends() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses(speech_s=1.25)
    assert core.told(UserSpeechStarted) == [UserSpeechStarted(utterance=1)]
    assert core.told(UserSpeechStopped) == [UserSpeechStopped(utterance=1, speech_s=1.25)]


def test_partial_transcripts_are_passed_on_until_the_final_one() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="what"))
    core.pauses()
    core.happens(ev.TranscriptUpdated(utterance=1, text="what time"))
    core.is_understood("what time is it")
    assert core.happens(ev.TranscriptUpdated(utterance=1, text="late")) == []
    got = [(notice.text, notice.final) for notice in core.told(TranscriptReceived)]
    assert got == [("what", False), ("what time", False), ("what time is it", True)]


def test_an_utterance_too_short_for_speech_counts_as_nothing() -> None:
    core = Core().starts()
    core.speaks(confirmed=False)
    core.pauses(speech_s=0.1, too_short=True)
    assert core.told(NothingHeard) == [NothingHeard(utterance=1)]
    assert core.state is S.LISTENING
    assert core.c.awaited == ()


def test_a_transcript_longer_than_the_limit_is_cut() -> None:
    core = Core(limits=Limits(text_chars=10)).starts()
    core.says("abcdefghijklmnop")
    assert core.requests == [["user: abcdefghij"]]


def test_ends_and_confirmations_of_an_earlier_utterance_are_not_the_present_ones() -> None:
    core = Core().starts()
    core.speaks(confirmed=False)
    core.happens(ev.SpeechStarted(utterance=2))
    core.happens(ev.SpeechConfirmed(utterance=1), ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=0.48))
    core.happens(ev.SpeechStarted(utterance=1))
    assert core.c.stale == 3
    assert core.c.floor is Floor.SPEAKING
    assert not core.c.confirmed
    core.pauses()
    assert [awaited.utterance for awaited in core.c.awaited] == [2]


def test_an_utterance_of_which_the_end_is_never_told_ends_by_itself() -> None:
    core = Core().starts()
    core.speaks()
    core.passes(61)
    assert CommitUtterance() in core.done
    assert core.c.floor is Floor.SILENT
    core.is_understood("what time is it")
    assert core.state is S.PROCESSING_SPEECH
    core.is_answering("It is late. ")
    assert core.told(TurnMetrics)[0].endpoint_wait_s == 0.0, "nobody knows since when the user was silent"


def test_speech_from_an_ear_that_was_closed_is_not_heard() -> None:
    core = Core().starts()
    core.happens(ev.ListenerFailed())
    assert core.happens(ev.SpeechStarted(utterance=1)) == []
    assert core.c.floor is Floor.SILENT


# --- Echo -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["playing", "just played", "typed"])
def test_a_transcript_that_repeats_the_agents_own_words_is_its_echo(when: str) -> None:
    core = answering("It is very late indeed, ", "I am afraid. ")
    if when != "just played":
        core.speaks()
    core.is_generated(2.0) if core.c.turn is not None else None
    if when == "just played":
        core.is_played()
        core.speaks()
    else:
        core.stopped_at(1, 1.4)
    if when == "typed":
        core.happens(ev.TextReceived(text="go on"))
    core.pauses()
    core.is_understood("is very late indeed I am")
    assert not any("late" in entry for entry in core.history if entry.startswith("user"))
    assert core.state is (S.PROCESSING_SPEECH if when == "typed" else S.LISTENING)
    assert [n for n in core.told(TranscriptReceived) if n.final][1:] == []


def test_echo_is_known_though_the_speaker_has_not_told_yet_what_was_played() -> None:
    core = answering("It is very late indeed. ")
    core.says("it is very late indeed")
    assert core.history == ["user: what time is it"]


def test_words_long_after_the_agents_are_the_users_even_if_they_repeat_them() -> None:
    core = answering("It is very late indeed. ")
    core.is_generated(1.0)
    core.is_played()
    core.passes(2)
    core.says("it is very late indeed")
    assert core.history[-1] == "user: it is very late indeed"


def test_what_the_agent_said_in_an_earlier_conversation_has_no_echo_in_the_next() -> None:
    core = Core().starts()
    core.says("count")
    core.answers("One two three four. ")
    core.happens(ev.ConversationEndRequested())
    core.starts()
    core.happens(ev.SayRequested(text="Hello again."))
    core.is_answering("Hello again.")
    core.says("one two three four", confirmed=False)
    assert core.history[-1] == "user: one two three four"


def test_without_the_guard_echo_is_taken_for_words() -> None:
    core = answering("It is very late indeed. ", barge_in=BargeIn.FULL)
    core.speaks()
    core.stopped_at(1, 1.0)
    core.pauses()
    core.is_understood("it is very late indeed")
    assert core.history[-1] == "user: it is very late indeed"


# --- Typed text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.LISTENING, S.PROCESSING_SPEECH, S.PREPARING_RESPONSE, S.PLAYING_RESPONSE])
def test_text_is_a_confirmed_barge_in_with_that_text(state: State) -> None:
    core = Core().starts()
    if state is not S.LISTENING:
        core.says("what time is it")
    if state in {S.PREPARING_RESPONSE, S.PLAYING_RESPONSE}:
        core.writes("It is late. ")
    if state is S.PLAYING_RESPONSE:
        core.sounds(1.0)
    assert core.state is state
    core.happens(ev.TextReceived(text=" and where am I "))
    if state is not S.LISTENING:
        core.stopped_at(1, 1.0 if state is S.PLAYING_RESPONSE else 0.0)
    assert core.state is S.PROCESSING_SPEECH
    assert (
        core.requests[-1]
        == {
            S.LISTENING: ["user: and where am I"],
            S.PROCESSING_SPEECH: ["user: what time is it and where am I"],
            S.PREPARING_RESPONSE: ["user: what time is it and where am I"],
            S.PLAYING_RESPONSE: ["user: what time is it", "assistant: It is late.", "user: and where am I"],
        }[state]
    )


def test_speech_that_was_confirmed_before_a_typed_answer_began_counts_though_the_agent_is_heard() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TextReceived(text="what time is it"))
    core.is_answering("It is late. ")
    core.pauses()
    core.is_understood("and where am I")
    core.stopped_at(1, 1.0)
    assert core.requests[-1] == ["user: what time is it", "assistant: It is late.", "user: and where am I"]


def test_text_interrupts_even_where_speech_may_not() -> None:
    core = answering(barge_in=BargeIn.OFF)
    core.happens(ev.TextReceived(text="stop"))
    assert core.state is S.PROCESSING_SPEECH


def test_text_typed_while_the_conversation_starts_is_answered_instead_of_the_welcome() -> None:
    core = Core(welcome="Hello there.")
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.TextReceived(text="what time is it"))
    assert core.state is S.INITIALIZING
    core.happens(ev.ListenerOpened())
    assert core.states == [S.IDLE, S.INITIALIZING, S.LISTENING, S.PROCESSING_SPEECH]
    assert core.requests == [["user: what time is it"]]


def test_text_typed_in_error_recovers_at_once() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed(), ev.TextReceived(text="hello"))
    assert core.state is S.PROCESSING_SPEECH
    assert core.due(Wait.RECOVERY) is None


def test_text_typed_twice_before_an_answer_is_one_question() -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="hello"), ev.TextReceived(text="are you there"))
    core.stopped_at(1, 0.0)
    assert core.requests[-1] == ["user: hello are you there"]
    assert core.told(TurnEnded) == [TurnEnded(turn=1, reason=Reason.BARGE_IN, heard="")]


def test_a_turn_that_was_not_started_yet_has_nothing_to_be_cancelled() -> None:
    core = answering()
    core.happens(ev.TextReceived(text="one"), ev.TextReceived(text="two"))
    assert [command.turn for command in core.did(CancelReply)] == [1]
    assert [command.turn for command in core.did(FlushPlayback)] == [1]
    core.stopped_at(1, 1.0)
    assert core.requests[-1][-1] == "user: one two"
    assert core.told(TurnEnded)[0] == TurnEnded(turn=2, reason=Reason.BARGE_IN, heard="")


# --- Commit, mute -----------------------------------------------------------------------------------------------------------


def test_commit_is_a_hard_endpoint_now() -> None:
    core = Core().starts()
    core.speaks()
    assert core.happens(ev.CommitRequested()) == [CommitUtterance()]
    core.happens(ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=0.0))
    core.is_understood("what time is it")
    assert core.state is S.PROCESSING_SPEECH


def test_mute_is_handed_to_the_ear_and_to_the_next_conversations_ear() -> None:
    core = Core().starts()
    assert core.happens(ev.MuteRequested(muted=True)) == [SetMute(muted=True)]
    core.happens(ev.ConversationEndRequested())
    assert kinds(core.happens(ev.ConversationStartRequested())) == ["StateChanged", "OpenListener"]
    assert core.c.deaf  # The ear stays muted, whichever conversation it hears.
    core.happens(ev.ListenerOpened())
    assert core.happens(ev.MuteRequested(muted=False)) == [SetMute(muted=False)]
    assert not core.c.muted


# --- What the embedder wants said -------------------------------------------------------------------------------------------


def test_a_saying_is_said_at_once_when_nobody_has_the_floor() -> None:
    core = Core().starts()
    core.happens(ev.SayRequested(text=" Dinner is ready. "))
    assert core.states[-1] is S.PREPARING_RESPONSE
    assert core.spoken == ["Dinner is ready."]
    assert core.told(TurnStarted) == [TurnStarted(turn=1, kind=TurnKind.SAY)]
    core.answers("Dinner is ready.")
    assert core.history == ["agent: Dinner is ready."]


def test_sayings_wait_for_the_floor_and_come_in_order() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.SayRequested(text="one"), ev.SayRequested(text="two"))
    assert core.spoken == []
    core.pauses()
    assert core.spoken == []
    core.is_understood("hello")
    assert core.state is S.PROCESSING_SPEECH
    core.answers("Hello. ")
    assert core.spoken == ["one"]
    core.answers("one")
    assert core.spoken == ["one", "two"]
    core.answers("two")
    assert core.state is S.LISTENING


def test_more_sayings_than_the_queue_holds_are_refused() -> None:
    core = Core(limits=Limits(say_queue=2)).starts()
    core.speaks()
    for text in ("one", "two", "three"):
        core.happens(ev.SayRequested(text=text))
    assert [saying.text for saying in core.c.says] == ["one", "two"]
    assert core.errors == ["say_queue_full"]


def test_an_interrupted_saying_is_not_repeated_and_the_next_waits_for_the_user() -> None:
    core = Core().starts()
    core.happens(ev.SayRequested(text="one"), ev.SayRequested(text="two"))
    turn = core.is_answering("one")
    core.speaks()
    core.stopped_at(turn, 0.0)
    assert core.spoken == ["one"]
    core.pauses()
    core.is_understood("")
    assert core.spoken == ["one", "two"]


def test_what_waits_to_be_said_is_forgotten_with_its_conversation() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.SayRequested(text="one"), ev.ConversationEndRequested(), ev.ConversationStartRequested())
    core.happens(ev.ListenerOpened())
    assert core.state is S.LISTENING
    assert core.spoken == []


def test_no_apology_is_made_over_a_new_question() -> None:
    core = Core(apology="I am sorry.").starts()
    core.says("hello")
    core.speaks(confirmed=False)
    core.happens(ev.LanguageModelFailed(turn=1))
    core.stopped_at(1, 0.0)
    assert core.state is S.LISTENING
    core.happens(ev.SpeechConfirmed(utterance=2))
    core.pauses()
    core.is_understood("are you there")
    assert core.requests[-1] == ["user: hello are you there"]
    assert core.spoken == []
    core.answers("Yes. ")
    assert core.spoken == []
