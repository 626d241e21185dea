"""Whatever a client does, whatever fails: no session is ever stuck, and none breaks a promise of the core.

Hypothesis makes up the client and the faults; the checker watches every step, the kit what is left behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from session_kit import SILENCE, Talk, talking
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.events import (
    CommitRequested,
    ConversationEndRequested,
    ConversationStartRequested,
    InterruptRequested,
    MuteRequested,
    PlaybackCompleted,
    PlaybackProgressed,
    TextReceived,
)
from flare_actors.conversation.notices import HearingReady, TurnEnded
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.conversation.states import BargeIn, Output, State, SttMode
from flare_actors.errors import LinkClosed, SessionError
from flare_actors.ports import AudioIn, ClientMessage
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
    tone,
)
from flare_actors.testing import (
    Act,
    At,
    Fault,
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
    FaultyVoiceActivity,
    MemoryClient,
    memory_link,
    scripted_agent,
)

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

S = State

STREAM_FAULTS = st.one_of(
    st.builds(
        Fault,
        at=st.sampled_from([At.CONNECT, At.FIRST, At.MIDDLE, At.END, At.CLOSE]),
        act=st.sampled_from([Act.HANG, Act.RAISE, Act.CRASH, Act.CRASH_GROUP, Act.SLOW, Act.STUBBORN]),
        after=st.integers(1, 8),
        seconds=st.sampled_from([0.1, 1.0, 5.0, 12.0]),
    ),
    st.builds(Fault, at=st.just(At.CALL), act=st.sampled_from([Act.RAISE, Act.CRASH])),
    st.builds(Fault, at=st.sampled_from([At.FIRST, At.MIDDLE]), act=st.just(Act.STOP), after=st.integers(1, 8)),
    st.builds(Fault, at=st.sampled_from([At.FIRST, At.MIDDLE]), act=st.just(Act.GIVE), item=st.sampled_from([None, 7])),
)
EAR_FAULTS = st.builds(
    Fault,
    at=st.sampled_from([At.CONNECT, At.MIDDLE]),
    act=st.sampled_from([Act.RAISE, Act.CRASH]),
    after=st.integers(1, 200),
)


def plan(faults: st.SearchStrategy[Fault]) -> st.SearchStrategy[list[Fault | None]]:
    return st.lists(st.one_of(st.none(), st.none(), faults), max_size=4)


AGENTS = st.builds(
    lambda llm, stt, tts, vad, settings, slow: scripted_agent(
        language_model=FaultyLanguageModel(
            inner=ScriptedLanguageModel(script=["One two three. Four five.", "Six."], first_token_s=slow, gap_s=0.05),
            faults=llm,
        ),
        recognizer=FaultyRecognizer(
            inner=ScriptedRecognizer(script=["one", "", "two words", "one two three"], delay_s=slow, partials=True),
            faults=stt,
        ),
        synthesizer=FaultySynthesizer(inner=ScriptedSynthesizer(first_audio_s=slow / 2), faults=tts),
        voice_activity=FaultyVoiceActivity(inner=EnergyVoiceActivity(), faults=vad),
        settings=settings,
    ),
    plan(STREAM_FAULTS),
    plan(STREAM_FAULTS),
    plan(STREAM_FAULTS),
    plan(EAR_FAULTS),
    st.builds(
        Settings,
        welcome=st.sampled_from([None, "Hello there."]),
        apology=st.sampled_from([None, "Sorry."]),
        output=st.sampled_from([Output.AUDIO, Output.AUDIO, Output.TEXT]),
        stt_mode=st.sampled_from(SttMode),
        barge_in=st.sampled_from(BargeIn),
        # Faults may come thick: they shall not end the session, so that there is something to be checked at the end.
        limits=st.just(Limits(same_failures=1000)),
        timeouts=st.just(Timeouts(connect_s=2, stt_final_s=2, llm_first_s=2, llm_gap_s=2, tts_first_s=2, tts_gap_s=2)),
        idle_end_s=st.just(None),
        session_idle_s=st.just(None),
    ),
    st.sampled_from([0.0, 0.0, 0.3]),
)

MESSAGES: dict[str, ClientMessage] = {
    "text": TextReceived(text="typed words"),
    "commit": CommitRequested(),
    "interrupt": InterruptRequested(),
    "mute": MuteRequested(muted=True),
    "unmute": MuteRequested(muted=False),
    "start": ConversationStartRequested(),
    "end": ConversationEndRequested(),
    "played": PlaybackProgressed(played_s=0.7),
    "played all": PlaybackCompleted(),
}

ACTIONS = st.lists(
    st.tuples(
        st.one_of(
            st.tuples(st.just("speak"), st.sampled_from([0.1, 0.4, 1.0])),
            st.tuples(st.just("silence"), st.sampled_from([0.2, 1.0])),
            st.tuples(st.just("shout"), st.sampled_from([0.4, 1.0])),
            st.tuples(st.just("wait"), st.sampled_from([0.05, 0.5, 3.0])),
            st.tuples(
                st.sampled_from(["say", *MESSAGES]),
                st.just(0.0),
            ),
            st.tuples(st.just("reconnect"), st.sampled_from([0.0, 2.0])),
        ),
        st.sampled_from([0.0, 0.0, 0.1]),
    ).map(lambda pair: (*pair[0], pair[1])),
    max_size=25,
)


class Player:
    """A client that does what it is told, over as many links as it takes."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.client: MemoryClient = talk.client

    async def reconnect(self, pause_s: float) -> None:
        self.client.close()
        await trio.sleep(pause_s)
        client, link = memory_link()
        self.talk.nursery.start_soon(client.run)
        self.talk.nursery.start_soon(self.talk.session.attach, link)
        self.client = client

    async def play(self, actions: Sequence[tuple[str, float, float]]) -> None:
        for action, amount, pause in actions:
            try:
                await self._act(action, amount)
            except (LinkClosed, SessionError):
                if self.talk.session.ended is not None:
                    return
            await trio.sleep(pause)

    async def _act(self, action: str, amount: float) -> None:
        client = self.client
        match action:
            case "speak":
                await client.speak(tone(amount))
            case "shout":
                await client.speak(tone(amount, level_db=-5))
            case "silence":
                await client.speak(SILENCE[: int(amount * 32_000)])
            case "wait":
                await trio.sleep(amount)
            case "say":
                self.talk.session.say("Said by the embedder.")
            case "reconnect":
                await self.reconnect(amount)
            case _:
                await client.send(MESSAGES[action])


