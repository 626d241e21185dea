"""How much memory does the server take with 0, 1 and 10 conversations?

The embedded engines; each client has heard the welcome and streams silence. Resident set size of the process, Linux only.
"""

from __future__ import annotations

import json
from pathlib import Path

import trio
from trio_websocket import open_websocket_url

from benchmarks.report import Metric, Options, summary
from benchmarks.startup import serving

__all__ = ["measure"]

SILENCE = bytes(2 * 320)


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("no VmRSS in /proc; this benchmark needs Linux")


async def _client(url: str, *, task_status: trio.TaskStatus[None]) -> None:
    async with open_websocket_url(url, subprotocols=["flare"]) as websocket:
        await websocket.send_message(json.dumps({"type": "start_session", "input_sample_rate": 16000}))
        await websocket.send_message(json.dumps({"type": "start_conversation"}))
        while True:
            message = await websocket.get_message()
            if isinstance(message, str) and json.loads(message)["type"] == "stt_ready":
                break
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, websocket)
            while True:
                await websocket.send_message(SILENCE)
                await trio.sleep(0.02)


async def _listen(websocket: object) -> None:
    while True:
        await websocket.get_message()  # type: ignore[attr-defined]


async def measure(options: Options) -> dict[str, Metric]:
    """One server, more and more clients."""
    settle_s = 1.0 if options.quick else 5.0
    metrics = {}
    async with serving() as (url, process), trio.open_nursery() as nursery:
        websocket_url = url.replace("http", "ws", 1).rstrip("/") + "/flare"
        connected = 0
        for sessions in (0, 1, 10):
            while connected < sessions:
                await nursery.start(_client, websocket_url)
                connected += 1
            await trio.sleep(settle_s)
            metrics[f"sessions_{sessions}"] = summary([_resident_mb(process.pid)], "MB")
        nursery.cancel_scope.cancel()
    return metrics
