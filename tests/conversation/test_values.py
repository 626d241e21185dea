from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation import events, model, values
from flare_actors.conversation.model import Conversation, Deadlines
from flare_actors.conversation.settings import Settings
from flare_actors.testing.values import events as any_event


@given(event=any_event(), at=st.floats(0, 1e6))
def test_a_stamped_event_is_what_attrs_makes_of_it(event: Any, at: float) -> None:
    assert values.evolve(event, at=at) == attrs.evolve(event, at=at)


def test_a_changed_value_is_new_frozen_and_hashed_by_its_fields() -> None:
    before = Conversation()
    after = values.evolve(before, stale=3, deadlines=Deadlines(idle=1.0))
    assert (before.stale, after.stale, after.deadlines.idle) == (0, 3, 1.0)
    assert after == attrs.evolve(before, stale=3, deadlines=Deadlines(idle=1.0))
    assert hash(after) == hash(attrs.evolve(after))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        after.stale = 4  # type: ignore[misc]


def test_a_field_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Deadlines has no field lunch"):
        values.evolve(Deadlines(), lunch=1.0)


def test_a_copy_of_ones_own_is_changed_in_place_and_what_it_was_copied_from_is_not() -> None:
    before = Conversation()
    own = values.evolve(before, stale=1)
    values.change_own(own, stale=2, prompts=3)
    assert (own.stale, own.prompts, before.stale, before.prompts) == (2, 3, 0, 0)
    with pytest.raises(TypeError, match="Conversation has no field lunch"):
        values.change_own(own, lunch=1.0)


def test_values_that_check_their_fields_are_still_checked() -> None:
    with pytest.raises(ValueError, match="endpoint_s"):
        values.evolve(Settings(), endpoint_s=-1.0)


def test_everything_that_a_step_changes_is_copied_the_quick_way() -> None:
    kinds = {
        kind
        for module in (events, model)
        for kind in vars(module).values()
        if isinstance(kind, type) and attrs.has(kind) and kind.__module__ == module.__name__
    }
    slow = {kind.__name__ for kind in kinds if not values._lives_in_dict(kind)}
    assert slow == set(), "write @attrs.frozen(kw_only=True, slots=False): evolve is ten times as quick then"


@pytest.mark.parametrize(
    "field", [attrs.field(default=1, converter=int), attrs.field(default=1, validator=attrs.validators.gt(0))]
)
def test_a_value_with_a_single_field_that_is_converted_or_checked_goes_the_slow_way(field: Any) -> None:
    kind = attrs.make_class("Kind", {"plain": attrs.field(default=0), "number": field}, frozen=True, slots=False)
    assert not values._lives_in_dict(kind)
    assert values._lives_in_dict(attrs.make_class("Kind", ["plain"], frozen=True, slots=False))
    assert not values._lives_in_dict(attrs.make_class("Kind", ["plain"], frozen=True, slots=True))


def test_a_value_with_its_own_fields_alone_is_in_order() -> None:
    values.check_fields(Conversation())
