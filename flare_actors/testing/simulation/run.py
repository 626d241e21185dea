"""Many simulated sessions, one after the other, and what becomes of them; a failing one is made small."""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any, Final

import attrs

from flare_actors.testing.simulation.player import play
from flare_actors.testing.simulation.script import FAULT_KINDS, Move, Script, make_script
from flare_actors.testing.simulation.watch import Outcome

__all__ = ["Report", "shrink", "simulate"]

_AHEAD: Final = 8  # sessions given to each process ahead of the one that is waited for: they differ in length


@attrs.define(kw_only=True)
class Report:
    """What became of all sessions."""

    seed: int
    sessions: int = 0
    conversations: int = 0
    turns: int = 0
    barge_ins: int = 0
    pauses: int = 0
    """How often an answer stood still because the user spoke,"""
    resumed: int = 0
    """... and how often it went on."""
    faults: int = 0
    """That a session noticed."""
    violations: int = 0
    stuck: int = 0
    leaked_tasks: int = 0
    steps: int = 0
    virtual_seconds: float = 0.0
    real_seconds: float = 0.0
    trace_sha256: str = ""
    """Of all traces: the same for the same arguments, on every machine."""
    failed: list[tuple[Script, Outcome]] = attrs.Factory(list)
    """The first sessions that broke a promise."""

    def as_json(self) -> dict[str, Any]:
        """The figures, for ``--json``."""
        figures = attrs.asdict(self, filter=lambda field, _: field.name != "failed")
        figures["turns_per_second"] = round(self.turns / self.real_seconds, 1) if self.real_seconds else 0.0
        figures["virtual_seconds"] = round(self.virtual_seconds, 3)
        figures["real_seconds"] = round(self.real_seconds, 3)
        return figures


def simulate(
    *,
    sessions: int,
    virtual_hours: float,
    seed: int,
    faults: Sequence[str] = FAULT_KINDS,
    turns: int | None = None,
    watch: Callable[[Outcome], None] = lambda _: None,
    keep: int | None = 200,
    jobs: int = 1,
) -> Report:
    """Simulate ``sessions`` sessions that last ``virtual_hours`` together.

    Args:
        sessions: how many.
        virtual_hours: of all of them, about; a session that ends early is not replaced.
        seed: another one makes others up.
        faults: which kinds of ``FAULT_KINDS`` may strike; none: everything is healthy.
        turns: stop after the session in which so many turns are reached; None: do all.
        watch: told of each session.
        keep: how many of each session's last events to keep; None: all.
        jobs: processes that share the work; what comes out does not depend on it. More than one are fresh ones, in which
            the caller's main module is imported again (guard it with ``if __name__ == "__main__"``).
    """
    report = Report(seed=seed)
    digest = hashlib.sha256()
    begun = time.perf_counter()
    seconds = virtual_hours * 3600 / sessions
    one = partial(_play_one, seed, seconds=seconds, faults=tuple(faults), keep=keep)
    with closing(_played(one, sessions, jobs)) as outcomes:
        for outcome in outcomes:
            _add(report, outcome)
            digest.update(outcome.digest.encode())
            if outcome.violation and len(report.failed) < 10:
                script = make_script(seed, outcome.number, seconds=seconds, faults=tuple(faults))
                report.failed.append((script, outcome))
            report.real_seconds = time.perf_counter() - begun
            watch(outcome)
            if turns is not None and report.turns >= turns:
                break
    report.trace_sha256 = digest.hexdigest()
    return report


def _add(report: Report, outcome: Outcome) -> None:
    report.sessions += 1
    for name in (
        "conversations",
        "turns",
        "barge_ins",
        "pauses",
        "resumed",
        "faults",
        "leaked_tasks",
        "steps",
        "virtual_seconds",
    ):
        setattr(report, name, getattr(report, name) + getattr(outcome, name))
    report.stuck += outcome.stuck
    report.violations += bool(outcome.violation)


def _play_one(seed: int, number: int, *, seconds: float, faults: tuple[str, ...], keep: int | None) -> Outcome:
    return play(make_script(seed, number, seconds=seconds, faults=faults), keep=keep)


def _played(one: Callable[[int], Outcome], sessions: int, jobs: int) -> Generator[Outcome]:
    """The sessions' outcomes in order, whoever plays them."""
    if jobs == 1:
        yield from map(one, range(sessions))
        return
    # A fork would share the parent's threads and Trio's state with it.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        numbers = iter(range(sessions))
        waiting: deque[Future[Outcome]] = deque()
        try:
            while True:
                waiting += [
                    pool.submit(one, number) for number in itertools.islice(numbers, _AHEAD * jobs - len(waiting))
                ]
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def shrink(script: Script, *, most: int = 400) -> tuple[Script, Outcome]:
    """Make a failing script smaller for as long as it fails: fewer moves, faults and choices, no waiting.

    Args:
        script: one whose ``play`` has a violation.
        most: how many tries.
    """
    best = play(script)
    tries = 0
    smaller = True
    while smaller and tries < most:
        smaller = False
        for candidate in _smaller(script):
            tries += 1
            outcome = play(candidate)
            if outcome.violation:
                script, best, smaller = candidate, outcome, True
                break
            if tries >= most:
                break
    return script, best


def _smaller(script: Script) -> Iterator[Script]:
    size = len(script.moves)
    while size >= 1:
        for start in range(0, len(script.moves), size):
            yield attrs.evolve(script, moves=script.moves[:start] + script.moves[start + size :])
        size //= 2
    for stage, plan in script.faults.items():
        if any(plan):
            yield attrs.evolve(script, faults={**script.faults, stage: ()})
            for index, fault in enumerate(plan):
                if fault is not None:
                    fewer = (*plan[:index], None, *plan[index + 1 :])
                    yield attrs.evolve(script, faults={**script.faults, stage: fewer})
    if any(move.after for move in script.moves):
        yield attrs.evolve(script, moves=tuple(Move(kind=m.kind, amount=m.amount) for m in script.moves))
    for name in script.settings:
        yield attrs.evolve(script, settings={key: value for key, value in script.settings.items() if key != name})
    if script.drains:
        yield attrs.evolve(script, drains=False)
