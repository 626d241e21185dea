"""What the tests of composed providers share: faulty engines, and ways to use a stream up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio
import trio.testing
from hypothesis import strategies as st

from flare_actors.conversation.states import SttMode
from flare_actors.ports import HeardAudio, Message, Phrase
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.testing.faults import (
    Act,
    At,
    Fault,
    FaultyLanguageModel,
    FaultyRecognizer,
    FaultySynthesizer,
)

T = TypeVar("T")
ASK = (Message(role="user", content="Hello?"),)
HANG = Fault(at=At.FIRST, act=Act.HANG)
RAISE = Fault(at=At.FIRST, act=Act.RAISE)


def faults(most: int) -> st.SearchStrategy[Fault | None]:
    """One stream's fault, or none; in the middle: after as many as ``most`` items."""
    return st.one_of(
        st.none(),
        st.builds(
            Fault,
            at=st.sampled_from([At.CONNECT, At.FIRST, At.MIDDLE, At.END, At.CLOSE]),
            act=st.sampled_from([Act.HANG, Act.RAISE, Act.CRITICAL, Act.CRASH, Act.CRASH_GROUP, Act.SLOW]),
            after=st.integers(1, most),
            seconds=st.floats(0.1, 5),
        ),
    )


def model(
    says: str, *, faults: Sequence[Fault | None] = (), always: Fault | None = None, **script: Any
) -> FaultyLanguageModel:
    return FaultyLanguageModel(inner=ScriptedLanguageModel(script=(says,), **script), faults=faults, always=always)


def ear(
    hears: str, *, faults: Sequence[Fault | None] = (), always: Fault | None = None, **script: Any
) -> FaultyRecognizer:
    return FaultyRecognizer(inner=ScriptedRecognizer(default=hears, **script), faults=faults, always=always)


def voice(*, faults: Sequence[Fault | None] = (), always: Fault | None = None, **script: Any) -> FaultySynthesizer:
    return FaultySynthesizer(inner=ScriptedSynthesizer(**script), faults=faults, always=always)


class Spoken:
    """An utterance, piece by piece, in time."""

    def __init__(self, *, pieces: int = 10, piece_s: float = 0.1, sample_rate: int = 16_000) -> None:
        self._pcm = tone(piece_s, sample_rate)
        self._left = pieces
        self._piece_s = piece_s

    def __aiter__(self) -> Spoken:
        return self

    async def __anext__(self) -> HeardAudio:
        if not self._left:
            raise StopAsyncIteration
        await trio.sleep(self._piece_s)
        self._left -= 1
        return HeardAudio(pcm=self._pcm)


class Written:
    """Phrases, as a model writes them."""

    def __init__(self, texts: Sequence[str], *, gap_s: float = 0.0) -> None:
        self._texts = list(enumerate(texts))
        self._gap_s = gap_s

    def __aiter__(self) -> Written:
        return self

    async def __anext__(self) -> Phrase:
        await trio.sleep(self._gap_s)
        if not self._texts:
            raise StopAsyncIteration
        index, text = self._texts.pop(0)
        return Phrase(index=index, text=text)


async def answer(model: Any) -> str:
    """The whole answer of a language model."""
    async with model.generate(ASK, locale="en") as outputs:
        return "".join([getattr(output, "text", "") async for output in outputs])


async def hear(recognizer: Any, **spoken: Any) -> list[str]:
    """What a recogniser gives for an utterance, the final transcript last."""
    async with recognizer.transcribe(Spoken(**spoken), locale="en", mode=SttMode.STREAMING) as transcripts:
        return [transcript.text async for transcript in transcripts]


async def say(synthesizer: Any, texts: Sequence[str], *, gap_s: float = 0.0) -> dict[int, float]:
    """Seconds of audio for each phrase."""
    spoken: dict[int, float] = {}
    async with synthesizer.synthesize(Written(texts, gap_s=gap_s), locale="en") as chunks:
        async for chunk in chunks:
            seconds = len(chunk.pcm) / 2 / synthesizer.sample_rate
            spoken[chunk.phrase] = spoken.get(chunk.phrase, 0.0) + seconds
    return spoken


async def took(call: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    """A result, and the virtual seconds that it took."""
    started = trio.current_time()
    result = await call()
    return result, round(trio.current_time() - started, 3)


def on_virtual_time(test: Callable[[], Awaitable[T]]) -> T:
    """Run one example of a property."""

    async def main() -> T:
        return await test()

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
