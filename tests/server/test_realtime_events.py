"""What the server says in OpenAI Realtime, event by event, to clients that behave and to clients that do not."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import attrs
import pytest
import trio
from realtime_kit import SILENCE, Client, agent, realtime

from flare_actors.conversation.settings import Limits, Timeouts
from flare_actors.conversation.states import Reason
from flare_actors.ports import ToolCall, Transcript, Usage
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, tone
from flare_actors.testing import Act, At, Fault, FaultyLanguageModel, FaultyRecognizer
from flare_actors.wire import g711


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


async def test_the_session_tells_what_is_in_force_and_nothing_of_the_agents_own_instructions(clock) -> None:
    async with realtime() as client:
        created = client.heard[0]["session"]
        assert created["model"] == "a-model"
        assert created["output_modalities"] == ["audio"]
        assert created["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
        assert created["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 480
        assert created["instructions"] == ""
        await client.say(
            "session.update",
            session={"audio": {"input": {"turn_detection": {"silence_duration_ms": 300}}}, "instructions": "Rhyme."},
        )
        updated = (await client.wait("session.updated"))["session"]
        assert updated["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 300
        assert updated["audio"]["input"]["turn_detection"]["threshold"] == 0.5
        assert updated["instructions"] == "Rhyme."


async def test_text_is_answered_when_the_client_asks_and_as_it_asks(clock) -> None:
    used = agent()
    async with realtime(used) as client:
        await client.write("hello")
        await client.wait("conversation.item.done")
        await client.say(
            "response.create",
            response={"output_modalities": ["text"], "instructions": "Rhyme.", "metadata": {"topic": "a"}},
        )
        done = (await client.wait("response.done"))["response"]
        assert (done["status"], done["metadata"]) == ("completed", {"topic": "a"})
        assert done["output"][0]["content"] == [{"type": "output_text", "text": "One two three. Four five six."}]
        assert not client.all("response.output_audio.delta")
        assert isinstance(used.language_model, ScriptedLanguageModel)
        assert [m.content for m in used.language_model.requests[0]] == ["Rhyme.", "hello"]


async def test_speech_is_heard_understood_and_answered_aloud(clock) -> None:
    async with realtime() as client:
        await client.ask()
        done = (await client.wait("response.done"))["response"]
        assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "One two three. Four five six."}]
        (completed,) = client.all("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "first words"
        user = client.all("conversation.item.added")[0]["item"]
        assert (user["id"], user["content"][0]["transcript"]) == (completed["item_id"], None), (
            "LiveKit's plugin appends the transcript to what the item came with"
        )
        assert completed["usage"]["type"] == "duration"
        assert 1.0 < completed["usage"]["seconds"] < 2.0
        sound = b"".join(base64.b64decode(each["delta"]) for each in client.all("response.output_audio.delta"))
        assert len(sound) / 48_000 == pytest.approx(28 / 15, abs=0.2)


@pytest.mark.parametrize(("name", "law"), [("audio/pcmu", g711.Law.MU), ("audio/pcma", g711.Law.A)])
async def test_telephones_speak_and_hear_their_own_format(clock, name, law) -> None:
    formats = {"input": {"format": {"type": name}}, "output": {"format": {"type": name}}}
    async with realtime(session={"audio": formats}) as client:
        sound = g711.encode(tone(1.0, 8_000) + bytes(16_000), law)
        for start in range(0, len(sound), 800):
            piece = base64.b64encode(sound[start : start + 800]).decode()
            await client.say("input_audio_buffer.append", audio=piece)
        await client.wait("response.done")
        heard = b"".join(base64.b64decode(each["delta"]) for each in client.all("response.output_audio.delta"))
        assert len(heard) / 8_000 == pytest.approx(28 / 15, abs=0.2)


async def test_a_recording_sent_at_once_is_heard_to_its_end(clock) -> None:
    async with realtime() as client:
        await client.say("input_audio_buffer.append", audio=base64.b64encode(tone(8.0, 24_000) + SILENCE).decode())
        await client.wait("conversation.item.input_audio_transcription.completed")
        stopped = client.all("input_audio_buffer.speech_stopped")[0]
        assert stopped["audio_end_ms"] > 8_000
        assert client.session.statistics().dropped_audio_s == 0


async def test_who_speaks_over_the_agent_interrupts_and_truncates(clock) -> None:
    async with realtime() as client:
        await client.ask()
        await client.wait("response.output_audio.delta")
        await client.ask()
        done = (await client.wait("response.done"))["response"]
        assert done["status"] == "cancelled"
        assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        item_id = done["output"][0]["id"]
        await client.say("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
        await client.wait("conversation.item.truncated")
        await client.say("conversation.item.retrieve", item_id=item_id)
        assert (await client.wait("conversation.item.retrieved"))["item"]["content"][0]["transcript"] == ""


async def unheard(client: Client) -> str:
    """An answer of which nothing was heard, and the next one is under way: the history has given the first one up."""
    await client.write("hello")
    await client.say("response.create")
    item_id = (await client.wait("response.output_audio.delta"))["item_id"]
    await client.say("response.cancel")
    assert (await client.wait("response.done"))["response"]["status"] == "cancelled"
    await client.say("response.create")
    await client.wait("response.output_audio.delta")
    return item_id


async def test_an_answer_of_which_nothing_was_heard_is_an_item_until_the_client_has_it_deleted(clock) -> None:
    async with realtime() as client:
        item_id = await unheard(client)
        await client.say("conversation.item.retrieve", item_id=item_id)
        item = (await client.wait("conversation.item.retrieved"))["item"]
        assert (item["id"], item["role"], item["status"]) == (item_id, "assistant", "incomplete")
        assert item["content"] == [{"type": "output_audio", "transcript": ""}]
        await client.say("conversation.item.truncate", item_id=item_id, audio_end_ms=700)
        truncated = await client.wait("conversation.item.truncated")
        assert (truncated["item_id"], truncated["audio_end_ms"]) == (item_id, 0)
        await client.say("conversation.item.delete", item_id=item_id)
        assert (await client.wait("conversation.item.deleted"))["item_id"] == item_id
        for what in ("retrieve", "truncate", "delete"):
            more = {"audio_end_ms": 0} if what == "truncate" else {}
            await client.say(f"conversation.item.{what}", item_id=item_id, event_id=what, **more)
            error = await client.wait_error()
            assert (error["code"], error["event_id"]) == (f"item_{what}_invalid_item_id", what)


async def test_an_unheard_answer_that_is_deleted_twice_at_once_is_deleted_once(clock) -> None:
    async with realtime() as client:
        item_id = await unheard(client)
        for name in ("first", "second"):
            await client.say("conversation.item.delete", item_id=item_id, event_id=name)
        assert (await client.wait_error())["event_id"] == "second"
        assert len(client.all("conversation.item.deleted")) == 1


async def test_an_answer_that_the_client_has_cut_to_nothing_stays_an_item(clock) -> None:
    async with realtime() as client:
        await client.ask()
        done = (await client.wait("response.done"))["response"]
        assert done["status"] == "completed"
        item_id = done["output"][0]["id"]
        await client.say("conversation.item.truncate", item_id=item_id, audio_end_ms=0)
        await client.wait("conversation.item.truncated")
        await client.ask()
        await client.wait("response.output_audio.delta")
        await client.say("conversation.item.retrieve", item_id=item_id)
        assert (await client.wait("conversation.item.retrieved"))["item"]["content"][0]["transcript"] == ""


async def test_items_that_are_forgotten_for_their_number_are_no_items_any_more(clock) -> None:
    async with realtime(agent(limits=Limits(history_items=3))) as client:
        item_id = await unheard(client)
        for number in range(3):
            await client.write(f"{number}")
            await client.wait("conversation.item.done")
        await client.say("conversation.item.retrieve", item_id=item_id)
        assert (await client.wait_error())["code"] == "item_retrieve_invalid_item_id"


async def test_a_client_that_commits_is_answered_when_it_asks(clock) -> None:
    async with realtime(session={"audio": {"input": {"turn_detection": None}}}) as client:
        await client.speak(tone(1.0, 24_000))
        await client.say("input_audio_buffer.commit")
        await client.say("response.create")
        await client.wait("input_audio_buffer.committed")
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        assert not client.all("input_audio_buffer.speech_started")
        await client.say("input_audio_buffer.commit", event_id="mine")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")


async def test_what_was_said_can_be_cleared(clock) -> None:
    async with realtime() as client:
        await client.speak(tone(0.5, 24_000))
        await client.say("input_audio_buffer.clear")
        await client.wait("input_audio_buffer.cleared")
        await client.speak(SILENCE + SILENCE)
        client.hear_now()
        assert not client.all("input_audio_buffer.committed")


@pytest.mark.parametrize("stops_by", ["a clear", "turning detection off"])
async def test_speech_that_was_told_to_begin_is_told_to_stop(clock, stops_by) -> None:
    async with realtime() as client:
        await client.speak(tone(0.5, 24_000))
        started = await client.wait("input_audio_buffer.speech_started")
        if stops_by == "a clear":
            await client.say("input_audio_buffer.clear")
            stopped = await client.wait("input_audio_buffer.speech_stopped")
            await client.wait("input_audio_buffer.cleared")
        else:
            await client.say("session.update", session={"audio": {"input": {"turn_detection": None}}})
            await client.say("input_audio_buffer.commit")
            stopped = await client.wait("input_audio_buffer.speech_stopped")
            await client.say("session.update", session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
        assert stopped["item_id"] == started["item_id"]
        await client.ask()
        assert (await client.wait("input_audio_buffer.speech_started"))["item_id"] != started["item_id"]


async def test_out_of_band_nothing_enters_the_conversation(clock) -> None:
    used = agent()
    async with realtime(used) as client:
        await client.write("hello")
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "classify"}]}
        await client.say(
            "response.create",
            response={"conversation": "none", "input": [item], "output_modalities": ["text"], "metadata": {"a": "b"}},
        )
        done = (await client.wait("response.done"))["response"]
        assert (done["conversation_id"], done["metadata"]) == (None, {"a": "b"})
        await client.say("conversation.item.retrieve", item_id=done["output"][0]["id"])
        assert (await client.wait_error())["code"] == "item_retrieve_invalid_item_id"
        assert isinstance(used.language_model, ScriptedLanguageModel)
        assert used.language_model.requests[0][-1].content == "classify"


async def test_items_go_where_the_client_wants_them_and_leave_when_it_says(clock) -> None:
    async with realtime() as client:
        item = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "be kind"}]}
        await client.say("conversation.item.create", item={**item, "id": "sys"})
        await client.write("first", previous_item_id="root")
        await client.write("second", previous_item_id="sys")
        for _ in range(3):
            await client.wait("conversation.item.done")
        assert [each["previous_item_id"] for each in client.all("conversation.item.added")] == [None, None, "sys"]
        await client.say("conversation.item.delete", item_id="sys")
        await client.wait("conversation.item.deleted")
        await client.say("conversation.item.delete", item_id="sys", event_id="e1")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("item_delete_invalid_item_id", "e1")


async def test_a_response_can_be_cancelled_once(clock) -> None:
    async with realtime() as client:
        await client.write("hello")
        await client.say("response.create")
        await client.wait("response.output_audio.delta")
        await client.say("response.create", event_id="second")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "second")
        await client.say("response.cancel")
        details = (await client.wait("response.done"))["response"]["status_details"]
        assert details == {"type": "cancelled", "reason": "client_cancelled"}
        await client.say("response.cancel", event_id="third")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "third")


async def test_an_output_that_is_cleared_is_told_of(clock) -> None:
    async with realtime() as client:
        await client.write("hello")
        await client.say("response.create")
        response_id = (await client.wait("response.output_audio.delta"))["response_id"]
        await client.say("output_audio_buffer.clear")
        await client.wait("response.done")
        assert (await client.wait("output_audio_buffer.cleared"))["response_id"] == response_id


async def test_an_output_that_is_cleared_amid_the_words_before_a_call_is_told_of_at_once(clock) -> None:
    line = ["Let me see what they say. ", ToolCall(call="c", name="get_weather", arguments="{}")]
    model = ScriptedLanguageModel(script=[line, "It is sunny."])
    async with realtime(attrs.evolve(agent(), language_model=model)) as client:
        await client.say("session.update", session={"tools": [{"type": "function", "name": "get_weather"}]})
        await client.write("how is the weather?")
        await client.say("response.create")
        first = (await client.wait("response.done"))["response"]
        await client.say("output_audio_buffer.clear")
        assert (await client.wait("output_audio_buffer.cleared"))["response_id"] == first["id"]
        await client.write("and now?")
        await client.say("response.create")
        second = (await client.wait("response.done"))["response"]
        assert second["status"] == "completed"
        await trio.sleep(1)
        client.hear_now()
        assert len(client.all("output_audio_buffer.cleared")) == 1


async def test_a_lost_utterance_is_told_as_a_failed_transcription(clock) -> None:
    # It fails after its first words: failing as the user begins, it could be told of before the user or after.
    broken = FaultyRecognizer(inner=ScriptedRecognizer(partials=True), faults=[Fault(at=At.MIDDLE, act=Act.RAISE)])
    async with realtime(attrs.evolve(agent(), recognizer=broken)) as client:
        await client.ask()
        await client.wait("conversation.item.deleted")
        (failed,) = client.all("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "stt_failed"
        assert None not in failed["error"].values(), "@openai/agents takes no null there"
        assert not client.all("error"), "that would be a second fault"


async def test_a_lost_utterance_that_nobody_wants_in_writing_is_told_as_an_error(clock) -> None:
    broken = FaultyRecognizer(inner=ScriptedRecognizer(partials=True), faults=[Fault(at=At.MIDDLE, act=Act.RAISE)])
    session = {"audio": {"input": {"transcription": None}}}
    async with realtime(attrs.evolve(agent(), recognizer=broken), session=session) as client:
        await client.ask()
        assert (await client.wait_error())["code"] == "stt_failed"
        await client.wait("conversation.item.deleted")
        assert not client.all("conversation.item.input_audio_transcription.failed")


async def test_an_answer_that_failed_says_so_in_its_response_and_nowhere_else(clock) -> None:
    broken = FaultyLanguageModel(inner=ScriptedLanguageModel(), faults=[Fault(at=At.MIDDLE, act=Act.RAISE)])
    async with realtime(attrs.evolve(agent(), language_model=broken)) as client:
        await client.write("hello")
        await client.say("response.create")
        done = (await client.wait("response.done"))["response"]
        assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "llm_failed")
        await client.say("response.create")
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        assert not client.all("error")


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        ("no json", "invalid_json", None),
        (b"\x00\x00", "invalid_value", None),
        ('{"type": "nonsense"}', "invalid_value", "type"),
        ('{"type": "response.cancel", "event_id": 5}', "invalid_value", "event_id"),
        ("{}", "missing_required_parameter", "type"),
        ('{"type": "input_audio_buffer.append", "audio": "?"}', "invalid_value", "audio"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
        ('{"type": "session.update", "session": {"voise": 1}}', "unknown_parameter", "session.voise"),
        (
            '{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"threshold": 3}}}}}',
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            '{"type": "session.update", "session": {"output_modalities": []}}',
            "invalid_value",
            "session.output_modalities",
        ),
        ('{"type": "session.update", "session": {"tool_choice": "maybe"}}', "invalid_value", "session.tool_choice"),
        ('{"type": "response.create", "response": {"metadata": {"a": 1}}}', "invalid_value", "response.metadata"),
        ('{"type": "response.create", "response": {"conversation": "c"}}', "invalid_value", "response.conversation"),
        (
            '{"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": ""}}',
            "invalid_tool_call_id",
            "item.call_id",
        ),
        (
            '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}}',
            "invalid_value",
            "item.content",
        ),
        (
            '{"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": 1}',
            "item_truncate_invalid_item_id",
            "item_id",
        ),
        ('{"type": "output_audio_buffer.clear"}', "response_cancel_not_active", "response_id"),
    ],
)
async def test_what_is_wrong_is_said_and_the_session_lives_on(clock, data, code, param) -> None:
    async with realtime() as client:
        await client.say_raw(data)
        error = await client.wait_error()
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
        await client.write("still there")
        await client.wait("conversation.item.done")


async def test_half_a_minute_of_audio_in_one_event_is_too_much(clock) -> None:
    async with realtime() as client:
        await client.say("input_audio_buffer.append", audio=base64.b64encode(bytes(48_000 * 31)).decode())
        assert (await client.wait_error())["param"] == "audio"


async def test_a_flood_of_nonsense_ends_the_connection(clock) -> None:
    async with realtime() as client:
        for _ in range(40):
            await client.say_raw("x")
        await client.session.wait_ended()
        client.hear_now()
        assert client.heard[-1]["error"]["code"] == "too_many_errors"
        assert client.wire.closed == (1008, "too many malformed messages")


async def test_a_drained_session_closes_with_going_away_after_the_turn(clock) -> None:
    async with realtime() as client:
        await client.ask()
        await client.wait("response.output_audio.delta")
        client.session.shutdown(10.0)
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        assert await client.session.wait_ended() is Reason.SHUTDOWN
    assert client.wire.closed is not None
    assert client.wire.closed[0] == 1001


async def test_a_user_who_stays_away_is_told_that_the_session_is_over(clock) -> None:
    async with realtime(agent(idle_end_s=5.0, session_idle_s=5.0)) as client:
        assert (await client.wait_error())["code"] == "session_expired"
        assert await client.session.wait_ended() is Reason.IDLE


async def test_event_ids_of_the_client_are_not_spent_on_what_went_well(clock) -> None:
    async with realtime() as client:
        await client.say_raw(json.dumps({"type": "session.update", "event_id": "a", "session": {"type": "realtime"}}))
        await client.wait("session.updated")
        assert not client.all("error")


WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "How is the weather?",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def a_model_that_calls(*times: str) -> ScriptedLanguageModel:
    calls = [ToolCall(call=f"c{number}", name="get_weather", arguments=each) for number, each in enumerate(times)]
    return ScriptedLanguageModel(script=[calls, "It is sunny."])


async def test_functions_are_the_client_s_to_carry_out_and_then_it_asks_for_the_rest(clock) -> None:
    used = attrs.evolve(agent(), language_model=a_model_that_calls('{"city": "Berlin"}', '{"city": "Rome"}'))
    async with realtime(used, session={"tools": [WEATHER]}) as client:
        await client.write("how is the weather?")
        await client.say("response.create", response={"output_modalities": ["text"]})
        done = (await client.wait("response.done"))["response"]
        assert [item["type"] for item in done["output"]] == ["function_call", "function_call"]
        assert sorted(item["arguments"] for item in done["output"]) == ['{"city": "Berlin"}', '{"city": "Rome"}']
        for item in done["output"]:
            result = {"type": "function_call_output", "call_id": item["call_id"], "output": "sunny"}
            await client.say("conversation.item.create", item=result)
            await client.wait("conversation.item.done")
        await client.say("response.create", response={"metadata": {"a": "b"}})
        rest = (await client.wait("response.done"))["response"]
        assert rest["output"][0]["content"][0]["text"] == "It is sunny."
        assert rest["metadata"] == {"a": "b"}
        await client.say("conversation.item.retrieve", item_id=done["output"][0]["id"])
        item = (await client.wait("conversation.item.retrieved"))["item"]
        assert (item["type"], item["name"]) == ("function_call", "get_weather")


async def test_a_response_says_what_the_model_took_for_it_where_the_model_tells(clock) -> None:
    call = ToolCall(call="c", name="get_weather", arguments="{}")
    model = ScriptedLanguageModel(
        script=[
            [call, Usage(input_tokens=20, output_tokens=3)],
            ["It is sunny.", Usage(input_tokens=30, output_tokens=4)],
            "Nobody counts this.",
        ]
    )
    async with realtime(attrs.evolve(agent(), language_model=model), session={"tools": [WEATHER]}) as client:
        usages = []
        await client.write("how is the weather?")
        for _ in range(3):
            await client.say("response.create", response={"output_modalities": ["text"]})
            usages.append((await client.wait("response.done"))["response"]["usage"])
        counts = [(each["input_tokens"], each["output_tokens"], each["total_tokens"]) for each in usages[:2]]
        assert counts == [(20, 3, 23), (30, 4, 34)]
        nothing = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        assert {name: usages[2][name] for name in nothing} == nothing, (
            "clients read it without looking whether it is there"
        )


async def test_what_is_said_after_a_function_s_result_is_an_item_that_can_be_read_and_cut(clock) -> None:
    call = ToolCall(call="c", name="get_weather", arguments="{}")
    model = ScriptedLanguageModel(script=[["Let me see. ", call], "It is sunny today."])
    async with realtime(attrs.evolve(agent(), language_model=model), session={"tools": [WEATHER]}) as client:
        await client.write("how is the weather?")
        await client.say("response.create")
        first, called = (await client.wait("response.done"))["response"]["output"]
        await client.say("conversation.item.retrieve", item_id=called["id"])
        assert (await client.wait("conversation.item.retrieved"))["item"] == called
        result = {"type": "function_call_output", "call_id": called["call_id"], "output": "sunny", "id": "mine"}
        await client.say("conversation.item.create", item=result)
        await client.say("conversation.item.retrieve", item_id="mine")
        assert (await client.wait("conversation.item.retrieved"))["item"]["output"] == "sunny"
        await client.say("response.create")
        item_id = (await client.wait("response.output_audio.delta"))["item_id"]
        assert item_id != first["id"]
        await client.say("conversation.item.retrieve", item_id=item_id)
        assert (await client.wait("conversation.item.retrieved"))["item"]["id"] == item_id
        before = [each for each in client.all("response.output_audio.delta") if each["item_id"] == first["id"]]
        before_s = sum(len(base64.b64decode(each["delta"])) for each in before) / 48_000
        # The first three words take 11 letters, at 15 a second; what is told before the function counts.
        end_ms = round(1000 * (0.75 - before_s))
        await trio.sleep(1.0)
        await client.say("conversation.item.truncate", item_id=item_id, audio_end_ms=end_ms)
        truncated = await client.wait("conversation.item.truncated")
        assert (truncated["item_id"], truncated["audio_end_ms"]) == (item_id, end_ms)
        details = (await client.wait("response.done"))["response"]["status_details"]
        assert details == {"type": "cancelled", "reason": "client_cancelled"}
        await trio.sleep(0.1)
        await client.say("conversation.item.retrieve", item_id=first["id"])
        heard = (await client.wait("conversation.item.retrieved"))["item"]["content"][0]["transcript"]
        assert heard == "Let me see."


async def test_a_call_without_a_result_is_told_to_the_model_as_failed(clock) -> None:
    model = a_model_that_calls("{}")
    async with realtime(attrs.evolve(agent(), language_model=model), session={"tools": [WEATHER]}) as client:
        await client.write("how is the weather?")
        await client.say("response.create")
        await client.wait("response.done")
        await client.say("response.create")
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        assert model.requests[-1][-1].failed


async def test_who_speaks_while_a_call_is_open_gets_a_new_answer(clock) -> None:
    model = a_model_that_calls("{}")
    async with realtime(attrs.evolve(agent(), language_model=model), session={"tools": [WEATHER]}) as client:
        await client.write("how is the weather?")
        await client.say("response.create")
        call = (await client.wait("response.done"))["response"]["output"][0]
        await client.ask()
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "late"}
        await client.say("conversation.item.create", item=result)
        added = (await client.wait("conversation.item.done"))["item"]
        assert (added["output"], added["call_id"]) == ("late", call["call_id"])
        await client.say("conversation.item.retrieve", item_id=added["id"])
        assert (await client.wait("conversation.item.retrieved"))["item"] == added
        await client.say("response.create")
        await client.wait("response.done")
        told = [(each.content, each.failed) for each in model.requests[-1] if each.role == "tool"]
        assert told == [("late", False)]
        await client.say("conversation.item.create", item=result, event_id="twice")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("invalid_tool_call_id", "twice")


async def test_an_answer_that_goes_on_without_the_client_is_told_all_the_same(clock) -> None:
    model = ScriptedLanguageModel(
        script=[[ToolCall(call="c", name="get_weather", arguments="{}")], "I cannot tell.", "It is sunny."]
    )
    used = attrs.evolve(agent(timeouts=Timeouts(tool_s=2)), language_model=model)
    async with realtime(used, session={"tools": [WEATHER]}) as client:
        await client.write("how is the weather?")
        await client.say("response.create")
        call = (await client.wait("response.done"))["response"]["output"][0]
        await client.wait("response.output_audio.delta")
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        await client.say("conversation.item.create", item=result)
        rest = (await client.wait("response.done"))["response"]
        assert (rest["status"], rest["output"][0]["content"][0]["transcript"]) == ("completed", "I cannot tell.")
        await client.say("response.create")
        await client.wait("response.done")
        told = [(each.content, each.failed) for each in model.requests[-1] if each.role == "tool"]
        assert told == [("sunny", False)]


async def test_a_result_that_came_is_known_although_nobody_asked_for_the_rest(clock) -> None:
    model = a_model_that_calls("{}")
    async with realtime(attrs.evolve(agent(), language_model=model), session={"tools": [WEATHER]}) as client:
        await client.write("how is the weather?")
        await client.say("response.create")
        call = (await client.wait("response.done"))["response"]["output"][0]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        await client.say("conversation.item.create", item=result)
        await client.wait("conversation.item.done")
        await client.ask()
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        told = [(each.content, each.failed) for each in model.requests[-1] if each.role == "tool"]
        assert told == [("sunny", False)]


async def test_what_a_client_knows_from_another_connection_goes_in_under_its_old_names(clock) -> None:
    """LiveKit's plugin connects anew every 20 minutes, and puts in what it knows, by the names that it knows."""
    async with realtime() as client:
        await client.ask()
        await client.wait("response.done")
        before = [each["item"]["id"] for each in client.all("conversation.item.added")]
    async with realtime(token="u") as client:
        previous = "root"
        for item_id in (*before, "turn_1", "item_123456789012"):
            await client.write("before", previous_item_id=previous, item_id=item_id)
            assert (await client.wait("conversation.item.done"))["item"]["id"] == item_id
            previous = item_id
        await client.ask()
        await client.wait("response.done")
        added = [each["item"]["id"] for each in client.all("conversation.item.added")]
        assert len(set(added)) == len(added) == 6
        await client.say("conversation.item.retrieve", item_id="turn_1")
        item = (await client.wait("conversation.item.retrieved"))["item"]
        assert (item["id"], item["role"]) == ("turn_1", "user")
        await client.say("conversation.item.delete", item_id="turn_1")
        assert (await client.wait("conversation.item.deleted"))["item_id"] == "turn_1"
        # What was cut short elsewhere is put in anew under the same name.
        answer = added[-1]
        await client.say("conversation.item.delete", item_id=answer)
        await client.write("One two", item_id=answer, role="assistant")
        assert (await client.wait("conversation.item.done"))["item"]["id"] == answer
        await client.say("conversation.item.retrieve", item_id=answer)
        item = (await client.wait("conversation.item.retrieved"))["item"]
        assert item["content"] == [{"type": "output_text", "text": "One two"}]


