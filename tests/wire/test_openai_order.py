"""The order of events as a table: held against the SDK's list of events, and checked by a machine that breaks it."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flare_actors.conversation.states import Output
from flare_actors.wire.openai_realtime import ORDER, EventOrder, OutOfOrder
from flare_actors.wire.openai_realtime.responses import ResponseWriter, Usage


def _sdk_events() -> set[str]:
    from openai.types.realtime import RealtimeServerEvent

    union = get_args(RealtimeServerEvent)[0]
    return {get_args(each.model_fields["type"].annotation)[0] for each in get_args(union)}


def test_every_event_of_the_table_is_one_that_clients_know() -> None:
    assert ORDER.keys() <= _sdk_events()


class Writing(RuleBasedStateMachine):
    """A response that is written in any order of calls is told in a legal order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.order = EventOrder()
        self.numbers = itertools.count()
        self.sent: list[dict[str, Any]] = []
        self.emit("session.created")
        self.writer: ResponseWriter | None = None

    def emit(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"e{next(self.numbers)}", **fields}
        self.order.feed(event)
        self.sent.append(event)

    @precondition(lambda self: self.writer is None)
    @rule(output=st.sampled_from(Output), aside=st.booleans())
    def create(self, output: Output, aside: bool) -> None:
        number = next(self.numbers)
        self.writer = ResponseWriter(
            emit=self.emit,
            id=f"r{number}",
            turn=number,
            output=output,
            conversation_id=None if aside else "c",
            previous=lambda _item: None,
            name=lambda: f"m{next(self.numbers)}",
            keep=lambda _item: None,
            audio_format={"type": "audio/pcm"},
            usage=Usage(input_tokens=1, output_tokens=1),
        )
        self.writer.created()

    @precondition(lambda self: self.writer is not None)
    @rule(delta=st.text(max_size=3))
    def text(self, delta: str) -> None:
        assert self.writer is not None
        self.writer.text(delta)

    @precondition(lambda self: self.writer is not None and self.writer.output is Output.AUDIO)
    @rule()
    def audio(self) -> None:
        assert self.writer is not None
        self.writer.audio(b"\0\0")

    @precondition(lambda self: self.writer is not None)
    @rule()
    def call(self) -> None:
        assert self.writer is not None
        number = next(self.numbers)
        self.writer.function_call(f"f{number}", f"call{number}", "get_weather", "{}")

    @precondition(lambda self: self.writer is not None)
    @rule(status=st.sampled_from(["completed", "cancelled", "failed", "incomplete"]))
    def finish(self, status: str) -> None:
        assert self.writer is not None
        self.writer.finish(status)
        self.writer = None

    @precondition(lambda self: len(self.sent) > 1)
    @rule(data=st.data())
    def nothing_may_come_twice(self, data: st.DataObject) -> None:
        again = data.draw(st.sampled_from([event for event in self.sent if ORDER[event["type"]].opens]))
        with pytest.raises(OutOfOrder):
            self.order.feed({**again, "event_id": f"e{next(self.numbers)}"})

    @invariant()
    def what_is_done_is_closed(self) -> None:
        if self.writer is None:
            for kind in ("response", "output item", "content part", "text", "audio", "transcript", "arguments"):
                assert self.order.still_open(kind) == []


@pytest.mark.no_cover  # see conftest.py
class TestWriting(Writing.TestCase):
    settings = settings(stateful_step_count=30)


SESSION = {"type": "session.created", "event_id": "s"}
CREATED = {"type": "response.created", "event_id": "r", "response": {"id": "r1"}}
ADDED = {
    "type": "response.output_item.added",
    "event_id": "a",
    "response_id": "r1",
    "item": {"id": "i1", "type": "message"},
}
PART = {
    "type": "response.content_part.added",
    "event_id": "p",
    "response_id": "r1",
    "item_id": "i1",
    "part": {"type": "text"},
}
DELTA = {"type": "response.output_text.delta", "event_id": "d", "response_id": "r1", "item_id": "i1"}
DONE = {"type": "response.done", "event_id": "z", "response": {"id": "r1"}}


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([CREATED], "no session"),
        ([SESSION, SESSION | {"event_id": "t"}], "opened before"),
        ([SESSION, CREATED, CREATED | {"event_id": "q", "response": {"id": "r2"}}], "a response is open already"),
        ([SESSION, CREATED, ADDED, DELTA], "no content part"),
        ([SESSION, CREATED, ADDED, DONE], "output item i1 is still open"),
        ([SESSION, CREATED, ADDED, PART, DELTA, DONE], "is still open"),
        ([SESSION, CREATED, DONE, ADDED], "no response"),
        ([SESSION, CREATED | {"event_id": "s"}], "came before"),
        ([SESSION, {"type": "response.song", "event_id": "x"}], "no event of this server"),
        ([SESSION, {"type": "response.created", "event_id": "x"}], "has no response.id"),
    ],
)
def test_what_breaks_the_order_is_named(events: list[dict[str, Any]], why: str) -> None:
    order = EventOrder()
    for event in events[:-1]:
        order.feed(event)
    with pytest.raises(OutOfOrder, match=why):
        order.feed(events[-1])
