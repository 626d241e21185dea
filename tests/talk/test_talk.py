from __future__ import annotations

from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from flare_actors.agent import Agent
from flare_actors.conversation.notices import (
    NothingHeard,
    PlaybackCleared,
    TranscriptReceived,
    TurnStarted,
    UserSpeechStarted,
    UserSpeechStopped,
)
from flare_actors.conversation.settings import Settings, Timeouts
from flare_actors.conversation.states import Reason, State, TurnKind
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import AudioOut, SpeechAudio
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
    tone,
)
from flare_actors.talk import Recording, TalkError, talk
from flare_actors.talk.listener import Listener

RATE = 16_000
ANSWERS = ("That was the first answer.", "And this is the second one.")


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * RATE) * 2)


def recording(*parts: bytes) -> Recording:
    return Recording(sample_rate=RATE, pcm=b"".join(parts))


TWO = recording(silence(0.5), tone(1.0), silence(1.0), tone(0.8), silence(0.1))


def agent(**changes) -> Agent:
    parts = {
        "language_model": ScriptedLanguageModel(script=ANSWERS, first_token_s=0.2, gap_s=0.05),
        "recognizer": ScriptedRecognizer(script=["one two", "three four"], delay_s=0.1),
        "synthesizer": ScriptedSynthesizer(first_audio_s=0.1),
        "voice_activity": EnergyVoiceActivity(),
    }
    return Agent(**parts | changes)


@pytest.mark.parametrize("realtime", [True, False])
async def test_every_utterance_is_answered_in_turn(autojump_clock, realtime):
    report = await talk(agent(), TWO, realtime=realtime)
    assert [(turn.transcript, turn.answer) for turn in report.turns] == [
        ("one two", ANSWERS[0]),
        ("three four", ANSWERS[1]),
    ]
    assert report.transcript == "one two three four"
    assert report.answer == " ".join(ANSWERS)
    once = [State.PROCESSING_SPEECH, State.PREPARING_RESPONSE, State.PLAYING_RESPONSE, State.LISTENING]
    assert list(report.states) == [State.IDLE, State.INITIALIZING, State.LISTENING, *once, *once, State.ENDED]


@pytest.mark.parametrize("realtime", [True, False])
async def test_latency_is_the_scripted_delays_and_its_shares_add_up(autojump_clock, realtime):
    report = await talk(agent(), TWO, realtime=realtime)
    for turn in report.turns:
        shares = attrs.asdict(turn.latency)
        total = shares.pop("total")
        assert sum(shares.values()) == pytest.approx(total)
        # A frame of 20 ms, a chunk of 32 ms and a rendezvous lie between the microphone and the ear's decision.
        assert 0.48 <= shares["endpoint_wait"] <= 0.48 + 0.08
        assert shares["stt"] == pytest.approx(0.1, abs=0.005)
        assert shares["first_token"] == pytest.approx(0.2, abs=0.005)
        # Five words until the first sentence is whole: four gaps.
        assert shares["first_phrase"] == pytest.approx(0.2, abs=0.06)
        assert shares["first_audio"] == pytest.approx(0.1, abs=0.005)


async def test_the_answers_audio_is_what_was_synthesised(autojump_clock):
    report = await talk(agent(), TWO)
    assert report.sample_rate == 16_000
    assert len(report.audio) / 2 / 16_000 == pytest.approx(report.answer_seconds)
    assert report.answer_seconds == pytest.approx(sum(map(len, ANSWERS)) / 15, abs=0.2)


async def test_leading_silence_of_an_answer_is_latency(autojump_clock):
    @attrs.define
    class Hesitant(ScriptedSynthesizer):
        async def _run(self, phrases):
            async for phrase in phrases:
                yield SpeechAudio(phrase=phrase.index, pcm=silence(0.3) + tone(0.5))

    patient = (await talk(agent(synthesizer=ScriptedSynthesizer()), TWO)).latency
    hesitant = (await talk(agent(synthesizer=Hesitant()), TWO)).latency
    assert hesitant.first_audio - patient.first_audio == pytest.approx(0.3, abs=0.01)


