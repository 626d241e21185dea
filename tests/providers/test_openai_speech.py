"""The client of the speech API, against a strict server; what all HTTP providers share is in test_http_faults.py."""

from __future__ import annotations

import itertools
import json
import struct

import numpy as np
import pytest
import trio
from http_kinds import VOICE, phrased
from http_stub import Exchange, listening, script
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.errors import ProviderError
from flare_actors.ports import SpeechAudio, Synthesizer
from flare_actors.providers._pcm import PcmReader, RawReader, WavReader, wav_file
from flare_actors.providers.openai_speech import OpenAISpeech

PCM = (np.sin(np.arange(4_800) / 20) * 8_000).astype("<i2").tobytes()
PCM_KIND = "audio/pcm"


async def spoken(synthesizer: Synthesizer, *texts: str) -> dict[int, bytes]:
    spoken: dict[int, bytes] = {}
    async with synthesizer.synthesize(phrased(*texts), locale="en") as audio:
        async for each in audio:
            assert each.pcm
            assert len(each.pcm) % 2 == 0
            spoken[each.phrase] = spoken.get(each.phrase, b"") + each.pcm
    return spoken


async def test_each_phrase_is_asked_for_and_given_on_in_order():
    scripts = [script(PCM, kind=PCM_KIND), script(kind=PCM_KIND), script(PCM[:100], kind="binary/octet-stream")]
    async with (
        listening(*scripts) as server,
        VOICE.open(server.url, voice="ada", speed=1.5, extra={"instructions": "Calm."}) as synthesizer,
    ):
        assert await spoken(synthesizer, "One.", "...", "Hm.", "Four.") == {0: PCM, 3: PCM[:100]}

    assert [json.loads(each.body)["input"] for each in server.exchanges] == ["One.", "Hm.", "Four."]
    assert json.loads(server.exchanges[0].body) == {
        "model": "m",
        "input": "One.",
        "voice": "ada",
        "response_format": "pcm",
        "speed": 1.5,
        "instructions": "Calm.",
    }
    assert server.connections == 1


async def test_audio_is_given_on_before_the_rest_of_it_comes():
    more = trio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.head(200, PCM_KIND)
        await exchange.send(PCM[:101])
        await more.wait()
        await exchange.send(PCM[101:])
        await exchange.end()

    async with (
        listening(answer) as server,
        VOICE.open(server.url) as synthesizer,
        synthesizer.synthesize(phrased("Hello."), locale="en") as audio,
    ):
        assert await anext(audio) == SpeechAudio(phrase=0, pcm=PCM[:100]), "half a sample waits for its other half"
        more.set()
        assert b"".join([each.pcm async for each in audio]) == PCM[100:]


async def test_speech_without_end_has_an_end():
    async def answer(exchange: Exchange) -> None:
        await exchange.head(200, PCM_KIND)
        while True:
            await exchange.send(bytes(1 << 16))

    async with listening(answer) as server, VOICE.open(server.url, sample_rate=8_000) as synthesizer:
        with pytest.raises(ProviderError, match="more than 120 s of speech for one phrase"):
            await spoken(synthesizer, "Hello.")


