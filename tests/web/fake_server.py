"""A server for the page's tests: serves the files and speaks the native protocol as the test tells it to.

It runs Trio in a thread of its own, because a browser is driven by blocking calls. What it does by itself is the least that
a page needs to come up: it starts sessions, starts and ends conversations, and answers pings.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import trio
import wsproto.utilities
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_server_stream

import flare_actors

WEB = Path(flare_actors.__file__).parent / "web"
CSP = (  # as strict as the real server's
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PATIENCE_S = 15  # of a test, for a browser on a busy machine

GONE = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    ConnectionClosed,
    HandshakeError,
    h11.RemoteProtocolError,
    wsproto.utilities.LocalProtocolError,  # a ping after our close (trio-websocket, issue 184)
)

Message = dict[str, Any]


class Peer:
    """One WebSocket of the page, seen from the test's thread."""

    def __init__(self, server: FakeServer, socket: WebSocketConnection, offered: list[str]) -> None:
        self._server = server
        self._socket = socket
        self.offered = offered
        self.messages: list[Message] = []
        self.pcm = bytearray()
        self.sizes: list[int] = []  # of the audio messages
        self.closed = False
        self._closing: trio.Event | None = None
        self._out: trio.MemorySendChannel[str | bytes | int]
        self._out, self.outgoing = trio.open_memory_channel[str | bytes | int](
            1000
        )  # a test sends a few hundred frames

    def of(self, kind: str) -> list[Message]:
        """What was received of one type."""
        return [message for message in list(self.messages) if message["type"] == kind]

    def send(self, type_: str, /, **fields: object) -> None:
        self._put(json.dumps({"type": type_, **fields}))

    def speak(self, turn: int, pcm: bytes, frame_bytes: int = 4_800) -> None:
        """Send a turn's audio, at once, in frames of (by default) 100 ms at 24 kHz."""
        header = struct.pack("<B3xI", 1, turn)

        def put() -> None:
            for start in range(0, len(pcm), frame_bytes):
                self._out.send_nowait(header + pcm[start : start + frame_bytes])

        self._server.run(put)

    def go(self, old: str, new: str, *, turn: int | None = None, reason: str | None = None) -> None:
        self.send("state_transition", old_state=old, new_state=new, timestamp=0.0, turn=turn, reason=reason)
        self._server.state = new

    def close(self, code: int = 1000) -> None:
        self._put(code)

    def tell(self, type_: str, /, **fields: object) -> None:
        """As ``send``, from within the server's thread."""
        self._out.send_nowait(json.dumps({"type": type_, **fields}))

    def hang_up(self, code: int) -> None:
        """As ``close``, from within the server's thread."""
        self._out.send_nowait(code)

    def wait_for(self, kind: str, count: int = 1) -> Message:
        """Block until ``count`` messages of this type have come; the last of them."""
        self._server.wait_until(lambda: len(self.of(kind)) >= count, f"{count} x {kind}; came: {self.messages}")
        return self.of(kind)[count - 1]

    async def finish(self) -> None:
        """Wait for the page's goodbye, where ours is under way.

        To close the connection before the page has sent its last audio resets it, and takes from the page what it has not read.
        """
        if self._closing is not None:
            with trio.move_on_after(PATIENCE_S):
                await self._closing.wait()

    def _put(self, item: str | bytes | int) -> None:
        self._server.run(self._out.send_nowait, item)

    async def write(self) -> None:
        async for item in self.outgoing:
            if isinstance(item, int):
                self._closing = trio.Event()
                await self._socket.aclose(item)
                self._closing.set()
            else:
                await self._socket.send_message(item)


