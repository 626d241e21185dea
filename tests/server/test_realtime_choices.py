"""What a client of OpenAI Realtime chooses for one response, and where it puts items: on virtual time, every event checked."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from realtime_kit import SILENCE, Client, agent, realtime

from flare_actors.conversation.settings import Limits
from flare_actors.ports import LanguageModel, ToolCall
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, tone

TEXT = {"output_modalities": ["text"]}


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "name": name}


def calling(*script: Any) -> tuple[Any, ScriptedLanguageModel]:
    model = ScriptedLanguageModel(script=script)
    assert isinstance(model, LanguageModel)
    return attrs.evolve(agent(), language_model=model), model


async def respond(client: Client, **params: Any) -> dict[str, Any]:
    await client.say("response.create", response=TEXT | params)
    response: dict[str, Any] = (await client.wait("response.done"))["response"]
    return response


async def called(client: Client) -> dict[str, Any]:
    """The model calls a function; gives the call."""
    await client.write("how is the weather?")
    await client.say("response.create")
    call: dict[str, Any] = (await client.wait("response.done"))["response"]["output"][-1]
    return call


async def give(client: Client, call: dict[str, Any], **fields: Any) -> None:
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny", **fields}
    await client.say("conversation.item.create", item=result)


CALL = ToolCall(call="c", name="get_weather", arguments="{}")
MANUAL = {"audio": {"input": {"turn_detection": None}}}
WEATHER = {"tools": [function("get_weather")]}


# --- Limits of tokens ---------------------------------------------------------------------------------------------------


async def test_an_answer_that_had_to_end_is_incomplete_for_its_tokens(clock) -> None:
    async with realtime(session={"max_output_tokens": 2}) as client:
        await client.write("count")
        cut = await respond(client)
        assert (cut["status"], cut["max_output_tokens"]) == ("incomplete", 2)
        assert cut["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert cut["output"][0]["status"] == "incomplete"
        whole = await respond(client, max_output_tokens="inf")
        assert (whole["status"], whole["max_output_tokens"]) == ("completed", "inf")
        assert (await respond(client, max_output_tokens=1))["status"] == "incomplete"
        await client.say("session.update", session={"type": "realtime", "max_output_tokens": "inf"})
        assert (await client.wait("session.updated"))["session"]["max_output_tokens"] == "inf"
        assert (await respond(client))["status"] == "completed"


async def test_the_limit_of_the_agents_settings_is_told_and_in_force(clock) -> None:
    async with realtime(agent(answer_tokens=1)) as client:
        assert client.heard[0]["session"]["max_output_tokens"] == 1
        await client.write("count")
        assert (await respond(client))["status"] == "incomplete"


# --- Tools of one response ----------------------------------------------------------------------------------------------


async def test_a_response_has_its_own_tools_and_choice(clock) -> None:
    used, model = calling("Yes.")
    async with realtime(used, session={"tools": [function("a"), function("b")]}) as client:
        await client.write("hello")
        await respond(client, tools=[function("c")])
        await respond(client, tool_choice="none")
        await respond(client, tool_choice={"type": "function", "name": "b"})
        await respond(client)
        assert model.offers == [("c",), (), ("b",), ("a", "b")]
        await client.say("response.create", event_id="wrong", response={"tools": [function("c")] * 2})
        error = await client.wait_error()
        assert (error["event_id"], error["param"]) == ("wrong", "response.tools")
        await client.say("response.create", response={"tool_choice": {"type": "function", "name": "zzz"}})
        assert (await client.wait_error())["param"] == "response.tool_choice.name"


async def test_more_tools_than_the_session_takes_are_refused_with_the_culprit_s_id(clock) -> None:
    async with realtime(agent(limits=Limits(tools=1))) as client:
        await client.say("session.update", event_id="many", session={"tools": [function("a"), function("b")]})
        error = await client.wait_error()
        assert (error["event_id"], error["param"]) == ("many", "session.tools")
        await client.say("session.update", session={"tools": [function("a")]})
        assert len((await client.wait("session.updated"))["session"]["tools"]) == 1


async def test_the_rest_of_an_answer_is_made_as_its_own_response_create_says(clock) -> None:
    used, model = calling([CALL], "One two three four.")
    async with realtime(used, session=WEATHER) as client:
        call = await called(client)
        await give(client, call)
        for params, code in (
            ({"conversation": "none"}, "conversation_already_has_active_response"),
            ({"output_modalities": ["text"]}, "invalid_value"),
        ):
            await client.say("response.create", response=params)
            assert (await client.wait_error())["code"] == code
        await client.say(
            "response.create", response={"max_output_tokens": 2, "tool_choice": "none", "instructions": "Rest."}
        )
        done = (await client.wait("response.done"))["response"]
        assert (done["status"], done["max_output_tokens"]) == ("incomplete", 2)
        assert (model.offers, model.limits) == ([("get_weather",), ()], [None, 2])
        assert model.requests[-1][0].content == "Rest."


# --- A user who says nothing --------------------------------------------------------------------------------------------


def idle(ms: int, **more: Any) -> dict[str, Any]:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": ms, **more}}}}


async def test_a_user_who_says_nothing_after_an_answer_hears_the_agent_go_on_once(clock) -> None:
    async with realtime(session=idle(5_000)) as client:
        await client.speak(SILENCE * 6)
        assert not client.all("input_audio_buffer.timeout_triggered")
        await client.ask()
        await client.wait("response.done")
        await client.speak(SILENCE * 6)
        triggered = await client.wait("input_audio_buffer.timeout_triggered")
        assert triggered["audio_end_ms"] - triggered["audio_start_ms"] == pytest.approx(5_000, abs=600)
        added = await client.wait("conversation.item.added")
        assert (added["item"]["id"], added["item"]["role"]) == (triggered["item_id"], "user")
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        await client.speak(SILENCE * 12)
        assert len(client.all("input_audio_buffer.timeout_triggered")) == 1
        await client.say("conversation.item.retrieve", item_id=triggered["item_id"])
        assert (await client.wait("conversation.item.retrieved"))["item"]["id"] == triggered["item_id"]
        await client.say("conversation.item.delete", item_id=triggered["item_id"])
        await client.wait("conversation.item.deleted")


async def test_a_client_that_asks_for_each_answer_itself_is_not_answered_for_silence(clock) -> None:
    async with realtime(session=idle(5_000, create_response=False)) as client:
        await client.write("hello")
        await respond(client)
        await trio.sleep(20)
        client.hear_now()
        assert not client.all("input_audio_buffer.timeout_triggered")


async def test_who_speaks_before_the_agent_goes_on_is_answered_instead(clock) -> None:
    used, model = calling("One.", "Two.", "Three.")
    model.first_token_s = 1.0
    async with realtime(used, session=idle(2_000)) as client:
        await client.ask()
        await client.wait("response.done")
        await client.wait("response.created")
        await client.ask()
        assert (await client.wait("response.done"))["response"]["status"] == "cancelled"
        await client.wait("response.done")
        assert len(client.all("input_audio_buffer.timeout_triggered")) == 1


# --- A user who speaks over the agent -----------------------------------------------------------------------------------


@pytest.mark.parametrize("create", [True, False])
async def test_words_over_a_response_that_is_not_to_be_interrupted_are_an_item_and_are_answered_after_it(
    clock, create
) -> None:
    detection = {"type": "server_vad", "interrupt_response": False, "create_response": create}
    async with realtime(session={"audio": {"input": {"turn_detection": detection}}}) as client:
        await client.write("hello")
        await client.say("response.create")
        await client.wait("response.output_audio.delta")
        await client.ask(0.6)
        await client.speak(SILENCE * 4)
        client.hear_now()
        said = client.all("conversation.item.input_audio_transcription.completed")
        assert [each["transcript"] for each in said] == ["first words"]
        done = [each["response"]["status"] for each in client.all("response.done")]
        assert done == (["completed"] * 2 if create else ["completed"])


async def test_a_client_that_commits_itself_is_not_interrupted_by_what_it_sends(clock) -> None:
    async with realtime(session=MANUAL) as client:
        await client.write("hello")
        await client.say("response.create")
        await client.speak(tone(1.0, 24_000) + SILENCE + SILENCE)
        await client.say("input_audio_buffer.commit")
        await client.wait("conversation.item.input_audio_transcription.completed")
        (done,) = client.all("response.done")
        assert done["response"]["status"] == "completed"


# --- Where items are ----------------------------------------------------------------------------------------------------


async def test_an_item_may_be_named_before_the_server_has_said_that_it_is_there(clock) -> None:
    async with realtime() as client:
        item = {"type": "message", "role": "user", "id": "mine", "content": [{"type": "input_text", "text": "a"}]}
        await client.say("conversation.item.create", item=item)
        await client.say("conversation.item.create", item=item | {"id": "next"}, previous_item_id="mine")
        await client.say("conversation.item.delete", item_id="mine")
        await client.wait("conversation.item.deleted")
        assert [each["item"]["id"] for each in client.all("conversation.item.added")] == ["mine", "next"]
        await client.say("conversation.item.create", event_id="again", item=item | {"id": "next"})
        error = await client.wait_error()
        assert (error["code"], error["event_id"], error["param"]) == ("item_id_taken", "again", "item.id")
        await client.say("conversation.item.create", event_id="lost", item=item, previous_item_id="nowhere")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("item_create_invalid_previous_item_id", "lost")
        await client.say("conversation.item.create", item=item | {"id": "mine"})
        await client.say("conversation.item.retrieve", item_id="mine")
        await client.wait("conversation.item.retrieved")
        await client.say("conversation.item.retrieve", item_id="nowhere")
        assert (await client.wait_error())["code"] == "item_retrieve_invalid_item_id"


async def test_an_item_may_come_after_an_answer_that_nobody_heard(clock) -> None:
    used, model = calling("One two three.", "Four.", "Five.")
    async with realtime(used) as client:
        await client.write("hello")
        await client.say("response.create")
        item_id = (await client.wait("response.output_audio.delta"))["item_id"]
        await client.say("response.cancel")
        await client.wait("response.done")
        await client.write("again")
        await respond(client)
        await client.write("between", previous_item_id=item_id)
        assert (await client.wait("conversation.item.done"))["previous_item_id"] == item_id
        await respond(client)
        assert [each.content for each in model.requests[-1] if each.role == "user"][:1] == ["hello between again"]


async def test_a_result_has_the_name_that_the_client_gave_it_and_leaves_by_it(clock) -> None:
    used, model = calling(["Let me see.", CALL], "It is sunny.", "Yes.")
    async with realtime(used, session=WEATHER) as client:
        call = await called(client)
        await give(client, call, id=call["id"])
        assert (await client.wait_error())["code"] == "item_id_taken"
        await give(client, call, id="turn_77")
        await client.say("response.create")
        await client.wait("response.done")
        await client.say("conversation.item.retrieve", item_id="turn_77")
        item = (await client.wait("conversation.item.retrieved"))["item"]
        assert (item["id"], item["call_id"]) == ("turn_77", call["call_id"])
        await client.say("conversation.item.delete", item_id="turn_77")
        assert (await client.wait("conversation.item.deleted"))["item_id"] == "turn_77"
        await respond(client)
        assert [each.role for each in model.requests[-1] if each.role == "tool"] == []


async def test_a_later_message_of_an_answer_leaves_with_the_first_one(clock) -> None:
    used, model = calling(["Let me see.", CALL], "It is sunny.", "Yes.")
    async with realtime(used, session=WEATHER) as client:
        call = await called(client)
        first = client.all("response.done")[-1]["response"]["output"][0]["id"]
        await give(client, call)
        await client.say("response.create")
        later = (await client.wait("response.done"))["response"]["output"][0]["id"]
        await client.write("behind it", previous_item_id=later)
        assert (await client.wait("conversation.item.done"))["previous_item_id"] == later
        await client.say("conversation.item.delete", item_id=later)
        error = await client.wait_error()
        assert error["code"] == "item_delete_invalid_item_id"
        assert first in error["message"]
        await client.say("conversation.item.delete", item_id=first)
        await client.wait("conversation.item.deleted")
        await client.wait("conversation.item.deleted")
        assert {each["item_id"] for each in client.all("conversation.item.deleted")} == {first, later}
        await respond(client)
        said = [each.content for each in model.requests[-1] if each.role != "system"]
        assert said == ["how is the weather?", "", "sunny", "behind it"]


async def test_the_end_of_an_answer_that_the_client_has_stopped_can_be_taken_out(clock) -> None:
    """What nobody has heard is deleted where only a truncation to nothing would do: so does LiveKit's plugin."""
    used, model = calling(["Let me see.", CALL], "It is sunny today.", "Yes.")
    async with realtime(used, session=WEATHER) as client:
        call = await called(client)
        first = client.all("response.done")[-1]["response"]["output"][0]["id"]
        await trio.sleep(2)
        await give(client, call)
        await client.say("response.create")
        later = (await client.wait("response.output_audio.delta"))["item_id"]
        await client.say("response.cancel")
        await client.say("conversation.item.delete", item_id=later)
        assert (await client.wait("conversation.item.deleted"))["item_id"] == later
        await client.say("conversation.item.retrieve", item_id=first)
        await client.wait("conversation.item.retrieved")
        await client.say("conversation.item.retrieve", item_id=later)
        assert (await client.wait_error())["code"] == "item_retrieve_invalid_item_id"
        await client.write("and now?")
        await respond(client)
        assert "sunny today" not in str(model.requests[-1])


