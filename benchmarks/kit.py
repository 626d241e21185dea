"""What the benchmarks of whole sessions share: engines that take no time, and a link that tells when things reach it.

The language model writes 20 short words in two sentences, the synthesizer gives a second of audio for each phrase in pieces
of 20 ms at 16 kHz, neither waits for anything: what is left is ours. Every session has an observer that sees each step, as
one with logs or metrics has.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Final
from unittest.mock import patch

import attrs
import trio

from flare_actors.actors.speaker import Speaker
from flare_actors.agent import Agent
from flare_actors.audio import AudioFormat
from flare_actors.conversation.commands import Command
from flare_actors.conversation.events import CommitRequested, ConversationStartRequested, Event
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import HearingReady, TurnEnded
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import SttMode
from flare_actors.errors import LinkClosed
from flare_actors.observe import Observer
from flare_actors.ports import (
    AudioIn,
    ClientMessage,
    HeardAudio,
    Message,
    ModelOutput,
    Phrase,
    ServerMessage,
    SpeechAudio,
    TextDelta,
    ToolChoice,
    ToolSpec,
    Transcript,
    VoiceActivity,
)
from flare_actors.session import Session, open_session

__all__ = ["CHUNK", "FRAME_S", "LOUD", "SILENCE", "TOKENS", "World", "awake", "now_ms", "world"]

FRAME_S: Final = 0.02
SILENCE: Final = bytes(640)
LOUD: Final = (0x4000).to_bytes(2, "little") * 320
"""20 ms of the user at -6 dBFS: no echo of the agent's -30."""
CHUNK: Final = (0x0400).to_bytes(2, "little") * 320
TOKENS: Final = (
    *("It is", " a bright", " day and", " all of", " it is", " still to", " come for", " you and", " for me", " too."),
    *(" So let", " us go", " out and", " see what", " there is", " to be", " seen in", " this big", " old", " town."),
)
FAST: Final = Settings(min_speech_s=0.03)
"""The defaults, but for a word that is said in two chunks: a benchmark says it hundreds of times."""


def now_ms() -> float:
    """Milliseconds on the clock that everything is measured with."""
    return 1000 * time.perf_counter()


async def awake(seconds: float) -> None:
    """Wait while the processor is kept from sleeping, as on a server that has other sessions to serve.

    A processor that wakes first fills its caches again: on a virtual machine what comes then takes four times as long, whoever
    does it, and that would be measured instead of the work.
    """
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        await trio.lowlevel.checkpoint()


class Times:
    """When things happened last, in ms; written by engines and link, read by the benchmark."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self._waiting: dict[str, trio.Event] = {}

    def mark(self, what: str) -> None:
        """It happens now; whoever waits for it is woken."""
        self.at[what] = now_ms()
        waiting = self._waiting.pop(what, None)
        if waiting is not None:
            waiting.set()

    def mark_first(self, what: str) -> None:
        """It happens now, unless it has happened since ``forget``."""
        if what not in self.at:
            self.mark(what)

    def forget(self) -> None:
        """Begin anew."""
        self.at.clear()

    async def wait(self, what: str) -> float:
        """Wait until it has happened; gives the time."""
        if what not in self.at:
            self._waiting[what] = trio.Event()
            await self._waiting[what].wait()
        return self.at[what]


class ProbeLink:
    """A link in the same process whose ``send`` and ``receive`` are as quick as a link can be."""

    input_format = AudioFormat()
    output_format = AudioFormat()
    realtime = True
    reports_playback = False
    pauses_playback = False

    def __init__(self, times: Times) -> None:
        self._times = times
        self.inbound, self._incoming = trio.open_memory_channel[ClientMessage](256)

    async def receive(self) -> ClientMessage:
        """See ``ports.ClientLink``."""
        try:
            return await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise LinkClosed("the client has gone") from None

    async def send(self, *messages: ServerMessage) -> None:
        """See ``ports.ClientLink``; a link has a checkpoint, as every transport."""
        for message in messages:
            self._times.mark_first(type(message).__name__)
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """See ``ports.ClientLink``."""
        self.inbound.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()


@attrs.frozen
class InstantEar:
    """Whatever is louder than a resampler's dither is speech. It costs next to nothing: the session's own cost shows."""

    times: Times | None = None
    sample_rate: int = 16_000
    chunk_samples: int = 512

    async def open(self) -> InstantEar:
        """See ``ports.VoiceActivity``."""
        await trio.lowlevel.checkpoint()
        return self

    def process(self, chunk: bytes) -> float:
        """See ``ports.VoiceDetector``."""
        if self.times is not None:
            self.times.mark("heard_chunk")
        return 1.0 if 0 < chunk[1] < 255 else 0.0

    def reset(self) -> None:
        """See ``ports.VoiceDetector``."""


@attrs.frozen
class InstantRecognizer:
    """Understands "hello" a moment after the utterance's end, when nothing of that is going on any more."""

    times: Times
    pause: Callable[[float], Awaitable[None]]
    """Waits so many seconds."""
    sample_rate: int = 16_000
    locales: None = None
    partials: bool = False

    @asynccontextmanager
    async def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AsyncGenerator[AsyncIterator[Transcript], None]:
        """See ``ports.Recognizer``."""
        del locale, mode
        async with aclosing(self._run(audio)) as transcripts:
            yield transcripts

    async def _run(self, audio: AsyncIterator[HeardAudio]) -> AsyncGenerator[Transcript, None]:
        async for _ in audio:
            pass
        await self.pause(0.005)
        self.times.mark("transcript")
        yield Transcript(text="hello", final=True)


