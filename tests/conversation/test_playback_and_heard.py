"""When a turn ends, and how much of it was heard: reports of clients, the pacing clock, and neither."""

from __future__ import annotations

import pytest
from core_driver import Core

from flare_actors.conversation import Reason, State
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import FlushPlayback
from flare_actors.conversation.draft import SAME_S
from flare_actors.conversation.notices import PlaybackCleared, TurnEnded, TurnMetrics
from flare_actors.conversation.states import Output, TurnDetection, Wait

S = State


def answering(*, generated: bool = False, reports: bool = False, **choices: object) -> Core:
    """An answer of two phrases, a second each, is heard."""
    core = Core(**choices)
    core.happens(ev.ClientAttached(reports_playback=reports), ev.ConversationStartRequested(), ev.ListenerOpened())
    core.happens(ev.RecognizerReady())
    core.says("what time is it")
    core.is_answering("It is late. ", "Very late indeed. ")
    if generated:
        core.is_generated(2.0)
    return core


def test_a_turn_ends_when_all_is_generated_and_all_is_played() -> None:
    core = answering()
    core.happens(ev.PlaybackFinished(turn=1, played_s=2.0))
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(2.0)
    assert core.state is S.LISTENING


def test_playback_known_to_be_over_before_the_generation_keeps_no_turn_open() -> None:
    core = answering(reports=True)
    core.happens(ev.PlaybackCompleted(turn=1, played_s=2.0))
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(2.0)
    assert core.state is S.LISTENING


def test_a_buffer_that_ran_empty_in_a_gap_is_progress_not_the_end() -> None:
    core = answering(reports=True)
    core.happens(ev.PlaybackCompleted(turn=1, played_s=2.0))
    core.writes("Good night. ")
    core.is_generated(3.0)
    assert core.state is S.PLAYING_RESPONSE
    core.happens(ev.PlaybackCompleted(turn=1, played_s=2.5))
    assert core.state is S.PLAYING_RESPONSE
    core.happens(ev.PlaybackCompleted(turn=1, played_s=3.0))
    assert core.state is S.LISTENING
    assert core.heard(1) == "It is late. Very late indeed. Good night."


def test_progress_to_the_very_end_is_the_end() -> None:
    core = answering(generated=True, reports=True)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1.9))
    assert core.state is S.PLAYING_RESPONSE
    core.happens(ev.PlaybackProgressed(turn=1, played_s=2.0))
    assert core.state is S.LISTENING


def test_without_reports_the_pacing_clock_decides() -> None:
    core = answering(generated=True)
    core.is_played()
    assert core.state is S.LISTENING


def test_a_client_that_reports_has_the_last_word_for_a_while() -> None:
    core = answering(generated=True, reports=True)
    core.is_played()
    assert core.state is S.PLAYING_RESPONSE
    core.passes(1.9)
    assert core.state is S.PLAYING_RESPONSE
    core.passes(0.2)
    assert core.state is S.LISTENING
    assert core.told(TurnEnded)[0].reason is None


def test_a_client_that_falls_silent_halfway_has_heard_no_more_than_it_said() -> None:
    core = answering(generated=True, reports=True)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1.0))
    core.is_played()
    core.passes(2.1)
    assert core.state is S.LISTENING
    assert FlushPlayback(turn=1) in core.done
    assert [n.turn for n in core.told(PlaybackCleared)] == [1]
    core.stopped_at(1, 2.0)
    ended = core.told(TurnEnded)[0]
    assert ended.reason is Reason.ERROR_RECOVERY
    assert ended.heard == core.history[-1].removeprefix("agent: ")
    assert ended.heard in "It is late. Very late indeed."
    assert "indeed" not in ended.heard


def test_a_client_whose_sound_was_paused_gets_the_time_for_the_rest() -> None:
    core = answering(generated=True, reports=True)
    core.is_played()
    core.passes(1.5)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=0.5), after=0)
    core.passes(3.4)
    assert core.state is S.PLAYING_RESPONSE
    core.happens(ev.PlaybackCompleted(turn=1, played_s=2.0), after=0)
    assert core.state is S.LISTENING
    assert core.told(TurnEnded)[0].reason is None


def test_the_time_for_the_rest_is_that_of_the_rest() -> None:
    core = answering(generated=True, reports=True)
    core.is_played()
    core.passes(1.9)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1.5), after=0)
    assert core.due(Wait.PLAYBACK) == pytest.approx(0.5 + core.c.settings.timeouts.playback_report_s)


