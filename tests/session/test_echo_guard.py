"""The agent never interrupts itself: what it says comes back from the loudspeaker, and is not the user.

The loudspeaker and the microphone share a room. The voice activity detection is set so low that the echo would always
count as speech, so that nothing but the guard stands between the agent and itself.
"""

from __future__ import annotations

import itertools
import wave
from pathlib import Path

import pytest
import trio
from session_kit import Talk, listening
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.audio import Resampler, level_db
from flare_actors.conversation.events import ConversationStartRequested, SpeechConfirmed, TextReceived
from flare_actors.conversation.notices import PlaybackCleared, PlaybackPaused, TurnEnded
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import BargeIn, Reason
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import EnergyVoiceActivity, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.session import run_session
from flare_actors.testing import Room, memory_link, scripted_agent, speechlike

AGENT_DB = -20.0
ECHOES_DB = (-20.0, -30.0, -40.0)
DELAYS_S = (0.05, 0.16, 0.3)
ROOMS = list(itertools.product(ECHOES_DB, DELAYS_S))
ANSWERS = 7  # in each of nine rooms: 21 for every loudness of the echo
LONG = "This answer takes about five seconds to say, and holds no news, but that is not its job at all."


class Voice:
    """Another stretch of speech for every phrase."""

    def __init__(self) -> None:
        self.seed = 0

    def __call__(self, seconds: float, sample_rate: int) -> bytes:
        self.seed += 1
        return speechlike(seconds, sample_rate, level_db=AGENT_DB, seed=self.seed)


def talkative(barge_in: BargeIn = BargeIn.GUARDED) -> Agent:
    return scripted_agent(
        answers=[LONG],
        recognizer=ScriptedRecognizer(default=""),  # so that the next answer waits for the test
        synthesizer=ScriptedSynthesizer(sound=Voice()),
        voice_activity=EnergyVoiceActivity(threshold_db=-85.0),
        settings=Settings(barge_in=barge_in, idle_end_s=None),
    )


async def answers_in(talk: Talk, count: int) -> int:
    """Have so many answers given; how many were not said to their end?"""
    for turn in range(1, count + 1):
        await talk.client.send(TextReceived(text="go on"))
        await talk.client.wait_for(TurnEnded, where=lambda m, turn=turn: m.turn >= turn)
        await trio.sleep(1.5)
    return sum(ended.reason is not None for ended in talk.client.all(TurnEnded))


@pytest.mark.no_cover  # see conftest.py
@pytest.mark.parametrize(("echo_db", "delay_s"), ROOMS)
async def test_no_answer_is_interrupted_by_its_own_echo(
    autojump_clock: MockClock, echo_db: float, delay_s: float
) -> None:
    async with listening(talkative()) as talk:
        room = Room(talk.client, echo_db=echo_db, delay_s=delay_s)
        talk.nursery.start_soon(room.run)
        assert await answers_in(talk, ANSWERS) == 0
        assert talk.log.all(SpeechConfirmed) == []
    assert talk.client.all(PlaybackCleared) == []


async def test_without_the_guard_every_answer_would_stop_again_and_again(autojump_clock: MockClock) -> None:
    async with listening(talkative(BargeIn.FULL)) as talk:
        room = Room(talk.client, echo_db=-40.0, delay_s=0.16)
        talk.nursery.start_soon(room.run)
        await answers_in(talk, 3)
    assert {paused.turn for paused in talk.client.all(PlaybackPaused)} == {1, 2, 3}


@pytest.mark.parametrize(("echo_db", "delay_s"), ROOMS)
async def test_who_is_ten_decibels_louder_than_the_echo_interrupts_every_time(
    autojump_clock: MockClock, echo_db: float, delay_s: float
) -> None:
    async with listening(talkative()) as talk:
        room = Room(talk.client, echo_db=echo_db, delay_s=delay_s)
        talk.nursery.start_soon(room.run)
        for turn in range(1, ANSWERS + 1):
            await talk.client.send(TextReceived(text="go on"))
            await talk.client.wait_for(AudioOut, where=lambda m, turn=turn: m.turn == turn)
            await trio.sleep(1.2 + 0.2 * turn)
            room.say(speechlike(2.5, level_db=AGENT_DB + echo_db + 10, seed=1000 + turn))
            ended = await talk.client.wait_for(TurnEnded, where=lambda m, turn=turn: m.turn == turn)
            assert ended.reason is Reason.BARGE_IN
            await room.wait_said()
            await trio.sleep(1.5)


