"""What a client is told of words that may still change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.wire.openai_realtime.settled import Settled

WORDS = st.lists(st.sampled_from(["one", "two", "to", "One", "two,", "three"]), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("transcripts", "deltas", "rest"),
    [
        (["I", "I want", "I want to", "I want two"], ["", "", "I", " want"], " two teas"),
        (["I", "I", "I"], ["", "", "I"], " want two teas"),
        (["I won", "I want", "I want two", "I want two teas"], ["", "", "I", " want"], " two teas"),
        (["I want"] * 3 + ["I haven't"] * 3, ["", "", "I want", "", "", ""], " two teas"),
        (["hell"] * 3 + ["hello you"] * 3, ["", "", "hell", "", "", "o you"], ""),
        ([], [], "I want two teas"),
    ],
)
def test_words_are_told_once_three_transcripts_agree_on_them(transcripts, deltas, rest) -> None:
    settled = Settled()
    assert [settled.more(each) for each in transcripts] == deltas
    assert settled.rest("I want two teas") == rest


@given(st.lists(WORDS, max_size=8), WORDS)
def test_nothing_is_taken_back_and_the_end_follows_on_what_was_told(transcripts: list[str], final: str) -> None:
    settled, told = Settled(), ""
    for each in transcripts:
        told += settled.more(each)
        assert settled.told == told
    if final.startswith(told):
        assert told + settled.rest(final) == final
    else:
        assert settled.rest(final) == ""