async def test_what_is_understood_is_told_while_the_user_speaks_and_never_taken_back(clock) -> None:
    used = attrs.evolve(agent(), recognizer=ScriptedRecognizer(script=["one two three four five six"], partials=True))
    async with realtime(used) as client:
        await client.speak(tone(2.0, 24_000))
        client.hear_now()
        deltas = client.all("conversation.item.input_audio_transcription.delta")
        assert deltas
        assert not client.all("conversation.item.added")
        await client.speak(SILENCE)
        completed = await client.wait("conversation.item.input_audio_transcription.completed")
        deltas = client.all("conversation.item.input_audio_transcription.delta")
        assert {each["item_id"] for each in deltas} == {completed["item_id"]}
        assert "".join(each["delta"] for each in deltas) == completed["transcript"]


class SecondThoughts(ScriptedRecognizer):
    """Understands something, and in the end that it was nothing."""

    async def _run(self, audio: Any, *, streaming: bool) -> AsyncGenerator[Transcript, None]:
        async with aclosing(super()._run(audio, streaming=streaming)) as transcripts:
            async for transcript in transcripts:
                yield attrs.evolve(transcript, text="") if transcript.final else transcript


async def test_words_that_come_to_nothing_in_the_end_are_completed_as_nothing(clock) -> None:
    used = attrs.evolve(agent(), recognizer=SecondThoughts(script=["one two three four"], partials=True))
    async with realtime(used) as client:
        await client.speak(tone(2.0, 24_000) + SILENCE)
        told = await client.wait("conversation.item.input_audio_transcription.delta")
        completed = await client.wait("conversation.item.input_audio_transcription.completed")
        assert (completed["item_id"], completed["transcript"]) == (told["item_id"], "")
        assert not client.all("response.created")


