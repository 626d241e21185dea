"""When an utterance begins, counts and ends: arithmetic on chunks of 32 ms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation import Settings
from flare_actors.conversation.endpointing import Heard, UtteranceDetector
from flare_actors.conversation.states import TurnDetection

CHUNK_S = 0.032
VOICE, HUM, QUIET = 0.9, 0.4, 0.05
CHUNKS = st.lists(st.sampled_from([VOICE, VOICE, HUM, QUIET]), max_size=120)


def detector(**choices: float) -> UtteranceDetector:
    return UtteranceDetector(Settings(**choices), CHUNK_S)  # type: ignore[arg-type]


def hears(ear: UtteranceDetector, *probabilities: float) -> list[tuple[int, Heard]]:
    """What changed, each with the number of the chunk that changed it."""
    return [(n, change) for n, chunk in enumerate(probabilities, 1) for change in ear.feed(chunk)]


@given(CHUNKS, st.sampled_from([0.0, 0.1, 0.25]), st.sampled_from([0.1, 0.48]))
def test_every_utterance_starts_once_counts_at_most_once_and_stops_once(
    chunks: list[float], min_speech_s: float, endpoint_s: float
) -> None:
    ear = detector(min_speech_s=min_speech_s, endpoint_s=endpoint_s, soft_endpoint_s=0.2, max_utterance_s=1.0)
    changes = [change for _, change in hears(ear, *chunks)] + list(ear.stop())
    while changes:
        assert changes.pop(0) is Heard.STARTED
        middle = changes[: changes.index(Heard.STOPPED)]
        del changes[: len(middle) + 1]
        assert set(middle) <= {Heard.ENOUGH, Heard.CONFIRMED, Heard.OVERDUE}
        assert len(set(middle)) == len(middle)
    assert not ear.speaking


@given(CHUNKS)
def test_an_utterance_is_enough_exactly_when_it_is_not_too_short(chunks: list[float]) -> None:
    ear, enough = detector(), False
    for chunk in chunks:
        for change in ear.feed(chunk):
            if change is Heard.STARTED:
                enough = False
            enough = enough or change is Heard.ENOUGH
            if change is Heard.STOPPED:
                assert enough == (not ear.too_short)


@given(CHUNKS)
def test_no_utterance_is_longer_than_the_longest(chunks: list[float]) -> None:
    ear, length = detector(max_utterance_s=0.5), 0
    for chunk in chunks:
        ear.feed(chunk)
        length = length + 1 if ear.speaking else 0
        assert length * CHUNK_S <= 0.5 + CHUNK_S


def test_a_knock_is_over_before_it_is_speech() -> None:
    assert hears(detector(), *([VOICE, QUIET, QUIET] * 20)) == []


def test_voice_that_lasts_starts_counts_and_confirms_in_time() -> None:
    assert hears(detector(min_speech_s=0.25, interruption_min_s=0.3), *[VOICE] * 15) == [
        (2, Heard.STARTED),
        (8, Heard.ENOUGH),  # 0.256 s
        (10, Heard.CONFIRMED),  # 0.32 s
    ]


def test_voice_that_goes_on_and_on_is_told_once_more() -> None:
    assert hears(detector(interruption_max_wait_s=0.8), *[VOICE] * 40)[-1] == (25, Heard.OVERDUE)


def test_the_longest_wait_for_a_word_is_never_shorter_than_an_interruption() -> None:
    ear = on_the_edge(min_speech_s=0.0, interruption_min_s=0.5, interruption_max_wait_s=0.1)
    assert hears(ear, *[VOICE] * 12)[2:] == [(4, Heard.CONFIRMED), (4, Heard.OVERDUE)]


def test_an_utterance_ends_after_its_silence_and_not_a_chunk_earlier() -> None:
    ear = detector(endpoint_s=0.48)
    assert hears(ear, *[VOICE] * 10, *[QUIET] * 14)[-1] != (24, Heard.STOPPED)
    assert ear.speaking
    assert ear.feed(QUIET) == (Heard.STOPPED,)  # 15 chunks of 32 ms.
    assert ear.silence_s == pytest.approx(0.48)
    assert ear.speech_s == pytest.approx(0.32)


def test_voice_trails_off_at_a_lower_threshold_than_it_begins_at() -> None:
    assert hears(detector(), *[HUM] * 50) == []
    ear = detector()
    hears(ear, VOICE, VOICE, *[HUM] * 50)
    assert ear.speaking
    assert ear.speech_s == pytest.approx(52 * CHUNK_S)


def test_what_may_be_echo_is_no_voice() -> None:
    ear = detector()
    assert not any(ear.feed(VOICE, credible=False) for _ in range(50))
    hears(ear, VOICE, VOICE)
    assert [ear.feed(VOICE, credible=False) for _ in range(15)][-1] == (Heard.STOPPED,)


def test_the_pause_before_an_utterance_is_all_of_the_silence_since_the_one_before() -> None:
    ear = detector(endpoint_s=10 * CHUNK_S)
    hears(ear, *[VOICE] * 20, *[QUIET] * 10)
    assert not ear.speaking
    hears(ear, *[QUIET] * 5, *[VOICE] * 10)
    assert ear.pause_s == pytest.approx(15 * CHUNK_S)


def test_voice_after_a_pause_goes_on_with_the_utterance() -> None:
    ear = detector(soft_endpoint_s=2 * CHUNK_S, endpoint_s=10 * CHUNK_S)
    assert hears(ear, *[VOICE] * 20, *[QUIET] * 4)[-1] == (22, Heard.PAUSED)
    assert ear.paused
    assert hears(ear, VOICE) == [(1, Heard.RESUMED)]
    assert not ear.paused
    assert ear.pause_s == pytest.approx(4 * CHUNK_S)


def test_stopping_is_harmless_when_nobody_speaks() -> None:
    ear = detector()
    assert ear.stop() == ()
    hears(ear, VOICE, VOICE)
    assert ear.stop() == (Heard.STOPPED,)
    assert ear.stop() == ()
    assert hears(ear, VOICE) == []  # A new utterance has its own onset.


# --- On the very edge. Chunks of an eighth of a second add up exactly. ------------------------------------------------------


def on_the_edge(**choices: float) -> UtteranceDetector:
    return UtteranceDetector(Settings(**choices), 0.125)  # type: ignore[arg-type]


def test_what_is_reached_exactly_is_told_once() -> None:
    ear = on_the_edge(min_speech_s=0.25, interruption_min_s=0.375)
    assert hears(ear, *[VOICE] * 5) == [(2, Heard.STARTED), (2, Heard.ENOUGH), (3, Heard.CONFIRMED)]


def test_where_nothing_is_asked_for_the_first_chunk_is_enough_and_it_is_told_once() -> None:
    ear = on_the_edge(min_speech_s=0.0, interruption_min_s=0.0, interruption_max_wait_s=9.0)
    assert hears(ear, *[VOICE] * 12) == [(2, Heard.STARTED), (2, Heard.ENOUGH), (2, Heard.CONFIRMED)]


def test_an_endpoint_that_is_reached_exactly_is_one() -> None:
    # Three chunks of silence are 0.375 s: 0.4375 s less half a chunk.
    ear = on_the_edge(endpoint_s=0.4375, soft_endpoint_s=None)  # type: ignore[arg-type]
    assert hears(ear, VOICE, VOICE, QUIET, QUIET, QUIET)[-1] == (5, Heard.STOPPED)


def test_a_soft_endpoint_that_is_reached_exactly_is_one_and_takes_a_chunk_at_least() -> None:
    ear = on_the_edge(endpoint_s=1.0, soft_endpoint_s=0.3125)
    assert hears(ear, VOICE, VOICE, QUIET, QUIET)[-1] == (4, Heard.PAUSED)
    ear = on_the_edge(endpoint_s=1.0, soft_endpoint_s=0.01)
    assert hears(ear, VOICE, VOICE, VOICE, QUIET)[-1] == (4, Heard.PAUSED)


def test_the_longest_utterance_is_reached_exactly() -> None:
    ear = on_the_edge(max_utterance_s=0.5, soft_endpoint_s=None)  # type: ignore[arg-type]
    assert hears(ear, *[VOICE] * 6)[-1] == (6, Heard.STOPPED)


def test_the_threshold_of_voice_that_goes_on_is_never_nothing() -> None:
    ear = on_the_edge(vad_threshold=0.1, endpoint_s=0.25, soft_endpoint_s=None)  # type: ignore[arg-type]
    assert [change for _, change in hears(ear, VOICE, VOICE, *[0.011] * 8)] == [
        Heard.STARTED,
        Heard.ENOUGH,
        Heard.CONFIRMED,
        Heard.OVERDUE,
    ]
    assert hears(ear, 0.009, 0.009)[-1][1] is Heard.STOPPED


def test_who_is_stopped_begins_anew() -> None:
    ear = on_the_edge()
    assert ear.stop() == ()
    hears(ear, VOICE, VOICE, QUIET, QUIET)
    assert ear.stop() == (Heard.STOPPED,)
    assert not ear.speaking
    # One chunk is a knock again, and the silence of before does not count.
    assert hears(ear, VOICE) == []
    assert hears(ear, VOICE)[0] == (1, Heard.STARTED)
    assert (ear.speech_s, ear.silence_s) == (0.25, 0.0)


def test_an_ear_that_has_heard_nothing_knows_of_nothing() -> None:
    ear = on_the_edge(endpoint_s=0.5)
    assert (ear.speaking, ear.paused, ear.overdue, ear.too_short) == (False, False, False, True)
    assert (ear.speech_s, ear.silence_s, ear.pauses, ear.pause_s, ear.wait_s) == (0.0, 0.0, 0, None, 0.5)


def test_each_utterance_counts_its_own_pauses() -> None:
    ear = on_the_edge(soft_endpoint_s=0.25, endpoint_s=1.0)
    hears(ear, VOICE, VOICE, QUIET, QUIET, VOICE)
    assert ear.pauses == 1
    hears(ear, QUIET, QUIET)
    assert ear.pauses == 2
    assert hears(ear, *[QUIET] * 8)[-1][1] is Heard.STOPPED
    assert not ear.overdue
    hears(ear, VOICE, VOICE)
    assert ear.pauses == 0


def test_what_has_just_enough_voice_is_not_too_short() -> None:
    ear = on_the_edge(min_speech_s=0.375)
    hears(ear, VOICE, VOICE)
    assert ear.too_short
    hears(ear, VOICE)
    assert not ear.too_short


def test_an_ear_that_forgets_has_stopped_and_knows_of_no_pause_before() -> None:
    ear = on_the_edge()
    hears(ear, *[VOICE] * 4)
    ear.forget()
    assert not ear.speaking
    hears(ear, *[VOICE] * 4)
    assert ear.pause_s is None


def test_where_only_a_commit_ends_an_utterance_silence_is_not_told_of() -> None:
    ear = on_the_edge(turn_detection=TurnDetection.MANUAL, endpoint_s=0.5, soft_endpoint_s=0.25)  # type: ignore[arg-type]
    hears(ear, VOICE, VOICE, VOICE)
    assert hears(ear, *[QUIET] * 20, VOICE) == []
    assert (ear.speaking, ear.pauses) == (True, 0)


def test_voice_begins_at_just_its_threshold_and_ends_just_below_the_lower_one() -> None:
    ear = on_the_edge(vad_threshold=0.5)
    assert hears(ear, 0.5, 0.5)[0] == (2, Heard.STARTED)
    ear.feed(0.36)
    assert ear.silence_s == 0.0
    ear.feed(0.34)
    assert ear.silence_s == 0.125
