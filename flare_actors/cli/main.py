"""The group of commands, and the only place where exceptions become exit codes.

0: done. 1: it failed while running. 2: the command line or the configuration is wrong. 130: interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, NoReturn

import click

from flare_actors.cli.config import config
from flare_actors.cli.diagram import diagram
from flare_actors.cli.doctor import doctor
from flare_actors.cli.models import models
from flare_actors.cli.serve import serve
from flare_actors.cli.simulate import simulate
from flare_actors.cli.talk import talk
from flare_actors.errors import ConfigError, FlareError, UnsupportedLocale

__all__ = ["main"]

OK: Final = 0
FAILED: Final = 1
WRONG: Final = 2
INTERRUPTED: Final = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="flare-actors", prog_name="flare-actors")
def cli() -> None:
    """Realtime voice conversations on Trio.

    \b
    flare-actors serve              talk to it: a page in your browser, engines on your CPU
    flare-actors talk question.wav  let a recording ask, and see how long the answer takes
    flare-actors doctor             does every engine work? says what to fix
    flare-actors config show        see every setting with its value

    Nothing leaves this machine unless a configuration file says so.
    """  # noqa: D301 # click reads \b as "do not wrap"


for command in (serve, talk, doctor, models, config, diagram, simulate):
    cli.add_command(command)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    A bug flies through, and its traceback is printed without anybody's words: they may be speech, or hold a key.

    Args:
        args: what was typed after the program's name; None: take it from the process.
    """
    sys.excepthook = _tell_bug
    sys.exit(_run(args))


def _run(args: Sequence[str] | None) -> int:
    try:
        result = cli.main(args, prog_name="flare-actors", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain once more while it shuts down.
        sys.stdout = None  # as the interpreter itself does
        return OK
    except FlareError as fault:
        return _tell([fault])
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            return INTERRUPTED
        faults = [leaf for leaf in leaves if isinstance(leaf, FlareError)]
        if len(faults) < len(leaves):
            raise
        return _tell(faults)
    return result if isinstance(result, int) else OK


def _tell(faults: Sequence[FlareError]) -> int:
    """Say what went wrong, a line per mistake."""
    for fault in faults:
        for line in str(fault).splitlines():
            click.echo(f"Error: {line}", err=True)
    return WRONG if all(isinstance(fault, (ConfigError, UnsupportedLocale)) for fault in faults) else FAILED


def _tell_bug(_kind: type[BaseException], bug: BaseException, _trace: TracebackType | None) -> None:
    from flare_actors.logs import describe_exception

    click.echo(describe_exception(bug), err=True)
    click.echo("Error: this is a bug in flare-actors or in an engine; please report it with the lines above", err=True)


def _leaves(fault: BaseException) -> Iterator[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        for each in fault.exceptions:
            yield from _leaves(each)
    else:
        yield fault