@pytest.mark.parametrize(
    "session",
    [
        {
            "tools": None,
            "tool_choice": None,
            "instructions": None,
            "audio": {"output": {"speed": None}},
            "prompt": None,
        },
        {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": None, "create_response": None}}}},
    ],
)
async def test_null_is_no_choice_where_it_is_no_value(clock, session) -> None:
    async with realtime(session={"instructions": "Rhyme."}) as client:
        await client.say("session.update", session=session)
        updated = (await client.wait("session.updated"))["session"]
        assert (updated["instructions"], updated["tool_choice"]) == ("Rhyme.", "auto")
        assert updated["audio"]["input"]["turn_detection"]["create_response"] is True
        await client.say("session.update", session={"audio": {"input": {"turn_detection": None}}})
        assert (await client.wait("session.updated"))["session"]["audio"]["input"]["turn_detection"] is None


async def test_choices_in_choices_without_end_do_not_end_the_session(clock) -> None:
    async with realtime() as client:
        for depth in (
            300,
            3_000,
            30_000,
        ):  # From some depth on JSON can be read, in some Pythons, and not be worked with.
            deep = '{"a": ' * depth + "1" + "}" * depth
            await client.say_raw(f'{{"type": "session.update", "session": {{"tracing": {deep}}}}}')
        await client.write("still there")
        with trio.fail_after(200):
            while (await client.hear())["type"] != "conversation.item.done":
                pass


async def test_a_response_takes_instructions_as_long_as_the_session_s_and_some(clock) -> None:
    async with realtime(session={"instructions": "x" * 20_000}) as client:
        await client.write("hello")
        await client.say("response.create", response={"instructions": "x" * 20_000 + " and rhyme."})
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
