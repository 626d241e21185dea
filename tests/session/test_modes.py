"""Settings that change while the session goes on: push-to-talk, text only, mute, answers on request, limits of length."""

from __future__ import annotations

import pytest
import trio
from session_kit import SILENCE, listening
from trio.testing import MockClock

from flare_actors.conversation.changes import Change
from flare_actors.conversation.events import CommitRequested, ResponseRequested, SettingsChanged, TextReceived
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    SettingsUpdated,
    TranscriptReceived,
    TurnStarted,
    UserSpeechStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Input, Mute, Output, Reason, State, TurnDetection
from flare_actors.errors import SessionError, UnsupportedLocale
from flare_actors.ports import AudioOut, ToolCall
from flare_actors.providers.scripted import ScriptedRecognizer, tone
from flare_actors.testing import scripted_agent
from flare_actors.tools import tool

MANUAL = Settings(turn_detection=TurnDetection.MANUAL)


async def test_push_to_talk_is_ended_by_a_commit_and_never_by_silence(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["what time is it"], answers=["Late."], settings=MANUAL)
    async with listening(agent) as talk:
        await talk.client.speak(tone(0.6))
        await talk.client.speak(SILENCE * 3)
        assert talk.client.all(UserSpeechStopped) == []
        await talk.client.send(CommitRequested())
        await talk.wait_turns(1)
    assert talk.said() == ["what time is it"]


async def test_a_commit_of_nothing_is_told_and_answers_nothing(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(settings=MANUAL)) as talk:
        await talk.client.send(CommitRequested())
        error = await talk.client.wait_for(ErrorRaised)
        assert error.code == "nothing_committed"
        assert talk.client.all(TurnStarted) == []


async def test_an_answer_asked_for_right_after_a_commit_waits_for_the_words(autojump_clock: MockClock) -> None:
    settings = Settings(turn_detection=TurnDetection.MANUAL, auto_answer=False)
    agent = scripted_agent(transcripts=["what time is it"], answers=["Late."], settings=settings)
    async with listening(agent) as talk:
        await talk.client.speak(tone(0.6))
        await talk.client.send(CommitRequested())
        await talk.client.send(ResponseRequested())
        await talk.wait_turns(1)
    (request,) = agent.language_model.requests
    assert request[-1].content == "what time is it"


async def test_without_automatic_answers_words_wait_until_an_answer_is_asked_for(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["one", "two"], answers=["Three."], settings=Settings(auto_answer=False))
    async with listening(agent) as talk:
        await talk.ask()
        await talk.ask()
        await trio.sleep(5)
        assert talk.client.all(TurnStarted) == []
        await talk.client.send(ResponseRequested())
        await talk.wait_turns(1)
        await talk.client.send(ResponseRequested())
        await talk.client.send(ResponseRequested())
        error = await talk.client.wait_for(ErrorRaised)
    assert agent.language_model.requests[0][-1].content == "one two"
    assert error.code == "already_answering"


async def test_the_agent_speaks_of_its_own_accord_by_instructions_that_are_not_remembered(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(answers=["Good morning!", "Yes."], transcripts=["hello"])
    async with listening(agent) as talk:
        talk.session.respond("Greet the user.")
        await talk.wait_turns(1)
        await talk.ask()
        await talk.wait_turns(2)
    first, second = agent.language_model.requests
    assert first[0].role == "system"
    assert first[0].content.endswith("Greet the user.")
    assert [message.role for message in first[1:]] == ["user"]
    assert "Greet" not in " ".join(message.content for message in second)
    assert [m.content for m in second if m.role != "system"] == ["Good morning!", "hello"]


async def test_an_answer_may_be_wanted_as_text_alone(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=["Only text."])) as talk:
        talk.session.respond(output=Output.TEXT)
        ended = await talk.wait_turns(1)
        assert talk.client.all(AudioOut) == []
        assert ended.heard == "Only text."
        talk.session.respond(replace=True, instructions="Speak.")
        await talk.wait_turns(2)
        assert talk.client.audio(2)


