"""What the server's tests share: a server, clients that behave and clients that do not, sessions that do as told."""

from __future__ import annotations

import base64
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio
import trio_websocket
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation import notices
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import LinkBroken, LinkClosed
from flare_actors.observe import Observer
from flare_actors.ports import AudioIn, AudioOut, ClientLink, ClientMessage
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)
from flare_actors.server import Server, ServerLimits, serve
from flare_actors.session import Session, open_session
from flare_actors.wire import flare

LIMITS = ServerLimits(close_s=0.5)


def socket_clock() -> MockClock:
    """Virtual time for tests with real sockets: it only jumps when nothing has moved for a while, as loopback may."""
    return MockClock(autojump_threshold=0.01)


def scripted_agent(**settings: object) -> Agent:
    return Agent(
        language_model=ScriptedLanguageModel(script=["One two three. Four five six.", "Seven eight nine."]),
        recognizer=ScriptedRecognizer(script=["first words", "second words", "third words"]),
        synthesizer=ScriptedSynthesizer(),
        voice_activity=EnergyVoiceActivity(),
        settings=Settings(**settings),  # type: ignore[arg-type]
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    for _ in range(1000):
        if condition():
            return
        await trio.sleep(0.01)
    raise AssertionError("it never came true")


class FakeSession:
    """A session that does nothing by itself: it tells what it got, and does what it is told."""

    def __init__(self, number: int, settings: Settings) -> None:
        self.id = f"session-{number}"
        self.resume_token = f"token-{number}"
        self.settings = settings
        self.ended: Reason | None = None
        self.received: list[ClientMessage] = []
        self.links: list[ClientLink] = []
        self.resumed: list[bool] = []
        self.broken: str | None = None
        self.crash_with: BaseException | None = None
        self._over = trio.Event()
        self._crash = trio.Event()
        self._scope: trio.CancelScope | None = None

    async def attach(self, link: ClientLink, *, resumed: bool = False) -> None:
        if self._scope is not None:
            self._scope.cancel(reason="a newer link")
        self._scope = scope = trio.CancelScope()
        self.links.append(link)
        self.resumed.append(resumed)
        try:
            with scope:
                await link.send(self.started(link, resumed=resumed))
                await self._serve(link)
        except* LinkBroken as broken:
            self.broken = str(broken.exceptions[0])
            self.end(Reason.TRANSPORT_ERROR)
        except* LinkClosed:
            pass
        finally:
            with trio.move_on_after(30, shield=True):
                await link.aclose()

    async def _serve(self, link: ClientLink) -> None:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                await self._over.wait()
                if self.ended is not None:
                    await link.send(notices.SessionEnded(reason=self.ended))
                nursery.cancel_scope.cancel()

            nursery.start_soon(stop)
            while True:
                self.received.append(message := await link.receive())
                if type(message).__name__ == "SessionEndRequested":
                    self.end()

    def started(self, link: ClientLink, *, resumed: bool) -> notices.SessionStarted:
        return notices.SessionStarted(
            session_id=self.id,
            resume_token=self.resume_token,
            resumed=resumed,
            state=State.IDLE,
            settings=self.settings,
            input_sample_rate=link.input_format.sample_rate,
            output_sample_rate=link.output_format.sample_rate,
        )

    def end(self, reason: Reason = Reason.SESSION_ENDED) -> None:
        self.ended = self.ended or reason
        self._over.set()

    def shutdown(self, deadline_s: float) -> None:
        self.end(Reason.SHUTDOWN)

    def crash(self, error: BaseException) -> None:
        self.crash_with = error
        self._crash.set()

    async def wait_ended(self) -> Reason:
        async with trio.open_nursery() as nursery:

            async def wait(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, self._over)
            nursery.start_soon(wait, self._crash)
        if self.crash_with is not None:
            self._over.set()
            raise self.crash_with
        assert self.ended is not None
        return self.ended


@attrs.define
class FakeSessions:
    """Opens fake sessions and remembers them."""

    made: list[FakeSession] = attrs.field(factory=list)
    fail_with: Exception | None = None
    hold: trio.Event | None = None

    @asynccontextmanager
    async def __call__(self, settings: Settings) -> AsyncIterator[FakeSession]:
        if self.hold is not None:
            await self.hold.wait()
        if self.fail_with is not None:
            raise self.fail_with
        session = FakeSession(len(self.made) + 1, settings)
        self.made.append(session)
        yield session


@attrs.define
class RealSessions:
    """Opens real sessions and remembers them, so that a test can look inside."""

    agent: Agent
    observers: Sequence[Observer] = ()
    made: list[Session] = attrs.field(factory=list)

    @asynccontextmanager
    async def __call__(self, settings: Settings) -> AsyncIterator[Session]:
        async with open_session(self.agent, settings=settings, observers=self.observers) as session:
            self.made.append(session)
            yield session


@asynccontextmanager
async def running(agent: Agent | None = None, **options: Any) -> AsyncIterator[Server]:
    """A server on a free port of this machine, until the block ends."""
    options = {"port": 0, "limits": LIMITS, **options}
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[Server]) -> None:
            await serve(agent or scripted_agent(), task_status=task_status, **options)

        yield await nursery.start(run)
        nursery.cancel_scope.cancel()


