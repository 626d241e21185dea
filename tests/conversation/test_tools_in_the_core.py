"""What the core makes of tools: what is remembered of calls, who is told, and how long is waited for."""

from __future__ import annotations

import attrs
import pytest
from core_driver import Core, kinds

from flare_actors import journal
from flare_actors.conversation import Limits, Output, State, Timeouts
from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import CUT_OFF, IN_BACKGROUND, AnswerRest, ToolSpec
from flare_actors.conversation.commands import ReleaseReply, ReturnToolResult, StartReply
from flare_actors.conversation.items import AgentSaid, ToolCalled, ToolReturned, UserSaid
from flare_actors.conversation.messages import build_messages
from flare_actors.conversation.notices import ToolCallRequested
from flare_actors.conversation.states import Wait


def starts(core: Core, call: str = "c1", *, step: int = 0, **more: object) -> None:
    fields = {"turn": core.turn, "name": "f", "arguments": '{"x":1}', "timeout_s": 30.0, **more}
    core.happens(ev.ToolStarted(call=call, step=step, **fields))


def ends(core: Core, call: str = "c1", output: str = "sunny", **more: object) -> None:
    core.happens(ev.ToolFinished(**{"turn": core.turn, "call": call, "output": output, **more}))


def asked(**settings: object) -> Core:
    core = Core(**settings).starts()
    core.says("weather?")
    return core


def shown(core: Core) -> list[str]:
    """The latest request, with its calls and results."""
    lines = []
    for message in core.did(StartReply)[-1].messages:
        calls = "".join(f" [{call.call}]" for call in message.calls)
        lines.append(f"{message.role}: {message.content}{calls}" + (f" <{message.call}>" if message.call else ""))
    return lines


def test_calls_and_results_are_remembered_before_what_was_said_of_them():
    core = asked()
    starts(core, "c1")
    starts(core, "c2")
    ends(core, "c2", "warm")
    ends(core, "c1", "sunny")
    starts(core, "c3", step=1)
    ends(core, "c3", "dry")
    core.answers("It is nice. ")
    core.says("thanks")
    assert shown(core) == [
        "user: weather?",
        "assistant:  [c1] [c2]",
        "tool: sunny <c1>",
        "tool: warm <c2>",
        "assistant:  [c3]",
        "tool: dry <c3>",
        "assistant: It is nice.",
        "user: thanks",
    ]


def test_a_turn_waits_for_its_tools_as_long_as_they_may_take():
    core = asked(timeouts=Timeouts(backstop_s=1))
    usual = core.due(Wait.GENERATION)
    starts(core, timeout_s=300.0)
    assert core.due(Wait.GENERATION) == pytest.approx(300 + usual)
    core.writes("Just a moment. ")
    assert core.due(Wait.GENERATION) == pytest.approx(300 + usual - 0.1)
    ends(core)
    assert core.due(Wait.GENERATION) == pytest.approx(usual)


def test_buffers_that_run_empty_while_a_tool_runs_do_not_end_the_turn():
    core = asked()
    core.is_answering("Let me see. ")
    starts(core)
    core.happens(ev.PlaybackFinished(turn=core.turn, played_s=1.0))
    assert core.state is State.PLAYING_RESPONSE
    ends(core)
    core.is_generated(1.0)
    assert core.state is State.LISTENING


def test_a_barge_in_forgets_what_was_looked_up_and_keeps_what_was_done():
    core = asked()
    starts(core, "c1")
    ends(core, "c1")
    starts(core, "c2", survives=True)
    ends(core, "c2", "booked")
    starts(core, "c3", survives=True)
    starts(core, "c4")
    turn = core.is_answering("It is ", "booked. ")
    core.speaks()
    core.stopped_at(turn, 1.0)
    core.pauses()
    core.is_understood("for four")
    assert shown(core) == [
        "user: weather?",
        "assistant:  [c2] [c3]",
        "tool: booked <c2>",
        f"tool: {CUT_OFF} <c3>",
        "assistant: It is",
        "user: for four",
    ]


def test_an_answer_that_is_owed_goes_on_from_the_result_that_survived():
    core = asked()
    starts(core, survives=True)
    ends(core, output="booked")
    core.happens(ev.ClientDetached())
    core.stopped_at(1, 0.0)
    core.happens(ev.ClientAttached(), ev.RecognizerReady())
    assert shown(core) == ["user: weather?", "assistant:  [c1]", "tool: booked <c1>"]


def test_late_facts_of_tools_change_nothing():
    core = asked()
    starts(core, client=True)
    core.happens(ev.InterruptRequested())
    core.stopped_at(1, 0.0)
    before = attrs.evolve(core.c, stale=0)
    ends(core, turn=1)
    starts(core, "c2", turn=1)
    core.happens(ev.ToolResultReceived(call="c1", output="late"))
    core.happens(ev.ToolFinished(turn=7, call="c9", output="nonsense"))
    assert attrs.evolve(core.c, stale=0) == before
    assert not core.did(ReturnToolResult)


