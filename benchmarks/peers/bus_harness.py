"""An orchestrator on an asyncio event bus, in the style that this project replaces: written for the comparison, stdlib only.

One bus and one orchestrator for all sessions; services publish events, handlers are looked up by event type and awaited one
after the other; states are changed from within handlers; the answer is written whole, then synthesised whole, then played.
``python bus_harness.py MEASURE COUNT``; prints one line of JSON: METRIC -> values.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from harness_kit import (
    CHUNK,
    SILENCE,
    TOKENS,
    Metronome,
    Phase,
    awake,
    feeder_alone_us,
    freeze,
    now,
    session_costs,
    tell,
    used,
)

at: dict[str, float] = {}
arrived = asyncio.Event()


@dataclass
class Event:
    """What is published."""

    name: str
    session: str
    data: Any = None
    at: float = field(default_factory=time.time)


class Bus:
    """Events in one queue, handlers by name."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._handlers: dict[str, list[Callable[[Event], Awaitable[None]]]] = defaultdict(list)
        self._task = asyncio.create_task(self._run())

    def on(self, name: str, handler: Callable[[Event], Awaitable[None]]) -> None:
        """Subscribe."""
        self._handlers[name].append(handler)

    async def publish(self, name: str, session: str, data: object = None) -> None:
        """Enqueue for whoever has subscribed."""
        await self._queue.put(Event(name, session, data))

    async def _run(self) -> None:
        while True:
            event = await self._queue.get()
            await asyncio.gather(*(handler(event) for handler in self._handlers[event.name]))


@dataclass
class Session:
    """One client."""

    name: str
    state: str = "idle"
    history: list[str] = field(default_factory=list)
    microphone: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(100))
    loudspeaker: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    turn: list[asyncio.Task[None]] = field(default_factory=list)
    frames: int = 0


class Orchestrator:
    """The one for all."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.sessions: dict[str, Session] = {}
        for name in ("transcript", "answer", "speech", "first_audio", "played", "interrupted"):
            self.bus.on(name, getattr(self, f"_on_{name}"))

    async def open(self, name: str, phase: Phase | None = None) -> Session:
        """Start a session's listener and player, and its microphone if it is on."""
        session = self.sessions[name] = Session(name)
        session.tasks = [asyncio.create_task(self._listen(session)), asyncio.create_task(self._play(session))]
        if phase is not None:
            session.tasks.append(asyncio.create_task(self._feed(session, phase)))
        session.state = "listening"
        await asyncio.sleep(0)
        return session

    async def close(self, session: Session) -> None:
        """Cancel everything that is known of."""
        for task in [*session.turn, *session.tasks]:
            task.cancel()
        await asyncio.gather(*session.turn, *session.tasks, return_exceptions=True)
        del self.sessions[session.name]

    async def _feed(self, session: Session, phase: Phase) -> None:
        while True:
            await phase.frame()
            session.frames += 1
            await session.microphone.put(SILENCE)

    async def _listen(self, session: Session) -> None:
        while True:
            await session.microphone.get()

    async def _play(self, session: Session) -> None:
        due = 0.0
        while True:
            frame = await session.loudspeaker.get()
            if "audio" not in at:
                at["audio"] = now()
                arrived.set()
                await self.bus.publish("first_audio", session.name)
            clock = time.perf_counter()
            due = max(due, clock) + len(frame) / 32_000
            await asyncio.sleep(max(0.0, due - clock - 0.2))

    async def _on_transcript(self, event: Event) -> None:
        session = self.sessions[event.session]
        session.state = "processing"
        session.history.append(event.data)
        session.turn.append(asyncio.create_task(self._write(session)))

    async def _write(self, session: Session) -> None:
        tokens = []
        for token in TOKENS:
            tokens.append(token)
            await asyncio.sleep(0)
        await self.bus.publish("answer", session.name, "".join(tokens))

    async def _on_answer(self, event: Event) -> None:
        session = self.sessions[event.session]
        session.state = "preparing"
        session.history.append(event.data)
        session.turn.append(asyncio.create_task(self._speak(session, event.data)))

    async def _speak(self, session: Session, text: str) -> None:
        frames = []
        try:
            for _ in text.split(".")[:-1]:
                for _ in range(50):
                    frames.append(CHUNK)
                    await asyncio.sleep(0)
            await self.bus.publish("speech", session.name, frames)
            await asyncio.sleep(3600)
        finally:
            at["tts_closed"] = now()

    async def _on_speech(self, event: Event) -> None:
        for frame in event.data:
            await self.sessions[event.session].loudspeaker.put(frame)

    async def _on_first_audio(self, event: Event) -> None:
        self.sessions[event.session].state = "playing"

    async def _on_played(self, event: Event) -> None:
        self.sessions[event.session].state = "listening"

    async def _on_interrupted(self, event: Event) -> None:
        session = self.sessions[event.session]
        for task in session.turn:
            task.cancel()
        session.turn.clear()
        while not session.loudspeaker.empty():
            session.loudspeaker.get_nowait()
        at["cleared"] = now()
        session.state = "listening"


async def first_audio(count: int) -> dict[str, list[float]]:
    """A question, and an interruption."""
    found, silent, closed = [], [], []
    orchestrator = Orchestrator()
    await orchestrator.open("a")
    for number in range(count + 5):
        at.clear()
        arrived.clear()
        at["transcript"] = now()
        await orchestrator.bus.publish("transcript", "a", "hello")
        await asyncio.wait_for(arrived.wait(), 20)
        first = at["audio"] - at["transcript"]
        await awake(0.03)
        decided = now()
        await orchestrator.bus.publish("interrupted", "a")
        await awake(0.02)
        if number >= 5:
            found.append(first)
            silent.append(at["cleared"] - decided)
            closed.append(at["tts_closed"] - decided)
    return {"first_audio_ms": found, "output_silent_ms": silent, "tts_closed_ms": closed}


async def audio_in(count: int) -> dict[str, list[float]]:
    """Frames of 20 sessions; the feeder alone is taken off."""
    sessions, seconds, found = 20, 3.0, []
    for _ in range(count):
        alone = await feeder_alone_us(sessions, seconds)
        orchestrator, metronome = Orchestrator(), Metronome()
        talks = [await orchestrator.open(str(each), Phase(metronome, each, sessions)) for each in range(sessions)]
        await asyncio.sleep(0.3)
        before = sum(talk.frames for talk in talks)
        took = await used(seconds)
        found.append(1e6 * took / (sum(talk.frames for talk in talks) - before) - alone)
        for talk in talks:
            await orchestrator.close(talk)
        metronome.stop()
    return {"audio_in_us": found}


async def session_cost(count: int) -> dict[str, list[float]]:
    """Start, stop, memory, tasks."""
    orchestrator, number = Orchestrator(), itertools.count()
    costs, _ = await session_costs(
        lambda: orchestrator.open(str(next(number))), orchestrator.close, count=count, many=500
    )
    return costs


async def main() -> None:
    """One measure."""
    measures = {"first_audio": first_audio, "audio_in": audio_in, "session_cost": session_cost}
    tell(await measures[sys.argv[1]](int(sys.argv[2])))


if __name__ == "__main__":
    freeze()
    asyncio.run(main())
