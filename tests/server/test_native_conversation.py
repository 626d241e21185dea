"""The native protocol over a real WebSocket, with the real session and scripted engines."""

from __future__ import annotations

import pytest
from server_tools import connected, running, scripted_agent, socket_clock, until

from flare_actors.conversation import events, notices
from flare_actors.conversation.states import Reason, State
from flare_actors.providers.scripted import tone

SILENCE = bytes(2 * 16_000)


@pytest.fixture
def clock():
    return socket_clock()


async def test_a_whole_conversation(clock) -> None:
    async with running(scripted_agent(welcome="Hello there.")) as server, connected(server) as client:
        started = await client.start(locale="en-GB", silence_threshold_ms=300, input_sample_rate=16_000)
        assert (started.locale, started.silence_threshold_ms, started.resumed) == ("en-GB", 300, False)
        await client.say(events.ConversationStartRequested())
        await client.wait_for(notices.HearingReady)
        assert [ended.heard for ended in client.all(notices.TurnEnded)] == ["Hello there."]
        await client.speak(tone(1.0))
        await client.speak(SILENCE)
        final = await client.wait_for(notices.TranscriptReceived, lambda transcript: transcript.final)
        assert final.text == "first words"
        ended = await client.wait_for(notices.TurnEnded)
        assert ended.heard == "One two three. Four five six."
        assert client.audio(ended.turn)
        assert client.all(notices.TurnMetrics)
        await client.say(events.ConversationEndRequested())
        await client.wait_state(State.IDLE)
        await client.say(events.SessionEndRequested())
        await client.hear_all()
        assert client.heard[-1] == notices.SessionEnded(reason=Reason.SESSION_ENDED)
        assert client.close_code == 1000
        await until(lambda: not server.statistics().sessions)
