"""TLS contexts: from certificate files, or made up on the spot for a phone on the same network.

Browsers give a page the microphone only where it is secure: on localhost, or over TLS.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from flare_actors.errors import ConfigError

__all__ = ["local_addresses", "self_signed_context", "tls_context"]


def tls_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """Make a server's TLS context from PEM files.

    Args:
        certificate: the certificate chain; may also hold the key.
        key: the private key, without a pass phrase.

    Raises:
        ConfigError: a file is missing, or they do not fit.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for path in [certificate, *([key] if key else [])]:
        if not path.is_file():
            raise ConfigError(f"TLS: no file at {str(path)!r}; give PEM files for the certificate chain and its key")
    try:
        # An empty pass phrase: an encrypted key is an error, and not a question on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"TLS: {str(certificate)!r} cannot be used ({error}); give PEM files, the key without a pass phrase"
        ) from None
    return context


def local_addresses() -> list[str]:
    """Addresses at which other machines of the network may reach this one, the likeliest first."""
    found: list[str] = []
    # Connecting a UDP socket sends nothing; it only asks the routing table which address would be used. The peer is
    # from the range for documentation (RFC 5737, RFC 3849).
    for family, peer in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, 9))
            address = ipaddress.ip_address(probe.getsockname()[0].partition("%")[0])
            if not address.is_loopback and not address.is_unspecified:
                found.append(str(address))
    return found


def self_signed_context(names: Sequence[str] = ()) -> ssl.SSLContext:
    """Make a TLS context with a certificate that nobody has signed, for this machine's names and addresses.

    Browsers warn once and then let the user in. Nothing stays on disk: each start has a new certificate.

    Args:
        names: further host names or addresses that clients will use.

    Raises:
        ConfigError: the extra `tls` is not installed.
    """
    try:
        import trustme
    except ImportError:
        raise ConfigError('a self-signed certificate needs the extra `tls`: pip install "flare-actors[tls]"') from None
    every = ["localhost", "127.0.0.1", "::1", *local_addresses(), *names]
    authority = trustme.CA(organization_name="flare-actors, self-signed")
    certificate = authority.issue_cert(*dict.fromkeys(every))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context
