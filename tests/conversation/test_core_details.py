"""What single fields of a conversation are for: tests that were missing when every line of the core was broken in turn."""

from __future__ import annotations

import attrs
import pytest
from core_driver import Core, notices
from exploration import stroll
from worlds import WORLDS

from flare_actors.conversation import (
    Conversation,
    Limits,
    Settings,
    State,
    calls,
    changes,
    commands,
    history,
    items,
    model,
    requests,
    settings,
    step,
)
from flare_actors.conversation import events as ev
from flare_actors.conversation import notices as told
from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.commands import StartStt
from flare_actors.conversation.history import AgentSaid
from flare_actors.conversation.model import Hearing
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    NothingHeard,
    StateChanged,
    TranscriptReceived,
    TurnEnded,
)
from flare_actors.conversation.states import BargeIn, Floor, Reason, Wait

S = State


@pytest.fixture(scope="module")
def reached() -> list[Conversation]:
    """A thousand conversations, out of real runs in all worlds."""
    found = [c for world in WORLDS.values() for seed in range(12) for c in stroll(world, seed, 60)]
    return found[:: max(1, len(found) // 1_000)]


# --- Of every conversation ------------------------------------------------------------------------------------------------


def _late(c: Conversation) -> list[ev.Event]:
    """Facts about a turn and an utterance that never were."""
    turn, utterance = c.turns + 7, c.utterance + 7
    return [
        ev.SpeechConfirmed(utterance=utterance),
        ev.SpeechPaused(utterance=utterance),
        ev.SpeechResumed(utterance=utterance),
        ev.SpeechStopped(utterance=utterance, speech_s=1.0, silence_s=0.48),
        ev.TranscriptUpdated(utterance=utterance, text="words"),
        ev.TranscriptFinished(utterance=utterance, text="words"),
        ev.PhraseReady(turn=turn, index=0, text="Words. "),
        ev.PhraseSpoken(turn=turn, index=0, start_s=0.0, end_s=1.0),
        ev.AudioStarted(turn=turn),
        ev.GenerationFinished(turn=turn, audio_s=1.0),
        ev.LanguageModelFailed(turn=turn),
        ev.SynthesizerFailed(turn=turn),
        ev.PlaybackFinished(turn=turn, played_s=1.0),
        ev.PlaybackStopped(turn=turn, played_s=1.0),
        ev.SpeechStarted(utterance=c.utterance),
    ]


@pytest.mark.no_cover  # walks the same lines over and over: see conftest.py
def test_late_facts_change_nothing_in_any_state(reached: list[Conversation]) -> None:
    for conversation in reached:
        for event in _late(conversation):
            after, done = step(conversation, attrs.evolve(event, at=1e6))
            assert done == (), event
            assert after == attrs.evolve(conversation, stale=conversation.stale + 1), event


def test_a_deadline_that_was_moved_has_not_passed(reached: list[Conversation]) -> None:
    for conversation in reached:
        for wait in Wait:
            due = getattr(conversation.deadlines, wait.value)
            event = ev.DeadlinePassed(at=1e6 if due is None else due - 0.001, wait=wait)
            after, done = step(conversation, event)
            assert (after, done) == (attrs.evolve(conversation, stale=conversation.stale + 1), ())


def test_a_session_begins_with_nothing_said_and_nothing_due() -> None:
    new = attrs.asdict(
        Conversation(), filter=lambda field, _: field.name not in {"settings", "deadlines", "tool_choice"}
    )
    counted = [new.pop(name) for name in ("wasted", "waste", "asked", "failures")]
    assert (new.pop("state"), new.pop("floor"), new.pop("hearing")) == (S.IDLE, Floor.SILENT, Hearing.STOPPED)
    assert [name for name, value in [*new.items(), *(each for one in counted for each in one.items())] if value] == []


def test_nothing_of_a_conversation_outlives_it(reached: list[Conversation]) -> None:
    for conversation in reached:
        if conversation.state in {S.IDLE, S.ENDED}:
            continue
        for event in (ev.ConversationEndRequested(at=1e6), ev.SessionEndRequested(at=1e6)):
            after, _ = step(conversation, event)
            assert after.turn is after.speculation is after.wish is None
            assert (after.says, after.awaited, after.detached, after.partial) == ((), (), (), "")
            flags = (after.answer_due, after.unanswered, after.apology_due, after.report_due, after.listener_open)
            assert not any((*flags, after.confirmed, after.worded, after.overheard, after.unheard, after.paused))
            assert not after.committing
            assert (after.floor, after.hearing) == (Floor.SILENT, Hearing.STOPPED)
            if after.state is S.IDLE:
                assert after.prompts == 0
                waits = {wait for wait in Wait if getattr(after.deadlines, wait.value) is not None}
                assert waits <= {Wait.SESSION_IDLE, Wait.GRACE, Wait.DRAIN}
                assert Wait.SESSION_IDLE in waits
            else:
                assert after.settling == ()
                assert after.deadlines.earliest() is None


def test_the_end_says_why_in_every_place_where_it_is_told(reached: list[Conversation]) -> None:
    for conversation in reached:
        if conversation.state is S.ENDED:
            continue
        for event, reason in (
            (ev.SessionEndRequested(at=1e6), Reason.SESSION_ENDED),
            (ev.TransportFailed(at=1e6), Reason.TRANSPORT_ERROR),
            (ev.SessionOverloaded(at=1e6, queue="inbox"), Reason.OVERLOADED),
            (ev.FailureRaised(at=1e6, critical=True), Reason.CRITICAL_ERROR),
        ):
            after, done = step(conversation, event)
            assert after.ended is reason
            assert {getattr(each, "reason", reason) for each in done} == {reason}
            said = [notice for notice in notices(done) if not isinstance(notice, TurnEnded)]
            assert {getattr(each, "reason", reason) for each in said} == {reason}


SECRET = "what nobody but the two of them is to read"
WORDS = {
    "arguments",
    "content",
    "description",
    "heard",
    "instructions",
    "last_spoken",
    "messages",
    "output",
    "partial",
    "resume_token",
    "says",
    "text",
    "value",
}
"""Names of what somebody has said, or written for a model."""


def _secrets(kind: type) -> dict[str, object]:
    """A class's fields that hold words, with words in them."""
    found: dict[str, object] = {}
    for field in attrs.fields(kind):  # type: ignore[arg-type] # an attrs class
        if field.name in WORDS and "Output" not in str(field.type):
            many = str(field.type).startswith("tuple")
            found[field.name] = ((SECRET,) if many else SECRET) if field.type != "int" else 7
        elif field.name == "settings" and kind.__module__ == told.__name__:
            found[field.name] = Settings(welcome=SECRET)
    return found


def _with_secrets() -> list[object]:
    values: list[object] = [ToolSpec(name="tea", description=SECRET, parameters=f'{{"title": "{SECRET}"}}')]
    for module in (calls, changes, commands, ev, requests, history, items, model, settings, told):
        for kind in vars(module).values():
            if not (isinstance(kind, type) and attrs.has(kind) and kind.__module__ == module.__name__):
                continue
            secrets = _secrets(kind)
            if secrets and kind is not ToolSpec:
                fields = {field.name: None for field in attrs.fields(kind) if field.default is attrs.NOTHING}
                values.append(kind(**(fields | secrets)))
    return values


@pytest.mark.parametrize("value", _with_secrets(), ids=lambda value: type(value).__name__)
def test_no_repr_tells_what_was_said(value: object) -> None:
    assert SECRET not in repr(value)


def test_all_that_holds_words_was_looked_at() -> None:
    assert len(_with_secrets()) >= 30


# --- Speech ---------------------------------------------------------------------------------------------------------------


def test_a_new_utterance_has_not_paused_and_its_words_are_not_answered_ahead() -> None:
    core = Core().starts()
    utterance = core.speaks()
    core.happens(ev.SpeechPaused(utterance=utterance))
    core.pauses()
    core.is_understood("")
    core.happens(ev.TranscriptUpdated(utterance=core.speaks(), text="what time", complete=True))
    core.pauses()
    core.is_understood("")
    utterance = core.speaks()
    assert not core.c.paused
    assert (core.c.partial, core.c.endpoint) == ("", None)
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="and", complete=True))
    assert core.c.speculation is None


