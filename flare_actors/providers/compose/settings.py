"""How long a provider is waited for, and when another one takes over."""

from __future__ import annotations

import math
from typing import Final

import attrs

__all__ = ["NO_LIMIT", "Attempts", "Switching"]

_positive: Final = attrs.validators.gt(0.0)


@attrs.frozen(kw_only=True)
class Attempts:
    """How long a provider is waited for before the next one is asked; of any stage but the VAD.

    Each fallback may have its own.
    """

    connect_s: float = attrs.field(default=1.5, validator=_positive)
    """Until its stream is open. A TLS connection across an ocean takes 0.5 s."""
    first_s: float = attrs.field(default=2.0, validator=_positive)
    """Until its first result: a model's first token, a phrase's first audio, the final transcript after the endpoint."""
    gap_s: float = attrs.field(default=3.0, validator=_positive)
    """Between two results that follow each other (tokens, chunks of audio)."""


NO_LIMIT: Final = Attempts(connect_s=math.inf, first_s=math.inf, gap_s=math.inf)
"""Wait for ever."""


@attrs.frozen(kw_only=True)
class Switching:
    """When a provider counts as broken, and when it is tried again; of any stage that has a fallback."""

    failures: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    """Failures in a row after which it is no longer asked first."""
    probe_after_s: float = attrs.field(default=10.0, validator=_positive)
    """How long it is left alone before a request that another one serves is also put to it, in the background: no user waits
    for a probe. Doubles with each that fails."""
    probe_most_s: float = attrs.field(default=300.0, validator=_positive)
    """The longest time between two probes."""
    hedge_s: float | None = attrs.field(default=None, validator=attrs.validators.optional(_positive))
    """Language models: when no token has come for this long the next model is asked as well, and the first to answer is
    kept. None: the next one is asked only when this one has failed."""
