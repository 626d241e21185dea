"""Many sessions in one process, each with a microphone that sends 50 frames a second, and the processor time that they take."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from benchmarks.kit import FRAME_S, SILENCE, InstantEar, InstantModel, InstantRecognizer, InstantVoice, Times, Watching
from flare_actors.agent import Agent
from flare_actors.audio import AudioFormat
from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.settings import Settings
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage, VoiceActivity
from flare_actors.session import Session, open_session

__all__ = ["BEATS", "Metronome", "Microphone", "instant_agent", "metronome", "talking", "used_s"]

BEATS: Final = 4
"""In a frame's time."""


class Metronome:
    """One timer for all microphones: it beats four times in a frame's 20 ms, and each of them has its frame on one of the four.

    A timer for each would cost more than what is measured, and no server has one: frames come from its sockets.

    Args:
        beat_s: seconds from one beat to the next.
    """

    def __init__(self, beat_s: float = FRAME_S / BEATS) -> None:
        self.beat = 0
        """Beats so far."""
        self._beat_s = beat_s
        self._started_at = trio.current_time()
        self._waiting = [trio.lowlevel.ParkingLot() for _ in range(BEATS)]

    async def run(self) -> None:
        """Beat, until cancelled; beats that are late come in a row."""
        while True:
            await trio.sleep_until(self.due_at(self.beat + 1))
            self.beat += 1
            self._waiting[self.beat % BEATS].unpark_all()

    def due_at(self, beat: int) -> float:
        """When it comes, or should have come."""
        return self._started_at + beat * self._beat_s

    async def reached(self, beat: int) -> None:
        """Wait for one of the next four beats; one that has passed is a checkpoint."""
        if beat > self.beat:
            await self._waiting[beat % BEATS].park()
        else:
            await trio.lowlevel.checkpoint()


class Microphone:
    """A link whose client is silent: ``receive`` gives a frame when it is due, ``send`` counts what comes.

    Args:
        metronome: says when.
        phase: where in the 20 ms its frames are due (0 to 1), so that sessions do not march in step.
    """

    input_format = AudioFormat()
    output_format = AudioFormat()
    realtime = True
    reports_playback = False
    pauses_playback = False

    def __init__(self, metronome: Metronome, phase: float = 0.0) -> None:
        self._metronome = metronome
        self._beat = metronome.beat + int(phase * BEATS) - BEATS + 1
        self._frame = AudioIn(SILENCE)
        self._started = False
        self.frames = 0
        """Frames given."""
        self.late_s: list[float] = []
        """How late each of them was."""
        self.heard_bytes = 0
        """Audio that came."""
        self.heard_messages = 0
        """In so many messages."""

    async def receive(self) -> ClientMessage:
        """See ``ports.ClientLink``."""
        if not self._started:
            self._started = True
            return ConversationStartRequested()
        self._beat += BEATS
        await self._metronome.reached(self._beat)
        self.frames += 1
        self.late_s.append(trio.current_time() - self._metronome.due_at(self._beat))
        return self._frame

    async def send(self, *messages: ServerMessage) -> None:
        """See ``ports.ClientLink``."""
        for message in messages:
            if isinstance(message, AudioOut):
                self.heard_bytes += len(message.pcm)
                self.heard_messages += 1
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See ``ports.ClientLink``."""
        await trio.lowlevel.checkpoint()


def instant_agent(
    *, voice_activity: VoiceActivity | None = None, forever: bool = True, settings: Settings | None = None
) -> Agent:
    """An agent whose engines take no time."""
    times = Times()
    return Agent(
        language_model=InstantModel(times, forever),
        recognizer=InstantRecognizer(times, trio.sleep),
        synthesizer=InstantVoice(times, forever),
        voice_activity=voice_activity or InstantEar(),
        settings=settings or Settings(idle_end_s=None),
    )


@attrs.frozen
class Talking:
    """One of many sessions."""

    session: Session
    link: Microphone


@asynccontextmanager
async def metronome() -> AsyncGenerator[Metronome, None]:
    """One that beats."""
    async with trio.open_nursery() as nursery:
        beating = Metronome()
        nursery.start_soon(beating.run)
        yield beating
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def talking(
    count: int, agent: Agent, link: Callable[[Metronome, int], Microphone] | None = None
) -> AsyncGenerator[list[Talking], None]:
    """So many sessions in a conversation, each with a microphone (or what ``link`` makes), and each in a task of its own."""
    found: list[Talking] = []

    async def one(number: int, task_status: trio.TaskStatus[Talking]) -> None:
        async with open_session(agent, observers=[Watching()]) as session:
            made = link(beating, number) if link is not None else Microphone(beating, number / count)
            task_status.started(Talking(session, made))
            await session.attach(made)

    async with metronome() as beating, trio.open_nursery() as nursery:
        for number in range(count):
            found.append(await nursery.start(one, number))  # noqa: PERF401 - one after the other
        await trio.sleep(0.3)
        yield found
        nursery.cancel_scope.cancel()


async def used_s(seconds: float) -> float:
    """Seconds of processor time that this process takes in so many seconds from now."""
    started = time.process_time()
    await trio.sleep(seconds)
    return time.process_time() - started