async def test_the_welcome_is_heard_out_and_is_no_answer(autojump_clock):
    report = await talk(agent(), TWO, settings=Settings(welcome="Welcome to this test."))
    assert [turn.transcript for turn in report.turns] == ["one two", "three four"]
    assert State.PLAYING_WELCOME in report.states
    assert report.answer_seconds == pytest.approx(sum(map(len, ANSWERS)) / 15, abs=0.2)


async def test_with_barge_in_the_recording_plays_on_and_interrupts(autojump_clock):
    recorded = recording(silence(0.2), tone(1.0), silence(2.0), tone(1.5, level_db=-6), silence(0.1))
    report = await talk(agent(), recorded, barge_in=True)
    first, second = report.turns
    assert first.stopped is Reason.BARGE_IN
    assert second.stopped is None
    assert 0 < first.answer_seconds < len(ANSWERS[0]) / 15
    assert len(report.audio) / 2 / 16_000 == pytest.approx(report.answer_seconds)


@pytest.mark.parametrize("realtime", [True, False])
async def test_a_recording_without_speech_gives_no_turn(autojump_clock, realtime):
    report = await talk(agent(), recording(silence(1.0)), realtime=realtime)
    assert report.turns == ()
    assert report.as_json() | {"states": []} == {
        "transcript": "",
        "answer": "",
        "answer_seconds": 0,
        "turns": [],
        "states": [],
        "latency": dict.fromkeys(("endpoint_wait", "stt", "first_token", "first_phrase", "first_audio", "total")),
    }


@pytest.mark.parametrize("realtime", [True, False])
async def test_a_wait_that_the_recordings_level_does_not_show_is_not_told(autojump_clock, realtime):
    noise = tone(2.0, level_db=-50)  # No voice to the ear, but within 35 dB of the voice.
    report = await talk(agent(), recording(tone(1.0), noise), realtime=realtime)
    assert (report.latency.endpoint_wait, report.latency.total) == (None, None)
    assert report.latency.first_token == pytest.approx(0.2, abs=0.005)
    told = report.as_json()["turns"][0]["latency"]
    assert (told["endpoint_wait"], told["total"]) == (None, None)


@pytest.mark.parametrize("realtime", [True, False])
async def test_what_is_too_short_or_has_no_words_does_not_hold_the_recording_up(autojump_clock, realtime):
    recorded = recording(silence(0.2), tone(0.1), silence(1), tone(1.0), silence(1), tone(1.0))
    report = await talk(agent(recognizer=ScriptedRecognizer(script=["", "hello there"])), recorded, realtime=realtime)
    assert [turn.transcript for turn in report.turns] == ["hello there"]


@pytest.mark.parametrize("realtime", [True, False])
async def test_speech_to_the_very_end_is_answered(autojump_clock, realtime):
    report = await talk(agent(), recording(tone(1.0)), realtime=realtime)
    assert [turn.transcript for turn in report.turns] == ["one two"]


async def test_a_failed_answer_does_not_hold_the_recording_up(autojump_clock):
    class Moody(ScriptedLanguageModel):
        @asynccontextmanager
        async def generate(self, messages, *, locale):
            if not self.requests:
                self.requests.append(tuple(messages))
                raise ProviderError("llm", "in a bad mood")
            async with super().generate(messages, locale=locale) as stream:
                yield stream

    report = await talk(agent(language_model=Moody(script=ANSWERS)), TWO)
    assert [turn.answer for turn in report.turns if turn.answer] == [ANSWERS[1]]
    assert report.transcript == "one two three four"


async def test_a_session_that_ends_early_is_told_with_its_reason(autojump_clock):
    class Broken(ScriptedLanguageModel):
        @asynccontextmanager
        async def generate(self, messages, *, locale):
            raise ProviderError("llm", "no such key", critical=True)
            yield

    with pytest.raises(TalkError, match=r"ended early \(critical_error\)"):
        await talk(agent(language_model=Broken()), TWO)


