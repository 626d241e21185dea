"""Run one benchmark in this process: ``python -m benchmarks.one NAME OUT [--quick]``; for profilers, and for the runner."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

import attrs
import trio

from benchmarks.report import Options
from flare_actors.garbage import calm_garbage_collection


def main() -> None:
    """Measure, and write the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    module = importlib.import_module(f"benchmarks.{arguments.name}")
    measure = module.measure_peers if arguments.name == "peers" else module.measure
    calm_garbage_collection()
    found = trio.run(measure, Options(quick=arguments.quick))
    arguments.out.write_text(json.dumps(found, default=attrs.asdict), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # Native engines' threads have been seen to abort the interpreter's own, orderly end.


if __name__ == "__main__":
    main()
