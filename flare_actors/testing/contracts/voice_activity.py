"""Contract checks for voice activity detectors."""

from __future__ import annotations

import statistics
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from numbers import Real
from time import perf_counter
from typing import Final

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE, seconds_to_bytes, split_frames
from flare_actors.errors import ProviderError
from flare_actors.ports import (
    BatchVoiceActivity,
    TurnEndEstimator,
    VoiceActivity,
    VoiceDetector,
    estimates_turn_end,
    hears_many,
)
from flare_actors.testing.contracts.common import check_rate, need
from flare_actors.testing.contracts.rules import Broken, Make, Rules, evenly, open_made, run_cancelled
from flare_actors.testing.contracts.streams import judge_cancelled
from flare_actors.testing.room import speechlike

__all__ = ["check_voice_activity"]

_CHUNKS: Final = 24
"""Of each stream: enough for a past that tells."""
_SPEECH: Final = 0.5
"""From here on a chunk is speech, unless the settings say otherwise (``vad_threshold``)."""
_LONGEST_S: Final = 8.0
"""Of a turn, that an estimator is shown."""
_AT_A_TIME: Final = 4

_Answers = list[float]


def _probability(given: object, method: str) -> float:
    if hasattr(given, "__await__"):
        if hasattr(given, "close"):
            given.close()
        raise Broken(f"{method} is asynchronous; it runs inline: make it a plain `def` that gives the probability")
    if isinstance(given, bool) or not isinstance(given, Real):
        raise Broken(f"{method} gave {type(given).__name__}; give a probability, a float from 0 to 1")
    found = float(given)
    need(0 <= found <= 1, f"{method} gave {found}; give a probability from 0 to 1")
    return found


def _hear(detector: VoiceDetector, chunks: Sequence[bytes]) -> _Answers:
    return [_probability(detector.process(chunk), "process") for chunk in chunks]


class _Nothing:
    """A stream of nothing, without a checkpoint: a cancellation that was swallowed before is not found again there."""

    def __aiter__(self) -> _Nothing:
        return self

    async def __anext__(self) -> None:
        raise StopAsyncIteration


@asynccontextmanager
async def _once(call: Callable[[], Awaitable[object]]) -> AsyncGenerator[AsyncIterator[None]]:
    """A call as a stream, so that it can be cancelled as a stream is."""
    await call()
    yield _Nothing()


async def check_voice_activity(
    make: Make[VoiceActivity],
    *,
    speech: bytes | None = None,
    patience_s: float = 60.0,
    release_s: float = 2.0,
    chunk_s: float = 0.005,
    tolerance: float = 1e-3,
    most: int = 10,
) -> None:
    """Hold a voice activity detection against its port; a ``BatchVoiceActivity`` or ``TurnEndEstimator`` against that, too.

    Args:
        make: makes it, or an async context manager that gives it; used anew for each opening that is cancelled.
        speech: PCM16 at its sample rate, 24 chunks or more, in which somebody speaks, which it must notice; the other rules
            take the middle of it. Default: noise with the rhythm of speech, of which it may think what it likes.
        patience_s: seconds that one rule may take.
        release_s: seconds that a cancelled call may hold on.
        chunk_s: seconds of the wall clock that half of all chunks may take at most: detectors run inline, and all sessions of
            the process wait for them meanwhile. (Good ones take a tenth of the default, and less.)
        tolerance: how far two answers to the same audio may differ: arithmetic is not quite the same in a batch.
        most: cancellations that are tried per rule, one or more, evenly spread over the call.

    Raises:
        ContractBroken: rules were broken; it lists them.
        ValueError: ``most`` is less than 1, or ``speech`` too short.

    Cancellation: as soon as the engine lets go of the call that it is asked for.
    """
    rules = Rules("the voice activity", patience_s, release_s, most)
    async with open_made(make) as vad:
        await rules.follow("it says what it takes", lambda: _takes(vad))
        if not rules.broken:
            probes = _Probes(rules, make, vad, _streams(vad, speech), tolerance)
            await _follow_rules(probes, chunk_s=chunk_s, speech=speech)
    await rules.judge()


