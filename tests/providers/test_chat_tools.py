"""Tools through the OpenAI-compatible API: what is offered, what is shown of earlier calls, and calls out of their pieces."""

from __future__ import annotations

import itertools
import json

import pytest
from http_stub import script
from hypothesis import given
from hypothesis import strategies as st
from test_openai_chat import ASK, DONE, STOP, event, serving

from flare_actors.errors import ProviderError
from flare_actors.ports import LimitReached, Message, TextDelta, ToolCall, ToolCallDelta, ToolSpec
from flare_actors.providers._chat_events import MAX_ARGUMENT_CHARS, MAX_CALLS, AnswerReader
from flare_actors.providers._prompt import fit, tokens_at_most, tokens_of_tools
from flare_actors.providers.scripted import ScriptedLanguageModel

WEATHER = ToolSpec(
    name="get_weather",
    description="The weather in a city.",
    parameters='{"properties": {"city": {"type": "string"}}, "required": ["city"]}',
)


def piece(**call: object) -> str:
    function = {name: call.pop(name) for name in ("name", "arguments") if name in call}
    return event(None).replace(
        '"delta": {}', f'"delta": {{"tool_calls": [{json.dumps({**call, "function": function})}]}}'
    )


def read(*parts: str) -> list[object]:
    """What a reader makes of the stream, byte by byte."""
    reader = AnswerReader()
    return [each for byte in "".join(parts).encode() for each in reader.feed(bytes([byte]))]


def calls(outputs: list[object]) -> list[tuple[str, str, str]]:
    return [(each.call, each.name, each.arguments) for each in outputs if isinstance(each, ToolCall)]


async def test_tools_and_earlier_calls_are_sent_as_the_api_wants_them():
    messages = [
        *ASK,
        Message(role="assistant", calls=(ToolCall(call="a1", name="get_weather", arguments='{"city": "Bonn"}'),)),
        Message(role="tool", call="a1", content="sunny"),
    ]
    async with (
        serving(script(event("Sunny."), STOP, DONE)) as (chat, server),
        chat.generate(messages, locale="en", tools=[WEATHER], tool_choice="required") as outputs,
    ):
        assert [each async for each in outputs] == [TextDelta(text="Sunny.")]

    body = json.loads(server.exchanges[0].body)
    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Bonn"}'}}
            ],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "a1"},
    ]
    assert body["tool_choice"] == "required"
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather in a city.",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ]


async def test_text_and_parallel_calls_come_as_they_are_written():
    parts = [
        event("Let me see."),
        piece(index=0, id="a", name="get_weather", arguments=""),
        piece(index=0, arguments='{"city":'),
        piece(index=0, arguments='"Bonn"}'),
        piece(index=1, id="b", name="get_time", arguments=""),
        event(finish_reason="tool_calls"),
        DONE,
    ]
    async with serving(script(*parts)) as (chat, _), chat.generate(ASK, locale="en", tools=[WEATHER]) as outputs:
        given = [each async for each in outputs]

    assert given[0] == TextDelta(text="Let me see.")
    assert calls(given) == [("a", "get_weather", '{"city":"Bonn"}'), ("b", "get_time", "{}")]
    whole = given.index(ToolCall(call="a", name="get_weather", arguments='{"city":"Bonn"}'))
    begun = given.index(ToolCallDelta(call="b", name="get_time", arguments=""))
    assert whole < begun, "a call is given on before the next one is written"


@given(st.lists(st.text(min_size=0, max_size=8), min_size=1, max_size=4), st.integers(1, 5))
def test_calls_do_not_depend_on_how_their_arguments_are_cut(arguments, size):
    written = [json.dumps({"x": each}) for each in arguments]
    parts = []
    for index, text in enumerate(written):
        parts.append(piece(index=index, id=f"c{index}", name="f", arguments=text[:size]))
        parts += [piece(index=index, arguments=text[at : at + size]) for at in range(size, len(text), size)]
    reader = AnswerReader()
    outputs = [each for part in (*parts, STOP, DONE) for each in reader.feed(part.encode())]
    assert calls(outputs) == [(f"c{index}", "f", text) for index, text in enumerate(written)]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(
            [piece(index=0, id="a", name="f", arguments="{}"), piece(index=0, id="b", name="f", arguments="{}")],
            [("a", "f", "{}"), ("b", "f", "{}")],
            id="every index is 0",
        ),
        pytest.param(
            [piece(index=0, name="f", arguments="{}"), piece(index=0, name="f", arguments='{"x":1}')],
            [("call1", "f", "{}"), ("call2", "f", '{"x":1}')],
            id="every index is 0, and no ids",
        ),
        pytest.param(
            [piece(name="f", arguments='{"x'), piece(name="f", arguments='":1}')],
            [("call1", "f", '{"x":1}')],
            id="the name with every piece, and nothing else",
        ),
        pytest.param(
            [piece(id="a", name="f", arguments="{}"), piece(id="b", name="g", arguments="{}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
            id="no index",
        ),
        pytest.param(
            [piece(index=0, id="a", name="f", arguments='{"x'), piece(index=0, id="a", name="f", arguments='":1}')],
            [("a", "f", '{"x":1}')],
            id="id and name with every piece",
        ),
        pytest.param(
            [piece(index=0, name="f", arguments="{}"), piece(index=1, name="f", arguments="{}")],
            [("call1", "f", "{}"), ("call2", "f", "{}")],
            id="no ids",
        ),
        pytest.param(
            [piece(index=0, id="a", name="f", arguments={"x": 1})], [("a", "f", '{"x": 1}')], id="an object for text"
        ),
        pytest.param([piece(index=0, id="a", name="f", arguments=None)], [("a", "f", "{}")], id="no arguments"),
    ],
)
def test_servers_that_cut_calls_in_their_own_way_are_understood(parts, expected):
    assert calls(read(*parts, STOP, DONE)) == expected


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([piece(index=0, id="a", arguments="{}")], "tool call without a name"),
        ([piece(index="0", id="a", name="f")], "'tool_calls'"),
        ([piece(index=0, id="a", name=7)], "'tool_calls'"),
        ([event(None).replace('"delta": {}', '"delta": {"tool_calls": "canary"}')], "'tool_calls'"),
        ([piece(index=n, id=f"c{n}", name="f") for n in range(MAX_CALLS + 1)], f"more than {MAX_CALLS} tool calls"),
        ([piece(index=0, id="a", name="f", arguments="x" * (MAX_ARGUMENT_CHARS + 1))], "characters"),
    ],
)
def test_calls_that_make_no_sense_are_the_servers_failure(parts, message):
    with pytest.raises(ProviderError, match=message) as caught:
        read(*parts, STOP, DONE)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "no spaces", "x" * 65, "ä"])
