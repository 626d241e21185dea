"""The recogniser's actor: opened ahead, one utterance a stream, and nothing late is told."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flare_actors.actors.channels import Clock, Inbox
from flare_actors.actors.recognizer import RecognizerActor
from flare_actors.actors.supervision import Lingering
from flare_actors.actors.utterance import UtteranceFeed
from flare_actors.conversation.commands import StartStt
from flare_actors.conversation.events import Event, RecognizerFailed, RecognizerReady, TranscriptFinished
from flare_actors.conversation.settings import Timeouts
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.ports import HeardAudio, Recognizer, Transcript
from flare_actors.providers.scripted import ScriptedRecognizer, tone
from flare_actors.testing import Act, At, Fault, FaultyRecognizer

START = StartStt(locale="en-US", mode=SttMode.STREAMING, endpoint_s=0.48)


class Bench:
    """An actor with nothing around it."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.inbox = Inbox(Clock())
        self.faults: list[ProviderError] = []
        lingering = Lingering(lambda *_: None, lambda: None)
        self.actor = RecognizerActor(recognizer, Timeouts(), self.inbox, lingering, self.faults.append)

    def facts(self) -> list[Event]:
        found = []
        while (event := self.inbox.get_nowait()) is not None:
            found.append(attrs.evolve(event, at=0.0))
        return found


@asynccontextmanager
async def running(recognizer: Recognizer):
    bench = Bench(recognizer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.actor.run)
        await wait_all_tasks_blocked()
        yield bench
        nursery.cancel_scope.cancel()


def utterance(number: int, *, seconds: float = 0.5, closed: bool = True) -> UtteranceFeed:
    feed = UtteranceFeed(number, 16_000)
    feed.put(HeardAudio(pcm=tone(seconds)))
    feed.put(HeardAudio(pcm=bytes(512), silence_s=0.48))
    if closed:
        feed.close()
    return feed


async def test_it_is_ready_ahead_and_again_after_every_utterance(autojump_clock: MockClock) -> None:
    async with running(ScriptedRecognizer(script=["one", "two"])) as bench:
        for number, text in ((1, "one"), (2, "two")):
            bench.actor.start(START)
            await wait_all_tasks_blocked()
            assert bench.facts() == [RecognizerReady()]
            assert bench.actor.begin(utterance(number))
            await wait_all_tasks_blocked()
            assert bench.facts() == [TranscriptFinished(utterance=number, text=text)]
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        bench.actor.start(START)
        assert bench.facts() == [RecognizerReady(), RecognizerReady()]


async def test_who_did_not_ask_is_not_told_that_it_is_ready(autojump_clock: MockClock) -> None:
    async with running(ScriptedRecognizer()) as bench:
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        bench.facts()
        bench.actor.begin(utterance(1))
        await wait_all_tasks_blocked()
        assert [type(fact) for fact in bench.facts()] == [TranscriptFinished]


async def test_utterances_wait_their_turn_and_are_understood_in_order(autojump_clock: MockClock) -> None:
    async with running(ScriptedRecognizer(script=["one", "two", "three"], delay_s=1.0)) as bench:
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        bench.facts()
        for number in (1, 2, 3):
            bench.actor.begin(utterance(number))
        await trio.sleep(10)
        assert bench.facts() == [
            TranscriptFinished(utterance=number, text=text) for number, text in ((1, "one"), (2, "two"), (3, "three"))
        ]


@pytest.mark.parametrize("early_s", [0.001, 0.01, 0.03])
async def test_a_transcript_in_the_last_moment_is_in_time(autojump_clock: MockClock, early_s: float) -> None:
    recognizer = ScriptedRecognizer(script=["one", "two"], delay_s=Timeouts().stt_final_s - early_s)
    async with running(recognizer) as bench:
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        bench.facts()
        for number in (1, 2):
            bench.actor.begin(utterance(number))
        await trio.sleep(60)
        assert [type(fact) for fact in bench.facts()] == [TranscriptFinished, TranscriptFinished]
        assert bench.faults == []


