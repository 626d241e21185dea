"""What a benchmark gives back, and how it is printed: JSON with the machine and the versions beside every figure."""

from __future__ import annotations

import gc
import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import attrs

__all__ = ["Metric", "machine", "percentile", "summary", "versions"]

_DISTRIBUTIONS = (
    "flare-actors", "trio", "trio-websocket", "attrs", "numpy", "soxr", "onnxruntime", "moonshine-voice", "hibari-tts",
    "xllamacpp",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Metric:
    """One figure, measured ``n`` times."""

    unit: str
    median: float
    p90: float
    p99: float
    max: float
    n: int
    floor: float | None = None
    """The same question asked of bare Trio in the same run; None: there is no such floor."""
    ratio: float | None = None
    """``median`` over ``floor``."""


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def summary(values: Sequence[float], unit: str, *, floor: float | None = None) -> Metric:
    """The figure of one or more measurements."""
    median = statistics.median(values)
    return Metric(
        unit=unit,
        median=round(median, 6),
        p90=round(percentile(values, 0.90), 6),
        p99=round(percentile(values, 0.99), 6),
        max=round(max(values), 6),
        n=len(values),
        floor=floor,
        ratio=None if not floor else round(median / floor, 2),
    )


def machine() -> dict[str, object]:
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
        "gc": list(gc.get_threshold()),
    }


def versions() -> dict[str, str]:
    """Of everything that took part."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