def test_words_that_the_agent_has_said_are_answered_ahead_unless_they_may_be_its_echo() -> None:
    core = Core(barge_in=BargeIn.GUARDED, echo_tail_s=0.5).starts()
    core.says("a question")
    core.answers("Shall I repeat the whole answer? ")
    core.passes(5.0)
    utterance = core.speaks()
    assert not core.c.overheard
    core.happens(
        ev.TranscriptUpdated(utterance=utterance, text="repeat the whole answer", complete=True),
        ev.SpeechPaused(utterance=utterance),
    )
    assert core.c.speculation is not None


def test_who_speaks_just_after_an_interruption_may_be_the_agents_echo() -> None:
    core = Core(echo_tail_s=0.5).starts()
    core.says("a question")
    core.is_answering("A long answer to it. ")
    core.happens(ev.InterruptRequested())
    core.speaks()
    assert core.c.overheard


def test_an_ear_that_broke_has_closed_the_recogniser_too() -> None:
    core = Core().starts()
    core.happens(ev.ListenerFailed())
    assert core.c.hearing is Hearing.STOPPED
    stale = core.c.stale
    core.happens(ev.RecognizerReady())
    assert core.c.stale == stale + 1


def test_a_recogniser_that_is_ready_stays_so_while_it_is_asked_again() -> None:
    core = Core().starts()
    asked = len(core.did(StartStt))
    core.says("")
    assert len(core.did(StartStt)) == asked + 1
    assert core.c.hearing is Hearing.READY
    assert core.told(NothingHeard)


