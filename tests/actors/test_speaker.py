"""The speaker: nothing lost, nothing twice, never far ahead, and the truth about what was played."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from hypothesis import given
from trio.testing import MockClock

from flare_actors.actors.channels import Clock, Inbox, Outbox
from flare_actors.actors.speaker import Speaker
from flare_actors.conversation.events import AudioStarted, Event, PlaybackFinished, PlaybackStopped
from flare_actors.conversation.notices import HearingReady
from flare_actors.ports import AudioOut

RATE = 8_000
SECOND = RATE * 2
IN_HAND_S = Speaker.LEAD_S


class Bench:
    """A speaker, and a client that takes what it is sent as slowly as it likes."""

    def __init__(self, *, realtime: bool = True, pauses: bool = False, pace: float = 0.0) -> None:
        self.clock = Clock()
        self.inbox = Inbox(self.clock)
        self.outbox = Outbox(lambda _queue: None)
        self.speaker = Speaker(self.clock, self.inbox, self.outbox)
        self.speaker.attach(RATE, realtime=realtime, pauses=pauses)
        self.connection = self.outbox.connect(SECOND)
        self.pace = pace
        self.received: list[tuple[float, AudioOut]] = []

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.speaker.run)
            while messages := await self.outbox.get(self.connection):
                (message,) = messages
                assert isinstance(message, AudioOut)
                self.received.append((self.clock.now(), message))
                await trio.sleep(self.pace * len(message.pcm) / SECOND)
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def playing(self, seconds: int) -> AsyncGenerator[None]:
        """Turn 1 has so much to play, to a client that is gone at the end of the block."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run)
            self.speaker.open(1)
            await self.speaker.play(1, bytes(seconds * SECOND))
            yield
            self.outbox.close()

    def pcm(self, turn: int = 1) -> bytes:
        return b"".join(message.pcm for _, message in self.received if message.turn == turn)

    def events(self) -> list[Event]:
        found = []
        while (event := self.inbox.get_nowait()) is not None:
            found.append(event)
        return found


