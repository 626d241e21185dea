"""Whatever a client sends, and whenever: only valid events in a legal order, on virtual time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import attrs
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from realtime_kit import Client, agent, realtime

from flare_actors.errors import LinkClosed
from flare_actors.ports import Message, ToolCall
from flare_actors.providers.scripted import Line, ScriptedLanguageModel, tone
from flare_actors.wire.openai_realtime.errors import ITEM_CODES

CALL = "t0001c001_t"
"""The first call of the first turn, as the client knows it."""
OWN = {"turn_1_2_t", f"call_{CALL}", f"result_{CALL}"}
"""Items that the history has not, not yet, or not under that name: to be read, and to be put something behind."""
ITEMS = st.sampled_from(
    ["turn_1_t", "turn_2_t", "utterance_1_t", "silence_1_t", "mine", "turn_1", "nobody", "root", *sorted(OWN)]
)


def _message(role: str, kind: str, text: str, item_id: str | None) -> dict[str, Any]:
    item: dict[str, Any] = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return item if item_id is None else {**item, "id": item_id}


MESSAGES = st.builds(
    lambda who, text, item_id: _message(*who, text, item_id),
    st.sampled_from([("user", "input_text"), ("assistant", "output_text"), ("system", "input_text")]),
    st.sampled_from(["hello", "and you?", ""]),
    st.none() | st.sampled_from(["mine", "turn_1"]),
)
CALLS = st.sampled_from(
    [
        {"type": "function_call", "call_id": "old", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call", "call_id": CALL, "name": "get_weather", "arguments": "{}", "id": "mine"},
        {"type": "function_call_output", "call_id": "old", "output": "rainy"},
        {"type": "function_call_output", "call_id": CALL, "output": "rainy", "id": "mine"},
        {"type": "function_call_output", "call_id": CALL, "output": "rainy", "id": "turn_1"},
    ]
)
DETECTIONS = st.none() | st.fixed_dictionaries(
    {
        "type": st.just("server_vad"),
        "create_response": st.booleans(),
        "interrupt_response": st.booleans(),
        "idle_timeout_ms": st.sampled_from([None, 1_000]),
    }
)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "How is the weather?",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SESSIONS = st.one_of(
    st.sampled_from([{"tools": [WEATHER]}, {"tools": [WEATHER], "tool_choice": "none"}, {"tools": []}]),
    st.builds(lambda kind: {"output_modalities": [kind]}, st.sampled_from(["text", "audio"])),
    st.builds(lambda found: {"audio": {"input": {"turn_detection": found}}}, DETECTIONS),
    st.builds(
        lambda kind: {"audio": {"output": {"format": {"type": kind}}}},
        st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma"]),
    ),
    st.sampled_from([{"audio": {"input": {"transcription": None}}}, {"instructions": "Rhyme."}, {"model": 7}]),
    st.sampled_from([{"max_output_tokens": 2}, {"max_output_tokens": "inf"}, {"max_output_tokens": 0}]),
)
RESPONSES = st.fixed_dictionaries(
    {},
    optional={
        "output_modalities": st.sampled_from([["text"], ["audio"]]),
        "conversation": st.sampled_from(["auto", "none"]),
        "metadata": st.just({"a": "b"}),
        "instructions": st.just("Rhyme."),
        "max_output_tokens": st.sampled_from([1, 3, "inf"]),
        "tools": st.sampled_from([[], [WEATHER]]),
        "tool_choice": st.sampled_from(["none", "required", {"type": "function", "name": "get_weather"}]),
    },
)


def event(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


SPEECH = st.builds(lambda seconds: ("speak", seconds), st.sampled_from([0.1, 0.5, 1.2]))
SILENCE = st.builds(lambda seconds: ("silence", seconds), st.sampled_from([0.2, 0.7]))
WAIT = st.builds(lambda seconds: ("wait", seconds), st.sampled_from([0.0, 0.05, 0.5, 3.0]))
HELLO = {"type": "conversation.item.create", "item": _message("user", "input_text", "hello", None)}
UNHEARD = [HELLO, {"type": "response.create"}, ("wait", 0.05), {"type": "response.cancel"}, ("wait", 0.05)]
"""An answer that is stopped before a word of it is heard."""
CALLING = [
    {"type": "session.update", "session": {"tools": [WEATHER]}},
    HELLO,
    {"type": "response.create"},
    ("wait", 0.05),
]
"""An answer that asks for a function of the client's."""
RESULT = [("result", 0.0), {"type": "response.create"}, ("wait", 0.05)]
"""The client has carried it out, and wants the rest."""
ACTS = st.one_of(
    SPEECH,
    SILENCE,
    WAIT,
    event("session.update", session=SESSIONS),
    event("input_audio_buffer.commit"),
    event("input_audio_buffer.clear"),
    event("output_audio_buffer.clear"),
    event("conversation.item.create", item=MESSAGES),
    event("conversation.item.create", item=MESSAGES, previous_item_id=ITEMS),
    event("conversation.item.create", item=CALLS, previous_item_id=ITEMS),
    event("conversation.item.retrieve", item_id=ITEMS),
    event("conversation.item.delete", item_id=ITEMS),
    event("conversation.item.truncate", item_id=ITEMS, audio_end_ms=st.sampled_from([0, 300, 5_000])),
    event("response.create", response=RESPONSES),
    event("response.create"),
    event("response.cancel"),
)


