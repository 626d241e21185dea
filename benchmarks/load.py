"""Many sessions in one process, each with a microphone that sends 50 frames a second, and the processor time that they take."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from benchmarks.kit import FRAME_S, SILENCE, InstantEar, InstantModel, InstantRecognizer, InstantVoice, Times, Watching
from flare_actors.agent import Agent
from flare_actors.audio import AudioFormat
from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.settings import Settings
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage, VoiceActivity
from flare_actors.session import Session, open_session

__all__ = ["Microphone", "instant_agent", "talking", "used_s"]


class Microphone:
    """A link whose client is silent: ``receive`` gives a frame when it is due, ``send`` counts what comes.

    Args:
        phase: where in the 20 ms its frames are due (0 to 1), so that sessions do not march in step.
    """

    input_format = AudioFormat()
    output_format = AudioFormat()
    realtime = True
    reports_playback = False
    pauses_playback = False

    def __init__(self, phase: float = 0.0) -> None:
        self._next_at = trio.current_time() + phase * FRAME_S
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
        self._next_at += FRAME_S
        await trio.sleep_until(self._next_at)
        self.frames += 1
        self.late_s.append(trio.current_time() - self._next_at)
        return self._frame

    async def send(self, message: ServerMessage) -> None:
        """See ``ports.ClientLink``."""
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
async def talking(
    count: int, agent: Agent, link: Callable[[int], Microphone] | None = None
) -> AsyncGenerator[list[Talking], None]:
    """So many sessions in a conversation, each with a microphone (or what ``link`` makes), and each in a task of its own."""
    found: list[Talking] = []

    async def one(number: int, task_status: trio.TaskStatus[Talking]) -> None:
        async with open_session(agent, observers=[Watching()]) as session:
            made = link(number) if link is not None else Microphone(number / count)
            task_status.started(Talking(session, made))
            await session.attach(made)

    async with trio.open_nursery() as nursery:
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
