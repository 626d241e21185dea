"""When an utterance is worth a decode, for engines that understand a whole recording at a time.

* In a pause it is decoded ahead: when the ear has seen ``early_decode_s`` of silence, what is there is decoded while the
  endpoint's silence still runs; if nothing voiced follows, the final transcript is ready when the endpoint comes.
* Partial transcripts are made by decoding the utterance again, within a budget, and only while an engine stays free for
  somebody's final decode.
* A long utterance is decoded piecewise, cut at its pauses, so that the last decode stays short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import attrs
import trio

from flare_actors.audio import bytes_to_seconds, seconds_to_bytes
from flare_actors.ports import HeardAudio, Transcript
from flare_actors.providers.compose.relay import Relay

__all__ = ["Decoded", "Job", "Redecoding", "redecode"]

# How far the ear's count of silence may lag behind the audio handed over and still mean "nothing voiced": one VAD chunk.
SILENCE_SLACK_S: Final = 0.04
# Half a VAD chunk, as the ear itself allows: two chunks of 32 ms are meant by 0.06 s.
TOLERANCE_S: Final = 0.016
# A model that hears less silence than this behind the last word takes the sentence for unfinished: of 66 utterances of
# `benchmarks.corpus` Moonshine ended 18 otherwise with 0.064 s than with 0.48 s, and 2 with as little but padded to 0.2 s.
PADDED_S: Final = 0.2
# A shorter silence is heard out before its transcript is called complete: it stands within a word more often than not.
COMPLETE_S: Final = 0.06
# A shorter silence may stand within a word, where no utterance is to be cut.
CUT_PAUSE_S: Final = 0.19


@attrs.frozen(kw_only=True)
class Redecoding:
    """How eagerly an utterance is decoded before it is over, by a recogniser that gives final transcripts only."""

    early_decode_s: float = attrs.field(default=0.06, validator=attrs.validators.ge(0))
    """Silence after which an utterance is decoded ahead of its endpoint; 0: never. Best no longer than the conversation's
    ``soft_endpoint_s``: an answer is begun ahead only when the decode is done."""
    partial_every_s: float = attrs.field(default=0.5, validator=attrs.validators.gt(0))
    """New audio from one partial transcript to the next (streaming mode)."""
    partial_after_s: float = attrs.field(default=0.8, validator=attrs.validators.ge(0))
    """Audio before the first partial; from less, the model guesses words that nobody said."""
    partial_load: float = attrs.field(default=0.4, validator=[attrs.validators.gt(0), attrs.validators.le(1)])
    """The share of one core that one utterance's partials may take: long utterances get fewer of them."""
    segment_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    """An utterance is cut at its first pause (of 0.2 s) after this much audio, and decoded in pieces."""


@attrs.frozen(kw_only=True)
class Decoded:
    """What one decode gave."""

    text: str = attrs.field(repr=False)
    cost_s: float
    """Wall time it took."""


class Job(Protocol):
    """A decode that was started."""

    async def wait(self) -> None:
        """Wait until it is done, or has failed."""
        ...

    @property
    def done(self) -> bool:
        """``result`` will not wait."""
        ...

    async def result(self) -> Decoded:
        """What it gave, or raised."""
        ...


async def redecode(
    relay: Relay[Transcript],
    audio: AsyncIterator[HeardAudio],
    settings: Redecoding,
    *,
    sample_rate: int,
    partials: bool,
    start: Callable[[bytes, bool], Job | None],
    decode: Callable[[bytes], Awaitable[Decoded]],
) -> None:
    """Understand one utterance; see ``ports.Recognizer.transcribe``.

    Args:
        relay: takes the transcripts; in its nursery waits what listens, so that a decode's end is noticed when it comes and
            not with the next piece of audio.
        audio: the utterance as it is spoken.
        settings: how eagerly.
        sample_rate: Hz of the audio.
        partials: whether partial transcripts are wanted.
        start: begins a decode in the background; the flag says that it is for a partial transcript only, and may be refused
            (None) where others wait for their final one.
        decode: decodes, and waits for it.

    Raises:
        ProviderError: what a decode raised.

    Cancellation: at any await; what becomes of decodes that run is for ``start`` and ``decode`` to say.
    """
    utterance = _Utterance(settings, sample_rate)
    news = _News(audio, relay.nursery)
    latest: _Decode | None = None  # the last decode started
    ahead = False  # ... and nothing voiced came after what it got
    cut: _Decode | None = None  # a decode up to a pause at which a long utterance is to be cut
    told, told_complete = "", False

    def begin(*, spare: bool) -> _Decode | None:
        rest = utterance.rest()
        job = start(rest.pcm + utterance.padding, spare)
        if job is None:
            return None
        utterance.took(rest)
        news.watch(job)
        return _Decode(taken=rest, job=job)

    while not news.over:
        piece = await news.next()
        if piece is not None and utterance.add(piece):
            if ahead and latest is not None and utterance.is_long and utterance.pause_s >= CUT_PAUSE_S:
                cut = latest
            ahead = False
        ahead = ahead or (latest is not None and utterance.pauses and utterance.is_all_taken)
        if latest is not None and latest.job.done:
            text = utterance.account(latest, await latest.job.result())
            complete = ahead and utterance.rests
            if partials and text and (text != told or (complete and not told_complete)):
                told, told_complete = text, complete
                await relay.give(Transcript(text=text, complete=complete))
        if cut is not None and cut.job.done:
            utterance.cut(cut, await cut.job.result())
            cut = None
        if not ahead and utterance.pauses:
            started = begin(spare=False)
            latest, ahead = started or latest, started is not None
        elif partials and (latest is None or latest.job.done) and utterance.wants_partial:
            latest = begin(spare=True) or latest
    if latest is not None and (ahead or utterance.adds_nothing_to(latest)):
        text = latest.text(await latest.job.result())
    else:
        last = utterance.rest()
        text = last.text(await decode(last.pcm))
    await relay.give(Transcript(text=text, final=True))


