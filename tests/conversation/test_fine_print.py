"""What single guards, orders and bounds of the core are for: more that was missing when every line was broken in turn."""

from __future__ import annotations

import pytest
from core_driver import Core, kinds

from flare_actors.conversation import Output, State
from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import AnswerRest, ToolSpec
from flare_actors.conversation.changes import changes
from flare_actors.conversation.commands import ReturnToolResult
from flare_actors.conversation.states import Wait

S = State


# --- Turns ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", Output)
def test_sound_stops_before_its_making_and_text_is_told_before_its_end_is(output: Output) -> None:
    core = Core(output=output).starts()
    core.says("a question")
    core.writes("An answer. ")
    done = [name for name in kinds(core.happens(ev.InterruptRequested())) if name in {"FlushPlayback", "CancelReply"}]
    assert done == (["FlushPlayback", "CancelReply"] if output is Output.AUDIO else ["CancelReply", "FlushPlayback"])


# --- Settings -------------------------------------------------------------------------------------------------------------


def test_who_is_heard_no_longer_has_been_silent_as_long_as_before() -> None:
    core = Core(idle_end_s=60.0).starts()
    core.passes(20.0)
    due = core.due(Wait.IDLE) or 0.0
    core.happens(ev.SettingsChanged(changes=changes({"input": "text"})))
    assert core.due(Wait.IDLE) == pytest.approx(due - 0.1)


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
    core.happens(ev.ToolStarted(turn=1, call="c1", name="f", arguments="{}", timeout_s=9.0, client=True))
    core.happens(ev.ToolResultReceived(call="c1", output="sunny", rest=rest))
    assert core.errors == [error]
    assert core.did(ReturnToolResult) == [ReturnToolResult(turn=1, call="c1", output="sunny")]
