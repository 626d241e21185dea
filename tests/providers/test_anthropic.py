"""The client of the messages API: what is asked, what is answered, tools; faults are in test_http_faults.py."""

from __future__ import annotations

import itertools
import json

import pytest
import trio
from http_kinds import ASK, KEY, MESSAGES, SPEECH, messages_events, sse
from http_stub import Exchange, listening, script
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_actors.errors import ProviderError
from flare_actors.ports import LanguageModel, LimitReached, Message, TextDelta, ToolCall, ToolCallDelta, ToolSpec, Usage
from flare_actors.providers._messages_events import MAX_ARGUMENT_CHARS, MAX_BLOCKS, MessagesReader, write_messages
from flare_actors.providers.anthropic import AnthropicMessages, AnthropicSettings, open_anthropic
from flare_actors.providers.llama_local import LlamaSettings, open_llama_local
from flare_actors.providers.openai_chat import OpenAISettings, open_openai

WEATHER = ToolSpec(
    name="get_weather",
    description="The weather in a city.",
    parameters='{"properties": {"city": {"type": "string"}}, "required": ["city"]}',
)
CALLED = sse(
    {"type": "message_start", "message": {"usage": {"input_tokens": 1, "cache_read_input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "Let me "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "see."}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"city": "K\u00f6'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": 'ln"}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t2", "name": "now", "input": {"zone": "CET"}}},
    {"type": "content_block_stop", "index": 3},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
    {"type": "message_stop"},
)  # fmt: skip


async def test_the_request_is_what_the_api_wants():
    async with (
        listening(MESSAGES.good()) as server,
        MESSAGES.open(server.url, temperature=0.5, max_tokens=9, extra={"top_p": 0.9}) as model,
    ):
        assert await MESSAGES.ask(model) == [TextDelta(text="Hi."), Usage(input_tokens=12, output_tokens=2)]

    (exchange,) = server.exchanges
    assert exchange.headers["x-api-key"] == KEY
    assert exchange.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in exchange.headers
    assert json.loads(exchange.body) == {
        "model": "m",
        "system": "Be short.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": SPEECH}]}],
        "max_tokens": 9,
        "temperature": 0.5,
        "stream": True,
        "top_p": 0.9,
    }


async def test_a_token_is_given_on_before_the_next_one_comes():
    events = messages_events("One", " two.")
    more = trio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send("".join(events[:4]))
        await more.wait()
        await exchange.send("".join(events[4:]))
        await exchange.end()

    async with (
        listening(answer) as server,
        MESSAGES.open(server.url) as model,
        model.generate(ASK, locale="en") as outputs,
    ):
        assert await anext(outputs) == TextDelta(text="One")
        more.set()
        assert await anext(outputs) == TextDelta(text=" two.")


def read(*parts: str) -> list[object]:
    """What a reader makes of the stream, byte by byte."""
    reader = MessagesReader()
    return [each for byte in "".join(parts).encode() for each in reader.feed(bytes([byte]))]


_STREAM = "".join(CALLED).replace("\n\n", "\r\n\r\n").encode()


@settings(max_examples=15)
@given(st.sets(st.integers(1, len(_STREAM) - 1), max_size=30))
async def test_text_and_calls_may_arrive_in_any_pieces_even_inside_a_letter(cuts):
    edges = [0, *sorted(cuts), len(_STREAM)]
    pieces = [_STREAM[a:b] for a, b in itertools.pairwise(edges)]
    async with (
        listening(script(*pieces)) as server,
        MESSAGES.open(server.url) as model,
        model.generate(ASK, locale="en", tools=[WEATHER], tool_choice="required") as outputs,
    ):
        answer = [each async for each in outputs]

    assert "".join(each.text for each in answer if isinstance(each, TextDelta)) == "Let me see."
    assert [each for each in answer if isinstance(each, ToolCall)] == [
        ToolCall(call="t1", name="get_weather", arguments='{"city": "K\u00f6ln"}'),
        ToolCall(call="t2", name="now", arguments='{"zone": "CET"}'),
    ]
    grown = "".join(each.arguments for each in answer if isinstance(each, ToolCallDelta) and each.call == "t1")
    assert grown == '{"city": "K\u00f6ln"}'
    assert answer[-1] == Usage(input_tokens=10, output_tokens=30)
    body = json.loads(server.exchanges[0].body)
    assert body["tool_choice"] == {"type": "any"}
    (tool,) = body["tools"]
    assert tool["name"] == "get_weather"
    assert tool["input_schema"]["type"] == "object"
    assert tool["input_schema"]["required"] == ["city"]


def test_a_call_without_arguments_is_one_of_an_empty_object():
    start = {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "", "name": "now", "input": {}}}
    *_, call = read(*sse(start, {"type": "message_stop"}))

    assert call == ToolCall(call="call1", name="now", arguments="{}")


def test_a_conversation_is_written_in_alternation_with_results_next_to_their_calls():
    call = ToolCall(call="c1", name="now", arguments='{"zone": "CET"}')
    broken = ToolCall(call="c2", name="now", arguments='{"zone')
    instructions, turns = write_messages(
        [
            Message(role="system", content="Be short."),
            Message(role="assistant", content="Welcome!"),
            Message(role="user", content="What time is it?"),
            Message(role="assistant", content=" ", calls=(call, broken)),
            Message(role="tool", call="c1", content="noon"),
            Message(role="tool", call="c2", content="broken arguments", failed=True),
            Message(role="user", content="Well?"),
            Message(role="assistant", content=""),
        ]
    )

    assert instructions == "Be short."
    assert [each["role"] for each in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert turns[3]["content"] == [
        {"type": "tool_use", "id": "c1", "name": "now", "input": {"zone": "CET"}},
        {"type": "tool_use", "id": "c2", "name": "now", "input": {}},
    ]
    assert turns[4]["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "noon"},
        {"type": "tool_result", "tool_use_id": "c2", "content": "broken arguments", "is_error": True},
        {"type": "text", "text": "Well?"},
    ]


_message = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.text(max_size=5),
    calls=st.lists(st.builds(ToolCall, call=st.just("c"), name=st.just("n"), arguments=st.text(max_size=5)), max_size=2).map(
        tuple
    ),
    call=st.just("c"),
)  # fmt: skip


