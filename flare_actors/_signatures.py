"""Typed signatures -> JSON schemas, and the converter that reads what a model sends by them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from enum import Enum
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.cols import list_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn
from cattrs.strategies import configure_union_passthrough

from flare_actors.strict_json import Wrong, json_kind, register_scalars

__all__ = ["Parameter", "converter", "parameters_of"]

_PLAIN: Final[Mapping[object, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
    None: "null",
}
_ARRAYS: Final = (list, tuple, set, frozenset, Sequence, MutableSequence)
_SECTION: Final = re.compile(
    r"^(Args|Arguments|Returns|Return|Raises|Yields|Example|Examples|Note|Notes):\s*$", re.MULTILINE
)
_PARAMETER: Final = re.compile(r"^ {2,}\*{0,2}(\w+)(?: \([^)]*\))?: (.*(?:\n {6,}\S.*)*)", re.MULTILINE)
_KEYWORD: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@attrs.frozen
class Parameter:
    """One parameter of a tool's function."""

    name: str
    kind: Any
    """Its type."""
    required: bool

    def read(self, value: object) -> tuple[object, list[str]]:
        """The argument that a model wrote, and what is wrong with it, for the model, which knows what it wrote."""
        try:
            return converter().structure(value, self.kind), []
        except (cattrs.BaseValidationError, ValueError, TypeError) as error:
            return None, _explain(error, self.name)


def _explain(error: Exception, path: str) -> list[str]:
    def describe(error: BaseException, _: type | None) -> str:
        if isinstance(error, KeyError):
            return "required and missing"
        if isinstance(error, Wrong | ValueError):
            return str(error)
        return cattrs.v.format_exception(error, None)

    if isinstance(error, cattrs.BaseValidationError):
        return [each.replace(" @ ", " at ") for each in cattrs.transform_error(error, path, describe)]
    return [f"{path}: {describe(error, None)}"]


def parameters_of(function: Callable[..., object]) -> tuple[tuple[Parameter, ...], str, dict[str, object]]:
    """A function's parameters, its description, and the JSON schema of its arguments.

    Raises:
        TypeError: a parameter has no type, or one that has no schema; the message names it.
    """
    name = getattr(function, "__name__", type(function).__name__)
    about, documented = _read_docstring(inspect.getdoc(function) or "")
    try:
        hints = get_type_hints(_where_types_are(function), include_extras=True)
    except NameError as error:
        raise TypeError(
            f"tool {name!r}: its types name {error.name!r}, which is not known where it is defined"
        ) from None
    parameters: list[Parameter] = []
    properties: dict[str, object] = {}
    for each in inspect.signature(function).parameters.values():
        if each.kind not in _KEYWORD:
            raise TypeError(
                f"tool {name!r}: parameter {each.name!r} has no name of its own; tools take keyword arguments"
            )
        if each.name not in hints:
            raise TypeError(f"tool {name!r}: parameter {each.name!r} has no type; give it one, e.g. {each.name}: str")
        kind = hints[each.name]
        try:
            schema = schema_of(kind)
            converter().get_structure_hook(kind)
        except (TypeError, cattrs.StructureHandlerNotFoundError):
            raise TypeError(
                f"tool {name!r}: parameter {each.name!r} is {inspect.formatannotation(kind)}, which no JSON schema is known "
                "for; take str, int, float, bool, Literal, enums, lists, dict[str, ...], attrs classes or dataclasses"
            ) from None
        if each.name in documented and "description" not in schema:
            schema["description"] = documented[each.name]
        required = each.default is inspect.Parameter.empty
        if not required and _is_plain_json(each.default):
            schema["default"] = each.default
        properties[each.name] = schema
        parameters.append(Parameter(each.name, kind, required))
    needed = [each.name for each in parameters if each.required]
    return tuple(parameters), about, _object(properties, needed)


def _where_types_are(function: Callable[..., object]) -> Callable[..., object]:
    """The function that a partial or a callable object stands for."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _object(properties: Mapping[str, object], required: Sequence[str]) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    return schema | {"additionalProperties": False}


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description without its sections, and what ``Args`` says of each parameter."""
    sections = list(_SECTION.finditer(text))
    about = text[: sections[0].start()] if sections else text
    documented: dict[str, str] = {}
    ends = [section.start() for section in sections[1:]] + [len(text)]
    for section, end in zip(sections, ends, strict=False):
        if section.group(1) in {"Args", "Arguments"}:
            body = text[section.end() : end]
            documented |= {name: " ".join(said.split()) for name, said in _PARAMETER.findall(body)}
    return about.strip(), documented