async def test_a_locale_that_an_engine_does_not_know_is_told_before_anything_is_said(autojump_clock):
    with pytest.RaisesGroup(UnsupportedLocale, allow_unwrapped=True, flatten_subgroups=True):
        await talk(agent(recognizer=ScriptedRecognizer(locales=("en",))), TWO, settings=Settings(locale="sv-SE"))


@pytest.mark.parametrize("realtime", [True, False])
async def test_a_session_without_a_sign_of_life_is_given_up(autojump_clock, realtime):
    class Endless(ScriptedLanguageModel):
        async def _run(self, tokens, max_tokens):
            del tokens, max_tokens
            await trio.sleep_forever()
            yield

    patient = Settings(timeouts=Timeouts(llm_first_s=9_000, backstop_s=9_000))
    with pytest.raises(TalkError, match="no sign of life"):
        await talk(agent(language_model=Endless()), TWO, settings=patient, realtime=realtime)


async def test_cancelling_a_talk_leaves_nothing(autojump_clock):
    with trio.move_on_after(1.7) as scope:
        await talk(agent(), TWO)
    assert scope.cancelled_caught


async def test_whoever_watches_sees_every_notice(autojump_clock):
    seen = []
    await talk(agent(), TWO, watch=seen.append)
    assert [notice.text for notice in seen if isinstance(notice, TranscriptReceived) and notice.final] == [
        "one two",
        "three four",
    ]


# --- The loudspeaker -----------------------------------------------------------------------------------------------------


@attrs.define
class Client:
    now: float = 0.0
    ended: float | None = 0.0

    def listener(self) -> Listener:
        return Listener(sample_rate=RATE, now=lambda: self.now, speech_ended=lambda: self.ended, watch=lambda _: None)


def test_what_was_not_played_when_it_was_cleared_was_not_heard():
    client = Client()
    listener = client.listener()
    listener.take(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
    listener.take(AudioOut(1, tone(0.5)))
    listener.take(AudioOut(1, tone(0.5)))
    client.now = 0.75
    listener.take(PlaybackCleared(turn=1, reason=Reason.BARGE_IN))
    assert listener.turns()[0].answer_seconds == pytest.approx(0.75)


def test_what_leads_the_first_sound_within_a_frame_is_waited_for():
    client = Client(now=0.5)
    listener = client.listener()
    listener.take(UserSpeechStopped(utterance=1, speech_s=0.5))
    listener.take(TranscriptReceived(utterance=1, text="hello", final=True))
    listener.take(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
    client.now = 1.0
    listener.take(AudioOut(1, silence(0.25) + tone(0.5)))
    assert listener.turns()[0].latency.total == pytest.approx(1.25, abs=0.001)


def test_an_underrun_is_a_gap_and_not_heard_audio():
    client = Client()
    listener = client.listener()
    listener.take(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
    listener.take(AudioOut(1, tone(0.5)))
    client.now = 2.0
    listener.take(AudioOut(1, tone(0.5)))
    client.now = 2.1
    listener.take(PlaybackCleared(turn=1, reason=Reason.BARGE_IN))
    assert listener.turns()[0].answer_seconds == pytest.approx(0.6)


def test_an_utterance_without_words_leaves_no_mark_on_the_next_turn():
    client = Client()
    listener = client.listener()
    for start, text in ((0.0, ""), (5.0, "hello")):
        client.now, client.ended = start + 1, start + 0.5
        listener.take(UserSpeechStarted(utterance=1))
        listener.take(UserSpeechStopped(utterance=1, speech_s=0.5))
        listener.take(TranscriptReceived(utterance=1, text=text, final=True))
        if not text:
            listener.take(NothingHeard(utterance=1))
    listener.take(TurnStarted(turn=1, kind=TurnKind.RESPONSE))
    client.now = 7.0
    listener.take(AudioOut(1, tone(0.5)))
    (turn,) = listener.turns()
    assert turn.latency.endpoint_wait == pytest.approx(0.5)
    assert turn.latency.total == pytest.approx(1.5, abs=0.01)
