"""Plain data into attrs classes, strictly, with every problem found in one pass.

cattrs does the walking. What is added here: nothing is coerced (``"5"`` is no number, ``1`` is no flag), every field's
validators run even after another field failed, and each problem ends up as a path, a sentence and a fix that a person can
act on.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import BaseValidationError, ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from flare_actors.config.secret import looks_secret

__all__ = ["FromText", "Problem", "no_number", "structure", "suggest", "unstructure"]

_T = TypeVar("_T")
NO_NUMBER: Final = ("none", "never")
"""How a file, which has no null, says None where a number is optional; which of them is a matter of style."""


def no_number(key: str) -> str:
    """Give the word for None that suits a key: durations are ``never`` over, other numbers are ``none``."""
    return "never" if key.endswith("_s") else "none"


@attrs.frozen
class Problem:
    """One thing wrong, and what to do about it."""

    path: tuple[str, ...]
    """Keys from the top of the data to the culprit."""
    message: str
    """What is wrong with it, without its name; holds no secret."""
    unknown: bool = False
    """There is no such key."""
    source: str | None = None
    """Where it was said, where that is known better than by the path: a variable's name."""


class FromText(str):
    """A value from an environment variable: text, to be read as what its setting asks for."""

    __slots__ = ()


class _WrongTypeError(ValueError):
    """A value is not of the type that is asked for; the message is made for people."""


class _BlamedError(ValueError):
    """A field that does not fit the others."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def suggest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` where something known is near, else what is known."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(known)}" if known else "nothing can be set here"


def structure(data: Mapping[str, object], cls: type[_T], *, base: Path) -> tuple[_T | None, list[Problem]]:
    """Build ``cls`` from plain data, or tell everything that is wrong with it.

    Args:
        data: as TOML gives it.
        cls: an attrs class whose annotations say what is allowed.
        base: the folder that relative paths are relative to.

    Returns:
        The instance and no problems, or None and at least one.
    """
    try:
        return _converter(base).structure(data, cls), []
    except (BaseValidationError, ValueError, TypeError) as fault:
        return None, list(_problems(fault, ()))


def unstructure(value: object) -> dict[str, Any]:
    """Give plain data that ``structure`` would turn into ``value`` again."""
    return {key: each for key, each in _plain(value).items() if each is not None}


# --- There ---------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _converter(base: Path) -> cattrs.Converter:
    # One for each folder: its hooks know where relative paths begin.
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)

    def take(kind: type, name: str) -> None:
        def hook(value: object, _: object) -> object:
            if isinstance(value, FromText):
                value = _read(value, kind)
            # A bool is an int to Python, not to people; an int is good enough for a float.
            allowed = (int, float) if kind is float else (kind,)
            if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
                raise _WrongTypeError(f"must be {name}, got {_show(value)}")
            if kind is float:
                if not math.isfinite(value):  # type: ignore[arg-type] # only floats and ints come here
                    raise _WrongTypeError(f"must be a finite number, got {value}")
                return float(value)  # type: ignore[arg-type] # as above
            return value

        converter.register_structure_hook(kind, hook)

    take(bool, "true or false")
    take(int, "a whole number")
    take(float, "a number")
    take(str, "a text")

    def path(value: object, _: object) -> Path:
        if not isinstance(value, str) or not value:
            raise _WrongTypeError(f"must be a path, got {_show(value)}")
        return base / Path(value).expanduser()

    converter.register_structure_hook(Path, path)

    converter.register_structure_hook_func(_is_choice, _choose)
    converter.register_structure_hook_factory(_is_optional, lambda kind: _optional(kind, converter))
    converter.register_structure_hook_factory(_is_list, lambda kind: _list(kind, converter))
    converter.register_structure_hook_factory(_is_table, lambda kind: _table(kind, converter))
    converter.register_structure_hook_factory(attrs.has, lambda kind: _class(kind, converter))
    return converter


def _read(text: FromText, kind: type) -> object:
    """Read text as ``kind``; what cannot be read stays text, for the message."""
    if kind is str:
        return str(text)
    if kind is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            text.lower(), str(text)
        )
    try:
        return kind(text)
    except ValueError:
        return str(text)


def _is_choice(kind: Any) -> bool:  # noqa: ANN401 # cattrs asks about any annotation
    return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum))


def _choose(value: object, kind: Any) -> object:  # noqa: ANN401 # as above
    choices = {each: each for each in get_args(kind)} or {each.value: each for each in kind}
    for written, meant in choices.items():
        if written == value and isinstance(value, type(written)):
            return meant
    near = difflib.get_close_matches(value, [str(each) for each in choices], n=1) if isinstance(value, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise _WrongTypeError(f"must be one of {', '.join(map(_show, choices))}, got {_show(value)}{hint}")


def _is_optional(kind: Any) -> bool:  # noqa: ANN401 # as above
    return get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)


def _optional(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:  # noqa: ANN401 # as above
    inner: Any = Union.__getitem__(tuple(each for each in get_args(kind) if each is not NoneType))

    def hook(value: object, _: object) -> object:
        if value is None or (inner in (int, float) and value in NO_NUMBER) or (inner is str and value == ""):
            return None
        try:
            return converter.structure(value, inner)
        except _WrongTypeError as wrong:
            if inner in (int, float):
                raise _WrongTypeError(f"{wrong} (or {' or '.join(map(repr, NO_NUMBER))})") from None
            raise

    return hook


def _is_list(kind: Any) -> bool:  # noqa: ANN401 # as above
    origin = get_origin(kind) or kind
    return origin in (list, tuple, frozenset, set) or (
        isinstance(origin, type) and issubclass(origin, Sequence) and not issubclass(origin, (str, bytes))
    )


def _list(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:  # noqa: ANN401 # as above
    args = [each for each in get_args(kind) if each is not Ellipsis]
    inner = args[0] if args else str
    gather = get_origin(kind) or kind
    gather = gather if gather in (list, frozenset, set) else tuple

    def hook(value: object, _: object) -> object:
        if isinstance(value, FromText):
            value = [FromText(each.strip()) for each in value.split(",") if each.strip()]
        if not isinstance(value, (list, tuple)):
            raise _WrongTypeError(f"must be a list, got {_show(value)}")
        return gather(converter.structure(each, inner) for each in value)

    return hook


def _is_table(kind: Any) -> bool:  # noqa: ANN401 # as above
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _table(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:  # noqa: ANN401 # as above
    inner = (get_args(kind) or (str, object))[1]

    def hook(value: object, _: object) -> object:
        if not isinstance(value, Mapping):
            raise _WrongTypeError(f"must be a table, got {_show(value)}")
        return {
            str(key): each if inner in (object, Any) else converter.structure(each, inner)
            for key, each in value.items()
        }

    return hook


def _class(cls: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:  # noqa: ANN401 # as above
    overrides: dict[str, Any] = {}
    for field in attrs.fields(attrs.resolve_types(cls)):
        overrides[field.name] = (
            override(struct_hook=_field_hook(field, converter)) if field.init else override(omit=True)
        )
    build: Callable[[Any, Any], Any] = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **overrides,
    )

    def hook(value: object, kind: object) -> object:
        if not isinstance(value, Mapping):
            raise _WrongTypeError(f"must be a table, got {_show(value)}")
        try:
            return build(value, kind)
        except ClassValidationError as fault:
            noted, plain = fault.group_exceptions()
            if noted or not all(type(each) is ValueError for each in plain):
                raise
            # Each field is right by itself, and the whole is not: whose validator said so?
            raise _blame(cls, value, converter) from fault

    return hook


def _blame(cls: Any, value: Mapping[str, Any], converter: cattrs.Converter) -> Exception:  # noqa: ANN401 # as above
    draft = SimpleNamespace(
        **{
            field.name: converter.structure(value[field.name], field.type or object)
            if field.name in value
            else _default(field)
            for field in attrs.fields(cls)
        }
    )
    for field in attrs.fields(cls):
        if field.validator is not None:
            try:
                field.validator(draft, field, getattr(draft, field.name))
            except ValueError as bad:
                return _BlamedError(field.name, _tidy(bad, field.name, value.get(field.name)))
    return _BlamedError("", "these settings do not fit together")


def _default(field: attrs.Attribute[Any]) -> object:
    # attrs types a default made by a factory as the value that it makes.
    default: object = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # it is a class at run time
        return default.factory()  # type: ignore[attr-defined] # as above
    return default


def _field_hook(field: attrs.Attribute[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """Structure one field and run its validators at once, so that one bad value does not hide the next."""

    def hook(value: object, _: object) -> object:
        try:
            made = converter.structure(value, field.type or object)
        except _WrongTypeError:
            if looks_secret(field.name):
                raise _WrongTypeError("is not of the right type (its value is not shown)") from None
            raise
        if field.validator is not None:
            try:
                field.validator(None, field, made)
            except ValueError as bad:
                raise _WrongTypeError(_tidy(bad, field.name, value)) from None
            except (TypeError, AttributeError):
                pass  # a validator that looks at its instance runs when there is one
        return made

    return hook


def _tidy(fault: BaseException, name: str, value: object) -> str:
    """Make a sentence of what attrs' validators say: ``'endpoint_s' must be > 0: -1`` names the field and repeats all."""
    message = str(fault.args[0] if fault.args else fault)
    shown = "a value that is not shown" if looks_secret(name) else _show(value)
    if match := re.match(rf"'{re.escape(name)}' (must .*?)(: .*)?$", message, re.DOTALL):
        return f"{match[1]}, got {shown}"
    if match := re.match(r"Length of '.*' must be (>=|<=|=) (\d+)", message):
        return f"must have a length {match[1]} {match[2]}, got {shown}"
    return message