def test_a_tools_name_is_what_all_apis_take(name):
    with pytest.raises(ValueError, match="a tool's name has"):
        ToolSpec(name=name)


@pytest.mark.parametrize("parameters", ["", "[]", "canary", '{"type": "string"}'])
def test_a_tools_parameters_are_the_schema_of_an_object(parameters):
    with pytest.raises(ValueError, match="JSON schema of type 'object'"):
        ToolSpec(name="f", parameters=parameters)


async def test_a_scripted_model_calls_its_tool_where_it_is_offered_and_answers_its_result():
    model = ScriptedLanguageModel(tool="get_weather", tool_arguments='{"city": "Bonn"}', tool_answer="It is {result}.")

    async def ask(*messages: Message, **more: object) -> list[object]:
        async with model.generate([*ASK, *messages], locale="en", **more) as outputs:
            return [each async for each in outputs if not isinstance(each, ToolCallDelta)]

    (call,) = await ask(tools=[WEATHER])
    assert call == ToolCall(call="call1", name="get_weather", arguments='{"city": "Bonn"}')
    result = (Message(role="assistant", calls=(call,)), Message(role="tool", call="call1", content="sunny"))
    assert await ask(*result, tools=[WEATHER]) == [
        TextDelta(text="It"),
        TextDelta(text=" is"),
        TextDelta(text=" sunny."),
    ]
    assert isinstance((await ask())[0], TextDelta)
    assert isinstance((await ask(tools=[WEATHER], tool_choice="none"))[0], TextDelta)
    assert model.offers == [("get_weather",), ("get_weather",), (), ()]


def test_a_small_model_is_shown_no_result_without_its_call():
    turn = (
        Message(role="user", content="And in Bonn? " * 8),
        Message(role="assistant", calls=(ToolCall(call="a", name="get_weather", arguments='{"city": "Bonn"}'),)),
        Message(role="tool", call="a", content="sunny " * 20),
        Message(role="assistant", content="Sunny."),
    )
    for turns, more, budget in itertools.product(range(1, 12), range(1, 5), (200, 300, 500)):
        shown = fit([*ASK[:1], *(turn * turns), *turn[:more]], budget=budget, examples=())
        for before, message in itertools.pairwise(shown):
            if message.role == "tool":
                assert before.calls, "a result comes after its call"
        if more < 3:  # What does not fit is a result that is too long, and is cut.
            continue
        assert tokens_at_most(shown) <= budget


def test_tools_cost_room_in_the_prompt():
    assert tokens_of_tools([]) == 0
    assert tokens_of_tools([WEATHER, WEATHER]) == 2 * tokens_of_tools([WEATHER]) > 40


def test_an_answer_that_had_to_end_says_so_and_a_call_that_was_cut_off_is_none():
    begun = piece(index=0, id="c1", name="now", arguments='{"zone": "C')
    assert read(begun, event(finish_reason="length"))[1:] == [LimitReached()]


@pytest.mark.parametrize(("own", "asked", "sent"), [(300, 9, 9), (5, 9, 5), (0, 9, 9), (7, None, 7)])
async def test_the_lower_one_of_two_limits_is_sent(own, asked, sent):
    async with (
        serving(script(event("Hi."), STOP, DONE), max_tokens=own) as (chat, server),
        chat.generate(ASK, locale="en", max_tokens=asked) as outputs,
    ):
        assert [each async for each in outputs]
    assert json.loads(server.exchanges[0].body)["max_tokens"] == sent
