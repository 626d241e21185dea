"""What the bare things cost: Trio's own steps, and an echo by trio-websocket. Nothing of ours is in them.

Every figure of ours is printed beside one of these, measured in the same run, so that it can be told on any machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, open_websocket_url, serve_websocket

__all__ = [
    "awakening_cpu",
    "channel_hop",
    "checkpoint",
    "echo_server",
    "nowait",
    "nursery",
    "tcp_cpu",
    "websocket_cpu",
    "websocket_echo",
]

FRAME: Final = bytes(640)  # 20 ms of PCM16 at 16 kHz


async def _repeat(count: int, once: Callable[[], Awaitable[None]]) -> list[float]:
    """Microseconds that each of ``count`` calls took; the first tenth, in which caches fill, is left out."""
    took = []
    for _ in range(count + count // 10):
        started = time.perf_counter()
        await once()
        took.append(1e6 * (time.perf_counter() - started))
    return took[count // 10 :]


async def channel_hop(count: int = 2000) -> list[float]:
    """Microseconds from one task to another over a memory channel: half of there and back."""
    there, at_other = trio.open_memory_channel[float](1)
    back, here = trio.open_memory_channel[float](1)

    async def other() -> None:
        async for value in at_other:
            await back.send(value)

    async def once() -> None:
        await there.send(0.0)
        await here.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        took = await _repeat(count, once)
        there.close()
    return [each / 2 for each in took]


async def nowait(count: int = 2000) -> list[float]:
    """Microseconds of putting into a channel and taking out of it, without a task in between."""
    send, receive = trio.open_memory_channel[float](1)

    async def once() -> None:
        send.send_nowait(0.0)
        receive.receive_nowait()

    return await _repeat(count, once)


async def checkpoint(count: int = 2000) -> list[float]:
    """Microseconds of one checkpoint with nothing else to run."""
    return await _repeat(count, trio.lowlevel.checkpoint)


async def nursery(count: int = 2000) -> list[float]:
    """Microseconds of a nursery with one task that does nothing."""

    async def nothing() -> None:
        pass

    async def once() -> None:
        async with trio.open_nursery() as each:
            each.start_soon(nothing)

    return await _repeat(count, once)


async def awakening_cpu(count: int = 200) -> list[float]:
    """Microseconds of CPU for a timer that wakes a process which sleeps, 5 ms each time: most of it is cold caches."""
    took = []
    for _ in range(count):
        before = time.process_time()
        await trio.sleep(0.005)
        took.append(1e6 * (time.process_time() - before))
    return took


@asynccontextmanager
async def echo_server(kind: str = "websocket") -> AsyncIterator[int]:
    """A server in a process of its own that sends every message back; ``cpu`` is answered with its seconds of CPU.

    Args:
        kind: ``websocket``, or ``tcp``, which sends back whatever bytes it gets.

    Gives its port.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "benchmarks.floors", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.receive_some())
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.stdout.aclose()
            await process.wait()


async def websocket_echo(count: int = 1000) -> list[float]:
    """Microseconds from sending a message of 640 bytes to a WebSocket server until it is back."""
    async with echo_server() as port, open_websocket_url(f"ws://127.0.0.1:{port}") as connection:

        async def once() -> None:
            await connection.send_message(FRAME)
            await connection.get_message()

        return await _repeat(count, once)


async def websocket_cpu(count: int = 1000) -> float:
    """Microseconds of the server's CPU for one message in and one out."""
    async with echo_server() as port, open_websocket_url(f"ws://127.0.0.1:{port}") as connection:

        async def echo(message: str | bytes) -> str | bytes:
            await connection.send_message(message)
            return await connection.get_message()

        return await _server_cpu(count, lambda: echo(FRAME), lambda: echo("cpu"))


async def tcp_cpu(count: int = 1000) -> float:
    """The same through a bare TCP connection: what no framing can go below."""
    async with echo_server("tcp") as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:

        async def echo(message: bytes) -> bytes:
            await stream.send_all(message)
            return await stream.receive_some()

        return await _server_cpu(count, lambda: echo(FRAME), lambda: echo(b"cpu"))


async def _server_cpu(
    count: int,
    echo: Callable[[], Awaitable[str | bytes]],
    cpu: Callable[[], Awaitable[str | bytes]],
) -> float:
    for _ in range(count // 10):
        await echo()
    before = float(await cpu())
    for _ in range(count):
        await echo()
    return 1e6 * (float(await cpu()) - before) / count


async def _echo(request: WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        while True:
            message = await connection.get_message()
            await connection.send_message(str(time.process_time()) if message == "cpu" else message)
    except ConnectionClosed:
        pass


async def _echo_bytes(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(str(time.process_time()).encode() if data == b"cpu" else data)


async def _serve(kind: str) -> None:
    """Until standard input is closed."""
    async with trio.open_nursery() as nursery:
        if kind == "tcp":
            (listener,) = await nursery.start(partial(trio.serve_tcp, _echo_bytes, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
        else:
            port = (await nursery.start(serve_websocket, _echo, "127.0.0.1", 0, None)).port
        print(port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(_serve, sys.argv[1])
