"""The behaviour table of the design, row by row: what the system before this one did wrong, each a regression test."""

from __future__ import annotations

import pytest
from core_driver import Core, kinds

from flare_actors.conversation import Limits, Reason, Settings, State, SttMode, Timeouts
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import (
    CancelReply,
    CloseListener,
    CloseSession,
    FlushPlayback,
    OpenListener,
    StartReply,
    StartStt,
    StopStt,
)
from flare_actors.conversation.model import Hearing
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    NothingHeard,
    SessionEnded,
    StateChanged,
    TranscriptReceived,
    TurnEnded,
    TurnStarted,
)
from flare_actors.conversation.states import Output, TurnKind, Wait
from flare_actors.conversation.table import ACTIVE

S = State


def in_state(state: State, **choices: object) -> Core:
    """A conversation brought into ``state`` the usual way."""
    core = Core(welcome="Hello there." if "WELCOME" in state.name else None, **choices)
    if state is S.IDLE:
        core.happens(ev.ClientAttached())
        return core
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested())
    if state is S.INITIALIZING:
        return core
    core.happens(ev.ListenerOpened(), ev.RecognizerReady())
    match state:
        case S.PLAYING_WELCOME:
            core.is_answering("Hello there.")
        case S.PROCESSING_SPEECH:
            core.says("what time is it")
        case S.PREPARING_RESPONSE:
            core.says("what time is it")
            core.writes("It is late. ")
        case S.PLAYING_RESPONSE:
            core.says("what time is it")
            core.is_answering("It is late. ")
        case S.ERROR:
            core.happens(ev.FailureRaised(message="a bug"))
        case S.ENDED:
            core.happens(ev.SessionEndRequested())
        case _:
            pass
    assert core.state is state
    return core


@pytest.mark.parametrize("state", list(State))
def test_every_state_is_reached_the_usual_way(state: State) -> None:
    assert in_state(state).state is state


def test_a_session_waits_in_idle_and_several_conversations_follow_each_other() -> None:
    core = Core()
    assert core.state is S.IDLE
    core.starts()
    core.says("hello")
    core.answers("Hello to you. ")
    core.happens(ev.ConversationEndRequested())
    assert core.state is S.IDLE
    core.happens(ev.ConversationStartRequested(), ev.ListenerOpened(), ev.RecognizerReady())
    assert core.state is S.LISTENING
    assert core.history == []  # A new conversation knows nothing of the one before.
    core.says("good morning")
    assert core.requests[-1] == ["user: good morning"]
    core.answers("Good morning. ")
    assert core.told(TurnEnded)[-1] == TurnEnded(turn=2, reason=None, heard="Good morning.")


def test_a_welcome_is_prepared_played_and_followed_by_listening() -> None:
    core = Core(welcome="Hello there.").starts()
    assert core.did(StartReply)[0].text == "Hello there."
    assert core.told(TurnStarted) == [TurnStarted(turn=1, kind=TurnKind.WELCOME)]
    assert core.state is S.PREPARING_WELCOME
    core.writes("Hello there.")
    assert core.state is S.PREPARING_WELCOME
    core.sounds(1.0)
    assert core.state is S.PLAYING_WELCOME
    core.is_generated(1.0)
    assert core.state is S.PLAYING_WELCOME
    core.is_played()
    assert core.states == [S.IDLE, S.INITIALIZING, S.PREPARING_WELCOME, S.PLAYING_WELCOME, S.LISTENING]
    assert core.history == ["agent: Hello there."]


def test_without_a_welcome_stt_is_started_with_the_sessions_settings() -> None:
    core = Core(locale="tr-TR", stt_mode=SttMode.BATCH, endpoint_s=0.8).starts()
    assert core.states == [S.IDLE, S.INITIALIZING, S.LISTENING]
    assert core.did(StartStt) == [StartStt(locale="tr-TR", mode=SttMode.BATCH, endpoint_s=0.8)]


def test_locale_mode_and_silence_threshold_go_with_every_start_of_stt() -> None:
    core = Core(locale="tr-TR", stt_mode=SttMode.BATCH, endpoint_s=0.8, welcome="Hi.").starts()
    core.answers("Hi.")
    core.says("")
    core.says("one")
    core.answers("Two. ")
    core.happens(ev.RecognizerFailed())
    core.passes(3)
    core.happens(ev.RecognizerReady(), ev.ClientDetached(), ev.ClientAttached())
    core.says("three")
    turn = core.is_answering("Four. ")
    core.speaks()
    core.stopped_at(turn, 0.2)
    core.happens(ev.ConversationEndRequested(), ev.ConversationStartRequested(), ev.ListenerOpened())
    starts = core.did(StartStt)
    assert len(starts) >= 7
    assert {(s.locale, s.mode, s.endpoint_s) for s in starts} == {("tr-TR", SttMode.BATCH, 0.8)}


