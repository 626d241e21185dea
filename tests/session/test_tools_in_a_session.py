"""Tools in whole sessions on virtual time: called, timed, cancelled, in the background, by the client, and gone in the end."""

from __future__ import annotations

import functools
import gc
import json
import threading
import weakref

import attrs
import pytest
import trio
from session_kit import Talk, listening, talking

from flare_actors import ToolError, tool
from flare_actors.conversation import Limits, Output, Settings, State, Timeouts
from flare_actors.conversation import events as ev
from flare_actors.conversation.calls import IN_BACKGROUND, AnswerRest, ToolSpec
from flare_actors.conversation.items import ToolReturned, UserSaid
from flare_actors.conversation.notices import ErrorRaised, HearingReady, ResponseTextDone, ToolCallRequested, TurnEnded
from flare_actors.conversation.states import Reason
from flare_actors.errors import ProviderError
from flare_actors.ports import Message, ToolCall, takes_max_tokens, takes_tools
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer
from flare_actors.testing import FaultyLanguageModel, scripted_agent

TEXT = Settings(output=Output.TEXT)


def call(name: str, number: int = 1, **arguments: object) -> ToolCall:
    return ToolCall(call=f"x{number}", name=name, arguments=json.dumps(arguments))


def results(talk: Talk) -> list[str]:
    """What the model was told by tools, in its latest request."""
    return [message.content for message in last_request(talk) if message.role == "tool"]


def last_request(talk: Talk) -> tuple[Message, ...]:
    model = talk.agent.language_model
    assert isinstance(model, ScriptedLanguageModel)
    return model.requests[-1]


async def ask(talk: Talk, text: str = "go", *, turns: int = 1) -> TurnEnded:
    await talk.client.send(ev.TextReceived(text=text))
    return await talk.wait_turns(turns)


async def test_the_model_calls_tools_in_parallel_looks_at_the_results_and_goes_on(autojump_clock):
    running, most = 0, 0

    @tool(safe=True)
    async def weather(city: str) -> dict[str, object]:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await trio.sleep(1)
        running -= 1
        return {"city": city, "sky": "blue"}

    answers = [
        [call("weather", 1, city="Bonn"), call("weather", 2, city="Rom")],
        [call("weather", 3, city="Oslo")],
        "Blue.",
    ]
    async with listening(scripted_agent(answers=answers, tools=[weather], settings=TEXT)) as talk:
        assert (await ask(talk)).heard == "Blue."
        assert results(talk) == [f'{{"city": "{city}", "sky": "blue"}}' for city in ("Bonn", "Rom", "Oslo")]
        roles = [message.role for message in last_request(talk)]
        assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool"]
        assert last_request(talk)[1].calls[0] == ToolCall(
            call="t0001c001", name="weather", arguments='{"city": "Bonn"}'
        )
    assert most == 2


async def test_whatever_goes_wrong_is_told_to_the_model_and_to_nobody_else(autojump_clock):
    @tool
    def count(n: int) -> int:
        return n

    @tool
    async def crash() -> None:
        raise KeyError("canary-secret")

    @tool
    async def refuse() -> None:
        raise ToolError("we are closed on Mondays")

    @tool(timeout_s=2)
    async def hang() -> None:
        await trio.sleep_forever()

    @tool
    async def strange() -> object:
        return object()

    @tool
    async def long() -> str:
        return "x" * 200

    bad = ToolCall(call="b", name="count", arguments='{"n": "canary')
    calls = [bad, call("count", n="3"), call("count"), call("count", n=1, m=2), call("invented")]
    calls += [call(name) for name in ("crash", "refuse", "hang", "strange", "long")]
    agent = scripted_agent(
        answers=[calls, "Oh."],
        tools=[count, crash, refuse, hang, strange, long],
        settings=Settings(output=Output.TEXT, limits=Limits(tool_chars=60)),
    )
    async with listening(agent) as talk:
        assert (await ask(talk)).reason is None
        told = results(talk)
        assert all(message.failed for message in last_request(talk)[2:-1])
        assert last_request(talk)[1].calls[0].arguments == "{}", "what is no JSON is not shown again"
        faults = [error for _, error in talk.log.faults]
    assert told[:9] == [
        "the arguments are no JSON",
        "the arguments do not fit: n: expected an integer, got a string",
        "the arguments do not fit: n: required and missing",
        "the arguments do not fit: m: there is no such argument",
        "there is no tool of that name; there is: count, crash, refuse, hang, strange, long",
        "the tool failed (KeyError)",
        "we are closed on Mondays",
        "no result within 2 seconds",
        "the tool failed (TypeError)",
    ]
    assert len(told[9]) == 60
    assert told[9].endswith("x ... (the rest was cut)")
    assert sorted(map(str, faults)) == ["the tool crash raised KeyError", "the tool strange raised TypeError"]
    assert all(isinstance(error, ProviderError) and error.stage == "tool" for error in faults)
    assert "canary" not in repr(talk.client.received)


