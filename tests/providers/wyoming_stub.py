"""A strict Wyoming server for tests: scripted word by word, and it writes down what it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from flare_actors.providers._wyoming_codec import Decoder, Event, encode


@attrs.define
class Call:
    """One connection, from the server's side."""

    stream: trio.SocketStream
    decoder: Decoder = attrs.field(factory=Decoder)
    events: list[Event] = attrs.field(factory=list)
    """All that came, but for ``describe``."""
    gone: trio.Event = attrs.field(factory=trio.Event)
    info: Mapping[str, Any] = attrs.field(factory=dict)
    _waiting: list[Event] = attrs.field(factory=list)

    async def send(self, kind: str, payload: bytes = b"", **data: Any) -> None:
        await self.stream.send_all(encode(Event(type=kind, data=data, payload=payload)))

    async def receive(self) -> Event:
        """The next event; ``describe`` is answered on the way."""
        while True:
            while not self._waiting:
                data = await self.stream.receive_some(65_536)
                if not data:
                    raise trio.BrokenResourceError
                self._waiting.extend(self.decoder.feed(data))
            event = self._waiting.pop(0)
            if event.type != "describe":
                self.events.append(event)
                return event
            await self.send("info", **self.info)

    async def until(self, kind: str) -> Event:
        while (event := await self.receive()).type != kind:
            pass
        return event

    def all_of(self, kind: str) -> list[Event]:
        return [each for each in self.events if each.type == kind]


Script = Callable[[Call], Awaitable[None]]


@attrs.define
class WyomingStub:
    """Runs each connection through the next script; the last one repeats. Leaving a script closes the connection."""

    scripts: list[Script]
    info: Mapping[str, Any]
    calls: list[Call] = attrs.field(factory=list)
    uri: str = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        call = Call(stream, info=self.info)
        self.calls.append(call)
        try:
            await self.scripts[min(len(self.calls), len(self.scripts)) - 1](call)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            call.gone.set()
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def wyoming(*scripts: Script, info: Mapping[str, Any]) -> AsyncGenerator[WyomingStub]:
    """The server, on a port of its own. The first connection of a client that is opened only asks what this is."""
    server = WyomingStub(list(scripts), info)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), server.serve, 0)
        server.uri = f"tcp://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        yield server
        nursery.cancel_scope.cancel()


async def only_describe(call: Call) -> None:
    """What ``open`` sees."""
    await call.receive()


def asr(*languages: str, streams: bool = False) -> dict[str, Any]:
    model = {"name": "tiny", "installed": True, "languages": list(languages)}
    return {"asr": [{"name": "stub", "models": [model], "supports_transcript_streaming": streams}], "tts": []}


def tts(streams: bool = False, **voices: list[str]) -> dict[str, Any]:
    known = [{"name": name, "languages": languages} for name, languages in voices.items()]
    return {"asr": [], "tts": [{"name": "stub", "voices": known, "supports_synthesize_streaming": streams}]}
