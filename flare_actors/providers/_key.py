"""The key of a service: from an environment variable or a file, never from the settings themselves."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import attrs

from flare_actors.errors import ConfigError, Stage
from flare_actors.providers._again import RetrySettings

__all__ = ["KeySettings", "check_key", "check_name", "read_key"]

# What an HTTP header can carry; a quotation mark, a line break or a letter with an accent comes from somewhere else.
KEY: Final = re.compile(r"[!-~]+")


def check_name(_: object, __: object, value: str | None) -> None:
    """Refuse, as an attrs validator, what cannot be the name of a variable; it may be the key itself, and is not shown.

    Raises:
        ValueError: it is none.
    """
    if value is not None and not value.isidentifier():
        raise ValueError("must be the name of an environment variable, not the key itself")


@attrs.frozen(kw_only=True)
class KeySettings(RetrySettings):
    """Settings that say where a key is; the base of those that need one."""

    api_key_env: str | None = attrs.field(default=None, validator=check_name)
    """The environment variable that holds the key; the key itself belongs into no file."""
    api_key_file: Path | None = None
    """The file that holds the key; comes before the variable."""


def read_key(stage: Stage, settings: KeySettings, given: str | None = None) -> str | None:
    """Read the key; None if neither place is named.

    Args:
        stage: whose it is, for messages.
        settings: where it is.
        given: the key itself, from an embedder that has it.

    Raises:
        ConfigError: it is not where the settings say, or is no key.
    """
    where = f"[providers.{stage}]"
    if given:
        return check_key(given, f"{where} api_key")
    if settings.api_key_file is not None:
        file = settings.api_key_file
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise ConfigError(f"{where} api_key_file: cannot read {file}: {reason}") from None
        if not key:
            raise ConfigError(f"{where} api_key_file: {file} is empty; write the key into it")
        return check_key(key, f"{where} api_key_file: {file}")
    if settings.api_key_env is not None:
        key = os.environ.get(settings.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"{where} api_key_env: the environment variable {settings.api_key_env} is not set; "
                "export it before you start"
            )
        return check_key(key, f"{where} api_key_env: the environment variable {settings.api_key_env}")
    return None


def check_key(key: str, where: str) -> str:
    """A key that can be sent.

    Raises:
        ConfigError: no service has such a key; it is not quoted.
    """
    if not KEY.fullmatch(key):
        raise ConfigError(f"{where} must hold the key and nothing else: one line of ASCII without spaces")
    return key