async def test_a_model_that_calls_without_end_must_answer_in_the_end(autojump_clock):
    @tool
    async def again() -> None:
        pass

    model = ScriptedLanguageModel(script=[["Hm.", call("again")]])
    settings = Settings(output=Output.TEXT, limits=Limits(tool_steps=3))
    async with listening(scripted_agent(language_model=model, tools=[again], settings=settings)) as talk:
        assert (await ask(talk)).heard == "Hm. Hm. Hm. Hm."
    assert model.offers == [("again",)] * 3 + [()]


async def test_more_calls_at_a_time_than_the_limit_are_not_made(autojump_clock):
    made = []

    @tool
    async def note(n: int) -> None:
        made.append(n)

    settings = Settings(output=Output.TEXT, limits=Limits(tool_calls=2))
    answers = [[call("note", n, n=n) for n in range(4)], "Done."]
    async with listening(scripted_agent(answers=answers, tools=[note], settings=settings)) as talk:
        await ask(talk)
        assert results(talk) == ["done", "done", *["too many calls at a time; this one was not made"] * 2]
    assert sorted(made) == [0, 1]


async def test_what_is_written_before_a_call_is_spoken_while_the_tool_runs(autojump_clock):
    @tool
    async def slow() -> str:
        await trio.sleep(30)
        return "ok"

    agent = scripted_agent(answers=[["Let me see", call("slow")], "It is fine."], tools=[slow])
    async with listening(agent) as talk:
        await talk.client.send(ev.TextReceived(text="go"))
        await talk.wait_state(State.PLAYING_RESPONSE)
        await trio.sleep(20)
        assert talk.session.conversation.state is State.PLAYING_RESPONSE
        assert (await talk.wait_turns(1)).heard == "Let me see It is fine."
        assert talk.session.conversation.failures.llm == 0


async def test_a_filler_is_said_once_when_a_tool_is_slow_and_the_model_said_nothing(autojump_clock):
    @tool(filler="One moment, please.", filler_after_s=0.5)
    async def slow(seconds: float) -> str:
        await trio.sleep(seconds)
        return "ok"

    answers = [
        [call("slow", 1, seconds=3), call("slow", 2, seconds=3)],
        [call("slow", 3, seconds=3)],
        "Fine.",
        [call("slow", 4, seconds=0.2)],
        "Quick.",
        ["Let me see.", call("slow", 5, seconds=3)],
        "Good.",
    ]
    async with listening(scripted_agent(answers=answers, tools=[slow])) as talk:
        assert (await ask(talk)).heard == "One moment, please. Fine."
        assert (await ask(talk, turns=2)).heard == "Quick."
        assert (await ask(talk, turns=3)).heard == "Let me see. Good."


async def test_a_tool_with_more_time_than_the_backstop_is_waited_for(autojump_clock):
    @tool(timeout_s=1000)
    async def very_slow() -> str:
        await trio.sleep(900)
        return "at last"

    settings = Settings(output=Output.TEXT, timeouts=Timeouts(backstop_s=1))
    agent = scripted_agent(answers=[[call("very_slow")], "Done."], tools=[very_slow], settings=settings)
    async with listening(agent, patience_s=5000) as talk:
        assert (await ask(talk)).heard == "Done."


