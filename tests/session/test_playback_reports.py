"""What was played, by the client's word and by the pacing clock; and when a turn is over."""

from __future__ import annotations

import math
import re

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from session_kit import Talk, listening, talking
from trio.testing import MockClock

from flare_actors.actors.speaker import Speaker
from flare_actors.agent import Agent
from flare_actors.conversation.events import InterruptRequested, PlaybackCompleted, PlaybackProgressed, TextReceived
from flare_actors.conversation.notices import PlaybackCleared, StateChanged, TurnEnded
from flare_actors.conversation.states import Reason, State
from flare_actors.ports import AudioOut, WordTiming
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedSynthesizer, tone
from flare_actors.session import Session
from flare_actors.testing import Room, scripted_agent

S = State
LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."
SECONDS = (len(LONG) - 3) / 15  # The spaces between sentences are not spoken.


async def turn_of(talk: Talk, text: str = "go on") -> float:
    """Ask by text; gives the time at which the answer's first audio came."""
    count = len(talk.client.all(AudioOut))
    await talk.client.send(TextReceived(text=text))
    await talk.client.wait_for(AudioOut, count=count + 1)
    return trio.current_time()


async def test_without_reports_the_pacing_clock_ends_the_turn(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        began = await turn_of(talk)
        await talk.wait_turns(1)
        assert trio.current_time() - began == pytest.approx(SECONDS, abs=0.05)


async def test_a_client_that_promised_reports_and_gives_none_is_waited_for_a_little(
    autojump_clock: MockClock,
) -> None:
    async with listening(scripted_agent(answers=[LONG]), reports_playback=True) as talk:
        began = await turn_of(talk)
        await talk.wait_turns(1)
        assert trio.current_time() - began == pytest.approx(SECONDS + 2.0, abs=0.05)


async def test_an_honest_client_ends_the_turn_by_its_own_clock(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG]), reports_playback=True) as talk:
        room = Room(talk.client, reports=True)
        talk.nursery.start_soon(room.run)
        began = await turn_of(talk)
        await talk.wait_turns(1)
        assert trio.current_time() - began == pytest.approx(SECONDS, abs=0.2)
        assert room.played[1] == pytest.approx(SECONDS, abs=0.05)
    assert talk.heard() == [LONG]


async def test_a_buffer_that_runs_empty_in_a_gap_is_not_the_end_of_the_turn(autojump_clock: MockClock) -> None:
    # The model pauses for two seconds between its sentences: the client reports three times that it has played all.
    model = ScriptedLanguageModel(script=["One two three. Four five six. Seven eight nine."], gap_s=1.0)
    async with listening(scripted_agent(language_model=model), reports_playback=True) as talk:
        room = Room(talk.client, reports=True)
        talk.nursery.start_soon(room.run)
        await turn_of(talk)
        await talk.wait_turns(1)
        reports = talk.log.all(PlaybackCompleted)
    assert len(reports) >= 3
    assert talk.heard() == ["One two three. Four five six. Seven eight nine."]
    assert len(talk.client.all(TurnEnded)) == 1
    assert talk.states().count(S.LISTENING) == 2


async def test_of_an_interrupted_answer_counts_what_an_honest_client_has_played(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG]), reports_playback=True) as talk:
        room = Room(talk.client, reports=True)
        talk.nursery.start_soon(room.run)
        await turn_of(talk)
        await trio.sleep(2.5)
        room.say(tone(1.0, level_db=-10))
        await talk.client.wait_for(PlaybackCleared)
        await talk.wait_turns(1)
        await trio.sleep(1)
    played_s = room.played[1]
    first = talk.client.all(TurnEnded)[0]
    assert played_s == pytest.approx(2.55, abs=0.1)
    # Whole words of which every sound was played: never more than was heard, and at most a word and a report less.
    assert len(first.heard) <= played_s * 15 + 1
    assert len(first.heard) >= (played_s - 0.2) * 15 - 12


@pytest.mark.parametrize("claim", [1e9, math.inf])
async def test_a_client_that_claims_too_much_is_believed_up_to_what_was_sent(
    autojump_clock: MockClock, claim: float
) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        began = await turn_of(talk)
        while not talk.client.all(TurnEnded):
            await trio.sleep(0.05)
            await talk.client.send(PlaybackProgressed(turn=1, played_s=claim))
            await talk.client.send(PlaybackCompleted(turn=1))
        # It cannot end the turn before the last of it has left: at most the lead too early.
        assert trio.current_time() - began >= SECONDS - 0.3


