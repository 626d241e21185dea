"""Changing settings during a session: a partial update as data, held against what each setting takes.

An update is a tuple of ``Change``: a name and a plain value (an enumeration's by its value), so that it survives JSON.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from types import NoneType
from typing import Any, Final, TypeAlias, Union, get_args, get_type_hints

import attrs

from flare_actors.conversation.settings import Settings

__all__ = ["FIXED", "Change", "Value", "WrongSetting", "changed", "changes"]

Value: TypeAlias = Union[bool, int, float, str, tuple[str, ...], None]
"""What a setting can be, as JSON has it."""

FIXED: Final = frozenset({"timeouts", "limits"})
"""What a session keeps as it was opened with: its tasks hold on to them."""


@attrs.frozen(kw_only=True)
class Change:
    """One setting, and what it is to be."""

    name: str
    """A field of ``Settings``."""
    value: Value = attrs.field(repr=False)
    """May be words that are spoken, so that no ``repr`` shows it."""


class WrongSetting(ValueError):
    """There is no such setting, or it does not take such a value.

    Args:
        name: the setting.
        problem: what is wrong and what to do.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


def changes(values: Mapping[str, object]) -> tuple[Change, ...]:
    """An update out of names and values, in the order of the names; values may be what the fields of ``Settings`` hold.

    Raises:
        WrongSetting: a value is of a kind that no setting has.
    """
    return tuple(Change(name=name, value=_plain(name, value)) for name, value in sorted(values.items()))


def _plain(name: str, value: object) -> Value:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return tuple(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise WrongSetting(name, f"takes no {type(value).__name__}")


def changed(settings: Settings, update: Iterable[Change]) -> Settings:
    """The settings after an update, all of it or nothing.

    Raises:
        WrongSetting: naming the first setting that is wrong.
    """
    for change in update:
        kind = _KINDS.get(change.name)
        if kind is None:
            raise WrongSetting(change.name, "there is no such setting")
        if change.name in FIXED:
            raise WrongSetting(change.name, "cannot be changed during a session; set it before")
        value: Any = _taken(change.name, kind, change.value)
        try:
            settings = attrs.evolve(settings, **{change.name: value})
        except ValueError as error:
            raise WrongSetting(change.name, f"out of bounds: {error.args[0] if error.args else error}") from None
    return settings


_KINDS: Final[Mapping[str, Any]] = get_type_hints(Settings)


def _taken(name: str, kind: Any, value: Value) -> object:  # noqa: ANN401 - any annotation of a field
    """The value as its field has it."""
    if NoneType in get_args(kind):
        if value is None:
            return None
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if isinstance(kind, type) and issubclass(kind, Enum):
        for member in kind:
            if member.value == value:
                return member
        raise WrongSetting(name, f"takes one of {', '.join(repr(member.value) for member in kind)}")
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise WrongSetting(name, "takes a number")
        return float(value)
    wanted = kind if isinstance(kind, type) else tuple
    if type(value) is not wanted:
        kinds = {str: "a text", bool: "true or false", int: "a whole number", tuple: "a list of texts"}
        raise WrongSetting(name, f"takes {kinds.get(wanted, wanted.__name__)}")
    return value
