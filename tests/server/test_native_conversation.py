"""The native protocol over a real WebSocket, with the real session and scripted engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import structlog
import trio
from server_tools import (
    BINARY,
    LIMITS,
    TEXT,
    RealSessions,
    connected,
    frame,
    raw,
    running,
    scripted_agent,
    socket_clock,
    until,
)

from flare_actors.conversation import events, notices
from flare_actors.conversation.states import Output, Reason, State
from flare_actors.observe import Observer
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import ScriptedRecognizer, tone
from flare_actors.server import Server
from flare_actors.session import Session
from flare_actors.wire import flare

SILENCE = bytes(2 * 16_000)


@pytest.fixture
def clock():
    return socket_clock()


async def test_a_whole_conversation(clock) -> None:
    async with running(scripted_agent(welcome="Hello there.")) as server, connected(server) as client:
        started = await client.start(locale="en-GB", silence_threshold_ms=300, input_sample_rate=16_000)
        assert (started.settings.locale, round(started.settings.endpoint_s * 1000), started.resumed) == (
            "en-GB",
            300,
            False,
        )
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


@pytest.mark.parametrize("pauses", [True, False])
async def test_a_cough_leaves_the_answer_as_it_was_to_the_last_byte(clock, pauses: bool) -> None:
    """A client that can stand still, and one that cannot."""

    async def answer(*, cough: bool) -> tuple[bytes, list[str]]:
        async with running(scripted_agent()) as server, connected(server) as client:
            await client.start(input_sample_rate=16_000, pauses_playback=pauses)
            await client.say(events.ConversationStartRequested())
            await client.wait_for(notices.HearingReady)
            await client.speak(tone(1.0))
            await client.speak(SILENCE)
            await client.wait_for(AudioOut)
            if cough:
                await trio.sleep(0.5)
                await client.speak(tone(0.2, level_db=-6.0))
                await client.speak(SILENCE)
            ended = await client.wait_for(notices.TurnEnded)
            told = [type(each) for each in client.heard]
        if cough:
            paused, resumed = told.index(notices.PlaybackPaused), told.index(notices.PlaybackResumed)
            assert AudioOut in told[:paused]
            assert AudioOut not in told[paused:resumed]
            assert AudioOut in told[resumed:]
        return client.audio(ended.turn), [each.heard for each in client.all(notices.TurnEnded)]

    assert await answer(cough=True) == await answer(cough=False)


async def test_a_conversation_goes_on_after_a_lost_connection(clock) -> None:
    sessions = RealSessions(scripted_agent())
    async with running(sessions.agent, open_one=sessions) as server:
        async with connected(server) as client:
            started = await client.start()
            await client.say(events.ConversationStartRequested())
            await client.wait_for(notices.HearingReady)
            await client.speak(tone(1.0))
            await client.speak(SILENCE)
            await client.wait_for(AudioOut)  # in the middle of the answer
            await trio.aclose_forcefully(client.connection._stream)
        await until(lambda: not server.statistics().connections)
        await trio.sleep(10)  # inside the grace time
        async with connected(server) as client:
            resume = flare.Resume(session_id=started.session_id, token=started.resume_token)
            resumed = await client.start(resume=resume)
            assert resumed.resumed
            assert resumed.state is State.LISTENING
            await client.speak(tone(1.0))
            await client.speak(SILENCE)
            ended = await client.wait_for(notices.TurnEnded)
            assert ended.heard == "Seven eight nine."
            assert ended.turn > 1
        assert len(sessions.made) == 1


async def test_a_session_ends_when_its_client_does_not_come_back(clock) -> None:
    async with running(scripted_agent(reconnect_grace_s=5.0)) as server:
        async with connected(server) as client:
            started = await client.start()
            await client.say(events.ConversationStartRequested())
            await client.wait_state(State.LISTENING)
        await trio.sleep(6)
        assert server.statistics().sessions == 0
        async with connected(server) as client:
            resume = flare.Resume(session_id=started.session_id, token=started.resume_token)
            await client.say(flare.StartSession(resume=resume))
            await client.wait_error("resume_failed")


async def test_a_typed_question_is_answered_in_text_alone(clock) -> None:
    async with running(scripted_agent()) as server, connected(server) as client:
        await client.start(output=Output.TEXT)
        await client.say(events.ConversationStartRequested())
        await client.wait_state(State.LISTENING)
        await client.say(events.TextReceived(text="What is there?"))
        ended = await client.wait_for(notices.TurnEnded)
        assert ended.heard == "One two three. Four five six."
        assert not client.all(AudioOut)


async def test_a_locale_that_an_engine_does_not_know_is_told_at_once(clock) -> None:
    agent = attrs.evolve(scripted_agent(), recognizer=ScriptedRecognizer(script=[], locales=("en",)))
    async with running(agent) as server, connected(server) as client:
        await client.say(flare.StartSession(locale="de-DE"))
        error = await client.wait_error("unsupported_locale")
        assert (error.field, error.recoverable) == ("locale", False)
        assert "supports en" in error.message
        await client.hear_all()
        assert client.close_code == 1008


# --- Bad input, with a second conversation beside it that must not notice --------------------------------------------------


@asynccontextmanager
async def bystander(server: Server, **start: object) -> AsyncIterator[None]:
    """Another client's conversation: it is listening before, and answers after."""
    async with connected(server) as client:
        await client.start(**start)
        await client.say(events.ConversationStartRequested())
        await client.wait_for(notices.HearingReady)
        yield
        await client.speak(tone(1.0))
        await client.speak(SILENCE)
        ended = await client.wait_for(notices.TurnEnded)
        assert ended.reason is None
        assert ended.heard
        assert not client.all(notices.ErrorRaised)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"\0", "odd_audio"),
        ("not json", "not_json"),
        ('{"type": "dance"}', "unknown_message"),
        ('{"type": "mute", "muted": 3}', "invalid_field"),
        ('{"type": "start_session"}', "session_already_started"),
    ],
)
async def test_a_malformed_message_disturbs_neither_conversation(bad: str | bytes, code: str, clock) -> None:
    async with running(scripted_agent()) as server, bystander(server), connected(server) as client:
        await client.start()
        await client.say(events.ConversationStartRequested())
        await client.wait_for(notices.HearingReady)
        await client.speak(tone(0.5))
        await client.say_raw(bad)
        await client.wait_error(code)
        await client.speak(tone(0.5))
        await client.speak(SILENCE)
        ended = await client.wait_for(notices.TurnEnded)
        assert ended.heard == "One two three. Four five six."


