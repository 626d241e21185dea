"""The fault tree: an exception is named after whose fault it is.

``ClientError`` is the fault of the person's client, ``ProviderError`` of an engine or vendor, ``SessionError`` and
``ConfigError`` of the code or the file that called us. Following Trio, *Closed* means that you did it, *Broken* that the
other side did.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, Union

__all__ = [
    "ClientError",
    "ConfigError",
    "FlareError",
    "LinkBroken",
    "LinkClosed",
    "Part",
    "ProviderError",
    "ProviderTimeout",
    "SessionClosed",
    "SessionError",
    "Stage",
    "ToolError",
    "UnsupportedLocale",
]

Stage = Literal["vad", "stt", "llm", "tts"]
"""The part of a turn that a provider serves."""
Part: TypeAlias = Union[Stage, Literal["tool"]]
"""Whose fault a failure is: a stage's provider, or one of the agent's tools."""


class FlareError(Exception):
    """Anything that this package raises on purpose."""


class ClientError(FlareError):
    """The client sent what it must not send; the session goes on.

    Args:
        code: a stable machine-readable word, e.g. ``invalid_field``.
        message: what was wrong and what to do, safe to send back.
        field: the culprit's name where there is one.
    """

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class ProviderError(FlareError):
    """An engine or vendor failed. The message is for logs; what a client hears is written elsewhere.

    Args:
        stage: where in the turn it failed.
        message: what happened, without speech content and without secrets.
        critical: no later attempt can help (a wrong key, a missing model): the session ends instead of retrying.
    """

    def __init__(self, stage: Part, message: str, *, critical: bool = False) -> None:
        super().__init__(message)
        self.stage = stage
        self.message = message
        self.critical = critical


class ProviderTimeout(ProviderError):
    """A provider gave nothing within its stage timeout (connect, first result, or gap between results)."""


class UnsupportedLocale(ProviderError):
    """The provider does not speak the session's locale; told at start, before anybody waits for an answer."""

    def __init__(self, stage: Stage, provider: str, locale: str, supported: tuple[str, ...]) -> None:
        super().__init__(
            stage,
            f"{provider} does not support locale {locale!r}; it supports {', '.join(supported)}",
            critical=True,
        )
        self.locale = locale
        self.supported = supported


class ToolError(FlareError):
    """A tool raises it to tell the model, in these very words, why there is no result and what could help."""


class SessionError(FlareError):
    """Our own interface was misused, e.g. a session was asked to speak before a conversation was started."""


class SessionClosed(SessionError):
    """The session has ended; nothing more can be asked of it."""


class LinkClosed(FlareError):
    """The link to the client was closed in an orderly way, by either side."""


class LinkBroken(FlareError):
    """The link to the client is broken for good: a protocol violation, or a write that did not go through in time."""


class ConfigError(FlareError):
    """A configuration file, variable or flag is wrong; the message names where, what, and the fix."""
