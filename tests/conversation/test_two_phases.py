"""Barge-in in two phases: the agent is silent as soon as the user speaks, and then it is decided who goes on."""

from __future__ import annotations

import pytest
from core_driver import Core, kinds

from flare_actors import journal
from flare_actors.conversation import BargeIn, Output, State, Timeouts
from flare_actors.conversation import events as ev
from flare_actors.conversation.backchannels import Said, read_words
from flare_actors.conversation.commands import CancelReply, FlushPlayback, PausePlayback, ResumePlayback, SetEndpoint
from flare_actors.conversation.history import may_be_echo
from flare_actors.conversation.notices import (
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    TranscriptReceived,
    TurnEnded,
)
from flare_actors.conversation.states import TurnDetection, Wait

S = State


def answering(*, partials: bool = True, **choices: object) -> Core:
    """The agent is heard answering a question, two phrases of a second each."""
    core = Core(**choices).starts(partials=partials)
    core.says("what time is it")
    core.is_answering("It is late. ", "Very late indeed. ")
    assert core.state is S.PLAYING_RESPONSE
    return core


def is_silent(core: Core) -> bool:
    """The output stands still."""
    return core.c.turn is not None and core.c.turn.paused_at is not None


# --- Phase one -------------------------------------------------------------------------------------------------------------


def test_the_output_stands_still_as_soon_as_the_user_begins_to_speak() -> None:
    core = answering()
    commands = core.happens(ev.SpeechStarted(utterance=2))
    assert kinds(commands) == ["UserSpeechStarted", "PausePlayback", "PlaybackPaused"]
    assert PausePlayback(turn=1) in commands
    assert core.state is S.PLAYING_RESPONSE
    assert core.due(Wait.INTERRUPTION) == pytest.approx(1.0)


@pytest.mark.parametrize("partials", [False, True])
def test_a_cough_lets_the_agent_go_on_as_soon_as_it_is_over(partials: bool) -> None:
    core = answering(partials=partials)
    core.speaks(confirmed=False)
    core.pauses(speech_s=0.1, too_short=True)
    assert not is_silent(core)
    assert core.did(ResumePlayback) == [ResumePlayback(turn=1)]
    assert core.told(PlaybackResumed) == [PlaybackResumed(turn=1)]
    assert core.told(PlaybackCleared) == []
    assert core.due(Wait.INTERRUPTION) is None


def test_the_client_is_told_to_go_on_before_the_audio_comes_and_to_stand_still_after_it_stopped() -> None:
    core = answering()
    assert kinds(core.happens(ev.SpeechStarted(utterance=2)))[-2:] == ["PausePlayback", "PlaybackPaused"]
    commands = core.happens(ev.SpeechStopped(utterance=2, speech_s=0.1, silence_s=0.48, too_short=True))
    assert kinds(commands)[-2:] == ["PlaybackResumed", "ResumePlayback"]


def test_what_nobody_confirms_within_a_second_is_no_interruption() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.passes(0.99)
    assert is_silent(core)
    core.passes(0.02)
    assert not is_silent(core)
    assert core.state is S.PLAYING_RESPONSE


def test_an_answer_that_is_not_heard_yet_waits_too() -> None:
    core = Core().starts(partials=True)
    core.says("what time is it")
    core.speaks(confirmed=False)
    assert core.told(PlaybackPaused) == [PlaybackPaused(turn=1)]
    core.pauses(too_short=True)
    assert core.did(ResumePlayback) == [ResumePlayback(turn=1)]


def test_an_answer_that_begins_while_the_user_speaks_is_silent_from_its_start() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    core.pauses()
    core.speaks(confirmed=False)
    commands = core.is_understood("what time is it", utterance=1)
    assert kinds(commands)[-3:] == ["StartReply", "PausePlayback", "PlaybackPaused"]
    core.pauses(too_short=True)
    assert core.told(PlaybackResumed) == [PlaybackResumed(turn=1)]