async def _follow_rules(probes: _Probes, *, chunk_s: float, speech: bytes | None) -> None:
    rules, vad = probes.rules, probes.vad
    await rules.follow("each chunk has a probability", probes.probabilities)
    if rules.broken:
        return  # Nothing else could be told apart from that.
    await rules.follow("silence is no speech", probes.silence)
    if speech is not None:
        await rules.follow("speech is noticed", lambda: probes.noticed(speech))
    await rules.follow("the same audio has the same answers", probes.repeated)
    await rules.follow("a reset forgets everything", probes.reset)
    await rules.follow("each detector has a past of its own", probes.separate)
    await rules.follow("several are opened at a time", probes.together)
    await rules.follow("it is quick enough to run inline", lambda: probes.quick(chunk_s))
    await rules.follow("an opening is cancelled at every wait", lambda: probes.opening(at_waits=True))
    await rules.follow("an opening is cancelled before every step", lambda: probes.opening(at_waits=False))
    if hears_many(vad):
        batch = _Batch(probes, vad)
        await rules.follow("together each hears what it does by itself", batch.together)
        await rules.follow("no chunks have no answers", batch.nothing)
        await rules.follow("a batch that fails has heard nothing", batch.failing)
    if estimates_turn_end(vad):
        ends = _Ends(probes, vad)
        await rules.follow("a pause has a probability", ends.probabilities)
        await rules.follow("several pauses at a time", ends.several)
        await rules.follow("an estimate is cancelled at every wait", lambda: ends.cancelled(at_waits=True))
        await rules.follow("an estimate is cancelled before every step", lambda: ends.cancelled(at_waits=False))
    await rules.follow("after its close it refuses, or serves as ever", probes.after_close)


async def _takes(vad: VoiceActivity) -> None:
    check_rate(vad.sample_rate)
    samples: object = vad.chunk_samples
    need(
        isinstance(samples, int) and 0 < samples <= vad.sample_rate,
        f"chunk_samples is {samples!r}; give a whole number, of a second of audio at most, also before a model is loaded",
    )
    need(callable(getattr(vad, "open", None)), "it has no open(); give it one that makes a detector")


