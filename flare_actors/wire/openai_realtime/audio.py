"""Audio between a client's format and the session's: base64, G.711, and the rate of telephones."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from flare_actors.audio import BYTES_PER_SAMPLE, Resampler, bytes_to_seconds
from flare_actors.errors import ClientError
from flare_actors.wire import g711
from flare_actors.wire.openai_realtime.session_config import Codec

__all__ = ["SAMPLE_RATE", "AudioReader", "AudioWriter"]

SAMPLE_RATE: Final = 24_000
"""Hz of what the session gets and gives, whatever the client's format is."""
MAX_APPEND_S: Final = 30.0
"""Of one append: more is no microphone."""

_LAWS: Final = {Codec.PCMU: g711.Law.MU, Codec.PCMA: g711.Law.A}


class AudioReader:
    """The user's audio. Half a sample at the end of one event waits for its other half in the next."""

    def __init__(self) -> None:
        self._codec = Codec.PCM
        self._resampler = Resampler(SAMPLE_RATE, SAMPLE_RATE)
        self._rest = b""

    def read(self, audio: str, codec: Codec) -> bytes:
        """PCM16 at ``SAMPLE_RATE``.

        Raises:
            ClientError: that is no base64, or far too much.
        """
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise ClientError(
                "invalid_field", "audio: expected base64 (RFC 4648), and nothing else", field="audio"
            ) from None
        if codec is not self._codec:
            self._codec, self._rest = codec, b""
            self._resampler = Resampler(SAMPLE_RATE if codec is Codec.PCM else g711.SAMPLE_RATE, SAMPLE_RATE)
        law = _LAWS.get(codec)
        seconds = len(data) / g711.SAMPLE_RATE if law else bytes_to_seconds(len(data), SAMPLE_RATE)
        if seconds > MAX_APPEND_S:
            raise ClientError("invalid_field", f"audio: at most {MAX_APPEND_S:g} s at a time are taken", field="audio")
        if law is not None:
            return self._resampler.feed(g711.decode(data, law))
        data = self._rest + data
        whole = len(data) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE
        self._rest = data[whole:]
        return data[:whole]


class AudioWriter:
    """The agent's audio, of one turn after the other."""

    def __init__(self) -> None:
        self._turn: int | None = None
        self._resampler = Resampler(SAMPLE_RATE, SAMPLE_RATE)
        self._codec = Codec.PCM

    def write(self, turn: int, pcm: bytes, codec: Codec, *, last: bool = False) -> bytes:
        """In the client's format; ``last`` also gives out what the filter still holds."""
        law = _LAWS.get(codec)
        if law is None:
            return pcm
        if turn != self._turn or codec is not self._codec:
            self._turn, self._codec = turn, codec
            self._resampler = Resampler(SAMPLE_RATE, g711.SAMPLE_RATE)
        return g711.encode(self._resampler.feed(pcm, last=last), law)

    def rest(self, turn: int, codec: Codec) -> bytes:
        """What the filter still holds of a turn that is over."""
        if turn != self._turn or codec not in _LAWS:
            return b""
        data = self.write(turn, b"", codec, last=True)
        self._turn = None
        return data