def test_an_answer_begun_ahead_is_silent_before_it_is_let_out() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    core.happens(ev.SpeechPaused(utterance=1), ev.TranscriptUpdated(utterance=1, text="what time is it"))
    core.pauses()
    core.speaks(confirmed=False)
    commands = kinds(core.is_understood("what time is it", utterance=1))
    assert commands.index("PausePlayback") < commands.index("ReleaseReply")


def test_an_answer_that_waits_for_the_word_on_the_one_before_is_silent_when_it_is_asked_for() -> None:
    core = answering()
    core.happens(ev.InterruptRequested())
    core.speaks(confirmed=False)
    core.happens(ev.TextReceived(text="never mind"))
    assert core.told(PlaybackPaused)[-1] == PlaybackPaused(turn=2)
    assert kinds(core.stopped_at(1, 0.5))[-2:] == ["StartReply", "PausePlayback"]


def test_who_speaks_again_is_waited_for_anew() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.pauses()
    core.passes(0.5)
    core.speaks(confirmed=False)
    assert core.due(Wait.INTERRUPTION) == pytest.approx(1.0)
    core.is_understood("mhm", utterance=2)
    assert is_silent(core)  # The second utterance is in progress.
    assert core.told(PlaybackPaused) == [PlaybackPaused(turn=1)]


@pytest.mark.parametrize("choices", [{"barge_in": BargeIn.OFF}, {"false_interruption_s": 0.0}])
def test_an_agent_that_is_not_to_be_silent_first_is_not(choices: dict[str, object]) -> None:
    core = answering(**choices)
    core.speaks(confirmed=False)
    assert core.did(PausePlayback) == []
    assert core.due(Wait.INTERRUPTION) is None


def test_text_does_not_stand_still() -> None:
    core = Core(output=Output.TEXT).starts()
    core.says("what time is it")
    core.speaks(confirmed=False)
    assert core.did(PausePlayback) == []


@pytest.mark.parametrize(
    "what",
    [
        ev.InputClearRequested(),
        ev.RecognizerFailed(),
        ev.SpeechStopped(utterance=2, speech_s=0.5, silence_s=0.48, taken=False),
    ],
    ids=lambda event: type(event).__name__,
)
def test_the_agent_goes_on_whatever_became_of_the_words(what: ev.Event) -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.happens(what)
    core.passes(0.0 if not isinstance(what, ev.RecognizerFailed) else 1.1)
    assert not is_silent(core)
    assert core.state is S.PLAYING_RESPONSE


# --- Phase two: the words ---------------------------------------------------------------------------------------------------


def test_the_first_word_interrupts() -> None:
    core = answering()
    core.speaks(confirmed=False)
    commands = core.happens(ev.TranscriptUpdated(utterance=2, text="Stop"))
    assert kinds(commands)[1:4] == ["FlushPlayback", "CancelReply", "PlaybackCleared"]
    assert core.state is S.LISTENING


@pytest.mark.parametrize("text", ["Mhm.", "yes", "Yeah, yeah.", "Uh-huh", "Mm-hmm, okay", "I see."])
def test_who_only_says_mhm_does_not_interrupt_however_long_it_takes(text: str) -> None:
    core = answering()
    number = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=number, text=text))
    core.happens(ev.SpeechConfirmed(utterance=number, overdue=True))
    assert core.state is S.PLAYING_RESPONSE
    core.pauses()
    core.is_understood(text)
    assert core.state is S.PLAYING_RESPONSE
    assert not is_silent(core)
    assert core.told(TranscriptReceived)[-1].final


def hears_so_far(core: Core, text: str, *, complete: bool = True) -> None:
    """The user has said something over the agent, falls silent, and it is not understood for good yet."""
    number = core.speaks(confirmed=False)
    core.happens(ev.SpeechPaused(utterance=number))
    core.happens(ev.TranscriptUpdated(utterance=number, text=text, complete=complete))
    core.pauses()