async def test_a_client_that_claims_too_little_does_not_hold_up_the_turn(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG]), reports_playback=True) as talk:
        began = await turn_of(talk)
        for _ in range(30):
            await trio.sleep(0.3)
            await talk.client.send(PlaybackProgressed(turn=1, played_s=0.01))
        await talk.wait_turns(1)
        assert trio.current_time() - began <= SECONDS + 2.6
        await turn_of(talk, "next")


async def test_reports_about_other_turns_change_nothing(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        await turn_of(talk)
        for turn in (0, -1, 2, 99, 10**15):
            await talk.client.send(PlaybackProgressed(turn=turn, played_s=3.0))
            await talk.client.send(PlaybackCompleted(turn=turn))
        await talk.client.send(PlaybackProgressed(turn=1, played_s=-5.0))
        await trio.sleep(1)
        assert talk.session.conversation.state is S.PLAYING_RESPONSE
        await talk.wait_turns(1)
    assert talk.heard() == [LONG]


async def test_a_late_report_amends_what_was_heard_until_the_next_request(autojump_clock: MockClock) -> None:
    agent = scripted_agent(answers=[LONG, "Yes."])
    async with listening(agent, reports_playback=True) as talk:
        await turn_of(talk)
        await talk.client.send(PlaybackProgressed(turn=1, played_s=0.1))
        await trio.sleep(3.0)
        await talk.client.send(InterruptRequested())
        await talk.wait_turns(1)
        # The loudspeaker had stalled: only a second of it was really heard.
        await talk.client.send(PlaybackProgressed(turn=1, played_s=1.0))
        await turn_of(talk, "next")
    assert agent.language_model.requests[1][1].content == "One two three"


async def test_the_client_is_never_further_ahead_than_the_lead(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=[LONG])) as talk:
        sent: list[tuple[float, int]] = []
        talk.client.listeners.append(
            lambda m: sent.append((trio.current_time(), len(m.pcm))) if isinstance(m, AudioOut) else None
        )
        await turn_of(talk)
        await talk.wait_turns(1)
    start = sent[0][0]
    total = 0
    for at, count in sent:
        total += count
        assert total / 32_000 - (at - start) <= Speaker.LEAD_S + 1e-6
    assert total / 32_000 == pytest.approx(SECONDS, abs=0.01)


async def test_a_synthesizer_slower_than_speech_still_ends_when_all_is_played(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(synthesizer=ScriptedSynthesizer(realtime_factor=1.5), answers=[LONG])) as talk:
        began = await turn_of(talk)
        await talk.wait_turns(1)
        assert trio.current_time() - began == pytest.approx(SECONDS * 1.5, abs=0.2)
    assert talk.heard() == [LONG]


# --- Endings that come from outside -----------------------------------------------------------------------------------------


async def test_a_shutdown_lets_the_turn_finish_and_ends_then(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(answers=[LONG])) as talk:
        await talk.wait_state(S.LISTENING)
        began = await turn_of(talk)
        await trio.sleep(1)
        talk.session.shutdown(60)
        assert await talk.session.wait_ended() is Reason.SHUTDOWN
        assert trio.current_time() - began == pytest.approx(SECONDS, abs=0.1)
        await talk.client.wait_closed()
    assert talk.heard() == [LONG]


async def test_a_shutdown_waits_no_longer_than_its_deadline(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(answers=[LONG])) as talk:
        await talk.wait_state(S.LISTENING)
        await turn_of(talk)
        before = trio.current_time()
        talk.session.shutdown(2.0)
        assert await talk.session.wait_ended() is Reason.SHUTDOWN
        assert trio.current_time() - before == pytest.approx(2.0, abs=0.1)
        await talk.client.wait_closed()
    (ended,) = talk.client.all(TurnEnded)
    assert ended.reason is Reason.SHUTDOWN
    assert LONG.startswith(ended.heard)


@pytest.mark.parametrize("start", [False, True])
async def test_a_shutdown_of_a_session_that_does_nothing_is_immediate(autojump_clock: MockClock, start: bool) -> None:
    async with talking(scripted_agent(), start=start) as talk:
        await trio.sleep(1)
        before = trio.current_time()
        talk.session.shutdown(60)
        assert await talk.session.wait_ended() is Reason.SHUTDOWN
        assert trio.current_time() - before < 0.1


