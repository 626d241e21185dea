"""Who may connect: host names, origins and keys. Pure decisions.

A server on a loopback address is not private: every page that the user visits can open a WebSocket to it, and with DNS
rebinding it can even do so under a name that is the page's own. So every WebSocket handshake is checked, on every address:

* ``Host`` must be a name or address of ours: nobody else's name may be pointed at us;
* ``Origin``, which browsers always send, must be a page of ours or an allowed one; other clients send none;
* a key, where keys are set. They are compared in constant time, and are in no log and in no ``repr``.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import attrs

from flare_actors.errors import ConfigError

__all__ = ["Access", "check_exposure", "is_loopback", "parse_authority", "parse_origin", "plain_address"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"[a-z0-9]([a-z0-9_.-]*[a-z0-9])?")
# What a subprotocol, and so a browser, can carry: RFC 9110's token.
_KEY = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Authority = tuple[str, int]
"""A host, in lower case and without brackets, and a port."""


def is_loopback(host: str | None) -> bool:
    """Can only this machine reach that bind address? Unknown names count as no."""
    if not host:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str | None, *, api_keys: Sequence[str], insecure_no_auth: bool) -> None:
    """Refuse to serve strangers by accident.

    Raises:
        ConfigError: others can reach ``host`` and nothing asks who they are; or a key cannot be used.
    """
    for key in api_keys:
        if not _KEY.fullmatch(key):
            raise ConfigError(
                "an API key must be one or more of the characters A-Z a-z 0-9 ! # $ % & ' * + - . ^ _ ` | ~ "
                "(a browser sends it as a WebSocket subprotocol)"
            )
    if is_loopback(host) or api_keys or insecure_no_auth:
        return
    raise ConfigError(
        f"host {host or 'None (every interface)'!r} can be reached from other machines and no API key is set: set one "
        "(--api-key-file or FLARE_ACTORS_API_KEY), or use 127.0.0.1, or say that anybody may talk (--insecure-no-auth)"
    )


def parse_authority(text: str, scheme: str) -> Authority | None:
    """``Example.com:8765`` or ``[::1]`` -> host and port, with the scheme's default; None: neither name nor address."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else None
    else:
        host, colon, after = text.partition(":")
        port = after if colon else None
    host = host.lower()
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        if text.startswith("[") or not _NAME.fullmatch(host):
            return None
    if port is None:
        return host, _DEFAULT_PORTS[scheme]
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        return None
    return host, int(port)


def parse_origin(text: str) -> tuple[str, Authority] | None:
    """``https://Example.com`` -> scheme and authority; None: no origin that a web page could have (``null``, a file)."""
    scheme, separator, authority = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        return None
    parsed = parse_authority(authority, scheme)
    return None if parsed is None else (scheme, parsed)


def plain_address(address: str) -> str:
    """An address as people write it: ``::ffff:192.168.1.5``, as a dual-stack socket calls it, is ``192.168.1.5``."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _host_of(name: str, scheme: str) -> str:
    parsed = parse_authority(f"[{name}]" if ":" in name and not name.startswith("[") else name, scheme)
    if parsed is None:
        raise ConfigError(f"host {name!r}: expected a host name or an address such as voice.example.com or 192.168.1.5")
    return parsed[0]


def _origin_of(text: str) -> tuple[str, Authority]:
    origin = parse_origin(text)
    if origin is None:
        raise ConfigError(
            f"allowed origin {text!r}: expected scheme and host and nothing else, such as https://voice.example.com"
        )
    return origin


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


@attrs.frozen
class Access:
    """The rules of one server.

    Args:
        scheme: what it speaks itself (a proxy in front of it may speak https for it: ``origins``).
        hosts: host names and addresses that are ours on our own ports.
        ports: the ports that it listens on.
        names: host names that somebody has allowed, on any port (a proxy has its own).
        origins: further origins whose pages may connect.
        key_digests: SHA-256 of the keys; empty: no key is wanted.
    """

    scheme: Literal["http", "https"]
    hosts: frozenset[str]
    ports: frozenset[int]
    names: frozenset[str]
    origins: frozenset[tuple[str, Authority]]
    key_digests: tuple[bytes, ...] = attrs.field(repr=False)

    @classmethod
    def make(
        cls,
        *,
        scheme: Literal["http", "https"],
        host: str | None,
        ports: Iterable[int],
        allowed_origins: Iterable[str] = (),
        allowed_hosts: Iterable[str] = (),
        api_keys: Iterable[str] = (),
    ) -> Access:
        """Put the rules together. The hosts of allowed origins are allowed hosts.

        Raises:
            ConfigError: an origin or a host is none.
        """
        names = {_host_of(name, scheme) for name in allowed_hosts}
        origins = {_origin_of(text) for text in allowed_origins}
        hosts = {*_LOOPBACK_NAMES, *names} | ({_host_of(host, scheme)} if host else set())
        return cls(
            scheme=scheme,
            hosts=frozenset(hosts),
            ports=frozenset(ports),
            names=frozenset(names | {name for _, (name, _) in origins}),
            origins=frozenset(origins),
            key_digests=tuple(map(_digest, api_keys)),
        )

    def host_allowed(self, host: str | None, local_address: str | None = None) -> bool:
        """Is that ``Host`` header ours?

        Args:
            host: the header's value.
            local_address: the address of ours that this connection has reached. It may be addressed by it: an address in
                ``Host`` was typed or shown, no name was pointed at us.
        """
        authority = parse_authority(host, self.scheme) if host else None
        if authority is None:
            return False
        name, port = authority
        return name in self.names or (port in self.ports and self._is_ours(name, local_address))

    def _is_ours(self, name: str, local_address: str | None) -> bool:
        return name in self.hosts or (local_address is not None and name == plain_address(local_address))

    def origin_allowed(self, origins: Sequence[str], local_address: str | None = None) -> bool:
        """May a page of that origin connect? No ``Origin`` at all: it is no browser, and may."""
        if not origins:
            return True
        origin = parse_origin(origins[0]) if len(origins) == 1 else None
        if origin is None:
            return False
        if origin in self.origins:
            return True
        scheme, (name, port) = origin
        return scheme == self.scheme and port in self.ports and self._is_ours(name, local_address)

    def key_allowed(self, offered: Iterable[str]) -> bool:
        """Is one of the offered keys right, or none wanted? Takes as long for a wrong key as for a right one."""
        if not self.key_digests:
            return True
        right = False
        for key in offered:
            digest = _digest(key)
            for known in self.key_digests:
                right |= hmac.compare_digest(digest, known)
        return right
