"""Read any common WAV, write PCM16: what ``talk`` takes and gives.

The standard library's ``wave`` refuses floating point and WAVE_FORMAT_EXTENSIBLE, which recorders and editors write by
default; the container is simple enough to read here.
"""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Recording", "read_wav", "write_wav"]

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
_CODECS: Final = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 49: "GSM", 85: "MP3"}
_CONTAINERS: Final = {
    b"ID3": "an MP3 file",
    b"\xff\xfb": "an MP3 file",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"RF64": "a WAV file of more than 4 GB",
    b"RIFX": "a big-endian WAV file",
    b"FORM": "an AIFF file",
    b"\x1aE\xdf\xa3": "a WebM or Matroska file",
}
_LOWEST_RATE: Final = 8_000
_HIGHEST_RATE: Final = 48_000


@attrs.frozen(kw_only=True)
class Recording:
    """What a WAV file holds, mixed down to mono."""

    sample_rate: int
    """Hz, as in the file."""
    pcm: bytes = attrs.field(repr=False)
    """PCM16 little-endian mono."""

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return len(self.pcm) / (BYTES_PER_SAMPLE * self.sample_rate)


@attrs.frozen(kw_only=True)
class _Format:
    codec: int
    channels: int
    sample_rate: int
    sample_bits: int


def read_wav(path: Path) -> Recording:
    """Read integer PCM of 8, 16, 24 or 32 bits or floating point, 8 to 48 kHz, any number of channels (their mean is taken).

    Raises:
        ConfigError: naming the file and the fix.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    wav, data = _chunks(path, content)
    return Recording(sample_rate=wav.sample_rate, pcm=_decode(path, wav, data))


def write_wav(path: Path, pcm: bytes, sample_rate: int) -> None:
    """Write PCM16 mono.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        with path.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(BYTES_PER_SAMPLE)
            file.setframerate(sample_rate)
            file.writeframes(pcm)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from None


def _convert(path: Path) -> str:
    return f"convert it: ffmpeg -i {path.name} -ac 1 -ar 16000 -c:a pcm_s16le {path.stem}-16k.wav"


def _chunks(path: Path, content: bytes) -> tuple[_Format, memoryview]:
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        what = next((name for magic, name in _CONTAINERS.items() if content.startswith(magic)), "no WAV file")
        raise ConfigError(f"{path}: is {what if content else 'empty'}; {_convert(path)}")
    view = memoryview(content)
    wav: _Format | None = None
    at = 12
    while at + 8 <= len(content):
        name = content[at : at + 4]
        (size,) = struct.unpack_from("<I", content, at + 4)
        body = view[at + 8 : at + 8 + size]
        if name == b"fmt ":
            wav = _format(path, body)
        elif name == b"data":
            if wav is None:
                raise ConfigError(f"{path}: is damaged: audio before its format; {_convert(path)}")
            # A recorder that streamed, or died, leaves a size of 0 or of 4 GB: then it is what is there.
            return wav, view[at + 8 :] if size in (0, 0xFFFFFFFF) else body
        at += 8 + size + size % 2
    raise ConfigError(f"{path}: holds no audio; record it again, or {_convert(path)}")


def _format(path: Path, body: memoryview) -> _Format:
    if len(body) < 16:
        raise ConfigError(f"{path}: is damaged: its format is cut short; {_convert(path)}")
    codec, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if codec == _EXTENSIBLE and len(body) >= 26:
        (codec,) = struct.unpack_from("<H", body, 24)  # the first two bytes of the sub-format's GUID
    if (codec, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32), (_FLOAT, 64)}:
        what = _CODECS.get(codec, f"format {codec}") + (f" of {bits} bits" if codec in (_PCM, _FLOAT) else "")
        raise ConfigError(f"{path}: is encoded as {what}, which is not read here; {_convert(path)}")
    if not _LOWEST_RATE <= rate <= _HIGHEST_RATE:
        raise ConfigError(f"{path}: has {rate} samples per second, 8000 to 48000 are read here; {_convert(path)}")
    if channels < 1:
        raise ConfigError(f"{path}: is damaged: it has no channels; {_convert(path)}")
    return _Format(codec=codec, channels=channels, sample_rate=rate, sample_bits=bits)


def _decode(path: Path, wav: _Format, data: memoryview) -> bytes:
    import numpy as np

    frame = wav.channels * wav.sample_bits // 8
    data = data[: len(data) // frame * frame]
    if not data:
        raise ConfigError(f"{path}: holds no audio; record it again")
    if (wav.codec, wav.sample_bits, wav.channels) == (_PCM, 16, 1):
        return bytes(data)
    samples = _samples(wav, data).reshape(-1, wav.channels).mean(axis=1)
    return bytes((np.clip(np.rint(samples * 32768), -32768, 32767)).astype("<i2").tobytes())


def _samples(wav: _Format, data: memoryview) -> npt.NDArray[np.float64]:
    """Give samples from -1 to 1; what is no number becomes silence."""
    import numpy as np

    if wav.codec == _FLOAT:
        return np.nan_to_num(np.frombuffer(data, f"<f{wav.sample_bits // 8}").astype(np.float64), posinf=1, neginf=-1)
    if wav.sample_bits == 8:  # the only unsigned one
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128) / 128
    if wav.sample_bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0] / 2.0**31
    return np.frombuffer(data, f"<i{wav.sample_bits // 8}") / 2.0 ** (wav.sample_bits - 1)