async def test_a_shutdown_while_the_user_speaks_lets_them_be_answered(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(answers=["Yes."])) as talk:
        await talk.wait_state(S.LISTENING)
        talk.nursery.start_soon(talk.ask_until_the_end)
        await trio.sleep(0.5)
        talk.session.shutdown(30)
        assert await talk.session.wait_ended() is Reason.SHUTDOWN
        await talk.client.wait_closed()
    assert talk.heard() == ["Yes."]


async def test_the_end_of_a_session_is_quick_when_the_client_reads(autojump_clock: MockClock) -> None:
    async with talking(scripted_agent(answers=[LONG])) as talk:
        await talk.wait_state(S.LISTENING)
        await turn_of(talk)
        before = trio.current_time()
        talk.session.end()
        await talk.session.wait_ended()
        assert trio.current_time() - before < Session.DRAIN_S / 10
        await talk.client.wait_closed()
        assert [m.new for m in talk.client.all(StateChanged)][-1] is S.ENDED


async def test_a_report_of_a_turn_that_is_still_to_come_does_not_end_it(autojump_clock: MockClock) -> None:
    async with listening(scripted_agent(answers=["One two three four five."])) as talk:
        # In the very moment in which turn 1 begins: the report is in the inbox before the speaker knows the turn.
        await talk.client.send(TextReceived(text="count"))
        await talk.client.send(PlaybackProgressed(turn=1, played_s=1e6))
        await talk.client.send(PlaybackProgressed(played_s=1e6))
        await talk.wait_turns(1)
        received_s = len(talk.client.audio(1)) / 32_000
    assert received_s == pytest.approx(24 / 15, abs=0.01)


class Drawling(ScriptedSynthesizer):
    """Every word takes a second, however long it is."""

    def _words(self, text: str) -> tuple[WordTiming, ...]:
        ends = [match.end() for match in re.finditer(r"\S+", text)]
        return tuple(WordTiming(chars=end, end_s=float(number)) for number, end in enumerate(ends, 1))


DRAWLED = "It is a characteristic, unquestionably."


def drawling(*, tells_words: bool) -> Agent:
    return scripted_agent(
        language_model=ScriptedLanguageModel(script=[DRAWLED, "Yes."]),
        synthesizer=Drawling(tells_words=tells_words, chars_per_second=len(DRAWLED) / 5),
    )


@pytest.mark.parametrize(("tells_words", "heard"), [(True, "It is"), (False, "It is a")])
async def test_of_an_interrupted_answer_counts_what_its_words_took_where_the_voice_tells(
    autojump_clock: MockClock, tells_words: bool, heard: str
) -> None:
    agent = drawling(tells_words=tells_words)
    async with listening(agent) as talk:
        await turn_of(talk)
        await trio.sleep(2.5)
        await talk.client.send(TextReceived(text="and then"))
        await talk.wait_turns(2)
    assert talk.heard()[0] == heard
    (request,) = agent.language_model.requests[1:]
    assert [message.content for message in request if message.role == "assistant"] == [heard]


CLAIMS = st.none() | st.floats(0, 6) | st.sampled_from([0.0, 1e9, math.inf])
"""What a client says that it has played: nothing, something, or more than there is."""


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.floats(0, 1), CLAIMS, st.sampled_from([None, 1, 7])), max_size=6),
    st.floats(0.05, 4.5),
    st.booleans(),
)
def test_whatever_is_reported_the_next_request_has_what_the_history_has_and_no_more_than_was_sent(
    reports: list[tuple[float, float | None, int | None]], heard_s: float, tells_words: bool
) -> None:
    async def run() -> None:
        agent = drawling(tells_words=tells_words)
        async with listening(agent) as talk:
            began = await turn_of(talk)
            for wait_s, claim, turn in reports:
                await trio.sleep(wait_s)
                if claim is not None and not talk.client.all(TurnEnded):
                    await talk.client.send(PlaybackProgressed(turn=turn, played_s=claim))
            await trio.sleep_until(max(trio.current_time(), began + heard_s))
            sent_s = trio.current_time() - began + 0.3
            await talk.client.send(TextReceived(text="and then"))
            await talk.wait_turns(2)
        heard = talk.heard()[0]
        said = [m.content for m in agent.language_model.requests[1] if m.role == "assistant"]
        assert said == ([heard] if heard else [])
        assert heard in {"", *(" ".join(DRAWLED.split()[:count]) for count in range(1, 6))}
        if tells_words and sent_s < 2.9:
            assert len(heard.split()) <= sent_s, "a word a second, until the first phrase is over"

    trio.run(run, clock=MockClock(autojump_threshold=0))
