"""``flare-actors simulate``: whole sessions on virtual time, held against every promise."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import click

if TYPE_CHECKING:
    from flare_actors.testing.simulation import Outcome, Report, Script

__all__ = ["simulate"]


@click.command(short_help="Simulate whole sessions with faults, and look for broken promises.")
@click.option("--sessions", type=click.IntRange(1, 10_000_000), default=100, show_default=True, help="How many.")
@click.option(
    "--virtual-hours",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="How long they last together, at most: one that ends early is not replaced. Idle time costs nothing.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another one makes other sessions up.")
@click.option(
    "--faults",
    default="all",
    show_default=True,
    help="What engines may do wrong: all, none, or some of hang, raise, crash, crash_group, stop, give, slow, stubborn.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), help="Processes that share the work; default: one per processor core."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--shrink", is_flag=True, help="Make the first failing session small before it is saved.")
@click.option("--replay", type=click.Path(path_type=Path), help="Play one saved session again.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write every event of every session to this file.")
@click.option(
    "--save",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder for sessions that broke a promise; default: this one.",
)
def simulate(
    sessions: int,
    virtual_hours: float,
    seed: int,
    faults: str,
    jobs: int | None,
    as_json: bool,
    shrink: bool,
    replay: Path | None,
    trace: Path | None,
    save: Path,
) -> None:
    """Simulate whole sessions on virtual time: the real session, a made-up client, engines that fail.

    The same seed gives the same traces, on every machine. Exit code 1: a promise was broken; each such
    session is saved, and the command that plays it again is printed.
    """
    try:
        from flare_actors.testing import simulation
    except ModuleNotFoundError as error:
        raise click.ClickException(f'{error.name} is not installed: pip install "flare-actors[test]"') from None
    kinds = _kinds(faults, simulation.FAULT_KINDS)
    for folder in (save, *([trace.parent] if trace is not None else [])):
        if not folder.is_dir():
            raise click.UsageError(f"there is no folder '{folder}'; create it first")
    if replay is not None:
        _replay(simulation.load_script(replay), trace, save if shrink else None)
        return
    report = simulation.Report(seed=seed)
    with _lines(trace) as write, _Progress(sessions) as tell:

        def watch(outcome: Outcome) -> None:
            write(outcome)
            tell(outcome)

        report = simulation.simulate(
            sessions=sessions,
            virtual_hours=virtual_hours,
            seed=seed,
            faults=kinds,
            watch=watch,
            keep=None if trace is not None else 200,
            jobs=min(sessions, jobs or os.cpu_count() or 1),
        )
    click.echo(json.dumps(report.as_json()) if as_json else _text(report))
    for number, (script, outcome) in enumerate(report.failed):
        _save(*(simulation.shrink(script) if shrink and number == 0 else (script, outcome)), save)
    if report.failed:
        raise SystemExit(1)


def _kinds(faults: str, known: Sequence[str]) -> tuple[str, ...]:
    if faults in {"all", "none"}:
        return tuple(known) if faults == "all" else ()
    kinds = tuple(kind.strip() for kind in faults.split(","))
    if unknown := [kind for kind in kinds if kind not in known]:
        raise click.UsageError(
            f"--faults: no such fault: {', '.join(unknown)}; choose all, none, or of {', '.join(known)}"
        )
    return kinds


class _lines:  # noqa: N801 - used like a function
    """Writes the traces to a file, if there is one."""

    def __init__(self, file: Path | None) -> None:
        self._file = None if file is None else file.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __call__(self, outcome: Outcome) -> None:
        if self._file is not None:
            self._file.writelines(f"{line}\n" for line in outcome.trace)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


class _Progress:
    """One line on stderr that tells how far it is, wiped at the end. Where that is no terminal, nothing.

    Args:
        sessions: how many are to be simulated.
        now: seconds, from any moment on.
    """

    EVERY_S: Final = 1.0  # a terminal may be at the end of a slow line; nobody reads faster

    def __init__(self, sessions: int, now: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._now = now
        self._shown = sys.stderr.isatty()
        self._begun = self._due = now()
        self._done = self._turns = self._violations = 0
        self._width = 0

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __call__(self, outcome: Outcome) -> None:
        """One more is done."""
        self._done += 1
        self._turns += outcome.turns
        self._violations += bool(outcome.violation)
        self._draw()

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo(f"\r{'':{self._width}}\r", nl=False, err=True)

    def _draw(self) -> None:
        now = self._now()
        if not self._shown or now < self._due:
            return
        self._due = now + self.EVERY_S
        line = (
            f"{self._done} of {self._sessions} sessions, {self._turns} turns, {now - self._begun:.0f} s, "
            f"violations: {self._violations}"
        )
        line = line[: _columns() - 1]  # one that wraps could not be drawn over
        click.echo(f"\r{line:{self._width}}", nl=False, err=True)
        self._width = len(line)


def _columns() -> int:
    """Of stderr's terminal; ``shutil`` asks for stdout's, which may be a file."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def _replay(script: Script, trace: Path | None, save: Path | None) -> None:
    from flare_actors.testing import simulation

    outcome = simulation.play(script, keep=None)
    if outcome.violation and save is not None:
        script, outcome = simulation.shrink(script)
        _save(script, outcome, save)
    with _lines(trace) as write:
        write(outcome)
    for line in outcome.trace if trace is None else ():
        click.echo(line)
    click.echo(
        f"{outcome.turns} turns, {outcome.virtual_seconds:.1f} s: {outcome.violation or 'no promise was broken'}"
    )
    if outcome.violation:
        raise SystemExit(1)


def _save(script: Script, outcome: Outcome, folder: Path) -> None:
    from flare_actors.testing import simulation

    file = folder / f"simulated-{script.seed}-{script.number}.json"
    simulation.save_script(script, file, violation=outcome.violation, trace=outcome.trace)
    click.echo(f"session {script.number}, {len(script.moves)} moves: {outcome.violation}", err=True)
    click.echo(f"play it again: flare-actors simulate --replay {file}", err=True)


def _text(report: Report) -> str:
    figures = report.as_json()
    return "\n".join(_rows(figures))


def _rows(figures: dict[str, object]) -> Iterator[str]:
    for name, value in figures.items():
        yield f"{name.replace('_', ' '):18} {value}"
