"""Settings as modes, chosen at the start or changed amid a conversation: push-to-talk, text only, mute, patience."""

from __future__ import annotations

import pytest
from core_driver import Core, kinds

from flare_actors.conversation import BargeIn, Floor, Output, Reason, Settings, State
from flare_actors.conversation import events as ev
from flare_actors.conversation.changes import changes
from flare_actors.conversation.commands import ApplySettings, CommitUtterance, SetMute, StartReply, StartStt, StopStt
from flare_actors.conversation.model import Hearing
from flare_actors.conversation.notices import ErrorRaised, HearingReady, SettingsUpdated, TurnStarted
from flare_actors.conversation.states import Input, Mute, SttMode, TurnDetection, Wait

S = State


def manual(**choices: object) -> Core:
    return Core(turn_detection=TurnDetection.MANUAL, **choices).starts(partials=True)


def update(core: Core, **values: object) -> list[str]:
    """Change settings; gives what was done, by name."""
    return kinds(core.happens(ev.SettingsChanged(changes=changes(values))))


# --- Push-to-talk ---------------------------------------------------------------------------------------------------------


def test_with_a_button_only_a_commit_has_the_words_answered() -> None:
    core = manual()
    core.says("what time is it")  # It was too long, or the mode has changed meanwhile: it ended by itself.
    assert (core.state, core.c.unanswered, core.c.answer_due) == (S.LISTENING, True, False)
    core.happens(ev.CommitRequested(), ev.NothingCommitted())
    assert core.state is S.PROCESSING_SPEECH
    assert core.requests == [["user: what time is it"]]
    assert not core.c.unanswered


def test_a_commit_ends_the_utterance_and_has_it_answered() -> None:
    core = manual()
    core.speaks()
    assert core.happens(ev.CommitRequested()) == [CommitUtterance()]
    assert core.c.committing
    core.pauses()
    assert not core.c.committing
    assert core.due(Wait.COMMIT) is None
    core.is_understood("what time is it")
    assert core.requests == [["user: what time is it"]]


def test_a_commit_of_words_that_are_being_understood_has_them_answered() -> None:
    core = manual()
    core.speaks()
    core.pauses()
    core.happens(ev.CommitRequested(), ev.NothingCommitted())
    assert core.errors == []
    core.is_understood("what time is it")
    assert core.state is S.PROCESSING_SPEECH


def test_a_commit_of_nothing_is_told_where_there_is_a_button_and_nowhere_else() -> None:
    for core, told in ((manual(), ["nothing_committed"]), (Core().starts(), [])):
        core.happens(ev.CommitRequested(), ev.NothingCommitted())
        assert core.errors == told
        assert core.state is S.LISTENING
        assert not core.c.committing


def test_a_commit_is_waited_for_three_seconds_before_anything_else_is_said() -> None:
    core = manual()
    core.happens(ev.CommitRequested())
    assert core.due(Wait.COMMIT) == pytest.approx(3.0)
    core.happens(ev.SayRequested(text="dinner"))
    assert core.spoken == []
    core.passes(3.0)
    assert not core.c.committing
    assert core.spoken == ["dinner"]
    stale = core.c.stale
    core.happens(ev.NothingCommitted())
    assert core.c.stale == stale + 1


def test_what_waits_for_a_commit_is_said_as_soon_as_there_was_nothing() -> None:
    core = manual()
    core.happens(ev.CommitRequested(), ev.SayRequested(text="dinner"), ev.NothingCommitted())
    assert core.spoken == ["dinner"]


def test_a_commit_needs_a_conversation_and_an_ear() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.CommitRequested(request_id="r"))
    (error,) = core.told(ErrorRaised)
    assert (error.code, error.request_id) == ("not_started", "r")
    core.happens(ev.ConversationStartRequested())
    assert core.happens(ev.CommitRequested()) == [CommitUtterance()]
    assert not core.c.committing
    core = manual()
    core.happens(ev.ClientDetached(), ev.CommitRequested())
    assert not core.c.committing


@pytest.mark.parametrize(
    ("detection", "committed", "counts"),
    [
        (TurnDetection.MANUAL, True, True),
        (TurnDetection.MANUAL, False, False),
        (TurnDetection.AUTOMATIC, True, False),
    ],
)
def test_who_lets_go_of_a_button_means_it_though_the_agent_may_not_be_interrupted(
    detection: TurnDetection, committed: bool, counts: bool
) -> None:
    core = Core(turn_detection=detection, barge_in=BargeIn.OFF).starts(partials=True)
    core.happens(ev.TextReceived(text="what time is it"))
    core.is_answering("It is late. ")
    core.speaks(confirmed=False)
    if committed:
        core.happens(ev.CommitRequested())
    core.pauses()
    assert bool(core.c.awaited) is counts


