"""The ear: facts in order whatever the chunking, every utterance's audio without a gap, and nothing without bound."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager

import attrs
import hypothesis.strategies as st
import numpy as np
import pytest
import trio
from hypothesis import given
from trio.testing import MockClock, wait_all_tasks_blocked

from flare_actors.actors.channels import Clock, Inbox
from flare_actors.actors.ear import Ear
from flare_actors.actors.utterance import UtteranceFeed
from flare_actors.actors.utterances import Utterances
from flare_actors.audio import SILENCE_DB
from flare_actors.conversation.endpointing import Heard, UtteranceDetector
from flare_actors.conversation.events import (
    Event,
    InputClearRequested,
    ListenerFailed,
    ListenerOpened,
    SpeechConfirmed,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnEndEstimated,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import BargeIn, Endpointing, TurnDetection
from flare_actors.errors import ProviderError
from flare_actors.testing import Act, At, Fault, FaultyVoiceActivity

RATE, CHUNK = 16_000, 512
CHUNK_S = CHUNK / RATE


@attrs.define
class ByList:
    """Voice where a list says so: the n-th chunk ever is voiced if the n-th entry is true."""

    voiced: Sequence[bool] = ()
    sample_rate: int = RATE
    chunk_samples: int = CHUNK
    heard: int = 0

    async def open(self) -> ByList:
        await trio.lowlevel.checkpoint()
        return self

    def process(self, chunk: bytes) -> float:
        assert len(chunk) == CHUNK * 2
        self.heard += 1
        return float(self.heard <= len(self.voiced) and self.voiced[self.heard - 1])

    def reset(self) -> None: ...


class Bench:
    """An ear with nothing around it."""

    def __init__(self, activity: object, *, begin: Callable[[UtteranceFeed], bool] | None = None) -> None:
        clock = Clock()
        self.inbox = Inbox(clock)
        self.feeds: list[UtteranceFeed] = []
        self.faults: list[ProviderError] = []
        self.played = SILENCE_DB
        """How loud the agent is."""
        self.ear = Ear(
            activity,
            self.inbox,
            begin or self.take,
            lambda times, delays: np.full((len(times), delays), self.played),
            self.faults.append,
            clock=clock,
            paused=lambda: False,
        )

    def take(self, feed: UtteranceFeed) -> bool:
        self.feeds.append(feed)
        return True

    def facts(self) -> list[Event]:
        found = []
        while (event := self.inbox.get_nowait()) is not None:
            found.append(attrs.evolve(event, at=0.0))
        return found


@asynccontextmanager
async def hearing(
    activity: object, settings: Settings | None = None, *, realtime: bool = False, adaptive: bool = False
):
    settings = settings or Settings()
    if not adaptive:  # Nobody is there to say how long is to be waited.
        settings = attrs.evolve(settings, endpointing=Endpointing.FIXED)
    bench = Bench(activity)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ear.run)
        bench.ear.attach(RATE, realtime=realtime)
        bench.ear.open(settings)
        await wait_all_tasks_blocked()
        assert bench.facts() == [ListenerOpened()]
        yield bench
        nursery.cancel_scope.cancel()


def audio(chunks: int) -> bytes:
    """So many chunks, each of which is another one."""
    return b"".join(number.to_bytes(2, "little") * CHUNK for number in range(chunks))


def content(feed: UtteranceFeed) -> bytes:
    return b"".join(piece.pcm for piece in feed._pieces)


STRETCHES = st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=12).map(
    lambda runs: [voiced for voiced, length in runs for _ in range(length)]
)
SETTINGS = st.builds(
    Settings,
    endpoint_s=st.sampled_from([0.1, 0.48, 0.7]),
    min_speech_s=st.sampled_from([0.0, 0.25, 0.5]),
    interruption_min_s=st.sampled_from([0.0, 0.2, 0.3]),
    interruption_max_wait_s=st.sampled_from([0.3, 0.8]),
    preroll_s=st.sampled_from([0.0, 0.1, 0.3]),
    max_utterance_s=st.sampled_from([1.0, 30.0]),
    barge_in=st.just(BargeIn.FULL),
)


async def hear(
    voiced: Sequence[bool], settings: Settings, pieces: Sequence[int]
) -> tuple[list[Event], list[UtteranceFeed]]:
    """Everything that an ear makes of it, fed in pieces of so many bytes (again and again)."""
    pcm = audio(len(voiced))
    async with hearing(ByList(voiced), settings) as bench:
        sizes = itertools.cycle(pieces)
        at = 0
        while at < len(pcm):
            size = next(sizes)
            bench.ear.feed(pcm[at : at + size])
            at += size
            await bench.ear.wait_room()
        await wait_all_tasks_blocked()
        assert bench.ear.dropped_s == 0
        return bench.facts(), bench.feeds


@pytest.mark.no_cover  # see conftest.py
@given(STRETCHES, SETTINGS, st.lists(st.integers(1, 30_000).map(lambda n: 2 * n), min_size=1, max_size=5))
def test_the_facts_are_the_detectors_and_the_same_however_the_audio_is_cut(
    voiced: list[bool], settings: Settings, pieces: list[int]
) -> None:
    async def main() -> None:
        facts, feeds = await hear(voiced, settings, pieces)
        whole, whole_feeds = await hear(voiced, settings, [CHUNK * 2])
        assert facts == whole
        assert [content(feed) for feed in feeds] == [content(feed) for feed in whole_feeds]

        detector = UtteranceDetector(settings, CHUNK_S)
        expected = [change for each in voiced for change in detector.feed(float(each))]
        kinds = {
            Heard.STARTED: SpeechStarted,
            Heard.CONFIRMED: SpeechConfirmed,
            Heard.OVERDUE: SpeechConfirmed,
            Heard.PAUSED: SpeechPaused,
            Heard.RESUMED: SpeechResumed,
            Heard.STOPPED: SpeechStopped,
        }
        assert [type(fact) for fact in facts] == [kinds[change] for change in expected if change is not Heard.ENOUGH]
        assert len(feeds) == expected.count(Heard.ENOUGH)

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.no_cover  # see conftest.py
@given(STRETCHES, SETTINGS)
def test_every_utterance_is_started_perhaps_confirmed_and_stopped_and_its_audio_has_no_gap(
    voiced: list[bool], settings: Settings
) -> None:
    async def main() -> None:
        facts, feeds = await hear(voiced, settings, [CHUNK * 2])
        pcm = audio(len(voiced))
        stage: dict[int, str] = {}
        last = 0
        for fact in facts:
            match fact:
                case SpeechStarted(utterance=number):
                    assert number == last + 1
                    last, stage[number] = number, "started"
                case SpeechConfirmed(utterance=number, overdue=overdue):
                    assert (number, stage[number]) == (last, "confirmed" if overdue else "started")
                    stage[number] = "overdue" if overdue else "confirmed"
                case SpeechStopped(utterance=number, too_short=too_short, speech_s=speech_s):
                    assert (number, stage[number] in {"started", "confirmed", "overdue"}) == (last, True)
                    assert too_short == all(feed.number != number for feed in feeds)
                    assert speech_s > 0
                    stage[number] = "stopped"
        assert all(value == "stopped" for number, value in stage.items() if number != last)
        end = 0
        for feed in feeds:
            heard = content(feed)
            at = pcm.index(heard)
            assert at % (CHUNK * 2) == 0
            assert at >= end  # No chunk belongs to two utterances.
            end = at + len(heard)
            assert feed.closed == (stage[feed.number] == "stopped")
            # From the pre-roll on: the onset's two chunks at least, and no more than was asked for.
            first_voiced = next(i for i in range(at // (CHUNK * 2), len(voiced)) if voiced[i])
            assert first_voiced - at // (CHUNK * 2) <= max(1, round(settings.preroll_s / CHUNK_S))
            # Its last piece knows how long it has been silent.
            if feed.closed and not too_long(feed, settings):
                assert feed._pieces[-1].silence_s >= settings.endpoint_s - CHUNK_S
            silences = [piece.silence_s for piece in feed._pieces]
            assert all(b == 0 or b > a for a, b in itertools.pairwise(silences))

    trio.run(main, clock=MockClock(autojump_threshold=0))


def too_long(feed: UtteranceFeed, settings: Settings) -> bool:
    return len(content(feed)) / 2 / RATE >= settings.max_utterance_s


@pytest.mark.no_cover  # see conftest.py
@given(voiced=STRETCHES, muted_at=st.lists(st.integers(0, 300), max_size=4).map(sorted))
def test_muting_at_any_chunk_ends_what_was_said_and_hears_nothing_until_it_is_over(
    voiced: list[bool], muted_at: list[int]
) -> None:
    async def main() -> None:
        settings = Settings(barge_in=BargeIn.FULL)
        async with hearing(ByList([*voiced, *[False] * 400]), settings) as bench:
            muted = False
            for number in range(max(len(voiced), 301)):
                for _ in range(muted_at.count(number)):
                    muted = not muted
                    bench.ear.mute(muted)
                    await wait_all_tasks_blocked()
                    if muted:
                        facts = bench.facts()
                        starts = sum(isinstance(fact, SpeechStarted) for fact in facts)
                        stops = sum(isinstance(fact, SpeechStopped) for fact in facts)
                        assert starts - stops in {0, -1}  # Whatever was open is closed now.
                bench.ear.feed(audio(1))
                await wait_all_tasks_blocked()
                if muted:
                    assert bench.facts() == []

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_commit_ends_the_utterance_with_what_had_come(autojump_clock: MockClock) -> None:
    async with hearing(ByList([True] * 100), Settings(barge_in=BargeIn.FULL)) as bench:
        bench.ear.feed(audio(20))
        bench.ear.commit()  # Before the ear has heard any of it.
        await wait_all_tasks_blocked()
        assert [type(fact) for fact in bench.facts()] == [SpeechStarted, SpeechConfirmed, SpeechStopped]
        assert content(bench.feeds[0]) == audio(20)
        bench.ear.commit()
        await wait_all_tasks_blocked()
        assert [type(fact).__name__ for fact in bench.facts()] == ["NothingCommitted"]


async def test_a_microphone_that_stops_amid_a_word_ends_the_utterance(autojump_clock: MockClock) -> None:
    async with hearing(ByList([True] * 100), Settings(barge_in=BargeIn.FULL, endpoint_s=0.5)) as bench:
        bench.ear.feed(audio(20))
        await trio.sleep(0.5 + Utterances.LOST_S - 0.1)
        assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())
        await trio.sleep(0.2)
        assert [type(fact) for fact in bench.facts()] == [SpeechStopped]
        assert bench.feeds[0].closed


@pytest.mark.parametrize("chunks", [1, 30, 100])
async def test_a_microphone_is_given_up_by_its_last_chunk_however_long_it_was_heard(
    autojump_clock: MockClock, chunks: int
) -> None:
    lost_s = Settings().endpoint_s + Utterances.LOST_S
    async with hearing(ByList([True] * 200), Settings(barge_in=BargeIn.FULL), realtime=True) as bench:
        bench.ear.feed(audio(5))  # In one go, as behind a stall: an utterance has begun.
        for _ in range(chunks):
            await trio.sleep(CHUNK_S)
            bench.ear.feed(bytes(2 * CHUNK))
        await trio.sleep(lost_s - 0.01)
        assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())
        await trio.sleep(0.02)
        assert [type(fact) for fact in bench.facts()] == [SpeechStopped]


@pytest.mark.parametrize("more_s", [0.0, 0.2])
async def test_audio_that_comes_as_the_microphone_is_given_up_is_followed_by_as_much_patience_as_any(
    autojump_clock: MockClock, more_s: float
) -> None:
    lost_s = Settings().endpoint_s + Utterances.LOST_S
    for _ in range(10):  # Trio draws lots who goes first.
        async with hearing(ByList([True] * 20), Settings(barge_in=BargeIn.FULL), realtime=True) as bench:
            bench.ear.feed(audio(5))
            await wait_all_tasks_blocked()
            rings_at = trio.current_time() + lost_s
            await trio.sleep(more_s)
            if more_s:  # It rings early: nobody was silent for that long.
                bench.ear.feed(audio(1))
            await trio.sleep_until(rings_at)
            bench.facts()
            bench.ear.feed(audio(1))
            await trio.sleep(lost_s - 0.01)
            assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())


@pytest.mark.parametrize("waits", [False, True])
async def test_who_was_heard_in_the_readers_steps_is_missed_as_soon_as_anybody(
    autojump_clock: MockClock, waits: bool
) -> None:
    voiced = VOICE + 2 * QUIET + VOICE if waits else VOICE
    async with hearing(ByList(voiced), realtime=True, adaptive=True) as bench:

        async def speak(chunks: int) -> list[Event]:
            facts = []
            for _ in range(chunks):
                bench.ear.feed(audio(1))
                facts += bench.facts()  # Somebody reads them, so that nothing is to be done before the next chunk.
                await trio.sleep(CHUNK_S)
            return facts

        if waits:
            await speak(25)
            bench.ear.wait(1, 1, 5.0, settled=True)
            facts = await speak(38)  # ... in which an alarm has rung, and the next one was five seconds away.
            assert isinstance(facts[-1], SpeechResumed)
        else:
            assert isinstance((await speak(15))[0], SpeechStarted)
        await trio.sleep(Settings().endpoint_s + Utterances.LOST_S - 2 * CHUNK_S)
        assert bench.facts() == []
        await trio.sleep(2 * CHUNK_S)
        assert [type(fact) for fact in bench.facts()] == [SpeechStopped]


async def test_who_goes_from_push_to_talk_to_automatic_amid_a_word_is_waited_for_no_longer_than_others(
    autojump_clock: MockClock,
) -> None:
    automatic = Settings(endpointing=Endpointing.FIXED)
    manual = attrs.evolve(automatic, turn_detection=TurnDetection.MANUAL)
    async with hearing(ByList([True] * 20), manual) as bench:
        bench.ear.feed(audio(20))
        await trio.sleep(30)
        assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())
        bench.ear.use(automatic)
        await trio.sleep(automatic.endpoint_s + Utterances.LOST_S + 0.1)
        assert any(isinstance(fact, SpeechStopped) for fact in bench.facts())


async def test_a_closed_ear_forgets_and_an_opened_one_begins_anew(autojump_clock: MockClock) -> None:
    async with hearing(ByList([True] * 1000), Settings(barge_in=BargeIn.FULL)) as bench:
        bench.ear.feed(audio(20))
        await wait_all_tasks_blocked()
        bench.facts()
        bench.ear.close()
        assert bench.feeds[0].closed
        bench.ear.feed(audio(20))
        await trio.sleep(5)
        assert bench.facts() == []
        bench.ear.open(Settings(barge_in=BargeIn.FULL))
        await wait_all_tasks_blocked()
        bench.ear.feed(audio(20))
        await wait_all_tasks_blocked()
        assert bench.facts() == [ListenerOpened(), SpeechStarted(utterance=2), SpeechConfirmed(utterance=2)]


async def test_an_ear_that_is_closed_while_it_opens_stays_closed(autojump_clock: MockClock) -> None:
    slow = FaultyVoiceActivity(inner=ByList(), faults=[Fault(at=At.CONNECT, act=Act.SLOW, seconds=2)])
    bench = Bench(slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ear.run)
        bench.ear.open(Settings())
        await trio.sleep(1)
        bench.ear.close()
        await trio.sleep(5)
        assert bench.facts() == []
        bench.ear.open(Settings())
        await trio.sleep(1)
        assert bench.facts() == [ListenerOpened()]
        nursery.cancel_scope.cancel()


async def test_an_ear_that_does_not_open_in_time_says_so_once(autojump_clock: MockClock) -> None:
    bench = Bench(FaultyVoiceActivity(inner=ByList(), always=Fault(at=At.CONNECT, act=Act.HANG)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ear.run)
        bench.ear.open(Settings())
        await trio.sleep(60)
        (failed,) = bench.facts()
        assert isinstance(failed, ListenerFailed)
        assert "vad provider gave nothing for 5 s" in failed.message
        assert len(bench.faults) == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("realtime", [True, False], ids=["a chunk that is due", "a burst"])
@pytest.mark.parametrize("nonsense", [math.nan, 1.5, -0.1, "loud", None])
async def test_what_is_no_probability_is_a_failure_and_not_silence(
    autojump_clock: MockClock, nonsense: object, realtime: bool
) -> None:
    fault = Fault(at=At.MIDDLE, act=Act.GIVE, item=nonsense, after=2)
    async with hearing(FaultyVoiceActivity(inner=ByList(), faults=[fault]), realtime=realtime) as bench:
        for _ in range(3):
            bench.ear.feed(audio(1))
            if realtime:
                await trio.sleep(CHUNK_S)
        await wait_all_tasks_blocked()
        (failed,) = bench.facts()
        assert isinstance(failed, ListenerFailed)
        assert not failed.critical
        assert len(bench.faults) == 1
        bench.ear.open(Settings())
        await wait_all_tasks_blocked()
        assert bench.facts() == [ListenerOpened()], "another detector may do better"


async def test_the_backlog_is_bounded_and_what_is_dropped_is_the_oldest_and_counted(
    autojump_clock: MockClock,
) -> None:
    async with hearing(ByList([True] * 1000), Settings(barge_in=BargeIn.FULL)) as bench:
        pcm = audio(120)  # 3.84 s in one breath, of which 2 s are kept
        for at in range(0, len(pcm), 6400):
            bench.ear.feed(pcm[at : at + 6400])
        assert bench.ear.dropped_s == pytest.approx(1.84)
        await wait_all_tasks_blocked()
        assert pcm.index(content(bench.feeds[0])) == round(1.84 * 32_000)
        assert len(content(bench.feeds[0])) == pytest.approx(2.0 * 32_000, abs=CHUNK * 2)


async def test_what_comes_behind_a_clear_that_is_on_its_way_is_heard(autojump_clock: MockClock) -> None:
    activity = ByList()
    async with hearing(activity, realtime=True) as bench:
        bench.ear.feed(audio(5))
        bench.ear.expect_clear()
        bench.ear.feed(audio(3))
        bench.ear.expect_clear()
        bench.ear.feed(audio(2))
        bench.ear.clear()
        bench.ear.clear()
        await trio.sleep(1)
        assert activity.heard == 2
        bench.ear.feed(audio(4))
        bench.ear.clear()
        await trio.sleep(1)
        assert activity.heard == 2


async def test_an_endpoint_may_be_changed_between_utterances(autojump_clock: MockClock) -> None:
    flags = [True] * 20 + [False] * 10 + [True] * 20 + [False] * 40
    async with hearing(ByList(flags), Settings(barge_in=BargeIn.FULL, endpoint_s=0.1)) as bench:
        bench.ear.feed(audio(30))
        await wait_all_tasks_blocked()
        assert isinstance(bench.facts()[-1], SpeechStopped)
        bench.ear.set_endpoint(1.0)
        bench.ear.feed(audio(50))
        await wait_all_tasks_blocked()
        assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())
        bench.ear.feed(audio(20))
        await wait_all_tasks_blocked()
        assert isinstance(bench.facts()[-1], SpeechStopped)


async def test_a_microphone_that_fell_silent_ends_the_utterance_once_silence_ends_it_again(
    autojump_clock: MockClock,
) -> None:
    pushing = Settings(turn_detection=TurnDetection.MANUAL)
    async with hearing(ByList([True] * 20), pushing) as bench:
        bench.ear.feed(audio(20))  # And then not a single sample more.
        await trio.sleep(60)
        assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())
        bench.ear.use(attrs.evolve(pushing, turn_detection=TurnDetection.AUTOMATIC))
        await trio.sleep(Settings().endpoint_s + Utterances.LOST_S + 0.1)
        assert [type(fact) for fact in bench.facts()] == [SpeechStopped]


@pytest.mark.parametrize("barge_in", list(BargeIn))
async def test_only_a_guarded_ear_takes_quiet_voice_for_the_agents_own(
    autojump_clock: MockClock, barge_in: BargeIn
) -> None:
    async with hearing(ByList([True] * 100), Settings(barge_in=barge_in), realtime=True) as bench:
        bench.played = -10.0
        quiet = bytes(2) + b"\x40\x00" * (CHUNK - 1)  # -54 dBFS
        for _ in range(20):
            bench.ear.feed(quiet)
            await wait_all_tasks_blocked()
        assert bool(bench.facts()) != barge_in.guards
        bench.played = SILENCE_DB
        for _ in range(20):
            bench.ear.feed(quiet)
            await wait_all_tasks_blocked()
        assert bench.ear.utterances == 1


async def test_an_utterance_that_no_recogniser_takes_is_told_as_such(autojump_clock: MockClock) -> None:
    bench = Bench(ByList([True] * 20 + [False] * 20), begin=lambda _feed: False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ear.run)
        bench.ear.open(Settings(endpointing=Endpointing.FIXED))
        await wait_all_tasks_blocked()
        bench.ear.feed(audio(40))
        await wait_all_tasks_blocked()
        stopped = bench.facts()[-1]
        assert isinstance(stopped, SpeechStopped)
        assert not stopped.taken
        nursery.cancel_scope.cancel()


# --- A wait that adapts ------------------------------------------------------------------------------------------------------

VOICE, QUIET = [True] * 20, [False] * 20


async def test_the_wait_for_a_pause_may_be_shortened_and_ends_it_at_once(autojump_clock: MockClock) -> None:
    async with hearing(ByList(VOICE), realtime=True, adaptive=True) as bench:
        bench.ear.feed(audio(30))  # 0.32 s of silence
        await trio.sleep(0.5)
        assert isinstance(bench.facts()[-1], SpeechPaused)
        bench.ear.wait(1, 1, 0.3, settled=True)
        await wait_all_tasks_blocked()
        stopped = bench.facts()[-1]
        assert isinstance(stopped, SpeechStopped)
        assert stopped.silence_s == pytest.approx(0.32)


async def test_the_wait_for_a_pause_may_be_lengthened_and_the_next_pause_has_its_own(autojump_clock: MockClock) -> None:
    async with hearing(ByList(VOICE + QUIET + VOICE), adaptive=True) as bench:
        bench.ear.feed(audio(30))
        await wait_all_tasks_blocked()
        bench.ear.wait(1, 1, 1.0, settled=True)
        bench.ear.feed(audio(10))
        await trio.sleep(1)
        assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())
        bench.ear.feed(audio(50))
        await trio.sleep(2)
        facts = bench.facts()
        assert facts[0] == SpeechResumed(utterance=1, pause_s=pytest.approx(0.64))
        assert isinstance(facts[-1], SpeechStopped)
        assert facts[-1].silence_s == pytest.approx(0.48)


@pytest.mark.parametrize(("utterance", "pause"), [(1, 2), (1, 0), (0, 1), (2, 1)])
async def test_a_word_on_another_pause_comes_too_late(autojump_clock: MockClock, utterance: int, pause: int) -> None:
    async with hearing(ByList(VOICE), adaptive=True) as bench:
        bench.ear.feed(audio(30))
        await trio.sleep(0.5)
        bench.ear.wait(utterance, pause, 0.1, settled=True)
        await wait_all_tasks_blocked()
        assert not any(isinstance(fact, SpeechStopped) for fact in bench.facts())


async def test_a_burst_waits_in_a_pause_for_what_is_made_of_it_and_no_longer(autojump_clock: MockClock) -> None:
    activity = ByList(VOICE + QUIET + VOICE)
    async with hearing(activity, adaptive=True) as bench:
        started = trio.current_time()
        bench.ear.feed(audio(60))
        await wait_all_tasks_blocked()
        assert activity.heard == 22  # up to the soft endpoint
        await trio.sleep(CHUNK_S * 3.5)
        assert activity.heard == 25
        bench.ear.wait(1, 1, 1.0, settled=True)
        await wait_all_tasks_blocked()
        assert activity.heard == 60
        assert trio.current_time() - started == pytest.approx(CHUNK_S * 3.5)


async def test_without_a_word_a_burst_is_heard_as_a_microphone_is(autojump_clock: MockClock) -> None:
    async with hearing(ByList(VOICE), adaptive=True) as bench:
        started = trio.current_time()
        bench.ear.feed(audio(60))
        while not any(isinstance(fact, SpeechStopped) for fact in bench.facts()):
            await trio.sleep(0.001)
        assert trio.current_time() - started == pytest.approx(13 * CHUNK_S, abs=0.002)


async def test_the_ear_tells_how_long_it_was_silent_before_an_utterance(autojump_clock: MockClock) -> None:
    async with hearing(ByList(VOICE + [False] * 25 + VOICE)) as bench:
        bench.ear.feed(audio(62))
        await trio.sleep(2)
        started = [fact for fact in bench.facts() if isinstance(fact, SpeechStarted)]
        assert [fact.pause_s for fact in started] == [None, pytest.approx(25 * CHUNK_S)]
        bench.ear.attach(RATE, realtime=False)
        bench.ear.feed(audio(1))
        await wait_all_tasks_blocked()
        assert bench.facts() == []


class Estimating(ByList):
    """Voice by a list, and a turn-end model that takes its time."""

    probability: float | None = 0.1
    asked: tuple[int, ...] = ()

    async def estimate_turn_end(self, pcm: bytes) -> float:
        self.asked = (*self.asked, len(pcm))
        await trio.sleep(0.07)
        if self.probability is None:
            raise RuntimeError("no model")
        return self.probability


@pytest.mark.parametrize(
    ("said", "told"), [(0.0, 0.0), (0.1, 0.1), (1.0, 1.0), (7.0, 0.5), (math.nan, 0.5), (None, 0.5)]
)
async def test_a_turn_end_model_is_asked_in_each_pause(
    autojump_clock: MockClock, said: float | None, told: float
) -> None:
    activity = Estimating(VOICE + [False] * 10 + VOICE)
    activity.probability = said
    bench = Bench(activity)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.ear.run)
        bench.ear.open(Settings())
        await wait_all_tasks_blocked()
        assert bench.facts() == [ListenerOpened(estimates=True)]
        bench.ear.feed(audio(90))
        await trio.sleep(3)
        facts = bench.facts()
        nursery.cancel_scope.cancel()
    estimates = [fact.probability for fact in facts if isinstance(fact, TurnEndEstimated)]
    assert estimates == [told, told]
    assert activity.asked[0] < activity.asked[1] <= 8 * RATE * 2
    assert len(bench.faults) == (0 if said == told else 2)


async def test_an_estimate_that_comes_when_the_user_has_gone_on_is_not_told(autojump_clock: MockClock) -> None:
    activity = Estimating(VOICE + [False] * 3 + VOICE * 3)
    async with hearing(ByList(), adaptive=True):
        bench = Bench(activity)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.ear.run)
            bench.ear.open(Settings())
            await wait_all_tasks_blocked()
            bench.ear.feed(audio(60))
            await trio.sleep(0.3)
            assert not any(isinstance(fact, TurnEndEstimated) for fact in bench.facts())
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("realtime", [True, False])
async def test_in_silence_a_chunk_is_heard_where_it_comes_in_if_nothing_is_to_be_done_before_it(
    autojump_clock: MockClock, realtime: bool
) -> None:
    activity = ByList([False] * 10)
    async with hearing(activity, realtime=realtime) as bench:
        await trio.sleep(1)
        bench.ear.feed(audio(1))
        assert activity.heard == realtime, "a recording would hold up everybody else"
        await wait_all_tasks_blocked()
        assert activity.heard == 1
        await trio.sleep(1)
        bench.inbox.put(InputClearRequested())
        bench.ear.expect_clear()
        bench.ear.feed(audio(1))
        assert activity.heard == 1, "what the client asked for before is not carried out yet"
        bench.facts()
        bench.ear.clear()
        await wait_all_tasks_blocked()
        assert activity.heard == 2


async def test_who_speaks_right_behind_a_clear_loses_no_chunk(autojump_clock: MockClock) -> None:
    for _ in range(20):  # Trio draws lots who goes first.
        activity = ByList([True] * 60)
        settings = Settings(barge_in=BargeIn.FULL)
        async with hearing(activity, settings, realtime=True) as bench:

            async def orchestrate() -> None:
                while True:
                    if isinstance(await bench.inbox.get(), InputClearRequested):
                        bench.ear.clear()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(orchestrate)
                await trio.sleep(1)
                bench.ear.feed(audio(1))
                await trio.sleep(0.1)
                bench.ear.expect_clear()
                bench.inbox.put(InputClearRequested())
                await trio.lowlevel.checkpoint()
                bench.ear.feed(audio(1))
                await trio.sleep(0.1)
                nursery.cancel_scope.cancel()
            assert (bench.ear.utterances, bench.ear._utterances.endpointing.speaking) == (1, True)