def test_without_a_client_the_grace_time_alone_counts() -> None:
    core = Core()
    core.happens(ev.ClientAttached())
    assert core.due(Wait.SESSION_IDLE) is not None
    core.happens(ev.ClientDetached())
    assert core.due(Wait.SESSION_IDLE) is None
    assert core.due(Wait.GRACE) == pytest.approx(30.0)
    core.happens(ev.ConversationStartRequested())  # The embedder's: nobody can come for longer by it.
    assert core.due(Wait.SESSION_IDLE) is None


# --- Turns ----------------------------------------------------------------------------------------------------------------


def test_typed_text_interrupts_and_says_so() -> None:
    core = Core().starts()
    core.says("a question")
    core.is_answering("An answer. ")
    core.happens(ev.TextReceived(text="never mind"))
    change = next(each for each in core.told(StateChanged) if each.old is S.PLAYING_RESPONSE)
    assert (change.new, change.reason) == (S.LISTENING, Reason.BARGE_IN)


def test_what_the_user_says_while_the_agent_cannot_be_interrupted_comes_after_it_in_the_history() -> None:
    core = Core(barge_in=BargeIn.OFF, limits=Limits(history_items=4)).starts()
    core.says("a question")
    core.is_answering("An answer. ")
    core.speaks()
    core.c = attrs.evolve(core.c, confirmed=True)  # As after a word that was confirmed before the answer began.
    core.pauses()
    core.is_understood("by the way")
    assert core.history == ["user: a question", "user: by the way"]
    core.is_generated(1.0)
    core.is_played()
    assert core.history == ["user: a question", "agent: An answer.", "user: by the way"]


def test_an_interrupted_answer_is_marked_as_such_from_the_first_moment() -> None:
    core = Core().starts()
    core.says("a question")
    turn = core.is_answering("One two three four. ")
    core.happens(ev.InterruptRequested())
    (place,) = [item for item in core.c.history if isinstance(item, AgentSaid)]
    assert (place.text, place.interrupted) == ("", True)
    core.stopped_at(turn, 0.5)
    (said,) = [item for item in core.c.history if isinstance(item, AgentSaid)]
    assert said.text
    assert said.interrupted


def test_a_report_on_a_cancelled_turn_is_kept_until_the_speaker_has_told() -> None:
    core = Core().starts()
    core.says("a question")
    turn = core.is_answering("One two three four. ")
    core.happens(ev.InterruptRequested())
    core.happens(ev.PlaybackProgressed(turn=turn, played_s=0.5))
    assert core.told(TurnEnded) == []
    core.stopped_at(turn, 0.9)
    (ended,) = core.told(TurnEnded)
    assert ended.heard
    assert len(ended.heard) < len("One two three four.")