def test_a_completion_without_an_amount_is_believed_once_all_is_generated() -> None:
    core = answering(reports=True)
    core.happens(ev.PlaybackCompleted(turn=1))
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(2.0)
    core.happens(ev.PlaybackCompleted(turn=1))
    assert core.state is S.LISTENING


def test_places_of_answers_that_nobody_heard_are_given_up() -> None:
    core = Core().starts()
    for n in range(3):
        core.happens(ev.TextReceived(text="hello"))
        core.stopped_at(n, 0.0)
    core.answers("Hello. ")
    assert len(core.c.history) == 4
    assert core.history == ["user: hello"] * 3 + ["agent: Hello."]


def test_the_first_report_tells_that_a_client_reports() -> None:
    core = answering(generated=True)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=0.5))
    core.is_played()
    assert core.state is S.PLAYING_RESPONSE
    core.happens(ev.PlaybackCompleted(turn=1, played_s=2.0))
    assert core.state is S.LISTENING


def test_what_lacks_a_thousandth_of_a_second_was_played_to_its_end() -> None:
    core = Core().starts()
    core.happens(ev.ClientAttached(reports_playback=True))
    core.says("what time is it")
    core.is_answering("It is late. ")
    core.is_generated(1.0)
    core.happens(ev.PlaybackFinished(turn=1, played_s=1.0 - SAME_S))
    core.passes(10)
    assert core.history[-1] == "agent: It is late."
    assert core.told(TurnEnded)[-1].reason is None


def test_a_speaker_that_never_tells_the_end_does_not_hold_the_turn() -> None:
    core = answering(generated=True)
    assert core.due(Wait.PLAYBACK) == pytest.approx(4.0)
    core.passes(4.1)
    assert core.state is S.LISTENING
    assert FlushPlayback(turn=1) in core.done
    core.stopped_at(1, 0.5)
    assert core.told(TurnEnded)[0].reason is Reason.ERROR_RECOVERY


def test_a_long_answer_generated_at_once_is_not_given_up_while_it_is_heard() -> None:
    core = Core().starts()
    core.says("tell me a story")
    core.writes("Once upon a time. ")
    core.happens(ev.GenerationFinished(turn=1, audio_s=60.0))
    core.happens(ev.AudioStarted(turn=1))  # The speaker is a task of its own: its word may come after.
    core.passes(45)
    assert core.state is S.PLAYING_RESPONSE
    core.passes(15)
    core.happens(ev.PlaybackFinished(turn=1, played_s=60.0))
    assert core.told(TurnEnded) == [TurnEnded(turn=1, reason=None, heard="Once upon a time.")]


def test_an_answer_that_grows_is_not_given_up() -> None:
    core = Core().starts()
    core.says("tell me a story")
    core.is_answering("Once ")
    for n in range(1, 5):
        core.passes(29)
        core.happens(ev.PhraseReady(turn=1, index=n, text="upon "))
    assert core.state is S.PLAYING_RESPONSE


def test_a_report_without_a_turn_is_about_the_oldest_unfinished_one() -> None:
    core = answering(reports=True)
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 2.0)
    core.happens(ev.SayRequested(text="Good night."))
    core.is_answering("Good night.")
    core.is_generated(1.0)
    core.happens(ev.PlaybackCompleted(turn=None, played_s=1.0))
    assert core.state is S.LISTENING
    assert core.heard(1) == "It is late. Very late indeed."
    assert core.heard(2) == "Good night."


def test_a_report_of_a_turn_that_nobody_knows_is_dropped_and_counted() -> None:
    core = answering()
    core.happens(ev.PlaybackProgressed(turn=7, played_s=1.0), ev.PlaybackCompleted(turn=7, played_s=1.0))
    core.happens(ev.PlaybackCompleted(turn=7))
    assert core.c.stale == 3
    assert core.state is S.PLAYING_RESPONSE


def test_the_clients_word_on_what_was_heard_beats_the_clock() -> None:
    core = answering(reports=True)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=0.5))
    core.happens(ev.InterruptRequested(), after=0.2)
    core.stopped_at(1, 2.0)  # By the clock all was heard; but 0.2 s ago it was half a second.
    assert core.heard(1) == "It is"


def test_a_client_that_has_stopped_already_has_not_played_on_since_its_report() -> None:
    core = answering()
    core.happens(ev.InterruptRequested(), ev.PlaybackProgressed(turn=1, played_s=1.0))
    core.stopped_at(1, 2.0)
    assert core.heard(1) == "It is late."


def test_a_later_report_amends_what_was_heard_until_the_next_request() -> None:
    core = answering()
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 2.0)
    assert core.history[-1] == "agent: It is late. Very late indeed."
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1.0))
    assert core.history[-1] == "agent: It is late."
    assert len(core.told(TurnEnded)) == 1  # The client knows what it has played.
    core.says("thanks")
    core.happens(ev.PlaybackProgressed(turn=1, played_s=2.0))
    assert core.history[1] == "agent: It is late."