async def test_a_closed_recogniser_takes_nothing_and_tells_nothing(autojump_clock: MockClock) -> None:
    recognizer = ScriptedRecognizer(delay_s=1.0)
    async with running(recognizer) as bench:
        assert not bench.actor.begin(utterance(1))
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        bench.actor.begin(utterance(2))
        await trio.sleep(0.5)
        bench.facts()
        bench.actor.stop()
        assert not bench.actor.begin(utterance(3))
        await trio.sleep(10)
        assert bench.facts() == []
        assert recognizer.open_streams == 0


async def test_a_failure_of_what_nobody_waits_for_any_more_is_not_the_new_ones(autojump_clock: MockClock) -> None:
    # The first stream fails in the very moment at which it is stopped and started anew.
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(), faults=[Fault(at=At.CLOSE, act=Act.CRASH)])
    async with running(recognizer) as bench:
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        bench.actor.stop()
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        assert bench.facts() == [RecognizerReady(), RecognizerReady()]
        assert len(bench.faults) == 1
        bench.actor.begin(utterance(1))
        await wait_all_tasks_blocked()
        assert [type(fact) for fact in bench.facts()] == [TranscriptFinished]


async def test_after_a_failure_it_stays_down_until_it_is_started(autojump_clock: MockClock) -> None:
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer(), faults=[Fault(at=At.CONNECT, act=Act.RAISE)])
    async with running(recognizer) as bench:
        bench.actor.start(START)
        await trio.sleep(60)
        assert bench.facts() == [RecognizerFailed(message="scripted failure at connect")]
        assert recognizer.streams == 1
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        assert bench.facts() == [RecognizerReady()]


async def test_another_locale_opens_another_stream(autojump_clock: MockClock) -> None:
    recognizer = FaultyRecognizer(inner=ScriptedRecognizer())
    async with running(recognizer) as bench:
        for locale in ("en-US", "en-US", "de-AT"):
            bench.actor.start(attrs.evolve(START, locale=locale))
            await wait_all_tasks_blocked()
            assert bench.facts() == [RecognizerReady()]
        assert recognizer.streams == 2
        assert recognizer.open_streams == 1


async def test_the_patience_with_a_transcript_begins_at_the_endpoint(autojump_clock: MockClock) -> None:
    async with running(ScriptedRecognizer(delay_s=100)) as bench:
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        bench.facts()
        feed = utterance(1, closed=False)
        bench.actor.begin(feed)
        await trio.sleep(25)  # Somebody speaks for long.
        assert bench.facts() == []
        feed.close()
        await trio.sleep(7.9)
        assert bench.facts() == []
        await trio.sleep(0.2)
        (failed,) = bench.facts()
        assert isinstance(failed, RecognizerFailed)
        assert "stt provider gave nothing for 8 s (final transcript)" in failed.message


@attrs.define
class Listens:
    """Keeps the pieces that it is given."""

    sample_rate: int
    locales: tuple[str, ...] | None = None
    partials: bool = False
    pieces: list[HeardAudio] = attrs.field(factory=list)

    @asynccontextmanager
    async def transcribe(self, audio, *, locale, mode):
        async def run():
            async for piece in audio:
                self.pieces.append(piece)
            yield Transcript(text="heard", final=True)

        async with aclosing(run()) as transcripts:
            yield transcripts


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
async def test_the_audio_comes_at_the_providers_rate_whole_and_knows_its_silence(
    autojump_clock: MockClock, rate: int
) -> None:
    recognizer = Listens(rate)
    async with running(recognizer) as bench:
        bench.actor.start(START)
        await wait_all_tasks_blocked()
        feed = UtteranceFeed(1, 16_000)
        for number in range(40):
            feed.put(HeardAudio(pcm=tone(0.032), silence_s=max(0.0, (number - 25) * 0.032)))
        feed.close()
        bench.actor.begin(feed)
        await wait_all_tasks_blocked()
    assert all(piece.pcm for piece in recognizer.pieces)
    assert sum(len(piece.pcm) for piece in recognizer.pieces) == pytest.approx(40 * 0.032 * rate * 2, abs=4)
    # What the filter gives out at the end is silence as what came before it was.
    assert recognizer.pieces[-1].silence_s == pytest.approx(14 * 0.032)
