"""Every setting with its type, default and meaning, read from the classes that hold them: a reference that cannot go stale."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from flare_actors.config.load import SECTIONS, STAGES
from flare_actors.config.structure import no_number
from flare_actors.providers import registry
from flare_actors.providers.batch.redecode import Redecoding
from flare_actors.providers.compose.settings import Attempts, Switching

__all__ = ["Setting", "Table", "markdown", "tables"]


@attrs.frozen(kw_only=True)
class Setting:
    """One key."""

    key: str
    kind: str
    """What may be written: ``number``, ``text``, ``"a" or "b"``."""
    default: str
    """As TOML; empty: there is none (the key may be left out), or it must be given."""
    required: bool
    meaning: str


@attrs.frozen(kw_only=True)
class Table:
    """One table of the file."""

    header: str
    """``[conversation.timeouts]``; a provider's with its ``use``."""
    meaning: str
    settings: tuple[Setting, ...]


def tables() -> tuple[Table, ...]:
    """All tables, in the order of the file."""
    found: list[Table] = []
    for name, cls in SECTIONS.items():
        found += _of_class(f"[{name}]", name, cls)
    for stage in STAGES:
        for use in registry.names(stage):
            provider = registry.provider(stage, use)
            header = f'[providers.{stage}] use = "{use}"'
            (table, *_) = _of_class(header, f"providers.{stage}", provider.settings)
            found.append(attrs.evolve(table, meaning=provider.summary[0].upper() + provider.summary[1:] + "."))
    found += _of_class("[providers.stt.redecoding]", "providers.stt.redecoding", Redecoding)
    found += _of_class("[providers.llm.attempts]", "providers.llm.attempts", Attempts)
    found += _of_class("[providers.llm.switching]", "providers.llm.switching", Switching)
    return tuple(found)


def markdown() -> str:
    """The reference as Markdown: a heading and a table of settings for each table of the file."""
    lines: list[str] = []
    for table in tables():
        lines += [f"### `{table.header}`", "", table.meaning, ""]
        if table.settings:
            lines += ["| key | value | default | |", "| --- | --- | --- | --- |"]
            lines += [_row(setting) for setting in table.settings]
        else:
            lines.append("Nothing to set.")
        lines.append("")
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    default = "*must be given*" if setting.required else f"`{setting.default}`" if setting.default else ""
    cells = (f"`{setting.key}`", setting.kind, default, setting.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _of_class(header: str, path: str, cls: type) -> Iterator[Table]:
    meanings = _meanings(cls)
    settings: list[Setting] = []
    inner: list[Table] = []
    # What many have in common comes last, after what is particular to this one.
    for field in sorted(attrs.fields(attrs.resolve_types(cls)), key=lambda each: each.inherited):
        if isinstance(field.type, type) and attrs.has(field.type):
            inner += _of_class(f"[{path}.{field.name}]", f"{path}.{field.name}", field.type)
            continue
        settings.append(
            Setting(
                key=field.name,
                kind=_kind(field.type, field.name),
                default=_default(field),
                required=field.default is attrs.NOTHING,
                meaning=_tidy(meanings.get(field.name) or _enum_meaning(field.type)),
            )
        )
    summary = _tidy((cls.__doc__ or "").split("\n\n", maxsplit=1)[0])
    yield Table(
        header=header, meaning=re.sub(r"^`\[.*?\]`: (\w)", lambda m: m[1].upper(), summary), settings=tuple(settings)
    )
    yield from inner


def _meanings(cls: type) -> Mapping[str, str]:
    """The docstrings below a class's fields, which Python itself throws away."""
    found: dict[str, str] = {}
    for each in reversed([base for base in cls.__mro__ if attrs.has(base)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as text)),
                ):
                    found[name] = text
                case _:
                    pass
    return found


def _enum_meaning(kind: object) -> str:
    return (
        (kind.__doc__ or "").split("\n\n", maxsplit=1)[0] if isinstance(kind, type) and issubclass(kind, Enum) else ""
    )


def _tidy(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("None:", "none:")


def _kind(kind: Any, key: str) -> str:  # noqa: ANN401 # an annotation
    plain = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    if kind in plain:
        return plain[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (only,) = (each for each in args if each is not type(None))
        return _kind(only, key) + (f', or `"{no_number(key)}"`' if only in (int, float) else "")
    if origin is Literal:
        return _one_of(args)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of([each.value for each in kind])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "table"
    assert isinstance(origin, type)
    assert issubclass(origin, Sequence)
    return f"list of {_kind(args[0], key)}s"


def _one_of(choices: Sequence[object]) -> str:
    return " or ".join(f'`"{choice}"`' for choice in choices)


def _default(field: attrs.Attribute[Any]) -> str:
    match field.default:
        case bool() as flag:
            return str(flag).lower()
        case int() | float() as number:
            return str(number)
        case Enum() as choice:
            return f'"{choice.value}"'
        case str() as text if text:
            return f'"{text}"'
        case tuple() as several if several:
            return "[" + ", ".join(f'"{each}"' for each in several) + "]"
        case None if {int, float} & set(get_args(field.type)):
            return f'"{no_number(field.name)}"'
        case _:
            return ""