async def test_audio_leaves_in_the_very_call_that_brings_it(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.speaker.open(1)
    await bench.speaker.play(1, bytes(100))
    assert bench.outbox.get_nowait() == AudioOut(1, bytes(100))
    assert bench.events() == [AudioStarted(turn=1)]


async def test_who_brings_the_first_audio_goes_on_when_it_has_left_or_cannot_leave_at_once() -> None:
    bench = Bench()
    bench.speaker.open(1)
    await bench.speaker.play(1, bytes(100))  # Nobody takes it: it returns all the same.
    for _ in range(3):
        bench.outbox.put(HearingReady())
    bench.speaker.open(2)
    sent: list[object] = []

    async def write() -> None:
        while True:
            sent.extend(await bench.outbox.get(bench.connection))
            await trio.lowlevel.checkpoint()  # as a link has it

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await bench.speaker.play(2, bytes(100))
        assert sent[-1] == AudioOut(2, bytes(100)), "three notices were before it"
        nursery.cancel_scope.cancel()


async def test_who_plays_what_nobody_hears_lets_the_others_go_on() -> None:
    bench = Bench()
    bench.speaker.open(1)
    with trio.testing.assert_checkpoints():
        await bench.speaker.play(1, bytes(100))
    bench.speaker.detach()  # The link is gone; the reply is about to be told.
    with trio.testing.assert_checkpoints():
        await bench.speaker.play(1, bytes(100))


async def test_what_is_played_ends_exactly_when_it_is_played(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        await trio.sleep(1)
        bench.speaker.open(1)
        await bench.speaker.play(1, bytes(3 * SECOND))
        assert bench.speaker.finish(1) == 3.0
        await trio.sleep(2.9)
        assert bench.events() == [AudioStarted(at=1.0, turn=1)]
        await trio.sleep(0.2)
        assert bench.events() == [PlaybackFinished(at=pytest.approx(4.0), turn=1, played_s=3.0)]
        bench.outbox.close()
    assert bench.pcm() == bytes(3 * SECOND)


async def test_the_client_never_has_more_in_hand_than_the_lead(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with bench.playing(5):
        await trio.sleep(10)
    sent = 0
    for at, message in bench.received:
        sent += len(message.pcm)
        assert sent / SECOND - at <= IN_HAND_S + 1e-9
    # And it never runs dry: when a frame comes, there is still some in hand.
    sent = 0
    for at, message in bench.received:
        assert at == 0.0 or sent / SECOND - at >= Speaker.LEAD_S - Speaker.FRAME_S - Speaker.BEAT_S - 1e-9
        sent += len(message.pcm)
    assert sent == 5 * SECOND


async def test_a_gap_stops_the_clock_and_it_starts_again_with_the_next_sound(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with bench.playing(1):
        await trio.sleep(3)
        await bench.speaker.play(1, bytes(SECOND))
        await trio.sleep(0.5)
        bench.speaker.flush(1)
        assert bench.events()[-1] == PlaybackStopped(at=3.5, turn=1, played_s=pytest.approx(1.5))


async def test_gaps_do_not_end_a_turn_and_its_end_does(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with bench.playing(1):
        await trio.sleep(5)
        assert not any(isinstance(event, PlaybackFinished) for event in bench.events())
        bench.speaker.finish(1)
        await trio.sleep(0.01)
        assert bench.events() == [PlaybackFinished(at=5.0, turn=1, played_s=1.0)]


async def test_a_turn_without_audio_has_nothing_to_finish(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        bench.speaker.open(1)
        assert bench.speaker.finish(1) == 0.0
        await trio.sleep(1)
        assert bench.events() == []
        bench.outbox.close()


async def test_a_flush_tells_what_was_played_and_nothing_is_heard_after_it(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with bench.playing(5):
        await trio.sleep(1.234)
        bench.speaker.flush(1)
        assert bench.events()[-1] == PlaybackStopped(at=1.234, turn=1, played_s=pytest.approx(1.234))
        received = len(bench.received)
        await bench.speaker.play(1, bytes(SECOND))
        assert bench.speaker.finish(1) == 0.0
        await trio.sleep(5)
        assert len(bench.received) == received
        assert bench.events() == []


async def test_hushed_it_lets_nothing_of_the_turn_leave_and_has_not_finished_it(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with bench.playing(5):
        bench.speaker.finish(1)
        await trio.sleep(1.234)
        bench.speaker.hush()
        bench.speaker.hush()
        received = len(bench.received)
        left_s = len(bench.pcm()) / SECOND
        await bench.speaker.play(1, bytes(SECOND))
        bench.speaker.pause(1)
        bench.speaker.resume(1)
        await trio.sleep(10)  # The decision is long in coming.
        assert len(bench.received) == received
        assert bench.events() == [AudioStarted(turn=1)]
        bench.speaker.flush(1)
        # The client has played on what it had in hand.
        assert bench.events() == [PlaybackStopped(at=11.234, turn=1, played_s=pytest.approx(left_s))]
        bench.speaker.hush()  # Nothing is open.
        bench.speaker.open(2, held=True)
        await bench.speaker.play(2, bytes(SECOND))
        bench.speaker.hush()  # What is held is not heard.
        bench.speaker.release(2)
        await trio.sleep(2)
    assert bench.pcm(2) == bytes(SECOND)


async def test_a_flush_of_what_had_not_left_was_not_played(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.speaker.open(1)
    await bench.speaker.play(1, bytes(SECOND))
    bench.speaker.flush(1)  # No writer has run.
    assert bench.events() == [AudioStarted(turn=1), PlaybackStopped(turn=1, played_s=0.0)]


async def test_on_a_congested_link_the_clock_waits_for_what_has_left(autojump_clock: MockClock) -> None:
    bench = Bench(pace=2.0)
    async with bench.playing(2):
        bench.speaker.finish(1)
        await trio.sleep(2.0)
        assert bench.speaker.sent_s(1) == pytest.approx(1.0, abs=Speaker.FRAME_S)
        assert bench.outbox.unsent_audio_bytes <= IN_HAND_S * SECOND
        await trio.sleep(1.8)
        assert bench.events() == [AudioStarted(turn=1)]
        await trio.sleep(0.4)
        assert bench.events() == [PlaybackFinished(at=pytest.approx(4.0, abs=0.1), turn=1, played_s=2.0)]
    assert len(bench.pcm()) == 2 * SECOND


async def test_nobody_listening_in_real_time_gets_all_at_once_and_has_heard_what_left(
    autojump_clock: MockClock,
) -> None:
    bench = Bench(realtime=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        bench.speaker.open(1)
        for _ in range(60):
            await bench.speaker.play(1, bytes(SECOND))
            await trio.lowlevel.checkpoint()
        bench.speaker.finish(1)
        await trio.sleep(0.001)
        assert bench.events()[-1] == PlaybackFinished(at=0.0, turn=1, played_s=60.0)
        bench.outbox.close()
    assert len(bench.pcm()) == 60 * SECOND


async def test_too_much_audio_makes_the_synthesizer_wait_and_a_flush_frees_it(autojump_clock: MockClock) -> None:
    bench = Bench()
    progress = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)

        async def synthesize() -> None:
            for number in range(30):
                await bench.speaker.play(1, bytes(SECOND))
                progress.append(number)

        bench.speaker.open(1)
        nursery.start_soon(synthesize)
        await trio.sleep(0.01)
        assert len(progress) == Speaker.AHEAD_S
        await trio.sleep(5)
        assert Speaker.AHEAD_S + 5 - Speaker.REFILL_S <= len(progress) <= Speaker.AHEAD_S + 5
        bench.speaker.flush(1)
        await trio.sleep(0.01)
        assert len(progress) == 30
        bench.outbox.close()


async def test_a_synthesizer_that_is_far_ahead_is_woken_for_a_second_of_audio_not_for_each_frame(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    waits: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        bench.speaker.open(1)
        with trio.move_on_after(5.5):
            while True:
                await bench.speaker.play(1, bytes(SECOND // 50), lambda: waits.append(trio.current_time()))
        nursery.cancel_scope.cancel()
    assert 4 <= len(waits) <= 6


async def test_audio_that_nobody_waits_behind_leaves_when_there_is_room_for_it(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        bench.speaker.open(1)
        await bench.speaker.play(1, bytes(round(0.24 * SECOND)))
        await trio.sleep(0.02)
        bench.speaker.take(1, bytes(round(0.2 * SECOND)))
        await trio.sleep(0.3)
        assert bench.speaker.sent_s(1) == pytest.approx(0.44)
        nursery.cancel_scope.cancel()


async def test_a_turn_right_behind_a_flushed_one_is_as_far_ahead_as_any(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        bench.speaker.open(1)
        await bench.speaker.play(1, bytes(round(0.24 * SECOND)))
        bench.speaker.finish(1)  # Its end would be in 0.24 s.
        await trio.sleep(0.01)
        bench.speaker.flush(1)
        bench.speaker.open(2)
        await bench.speaker.play(2, bytes(SECOND))
        await trio.sleep(Speaker.LEAD_S - Speaker.FRAME_S + Speaker.BEAT_S)
        assert bench.speaker.sent_s(2) == pytest.approx(Speaker.LEAD_S + Speaker.FRAME_S)
        nursery.cancel_scope.cancel()


async def test_frames_of_all_sessions_are_due_on_one_beat(autojump_clock: MockClock) -> None:
    times: set[float] = set()

    async def one(starts_s: float) -> None:
        await trio.sleep(starts_s)
        bench = Bench()
        async with bench.playing(3):
            await trio.sleep(5)
        started = bench.received[0][0]
        times.update(bench.clock.trio_time(at) for at, _ in bench.received if at > started)

    async with trio.open_nursery() as nursery:
        for starts_s in (0.0011, 0.0023, 0.0031, 0.0047):
            nursery.start_soon(one, starts_s)
    beats = [at / Speaker.BEAT_S for at in times]
    assert all(beat == pytest.approx(round(beat), abs=1e-4) for beat in beats)
    assert len({round(beat) for beat in beats}) == 23  # of 92 frames that were waited for


async def test_what_was_played_when_the_link_went_away_is_what_counts(autojump_clock: MockClock) -> None:
    bench = Bench()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.run)
        bench.speaker.open(1)
        await bench.speaker.play(1, bytes(5 * SECOND))
        await trio.sleep(1.5)
        bench.speaker.detach()
        bench.outbox.disconnect()
        await trio.sleep(2)
        assert bench.speaker.sent_s(1) is None
        bench.speaker.attach(48_000, realtime=True)
        bench.speaker.flush(1)
        assert bench.events()[-1] == PlaybackStopped(at=3.5, turn=1, played_s=pytest.approx(1.5))
        # It is told once; the next turn starts from nothing.
        bench.speaker.open(2)
        bench.speaker.flush(1)
        assert bench.events() == [PlaybackStopped(at=3.5, turn=1, played_s=0.0)]


CHUNKS = st.lists(
    st.tuples(st.integers(0, 6_000).map(lambda n: 2 * n), st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.7])), max_size=12
)


@pytest.mark.no_cover  # see conftest.py
@given(chunks=CHUNKS, realtime=st.booleans(), pace=st.sampled_from([0.0, 0.5, 1.5]))
def test_however_audio_comes_all_of_it_leaves_once_in_order_and_in_time(
    chunks: list[tuple[int, float]], realtime: bool, pace: float
) -> None:
    async def main() -> None:
        bench = Bench(realtime=realtime, pace=pace)
        counter = iter(range(10**9))
        given_in = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run)
            bench.speaker.open(1)
            for size, pause in chunks:
                pcm = b"".join(next(counter).to_bytes(2, "little") for _ in range(size // 2))
                given_in += pcm
                await bench.speaker.play(1, pcm)
                await trio.sleep(pause)
            ended_at = bench.clock.now()
            assert bench.speaker.finish(1) == len(given_in) / SECOND
            await trio.sleep(100)
            bench.outbox.close()
        assert bench.pcm() == bytes(given_in)
        events = bench.events()
        kinds = [type(event) for event in events]
        assert kinds == ([AudioStarted, PlaybackFinished] if given_in else [])
        sent = 0
        for at, message in bench.received:
            sent += len(message.pcm)
            if realtime:
                assert sent / SECOND - (at - events[0].at) <= IN_HAND_S + 1e-9
        if given_in:
            finished = events[-1]
            assert isinstance(finished, PlaybackFinished)
            assert finished.played_s == len(given_in) / SECOND
            assert finished.at >= ended_at
            last_at, last = bench.received[-1]
            if realtime:
                assert finished.at <= max(ended_at, last_at + IN_HAND_S + len(last.pcm) / SECOND) + 1e-9

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.no_cover  # see conftest.py
@given(chunks=CHUNKS, flush_after=st.floats(0, 4), pace=st.sampled_from([0.0, 0.5, 1.5]))
def test_a_flush_at_any_moment_tells_no_more_than_left_and_no_more_than_time_has_passed(
    chunks: list[tuple[int, float]], flush_after: float, pace: float
) -> None:
    async def main() -> None:
        bench = Bench(pace=pace)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run)
            bench.speaker.open(1)

            async def play() -> None:
                for size, pause in chunks:
                    await bench.speaker.play(1, bytes(size))
                    await trio.sleep(pause)

            nursery.start_soon(play)
            await trio.sleep(flush_after)
            bench.speaker.flush(1)
            now = bench.clock.now()
            left_s = len(bench.pcm()) / SECOND
            stopped = bench.events()[-1]
            assert isinstance(stopped, PlaybackStopped)
            first_at = bench.received[0][0] if bench.received else now
            assert 0 <= stopped.played_s <= min(left_s, now - first_at) + 1e-9
            await trio.sleep(20)
            assert len(bench.pcm()) / SECOND == left_s
            bench.outbox.close()

    trio.run(main, clock=MockClock(autojump_threshold=0))


# --- Standing still ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pauses", "takes_s"), [(True, 4.0), (False, 4.0 - Speaker.LEAD_S)])
async def test_a_pause_makes_the_turn_that_much_longer_less_what_a_client_plays_on(
    autojump_clock: MockClock, pauses: bool, takes_s: float
) -> None:
    bench = Bench(pauses=pauses)
    async with bench.playing(3):
        bench.speaker.finish(1)
        await trio.sleep(1.0)
        bench.speaker.pause(1)
        bench.speaker.pause(1)  # Twice is once.
        assert bench.speaker.paused
        await trio.sleep(1.0)
        bench.speaker.resume(1)
        bench.speaker.resume(1)
        await trio.sleep(10)
    assert bench.pcm() == bytes(3 * SECOND)
    finished = bench.events()[-1]
    assert finished == PlaybackFinished(
        at=pytest.approx(takes_s, abs=Speaker.FRAME_S + Speaker.BEAT_S), turn=1, played_s=3.0
    )
    if pauses:
        assert finished.at == pytest.approx(4.0)


async def test_what_was_played_is_what_was_played_when_it_stood_still(autojump_clock: MockClock) -> None:
    bench = Bench(pauses=True)
    async with bench.playing(3):
        await trio.sleep(1.25)
        bench.speaker.pause(1)
        await trio.sleep(5)
        bench.speaker.flush(1)
        assert not bench.speaker.paused
    assert bench.events()[-1] == PlaybackStopped(at=6.25, turn=1, played_s=pytest.approx(1.25))


async def test_a_turn_that_is_paused_before_its_first_sound_is_silent_until_it_goes_on(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    bench.speaker.open(1, held=True)
    bench.speaker.pause(2)  # Of another turn: nothing.
    assert not bench.speaker.paused
    bench.speaker.pause(1)
    await bench.speaker.play(1, bytes(100))
    bench.speaker.release(1)
    assert (bench.outbox.get_nowait(), bench.events()) == (None, [])
    bench.speaker.resume(1)
    assert bench.outbox.get_nowait() == AudioOut(1, bytes(100))
    assert bench.events() == [AudioStarted(turn=1)]
    bench.speaker.pause(1)
    bench.speaker.open(2)
    assert not bench.speaker.paused


@pytest.mark.no_cover  # see conftest.py
@given(
    chunks=CHUNKS,
    realtime=st.booleans(),
    pauses=st.booleans(),
    pace=st.sampled_from([0.0, 0.5, 1.5]),
    waits=st.lists(st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)), min_size=1, max_size=4),
)
def test_however_often_it_stands_still_nothing_leaves_then_and_nothing_is_lost(
    chunks: list[tuple[int, float]],
    realtime: bool,
    pauses: bool,
    pace: float,
    waits: list[tuple[float, float]],
) -> None:
    async def main() -> None:
        bench = Bench(realtime=realtime, pauses=pauses, pace=pace)
        counter = iter(range(10**9))
        given_in = bytearray()
        still: list[tuple[float, float]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run)
            bench.speaker.open(1)

            async def stand_still() -> None:
                for after, length in waits:
                    await trio.sleep(after)
                    since = bench.clock.now()
                    bench.speaker.pause(1)
                    await trio.sleep(length)
                    still.append((since, bench.clock.now()))
                    bench.speaker.resume(1)

            nursery.start_soon(stand_still)
            for size, pause in chunks:
                pcm = b"".join(next(counter).to_bytes(2, "little") for _ in range(size // 2))
                given_in += pcm
                await bench.speaker.play(1, pcm)
                await trio.sleep(pause)
            bench.speaker.finish(1)
            await trio.sleep(100)
            bench.outbox.close()
        assert bench.pcm() == bytes(given_in)
        assert not any(since < at < until for at, _ in bench.received for since, until in still)
        kinds = [type(event) for event in bench.events()]
        assert kinds == ([AudioStarted, PlaybackFinished] if given_in else [])

    trio.run(main, clock=MockClock(autojump_threshold=0))
