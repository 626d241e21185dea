"""Speech as services send it: raw PCM or a WAV file, cut anywhere, at a rate of their own. Pure: bytes in, PCM16 out."""

from __future__ import annotations

import io
import struct
import wave
from typing import Final

from flare_actors.audio import BYTES_PER_SAMPLE, Resampler, bytes_to_seconds
from flare_actors.errors import ProviderError

__all__ = ["MAX_PHRASE_S", "PcmReader", "RawReader", "WavReader", "wav_file"]

MAX_PHRASE_S: Final = 120.0
"""Audio of one phrase: more is speech without end. A phrase is a sentence or two; 25 s is a long one."""
MAX_HEADER_BYTES: Final = 65_536
RATES: Final = range(8_000, 48_001)
_PCM: Final = (1, 0xFFFE)  # plain, or in the extensible form, whose other fields say the same again


def wav_file(pcm: bytes, sample_rate: int) -> bytes:
    """PCM16 mono as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(BYTES_PER_SAMPLE)
        writer.setframerate(sample_rate)
        writer.writeframes(pcm)
    return file.getvalue()


class PcmReader:
    """One phrase's raw PCM16 mono, as whole samples at the rate that is wanted.

    Args:
        source_rate: Hz of what comes.
        target_rate: Hz of what is given.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        if source_rate not in RATES:
            raise _foreign(f"speech at {source_rate} Hz")
        self._rate = source_rate
        self._resampler = Resampler(source_rate, target_rate)
        self._odd = b""
        self._bytes = 0

    def feed(self, data: bytes) -> bytes:
        """What can be played with this piece; may be empty.

        Raises:
            ProviderError: it does not end.
        """
        self._bytes += len(data)
        if bytes_to_seconds(self._bytes, self._rate) > MAX_PHRASE_S:
            raise ProviderError("tts", f"the server gives more than {MAX_PHRASE_S:g} s of speech for one phrase")
        data = self._odd + data
        whole = len(data) - len(data) % BYTES_PER_SAMPLE
        self._odd = data[whole:]
        return self._resampler.feed(data[:whole]) if whole else b""

    def finish(self) -> bytes:
        """The filter's tail. Half a sample at the end is dropped: nobody hears it."""
        return self._resampler.feed(b"", last=True)


class WavReader:
    """One phrase as a WAV file: its header tells the rate. Services that stream do not know the length and write any.

    Args:
        target_rate: Hz of what is given.
    """

    def __init__(self, target_rate: int) -> None:
        self._target = target_rate
        self._head = b""
        self._rate = 0
        self._pcm: PcmReader | None = None
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """What can be played with this piece; may be empty.

        Raises:
            ProviderError: it is no WAV file, or not 16-bit mono, or does not end.
        """
        if self._pcm is None:
            self._head += data
            found = self._find_data()
            if found is None:
                if len(self._head) > MAX_HEADER_BYTES:
                    raise _foreign("a WAV file without audio")
                return b""
            self._pcm, start = found
            data, self._head = self._head[start:], b""
        data = data[: self._left]
        self._left -= len(data)
        return self._pcm.feed(data)

    def finish(self) -> bytes:
        """The filter's tail.

        Raises:
            ProviderError: there was no audio at all in it.
        """
        if self._pcm is None:
            raise _foreign("a WAV file without audio")
        return self._pcm.finish()

    def _find_data(self) -> tuple[PcmReader, int] | None:
        """Read the chunks before the audio: who reads it, and where it begins, if that much is here."""
        head = self._head
        if len(head) < 12:
            return None
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            raise _foreign("something that is no WAV file")
        at = 12
        while len(head) >= at + 8:
            name, size = struct.unpack_from("<4sI", head, at)
            at += 8
            if name == b"data":
                if not self._rate:
                    raise _foreign("a WAV file without a format")
                # 0 and the largest values are what is written when the length is not known.
                self._left = size if 0 < size < 0x7FFF_0000 else 1 << 62
                return PcmReader(self._rate, self._target), at
            if name == b"fmt " and len(head) >= at + 16:
                kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at)
                if kind not in _PCM or channels != 1 or bits != 8 * BYTES_PER_SAMPLE:
                    raise _foreign(f"a WAV file of {bits} bits in {channels} channels (format {kind})")
                self._rate = rate
            at += size + size % 2
        return None


class RawReader:
    """One phrase's raw PCM16 mono; or the WAV file that some services give whatever they are asked for.

    Other files would be played as noise, so what begins like one of the common ones is refused.

    Args:
        source_rate: Hz of raw audio.
        target_rate: Hz of what is given.
        mpeg: the service calls it MP3.
    """

    def __init__(self, source_rate: int, target_rate: int, *, mpeg: bool = False) -> None:
        self._rates = source_rate, target_rate
        self._mpeg = mpeg
        self._head = b""
        self._reader: PcmReader | WavReader | None = None

    def feed(self, data: bytes) -> bytes:
        """What can be played with this piece; may be empty.

        Raises:
            ProviderError: it does not end, or is compressed, or a WAV file that ``WavReader`` refuses.
        """
        if self._reader is None:
            self._head += data
            if len(self._head) < 4:
                return b""
            self._reader, data, self._head = self._chosen(), self._head, b""
        return self._reader.feed(data)

    def finish(self) -> bytes:
        """The filter's tail.

        Raises:
            ProviderError: as ``WavReader.finish``.
        """
        if self._reader is not None:
            return self._reader.finish()
        reader = PcmReader(*self._rates)
        return reader.feed(self._head) + reader.finish()

    def _chosen(self) -> PcmReader | WavReader:
        if self._head.startswith(b"RIFF"):
            return WavReader(self._rates[1])
        # The sync word of an MP3 frame could be a sample.
        mpeg = self._mpeg and self._head[0] == 0xFF and self._head[1] & 0xE0 == 0xE0
        if mpeg or self._head.startswith((b"ID3", b"OggS", b"fLaC")):
            raise _foreign("a compressed file")
        return PcmReader(*self._rates)


def _foreign(what: str) -> ProviderError:
    return ProviderError("tts", f"the server gives {what} instead of PCM16 mono at 8,000 to 48,000 Hz", critical=True)
