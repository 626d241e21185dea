"""Run benchmarks: ``python -m benchmarks [NAME ...] [--quick] [--json FILE]``; without a name, lists them."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import attrs
import trio

from benchmarks.report import Metric, machine, versions

NAMES = ("engines", "install", "startup", "server_memory", "voice_to_voice", "wer_noise")


def main() -> int:
    """Run what was asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the JSON to a file")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if not arguments.names:
        for name in NAMES:
            print(f"{name:16} {_question(_module(name))}")
        return 0
    results: dict[str, dict[str, Metric]] = {}
    for name in arguments.names:
        module = _module(name)
        print(f"{name}: {_question(module)}", file=sys.stderr)
        results[name] = trio.run(module.measure, arguments.quick)
    report = {
        "machine": machine(),
        "versions": versions(),
        "benchmarks": {
            name: {metric: attrs.asdict(value) for metric, value in metrics.items()}
            for name, metrics in results.items()
        },
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


def _question(module: ModuleType) -> str:
    return (module.__doc__ or "").splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
