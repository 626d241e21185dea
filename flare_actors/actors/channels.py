"""The session's clock and its two queues.

Both queues are bounded, and neither ever blocks or raises in the hand of whoever puts something in.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Self

import trio

from flare_actors.conversation.events import Event, SessionOverloaded
from flare_actors.conversation.notices import ErrorRaised, Notice, ResponseTextDelta, SessionEnded, TranscriptReceived
from flare_actors.conversation.values import evolve
from flare_actors.ports import AudioOut, ServerMessage

__all__ = ["Alarm", "Clock", "Inbox", "Outbox"]


class Clock:
    """Seconds since the session's start. Trio's own clock has a random offset in every run."""

    def __init__(self, started_s: float = 0.0) -> None:
        self.trio_now: Final = trio.lowlevel.current_clock().current_time
        """``trio.current_time`` of this run, which looks its clock up every time."""
        self._zero = self.trio_now() - started_s

    def now(self) -> float:
        """Seconds since the session's start."""
        return self.trio_now() - self._zero

    def trio_time(self, at: float) -> float:
        """The same moment on Trio's clock."""
        return at + self._zero

    def at(self, trio_time: float) -> float:
        """A moment of Trio's clock."""
        return trio_time - self._zero

    def has_come(self, at: float) -> bool:
        """Whether an alarm set to that moment has rung, however the sums are rounded."""
        return self.trio_now() >= self.trio_time(at)


class Alarm:
    """Ends the waits of a task that waits again and again: one cancel scope until it rings, where one a wait costs more.

        while True:
            with Alarm() as alarm:
                while True:
                    alarm.set(due)
                    await something()

    It may ring late, for a deadline that was moved meanwhile: whoever is woken looks whether anything is due.
    """

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._deadline = math.inf

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, exc, traceback)

    def set(self, deadline: float) -> None:
        """Ring then, on Trio's clock; inf: not at all."""
        if deadline != self._deadline:
            self._deadline = self._scope.deadline = deadline

    def set_by(self, deadline: float) -> None:
        """Ring then or earlier: of a deadline that is moved on and on, an earlier ring asks where it is now."""
        if deadline < self._deadline:
            self.set(deadline)


class _Quiet:
    """A block of ``Inbox.quiet``: a ``contextmanager`` costs more than all that is done in it."""

    __slots__ = ("_inbox",)

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def __enter__(self) -> None:
        self._inbox.begin_quiet()

    def __exit__(self, *_: object) -> None:
        self._inbox.end_quiet()


class Inbox:
    """Events on their way to the orchestrator, stamped on entry.

    Full means that facts got lost, which no conversation survives: the overload becomes the next event.
    """

    SIZE: Final = 256  # A turn makes about a dozen events; hundreds unread mean that the orchestrator is not running.
    MUCH: Final = 32  # A fraction of that, since several actors may have a burst at once.

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._send, self._receive = trio.open_memory_channel[Event](self.SIZE)
        self._count = 0
        self._quiet = 0
        """Blocks of ``quiet`` that are open."""
        self._patient: list[Event] = []
        """What has come in meanwhile, and wakes nobody."""
        self._overloaded: str | None = None
        """The queue that was full, until that is told."""

    def put(self, event: Event) -> None:
        """Stamp and enqueue."""
        self._enqueue(evolve(event, at=self._clock.now()))

    def put_patiently(self, event: Event) -> None:
        """The same; but a waiting orchestrator need not see to it before the end of ``quiet``, unless for another's sake."""
        if self._quiet and len(self._patient) < self.MUCH:
            self._patient.append(evolve(event, at=self._clock.now()))
        else:
            self.put(event)

    def quiet(self) -> AbstractContextManager[None]:
        """For what a user waits for: patient events wake the orchestrator only when it is done."""
        return _Quiet(self)

    def begin_quiet(self) -> None:
        """A block of ``quiet`` opens."""
        self._quiet += 1

    def end_quiet(self) -> None:
        """It closes; after the last one, what was patient comes in."""
        self._quiet -= 1
        if not self._quiet:
            self._let_in()

    def _let_in(self) -> None:
        if self._patient:
            patient, self._patient = self._patient, []
            for event in patient:
                self._enqueue(event)

    def _enqueue(self, event: Event) -> None:
        if self._patient:
            self._let_in()
        try:
            self._send.send_nowait(event)
            self._count += 1
        except trio.WouldBlock:
            self._overloaded = self._overloaded or "inbox"

    async def relieve(self) -> None:
        """Let the orchestrator take out what is in, if that is much.

        For whoever may put in many events without waiting for anything in between: a burst is no overload.
        """
        if self._count >= self.MUCH:
            await trio.lowlevel.checkpoint()

    def overload(self, queue: str) -> None:
        """Something else that a session cannot lose was full."""
        # Wakes a waiting orchestrator; if there is no room, it is awake.
        self.put(SessionOverloaded(queue=queue))

    def get_nowait(self) -> Event | None:
        """The next event, or None."""
        self._let_in()
        if self._overloaded is not None:
            queue, self._overloaded = self._overloaded, None
            return SessionOverloaded(at=self._clock.now(), queue=queue)
        if not self._count:
            return None
        event = self._receive.receive_nowait()
        self._count -= 1
        return event

    async def get(self) -> Event:
        """Wait for the next event, if ``get_nowait`` gives none."""
        event = await self._receive.receive()
        self._count -= 1
        return event

    def __len__(self) -> int:
        return self._count + len(self._patient)


