"""Wyoming's framing, by itself."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.providers._wyoming_codec import Decoder, Event, WyomingError, encode

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
events = st.builds(
    Event,
    type=st.text(),
    data=st.dictionaries(st.text(), _json, max_size=3),
    payload=st.binary(max_size=200),
)


@given(st.lists(events, max_size=5), st.data())
def test_what_is_encoded_comes_out_again_however_it_is_cut(sent, data):
    wire = b"".join(map(encode, sent))
    cuts = data.draw(st.sets(st.integers(1, max(1, len(wire) - 1)), max_size=20))
    edges = [0, *sorted(cuts), len(wire)]
    decoder = Decoder()

    received = [each for a, b in itertools.pairwise(edges) for each in decoder.feed(wire[a:b])]

    assert received == sent
    assert decoder.between_events


@given(st.lists(st.binary(max_size=60) | events.map(encode), max_size=6))
def test_any_bytes_are_events_or_a_clear_error(pieces):
    decoder = Decoder()
    with contextlib.suppress(WyomingError):
        for each in pieces:
            list(decoder.feed(each))


def test_an_event_is_written_as_the_protocol_has_it():
    line, _, rest = encode(Event(type="audio-chunk", data={"rate": 16_000}, payload=b"\n{}")).partition(b"\n")

    assert json.loads(line) == {"type": "audio-chunk", "version": "1.8.0", "data_length": 15, "payload_length": 3}
    assert rest == b'{"rate": 16000}\n{}'


def test_data_may_stand_in_the_line_or_after_it_and_the_later_wins():
    wire = b'{"type":"a","data":{"x":1,"y":1},"data_length":7,"payload_length":null}\n{"y":2}{"type":"b"}\n'

    assert list(Decoder().feed(wire)) == [Event(type="a", data={"x": 1, "y": 2}), Event(type="b")]


def test_the_middle_of_an_event_is_not_its_end():
    wire = encode(Event(type="a", payload=b"123"))
    for cut in range(1, len(wire)):
        decoder = Decoder()
        assert not list(decoder.feed(wire[:cut]))
        assert not decoder.between_events


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "no JSON"),
        (b"\xff\xfe\n", "no JSON"),
        (b"[1]\n", "no object"),
        (b'{"data": {}}\n', "without a type"),
        (b'{"type": 7}\n', "without a type"),
        (b'{"type": "a", "data": []}\n', "whose data is no object"),
        (b'{"type": "a", "data_length": 3}\n[1]', "data that is no object"),
        (b'{"type": "a", "data_length": -1}\n', "impossible length"),
        (b'{"type": "a", "payload_length": true}\n', "impossible length"),
        (b'{"type": "a", "payload_length": 99999999999}\n', "impossible length"),
        (b"x" * 2_000_000, "a line without end"),
        (b"[" * 100_000 + b"\n", "nested without end"),
    ],
)
def test_what_is_not_wyoming_says_so_and_quotes_nothing(wire, says):
    with pytest.raises(WyomingError, match=says):
        list(Decoder().feed(wire))
