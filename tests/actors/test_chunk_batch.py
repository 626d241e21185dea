"""Chunks heard together: nobody hears anything else than by itself, and nobody's failure is another one's."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Sequence

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given
from trio.testing import MockClock, wait_all_tasks_blocked

from flare_actors.actors.batch import Batch, batch_of, hear_alone
from flare_actors.actors.channels import Clock, Inbox
from flare_actors.actors.ear import Ear
from flare_actors.actors.utterances import Utterances
from flare_actors.conversation.events import (
    Event,
    ListenerFailed,
    ListenerOpened,
    SpeechStarted,
    SpeechStopped,
)
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import BargeIn, Endpointing
from flare_actors.errors import ProviderError

CHUNK = 512
LOUD, QUIET, BAD = b"\x01\x00" * CHUNK, bytes(2 * CHUNK), b"\xff\xff" * CHUNK


class Loud:
    """Whatever begins with a one is voice; minus one is more than it can bear. It knows how many it has heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def process(self, chunk: bytes) -> float:
        if chunk == BAD:
            raise ValueError("what is that?")
        self.heard.append(chunk)
        return float(chunk == LOUD)

    def reset(self) -> None: ...


@attrs.define(eq=False)
class OneByOne:
    """Hears one stream at a time."""

    sample_rate: int = 16_000
    chunk_samples: int = CHUNK

    async def open(self) -> Loud:
        await trio.lowlevel.checkpoint()
        return Loud()


@attrs.define(eq=False)
class Together(OneByOne):
    """Hears many at once, and remembers how many."""

    batches: list[int] = attrs.field(factory=list)
    gives: Callable[[list[float]], Sequence[float]] = list
    twice: bool = False
    """It was given two chunks of one stream at once, which it cannot hear."""

    def process_many(self, chunks: Sequence[tuple[Loud, bytes]]) -> Sequence[float]:
        if any(chunk == BAD for _, chunk in chunks):
            raise ValueError("one of them")
        self.twice |= len({id(detector) for detector, _ in chunks}) < len(chunks)
        self.batches.append(len(chunks))
        return self.gives([detector.process(chunk) for detector, chunk in chunks])


# --- The batch ------------------------------------------------------------------------------------------------------------


async def test_chunks_of_one_round_are_heard_at_once_by_whoever_brought_the_first(autojump_clock: MockClock) -> None:
    vad = Together()
    batch, heard = Batch(vad), dict[int, float | ProviderError]()

    async def bring(number: int) -> None:
        batch.add(Loud(), LOUD if number % 2 else QUIET, lambda found: heard.update({number: found}))
        await batch.lead()

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(bring, number)
    assert vad.batches == [5]
    assert heard == {number: float(number % 2) for number in range(5)}


async def test_more_than_it_pays_to_hear_at_once_are_heard_in_several_goes(autojump_clock: MockClock) -> None:
    vad = Together()
    batch, heard = Batch(vad), []
    for _ in range(2 * Batch.MOST + 1):
        batch.add(Loud(), LOUD, heard.append)
    await batch.lead()
    assert vad.batches == [Batch.MOST, Batch.MOST], "one is heard by itself"
    assert heard == [1.0] * (2 * Batch.MOST + 1)


async def test_whoever_is_cancelled_leaves_nobody_unheard(autojump_clock: MockClock) -> None:
    batch, heard = Batch(Together()), []
    batch.add(Loud(), LOUD, heard.append)
    batch.add(Loud(), QUIET, heard.append)
    with trio.CancelScope() as scope:
        scope.cancel()
        await batch.lead()
    assert scope.cancelled_caught
    assert heard == [1.0, 0.0]
    batch.add(Loud(), LOUD, heard.append)
    await batch.lead()
    assert heard[2:] == [1.0], "the next one leads again"


@pytest.mark.parametrize("gives", [lambda found: found[1:], lambda found: ["loud" for _ in found]])
async def test_a_failure_is_that_streams_own(
    autojump_clock: MockClock, gives: Callable[[list[float]], Sequence[float]]
) -> None:
    batch, heard = Batch(Together()), []
    for chunk in (LOUD, BAD, QUIET):
        batch.add(Loud(), chunk, heard.append)
    await batch.lead()
    assert [type(found) for found in heard] == [float, ProviderError, float]
    batch, heard = Batch(Together(gives=gives)), []
    for chunk in (LOUD, QUIET):
        batch.add(Loud(), chunk, heard.append)
    await batch.lead()
    assert heard == [1.0, 0.0], "what gives nonsense for many is asked for each"