def test_after_mhm_the_agent_goes_on_at_the_endpoint_and_does_not_wait_until_it_is_understood_for_good() -> None:
    core = answering()
    hears_so_far(core, "Mhm")
    assert core.did(SetEndpoint)[-1].silence_s == core.c.settings.endpoint_min_s, "nothing more is to come"
    assert not is_silent(core)
    core.is_understood("Mhm.")
    assert core.state is S.PLAYING_RESPONSE
    assert core.told(PlaybackResumed) == [PlaybackResumed(turn=1)]
    assert core.told(TranscriptReceived)[-1].final


def test_a_yes_that_turns_out_to_be_more_interrupts_though_the_agent_has_gone_on() -> None:
    core = answering()
    hears_so_far(core, "yes")
    core.is_understood("Yes, but wait.")
    core.stopped_at(1, 1.0)
    assert core.requests[-1][-1] == "user: Yes, but wait."


@pytest.mark.parametrize(("text", "complete"), [("um", True), ("", True), ("yes", False)])
def test_what_may_become_a_word_is_waited_for_in_silence(text: str, complete: bool) -> None:
    core = answering()
    hears_so_far(core, text, complete=complete)
    assert is_silent(core)


def test_an_mhm_does_not_make_the_agent_go_on_over_what_was_said_before_it() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.pauses()
    hears_so_far(core, "yes")
    assert is_silent(core)
    core.is_understood("stop", utterance=2)
    assert core.state is S.LISTENING


def test_mhm_to_nobody_ends_like_any_other_word() -> None:
    core = Core().starts(partials=True)
    hears_so_far(core, "Mhm")
    assert core.did(SetEndpoint)[-1].silence_s == core.c.settings.endpoint_s


def test_who_holds_a_button_to_say_yes_does_not_only_listen() -> None:
    core = Core(turn_detection=TurnDetection.MANUAL).starts(partials=True)
    core.happens(ev.TextReceived(text="what time is it"))
    core.is_answering("It is late. ", "Very late indeed. ")
    number = core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=number, text="yes"), ev.CommitRequested())
    core.pauses()
    assert is_silent(core)
    core.is_understood("yes")
    core.stopped_at(1, 1.0)
    assert core.requests[-1] == ["user: what time is it", "assistant: It is late.", "user: yes"]


def test_mhm_is_remembered_and_not_answered() -> None:
    core = answering()
    core.says("mhm", confirmed=False)
    core.passes(1.5)
    core.is_generated(2.0)
    core.is_played()
    assert core.state is S.LISTENING
    assert core.history == ["user: what time is it", "agent: It is late. Very late indeed.", "user: mhm"]


def test_yes_over_the_last_words_of_a_question_is_the_answer_to_it() -> None:
    core = answering()
    core.is_generated(2.0)
    core.says("yes", confirmed=False)
    core.passes(0.4)
    core.is_played()
    assert core.state is S.PROCESSING_SPEECH
    assert core.requests[-1][-2:] == ["assistant: It is late. Very late indeed.", "user: yes"]


def test_a_yes_that_is_understood_over_the_last_words_is_the_answer_though_the_agent_had_gone_on_before() -> None:
    core = answering()
    core.is_generated(2.0)
    hears_so_far(core, "yes")
    core.passes(0.8)
    core.is_understood("yes")
    core.passes(0.4)
    core.is_played()
    assert core.state is S.PROCESSING_SPEECH


def test_yes_after_the_agents_last_word_is_an_answer() -> None:
    core = answering()
    core.is_generated(2.0)
    core.is_played()
    core.says("yes")
    assert core.state is S.PROCESSING_SPEECH


def test_a_yes_of_before_the_agent_was_heard_is_no_mhm() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    core.pauses()
    core.happens(ev.TextReceived(text="what time is it"))
    core.is_answering("It is late. ")
    core.is_understood("yes", utterance=1)
    assert core.did(CancelReply)[-1].turn == 1


def test_going_on_before_the_answer_is_heard_takes_it_back_at_the_first_word_whatever_that_is() -> None:
    core = Core().starts(partials=True)
    core.says("what time is it")
    core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=2, text="yes"))
    assert core.state is S.LISTENING
    assert core.did(CancelReply)[-1].turn == 1


