"""A picture of each benchmark: growth curves, distributions, parts of a whole, single figures; whatever it has."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_Fields = Mapping[str, Any]
_WIDE = 50
"""A curve that rises by more than this is drawn on a logarithmic axis: else its beginning is a flat line."""
_BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
"""Where a legend covers no line."""


def draw(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw every benchmark of a report into ``folder``; gives the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw_one(name, metrics, folder / f"{name}.png") for name, metrics in report["benchmarks"].items()]


def _draw_one(name: str, metrics: Mapping[str, _Fields], path: Path) -> Path:
    from matplotlib import pyplot as plt

    module = importlib.import_module(f"benchmarks.{name}")
    if hasattr(module, "picture"):
        module.picture(metrics, path)
        return path
    stacks: Mapping[str, Sequence[str]] = getattr(module, "STACKS", {})
    curves = _curves(metrics)
    single = {metric: fields for metric, fields in metrics.items() if "@" not in metric}
    spread = {metric: fields for metric, fields in single.items() if fields["quantiles"]}
    rest = {metric: fields for metric, fields in single.items() if metric not in spread}
    if any(part in metrics for parts in stacks.values() for part in parts):
        spread = {}
        rest = {}
    else:
        stacks = {}
    panels = len(curves) + len(_by_unit(spread)) + bool(stacks) + len(_by_unit(rest))
    figure, grid = plt.subplots(max(1, panels), 1, figsize=(8, 3.2 * max(1, panels)), squeeze=False)
    axes = iter(grid[:, 0])
    if stacks:
        _draw_stacks(next(axes), stacks, metrics)
    for unit, lines in curves.items():
        _draw_curves(next(axes), unit, lines)
    for unit, group in _by_unit(spread).items():
        _draw_distributions(next(axes), unit, group)
    for unit, group in _by_unit(rest).items():
        _draw_bars(next(axes), unit, group)
    figure.suptitle(name)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path


def _by_unit(metrics: Mapping[str, _Fields]) -> dict[str, dict[str, _Fields]]:
    groups: dict[str, dict[str, _Fields]] = {}
    for metric, fields in metrics.items():
        groups.setdefault(fields["unit"], {})[metric] = fields
    return groups


def _curves(metrics: Mapping[str, _Fields]) -> dict[str, dict[str, list[tuple[float, _Fields]]]]:
    """``name@size`` metrics: unit -> name -> points."""
    curves: dict[str, dict[str, list[tuple[float, _Fields]]]] = {}
    for metric, fields in metrics.items():
        name, at, size = metric.partition("@")
        if at:
            curves.setdefault(fields["unit"], {}).setdefault(name, []).append((float(size), fields))
    return curves


def _draw_curves(axes: Axes, unit: str, lines: Mapping[str, list[tuple[float, _Fields]]]) -> None:
    for name, points in lines.items():
        sizes = [size for size, _ in points]
        (line,) = axes.plot(sizes, [fields["median"] for _, fields in points], marker="o", label=name)
        if any(fields["n"] > 1 for _, fields in points):
            tail = [fields["p99"] for _, fields in points]
            axes.plot(sizes, tail, linestyle=":", color=line.get_color(), label=f"{name}, p99")
    if all(size > 0 for points in lines.values() for size, _ in points):
        axes.set_xscale("log")
    values = [fields[field] for points in lines.values() for _, fields in points for field in ("median", "p99")]
    if min(values) > 0 and max(values) > _WIDE * min(values):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("sessions")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, **_BESIDE)


def _draw_distributions(axes: Axes, unit: str, metrics: Mapping[str, _Fields]) -> None:
    for number, (metric, fields) in enumerate(metrics.items()):
        quantiles = fields["quantiles"]
        share = [100 * index / (len(quantiles) - 1) for index in range(len(quantiles))]
        style = ("-", "--", ":")[number // 10 % 3]  # There are ten colours.
        axes.plot(share, quantiles, linestyle=style, label=f"{metric} (n = {fields['n']})")
    if all(fields["quantiles"][0] > 0 for fields in metrics.values()):
        axes.set_yscale("log")
    axes.set_xlabel("% of all values are at most")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, **_BESIDE)


def _draw_stacks(axes: Axes, stacks: Mapping[str, Sequence[str]], metrics: Mapping[str, _Fields]) -> None:
    colours: dict[str, str] = {}
    units: set[str] = set()
    for arm, parts in stacks.items():
        left = 0.0
        for part in parts:
            if part not in metrics:
                continue
            label = part.removeprefix(f"{arm}.")
            new = label not in colours
            colour = colours.setdefault(label, f"C{len(colours)}")
            width = metrics[part]["median"]
            units.add(metrics[part]["unit"])
            axes.barh(arm, width, left=left, color=colour, label=label if new else None)
            left += width
    axes.invert_yaxis()
    axes.set_xlabel(f"{' and '.join(sorted(units))}, medians")
    axes.legend(fontsize=7, **_BESIDE)


def _draw_bars(axes: Axes, unit: str, metrics: Mapping[str, _Fields]) -> None:
    names = list(metrics)
    medians = [metrics[name]["median"] for name in names]
    bars = axes.barh(names, medians)
    axes.bar_label(bars, labels=[f"{median:.4g}" for median in medians], fontsize=7, padding=2)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(unit)