def test_input_that_is_cleared_has_no_commit_to_wait_for() -> None:
    core = manual()
    core.happens(ev.CommitRequested(), ev.InputClearRequested())
    assert not core.c.committing
    assert core.due(Wait.COMMIT) is None


# --- Answers on request ---------------------------------------------------------------------------------------------------


def test_without_automatic_answers_words_and_texts_wait_for_a_request() -> None:
    core = Core(auto_answer=False).starts()
    core.says("what")
    core.happens(ev.TextReceived(text="time is it"))
    assert (core.state, core.c.unanswered) == (S.LISTENING, True)
    core.happens(ev.ResponseRequested())
    assert core.requests == [["user: what time is it"]]
    assert not core.c.unanswered


def test_a_text_that_is_not_to_be_answered_stops_the_answer_all_the_same() -> None:
    core = Core(auto_answer=False).starts()
    core.happens(ev.ResponseRequested())
    core.is_answering("It is late. ")
    core.happens(ev.TextReceived(text="stop"))
    assert core.state is S.LISTENING
    assert core.c.turn is None


def test_an_answer_that_is_taken_back_unheard_is_not_owed_where_none_comes_by_itself() -> None:
    core = Core(auto_answer=True).starts()
    core.says("what time is it")
    update(core, auto_answer=False)
    core.speaks()
    assert (core.c.answer_due, core.c.unanswered) == (False, True)


# --- Settings that change -------------------------------------------------------------------------------------------------


def test_a_change_is_told_and_applied_and_a_change_of_nothing_only_told() -> None:
    core = Core().starts()
    assert update(core, welcome="Hi.") == ["SettingsUpdated", "ApplySettings"]
    assert core.told(SettingsUpdated)[-1].settings.welcome == "Hi."
    assert core.did(ApplySettings)[-1].settings == core.c.settings
    assert update(core, welcome="Hi.") == ["SettingsUpdated"]


def test_a_wrong_change_is_told_by_its_name_and_changes_nothing() -> None:
    core = Core().starts()
    assert update(core, welcome="Hi.", vad_threshold=7.0) == ["ErrorRaised"]
    (error,) = core.told(ErrorRaised)
    assert (error.code, error.field, error.recoverable) == ("invalid_settings", "vad_threshold", True)
    assert core.c.settings == Settings()


@pytest.mark.parametrize(
    ("values", "started"),
    [
        ({"locale": "tr-TR"}, ("tr-TR", SttMode.STREAMING, 0.48)),
        ({"stt_mode": "batch"}, ("en-US", SttMode.BATCH, 0.48)),
        ({"endpoint_s": 0.9}, ("en-US", SttMode.STREAMING, 0.9)),
        ({"barge_in": "off"}, None),
    ],
)
@pytest.mark.parametrize("state", [S.LISTENING, S.PROCESSING_SPEECH, S.PLAYING_RESPONSE])
def test_the_recogniser_is_started_as_the_settings_have_it(values, started, state: State) -> None:
    core = Core().starts()
    if state is not S.LISTENING:
        core.happens(ev.TextReceived(text="what time is it"))
    if state is S.PLAYING_RESPONSE:
        core.is_answering("It is late. ")
    before = len(core.did(StartStt))
    update(core, **values)
    assert [(c.locale, c.mode, c.endpoint_s) for c in core.did(StartStt)[before:]] == ([started] if started else [])


@pytest.mark.parametrize(
    "when",
    [ev.FailureRaised(), ev.ClientDetached(), ev.ConversationEndRequested(), ev.RecognizerFailed()],
    ids=lambda event: type(event).__name__,
)
def test_where_no_recogniser_is_wanted_none_is_started_by_a_change(when: ev.Event) -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="what time is it"), when)
    before = len(core.did(StartStt))
    update(core, locale="tr-TR")
    assert len(core.did(StartStt)) == before


def test_a_recogniser_that_is_not_open_yet_is_started_by_the_conversation_and_not_by_a_change() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested())
    update(core, locale="tr-TR")
    assert core.did(StartStt) == []
    core.happens(ev.ListenerOpened())
    assert [command.locale for command in core.did(StartStt)] == ["tr-TR"]