class Client:
    """A client that speaks the native protocol well, and remembers what it was told."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self.connection = connection
        self.heard: list[flare.FromServer] = []
        self.close_code: int | None = None

    async def say(self, *messages: flare.FromClient) -> None:
        for message in messages:
            await self.connection.send_message(flare.encode_client(message))

    async def say_raw(self, data: str | bytes) -> None:
        await self.connection.send_message(data)

    async def speak(self, pcm: bytes, chunk_bytes: int = 3_200) -> None:
        for start in range(0, len(pcm), chunk_bytes):
            await self.say(AudioIn(pcm[start : start + chunk_bytes]))

    async def hear(self) -> flare.FromServer:
        """The next message; raises ConnectionClosed at the end, and remembers its code."""
        try:
            data = await self.connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            self.close_code = closed.reason.code if closed.reason else None
            raise
        message = flare.decode_server(data)
        assert message is not None
        self.heard.append(message)
        return message

    async def hear_all(self) -> list[flare.FromServer]:
        """Everything until the connection is closed."""
        try:
            while True:
                await self.hear()
        except trio_websocket.ConnectionClosed:
            return self.heard

    async def wait_for(self, kind: type, match: Callable[[Any], bool] = lambda _: True) -> Any:
        while True:
            message = await self.hear()
            if isinstance(message, kind) and match(message):
                return message

    async def wait_state(self, state: State) -> notices.StateChanged:
        return await self.wait_for(notices.StateChanged, lambda change: change.new is state)

    async def wait_error(self, code: str) -> notices.ErrorRaised:
        error = await self.wait_for(notices.ErrorRaised)
        assert error.code == code, error
        return error

    async def start(self, **fields: Any) -> notices.SessionStarted:
        await self.say(flare.StartSession(**fields))
        return await self.wait_for(notices.SessionStarted)

    def all(self, kind: type) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]

    def audio(self, turn: int) -> bytes:
        return b"".join(frame.pcm for frame in self.all(AudioOut) if frame.turn == turn)


@asynccontextmanager
async def connected(
    server: Server,
    *,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    path: str = "/flare",
    ssl_context: Any = None,
    **options: Any,
) -> AsyncIterator[Client]:
    scheme = "ws" if ssl_context is None else "wss"
    async with trio_websocket.open_websocket_url(
        f"{scheme}://127.0.0.1:{server.port}{path}",
        ssl_context=ssl_context,
        extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        subprotocols=list(subprotocols),
        max_message_size=2**24,
        **options,
    ) as connection:
        try:
            yield Client(connection)
        finally:
            await connection.aclose()
            await connection._stream.aclose()  # the library forgets to, where the server closes first


# --- Clients that are no library ----------------------------------------------------------------------------------------


def upgrade_head(server: Server, **changes: str | None) -> bytes:
    """A WebSocket handshake; ``changes`` replace headers (underscores are dashes), None removes one."""
    headers: dict[str, str | None] = {
        "host": f"127.0.0.1:{server.port}",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
    }
    path = changes.pop("path", "/flare")
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """A client's WebSocket frame, with whatever opcode."""
    size = len(payload)
    head = bytes([opcode | (0x80 if fin else 0)])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([size | bit])
    elif size < 2**16:
        head += bytes([126 | bit]) + struct.pack("!H", size)
    else:
        head += bytes([127 | bit]) + struct.pack("!Q", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload  # a mask of zeros changes nothing


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class RawClient:
    """A TCP connection on which anything can be said."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = bytearray()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_until_broken(self, data: bytes) -> None:
        """Send the same again and again, until the connection is torn down."""
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await self.send(data)

    async def _fill(self) -> bool:
        data = await self.stream.receive_some(65536)
        self._buffer += data
        return bool(data)

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        """An HTTP response: status, headers (lower case), body."""
        while b"\r\n\r\n" not in self._buffer:
            assert await self._fill(), f"closed after {bytes(self._buffer)!r}"
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) if ": " in line else (line, "") for line in lines)
        status = int(first.split(" ")[1])
        size = 0 if status == 101 else int(headers.get("content-length", "0"))
        while len(rest) < size:
            assert await self._fill()
            rest = bytes(self._buffer).partition(b"\r\n\r\n")[2]
        self._buffer = bytearray(rest[size:])
        return status, headers, rest[:size]

    async def upgrade(self, server: Server, **changes: str | None) -> None:
        await self.send(upgrade_head(server, **changes))
        status, _, body = await self.response()
        assert status == 101, (status, body)

    async def frame(self) -> tuple[int, bytes] | None:
        """The server's next frame: opcode and payload; None at the end of the connection."""
        while True:
            if len(self._buffer) >= 2:
                size, at = self._buffer[1], 2
                if size == 126 and len(self._buffer) >= 4:
                    size, at = struct.unpack_from("!H", self._buffer, 2)[0], 4
                if (size < 126 or at == 4) and len(self._buffer) >= at + size:
                    opcode, payload = self._buffer[0] & 15, bytes(self._buffer[at : at + size])
                    del self._buffer[: at + size]
                    return opcode, payload
            try:
                if not await self._fill():
                    return None
            except trio.BrokenResourceError:
                return None

    async def close_code(self) -> int | None:
        """The code of the server's CLOSE frame; None if the connection ends without one."""
        while (found := await self.frame()) is not None:
            if found[0] == CLOSE:
                return struct.unpack("!H", found[1][:2])[0] if found[1] else 1005
        return None

    async def at_end(self) -> bool:
        """Waits for the end of the connection; False if something still came."""
        try:
            return not self._buffer and not await self._fill()
        except trio.BrokenResourceError:
            return True


@asynccontextmanager
async def raw(server: Server, *, receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """Connect; a small ``receive_buffer`` (bytes) shows early that nothing is read."""
    socket = trio.socket.socket()
    if receive_buffer is not None:
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_buffer)
    await socket.connect(("127.0.0.1", server.port))
    async with trio.SocketStream(socket) as stream:
        yield RawClient(stream)
