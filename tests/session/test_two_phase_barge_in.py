"""Barge-in in two phases, whole: silent within a frame, gone on with at the very sample, or stopped for good."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from session_kit import SILENCE, Talk, listening
from trio.testing import MockClock

from flare_actors.actors.speaker import Speaker
from flare_actors.conversation.events import PlaybackStopped, SpeechStarted
from flare_actors.conversation.notices import PlaybackCleared, PlaybackPaused, PlaybackResumed, TurnEnded
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import BargeIn, Reason
from flare_actors.ports import AudioOut, ServerMessage
from flare_actors.providers.scripted import ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.testing import Room, scripted_agent, speechlike

LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen. Fifteen and so on."
LOUD = -10.0
"""Above the agent's own -20 dBFS, so that the echo guard lets it through."""
COUGH = tone(0.2, level_db=LOUD) + SILENCE


def agent_that_hears(*transcripts: str, partials: bool = True, **choices: object):
    return scripted_agent(
        recognizer=ScriptedRecognizer(script=["first", *transcripts], partials=partials, delay_s=0.05),
        answers=[LONG, "Yes."],
        settings=Settings(**choices),  # type: ignore[arg-type]
    )


def silent_between(talk: Talk) -> bool:
    """No audio came between standing still and going on (or the end)."""
    still = False
    for message in talk.client.received:
        if isinstance(message, PlaybackPaused):
            still = True
        elif isinstance(message, PlaybackResumed | PlaybackCleared | TurnEnded):
            still = False
        elif isinstance(message, AudioOut) and still:
            return False
    return True


async def answer(cough: bytes | None, **options: object) -> Talk:
    """One answer, with a noise a second into it, or without."""
    async with listening(agent_that_hears(), **options) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        if cough is not None:
            await talk.client.speak(cough)
        await talk.wait_turns(1)
    return talk


@pytest.mark.parametrize("choices", [{}, {"realtime": False}], ids=["a person", "a recording"])
async def test_a_cough_leaves_the_answer_as_it_was_to_the_last_byte(
    autojump_clock: MockClock, choices: dict[str, object]
) -> None:
    undisturbed = await answer(None, **choices)
    disturbed = await answer(COUGH, **choices)
    assert disturbed.client.audio(1) == undisturbed.client.audio(1)
    assert disturbed.heard() == undisturbed.heard() == [LONG]
    assert silent_between(disturbed)
    assert disturbed.client.all(PlaybackCleared) == []


async def test_the_output_stands_still_in_the_moment_in_which_speech_is_noticed(autojump_clock: MockClock) -> None:
    at: dict[str, float] = {}

    def note(message: ServerMessage) -> None:
        at.setdefault(type(message).__name__, trio.current_time())

    async with listening(agent_that_hears()) as talk:
        talk.client.listeners.append(note)
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        before = trio.current_time()
        await talk.client.speak(COUGH)
        await talk.wait_turns(1)
        speech = next(event for event in talk.log.all(SpeechStarted) if event.utterance == 2)
        zero = talk.session._tree.speaker._clock.trio_time(0.0)
    # Two chunks of 32 ms are heard before it is speech; then not a frame more.
    assert at["PlaybackPaused"] == pytest.approx(speech.at + zero, abs=1e-6)
    assert at["PlaybackPaused"] - before < 0.11
    # A cough is over when its silence is; then it goes on.
    assert at["PlaybackResumed"] - at["PlaybackPaused"] < 1.0


async def test_the_turn_takes_as_much_longer_as_it_stood_still(autojump_clock: MockClock) -> None:
    async def takes(cough: bytes | None) -> tuple[float, float]:
        times: dict[type, float] = {}
        async with listening(agent_that_hears()) as talk:
            talk.client.listeners.append(lambda message: times.setdefault(type(message), trio.current_time()))
            await talk.ask()
            await talk.wait_audio(1, 1.0)
            if cough is not None:
                await talk.client.speak(cough)
            await talk.wait_turns(1)
        still = times.get(PlaybackResumed, 0.0) - times.get(PlaybackPaused, 0.0)
        return times[TurnEnded] - times[AudioOut], still

    undisturbed, _ = await takes(None)
    disturbed, still = await takes(COUGH)
    assert still > 0.3
    assert disturbed - undisturbed == pytest.approx(still, abs=0.01)


async def test_a_word_interrupts_and_only_what_was_played_before_it_was_said_counts(autojump_clock: MockClock) -> None:
    agent = agent_that_hears("stop that now please")
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, 2.0)
        talk.nursery.start_soon(lambda: talk.ask_until_the_end(level=LOUD))
        await talk.client.wait_for(PlaybackPaused)
        await talk.client.wait_for(PlaybackCleared)
        await talk.wait_turns(2)
    ended = talk.client.all(TurnEnded)[0]
    assert ended.reason is Reason.BARGE_IN
    # Not a letter for the time that it stood still: it was at about 1.9 s of 15 characters a second.
    assert len(ended.heard) == pytest.approx(1.9 * 15, abs=5)
    assert talk.client.all(PlaybackResumed) == []
    assert silent_between(talk)
    assert talk.said() == ["first", "stop that now please"]