@attrs.frozen
class Says:
    """Gives whatever it is told to."""

    what: object

    def process(self, chunk: bytes) -> float:
        return self.what  # type: ignore[return-value] # being of the wrong type may be its purpose

    def reset(self) -> None: ...


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (math.nan, "gave nan instead of a probability"),
        (math.inf, "gave inf instead"),
        (1.5, "gave 1.5 instead"),
        (-0.1, "gave -0.1 instead"),
        ("loud", "raised ValueError"),
        (None, "raised TypeError"),
    ],
)
def test_what_is_no_probability_is_the_detectors_failure(given: object, told: str) -> None:
    failed = hear_alone(Says(given), LOUD)
    assert isinstance(failed, ProviderError)
    assert failed.stage == "vad"
    assert told in failed.message


@pytest.mark.parametrize("given", [0, 0.0, 0.5, 1.0, True])
def test_a_probability_goes_from_nothing_to_certainty(given: float) -> None:
    assert hear_alone(Says(given), LOUD) == given


@pytest.mark.parametrize("nonsense", [math.nan, 1.5, -0.1])
async def test_nonsense_in_a_batch_is_one_streams_failure_and_nobody_hears_a_chunk_twice(
    autojump_clock: MockClock, nonsense: float
) -> None:
    batch, heard = Batch(Together(gives=lambda found: [found[0], nonsense, *found[2:]])), []
    detectors = [Loud() for _ in range(3)]
    for detector in detectors:
        batch.add(detector, LOUD, heard.append)
    await batch.lead()
    assert [type(found) for found in heard] == [float, ProviderError, float]
    assert f"gave {nonsense:g} instead of a probability" in heard[1].message
    assert [detector.heard for detector in detectors] == [[LOUD]] * 3


def test_there_is_one_batch_of_a_voice_activity_in_a_run_and_none_that_nobody_has() -> None:
    vad = Together()

    async def here() -> Batch:
        first = batch_of(vad)
        assert first is not None
        assert batch_of(vad) is first
        assert batch_of(Together()) is not first
        assert batch_of(OneByOne()) is None
        return first

    one = trio.run(here)
    assert trio.run(here) is not one

    async def forgotten() -> None:
        vad = Together()
        batch = batch_of(vad)
        known = [weakref.ref(vad), weakref.ref(batch)]
        assert known[1]() is batch
        del vad, batch
        gc.collect()
        assert [each() for each in known] == [None, None]

    trio.run(forgotten)


# --- Ears -----------------------------------------------------------------------------------------------------------------


class Ears:
    """Some ears of one voice activity, without anything around them."""

    def __init__(self, vad: OneByOne, count: int) -> None:
        clock = Clock()
        self.inboxes = [Inbox(clock) for _ in range(count)]
        self.faults: list[ProviderError] = []
        self.ears = [
            Ear(
                vad,
                inbox,
                lambda _: True,
                lambda _times, _delays: None,
                self.faults.append,
                clock=clock,
                paused=lambda: False,
            )
            for inbox in self.inboxes
        ]

    async def open(self, nursery: trio.Nursery) -> None:
        for ear in self.ears:
            nursery.start_soon(ear.run)
            ear.attach(16_000, realtime=True)
            ear.open(SETTINGS)
        await wait_all_tasks_blocked()
        assert self.facts() == [[ListenerOpened()]] * len(self.ears)

    def facts(self) -> list[list[Event]]:
        found: list[list[Event]] = []
        for inbox in self.inboxes:
            found.append([])
            while (event := inbox.get_nowait()) is not None:
                found[-1].append(attrs.evolve(event, at=0.0))
        return found


SETTINGS = Settings(barge_in=BargeIn.FULL, endpointing=Endpointing.FIXED, endpoint_s=0.1, min_speech_s=0.0)
ROUNDS = st.lists(
    st.lists(
        st.sampled_from(
            [
                "loud",
                "quiet",
                "quiet",
                "twice",
                "nothing",
                "commit",
                "mute",
                "unmute",
                "clear",
                "attach",
                "close",
                "reopen",
            ]
        ),
        min_size=3,
        max_size=3,
    ),
    max_size=25,
)


def do(ear: Ear, what: str) -> None:
    match what:
        case "loud":
            ear.feed(LOUD)
        case "quiet":
            ear.feed(QUIET)
        case "twice":
            ear.feed(LOUD)
            ear.feed(QUIET)
        case "commit":
            ear.feed(LOUD)
            ear.commit()
        case "mute" | "unmute":
            ear.feed(QUIET)
            ear.mute(what == "mute")
        case "clear":
            ear.feed(LOUD)
            ear.expect_clear()
            ear.clear()
        case "attach":
            ear.feed(LOUD)
            ear.attach(16_000, realtime=True)
        case "close":
            ear.feed(LOUD)
            ear.close()
        case "reopen":
            ear.feed(LOUD)
            ear.close()
            ear.open(SETTINGS)


