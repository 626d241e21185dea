"""The WebSocket link, held against its port by the public contract check, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio
from server_tools import Client, FakeSession, connected, running

from flare_actors.conversation.notices import StateChanged
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import State
from flare_actors.ports import ClientLink, ClientMessage
from flare_actors.server import ServerLimits
from flare_actors.testing.contracts import check_client_link
from flare_actors.wire import flare


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
async def websocket_pair() -> AsyncGenerator[tuple[ClientLink, End]]:
    session = Parked(1, Settings())

    @asynccontextmanager
    async def open_one(settings: Settings) -> AsyncGenerator[Parked]:
        yield session

    limits = ServerLimits(close_s=0.3, write_s=20)
    async with running(open_one=open_one, limits=limits) as server, connected(server) as client:
        await client.say(flare.StartSession())
        await session.attached.wait()
        assert session.link is not None
        # As the session does when it begins: audio is for somebody from here on.
        await session.link.send(StateChanged(old=State.IDLE, new=State.INITIALIZING, at=0.0))
        await client.connection.get_message()
        try:
            yield session.link, End(client)
        finally:
            session.end()


async def test_the_websocket_link_keeps_its_port() -> None:
    await check_client_link(websocket_pair)
