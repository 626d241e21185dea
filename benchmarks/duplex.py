"""How many live sessions does one core carry: 50 frames a second in, speech without a pause out?

In the same process, and through a real WebSocket (trio-websocket; the server in a process of its own) with the native protocol
(16 kHz both ways, as the engines have it) and with OpenAI's (24 kHz, base64 in JSON). ``sessions_per_core`` is found with as
many sessions as take most of a core: a second over the processor time that one takes in a second, times ``audio_out``, which
is how much of a second's speech came in a second, and is less than all of it where the machine was too busy.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from benchmarks import floors
from benchmarks.kit import SILENCE
from benchmarks.load import BEATS, Metronome, instant_agent, metronome, talking, used_s
from benchmarks.peers.harness_kit import sessions_per_core
from benchmarks.report import Metric, Options, reps, summary

__all__ = ["IN_PROCESS", "NATIVE", "OPENAI", "in_process", "measure", "through_websocket"]

IN_PROCESS: Final = 50
THROUGH_WEBSOCKET: Final = 20
"""To begin with."""
_BYTES_PER_S = 32_000
_LINE = "This is said for as long as it takes."


async def in_process(seconds: float, sessions: int) -> tuple[float, float]:
    """The share of a core that so many take, and how much of their speech came."""
    async with talking(sessions, instant_agent()) as talks:
        for talk in talks:
            talk.session.say(_LINE)
        await _even(lambda: sum(talk.link.heard_bytes for talk in talks) / _BYTES_PER_S, sessions)
        heard, started = sum(talk.link.heard_bytes for talk in talks), trio.current_time()
        used = await used_s(seconds)
        heard = sum(talk.link.heard_bytes for talk in talks) - heard
        took = trio.current_time() - started
    return used / took, heard / _BYTES_PER_S / took / sessions


async def _even(heard_s: Callable[[], float], sessions: int) -> None:
    """Wait until speech comes evenly: at first ten seconds of it are made ahead, in one go."""
    with trio.move_on_after(30):
        while True:
            before, started = heard_s(), trio.current_time()
            await trio.sleep(1.0)
            if heard_s() - before > 0.95 * sessions * (trio.current_time() - started):
                return


@asynccontextmanager
async def _server() -> AsyncGenerator[tuple[str, int], None]:
    """A server whose agent never stops to speak; gives its URL and its process id."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "benchmarks.duplex_server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.receive_some()).decode().strip(), process.pid
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.stdout.aclose()
            await process.wait()


def _cpu_s(pid: int) -> float:
    """Processor time of another process, from /proc (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Protocol:
    """How a client of the server talks."""

    path: str
    subprotocol: str
    hello: Sequence[str]
    frame: str | bytes
    """20 ms of silence."""
    speech_s: Callable[[str | bytes], float]
    """Seconds of speech in a message."""


def _native_s(message: str | bytes) -> float:
    return len(message) / _BYTES_PER_S if isinstance(message, bytes) else 0.0


def _openai_s(message: str | bytes) -> float:
    event = json.loads(message)
    return len(event["delta"]) * 3 / 4 / 48_000 if event["type"] == "response.output_audio.delta" else 0.0


NATIVE: Final = Protocol(
    path="/flare",
    subprotocol="flare",
    hello=(
        '{"type": "start_session", "input_sample_rate": 16000, "output_sample_rate": 16000}',
        '{"type": "start_conversation"}',
    ),
    frame=SILENCE,
    speech_s=_native_s,
)
OPENAI: Final = Protocol(
    path="/v1/realtime?model=any",
    subprotocol="realtime",
    hello=('{"type": "response.create"}',),
    frame=json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(960)).decode()}),
    speech_s=_openai_s,
)


async def through_websocket(protocol: Protocol, seconds: float, sessions: int) -> tuple[float, float]:
    """The same through WebSockets; the processor time is the server's."""
    heard_s = 0.0

    async def client(url: str, beating: Metronome, number: int) -> None:
        nonlocal heard_s
        async with (
            open_websocket_url(url, subprotocols=[protocol.subprotocol]) as socket,
            trio.open_nursery() as nursery,
        ):
            for hello in protocol.hello:
                await socket.send_message(hello)
            nursery.start_soon(speak, socket, beating, number)
            try:
                while True:
                    message = await socket.get_message()
                    heard_s += protocol.speech_s(message)
            except ConnectionClosed:
                nursery.cancel_scope.cancel()

    async def speak(socket: WebSocketConnection, beating: Metronome, number: int) -> None:
        beat = beating.beat + BEATS * number // sessions - BEATS + 1
        try:
            while True:
                beat += BEATS
                await beating.reached(beat)
                await socket.send_message(protocol.frame)
        except ConnectionClosed:
            pass

    async with _server() as (url, pid), metronome() as beating, trio.open_nursery() as nursery:
        for number in range(sessions):
            nursery.start_soon(client, url + protocol.path, beating, number)
        await _even(lambda: heard_s, sessions)
        before, used, started = heard_s, _cpu_s(pid), trio.current_time()
        await trio.sleep(seconds)
        used, got, took = _cpu_s(pid) - used, heard_s - before, trio.current_time() - started
        nursery.cancel_scope.cancel()
    return used / took, got / took / sessions


async def measure(options: Options) -> dict[str, Metric]:
    """All, in turn."""
    runs, seconds = reps(options, 5), 3.0 if options.quick else 8.0
    local = [await sessions_per_core(partial(in_process, seconds), IN_PROCESS) for _ in range(runs)]
    echoes = [await floors.websocket_cpu() for _ in range(runs)]
    remote, openai = [
        [await sessions_per_core(partial(through_websocket, each, seconds), THROUGH_WEBSOCKET) for _ in range(runs)]
        for each in (NATIVE, OPENAI)
    ]
    # What a server could carry that only sent every frame back: 50 echoes a second.
    echo = 1e6 / (50 * statistics.median(echoes))
    return {
        "in_process.sessions_per_core": summary([each for each, _ in local], "sessions"),
        "in_process.audio_out": summary([each for _, each in local], "s/s"),
        "websocket.sessions_per_core": summary([each for each, _ in remote], "sessions", floor=echo),
        "websocket.audio_out": summary([each for _, each in remote], "s/s"),
        "openai.sessions_per_core": summary([each for each, _ in openai], "sessions", floor=echo),
        "openai.audio_out": summary([each for _, each in openai], "s/s"),
    }