def test_a_call_is_told_and_answered_once():
    core = asked()
    starts(core)
    starts(core, arguments="again")
    ends(core)
    ends(core, output="again")
    assert [(use.arguments, use.output) for use in core.c.turn.calls] == [('{"x":1}', "sunny")]
    assert core.c.stale == 2


def test_the_client_is_asked_and_its_result_goes_to_the_reply_once():
    core = asked()
    starts(core, client=True, timeout_s=5.0)
    assert core.told(ToolCallRequested) == [
        ToolCallRequested(turn=1, call="c1", name="f", arguments='{"x":1}', timeout_s=5.0)
    ]
    result = ev.ToolResultReceived(call="c1", output="x" * 99, failed=True)
    assert core.happens(result) == [ReturnToolResult(turn=1, call="c1", output="x" * 99, failed=True)]
    ends(core)
    assert kinds(core.happens(result)) == []
    assert core.c.stale == 1


def test_what_is_to_be_different_after_a_result_goes_to_the_reply_with_it():
    core = asked()
    starts(core, client=True)
    rest = AnswerRest(instructions="be brief", max_tokens=7)
    core.happens(ev.ToolResultReceived(call="c1", output="sunny", rest=rest))
    assert core.did(ReturnToolResult)[-1].rest == rest


def test_whether_an_offered_tool_is_called_is_up_to_the_model_unless_the_client_says_so():
    assert ev.ToolsOffered(tools=()).tool_choice == asked().c.tool_choice == "auto"


def test_tools_that_a_client_offers_go_with_the_next_request():
    core = Core().starts()
    tools = (ToolSpec(name="a"), ToolSpec(name="b"))
    core.happens(ev.ToolsOffered(tools=tools, tool_choice="required"))
    core.says("hello")
    (request,) = core.did(StartReply)
    assert (request.tools, request.tool_choice) == (tools, "required")
    core.happens(ev.ToolsOffered(tools=()))
    assert core.c.client_tools == ()


@pytest.mark.parametrize(
    ("names", "code"), [(["a", "b", "a"], "duplicate_tool"), (["a", "b", "c", "d"], "too_many_tools")]
)
def test_offers_that_make_no_sense_are_refused_whole(names, code):
    core = Core(limits=Limits(tools=3)).starts()
    core.happens(ev.ToolsOffered(tools=tuple(ToolSpec(name=name) for name in names)))
    assert core.errors == [code]
    assert core.c.client_tools == ()


def test_the_result_of_a_tool_in_the_background_enters_the_next_request():
    core = asked()
    starts(core, detached=True)
    core.answers("I have begun. ")
    core.says("and?")
    assert shown(core)[1:3] == ["assistant:  [c1]", f"tool: {IN_BACKGROUND} <c1>"]
    core.answers("Wait. ")
    ends(core, turn=1, output="done")
    assert core.state is State.LISTENING
    core.says("and now?")
    assert shown(core) == [
        "user: weather?",
        "assistant: I have begun.",
        "user: and?",
        "assistant: Wait. [c1]",
        "tool: done <c1>",
        "user: and now?",
    ]
    assert core.c.detached == ()


def test_an_announced_result_makes_the_agent_speak_when_the_floor_is_free():
    core = asked()
    starts(core, detached=True, announced=True)
    core.answers("I have begun. ")
    core.speaks(confirmed=False)
    ends(core, turn=1, output="done")
    assert core.state is State.LISTENING
    core.pauses(too_short=True)
    assert core.state is State.PROCESSING_SPEECH
    assert shown(core)[-2:] == ["assistant: I have begun. [c1]", "tool: done <c1>"]
    core.answers("It is done. ")
    assert core.state is State.LISTENING


def test_an_answer_begun_ahead_with_an_announced_result_announces_it():
    core = asked()
    starts(core, detached=True, announced=True)
    core.answers("I have begun. ")
    utterance = core.speaks()
    ends(core, turn=1, output="done")
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="and now?"), ev.SpeechPaused(utterance=utterance))
    core.pauses()
    core.is_understood("and now?")
    assert core.did(ReleaseReply)
    core.answers("It is done. ")
    assert core.state is State.LISTENING, "nothing is left to be told of"


def test_a_result_that_comes_while_the_agent_speaks_is_announced_after_it():
    core = asked()
    starts(core, detached=True, announced=True)
    core.is_answering("I have begun. ")
    ends(core, output="done")
    core.is_generated(1.0)
    core.is_played()
    assert core.state is State.PROCESSING_SPEECH
    assert shown(core) == ["user: weather?", "assistant: I have begun. [c1]", "tool: done <c1>"]


