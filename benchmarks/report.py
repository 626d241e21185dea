"""What a benchmark gives back: figures with their floors, and the machine and the versions beside them."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import attrs

from flare_actors.garbage import THRESHOLDS

__all__ = [
    "Metric",
    "Options",
    "machine",
    "percentile",
    "read_report",
    "reps",
    "summary",
    "table",
    "versions",
]

_DISTRIBUTIONS = (
    "flare-actors", "trio", "trio-websocket", "wsproto", "attrs", "numpy", "soxr", "onnxruntime", "moonshine-voice",
    "hibari-tts", "xllamacpp",
)  # fmt: skip

_MORE_IS_BETTER: Final = frozenset({"1/s", "sessions"})
_QUANTILES: Final = 40
_ENOUGH_TO_DRAW: Final = 20


@attrs.frozen(kw_only=True)
class Options:
    """How to run a benchmark."""

    quick: bool = False
    """A first impression: fewer repetitions."""


def reps(options: Options, count: int) -> int:
    """``count`` repetitions, or a fifth of them for a first impression."""
    return max(1, count // 5) if options.quick else count


@attrs.frozen(kw_only=True)
class Metric:
    """One figure, measured ``n`` times."""

    unit: str
    median: float
    p90: float
    p99: float
    p999: float
    max: float
    n: int
    floor: float | None = None
    """What the bare thing takes, measured in the same run; None: there is no such floor."""
    ratio: float | None = None
    """``median`` over ``floor``."""
    better: str = "lower"
    """``lower`` or ``higher``."""
    quantiles: list[float] = attrs.field(factory=list, repr=False)
    """Evenly spaced from the smallest value to the largest, for the picture; empty with few values."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def summary(values: Iterable[float], unit: str, *, floor: float | None = None) -> Metric:
    """The figure of one or more measurements.

    Args:
        values: the measurements, in ``unit``.
        unit: of ``1/s`` and of ``sessions`` more is better, of everything else less.
        floor: what the bare thing takes, in the same unit.
    """
    ordered = sorted(values)
    median = statistics.median(ordered)
    last = len(ordered) - 1
    steps = range(_QUANTILES + 1) if len(ordered) >= _ENOUGH_TO_DRAW else ()
    return Metric(
        unit=unit,
        median=_round(median),
        p90=_round(percentile(ordered, 0.90)),
        p99=_round(percentile(ordered, 0.99)),
        p999=_round(percentile(ordered, 0.999)),
        max=_round(ordered[-1]),
        n=len(ordered),
        floor=None if floor is None else _round(floor),
        ratio=None if not floor else round(median / floor, 2),
        better="higher" if unit in _MORE_IS_BETTER else "lower",
        quantiles=[_round(ordered[round(step * last / _QUANTILES)]) for step in steps],
    )


def _round(value: float) -> float:
    """To six digits after the point, as times in seconds need; more are noise."""
    return round(value, 6)


def table(metrics: dict[str, Metric]) -> str:
    """The figures of one benchmark, for people."""
    head = ("", "median", "p99", "max", "n", "floor", "ratio", "")
    rows = [head] + [
        (
            name, _show(m.median), _show(m.p99), _show(m.max), str(m.n),
            "" if m.floor is None else _show(m.floor), "" if m.ratio is None else f"x {m.ratio:g}", m.unit,
        )
        for name, m in metrics.items()
    ]  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=False))]
        )
        + f"  {row[-1]}".rstrip()
        for row in rows
    )


def _show(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def machine() -> dict[str, Any]:
    """What it was measured on."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else ""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": model or platform.processor(),
        "cores": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "gc": {"enabled": gc.isenabled(), "thresholds": list(THRESHOLDS), "frozen": "all that was loaded"},
    }


def read_report(file: Path) -> dict[str, Any]:
    """What ``--json`` has written.

    Raises:
        ValueError: there is no such file, or it is something else.
    """
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}; python -m benchmarks NAME --json {file} writes one") from None
    except ValueError:
        report = None
    if not isinstance(report, dict) or not {"machine", "noise", "benchmarks"} <= report.keys():
        raise ValueError(f"{file} is not what python -m benchmarks --json writes")
    return report


def versions() -> dict[str, str]:
    """Of everything that took part."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