@pytest.mark.parametrize("end", ["interrupt", "text", "detach", "conversation", "session"])
async def test_a_tool_is_cancelled_with_its_turn(end, autojump_clock):
    cancelled = []

    @tool
    async def slow() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise

    agent = scripted_agent(answers=[[call("slow")], "Never mind."], tools=[slow], settings=TEXT)
    async with listening(agent) as talk:
        await talk.client.send(ev.TextReceived(text="go"))
        await trio.sleep(1)
        at = trio.current_time()
        match end:
            case "interrupt":
                await talk.client.send(ev.InterruptRequested())
            case "text":
                await talk.client.send(ev.TextReceived(text="stop"))
            case "detach":
                talk.client.close()
            case "conversation":
                await talk.client.send(ev.ConversationEndRequested())
            case "session":
                talk.session.end()
        await trio.sleep(0.5)
        assert cancelled == [at]
        assert not list(talk.log.all(ev.ToolFinished))


async def test_a_thread_is_abandoned_with_its_turn(autojump_clock):
    started, release = threading.Event(), threading.Event()

    @tool
    def block() -> str:
        started.set()
        release.wait(10)
        return "too late"

    agent = scripted_agent(answers=[[call("block")], "Never mind."], tools=[block], settings=TEXT)
    autojump_clock.autojump_threshold = 1.0  # Threads take real time.
    async with listening(agent) as talk:
        await talk.client.send(ev.TextReceived(text="go"))
        await trio.to_thread.run_sync(started.wait)
        await talk.client.send(ev.InterruptRequested())
        assert (await talk.wait_turns(1)).reason is Reason.BARGE_IN
        assert talk.session.statistics().replies_running == 0
    release.set()


async def test_a_tool_that_swallows_its_cancellation_is_told_of_and_changes_nothing(autojump_clock):
    @tool
    async def stubborn() -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
        return "anyway"

    agent = scripted_agent(answers=[[call("stubborn")], "Never mind."], tools=[stubborn], settings=TEXT)
    async with listening(agent) as talk:
        await talk.client.send(ev.TextReceived(text="go"))
        await trio.sleep(1)
        await talk.client.send(ev.TextReceived(text="stop"))
        await talk.wait_turns(2)
        await trio.sleep(5)
        assert talk.log.lingering == [(1, 1)]
        assert not talk.log.all(ev.ToolFinished)
        assert not any("anyway" in message.content for message in last_request(talk))


async def test_a_tool_in_the_background_outlives_its_turn_and_is_announced(autojump_clock):
    @tool(detached=True, announced=True)
    async def book(table: int) -> str:
        await trio.sleep(20)
        return f"table {table} is booked"

    agent = scripted_agent(answers=[[call("book", table=3)], "I am on it.", "It is booked."], tools=[book])
    async with listening(agent) as talk:
        assert (await ask(talk)).heard == "I am on it."
        assert results(talk) == [IN_BACKGROUND]
        assert (await talk.wait_turns(2)).heard == "It is booked."
        assert results(talk) == ["table 3 is booked"]
        assert trio.current_time() - talk.log.all(ev.ToolFinished)[0].at < 1000


async def test_a_tool_in_the_background_survives_a_barge_in_and_a_new_client(autojump_clock):
    @tool(detached=True)
    async def book() -> str:
        await trio.sleep(20)
        return "booked"

    agent = scripted_agent(answers=[[call("book")], "I am on it now.", "Yes."], tools=[book])
    async with listening(agent) as talk:
        await talk.client.send(ev.TextReceived(text="go"))
        await talk.wait_state(State.PLAYING_RESPONSE)
        await talk.client.send(ev.InterruptRequested())
        await trio.sleep(30)
        (item,) = [each for each in talk.session.conversation.history if isinstance(each, ToolReturned)]
        assert item.text == "booked"


