"""Whole sessions on virtual time, made up from a seed: nobody may be stuck, nothing may leak, no promise may break.

    report = simulate(sessions=100, virtual_hours=5, seed=1)
    assert not report.violations

The same seed gives the same traces on every machine. On the command line: ``flare-actors simulate``.
"""

from flare_actors.testing.simulation.player import play
from flare_actors.testing.simulation.run import Report, shrink, simulate
from flare_actors.testing.simulation.script import (
    CHANGES,
    FAULT_KINDS,
    MOVES,
    Move,
    Script,
    load_script,
    make_script,
    save_script,
)
from flare_actors.testing.simulation.watch import Outcome, Violation

__all__ = [
    "CHANGES",
    "FAULT_KINDS",
    "MOVES",
    "Move",
    "Outcome",
    "Report",
    "Script",
    "Violation",
    "load_script",
    "make_script",
    "play",
    "save_script",
    "shrink",
    "simulate",
]