async def test_requests_that_make_no_sense_now_are_answered_and_change_nothing(clock) -> None:
    async with running(scripted_agent()) as server, connected(server) as client:
        await client.start()
        await client.say(events.TextReceived(text="too early"))
        first = await client.wait_for(notices.ErrorRaised)
        assert first.recoverable
        await client.say(events.ConversationStartRequested())
        await client.wait_for(notices.HearingReady)
        await client.say(events.ConversationStartRequested())
        second = await client.wait_for(notices.ErrorRaised)
        assert second.recoverable
        await client.say(events.InterruptRequested(), events.PlaybackCompleted(turn=99), events.CommitRequested())
        await client.say(events.TextReceived(text="now then"))
        ended = await client.wait_for(notices.TurnEnded)
        assert ended.heard == "One two three. Four five six."


@pytest.mark.parametrize(
    "garbage", [frame(3), frame(BINARY, bytes(70_000)), frame(TEXT, b"\xff")], ids=["opcode", "size", "utf8"]
)
async def test_a_violation_ends_that_conversation_only(garbage: bytes, clock) -> None:
    sessions = RealSessions(scripted_agent(welcome="Hello there."))
    async with running(sessions.agent, open_one=sessions) as server, bystander(server):
        async with raw(server) as client:
            await client.upgrade(server)
            await client.send(
                frame(TEXT, b'{"type": "start_session"}') + frame(TEXT, b'{"type": "start_conversation"}')
            )
            await client.frame()
            await client.send(garbage)
            assert await client.close_code() in {1002, 1007, 1009}
        await until(lambda: len(server_sessions(sessions)) == 1)
        assert sessions.made[1].ended is Reason.TRANSPORT_ERROR


