"""Secrets: values that no repr, log line, error or ``config show`` gives away."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, final

from flare_actors.errors import ConfigError

__all__ = ["REDACTED", "Secret", "looks_secret", "secret_from_environment", "secret_from_file"]

REDACTED: Final = "<redacted>"

_SECRET_NAME = re.compile(
    r"(^|_)(api_?key|key|token|secret|password|passphrase|authorization|credentials?)($|_)", re.IGNORECASE
)
# ``api_key_env`` and ``api_key_file`` say where a secret is; ``tls_key`` and ``max_tokens`` are none.
_NO_SECRET_NAME = re.compile(r"(_env|_file|_path)$|^tls_key$|^key$|(^|_)(max|min)_|_chars$", re.IGNORECASE)


def looks_secret(name: str) -> bool:
    """Whether a setting or log field of this name holds a secret, as far as the name tells."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET_NAME.search(name)


@final
class Secret:
    """A text that shows itself only to who asks by name.

    Args:
        value: the secret itself; not empty.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return REDACTED


def secret_from_environment(variable: str, *, where: str) -> Secret:
    """Read a secret from an environment variable.

    Args:
        variable: its name.
        where: who asks, for the message: ``agent.toml: [server] api_key_env``.

    Raises:
        ConfigError: the variable is not set, or empty.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(f"{where}: the environment variable {variable} is not set; export it before you start")
    return Secret(value)


def secret_from_file(path: Path, *, where: str) -> Secret:
    """Read a secret from a file: its text without the white space around it.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    try:
        value = path.read_text(encoding="utf-8").strip()
    except OSError as fault:
        raise ConfigError(f"{where}: cannot read {path}: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: {path} is not a text file") from None
    if not value:
        raise ConfigError(f"{where}: {path} is empty; write the key into it")
    return Secret(value)
