"""What single guards, orders and bounds of the core are for: more that was missing when every line was broken in turn."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from core_driver import Core, kinds

from flare_actors.conversation import Limits, Output, Reason, State, Timeouts, TurnKind, step
from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import AnswerRest, ToolSpec
from flare_actors.conversation.changes import changes
from flare_actors.conversation.commands import (
    CancelReply,
    CloseListener,
    OpenListener,
    ReturnToolResult,
    StartReply,
    StopStt,
)
from flare_actors.conversation.history import SpokenWord
from flare_actors.conversation.items import AgentSaid, Instructed, ToolCalled, ToolReturned, UserSaid
from flare_actors.conversation.model import Turn
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.notices import (
    ErrorRaised,
    InputCleared,
    ItemShown,
    ItemTruncated,
    PlaybackCleared,
    StateChanged,
    ToolCallRequested,
    TurnEnded,
    TurnMetrics,
    TurnStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.states import BargeIn, Mute, TurnDetection, Wait
from flare_actors.conversation.table import IllegalTransition

S = State
SAME_S = 0.001
"""What a client and the clock may differ by."""


def heard(**choices: object) -> Core:
    """The agent is heard answering, two phrases of a second each."""
    core = Core(**choices).starts(partials=True)
    core.says("a question")
    core.is_answering("It is late. ", "Very late indeed. ")
    return core


def tool(core: Core, call: str = "c1", **more: object) -> None:
    fields = {"turn": core.turn, "name": "f", "arguments": "{}", "timeout_s": 9.0, **more}
    core.happens(ev.ToolStarted(call=call, **fields))  # type: ignore[arg-type]


# --- One step -------------------------------------------------------------------------------------------------------------


def test_a_step_leaves_what_it_was_given_as_it_was() -> None:
    core = Core().starts()
    for event in (ev.SpeechStarted(at=9.0, utterance=1), ev.TextReceived(at=9.0, text="hello")):
        before = attrs.evolve(core.c, deadlines=attrs.evolve(core.c.deadlines))
        after, _ = step(core.c, event)
        assert core.c == before
        assert after.deadlines != before.deadlines


def test_a_transition_that_the_table_does_not_have_is_our_own_bug() -> None:
    with pytest.raises(IllegalTransition, match="IDLE -> LISTENING"):
        Draft(Core().c, 0.0).go(S.LISTENING)


def test_a_field_that_does_not_exist_is_our_own_bug_too() -> None:
    draft = Draft(Core().c, 0.0)
    for _ in range(2):  # The first change makes a copy, the others go into it.
        with pytest.raises(TypeError, match="has no field lunch"):
            draft.set(lunch=1)
        draft = Draft(Core().c, 0.0)
        draft.set(stale=1)


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(TypeError, match="not an event of a conversation: Turn"):
        step(Core().c, Turn(number=1, kind=TurnKind.SAY))  # type: ignore[arg-type]


def test_after_the_end_nobody_is_told_anything_more() -> None:
    core = Core(mute=Mute.ALWAYS).starts()
    assert kinds(core.happens(ev.SessionEndRequested()))[-1] == "CloseSession"


def test_a_change_of_state_tells_of_the_turn_that_is_live_then() -> None:
    core = heard()
    core.is_generated(2.0)
    core.is_played()
    assert [(each.new, each.turn) for each in core.told(StateChanged)][2:] == [
        (S.PROCESSING_SPEECH, 1),
        (S.PREPARING_RESPONSE, 1),
        (S.PLAYING_RESPONSE, 1),
        (S.LISTENING, None),
    ]


# --- Complaints: which turn and which field they are about ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("happens", "code", "about"),
    [
        ([ev.GenerationFinished(turn=1, audio_s=0.0)], "empty_answer", 1),
        ([ev.LanguageModelFailed(turn=1)], "llm_failed", 1),
        ([ev.SynthesizerFailed(turn=1)], "tts_failed", 1),
        ([ev.ResponseRequested()], "already_answering", 1),
        ([ev.SayRequested(text=" ")], "empty_text", None),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_is_wrong_with_a_turn_is_told_with_its_number(
    happens: list[ev.Event], code: str, about: int | None
) -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="hello"), *happens)
    (error,) = core.told(ErrorRaised)
    assert (error.code, error.turn, error.recoverable) == (code, about, True)


def test_a_reply_that_hangs_is_told_with_its_number() -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="hello"))
    core.passes(Timeouts().generation_s)
    (error,) = core.told(ErrorRaised)
    assert (error.code, error.turn) == ("llm_failed", 1)


@pytest.mark.parametrize("too_long", [False, True])
@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda text: ev.TextReceived(text=text), 100),
        (lambda text: ev.SayRequested(text=text), 100),
        (lambda text: ev.ItemInsertRequested(item=UserSaid(text=text)), 100),
        (lambda text: ev.ResponseRequested(items=(Instructed(text="x"), UserSaid(text=text), UserSaid(text="y"))), 100),
        (lambda text: ev.ResponseRequested(instructions=text), 100 + len("Be brief.")),
    ],
    ids=["text", "say", "item", "items", "instructions"],
)
def test_a_text_may_be_as_long_as_the_limit_and_no_longer(make: Any, most: int, too_long: bool) -> None:
    core = Core(limits=Limits(text_chars=100), instructions="Be brief.").starts()
    core.happens(make("x" * (most + too_long)))
    assert core.errors == (["text_too_long"] if too_long else [])


@pytest.mark.parametrize("count", [2, 3])
def test_as_many_items_may_be_answered_as_the_history_may_have(count: int) -> None:
    core = Core(limits=Limits(history_items=2)).starts()
    core.happens(ev.ResponseRequested(items=(UserSaid(text="x"),) * count))
    assert core.errors == (["too_many_items"] if count == 3 else [])


@pytest.mark.parametrize("count", [2, 3])
def test_as_many_tools_may_be_offered_as_the_limit_says(count: int) -> None:
    core = Core(limits=Limits(tools=2)).starts()
    core.happens(ev.ToolsOffered(tools=tuple(ToolSpec(name=f"t{n}") for n in range(count))))
    assert core.errors == (["too_many_tools"] if count == 3 else [])


@pytest.mark.parametrize(
    "request_",
    [ev.CommitRequested(), ev.InputClearRequested(), ev.ConversationEndRequested(), ev.TextReceived(text="x")],
)
def test_where_no_conversation_is_a_request_is_answered_by_the_complaint_alone(request_: ev.Event) -> None:
    core = Core()
    core.happens(ev.ClientAttached())
    assert kinds(core.happens(request_)) == ["ErrorRaised"]
    assert core.errors == ["not_started"]
    assert core.told(InputCleared) == []


# --- Hearing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late",
    [
        ev.SpeechConfirmed(utterance=1),
        ev.SpeechPaused(utterance=1),
        ev.SpeechResumed(utterance=1, pause_s=0.3),
        ev.TurnEndEstimated(utterance=1, probability=0.5),
        ev.SpeechStopped(utterance=1, speech_s=1.0, silence_s=0.48),
        ev.SpeechStarted(utterance=1),
    ],
    ids=lambda event: type(event).__name__,
)
def test_facts_of_an_utterance_that_is_over_or_not_the_present_one_are_late(late: ev.Event) -> None:
    over = Core().starts()
    over.speaks()
    over.happens(ev.SpeechPaused(utterance=1))
    over.pauses()
    other = Core().starts()
    other.says("")
    other.speaks()
    other.happens(ev.SpeechPaused(utterance=2))
    for core in (over, other):
        before = core.c
        assert core.happens(late) == []
        assert core.c == attrs.evolve(before, stale=before.stale + 1)


def test_a_fact_of_a_pause_needs_one() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TurnEndEstimated(utterance=1, probability=0.5))
    assert (core.c.stale, core.c.turn_end) == (1, None)


def test_going_on_takes_back_what_was_begun_ahead() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="a question"), ev.SpeechPaused(utterance=1))
    core.happens(ev.SpeechResumed(utterance=1))
    assert core.c.speculation is None
    assert core.did(CancelReply) == [CancelReply(turn=1, reason=Reason.BARGE_IN)]


def test_an_estimate_is_of_one_pause() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.SpeechPaused(utterance=1), ev.TurnEndEstimated(utterance=1, probability=0.1))
    core.happens(ev.SpeechResumed(utterance=1))
    assert core.c.turn_end is None


def test_where_nobody_is_interrupted_length_alone_counts_though_words_are_told() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    assert core.c.confirmed


def test_words_of_a_recogniser_that_was_lost_are_not_answered_ahead() -> None:
    core = Core(stt_retry_s=1.0).starts(partials=True)
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="tea"), ev.RecognizerFailed())
    core.passes(1.5)
    assert core.state is S.LISTENING
    core.happens(ev.SpeechPaused(utterance=1))
    assert core.did(StartReply) == []


def test_what_is_held_for_words_that_turn_out_to_be_none_is_taken_back_though_the_user_pauses_again() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="tea"), ev.SpeechPaused(utterance=1))
    core.pauses()
    core.speaks()
    core.happens(ev.SpeechPaused(utterance=2))
    assert core.c.speculation is not None
    core.is_understood("", utterance=1)
    assert core.c.speculation is None


def test_words_that_were_to_wait_for_a_commit_are_answered_when_none_is_needed_any_more() -> None:
    core = Core(turn_detection=TurnDetection.MANUAL).starts()
    core.speaks()
    core.pauses()
    core.happens(ev.SettingsChanged(changes=changes({"turn_detection": "automatic"})))
    core.is_understood("a question")
    assert core.state is S.PROCESSING_SPEECH


def test_who_may_not_interrupt_any_more_does_not_by_having_spoken_for_long() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TextReceived(text="what time is it"))
    core.happens(ev.SettingsChanged(changes=changes({"barge_in": "later"})))
    core.passes(1.1)
    assert core.state is S.PROCESSING_SPEECH
    assert core.c.turn is not None
    assert core.c.turn.paused_at is None


def test_words_over_an_agent_that_only_answers_when_it_is_asked_leave_it_speaking() -> None:
    core = Core(auto_answer=False, barge_in=BargeIn.LATER).starts()
    core.happens(ev.ResponseRequested())
    core.is_answering("It is late. ")
    core.says("and tomorrow")
    assert core.state is S.PLAYING_RESPONSE
    assert core.c.unanswered


def test_an_ear_that_broke_is_closed_as_such() -> None:
    core = Core().starts()
    core.happens(ev.ListenerFailed())
    assert core.did(CloseListener) == [CloseListener(reason=Reason.ERROR_RECOVERY)]


def test_an_mhm_of_before_says_nothing_of_the_next_utterance() -> None:
    core = heard()
    core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=2, text="mhm"))
    assert core.c.worded
    core.pauses()
    core.speaks(confirmed=False)
    core.happens(ev.SpeechConfirmed(utterance=3, overdue=True))
    assert core.state is S.LISTENING


def test_words_that_cannot_be_an_echo_take_an_answer_back_though_the_agent_has_said_them() -> None:
    core = Core().starts(partials=True)
    core.says("a question")
    core.answers("It is late. ")
    core.passes(5.0)
    core.says("another")
    core.speaks(confirmed=False)
    assert not core.c.overheard
    core.happens(ev.TranscriptUpdated(utterance=core.c.utterance, text="late"))
    assert core.state is S.LISTENING


def test_a_transcript_is_waited_for_as_long_as_its_stage_may_take_and_a_second() -> None:
    core = Core(timeouts=Timeouts(connect_s=4.0, stt_final_s=7.0)).starts()
    core.speaks()
    core.pauses()
    assert core.due(Wait.TRANSCRIPT) == pytest.approx(12.0)
    core.happens(ev.RecognizerFailed())
    assert core.due(Wait.TRANSCRIPT) is None


def test_a_pause_of_just_the_longest_wait_was_within_a_turn() -> None:
    for pause_s, pauses in ((1.25, (1.25,)), (1.26, ())):
        core = Core(endpoint_max_s=1.25).starts()
        core.says("what time")
        core.happens(ev.SpeechStarted(utterance=2, pause_s=pause_s))
        assert core.c.pauses == pauses


def test_a_pause_before_an_answer_that_waits_for_a_commit_was_within_a_turn() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.happens(ev.CommitRequested())
    core.is_understood("what time")
    assert core.c.answer_due
    core.happens(ev.SpeechStarted(utterance=2, pause_s=0.5))
    assert core.c.pauses == (0.5,)


def test_a_pause_before_the_words_are_understood_was_within_a_turn_too() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.happens(ev.SpeechStarted(utterance=2, pause_s=0.9))
    assert core.c.pauses == (0.9,)


def test_an_ear_that_cannot_be_opened_is_opened_again() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.ListenerFailed())
    assert (core.state, core.due(Wait.INITIALIZE), core.errors) == (S.ERROR, None, ["vad_failed"])
    core.passes(5.0)
    assert len(core.did(OpenListener)) == 2


def test_the_word_on_an_ear_that_was_given_up_is_late() -> None:
    core = Core().starts()
    core.happens(ev.ListenerFailed(), ev.ListenerFailed())
    assert core.errors == ["vad_failed"]


def test_a_recogniser_that_fails_while_something_else_has_failed_has_its_own_back_off() -> None:
    core = Core(error_retry_s=1.0, stt_retry_s=8.0).starts()
    core.happens(ev.FailureRaised(), ev.RecognizerFailed())
    assert core.due(Wait.RECOVERY) == pytest.approx(8.0)
    assert core.due(Wait.STT_RETRY) is None


def test_what_is_said_while_nobody_can_understand_it_is_not_waited_for() -> None:
    core = Core(error_retry_s=9.0).starts()
    core.happens(ev.FailureRaised())
    core.speaks()
    core.pauses()
    assert core.c.awaited == ()


def test_one_back_off_counts_and_that_is_the_longest() -> None:
    core = heard(stt_retry_s=20.0)
    core.happens(ev.RecognizerFailed(), ev.FailureRaised())
    assert core.due(Wait.STT_RETRY) is None
    assert core.due(Wait.RECOVERY) == pytest.approx(19.9)


def test_a_failure_at_the_very_beginning_is_over_soon_too() -> None:
    core = Core(error_retry_s=0.05).starts()
    core.happens(ev.FailureRaised())
    assert core.due(Wait.RECOVERY) == pytest.approx(0.05)


def test_a_recogniser_that_is_back_by_itself_is_not_started_as_a_failed_one() -> None:
    core = heard(stt_retry_s=60.0)
    core.happens(ev.RecognizerFailed(), ev.RecognizerReady())
    core.is_generated(2.0)
    core.is_played()
    assert core.state is S.LISTENING
    assert core.due(Wait.STT_RETRY) is None


def test_with_a_button_words_whose_end_the_ear_never_told_are_answered() -> None:
    core = Core(turn_detection=TurnDetection.MANUAL, max_utterance_s=5.0).starts()
    core.speaks()
    core.passes(5.0 + Timeouts().backstop_s)
    core.is_understood("a question")
    assert core.state is S.PROCESSING_SPEECH


def test_a_word_on_a_commit_that_nobody_waits_for_does_nothing() -> None:
    core = Core(turn_detection=TurnDetection.MANUAL).starts()
    assert core.happens(ev.NothingCommitted()) == []
    assert core.c.stale == 1


def test_who_interrupts_by_a_word_in_batch_is_prompted_from_the_first_prompt_on() -> None:
    core = Core(idle_prompts=("Hello?", "Still there?"), idle_prompt_s=5.0, barge_in=BargeIn.LATER).starts()
    core.passes(5.0)
    core.is_answering("Hello?")
    core.says("a question", confirmed=False)
    assert core.c.prompts == 0


@pytest.mark.parametrize(
    ("choice", "interrupts", "guards"),
    [
        (BargeIn.FULL, True, False),
        (BargeIn.GUARDED, True, True),
        (BargeIn.LATER, False, True),
        (BargeIn.OFF, False, False),
    ],
)
def test_each_barge_in_says_whether_it_interrupts_and_whether_it_looks_for_echo(
    choice: BargeIn, interrupts: bool, guards: bool
) -> None:
    assert (choice.interrupts, choice.guards) == (interrupts, guards)


# --- Turns ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "happens",
    [
        [ev.SpeechStarted(utterance=2), ev.SpeechConfirmed(utterance=2, overdue=True)],
        [ev.SpeechStarted(utterance=2), ev.TranscriptUpdated(utterance=2, text="stop")],
        [
            ev.SpeechStarted(utterance=2),
            ev.SpeechStopped(utterance=2, speech_s=0.3, silence_s=0.48),
            ev.TranscriptFinished(utterance=2, text="stop"),
        ],
        [ev.TextReceived(text="stop")],
        [ev.InterruptRequested()],
        [ev.ItemTruncateRequested(item_id="turn_1", end_s=0.5)],
    ],
    ids=lambda events: type(events[-1]).__name__,
)
def test_however_the_agent_is_interrupted_everybody_is_told_that_it_was(happens: list[ev.Event]) -> None:
    core = heard()
    core.happens(*happens)
    core.stopped_at(1, 0.5)
    stopped = next(each for each in core.told(StateChanged) if each.old is S.PLAYING_RESPONSE)
    reasons = [
        each.reason for each in (stopped, *core.did(CancelReply), *core.told(PlaybackCleared), *core.told(TurnEnded))
    ]
    assert reasons == [Reason.BARGE_IN] * 4


def test_who_begins_again_is_prompted_from_the_first_prompt_on() -> None:
    core = Core(idle_prompts=("Hello?", "Still there?"), idle_prompt_s=5.0).starts()
    core.passes(5.0)
    core.answers("Hello?")
    core.happens(ev.ConversationEndRequested())
    assert core.c.prompts == 0


def test_what_waits_for_a_commit_waits_for_it_still_when_something_was_said_meanwhile() -> None:
    core = Core(turn_detection=TurnDetection.MANUAL).starts()
    core.says("a question")
    core.happens(ev.SayRequested(text="dinner"))
    core.answers("Dinner. ")
    assert core.c.unanswered


@pytest.mark.parametrize("output", Output)
def test_sound_stops_before_its_making_and_text_is_told_before_its_end_is(output: Output) -> None:
    core = Core(output=output).starts()
    core.says("a question")
    core.writes("An answer. ")
    done = [name for name in kinds(core.happens(ev.InterruptRequested())) if name in {"FlushPlayback", "CancelReply"}]
    assert done == (["FlushPlayback", "CancelReply"] if output is Output.AUDIO else ["CancelReply", "FlushPlayback"])


def test_an_answer_that_was_cut_by_a_limit_says_so_at_its_end() -> None:
    for limited in (False, True):
        core = heard()
        core.happens(ev.GenerationFinished(turn=1, audio_s=2.0, limited=limited))
        core.is_played()
        assert [each.limited for each in core.told(TurnEnded)] == [limited]


def test_a_turn_that_waited_is_over_without_a_word_and_is_waited_for_no_longer() -> None:
    core = heard()
    core.happens(ev.InterruptRequested(), ev.TextReceived(text="go on"))
    assert core.due(Wait.SETTLE) is not None
    core.happens(ev.InterruptRequested())
    assert core.due(Wait.SETTLE) is None
    assert (core.heard(2), core.c.last_spoken) == ("", "It is late. Very late indeed. ")
    core.stopped_at(1, 1.0)
    assert [item.audio_s for item in core.c.history if isinstance(item, AgentSaid)] == [1.0, 0.0]


def test_what_is_said_aside_leaves_nothing_in_the_history_when_it_is_interrupted() -> None:
    core = Core().starts()
    core.happens(ev.ResponseRequested(items=(UserSaid(text="x"),), aside=True))
    turn = core.is_answering("An aside. ")
    core.happens(ev.InterruptRequested())
    core.stopped_at(turn, 0.9)
    assert core.c.history == ()


@pytest.mark.parametrize("fails", ["the model", "the voice"])
def test_answers_that_begin_and_hang_one_after_the_other_are_critical(fails: str) -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    for _ in range(2):
        core.happens(ev.TextReceived(text="hello"))
        if fails == "the voice":
            core.is_answering("Well. ")
        core.passes(Timeouts().generation_s + 0.1)
        if core.c.settling:
            core.stopped_at(core.turn, 0.0)
    assert core.c.ended is Reason.CRITICAL_ERROR


def test_a_voice_that_fails_amid_each_answer_is_critical() -> None:
    core = Core(limits=Limits(same_failures=2)).starts()
    for _ in range(2):
        core.happens(ev.TextReceived(text="hello"))
        core.is_answering("Well. ")
        core.happens(ev.SynthesizerFailed(turn=core.turn))
        if core.c.turn is not None:
            core.is_generated(1.0)
            core.is_played()
    assert core.c.ended is Reason.CRITICAL_ERROR


def test_what_is_stopped_again_and_again_before_it_is_heard_does_not_fill_the_history() -> None:
    core = Core().starts()
    for _ in range(20):
        core.happens(ev.SayRequested(text="dinner"), ev.InterruptRequested())
        core.stopped_at(core.turn, 0.0)
    assert len(core.c.history) <= 9


@pytest.mark.parametrize(("after_s", "answered"), [(1.0, True), (1.125, False)])
def test_yes_is_an_answer_up_to_a_second_before_the_last_word(after_s: float, answered: bool) -> None:
    core = heard()
    core.is_generated(60.0)
    core.speaks(confirmed=False)
    core.pauses()
    core.now = 8.0
    core.happens(ev.TranscriptFinished(utterance=2, text="yes"), after=0.0)
    core.now += after_s
    core.happens(ev.PlaybackFinished(turn=1, played_s=60.0), after=0.0)
    assert (core.state is S.PROCESSING_SPEECH) is answered


def test_yes_counts_from_when_the_agent_went_on_for_the_last_time() -> None:
    core = heard()
    core.is_generated(60.0)
    core.says("yes", confirmed=False)
    core.passes(5.0)
    core.speaks(confirmed=False)
    core.pauses(too_short=True)
    core.happens(ev.PlaybackFinished(turn=1, played_s=60.0))
    assert core.state is S.PROCESSING_SPEECH


def test_late_facts_of_another_turn_are_none_of_the_one_that_is_held() -> None:
    core = heard()
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 1.0)
    core.passes(5.0)
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=2, text="tea"), ev.SpeechPaused(utterance=2))
    stale = core.c.stale
    core.happens(ev.PhraseReady(turn=1, index=2, text="More. "))
    assert core.c.stale == stale + 1
    assert core.c.speculation is not None
    assert core.c.speculation.turn.phrases == ()


def test_an_answer_that_was_cut_by_a_limit_before_it_was_let_out_says_so_too() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="tea"), ev.SpeechPaused(utterance=1))
    core.happens(ev.PhraseReady(turn=1, index=0, text="Well. "))
    core.happens(ev.GenerationFinished(turn=1, audio_s=1.0, limited=True))
    core.pauses()
    core.is_understood("tea")
    core.sounds(1.0)
    core.is_played()
    assert [each.limited for each in core.told(TurnEnded)] == [True]


def test_what_the_voice_tells_of_its_words_is_remembered_with_the_phrase() -> None:
    core = heard()
    words = (SpokenWord(share=0.2, at_s=0.9),)
    core.happens(ev.WordsSpoken(turn=1, index=0, words=words))
    assert core.c.turn is not None
    assert [phrase.words for phrase in core.c.turn.phrases] == [words, ()]
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 0.8)
    assert core.heard(1) == ""


def test_only_an_answer_is_owed_when_it_is_taken_back() -> None:
    core = Core().starts()
    core.happens(ev.SayRequested(text="dinner"), ev.ClientDetached())
    assert not core.c.answer_due


def test_text_for_an_agent_that_nobody_listens_to_does_not_end_an_error() -> None:
    core = Core(error_retry_s=9.0).starts()
    core.happens(ev.FailureRaised(), ev.ClientDetached(), ev.TextReceived(text="hello"))
    assert core.state is S.ERROR


def test_an_apology_is_not_made_after_an_answer_that_was_given() -> None:
    core = Core(apology="I am sorry.").starts()
    core.says("a question")
    core.speaks(confirmed=False)
    core.happens(ev.LanguageModelFailed(turn=1))
    assert core.c.apology_due
    core.stopped_at(1, 0.0)
    core.happens(ev.TranscriptUpdated(utterance=2, text="another"), ev.SpeechPaused(utterance=2))
    core.pauses()
    core.is_understood("another")
    assert core.c.released == 1
    core.answers("An answer. ")
    assert core.spoken == []


def test_a_turn_that_nobody_asked_for_has_no_ticket() -> None:
    assert Turn(number=1, kind=TurnKind.WELCOME).ticket is None


@pytest.mark.parametrize(
    ("fails", "kind"),
    [(ev.LanguageModelFailed(turn=1), "llm"), (ev.SynthesizerFailed(turn=1), "tts")],
    ids=["llm", "tts"],
)
def test_what_fails_ahead_of_time_is_taken_back_as_a_failure_and_not_counted(fails: ev.Event, kind: str) -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="a question"), ev.SpeechPaused(utterance=1), fails)
    assert core.did(CancelReply) == [CancelReply(turn=1, reason=Reason.ERROR_RECOVERY)]
    assert (core.errors, getattr(core.c.failures, kind)) == ([], 0)


def test_work_that_was_done_in_vain_is_counted_until_it_is_withdrawn() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="a question"), ev.SpeechPaused(utterance=1))
    core.happens(ev.PhraseReady(turn=1, index=0, text="Well. "), after=0.1)
    core.happens(ev.SpeechResumed(utterance=1), after=0.3)
    assert core.c.wasted.work_s == pytest.approx(0.4)


def test_the_agents_own_words_over_itself_do_not_interrupt_it_when_they_are_understood_for_good() -> None:
    core = heard()
    core.says("it is late", confirmed=False)
    assert core.state is S.PLAYING_RESPONSE
    assert "user: it is late" not in core.history


@pytest.mark.parametrize("ends", [True, False])
def test_what_was_only_read_has_no_echo(ends: bool) -> None:
    core = Core(output=Output.TEXT).starts()
    core.happens(ev.TextReceived(text="hello"))
    core.writes("An answer. ")
    core.happens(ev.GenerationFinished(turn=1, audio_s=0.0) if ends else ev.InterruptRequested())
    assert core.c.turn is None
    assert (core.c.last_spoken, core.c.spoken_at) == ("", None)


def test_an_apology_that_was_owed_is_not_made_in_the_next_conversation() -> None:
    core = Core(apology="I am sorry.").starts()
    core.says("a question")
    core.speaks(confirmed=False)
    core.happens(ev.LanguageModelFailed(turn=1), ev.ConversationEndRequested())
    assert not core.c.apology_due


def test_what_the_agent_has_to_tell_is_told_after_what_was_to_be_said_before() -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, detached=True, announced=True)
    core.answers("Soon. ")
    core.speaks(confirmed=False)
    core.happens(ev.SayRequested(text="dinner"), ev.ToolFinished(turn=1, call="c1", output="sunny"))
    core.pauses(too_short=True)
    assert core.spoken == ["dinner"]
    core.answers("Dinner. ")
    assert core.state is S.PROCESSING_SPEECH
    assert latency(core) == pytest.approx(1.2)


def test_a_conversation_that_ends_early_leaves_nothing_to_be_waited_for() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.ConversationEndRequested())
    assert core.due(Wait.INITIALIZE) is None
    core = heard()
    core.happens(ev.RecognizerFailed())
    assert core.due(Wait.STT_RETRY) is not None
    core.happens(ev.ConversationEndRequested())
    assert core.due(Wait.STT_RETRY) is None


# --- Playback -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lacks_s", "over"), [(SAME_S, True), (0.0011, False)])
@pytest.mark.parametrize("told_by", ["the clock", "the client", "the deadline"])
def test_what_lacks_just_a_thousandth_is_over_and_what_lacks_more_is_not(
    told_by: str, lacks_s: float, over: bool
) -> None:
    core = heard()
    if told_by == "the deadline":
        core.happens(ev.PlaybackFinished(turn=1, played_s=1.0 - lacks_s), ev.GenerationFinished(turn=1, audio_s=1.0))
    else:
        core.is_generated(1.0)
    if told_by == "the clock":
        core.happens(ev.PlaybackFinished(turn=1, played_s=1.0 - lacks_s))
    elif told_by == "the client":
        core.happens(ev.PlaybackProgressed(turn=1, played_s=1.0 - lacks_s))
    assert (core.state is S.LISTENING) is over
    assert (core.due(Wait.PLAYBACK) is None) is over
    if not over:
        core.passes(9.0)
        assert core.told(StateChanged)[-1].reason is Reason.ERROR_RECOVERY


def test_a_completion_of_nothing_that_anybody_knows_is_counted_as_late() -> None:
    core = Core().starts()
    core.happens(ev.PlaybackCompleted(turn=99))
    assert core.c.stale == 1
    assert core.c.reports_playback


def test_a_completion_of_a_turn_that_settles_is_not_late_and_says_nothing_new() -> None:
    core = heard()
    core.happens(ev.InterruptRequested(), ev.PlaybackCompleted(turn=1))
    assert core.c.stale == 0


def test_a_phrase_that_a_reader_was_shown_as_the_turn_was_stopped_counts_as_heard() -> None:
    core = Core(output=Output.TEXT).starts()
    for number, late in ((1, 1), (2, 2)):
        core.happens(ev.TextReceived(text="hello"))
        core.writes("One. ")
        stale = core.c.stale
        core.happens(ev.InterruptRequested(), ev.PhraseReady(turn=late, index=1, text="Two. "))
        assert core.c.stale == stale
        core.stopped_at(number, 0.0)
        assert core.heard(number) == "One. Two."
        stale = core.c.stale
        core.happens(ev.PhraseReady(turn=late, index=2, text="Three. "))
        assert core.c.stale == stale + 1


def test_a_phrase_of_the_live_turn_is_its_own_while_another_settles() -> None:
    core = Core(output=Output.TEXT).starts()
    core.happens(ev.TextReceived(text="hello"))
    core.writes("One. ")
    core.happens(ev.InterruptRequested(), ev.SayRequested(text="dinner"))
    core.writes("Dinner. ")
    assert core.c.turn is not None
    assert core.c.turn.text == "Dinner. "
    core.happens(ev.InterruptRequested(), ev.PhraseReady(turn=1, index=1, text="Two. "))
    core.stopped_at(1, 0.0)
    core.stopped_at(2, 0.0)
    assert (core.heard(1), core.heard(2)) == ("One. Two.", "Dinner.")


# --- Latency --------------------------------------------------------------------------------------------------------------


def latency(core: Core) -> float | None:
    """From what the live turn was asked by to its first audio, which comes 1.2 s after it was begun."""
    core.passes(1.0)
    core.is_answering("Well. ")
    return core.told(TurnMetrics)[-1].total_s


def test_what_is_said_by_itself_waits_from_the_moment_that_it_is_begun() -> None:
    core = Core(idle_prompts=("Hello?",), idle_prompt_s=5.0).starts()
    core.says("a question")
    core.answers("An answer. ")
    core.happens(ev.SayRequested(text="dinner"))
    assert latency(core) == pytest.approx(1.2)


def test_an_answer_that_nobody_asked_for_waits_from_the_moment_that_it_is_begun() -> None:
    core = Core(idle_answer=True, idle_prompt_s=5.0).starts()
    core.says("a question")
    core.answers("An answer. ")
    core.passes(5.0)
    assert latency(core) == pytest.approx(1.2)


def test_an_answer_that_was_taken_back_for_nothing_waits_from_then_on() -> None:
    core = Core().starts()
    core.says("a question")
    core.passes(2.0)
    core.says("")
    core.stopped_at(1, 0.0)
    assert core.state is S.PROCESSING_SPEECH
    assert latency(core) == pytest.approx(1.5)


def test_an_answer_to_what_is_committed_waits_from_the_commit_on() -> None:
    core = Core(turn_detection=TurnDetection.MANUAL).starts()
    core.says("a question")
    core.passes(2.0)
    core.happens(ev.CommitRequested(), ev.NothingCommitted())
    assert latency(core) == pytest.approx(1.2)


def test_an_answer_to_who_was_gone_waits_from_the_return_on() -> None:
    core = Core().starts()
    core.says("a question")
    core.happens(ev.ClientDetached())
    core.stopped_at(1, 0.0)
    core.passes(9.0)
    core.happens(ev.ClientAttached())
    assert latency(core) == pytest.approx(1.2)


# --- Coming and going -----------------------------------------------------------------------------------------------------


def test_nobody_is_told_to_stop_what_has_not_begun() -> None:
    core = Core()
    core.happens(ev.ClientAttached())
    assert core.happens(ev.ClientDetached()) == []
    core.happens(ev.SettingsChanged(changes=changes({"input": "text"})), ev.SessionEndRequested())
    assert core.did(StopStt) == []
    assert core.did(CloseListener) == []


def test_nobody_is_silent_who_is_not_there() -> None:
    core = Core().starts()
    core.happens(ev.ClientDetached(), ev.SettingsChanged(changes=changes({"idle_end_s": 5.0})))
    assert core.due(Wait.IDLE) is None


# --- Settings -------------------------------------------------------------------------------------------------------------


def test_who_is_heard_no_longer_has_been_silent_as_long_as_before() -> None:
    core = Core(idle_end_s=60.0).starts()
    core.passes(20.0)
    due = core.due(Wait.IDLE) or 0.0
    core.happens(ev.SettingsChanged(changes=changes({"input": "text"})))
    assert core.due(Wait.IDLE) == pytest.approx(due - 0.1)


def test_what_waits_for_who_speaks_is_said_when_speech_is_heard_no_longer() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.SayRequested(text="dinner"))
    assert core.spoken == []
    core.happens(ev.SettingsChanged(changes=changes({"input": "text"})))
    assert core.spoken == ["dinner"]


# --- Tools ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        (AnswerRest(instructions="x" * 8_001), "text_too_long"),
        (AnswerRest(tools=(ToolSpec(name="tea"), ToolSpec(name="tea"))), "duplicate_tool"),
    ],
    ids=["instructions", "tools"],
)
def test_what_is_wrong_with_the_rest_of_an_answer_is_told_and_the_result_taken(rest: AnswerRest, error: str) -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, client=True)
    core.happens(ev.ToolResultReceived(call="c1", output="sunny", rest=rest))
    assert core.errors == [error]
    assert core.did(ReturnToolResult) == [ReturnToolResult(turn=1, call="c1", output="sunny")]


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("failed", [False, True])
def test_whether_a_tool_has_failed_is_remembered_and_of_which_turn_it_was(detached: bool, failed: bool) -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, detached=detached)
    core.happens(ev.ToolFinished(turn=1, call="c1", output="sunny", failed=failed))
    assert core.c.stale == 0
    core.answers("Well. ")
    (result,) = [item for item in core.c.history if isinstance(item, ToolReturned)]
    assert (result.turn, result.text, result.failed) == (1, "sunny", failed)


def test_a_result_of_a_call_that_has_one_is_late_though_another_is_waited_for() -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, "c1")
    tool(core, "c2")
    core.happens(ev.ToolFinished(turn=1, call="c1", output="sunny"))
    core.happens(ev.ToolFinished(turn=1, call="c1", output="rain"))
    assert core.c.stale == 1
    assert core.c.turn is not None
    assert [use.output for use in core.c.turn.calls] == ["sunny", None]


def test_a_tool_in_the_background_that_is_done_in_silence_is_told_of_at_once() -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, detached=True, announced=True)
    core.answers("Soon. ")
    core.happens(ev.ToolFinished(turn=1, call="c1", output="sunny"))
    assert core.state is S.PROCESSING_SPEECH


def test_a_client_has_no_result_of_what_it_was_not_asked_for() -> None:
    core = Core().starts()
    core.says("a question")
    tool(core)
    core.happens(ev.ToolResultReceived(call="c1", output="sunny"))
    assert (core.did(ReturnToolResult), core.c.stale) == ([], 1)


def test_a_tool_that_begins_when_all_is_generated_is_late() -> None:
    core = heard()
    core.is_generated(2.0)
    tool(core)
    assert core.c.stale == 1
    assert core.c.turn is not None
    assert core.c.turn.calls == ()


def test_a_tool_in_the_background_is_remembered_when_its_turn_is_interrupted() -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, detached=True)
    core.happens(ev.InterruptRequested())
    assert [item.call for item in core.c.history if isinstance(item, ToolReturned)] == ["c1"]


# --- Items ----------------------------------------------------------------------------------------------------------------


def test_a_result_without_a_word_may_be_put_in() -> None:
    core = Core().starts()
    core.happens(ev.ItemInsertRequested(item=ToolCalled(call="c1", name="f", text="{}")))
    core.happens(ev.ItemInsertRequested(item=ToolReturned(call="c1", text="")))
    assert (core.errors, len(core.c.history)) == ([], 2)


def test_what_is_only_begun_is_shown_without_a_word() -> None:
    core = Core().starts()
    core.happens(ev.ResponseRequested())
    core.happens(ev.ItemReadRequested(item_id="turn_1"))
    assert core.told(ItemShown) == [ItemShown(item=AgentSaid(turn=1, text="", interrupted=True))]


@pytest.mark.parametrize("settles", [False, True])
def test_an_older_answer_is_cut_without_stopping_the_one_that_is_heard(settles: bool) -> None:
    core = heard()
    if settles:
        core.happens(ev.InterruptRequested())
    else:
        core.is_generated(2.0)
        core.is_played()
    core.happens(ev.SayRequested(text="dinner"))
    core.is_answering("Dinner. ")
    core.happens(ev.ItemTruncateRequested(item_id="turn_1", end_s=1.0))
    assert core.state is S.PLAYING_RESPONSE
    if not settles:
        (said,) = [item for item in core.c.history if isinstance(item, AgentSaid)]
        assert (said.text, said.interrupted, said.audio_s) == ("It is late.", True, 1.0)


def test_an_answer_may_be_cut_a_thousandth_behind_its_end_and_no_further() -> None:
    for behind_s, errors in ((SAME_S, []), (0.0011, ["audio_too_short"])):
        core = Core().starts()
        core.says("a question")
        core.answers("An answer. ")
        core.happens(ev.ItemTruncateRequested(item_id="turn_1", end_s=1.0 + behind_s))
        assert core.errors == errors
        assert len(core.told(ItemTruncated)) == (not errors)


def test_an_id_is_given_once() -> None:
    core = Core().starts()
    for _ in range(2):
        core.happens(ev.ItemInsertRequested(item=UserSaid(id="mine", text="tea")))
    assert (core.errors, len(core.c.history)) == (["item_id_taken"], 1)


def test_the_request_names_what_it_is_asked_by() -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="hello"))
    (request,) = core.did(StartReply)
    assert (request.turn, request.kind, request.locale) == (1, TurnKind.RESPONSE, "en-US")
    assert [item.id for item in core.c.history] == ["item_1"]


# --- Once more ------------------------------------------------------------------------------------------------------------


def holding(core: Core | None = None, text: str = "tea") -> Core:
    """The user pauses, and what was said so far may be answered ahead."""
    core = core or Core().starts(partials=True)
    utterance = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=utterance, text=text), ev.SpeechPaused(utterance=utterance))
    return core


def owing() -> Core:
    """An answer is due that waits for the word on a commit."""
    core = Core().starts(partials=True)
    core.speaks()
    core.pauses()
    core.happens(ev.CommitRequested())
    core.is_understood("a question")
    assert core.c.answer_due
    return core


def test_an_answer_of_which_nothing_is_written_yet_is_let_out_as_one_that_was_just_asked_for() -> None:
    core = holding()
    core.pauses()
    core.is_understood("tea")
    assert core.c.released == 1
    assert core.state is S.PROCESSING_SPEECH
    assert core.told(TurnStarted) == [TurnStarted(turn=1, kind=TurnKind.RESPONSE)]


def test_nothing_is_answered_ahead_while_something_else_is_to_be_understood_or_answered_first() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    core.pauses()
    assert holding(core).did(StartReply) == []
    core = owing()
    assert holding(core).did(StartReply) == []


@pytest.mark.parametrize(("barge_in", "answered"), [(BargeIn.GUARDED, False), (BargeIn.FULL, True)])
def test_what_may_be_an_echo_is_not_answered_ahead(barge_in: BargeIn, answered: bool) -> None:
    core = heard(barge_in=barge_in)
    core.is_generated(2.0)
    core.is_played()
    before = len(core.did(StartReply))
    holding(core, "very late indeed")
    assert core.c.overheard
    assert (len(core.did(StartReply)) > before) is answered


def test_a_shutdown_waits_for_an_answer_that_waits_itself() -> None:
    core = owing()
    core.happens(ev.ShutdownRequested(deadline_s=5.0))
    assert core.c.ended is None


def test_a_session_that_drains_does_not_end_over_who_speaks() -> None:
    core = heard(false_interruption_s=0.0)
    core.is_generated(2.0)
    core.happens(ev.ShutdownRequested(deadline_s=60.0))
    core.speaks(confirmed=False)
    core.is_played()
    assert (core.state, core.c.ended) == (S.LISTENING, None)


@pytest.mark.parametrize(
    ("choices", "reason"),
    [({"session_max_s": 5.0}, Reason.TIME_LIMIT), ({"session_idle_s": 5.0}, Reason.IDLE)],
    ids=["lifetime", "idle"],
)
def test_a_session_whose_time_is_up_ends_for_that_reason(choices: dict[str, float], reason: Reason) -> None:
    core = Core(**choices)
    core.happens(ev.ClientAttached())
    core.passes(4.8)
    assert core.c.ended is None
    core.passes(0.2)
    assert core.c.ended is reason


def test_a_session_ends_once() -> None:
    draft = Draft(Core().starts().c, 9.0)
    draft.end(Reason.SHUTDOWN)
    draft.end(Reason.IDLE)
    assert draft.c.ended is Reason.SHUTDOWN
    assert kinds(draft.commands).count("CloseSession") == 1


def test_the_back_off_of_a_recogniser_doubles_up_to_half_a_minute() -> None:
    core = Core(stt_retry_s=20.0, limits=Limits(same_failures=9)).starts()
    core.happens(ev.RecognizerFailed())
    assert core.due(Wait.RECOVERY) == pytest.approx(20.0)
    core.passes(20.0)
    core.happens(ev.RecognizerFailed())
    assert core.due(Wait.RECOVERY) == pytest.approx(30.0)


def test_a_failure_of_something_else_stops_the_turn_as_one() -> None:
    core = heard()
    core.happens(ev.FailureRaised())
    assert core.did(CancelReply) == [CancelReply(turn=1, reason=Reason.ERROR_RECOVERY)]


def test_what_cannot_be_spoken_was_delivered_and_counts_as_heard_when_it_is_stopped() -> None:
    core = heard()
    core.happens(ev.SynthesizerFailed(turn=1), ev.InterruptRequested())
    core.stopped_at(1, 0.0)
    assert core.heard(1) == "It is late. Very late indeed."


def test_with_a_button_yes_over_the_last_words_is_no_answer_before_it_is_committed() -> None:
    core = Core(turn_detection=TurnDetection.MANUAL).starts(partials=True)
    core.happens(ev.TextReceived(text="more tea"))
    core.is_answering("More tea? ")
    core.is_generated(1.0)
    core.says("yes", confirmed=False)
    core.is_played()
    assert core.state is S.LISTENING


def test_who_speaks_before_something_is_said_that_nobody_asked_for_has_not_gone_on() -> None:
    core = Core().starts()
    core.happens(ev.SayRequested(text="dinner"), ev.SpeechStarted(utterance=1, pause_s=0.5))
    assert core.c.pauses == ()


@pytest.mark.parametrize("played_s", [1.0, -1.0])
def test_a_report_of_nothing_or_of_less_than_nothing_is_late(played_s: float) -> None:
    core = Core().starts() if played_s > 0 else heard()
    core.happens(ev.PlaybackProgressed(played_s=played_s))
    assert core.c.stale == 1


def test_the_end_of_an_utterance_that_the_ear_never_told_is_told_all_the_same() -> None:
    core = Core(max_utterance_s=5.0).starts()
    core.speaks()
    core.passes(5.0 + Timeouts().backstop_s)
    assert core.told(UserSpeechStopped) == [UserSpeechStopped(utterance=1, speech_s=0.0)]


@pytest.mark.parametrize("name", ["turn_9", "utterance_9", "item_9", "call_t9c9", "result_t9c9"])
def test_the_conversations_own_names_are_not_for_others(name: str) -> None:
    core = Core().starts()
    core.happens(ev.ItemInsertRequested(item=UserSaid(id=name, text="tea")))
    assert core.errors == ["item_id_taken"]


def test_an_item_of_another_name_than_what_is_being_said_is_not_found() -> None:
    core = heard()
    core.happens(ev.ItemReadRequested(item_id="turn_7"))
    assert core.errors == ["item_not_found"]


def test_who_cuts_behind_the_end_is_told_both_times_in_milliseconds() -> None:
    core = Core().starts()
    core.says("a question")
    core.answers("An answer. ")
    core.happens(ev.ItemTruncateRequested(item_id="turn_1", end_s=1.5))
    (error,) = core.told(ErrorRaised)
    assert error.message == "the audio has 1000 ms and cannot be cut at 1500"


def test_a_tool_that_is_done_during_a_turn_is_remembered_when_that_is_stopped() -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, "c1", detached=True)
    tool(core, "c2", detached=True)
    core.happens(ev.ToolFinished(turn=1, call="c2", output="sunny"))
    assert [use.call for use in core.c.detached] == ["c1"]
    core.happens(ev.InterruptRequested())
    assert ("c2", "sunny") in [(item.call, item.text) for item in core.c.history if isinstance(item, ToolReturned)]


def test_a_client_is_told_how_many_calls_come_at_a_time_and_answers_each_by_its_name() -> None:
    core = Core().starts()
    core.says("a question")
    tool(core, client=True, batch=2)
    assert [each.batch for each in core.told(ToolCallRequested)] == [2]
    core.happens(ev.ToolResultReceived(call="c9", output="sunny"))
    assert (core.did(ReturnToolResult), core.c.stale) == ([], 1)


def test_what_is_known_of_a_turn_is_kept_with_it() -> None:
    core = heard()
    tool(core, detached=True)
    turn = core.c.turn
    assert turn is not None
    assert [(phrase.start_s, phrase.end_s) for phrase in turn.phrases] == [(0.0, 1.0), (1.0, 2.0)]
    assert turn.marks.first_audio is not None
    assert [use.detached for use in turn.calls] == [True]
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 0.5)
    assert [(each.settled, each.played_s) for each in core.c.settling] == [(True, 0.5)]


def test_input_that_is_cleared_leaves_nothing_of_the_utterance() -> None:
    core = heard()
    core.happens(ev.TranscriptUpdated(utterance=core.speaks(confirmed=False), text="mhm"))
    assert core.c.worded
    core.happens(ev.InputClearRequested())
    assert not core.c.worded


def test_text_over_what_cannot_be_interrupted_waits_from_when_it_was_sent() -> None:
    core = Core().starts()
    core.happens(ev.SayRequested(text="Listen.", interruptible=False))
    core.is_answering("Listen. ")
    core.happens(ev.TextReceived(text="hello"))
    sent = core.now
    core.passes(3.0)
    core.is_generated(1.0)
    core.is_played()
    assert core.c.turn is not None
    assert core.c.turn.marks.asked == sent