def test_a_report_is_about_the_turn_that_it_names() -> None:
    core = Core().starts()
    turns = []
    for _ in range(2):
        core.happens(ev.SayRequested(text="One two three four."))
        turns.append(core.is_answering("One two three four. "))
        core.happens(ev.InterruptRequested())
    core.happens(ev.PlaybackProgressed(turn=turns[1], played_s=0.25))
    assert [(each.number, each.played_s) for each in core.c.settling] == [(turns[0], 0.0), (turns[1], 0.25)]


def test_a_turn_that_was_heard_proves_that_hearing_and_all_else_works() -> None:
    core = Core().starts()
    core.happens(ev.ListenerFailed())
    core.passes(3.0)
    core.happens(ev.ListenerOpened(), ev.RecognizerReady(), ev.FailureRaised())
    core.passes(3.0)
    assert (core.c.failures.vad, core.c.failures.unknown) == (1, 1)
    core.happens(ev.TextReceived(text="still there?"))
    core.answers("Yes. ")
    assert (core.c.failures.vad, core.c.failures.unknown) == (0, 0)


def test_only_an_answer_that_was_not_begun_is_apologised_for() -> None:
    for begin in (True, False):
        core = Core(apology="I am sorry.").starts()
        core.says("a question")
        if begin:
            core.writes("So. ")
        core.passes(60.0)
        assert ("I am sorry." in core.spoken) is not begin
    core = Core(apology="I am sorry.").starts()
    core.happens(ev.SayRequested(text="dinner"))
    core.passes(60.0)
    assert core.spoken == ["dinner"]


@pytest.mark.parametrize(
    ("fails", "name"),
    [
        (ev.ListenerFailed(), "hearing"),
        (ev.RecognizerFailed(), "speech recognition"),
        (ev.FailureRaised(), "the agent"),
        (ev.LanguageModelFailed(turn=1), "the language model"),
        (ev.SynthesizerFailed(turn=1), "speech synthesis"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, ev.LanguageModelFailed) else None,
)
def test_the_client_is_told_what_failed_for_good_in_words(fails: ev.Event, name: str) -> None:
    for critical, words in ((True, f"{name} cannot be used"), (False, f"{name} failed 1 times in a row")):
        core = Core(limits=Limits(same_failures=1)).starts()
        core.happens(ev.TextReceived(text="hello"))
        core.happens(attrs.evolve(fails, critical=critical))  # type: ignore[call-arg]
        (error,) = core.told(ErrorRaised)
        assert (error.message, error.recoverable) == (words, False)
        assert core.c.ended is Reason.CRITICAL_ERROR


def test_a_session_that_drains_ends_with_its_conversation() -> None:
    core = Core().starts()
    core.says("a question")
    core.happens(ev.ShutdownRequested(deadline_s=60.0))
    assert core.state is S.PROCESSING_SPEECH
    core.happens(ev.ConversationEndRequested())
    assert (core.state, core.c.ended) == (S.ENDED, Reason.SHUTDOWN)


def test_ready_is_told_once_it_is_the_users_turn_and_not_before() -> None:
    core = Core(welcome="Hello.")
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.ListenerOpened(), ev.RecognizerReady())
    assert core.told(HearingReady) == []


def test_an_agent_that_went_deaf_while_it_spoke_says_so_when_it_is_done() -> None:
    core = Core(stt_retry_s=30.0).starts()
    core.says("a question")
    core.is_answering("An answer. ")
    core.happens(ev.RecognizerFailed())
    core.is_generated(1.0)
    core.is_played()
    change = core.told(StateChanged)[-1]
    assert (change.new, change.reason) == (S.ERROR, Reason.ERROR_RECOVERY)
    # The back-off that began then goes on.
    assert core.due(Wait.RECOVERY) == pytest.approx(29.8)
    assert core.due(Wait.STT_RETRY) is None


def test_an_answer_that_was_heard_to_its_end_is_not_marked_as_interrupted() -> None:
    core = Core().starts()
    core.says("a question")
    core.answers("An answer. ")
    (said,) = [item for item in core.c.history if isinstance(item, AgentSaid)]
    assert not said.interrupted


