"""The contract check for voice activity: detectors for tests pass, and every rule goes red on one that breaks it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio
from test_contracts import complaint, named

from flare_actors.errors import ProviderError
from flare_actors.providers.scripted import EnergyVoiceActivity, tone
from flare_actors.testing import FaultyVoiceActivity
from flare_actors.testing.contracts import ContractBroken, check_voice_activity, voice_activity


class Detector:
    """A good one: a probability that depends on all that it has heard, but none for silence."""

    def __init__(self) -> None:
        self.past = b""

    def hear(self, chunk: bytes) -> float:
        self.past = hashlib.sha256(self.past + chunk).digest()
        return self.past[0] / 255 if any(chunk) else 0.0

    def process(self, chunk: bytes) -> float:
        if len(chunk) != 512:
            raise ValueError("a chunk is 256 samples")
        return self.hear(chunk)

    def reset(self) -> None:
        self.past = b""


class Activity:
    """A good voice activity detection, which loads a model, of which a subclass breaks something."""

    sample_rate: object = 8_000
    chunk_samples: object = 256
    detector: Callable[[], object] = Detector

    def __init__(self) -> None:
        self.loading = trio.Lock()
        self.loaded = False

    async def open(self) -> object:
        async with self.loading:
            if not self.loaded:
                await self.load()
                self.loaded = True
        return self.detector()

    async def load(self) -> None:
        await trio.sleep(0.1)
        await trio.sleep(0.1)


class Together(Activity):
    """A good one that hears several streams at once."""

    def process_many(self, chunks):
        for _, chunk in chunks:
            if len(chunk) != 512:
                raise ValueError("a chunk is 256 samples")
        return [detector.hear(chunk) for detector, chunk in chunks]


class Ends(Activity):
    """A good one that knows whether a turn is over."""

    async def estimate_turn_end(self, pcm: bytes) -> float:
        await trio.sleep(0.1)
        return len(pcm) / 2 / 64_000


# --- Good ones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Activity, Together, Ends], ids=named)
async def test_the_good_ones_of_these_tests_are_good(autojump_clock, make) -> None:
    await check_voice_activity(make)


@pytest.mark.parametrize(("rate", "samples"), [(16_000, 512), (8_000, 80), (48_000, 4_800)])
async def test_the_detector_for_tests_keeps_its_port(autojump_clock, rate: int, samples: int) -> None:
    def make() -> EnergyVoiceActivity:
        return EnergyVoiceActivity(sample_rate=rate, chunk_samples=samples)

    await check_voice_activity(make, speech=tone(4, rate))
    await check_voice_activity(lambda: FaultyVoiceActivity(inner=make()), speech=tone(4, rate))


async def test_one_cancellation_per_rule_is_enough_and_none_is_too_few(autojump_clock) -> None:
    await check_voice_activity(Activity, most=1)
    with pytest.raises(ValueError, match="most"):
        await check_voice_activity(Activity, most=0)


async def test_speech_that_is_too_short_to_tell_is_refused(autojump_clock) -> None:
    with pytest.raises(ValueError, match="24 chunks of 256 samples or more, not 15"):
        await check_voice_activity(Activity, speech=tone(0.5, 8_000))


# --- Such as break it ----------------------------------------------------------------------------------------------------


def detecting(change: type) -> type:
    """A voice activity detection whose detectors are so."""
    return type(change.__name__, (Activity,), {"detector": change})


class NoRate(Activity):
    sample_rate = None


class ChunksOfSeconds(Activity):
    chunk_samples = 0.032


class GivesNoDetector(Activity):
    detector = str


class Percent(Detector):
    def hear(self, chunk):
        return 100 * super().hear(chunk)


class NotANumber(Detector):
    def hear(self, chunk):
        return float("nan")


class YesOrNo(Detector):
    def hear(self, chunk):
        return super().hear(chunk) > 0.5


class Asynchronous(Detector):
    async def process(self, chunk):
        return super().hear(chunk)


class HearsThingsInSilence(Detector):
    def hear(self, chunk):
        return 0.9


class Deaf(Detector):
    def hear(self, chunk):
        return 0.2


class KeepsItAll(Activity):
    """One detector for all, which has a past."""

    @property
    def detector(self):
        self.one = getattr(self, "one", None) or Detector()
        return lambda: self.one


class ForgetsNothing(Detector):
    def reset(self):
        pass


class ForgetsForAll(Detector):
    everybody: list[Detector] = []  # noqa: RUF012 - shared: the very mistake

    def __init__(self) -> None:
        super().__init__()
        self.everybody.append(self)

    def reset(self):
        for each in self.everybody:
            each.past = b""


class OpensOneAtATime(Activity):
    busy = False

    async def open(self):
        if self.busy:
            raise ProviderError("vad", "busy")
        self.busy = True
        try:
            return await super().open()
        finally:
            self.busy = False


class OthersGetItHalfLoaded(Activity):
    """Whoever comes while another one loads does not wait."""

    async def open(self):
        if self.loaded:
            return self.detector()
        self.loaded = True
        await self.load()
        self.model = "loaded"
        return self.detector()

    @property
    def detector(self):
        return Detector if hasattr(self, "model") else Percent


class SwallowsCancellation(Activity):
    async def load(self):
        with suppress(trio.Cancelled):
            await super().load()


class Translates(Activity):
    async def load(self):
        try:
            await super().load()
        except BaseException:  # noqa: BLE001 - the very mistake
            raise ProviderError("vad", "loading failed") from None


class Clings(Activity):
    async def load(self):
        with trio.CancelScope(shield=True):
            await trio.sleep(5)


class WaitsForEver(Activity):
    """A load that is cancelled is taken for one that goes on."""

    async def open(self):
        if self.loaded:
            await self.ready.wait()
        else:
            self.loaded, self.ready = True, trio.Event()
            await self.load()
            self.ready.set()
        return self.detector()


class RefusesAfterAll(Activity):
    """A load that is cancelled leaves half a model."""

    half = False

    async def load(self):
        if self.half:
            raise ProviderError("vad", "the model is broken")
        self.half = True
        await super().load()
        self.half = False


class CrashesWhenClosed(Activity):
    closed = False

    @classmethod
    @asynccontextmanager
    async def opened(cls):
        self = cls()
        yield self
        self.closed = True

    async def open(self):
        if self.closed:
            raise AttributeError("no model")
        return await super().open()


class MixesThemUp(Together):
    def process_many(self, chunks):
        return super().process_many(chunks)[::-1]


class OneAnswerForAll(Together):
    def process_many(self, chunks):
        return [max(super().process_many(chunks), default=0.0)]


class ForgetsTogether(Together):
    """What was heard together is not there when a stream is heard by itself."""

    def process_many(self, chunks):
        return [self.detector().hear(chunk) for _, chunk in chunks]


class Shared(Together, KeepsItAll):
    """Without a past it may be one; in a batch the streams cannot be told apart."""

    class Still(Detector):
        def hear(self, chunk):
            return 1.0 if any(chunk) else 0.0

    one = Still()


class NothingIsTooLittle(Together):
    def process_many(self, chunks):
        return [*super().process_many([chunks[0]]), *super().process_many(chunks[1:])]


class HearsSomeOfIt(Together):
    def process_many(self, chunks):
        return [detector.process(chunk) for detector, chunk in chunks]


class SaysHowLong(Ends):
    async def estimate_turn_end(self, pcm):
        return 2 * await super().estimate_turn_end(pcm)


class NeedsATurn(Ends):
    async def estimate_turn_end(self, pcm):
        if len(pcm) < 100:
            raise IndexError("no frames")
        return await super().estimate_turn_end(pcm)


class OnePauseAtATime(Ends):
    pauses = 0

    async def estimate_turn_end(self, pcm):
        self.pauses += 1
        try:
            return await super().estimate_turn_end(pcm) / self.pauses
        finally:
            self.pauses -= 1


class EstimatesAllTheSame(Ends):
    async def estimate_turn_end(self, pcm):
        with suppress(trio.Cancelled):
            await trio.sleep(0.1)
        return 0.5


@pytest.mark.parametrize(
    ("make", "rule", "words"),
    [
        (NoRate, "it says what it takes", "sample_rate is None"),
        (ChunksOfSeconds, "it says what it takes", "chunk_samples is 0.032"),
        (GivesNoDetector, "each chunk has a probability", "open gave str"),
        (detecting(Percent), "each chunk has a probability", "from 0 to 1"),
        (detecting(NotANumber), "each chunk has a probability", "gave nan"),
        (detecting(YesOrNo), "each chunk has a probability", "gave bool"),
        (detecting(Asynchronous), "each chunk has a probability", "plain `def`"),
        (detecting(HearsThingsInSilence), "silence is no speech", "0.9"),
        (detecting(Deaf), "speech is noticed", "0.2 at most"),
        (KeepsItAll, "the same audio has the same answers", "fresh one each time"),
        (KeepsItAll, "each detector has a past of its own", "keep its state in it"),
        (detecting(ForgetsNothing), "a reset forgets everything", "forgets everything"),
        (detecting(ForgetsForAll), "each detector has a past of its own", "keep its state in it"),
        (OpensOneAtATime, "several are opened at a time", "ProviderError"),
        (SwallowsCancellation, "an opening is cancelled at every wait", "swallowed"),
        (Translates, "an opening is cancelled at every wait", "raised ProviderError"),
        (Clings, "an opening is cancelled at every wait", "held on for 5.0 s"),
        (WaitsForEver, "an opening is cancelled at every wait", "not done after"),
        (RefusesAfterAll, "an opening is cancelled at every wait", "the model is broken"),
        (RefusesAfterAll, "an opening is cancelled before every step", "the model is broken"),
        (OthersGetItHalfLoaded, "an opening is cancelled at every wait", "from 0 to 1"),
        (CrashesWhenClosed.opened, "after its close it refuses, or serves as ever", "AttributeError"),
        (MixesThemUp, "together each hears what it does by itself", "otherwise than by itself"),
        (ForgetsTogether, "together each hears what it does by itself", "otherwise than by itself"),
        (OneAnswerForAll, "together each hears what it does by itself", "gave 1 for 5 chunks"),
        (Shared, "together each hears what it does by itself", "the same detector twice"),
        (NothingIsTooLittle, "no chunks have no answers", "IndexError"),
        (HearsSomeOfIt, "a batch that fails has heard nothing", "check it first"),
        (SaysHowLong, "a pause has a probability", "from 0 to 1"),
        (NeedsATurn, "a pause has a probability", "IndexError"),
        (OnePauseAtATime, "several pauses at a time", "differ by up to"),
        (EstimatesAllTheSame, "an estimate is cancelled at every wait", "swallowed"),
    ],
    ids=named,
)
async def test_one_that_breaks_its_port_is_told_which_rule_and_why(autojump_clock, make, rule, words) -> None:
    assert words in await complaint(check_voice_activity(make, speech=tone(2, 8_000)), rule)


async def test_one_that_stops_the_whole_process_is_told_how_long(autojump_clock, monkeypatch) -> None:
    """On a clock of its own: each chunk takes 20 ms of it."""
    watch = [0.0]
    monkeypatch.setattr(voice_activity, "perf_counter", lambda: watch[0])

    class Slow(Detector):
        def hear(self, chunk):
            watch[0] += 0.02
            return super().hear(chunk)

    told = await complaint(check_voice_activity(detecting(Slow)), "it is quick enough to run inline")
    assert "20.0 ms" in told
    await check_voice_activity(detecting(Slow), chunk_s=0.03)


async def test_rounding_in_a_batch_is_no_other_answer_and_more_is(autojump_clock) -> None:
    @attrs.define
    class Rounds(Together):
        off: float

        def __attrs_post_init__(self) -> None:
            super().__init__()

        def process_many(self, chunks):
            return [max(0.0, each - self.off) for each in super().process_many(chunks)]

    await check_voice_activity(lambda: Rounds(5e-4))
    with pytest.raises(ContractBroken, match="otherwise than by itself"):
        await check_voice_activity(lambda: Rounds(5e-3))
    await check_voice_activity(lambda: Rounds(5e-3), tolerance=0.01)
