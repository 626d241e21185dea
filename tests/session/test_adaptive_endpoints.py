"""Waits that adapt, in whole sessions on virtual time: the same turns from a microphone, a burst and a recording."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import pytest
import trio
from session_kit import SILENCE, listening
from trio.testing import MockClock

from flare_actors.conversation.notices import TurnMetrics
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Endpointing
from flare_actors.ports import AudioIn, HeardAudio, Transcript
from flare_actors.providers.scripted import ScriptedRecognizer, tone
from flare_actors.testing import scripted_agent

DECODE_S = 0.07


class Decoding(ScriptedRecognizer):
    """Takes a moment in each pause to make out what was said so far: a word for each half second of voice."""

    async def _run(self, audio: AsyncIterator[HeardAudio], *, streaming: bool) -> AsyncGenerator[Transcript, None]:
        words = self.script[0].split(" ")
        voiced_s, pausing = -Settings().preroll_s, False
        async for piece in audio:
            if piece.silence_s == 0.0:
                voiced_s += len(piece.pcm) / 32_000
            paused, pausing = pausing, piece.silence_s >= 0.2
            if streaming and pausing and not paused:
                await trio.sleep(DECODE_S)
                yield Transcript(text=" ".join(words[: max(1, round(voiced_s / 0.5))]))
        yield Transcript(text=" ".join(words[: max(1, round(voiced_s / 0.5))]), final=True)


def silence(seconds: float) -> bytes:
    return bytes(2 * round(16_000 * seconds))


# "Send it to" ... "me." ... "Now." by how long each is voiced; pauses of 0.8 and 0.35 s.
SPEECH = silence(0.3) + tone(1.5) + silence(0.8) + tone(0.5) + silence(0.35) + tone(0.5) + SILENCE * 2
SCRIPT = ["Send it to me. Now. And more"]


def agent(endpointing: Endpointing = Endpointing.ADAPTIVE):
    return scripted_agent(recognizer=Decoding(script=SCRIPT), settings=Settings(endpointing=endpointing))


@pytest.mark.parametrize("burst", [False, True])
@pytest.mark.parametrize("realtime", [False, True])
async def test_turns_do_not_depend_on_how_fast_the_audio_comes(
    autojump_clock: MockClock, burst: bool, realtime: bool
) -> None:
    async with listening(agent(), realtime=realtime) as talk:
        if burst:
            for at in range(0, len(SPEECH), 20_000):  # less than the ear's backlog at a time
                await talk.client.send(AudioIn(SPEECH[at : at + 20_000]))
                await trio.sleep(0.625 if realtime else 0)
        else:
            await talk.client.speak(SPEECH)
        await talk.wait_turns(1)
        await trio.sleep(5)
    # The pause behind "to" is waited for, the one behind "me." is the end of a sentence.
    assert talk.said()[0] == "Send it to me."


async def test_a_fixed_wait_cuts_where_an_adaptive_one_does_not(autojump_clock: MockClock) -> None:
    async with listening(agent(Endpointing.FIXED)) as talk:
        await talk.client.speak(SPEECH)
        await talk.wait_turns(1)
    assert talk.said()[0] == "Send it to"


@pytest.mark.parametrize(("text", "wait_s"), [("Yes please.", 0.3), ("Yes please", 0.48), ("Yes to", 1.2)])
async def test_the_answer_comes_as_soon_as_the_words_suggest(
    autojump_clock: MockClock, text: str, wait_s: float
) -> None:
    settings = Settings()
    async with listening(scripted_agent(recognizer=Decoding(script=[text]), settings=settings)) as talk:
        await talk.client.speak(silence(0.3) + tone(1.0) + SILENCE * 2)
        metrics = await talk.client.wait_for(TurnMetrics)
        await talk.wait_turns(1)
    assert metrics.endpoint_wait_s == pytest.approx(wait_s, abs=0.04)
