"""Whatever the engines do and whenever the session is cancelled, nothing of it is left; engines in threads included.

Every fault of ``flare_actors.testing`` (each act at each place of a stream's life) is given to each stage in turn, in a talk
that runs to its end and in some that are cancelled before a step of theirs: a few per fault, other ones for every fault. So is
the close of a session whose engine is at its fault. In the nightly profile it is every step of every talk.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import attrs
import pytest
import trio
from leak_kit import (
    QUICK,
    Play,
    World,
    check,
    check_ended,
    forget_everything_before,
    leaving,
    nothing_is_left,
    play,
    short,
)
from session_kit import SILENCE, open_streams

from flare_actors.agent import Agent
from flare_actors.conversation.events import ConversationStartRequested, SessionEndRequested, TextReceived
from flare_actors.conversation.notices import HearingReady, TurnEnded
from flare_actors.conversation.settings import Settings, Timeouts
from flare_actors.conversation.states import SttMode
from flare_actors.errors import LinkClosed
from flare_actors.ports import HeardAudio, Message, ModelOutput, Phrase, SpeechAudio, TextDelta, Transcript
from flare_actors.providers._threads import Job
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
    tone,
)
from flare_actors.session import open_session
from flare_actors.testing import (
    Act,
    At,
    EventLog,
    Fault,
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
    FaultyVoiceActivity,
    memory_link,
    scripted_agent,
)

pytestmark = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

TRIED = {"nightly": 10_000, "ci": 4}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 1)
"""Cancelled talks per fault."""
CLOSED = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 1
"""Closes per fault, of which a step is cancelled: all of them, or one of each."""


@pytest.fixture(autouse=True, scope="module")
def _forgetful() -> None:
    forget_everything_before()


# --- Every fault ----------------------------------------------------------------------------------------------------------

RAISES = {Act.RAISE, Act.CRITICAL, Act.CRASH, Act.CRASH_GROUP}
WAITS = {Act.HANG, Act.SLOW, Act.STUBBORN}
IN_STREAMS = {
    At.CALL: RAISES,
    At.CONNECT: RAISES | WAITS,
    At.FIRST: set(Act),
    At.MIDDLE: set(Act),
    At.END: RAISES | WAITS,
    At.CLOSE: RAISES | WAITS,
}
IN_EARS = {At.CONNECT: RAISES | WAITS, At.MIDDLE: RAISES | {Act.GIVE}}
FAULTS = [
    (stage, at, act)
    for stage in ("llm", "tts", "stt", "vad")
    for at, acts in (IN_EARS if stage == "vad" else IN_STREAMS).items()
    for act in sorted(acts, key=lambda act: act.value)
]


def faulty_agent(stage: str, at: At, act: Act) -> Agent:
    """The streams of one stage fail so, but for the second one."""
    fault = Fault(at=at, act=act, seconds=3.0, after=20 if stage == "vad" else 2)
    patience = Timeouts(connect_s=1.0, stt_final_s=1.0, llm_first_s=1.0, llm_gap_s=1.0, tts_first_s=1.0, tts_gap_s=1.0)
    recognizer = ScriptedRecognizer(delay_s=0.05, partials=True)
    model = ScriptedLanguageModel(script=["One two. Three four."], first_token_s=0.05, gap_s=0.02)
    synthesizer = ScriptedSynthesizer(first_audio_s=0.05, realtime_factor=0.1, chunk_s=0.3)
    ear = EnergyVoiceActivity()

    def with_faults(name: str) -> dict[str, object]:
        return {"faults": [fault, None], "always": fault} if name == stage else {}

    return scripted_agent(
        recognizer=FaultyRecognizer(inner=recognizer, **with_faults("stt")),
        language_model=FaultyLanguageModel(inner=model, **with_faults("llm")),
        synthesizer=FaultySynthesizer(inner=synthesizer, **with_faults("tts")),
        voice_activity=FaultyVoiceActivity(inner=ear, **with_faults("vad")),
        settings=Settings(welcome="Hi.", timeouts=patience),
    )


def once(how: Play, stage: str, at: At, act: Act, step: int | None) -> int:
    """Play it with this fault, see that nothing is left, and tell how many steps it took."""
    with nothing_is_left():
        world, steps = play(how, faulty_agent(stage, at, act), step)
        check_ended(world)
        inside = attrs.evolve(
            world.agent,
            recognizer=world.agent.recognizer.inner,
            language_model=world.agent.language_model.inner,
            synthesizer=world.agent.synthesizer.inner,
        )
        assert open_streams(inside) == {}
        # Only who swallows its cancellation is called stubborn.
        assert act is Act.STUBBORN or world.log.lingering == []
        del world, inside
    return steps


every_fault = pytest.mark.parametrize(
    ("stage", "at", "act"), FAULTS, ids=lambda each: each if isinstance(each, str) else each.value
)


@every_fault
def test_nothing_is_left_of_a_session_with_a_faulty_engine_wherever_it_is_cancelled(
    stage: str, at: At, act: Act
) -> None:
    steps = once(short, stage, at, act, None)
    assert steps > 20
    for step in random.Random(f"{stage} {at} {act}").sample(range(steps), min(TRIED, steps)):
        once(short, stage, at, act, step)


LEAVING = [(after_s, reads) for after_s in (0.02, 0.3, 1.2, 1.8, 2.5, 4.0) for reads in (True, False)]
"""Amid the opening of its streams, the welcome, an utterance, an answer and what is typed; or behind a failure."""


@every_fault
def test_nothing_is_left_of_a_session_with_a_faulty_engine_wherever_its_close_is_cancelled(
    stage: str, at: At, act: Act
) -> None:
    some = random.Random(f"{stage} {at} {act}")
    for after_s, reads in some.sample(LEAVING, min(CLOSED, len(LEAVING))):
        how = leaving(after_s, reads=reads)
        steps = once(how, stage, at, act, None)
        for step in range(steps) if len(LEAVING) <= CLOSED else [some.randrange(steps)]:
            once(how, stage, at, act, step)


# --- Engines in threads ---------------------------------------------------------------------------------------------------


def crunch() -> None:
    """A millisecond or so of blocking work, as an engine's."""
    hashlib.pbkdf2_hmac("sha256", b"pcm", b"salt", 1_000)