def test_an_answer_begun_ahead_is_owed_like_any_other_when_it_is_taken_back_unheard() -> None:
    core = Core().starts()
    utterance = core.speaks()
    core.happens(
        ev.TranscriptUpdated(utterance=utterance, text="a question", complete=True),
        ev.SpeechPaused(utterance=utterance),
    )
    core.pauses()
    core.is_understood("a question")
    assert core.c.released == 1
    core.speaks()  # The user goes on before a word was heard.
    assert core.state is S.LISTENING
    assert core.c.answer_due


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ev.ConversationEndRequested(at=1e6), Reason.CONVERSATION_ENDED),
        (ev.ClientDetached(at=1e6), Reason.CLIENT_DISCONNECTED),
        (ev.InterruptRequested(at=1e6), Reason.BARGE_IN),
        (ev.TextReceived(at=1e6, text="hello"), Reason.BARGE_IN),
    ],
    ids=lambda each: each.value if isinstance(each, Reason) else type(each).__name__,
)
def test_what_stops_says_what_it_was_stopped_by(reached: list[Conversation], event: ev.Event, reason: Reason) -> None:
    for conversation in reached:
        _, done = step(conversation, event)
        # What was heard of turns that were stopped before may be told now, with the reason of then.
        earlier = {settling.number for settling in conversation.settling}
        said = [each for each in notices(done) if not (isinstance(each, TurnEnded) and each.turn in earlier)]
        why = {getattr(each, "reason", None) for each in [*done, *said]} - {None}
        also = set()
        if conversation.draining:
            also.add(Reason.SHUTDOWN)
        if conversation.hearing is Hearing.FAILED or conversation.state is S.ERROR:
            also.add(Reason.ERROR_RECOVERY)
        assert why <= {reason} | also


def _busy(how: str) -> Core:
    core = Core().starts()
    if how == "a turn":
        core.happens(ev.TextReceived(text="hello"))
    elif how == "speech":
        core.speaks()
    elif how == "a transcript":
        core.speaks()
        core.pauses()
    elif how == "an answer that is owed":
        core.says("a question")
        core.happens(ev.SpeechStarted(utterance=2))
        core.happens(ev.SpeechConfirmed(utterance=2))
    return core


@pytest.mark.parametrize("how", ["a turn", "speech", "a transcript", "an answer that is owed", "nothing"])
def test_a_shutdown_waits_for_whatever_is_under_way(how: str) -> None:
    core = _busy(how)
    core.happens(ev.ShutdownRequested(deadline_s=5.0))
    assert (core.c.ended is None) is (how != "nothing")
    core.passes(5.0)
    assert core.c.ended is Reason.SHUTDOWN


def test_a_session_that_cannot_keep_up_tells_that_it_cannot_go_on() -> None:
    core = Core().starts()
    core.happens(ev.SessionOverloaded(queue="inbox"))
    (error,) = core.told(ErrorRaised)
    assert (error.code, error.recoverable) == ("overloaded", False)


def test_an_answer_of_which_the_speaker_says_that_it_was_heard_may_come_back_as_an_echo() -> None:
    # Its first audio had left when it was interrupted, but the word of that was still on its way.
    core = Core().starts()
    core.says("a question")
    core.writes("One two three four. ")
    turn = core.turn
    core.happens(ev.InterruptRequested())
    assert core.c.last_spoken == ""
    core.stopped_at(turn, 0.0)
    assert core.c.last_spoken == ""
    core.says("another")
    core.writes("Five six seven eight. ")
    turn = core.turn
    core.happens(ev.InterruptRequested())
    core.stopped_at(turn, 0.4)
    assert core.c.last_spoken == "Five six seven eight. "


def test_a_recogniser_that_was_ready_stays_so_over_an_error_of_something_else() -> None:
    core = Core().starts()
    core.happens(ev.FailureRaised())
    core.passes(1.5)
    assert (core.state, core.c.hearing) == (S.LISTENING, Hearing.READY)


def test_words_of_an_utterance_that_is_over_are_not_those_of_the_next() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="and then"))
    assert core.told(TranscriptReceived)[-1].utterance == 1
    assert core.c.partial == ""


def test_words_so_far_hold_nothing_up_where_there_is_nothing_to_interrupt() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    core.pauses()
    core.speaks(confirmed=False)
    core.happens(ev.TranscriptUpdated(utterance=2, text="and"))
    core.is_understood("a question", utterance=1)
    assert core.state is S.PROCESSING_SPEECH
