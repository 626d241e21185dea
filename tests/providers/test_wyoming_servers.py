"""The real servers of the Home Assistant ecosystem: wyoming-faster-whisper hears, wyoming-piper speaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import soxr
import trio
from http_kinds import phrased, said

from benchmarks import wyoming_servers
from benchmarks.speech import word_error_rate
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import Recognizer, Synthesizer, Transcript
from flare_actors.providers.wyoming import (
    WyomingSttSettings,
    WyomingTtsSettings,
    open_wyoming_recognizer,
    open_wyoming_synthesizer,
)
from flare_actors.testing.contracts import check_synthesizer

pytestmark = pytest.mark.needs("wyoming")

TEXT = ("Paris is the capital city of France.", "It is a very nice place.")


@pytest.fixture(scope="module")
def whisper() -> Iterator[WyomingSttSettings]:
    with wyoming_servers.whisper() as settings:
        yield settings


@pytest.fixture(scope="module")
def piper() -> Iterator[WyomingTtsSettings]:
    # With its noise it speaks otherwise each time, and the smallest whisper mishears some of that.
    with wyoming_servers.piper(noise=False) as settings:
        yield settings


async def spoken(synthesizer: Synthesizer, *texts: str) -> dict[int, bytes]:
    parts: dict[int, bytes] = {}
    async with synthesizer.synthesize(phrased(*texts), locale="en-US") as audio:
        async for each in audio:
            assert each.phrase >= max(parts, default=0)
            parts[each.phrase] = parts.get(each.phrase, b"") + each.pcm
    return parts


async def heard(recognizer: Recognizer, pcm: bytes) -> list[Transcript]:
    pieces = [pcm[at : at + 1024] for at in range(0, len(pcm), 1024)]
    async with recognizer.transcribe(said(*pieces), locale="en-US", mode=SttMode.STREAMING) as transcripts:
        return [each async for each in transcripts]


async def test_what_piper_speaks_whisper_understands(whisper, piper):
    async with open_wyoming_recognizer(whisper) as recognizer, open_wyoming_synthesizer(piper) as synthesizer:
        parts = await spoken(synthesizer, *TEXT)
        assert list(parts) == [0, 1]
        samples = np.frombuffer(b"".join(parts.values()), "<i2")
        pcm = soxr.resample(samples, synthesizer.sample_rate, recognizer.sample_rate).astype("<i2").tobytes()

        *_, final = await heard(recognizer, pcm)

        assert final.final
        assert word_error_rate(" ".join(TEXT), final.text) <= 0.1
        assert await heard(recognizer, b"") == [Transcript(text="", final=True)]
        assert wyoming_servers.VOICE in await synthesizer.check()


async def test_after_turns_that_were_cancelled_the_servers_serve_as_ever(whisper, piper):
    async with open_wyoming_recognizer(whisper) as recognizer, open_wyoming_synthesizer(piper) as synthesizer:
        async with synthesizer.synthesize(phrased(*TEXT), locale="en") as audio:
            await anext(audio)
        with trio.move_on_after(0.2):
            await heard(recognizer, bytes(64_000))

        assert list(await spoken(synthesizer, "Good.")) == [0]
        *_, final = await heard(recognizer, bytes(6_400))
        assert final.final


async def test_what_the_real_servers_do_not_know_is_refused(piper):
    async with open_wyoming_synthesizer(piper) as synthesizer:
        with pytest.raises(UnsupportedLocale):
            async with synthesizer.synthesize(phrased("Hallo."), locale="de-DE"):
                pass
    with pytest.raises(ProviderError, match="has no voice 'nobody'"):
        async with open_wyoming_synthesizer(WyomingTtsSettings(uri=piper.uri, voice="nobody")):
            pass


async def test_the_real_piper_keeps_its_port(piper):
    await check_synthesizer(lambda: open_wyoming_synthesizer(piper), phrases=("Yes.", "Good."), most=2, patience_s=200)
