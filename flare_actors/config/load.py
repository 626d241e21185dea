"""File, environment and flags into one ``Config``, with every mistake told at once, by where it was made.

A later layer wins over an earlier one: defaults, the TOML file, ``FLARE_ACTORS_TABLE__KEY`` variables, flags.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast, get_args

import attrs

from flare_actors.config.model import AgentSection, Config, LogsSection, ProviderChoice, ServerSection
from flare_actors.config.secret import looks_secret
from flare_actors.config.structure import FromText, Problem, structure, suggest, unstructure
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output
from flare_actors.errors import ConfigError, Stage
from flare_actors.ports import Locales, locale_supported

__all__ = ["DEFAULT_WELCOME", "ENVIRONMENT_PREFIX", "SECTIONS", "STAGES", "Catalogue", "Flag", "dump", "load"]

_T = TypeVar("_T")

ENVIRONMENT_PREFIX: Final = "FLARE_ACTORS_"
DEFAULT_WELCOME: Final = "Hello! What would you like to talk about?"
"""Without a file there is somebody who tries this out, and who should hear at once that it works."""
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
SECTIONS: Final[Mapping[str, type]] = {
    "agent": AgentSection,
    "conversation": Settings,
    "server": ServerSection,
    "logs": LogsSection,
}
_TABLES: Final = (*SECTIONS, "providers")


class Catalogue(Protocol):
    """What providers there are."""

    def settings_class(self, stage: Stage, name: str) -> type | None:
        """Give the attrs class of that provider's settings; None: there is no such provider."""
        ...

    def names(self, stage: Stage) -> tuple[str, ...]:
        """Give the short names of a stage's providers; the first one is the default."""
        ...

    def locales(self, stage: Stage, name: str) -> Locales:
        """Give the locales that the provider is known to support; None: any, or it cannot be told before it is loaded."""
        ...


@attrs.frozen
class Flag:
    """A value from the command line."""

    path: tuple[str, ...]
    """``("server", "port")``."""
    value: object
    name: str
    """As it was typed, for messages: ``--port``."""


def load(
    file: Path | None, *, catalogue: Catalogue, environ: Mapping[str, str] | None = None, flags: tuple[Flag, ...] = ()
) -> Config:
    """Put the layers together.

    Args:
        file: the agent's TOML file; None: the lowest layer is the defaults and a welcome.
        catalogue: the providers that can be named.
        environ: environment variables; None: none.
        flags: what the command line adds.

    Raises:
        ConfigError: naming the file, variable or flag, the key, the value and the fix, a line per mistake.
    """
    data: dict[str, Any] = {"conversation": {"welcome": DEFAULT_WELCOME}} if file is None else _read(file)
    sources: dict[tuple[str, ...], str] = {}
    problems: list[Problem] = []
    for path, value, source in _overlays(environ or {}, flags, problems):
        if not _put(data, path, value):
            problems.append(Problem(path, "cannot be set: the file has a value, not a table, above it"))
        sources[path] = source

    base = Path() if file is None else file.parent
    sections = {name: _section(data, name, cls, base, problems) for name, cls in SECTIONS.items()}
    providers = _providers(data.get("providers", {}), catalogue, base, problems)
    problems += _unspoken(cast("Settings | None", sections["conversation"]), providers, catalogue)
    problems += [
        Problem((name,), f"unknown table; {suggest(name, _TABLES)}", unknown=True)
        for name in data
        if name not in _TABLES
    ]
    if problems:
        known = {**SECTIONS, **{f"providers.{stage}": type(each.settings) for stage, each in providers.items()}}
        lines = [_tell(problem, sources, file, known) for problem in problems]
        raise ConfigError("\n".join(dict.fromkeys(lines)))
    return Config(providers=providers, **cast("dict[str, Any]", sections))


def dump(config: Config) -> dict[str, Any]:
    """Give the plain data of a TOML file that would load as ``config``."""
    data = {name: unstructure(getattr(config, name)) for name in SECTIONS}
    data["providers"] = {
        stage: {"use": choice.use, **unstructure(choice.settings)} for stage, choice in config.providers.items()
    }
    return data


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file; examples/agent.toml is one to start from") from None
    except OSError as fault:
        raise ConfigError(f"{file}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text, which TOML must be") from None
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{file}: is not valid TOML: {fault}") from None
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply to be a configuration") from None


