"""Run benchmarks; without a name, tell which there are, and what each asks."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from benchmarks import peers
from benchmarks.compare import compare
from benchmarks.noise import NoiseCheck
from benchmarks.report import Metric, machine, read_report, table, versions

NAMES: Final = (
    "step", "hop", "first_audio", "barge_in", "audio_in", "duplex", "session_cost", "many_sessions", "many_sessions_local",
    "startup", "install", "engines", "served", "server_memory", "endpointing", "voice_to_voice", "wer_noise", "peers",
)  # fmt: skip


def main() -> int:
    """Run what was asked for, one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(NAMES)}; or: all")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: a first impression")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, after each benchmark")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="print the figures beside those of an earlier --json; 1 if slower"
    )
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw a picture (PNG) of each benchmark")
    parser.add_argument(
        "--engines",
        choices=["scripted", "local"],
        default="scripted",
        help="many_sessions: no time, or real",
    )
    arguments = parser.parse_args()
    if arguments.engines == "local":
        arguments.names = [f"{name}_local" if name == "many_sessions" else name for name in arguments.names]
    names = list(NAMES) if arguments.names == ["all"] else list(dict.fromkeys(arguments.names))
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}, and 'all'")
    if not names:
        for name in NAMES:
            print(f"{name:20} {question(module(name))}")
        return 0
    baseline = None
    if arguments.compare is not None:
        try:
            baseline = read_report(arguments.compare)
        except ValueError as error:
            parser.error(f"--compare: {error}")
    if arguments.plot is not None and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot draws with matplotlib, which is not here: pip install -e '.[plot]'")
    report = run(names, quick=arguments.quick, save=arguments.json)
    if arguments.plot is not None:
        from benchmarks.plots import draw

        for path in draw(report, arguments.plot):
            print(f"wrote {path}")
    failed = [name for name in names if not _gave_figures(report, name)]
    if failed:
        print(f"FAILED: {', '.join(failed)}", file=sys.stderr)
    slower = baseline is not None and compare(baseline, report)
    return 1 if failed or slower else 0


def _gave_figures(report: dict[str, Any], name: str) -> bool:
    if name != "peers":
        return name in report["benchmarks"]
    # A peer may not be installed; beside nothing of ours its figures say nothing.
    return len(report.get("peers", {}).get(peers.OURS, ())) == len(peers.METRICS)


def run(names: list[str], *, quick: bool, save: Path | None) -> dict[str, Any]:
    """Run, print, and give the report; ``save`` has it after each benchmark, so that a long run's beginning is not lost."""
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "quick": quick,
        "noise": {},
        "benchmarks": {},
    }
    place = report["machine"]
    print(
        f"{place['processor']}, {place['cores']} cores, {place['system']} {place['architecture']}; {_gc(place['gc'])}"
    )
    print(", ".join([f"Python {place['python']}", *(f"{name} {each}" for name, each in report["versions"].items())]))
    for name in names:
        print(f"\n{name}: {question(module(name))}", flush=True)
        noise = NoiseCheck()
        found = _measure(name, quick=quick)
        report["noise"][name] = verdict = noise.finish()
        if found is None:
            continue
        if name == "peers":
            report["peers"] = found
            print(peers.table(found))
        else:
            report["benchmarks"][name] = found
            print(table({metric: Metric(**fields) for metric, fields in found.items()}))
        for reason in verdict["why"]:
            print(f"NOT TO BE TRUSTED: {reason}")
        sys.stdout.flush()
        if save is not None:
            save.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def _measure(name: str, *, quick: bool) -> dict[str, Any] | None:
    """In a new process: no benchmark inherits the heap of another. None: it failed, and has said why."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", "benchmarks.one", name, str(out), *(["--quick"] if quick else [])]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own interpreter and module
            return None
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found


def _gc(settings: dict[str, Any]) -> str:
    thresholds = "/".join(map(str, settings["thresholds"]))
    return f"GC {'on' if settings['enabled'] else 'OFF'}, thresholds {thresholds}, {settings['frozen']} frozen"


def module(name: str) -> ModuleType:
    """A benchmark's module."""
    return importlib.import_module(f"benchmarks.{name}")


def question(benchmark: ModuleType) -> str:
    """What it asks: its docstring's first sentence."""
    return (benchmark.__doc__ or "").split("\n\n", 1)[0].replace("\n", " ").strip()


if __name__ == "__main__":
    sys.exit(main())