class _Replay(trio.abc.Stream):
    """A stream whose first bytes have been looked at already."""

    def __init__(self, head: bytes, stream: trio.SocketStream) -> None:
        self._head = head
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        head, self._head = self._head, b""
        return head or bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class FakeServer:
    """What the test sees: peers in order of arrival, and switches for misbehaviour."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Peer] = []
        self.healthz: Message = {"status": "ok"}
        self.healthz_status = 200
        self.refuse: int | None = None  # an HTTP status instead of a WebSocket
        self.key: str | None = None
        self.answers = True  # start_session is answered
        self.resumable = True
        self.pongs = True
        self.token = "first-token"
        self.state = "idle"
        self.session: Message = {}  # overrides of session_started
        self.on_message: Callable[[Peer, Message], None] | None = None
        self._changed = threading.Condition()
        self._trio: trio.lowlevel.TrioToken
        self._scope: trio.CancelScope
        self._listener: trio.SocketListener | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/"

    # --- from the test's thread -------------------------------------------------------------------------------------

    def run(self, function: Callable[..., object], *args: object) -> None:
        trio.from_thread.run_sync(function, *args, trio_token=self._trio)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), f"waited in vain for {what}"

    def peer(self, number: int = 1) -> Peer:
        """The page's WebSocket number ``number``, once its session has been started."""
        self.wait_until(lambda: len(self.peers) >= number, f"connection {number}")
        peer = self.peers[number - 1]
        if self.answers:
            peer.wait_for("start_session")
        return peer

    def story(self) -> str:
        """What came of each of the page's WebSockets, for the reader of a failure."""
        lines = []
        for number, peer in enumerate(self.peers, 1):
            kinds = ", ".join(message["type"] for message in list(peer.messages))
            waiting = peer.outgoing.statistics().current_buffer_used
            lines.append(f"WebSocket {number}: closed: {peer.closed}; not sent: {waiting}; {len(peer.pcm)} B; {kinds}")
        return "\n".join(lines) or "no WebSocket"

    # --- in the server's thread -------------------------------------------------------------------------------------

    def note(self) -> None:
        with self._changed:
            self._changed.notify_all()

    async def serve(self, started: threading.Event) -> None:
        self._trio = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._accept, listeners)
                started.set()

    async def _accept(self, stream: trio.SocketStream) -> None:
        try:
            await self._connection(stream)
        except* GONE:
            pass  # The browser has gone away, as browsers do.
        finally:
            await trio.aclose_forcefully(stream)

    async def _connection(self, stream: trio.SocketStream) -> None:
        parser = h11.Connection(h11.SERVER)
        head = b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = bytes(await stream.receive_some(65536))
                head += data
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                break
            else:
                return
        headers = {bytes(name).decode(): bytes(value).decode() for name, value in event.headers}
        target = bytes(event.target).decode()
        if target != "/flare":
            await self._page(stream, parser, target)
            return
        offered = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
        status = self.refuse
        keys = {*offered, "flare-api-key." + headers.get("authorization", "").removeprefix("Bearer ")}
        if self.key is not None and f"flare-api-key.{self.key}" not in keys:
            status = 401
        elif "upgrade" not in headers and status is None:
            status = 426
        if status is not None:
            await _answer(stream, parser, status, "text/plain", b"no")
            return
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, _Replay(head, stream))
            socket = await request.accept(subprotocol="flare")
            peer = Peer(self, socket, offered)
            self.peers.append(peer)
            nursery.start_soon(peer.write)
            self.note()
            try:
                while True:
                    self._receive(peer, await socket.get_message())
            except ConnectionClosed:
                peer.closed = True
                self.note()
                await peer.finish()
                nursery.cancel_scope.cancel()

    async def _page(self, stream: trio.SocketStream, parser: h11.Connection, target: str) -> None:
        name = target.split("?", maxsplit=1)[0].lstrip("/") or "index.html"
        if name == "healthz":
            body = json.dumps(self.healthz).encode()
            await _answer(stream, parser, self.healthz_status, "application/json", body)
        elif "/" not in name and (WEB / name).is_file():
            path = trio.Path(WEB / name)
            await _answer(stream, parser, 200, TYPES[path.suffix], await path.read_bytes())
        else:
            await _answer(stream, parser, 404, "text/plain", b"not here")

    def _receive(self, peer: Peer, data: str | bytes) -> None:
        if isinstance(data, bytes):
            peer.pcm += data
            peer.sizes.append(len(data))
        else:
            message = json.loads(data)
            peer.messages.append(message)
            self._answer_message(peer, message)
            if self.on_message is not None:
                self.on_message(peer, message)
        self.note()

    def _answer_message(self, peer: Peer, message: Message) -> None:
        def go(new: str) -> None:
            peer.tell("state_transition", old_state=self.state, new_state=new, timestamp=1.0, turn=None, reason=None)
            self.state = new

        match message["type"]:
            case "start_session" if self.answers:
                resumed = self.resumable and message.get("resume", {}).get("token") == self.token
                if not resumed:
                    self.state = "idle"
                if not resumed and "resume" in message:
                    words = "no such session; this is a new one"
                    peer.tell("error", code="resume_failed", message=words, recoverable=True, turn=None, field="resume")
                started = {
                    "session_id": "session-0123456789abcd",
                    "resume_token": self.token,
                    "resumed": resumed,
                    "state": self.state,
                    "locale": "en-US",
                    "stt_mode": "streaming",
                    "output": message.get("output", "audio"),
                    "silence_threshold_ms": 480,
                    "turn_detection": "automatic",
                    "endpointing": "adaptive",
                    "input_sample_rate": message["input_sample_rate"],
                    "output_sample_rate": message["output_sample_rate"],
                }
                peer.tell("session_started", **(started | self.session))
            case "start_conversation":
                go("initializing")
                go("listening")
                peer.tell("stt_ready")
            case "end_conversation":
                go("idle")
            case "ping" if self.pongs:
                peer.tell("pong", id=message.get("id"))
            case "end_session":
                peer.tell("session_ended", reason="session_ended")
                peer.hang_up(1000)
            case _:
                pass


async def _answer(stream: trio.SocketStream, parser: h11.Connection, status: int, kind: str, body: bytes) -> None:
    headers = [
        ("Content-Type", f"{kind}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Content-Security-Policy", CSP),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    out = parser.send(h11.Response(status_code=status, headers=headers)) or b""
    out += parser.send(h11.Data(data=body)) or b""
    out += parser.send(h11.EndOfMessage()) or b""
    await stream.send_all(out)


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """Serve on a free port of this machine until the block ends."""
    server = FakeServer()
    started = threading.Event()
    thread = threading.Thread(target=trio.run, args=(server.serve, started), name="fake server")
    thread.start()
    try:
        assert started.wait(PATIENCE_S)
        yield server
    finally:
        server.run(server._scope.cancel)
        thread.join()
