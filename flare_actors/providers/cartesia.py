"""Cartesia: streaming text to speech, after its documentation of ``/tts/websocket`` (2026). No live service was reached.

Every phrase is a context of its own, sent when the one before is done: a context that is continued expires one second after
its last audio, which is less than a model may think. What is lost is the melody from one phrase to the next.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import attrs

from flare_actors.providers._key import KeySettings, check_name, read_key
from flare_actors.providers.provider import Provider
from flare_actors.providers.websocket.line import Dialler, check_url
from flare_actors.providers.websocket.mapping import TtsProtocol
from flare_actors.providers.websocket.tts import WebSocketSynthesizer

__all__ = ["PROTOCOL", "PROVIDER", "CartesiaSettings", "open_cartesia"]

VERSION: Final = "2026-03-01"
RATES: Final = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
PROTOCOL: Final = TtsProtocol(
    service="Cartesia",
    say=(
        {
            "model_id": "$model",
            "transcript": "$text",
            "voice": {"mode": "id", "id": "$voice"},
            "language": "$language",
            "context_id": "$context",
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": "$sample_rate"},
            "continue": False,
            "add_timestamps": True,
        },
    ),
    audio_when={"type": "chunk"},
    audio="data",
    words_when={"type": "timestamps"},
    words="word_timestamps.words",
    word_ends_s="word_timestamps.end",
    phrase_done_when={"type": "done"},
    phrase_key="context_id",
    error_when={"type": "error"},
    error_code="error_code",
)


@attrs.frozen(kw_only=True)
class CartesiaSettings(KeySettings):
    """Which voice and model, and where the key is."""

    url: str = attrs.field(default="wss://api.cartesia.ai/tts/websocket", validator=check_url)
    voice: str = "a0e99841-438c-4a64-b679-ae501e7d6091"
    """The voice's id."""
    model: str = "sonic-3.5"
    """As the service names it."""
    sample_rate: int = attrs.field(
        default=24_000, validator=attrs.validators.in_([8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
    )
    """Hz."""
    api_key_env: str | None = attrs.field(default="CARTESIA_API_KEY", validator=check_name)


@asynccontextmanager
async def open_cartesia(
    settings: CartesiaSettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[WebSocketSynthesizer]:
    """A voice at Cartesia. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; there is nothing to close but the streams' own connections.
    """
    settings = settings or CartesiaSettings()
    key = read_key("tts", settings, api_key)
    headers = {"Cartesia-Version": VERSION} | ({"Authorization": f"Bearer {key}"} if key else {})
    dialler = Dialler("tts", settings.url, headers, retries=settings.retries)
    await dialler.open()
    values = {"model": settings.model, "voice": settings.voice, "sample_rate": settings.sample_rate}
    yield WebSocketSynthesizer(PROTOCOL, dialler, {}, values, sample_rate=settings.sample_rate)


PROVIDER: Final = Provider(
    stage="tts",
    name="cartesia",
    summary="Cartesia's streaming voices, a cloud service",
    settings=CartesiaSettings,
    open=open_cartesia,
)