async def test_mhm_does_not_interrupt_and_the_answer_is_said_to_its_end(autojump_clock: MockClock) -> None:
    async with listening(agent_that_hears("mhm")) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await talk.ask(speech_s=0.6, level=LOUD)
        await talk.wait_turns(1)
        await trio.sleep(3)
    assert talk.heard() == [LONG]
    assert talk.said() == ["first", "mhm"]
    assert len(talk.client.all(PlaybackPaused)) == len(talk.client.all(PlaybackResumed)) == 1


async def test_yes_over_the_last_words_is_answered(autojump_clock: MockClock) -> None:
    agent = agent_that_hears("yes")
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_audio(1, len(LONG) / 15 - 0.3)
        await talk.ask(speech_s=0.3, level=LOUD)
        await talk.wait_turns(2)
    assert talk.heard() == [LONG, "Yes."]
    assert [message.content for message in agent.language_model.requests[-1][-2:]] == [LONG, "yes"]


async def test_who_cannot_stand_still_gets_nothing_more_to_play_and_loses_nothing(autojump_clock: MockClock) -> None:
    undisturbed = await answer(None, pauses_playback=False)
    disturbed = await answer(COUGH, pauses_playback=False)
    assert silent_between(disturbed)
    assert disturbed.client.audio(1) == undisturbed.client.audio(1)
    assert disturbed.heard() == [LONG]


async def test_of_a_client_that_cannot_stand_still_what_it_had_in_hand_counts_as_heard(
    autojump_clock: MockClock,
) -> None:
    async def played_s(*, pauses: bool) -> float:
        async with listening(agent_that_hears("stop that now please"), pauses_playback=pauses) as talk:
            await talk.ask()
            await talk.wait_audio(1, 2.0)
            talk.nursery.start_soon(lambda: talk.ask_until_the_end(level=LOUD))
            await talk.wait_turns(1)
        return talk.log.all(PlaybackStopped)[0].played_s

    still, ran_out = await played_s(pauses=True), await played_s(pauses=False)
    assert 0 < ran_out - still <= Speaker.LEAD_S


async def test_with_barge_in_off_nothing_stands_still(autojump_clock: MockClock) -> None:
    async with listening(agent_that_hears(barge_in=BargeIn.OFF)) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await talk.client.speak(COUGH)
        await talk.wait_turns(1)
    assert talk.client.all(PlaybackPaused) == []


async def test_a_client_that_goes_away_while_the_agent_stands_still_loses_that_turn(autojump_clock: MockClock) -> None:
    async with listening(agent_that_hears()) as talk:
        await talk.ask()
        await talk.wait_audio(1, 1.0)
        await talk.client.speak(tone(0.2, level_db=LOUD))
        await talk.client.wait_for(PlaybackPaused)
        talk.client.close()
        await trio.sleep(1)
        assert talk.session.conversation.turn is None
        assert not talk.session._tree.speaker.paused


class Voice:
    """Another stretch of speech for every phrase."""

    seed = 0

    def __call__(self, seconds: float, sample_rate: int) -> bytes:
        self.seed += 1
        return speechlike(seconds, sample_rate, level_db=-20.0, seed=self.seed)


async def in_a_room(cough: Callable[[Room], None] | None, *, echo_db: float) -> Talk:
    """One answer in a room with an echo."""
    from flare_actors.providers.scripted import EnergyVoiceActivity

    agent = scripted_agent(
        recognizer=ScriptedRecognizer(script=["first"], default="", partials=True),
        answers=[LONG],
        synthesizer=ScriptedSynthesizer(sound=Voice()),
        voice_activity=EnergyVoiceActivity(threshold_db=-85.0),
    )
    async with listening(agent) as talk:
        room = Room(talk.client, echo_db=echo_db, delay_s=0.16)
        talk.nursery.start_soon(room.run)
        room.say(speechlike(1.0, level_db=-20.0, seed=99))
        await talk.wait_audio(1, 3.0)
        if cough is not None:
            cough(room)
        await talk.wait_turns(1)
    return talk


@pytest.mark.parametrize("echo_db", [-20.0, -30.0])
async def test_after_a_cough_the_agents_own_echo_does_not_stop_it_again(
    autojump_clock: MockClock, echo_db: float
) -> None:
    talk = await in_a_room(lambda room: room.say(tone(0.22, level_db=-8.0)), echo_db=echo_db)
    assert len(talk.client.all(PlaybackPaused)) == len(talk.client.all(PlaybackResumed)) == 1
    assert talk.heard() == [LONG]
