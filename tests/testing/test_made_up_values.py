"""The strategies for single values: nothing is left out, everything is let in, nothing passes a bound."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar, get_args

import attrs
import pytest
from hypothesis import HealthCheck, Phase, find, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

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
from flare_actors.wire.openai_realtime.client_events import CLIENT_EVENTS, read_event
from flare_actors.wire.strict import Length, Range

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

T = TypeVar("T")

MANY = hypothesis_settings(
    max_examples=10_000,
    database=None,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[*HealthCheck],
)
"""More than is ever needed: what is drawn depends on which modules happen to be loaded (Hypothesis knows their constants)."""


def met(
    strategy: st.SearchStrategy[T], traits: Callable[[T], Iterable[object]], wanted: Iterable[object]
) -> set[object]:
    """Which traits the values of a strategy show; drawing ends when all that are wanted have been seen."""
    seen: set[object] = set()
    awaited = set(wanted)

    def enough(value: T) -> bool:
        seen.update(traits(value))
        return seen >= awaited

    with contextlib.suppress(NoSuchExample):
        find(strategy, enough, settings=MANY)
    return seen


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
    assert met(strategy, lambda value: [type(value)], kinds) >= set(kinds)


def test_every_message_of_the_protocol_occurs_on_the_wire() -> None:
    for strategy, known in ((kit.client_texts(), CLIENT_MESSAGES), (kit.server_texts(), SERVER_MESSAGES)):
        assert met(strategy, lambda text: [json.loads(text)["type"]], known) == set(known)


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
        standard, names = kind(), [field.name for field in attrs.fields(kind)]

        def changed(value: object, standard: object = standard, names: list[str] = names) -> list[str]:
            return [name for name in names if getattr(value, name) != getattr(standard, name)]

        assert met(kit.values(kind), changed, names) == set(names)


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


def test_every_event_of_a_realtime_client_is_made_up_and_is_one() -> None:
    assert met(kit.realtime_texts(), lambda text: [read_event(json.loads(text))[0]], CLIENT_EVENTS) == set(
        CLIENT_EVENTS
    )