def test_a_result_that_is_not_announced_does_not_silence_one_that_is():
    core = asked()
    starts(core, "c1", detached=True, announced=True)
    starts(core, "c2", detached=True)
    core.is_answering("I have begun. ")
    ends(core, "c1", "done")
    ends(core, "c2", "noted")
    core.is_generated(1.0)
    core.is_played()
    assert core.state is State.PROCESSING_SPEECH


def test_a_result_of_an_earlier_conversation_is_nobodys():
    core = asked()
    starts(core, detached=True, announced=True)
    core.happens(ev.ConversationEndRequested(), ev.ConversationStartRequested(), ev.ListenerOpened())
    stale = core.c.stale
    ends(core, turn=1)
    assert core.c.stale == stale + 1
    assert core.c.history == ()


def test_an_answer_of_tools_alone_is_no_empty_answer():
    core = asked(output=Output.TEXT)
    starts(core)
    ends(core)
    core.is_generated(0.0)
    assert core.errors == []


def test_the_oldest_calls_are_forgotten_first_and_never_half():
    core = asked(limits=Limits(history_items=2))
    for number in range(5):
        starts(core, f"c{number}")
        ends(core, f"c{number}")
    core.answers("Well. ")
    assert [item.call for item in core.c.history if isinstance(item, ToolCalled)] == ["c3", "c4"]
    assert [item.call for item in core.c.history if isinstance(item, ToolReturned)] == ["c3", "c4"]


def test_a_client_may_take_out_half_of_a_call_and_the_model_sees_neither():
    core = asked()
    starts(core)
    ends(core)
    core.answers("Well. ")
    core.happens(ev.ItemDeleteRequested(item_id="result_c1"))
    core.says("thanks")
    assert shown(core) == ["user: weather?", "assistant: Well.", "user: thanks"]


def test_results_come_right_after_their_calls_wherever_they_stand():
    history = [
        UserSaid(text="a"),
        ToolCalled(call="1", name="f", text="{}"),
        ToolCalled(call="2", name="f", text="{}"),
        UserSaid(text="b"),
        ToolReturned(call="2", text="two"),
        ToolReturned(call="1", text="one"),
        ToolReturned(call="3", text="stray"),
        AgentSaid(turn=1, text="c"),
        ToolCalled(call="4", name="f", text="{}"),
    ]
    assert [(m.role, m.content, len(m.calls), m.call) for m in build_messages(history)] == [
        ("user", "a", 0, None),
        ("assistant", "", 2, None),
        ("tool", "one", 0, "1"),
        ("tool", "two", 0, "2"),
        ("user", "b", 0, None),
    ]


def test_calls_are_journalled_and_replayed():
    core = asked()
    core.happens(ev.ToolsOffered(tools=(ToolSpec(name="a", description="b"),), tool_choice="none"))
    starts(core, "c1", client=True)
    starts(core, "c2", detached=True)
    ends(core, "c1")
    core.answers("Well. ")
    assert journal.conversation_from_json(journal.conversation_to_json(core.c)) == core.c
    again = [journal.event_from_json(journal.event_to_json(event)) for event in core.journal]
    assert journal.replay(Core().c, again) == core.c


def test_a_held_answer_has_no_effects_whoever_says_so():
    core = Core().starts()
    utterance = core.speaks()
    core.happens(ev.TranscriptUpdated(utterance=utterance, text="book it"), ev.SpeechPaused(utterance=utterance))
    assert core.c.speculation is not None
    held = core.c.speculation.turn.number
    starts(core, "c1", turn=held, client=True)
    starts(core, "c2", turn=held, detached=True)
    starts(core, "c3", turn=held)
    assert [use.call for use in core.c.speculation.turn.calls] == ["c3"]
    assert core.told(ToolCallRequested) == []


def test_what_a_client_brings_after_its_turn_is_told_to_the_model_next_time():
    core = asked()
    starts(core, "c1", client=True, survives=True)
    starts(core, "c2", client=True, survives=True)
    starts(core, "c3", survives=True)
    core.happens(ev.ToolResultReceived(call="c2", output="warm"))
    ends(core, "c2", "warm")
    core.says("wait")
    results = [item for item in core.c.history if isinstance(item, ToolReturned)]
    assert [(item.text, item.failed, item.client) for item in results] == [
        (CUT_OFF, True, True),
        ("warm", False, True),
        (CUT_OFF, True, False),
    ]
    for call in ("c1", "c1", "c2", "c3", "c4"):
        core.happens(ev.ToolResultReceived(call=call, output=f"late {call}"))
    core.stopped_at(1, 0.0)
    core.answers("Yes. ")
    core.says("thanks")
    assert [line for line in shown(core) if line.startswith("tool")] == [
        "tool: late c1 <c1>",
        "tool: warm <c2>",
        f"tool: {CUT_OFF} <c3>",
    ], "only what is awaited of the client, once, and none of the agent's own"
