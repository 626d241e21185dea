"""Reading what strangers sent: JSON into attrs values, strictly, with an error that names the field and the fix.

Strict means: no coercion (``"16000"`` is no number, ``true`` is no integer, ``1.0`` is no count), no unknown fields, every
string bounded, no NaN and no lone surrogates. What was received is never quoted in an error: it may be somebody's words.
Constraints stand in the types, where the JSON Schema finds them too: ``Annotated[int, Range(1, 8), Doc("...")]``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from types import GenericAlias
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import list_structure_factory
from cattrs.errors import (
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from flare_actors.errors import ClientError
from flare_actors.strict_json import Wrong, expect_str, json_kind, register_scalars

__all__ = ["Doc", "Length", "Range", "Wrong", "closest", "load_object", "make_converter", "structure"]

T = TypeVar("T")

_TELLABLE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen
class Doc:
    """What a field means: becomes the schema's and the documentation's text."""

    text: str


@attrs.frozen
class Range:
    """The bounds of a number, both included; None: unbounded."""

    least: float | None = None
    most: float | None = None

    def describe(self) -> str:
        """For instance ``from 8000 to 48000``."""
        low = "" if self.least is None else f"{self.least:g}"
        high = "" if self.most is None else str(self.most) if isinstance(self.most, int) else f"{self.most:g}"
        if low and high:
            return f"from {low} to {high}"
        return f"of at least {low}" if low else f"of at most {high}"

    def holds(self, value: float) -> bool:
        """Is ``value`` inside the bounds?"""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@attrs.frozen
class Length:
    """The bounds of a string, in characters, both included; and what it must look like."""

    least: int = 0
    most: int = 1024
    pattern: str | None = None
    """A regular expression for the whole string, in the dialect that Python and JSON Schema share."""
    looks: str = ""
    """What ``pattern`` means, for people."""

    def describe(self) -> str:
        """For instance ``of 1 to 64 characters``."""
        return f"of {self.least} to {self.most} characters" + (f" ({self.looks})" if self.looks else "")

    def holds(self, value: str) -> bool:
        """Is ``value`` inside the bounds?"""
        fits = self.least <= len(value) <= self.most
        return fits and (self.pattern is None or re.fullmatch(self.pattern, value) is not None)


def _expect_str_or_int(value: object, _: object) -> str | int:
    if isinstance(value, str):
        return expect_str(value, str)
    if type(value) is not int:
        raise Wrong(f"expected a string or an integer, got {json_kind(value)}")
    return value


def _is_tuple(kind: object) -> bool:
    return get_origin(kind) is tuple


def make_converter(*, unknown_fields: bool) -> cattrs.Converter:
    """Make a converter that reads strictly.

    Args:
        unknown_fields: whether fields that we do not know are let pass (as a client must, of a newer server) or refused.
    """
    converter = cattrs.Converter(forbid_extra_keys=not unknown_fields, detailed_validation=True)
    register_scalars(converter)
    converter.register_structure_hook_func(lambda kind: kind == str | int, _expect_str_or_int)

    def expect_annotated(value: object, annotated: object) -> object:
        base, *marks = get_args(annotated)
        result: object = converter.structure(value, base)
        for mark in marks:
            match mark, result:
                case Range(), int() | float() if not mark.holds(result):
                    noun = "an integer" if base is int else "a number"
                    raise Wrong(f"expected {noun} {mark.describe()}")
                case Length(), str() if not mark.holds(result):
                    raise Wrong(f"expected a string {mark.describe()}")
                case _:
                    pass
        return result

    def expect_object(kind: type[T]) -> Callable[[object, object], T]:
        read = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=not unknown_fields)

        def expect(value: object, _: object) -> T:
            if not isinstance(value, dict):
                raise Wrong(f"expected an object, got {json_kind(value)}")
            return read(value, kind)

        return expect

    def expect_array(kind: object) -> Callable[[object, object], object]:
        of: Any = GenericAlias(list, get_args(kind)[:1])  # cattrs takes it, and says that it takes classes only
        read = list_structure_factory(of, converter)

        def expect(value: object, _: object) -> object:
            if not isinstance(value, list):
                raise Wrong(f"expected an array, got {json_kind(value)}")
            return tuple(read(value, list))

        return expect

    converter.register_structure_hook_func(lambda kind: hasattr(kind, "__metadata__"), expect_annotated)
    converter.register_structure_hook_factory(_is_tuple, expect_array)
    converter.register_structure_hook_factory(attrs.has, expect_object)
    return converter


def _refuse_constant(_: str) -> float:
    raise Wrong("NaN and Infinity are not JSON")


def load_object(text: str) -> dict[str, object]:
    """Parse a JSON object.

    Raises:
        ClientError: it is not JSON, or not an object.
    """
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    # ValueError: no JSON, or an integer of thousands of digits; RecursionError: brackets as deep as the message is long.
    except (ValueError, RecursionError):
        raise ClientError("not_json", "a text message must be one JSON object, as in RFC 8259") from None
    if not isinstance(value, dict):
        raise ClientError("not_json", f"a text message must be one JSON object, got {json_kind(value)}")
    return value


def closest(word: str, known: Iterable[str]) -> str | None:
    """Which known word was probably meant; None where none is near. Only ever says words that we know already."""
    return next(iter(difflib.get_close_matches(word[:64], list(known), n=1)), None)


def structure(converter: cattrs.Converter, kind: type[T], body: Mapping[str, object], *, where: str) -> T:
    """Read an attrs value from a JSON object.

    Args:
        converter: from ``make_converter``.
        kind: the attrs class.
        body: the parsed JSON object.
        where: the message's name, for the error's text.

    Raises:
        ClientError: the first thing that is wrong with it, with the path of its field.
    """
    try:
        return converter.structure(body, kind)
    except ClassValidationError as errors:
        raise _explain(errors, where, ()) from None


def _explain(errors: BaseValidationError, where: str, path: tuple[str, ...]) -> ClientError:
    """Turn cattrs' report into the one error that a client is told."""
    assert isinstance(errors, ClassValidationError | IterableValidationError)
    noted, plain = errors.group_exceptions()
    for error, note in noted:
        here = (*path, str(note.index) if isinstance(note, IterableValidationNote) else note.name)
        if isinstance(error, BaseValidationError):
            return _explain(error, where, here)
        field = ".".join(here)
        if not isinstance(error, Wrong):  # a KeyError: there is nothing else that can go wrong
            return ClientError("missing_field", f"{where}: {field} is required and missing", field=field)
        return ClientError("invalid_field", f"{where}: {field}: {error}", field=field)
    for error in plain:
        if isinstance(error, ForbiddenExtraKeysError):
            return _explain_unknown(error, where, path)
    raise AssertionError(f"{where}: an error of our own") from errors


def _explain_unknown(error: ForbiddenExtraKeysError, where: str, path: tuple[str, ...]) -> ClientError:
    known = [field.name for field in attrs.fields(error.cl)]
    name = min(error.extra_fields)
    near = closest(name, known)
    takes = f"it takes {', '.join(known)}" if known else "it takes no fields"
    fix = f"did you mean {near!r}?" if near else takes
    shown = name if _TELLABLE_KEY.fullmatch(name) else "(unprintable)"
    field = ".".join((*path, shown))
    return ClientError("unknown_field", f"{where}: {field} is not a field; {fix}", field=field)
