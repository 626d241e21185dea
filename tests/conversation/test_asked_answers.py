"""Answers that are asked for: by a client, by the embedder, or because the user has been silent for long."""

from __future__ import annotations

from typing import Any

import pytest
from core_driver import Core

from flare_actors.conversation import Limits, Output, State, TurnKind
from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.commands import CancelReply, StartReply
from flare_actors.conversation.items import AgentSaid, UserSaid
from flare_actors.conversation.notices import ErrorRaised, TurnEnded, TurnStarted
from flare_actors.conversation.states import Wait

S = State
TEA, CUP = ToolSpec(name="tea"), ToolSpec(name="cup")


def asked(core: Core, **how: Any) -> StartReply:
    """Ask for an answer; gives what the model is asked."""
    core.happens(ev.ResponseRequested(**how))
    return core.did(StartReply)[-1]


def talked(**choices: object) -> Core:
    core = Core(**choices).starts()
    core.says("what time is it")
    core.answers("It is late. ")
    return core


@pytest.mark.parametrize("request_", [ev.ResponseRequested(ticket=7), ev.SayRequested(text="Tea.", ticket=7)])
def test_whoever_asked_for_a_turn_knows_it_by_the_ticket(request_: ev.Event) -> None:
    core = Core().starts()
    core.happens(request_)
    assert core.c.turn is not None
    assert core.c.turn.ticket == 7


# --- How it is asked for --------------------------------------------------------------------------------------------------


def test_an_answer_may_be_asked_for_though_nobody_has_said_anything_new() -> None:
    core = talked()
    request = asked(core)
    assert [(m.role, m.content) for m in request.messages] == [
        ("user", "what time is it"),
        ("assistant", "It is late."),
        ("user", "..."),
    ]
    assert (request.kind, request.text, request.held) == (TurnKind.RESPONSE, None, False)
    assert core.told(TurnStarted)[-1] == TurnStarted(turn=2, kind=TurnKind.RESPONSE)


@pytest.mark.parametrize(
    ("of_the_session", "how", "instructions", "replace"),
    [
        (None, {}, None, False),
        ("Be brief.", {}, "Be brief.", True),
        (None, {"instructions": "Shout."}, "Shout.", False),
        ("Be brief.", {"instructions": "Shout."}, "Shout.", False),
        ("Be brief.", {"instructions": "Shout.", "replace": True}, "Shout.", True),
        (None, {"replace": True}, None, True),
    ],
)
def test_its_own_instructions_come_before_the_sessions(
    of_the_session: str | None, how: dict[str, Any], instructions: str | None, replace: bool
) -> None:
    request = asked(Core(instructions=of_the_session).starts(), **how)
    assert (request.instructions, request.replace) == (instructions, replace)


@pytest.mark.parametrize(("of_the_session", "own", "most"), [(20, None, 20), (20, 5, 5), (20, 0, None), (None, 5, 5)])
def test_its_own_length_comes_before_the_sessions(
    of_the_session: int | None, own: int | None, most: int | None
) -> None:
    assert asked(Core(answer_tokens=of_the_session).starts(), max_tokens=own).max_tokens == most


def test_its_own_tools_come_before_the_clients() -> None:
    core = Core().starts()
    core.happens(ev.ToolsOffered(tools=(TEA,), tool_choice="required"))
    request = asked(core)
    assert (request.tools, request.tool_choice) == ((TEA,), "required")
    core.answers("Yes. ")
    request = asked(core, tools=(CUP,), tool_choice="none")
    assert (request.tools, request.tool_choice) == ((CUP,), "none")
    core.answers("Yes. ")
    assert asked(core, tools=()).tools == ()


@pytest.mark.parametrize("own", [None, *Output])
def test_its_own_output_comes_before_the_sessions(own: Output | None) -> None:
    core = Core(output=Output.TEXT).starts()
    request = asked(core, output=own)
    assert request.output is (own or Output.TEXT)
    assert core.told(TurnStarted)[-1].output is request.output


def test_what_is_said_by_itself_has_what_the_settings_say_and_nothing_of_a_request() -> None:
    core = Core(instructions="Be brief.", answer_tokens=20).starts()
    core.happens(ev.ToolsOffered(tools=(TEA,), tool_choice="none"))
    core.says("what time is it")
    (request,) = core.did(StartReply)
    assert (request.instructions, request.replace, request.max_tokens) == ("Be brief.", True, 20)
    assert (request.tools, request.tool_choice) == ((TEA,), "none")
    assert core.c.turn is not None
    assert core.c.turn.wish is None


def test_other_items_may_be_answered_in_place_of_the_history() -> None:
    core = talked()
    request = asked(core, items=(UserSaid(text="how are you"), AgentSaid(text="Fine."), UserSaid(text="and now")))
    assert [m.content for m in request.messages] == ["how are you", "Fine.", "and now"]
    core.answers("So so. ")
    assert core.history[-1] == "agent: So so."


