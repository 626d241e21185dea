"""G.711: the telephone's 8-bit companded audio <-> PCM16, by tables.

Rec. ITU-T G.711 (11/1988), worked out as Sun Microsystems' public-domain ``g711.c`` does (the arithmetic that CPython's
``audioop`` had until Python 3.13 removed it); tests hold the tables against digests of that module's output. Both laws have
a segment of three bits and a mantissa of four: a chord of a logarithmic curve.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SAMPLE_RATE", "Law", "decode", "encode"]

SAMPLE_RATE: Final = 8_000
"""Hz; what the recommendation is for."""

_MU_BIAS: Final = 0x84  # added before the logarithm is taken, so that it never is that of nothing
_MU_CLIP: Final = 8_159  # of 14-bit samples
_MU_ENDS: Final = (0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF)
_A_ENDS: Final = (0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF)


class Law(Enum):
    """Which curve: North America and Japan have the first, the rest of the world the second."""

    MU = "mu"
    A = "a"


def decode(data: bytes, law: Law) -> bytes:
    """Companded bytes, one a sample, to PCM16 little-endian."""
    import numpy as np

    return bytes(_decoding(law)[np.frombuffer(data, dtype=np.uint8)].astype("<i2").tobytes())


def encode(pcm: bytes, law: Law) -> bytes:
    """PCM16 little-endian, whole samples, to companded bytes."""
    import numpy as np

    return bytes(_encoding(law)[np.frombuffer(pcm, dtype="<u2")].tobytes())


@cache
def _decoding(law: Law) -> NDArray[np.int16]:
    """By companded byte."""
    import numpy as np

    code = np.arange(256, dtype=np.int32)
    if law is Law.MU:
        code = ~code & 0xFF
        size = (((code & 0x0F) << 3) + _MU_BIAS << ((code & 0x70) >> 4)) - _MU_BIAS
        return np.asarray(np.where(code & 0x80, -size, size), dtype=np.int16)
    code ^= 0x55
    segment = (code & 0x70) >> 4
    step = ((code & 0x0F) << 4) + np.where(segment == 0, 0x08, 0x108)
    size = step << np.maximum(segment - 1, 0)
    return np.asarray(np.where(code & 0x80, size, -size), dtype=np.int16)


@cache
def _encoding(law: Law) -> NDArray[np.uint8]:
    """By PCM16 sample, its two bytes read as a number from 0 to 65535."""
    import numpy as np

    samples = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    if law is Law.MU:
        samples >>= 2
        mask = np.where(samples < 0, 0x7F, 0xFF)
        size = np.minimum(np.abs(samples), _MU_CLIP) + (_MU_BIAS >> 2)
        segment = np.minimum(np.searchsorted(_MU_ENDS, size), 8)
        code = (segment << 4) | ((size >> (segment + 1)) & 0x0F)
        code = np.where(segment == 8, 0x7F, code)
    else:
        samples >>= 3
        mask = np.where(samples < 0, 0x55, 0xD5)
        size = np.where(samples < 0, -samples - 1, samples)
        segment = np.searchsorted(_A_ENDS, size)
        code = (segment << 4) | ((size >> np.maximum(segment, 1)) & 0x0F)
    return np.asarray(code ^ mask, dtype=np.uint8)
