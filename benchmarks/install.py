"""How long does the README's first command install, and how much does it put on the disk?

A new virtual environment in a temporary folder; pip's own cache counts as it stands, so a second run is faster.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.report import Metric, Options, summary

ROOT = Path(__file__).parent.parent


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


async def measure(options: Options) -> dict[str, Metric]:
    """One installation."""
    del options
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "venv"
        await trio.run_process([sys.executable, "-m", "venv", str(environment)])
        python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        before = _megabytes(environment)
        started = time.perf_counter()
        await trio.run_process([str(python), "-m", "pip", "install", "--quiet", "-e", f"{ROOT}[local]"])
        seconds = time.perf_counter() - started
        return {
            "install": summary([seconds], "s"),
            "size": summary([_megabytes(environment) - before], "MB"),
        }
