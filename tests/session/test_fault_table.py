"""The fault table: one test a row, each with what this package promises; docs/reliability.md states the same to users.

Every row is a way in which voice sessions have been seen to hang, leak or repeat themselves. The tests of the other modules
here go through the rows' variants; this one is the list. One row has no test, because there is nothing to test yet: *the
process is killed*, later, when another node goes on from the journal. Today the conversation is lost; that its events alone
rebuild it is tested (tests/conversation/test_core_properties.py).
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from session_kit import SILENCE, Talk, listening, open_streams, talking
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.events import (
    ConversationStartRequested,
    InterruptRequested,
    TextReceived,
)
from flare_actors.conversation.notices import (
    ErrorRaised,
    HearingReady,
    PlaybackCleared,
    ResponseTextDone,
    SessionEnded,
    StateChanged,
    TurnEnded,
)
from flare_actors.conversation.settings import Settings, Timeouts
from flare_actors.conversation.states import Endpointing, Reason, State
from flare_actors.ports import AudioOut, ToolCall
from flare_actors.providers.compose import Attempts, fallback
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.session import Session, open_session
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
from flare_actors.tools import tool

S = State
WITHIN = Timeouts()
ANSWER = "One two three. Four five six."
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen."
STAGES = ("llm", "tts")


def agent_with(stage: str, *faults: Fault | None, answer: str = ANSWER, gap_s: float = 0.02) -> Agent:
    """Scripted engines; the streams of one of them have these faults, in order."""
    model, voice = ScriptedLanguageModel(script=[answer], gap_s=gap_s), ScriptedSynthesizer(realtime_factor=0.5)
    return scripted_agent(
        language_model=FaultyLanguageModel(inner=model, faults=faults if stage == "llm" else ()),
        synthesizer=FaultySynthesizer(inner=voice, faults=faults if stage == "tts" else ()),
    )


def told(talk: Talk) -> list[tuple[str, bool]]:
    """What the client was told of failures, and whether the conversation goes on."""
    return [(error.code, error.recoverable) for error in talk.client.all(ErrorRaised)]


async def next_turn_is_served(talk: Talk, answer: str = ANSWER) -> None:
    await talk.wait_state(S.LISTENING)
    before = talk.session.conversation.turns
    await talk.ask()
    ended = await talk.client.wait_for(TurnEnded, where=lambda m: m.turn > before and m.reason is None)
    assert ended.heard == answer


# --- Engines that hang, fail and repeat -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
async def test_an_engine_that_hangs_before_its_output_is_given_up_in_time_and_the_client_is_told(
    autojump_clock: MockClock, stage: str
) -> None:
    async with listening(agent_with(stage, Fault(at=At.FIRST, act=Act.HANG))) as talk:
        await talk.client.send(TextReceived(text="question"))
        asked = trio.current_time()
        await talk.client.wait_for(ErrorRaised)
        assert trio.current_time() - asked <= {"llm": WITHIN.llm_first_s, "tts": WITHIN.tts_first_s}[stage] + 0.5
        await talk.wait_turns(1)
        await talk.wait_state(S.LISTENING)
        await next_turn_is_served(talk)
    assert told(talk) == [(f"{stage}_failed", True)]


@pytest.mark.parametrize("stage", STAGES)
async def test_an_engine_that_hangs_amid_its_output_is_given_up_in_time_and_the_heard_text_is_kept(
    autojump_clock: MockClock, stage: str
) -> None:
    agent = agent_with(stage, Fault(at=At.MIDDLE, act=Act.HANG, after=5))
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="question"))
        asked = trio.current_time()
        await talk.client.wait_for(ErrorRaised)
        assert trio.current_time() - asked <= {"llm": WITHIN.llm_gap_s, "tts": WITHIN.tts_gap_s}[stage] + 3
        heard = (await talk.wait_turns(1)).heard
        assert ANSWER.startswith(heard)
        assert heard
        assert talk.client.audio(1)
        await next_turn_is_served(talk)
        # The next question was asked with just that in the history.
        inner = agent.language_model.inner
        assert [m.content for m in inner.requests[-1] if m.role == "assistant"] == [heard]
    assert told(talk) == [(f"{stage}_failed", True)]


@pytest.mark.parametrize("at", [At.CALL, At.CONNECT, At.FIRST, At.MIDDLE], ids=lambda at: at.value)
async def test_an_answer_whose_synthesizer_raises_is_delivered_as_text(autojump_clock: MockClock, at: At) -> None:
    async with listening(agent_with("tts", Fault(at=at, act=Act.CRASH, after=2))) as talk:
        await talk.client.send(TextReceived(text="question"))
        ended = await talk.wait_turns(1)
        assert (ended.reason, ended.heard) == (None, ANSWER)
        assert [done.text for done in talk.client.all(ResponseTextDone)] == [ANSWER]
        await next_turn_is_served(talk)
    assert told(talk) == [("tts_failed", True)]


async def test_what_a_failing_model_has_said_is_never_said_again(autojump_clock: MockClock) -> None:
    agent = agent_with("llm", Fault(at=At.MIDDLE, act=Act.CRASH, after=4))
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="question"))
        ended = await talk.wait_turns(1)
        await trio.sleep(60)
        # Nobody asks the model again behind the user's back, and nothing is spoken twice.
        assert agent.language_model.streams == 1
        assert talk.session.conversation.turns == 1
        spoken = len(talk.client.audio())
        assert spoken == pytest.approx(len(ended.heard) / 15 * 32_000, rel=0.1)
        await next_turn_is_served(talk)
        said = [m.content for m in agent.language_model.inner.requests[-1] if m.role == "assistant"]
        assert said == ["One two three. Four"]


async def test_a_recogniser_that_always_fails_is_tried_ever_more_rarely_and_then_the_client_is_told_why(
    autojump_clock: MockClock,
) -> None:
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(), always=Fault(at=At.CONNECT, act=Act.CRASH))
    async with talking(scripted_agent(recognizer=recognizer)) as talk:
        await talk.client.wait_closed()
        assert talk.session.ended is Reason.CRITICAL_ERROR
    assert told(talk) == [("stt_failed", True), ("stt_failed", True), ("stt_failed", False)]
    assert talk.client.received[-1] == SessionEnded(reason=Reason.CRITICAL_ERROR)
    changes = talk.client.all(StateChanged)
    pauses = [b.at - a.at for a, b in pairwise(changes) if a.new is S.ERROR]
    assert pauses[:2] == pytest.approx([2.0, 4.0])
    assert recognizer.streams == 3


# --- Engines that do not let go -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
async def test_an_engine_that_swallows_its_cancellation_is_silent_at_once_and_waited_for_only_at_the_close(
    autojump_clock: MockClock, stage: str
) -> None:
    held_s = 30.0
    agent = agent_with(stage, Fault(at=At.MIDDLE, act=Act.STUBBORN, seconds=held_s, after=8), answer=LONG)
    log = EventLog()
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        async with open_session(agent, observers=[log]) as session:
            nursery.start_soon(client.run)
            nursery.start_soon(session.attach, link)
            await client.send(ConversationStartRequested())
            await client.wait_for(HearingReady)
            await client.send(TextReceived(text="first"))
            await client.wait_for(AudioOut)
            await trio.sleep(0.5)
            interrupted = trio.current_time()
            await client.send(InterruptRequested())
            await client.wait_for(PlaybackCleared)
            assert trio.current_time() - interrupted < 0.01
            await client.send(TextReceived(text="second"))
            await client.wait_for(AudioOut, where=lambda m: m.turn == 2)
            assert trio.current_time() - interrupted < 1.0
            assert (await client.wait_for(TurnEnded, where=lambda m: m.turn == 2)).heard == LONG
            cleared = client.received.index(client.all(PlaybackCleared)[0])
            assert not [m for m in client.received[cleared:] if isinstance(m, AudioOut) and m.turn == 1]
            assert trio.current_time() - interrupted < held_s
            ended = trio.current_time()
        # The session's close waited, and nothing of it is left.
        assert trio.current_time() == pytest.approx(interrupted + held_s, abs=1.0)
        assert trio.current_time() > ended
        assert open_streams(agent) == {}
    assert log.lingering == [(1, 1)]


async def test_at_most_four_replies_linger_and_a_fifth_ends_the_session_loudly(autojump_clock: MockClock) -> None:
    stubborn = Fault(at=At.MIDDLE, act=Act.STUBBORN, seconds=60.0, after=3)
    async with listening(agent_with("llm", *[stubborn] * 9, answer=LONG)) as talk:
        for turn in range(1, 6):
            await talk.client.send(TextReceived(text=f"number {turn}"))
            await trio.sleep(1.0)
            await talk.client.send(InterruptRequested())
            await trio.sleep(1.5)
        await talk.client.wait_closed()
        assert talk.session.ended is Reason.CRITICAL_ERROR
    assert talk.log.lingering == [(turn, turn) for turn in range(1, 6)]
    assert told(talk)[-1][1] is False


# --- Clients and load -----------------------------------------------------------------------------------------------------


async def test_a_client_that_never_reports_playback_does_not_keep_its_turn_open(autojump_clock: MockClock) -> None:
    async with listening(agent_with("llm"), reports_playback=True) as talk:
        await talk.client.send(TextReceived(text="question"))
        await talk.client.wait_for(AudioOut)
        started = trio.current_time()
        ended = await talk.wait_turns(1)
        length = len(talk.client.audio(1)) / 32_000
        assert (ended.reason, ended.heard) == (None, ANSWER)
        assert trio.current_time() - started <= length + WITHIN.playback_report_s + 0.5
        await next_turn_is_served(talk)
        leaving = trio.current_time()
        talk.session.end()
        await talk.session.wait_ended()
        assert trio.current_time() - leaving < 0.1


async def test_a_recogniser_slower_than_speech_drops_the_oldest_and_never_delays_a_barge_in(
    autojump_clock: MockClock,
) -> None:
    # 45 ms of work for each piece of 32 ms, and seconds more for each transcript.
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(delay_s=6.0), piece_s=0.045)
    settings = Settings(endpointing=Endpointing.FIXED)  # who never waits for an answer is waited for longer
    async with listening(scripted_agent(recognizer=recognizer, answers=[LONG], settings=settings)) as talk:
        await talk.client.send(TextReceived(text="question"))
        await talk.wait_audio(1, 0.5)
        speaks = trio.current_time()
        talk.nursery.start_soon(lambda: talk.ask_until_the_end(speech_s=2.0, level=-10))
        await talk.client.wait_for(StateChanged, where=lambda m: m.reason is Reason.BARGE_IN)
        assert trio.current_time() - speaks < 0.5
        await trio.sleep(4)
        for _ in range(12):
            await talk.client.speak(tone(0.6) + SILENCE)
            assert len(talk.session._tree.recognizer._waiting) <= talk.session._tree.recognizer.WAITING
        assert talk.session._tree.recognizer.given_up > 0
        await talk.client.wait_for(TurnEnded, where=lambda m: m.turn > 1 and m.reason is None)
        assert talk.session.ended is None


@pytest.mark.parametrize("stage", STAGES)
async def test_who_hangs_before_a_fallback_is_left_at_its_timeout_and_the_turn_is_answered(
    autojump_clock: MockClock, stage: str
) -> None:
    faulty, healthy = agent_with(stage, Fault(at=At.FIRST, act=Act.HANG)), agent_with(stage)
    async with (
        fallback([faulty.language_model, healthy.language_model]) as model,
        fallback([faulty.synthesizer, healthy.synthesizer]) as voice,
        listening(scripted_agent(language_model=model, synthesizer=voice)) as talk,
    ):
        asked = trio.current_time()
        await talk.client.send(TextReceived(text="question"))
        await talk.client.wait_for(AudioOut)
        assert trio.current_time() - asked <= Attempts().first_s + 1.0
        assert (await talk.wait_turns(1)).heard == ANSWER
    assert told(talk) == []


@pytest.mark.parametrize("detached", [False, True], ids=["of a turn", "in the background"])
async def test_a_tool_that_hangs_when_the_session_is_closed_ends_with_it(
    autojump_clock: MockClock, detached: bool
) -> None:
    ended = []

    @tool(detached=detached, timeout_s=1e6)
    async def hang() -> None:
        """Hang."""
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    agent = scripted_agent(answers=[[ToolCall(call="a", name="hang")], "Well."], tools=[hang])
    async with listening(agent) as talk:
        await talk.client.send(TextReceived(text="question"))
        await trio.sleep(5)
        assert ended == []
        closed = trio.current_time()
        talk.session.end()
        await talk.session.wait_ended()
        assert ended == [pytest.approx(closed, abs=0.1)]
        assert trio.current_time() - closed <= Session.DRAIN_S


# --- Owners ---------------------------------------------------------------------------------------------------------------


async def test_an_owner_that_is_cancelled_without_closing_leaves_nothing(autojump_clock: MockClock) -> None:
    agent, log = agent_with("llm", answer=LONG), EventLog()
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.CancelScope() as owner:
            async with open_session(agent, observers=[log]) as session, trio.open_nursery() as links:
                links.start_soon(session.attach, link)
                await client.send(ConversationStartRequested())
                await client.wait_for(HearingReady)
                await client.send(TextReceived(text="question"))
                await client.wait_for(AudioOut)
                cancelled = trio.current_time()
                owner.cancel()
                await trio.sleep_forever()
        assert trio.current_time() == cancelled  # Nothing was waited for,
        assert open_streams(agent) == {}  # and nothing is left.
        assert link.closed
        await client.wait_closed()
        assert trio.lowlevel.current_statistics().tasks_living == tasks - 1  # The client's own end, too, has run out.
    assert log.ended == [None]


async def test_a_close_that_is_cancelled_leaves_nothing_and_a_second_close_is_none(autojump_clock: MockClock) -> None:
    # The client does not read, so the close would wait for a second; the engine is talking meanwhile.
    agent, log = agent_with("llm", answer=LONG), EventLog()
    _client, link = memory_link(buffer=0)
    sessions: list[Session] = []
    async with trio.open_nursery() as nursery:
        tasks = trio.lowlevel.current_statistics().tasks_living
        with trio.CancelScope() as owner:
            async with open_session(agent, observers=[log]) as session:
                sessions.append(session)
                nursery.start_soon(session.attach, link)
                session.start_conversation()
                await trio.sleep(1)
                owner.deadline = trio.current_time() + 0.3  # In the midst of the close.
        assert owner.cancelled_caught
        assert open_streams(agent) == {}
        session = sessions[0]
        session.end()
        assert await session.wait_ended() is Reason.SESSION_ENDED
        await trio.sleep(2)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert link.closed
    assert log.ended == [Reason.SESSION_ENDED]


# --- The page -------------------------------------------------------------------------------------------------------------


def test_every_proof_that_the_page_names_is_there() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", page))
    assert len(named) > 20
    for module, test in sorted(named):
        source = (root / module).read_text(encoding="utf-8")
        assert f"def {test}(" in source if test else source, f"{module}::{test}"
    here = set(re.findall(r"^(?:async )?def (test_\w+)\(", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    assert {test for _, test in named} >= here - {"test_every_proof_that_the_page_names_is_there"}
