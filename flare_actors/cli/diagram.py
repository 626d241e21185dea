"""``flare-actors diagram``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from flare_actors.errors import ConfigError

__all__ = ["diagram"]


@click.command(short_help="Draw the states of a conversation, from the table that runs it.")
@click.option("--format", "kind", type=click.Choice(["mermaid", "dot", "png"]), default="mermaid", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write there instead of to stdout.")
def diagram(kind: str, out: Path | None) -> None:
    """Draw the ten states and their transitions, from the table that runs every conversation.

    \b
    flare-actors diagram                                   Mermaid, as GitHub draws it
    flare-actors diagram --format dot | dot -Tsvg          with Graphviz
    flare-actors diagram --format png --out states.png     needs the extra `plot`
    """  # noqa: D301 # click reads \b as "do not wrap"
    from flare_actors.conversation.diagram import dot, mermaid

    if kind == "png":
        if out is None and sys.stdout.isatty():
            raise click.UsageError("a picture does not belong on a terminal; give --out states.png")
        from flare_actors.cli.picture import png

        _write(png(), out)
    else:
        _write((mermaid() if kind == "mermaid" else dot()).encode(), out)


def _write(content: bytes, out: Path | None) -> None:
    if out is None:
        click.echo(content, nl=False)
        return
    try:
        out.write_bytes(content)
    except OSError as fault:
        raise ConfigError(f"--out {out}: cannot be written: {fault.strerror}") from None