def _show(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, (str, int, float)) else f"a {_kind(value)}"
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "table"
    return "list" if isinstance(value, (list, tuple)) else type(value).__name__


def _problems(fault: BaseException, path: tuple[str, ...]) -> Iterator[Problem]:
    match fault:
        case ClassValidationError():
            noted, plain = fault.group_exceptions()
            for each, note in noted:
                yield from _problems(each, (*path, note.name))
            for other in plain:
                yield from _problems(other, path)
        case ForbiddenExtraKeysError():
            known = [field.name for field in attrs.fields(fault.cl) if field.init]
            for key in sorted(fault.extra_fields):
                yield Problem((*path, key), f"unknown key; {suggest(key, known)}", unknown=True)
        case _BlamedError() if fault.field:
            yield Problem((*path, fault.field), str(fault))
        case KeyError():
            yield Problem(path, "is missing")
        case _:
            yield Problem(path, str(fault))


# --- And back ------------------------------------------------------------------------------------------------------------


def _plain(value: object) -> Any:  # noqa: ANN401 # plain data has no narrower type
    if isinstance(value, type) or value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    made: dict[str, Any] = {}
    for field in attrs.fields(cast("type[attrs.AttrsInstance]", type(value))):
        each = _plain(getattr(value, field.name))
        if each is None and _is_optional(field.type) and {int, float} & set(get_args(field.type)):
            each = no_number(field.name)
        if each is not None:
            made[field.name] = each
    return made
