"""May a run be trusted? A loop that always does the same is timed before and after, and others' work is counted.

The limits are generous: on a quiet machine the loop's times agree within a few per cent. A run that fails them is still
printed; it says so.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.report import percentile

__all__ = ["NoiseCheck"]

_LOOPS: Final = 40
_SPREAD: Final = 1.25
"""The loop's slowest tenth over its median."""
_DRIFT: Final = 1.10
"""Its median after over the one before, or the other way round: another clock rate, or another neighbour."""
_OTHERS: Final = 0.15
"""Cores that other processes kept busy."""


def _loop() -> list[float]:
    """Seconds that each of many equal pieces of work takes (about 2 ms)."""
    took = []
    for _ in range(_LOOPS):
        started = time.perf_counter()
        total = 0
        for number in range(40_000):
            total += number & 7
        took.append(time.perf_counter() - started)
    return took


def _busy_s() -> float | None:
    """Seconds of work of all cores since the machine's start; None where that is not told."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, stat.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@attrs.define
class NoiseCheck:
    """Made before the run; ``finish`` after it."""

    _before: list[float] = attrs.field(factory=_loop, init=False)
    _busy: float | None = attrs.field(factory=_busy_s, init=False)
    _own: float = attrs.field(factory=_own_s, init=False)
    _at: float = attrs.field(factory=time.perf_counter, init=False)

    def finish(self) -> dict[str, Any]:
        """What was found, and whether the run is to be trusted; counts work of child processes that have ended as ours."""
        busy, elapsed = _busy_s(), time.perf_counter() - self._at
        others = None
        if busy is not None and self._busy is not None:
            others = max(0.0, (busy - self._busy - (_own_s() - self._own)) / elapsed)
        after = _loop()
        before = statistics.median(self._before)
        drift = statistics.median(after) / before
        spread = percentile([*self._before, *after], 0.9) / min(before, statistics.median(after))
        why = []
        if spread > _SPREAD:
            why.append(f"equal work took up to {spread:.2f} times as long (limit {_SPREAD})")
        if not 1 / _DRIFT <= drift <= _DRIFT:
            why.append(f"equal work took {drift:.2f} times as long after the run as before it (limit {_DRIFT})")
        if others is not None and others > _OTHERS:
            why.append(f"other processes kept {others:.2f} cores busy (limit {_OTHERS})")
        return {
            "trusted": not why,
            "why": why,
            "spread": round(spread, 3),
            "drift": round(drift, 3),
            "others_cores": None if others is None else round(others, 3),
        }
