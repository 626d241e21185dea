"""Whole sessions with scripted engines on virtual time."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.notices import (
    HearingReady,
    PlaybackCleared,
    SessionEnded,
    StateChanged,
    TranscriptReceived,
    TurnEnded,
    TurnMetrics,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
    tone,
)
from flare_actors.session import open_session
from flare_actors.testing.link import memory_link

S = State
SILENCE = bytes(2 * 16_000)


def make_agent(**settings: object) -> Agent:
    return Agent(
        language_model=ScriptedLanguageModel(script=["One two three. Four five six.", "Seven eight nine."]),
        recognizer=ScriptedRecognizer(script=["first words", "second words"]),
        synthesizer=ScriptedSynthesizer(),
        voice_activity=EnergyVoiceActivity(),
        settings=Settings(**settings),  # type: ignore[arg-type]
    )


async def test_a_spoken_question_is_answered_and_a_barge_in_keeps_what_was_heard(autojump_clock: MockClock) -> None:
    agent = make_agent(welcome="Hello there.")
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        async with open_session(agent) as session:
            nursery.start_soon(client.run)
            nursery.start_soon(session.attach, link)
            await client.send(ConversationStartRequested())
            await client.wait_for(HearingReady)
            assert [t.heard for t in client.all(TurnEnded)] == ["Hello there."]
            await client.speak(tone(1.0))
            await client.speak(SILENCE)
            await client.wait_for(AudioOut, count=10)
            # Let the answer play for a while, then talk over it.
            await trio.sleep(0.2)
            await client.speak(tone(1.0, level_db=-10))
            await client.speak(SILENCE)
            await client.wait_for(TurnEnded, count=3)
        states = [m.new for m in client.all(StateChanged)]
        assert states[:4] == [S.INITIALIZING, S.PREPARING_WELCOME, S.PLAYING_WELCOME, S.LISTENING]
        assert states[4:8] == [S.PROCESSING_SPEECH, S.PREPARING_RESPONSE, S.PLAYING_RESPONSE, S.LISTENING]
        assert client.all(PlaybackCleared)[0].turn == 2
        assert [t.text for t in client.all(TranscriptReceived) if t.final] == ["first words", "second words"]
        assert client.all(SessionEnded)[-1].reason is Reason.SESSION_ENDED
        for t in client.all(TurnEnded):
            print(t.turn, t.reason, t.heard)
        print(client.all(TurnMetrics))
        print([m.content for m in agent.language_model.requests[1]])
    assert link.closed