def test_when_stt_is_ready_the_client_is_told_that_it_may_speak() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.ListenerOpened())
    assert core.c.hearing is Hearing.STARTING
    assert core.told(HearingReady) == []
    core.happens(ev.RecognizerReady())
    assert core.c.hearing is Hearing.READY
    assert core.told(HearingReady) == [HearingReady()]


def test_a_final_transcript_is_asked_of_the_model() -> None:
    core = Core().starts()
    assert kinds(core.says("  what time is it ")) == ["TranscriptReceived", "TurnStarted", "StateChanged", "StartReply"]
    assert core.state is S.PROCESSING_SPEECH
    (reply,) = core.did(StartReply)
    assert reply.kind is TurnKind.RESPONSE
    assert reply.text is None
    assert core.requests == [["user: what time is it"]]
    assert core.told(TranscriptReceived) == [TranscriptReceived(utterance=1, text="what time is it", final=True)]


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_transcript_keeps_listening_and_the_client_is_told_that_nothing_was_heard(text: str) -> None:
    core = Core().starts()
    started = len(core.did(StartStt))
    core.says(text)
    assert core.state is S.LISTENING
    assert core.told(NothingHeard) == [NothingHeard(utterance=1)]
    assert len(core.did(StartStt)) == started + 1
    assert core.history == []


@pytest.mark.parametrize("state", sorted(ACTIVE, key=lambda s: s.value))
def test_a_transcript_that_nobody_awaits_is_dropped_and_counted(state: State) -> None:
    core = in_state(state)
    before = core.c
    assert core.happens(ev.TranscriptFinished(utterance=99, text="boo")) == []
    assert core.c.stale == before.stale + 1
    assert core.c.history == before.history
    assert core.state is state


def test_an_answer_is_prepared_at_its_first_speakable_phrase_not_at_its_end() -> None:
    core = Core().starts()
    core.says("tell me everything")
    assert core.state is S.PROCESSING_SPEECH
    core.writes("Well, ")
    assert core.state is S.PREPARING_RESPONSE
    core.writes("that is long. ")
    assert core.state is S.PREPARING_RESPONSE


def test_the_first_audio_is_playing() -> None:
    core = Core().starts()
    core.says("tell me everything")
    core.writes("Well, ")
    core.happens(ev.AudioStarted(turn=1))
    assert core.state is S.PLAYING_RESPONSE


def test_when_the_client_has_played_all_the_user_is_listened_to_again() -> None:
    core = Core().starts()
    core.says("hello")
    core.is_answering("Hello to you. ")
    core.is_generated(1.0)
    started = len(core.did(StartStt))
    core.happens(ev.PlaybackCompleted(turn=1, played_s=1.0))
    assert core.state is S.LISTENING
    assert len(core.did(StartStt)) == started + 1
    core.happens(ev.RecognizerReady())
    assert core.told(HearingReady)[-1] == HearingReady()
    assert len(core.told(HearingReady)) == 2


@pytest.mark.parametrize("state", sorted(ACTIVE, key=lambda s: s.value))
def test_a_conversation_ends_from_any_active_state_and_another_can_start(state: State) -> None:
    core = in_state(state)
    live = core.c.turn
    commands = core.happens(ev.ConversationEndRequested())
    assert core.state is S.IDLE
    assert CloseListener(reason=Reason.CONVERSATION_ENDED) in commands
    if live is not None:
        assert CancelReply(turn=live.number, reason=Reason.CONVERSATION_ENDED) in commands
        assert FlushPlayback(turn=live.number) in commands
    assert core.told(StateChanged)[-1].reason is Reason.CONVERSATION_ENDED
    core.happens(ev.ConversationStartRequested())
    assert core.state is S.INITIALIZING
    assert core.did(OpenListener)[-1] == OpenListener(settings=core.c.settings)
    core.happens(ev.ListenerOpened())
    assert core.state in {S.LISTENING, S.PREPARING_WELCOME}


@pytest.mark.parametrize("state", sorted(ACTIVE, key=lambda s: s.value))
def test_a_client_that_is_gone_can_come_back_within_the_grace_and_the_conversation_goes_on(state: State) -> None:
    core = in_state(state)
    live = core.c.turn
    commands = core.happens(ev.ClientDetached())
    if live is not None:
        assert CancelReply(turn=live.number, reason=Reason.CLIENT_DISCONNECTED) in commands
    assert core.c.turn is None
    assert core.due(Wait.GRACE) == pytest.approx(30.0)
    core.passes(9)
    before = core.history
    core.happens(ev.ListenerOpened(), ev.ClientAttached())
    assert core.due(Wait.GRACE) is None
    core.passes(2)
    assert core.state in {S.LISTENING, S.PROCESSING_SPEECH, S.PREPARING_WELCOME}
    assert core.history[: len(before)] == before


