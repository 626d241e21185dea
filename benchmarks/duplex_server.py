"""The server of the benchmark ``duplex``: its agent begins to speak at once and never stops. Ends with standard input."""

from __future__ import annotations

import sys

import attrs
import structlog
import trio

from benchmarks.load import instant_agent
from flare_actors.garbage import calm_garbage_collection
from flare_actors.server import Server, ServerLimits, serve


async def main() -> None:
    """Serve, and print where, as a WebSocket's URL without its path."""
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    agent = instant_agent()
    agent = attrs.evolve(agent, settings=attrs.evolve(agent.settings, welcome="This is said for as long as it takes."))
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[Server]) -> None:
            limits = ServerLimits(max_sessions=1000, max_connections=2000)
            await serve(agent, port=0, limits=limits, task_status=task_status)

        server = await nursery.start(run)
        calm_garbage_collection()
        print(server.url.replace("http", "ws", 1).rstrip("/"), flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