def test_an_um_is_not_yet_a_word() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=2, text="um"))
    assert is_silent(core)
    core.happens(ev.TranscriptUpdated(utterance=2, text="um what"))
    assert core.state is S.LISTENING


@pytest.mark.parametrize("text", ["late", "it is", "it is late very"])
def test_the_agents_own_words_do_not_interrupt_it(text: str) -> None:
    core = answering()
    number = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=number, text=text))
    core.happens(ev.SpeechConfirmed(utterance=number, overdue=True))
    assert core.state is S.PLAYING_RESPONSE


@pytest.mark.parametrize(("text", "state"), [("good", S.LISTENING), ("it is late", S.PREPARING_RESPONSE)])
def test_what_was_not_heard_yet_has_no_echo_and_what_was_heard_before_it_has(text: str, state: State) -> None:
    core = answering()
    core.happens(ev.TextReceived(text="go on"))
    core.stopped_at(1, 0.9)
    core.writes("Very good. ")
    number = core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=number, text=text))
    assert core.state is state


def test_without_the_guard_they_do() -> None:
    core = answering(barge_in=BargeIn.FULL)
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=2, text="late"))
    assert core.state is S.LISTENING


def test_an_um_takes_no_answer_back_that_is_not_heard_yet() -> None:
    core = Core().starts(partials=True)
    core.says("what time is it")
    core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=2, text="um"))
    assert core.state is S.PROCESSING_SPEECH


def test_who_says_um_for_long_enough_interrupts_by_the_length() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=2, text="um"), ev.SpeechConfirmed(utterance=2, overdue=True))
    assert core.state is S.LISTENING


def test_a_short_stop_interrupts_though_it_is_understood_after_the_agent_went_on() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.pauses(speech_s=0.28)
    core.passes(1.5)
    assert core.told(PlaybackResumed) == [PlaybackResumed(turn=1)]
    core.is_understood("stop")
    assert core.did(FlushPlayback) == [FlushPlayback(turn=1)]
    core.stopped_at(1, 1.0)
    assert core.requests[-1] == ["user: what time is it", "assistant: It is late.", "user: stop"]


def test_a_word_that_comes_after_the_agent_went_on_interrupts_still() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.passes(1.1)
    assert not is_silent(core)
    core.happens(ev.TranscriptUpdated(utterance=2, text="wait"))
    assert core.state is S.LISTENING


# --- Phase two: the length -----------------------------------------------------------------------------------------------


def test_where_words_come_only_in_the_end_the_length_decides() -> None:
    core = answering(partials=False)
    number = core.speaks(confirmed=False)
    core.happens(ev.SpeechConfirmed(utterance=number))
    assert core.state is S.LISTENING


def test_where_words_come_while_they_are_spoken_they_are_waited_for_and_not_for_ever() -> None:
    core = answering()
    number = core.speaks()
    assert core.state is S.PLAYING_RESPONSE
    core.happens(ev.SpeechConfirmed(utterance=number, overdue=True))
    assert core.state is S.LISTENING


def test_a_recogniser_that_is_down_is_not_waited_for() -> None:
    core = answering()
    core.happens(ev.RecognizerFailed())
    core.speaks()
    assert core.state is S.LISTENING or core.state is S.ERROR
    assert core.did(CancelReply)[-1].turn == 1


def test_the_agent_does_not_go_on_over_a_user_who_has_spoken_for_long_when_it_begins() -> None:
    core = Core().starts()  # A recogniser without partial transcripts.
    core.speaks()
    core.happens(ev.TextReceived(text="what time is it"))
    assert is_silent(core)
    core.passes(1.1)
    assert core.state is S.LISTENING
    core.stopped_at(1, 0.0)
    core.pauses()
    core.is_understood("in Ankara")
    assert core.requests[-1] == ["user: what time is it in Ankara"]


# --- What it means for everything else ---------------------------------------------------------------------------------------


