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
from flare_actors.providers.batch.redecode import Redecoding
from flare_actors.providers.compose.settings import Attempts, Switching

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
    problems += _impatient(cast("Settings | None", sections["conversation"]), providers)
    problems += [
        Problem((name,), f"unknown table; {suggest(name, _TABLES)}", unknown=True)
        for name in data
        if name not in _TABLES
    ]
    if problems:
        known = {**SECTIONS, **{f"providers.{stage}": type(each.settings) for stage, each in providers.items()}}
        known |= {f"providers.{stage}.attempts": Attempts for stage in STAGES if stage != "vad"}
        known |= {
            f"{table}.{field.name}": field.type
            for table, cls in SECTIONS.items()
            for field in attrs.fields(attrs.resolve_types(cls))
            if isinstance(field.type, type) and attrs.has(field.type)
        }
        lines = [_tell(problem, sources, file, known) for problem in problems]
        raise ConfigError("\n".join(dict.fromkeys(lines)))
    return Config(providers=providers, **cast("dict[str, Any]", sections))


def dump(config: Config) -> dict[str, Any]:
    """Give the plain data of a TOML file that would load as ``config``."""
    data = {name: unstructure(getattr(config, name)) for name in SECTIONS}
    data["providers"] = {stage: _dump_choice(choice) for stage, choice in config.providers.items()}
    return data


def _dump_choice(choice: ProviderChoice) -> dict[str, Any]:
    data: dict[str, Any] = {"use": choice.use, **unstructure(choice.settings)}
    if choice.attempts is not None:
        data["attempts"] = unstructure(choice.attempts)
    if choice.redecoding is not None:
        data["redecoding"] = unstructure(choice.redecoding)
    if choice.fallback:
        data["switching"] = unstructure(choice.switching)
        data["fallback"] = [_dump_choice(each) for each in choice.fallback]
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
        choice = _Choices(stage, catalogue, base, problems).read(data.get(stage, {}), ("providers", stage))
        if choice is not None:
            choices[stage] = choice
    return choices


@attrs.frozen
class _Choices:
    """Reads one stage's providers."""

    stage: Stage
    catalogue: Catalogue
    base: Path
    problems: list[Problem]

    def read(self, table: object, path: tuple[str, ...], *, nested: bool = False) -> ProviderChoice | None:
        """Read a provider with everything that stands around it; a nested one is a fallback, and has none of its own."""
        if not isinstance(table, Mapping):
            self._blame(path, 'must be a table, with use = "NAME"')
            return None
        around: tuple[str, ...] = (
            () if self.stage == "vad" else ("attempts",) if nested else ("attempts", "fallback", "switching")
        )
        around += ("redecoding",) if self.stage == "stt" else ()
        own = {key: each for key, each in table.items() if key != "use" and key not in around}
        if self.stage == "vad" and "fallback" in own:
            del own["fallback"]
            self._blame((*path, "fallback"), "voice activity detection has none: it runs in this process, all the time")
        use = table.get("use", None if nested else self.catalogue.names(self.stage)[0])
        if use is None:
            self._blame((*path, "use"), f"is missing: name one of {', '.join(self.catalogue.names(self.stage))}")
            return None
        cls = self.catalogue.settings_class(self.stage, use) if isinstance(use, str) else None
        if cls is None:
            known = self.catalogue.names(self.stage)
            self._blame((*path, "use"), f"no such provider: {use!r}; {suggest(str(use), known)}")
            return None
        settings: object = self._structure(own, cls, path)
        attempts = switching = redecoding = None
        if "attempts" in around and "attempts" in table:
            attempts = self._structure(table["attempts"], Attempts, (*path, "attempts"))
        if "redecoding" in around and "redecoding" in table:
            redecoding = self._structure(table["redecoding"], Redecoding, (*path, "redecoding"))
        if "switching" in around and "switching" in table:
            switching = self._structure(table["switching"], Switching, (*path, "switching"))
        fallback = self._fallback(table.get("fallback", []), path) if "fallback" in around else ()
        if switching is not None and not fallback:
            self._blame((*path, "switching"), f"there is nobody to switch to; add [[{'.'.join(path)}.fallback]]")
        if settings is None:
            return None
        return ProviderChoice(
            use=str(use),
            settings=settings,
            attempts=attempts,
            redecoding=redecoding,
            fallback=fallback,
            switching=switching or Switching(),
        )

    def _fallback(self, tables: object, path: tuple[str, ...]) -> tuple[ProviderChoice, ...]:
        if not isinstance(tables, list):
            header = f"[[{'.'.join(path)}.fallback]]"
            self._blame((*path, "fallback"), f"must be a list of tables: write {header}, in two brackets")
            return ()
        read = [
            self.read(each, (*path, f"fallback.{number}"), nested=True) for number, each in enumerate(tables, start=1)
        ]
        return tuple(each for each in read if each is not None)

    def _structure(self, table: object, cls: type[_T], path: tuple[str, ...]) -> _T | None:
        if not isinstance(table, Mapping):
            self._blame(path, "must be a table")
            return None
        made, found = structure(table, cls, base=self.base)
        self.problems.extend(attrs.evolve(each, path=(*path, *each.path)) for each in found)
        return made

    def _blame(self, path: tuple[str, ...], message: str) -> None:
        self.problems.append(Problem(path, message))


def _impatient(settings: Settings | None, providers: Mapping[Stage, ProviderChoice]) -> Iterator[Problem]:
    """A session that gives up before the last fallback could have been asked."""
    if settings is None:
        return
    timeouts = settings.timeouts
    first: dict[Stage, tuple[str, float]] = {
        "stt": ("stt_final_s", timeouts.stt_final_s),
        "llm": ("llm_first_s", timeouts.llm_first_s),
        "tts": ("tts_first_s", timeouts.tts_first_s),
    }
    for stage, choice in providers.items():
        if not choice.fallback:
            continue
        waits = [each.attempts or Attempts() for each in choice.all]
        connect_s = sum(each.connect_s for each in waits[:-1])
        first_s = sum(each.first_s for each in waits[:-1]) + sum(each.connect_s for each in waits[1:])
        for (key, session_s), needed_s in (
            (("connect_s", timeouts.connect_s), connect_s),
            (first[stage], first_s),
        ):
            if needed_s >= session_s:
                yield Problem(
                    ("conversation", "timeouts", key),
                    f"must be more than the {needed_s:g} s after which the last [[providers.{stage}.fallback]] is asked, got "
                    f"{session_s:g}; raise it, or lower [providers.{stage}.attempts]",
                )


def _unspoken(
    settings: Settings | None, providers: Mapping[Stage, ProviderChoice], catalogue: Catalogue
) -> Iterator[Problem]:
    """A locale that an engine does not know."""
    if settings is None:
        return
    for stage, choice in providers.items():
        silent = stage == "tts" and settings.output is Output.TEXT
        for each in choice.all:
            locales = catalogue.locales(stage, each.use)
            if locales is not None and not silent and not locale_supported(settings.locale, locales):
                fix = f"{each.use} ([providers.{stage}]) knows {', '.join(locales)}; choose one of these, or another provider"
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
            elsewhere.sort(key=lambda name: not name.startswith(".".join(table)))  # rather near than far
            if elsewhere:
                message = f"unknown key here; it belongs into [{elsewhere[0]}]"
    return f"{where}: {message}"
