from __future__ import annotations

import pytest
from core_driver import Core

from flare_actors.conversation import Floor, State
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import ClearInput
from flare_actors.conversation.notices import ErrorRaised, InputCleared, TranscriptReceived, TurnStarted, TurnUsage
from flare_actors.conversation.states import Wait


def told(core: Core, kind: type) -> list:
    return [command.notice for command in core.done if isinstance(getattr(command, "notice", None), kind)]


def test_what_the_user_was_saying_can_be_forgotten() -> None:
    core = Core().starts()
    core.speaks()
    commands = core.happens(ev.InputClearRequested())
    assert ClearInput() in commands
    assert told(core, InputCleared)
    assert (core.c.floor, core.c.state) == (Floor.SILENT, State.LISTENING)
    core.pauses()  # The ear's last word on it comes late.
    assert core.c.awaited == ()
    core.says("tea")
    assert [notice.text for notice in told(core, TranscriptReceived)] == ["tea"]


def test_what_was_said_and_is_not_understood_yet_is_forgotten_too() -> None:
    core = Core().starts()
    core.speaks()
    core.pauses()
    core.happens(ev.InputClearRequested())
    core.is_understood("never mind")
    assert not told(core, TranscriptReceived)
    assert core.c.state is State.LISTENING


def test_who_has_input_forgotten_was_silent_all_the_same() -> None:
    core = Core(idle_prompts=("Hello?",), idle_prompt_s=10.0).starts()
    core.passes(4.0)
    silent_for = 10.0 - (core.due(Wait.IDLE) or 0.0)
    core.happens(ev.InputClearRequested())
    assert core.due(Wait.IDLE) == pytest.approx(10.0 - silent_for - 0.1)


def test_without_a_conversation_there_is_no_input_to_forget() -> None:
    core = Core()
    core.happens(ev.ClientAttached(), ev.InputClearRequested(request_id="r"))
    assert [(error.code, error.request_id) for error in told(core, ErrorRaised)] == [("not_started", "r")]


def test_the_agent_goes_on_speaking_while_input_is_forgotten() -> None:
    core = Core().starts()
    core.says("tell me")
    core.writes("Well. ")
    core.sounds(1.0)
    core.happens(ev.InputClearRequested())
    assert core.c.state is State.PLAYING_RESPONSE


def test_what_the_model_took_is_told_of_the_live_turn_and_of_no_other() -> None:
    core = Core().starts()
    core.says("tell me")
    core.happens(ev.UsageReported(turn=1, input_tokens=12, output_tokens=3))
    core.happens(ev.UsageReported(turn=7, input_tokens=1, output_tokens=1))
    assert told(core, TurnUsage) == [TurnUsage(turn=1, input_tokens=12, output_tokens=3)]


def test_of_an_answer_begun_ahead_it_is_told_when_the_answer_is_wanted() -> None:
    core = Core().starts()
    core.speaks()
    core.happens(
        ev.SpeechPaused(utterance=1),
        ev.TranscriptUpdated(utterance=1, text="tea"),
        # The model was asked twice: it has looked something up in between.
        ev.UsageReported(turn=1, input_tokens=5, output_tokens=2),
        ev.UsageReported(turn=1, input_tokens=9, output_tokens=4),
    )
    assert not told(core, TurnUsage)
    core.pauses()
    core.is_understood("tea")
    assert told(core, TurnStarted)
    assert told(core, TurnUsage) == [
        TurnUsage(turn=1, input_tokens=5, output_tokens=2),
        TurnUsage(turn=1, input_tokens=9, output_tokens=4),
    ]
