"""The synthesizer's own logic, with an engine that only takes notes; no engine is needed."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation.phrases import speakable
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import Phrase, Synthesizer
from flare_actors.providers import hibari as module
from flare_actors.providers.hibari import MAX_PHONEMES, HibariSettings, HibariSynthesizer


class FakeEngine:
    """A second of tone per sentence, in a second of silence."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def phonemize(self, text: str) -> list[str]:
        if self.failure is not None:
            raise self.failure
        return [f"{each.strip()}." for each in text.split(".") if each.strip()]

    def from_phonemes(self, phonemes: str, speed: float = 1.0) -> np.ndarray:
        assert self.gate.wait(10)
        silence = np.zeros(24_000, np.float32)
        tone = 0.3 * np.sin(np.arange(24_000, dtype=np.float32)) if phonemes != "mute." else silence
        return np.concatenate([silence, tone, silence]).astype(np.float32)


@pytest.fixture
def engine(monkeypatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(module, "_load", lambda: fake)
    return fake


async def speak(synthesizer: HibariSynthesizer, *texts: str) -> list[tuple[int, int]]:
    async def phrases() -> AsyncGenerator[Phrase]:
        for index, text in enumerate(texts):
            yield Phrase(index=index, text=text)

    async with aclosing(phrases()) as words, synthesizer.synthesize(words, locale="en") as audio:
        return [(each.phrase, len(each.pcm) // 2) async for each in audio]


async def test_a_phrase_comes_in_pieces_of_a_fifth_of_a_second(engine):
    pieces = await speak(HibariSynthesizer(), "One.")

    assert [count for _, count in pieces[:-1]] == [4_800] * (len(pieces) - 1)
    assert sum(count for _, count in pieces) / 24_000 == pytest.approx(0.005 + 1 + 0.3, abs=0.001)


async def test_the_settings_say_how_much_silence_is_left(engine):
    settings = HibariSettings(pause_s=0.1, onset_s=0)

    pieces = await speak(HibariSynthesizer(settings), "One. Two.")

    assert sum(count for _, count in pieces) / 24_000 == pytest.approx(2 * 1.1, abs=0.001)


async def test_a_sentence_without_any_sound_gives_none(engine):
    assert await speak(HibariSynthesizer(), "mute.") == []


async def test_cancelling_speech_returns_at_once_and_its_thread_comes_home(engine):
    synthesizer = HibariSynthesizer()
    engine.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, synthesizer, "One.")
        with trio.fail_after(60):
            while synthesizer.limiter.borrowed_tokens == 0:  # the engine's own threads come first
                await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()

    assert synthesizer.limiter.borrowed_tokens == 1, "we did not wait for it"
    engine.gate.set()
    tokens = [object(), object()]
    for each in tokens:
        await synthesizer.limiter.acquire_on_behalf_of(each)


async def test_a_text_that_the_engine_falls_over_is_a_failure_without_the_text(engine):
    engine.failure = ValueError("invalid literal: 'CANARY'")

    with pytest.raises(ProviderError) as caught:
        await speak(HibariSynthesizer(), "CANARY")

    assert caught.value.stage == "tts"
    assert not caught.value.critical
    assert "CANARY" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_another_language_is_refused(engine):
    with pytest.raises(UnsupportedLocale, match="fr-FR"):
        async with HibariSynthesizer().synthesize(aiter_nothing(), locale="fr-FR"):
            pass


async def aiter_nothing() -> AsyncGenerator[Phrase]:
    return
    yield


@pytest.mark.needs("local")
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_no_text_at_all_makes_the_real_engine_fall_over(text):
    from hibari.g2p import G2P

    global _g2p  # noqa: PLW0603 # loading it takes longer than all examples
    _g2p = _g2p or G2P()
    if clean := speakable(text):
        assert isinstance(_g2p(unicodedata.normalize("NFKC", clean)), str)


_g2p = None


@given(st.text(alphabet="ab ", max_size=3_000))
def test_long_sentences_are_split_at_spaces_and_lose_nothing(sentence):
    pieces = list(module._split(sentence))

    assert all(0 < len(each) <= MAX_PHONEMES for each in pieces)
    assert "".join(pieces).replace(" ", "") == sentence.replace(" ", "")


def test_it_is_a_synthesizer():
    assert isinstance(HibariSynthesizer(), Synthesizer)
