"""Providers that swallow their cancellation: they cannot be killed, but nobody hears them and nobody waits for them."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from session_kit import SILENCE, Talk, listening, open_streams, talking
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.events import (
    ConversationEndRequested,
    ConversationStartRequested,
    InterruptRequested,
    TextReceived,
)
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    PlaybackCleared,
    ResponseTextDelta,
    SessionEnded,
    TurnEnded,
    TurnStarted,
)
from flare_actors.conversation.states import Reason, State
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.session import open_session
from flare_actors.testing import (
    Act,
    At,
    EventLog,
    Fault,
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
    memory_link,
    scripted_agent,
)

S = State
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen."
HELD_S = 20.0


def stubborn(at: At, seconds: float = HELD_S, after: int = 6) -> Fault:
    return Fault(at=at, act=Act.STUBBORN, seconds=seconds, after=after)


def agent_with(stage: str, *faults: Fault | None, always: Fault | None = None, pace: float = 0.0) -> Agent:
    """With ``pace`` 0 nothing but the fault ever waits, so that what comes after it comes without a checkpoint."""
    model = ScriptedLanguageModel(script=[LONG], gap_s=0.04 * pace)
    if stage == "llm":
        return scripted_agent(language_model=FaultyLanguageModel(inner=model, faults=faults, always=always))
    return scripted_agent(
        language_model=model,
        synthesizer=FaultySynthesizer(inner=ScriptedSynthesizer(realtime_factor=pace), faults=faults, always=always),
    )


async def interrupted(talk: Talk, turn: int) -> None:
    """Stop the turn by the button and see that it is silent at once."""
    before = trio.current_time()
    await talk.client.send(InterruptRequested())
    await talk.client.wait_for(PlaybackCleared, where=lambda m: m.turn == turn)
    assert trio.current_time() - before < 0.01


@pytest.mark.parametrize(
    ("stage", "at"), [("llm", At.MIDDLE), ("tts", At.MIDDLE), ("llm", At.FIRST), ("tts", At.FIRST)]
)
async def test_the_output_is_silent_and_the_next_turn_is_served_at_once(
    autojump_clock: MockClock, stage: str, at: At
) -> None:
    agent = agent_with(stage, stubborn(at))
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="first"))
        await talk.client.wait_for(TurnStarted)
        await trio.sleep(0.8)
        await interrupted(talk, 1)
        received = len(talk.client.received)
        before = trio.current_time()
        await talk.client.send(TextReceived(text="second"))
        await talk.client.wait_for(AudioOut, where=lambda m: m.turn == 2)
        assert trio.current_time() - before < 0.5
        await talk.client.wait_for(TurnEnded, where=lambda m: m.turn == 2)
        # The provider goes on as if nothing had happened; nothing of it comes through.
        await trio.sleep(HELD_S + 5)
        late = talk.client.received[received:]
        assert not [m for m in late if isinstance(m, AudioOut | ResponseTextDelta) and m.turn == 1]
        assert talk.session.statistics().replies_running == 0
    assert talk.log.lingering == [(1, 1)]
    assert talk.heard()[-1] == LONG


async def test_who_lets_go_within_a_moment_is_not_called_stubborn(autojump_clock: MockClock) -> None:
    async with listening(agent_with("llm", stubborn(At.MIDDLE, seconds=0.5))) as talk:
        await talk.client.send(TextReceived(text="first"))
        await trio.sleep(0.5)
        await interrupted(talk, 1)
        await trio.sleep(5)
    assert talk.log.lingering == []


async def test_four_may_linger_and_the_fifth_ends_the_session_loudly(autojump_clock: MockClock) -> None:
    agent = agent_with("llm", always=stubborn(At.MIDDLE, seconds=100))
    async with talking(agent) as talk:
        await talk.client.wait_for(HearingReady)
        for turn in range(1, 6):
            await talk.client.send(TextReceived(text=f"number {turn}"))
            await trio.sleep(0.5)
            await interrupted(talk, turn)
            await trio.sleep(1.1)
            assert talk.log.lingering[-1] == (turn, turn)
        await talk.client.wait_closed()
        assert talk.session.ended is Reason.CRITICAL_ERROR
        # The client knows at once; the session's close waits for what cannot be killed.
        assert talk.session.statistics().replies_running == 5
        assert talk.client.received[-1] == SessionEnded(reason=Reason.CRITICAL_ERROR)
        with trio.move_on_after(50) as still:
            await talk.session.wait_ended()
        assert still.cancelled_caught
    assert [(m.code, m.recoverable) for m in talk.client.all(ErrorRaised)] == [("unknown_failed", False)]


async def test_a_session_waits_for_what_it_cannot_kill_and_says_so(autojump_clock: MockClock) -> None:
    log = EventLog()
    agent = agent_with("tts", stubborn(At.MIDDLE))
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        async with open_session(agent, observers=[log]) as session:
            nursery.start_soon(client.run)
            nursery.start_soon(session.attach, link)
            await client.send(ConversationStartRequested())
            await client.wait_for(HearingReady)
            await client.send(TextReceived(text="first"))
            await client.wait_for(AudioOut)
            await trio.sleep(1)
            before = trio.current_time()
        assert HELD_S - 1 <= trio.current_time() - before <= HELD_S + 1
        assert open_streams(agent) == {}
    assert log.lingering == [(1, 1)]
    assert log.ended == [Reason.SESSION_ENDED]
    # The client did not have to wait.
    assert client.all(SessionEnded)


async def test_the_conversation_can_be_ended_and_started_while_something_lingers(autojump_clock: MockClock) -> None:
    async with listening(agent_with("tts", stubborn(At.MIDDLE))) as talk:
        await talk.client.send(TextReceived(text="first"))
        await trio.sleep(0.8)
        before = trio.current_time()
        await talk.client.send(ConversationEndRequested())
        await talk.client.send(ConversationStartRequested())
        await talk.client.wait_for(HearingReady, count=2)
        await talk.client.send(TextReceived(text="second"))
        await talk.client.wait_for(AudioOut, where=lambda m: m.turn == 2)
        assert trio.current_time() - before < 1
        await talk.client.wait_for(TurnEnded, where=lambda m: m.turn == 2)


async def test_a_hang_that_swallows_even_its_timeout_is_ended_by_the_core(autojump_clock: MockClock) -> None:
    # The stage's own timeout strikes at 10 s and is swallowed for 100 s: the backstop, 30 s after every stage's own, frees it.
    async with listening(agent_with("llm", stubborn(At.FIRST, seconds=100))) as talk:
        await talk.client.send(TextReceived(text="first"))
        before = trio.current_time()
        await talk.client.wait_for(ErrorRaised)
        await talk.wait_state(S.LISTENING)
        assert trio.current_time() - before == pytest.approx(45, abs=0.1)
        await talk.client.send(TextReceived(text="second"))
        await talk.client.wait_for(TurnEnded, where=lambda m: m.turn == 2 and m.reason is None)
    assert talk.log.lingering == [(1, 1)]


# --- The recogniser -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [At.CONNECT, At.FIRST])
async def test_a_stubborn_recogniser_does_not_keep_the_next_conversation_waiting(
    autojump_clock: MockClock, at: At
) -> None:
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(script=["understood"]), faults=[stubborn(at, seconds=30)])
    async with talking(scripted_agent(recognizer=recognizer)) as talk:
        await talk.wait_state(S.LISTENING)
        await trio.sleep(0.5)
        await talk.client.speak(tone(1.0) + SILENCE)
        before = trio.current_time()
        await talk.client.send(ConversationEndRequested())
        await talk.client.send(ConversationStartRequested())
        await talk.client.wait_for(HearingReady, count=1 if at is At.CONNECT else 2)
        assert trio.current_time() - before < 0.1
        await talk.ask()
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
        await trio.sleep(40)
    assert talk.said() == ["understood"]
    assert talk.log.lingering == [(None, 1)]


async def test_a_recogniser_that_swallows_its_timeout_is_replaced(autojump_clock: MockClock) -> None:
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(), faults=[stubborn(At.FIRST, seconds=60)])
    async with listening(scripted_agent(recognizer=recognizer)) as talk:
        await talk.ask()
        await talk.client.wait_for(ErrorRaised)
        await talk.wait_state(S.LISTENING)
        await talk.ask()
        await talk.client.wait_for(TurnEnded, where=lambda m: m.reason is None)
    assert talk.log.lingering == [(None, 1)]


# --- Those that fall over while they are cancelled ----------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["llm", "tts"])
@pytest.mark.parametrize("act", [Act.CRASH, Act.CRASH_GROUP, Act.RAISE, Act.HANG])
async def test_a_provider_that_fails_at_its_own_cancellation_harms_nobody(
    autojump_clock: MockClock, stage: str, act: Act
) -> None:
    agent = agent_with(stage, Fault(at=At.CLOSE, act=act), pace=0.5)
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="first"))
        await trio.sleep(0.1 if stage == "llm" else 0.8)
        await interrupted(talk, 1)
        await talk.client.send(TextReceived(text="second"))
        await talk.client.wait_for(TurnEnded, where=lambda m: m.turn == 2 and m.reason is None)
        assert talk.session.ended is None
    assert talk.client.all(ErrorRaised) == []
    assert talk.log.lingering == []
    assert {turn for turn, _ in talk.log.faults} <= {1}


async def test_a_vendors_task_that_dies_of_the_cancellation_harms_nobody(autojump_clock: MockClock) -> None:
    class Fragile(ScriptedSynthesizer):
        """Keeps a connection alive in a nursery of its own, and falls over when that is cancelled."""

        def synthesize(self, phrases, *, locale):
            @asynccontextmanager
            async def stream():
                async def keep_alive():
                    try:
                        await trio.sleep_forever()
                    finally:
                        raise OSError("connection reset")

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(keep_alive)
                    async with super(Fragile, self).synthesize(phrases, locale=locale) as chunks:
                        yield chunks
                    nursery.cancel_scope.cancel()

            return stream()

    async with listening(scripted_agent(answers=[LONG], synthesizer=Fragile())) as talk:
        await talk.client.send(TextReceived(text="first"))
        await trio.sleep(0.8)
        await interrupted(talk, 1)
        await talk.client.send(TextReceived(text="second"))
        # In the end it always falls over; the text is there, and the session lives.
        ended = await talk.client.wait_for(TurnEnded, where=lambda m: m.turn == 2)
        assert (ended.reason, ended.heard) == (None, LONG)
        assert talk.session.ended is None