async def test_no_more_than_so_many_tools_go_on_in_the_background(autojump_clock):
    @tool(detached=True)
    async def work() -> None:
        await trio.sleep_forever()

    settings = Settings(output=Output.TEXT, limits=Limits(detached_tools=1))
    agent = scripted_agent(answers=[[call("work", 1), call("work", 2)], "Well."], tools=[work], settings=settings)
    async with listening(agent) as talk:
        await ask(talk)
        assert sorted(results(talk)) == [IN_BACKGROUND, "too many tools go on in the background; try again later"]


async def test_no_tool_outlives_its_session(autojump_clock):
    ended = []

    @tool(detached=True, timeout_s=1e6)
    async def for_ever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    agent = scripted_agent(answers=[[call("for_ever")], "Well."], tools=[for_ever], settings=TEXT)
    async with listening(agent) as talk:
        await ask(talk)
        talk.session.end()
        await talk.session.wait_ended()
        assert len(ended) == 1


async def test_the_client_carries_out_its_own_tools(autojump_clock):
    spec = ToolSpec(name="get_weather", description="The weather.")
    model = ScriptedLanguageModel(tool="get_weather", tool_arguments='{"city": "Bonn"}', tool_answer="It is {result}.")
    async with listening(scripted_agent(language_model=model, settings=TEXT)) as talk:
        await talk.client.send(ev.ToolsOffered(tools=(spec,)))
        await talk.client.send(ev.TextReceived(text="weather?"))
        asked = await talk.client.wait_for(ToolCallRequested)
        assert (asked.name, asked.arguments, asked.timeout_s) == ("get_weather", '{"city": "Bonn"}', 30.0)
        await talk.client.send(ev.ToolResultReceived(call="unknown", output="no"))
        await talk.client.send(ev.ToolResultReceived(call=asked.call, output="sunny"))
        await talk.client.send(ev.ToolResultReceived(call=asked.call, output="twice"))
        assert (await talk.wait_turns(1)).heard == "It is sunny."


async def test_parallel_calls_of_the_client_may_come_back_in_any_order_and_late_ones_are_told(autojump_clock):
    tools = [ToolSpec(name="a"), ToolSpec(name="b"), ToolSpec(name="c")]
    settings = Settings(output=Output.TEXT, timeouts=Timeouts(tool_s=5))
    agent = scripted_agent(answers=[[call("a"), call("b"), call("c")], "Fine."], tools=tools, settings=settings)
    async with listening(agent) as talk:
        await talk.client.send(ev.TextReceived(text="go"))
        await talk.client.wait_for(ToolCallRequested, count=3)
        ids = {notice.name: notice.call for notice in talk.client.all(ToolCallRequested)}
        await talk.client.send(ev.ToolResultReceived(call=ids["b"], output="B", failed=True))
        await talk.client.send(ev.ToolResultReceived(call=ids["a"], output="A"))
        await talk.wait_turns(1)
        assert results(talk) == ["A", "B", "no result within 5 seconds"]
        assert [message.failed for message in last_request(talk) if message.role == "tool"] == [False, True, True]
        await talk.client.send(ev.ToolResultReceived(call=ids["c"], output="late"))
        await trio.sleep(1)
        assert talk.session.ended is None


async def test_a_client_cannot_take_the_place_of_the_agents_own_function(autojump_clock):
    @tool
    async def check() -> str:
        return "the agent's"

    async with listening(scripted_agent(answers=[[call("check")], "Fine."], tools=[check], settings=TEXT)) as talk:
        await talk.client.send(ev.ToolsOffered(tools=(ToolSpec(name="check"),)))
        await ask(talk)
        assert results(talk) == ["the agent's"]
        assert not talk.client.all(ToolCallRequested)


class Old:
    """A model of before there were tools and limits."""

    def generate(self, messages, *, locale):
        return ScriptedLanguageModel(script=["Hello."]).generate(messages, locale=locale)