def test_who_only_types_is_not_heard_until_that_changes() -> None:
    core = Core().starts(partials=True)
    core.speaks()
    assert update(core, input="text") == ["SettingsUpdated", "ApplySettings", "StopStt", "SetMute"]
    assert core.did(StopStt)[-1].reason is Reason.SETTINGS
    assert core.did(SetMute)[-1] == SetMute(muted=True)
    assert (core.c.floor, core.c.hearing, core.state) == (Floor.SILENT, Hearing.STOPPED, S.LISTENING)
    assert core.due(Wait.IDLE) is not None
    before = len(core.did(StartStt))
    core.happens(ev.TextReceived(text="what time is it"))
    core.answers("It is late. ")
    assert len(core.did(StartStt)) == before
    assert update(core, input="text", welcome="Hi.") == ["SettingsUpdated", "ApplySettings"]
    assert update(core, input="audio") == ["SettingsUpdated", "ApplySettings", "StartStt", "SetMute"]
    assert core.did(SetMute)[-1] == SetMute(muted=False)
    core.happens(ev.RecognizerReady())
    assert core.told(HearingReady)
    core.says("thanks")
    assert core.state is S.PROCESSING_SPEECH


def test_speech_that_began_as_its_user_changed_to_typing_is_not_waited_for() -> None:
    core = Core().starts()
    update(core, input="text")
    stale = core.c.stale
    core.speaks(confirmed=False)
    core.pauses()
    assert core.c.awaited == ()
    assert core.c.stale == stale + 2
    core.passes(60.0)
    assert core.errors == []


def test_a_conversation_of_typed_words_begins_without_a_recogniser() -> None:
    core = Core(input=Input.TEXT)
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.ListenerOpened())
    assert core.state is S.LISTENING
    assert core.did(StartStt) == []
    assert core.c.deaf


def test_an_answer_goes_on_while_its_user_changes_to_typing() -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="what time is it"))
    core.is_answering("It is late. ")
    assert update(core, input="text") == ["SettingsUpdated", "ApplySettings", "StopStt", "SetMute"]
    assert core.state is S.PLAYING_RESPONSE


def test_who_only_types_does_not_miss_a_recogniser_that_is_down() -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="what time is it"), ev.RecognizerFailed())
    update(core, input="text")
    assert core.due(Wait.STT_RETRY) is None
    core.passes(5.0)
    core.answers("It is late. ")
    assert S.ERROR not in core.states
    update(core, input="audio")
    assert core.c.hearing is Hearing.STARTING


def test_the_next_answer_is_text_where_that_is_wanted() -> None:
    core = Core().starts()
    core.happens(ev.TextReceived(text="one"))
    update(core, output="text")
    assert core.c.turn is not None
    assert core.c.turn.output is Output.AUDIO
    core.answers("Yes. ")
    core.happens(ev.TextReceived(text="two"))
    assert [started.output for started in core.told(TurnStarted)] == [Output.AUDIO, Output.TEXT]
    assert [command.output for command in core.did(StartReply)] == [Output.AUDIO, Output.TEXT]


@pytest.mark.parametrize("output", Output)
def test_an_answer_that_waits_for_what_was_heard_before_is_made_as_the_client_was_told(output: Output) -> None:
    core = Core(output=output).starts()
    core.happens(ev.TextReceived(text="one"))
    turn = core.is_answering("One. ", "Two. ")
    core.happens(ev.TextReceived(text="two"))
    other = next(each for each in Output if each is not output)
    update(core, output=other.value)
    core.stopped_at(turn, 0.5)
    assert [started.output for started in core.told(TurnStarted)] == [output, output]
    assert [command.output for command in core.did(StartReply)] == [output, output]


# --- Patience -------------------------------------------------------------------------------------------------------------


def test_a_sessions_length_can_be_changed_and_counts_from_its_start() -> None:
    core = Core(session_max_s=100.0).starts()
    assert core.due(Wait.LIFETIME) == pytest.approx(100.0 - core.now)
    update(core, session_max_s=None)
    assert core.due(Wait.LIFETIME) is None
    update(core, session_max_s=50.0)
    assert core.due(Wait.LIFETIME) == pytest.approx(50.0 - core.now)
    core.passes(20.0)
    update(core, session_max_s=10.0)
    assert core.due(Wait.LIFETIME) == pytest.approx(0.0)
    core.passes(0.0)
    assert core.c.ended is Reason.TIME_LIMIT


