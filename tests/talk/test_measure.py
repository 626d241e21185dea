from __future__ import annotations

import pytest

from flare_actors.providers.scripted import tone
from flare_actors.talk import Recording
from flare_actors.talk.measure import SpeechMap, first_audible

RATE = 16_000


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * RATE) * 2)


def speech(*parts: bytes) -> SpeechMap:
    return SpeechMap(Recording(sample_rate=RATE, pcm=b"".join(parts)))


def test_speech_ends_with_the_last_window_near_the_loudest():
    ends = speech(silence(0.5), tone(1.0), silence(0.5), tone(0.5), silence(1.0))
    assert ends.last_end(RATE * 4) == pytest.approx(2.5 * RATE, abs=320)
    assert ends.last_end(RATE * 2 - 1) == pytest.approx(1.5 * RATE, abs=320)


def test_before_any_speech_there_is_no_end():
    assert speech(silence(0.5), tone(1.0)).last_end(RATE // 4) is None


@pytest.mark.parametrize(("below_db", "counts"), [(34, True), (36, False)])
def test_what_counts_is_within_35_db_of_the_loudest(below_db, counts):
    ends = speech(tone(1.0, level_db=-10), tone(1.0, level_db=-10 - below_db))
    assert (ends.last_end(RATE * 2) == 2 * RATE) is counts


def test_silence_alone_holds_no_speech():
    assert not speech(silence(1.0))
    assert speech(silence(1.0)).last_end(RATE) is None


def test_an_odd_end_is_no_window_too_many():
    assert speech(tone(1.0), silence(0.013)).last_end(RATE * 2) == RATE


@pytest.mark.parametrize(("level", "index"), [(103, None), (104, 2), (-104, 2)])
def test_the_first_audible_sample_is_above_minus_50_dbfs(level, index):
    pcm = b"".join(each.to_bytes(2, "little", signed=True) for each in (0, 50, level, 0))
    assert first_audible(pcm) == index


def test_the_loudest_negative_sample_is_audible():
    assert first_audible((-32768).to_bytes(2, "little", signed=True)) == 0


def test_nothing_is_not_audible():
    assert first_audible(b"") is None
