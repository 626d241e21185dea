"""The session's two queues. Both are bounded, neither ever blocks or raises in the hand of whoever puts something in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import trio

from flare_actors.conversation.events import Event, SessionOverloaded
from flare_actors.conversation.notices import Notice, ResponseTextDelta
from flare_actors.ports import AudioOut, ServerMessage

__all__ = ["Clock", "Inbox", "Outbox"]


class Clock:
    """Seconds since the session's start. Trio's own clock has a random offset in every run."""

    def __init__(self, started_s: float = 0.0) -> None:
        self._zero = trio.current_time() - started_s

    def now(self) -> float:
        """Seconds since the session's start."""
        return trio.current_time() - self._zero

    def trio_time(self, at: float) -> float:
        """The same moment on Trio's clock."""
        return at + self._zero


class Inbox:
    """Events on their way to the orchestrator, stamped on entry.

    Full means that facts got lost, which no conversation survives: the overload becomes the next event.
    """

    SIZE: Final = 256  # A turn makes about a dozen events; hundreds unread mean that the orchestrator is not running.

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._send, self._receive = trio.open_memory_channel[Event](self.SIZE)
        self._overloaded = False

    def put(self, event: Event) -> None:
        """Stamp and enqueue."""
        try:
            self._send.send_nowait(attrs.evolve(event, at=self._clock.now()))
        except trio.WouldBlock:
            self._overloaded = True

    def overload(self) -> None:
        """Something else that a session cannot lose was full."""
        self._overloaded = True
        # Wakes a waiting orchestrator; if there is no room, it is awake.
        self.put(SessionOverloaded(queue="outbox"))

    def get_nowait(self) -> Event | None:
        """The next event, or None."""
        if self._overloaded:
            self._overloaded = False
            return SessionOverloaded(at=self._clock.now(), queue="inbox")
        try:
            return self._receive.receive_nowait()
        except trio.WouldBlock:
            return None

    async def get(self) -> Event:
        """Wait for the next event."""
        return await self._receive.receive()

    def __len__(self) -> int:
        return self._receive.statistics().current_buffer_used


class Outbox:
    """Messages on their way to the client: notices and audio in one order, each with its own bound.

    Audio belongs to a turn and leaves only while that turn is open: ``flush`` takes back what has not left, at once.
    Without a link notices are dropped: whoever attaches is told where things stand.

    Args:
        on_overload: called when more notices wait than a living client would ever leave unread.
    """

    NOTICES: Final = 512  # A turn makes a few dozen; the link's write timeout strikes long before.
    AUDIO_S: Final = 1.0  # Paced audio runs 0.2 s ahead; more than this unwritten means a congested link.

    def __init__(self, on_overload: Callable[[], None]) -> None:
        self._on_overload = on_overload
        self._queue: deque[ServerMessage] = deque()
        self._notices = 0
        self._audio_bytes = 0
        self._audio_limit = 0
        self._open_turn: int | None = None
        self._wanted = trio.Event()
        self._room = trio.Event()
        self._connected = False
        self._closed = False

    def connect(self, bytes_per_second: int) -> None:
        """A link is attached: forget what the one before was not sent."""
        self._queue.clear()
        self._notices = self._audio_bytes = 0
        self._audio_limit = int(bytes_per_second * self.AUDIO_S)
        self._connected = True
        self._room.set()

    def disconnect(self) -> None:
        """No link: nothing is kept."""
        self._connected = False
        self._queue.clear()
        self._notices = self._audio_bytes = 0
        self._room.set()

    def put(self, notice: Notice) -> None:
        """Enqueue a notice; pieces of text that follow each other become one."""
        if not self._connected or self._closed:
            return
        last = self._queue[-1] if self._queue else None
        if isinstance(notice, ResponseTextDelta) and isinstance(last, ResponseTextDelta) and last.turn == notice.turn:
            self._queue[-1] = ResponseTextDelta(turn=notice.turn, text=last.text + notice.text)
        elif self._notices >= self.NOTICES:
            self._on_overload()
            return
        else:
            self._queue.append(notice)
            self._notices += 1
        self._wanted.set()

    def open_turn(self, turn: int) -> None:
        """Audio of this turn may leave, and of no other."""
        self._open_turn = turn

    @property
    def congested(self) -> bool:
        """No room for audio now."""
        return self._connected and self._audio_bytes >= self._audio_limit

    def put_audio(self, turn: int, pcm: bytes) -> None:
        """Enqueue audio; that of a turn which is not open, or without a link, is dropped."""
        if turn != self._open_turn or not self._connected or self._closed:
            return
        self._queue.append(AudioOut(turn, pcm))
        self._audio_bytes += len(pcm)
        self._wanted.set()

    async def wait_room(self) -> None:
        """Wait until there is room for audio, or a flush, or no link."""
        if self.congested:
            self._room = trio.Event()
            await self._room.wait()

    def flush(self, turn: int) -> int:
        """Close the turn and take back its audio; gives the bytes that never left."""
        if self._open_turn == turn:
            self._open_turn = None
        taken = 0
        kept: deque[ServerMessage] = deque()
        for message in self._queue:
            if isinstance(message, AudioOut) and message.turn == turn:
                taken += len(message.pcm)
            else:
                kept.append(message)
        self._queue = kept
        self._audio_bytes -= taken
        self._room.set()
        return taken

    def get_nowait(self) -> ServerMessage | None:
        """The next message to write, or None. Audio of a turn that is no longer open is dropped here, at the last step."""
        while self._queue:
            message = self._queue.popleft()
            if isinstance(message, AudioOut):
                self._audio_bytes -= len(message.pcm)
                if not self.congested:
                    self._room.set()
                if message.turn != self._open_turn:
                    continue
            else:
                self._notices -= 1
            return message
        return None

    async def get(self) -> ServerMessage | None:
        """Wait for the next message to write; None: closed, and everything was taken."""
        while True:
            message = self.get_nowait()
            if message is not None:
                return message
            if self._closed:
                return None
            self._wanted = trio.Event()
            await self._wanted.wait()

    def close(self) -> None:
        """Nothing more goes in; what is in may still leave."""
        self._closed = True
        self._wanted.set()
        self._room.set()

    def __len__(self) -> int:
        return len(self._queue)