async def test_calls_that_were_made_elsewhere_and_their_results_can_be_put_in(clock) -> None:
    used, model = calling("Yes.")
    async with realtime(used) as client:
        await client.write("how is the weather?")
        call = {"type": "function_call", "call_id": "old1", "name": "get_weather", "arguments": '{"city": "Bonn"}'}
        await client.say("conversation.item.create", item=call)
        await give(client, {"call_id": "old1"}, output="")
        await client.write("thanks")
        await respond(client)
        shown = [(each.role, each.content) for each in model.requests[-1][1:]]
        assert shown == [("user", "how is the weather?"), ("assistant", ""), ("tool", ""), ("user", "thanks")]
        assert model.requests[-1][2].calls[0].arguments == '{"city": "Bonn"}'
        await give(client, {"call_id": "nobody"})
        assert (await client.wait_error())["code"] == "invalid_tool_call_id"
        for wrong, code in (
            ({"arguments": "[1]"}, "invalid_value"),
            ({"name": None}, "missing_required_parameter"),
            ({"call_id": "old1"}, "item_id_taken"),
        ):
            await client.say("conversation.item.create", item={**call, "call_id": "old2", **wrong})
            assert (await client.wait_error())["code"] == code


# --- Commits ------------------------------------------------------------------------------------------------------------


