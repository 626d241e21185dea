"""The in-process link of ``talk``, held against its port by the public contract check."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest

from flare_actors.audio import AudioFormat
from flare_actors.errors import LinkClosed
from flare_actors.ports import ClientMessage, ServerMessage
from flare_actors.talk.link import RecordingLink
from flare_actors.testing.contracts import check_client_link


@attrs.frozen
class End:
    link: RecordingLink

    async def send(self, message: ClientMessage) -> None:
        assert await self.link.say(message)

    async def receive(self) -> ServerMessage:
        message = await self.link.hear()
        if message is None:
            raise LinkClosed("there will be no more")
        return message

    async def hang_up(self) -> None:
        self.link.hang_up()


@pytest.mark.parametrize("realtime", [True, False])
async def test_the_recording_s_link_keeps_its_port(autojump_clock, realtime: bool) -> None:
    @asynccontextmanager
    async def pair() -> AsyncGenerator[tuple[RecordingLink, End]]:
        rate = AudioFormat(sample_rate=16_000)
        link = RecordingLink(input_format=rate, output_format=rate, realtime=realtime)
        try:
            yield link, End(link)
        finally:
            link.hang_up()

    await check_client_link(pair)
