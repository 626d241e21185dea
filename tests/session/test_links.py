"""Links come and go, the session stays: detach and attach, the newest link, broken ones, and those that do not read."""

from __future__ import annotations

import pytest
import trio
from session_kit import SILENCE, Talk, listening, talking
from trio.testing import MockClock

from flare_actors.audio import AudioFormat
from flare_actors.conversation.events import (
    ConversationStartRequested,
    InterruptRequested,
    SessionEndRequested,
    TextReceived,
)
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    Notice,
    SessionEnded,
    SessionStarted,
    StateChanged,
    TurnEnded,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Endpointing, Reason, State
from flare_actors.errors import LinkClosed
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, tone
from flare_actors.session import Session, open_session, run_session
from flare_actors.testing import EventLog, MemoryClient, memory_link, scripted_agent

S = State
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."


def attached(talk: Talk, *, resumed: bool = True, rate: int = 16_000) -> MemoryClient:
    """A new client of the same session."""
    client, link = memory_link(input_rate=rate, output_rate=rate)
    talk.nursery.start_soon(client.run)

    async def attach() -> None:
        await talk.session.attach(link, resumed=resumed)

    talk.nursery.start_soon(attach)
    return client


async def test_a_lost_client_finds_the_conversation_where_it_was(autojump_clock: MockClock) -> None:
    agent = scripted_agent(transcripts=["first", "second"], answers=["One.", "Two."])
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_turns(1)
        talk.client.close()
        await trio.sleep(20)
        assert talk.session.conversation.state is S.LISTENING
        assert not talk.session.statistics().attached
        client = attached(talk)
        await client.wait_for(HearingReady)
        started = client.received[0]
        assert isinstance(started, SessionStarted)
        assert started.resumed
        assert started.state is S.LISTENING
        assert started.session_id == talk.session.id
        await client.speak(tone(1.0) + SILENCE)
        await client.wait_for(TurnEnded)
    assert [m.content for m in agent.language_model.requests[-1]] == ["first", "One.", "second"]


async def test_the_answer_that_a_lost_client_did_not_hear_is_not_remembered(autojump_clock: MockClock) -> None:
    agent = scripted_agent(answers=[LONG])
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, 2.0)
        talk.client.close()
        await trio.sleep(5)
        client = attached(talk)
        await client.wait_for(HearingReady)
        await client.send(TextReceived(text="go on"))
        await client.wait_for(TurnEnded)
        assert not client.audio(1)
    heard = agent.language_model.requests[-1][1].content
    assert LONG.startswith(heard)
    assert len(heard) == pytest.approx(2.0 * 15, abs=8)


async def test_a_question_whose_answer_was_not_begun_is_answered_after_the_return(autojump_clock: MockClock) -> None:
    agent = scripted_agent(recognizer=ScriptedRecognizer(script=["who is it"]), answers=[LONG])
    async with listening(agent) as talk:
        agent.language_model.first_token_s = 3.0
        await talk.ask()
        await talk.wait_state(S.PROCESSING_SPEECH)
        talk.client.close()
        await trio.sleep(10)
        client = attached(talk)
        ended = await client.wait_for(TurnEnded, where=lambda m: m.reason is None)
    assert ended.heard == LONG


async def test_nobody_coming_back_within_the_grace_time_ends_the_session(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(), settings=Settings(reconnect_grace_s=12)) as talk:
        await talk.client.wait_for(HearingReady)
        before = trio.current_time()
        talk.client.close()
        assert await talk.session.wait_ended() is Reason.CLIENT_DISCONNECTED
        assert trio.current_time() - before == pytest.approx(12, abs=0.1)
        too_late, link = memory_link()
        talk.nursery.start_soon(too_late.run)
        await talk.session.attach(link)
        assert link.closed
    assert too_late.received == [SessionEnded(reason=Reason.CLIENT_DISCONNECTED)]


async def test_speech_that_a_lost_link_broke_off_does_not_swallow_what_is_said_on_the_next(
    autojump_clock: MockClock,
) -> None:
    recognizer = ScriptedRecognizer(script=["broken off", "said anew"])
    async with listening(scripted_agent(recognizer=recognizer)) as talk:
        await talk.client.speak(tone(1.0))
        talk.client.close()
        await trio.sleep(0.1)
        client = attached(talk)
        await client.speak(tone(1.0) + SILENCE)
        await client.wait_for(TurnEnded)
    assert recognizer.heard_s[-1] == pytest.approx(1.48, abs=0.1)