async def test_a_wav_file_says_its_rate_and_is_resampled():
    tone = (np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000) * 8_000).astype("<i2").tobytes()
    async with (
        listening(script(wav_file(tone, 16_000), kind="audio/wav")) as server,
        VOICE.open(server.url, format="wav", sample_rate=24_000) as synthesizer,
    ):
        (pcm,) = (await spoken(synthesizer, "Beep.")).values()

    assert json.loads(server.exchanges[0].body)["response_format"] == "wav"
    assert len(pcm) // 2 == pytest.approx(24_000, abs=50)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2")))
    assert np.argmax(spectrum) * 24_000 / (len(pcm) // 2) == pytest.approx(440, abs=2)


@given(st.sets(st.integers(1, 100)))
def test_a_wav_file_in_place_of_raw_audio_is_read_as_one_and_other_files_are_not_played(cuts):
    def read(data: bytes, *, mpeg: bool = False) -> bytes:
        reader = RawReader(16_000, 16_000, mpeg=mpeg)
        return b"".join(map(reader.feed, cut(data, cuts))) + reader.finish()

    assert read(wav_file(PCM[:200], 16_000)) == PCM[:200]
    assert read(b"\xff\xfb\x90\x44") == b"\xff\xfb\x90\x44"
    assert read(b"\x01\x02\x03", mpeg=True) == b"\x01\x02"
    for foreign in (b"ID3\x04", b"OggS", b"fLaC", b"\xff\xfb\x90\x44"):
        with pytest.raises(ProviderError, match="a compressed file instead of PCM16"):
            read(foreign, mpeg=True)


def test_it_is_a_synthesizer():
    assert isinstance(OpenAISpeech(), Synthesizer)
    assert OpenAISpeech().locales is None


# --- Audio, cut anywhere ---------------------------------------------------------------------------------------------------


def cut(data: bytes, cuts: set[int]) -> list[bytes]:
    edges = [0, *sorted(each for each in cuts if each < len(data)), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def wav(
    pcm: bytes, *, size: int | None = None, channels: int = 1, bits: int = 16, kind: int = 1, odd: bool = False
) -> bytes:
    """By hand, as services write it that do not know the length yet."""
    form = struct.pack("<HHIIHH", kind, channels, 16_000, 32_000, 2, bits)
    more = b"LIST\x03\0\0\0abc\0" if odd else b""
    size = len(pcm) if size is None else size
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + form + more + b"data" + struct.pack("<I", size) + pcm


@given(st.binary(max_size=300), st.sets(st.integers(1, 300)))
def test_raw_audio_may_come_in_any_pieces(data, cuts):
    reader = PcmReader(16_000, 16_000)
    pieces = [reader.feed(each) for each in cut(data, cuts)]

    assert all(len(each) % 2 == 0 for each in pieces)
    assert b"".join(pieces) + reader.finish() == data[: len(data) // 2 * 2]


@given(
    st.binary(min_size=2, max_size=200).filter(lambda pcm: len(pcm) % 2 == 0),
    st.sets(st.integers(1, 300)),
    st.sampled_from([None, 0, 0xFFFFFFFF, 0x7FFFFFFF]),
    st.booleans(),
    st.sampled_from([1, 0xFFFE]),
)
def test_a_wav_file_may_come_in_any_pieces_and_with_any_length_in_its_head(pcm, cuts, size, odd, kind):
    reader = WavReader(16_000)

    assert b"".join(map(reader.feed, cut(wav(pcm, size=size, odd=odd, kind=kind), cuts))) + reader.finish() == pcm


def test_what_stands_after_the_audio_in_a_wav_file_is_not_played():
    reader = WavReader(16_000)

    assert reader.feed(wav(b"\1\0\2\0") + b"LIST\x04\0\0\0abcd") == b"\1\0\2\0"
    assert reader.feed(b"more") == b""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"ID3\x04 and no wav file", "no WAV file"),
        (wav(b"", channels=2), "16 bits in 2 channels"),
        (wav(b"", bits=8), "8 bits in 1 channels"),
        (wav(b"", kind=3), "format 3"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "without a format"),
        (b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\0" + bytes(70_000), "without audio"),
        (b"", "without audio"),
        (wav(b"").replace(struct.pack("<I", 16_000), struct.pack("<I", 96_000)), "96000 Hz"),
    ],
)
def test_what_is_no_pcm16_mono_is_a_critical_error(data, says):
    reader = WavReader(16_000)
    with pytest.raises(ProviderError, match=says) as caught:  # noqa: PT012 # either call may find it
        reader.feed(data)
        reader.finish()

    assert caught.value.critical