async def test_who_speaks_as_loud_as_people_do_interrupts_within_half_a_second(autojump_clock: MockClock) -> None:
    async with listening(talkative()) as talk:
        room = Room(talk.client, echo_db=-30.0, delay_s=0.16)
        talk.nursery.start_soon(room.run)
        for turn, start_s in ((1, 0.3), (2, 1.0), (3, 2.5)):  # even before anything is known of the echo
            await talk.client.send(TextReceived(text="go on"))
            await talk.client.wait_for(AudioOut, where=lambda m, turn=turn: m.turn == turn)
            await trio.sleep(start_s)
            before = trio.current_time()
            room.say(speechlike(2.0, level_db=-22.0, seed=turn))
            await talk.client.wait_for(PlaybackCleared, where=lambda m, turn=turn: m.turn == turn)
            assert trio.current_time() - before < 0.75
            await room.wait_said()
            await trio.sleep(1.5)


async def test_an_echo_that_grows_louder_between_two_answers_interrupts_neither(autojump_clock: MockClock) -> None:
    async with listening(talkative()) as talk:
        room = Room(talk.client, echo_db=-45.0, delay_s=0.16)
        talk.nursery.start_soon(room.run)
        assert await answers_in(talk, 2) == 0
        room.set_echo(-22.0)  # the headset was unplugged
        for turn in (3, 4):
            await talk.client.send(TextReceived(text="go on"))
            ended = await talk.client.wait_for(TurnEnded, where=lambda m, turn=turn: m.turn == turn)
            assert ended.reason is None
            await trio.sleep(1.5)


def recording(name: str) -> bytes:
    """A recording of a human, at 16 kHz and the agent's level."""
    import moonshine_voice
    import numpy as np

    path = Path(moonshine_voice.__file__).parent / "assets" / f"{name}.wav"
    with wave.open(str(path)) as wav:
        pcm = wav.readframes(wav.getnframes())
        if wav.getnchannels() == 2:
            pcm = np.frombuffer(pcm, dtype="<i2")[::2].tobytes()
        pcm = Resampler(wav.getframerate(), 16_000, quality="HQ").feed(pcm, last=True)
    samples = np.frombuffer(pcm, dtype="<i2") * 10 ** ((AGENT_DB - level_db(pcm)) / 20)
    return bytes(np.clip(samples, -32768, 32767).astype("<i2").tobytes())


@pytest.mark.needs("local")
@pytest.mark.parametrize("echo_db", ECHOES_DB)
async def test_with_real_voices_it_is_the_same(autojump_clock: MockClock, echo_db: float) -> None:
    agent_voice, user_voice = recording("two_cities"), recording("beckett")
    stretches = itertools.count()

    def sound(seconds: float, sample_rate: int) -> bytes:
        start = next(stretches) * 70_000 % (len(agent_voice) - 6 * 32_000)
        return agent_voice[start : start + round(seconds * sample_rate) * 2]

    agent = scripted_agent(
        answers=[LONG],
        recognizer=ScriptedRecognizer(default=""),
        synthesizer=ScriptedSynthesizer(sound=sound),
        voice_activity=EnergyVoiceActivity(threshold_db=-85.0),
        settings=Settings(idle_end_s=None),
    )
    import numpy as np

    async with listening(agent) as talk:
        room = Room(talk.client, echo_db=echo_db, delay_s=0.16)
        talk.nursery.start_soon(room.run)
        assert await answers_in(talk, 4) == 0
        for turn in range(5, 9):
            await talk.client.send(TextReceived(text="go on"))
            await talk.client.wait_for(AudioOut, where=lambda m, turn=turn: m.turn == turn)
            await trio.sleep(1.8)
            words = np.frombuffer(user_voice[turn * 32_000 : (turn + 2) * 32_000], dtype="<i2")
            room.say(bytes((words * 10 ** ((echo_db + 10) / 20)).astype("<i2").tobytes()))
            ended = await talk.client.wait_for(TurnEnded, where=lambda m, turn=turn: m.turn == turn)
            assert ended.reason is Reason.BARGE_IN
            await room.wait_said()
            await trio.sleep(1.5)


async def test_a_recording_at_full_speed_is_no_echo_however_soft(autojump_clock: MockClock) -> None:
    agent = scripted_agent(voice_activity=EnergyVoiceActivity(threshold_db=-60.0))
    client, link = memory_link(realtime=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(run_session, link, agent)
        await client.send(ConversationStartRequested())
        for turn in (1, 2):
            await client.speak(tone(1.0, level_db=-50.0), paced=False)
            await client.speak(bytes(2 * 16_000), paced=False)
            await client.wait_for(TurnEnded, count=turn)
        client.close()
    assert [notice.reason for notice in client.all(TurnEnded)] == [None, None]