def test_heard_is_what_was_played_up_to_the_pause() -> None:
    core = answering()
    core.happens(ev.PlaybackProgressed(turn=1, played_s=0.9))
    core.speaks(confirmed=False)
    core.passes(0.7)
    core.happens(ev.TranscriptUpdated(utterance=2, text="stop"))
    # The client's last report was 0.1 s old when it stood still: it has not played on since, whatever the clock says.
    core.stopped_at(1, 1.6)
    assert core.heard(1) == "It is late."
    assert core.told(TurnEnded)[-1].turn == 1


def test_who_claims_to_have_played_on_while_it_stood_still_is_not_believed() -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1.9))
    core.happens(ev.TranscriptUpdated(utterance=2, text="stop"))
    core.stopped_at(1, 1.1)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1.9))
    assert core.heard(1) == "It is late."
    assert core.history[-1] == "agent: It is late."


def test_the_time_that_a_turn_stands_still_is_not_held_against_it() -> None:
    core = answering(timeouts=Timeouts(playback_report_s=0.5))
    core.is_generated(2.0)
    due = core.due(Wait.PLAYBACK)
    core.speaks(confirmed=False)
    core.passes(1.0)
    assert core.due(Wait.PLAYBACK) == pytest.approx((due or 0.0) - 0.1)


def test_a_turn_that_stands_still_is_not_given_up() -> None:
    core = answering(timeouts=Timeouts(playback_report_s=0.01), false_interruption_s=30.0)
    core.is_generated(2.0)
    core.speaks(confirmed=False)
    core.passes(10.0)
    assert core.state is S.PLAYING_RESPONSE
    core.passes(21.0)
    core.is_played()
    assert core.heard(1) == "It is late. Very late indeed."


def test_a_turn_that_is_being_written_is_not_given_up_while_it_stands_still() -> None:
    core = answering(false_interruption_s=100.0)
    core.speaks(confirmed=False)
    core.passes(Timeouts().generation_s + 1)
    assert is_silent(core)
    core.pauses(too_short=True)
    assert core.state is S.PLAYING_RESPONSE
    assert core.errors == []
    core.passes(2 * Timeouts().generation_s + 1)
    assert core.errors == ["tts_failed"], "then it is"


@pytest.mark.parametrize(
    ("what", "state"),
    [
        (ev.ConversationEndRequested(), S.IDLE),
        (ev.ClientDetached(), S.LISTENING),
        (ev.InterruptRequested(), S.LISTENING),
        (ev.SessionEndRequested(), S.ENDED),
        (ev.FailureRaised(), S.ERROR),
    ],
    ids=lambda each: getattr(each, "value", type(each).__name__),
)
def test_a_turn_that_stands_still_is_cancelled_like_any_other(what: ev.Event, state: State) -> None:
    core = answering()
    core.speaks(confirmed=False)
    core.happens(what)
    assert core.state is state
    assert CancelReply(turn=1, reason=core.did(CancelReply)[0].reason) in core.done
    assert core.due(Wait.INTERRUPTION) is None


def test_a_client_that_has_played_all_of_it_ends_a_turn_that_stands_still() -> None:
    core = answering()
    core.is_generated(2.0)
    core.speaks(confirmed=False)
    core.happens(ev.PlaybackCompleted(turn=1, played_s=2.0))
    assert core.state is S.LISTENING
    assert core.due(Wait.INTERRUPTION) is None


def test_a_conversation_that_stands_still_survives_a_journey_through_json() -> None:
    core = answering()
    core.speaks(confirmed=False)
    again = journal.conversation_from_json(journal.conversation_to_json(core.c))
    assert again == core.c
    assert again.turn is not None
    assert again.turn.paused_at == pytest.approx(core.now)


