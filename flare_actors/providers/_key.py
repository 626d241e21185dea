"""The key of a service: from an environment variable or a file, never from the settings themselves."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from flare_actors.errors import ConfigError, Stage

__all__ = ["KeySettings", "check_name", "read_key"]


def check_name(_: object, __: object, value: str | None) -> None:
    """Refuse, as an attrs validator, what cannot be the name of a variable; it may be the key itself, and is not shown.

    Raises:
        ValueError: it is none.
    """
    if value is not None and not value.isidentifier():
        raise ValueError("must be the name of an environment variable, not the key itself")


@attrs.frozen(kw_only=True)
class KeySettings:
    """Settings that say where a key is; the base of those that need one."""

    api_key_env: str | None = attrs.field(default=None, validator=check_name)
    """The environment variable that holds the key; the key itself belongs into no file."""
    api_key_file: Path | None = None
    """The file that holds the key; comes before the variable."""


def read_key(stage: Stage, settings: KeySettings) -> str | None:
    """Read the key; None if neither place is named.

    Raises:
        ConfigError: it is not where the settings say.
    """
    where = f"[providers.{stage}]"
    if settings.api_key_file is not None:
        file = settings.api_key_file
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise ConfigError(f"{where} api_key_file: cannot read {file}: {reason}") from None
        if not key:
            raise ConfigError(f"{where} api_key_file: {file} is empty; write the key into it")
        return key
    if settings.api_key_env is not None:
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"{where} api_key_env: the environment variable {settings.api_key_env} is not set; "
                "export it before you start"
            )
        return key
    return None
