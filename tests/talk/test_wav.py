from __future__ import annotations

import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.errors import ConfigError
from flare_actors.talk import read_wav, write_wav

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def wav(
    samples: np.ndarray, *, codec=PCM, bits=16, rate=16_000, channels=1, extensible=False, extra=b"", size=None
) -> bytes:
    """A WAV of samples from -1 to 1, interleaved if there is more than one channel."""
    if codec == FLOAT:
        data = samples.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = (np.clip(np.rint(samples * 128), -128, 127) + 128).astype(np.uint8).tobytes()
    else:
        scaled = np.clip(np.rint(samples * 2.0 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype("<i8")
        data = b"".join(int(each).to_bytes(bits // 8, "little", signed=True) for each in scaled)
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", EXTENSIBLE if extensible else codec, channels, rate, rate * frame, frame, bits)
    if extensible:
        fmt += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", codec) + bytes(14)
    return riff(chunk(b"fmt ", fmt) + extra + chunk(b"data", data, size))


def riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + bytes(len(body) % 2)


TONE = np.sin(np.arange(1600) / 10) * 0.5


@pytest.fixture
def put(tmp_path):
    def put(content: bytes, name="in.wav"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return put


def heard(path) -> np.ndarray:
    return np.frombuffer(read_wav(path).pcm, "<i2") / 32768


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("codec", "bits"), [(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)])
def test_every_common_encoding_is_heard_alike(put, codec, bits, extensible):
    path = put(wav(TONE, codec=codec, bits=bits, extensible=extensible))
    assert np.abs(heard(path) - TONE).max() <= (1 / 128 if bits == 8 else 1 / 32768)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_the_files_own_rate_is_kept(put, rate):
    recording = read_wav(put(wav(TONE, rate=rate)))
    assert recording.sample_rate == rate
    assert recording.duration_s == pytest.approx(len(TONE) / rate)


@pytest.mark.parametrize(("codec", "bits"), [(PCM, 16), (FLOAT, 32)])
def test_stereo_is_the_mean_of_both_channels(put, codec, bits):
    both = np.column_stack([TONE, np.zeros_like(TONE)]).ravel()
    assert np.abs(heard(put(wav(both, codec=codec, bits=bits, channels=2))) - TONE / 2).max() <= 1 / 32768


def test_floats_out_of_range_are_clipped_and_what_is_no_number_is_silence(put):
    samples = np.array([2.0, -2.0, np.nan, np.inf, -np.inf])
    assert heard(put(wav(samples, codec=FLOAT, bits=32))).tolist() == [32767 / 32768, -1, 0, 32767 / 32768, -1]


def test_chunks_that_are_not_known_are_skipped(put):
    path = put(wav(TONE, extra=chunk(b"LIST", b"odd") + chunk(b"bext", b"four")))
    assert np.abs(heard(path) - TONE).max() <= 1 / 32768


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 10_000_000])
def test_a_recorder_that_died_leaves_a_wrong_size_and_still_a_recording(put, size):
    assert len(heard(put(wav(TONE, size=size)))) == len(TONE)


def test_half_a_sample_at_the_end_is_dropped(put):
    assert len(heard(put(wav(TONE)[:-1]))) == len(TONE) - 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"hello", "is no WAV file"),
        (b"ID3\x04" + bytes(20), "is an MP3 file"),
        (b"OggS" + bytes(20), "is an Ogg file"),
        (b"fLaC" + bytes(20), "is a FLAC file"),
        (riff(b""), "holds no audio"),
        (riff(chunk(b"fmt ", bytes(4))), "its format is cut short"),
        (riff(chunk(b"data", bytes(4))), "audio before its format"),
        (wav(TONE[:0]), "holds no audio"),
        (wav(TONE, rate=4_000), "has 4000 samples per second, 8000 to 48000"),
        (wav(TONE, rate=96_000), "has 96000 samples per second"),
        (
            wav(TONE, channels=1).replace(struct.pack("<HHI", PCM, 1, 16_000), struct.pack("<HHI", 7, 1, 16_000)),
            "mu-law",
        ),
        (
            wav(TONE, channels=1).replace(struct.pack("<HHI", PCM, 1, 16_000), struct.pack("<HHI", PCM, 0, 16_000)),
            "no channels",
        ),
        (wav(TONE, bits=16).replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 2, 12)), "format 1 of 12 bits"),
    ],
)
def test_what_cannot_be_read_names_the_file_and_the_fix(put, content, told):
    path = put(content)
    with pytest.raises(ConfigError) as caught:
        read_wav(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert told in message
    assert "ffmpeg" in message or "record it again" in message


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        read_wav(tmp_path / "none.wav")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_wav(tmp_path)


def test_what_is_written_is_read_again_by_others_too(tmp_path):
    pcm = (TONE * 32767).astype("<i2").tobytes()
    write_wav(tmp_path / "out.wav", pcm, 24_000)
    assert read_wav(tmp_path / "out.wav").pcm == pcm
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        write_wav(tmp_path / "no" / "out.wav", b"", 24_000)


@given(content=st.binary(max_size=200) | st.binary(max_size=100).map(lambda junk: wav(TONE[:20])[:40] + junk))
def test_junk_is_a_recording_or_a_configuration_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("junk") / "in.wav"
    path.write_bytes(content)
    try:
        recording = read_wav(path)
    except ConfigError:
        return
    assert len(recording.pcm) % 2 == 0