@pytest.mark.parametrize("state", sorted(ACTIVE, key=lambda s: s.value))
def test_a_client_that_does_not_come_back_ends_the_conversation_then_the_session(state: State) -> None:
    core = in_state(state)
    core.happens(ev.ClientDetached())
    core.passes(29.9)
    assert core.state in ACTIVE
    core.passes(0.2)
    assert core.states[-2:] == [S.IDLE, S.ENDED]
    assert {notice.reason for notice in core.told(StateChanged)[-2:]} == {Reason.CLIENT_DISCONNECTED}
    assert core.c.ended is Reason.CLIENT_DISCONNECTED
    assert core.did(CloseSession) == [CloseSession(reason=Reason.CLIENT_DISCONNECTED)]


@pytest.mark.parametrize("state", [s for s in State if s is not S.ENDED])
def test_a_transport_that_is_broken_for_good_ends_the_session_with_that_reason(state: State) -> None:
    core = in_state(state)
    core.happens(ev.TransportFailed(message="half a frame"))
    assert core.c.ended is Reason.TRANSPORT_ERROR
    assert core.told(SessionEnded) == [SessionEnded(reason=Reason.TRANSPORT_ERROR)]


@pytest.mark.parametrize("state", [s for s in State if s is not S.ENDED])
def test_a_session_ends_from_any_state_with_nothing_left_running(state: State) -> None:
    core = in_state(state)
    live = core.c.turn
    commands = core.happens(ev.SessionEndRequested())
    assert core.state is S.ENDED
    assert kinds(commands)[-2:] == ["SessionEnded", "CloseSession"]
    if live is not None:
        assert CancelReply(turn=live.number, reason=Reason.SESSION_ENDED) in commands
        assert core.told(TurnEnded)[-1].turn == live.number
    if state in ACTIVE:
        assert CloseListener(reason=Reason.SESSION_ENDED) in commands
    assert core.c.deadlines.earliest() is None
    core.passes(10_000)
    assert core.happens(ev.ClientAttached(), ev.ConversationStartRequested()) == []


def test_a_failed_recogniser_is_started_again_after_a_back_off_that_doubles() -> None:
    core = Core().starts()
    core.happens(ev.RecognizerFailed(message="no connection"))
    assert core.state is S.ERROR
    assert core.errors == ["stt_failed"]
    core.passes(1.9)
    assert core.state is S.ERROR
    core.passes(0.2)
    assert core.state is S.LISTENING
    assert core.did(StartStt)[-1].retry
    core.happens(ev.RecognizerFailed(message="no connection"))
    core.passes(3.9)
    assert core.state is S.ERROR
    core.passes(0.2)
    assert core.state is S.LISTENING
    core.happens(ev.RecognizerReady())
    core.says("hello")
    assert core.state is S.PROCESSING_SPEECH


def test_when_tts_fails_the_text_is_delivered_and_the_user_listened_to() -> None:
    core = Core().starts()
    core.says("hello")
    core.writes("Hello to you. ")
    core.happens(ev.SynthesizerFailed(turn=1))
    assert core.errors == ["tts_failed"]
    assert CancelReply not in map(type, core.done)  # The model goes on writing.
    core.writes("How are you? ")
    core.is_generated(0.0)
    assert core.state is S.LISTENING
    assert core.heard(1) == "Hello to you. How are you?"
    assert core.history == ["user: hello", "agent: Hello to you. How are you?"]
    assert isinstance(core.done[-1], StartStt)


def test_when_the_model_fails_the_user_is_listened_to_again() -> None:
    core = Core().starts()
    core.says("hello")
    core.happens(ev.LanguageModelFailed(turn=1))
    assert core.state is S.LISTENING
    assert core.errors == ["llm_failed"]
    assert core.told(StateChanged)[-1].reason is Reason.ERROR_RECOVERY
    assert core.spoken == []
    assert isinstance(core.done[-1], StartStt)


