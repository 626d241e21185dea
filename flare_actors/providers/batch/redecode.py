"""When an utterance is worth a decode, for engines that understand a whole recording at a time.

* In a pause it is decoded ahead: when the ear has seen ``early_decode_s`` of silence, what is there is decoded while the
  endpoint's silence still runs; if nothing voiced follows, the final transcript is ready when the endpoint comes.
* Partial transcripts are made by decoding the utterance again, within a budget, and only while an engine stays free for
  somebody's final decode.
* A long utterance is decoded piecewise, cut at its pauses, so that the last decode stays short.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import attrs

from flare_actors.audio import bytes_to_seconds
from flare_actors.ports import HeardAudio, Transcript

__all__ = ["Decoded", "Job", "Redecoding", "redecode"]

# How far the ear's count of silence may lag behind the audio handed over and still mean "nothing voiced": one VAD chunk.
SILENCE_SLACK_S: Final = 0.04


@attrs.frozen(kw_only=True)
class Redecoding:
    """How eagerly an utterance is decoded before it is over, by a recogniser that gives final transcripts only."""

    early_decode_s: float = attrs.field(default=0.2, validator=attrs.validators.ge(0))
    """Silence after which an utterance is decoded ahead of its endpoint; 0: never."""
    partial_every_s: float = attrs.field(default=0.5, validator=attrs.validators.gt(0))
    """New audio from one partial transcript to the next (streaming mode)."""
    partial_after_s: float = attrs.field(default=0.8, validator=attrs.validators.ge(0))
    """Audio before the first partial; from less, the model guesses words that nobody said."""
    partial_load: float = attrs.field(default=0.4, validator=[attrs.validators.gt(0), attrs.validators.le(1)])
    """The share of one core that one utterance's partials may take: long utterances get fewer of them."""
    segment_s: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    """An utterance is cut at its first pause (of ``early_decode_s``) after this much audio, and decoded in pieces."""


@attrs.frozen(kw_only=True)
class Decoded:
    """What one decode gave."""

    text: str = attrs.field(repr=False)
    cost_s: float
    """Wall time it took."""


class Job(Protocol):
    """A decode that was started."""

    @property
    def done(self) -> bool:
        """``result`` will not wait."""
        ...

    async def result(self) -> Decoded:
        """What it gave, or raised."""
        ...


async def redecode(
    audio: AsyncIterator[HeardAudio],
    settings: Redecoding,
    *,
    sample_rate: int,
    partials: bool,
    start: Callable[[bytes, bool], Job | None],
    decode: Callable[[bytes], Awaitable[Decoded]],
) -> AsyncGenerator[Transcript]:
    """Understand one utterance; see ``ports.Recognizer.transcribe``.

    Args:
        audio: the utterance as it is spoken.
        settings: how eagerly.
        sample_rate: Hz of the audio.
        partials: whether partial transcripts are wanted.
        start: begins a decode in the background; the flag says that it is for a partial transcript only, and may be refused
            (None) where others wait for their final one.
        decode: decodes, and waits for it.

    Raises:
        ProviderError: what a decode raised.
    """
    utterance = _Utterance(settings, sample_rate)
    latest: _Decode | None = None  # the last decode started
    ahead = False  # ... and nothing voiced came after what it got
    cut: _Decode | None = None  # a decode up to a pause at which a long utterance is to be cut
    told, told_complete = "", False

    def begin(*, spare: bool) -> _Decode | None:
        rest = utterance.rest()
        job = start(rest.pcm, spare)
        if job is None:
            return None
        utterance.took(rest)
        return _Decode(taken=rest, job=job)

    async for piece in audio:
        if utterance.add(piece):
            if ahead and latest is not None and utterance.is_long:
                cut = latest
            ahead = False
        if latest is not None and latest.job.done:
            text = utterance.account(latest, await latest.job.result())
            if partials and text and (text != told or (ahead and not told_complete)):
                told, told_complete = text, ahead
                yield Transcript(text=text, complete=ahead)
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
    yield Transcript(text=text, final=True)


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
        self._heard = False  # any voice at all
        self._voiced = False  # ... since the last take
        self._taken = 0
        self._cost_s = 0.0
        self._before = ""
        self._start = 0

    def add(self, piece: HeardAudio) -> bool:
        """Append; True if there is voice in it. A silent piece makes the ear's silence longer by its own length."""
        self._pcm += piece.pcm
        length_s = bytes_to_seconds(len(piece.pcm), self._rate)
        voiced = piece.silence_s <= 0 or piece.silence_s < self._silence_s + length_s - SILENCE_SLACK_S
        self._silence_s = piece.silence_s
        self._heard = self._heard or voiced
        self._voiced = self._voiced or voiced
        return voiced

    @property
    def pauses(self) -> bool:
        early_s = self._settings.early_decode_s
        return early_s > 0 and self._heard and self._silence_s >= early_s

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

    def rest(self) -> _Taken:
        """What is not understood for good."""
        return _Taken(before=self._before, pcm=bytes(self._pcm[self._start :]), end=len(self._pcm))

    def took(self, taken: _Taken) -> None:
        """A decode of that was started."""
        self._taken = taken.end
        self._voiced = False

    def account(self, decode: _Decode, decoded: Decoded) -> str:
        """Take note of what a decode cost; its text."""
        self._cost_s = decoded.cost_s
        return decode.text(decoded)

    def cut(self, decode: _Decode, decoded: Decoded) -> None:
        """What this decode understood stays; later ones begin after it."""
        self._before = decode.text(decoded)
        self._start = decode.taken.end
