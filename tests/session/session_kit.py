"""What the session tests share: one session with one client in virtual time, and what must be true of every one after."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from flare_actors.agent import Agent
from flare_actors.audio import level_db
from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.notices import HearingReady, StateChanged, TranscriptReceived, TurnEnded
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import State
from flare_actors.errors import LinkClosed
from flare_actors.observe import Observer
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import tone
from flare_actors.session import Session, open_session
from flare_actors.testing import EventLog, MemoryClient, MemoryLink, memory_link
from flare_actors.testing.invariants import ConversationChecker

SILENCE = bytes(2 * 16_000)
"""One second of it."""


@attrs.frozen
class Talk:
    """One session, its client, and what was observed."""

    agent: Agent
    session: Session
    client: MemoryClient
    link: MemoryLink
    log: EventLog
    nursery: trio.Nursery
    """Outlives the session; not its own."""

    async def ask(self, *, speech_s: float = 1.0, level: float = -20.0) -> None:
        """Say something, and be silent long enough for an endpoint."""
        await self.client.speak(tone(speech_s, level_db=level))
        await self.client.speak(SILENCE)

    async def ask_until_the_end(self, *, speech_s: float = 1.0, level: float = -20.0) -> None:
        """The same, for a task beside the test: the session may end meanwhile."""
        with contextlib.suppress(LinkClosed):
            await self.ask(speech_s=speech_s, level=level)

    def states(self) -> list[State]:
        """The states that the client was told of."""
        return [notice.new for notice in self.client.all(StateChanged)]

    def said(self) -> list[str]:
        """What the client was told that it was understood to say."""
        return [notice.text for notice in self.client.all(TranscriptReceived) if notice.final]

    def heard(self) -> list[str]:
        """What of each turn entered the history."""
        return [notice.heard for notice in self.client.all(TurnEnded)]

    async def wait_turns(self, count: int) -> TurnEnded:
        """Wait for the end of the turn that is the ``count``-th to end."""
        return await self.client.wait_for(TurnEnded, count=count)

    async def wait_state(self, state: State) -> None:
        """Wait until the client was told of a state and the session is in it."""
        while self.session.conversation.state is not state:
            await trio.sleep(0.01)

    async def wait_audio(self, turn: int, seconds: float) -> None:
        """Wait until so much of a turn's audio has come."""
        while len(self.client.audio(turn)) < seconds * 2 * self.client.output_format.sample_rate:
            await self.client.wait_for(AudioOut, count=len(self.client.all(AudioOut)) + 1)


def open_streams(agent: Agent) -> dict[str, int]:
    """Provider streams that are open."""
    engines = {"llm": agent.language_model, "stt": agent.recognizer, "tts": agent.synthesizer}
    return {name: count for name, engine in engines.items() if (count := getattr(engine, "open_streams", 0))}


@asynccontextmanager
async def talking(
    agent: Agent,
    *,
    start: bool = True,
    settings: Settings | None = None,
    observers: Sequence[Observer] = (),
    patience_s: float = 900.0,
    realtime: bool = True,
    reports_playback: bool = False,
    pauses_playback: bool = True,
    buffer: int = 64,
) -> AsyncGenerator[Talk]:
    """One session with one client. Everything of it must be gone afterwards, within ``patience_s`` of virtual time."""
    client, link = memory_link(
        realtime=realtime, reports_playback=reports_playback, pauses_playback=pauses_playback, buffer=buffer
    )
    log = EventLog()
    with trio.fail_after(patience_s):
        async with trio.open_nursery() as nursery:
            watchers = [log, ConversationChecker(), *observers]
            async with open_session(agent, settings=settings, observers=watchers) as session:
                nursery.start_soon(client.run)
                nursery.start_soon(session.attach, link)
                if start:
                    await client.send(ConversationStartRequested())
                yield Talk(agent, session, client, link, log, nursery)
            # Leaving the block has ended it: nothing of it is left, before anything else is waited for.
            assert session.ended is not None
            assert open_streams(agent) == {}
            assert session.statistics().replies_running == 0
    assert link.closed
    assert log.ended == [session.ended]
    assert log.folded() == session.conversation


@asynccontextmanager
async def listening(agent: Agent, **options: object) -> AsyncGenerator[Talk]:
    """The same, from the moment at which the client was told that it may speak."""
    async with talking(agent, **options) as talk:  # type: ignore[arg-type]
        await talk.client.wait_for(HearingReady)
        yield talk


def loud_s(pcm: bytes, sample_rate: int = 16_000) -> float:
    """Seconds of audio that is not silence, in 10 ms steps."""
    step = sample_rate // 100 * 2
    return sum(level_db(pcm[at : at + step]) > -50 for at in range(0, len(pcm), step)) / 100
