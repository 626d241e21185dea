"""The strategies for single values: nothing is left out, everything is let in, nothing passes a bound."""

from __future__ import annotations

import json
from typing import Annotated, TypeVar, get_args

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flare_actors.conversation.commands import Command, Notify
from flare_actors.conversation.events import Event
from flare_actors.conversation.notices import Notice
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.journal import event_from_json, event_to_json
from flare_actors.ports import AudioIn, AudioOut
from flare_actors.testing import values as kit
from flare_actors.wire import flare
from flare_actors.wire.flare_client_messages import CLIENT_MESSAGES
from flare_actors.wire.flare_server_messages import SERVER_MESSAGES
from flare_actors.wire.strict import Length, Range

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

T = TypeVar("T")

MANY = hypothesis_settings(
    max_examples=400,
    database=None,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[*HealthCheck],
)


def drawn(strategy: st.SearchStrategy[T], count: int = 800) -> list[T]:
    """Many values of a strategy, always the same."""
    found: list[T] = []

    @hypothesis_settings(MANY, max_examples=count)
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found


@pytest.mark.parametrize(
    ("strategy", "kinds"),
    [
        (kit.events(), get_args(Event)),
        (kit.commands(), get_args(Command)),
        (kit.notices(), get_args(Notice)),
        (kit.client_messages(), (AudioIn, flare.Ping, flare.StartSession)),
        (kit.server_messages(), (AudioOut, flare.Pong)),
    ],
    ids=["events", "commands", "notices", "from the client", "from the server"],
)
def test_every_kind_occurs(strategy, kinds) -> None:
    assert {type(each) for each in drawn(strategy)} >= set(kinds)


def test_every_message_of_the_protocol_occurs_on_the_wire() -> None:
    for strategy, known in ((kit.client_texts(), CLIENT_MESSAGES), (kit.server_texts(), SERVER_MESSAGES)):
        assert {json.loads(text)["type"] for text in drawn(strategy)} == set(known)


@given(kit.events())
def test_every_event_survives_the_journal(event: Event) -> None:
    assert event_from_json(event_to_json(event)) == event


@given(kit.client_messages())
def test_every_client_message_survives_the_wire(message) -> None:
    assert flare.decode_client(flare.encode_client(message)) == message


@given(kit.server_messages())
def test_every_server_message_survives_the_wire(message) -> None:
    assert flare.decode_server(flare.encode_server(message)) == message


def test_every_setting_takes_another_value_than_its_default() -> None:
    for kind in (Settings, Timeouts, Limits):
        found = drawn(kit.values(kind), 40)
        standard = kind()
        same = {
            f.name for f in attrs.fields(kind) if all(getattr(e, f.name) == getattr(standard, f.name) for e in found)
        }
        assert not same


@attrs.frozen
class Mine:
    """Somebody's own class, with everything that an annotation can say."""

    count: Annotated[int, Range(3, 5)]
    share: Annotated[float, Range(0, 1)] = attrs.field(validator=attrs.validators.gt(0.5))
    name: Annotated[str, Length(2, 4)] = "none"
    tag: Annotated[str, Length(1, 8, r"x[0-9]+")] | None = None
    below: int = attrs.field(default=3)
    pieces: tuple[int, ...] = ()
    table: dict[str, bool] = attrs.Factory(dict)
    more: set[int] = attrs.Factory(set)

    @below.validator
    def _is_below(self, _: object, value: int) -> None:
        if value > self.count:
            raise ValueError("not below")


@given(kit.values(Mine))
def test_one_s_own_classes_keep_their_bounds(mine: Mine) -> None:
    assert 3 <= mine.count <= 5
    assert 0.5 < mine.share <= 1
    assert 2 <= len(mine.name) <= 4
    assert mine.below <= mine.count
    assert mine.tag is None or mine.tag.startswith("x")
    assert mine.more == set(), "nothing is known of sets, and there is a default"


def test_a_field_of_which_nothing_is_known_is_named() -> None:
    @attrs.frozen
    class Odd:
        work: complex

    with pytest.raises(TypeError, match="complex"):
        kit.values(Odd)


@given(kit.values(Notify))
def test_what_is_nested_is_built_too(command: Notify) -> None:
    assert isinstance(command.notice, get_args(Notice))