def test_a_completion_of_an_earlier_turn_amends_what_was_heard_of_it() -> None:
    core = answering(reports=True)
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 2.0)
    core.happens(ev.PlaybackCompleted(turn=1, played_s=1.0))
    assert core.history[-1] == "agent: It is late."


def test_a_client_that_repeats_itself_gets_no_more_time() -> None:
    core = answering(generated=True, reports=True)
    core.is_played()
    for _ in range(8):
        core.happens(ev.PlaybackProgressed(turn=1, played_s=1.0), after=0.5)
    assert core.state is S.LISTENING


def test_facts_of_a_turn_that_was_not_started_yet_are_nobodys() -> None:
    core = answering()
    core.happens(ev.TextReceived(text="stop"))
    before = core.c.turn
    core.happens(ev.PhraseReady(turn=2, index=0, text="So. "), ev.GenerationFinished(turn=2, audio_s=0.0))
    assert core.c.turn == before
    assert core.c.stale == 2


def test_a_report_of_an_earlier_turn_says_nothing_of_the_live_one() -> None:
    core = answering(reports=True)
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 2.0)
    core.happens(ev.SayRequested(text="Good night."))
    core.is_answering("Good night.")
    core.is_generated(1.0)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1.0), ev.PlaybackCompleted(turn=1, played_s=1.0))
    assert core.state is S.PLAYING_RESPONSE
    assert core.history == ["user: what time is it", "agent: It is late."]


def test_nobody_can_have_heard_more_than_the_clock_has_played() -> None:
    core = answering(reports=True)
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 1.0)
    core.happens(ev.PlaybackProgressed(turn=1, played_s=1_000.0))
    assert core.history[-1] == "agent: It is late."


def test_an_answer_without_a_word_ends_its_turn() -> None:
    core = Core().starts()
    core.says("hello")
    core.is_generated(0.0)
    assert core.state is S.LISTENING
    assert [item.text for item in core.c.history] == ["hello"]
    assert core.told(TurnEnded) == [TurnEnded(turn=1, reason=None, heard="")]
    assert core.errors == ["empty_answer"]


def test_all_that_was_delivered_as_text_counts_as_heard() -> None:
    core = Core(output=Output.TEXT).starts()
    core.says("hello")
    core.writes("Hello to you. ", "How are you? ")
    core.happens(ev.TextReceived(text="stop"))
    core.stopped_at(1, 0.0)
    assert core.heard(1) == "Hello to you. How are you?"
    assert core.requests[-1] == ["user: hello", "assistant: Hello to you. How are you?", "user: stop"]


def test_what_was_written_before_the_model_failed_is_spoken_to_its_end() -> None:
    core = answering()
    core.happens(ev.LanguageModelFailed(turn=1))
    assert core.errors == ["llm_failed"]
    assert core.state is S.PLAYING_RESPONSE
    core.is_generated(2.0)
    core.is_played()
    assert core.history[-1] == "agent: It is late. Very late indeed."


@pytest.mark.parametrize("reason", [Reason.BARGE_IN, Reason.CONVERSATION_ENDED, Reason.CLIENT_DISCONNECTED])
def test_facts_of_a_cancelled_turn_are_dropped_and_counted(reason: Reason) -> None:
    core = answering()
    core.happens(
        {
            Reason.BARGE_IN: ev.InterruptRequested(),
            Reason.CONVERSATION_ENDED: ev.ConversationEndRequested(),
            Reason.CLIENT_DISCONNECTED: ev.ClientDetached(),
        }[reason]
    )
    late = (
        ev.PhraseReady(turn=1, index=2, text="never heard"),
        ev.PhraseSpoken(turn=1, index=1, start_s=0, end_s=9),
        ev.AudioStarted(turn=1),
        ev.GenerationFinished(turn=1, audio_s=9.0),
        ev.LanguageModelFailed(turn=1, critical=True),
        ev.SynthesizerFailed(turn=1, critical=True),
        ev.PlaybackFinished(turn=1, played_s=9.0),
    )
    for event in late:
        before = core.c
        assert core.happens(event) == []
        assert core.c.stale == before.stale + 1
    core.stopped_at(1, 1.0)
    assert core.heard(1) == "It is late."