async def settled(talk: Talk, seconds: float) -> None:
    """Wait until it is the user's turn, or nobody's."""
    with trio.fail_after(seconds):
        while talk.session.conversation.state not in {S.LISTENING, S.IDLE} and talk.session.ended is None:
            await trio.sleep(0.1)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(agent=AGENTS, actions=ACTIONS)
def test_no_session_is_ever_stuck(agent: Agent, actions: list[tuple[str, float, float]]) -> None:
    async def main() -> None:
        async with talking(agent) as talk:
            player = Player(talk)
            await player.play(actions)
            if talk.session.ended is not None:
                return
            # From here on everything is healthy, as far as it has been planned.
            await player.reconnect(0.0)
            await settled(talk, 120)
            for engine in (agent.language_model, agent.recognizer, agent.synthesizer, agent.voice_activity):
                engine.faults = []
            await player.client.send(MuteRequested(muted=False))
            await player.client.send(ConversationEndRequested())
            await trio.sleep(0.1)
            await player.client.send(ConversationStartRequested())
            await player.client.wait_for(HearingReady)
            await settled(talk, 60)
            before = talk.session.conversation.turns
            await player.client.send(TextReceived(text="are you still there?"))
            ended = await player.client.wait_for(TurnEnded, where=lambda m: m.turn > before and m.reason is None)
            assert ended.heard
            await player.client.send(AudioIn(bytes(640)))

    trio.run(main, clock=MockClock(autojump_threshold=0))
