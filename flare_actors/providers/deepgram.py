"""Deepgram: streaming speech to text, after its documentation of ``/v1/listen`` (2026). No live service was reached.

Interim results of a stretch of speech share its ``start``; ``CloseStream`` makes it tell the rest, then ``Metadata``. Silence
of ten seconds hangs up, so ``KeepAlive`` goes out until the user speaks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import attrs

from flare_actors.providers._key import KeySettings, check_name, read_key
from flare_actors.providers.provider import Provider
from flare_actors.providers.websocket.line import Dialler, check_url
from flare_actors.providers.websocket.mapping import SttProtocol
from flare_actors.providers.websocket.stt import WebSocketRecognizer

__all__ = ["PROTOCOL", "PROVIDER", "DeepgramSettings", "open_deepgram"]

SAMPLE_RATE: Final = 16_000
PROTOCOL: Final = SttProtocol(
    service="Deepgram",
    finish=({"type": "CloseStream"},),
    text_when={"type": "Results"},
    text="channel.alternatives.0.transcript",
    key="start",
    until_s=("start", "duration"),
    done_when={"type": "Metadata"},
    error_when={"type": "Error"},
    error_code="code",
    keep_alive={"type": "KeepAlive"},
    keep_alive_s=4.0,
)


@attrs.frozen(kw_only=True)
class DeepgramSettings(KeySettings):
    """Which model, and where the key is."""

    url: str = attrs.field(default="wss://api.deepgram.com/v1/listen", validator=check_url)
    """A self-hosted one is somewhere else."""
    model: str = "nova-3"
    """As the service names it."""
    language: str | None = None
    """As the service names it, e.g. `multi`; none: the conversation's locale."""
    extra: Mapping[str, str] = attrs.field(factory=dict)
    """More of the URL's query, e.g. `{ keyterm = "Trio", mip_opt_out = "true" }`."""
    api_key_env: str | None = attrs.field(default="DEEPGRAM_API_KEY", validator=check_name)


@asynccontextmanager
async def open_deepgram(
    settings: DeepgramSettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[WebSocketRecognizer]:
    """A recogniser at Deepgram. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; there is nothing to close but the streams' own connections.
    """
    settings = settings or DeepgramSettings()
    key = read_key("stt", settings, api_key)
    dialler = Dialler("stt", settings.url, {"Authorization": f"Token {key}"} if key else {}, retries=settings.retries)
    await dialler.open()
    query = {
        "model": settings.model,
        "language": settings.language or "$locale",
        "encoding": "linear16",
        "sample_rate": str(SAMPLE_RATE),
        "channels": "1",
        "interim_results": "true",
        "punctuate": "true",
        **settings.extra,
    }
    yield WebSocketRecognizer(PROTOCOL, dialler, query, sample_rate=SAMPLE_RATE, locales=None, ahead=True)


PROVIDER: Final = Provider(
    stage="stt",
    name="deepgram",
    summary="Deepgram's streaming recogniser, a cloud service",
    settings=DeepgramSettings,
    open=open_deepgram,
)
