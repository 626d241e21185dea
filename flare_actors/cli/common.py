"""What several commands share: reading the configuration, telling progress, setting logs up."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click

if TYPE_CHECKING:
    from flare_actors.config import Config, Flag, Secret
    from flare_actors.providers.weights import Progress

__all__ = ["API_KEY_VARIABLE", "FetchBar", "config_option", "log_options", "megabytes", "read_config", "set_logs_up"]

API_KEY_VARIABLE: Final = "FLARE_ACTORS_API_KEY"

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="FLARE_ACTORS_CONFIG",
    show_envvar=True,
    help="The agent's TOML file: instructions, engines, timeouts. Without one: the embedded engines.",
)


def log_options(command: Any) -> Any:  # noqa: ANN401 # click's decorators are typed so
    """Add ``--log-format``, ``--log-level`` and ``--log-speech``."""
    for option in (
        click.option(
            "--log-speech", is_flag=True, default=None, help="Also log what is said. Off: no line holds any speech."
        ),
        click.option(
            "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="The least that is logged."
        ),
        click.option(
            "--log-format",
            type=click.Choice(["auto", "terminal", "json"]),
            help="auto: readable on a terminal, JSON otherwise.",
        ),
    ):
        command = option(command)
    return command


def read_config(file: Path | None, flags: dict[str, tuple[str, object]]) -> Config:
    """Read file, environment and flags.

    Args:
        file: the TOML file, if any.
        flags: by dotted path: the flag's name and its value; None and () mean that it was not given.

    Raises:
        ConfigError: a line per mistake.
    """
    from flare_actors.config import Flag, load
    from flare_actors.providers import registry

    given: list[Flag] = [
        Flag(tuple(path.split(".")), value, name) for path, (name, value) in flags.items() if value not in (None, ())
    ]
    return load(file, catalogue=registry, environ=os.environ, flags=tuple(given))


def set_logs_up(config: Config, *, secrets: tuple[Secret, ...] = (), level: str | None = None) -> None:
    """Configure the process's logs as ``[logs]`` says.

    Args:
        config: the configuration.
        secrets: never written; the keys of the configured engines are not either.
        level: instead of the configured one.
    """
    from flare_actors.logs import configure_logs

    configure_logs(
        log_format=config.logs.format,
        level=level or config.logs.level,  # type: ignore[arg-type] # click has checked it
        speech=config.logs.speech,
        secrets=(*secrets, *_provider_keys(config)),
    )


def _provider_keys(config: Config) -> tuple[Secret, ...]:
    """The keys of served engines. One that cannot be read is its engine's to complain of, when it is opened."""
    from flare_actors.config import secret_from_environment, secret_from_file
    from flare_actors.errors import ConfigError

    found = []
    for choice in (each for chosen in config.providers.values() for each in chosen.all):
        variable, file = (getattr(choice.settings, name, None) for name in ("api_key_env", "api_key_file"))
        if variable is not None:
            with contextlib.suppress(ConfigError):
                found.append(secret_from_environment(variable, where=choice.use))
        if file is not None:
            with contextlib.suppress(ConfigError):
                found.append(secret_from_file(file, where=choice.use))
    return tuple(found)


def megabytes(count: int) -> str:
    """``94 MB``."""
    return f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


class FetchBar:
    """A progress bar on stderr, or two lines where that is no terminal. Use as a context manager; call it with progress."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._done = 0
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        """Show how far it is."""
        if progress.weights.name != self._name:
            self._finish()
            self._start(progress)
        if self._bar is not None:
            self._bar.update(progress.done - self._done)
            self._done = progress.done
        if progress.done >= progress.total:
            self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None

    def _start(self, progress: Progress) -> None:
        self._name = progress.weights.name
        self._done = 0
        label = f"fetching {self._name} ({megabytes(progress.total)}, once)"
        if sys.stderr.isatty():
            self._bar = click.progressbar(length=progress.total, label=label, file=sys.stderr, show_eta=True)
            self._bar.__enter__()
        else:
            click.echo(label, err=True)

    def _finish(self) -> None:
        if self._name is None:
            return
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None
        click.echo(f"fetched {self._name}, checksum right", err=True)
        self._name = None