@pytest.mark.parametrize("hangs", [False, True])
def test_when_the_model_fails_an_apology_can_be_spoken(hangs: bool) -> None:
    core = Core(apology="I am sorry, please ask again.").starts()
    core.says("hello")
    if hangs:
        core.passes(Timeouts().generation_s + 0.1)
    else:
        core.happens(ev.LanguageModelFailed(turn=1))
    assert core.state is S.PREPARING_RESPONSE
    assert core.spoken == ["I am sorry, please ask again."]
    assert core.told(TurnStarted)[-1].kind is TurnKind.APOLOGY
    core.answers("I am sorry, please ask again.")
    assert core.state is S.LISTENING
    assert core.history == ["user: hello", "agent: I am sorry, please ask again."]


@pytest.mark.parametrize("state", sorted(ACTIVE - {S.ERROR}, key=lambda s: s.value))
def test_an_unknown_failure_is_an_error_for_a_second_and_then_listening(state: State) -> None:
    core = in_state(state)
    core.happens(ev.FailureRaised(message="a bug"))
    assert core.state is S.ERROR
    assert core.errors == ["internal_error"]
    core.passes(0.9)
    assert core.state is S.ERROR
    core.happens(ev.ListenerOpened(), after=0)
    core.passes(0.2)
    assert core.state is S.LISTENING


@pytest.mark.parametrize("state", [s for s in State if s is not S.ENDED])
def test_a_critical_failure_ends_the_session_from_any_state_and_the_client_is_told_why(state: State) -> None:
    core = in_state(state)
    commands = core.happens(ev.FailureRaised(message="no key", critical=True))
    assert core.c.ended is Reason.CRITICAL_ERROR
    told = [n for n in core.told(ErrorRaised) if not n.recoverable]
    assert len(told) == 1
    assert kinds(commands).index("ErrorRaised") < kinds(commands).index("SessionEnded")


@pytest.mark.parametrize("stage", ["vad", "stt", "llm", "tts", "unknown"])
@pytest.mark.parametrize("times", [1, 3])
def test_the_same_failure_so_many_times_in_a_row_is_critical(stage: str, times: int) -> None:
    core = Core(limits=Limits(same_failures=times)).starts()
    for n in range(times):
        assert core.c.ended is None
        fail_once(core, stage)
        assert (core.c.ended is Reason.CRITICAL_ERROR) == (n == times - 1)
    assert core.told(ErrorRaised)[-1].code == f"{stage}_failed"
    assert not core.told(ErrorRaised)[-1].recoverable


def fail_once(core: Core, stage: str) -> None:
    """A stage fails, and if the session goes on, so does the conversation."""
    match stage:
        case "vad":
            core.happens(ev.ListenerFailed())
            core.passes(1.5)
            core.happens(ev.ListenerOpened())
        case "stt":
            core.happens(ev.RecognizerFailed())
            core.passes(30)
        case "llm":
            core.says("hello")
            core.happens(ev.LanguageModelFailed(turn=core.turn))
            core.stopped_at(core.turn, 0.0)
        case "tts":
            core.says("hello")
            core.writes("Hello. ")
            core.happens(ev.SynthesizerFailed(turn=core.turn))
            if core.c.ended is None:
                core.is_generated(0.0)
        case _:
            core.happens(ev.FailureRaised())
            core.passes(1.5)


def test_a_recogniser_that_hangs_is_closed_and_started_again() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.passes(30)
    assert StopStt(reason=Reason.ERROR_RECOVERY) in core.done
    assert core.errors == ["stt_failed"]
    assert core.did(StartStt)[-1].retry
    assert core.state is S.LISTENING


@pytest.mark.parametrize(("state", "stage"), [(S.PROCESSING_SPEECH, "llm"), (S.PREPARING_RESPONSE, "tts")])
def test_a_reply_that_hangs_is_cancelled_by_the_backstop(state: State, stage: str) -> None:
    core = in_state(state)
    core.passes(Timeouts().generation_s - 0.5)
    assert core.state is state
    core.passes(1)
    assert core.state is S.LISTENING
    assert core.errors == [f"{stage}_failed"]
    assert CancelReply(turn=1, reason=Reason.ERROR_RECOVERY) in core.done


def test_an_ear_that_does_not_open_is_opened_again_and_in_the_end_critical() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested())
    core.passes(Timeouts().opening_s + 0.5)
    assert core.state is S.ERROR
    core.passes(1)
    assert len(core.did(OpenListener)) == 2
    core.passes(60)
    assert core.c.ended is Reason.CRITICAL_ERROR
    assert len(core.did(OpenListener)) == 3


