"""What the settings of every provider behind an HTTP API have in common."""

from __future__ import annotations

from typing import Final

import attrs

from flare_actors.providers._address import split_address
from flare_actors.providers._key import KeySettings

__all__ = ["HttpSettings", "check_url"]

ENDPOINTS: Final = (
    "/chat/completions",
    "/completions",
    "/messages",
    "/audio/transcriptions",
    "/audio/speech",
    "/models",
)
"""What is added to ``base_url``; documentation of services often shows the two together."""


def check_url(_: object, __: object, value: str) -> None:
    """Refuse, as an attrs validator of ``base_url``, what cannot be the address of an API; it is never quoted.

    Raises:
        ValueError: it cannot, or it holds a secret.
    """
    url = split_address(value, ("http", "https"), "an http:// or https:// URL, e.g. 'http://127.0.0.1:11434/v1'")
    if url.query or url.fragment:
        raise ValueError("must end with its path, e.g. in '/v1': nothing can come after a '?' or a '#'")
    if url.path.rstrip("/").endswith(ENDPOINTS):
        raise ValueError("must end before the name of the request, e.g. in '/v1': that is added to it")


@attrs.frozen(kw_only=True)
class HttpSettings(KeySettings):
    """Where the API is, and how patiently it is asked; each provider says what of it is the default."""

    base_url: str = attrs.field(validator=check_url)
    """Up to and including ``/v1``."""
    model: str
    """As the server names it."""
    connect_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0))
    """Until the TCP connection is there."""
    connections: int = attrs.field(default=64, validator=attrs.validators.ge(1))
    """Requests that are answered at a time, for all sessions together; more wait."""