def test_an_answer_aside_enters_nothing() -> None:
    core = talked()
    asked(core, aside=True, request_id="r", instructions="Sum it up.")
    assert core.told(TurnStarted)[-1] == TurnStarted(turn=2, kind=TurnKind.RESPONSE, aside=True, request_id="r")
    core.happens(ev.ItemInsertRequested(item=UserSaid(text="a note")))
    core.answers("The time. ")
    assert core.history == ["user: what time is it", "agent: It is late.", "user: a note"]
    asked(core, aside=True)
    core.is_answering("The time again. ")
    core.happens(ev.InterruptRequested())
    assert core.history[-1] == "user: a note"


# --- When -----------------------------------------------------------------------------------------------------------------


def test_it_waits_for_words_that_are_being_understood() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.happens(ev.ResponseRequested(instructions="Shout."))
    assert core.did(StartReply) == []
    core.is_understood("what time is it")
    (request,) = core.did(StartReply)
    assert (request.instructions, request.messages[-1].content) == ("Shout.", "what time is it")
    assert core.c.wish is None


def test_it_takes_the_place_of_one_that_was_begun_ahead() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=1, text="tea"), ev.SpeechPaused(utterance=1))
    core.happens(ev.ResponseRequested(instructions="Shout."))
    core.pauses()
    core.is_understood("tea")
    assert [command.turn for command in core.did(CancelReply)] == [1]
    request = core.did(StartReply)[-1]
    assert (request.turn, request.instructions, request.held) == (2, "Shout.", False)


def test_one_that_is_taken_back_unheard_is_asked_for_again_as_it_was() -> None:
    core = Core(auto_answer=False).starts()
    asked(core, instructions="Shout.", request_id="r")
    core.speaks()
    assert (core.state, core.c.answer_due) == (S.LISTENING, True)
    core.stopped_at(1, 0.0)
    core.pauses()
    core.is_understood("what time is it")
    request = core.did(StartReply)[-1]
    assert (request.turn, request.instructions) == (2, "Shout.")
    assert core.told(TurnStarted)[-1].request_id == "r"


def test_only_one_at_a_time() -> None:
    core = Core().starts()
    asked(core)
    core.happens(ev.ResponseRequested(request_id="second"))
    core.happens(ev.InterruptRequested())
    core.speaks()
    core.happens(ev.ResponseRequested(), ev.ResponseRequested(request_id="fourth"))
    assert [(error.code, error.turn, error.request_id) for error in core.told(ErrorRaised)] == [
        ("already_answering", 1, "second"),
        ("already_answering", None, "fourth"),
    ]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"instructions": "x" * 13}, "text_too_long"),
        ({"tools": (TEA, CUP, ToolSpec(name="pot"))}, "too_many_tools"),
        ({"tools": (TEA, TEA)}, "duplicate_tool"),
        ({"items": (UserSaid(text="a"),) * 4}, "too_many_items"),
        ({"items": (UserSaid(text="x" * 13),)}, "text_too_long"),
    ],
)
def test_what_is_too_much_is_refused_in_words_and_changes_nothing(how: dict[str, Any], code: str) -> None:
    core = Core(limits=Limits(text_chars=12, tools=2, history_items=3)).starts()
    before = core.c
    core.happens(ev.ResponseRequested(**how))
    assert core.errors == [code]
    assert core.c == before
    just = {
        "instructions": "x" * 12,
        "tools": (TEA, CUP),
        "items": (UserSaid(text="x" * 12),) * 3,
    }
    core.happens(ev.ResponseRequested(**just))
    assert core.errors == [code]
    assert core.state is S.PROCESSING_SPEECH


def test_it_needs_a_conversation() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.ResponseRequested())
    assert core.errors == ["not_started"]


# --- Of its own accord ----------------------------------------------------------------------------------------------------


def silent(**choices: object) -> Core:
    """The user has heard an answer, and has been silent since."""
    core = talked(idle_answer=True, idle_prompt_s=10.0, **choices)
    core.passes(10.0)
    return core


def test_a_silent_user_is_answered_once_more_behind_an_answer() -> None:
    core = silent()
    assert core.told(TurnStarted)[-1] == TurnStarted(turn=2, kind=TurnKind.RESPONSE, idle=True)
    assert core.requests[-1][-1] == "user: ..."
    core.answers("Is there anything else? ")
    core.passes(100.0)
    assert len(core.told(TurnStarted)) == 2
    assert core.due(Wait.IDLE) is not None
    core.says("no")
    core.answers("Good. ")
    core.passes(10.0)
    assert core.told(TurnStarted)[-1].idle


def test_without_an_answer_before_it_there_is_nothing_to_go_on_with() -> None:
    core = Core(idle_answer=True, idle_prompt_s=10.0, idle_prompts=("Hello?",)).starts()
    core.passes(100.0)
    assert core.told(TurnStarted) == []


def test_what_nobody_has_asked_for_is_not_owed() -> None:
    core = silent()
    core.speaks()
    assert (core.state, core.c.answer_due, core.c.wish) == (S.LISTENING, False, None)
    assert [ended.turn for ended in core.told(TurnEnded)] == [1]