def test_facts_of_one_turn_are_never_taken_for_anothers() -> None:
    core = answering()
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 1.0)
    core.says("and tomorrow")
    core.writes("Tomorrow ")
    before = core.c.turn
    late = (
        ev.PhraseReady(turn=1, index=1, text="never heard"),
        ev.PhraseSpoken(turn=1, index=0, start_s=0, end_s=9),
        ev.AudioStarted(turn=1),
        ev.GenerationFinished(turn=1, audio_s=9.0),
        ev.GenerationFinished(turn=3, audio_s=9.0),
        ev.LanguageModelFailed(turn=1, critical=True),
        ev.SynthesizerFailed(turn=1, critical=True),
        ev.PlaybackFinished(turn=1, played_s=9.0),
        ev.PlaybackStopped(turn=1, played_s=9.0),
        ev.PlaybackStopped(turn=2, played_s=9.0),
    )
    for event in late:
        assert core.happens(event) == []
    assert core.c.turn == before
    assert core.c.stale == len(late)


def test_a_phrase_that_was_never_written_cannot_be_spoken() -> None:
    core = answering()
    for index in (2, 99, -1):
        assert core.happens(ev.PhraseSpoken(turn=1, index=index, start_s=2.0, end_s=3.0)) == []
    assert core.c.stale == 3


def test_the_speakers_second_word_on_a_flush_does_not_count() -> None:
    core = answering()
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 1.0)
    assert core.stopped_at(1, 2.0) == []
    assert core.history[-1] == "agent: It is late."


def test_audio_whose_phrase_is_told_later_is_playing_all_the_same() -> None:
    core = Core().starts()
    core.says("hello")
    core.happens(ev.AudioStarted(turn=1))
    assert core.states[-3:] == [S.PROCESSING_SPEECH, S.PREPARING_RESPONSE, S.PLAYING_RESPONSE]


@pytest.mark.parametrize("ended_before", [False, True], ids=["by the commit", "by its length, before the commit"])
def test_how_long_a_button_is_held_is_nobodys_latency(ended_before: bool) -> None:
    core = Core(turn_detection=TurnDetection.MANUAL).starts()
    core.speaks()
    stopped = ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=8.0)
    if ended_before:
        core.happens(stopped)
        core.passes(5.0)
        core.happens(ev.CommitRequested(), ev.NothingCommitted())
    else:
        core.passes(8.0)
        core.happens(ev.CommitRequested(), stopped)
    core.is_understood("what time is it")
    core.writes("It is late. ")
    core.happens(ev.AudioStarted(turn=1))
    (metrics,) = core.told(TurnMetrics)
    assert metrics.endpoint_wait_s is None
    assert metrics.stt_s == pytest.approx(0.1)
    assert metrics.total_s == pytest.approx(0.3)


def test_where_silence_ends_an_utterance_the_silence_before_a_commit_is_waiting() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.CommitRequested(), ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=0.2))
    core.is_understood("what time is it")
    core.writes("It is late. ")
    core.happens(ev.AudioStarted(turn=1))
    (metrics,) = core.told(TurnMetrics)
    assert metrics.endpoint_wait_s == pytest.approx(0.2)


@pytest.mark.parametrize("request_", [ev.TextReceived(text="tea"), ev.ResponseRequested()], ids=["typed", "asked for"])
def test_who_types_or_asks_waits_from_that_moment_on(request_: ev.Event) -> None:
    core = Core().starts()
    core.happens(request_)
    core.passes(0.5)
    core.is_answering("Tea. ")
    (metrics,) = core.told(TurnMetrics)
    assert metrics.total_s == pytest.approx(0.7)


def test_each_turns_latency_is_told_with_its_first_audio() -> None:
    core = Core().starts()
    core.says("what time is it")
    assert core.told(TurnMetrics) == []
    core.writes("It is late. ")
    core.happens(ev.AudioStarted(turn=1))
    (metrics,) = core.told(TurnMetrics)
    assert metrics.endpoint_wait_s == pytest.approx(0.48)
    assert metrics.stt_s == pytest.approx(0.1)
    assert metrics.first_audio_s == pytest.approx(0.1)
    assert metrics.total_s == pytest.approx(0.48 + 0.1 + 0.1 + 0.1)
    assert core.happens(ev.AudioStarted(turn=1)) == []  # First is first.


def test_latency_is_that_of_the_first_phrase_however_many_are_written_before_it_sounds() -> None:
    core = Core().starts()
    core.says("what time is it")
    core.writes("It is late. ", "Very late indeed. ")
    core.happens(ev.AudioStarted(turn=1))
    (metrics,) = core.told(TurnMetrics)
    shares = (metrics.first_token_s, metrics.first_phrase_s, metrics.first_audio_s)
    assert shares == pytest.approx((0.0, 0.1, 0.2))
