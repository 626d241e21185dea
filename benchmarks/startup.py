"""How long from `serve` to ready: with an empty model cache, and with a filled one?

The cold start downloads the language model, so it measures the network as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from benchmarks.report import Metric, Options, summary

__all__ = ["measure", "serving"]


@asynccontextmanager
async def serving(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[str, trio.Process]]:
    """A server in a process of its own, ready; gives its URL."""
    command = [sys.executable, "-m", "flare_actors", "serve", "--port", "0", "--log-level", "warning", *arguments]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
    )
    try:
        assert process.stdout is not None
        text = ""
        while "\n" not in text.partition("http")[2]:
            piece = await process.stdout.receive_some()
            if not piece:
                raise RuntimeError("the server stopped before it was ready")
            text += piece.decode()
        yield "http" + text.partition("http")[2].split("\n", 1)[0].strip(), process
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            with trio.move_on_after(30) as scope:
                await process.wait()
            if scope.cancelled_caught:
                process.kill()
                await process.wait()


async def _start(cache: str | None) -> float:
    started = time.perf_counter()
    async with serving(environment={"FLARE_ACTORS_CACHE": cache} if cache else None):
        return time.perf_counter() - started


async def measure(options: Options) -> dict[str, Metric]:
    """Cold once, warm several times; and the import alone."""
    metrics = {}
    with tempfile.TemporaryDirectory() as cache:
        metrics["serve_to_ready_cold_cache"] = summary([await _start(cache)], "s")
        metrics["serve_to_ready_warm_cache"] = summary(
            [await _start(cache) for _ in range(2 if options.quick else 5)], "s"
        )
    imports = []
    for _ in range(3 if options.quick else 10):
        started = time.perf_counter()
        await trio.run_process([sys.executable, "-c", "import flare_actors"])
        together = time.perf_counter() - started
        started = time.perf_counter()
        await trio.run_process([sys.executable, "-c", "pass"])
        imports.append(together - (time.perf_counter() - started))
    metrics["import_flare_actors"] = summary(imports, "s")
    return metrics
