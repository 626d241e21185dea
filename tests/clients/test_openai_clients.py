"""Real clients of OpenAI Realtime against the server as people start it: the official SDK, and the agents' SDK.

Both are imported where they are used: that takes seconds, and every process of a test run would wait for it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flare_actors.providers.scripted import tone

pytestmark = pytest.mark.no_cover  # see conftest.py

ROOT = Path(__file__).parents[2]
RATE = 24_000
SILENCE = bytes(2 * RATE)
FIRST_PHRASE_S = 1.5
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "How is the weather?",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say something, please."}]}


@contextmanager
def serving(*args: str) -> Iterator[str]:
    """A server in its own process; gives the WebSocket's base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flare_actors", "serve", "--port", "0", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("FLARE_ACTORS_API")},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().replace("http", "ws", 1) + "v1"
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(
    scope="module",
    params=["scripted", pytest.param("local", marks=pytest.mark.needs("weights"))],
)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, bytes]]:
    """Where it is, and what to say to it."""
    if request.param == "scripted":
        with serving("--config", "examples/scripted.toml") as url:
            yield url, tone(1.0, RATE)
        return
    import soxr

    from benchmarks.speech import recording

    # "Ever tried." and not what comes after the pause: the agent may have begun to answer by then.
    human = recording("beckett.wav")[: round(16_000 * FIRST_PHRASE_S)]
    pcm = (soxr.resample(human, 16_000, RATE) * 32_767).astype(np.int16).tobytes()
    with serving() as url:
        yield url, pcm


class Connection:
    """The official SDK's connection, and what came of it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def wait(self, kind: str) -> Any:
        async with asyncio.timeout(60):
            while (event := await self.connection.recv()).type != kind:
                assert event.type != "error", event
            return event

    async def speak(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), 4_800):
            piece = base64.b64encode(pcm[start : start + 4_800]).decode()
            await self.connection.input_audio_buffer.append(audio=piece)
            await asyncio.sleep(0.05)


def with_sdk(url: str, scenario: Any) -> None:
    from openai import AsyncOpenAI

    async def run() -> None:
        client = AsyncOpenAI(api_key="any", websocket_base_url=url)
        async with client, client.realtime.connect(model="flare") as connection:
            spoken = Connection(connection)
            await spoken.wait("session.created")
            await scenario(spoken)

    asyncio.run(run())


def test_the_official_sdk_writes_speaks_and_interrupts(server: tuple[str, bytes]) -> None:
    url, speech = server

    async def scenario(spoken: Connection) -> None:
        connection = spoken.connection
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await spoken.wait("session.updated")
        await connection.conversation.item.create(item=TEXT)
        await connection.response.create()
        done = await spoken.wait("response.done")
        assert done.response.status in {"completed", "incomplete"}  # the embedded brain may have no more than 48 tokens
        assert done.response.output[0].content[0].text
        await connection.session.update(session={"type": "realtime", "output_modalities": ["audio"]})
        await spoken.speak(speech + SILENCE)
        completed = await spoken.wait("conversation.item.input_audio_transcription.completed")
        assert completed.transcript
        assert completed.usage.seconds > 0
        delta = await spoken.wait("response.output_audio.delta")
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=0)
        await spoken.wait("conversation.item.truncated")
        done = await spoken.wait("response.done")
        assert (done.response.id, done.response.status) == (delta.response_id, "cancelled")

    with_sdk(url, scenario)


def test_the_agents_sdk_writes_speaks_and_interrupts(server: tuple[str, bytes]) -> None:
    from agents.realtime import RealtimeAgent, RealtimeRunner

    url, speech = server

    async def run() -> None:
        runner = RealtimeRunner(RealtimeAgent(name="a", instructions="Be brief."))
        async with await runner.run(model_config={"url": f"{url}/realtime?model=m", "api_key": "any"}) as session:

            async def until(kind: str) -> None:
                async with asyncio.timeout(60):
                    async for event in session:
                        assert event.type != "error", event.error
                        if event.type == kind:
                            return

            await session.send_message("Say something, please.")
            await until("audio")
            await session.interrupt()
            await until("audio_interrupted")
            pcm = speech + SILENCE
            for start in range(0, len(pcm), 4_800):
                await session.send_audio(pcm[start : start + 4_800])
                await asyncio.sleep(0.05)
            await until("audio")
            await until("agent_end")

    asyncio.run(run())


@pytest.fixture(scope="module")
def tools() -> Iterator[str]:
    with serving("--config", "examples/scripted-tool.toml") as url:
        yield url


def test_the_official_sdk_carries_a_function_out(tools: str) -> None:
    async def scenario(spoken: Connection) -> None:
        connection = spoken.connection
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"], "tools": [WEATHER]})
        await connection.conversation.item.create(item=TEXT)
        await connection.response.create()
        call = await spoken.wait("response.function_call_arguments.done")
        assert call.name == "get_weather"
        await spoken.wait("response.done")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        await connection.conversation.item.create(item=result)
        await connection.response.create()
        done = await spoken.wait("response.done")
        assert "sunny" in done.response.output[0].content[0].text

    with_sdk(tools, scenario)


def test_the_agents_sdk_carries_a_function_out(tools: str) -> None:
    from agents import function_tool
    from agents.realtime import RealtimeAgent, RealtimeRunner

    called: list[str] = []

    @function_tool
    def get_weather(city: str) -> str:
        """How is the weather?"""
        called.append(city)
        return "sunny"

    async def run() -> None:
        agent = RealtimeAgent(name="a", instructions="Be brief.", tools=[get_weather])
        runner = RealtimeRunner(agent)
        config: Any = {"url": f"{tools}/realtime?model=m", "api_key": "any"}
        async with await runner.run(model_config=config) as session:
            await session.send_message("How is the weather in Berlin?")
            async with asyncio.timeout(60):
                async for event in session:
                    assert event.type != "error", event
                    if event.type == "audio" and called:
                        return

    asyncio.run(run())
    assert called == ["Berlin"]