# --- The words themselves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "locale", "said"),
    [
        ("", "en", Said.NOTHING),
        ("Um, uh...", "en-GB", Said.NOTHING),
        ("um yes", "en", Said.BACKCHANNEL),
        ("Uh-huh. Right, right.", "en", Said.BACKCHANNEL),
        ("All right", "en", Said.BACKCHANNEL),
        ("all", "en", Said.WORDS),
        ("yes but", "en", Said.WORDS),
        ("no", "en", Said.WORDS),
        ("stop", "en", Said.WORDS),
        ("ja genau", "de-DE", Said.BACKCHANNEL),
        ("ja", "en", Said.WORDS),
        ("nein", "de", Said.WORDS),
        ("d’accord", "fr", Said.BACKCHANNEL),  # noqa: RUF001 - as recognisers write it
        ("sí, claro", "es", Said.BACKCHANNEL),
        ("evet", "tr-TR", Said.BACKCHANNEL),
        ("hay\u0131r", "tr", Said.WORDS),
        ("はい。", "ja-JP", Said.BACKCHANNEL),
        ("いいえ", "ja", Said.WORDS),
        ("嗯", "zh-CN", Said.BACKCHANNEL),
        ("对对对", "zh-CN", Said.BACKCHANNEL),
        ("嗯嗯 好的。", "zh", Said.BACKCHANNEL),
        ("是的好", "zh", Said.BACKCHANNEL),
        ("对不起", "zh", Said.WORDS),
        ("はいはいそうですね。", "ja", Said.BACKCHANNEL),
        ("うんうんうん", "ja", Said.BACKCHANNEL),
        ("うん、でも", "ja", Said.WORDS),
        ("jajajaja", "de", Said.WORDS),
        ("mhm ok", "nl", Said.BACKCHANNEL),
        ("ja", "nl", Said.WORDS),
    ],
)
def test_words_are_read_by_what_listeners_say_in_that_language(text: str, locale: str, said: Said) -> None:
    assert read_words(text, locale) is said


@pytest.mark.parametrize(
    ("partial", "may"),
    [
        ("late", True),
        ("is late", True),
        ("late is", False),
        ("tea", False),
        ("it is late", True),
        ("late indeed", True),
        ("late very indeed", True),
    ],
)
def test_few_words_may_be_echo_where_the_agent_said_them_side_by_side(partial: str, may: bool) -> None:
    assert may_be_echo(partial, "It is late, very late indeed.") is may


# --- What was missing when every line was broken in turn ----------------------------------------------------------------------


def test_the_time_that_a_turn_stands_still_is_not_held_against_what_is_to_come_of_it_either() -> None:
    core = answering()
    due = core.due(Wait.GENERATION)
    core.speaks(confirmed=False)
    core.passes(1.0)
    assert not is_silent(core)
    assert core.due(Wait.GENERATION) == pytest.approx((due or 0.0) - 0.1)


def test_words_that_will_not_come_because_the_recogniser_was_lost_amid_them_are_not_waited_for() -> None:
    core = answering()
    number = core.speaks(confirmed=False)
    core.happens(ev.RecognizerFailed())
    core.passes(3.0)
    core.happens(ev.RecognizerReady(partials=True))
    assert core.state is S.PLAYING_RESPONSE
    core.happens(ev.SpeechConfirmed(utterance=number))
    assert core.state is S.LISTENING


def test_who_has_spoken_for_long_and_stopped_is_understood_first() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TextReceived(text="what time is it"))
    core.pauses()
    core.passes(1.1)
    assert core.told(PlaybackResumed) == [PlaybackResumed(turn=1)]
    assert core.state is S.PROCESSING_SPEECH


def test_speech_that_nobody_can_understand_interrupts_nothing() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed())
    assert core.state is S.ERROR
    core.speaks()
    assert not core.c.confirmed


def test_who_interrupts_is_prompted_again_from_the_first_prompt_on() -> None:
    core = Core(idle_prompts=("Hello?", "Still there?"), idle_prompt_s=5.0).starts()
    core.passes(5.0)
    core.is_answering("Hello?")
    assert core.c.prompts == 1
    core.speaks()
    assert core.c.prompts == 0


def test_mhm_counts_as_a_word_of_the_users_for_the_prompts() -> None:
    core = Core(idle_prompts=("Hello?", "Still there?"), idle_prompt_s=5.0).starts(partials=True)
    core.passes(5.0)
    core.is_answering("Hello?")
    core.says("mhm", confirmed=False)
    assert core.state is S.PLAYING_RESPONSE
    assert core.c.prompts == 0