@given(st.lists(_message, max_size=8))
def test_whatever_the_conversation_its_turns_alternate_and_the_user_begins(messages):
    _, turns = write_messages(messages)

    roles = [each["role"] for each in turns]
    assert roles[:1] in ([], ["user"])
    assert all(a != b for a, b in itertools.pairwise(roles))
    assert all(each["content"] for each in turns)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (["{not json}"], "no JSON"),
        ([[1]], "not a message's"),
        ([{"no": "type"}], "not a message's"),
        ([{"type": "message_start", "message": 7}], "not a message's"),
        ([{"type": "content_block_start", "content_block": {"type": "text"}}], "a block"),
        ([{"type": "content_block_start", "content_block": {"type": "tool_use", "id": "a", "name": ""}}], "a block"),
        ([{"type": "content_block_delta", "delta": {"type": "text_delta", "text": 7}}], "a delta"),
        ([{"type": "content_block_delta", "delta": "canary"}], "not a message's"),
        ([{"type": "error", "error": {"type": "overloaded_error", "message": "canary"}}], "overloaded_error"),
        ([{"type": "error", "error": "canary"}], "failed while answering"),
        ([{"type": "content_block_start", "content_block": {"type": "text", "text": ""}}] * (MAX_BLOCKS + 1), "blocks"),
        (["[DONE]"], "no JSON"),
    ],
)
def test_a_foreign_event_is_an_error_that_quotes_nothing(events, says):
    with pytest.raises(ProviderError, match=says) as caught:
        read(*sse(*events))

    assert "canary" not in str(caught.value)


def test_a_call_without_end_has_an_end():
    start = {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "a", "name": "n"}}
    more = {
        "type": "content_block_delta",
        "delta": {"type": "input_json_delta", "partial_json": "x" * MAX_ARGUMENT_CHARS},
    }
    reader = MessagesReader()

    wire = "".join(sse(start, more, more)).encode()
    with pytest.raises(ProviderError, match="a tool call with more than"):
        list(reader.feed(wire))


def test_arguments_of_a_tool_that_is_the_servers_own_are_passed_over():
    start = {"type": "content_block_start", "content_block": {"type": "server_tool_use", "id": "a", "name": "n"}}
    more = {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{}"}}

    assert read(*sse(start, more, {"type": "content_block_stop"}, {"type": "invented"})) == []


async def test_it_is_a_language_model_whose_repr_holds_no_key():
    async with open_anthropic(AnthropicSettings(), api_key=KEY) as model:
        assert isinstance(model, LanguageModel)
        assert KEY not in repr((model, model.settings, model._api, model._api._client))
    assert isinstance(AnthropicMessages(), LanguageModel)


@pytest.mark.needs("weights")
async def test_a_real_llama_cpp_server_answers_in_both_shapes_and_takes_tools_and_results():
    call = ToolCall(call="c1", name="get_weather", arguments='{"city": "Paris"}')
    asked = [Message(role="user", content="What is the weather in Paris?"), Message(role="assistant", calls=(call,))]
    results = [*asked, Message(role="tool", call="c1", content="Sunny, 20 degrees.")]
    short = {"model": "m", "max_tokens": 3, "temperature": 0.0}  # no answer of the model's is as short
    async with open_llama_local(LlamaSettings(slots=1, context_tokens=512)) as llama:
        api = llama._chat._api
        async with (
            open_anthropic(AnthropicSettings(base_url=api.url, **short), api_key=api._key) as messages,
            open_openai(OpenAISettings(base_url=api.url, **short), api_key=api._key) as chat,
        ):
            for model in (messages, chat):
                assert await model.check()
                for shown in (ASK, results):
                    async with model.generate(shown, locale="en", tools=[WEATHER], tool_choice="none") as outputs:
                        *parts, usage = [each async for each in outputs]
                    assert isinstance(usage, Usage)
                    assert 0 < usage.output_tokens <= 3
                    assert usage.input_tokens > 0
                    *parts, end = parts
                    assert end == LimitReached()
                    assert parts
                    assert all(isinstance(each, TextDelta) for each in parts)


def test_an_answer_that_had_to_end_says_so_and_a_call_that_was_cut_off_is_none():
    events = sse(
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t1", "name": "now", "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"zo'}},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )
    outputs = list(MessagesReader().feed("".join(events).encode()))
    assert [each for each in outputs if not isinstance(each, ToolCallDelta)] == [LimitReached()]


async def test_the_lower_one_of_two_limits_is_sent():
    async with (
        listening(*[MESSAGES.good()] * 2) as server,
        MESSAGES.open(server.url, max_tokens=9) as model,
    ):
        for most in (5, 20):
            async with model.generate(ASK, locale="en", max_tokens=most) as outputs:
                assert [each async for each in outputs]
    assert [json.loads(each.body)["max_tokens"] for each in server.exchanges] == [5, 9]