def schema_of(kind: Any, inside: tuple[object, ...] = ()) -> dict[str, object]:  # noqa: ANN401 - types are values here
    """The JSON schema of a type.

    Raises:
        TypeError: it has none (or contains itself).
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return {}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if origin is Annotated:
        schema = schema_of(arguments[0], inside)
        texts = [each for each in arguments[1:] if isinstance(each, str)]
        return schema | ({"description": texts[0]} if texts else {})
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {Union, UnionType}:
        return _union([schema_of(each, inside) for each in arguments])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if (origin or kind) in _ARRAYS:
        return _array(origin or kind, arguments, inside)
    if (origin or kind) in {dict, Mapping}:
        key, value = arguments or (str, Any)
        if key is not str:
            raise TypeError("the keys of a JSON object are strings")
        return {"type": "object", "additionalProperties": schema_of(value, inside)}
    if isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind)) and kind not in inside:
        return _class(kind, (*inside, kind))
    raise TypeError(f"no JSON schema for {kind!r}")


def _union(schemas: Sequence[dict[str, object]]) -> dict[str, object]:
    types = [schema.get("type") for schema in schemas]
    if all(len(schema) == 1 and isinstance(schema.get("type"), str) for schema in schemas):
        return {"type": types}
    return {"anyOf": list(schemas)}


def _array(origin: object, arguments: tuple[Any, ...], inside: tuple[object, ...]) -> dict[str, object]:
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        places = [schema_of(each, inside) for each in arguments]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
    schema = {"type": "array", "items": schema_of(arguments[0] if arguments else Any, inside)}
    return schema | ({"uniqueItems": True} if origin in {set, frozenset} else {})


def _class(kind: type, inside: tuple[object, ...]) -> dict[str, object]:
    hints = get_type_hints(kind, include_extras=True)
    if attrs.has(kind):
        fields = [
            (each.alias or each.name, each.name, each.default is attrs.NOTHING)
            for each in attrs.fields(kind)
            if each.init
        ]
    else:
        fields = [
            (each.name, each.name, each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING)
            for each in dataclasses.fields(kind)
            if each.init
        ]
    properties = {name: schema_of(hints[attribute], inside) for name, attribute, _ in fields}
    schema = _object(properties, [name for name, _, required in fields if required])
    # attrs and dataclasses write a docstring of their own where there is none.
    about = inspect.cleandoc(kind.__doc__ or "")
    return schema | ({"description": about} if about and not about.startswith(f"{kind.__name__}(") else {})


def _is_plain_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


@functools.cache
def converter() -> cattrs.Converter:
    """Reads arguments strictly and writes results; made on first use."""
    made = cattrs.Converter(forbid_extra_keys=True, use_alias=True)
    register_scalars(made)
    configure_union_passthrough(Union[str, int, float, bool, None], made, accept_ints_as_floats=True)
    made.register_structure_hook_func(lambda kind: kind is NoneType, _expect_none)
    made.register_structure_hook_func(_is_literal, _expect_literal)
    made.register_structure_hook_factory(_is_array, lambda kind: _expect_array(kind, made))
    made.register_structure_hook_factory(_is_object, lambda kind: _expect_object(kind, made))
    return made


def _is_literal(kind: object) -> bool:
    origin: object = get_origin(kind)
    return origin is Literal


def _is_array(kind: object) -> bool:
    return (get_origin(kind) or kind) in _ARRAYS


def _is_object(kind: object) -> bool:
    plain = (get_origin(kind) or kind) in {dict, Mapping}
    return plain or (isinstance(kind, type) and (attrs.has(kind) or dataclasses.is_dataclass(kind)))


def _expect_array(kind: Any, made: cattrs.Converter) -> Callable[[object, object], object]:  # noqa: ANN401 - a type
    """Ask first: cattrs takes whatever can be iterated, so that "abc" would be three strings."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    into: Callable[[list[Any]], object] = {tuple: tuple, set: set, frozenset: frozenset}.get(origin, list)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        places = [made.get_structure_hook(each) for each in arguments]

        def read_places(value: object, _: object) -> object:
            if not isinstance(value, list) or len(value) != len(places):
                raise Wrong(f"expected an array of {len(places)}, got {json_kind(value)}")
            return tuple(read(each, kind) for read, each, kind in zip(places, value, arguments, strict=True))

        return read_places
    of: Any = GenericAlias(list, arguments[:1] or (Any,))  # cattrs takes it, and says that it takes classes only
    read_all = list_structure_factory(of, made)

    def read_array(value: object, _: object) -> object:
        if not isinstance(value, list):
            raise Wrong(f"expected an array, got {json_kind(value)}")
        return into(read_all(value, list))

    return read_array


def _expect_object(kind: Any, made: cattrs.Converter) -> Callable[[object, object], object]:  # noqa: ANN401 - a type
    if (get_origin(kind) or kind) in {dict, Mapping}:
        of: Any = GenericAlias(dict, get_args(kind) or (str, Any))  # as above
        read: Callable[..., object] = mapping_structure_factory(of, made)
    else:
        read = make_dict_structure_fn(kind, made, _cattrs_forbid_extra_keys=True, _cattrs_use_alias=True)

    def read_object(value: object, _: object) -> object:
        if not isinstance(value, dict):
            raise Wrong(f"expected an object, got {json_kind(value)}")
        return read(value, kind)

    return read_object


def _expect_literal(value: object, kind: Any) -> object:  # noqa: ANN401 - a type
    choices = get_args(kind)
    if not any(type(value) is type(each) and value == each for each in choices):
        raise Wrong(f"expected one of {', '.join(map(repr, choices))}")
    return value


def _expect_none(value: object, _: object) -> None:
    if value is not None:
        raise Wrong(f"expected null, got {json_kind(value)}")
