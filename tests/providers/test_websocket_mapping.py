from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.providers.websocket.mapping import PRESENT, dig, fill, matches, number

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=10,
)


def test_a_path_leads_through_tables_and_lists():
    message = {"channel": {"alternatives": [{"transcript": "hello"}]}}
    assert dig(message, "channel.alternatives.0.transcript") == "hello"
    for path in (
        "channel.alternatives.1.transcript",
        "channel.0",
        "x",
        "channel.alternatives.first",
        "channel.alternatives",
    ):
        assert not isinstance(dig(message, path), str)


@given(message=values, path=st.text("abc.012", max_size=10))
def test_no_message_is_too_strange_to_look_into(message, path):
    dig(message, path)
    number(message, path)
    assert not matches(message, {})
    assert matches(message, {"a": PRESENT}) == bool(dig(message, "a"))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"n": 1}, True),
        ({"n": True}, False),
        ({"n": 1.0}, False),
        ({"n": 1, "s": "x"}, True),
        ({"n": 1, "s": "y"}, False),
    ],
)
def test_a_pattern_means_value_and_type(pattern, expected):
    assert matches({"n": 1, "s": "x"}, pattern) is expected


@given(text=st.text(max_size=10))
def test_what_is_filled_in_is_never_a_template_itself(text):
    filled = fill({"a": "$text", "b": ["$text", 3], "c": "plain"}, {"text": f"${text}"})
    assert filled == {"a": f"${text}", "b": [f"${text}", 3], "c": "plain"}
