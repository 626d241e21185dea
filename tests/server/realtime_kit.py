"""A client of OpenAI Realtime and a real session, on virtual time: a memory for a wire, the server's own link and codec.

Every event that the client gets is held against the official SDK's models and against the order table.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import trio

from flare_actors.agent import Agent
from flare_actors.errors import LinkClosed
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
    tone,
)
from flare_actors.server import ServerLimits
from flare_actors.server.link import Allowance, WebSocketLink
from flare_actors.session import Session, open_session
from flare_actors.testing.invariants import ConversationChecker
from flare_actors.wire.openai_realtime import EventOrder, RealtimeCodec

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SILENCE = bytes(2 * 24_000)
"""A second of it."""


@cache
def models() -> TypeAdapter[Any]:
    """The SDK's own models. (To import it takes a second: not every process of a test run has to wait for that.)"""
    from openai.types.realtime import RealtimeServerEvent
    from pydantic import TypeAdapter

    return TypeAdapter(RealtimeServerEvent)


def agent(**settings: Any) -> Agent:
    from flare_actors.conversation.settings import Settings

    return Agent(
        language_model=ScriptedLanguageModel(script=["One two three. Four five six.", "Seven eight nine."]),
        recognizer=ScriptedRecognizer(script=["first words", "second words", "third words"]),
        synthesizer=ScriptedSynthesizer(),
        voice_activity=EnergyVoiceActivity(),
        instructions="Be brief.",
        settings=Settings(**settings),
    )


class Wire:
    """Stands for ``server.websocket.WebSocket``."""

    def __init__(self) -> None:
        self.limits = ServerLimits()
        self.remote = "memory"
        self.closed: tuple[int, str] | None = None
        self.to_server, self._from_client = trio.open_memory_channel[str | bytes](64)
        self._to_client, self.from_server = trio.open_memory_channel[str](100_000)

    async def receive(self) -> str | bytes:
        try:
            return await self._from_client.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise LinkClosed("the client is gone") from None

    async def send(self, message: str) -> None:
        try:
            await self._to_client.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise LinkClosed("the client is gone") from None

    async def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)
        self._to_client.close()
        await trio.lowlevel.checkpoint()


class Client:
    """The client's end."""

    def __init__(self, wire: Wire, session: Session) -> None:
        self.wire = wire
        self.session = session
        self.order = EventOrder()
        self.said: dict[str, dict[str, Any]] = {}
        """What the client sent, by event id."""
        self.heard: list[dict[str, Any]] = []
        self.number = 0

    async def say(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": f"c{len(self.said)}", **fields}
        self.said[event["event_id"]] = event
        await self.wire.to_server.send(json.dumps(event))

    async def say_raw(self, data: str | bytes) -> None:
        await self.wire.to_server.send(data)

    async def speak(self, pcm: bytes, *, paced: bool = True) -> None:
        for start in range(0, len(pcm), 4_800):
            await self.say("input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + 4_800]).decode())
            if paced:
                await trio.sleep(0.1)

    async def ask(self, seconds: float = 1.0) -> None:
        await self.speak(tone(seconds, 24_000) + SILENCE)

    async def write(self, text: str, *, role: str = "user", item_id: str | None = None, **fields: Any) -> None:
        kind = "output_text" if role == "assistant" else "input_text"
        item: dict[str, Any] = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
        if item_id is not None:
            item["id"] = item_id
        await self.say("conversation.item.create", item=item, **fields)

    def take(self, data: str) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(data)
        number = int(event["event_id"].removeprefix("event_t").removeprefix("event_u"))
        assert number > self.number, (
            "events come in the order in which they are made: what one says, the next builds on"
        )
        self.number = number
        self.order.feed(event)
        models().validate_python(event)
        self.heard.append(event)
        return event

    async def hear(self) -> dict[str, Any]:
        return self.take(await self.wire.from_server.receive())

    def hear_now(self) -> None:
        """Whatever has come."""
        while True:
            try:
                self.take(self.wire.from_server.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                return

    async def wait(self, kind: str) -> dict[str, Any]:
        with trio.fail_after(200):
            while (event := await self.hear())["type"] != kind:
                assert event["type"] != "error", event
            return event

    async def wait_error(self) -> dict[str, Any]:
        with trio.fail_after(200):
            while (event := await self.hear())["type"] != "error":
                pass
            return event["error"]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.heard if event["type"] == kind]


@asynccontextmanager
async def realtime(
    agent_: Agent | None = None, *, session: dict[str, Any] | None = None, token: str = "t"
) -> AsyncIterator[Client]:
    """A session and its client, who has heard `session.created`."""
    used = agent_ or agent()
    wire = Wire()
    codec = RealtimeCodec(used.settings, model="a-model", token=token, session=session)
    async with trio.open_nursery() as nursery:
        link = WebSocketLink(wire, codec, allowance=Allowance(wire.limits))  # type: ignore[arg-type]
        async with open_session(used, settings=codec.settings, observers=[ConversationChecker()]) as opened:
            client = Client(wire, opened)
            nursery.start_soon(opened.attach, link)
            await client.wait("session.created")
            yield client
            wire.to_server.close()
            await opened.wait_ended()
        client.hear_now()
