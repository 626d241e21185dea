"""Client secrets: keys that a browser may hold, since they are over in a moment and good for one kind of session.

A page's own server asks for one with the real key and hands it to the page. A secret is its own record: an expiry and the
session's settings, signed (HMAC-SHA-256), so that any process which has the real keys knows it. Signed is not sealed: who
holds a secret can read the settings in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from flare_actors.errors import ClientError
from flare_actors.wire.openai_realtime import check_session

__all__ = ["ClientSecrets", "Opened"]

PREFIX: Final = "ek_"
LEAST_S: Final = 10
MOST_S: Final = 7_200
DEFAULT_S: Final = 600
MOST_CHARS: Final = 6_000
"""Of a secret: it travels in a request head (16 KiB at most), twice if a client likes."""
_MOST_SESSION: Final = 65_536
_MAC_BYTES: Final = 32
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}
"""16 MiB and some 50 ms, once for a server: RFC 7914's parameters for interactive use. Who holds a secret can try at home which
key it is signed with; each try costs as much."""


@attrs.frozen(kw_only=True)
class Opened:
    """What a good secret says."""

    session: dict[str, object] = attrs.field(repr=False)


class ClientSecrets:
    """Makes and knows one server's client secrets.

    Args:
        api_keys: the signature is theirs, so that servers which share them know each other's secrets; without any it is this
            process's own.
        now: seconds since 1970; for tests.
    """

    def __init__(self, api_keys: Sequence[str] = (), *, now: Callable[[], float] = time.time) -> None:
        salt = b"flare-actors client secrets"
        self._key = (
            hashlib.scrypt(min(api_keys).encode(), salt=salt, dklen=_MAC_BYTES, **_SCRYPT)
            if api_keys
            else secrets.token_bytes(_MAC_BYTES)
        )
        self._now = now

    def mint(self, session: dict[str, object], seconds: int = DEFAULT_S) -> tuple[str, int]:
        """A secret, and when it expires (seconds since 1970).

        Raises:
            ClientError: the settings are wrong, or too many for a key.
        """
        check_session(session)
        expires_at = math.ceil(self._now() + seconds)
        body = zlib.compress(json.dumps([expires_at, session, secrets.token_hex(8)], separators=(",", ":")).encode(), 9)
        value = PREFIX + _encode(body + self._sign(body))
        if len(value) > MOST_CHARS:
            raise ClientError("invalid_field", "session: too large for a client secret; send it with session.update")
        return value, expires_at

    def open(self, value: str) -> Opened | None:
        """What the secret says; None: it is none of ours, or is over. The signature is compared in constant time."""
        if not value.startswith(PREFIX) or len(value) > MOST_CHARS:
            return None
        try:
            text = value.removeprefix(PREFIX)
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._sign(body)):
            return None
        # It is ours from here on, so it is what we have made.
        expires_at, session, _ = json.loads(zlib.decompressobj().decompress(body, _MOST_SESSION * 4))
        return Opened(session=session) if self._now() < expires_at else None

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)

    def answer(self, body: bytes) -> tuple[int, dict[str, object]]:
        """Answer `POST /v1/realtime/client_secrets`: the status, and what is said."""
        try:
            session, seconds = _asked(body)
            value, expires_at = self.mint(session, seconds)
        except (ValueError, RecursionError):
            return 400, _error(ClientError("not_json", "the body must be one JSON object"))
        except ClientError as error:
            return 400, _error(error)
        name = f"sess_{secrets.token_hex(8)}"
        shown = {**session, "type": "realtime", "object": "realtime.session", "id": name, "expires_at": expires_at}
        return 200, {"value": value, "expires_at": expires_at, "session": shown}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _asked(body: bytes) -> tuple[dict[str, object], int]:
    """The session's settings, and how long the secret is to be valid."""
    given = json.loads(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise ClientError("not_json", "the body must be one JSON object")
    session = given.get("session") or {}
    if not isinstance(session, dict) or len(body) > _MOST_SESSION:
        raise ClientError("invalid_field", "session: expected an object", field="session")
    return session, _seconds(given.get("expires_after"))


def _seconds(expires_after: object) -> int:
    if expires_after is None:
        return DEFAULT_S
    seconds = expires_after.get("seconds", DEFAULT_S) if isinstance(expires_after, dict) else None
    if type(seconds) is not int or not LEAST_S <= seconds <= MOST_S:
        raise ClientError(
            "invalid_field",
            f"expires_after: expected {{'anchor': 'created_at', 'seconds': {LEAST_S} to {MOST_S}}}",
            field="expires_after.seconds",
        )
    return seconds


def _error(error: ClientError) -> dict[str, object]:
    return {
        "error": {
            "type": "invalid_request_error",
            "code": error.code,
            "message": error.message,
            "param": error.field,
        }
    }
