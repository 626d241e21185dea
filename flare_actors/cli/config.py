"""``flare-actors config``: look at a configuration without running it."""

from __future__ import annotations

from pathlib import Path

import click

from flare_actors.cli.common import config_option, read_config

__all__ = ["config"]


@click.group(short_help="Check a configuration, or see every setting with its value.")
def config() -> None:
    """Check a configuration, or see every setting with its value.

    A later layer wins: defaults, the TOML file, variables (FLARE_ACTORS_SERVER__PORT=9000), flags.
    """


@config.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check FILE and tell all that is wrong with it.

    Nothing is loaded or fetched, and the functions of [agent] tools are not looked for.
    """
    checked = read_config(file, {})
    engines = ", ".join(f"{stage} {choice}" for stage, choice in checked.providers.items())
    click.echo(f"{file}: right ({engines})")


@config.command()
def reference() -> None:
    """Print every setting with its type, default and meaning, as Markdown."""
    from flare_actors.config.describe import markdown

    click.echo(markdown(), nl=False)


@config.command()
@config_option
def show(config_file: Path | None) -> None:
    """Print the configuration that is in force, as a TOML file with every setting that has a value."""
    import tomli_w

    from flare_actors.config import dump

    click.echo(tomli_w.dumps(dump(read_config(config_file, {}))), nl=False)
