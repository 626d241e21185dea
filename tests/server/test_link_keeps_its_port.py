"""The WebSocket link, held against its port by the public contract check, over real sockets, in every protocol it speaks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from server_tools import Client, FakeSession, connected, running

from flare_actors.conversation.events import InputClearRequested, ItemInsertRequested
from flare_actors.conversation.items import UserSaid
from flare_actors.conversation.notices import StateChanged
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import State
from flare_actors.ports import AudioIn, ClientLink, ClientMessage
from flare_actors.server import ServerLimits
from flare_actors.testing.contracts import check_client_link
from flare_actors.wire import flare, g711
from flare_actors.wire.openai_realtime import PATH


class Parked(FakeSession):
    """Leaves its link to the test."""

    link: ClientLink | None = None

    def __init__(self, number: int, settings: Settings) -> None:
        super().__init__(number, settings)
        self.attached = trio.Event()

    async def attach(self, link: ClientLink, *, resumed: bool = False) -> None:
        self.link = link
        self.attached.set()
        await self._over.wait()


@attrs.define
class End:
    """The client's end: what it is sent, and what it sends."""

    client: Client

    async def send(self, message: ClientMessage) -> None:
        await self.client.say(message)

    async def receive(self) -> object:
        return await self.client.connection.get_message()

    async def hang_up(self) -> None:
        await self.client.connection.aclose()


@asynccontextmanager
async def parked(path: str) -> AsyncGenerator[tuple[Parked, Client]]:
    """A client that has a connection, and a session that leaves it alone."""
    session = Parked(1, Settings())

    @asynccontextmanager
    async def open_one(settings: Settings) -> AsyncGenerator[Parked]:
        yield session

    limits = ServerLimits(close_s=0.3, write_s=20)
    async with running(open_one=open_one, limits=limits) as server, connected(server, path=path) as client:
        try:
            yield session, client
        finally:
            session.end()


@asynccontextmanager
async def native_pair() -> AsyncGenerator[tuple[ClientLink, End]]:
    async with parked(flare.PATH) as (session, client):
        await client.say(flare.StartSession())
        await session.attached.wait()
        assert session.link is not None
        # As the session does when it begins: audio is for somebody from here on.
        await session.link.send(StateChanged(old=State.IDLE, new=State.INITIALIZING, at=0.0))
        await client.connection.get_message()
        yield session.link, End(client)


async def test_the_native_websocket_link_keeps_its_port() -> None:
    await check_client_link(native_pair)


@attrs.define
class RealtimeEnd(End):
    """The end of a client that speaks OpenAI Realtime."""

    law: g711.Law | None = None

    async def send(self, message: ClientMessage) -> None:
        match message:
            case AudioIn(pcm=pcm):
                # Telephones have a third of the session's rate; what is in the samples does not matter here.
                data = pcm if self.law is None else g711.encode(pcm, self.law)[::3]
                await self.say("input_audio_buffer.append", audio=base64.b64encode(data).decode())
            case ItemInsertRequested(item=UserSaid(text=text)):
                content = [{"type": "input_text", "text": text}]
                await self.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
            case InputClearRequested():
                await self.say("input_audio_buffer.clear")
            case _:
                raise AssertionError(message)

    async def say(self, kind: str, **fields: object) -> None:
        await self.client.say_raw(json.dumps({"type": kind, **fields}))


REALTIME_SAYS = (
    ItemInsertRequested(item=UserSaid(text="message 0")),
    ItemInsertRequested(item=UserSaid(text="message 1")),
    ItemInsertRequested(item=UserSaid(text="message 2")),
    InputClearRequested(),
)


def without_names(message: ClientMessage) -> ClientMessage:
    """What the client has said: it names no request and no item, so the codec does, and says which item it came behind."""
    message = attrs.evolve(message, request_id=None)
    if isinstance(message, ItemInsertRequested):
        message = attrs.evolve(message, item=attrs.evolve(message.item, id=""), after=None, else_after=())
    return message


@pytest.mark.parametrize("law", [None, g711.Law.MU], ids=["24 kHz", "telephone"])
async def test_the_realtime_websocket_link_keeps_its_port(law: g711.Law | None) -> None:
    @asynccontextmanager
    async def pair() -> AsyncGenerator[tuple[ClientLink, RealtimeEnd]]:
        async with parked(f"{PATH}?model=m") as (session, client):
            await session.attached.wait()
            assert session.link is not None
            end = RealtimeEnd(client, law)
            if law is not None:
                audio = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}}
                await end.say("session.update", session={"type": "realtime", "audio": audio})
            # The connection is a conversation; what it is to be like is received before anything else is said.
            await end.send(InputClearRequested())
            while not isinstance(await session.link.receive(), InputClearRequested):
                pass
            yield session.link, end

    await check_client_link(pair, says=REALTIME_SAYS, plain=without_names)