def _overlays(
    environ: Mapping[str, str], flags: tuple[Flag, ...], problems: list[Problem]
) -> Iterator[tuple[tuple[str, ...], object, str]]:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        path = tuple(name.lower().split("__"))
        if len(path) > 1:
            yield path, FromText(text), variable
            continue
        table, _, key = name.lower().partition("_")
        if key and table in _TABLES:
            # FLARE_ACTORS_SERVER_PORT: one underscore too few would otherwise be silence.
            meant = f"{ENVIRONMENT_PREFIX}{table.upper()}__{key.upper()}"
            problems.append(
                Problem((table, key), f"table and key are parted by two underscores: {meant}", source=variable)
            )
    for flag in flags:
        yield flag.path, flag.value, flag.name


def _put(data: dict[str, Any], path: tuple[str, ...], value: object) -> bool:
    table: object = data
    for key in path[:-1]:
        table = table.setdefault(key, {}) if isinstance(table, dict) else None
    if not isinstance(table, dict):
        return False
    table[path[-1]] = value
    return True


def _section(data: Mapping[str, Any], name: str, cls: type[_T], base: Path, problems: list[Problem]) -> _T | None:
    table = data.get(name, {})
    if not isinstance(table, Mapping):
        problems.append(Problem((name,), "must be a table"))
        return None
    made, found = structure(table, cls, base=base)
    problems += [attrs.evolve(each, path=(name, *each.path)) for each in found]
    return made


def _providers(data: object, catalogue: Catalogue, base: Path, problems: list[Problem]) -> dict[Stage, ProviderChoice]:
    if not isinstance(data, Mapping):
        problems.append(Problem(("providers",), "must be a table"))
        return {}
    problems += [
        Problem(("providers", name), f"unknown stage; {suggest(name, STAGES)}") for name in data if name not in STAGES
    ]
    choices: dict[Stage, ProviderChoice] = {}
    for stage in STAGES:
        path = ("providers", stage)
        table = data.get(stage, {})
        if not isinstance(table, Mapping):
            problems.append(Problem(path, 'must be a table, with use = "NAME"'))
            continue
        use = table.get("use", catalogue.names(stage)[0])
        cls = catalogue.settings_class(stage, use) if isinstance(use, str) else None
        if cls is None:
            problems.append(
                Problem((*path, "use"), f"no such provider: {use!r}; {suggest(str(use), catalogue.names(stage))}")
            )
            continue
        settings: object
        settings, found = structure({key: each for key, each in table.items() if key != "use"}, cls, base=base)
        problems += [attrs.evolve(each, path=(*path, *each.path)) for each in found]
        if settings is not None:
            choices[stage] = ProviderChoice(use=str(use), settings=settings)
    return choices


def _unspoken(
    settings: Settings | None, providers: Mapping[Stage, ProviderChoice], catalogue: Catalogue
) -> Iterator[Problem]:
    """A locale that an engine does not know."""
    if settings is None:
        return
    for stage, choice in providers.items():
        locales = catalogue.locales(stage, choice.use)
        silent = stage == "tts" and settings.output is Output.TEXT
        if locales is not None and not silent and not locale_supported(settings.locale, locales):
            fix = f"{choice.use} ([providers.{stage}]) knows {', '.join(locales)}; choose one of these, or another provider"
            yield Problem(("conversation", "locale"), f"{fix}, got {settings.locale!r}")


def _tell(
    problem: Problem, sources: Mapping[tuple[str, ...], str], file: Path | None, known: Mapping[str, type]
) -> str:
    """Make a line: ``agent.toml: [conversation] endpoint_s: must be > 0, got -1``."""
    *table, key = problem.path
    if len(problem.path) == 1:
        table, key = [key], ""
    where = problem.source or sources.get(problem.path)
    if where is None:
        where = f"{file or 'defaults'}: [{'.'.join(table)}]" + (f" {key}" if key else "")
    message = problem.message
    if problem.unknown and key:
        if looks_secret(key):
            message = f"unknown key; secrets do not belong into files: use {key}_env or {key}_file where there is one"
        else:
            elsewhere = [name for name, cls in known.items() if any(key == field.name for field in attrs.fields(cls))]
            if elsewhere:
                message = f"unknown key here; it belongs into [{elsewhere[0]}]"
    return f"{where}: {message}"