def _streams(vad: VoiceActivity, speech: bytes | None) -> dict[str, list[bytes]]:
    """What is heard: all kinds of audio, whole chunks, each stream at another length."""
    size = BYTES_PER_SAMPLE * vad.chunk_samples
    seconds = (_CHUNKS + 1) * vad.chunk_samples / vad.sample_rate
    spoken = _cut(speechlike(seconds, vad.sample_rate) if speech is None else speech, size)
    if len(spoken) < _CHUNKS:
        raise ValueError(f"speech: give {_CHUNKS} chunks of {vad.chunk_samples} samples or more, not {len(spoken)}")
    first = (len(spoken) - _CHUNKS) // 2
    spoken = spoken[first : first + _CHUNKS]
    return {
        "speech": spoken,
        "silence": [bytes(size)] * _CHUNKS,
        "later speech": spoken[4:],
        "as loud as can be": _cut(b"\xff\x7f\x00\x80" * (size * _CHUNKS // 4), size)[8:],
        "noise": _cut(speechlike(seconds, vad.sample_rate, level_db=-40, seed=1), size)[12:_CHUNKS],
    }


def _cut(pcm: bytes, size: int) -> list[bytes]:
    """Whole chunks."""
    return [chunk for chunk in split_frames(pcm, size) if len(chunk) == size]


@attrs.define
class _Probes:
    """What any voice activity detection must do."""

    rules: Rules
    make: Make[VoiceActivity]
    vad: VoiceActivity
    streams: dict[str, list[bytes]]
    tolerance: float
    expected: dict[str, _Answers] = attrs.Factory(dict)
    """What a fresh detector says of each stream by itself."""

    def same(self, found: _Answers, stream: str, but: str) -> None:
        """Raise Broken if these are not the answers to a stream's first chunks: they are, but for what ``but`` says."""
        far = max(abs(one - other) for one, other in zip(found, self.expected[stream], strict=False))
        need(far <= self.tolerance, f"{but} (by up to {far:.2g}, with {stream})")

    async def hears(self, vad: VoiceActivity, but: str) -> None:
        """It works as ever."""
        self.same(_hear(await vad.open(), self.streams["speech"]), "speech", but)

    async def probabilities(self) -> None:
        for name, chunks in self.streams.items():
            detector = await self.vad.open()
            need(
                callable(getattr(detector, "process", None)) and callable(getattr(detector, "reset", None)),
                f"open gave {type(detector).__name__}, which is no detector; give something with process and reset",
            )
            self.expected[name] = _hear(detector, chunks)

    async def silence(self) -> None:
        most = max(self.expected["silence"])
        need(most < _SPEECH, f"it took digital silence for speech ({most:.2g}); then no utterance ends")

    async def noticed(self, speech: bytes) -> None:
        most = max(_hear(await self.vad.open(), _cut(speech, BYTES_PER_SAMPLE * self.vad.chunk_samples)))
        need(most >= _SPEECH, f"the speech that it was given was none to it ({most:.2g} at most); it goes unheard")

    async def repeated(self) -> None:
        for name, chunks in self.streams.items():
            again = _hear(await self.vad.open(), chunks)
            self.same(again, name, "a second detector heard the same audio otherwise; open gives a fresh one each time")

    async def reset(self) -> None:
        detector = await self.vad.open()
        detector.reset()  # of what has heard nothing
        for _ in range(2):
            again = _hear(detector, self.streams["speech"])
            self.same(again, "speech", "after a reset the same audio was heard otherwise; reset forgets everything")
            _hear(detector, self.streams["as loud as can be"])
            detector.reset()
            detector.reset()

    async def separate(self) -> None:
        speech, loud = self.streams["speech"], self.streams["as loud as can be"]
        one, other = await self.vad.open(), await self.vad.open()
        found: _Answers = []
        for number, chunk in enumerate(speech):
            found += _hear(one, [chunk])
            _hear(other, [loud[number % len(loud)]])
            if number % 5 == 4:
                other.reset()
        self.same(found, "speech", "what another detector heard, or forgot, changed the answers; keep its state in it")

    async def together(self) -> None:
        async def hear() -> None:
            await self.hears(self.vad, f"one of {_AT_A_TIME} that were opened at a time heard otherwise")

        async with trio.open_nursery() as nursery:
            for _ in range(_AT_A_TIME):
                nursery.start_soon(hear)

    async def quick(self, chunk_s: float) -> None:
        detector = await self.vad.open()
        took: list[float] = []
        for chunk in self.streams["speech"]:
            began = perf_counter()
            detector.process(chunk)
            took.append(perf_counter() - began)
        half = statistics.median(took)
        need(
            half <= chunk_s,
            f"half of all chunks took {1000 * half:.1f} ms or more, while every session of the process waited; stay well "
            f"below {1000 * chunk_s:g} ms",
        )

    async def opening(self, *, at_waits: bool) -> None:
        """Cancelled, also amid the loading of a model, which the next opening takes up again."""
        async with open_made(self.make) as fresh:
            whole = await run_cancelled(lambda: _once(fresh.open))
        for number in evenly(whole.waits if at_waits else whole.steps, self.rules.most):
            async with open_made(self.make) as vad:
                await _cancelled(self.rules, vad.open, number, at_waits=at_waits)
                await self.hears(vad, "behind an opening that was cancelled the next one hears otherwise")

    async def after_close(self) -> None:
        async with open_made(self.make) as vad:
            detector = await vad.open()
        for late in (detector, None):
            try:
                detector = late or await vad.open()
                _hear(detector, self.streams["speech"][:1])
                detector.reset()
            except ProviderError:
                pass


@attrs.frozen
class _Batch:
    """What one must do besides that hears several streams at once."""

    probes: _Probes
    vad: BatchVoiceActivity

    async def _open(self, count: int) -> list[VoiceDetector]:
        return [await self.probes.vad.open() for _ in range(count)]

    def _hear(self, chunks: Sequence[tuple[VoiceDetector, bytes]]) -> _Answers:
        given: object = self.vad.process_many(chunks)
        need(
            isinstance(given, Sequence) and len(given) == len(chunks),
            f"process_many gave {len(given) if isinstance(given, Sequence) else type(given).__name__} for {len(chunks)} "
            "chunks; give a sequence, one probability for each",
        )
        assert isinstance(given, Sequence)
        return [_probability(each, "process_many") for each in given]

    async def together(self) -> None:
        """Streams end, each comes in another place each time, and now and then one is heard by itself."""
        probes = self.probes
        detectors = dict(zip(probes.streams, await self._open(len(probes.streams)), strict=True))
        need(
            len(set(map(id, detectors.values()))) == len(detectors),
            "open gave the same detector twice; a batch tells streams apart by their detectors: make one for each",
        )
        found: dict[str, _Answers] = {name: [] for name in probes.streams}
        for number in range(_CHUNKS):
            these = [name for name, chunks in probes.streams.items() if number < len(chunks)]
            these = these[number % len(these) :] + these[: number % len(these)]
            alone = these.pop() if number % 3 == 2 else None
            if these:
                given = self._hear([(detectors[name], probes.streams[name][number]) for name in these])
                for name, each in zip(these, given, strict=True):
                    found[name].append(each)
            if alone is not None:
                found[alone] += _hear(detectors[alone], [probes.streams[alone][number]])
        for name, answers in found.items():
            probes.same(answers, name, "together with others it was heard otherwise than by itself")

    async def nothing(self) -> None:
        need(self._hear([]) == [], "process_many of no chunks gave something")

    async def failing(self) -> None:
        speech = self.probes.streams["speech"]
        good, bad, last = await self._open(3)
        try:
            self.vad.process_many([(good, speech[0]), (bad, speech[0][:-2]), (last, speech[0])])
        except Exception:  # noqa: BLE001 - the port guard takes any
            for detector in (good, bad, last):
                again = _hear(detector, speech)
                self.probes.same(
                    again, "speech", "a batch failed, and some of it was heard all the same; check it first"
                )


@attrs.frozen
class _Ends:
    """What one must do besides that knows whether a speaker has finished."""

    probes: _Probes
    vad: TurnEndEstimator

    async def _estimate(self, pcm: bytes) -> float:
        return _probability(await self.vad.estimate_turn_end(pcm), "estimate_turn_end")

    def _turn(self) -> bytes:
        return b"".join(self.probes.streams["speech"])

    async def probabilities(self) -> None:
        turn, size = self._turn(), seconds_to_bytes(_LONGEST_S, self.probes.vad.sample_rate)
        longest = (turn * (size // len(turn) + 1))[:size]
        for pcm in (turn, longest, bytes(size)):
            await self._estimate(pcm)
        for hardly in (b"", turn[:2]):
            with suppress(ProviderError):
                await self._estimate(hardly)

    async def several(self) -> None:
        alone = await self._estimate(self._turn())
        found: _Answers = []

        async def estimate() -> None:
            found.append(await self._estimate(self._turn()))

        async with trio.open_nursery() as nursery:
            for _ in range(_AT_A_TIME):
                nursery.start_soon(estimate)
        far = max(abs(each - alone) for each in found)
        need(far <= self.probes.tolerance, f"{_AT_A_TIME} estimates of one pause at a time differ by up to {far:.2g}")

    async def cancelled(self, *, at_waits: bool) -> None:
        async def estimate() -> float:
            return await self._estimate(self._turn())

        whole = await run_cancelled(lambda: _once(estimate))
        for number in evenly(whole.waits if at_waits else whole.steps, self.probes.rules.most):
            await _cancelled(self.probes.rules, estimate, number, at_waits=at_waits)
        await estimate()


async def _cancelled(rules: Rules, call: Callable[[], Awaitable[object]], number: int, *, at_waits: bool) -> None:
    """Cancel a call, and see that it obeys."""
    if at_waits:
        run = await run_cancelled(lambda: _once(call), at_wait=number)
        judge_cancelled(rules, run, f"at its wait number {number + 1}", True)
    else:
        run = await run_cancelled(lambda: _once(call), before_step=number)
        judge_cancelled(rules, run, f"before step {number + 1} of its task", False)