def test_nothing_heard_for_long_is_prompted_once_and_then_the_conversation_ends() -> None:
    core = Core(idle_prompts=("Are you there?",), idle_prompt_s=20.0, idle_end_s=60.0).starts()
    core.passes(19.5)
    assert core.spoken == []
    core.passes(0.6)
    assert core.spoken == ["Are you there?"]
    assert core.told(TurnStarted)[-1].kind is TurnKind.IDLE_PROMPT
    core.answers("Are you there?")
    core.passes(59.5)
    assert core.state is S.LISTENING
    core.passes(0.6)
    assert core.state is S.IDLE
    assert core.told(StateChanged)[-1].reason is Reason.IDLE
    assert core.spoken == ["Are you there?"]


def test_prompts_follow_each_other_at_growing_intervals_and_begin_anew_once_the_user_has_spoken() -> None:
    prompts = ("Hello?", "Still there?", "Goodbye then.")
    core = Core(idle_prompts=prompts, idle_prompt_s=10.0, idle_prompt_growth=2.0, idle_end_s=30.0).starts()
    for wait_s, prompt in zip((10, 20, 40), prompts, strict=True):
        core.passes(wait_s - 0.5)
        before = len(core.spoken)
        core.passes(0.6)
        assert core.spoken[before:] == [prompt]
        core.answers(prompt)
    core.says("I am here")
    core.answers("Good. ")
    core.passes(10.1)
    assert core.spoken[3:] == ["Hello?"]
    core.answers("Hello?")
    for wait_s, prompt in ((20.1, "Still there?"), (40.1, "Goodbye then.")):
        core.passes(wait_s)
        core.answers(prompt)
    core.passes(29.5)
    assert core.state is S.LISTENING
    core.passes(0.6)
    assert core.state is S.IDLE


def test_a_session_without_a_conversation_ends_after_its_own_time() -> None:
    core = Core(session_idle_s=100.0)
    core.happens(ev.ClientAttached())
    core.passes(99)
    assert core.state is S.IDLE
    core.passes(1.1)
    assert core.c.ended is Reason.IDLE


def test_a_session_waits_for_its_next_conversation_from_the_end_of_the_last() -> None:
    core = Core(session_idle_s=100.0).starts()
    core.passes(200)
    core.happens(ev.ConversationEndRequested())
    core.passes(99)
    assert core.state is S.IDLE
    core.passes(1.1)
    assert core.c.ended is Reason.IDLE


@pytest.mark.parametrize("state", list(State))
def test_every_stop_tells_its_reason(state: State) -> None:
    """Of everything that stops something, the client can tell why."""
    for event, reason in (
        (ev.ConversationEndRequested(), Reason.CONVERSATION_ENDED),
        (ev.SessionEndRequested(reason=Reason.SHUTDOWN), Reason.SHUTDOWN),
        (ev.SessionOverloaded(queue="inbox"), Reason.OVERLOADED),
        (ev.FailureRaised(), Reason.ERROR_RECOVERY),
    ):
        core = in_state(state)
        before = len(core.told(StateChanged))
        core.happens(event)
        assert all(change.reason is reason for change in core.told(StateChanged)[before:])


INVALID = [
    (S.LISTENING, ev.ConversationStartRequested(), "already_started"),
    (S.PLAYING_RESPONSE, ev.ConversationStartRequested(), "already_started"),
    (S.IDLE, ev.ConversationEndRequested(), "not_started"),
    (S.IDLE, ev.TextReceived(text="hello"), "not_started"),
    (S.IDLE, ev.SayRequested(text="hello"), "not_started"),
    (S.IDLE, ev.CommitRequested(), "not_started"),
    (S.LISTENING, ev.TextReceived(text=" "), "empty_text"),
    (S.LISTENING, ev.SayRequested(text=""), "empty_text"),
    (S.LISTENING, ev.TextReceived(text="x" * 8_001), "text_too_long"),
    (S.PLAYING_RESPONSE, ev.TextReceived(text="x" * 8_001), "text_too_long"),
    (S.LISTENING, ev.SayRequested(text="x" * 8_001), "text_too_long"),
]


@pytest.mark.parametrize(("state", "event", "code"), INVALID)
def test_an_invalid_request_is_answered_with_an_error_and_changes_nothing(
    state: State, event: ev.Event, code: str
) -> None:
    core = in_state(state)
    before = core.c
    commands = core.happens(event)
    assert core.c == before
    assert kinds(commands) == ["ErrorRaised"]
    assert core.errors[-1] == code
    assert core.told(ErrorRaised)[-1].recoverable


def test_a_client_that_takes_text_only_is_answered_in_text() -> None:
    core = Core(settings=Settings(output=Output.TEXT)).starts()
    core.says("hello")
    assert core.did(StartReply)[0].output is Output.TEXT
    core.writes("Hello to you. ")
    core.is_generated(0.0)
    assert core.state is S.LISTENING
    assert core.history == ["user: hello", "agent: Hello to you."]
