from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.ports import Message
from flare_actors.providers._prompt import EXAMPLES, fit, tokens_at_most

_text = st.one_of(
    st.text(max_size=60), st.integers(1, 4_000).map(lambda n: "word " * n), st.integers(1, 900).map("好".__mul__)
)


@st.composite
def conversations(draw) -> list[Message]:
    instructions = [Message(role="system", content=draw(_text))] if draw(st.booleans()) else []
    roles = ["user", "assistant"]
    turns = [Message(role=roles[i % 2], content=draw(_text)) for i in range(draw(st.integers(0, 20)) * 2 + 1)]
    return instructions + turns


@pytest.mark.no_cover  # see conftest.py
@given(conversations(), st.sampled_from([64, 432, 944, 4_000]), st.booleans())
def test_what_the_model_is_shown_fits_and_ends_with_what_the_user_said(messages, budget, with_examples):
    shown = fit(messages, budget=budget, examples=EXAMPLES if with_examples else ())

    assert tokens_at_most(shown) <= budget
    assert messages[-1].content.endswith(shown[-1].content)
    assert shown[-1].content or not messages[-1].content
    assert [each.role for each in shown].count("system") == [each.role for each in messages].count("system")


def test_a_short_conversation_is_shown_whole_behind_the_examples():
    messages = [
        Message(role="system", content="Be kind."),
        Message(role="user", content="Hi."),
        Message(role="assistant", content="Hello."),
        Message(role="user", content="Bye."),
    ]

    assert fit(messages, budget=944) == [messages[0], *EXAMPLES, *messages[1:]]


def test_the_beginning_stays_the_same_from_turn_to_turn_so_that_the_cache_matches():
    turns = [Message(role="user" if i % 2 == 0 else "assistant", content="word " * 30 + str(i)) for i in range(200)]
    firsts = [fit(turns[: n + 1], budget=944)[len(EXAMPLES)] for n in range(0, 200, 2)]

    assert all(first.role == "user" for first in firsts)
    changes = sum(1 for before, now in itertools.pairwise(firsts) if now != before)
    assert 10 <= changes <= 100 / 4 + 1, "eight messages are dropped at a time, not two with every turn"