@given(rounds=ROUNDS)
def test_sessions_that_are_heard_together_hear_what_each_would_by_itself(rounds: list[list[str]]) -> None:
    async def facts(vad: OneByOne) -> list[list[list[Event]]]:
        found = []
        async with trio.open_nursery() as nursery:
            ears = Ears(vad, 3)
            await ears.open(nursery)
            for each in rounds:
                for ear, what in zip(ears.ears, each, strict=True):
                    do(ear, what)
                    nursery.start_soon(ear.together)
                await trio.sleep(0.05)
                found.append(ears.facts())
            nursery.cancel_scope.cancel()
        assert not ears.faults
        return found

    clocks = [MockClock(autojump_threshold=0) for _ in range(2)]
    alone = trio.run(facts, OneByOne(), clock=clocks[0])
    vad = Together()
    assert trio.run(facts, vad, clock=clocks[1]) == alone
    assert not vad.twice


async def test_silent_sessions_are_heard_together(autojump_clock: MockClock) -> None:
    vad = Together()
    async with trio.open_nursery() as nursery:
        ears = Ears(vad, 4)
        await ears.open(nursery)
        for _ in range(3):
            for ear in ears.ears:
                ear.feed(QUIET)
                nursery.start_soon(ear.together)
            await trio.sleep(0.05)
        assert vad.batches == [4, 4, 4]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("what", ["commit", "mute", "clear", "attach", "close", "reopen"])
async def test_what_is_asked_for_after_a_chunk_finds_it_heard(autojump_clock: MockClock, what: str) -> None:
    vad = Together()
    async with trio.open_nursery() as nursery:
        ears = Ears(vad, 1)
        await ears.open(nursery)
        (ear,) = ears.ears
        ear.feed(LOUD)
        await ear.together()
        await trio.sleep(0.05)
        assert ears.facts() == [[]]
        ear.feed(LOUD)
        assert ears.facts() == [[]], "it is in the batch still"
        match what:
            case "commit":
                ear.commit()
            case "mute":
                ear.mute(True)
            case "clear":
                ear.clear()
            case "attach":
                ear.attach(16_000, realtime=True)
            case "close" | "reopen":
                ear.close()
        if what == "reopen":
            ear.open(SETTINGS)
        await ear.together()
        await wait_all_tasks_blocked()
        kinds = [type(fact) for fact in ears.facts()[0]]
        after = {"attach": [], "close": [], "reopen": [ListenerOpened]}.get(what, [SpeechStopped])
        assert kinds == [SpeechStarted, *after]
        nursery.cancel_scope.cancel()


async def test_a_chunk_in_the_batch_is_heard_before_its_microphone_is_given_up(autojump_clock: MockClock) -> None:
    for _ in range(10):  # Trio draws lots who goes first.
        async with trio.open_nursery() as nursery:
            ears = Ears(Together(), 1)
            await ears.open(nursery)
            (ear,) = ears.ears
            for _ in range(3):
                await trio.sleep(0.05)
                ear.feed(LOUD)
                await ear.together()
            await trio.sleep(SETTINGS.endpoint_s + Utterances.LOST_S)
            if SpeechStopped not in [type(fact) for fact in ears.facts()[0]]:
                ear.feed(LOUD)
                await ear.together()
                await trio.sleep(0.05)
                assert ears.facts() == [[]]
            nursery.cancel_scope.cancel()


def _only_the_first_failed(ears: Ears) -> None:
    failed, heard = ears.facts()
    assert [type(fact) for fact in failed] == [ListenerFailed]
    assert SpeechStarted in [type(fact) for fact in heard]
    assert len(ears.faults) == 1


async def test_a_detector_that_fails_in_a_batch_ends_only_its_own_hearing(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        ears = Ears(Together(), 2)
        await ears.open(nursery)
        for _ in range(3):
            for ear, chunk in zip(ears.ears, (BAD, LOUD), strict=True):
                ear.feed(chunk)
                nursery.start_soon(ear.together)
            await trio.sleep(0.05)
        _only_the_first_failed(ears)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("nonsense", [math.nan, 1.5, -0.1])
async def test_a_detector_that_gives_nonsense_in_a_batch_ends_only_its_own_hearing(
    autojump_clock: MockClock, nonsense: float
) -> None:
    async with trio.open_nursery() as nursery:
        ears = Ears(Together(gives=lambda found: [nonsense, *found[1:]]), 2)
        await ears.open(nursery)
        for _ in range(3):
            for ear in ears.ears:
                ear.feed(LOUD)
            for ear in ears.ears:
                nursery.start_soon(ear.together)
            await trio.sleep(0.05)
        _only_the_first_failed(ears)
        nursery.cancel_scope.cancel()