async def test_a_commit_is_of_what_was_said_before_and_of_what_is_being_said(clock) -> None:
    async with realtime(agent(max_utterance_s=1.5), session=MANUAL) as client:
        await client.speak(tone(2.5, 24_000))
        await client.say("input_audio_buffer.commit")
        await trio.sleep(3)
        client.hear_now()
        said = client.all("conversation.item.input_audio_transcription.completed")
        assert [each["transcript"] for each in said] == ["first words", "second words"]


async def test_what_is_sent_right_behind_a_clear_is_heard(clock) -> None:
    """As Pipecat does, which has noticed the speech itself: it clears the buffer, and sends the speech's beginning again."""
    used = agent()
    async with realtime(used, session=MANUAL) as client:
        for number in range(1, 6):
            await client.speak(SILENCE, paced=False)
            await client.say("input_audio_buffer.clear")
            await client.speak(tone(0.8, 24_000), paced=False)
            await client.say("input_audio_buffer.commit")
            await client.wait("conversation.item.input_audio_transcription.completed")
            assert isinstance(used.recognizer, ScriptedRecognizer)
            assert len(used.recognizer.heard_s) == number
            assert used.recognizer.heard_s[-1] >= 0.7


@pytest.mark.parametrize("sound", [SILENCE, tone(0.6, 24_000)], ids=["silence", "noise"])
async def test_who_commits_sound_without_words_gets_an_item_without_words_and_an_answer(clock, sound) -> None:
    """Clients that detect speech themselves commit a cough, too; some take any error for the end of the connection."""
    used = attrs.evolve(agent(), recognizer=ScriptedRecognizer(script=[""], default=""))
    async with realtime(used, session=MANUAL) as client:
        await client.speak(sound)
        await client.say("input_audio_buffer.commit")
        await client.say("response.create", response=TEXT)
        committed = await client.wait("input_audio_buffer.committed")
        added = (await client.wait("conversation.item.added"))["item"]
        assert (added["id"], added["content"]) == (committed["item_id"], [{"type": "input_audio", "transcript": None}])
        completed = await client.wait("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == ""
        assert completed["usage"]["seconds"] == pytest.approx(len(sound) / 48_000, abs=0.5)
        assert (await client.wait("response.done"))["response"]["status"] == "completed"
        await client.say("conversation.item.retrieve", item_id=committed["item_id"])
        item = (await client.wait("conversation.item.retrieved"))["item"]
        assert item["content"] == [{"type": "input_audio", "transcript": ""}]
        await client.say("conversation.item.delete", item_id=committed["item_id"])
        await client.wait("conversation.item.deleted")
        await client.speak(bytes(4_000))
        await client.say("input_audio_buffer.commit", event_id="short")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "short")


async def test_a_commit_amid_speech_that_has_no_words_is_the_item_that_was_told_to_begin(clock) -> None:
    used = attrs.evolve(agent(), recognizer=ScriptedRecognizer(script=[""], default=""))
    async with realtime(used) as client:
        await client.speak(SILENCE)
        await client.say("input_audio_buffer.commit", event_id="silence")
        error = await client.wait_error()
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "silence")
        await client.speak(tone(0.6, 24_000))
        started = await client.wait("input_audio_buffer.speech_started")
        await client.say("input_audio_buffer.commit")
        assert (await client.wait("input_audio_buffer.committed"))["item_id"] == started["item_id"]
        assert (await client.wait("conversation.item.input_audio_transcription.completed"))["transcript"] == ""
