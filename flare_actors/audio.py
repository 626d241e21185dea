"""Audio values: formats, seconds <-> samples <-> bytes, levels, and resampling at the rim.

Everywhere inside, audio is PCM16: signed 16-bit little-endian mono, as ``bytes``, with its sample rate known from context.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import soxr

__all__ = [
    "BYTES_PER_SAMPLE",
    "SILENCE_DB",
    "AudioFormat",
    "Resampler",
    "bytes_to_seconds",
    "import_libraries",
    "is_pcm",
    "level_db",
    "levels_db",
    "seconds_to_bytes",
    "split_frames",
]

BYTES_PER_SAMPLE: Final = 2
SILENCE_DB: Final = -120.0
"""The level of digital silence, and the floor of ``level_db``."""


@attrs.frozen(kw_only=True)
class AudioFormat:
    """PCM16 little-endian mono at a sample rate.

    Args:
        sample_rate: Hz; 8,000 to 48,000.
    """

    sample_rate: int = attrs.field(
        default=16_000,
        validator=[attrs.validators.instance_of(int), attrs.validators.ge(8_000), attrs.validators.le(48_000)],
    )


def bytes_to_seconds(count: int, sample_rate: int) -> float:
    """Duration in seconds of ``count`` bytes of PCM16 mono at ``sample_rate`` Hz."""
    return count / (BYTES_PER_SAMPLE * sample_rate)


def is_pcm(value: object) -> bool:
    """Whether it can be PCM16: bytes, of whole samples."""
    return isinstance(value, bytes) and len(value) % BYTES_PER_SAMPLE == 0


def seconds_to_bytes(seconds: float, sample_rate: int) -> int:
    """Bytes of PCM16 mono that last ``seconds`` at ``sample_rate`` Hz, rounded to whole samples."""
    return round(seconds * sample_rate) * BYTES_PER_SAMPLE


def split_frames(pcm: bytes, frame_bytes: int) -> Iterator[bytes]:
    """Cut ``pcm`` into frames of ``frame_bytes`` (a multiple of 2); the last one may be shorter."""
    for start in range(0, len(pcm), frame_bytes):
        yield pcm[start : start + frame_bytes]


def import_libraries() -> None:
    """Import what this module needs before anybody speaks: it takes 0.2 s, for which it would stop all sessions later."""
    import numpy as np  # noqa: F401 - for those below, which import it where they need it
    import soxr  # noqa: F401 - the same


def level_db(pcm: bytes) -> float:
    """RMS level of PCM16 audio in dB relative to full scale; ``SILENCE_DB`` at least, also for no samples at all."""
    import numpy as np

    if len(pcm) < BYTES_PER_SAMPLE:
        return SILENCE_DB
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    return _db(float(np.dot(samples, samples)), len(samples))


def levels_db(pcm: bytes | bytearray, piece_bytes: int) -> npt.NDArray[np.float64]:
    """``level_db`` of each piece of ``piece_bytes`` (a multiple of 2), the last of which may be shorter.

    All at once: numpy takes as long for a call as for a few hundred samples.
    """
    import numpy as np

    if len(pcm) < BYTES_PER_SAMPLE:
        return np.empty(0)
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    samples *= samples
    size = piece_bytes // BYTES_PER_SAMPLE
    starts = np.arange(0, len(samples), size)
    means = np.add.reduceat(samples, starts).astype(np.float64) / (size * 32768.0**2)
    means[-1] *= size / (len(samples) - starts[-1])
    levels: npt.NDArray[np.float64] = 10 * np.log10(np.maximum(means, 10 ** (SILENCE_DB / 10)))
    return levels


def _db(square_sum: float, samples: int) -> float:
    if square_sum <= 0:
        return SILENCE_DB
    return max(SILENCE_DB, 10 * math.log10(square_sum / (samples * 32768.0**2)))


class Resampler:
    """Convert a stream of PCM16 from one rate to another, chunk by chunk; equal rates pass through untouched.

    soxr's LQ setting: 9-41 ms of streaming lag against 31-106 ms with HQ, at a quality that speech models do not tell
    apart (docs/providers.md). One instance per stream; not thread-safe.

    Args:
        source_rate: Hz of what goes in.
        target_rate: Hz of what comes out.
        quality: a soxr quality name: ``"LQ"`` for the live path, ``"QQ"`` for next to no lag, ``"HQ"`` offline.
    """

    def __init__(self, source_rate: int, target_rate: int, *, quality: str = "LQ") -> None:
        self.source_rate = source_rate
        self.target_rate = target_rate
        self._stream: soxr.ResampleStream | None = None
        if source_rate != target_rate:
            import soxr

            self._stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="int16", quality=quality)

    def feed(self, pcm: bytes, *, last: bool = False) -> bytes:
        """Give PCM16 (whole samples) in, get what is ready out; ``last`` also gives out the filter's tail."""
        if self._stream is None:
            return pcm
        import numpy as np

        out = self._stream.resample_chunk(np.frombuffer(pcm, dtype="<i2"), last=last)
        return bytes(out.tobytes())