SCRIPTS = st.lists(ACTS.map(lambda act: [act]) | st.sampled_from([UNHEARD, CALLING, RESULT]), max_size=12).map(
    lambda parts: [act for part in parts for act in part]
)


def _model() -> ScriptedLanguageModel:
    """Calls the client's function, where it is offered, amid its answer."""

    def line(messages: Sequence[Message]) -> Line:
        if messages and messages[-1].role == "tool":
            return "It is sunny in Berlin."
        return ["Let me see what they say. ", ToolCall(call="c", name="get_weather", arguments='{"city": "Berlin"}')]

    return ScriptedLanguageModel(script=line)


async def _bring_result(client: Client) -> None:
    """Of the latest call; or of none."""
    calls = [event["call_id"] for event in client.all("response.function_call_arguments.done")]
    result = {"type": "function_call_output", "call_id": calls[-1] if calls else "none", "output": "sunny"}
    await client.say("conversation.item.create", item=result)


async def _act(client: Client, act: Any) -> None:
    if isinstance(act, dict):
        await client.say(act["type"], **{name: value for name, value in act.items() if name != "type"})
        return
    what, seconds = act
    if what == "result":
        await _bring_result(client)
        return
    if what == "wait":
        await trio.sleep(seconds)
        return
    pcm = tone(seconds, 24_000) if what == "speak" else bytes(int(seconds * 24_000) * 2)
    for start in range(0, len(pcm), 4_800):
        await client.say("input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + 4_800]).decode())
        await trio.sleep(0.1)


async def _play(script: list[Any]) -> Client:
    used = attrs.evolve(agent(), language_model=_model())
    async with realtime(used) as client:
        try:
            for act in script:
                await _act(client, act)
                client.hear_now()
            await trio.sleep(40)
        except (LinkClosed, trio.BrokenResourceError):
            pass  # too many mistakes: the server has closed the connection
        client.hear_now()
    return client


def _ask_for(item_id: str) -> list[dict[str, Any]]:
    once = [
        {"type": "conversation.item.retrieve", "item_id": item_id},
        {"type": "conversation.item.truncate", "item_id": item_id, "audio_end_ms": 300},
        {"type": "conversation.item.delete", "item_id": item_id},
    ]
    return [*once, *once]


def _items_denied_though_told(client: Client) -> list[str]:
    """Errors about items that the client was told of, and not that they are gone."""
    there: set[str] = set()
    denied = []
    for event in client.heard:
        match event:
            case {"type": "conversation.item.added", "item": {"id": item_id}}:
                there.add(item_id)
            case {"type": "conversation.item.deleted", "item_id": item_id}:
                there.discard(item_id)
            case {"type": "error", "error": {"code": code, "event_id": event_id}} if code in ITEM_CODES.values():
                item_id = client.said[event_id].get("item_id", client.said[event_id].get("previous_item_id"))
                if item_id in there and (item_id not in OWN or "retrieve" in code or "create" in code):
                    denied.append(f"{code}: {item_id}")
    return denied


def _deltas_taken_back(client: Client) -> list[str]:
    """Transcripts that do not begin with what was told of them before."""
    told: dict[str, str] = {}
    wrong = []
    for event in client.heard:
        match event:
            case {"type": "conversation.item.input_audio_transcription.delta", "item_id": item_id, "delta": delta}:
                told[item_id] = told.get(item_id, "") + delta
            case {"type": "conversation.item.input_audio_transcription.completed", "item_id": item_id}:
                if event["transcript"] and not event["transcript"].startswith(told.get(item_id, "")):
                    wrong.append(f"{told[item_id]} -> {event['transcript']}")
    return wrong


@given(script=SCRIPTS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@example(script=[("speak", 1.2), ("silence", 0.7), ("wait", 0.5), ("speak", 1.2), ("silence", 0.7)])
@example(script=[("speak", 0.5), {"type": "input_audio_buffer.clear"}, ("speak", 0.5)])
@example(
    script=[
        {"type": "response.create"},
        ("wait", 3.0),
        {"type": "response.create"},
        {"type": "input_audio_buffer.commit"},
        {"type": "conversation.item.retrieve", "item_id": "turn_2_t"},
        {"type": "conversation.item.retrieve", "item_id": "turn_2_t"},
    ]
)
@example(script=[*UNHEARD, *_ask_for("turn_1_t")])
@example(
    script=[
        *CALLING,
        *_ask_for(f"call_{CALL}"),
        *RESULT,
        *_ask_for("turn_1_2_t"),
        ("wait", 3.0),
        ("result", 0.0),
        *_ask_for("turn_1_2_t"),
    ]
)
@example(script=[*UNHEARD, {"type": "response.create"}, ("wait", 0.5), *_ask_for("turn_1_t")])
@example(
    script=[
        {"type": "response.create"},
        {"type": "session.update", "session": {"model": 7}},
        HELLO | {"previous_item_id": "turn_1_t"},
    ]
)
def test_whatever_a_client_sends_it_gets_valid_events_in_a_legal_order(script: list[Any]) -> None:
    client = trio.run(_play, script, clock=trio.testing.MockClock(autojump_threshold=0))
    # Everything that was begun is at an end.
    assert client.order.still_open("response") == []
    assert client.order.still_open("item being added") == []
    created, done = client.all("response.created"), client.all("response.done")
    assert [each["response"]["id"] for each in created] == [each["response"]["id"] for each in done]
    assert _items_denied_though_told(client) == []
    assert _deltas_taken_back(client) == []
