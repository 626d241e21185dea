"""Answers begun ahead, in whole sessions on virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import pytest
import trio
from session_kit import SILENCE, listening
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation.notices import ResponseTextDone, TurnMetrics, TurnStarted
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output
from flare_actors.ports import AudioOut, HeardAudio, Transcript
from flare_actors.providers.batch import Redecoding, with_partials
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.testing import scripted_agent


def quick_thinking(*, soft_endpoint_s: float | None = 0.2, output: Output = Output.AUDIO) -> Agent:
    """A recogniser that is sure of a pause at once, and a model that needs most of the wait for the endpoint."""
    return scripted_agent(
        recognizer=ScriptedRecognizer(script=["one two three", "four"], partials=True),
        language_model=ScriptedLanguageModel(script=["Yes. Indeed."], first_token_s=0.2),
        synthesizer=ScriptedSynthesizer(first_audio_s=0.05),
        settings=Settings(soft_endpoint_s=soft_endpoint_s, output=output),
    )


async def total_s(soft_endpoint_s: float | None) -> float:
    agent = quick_thinking(soft_endpoint_s=soft_endpoint_s)
    async with listening(agent) as talk:
        await talk.ask()
        metrics = await talk.client.wait_for(TurnMetrics)
        await talk.wait_turns(1)
    assert talk.heard() == ["Yes. Indeed."]
    assert metrics.total_s is not None
    return metrics.total_s


async def test_an_answer_begun_ahead_comes_with_the_endpoint(autojump_clock: MockClock) -> None:
    assert await total_s(None) == pytest.approx(0.48 + 0.2 + 0.05, abs=0.05)
    assert await total_s(0.2) == pytest.approx(0.48, abs=0.05)


class Decoder(ScriptedRecognizer):
    """An engine that needs a tenth of a second for all that it is given."""

    async def _run(self, audio: AsyncIterator[HeardAudio], *, streaming: bool) -> AsyncGenerator[Transcript, None]:
        del streaming
        async for _ in audio:
            pass
        await trio.sleep(0.1)
        yield Transcript(text="What time is it?", final=True)


@pytest.mark.parametrize(
    ("soft_s", "total_s"),
    [
        (0.06, 0.3),  # Decode, model and voice are done when the shortest wait is over.
        (0.2, 0.19 + 0.1 + 0.08 + 0.03),  # They begin so late that the wait is over first.
    ],
)
async def test_engines_that_need_their_time_have_it_within_the_shortest_wait(
    autojump_clock: MockClock, soft_s: float, total_s: float
) -> None:
    agent = scripted_agent(
        recognizer=with_partials(Decoder(), Redecoding(early_decode_s=soft_s)),
        language_model=ScriptedLanguageModel(script=["It is late."], first_token_s=0.08),
        synthesizer=ScriptedSynthesizer(first_audio_s=0.03),
        settings=Settings(soft_endpoint_s=soft_s),
    )
    async with listening(agent) as talk:
        await talk.ask()
        metrics = await talk.client.wait_for(TurnMetrics)
        await talk.wait_turns(1)
    assert metrics.total_s == pytest.approx(total_s, abs=0.02)


async def test_the_user_who_goes_on_hears_nothing_of_what_was_begun(autojump_clock: MockClock) -> None:
    agent = quick_thinking()
    async with listening(agent) as talk:
        await talk.client.speak(tone(1.0) + SILENCE[: 2 * 5_600] + tone(0.6) + SILENCE)
        await talk.wait_turns(1)
        statistics = talk.session.statistics()
    assert (statistics.speculated, statistics.released, statistics.wasted_replies) == (2, 1, 1)
    assert statistics.wasted_s == pytest.approx(0.15, abs=0.05)
    (metrics,) = talk.client.all(TurnMetrics)
    assert (metrics.wasted_replies, metrics.wasted_s) == (1, statistics.wasted_s)
    assert metrics.ahead_s is not None
    assert [each.turn for each in talk.client.all(TurnStarted)] == [2]
    assert {each.turn for each in talk.client.all(AudioOut)} == {2}
    assert [each.turn for each in talk.client.all(ResponseTextDone)] == [2]
    assert [each.text for each in talk.client.all(ResponseTextDone)] == ["Yes. Indeed."]


async def test_text_begun_ahead_is_told_when_it_is_released_and_whole(autojump_clock: MockClock) -> None:
    agent = quick_thinking(output=Output.TEXT)
    async with listening(agent) as talk:
        await talk.ask()
        await talk.wait_turns(1)
    (done,) = talk.client.all(ResponseTextDone)
    assert done.text == "Yes. Indeed."
    started = talk.client.received.index(talk.client.all(TurnStarted)[0])
    assert started < talk.client.received.index(done)


async def test_a_long_answer_is_generated_no_further_ahead_than_the_speaker_takes(autojump_clock: MockClock) -> None:
    agent = scripted_agent(
        recognizer=ScriptedRecognizer(script=["one"], partials=True),
        answers=["word " * 400 + "."],
        settings=Settings(endpoint_s=5.0, soft_endpoint_s=0.2),
    )
    async with listening(agent) as talk:
        await talk.client.speak(tone(1.0) + SILENCE * 4)
        assert talk.session.conversation.speculation is not None
        assert talk.session.conversation.speculation.turn.generated_s is None
        await talk.client.speak(SILENCE * 2)
        await talk.wait_turns(1)
    assert talk.heard() == [("word " * 400 + ".").strip()]


async def test_a_stop_that_finds_nothing_to_stop_keeps_back_no_answer_that_is_held(autojump_clock: MockClock) -> None:
    async with listening(quick_thinking()) as talk:
        talk.nursery.start_soon(talk.ask)
        while talk.session.conversation.speculation is None:
            await trio.sleep(0.01)
        talk.session.interrupt()
        await talk.wait_turns(1)
        assert talk.client.audio(1)
