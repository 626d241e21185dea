"""The address of a server, in settings."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

__all__ = ["split_address"]


def split_address(value: str, schemes: tuple[str, ...], wanted: str) -> SplitResult:
    """An address of one of these schemes, in its parts. It is never quoted: there may be a secret in it.

    Args:
        value: the address.
        schemes: e.g. ``("ws", "wss")``.
        wanted: what it must be, for the message.

    Raises:
        ValueError: it is none, or holds a user name or a password.
    """
    try:
        url = urlsplit(value)
        good = url.scheme in schemes and url.hostname and url.port != 0 and value.isprintable()
    except ValueError:  # a port that is none, half an IPv6 address
        good = False
    if not good:
        raise ValueError(f"must be {wanted}")
    if url.username or url.password:
        raise ValueError("must hold no user name or password; use api_key_env")
    return url
