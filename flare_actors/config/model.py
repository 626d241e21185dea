"""What an agent's configuration holds: one attrs class per table of the file.

``[conversation]`` is ``flare_actors.conversation.Settings`` itself, and a provider's table is that provider's own settings
class, so that a setting is described in one place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from flare_actors.conversation.settings import Settings
from flare_actors.errors import Stage
from flare_actors.providers.batch.redecode import Redecoding
from flare_actors.providers.compose.settings import Attempts, Switching
from flare_actors.server.limits import ServerLimits

__all__ = ["AgentSection", "Config", "LogsSection", "ProviderChoice", "ServerSection"]


@attrs.frozen(kw_only=True)
class AgentSection:
    """``[agent]``: who speaks."""

    instructions: str = attrs.field(
        default="You are a friendly voice assistant. Answer in one or two short sentences, in plain spoken English.",
        repr=False,
    )
    """The system message for the language model."""
    tools: tuple[str, ...] = attrs.field(
        default=(), validator=attrs.validators.deep_iterable(attrs.validators.matches_re(r"[\w.]+:\w+"))
    )
    """Python functions that the model may call, each as `"module:function"`, from where Python finds modules (`PYTHONPATH`)."""


@attrs.frozen(kw_only=True)
class ServerSection:
    """``[server]``: where and for whom ``flare-actors serve`` listens."""

    host: str = attrs.field(default="127.0.0.1", validator=attrs.validators.min_len(1))
    """An address of this machine. Anything but loopback needs an API key, or ``insecure_no_auth``."""
    port: int = attrs.field(default=8765, validator=[attrs.validators.ge(0), attrs.validators.le(65_535)])
    """0: any free port."""
    api_key_env: str | None = attrs.field(default=None)
    """The environment variable that holds the key which clients must show; FLARE_ACTORS_API_KEY needs no naming."""
    api_key_file: Path | None = None
    """The file that holds that key."""
    insecure_no_auth: bool = False
    """Serve everybody who can reach a non-loopback host."""
    tls_cert: Path | None = None
    """A certificate chain in PEM; needs ``tls_key``."""
    tls_key: Path | None = None
    """The certificate's private key in PEM."""
    tls_self_signed: bool = False
    """Make a certificate for this run, so that a phone on the same network may use its microphone (extra ``tls``)."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of foreign web pages that may connect, besides our own page."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names of this server, e.g. behind a proxy."""
    limits: ServerLimits = ServerLimits()

    @api_key_env.validator
    def _is_a_name(self, _: object, value: str | None) -> None:
        if value is not None and not value.isidentifier():
            # Whoever puts the key itself here must not find it in a log.
            raise ValueError("must be the name of an environment variable, not the key itself")


@attrs.frozen(kw_only=True)
class LogsSection:
    """``[logs]``: what is written to stderr."""

    format: Literal["auto", "terminal", "json"] = "auto"
    """``auto``: readable on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is written."""
    speech: bool = False
    """Also log what is said. Off, no line holds any speech."""


@attrs.frozen(kw_only=True)
class ProviderChoice:
    """``[providers.vad]`` and its sisters: which engine serves a stage, and that engine's own settings."""

    use: str
    """The provider's short name."""
    settings: object
    """An instance of its settings class."""
    attempts: Attempts | None = None
    """``[providers.STAGE.attempts]``; None: the session's own timeouts are the only ones, unless there is a fallback."""
    redecoding: Redecoding | None = None
    """``[providers.stt.redecoding]``; None: what the recogniser gives is all there is."""
    fallback: tuple[ProviderChoice, ...] = ()
    """``[[providers.STAGE.fallback]]``: who is asked when this one fails, in order."""
    switching: Switching = Switching()
    """``[providers.STAGE.switching]``."""

    @property
    def all(self) -> tuple[ProviderChoice, ...]:
        """Everybody who may be asked, in order."""
        return (self, *self.fallback)

    @property
    def composed(self) -> bool:
        """Whether anything stands between the session and the engine."""
        return bool(self.fallback) or self.attempts is not None

    def __str__(self) -> str:
        return ", else ".join(each.use for each in self.all)


@attrs.frozen(kw_only=True)
class Config:
    """Everything that file, environment and flags say together."""

    agent: AgentSection = AgentSection()
    conversation: Settings = Settings()
    providers: dict[Stage, ProviderChoice] = attrs.field(factory=dict)
    """One choice for each of ``vad``, ``stt``, ``llm`` and ``tts``."""
    server: ServerSection = ServerSection()
    logs: LogsSection = LogsSection()