@attrs.frozen
class InstantModel:
    """Writes 20 words at once; with ``forever`` it then waits for more that does not come."""

    times: Times
    forever: bool = False

    @asynccontextmanager
    async def generate(
        self,
        messages: Sequence[Message],
        *,
        locale: str,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
    ) -> AsyncGenerator[AsyncIterator[ModelOutput], None]:
        """See ``ports.LanguageModel``."""
        del messages, locale, tools, tool_choice
        try:
            async with aclosing(self._run()) as outputs:
                yield outputs
        finally:
            self.times.mark("llm_closed")

    async def _run(self) -> AsyncGenerator[ModelOutput, None]:
        self.times.mark("asked")
        for token in TOKENS:
            yield TextDelta(text=token)
        if self.forever:
            await trio.sleep_forever()


@attrs.frozen
class InstantVoice:
    """A second of audio for each phrase; with ``forever`` it never ends."""

    times: Times
    forever: bool = False
    sample_rate: int = 16_000
    locales: None = None

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio], None]:
        """See ``ports.Synthesizer``."""
        del locale
        try:
            async with aclosing(self._run(phrases)) as chunks:
                yield chunks
        finally:
            self.times.mark("tts_closed")

    async def _run(self, phrases: AsyncIterator[Phrase]) -> AsyncGenerator[SpeechAudio, None]:
        async for phrase in phrases:
            self.times.mark_first("phrase")
            given = 0
            while given < 50 or self.forever:
                given += 1
                yield SpeechAudio(phrase=phrase.index, pcm=CHUNK)


class Watching(Observer):
    """Sees every step, as logs and metrics do."""

    def __init__(self) -> None:
        self.steps = 0
        self.events: list[Event] | None = None
        """What the core took, if that is wanted."""

    def on_step(
        self, session_id: str, before: Conversation, event: Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """See ``Observer``."""
        del session_id, before, after, commands
        self.steps += 1
        if self.events is not None:
            self.events.append(event)


@attrs.frozen
class World:
    """A session in a conversation, listening, and its client."""

    session: Session
    link: ProbeLink
    times: Times
    watching: Watching
    pause: Callable[[float], Awaitable[None]]
    """Waits so many seconds."""

    async def ask(self) -> None:
        """Say a word and ask for the answer; the transcript is on its way then."""
        self.times.forget()
        for _ in range(6):
            self.link.inbound.send_nowait(AudioIn(LOUD))
        await self.times.wait("heard_chunk")
        await self.pause(0.002)
        self.link.inbound.send_nowait(CommitRequested())

    async def until(self, what: type[object]) -> float:
        """Wait for the first message of a kind to reach the link since the last question."""
        return await self.times.wait(what.__name__)

    async def listening_again(self) -> None:
        """Wait until the turn is over and the recogniser is open for the next utterance."""
        await self.until(TurnEnded)
        await self.pause(0.03)


@contextmanager
def _silence_marked(times: Times) -> Iterator[None]:
    """Mark when a turn's audio can no longer leave."""
    flush, hush = Speaker.flush, Speaker.hush

    def flushing(speaker: Speaker, turn: int) -> None:
        flush(speaker, turn)
        times.mark_first("silenced")

    def hushing(speaker: Speaker) -> int | None:
        turn = hush(speaker)
        times.mark_first("silenced")
        return turn

    with patch.object(Speaker, "flush", flushing), patch.object(Speaker, "hush", hushing):
        yield


@asynccontextmanager
async def world(
    *,
    forever: bool = False,
    rests: bool = False,
    settings: Settings = FAST,
    voice_activity: Callable[[Times], VoiceActivity] = InstantEar,
) -> AsyncGenerator[World, None]:
    """Open a session with instant engines and begin to talk.

    Args:
        forever: answers do not end by themselves.
        rests: the processor may sleep where nothing is to be done; else it is kept awake.
        settings: of the conversation.
        voice_activity: what hears.
    """
    times = Times()
    pause = trio.sleep if rests else awake
    agent = Agent(
        language_model=InstantModel(times, forever),
        recognizer=InstantRecognizer(times, pause),
        synthesizer=InstantVoice(times, forever),
        voice_activity=voice_activity(times),
        settings=settings,
    )
    link = ProbeLink(times)
    watching = Watching()
    async with open_session(agent, observers=[watching]) as session, trio.open_nursery() as nursery:
        nursery.start_soon(session.attach, link)
        link.inbound.send_nowait(ConversationStartRequested())
        await times.wait(HearingReady.__name__)
        with _silence_marked(times):
            yield World(session, link, times, watching, pause)
        nursery.cancel_scope.cancel()