class Threaded:
    """Three engines at once, whose work is done in worker threads: one token each, so that a lost one is missed at once."""

    sample_rate = 16_000
    locales = None
    partials = False

    def __init__(self, work: Callable[[], None] = crunch) -> None:
        self.work = work
        self.limiters = {stage: trio.CapacityLimiter(1) for stage in ("stt", "llm", "tts")}
        self.open_streams = 0
        self.calls = 0

    async def _block(self, stage: str) -> None:
        self.calls += 1
        await trio.to_thread.run_sync(self.work, limiter=self.limiters[stage], abandon_on_cancel=True)

    @asynccontextmanager
    async def _opened(self, items: AsyncGenerator[object, None]) -> AsyncIterator[AsyncIterator[object]]:
        self.open_streams += 1
        try:
            async with aclosing(items):
                yield items
        finally:
            self.open_streams -= 1

    def transcribe(self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode):
        async def run() -> AsyncGenerator[Transcript, None]:
            job = None
            async for _ in audio:
                # Ahead of the words, as far as there is a token: started here, awaited below or never.
                if job is None or job.done:
                    try:
                        job = Job(self.work, self.limiters["stt"])
                    except trio.WouldBlock:
                        continue
            if job is not None:
                await job.result()
            await self._block("stt")
            yield Transcript(text="hello", final=True)

        return self._opened(run())

    def generate(self, messages: Sequence[Message], *, locale: str):
        async def run() -> AsyncGenerator[ModelOutput, None]:
            for token in ("One", " two.", " Three", " four."):
                await self._block("llm")
                yield TextDelta(text=token)

        return self._opened(run())

    def synthesize(self, phrases: AsyncIterator[Phrase], *, locale: str):
        async def run() -> AsyncGenerator[SpeechAudio, None]:
            async for phrase in phrases:
                for _ in range(2):
                    await self._block("tts")
                    yield SpeechAudio(phrase=phrase.index, pcm=tone(0.05))

        return self._opened(run())

    async def all_tokens_come_home(self) -> None:
        """Within one blocking call: whoever waits for the only token gets it when that returns."""
        for limiter in self.limiters.values():
            with trio.fail_after(30):
                await trio.to_thread.run_sync(lambda: None, limiter=limiter)
            assert limiter.borrowed_tokens == 0


def threaded_agent(engines: Threaded) -> Agent:
    return scripted_agent(recognizer=engines, language_model=engines, synthesizer=engines)


async def threaded(world: World, outer: trio.Nursery) -> None:
    """A spoken and a typed question, as fast as the engines go; then the tokens are counted."""
    with world.scope:
        async with open_session(world.agent, observers=[world.log]) as session:
            world.sessions.append(session)
            client, link = memory_link(realtime=False)
            world.links.append(link)
            outer.start_soon(client.run)
            outer.start_soon(session.attach, link)
            try:
                await client.send(ConversationStartRequested())
                await client.wait_for(HearingReady)
                await client.speak(tone(0.4) + SILENCE[:20_000], chunk_s=0.1, paced=False)
                await client.wait_for(TurnEnded)
                await client.send(TextReceived(text="typed"))
                await client.wait_for(TurnEnded, count=2)
                await client.send(SessionEndRequested())
                await session.wait_ended()
            except LinkClosed:
                pass
    world.instrument.armed = False
    await world.agent.recognizer.all_tokens_come_home()


@pytest.mark.parametrize("owner", ["itself", "cancelled"])
def test_every_borrowed_thread_comes_home_within_one_blocking_call(owner: str) -> None:
    def once(step: int | None) -> int:
        with nothing_is_left():
            # Trio's own clock: threads do not wait for virtual time, nor it for them.
            world, steps = play(threaded, threaded_agent(Threaded()), step, virtual=False)
            check(world)
            assert step is not None or world.agent.recognizer.calls > 10
            del world
        return steps

    steps = once(None)
    if owner == "cancelled":
        for step in range(0, steps, 40 if QUICK else 8):
            once(step)


async def test_a_session_leaves_a_blocked_thread_behind_and_its_token_comes_home_with_the_call() -> None:
    gate = threading.Event()
    engines = Threaded(lambda: None)
    client, link = memory_link(realtime=False)
    log = EventLog()
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as outer:
                outer.start_soon(client.run)
                async with open_session(threaded_agent(engines), observers=[log]) as session:
                    outer.start_soon(session.attach, link)
                    await client.send(ConversationStartRequested())
                    await client.wait_for(HearingReady)
                    engines.work = gate.wait  # From here on every call blocks until the test opens the gate.
                    await client.send(TextReceived(text="typed"))
                    while not engines.limiters["llm"].borrowed_tokens:
                        await trio.lowlevel.checkpoint()
                # The session has ended and closed, and the thread is still at it.
                assert log.ended
                assert not gate.is_set()
                assert engines.open_streams == 0
                assert engines.limiters["llm"].borrowed_tokens == 1
        gate.set()
        await engines.all_tokens_come_home()
    finally:
        gate.set()
