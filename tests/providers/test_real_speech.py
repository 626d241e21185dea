"""Real engines on real recordings of people."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest
import trio

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.ports import HeardAudio, Phrase, Recognizer, Synthesizer, Transcript
from flare_actors.providers import _moonshine_api

pytestmark = pytest.mark.needs("local")


async def said(recognizer: Recognizer, pieces: list[HeardAudio], mode: SttMode = SttMode.BATCH) -> list[Transcript]:
    async def audio() -> AsyncGenerator[HeardAudio]:
        for piece in pieces:
            yield piece
            await trio.lowlevel.checkpoint()

    async with recognizer.transcribe(audio(), locale="en", mode=mode) as transcripts:
        return [each async for each in transcripts]


async def spoken(synthesizer: Synthesizer, *texts: str) -> dict[int, bytes]:
    async def phrases() -> AsyncGenerator[Phrase]:
        for index, text in enumerate(texts):
            yield Phrase(index=index, text=text)
            await trio.lowlevel.checkpoint()

    parts: dict[int, bytes] = {}
    async with synthesizer.synthesize(phrases(), locale="en-GB") as audio:
        async for piece in audio:
            assert piece.pcm
            assert len(piece.pcm) % 2 == 0
            assert piece.phrase >= max(parts, default=0)
            parts[piece.phrase] = parts.get(piece.phrase, b"") + piece.pcm
    return parts


def floats(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768


# --- Hearing ---------------------------------------------------------------------------------------------------------------


async def test_a_person_is_understood_with_at_most_one_word_in_ten_wrong(moonshine, silero):
    from benchmarks.speech import REFERENCES, hear, recording, word_error_rate

    utterances = await hear(recording("two_cities.wav"), silero)
    heard = [(await said(moonshine, each))[-1].text for each in utterances]

    assert len(utterances) >= 6, "the long pauses make several utterances"
    assert word_error_rate(REFERENCES["two_cities.wav"], " ".join(heard)) <= 0.10


async def test_two_who_speak_at_once_are_each_understood(moonshine, silero):
    from benchmarks.speech import hear, recording, words

    one, other = (await hear(recording("two_cities.wav"), silero))[:2]
    alone = [words((await said(moonshine, each))[-1].text) for each in (one, other)]
    together: dict[int, list[list[str]]] = {0: [], 1: []}

    async def again(which: int, pieces: list[HeardAudio]) -> None:
        for _ in range(2):
            together[which].append(words((await said(moonshine, pieces, SttMode.STREAMING))[-1].text))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(again, 0, one)
        nursery.start_soon(again, 1, other)

    assert together == {0: [alone[0]] * 2, 1: [alone[1]] * 2}


async def test_an_utterance_without_sound_has_no_words(moonshine):
    for pcm in (b"", bytes(3200), bytes(64_000), np.random.default_rng(1).integers(-20, 20, 32_000, "<i2").tobytes()):
        (only,) = await said(moonshine, [HeardAudio(pcm=pcm)] if pcm else [])
        assert only == Transcript(text="", final=True)


async def test_a_real_decode_is_abandoned_at_once_and_its_thread_comes_home(moonshine):
    from benchmarks.speech import recording

    await moonshine.open()
    pcm = np.clip(recording("two_cities.wav")[: 16_000 * 15] * 32768, -32768, 32767).astype("<i2").tobytes()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(said, moonshine, [HeardAudio(pcm=pcm)])
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert moonshine.limiter.borrowed_tokens == 1
        nursery.cancel_scope.cancel()

    assert moonshine.limiter.borrowed_tokens == 1, "half a second of work was not waited for"
    for token in (first := object(), second := object()):
        await moonshine.limiter.acquire_on_behalf_of(token)
    for token in (first, second):
        moonshine.limiter.release_on_behalf_of(token)


def test_the_librarys_errors_are_the_providers():
    handle = _moonshine_api.Handle()
    handle.close()
    handle.close()

    with pytest.raises(ProviderError, match="Moonshine failed") as caught:
        handle.decode(np.full(16_000, 1_000, "<i2").tobytes())

    assert not caught.value.critical


def test_a_model_that_cannot_be_loaded_helps_nobody_later(monkeypatch, tmp_path):
    monkeypatch.setattr(_moonshine_api, "model_folder", lambda: tmp_path)

    with pytest.raises(ProviderError, match="cannot load its model") as caught:
        _moonshine_api.Handle()

    assert caught.value.critical


# --- Speaking --------------------------------------------------------------------------------------------------------------


async def test_what_is_spoken_can_be_understood_again(hibari, moonshine):
    import soxr

    from benchmarks.speech import word_error_rate

    text = "Paris is the capital city of France. She sells sea shells by the sea shore."
    pcm = (await spoken(hibari, text))[0]
    at_16_khz = soxr.resample(floats(pcm), hibari.sample_rate, moonshine.sample_rate)

    heard = (await said(moonshine, [HeardAudio(pcm=(at_16_khz * 32767).astype("<i2").tobytes())]))[-1].text

    assert word_error_rate(text.replace("sea shells", "seashells").replace("sea shore", "seashore"), heard) <= 0.1


async def test_speech_begins_with_the_first_sound_and_ends_soon_after_the_last(hibari):
    audible = 10 ** (-50 / 20)
    for text, pause_s in (("Hello there.", 0.3), ("Sure,", 0.15)):
        samples = np.abs(floats((await spoken(hibari, text))[0]))
        loud = np.flatnonzero(samples > audible)
        assert loud[0] / hibari.sample_rate <= 0.03, "the engine's own is 0.3 s of silence"
        # The engine's last sound fades out a little differently on every kind of processor; its own pause is 0.5 s.
        assert (len(samples) - loud[-1]) / hibari.sample_rate == pytest.approx(pause_s, abs=0.04)
        assert samples.max() > 0.1


async def test_phrases_come_in_order_and_those_without_words_give_nothing(hibari):
    parts = await spoken(hibari, "One.", " ", "...", "😀", "*", "Two.", "[three](http://example.com/3)")

    assert list(parts) == [0, 5, 6]


async def test_marks_for_the_eye_are_not_pronounced(hibari):
    plain, marked = await spoken(hibari, "That is it."), await spoken(hibari, "**That** is `it`.")

    assert len(marked[0]) == pytest.approx(len(plain[0]), rel=0.05)


async def test_a_run_on_text_is_spoken_in_bounded_pieces(hibari):
    from flare_actors.providers.hibari import MAX_PHONEMES, _pronounce

    await hibari.open()
    pieces = _pronounce(hibari._engine, "word and more " * 400 + "x" * 1000)

    assert max(map(len, pieces)) <= MAX_PHONEMES
    assert len(pieces) > 10


async def test_leaving_speech_early_is_quiet(hibari):
    async def phrases() -> AsyncGenerator[Phrase]:
        yield Phrase(index=0, text="This goes on for quite a while, longer than anybody listens.")
        await trio.sleep_forever()

    async with (
        aclosing(phrases()) as words,
        hibari.synthesize(words, locale="en") as audio,
    ):
        assert (await anext(audio)).phrase == 0
    assert hibari.limiter.borrowed_tokens == 0
