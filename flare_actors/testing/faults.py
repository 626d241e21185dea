"""Providers that fail as real ones do: on demand, at a chosen stage of a chosen stream.

    model = FaultyLanguageModel(ScriptedLanguageModel(), faults=[None, Fault(at=At.FIRST, act=Act.HANG)])

answers once and then hangs before its first token, once. Every wrapper takes one fault per stream (None: a healthy one);
when they are used up, ``always`` applies. Faults are values; what a wrapper has open is counted in ``open_streams``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from typing import Generic, TypeVar, Unpack, assert_never

import attrs
import trio

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, Stage
from flare_actors.guard import ask_model
from flare_actors.ports import (
    HeardAudio,
    LanguageModel,
    Locales,
    Message,
    ModelOptions,
    ModelOutput,
    Phrase,
    Recognizer,
    SpeechAudio,
    Synthesizer,
    Transcript,
    VoiceActivity,
    VoiceDetector,
)

__all__ = [
    "Act",
    "At",
    "Fault",
    "FaultyLanguageModel",
    "FaultyRecognizer",
    "FaultySynthesizer",
    "FaultyVoiceActivity",
    "VendorCrash",
]

T = TypeVar("T")


class VendorCrash(Exception):
    """What a vendor's library raises: an exception that nobody here knows. Its text is as indiscreet as they come."""


class At(Enum):
    """Where in a stream's life the fault strikes."""

    CALL = "call"
    """The very call that should give the stream."""
    CONNECT = "connect"
    """Entering it."""
    FIRST = "first"
    """Before its first item."""
    MIDDLE = "middle"
    """After ``Fault.after`` items."""
    END = "end"
    """After its last item, instead of ending."""
    CLOSE = "close"
    """Leaving it, however."""


class Act(Enum):
    """What happens there."""

    HANG = "hang"
    """Nothing more comes, for ever (cancellation is obeyed)."""
    RAISE = "raise"
    """A ``ProviderError``, as the port asks for."""
    CRITICAL = "critical"
    """A ``ProviderError`` that no later attempt can help."""
    CRASH = "crash"
    """An exception of the vendor's own."""
    CRASH_GROUP = "crash_group"
    """The same out of a nursery of the vendor's own."""
    STOP = "stop"
    """The stream ends too early, without a word. (Not at CALL and CONNECT.)"""
    GIVE = "give"
    """``Fault.item`` instead of what should come. (At FIRST and MIDDLE.)"""
    SLOW = "slow"
    """``Fault.seconds`` late."""
    STUBBORN = "stubborn"
    """Hangs; swallows its cancellation, and goes on ``Fault.seconds`` after it as if nothing had happened."""


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong in a stream."""

    at: At
    act: Act
    after: int = 1
    """Items before a fault in the MIDDLE."""
    seconds: float = 1.0
    """How late SLOW is, how long STUBBORN holds on."""
    item: object = None
    """What GIVE gives."""


async def _strike(stage: Stage, fault: Fault) -> None:
    match fault.act:
        case Act.HANG:
            await trio.sleep_forever()
        case Act.SLOW:
            await trio.sleep(fault.seconds)
        case Act.STUBBORN:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:  # Exactly what nobody must do, and some libraries do.
                with trio.CancelScope(shield=True):
                    await trio.sleep(fault.seconds)
        case _:
            _raise(stage, fault)


def _raise(stage: Stage, fault: Fault) -> None:
    match fault.act:
        case Act.RAISE:
            raise ProviderError(stage, f"scripted failure at {fault.at.value}")
        case Act.CRITICAL:
            raise ProviderError(stage, f"scripted critical failure at {fault.at.value}", critical=True)
        case Act.CRASH:
            raise VendorCrash("request failed: Authorization: Bearer canary-key, input: canary phrase")
        case Act.CRASH_GROUP:
            raise ExceptionGroup("the vendor's nursery", [VendorCrash("canary phrase"), VendorCrash("canary-key")])
        case Act.STOP | Act.GIVE | Act.HANG | Act.SLOW | Act.STUBBORN:
            raise ValueError(f"{fault.act} is not possible at {fault.at}")
        case _:
            assert_never(fault.act)


class _Stream(Generic[T]):
    """A stream's items, with the fault among them."""

    def __init__(self, stage: Stage, items: AsyncIterator[T], fault: Fault | None) -> None:
        self._stage: Stage = stage
        self._items = items
        self._fault = fault
        self._given = 0
        self._stopped = False

    def __aiter__(self) -> _Stream[T]:
        return self

    async def __anext__(self) -> T:
        fault = self._fault
        if self._stopped:
            raise StopAsyncIteration
        due = fault is not None and (
            (fault.at is At.FIRST and self._given == 0) or (fault.at is At.MIDDLE and self._given == fault.after)
        )
        self._given += 1
        if due:
            assert fault is not None
            if fault.act is Act.STOP:
                self._stopped = True
                raise StopAsyncIteration
            if fault.act is Act.GIVE:
                return fault.item  # type: ignore[return-value] # being of the wrong type is its purpose
            await _strike(self._stage, fault)
        try:
            return await anext(self._items)
        except StopAsyncIteration:
            if fault is not None and fault.at is At.END and not self._stopped:
                self._stopped = True
                await _strike(self._stage, fault)
            raise