class _News:
    """What happens next: more of the utterance, its end, or the end of a decode."""

    def __init__(self, audio: AsyncIterator[HeardAudio], nursery: trio.Nursery) -> None:
        self._audio = audio
        self._nursery = nursery
        self._pieces: deque[HeardAudio] = deque()  # no more than the utterance, which is kept whole anyway
        self._ended = False
        self._arrived = trio.Event()
        nursery.start_soon(self._listen)

    @property
    def over(self) -> bool:
        """All of the utterance was given."""
        return self._ended and not self._pieces

    def watch(self, job: Job) -> None:
        """Its end is news."""
        self._nursery.start_soon(self._watch, job)

    async def next(self) -> HeardAudio | None:
        """Wait for the next piece of audio; None: something else has happened."""
        if not self._pieces and not self._ended:
            await self._arrived.wait()
        self._arrived = trio.Event()
        return self._pieces.popleft() if self._pieces else None

    async def _listen(self) -> None:
        async for piece in self._audio:
            self._pieces.append(piece)
            self._arrived.set()
        self._ended = True
        self._arrived.set()

    async def _watch(self, job: Job) -> None:
        await job.wait()
        self._arrived.set()


@attrs.frozen(kw_only=True)
class _Taken:
    """The part of an utterance that a decode gets, and what was understood before it."""

    before: str = attrs.field(repr=False)
    pcm: bytes = attrs.field(repr=False)
    end: int
    """Bytes of the utterance up to the end of ``pcm``."""

    def text(self, decoded: Decoded) -> str:
        return f"{self.before} {decoded.text}".strip()


@attrs.frozen(kw_only=True)
class _Decode:
    taken: _Taken
    job: Job

    def text(self, decoded: Decoded) -> str:
        return self.taken.text(decoded)


class _Utterance:
    """What was heard so far, and when it is worth a decode. Pure: no clock but the audio's own."""

    def __init__(self, settings: Redecoding, sample_rate: int) -> None:
        self._settings = settings
        self._rate = sample_rate
        self._pcm = bytearray()
        self._silence_s = 0.0
        self.pause_s = 0.0
        """The silence before what was added last, in seconds."""
        self._heard = False  # any voice at all
        self._voiced = False  # ... since the last take
        self._taken = 0
        self._ended_in_silence = False  # what was taken
        self._cost_s = 0.0
        self._before = ""
        self._start = 0

    def add(self, piece: HeardAudio) -> bool:
        """Append; True if there is voice in it. A silent piece makes the ear's silence longer by its own length."""
        self._pcm += piece.pcm
        length_s = bytes_to_seconds(len(piece.pcm), self._rate)
        voiced = piece.silence_s <= 0 or piece.silence_s < self._silence_s + length_s - SILENCE_SLACK_S
        self.pause_s, self._silence_s = self._silence_s, piece.silence_s
        self._heard = self._heard or voiced
        self._voiced = self._voiced or voiced
        return voiced

    @property
    def pauses(self) -> bool:
        early_s = self._settings.early_decode_s
        long_enough = self._silence_s > 0 and self._silence_s >= early_s - TOLERANCE_S
        return early_s > 0 and self._heard and long_enough

    @property
    def rests(self) -> bool:
        """The silence is no stop within a word."""
        return self._silence_s >= COMPLETE_S - TOLERANCE_S

    @property
    def wants_partial(self) -> bool:
        new_s = bytes_to_seconds(len(self._pcm) - self._taken, self._rate)
        return (
            self._voiced
            and bytes_to_seconds(len(self._pcm), self._rate) >= self._settings.partial_after_s
            and new_s >= max(self._settings.partial_every_s, self._cost_s / self._settings.partial_load)
        )

    @property
    def is_long(self) -> bool:
        return bytes_to_seconds(len(self._pcm) - self._start, self._rate) >= self._settings.segment_s

    def adds_nothing_to(self, decode: _Decode) -> bool:
        return decode.taken.end == len(self._pcm)

    @property
    def is_all_taken(self) -> bool:
        """The last decode got the beginning of this very silence: another one would hear no more, and later."""
        return self._ended_in_silence and not self._voiced

    def rest(self) -> _Taken:
        """What is not understood for good."""
        return _Taken(before=self._before, pcm=bytes(self._pcm[self._start :]), end=len(self._pcm))

    @property
    def padding(self) -> bytes:
        """What is missing to a silence that sounds like an end; nothing amid speech."""
        missing_s = PADDED_S - self._silence_s if self._silence_s > 0 else 0.0
        return bytes(seconds_to_bytes(max(0.0, missing_s), self._rate))

    def took(self, taken: _Taken) -> None:
        """A decode of that was started."""
        self._taken = taken.end
        self._ended_in_silence = self._silence_s > 0
        self._voiced = False

    def account(self, decode: _Decode, decoded: Decoded) -> str:
        """Take note of what a decode cost; its text."""
        self._cost_s = decoded.cost_s
        return decode.text(decoded)

    def cut(self, decode: _Decode, decoded: Decoded) -> None:
        """What this decode understood stays; later ones begin after it."""
        self._before = decode.text(decoded)
        self._start = decode.taken.end
