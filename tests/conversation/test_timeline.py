"""The latency waterfall: shares that add up."""

from __future__ import annotations

import itertools

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation.model import Marks, Waste
from flare_actors.conversation.timeline import waterfall

MARKS = st.builds(Marks, **{field.name: st.none() | st.floats(0, 1000) for field in attrs.fields(Marks)})


def shares(marks: Marks) -> list[float | None]:
    m = waterfall(1, marks, Waste())
    return [m.endpoint_wait_s, m.stt_s, m.first_token_s, m.first_phrase_s, m.first_audio_s]


@given(MARKS)
def test_shares_are_never_negative_and_add_up_to_the_total(marks: Marks) -> None:
    total = waterfall(1, marks, Waste()).total_s
    assert all(share is None or share >= 0 for share in shares(marks))
    if total is not None:
        assert sum(filter(None, shares(marks))) == pytest.approx(total)
        assert total >= 0
    assert (total is None) == (marks.first_audio is None)


@given(st.lists(st.floats(0, 1000), min_size=6, max_size=6).map(sorted))
def test_marks_in_order_give_each_stage_its_own_time(at: list[float]) -> None:
    names = [field.name for field in attrs.fields(Marks) if field.name != "begun"]
    marks = Marks(**dict(zip(names, at, strict=True)))
    assert shares(marks) == pytest.approx([later - earlier for earlier, later in itertools.pairwise(at)])
    assert waterfall(1, marks, Waste()).total_s == pytest.approx(at[-1] - at[0])


def test_a_stage_that_took_no_part_leaves_its_time_to_the_next() -> None:
    metrics = waterfall(7, Marks(asked=10.0, first_phrase=10.5, first_audio=10.7), Waste())
    assert metrics.turn == 7
    assert (metrics.endpoint_wait_s, metrics.stt_s, metrics.first_token_s) == (None, None, None)
    assert metrics.first_phrase_s == pytest.approx(0.5)
    assert metrics.first_audio_s == pytest.approx(0.2)
    assert metrics.total_s == pytest.approx(0.7)


def test_an_answer_begun_ahead_tells_by_how_much_and_what_was_begun_in_vain() -> None:
    metrics = waterfall(1, Marks(endpoint=2.0, begun=1.75), Waste(replies=2, work_s=0.5))
    assert metrics.ahead_s == pytest.approx(0.25)
    assert (metrics.wasted_replies, metrics.wasted_s) == (2, 0.5)
    assert waterfall(1, Marks(endpoint=2.0, begun=2.5), Waste()).ahead_s == 0.0
    assert waterfall(1, Marks(endpoint=2.0), Waste()).ahead_s is None