@attrs.define(kw_only=True, eq=False)
class _Faulty:
    """What the wrappers share: which fault is next, and what is open."""

    faults: Iterable[Fault | None] = attrs.field(default=())
    """One per stream, in order; None: a healthy one."""
    always: Fault | None = None
    """For the streams after those."""
    streams: int = attrs.field(default=0, init=False)
    """Streams asked for so far."""
    open_streams: int = attrs.field(default=0, init=False)
    """Streams entered (or being entered) and not left."""
    most_open: int = attrs.field(default=0, init=False)
    """The most that were open at a time."""

    def __attrs_post_init__(self) -> None:
        self.faults = list(self.faults)

    def _next_fault(self) -> Fault | None:
        assert isinstance(self.faults, list)
        number = self.streams
        self.streams += 1
        return self.faults[number] if number < len(self.faults) else self.always

    def _open(
        self, stage: Stage, manager: AbstractAsyncContextManager[AsyncIterator[T]], fault: Fault | None
    ) -> AbstractAsyncContextManager[AsyncIterator[T]]:
        if fault is not None and fault.at is At.CALL:
            _raise(stage, fault)
        return self._stream(stage, manager, fault)

    @asynccontextmanager
    async def _stream(
        self, stage: Stage, manager: AbstractAsyncContextManager[AsyncIterator[T]], fault: Fault | None
    ) -> AsyncGenerator[AsyncIterator[T]]:
        self.open_streams += 1
        self.most_open = max(self.most_open, self.open_streams)
        try:
            if fault is not None and fault.at is At.CONNECT:
                await _strike(stage, fault)
            async with manager as items:
                try:
                    yield _Stream(stage, items, fault)
                finally:
                    if fault is not None and fault.at is At.CLOSE:
                        await _strike(stage, fault)
        finally:
            self.open_streams -= 1


@attrs.define(kw_only=True, eq=False)
class FaultyLanguageModel(_Faulty):
    """A language model with faults; ``inner`` does the work."""

    inner: LanguageModel

    def generate(
        self, messages: Sequence[Message], *, locale: str, **options: Unpack[ModelOptions]
    ) -> AbstractAsyncContextManager[AsyncIterator[ModelOutput]]:
        """See ``ports.LanguageModel``."""
        inner = ask_model(self.inner, messages, locale=locale, **options)
        return self._open("llm", inner, self._next_fault())


@attrs.define(kw_only=True, eq=False)
class FaultySynthesizer(_Faulty):
    """A synthesizer with faults; ``inner`` does the work."""

    inner: Synthesizer

    @property
    def sample_rate(self) -> int:
        """See ``ports.Synthesizer``."""
        return self.inner.sample_rate

    @property
    def locales(self) -> Locales:
        """See ``ports.Synthesizer``."""
        return self.inner.locales

    def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AbstractAsyncContextManager[AsyncIterator[SpeechAudio]]:
        """See ``ports.Synthesizer``."""
        return self._open("tts", self.inner.synthesize(phrases, locale=locale), self._next_fault())


@attrs.define(kw_only=True, eq=False)
class FaultyRecognizer(_Faulty):
    """A recogniser with faults; ``inner`` does the work. It is opened ahead of the words: a stream is an utterance."""

    inner: Recognizer
    piece_s: float = 0.0
    """Work per piece of audio that it reads, in seconds: more than a piece lasts, and it never catches up."""

    @property
    def sample_rate(self) -> int:
        """See ``ports.Recognizer``."""
        return self.inner.sample_rate

    @property
    def locales(self) -> Locales:
        """See ``ports.Recognizer``."""
        return self.inner.locales

    @property
    def partials(self) -> bool:
        """See ``ports.Recognizer``."""
        return self.inner.partials

    def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AbstractAsyncContextManager[AsyncIterator[Transcript]]:
        """See ``ports.Recognizer``."""
        if self.piece_s:
            audio = _Sluggish(audio, self.piece_s)
        return self._open("stt", self.inner.transcribe(audio, locale=locale, mode=mode), self._next_fault())


class _Sluggish:
    """Audio that takes long to work on."""

    def __init__(self, audio: AsyncIterator[HeardAudio], piece_s: float) -> None:
        self._audio = audio
        self._piece_s = piece_s

    def __aiter__(self) -> _Sluggish:
        return self

    async def __anext__(self) -> HeardAudio:
        piece = await anext(self._audio)
        await trio.sleep(self._piece_s)
        return piece


@attrs.define(kw_only=True, eq=False)
class FaultyVoiceActivity(_Faulty):
    """A voice activity detection with faults, at CONNECT (opening it) or MIDDLE (after ``after`` chunks)."""

    inner: VoiceActivity

    @property
    def sample_rate(self) -> int:
        """See ``ports.VoiceActivity``."""
        return self.inner.sample_rate

    @property
    def chunk_samples(self) -> int:
        """See ``ports.VoiceActivity``."""
        return self.inner.chunk_samples

    async def open(self) -> VoiceDetector:
        """See ``ports.VoiceActivity``."""
        fault = self._next_fault()
        if fault is not None and fault.at is At.CONNECT:
            await _strike("vad", fault)
        return _FaultyDetector(await self.inner.open(), fault)


class _FaultyDetector:
    """Fails after so many chunks."""

    def __init__(self, inner: VoiceDetector, fault: Fault | None) -> None:
        self._inner = inner
        self._fault = fault if fault is not None and fault.at is At.MIDDLE else None
        self._chunks = 0

    def process(self, chunk: bytes) -> float:
        """See ``ports.VoiceDetector``."""
        if self._fault is not None and self._chunks == self._fault.after:
            if self._fault.act is Act.GIVE:
                return self._fault.item  # type: ignore[return-value] # being of the wrong type is its purpose
            _raise("vad", self._fault)
        self._chunks += 1
        return self._inner.process(chunk)

    def reset(self) -> None:
        """See ``ports.VoiceDetector``."""
        self._inner.reset()