async def test_the_newest_link_wins_and_the_old_one_is_closed(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        new = attached(talk)
        await new.wait_for(HearingReady)
        assert talk.link.closed
        await talk.client.wait_closed()
        received = len(talk.client.received)
        await new.send(TextReceived(text="it is me now"))
        await new.wait_for(TurnEnded, where=lambda m: m.turn == 2)
        assert len(talk.client.received) == received
    # The answer was the old client's; the new one does not hear the rest of it.
    assert {m.turn for m in new.all(AudioOut)} == {2}
    assert isinstance(new.received[0], SessionStarted)


async def test_many_links_at_once_leave_one_and_each_winner_is_greeted_first(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        clients = []
        for _ in range(20):
            # Each takes over while the one before has messages on their way.
            talk.session.say("Something to be told.")
            clients.append(attached(talk))
            await trio.lowlevel.checkpoint()
        await trio.sleep(5)
        assert [client.closed for client in clients] == [True] * 19 + [False]
        for client in clients:
            assert not client.received or isinstance(client.received[0], SessionStarted)
        assert isinstance(clients[-1].received[0], SessionStarted)
        assert clients[-1].all(HearingReady)


async def test_a_writer_that_had_been_woken_takes_nothing_from_the_new_link(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        await trio.sleep(1)
        client, link = memory_link()
        talk.nursery.start_soon(client.run)
        # In one breath: something for the old writer, and the new link.
        talk.session._tree.outbox.put(ErrorRaised(code="x", message="for the old link", recoverable=True))
        with trio.move_on_after(5):
            await talk.session.attach(link)
    assert isinstance(client.received[0], SessionStarted)
    assert not client.all(ErrorRaised)


async def test_a_reader_that_had_been_woken_takes_nothing_for_the_new_link(autojump_clock: MockClock) -> None:
    model = ScriptedLanguageModel(first_token_s=1.0)
    async with listening(scripted_agent(language_model=model)) as talk:
        await talk.client.send(TextReceived(text="hi"))
        await trio.sleep(0.5)
        client, link = memory_link()
        talk.nursery.start_soon(client.run)
        talk.client._outgoing.send_nowait(
            InterruptRequested()
        )  # It wakes the reader, which runs when the new link is there.
        with trio.move_on_after(10):
            await talk.session.attach(link)
    ended = {m.turn: m.reason for m in client.all(TurnEnded)}
    assert ended == {1: Reason.CLIENT_DISCONNECTED, 2: None}, (
        "what is owed to the new one is not stopped by the old one"
    )


async def test_a_link_that_breaks_as_a_newer_one_takes_its_place_ends_nothing(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        client, link = memory_link()
        talk.nursery.start_soon(client.run)
        talk.client.break_link()  # Its reader is woken, and finds it broken when the new link is there.
        with trio.move_on_after(10):
            await talk.session.attach(link)
        assert talk.session.ended is None
    assert client.all(HearingReady)


async def test_a_new_link_may_have_another_format(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    async with listening(scripted_agent(recognizer=recognizer, answers=[LONG])) as talk:
        await talk.ask()
        await talk.wait_audio(1, 2.0)
        new = attached(talk, rate=48_000)
        await new.wait_for(HearingReady)
        heard = talk.session.conversation.history[-1]
        assert len(heard.text) == pytest.approx(2.0 * 15, abs=8)
        await new.speak(tone(1.0, 48_000) + SILENCE * 3)
        await new.wait_for(TurnEnded, where=lambda m: m.reason is None)
    assert recognizer.heard_s[-1] == pytest.approx(1.48, abs=0.1)
    assert len(new.audio()) == pytest.approx(97 / 15 * 96_000, rel=0.03)


async def test_a_link_that_is_broken_for_good_ends_the_session_with_that_reason(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent()) as talk:
        await talk.client.wait_for(HearingReady)
        talk.client.break_link()
        assert await talk.session.wait_ended() is Reason.TRANSPORT_ERROR


async def test_half_a_sample_is_a_broken_link(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent()) as talk:
        await talk.client.wait_for(HearingReady)
        await talk.client.send(AudioIn(b"\0\0\0"))
        assert await talk.session.wait_ended() is Reason.TRANSPORT_ERROR


async def test_cancelling_attach_means_that_the_client_is_gone(autojump_clock: MockClock) -> None:
    client, link = memory_link()
    async with trio.open_nursery() as nursery, open_session(scripted_agent()) as session:
        nursery.start_soon(client.run)
        with trio.move_on_after(3):
            await session.attach(link)
        assert link.closed
        await trio.sleep(0.1)
        assert not session.statistics().attached
        assert session.ended is None
        session.end()
        await session.wait_ended()
        await client.wait_closed()


async def test_a_client_that_ends_the_session_is_told_last_and_the_link_closes(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(answers=[LONG])) as talk:
        await talk.client.wait_for(HearingReady)
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await talk.client.send(SessionEndRequested())
        await talk.client.wait_closed()
        assert talk.client.received[-1] == SessionEnded(reason=Reason.SESSION_ENDED)
        assert isinstance(talk.client.received[-2], StateChanged)


async def test_a_conversation_asked_for_before_anybody_is_there_greets_whoever_comes(
    autojump_clock: MockClock,
) -> None:
    agent = scripted_agent(settings=Settings(welcome="Hello."))
    async with trio.open_nursery() as nursery, open_session(agent) as session:
        session.start_conversation()
        await trio.sleep(5)
        client, link = memory_link()
        nursery.start_soon(client.run)
        nursery.start_soon(session.attach, link)
        assert (await client.wait_for(TurnEnded)).heard == "Hello."


# --- Clients that read slowly, or not at all --------------------------------------------------------------------------------


class SlowLink:
    """A link whose transport takes ``pace`` times the duration of its audio, and then nothing from ``stops_at`` on."""

    def __init__(self, *, pace: float, stops_after: int = 10**9, close_takes: float = 0.0) -> None:
        self.input_format = self.output_format = AudioFormat()
        self.realtime = True
        self.reports_playback = False
        self.pauses_playback = False
        self.sent: list[ServerMessage] = []
        self.closed = False
        self._pace = pace
        self._stops_after = stops_after
        self._close_takes = close_takes
        self.to_session, self._from_client = trio.open_memory_channel[ClientMessage](1000)

    async def receive(self) -> ClientMessage:
        try:
            return await self._from_client.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise LinkClosed("gone") from None

    async def send(self, *messages: ServerMessage) -> None:
        for message in messages:
            if len(self.sent) >= self._stops_after:
                await trio.sleep_forever()
            self.sent.append(message)
            await trio.sleep(len(message.pcm) / 32_000 * self._pace if isinstance(message, AudioOut) else 0)

    async def aclose(self) -> None:
        self.closed = True
        self._from_client.close()
        await trio.sleep(self._close_takes)

    def all(self, kind: type[Notice]) -> list[Notice]:
        return [message for message in self.sent if isinstance(message, kind)]


async def on_slow_link(link: SlowLink, log: EventLog, until_s: float, *texts: str) -> tuple[Session, float]:
    """Serve such a link for a while; gives the session and how long its end took."""
    async with trio.open_nursery() as nursery:
        async with open_session(scripted_agent(answers=[LONG, "Yes."]), observers=[log]) as session:
            nursery.start_soon(session.attach, link)
            link.to_session.send_nowait(ConversationStartRequested())
            for text in texts:
                await trio.sleep(3)
                if session.ended is None:
                    link.to_session.send_nowait(TextReceived(text=text))
            await trio.sleep(until_s)
            ending = trio.current_time()
        return session, trio.current_time() - ending


async def test_a_congested_link_is_not_taken_for_an_ear(autojump_clock: MockClock) -> None:
    # Audio takes twice its duration to get through. What is on its way has not been heard.
    link, log = SlowLink(pace=2.0), EventLog()
    await on_slow_link(link, log, 10, "first", "second")
    first = next(m for m in link.all(TurnEnded) if m.turn == 1)
    cut = next(i for i, m in enumerate(link.sent) if getattr(m, "turn", 1) == 2)
    arrived_s = sum(len(m.pcm) for m in link.sent[:cut] if isinstance(m, AudioOut)) / 32_000
    assert arrived_s == pytest.approx(1.5, abs=0.2)
    assert len(first.heard) <= arrived_s * 15


async def test_little_audio_waits_for_a_congested_link(autojump_clock: MockClock) -> None:
    link = SlowLink(pace=3.0)
    async with trio.open_nursery() as nursery, open_session(scripted_agent(answers=[LONG])) as session:
        nursery.start_soon(session.attach, link)
        link.to_session.send_nowait(ConversationStartRequested())
        link.to_session.send_nowait(TextReceived(text="hi"))
        most = 0
        for _ in range(300):
            await trio.sleep(0.02)
            most = max(most, session._tree.outbox.unsent_audio_bytes)
        assert 0 < most <= 0.3 * 32_000
        session.end()


async def test_a_client_that_stops_reading_cannot_hold_up_the_end(autojump_clock: MockClock) -> None:
    link, log = SlowLink(pace=0.0, stops_after=6), EventLog()
    session, took_s = await on_slow_link(link, log, 5, "first")
    assert session.ended is Reason.SESSION_ENDED
    assert took_s <= Session.DRAIN_S + 0.1
    assert link.closed


async def test_a_client_that_stops_reading_and_goes_on_asking_is_an_overload_in_the_end(
    autojump_clock: MockClock,
) -> None:
    link, log = SlowLink(pace=0.0, stops_after=6), EventLog()
    session, _ = await on_slow_link(link, log, 5, *["again"] * 150)
    assert session.ended is Reason.OVERLOADED
    assert log.ended == [Reason.OVERLOADED]
    assert session.statistics().outbox <= session._tree.outbox.NOTICES + session._tree.outbox.LAST_WORDS


async def test_a_turn_that_nobody_takes_ends_all_the_same(autojump_clock: MockClock) -> None:
    link, log = SlowLink(pace=0.0, stops_after=12), EventLog()
    await on_slow_link(link, log, 60, "first")
    assert log.states()[-2:] == [S.LISTENING, S.ENDED]


async def test_a_close_that_hangs_does_not_hang_the_session(autojump_clock: MockClock) -> None:
    link = SlowLink(pace=0.0, close_takes=1000)
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_session, link, scripted_agent())
        await trio.sleep(1)
        link.to_session.close()
    assert trio.current_time() - before <= 1 + 2 * Session.DRAIN_S + 0.1


async def test_audio_ten_times_too_fast_is_dropped_and_counted(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        second = tone(1.0)
        for _ in range(200):  # 200 s of audio within 20 s
            await talk.client.send(AudioIn(second))
            await trio.sleep(0.1)
            assert talk.session._tree.ear._microphone.waiting_bytes <= 2.0 * 32_000
        dropped_s = talk.session.statistics().dropped_audio_s
    # A quarter more than real time is let through, and what had been saved up before.
    assert dropped_s == pytest.approx(200 - 20 * 1.25 - 2.5, abs=4)
    assert talk.session.ended is Reason.SESSION_ENDED


async def test_audio_that_a_stalled_network_held_back_is_caught_up_with(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer()
    settings = Settings(endpointing=Endpointing.FIXED)  # an adaptive one takes its time in a pause
    async with listening(scripted_agent(recognizer=recognizer, settings=settings)) as talk:
        await talk.client.speak(SILENCE)
        await trio.sleep(1.8)
        await talk.client.speak((tone(1.3) + SILENCE)[: int(1.9 * 32_000)], paced=False)
        before = trio.current_time()
        await talk.client.wait_for(StateChanged, where=lambda m: m.new is S.PROCESSING_SPEECH)
        assert trio.current_time() - before < 0.1
        assert talk.session.statistics().dropped_audio_s == 0


async def test_a_microphone_whose_clock_is_a_little_fast_is_never_late(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent()) as talk:
        frame = SILENCE[:640]
        for _ in range(3000):  # a minute of it, two percent too fast
            await talk.client.send(AudioIn(frame))
            await trio.sleep(0.02 / 1.02)
        assert talk.session._tree.ear._microphone.waiting_bytes <= 2048
        assert talk.session.statistics().dropped_audio_s == 0


async def test_an_inbox_that_overflows_ends_the_session_with_a_reason(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent()) as talk:
        await talk.client.wait_for(HearingReady)
        for _ in range(talk.session._tree.inbox.SIZE + 2):
            talk.session.say("Something.")  # without a checkpoint in between
        await talk.client.wait_closed()
    assert talk.session.ended is Reason.OVERLOADED
    assert talk.client.all(ErrorRaised)[-1].code == "overloaded"
    assert talk.client.received[-1] == SessionEnded(reason=Reason.OVERLOADED)


async def test_a_flood_of_reports_and_requests_is_answered_and_survived(autojump_clock: MockClock) -> None:
    from flare_actors.conversation.events import CommitRequested, PlaybackCompleted, PlaybackProgressed

    async with listening(scripted_agent(answers=["Yes."])) as talk:
        for number in range(2000):
            await talk.client.send(PlaybackProgressed(turn=number, played_s=float(number)))
            await talk.client.send(PlaybackCompleted())
            await talk.client.send(CommitRequested())
        await talk.client.send(TextReceived(text="still there?"))
        await talk.client.wait_for(TurnEnded)
    assert talk.session.ended is Reason.SESSION_ENDED