AROUND = pytest.mark.parametrize(
    "around", [lambda model: model, lambda model: FaultyLanguageModel(inner=model)], ids=["itself", "in-a-wrapper"]
)


@AROUND
async def test_a_model_that_knows_no_tools_is_a_clear_failure_only_when_there_are_some(autojump_clock, around):
    async with listening(scripted_agent(language_model=around(Old()), settings=TEXT)) as talk:
        assert (await ask(talk)).heard == "Hello."
        await talk.client.send(ev.ToolsOffered(tools=(ToolSpec(name="a"),)))
        await talk.client.send(ev.TextReceived(text="go"))
        assert await talk.session.wait_ended() is Reason.CRITICAL_ERROR
        assert "Old takes no tools; give its generate() the arguments tools and tool_choice" in str(
            talk.log.faults[-1][1]
        )


@pytest.mark.parametrize("safe", [True, False])
async def test_while_answering_ahead_only_safe_tools_run_and_others_wait_until_the_answer_is_wanted(
    safe, autojump_clock
):
    ran = []

    @tool(safe=safe)
    async def act() -> str:
        ran.append(trio.current_time())
        return "ok"

    agent = scripted_agent(
        answers=[[call("act")], "Done."],
        tools=[act],
        recognizer=ScriptedRecognizer(script=["do it"], partials=True),
        settings=Settings(endpoint_s=2.0, soft_endpoint_s=0.2),
    )
    async with listening(agent) as talk:
        await talk.ask()
        await talk.client.speak(bytes(2 * 16_000 * 3))
        assert (await talk.wait_turns(1)).heard == "Done."
        (released,) = [each.at for each in talk.log.all(ev.SpeechStopped)]
        (started,) = [each.at for each in talk.log.all(ev.ToolStarted)]
        assert talk.session.statistics().released == 1
        assert (started < released - 1) == safe
    assert len(ran) == 1


async def test_an_unwanted_answer_has_no_effects(autojump_clock):
    ran = []

    @tool
    async def act() -> None:
        ran.append(1)

    agent = scripted_agent(
        answers=[[call("act")], "Done."],
        tools=[act],
        recognizer=ScriptedRecognizer(script=["do it"], partials=True),
        settings=Settings(endpoint_s=2.0, soft_endpoint_s=0.2),
    )
    async with talking(agent) as talk:
        await talk.client.wait_for(HearingReady)
        await talk.ask()
        await talk.client.send(ev.ConversationEndRequested())
        await trio.sleep(1)
        assert talk.session.statistics().speculated == 1
    assert ran == []


async def test_a_model_that_fails_after_its_tools_is_a_failed_answer(autojump_clock):
    @tool
    async def note() -> None:
        pass

    def script(messages: object) -> object:
        if any(message.role == "tool" for message in messages):  # type: ignore[attr-defined]
            raise RuntimeError("canary")
        return [call("note")]

    async with listening(scripted_agent(answers=script, tools=[note], settings=TEXT)) as talk:
        assert (await ask(talk)).reason is Reason.ERROR_RECOVERY
        assert not talk.client.all(ResponseTextDone)


async def test_an_answer_has_as_many_tokens_as_it_may_and_says_that_there_was_more(autojump_clock):
    agent = scripted_agent(answers=["One two three four five six."], settings=TEXT)
    async with listening(agent) as talk:
        talk.session.update(answer_tokens=3)
        cut = await ask(talk)
        assert cut.limited
        assert cut.reason is None
        await talk.client.send(ev.ResponseRequested(max_tokens=5))
        assert len((await talk.wait_turns(2)).heard) > len(cut.heard)
        await talk.client.send(ev.ResponseRequested(max_tokens=0))
        whole = await talk.wait_turns(3)
        assert (whole.heard, whole.limited) == ("One two three four five six.", False)
        assert agent.language_model.limits == [3, 5, None]


