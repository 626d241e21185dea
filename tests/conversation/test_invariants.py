"""Every promise that is checked of the core can be broken: each check goes red on a conversation, or a step, that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from core_driver import Core

from flare_actors.conversation import Conversation, Floor, Output, Reason, Settings, State, TurnKind, step
from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import ToolCall, ToolSpec, ToolUse
from flare_actors.conversation.commands import (
    CancelReply,
    ChatMessage,
    Command,
    FlushPlayback,
    Notify,
    OpenListener,
    PausePlayback,
    ReleaseReply,
    SetEndpoint,
    SetMute,
    StartReply,
    StartStt,
)
from flare_actors.conversation.items import AgentSaid, ToolCalled, UserSaid
from flare_actors.conversation.model import AwaitedTranscript, Hearing, Saying, Settling, Turn, Wish
from flare_actors.conversation.notices import (
    PlaybackPaused,
    PlaybackResumed,
    SessionEnded,
    StateChanged,
    TurnEnded,
    TurnStarted,
)
from flare_actors.conversation.states import Input, Mute, SttMode
from flare_actors.testing.invariants import ConversationChecker, check_value

S = State

# --- Between two steps ----------------------------------------------------------------------------------------------------


def listening(**choices: object) -> Core:
    return Core(**choices).starts(partials=True)


def speaking() -> Core:
    core = listening()
    core.speaks()
    return core


def awaiting() -> Core:
    core = speaking()
    core.pauses()
    return core


def processing() -> Core:
    core = listening()
    core.says("what time is it")
    return core


def playing() -> Core:
    core = processing()
    core.is_answering("It is late. ")
    return core


def generated() -> Core:
    core = playing()
    core.is_generated(1.0)
    return core


def contested() -> Core:
    core = playing()
    core.speaks(confirmed=False)
    return core


def ahead() -> Core:
    core = listening()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="tea"), ev.SpeechPaused(utterance=1))
    return core


def settling() -> Core:
    core = playing()
    core.happens(ev.InterruptRequested())
    return core


def failed() -> Core:
    core = listening()
    core.happens(ev.FailureRaised())
    return core


def ended() -> Core:
    core = listening()
    core.happens(ev.SessionEndRequested())
    return core


def joined() -> Core:
    core = Core()
    core.happens(ev.ClientAttached())
    return core


def initializing() -> Core:
    core = joined()
    core.happens(ev.ConversationStartRequested())
    return core


def left() -> Core:
    core = listening()
    core.happens(ev.ClientDetached())
    return core


def committing() -> Core:
    core = listening()
    core.happens(ev.CommitRequested())
    return core


def draining() -> Core:
    core = playing()
    core.happens(ev.ShutdownRequested(deadline_s=5.0))
    return core


WORLDS = (
    listening,
    speaking,
    awaiting,
    processing,
    playing,
    generated,
    contested,
    ahead,
    settling,
    failed,
    ended,
    joined,
    initializing,
    left,
    committing,
    draining,
)
TURN = Turn(number=1, kind=TurnKind.RESPONSE)
USE = ToolUse(call="c1", name="tea", arguments="{}")
SETTLING = Settling(number=0, reason=Reason.BARGE_IN, phrases=(), ended_at=0.0, settled=True)
AWAITED = AwaitedTranscript(
    utterance=1, speech_ended=0.0, endpoint=0.0, overheard=False, answer=True, committed=False, nod=False
)


@pytest.mark.parametrize("make", WORLDS, ids=lambda make: make.__name__)
def test_what_is_right_passes(make: Callable[[], Core]) -> None:
    check_value(make().c)


def due(**deadlines: float | None) -> Callable[[Conversation], Conversation]:
    return lambda c: attrs.evolve(c, deadlines=attrs.evolve(c.deadlines, **deadlines))


def having(**changes: Any) -> Callable[[Conversation], Conversation]:
    return lambda c: attrs.evolve(c, **changes)


def turn(**changes: Any) -> Callable[[Conversation], Conversation]:
    return lambda c: attrs.evolve(c, turn=attrs.evolve(c.turn, **changes))


def choosing(**choices: Any) -> Callable[[Conversation], Conversation]:
    return lambda c: attrs.evolve(c, settings=attrs.evolve(c.settings, **choices))


def both(*changes: Callable[[Conversation], Conversation]) -> Callable[[Conversation], Conversation]:
    def change(c: Conversation) -> Conversation:
        for each in changes:
            c = each(c)
        return c

    return change


def holding(**changes: Any) -> Callable[[Conversation], Conversation]:
    def change(c: Conversation) -> Conversation:
        assert c.speculation is not None
        return attrs.evolve(c, speculation=attrs.evolve(c.speculation, **changes))

    return change


LONG = "word " * 10_000

BROKEN: list[tuple[Callable[[], Core], Callable[[Conversation], Conversation], str]] = [
    # --- A turn
    (listening, having(turn=TURN), "a turn lives in"),
    (playing, having(turn=None), "a turn lives in"),
    (playing, having(attached=False), "nobody is there to hear a turn"),
    (playing, turn(kind=TurnKind.WELCOME), "a welcome has its own states"),
    (playing, turn(playing=False), "what is heard is PLAYING"),
    (processing, turn(kind=TurnKind.SAY), "only questions are processed"),
    (playing, turn(number=99), "a number that was given out"),
    (settling, having(settling=(SETTLING, SETTLING)), "turns follow each other"),
    # --- It stands still
    (playing, turn(paused_at=1.0), "stands still for a user who speaks"),
    (contested, due(interruption=None), "a turn that stands still has a deadline"),
    (contested, turn(saying=Saying(text="fire", interruptible=False)), "may not be interrupted does not stand still"),
    (contested, turn(output=Output.TEXT), "only what is heard can stand still"),
    (listening, due(interruption=1.0), "an interruption is waited for in silence only"),
    # --- Ahead
    (ahead, having(state=S.IDLE), "only a listening agent answers ahead"),
    (ahead, having(turns=0), "a held reply has a number of its own"),
    (ahead, having(paused=False), "an answer is held for a user who may have finished"),
    (ahead, holding(utterance=7), "an answer is held for a user who may have finished"),
    (ahead, holding(turn=attrs.evolve(TURN, calls=(attrs.evolve(USE, client=True),))), "has no effects"),
    # --- What is waited for
    (ended, due(idle=1.0), "an ended session waits for nothing"),
    (processing, due(generation=None), "a turn being generated has a deadline"),
    (generated, due(playback=None), "a turn being played has a deadline"),
    (generated, due(generation=1.0), "what is generated is not waited for"),
    (processing, turn(waiting=True), "a turn that waits for its account has a deadline"),
    (listening, due(generation=1.0), "no turn, no deadline of one"),
    (initializing, due(initialize=None), "an ear that opens has a deadline"),
    (failed, due(recovery=None), "ERROR, and it alone"),
    (listening, due(recovery=1.0), "ERROR, and it alone"),
    (left, due(grace=None), "a client is not waited for in vain"),
    (joined, due(session_idle=None), "a session without a conversation is not for ever"),
    (awaiting, due(transcript=None), "awaited transcripts have a deadline"),
    (committing, due(commit=None), "a commit has a deadline"),
    (listening, choosing(session_max_s=9.0), "a session's length has a deadline"),
    (speaking, due(utterance=None), "an utterance has a deadline"),
    (playing, having(hearing=Hearing.FAILED), "a recogniser that is down is started again"),
    (draining, due(drain=None), "a session that drains has a deadline"),
    (playing, due(idle=1.0), "only a listening agent waits for the user"),
    (speaking, due(idle=1.0), "a speaking user is not idle"),
    (listening, due(idle=None), "silence is not for ever"),
    (listening, choosing(idle_end_s=None), "may last for ever has no deadline"),
    # --- The floor
    (joined, both(having(floor=Floor.SPEAKING), due(utterance=1.0)), "nobody has the floor"),
    (joined, both(having(awaited=(AWAITED,), utterance=1), due(transcript=1.0)), "nothing is awaited"),
    (joined, having(says=(Saying(text="fire"),)), "nothing waits to be said"),
    (joined, having(answer_due=True), "no answer is owed"),
    (joined, having(hearing=Hearing.READY), "nobody listens"),
    (joined, having(unanswered=True), "nothing was said"),
    (joined, both(having(committing=True), due(commit=1.0)), "nothing is committed"),
    (playing, having(wish=Wish()), "an answer that was asked for is owed"),
    (listening, both(having(hearing=Hearing.FAILED), due(stt_retry=1.0)), "a deaf agent does not pretend"),
    (listening, having(answer_due=True), "a free floor is taken"),
    (listening, having(apology_due=True), "a free floor is taken"),
    (listening, both(having(draining=True), due(drain=1.0)), "a free floor ends a session that drains"),
    (awaiting, having(awaited=(AWAITED, AWAITED)), "in their order, each once"),
    (awaiting, having(awaited=(attrs.evolve(AWAITED, utterance=7),)), "what is awaited was said"),
    # --- Who is not heard
    (listening, having(muted=True), "the user is to be muted"),
    (listening, having(deaf=True), "the user is not to be muted"),
    (listening, choosing(input=Input.TEXT), "the user is to be muted"),
    (listening, choosing(mute=Mute.ALWAYS), "the user is to be muted"),
    (playing, choosing(mute=Mute.SPEAKING), "the user is to be muted"),
    (initializing, choosing(mute=Mute.WELCOME), "the user is to be muted"),
    (playing, both(choosing(mute=Mute.TOOLS), turn(calls=(USE,)), due(generation=99.0)), "the user is to be muted"),
    # --- What is bounded
    (listening, having(history=tuple(UserSaid(text="a") for _ in range(201))), "the history is bounded"),
    (
        listening,
        having(history=tuple(ToolCalled(call=str(n), name="tea", text="{}") for n in range(401))),
        "the history of calls is bounded",
    ),
    (listening, having(history=(UserSaid(text=LONG),)), "what the user says"),
    (speaking, having(partial=LONG), "what the user says"),
    (playing, having(says=(Saying(text=LONG),)), "what is to be said, is bounded"),
    (playing, having(says=(Saying(text="fire"),) * 9), "what waits to be said is bounded"),
    (listening, having(settling=(SETTLING,) * 9), "unsettled accounts are bounded"),
    (awaiting, having(awaited=(AWAITED,) * 9), "awaited transcripts are bounded"),
    (listening, having(pauses=(1.0,) * 11), "the speaker's pauses is bounded"),
    (listening, having(client_tools=(ToolSpec(name="tea"),) * 129), "the client's tools are bounded"),
    (listening, having(detached=(USE,) * 9), "tools in the background are bounded"),
    # --- Tools, and the end
    (listening, having(reports=(USE,)), "between turns, results are in the history"),
    (joined, having(detached=(USE,)), "of no conversation any more"),
    (joined, having(report_due=True), "there is nothing to report"),
    (playing, turn(calls=(attrs.evolve(USE, due=1e6),)), "a tool is waited for as long as it may take"),
    (ended, having(ended=None), "an end has a reason"),
    (listening, having(ended=Reason.IDLE), "an end has a reason"),
]


@pytest.mark.parametrize(("make", "change", "says"), BROKEN, ids=[f"{row[0].__name__}: {row[2]}" for row in BROKEN])
def test_what_is_wrong_between_two_steps_is_found(
    make: Callable[[], Core], change: Callable[[Conversation], Conversation], says: str
) -> None:
    with pytest.raises(AssertionError, match=says):
        check_value(change(make().c))


# --- One step -------------------------------------------------------------------------------------------------------------


def checked(core: Core, *, but: int = 0) -> tuple[ConversationChecker, Conversation]:
    """A checker that has seen it all, ``but`` the last so many steps; and the conversation as it was then."""
    checker, conversation = ConversationChecker(), Conversation(settings=core.c.settings)
    for event in core.journal[: len(core.journal) - but]:
        after, commands = step(conversation, event)
        checker.check(conversation, event, after, commands)
        conversation = after
    return checker, conversation


def said(*texts: str, role: str = "user") -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(role=role, content=text) for text in texts)  # type: ignore[arg-type]


def asks(number: int = 1, **changes: Any) -> StartReply:
    request = StartReply(
        turn=number, kind=TurnKind.RESPONSE, locale="en-US", output=Output.AUDIO, messages=said("what time is it")
    )
    return attrs.evolve(request, **changes)


NOTHING = ev.MuteRequested(muted=False)
"""An event that changes nothing: whatever comes of it is made up."""
CALLS = (ToolCall(call="c1", name="tea"), ToolCall(call="c2", name="tea"))
WRONG: list[tuple[Callable[[], Core], ev.Event, Callable[[Conversation], Conversation], tuple[Command, ...], str]] = [
    # --- The state
    (
        listening,
        NOTHING,
        having(),
        (Notify(notice=StateChanged(old=S.IDLE, new=S.ENDED, at=0.0)),),
        "told State.IDLE -> State.ENDED, from State.LISTENING",
    ),
    (
        listening,
        NOTHING,
        having(),
        (Notify(notice=StateChanged(old=S.LISTENING, new=S.PLAYING_WELCOME, at=0.0)),),
        "is not in the table",
    ),
    (playing, NOTHING, both(having(state=S.LISTENING, turn=None), due(generation=None, idle=99.0)), (), "was told as"),
    (listening, NOTHING, having(turns=-1), (), "turn numbers grow"),
    (speaking, NOTHING, having(utterance=0), (), "utterance numbers grow"),
    (listening, NOTHING, having(stale=-1), (), "late facts are counted"),
    # --- What comes too late
    (
        playing,
        ev.PhraseReady(turn=7, index=0, text="x"),
        having(prompts=1),
        (),
        "a late fact changes nothing",
    ),
    (playing, ev.AudioStarted(turn=0), having(), (), "a late fact changes nothing"),
    (playing, ev.ToolFinished(turn=7, call="c1", output=""), having(), (), "a late fact changes nothing"),
    (playing, ev.PlaybackStopped(turn=7, played_s=1.0), having(), (), "a late fact changes nothing"),
    (listening, ev.SpeechStarted(utterance=0), having(), (), "a late fact changes nothing"),
    (listening, ev.SpeechConfirmed(utterance=1), having(), (), "a late fact changes nothing"),
    (speaking, ev.TranscriptFinished(utterance=1, text="x"), having(), (), "a late fact changes nothing"),
    (listening, ev.TranscriptUpdated(utterance=1, text="x"), having(), (), "a late fact changes nothing"),
    (
        listening,
        ev.GenerationFinished(turn=3, audio_s=1.0),
        lambda c: attrs.evolve(c, stale=c.stale + 1),
        (FlushPlayback(turn=3),),
        "a late fact has nothing done",
    ),
    (ended, NOTHING, having(), (), "ENDED is final"),
    # --- Turns
    (playing, NOTHING, having(), (Notify(notice=TurnStarted(turn=1, kind=TurnKind.RESPONSE)),), "turn 1 starts twice"),
    (
        playing,
        NOTHING,
        having(),
        (Notify(notice=TurnEnded(turn=1, reason=None, heard="Never said.")),),
        "heard what was not written",
    ),
    (
        playing,
        NOTHING,
        having(history=(AgentSaid(turn=1, text="It"),)),
        (Notify(notice=TurnEnded(turn=1, reason=None, heard="It is")),),
        "'It is' was heard, and 'It' is remembered",
    ),
    (
        playing,
        NOTHING,
        having(),
        (Notify(notice=TurnEnded(turn=1, reason=None, heard="It is")),),
        "is not remembered",
    ),
    (ahead, NOTHING, having(), (Notify(notice=TurnEnded(turn=1, reason=None, heard="")),), "never released"),
    (ahead, NOTHING, having(), (ReleaseReply(turn=1),), "nobody was told of it"),
    (playing, NOTHING, having(), (ReleaseReply(turn=1),), "never held"),
    (playing, NOTHING, having(), (asks(),), "two replies at a time"),
    (ahead, NOTHING, having(), (asks(held=True),), "turn 1 starts twice"),
    (playing, NOTHING, having(), (CancelReply(turn=1, reason=Reason.BARGE_IN),), "cancelled and not flushed"),
    (
        playing,
        NOTHING,
        both(having(state=S.LISTENING, turn=None), due(generation=None, idle=99.0)),
        (Notify(notice=StateChanged(old=S.PLAYING_RESPONSE, new=S.LISTENING, at=0.0)),),
        "neither live nor cancelled",
    ),
    (
        generated,
        NOTHING,
        both(having(state=S.LISTENING, turn=None), due(playback=None, idle=99.0)),
        (
            Notify(notice=StateChanged(old=S.PLAYING_RESPONSE, new=S.LISTENING, at=0.0)),
            Notify(notice=TurnEnded(turn=1, reason=None, heard="")),
            Notify(notice=TurnEnded(turn=1, reason=None, heard="")),
        ),
        "turn 1 ends twice",
    ),
    # --- Standing still
    (contested, NOTHING, having(), (PausePlayback(turn=1),), "turn 1 is paused twice"),
    (contested, NOTHING, having(), (Notify(notice=PlaybackPaused(turn=1)),), "told twice to stand still"),
    (playing, NOTHING, having(), (Notify(notice=PlaybackResumed(turn=1)),), "which does not stand still"),
    (playing, NOTHING, having(), (Notify(notice=PlaybackPaused(turn=1)),), "the client stands still in"),
    (playing, NOTHING, having(), (PausePlayback(turn=1),), "what is paused stands still"),
    # --- Commands
    (listening, NOTHING, having(), (SetMute(muted=True),) * 41, "41 commands for one event"),
    (listening, NOTHING, having(), (OpenListener(settings=Settings()),), "the ear is opened twice"),
    (
        left,
        NOTHING,
        having(),
        (StartStt(locale="en-US", mode=SttMode.STREAMING, endpoint_s=0.48),),
        "nobody is there to be understood",
    ),
    (
        listening,
        NOTHING,
        having(),
        (StartStt(locale="tr-TR", mode=SttMode.STREAMING, endpoint_s=0.48),),
        "STT starts with all its settings",
    ),
    (
        listening,
        NOTHING,
        both(choosing(input=Input.TEXT), having(deaf=True)),
        (StartStt(locale="en-US", mode=SttMode.STREAMING, endpoint_s=0.48),),
        "who only types is not heard",
    ),
    (
        speaking,
        NOTHING,
        having(),
        (SetEndpoint(utterance=1, pause=1, silence_s=9.0, settled=True),),
        "waited for as the settings let it be",
    ),
    (
        speaking,
        NOTHING,
        having(),
        (SetEndpoint(utterance=7, pause=1, silence_s=0.48, settled=True),),
        "does not pause",
    ),
]


@pytest.mark.parametrize(("make", "event", "change", "commands", "says"), WRONG, ids=[row[4] for row in WRONG])
def test_a_step_that_is_wrong_is_found(
    make: Callable[[], Core],
    event: ev.Event,
    change: Callable[[Conversation], Conversation],
    commands: tuple[Command, ...],
    says: str,
) -> None:
    core = make()
    checker, conversation = checked(core)
    assert conversation == core.c
    with pytest.raises(AssertionError, match=says):
        checker.check(conversation, attrs.evolve(event, at=core.now), change(conversation), commands)


def test_a_session_that_ends_without_a_word_is_found() -> None:
    core = ended()
    checker, before = checked(core, but=1)
    event, closing = core.journal[-1], core.done[-1]
    changed = Notify(notice=StateChanged(old=S.LISTENING, new=S.ENDED, at=0.0))
    with pytest.raises(AssertionError, match="closing is the last command"):
        checker.check(before, event, core.c, (changed, closing, Notify(notice=SessionEnded(reason=Reason.IDLE))))
    with pytest.raises(AssertionError, match="the end is the last notice"):
        checker.check(before, event, core.c, (changed, closing))


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        (said("what time is it") + said("Late.", role="assistant"), "ends with the user"),
        (said("what", "time"), "not merged"),
        ((*said("hi"), ChatMessage(role="tool", call="c1", content="x")), "a result without a call"),
        (
            (*said("hi"), ChatMessage(role="assistant", calls=CALLS), ChatMessage(role="tool", call="c2", content="x")),
            "not in the order of their calls",
        ),
        (
            (
                *said("hi"),
                ChatMessage(role="assistant", calls=CALLS),
                ChatMessage(role="tool", call="c1"),
                *said("so what"),
            ),
            "calls without results",
        ),
        (
            (*said("hi"), ChatMessage(role="assistant", content="I never said that."), *said("so what")),
            "the request has what was not heard",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_request_that_is_wrong_is_found(messages: tuple[ChatMessage, ...], says: str) -> None:
    core = processing()
    commands = commands_of_the_last(core)
    checker, before = checked(core, but=1)
    wrong = tuple(attrs.evolve(c, messages=messages) if isinstance(c, StartReply) else c for c in commands)
    assert wrong != commands
    with pytest.raises(AssertionError, match=says):
        checker.check(before, core.journal[-1], core.c, wrong)


def test_a_turn_that_is_not_made_as_it_was_told_to_begin_is_found() -> None:
    core = processing()
    checker, before = checked(core, but=1)
    wrong = tuple(
        attrs.evolve(c, output=Output.TEXT) if isinstance(c, StartReply) else c for c in commands_of_the_last(core)
    )
    with pytest.raises(AssertionError, match="turn 1 was to begin as audio, and is made as text"):
        checker.check(before, core.journal[-1], core.c, wrong)


def commands_of_the_last(core: Core) -> tuple[Command, ...]:
    _, before = checked(core, but=1)
    return step(before, core.journal[-1])[1]


def test_an_interrupted_answer_of_which_more_is_remembered_than_was_played_is_found() -> None:
    core = listening()
    core.says("what time is it")
    turn_of = core.is_answering("It is late. ", "Very late.")
    core.happens(ev.InterruptRequested())
    core.stopped_at(turn_of, 0.5)
    checker, _ = checked(core)
    more = AgentSaid(turn=turn_of, text="It is late. Very late.", interrupted=True)
    with pytest.raises(AssertionError, match="was not heard"):
        checker.check(core.c, attrs.evolve(NOTHING, at=core.now), attrs.evolve(core.c, history=(more,)), ())


def test_what_may_not_be_interrupted_and_is_cancelled_by_words_is_found() -> None:
    core = listening()
    core.happens(ev.SayRequested(text="Fire!", interruptible=False))
    checker, _ = checked(core)
    with pytest.raises(AssertionError, match="stopped by nobody's words"):
        checker.check(
            core.c,
            attrs.evolve(NOTHING, at=core.now),
            core.c,
            (CancelReply(turn=1, reason=Reason.BARGE_IN), FlushPlayback(turn=1)),
        )