def server_sessions(sessions: RealSessions) -> list[Session]:
    return [session for session in sessions.made if session.ended is None]


async def test_audio_ten_times_too_fast_is_dropped_and_counted(clock) -> None:
    sessions = RealSessions(scripted_agent())
    async with running(sessions.agent, open_one=sessions) as server, bystander(server), connected(server) as client:
        await client.start(input_sample_rate=16_000)
        await client.say(events.ConversationStartRequested())
        await client.wait_for(notices.HearingReady)
        started = trio.current_time()
        noise = tone(1.0)
        for _ in range(60):  # a minute of speech, in next to no time
            await client.speak(noise, chunk_bytes=32_000)
        await client.say(flare.Ping(id="are you well?"))
        await client.wait_for(flare.Pong)
        took_s = trio.current_time() - started
        assert took_s < 6
        statistics = sessions.made[1].statistics()
        assert statistics.dropped_audio_s > 30
        assert statistics.inbox < 100
        await client.say(events.SessionEndRequested())
        await client.hear_all()
        assert client.close_code == 1000


async def test_a_client_that_stops_reading_costs_little_and_ends(clock) -> None:
    sessions = RealSessions(scripted_agent(welcome="word " * 3000))
    limits = attrs.evolve(LIMITS, write_s=3)
    text = Output.TEXT  # the other one need not listen to all of that welcome
    async with running(sessions.agent, open_one=sessions, limits=limits) as server, bystander(server, output=text):
        async with raw(server, receive_buffer=4096) as client:
            await client.upgrade(server)
            start = b'{"type": "start_session", "output_sample_rate": 48000}'
            await client.send(frame(TEXT, start) + frame(TEXT, b'{"type": "start_conversation"}'))
            started, largest = trio.current_time(), 0
            while sessions.made[-1].ended is None or len(sessions.made) < 2:
                await trio.sleep(0.2)
                largest = max(largest, sessions.made[-1].statistics().outbox)
            assert sessions.made[1].ended is Reason.TRANSPORT_ERROR
            assert 0 < largest < 1000
            assert trio.current_time() - started < 10  # Trio keeps little in the kernel's buffer, so that it shows soon
        await until(lambda: server.statistics().connections == 1)


async def test_a_bug_in_one_session_leaves_the_other_talking(clock) -> None:
    class Buggy(Observer):
        def on_step(self, session_id, before, event, after, commands) -> None:
            if isinstance(event, events.CommitRequested):
                raise ZeroDivisionError

    sessions = RealSessions(scripted_agent(), observers=[Buggy()])
    with structlog.testing.capture_logs() as lines:
        async with running(sessions.agent, open_one=sessions) as server, bystander(server), connected(server) as client:
            await client.start()
            await client.say(events.ConversationStartRequested())
            await client.wait_for(notices.HearingReady)
            await client.say(events.CommitRequested())
            await client.hear_all()
            assert client.all(notices.ErrorRaised)[-1].code == "internal_error"
            assert client.close_code == 1011
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert (line["event"], line["session_id"]) == ("session_crashed", sessions.made[1].id)


async def test_two_tabs_that_fight_for_a_session_leave_one_winner(clock) -> None:
    sessions = RealSessions(scripted_agent())
    async with running(sessions.agent, open_one=sessions) as server, connected(server) as old, connected(server) as new:
        started = await old.start()
        await old.say(events.ConversationStartRequested())
        await old.wait_state(State.LISTENING)
        resumed = await new.start(resume=flare.Resume(session_id=started.session_id, token=started.resume_token))
        assert resumed.resumed
        await old.hear_all()
        assert old.close_code == 4001
        await new.say(events.TextReceived(text="It is mine now."))
        assert (await new.wait_for(notices.TurnEnded)).heard