@AROUND
async def test_a_model_that_knows_no_limit_fails_where_it_is_asked_for_one(autojump_clock, around):
    async with listening(scripted_agent(language_model=around(Old()), settings=TEXT)) as talk:
        assert (await ask(talk)).heard == "Hello."
        await talk.client.send(ev.ResponseRequested(max_tokens=5))
        assert (await talk.wait_turns(2)).reason is Reason.ERROR_RECOVERY
        assert "Old takes no limit of tokens" in str(talk.log.faults[-1][1])
        assert talk.session.ended is None


async def test_a_response_has_tools_of_its_own_and_the_next_one_those_of_the_session(autojump_clock):
    agent = scripted_agent(answers=["Yes."], settings=TEXT)
    async with listening(agent) as talk:
        await talk.client.send(ev.ToolsOffered(tools=(ToolSpec(name="a"), ToolSpec(name="b"))))
        own = (ToolSpec(name="c"),)
        for turn, asked in enumerate(
            (
                ev.ResponseRequested(tools=own),
                ev.ResponseRequested(tools=()),
                ev.ResponseRequested(tool_choice="none"),
                ev.ResponseRequested(),
            ),
            1,
        ):
            await talk.client.send(asked)
            await talk.wait_turns(turn)
        assert agent.language_model.offers == [("c",), (), (), ("a", "b")]
        await talk.client.send(ev.ResponseRequested(tools=own * 2, request_id="r"))
        assert (await talk.client.wait_for(ErrorRaised)).request_id == "r"


async def test_the_rest_of_an_answer_may_be_asked_for_otherwise_when_the_results_are_there(autojump_clock):
    agent = scripted_agent(answers=[[call("a")], "One two three four."], settings=TEXT, instructions="Agent.")
    async with listening(agent) as talk:
        await talk.client.send(ev.ToolsOffered(tools=(ToolSpec(name="a"),), tool_choice="required"))
        await talk.client.send(ev.TextReceived(text="go"))
        asked = await talk.client.wait_for(ToolCallRequested)
        rest = AnswerRest(instructions="Rest.", max_tokens=2, tools=(ToolSpec(name="b"),))
        await talk.client.send(ev.ToolResultReceived(call=asked.call, output="A", rest=rest))
        assert (await talk.wait_turns(1)).limited
        assert agent.language_model.offers == [("a",), ("b",)]
        assert agent.language_model.limits == [None, 2]
        assert last_request(talk)[0] == Message(role="system", content="Agent.\n\nRest.")


async def test_what_is_answered_in_place_of_the_history_is_bounded_as_the_history_is(autojump_clock):
    settings = Settings(output=Output.TEXT, limits=Limits(history_items=2, text_chars=5))
    async with listening(scripted_agent(settings=settings)) as talk:
        for items in (("a", "b", "c"), ("123456",)):
            said = tuple(UserSaid(text=text) for text in items)
            await talk.client.send(ev.ResponseRequested(aside=True, items=said))
        await talk.client.wait_for(ErrorRaised, count=2)
        assert [error.code for error in talk.client.all(ErrorRaised)] == ["too_many_items", "text_too_long"]


@attrs.define
class _Unhashable:
    """As attrs and dataclasses make them, unless they are told otherwise."""

    def __call__(self, messages: object, *, locale: str, max_tokens: int | None = None) -> None: ...


def test_what_a_model_takes_is_known_whatever_its_generate_is_and_keeps_no_model_alive() -> None:
    class Model:
        def generate(self, messages: object, *, locale: str, tools: object = ()) -> None: ...

    ordinary, odd, borrowed = Model(), Model(), Model()
    odd.generate = _Unhashable()  # type: ignore[method-assign,assignment]
    borrowed.generate = functools.partial(ordinary.generate)  # type: ignore[method-assign]
    assert [(takes_tools(each), takes_max_tokens(each)) for each in (ordinary, odd, borrowed)] == [  # type: ignore[arg-type]
        (True, False),
        (False, True),
        (True, False),
    ]
    gone = weakref.ref(ordinary)
    del ordinary, borrowed
    gc.collect()
    assert gone() is None