class _Text:
    """Text of an answer that waits to be written: it grows meanwhile, since the client was going to get it together anyway."""

    __slots__ = ("pieces", "turn")

    def __init__(self, turn: int, text: str) -> None:
        self.turn = turn
        self.pieces = [text]


class Outbox:
    """Messages on their way to the client: notices and audio in one order, each with its own bound.

    Audio belongs to a turn and leaves only while that turn is open and not paused: ``flush`` takes back what has not left, at
    once, and ``pause`` keeps it back.
    Without a link notices are dropped: whoever attaches is told where things stand. One writer reads at a time, the newest
    connection's: one that was superseded gets nothing more, even if it had been woken already.

    Args:
        on_overload: called when more notices wait than a living client would ever leave unread.
    """

    NOTICES: Final = 512  # A turn makes a few dozen; the link's write timeout strikes long before.
    LAST_WORDS: Final = 8  # Room for the news that this was too much.
    AUDIO_S: Final = 1.0  # Of a turn that is not paced (a paced one runs 0.24 s ahead); more waits for the link.

    def __init__(self, on_overload: Callable[[str], None]) -> None:
        self._on_overload = on_overload
        self.on_audio_left: Callable[[int], None] = lambda _bytes: None
        """Called as audio of the open turn is handed to the link: the speaker's clock goes by it."""
        self._queue: deque[ServerMessage | _Text] = deque()
        self._notices = 0
        self._audio_bytes = 0
        self._audio_limit = 0
        self._open_turn: int | None = None
        self._paused: deque[AudioOut] | None = None
        """The open turn's audio, while nothing of it may leave; None: it may."""
        self._wanted = trio.Event()
        self._connection = 0
        self._connected = False
        self._overloaded = False
        self._closed = False

    def connect(self, bytes_per_second: int) -> int:
        """A link is attached: forget what the one before was not sent. Gives the connection's number, for ``get``."""
        self.disconnect()
        self._audio_limit = int(bytes_per_second * self.AUDIO_S)
        self._connection += 1
        self._connected = True
        return self._connection

    def disconnect(self) -> None:
        """No link: nothing is kept."""
        self._connected = False
        self._queue.clear()
        self._notices = self._audio_bytes = 0
        self._open_turn = self._paused = None
        self._wanted.set()

    def put(self, notice: Notice) -> None:
        """Enqueue a notice; a newer partial transcript replaces one that waits."""
        if not self._connected or self._closed:
            return
        if isinstance(notice, TranscriptReceived) and self._queue:
            last = self._queue[-1]
            if isinstance(last, TranscriptReceived) and last.utterance == notice.utterance and not last.final:
                self._queue[-1] = notice
                return
        parting = isinstance(notice, SessionEnded) or (isinstance(notice, ErrorRaised) and not notice.recoverable)
        self._enqueue(notice, self.NOTICES + (self.LAST_WORDS if parting else 0))

    def put_text(self, turn: int, text: str) -> None:
        """An answer's text goes on: a ``ResponseTextDelta``, together with what of it still waits."""
        if not self._connected or self._closed:
            return
        last = self._queue[-1] if self._queue else None
        if type(last) is _Text and last.turn == turn:
            last.pieces.append(text)
        else:
            self._enqueue(_Text(turn, text), self.NOTICES)

    def _enqueue(self, notice: Notice | _Text, most: int) -> None:
        if self._notices >= most:
            if not self._overloaded:
                self._overloaded = True
                self._on_overload("outbox")
            return
        self._queue.append(notice)
        self._notices += 1
        self._wanted.set()

    def open_turn(self, turn: int) -> None:
        """Audio of this turn may leave, and of no other."""
        self._open_turn = turn
        self._take_back_paused()

    def pause(self, turn: int) -> None:
        """Keep back what has not left of the open turn, and what still comes of it; notices go out."""
        if self._open_turn != turn or self._paused is not None:
            return
        self._paused = deque(message for message in self._queue if isinstance(message, AudioOut))
        self._queue = deque(message for message in self._queue if not isinstance(message, AudioOut))

    def resume(self, turn: int) -> None:
        """Let out what was kept back, behind the notices that wait by now."""
        if self._open_turn == turn and self._paused is not None:
            self._queue.extend(self._paused)
            self._paused = None
            self._wanted.set()

    def _take_back_paused(self) -> None:
        for message in self._paused or ():
            self._audio_bytes -= len(message.pcm)
        self._paused = None

    @property
    def congested(self) -> bool:
        """No room for audio now."""
        return self._connected and self._audio_bytes >= self._audio_limit

    @property
    def unsent_audio_bytes(self) -> int:
        """Audio that has not been handed to the link."""
        return self._audio_bytes

    def put_audio(self, turn: int, pcm: bytes) -> None:
        """Enqueue audio; that of a turn which is not open, or without a link, is dropped."""
        if turn != self._open_turn or not self._connected or self._closed:
            return
        (self._queue if self._paused is None else self._paused).append(AudioOut(turn, pcm))
        self._audio_bytes += len(pcm)
        self._wanted.set()

    def flush(self, turn: int) -> None:
        """Close the turn and take back its audio."""
        if self._open_turn == turn:
            self._open_turn = None
            self._take_back_paused()
        kept: deque[ServerMessage | _Text] = deque()
        for message in self._queue:
            if isinstance(message, AudioOut) and message.turn == turn:
                self._audio_bytes -= len(message.pcm)
            else:
                kept.append(message)
        self._queue = kept

    def get_nowait(self) -> ServerMessage | None:
        """The next message to write, or None. Audio of a turn that is no longer open is dropped here, at the last step."""
        while self._queue:
            message = self._queue.popleft()
            if isinstance(message, AudioOut):
                self._audio_bytes -= len(message.pcm)
                if message.turn != self._open_turn:
                    continue
                self.on_audio_left(len(message.pcm))
                return message
            self._notices -= 1
            if isinstance(message, _Text):
                return ResponseTextDelta(turn=message.turn, text="".join(message.pieces))
            return message
        return None

    def serves(self, connection: int) -> bool:
        """It is the attached one: no newer one took its place."""
        return connection == self._connection and self._connected

    async def get(self, connection: int) -> list[ServerMessage]:
        """Wait for what there is to write: everything, but for what comes after the first audio.

        Audio can be taken back only here, and its clock runs from here: no more is handed over than is written next.
        Nothing: superseded, or closed and everything was taken.
        """
        while self.serves(connection):
            messages: list[ServerMessage] = []
            while (message := self.get_nowait()) is not None:
                messages.append(message)
                if isinstance(message, AudioOut):
                    break
            if messages:
                return messages
            if self._closed:
                break
            self._wanted = trio.Event()
            await self._wanted.wait()
        return []

    def close(self) -> None:
        """Nothing more goes in; what is in may still leave."""
        self._closed = True
        self._wanted.set()

    def __len__(self) -> int:
        return len(self._queue) + len(self._paused or ())
