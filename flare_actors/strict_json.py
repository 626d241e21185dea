"""JSON values, read strictly: no coercion, and an error that says what was expected without quoting what came.

``"16000"`` is no number, ``true`` is no integer, ``1.0`` is no count, and what was received may be somebody's words. Journals
and protocols read their scalars through this.
"""

from __future__ import annotations

import math
from enum import Enum

import cattrs

__all__ = ["Wrong", "expect_str", "json_kind", "register_scalars"]


class Wrong(ValueError):
    """A value is not what its field takes. The message starts with what was expected, and does not quote."""


def json_kind(value: object) -> str:
    """What a JSON value is, without saying what is in it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a fraction"
        case str():
            return "a string"
        case list() | tuple():
            return "an array"
        case _:
            return "an object"


def register_scalars(converter: cattrs.Converter, *, half_surrogates: bool = False) -> None:
    """Have ``converter`` read numbers, strings, booleans and enums (by their value) strictly; what is not so is ``Wrong``.

    Args:
        converter: gets the hooks.
        half_surrogates: let strings pass that no UTF-8 can hold: what a provider wrote must come back as it was.
    """
    converter.register_structure_hook(int, _expect_int)
    converter.register_structure_hook(float, _expect_float)
    converter.register_structure_hook(str, _expect_any_str if half_surrogates else expect_str)
    converter.register_structure_hook(bool, _expect_bool)
    converter.register_structure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, Enum), _expect_enum)


def _expect_int(value: object, _: object) -> int:
    if type(value) is not int:
        raise Wrong(f"expected an integer, got {json_kind(value)}")
    return value


def _expect_float(value: object, _: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"expected a number, got {json_kind(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Wrong("expected a number that a float can hold")
    return number


def expect_str(value: object, _: object) -> str:
    """A string that can be written as UTF-8.

    Raises:
        Wrong: it is none.
    """
    text = _expect_any_str(value, str)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Wrong("expected Unicode text, got half of a surrogate pair") from None
    return text


def _expect_any_str(value: object, _: object) -> str:
    if not isinstance(value, str):
        raise Wrong(f"expected a string, got {json_kind(value)}")
    return value


def _expect_bool(value: object, _: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"expected true or false, got {json_kind(value)}")
    return value


def _expect_enum(value: object, kind: type[Enum]) -> Enum:
    for member in kind:
        if type(value) is type(member.value) and value == member.value:
            return member
    raise Wrong(f"expected one of {', '.join(repr(member.value) for member in kind)}")