async def test_settings_are_changed_together_or_not_at_all(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        asked = (Change(name="endpoint_s", value=0.3), Change(name="vad_threshold", value=7.0))
        await talk.client.send(SettingsChanged(changes=asked))
        error = await talk.client.wait_for(ErrorRaised)
        assert (error.code, error.field) == ("invalid_settings", "vad_threshold")
        assert talk.session.conversation.settings == Settings()
        assert talk.session.update(endpoint_s=0.3, mute=Mute.ALWAYS).endpoint_s == 0.3
        told = await talk.client.wait_for(SettingsUpdated)
        assert told.settings == talk.session.conversation.settings
        assert told.settings.mute is Mute.ALWAYS


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"colour": "red"}, "colour: there is no such setting"),
        ({"limits": 3}, "limits: cannot be changed during a session"),
        ({"endpoint_s": "long"}, "endpoint_s: takes a number"),
        ({"auto_answer": 1}, "auto_answer: takes true or false"),
        ({"barge_in": "perhaps"}, "barge_in: takes one of 'full', 'guarded', 'later', 'off'"),
        ({"locale": 3}, "locale: takes a text"),
        ({"welcome": object()}, "welcome: takes no object"),
    ],
)
async def test_a_wrong_setting_is_refused_by_its_name(
    autojump_clock: MockClock, values: dict[str, object], says: str
) -> None:
    async with listening(scripted_agent()) as talk:
        with pytest.raises(SessionError, match=says):
            talk.session.update(**values)
        assert talk.session.conversation.settings == Settings()


async def test_a_locale_that_an_engine_does_not_know_is_refused_before_it_is_in_force(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(recognizer=ScriptedRecognizer(locales=("en",)))
    async with listening(agent) as talk:
        with pytest.raises(UnsupportedLocale):
            talk.session.update(locale="tr-TR")
        await talk.client.send(SettingsChanged(changes=(Change(name="locale", value="tr-TR"),)))
        assert (await talk.client.wait_for(ErrorRaised)).code == "unsupported_locale"
        assert talk.session.conversation.settings.locale == "en-US"


async def test_text_only_input_hears_nothing_and_needs_no_recogniser_until_it_is_audio_again(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(transcripts=["spoken"], answers=["Yes."])
    async with listening(agent) as talk:
        talk.session.update(input=Input.TEXT)
        await talk.client.wait_for(SettingsUpdated)
        await talk.ask()
        assert talk.client.all(UserSpeechStarted) == []
        assert agent.recognizer.open_streams == 0
        await talk.client.send(TextReceived(text="typed"))
        await talk.wait_turns(1)
        ready = len(talk.client.all(HearingReady))
        talk.session.update(input="audio")
        await talk.client.wait_for(HearingReady, count=ready + 1)
        await talk.ask()
        await talk.wait_turns(2)
    assert talk.said() == ["spoken"]


async def test_while_muted_by_the_settings_the_user_does_not_interrupt(autojump_clock: MockClock) -> None:
    agent = scripted_agent(
        transcripts=["one"],
        answers=["A rather long answer that takes its time."],
        settings=Settings(mute=Mute.SPEAKING),
    )
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, 0.5)
        await talk.client.speak(tone(1.0, level_db=-10.0))
        ended = await talk.wait_turns(1)
    assert ended.reason is None
    assert len(talk.client.all(TranscriptReceived)) == 1


async def test_a_session_has_a_maximum_length_that_can_be_changed(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(settings=Settings(session_max_s=100.0))) as talk:
        talk.session.update(session_max_s=50.0)
        started = trio.current_time()
        assert await talk.session.wait_ended() is Reason.TIME_LIMIT
        assert trio.current_time() - started == pytest.approx(50.0, abs=1.0)
        assert talk.session.conversation.state is State.ENDED


@pytest.mark.parametrize("mute", [Mute.NEVER, Mute.TOOLS])
async def test_while_tools_are_carried_out_the_user_may_be_muted(autojump_clock: MockClock, mute: Mute) -> None:
    @tool
    async def look_up() -> str:
        """Look something up."""
        await trio.sleep(4)
        return "found"

    call = ToolCall(call="x1", name="look_up", arguments="{}")
    agent = scripted_agent(
        answers=[[call], "It is there.", "What now?"],
        transcripts=["never mind", "thank you"],
        tools=[look_up],
        settings=Settings(mute=mute, output=Output.TEXT),
    )
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="where is it"))
        await trio.sleep(1)
        await talk.ask()
        await talk.wait_turns(1)
        await trio.sleep(4)
        await talk.ask()
        await talk.wait_turns(2)
    muted = mute is Mute.TOOLS
    assert talk.heard()[0] == ("It is there." if muted else "")
    assert len(talk.said()) == (1 if muted else 2), "the microphone is heard again afterwards"