def test_the_patience_with_a_session_without_conversation_can_be_changed() -> None:
    core = Core()
    core.happens(ev.ClientAttached())
    core.passes(10.0)
    update(core, session_idle_s=5.0)
    assert core.due(Wait.SESSION_IDLE) == pytest.approx(5.0)
    update(core, session_idle_s=None)
    assert core.due(Wait.SESSION_IDLE) is None
    update(core, session_idle_s=7.0)
    assert core.due(Wait.SESSION_IDLE) == pytest.approx(7.0)


def test_without_a_client_its_grace_alone_counts_whatever_is_changed() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ClientDetached())
    update(core, session_idle_s=5.0)
    assert core.due(Wait.SESSION_IDLE) is None
    assert core.due(Wait.GRACE) is not None


def test_the_patience_with_a_silent_user_can_be_changed_amid_the_silence() -> None:
    core = Core().starts()
    core.passes(8.0)
    since = core.due(Wait.IDLE)
    update(core, idle_end_s=30.0)
    assert core.due(Wait.IDLE) == pytest.approx((since or 0.0) - 300.0 + 30.0 - 0.1)
    update(core, idle_end_s=None)
    assert core.due(Wait.IDLE) is None
    update(core, idle_prompts=("Still there?",))
    assert core.due(Wait.IDLE) == pytest.approx(30.0 - 8.3, abs=0.5)
    update(core, idle_prompt_s=2.0)
    assert core.due(Wait.IDLE) == pytest.approx(0.0)
    core.passes(0.0)
    assert core.spoken == ["Still there?"]


# --- Who is not heard -----------------------------------------------------------------------------------------------------


def muted(core: Core) -> list[bool]:
    return [command.muted for command in core.did(SetMute)]


def test_while_the_agent_speaks_the_user_may_be_muted() -> None:
    core = Core(mute=Mute.SPEAKING, welcome="Hello.")
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.ListenerOpened(), ev.RecognizerReady())
    assert muted(core) == []
    core.answers("Hello.")
    assert muted(core) == [True, False]
    core.says("what time is it")
    core.answers("It is late. ")
    assert muted(core) == [True, False] * 2


def test_while_it_welcomes_the_user_may_be_muted() -> None:
    core = Core(mute=Mute.WELCOME, welcome="Hello.")
    core.happens(ev.ClientAttached(), ev.ConversationStartRequested())
    assert muted(core) == [True]
    core.happens(ev.ListenerOpened(), ev.RecognizerReady())
    core.answers("Hello.")
    assert muted(core) == [True, False]
    core.says("what time is it")
    core.answers("It is late. ")
    assert muted(core) == [True, False]


def test_while_tools_are_carried_out_the_user_may_be_muted() -> None:
    core = Core(mute=Mute.TOOLS).starts()
    core.says("what time is it")
    core.happens(ev.ToolStarted(turn=1, call="c1", name="look", arguments="{}", timeout_s=9.0))
    assert muted(core) == [True]
    core.happens(ev.ToolFinished(turn=1, call="c1", output="late"))
    assert muted(core) == [True, False]
    core.happens(ev.ToolStarted(turn=1, call="c2", name="dig", arguments="{}", timeout_s=9.0, detached=True))
    assert muted(core) == [True, False]
    core.happens(ev.ToolStarted(turn=1, call="c3", name="look", arguments="{}", timeout_s=9.0))
    core.happens(ev.InterruptRequested())
    assert muted(core) == [True, False] * 2


def test_who_is_always_muted_is_so_in_a_conversation_and_a_change_ends_it() -> None:
    core = Core(mute=Mute.ALWAYS)
    core.happens(ev.ClientAttached())
    assert muted(core) == []
    core.happens(ev.ConversationStartRequested(), ev.ListenerOpened(), ev.RecognizerReady())
    assert muted(core) == [True]
    update(core, mute="never")
    assert muted(core) == [True, False]
    core.happens(ev.MuteRequested(muted=True), ev.MuteRequested(muted=True))
    assert muted(core) == [True, False, True]


def test_who_has_muted_the_microphone_stays_muted_whatever_the_settings_say() -> None:
    core = Core(mute=Mute.SPEAKING).starts()
    core.happens(ev.MuteRequested(muted=True))
    core.happens(ev.TextReceived(text="what time is it"))
    core.answers("It is late. ")
    assert muted(core) == [True]
