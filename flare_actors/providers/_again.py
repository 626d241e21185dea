"""Asking a server again, by whoever talks to it: a few times, soon, and only where nothing came of the first time."""

from __future__ import annotations

import random
from typing import Final

import attrs

__all__ = ["RETRY_S", "RetrySettings", "pause_s"]

RETRY_S: Final = (0.05, 0.25)  # jittered, so that sessions that failed together do not come back together


@attrs.frozen(kw_only=True)
class RetrySettings:
    """How often a server is asked; the base of the settings of all that talk to one."""

    retries: int = attrs.field(default=1, validator=[attrs.validators.ge(0), attrs.validators.le(5)])
    """How often it is asked again, after 0.05 to 0.25 s, when it could not be reached or was overloaded before anything came;
    never after a timeout, which would cost the user the same time again."""


def pause_s() -> float:
    """Seconds until the next time."""
    return random.uniform(*RETRY_S)  # noqa: S311 - not a secret
