"""ElevenLabs: streaming text to speech, after its documentation of ``stream-input`` (2026). No live service was reached.

Phrases are sent as they come, each flushed. Audio comes with the characters that it speaks (``alignment``), which tell its
phrase, and when each word ends. Twenty seconds without text hang up, so a space goes out while the model thinks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal

import attrs

from flare_actors.providers._key import KeySettings, check_name, read_key
from flare_actors.providers.provider import Provider
from flare_actors.providers.websocket.line import Dialler, check_url
from flare_actors.providers.websocket.mapping import PRESENT, TtsProtocol
from flare_actors.providers.websocket.tts import WebSocketSynthesizer

__all__ = ["PROTOCOL", "PROVIDER", "ElevenLabsSettings", "open_elevenlabs"]

PROTOCOL: Final = TtsProtocol(
    service="ElevenLabs",
    open=({"text": " ", "voice_settings": "$voice_settings"},),
    say=({"text": "$text", "flush": True},),
    finish=({"text": ""},),
    audio_when={"audio": PRESENT},
    audio="audio",
    characters="alignment.chars",
    char_starts_ms="alignment.charStartTimesMs",
    char_durations_ms="alignment.charDurationsMs",
    done_when={"isFinal": True},
    error_when={"error": PRESENT},
    error_code="code",
    keep_alive={"text": " "},
    keep_alive_s=10.0,
)


@attrs.frozen(kw_only=True)
class ElevenLabsSettings(KeySettings):
    """Which voice and model, and where the key is."""

    url: str = attrs.field(default="wss://api.elevenlabs.io", validator=check_url)
    """Without a path."""
    voice: str = attrs.field(default="JBFqnCBsd6RMkjVDRZzb", validator=attrs.validators.matches_re(r"[A-Za-z0-9]+"))
    """The voice's id."""
    model: str = "eleven_flash_v2_5"
    """As the service names it."""
    sample_rate: Literal["16000", "22050", "24000", "44100"] = "24000"
    """Hz; 44100 needs a larger plan."""
    voice_settings: Mapping[str, object] = attrs.field(factory=dict)
    """As the service takes them, e.g. `{ stability = 0.5, similarity_boost = 0.8 }`."""
    extra: Mapping[str, str] = attrs.field(factory=dict)
    """More of the URL's query, e.g. `{ language_code = "de" }`."""
    api_key_env: str | None = attrs.field(default="ELEVENLABS_API_KEY", validator=check_name)


@asynccontextmanager
async def open_elevenlabs(
    settings: ElevenLabsSettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[WebSocketSynthesizer]:
    """A voice at ElevenLabs. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; there is nothing to close but the streams' own connections.
    """
    settings = settings or ElevenLabsSettings()
    key = read_key("tts", settings, api_key)
    url = f"{settings.url.rstrip('/')}/v1/text-to-speech/{settings.voice}/stream-input"
    dialler = Dialler("tts", url, {"xi-api-key": key} if key else {}, retries=settings.retries)
    await dialler.open()
    query = {
        "model_id": settings.model,
        "output_format": f"pcm_{settings.sample_rate}",
        "sync_alignment": "true",
        **settings.extra,
    }
    yield WebSocketSynthesizer(
        PROTOCOL,
        dialler,
        query,
        {"voice_settings": dict(settings.voice_settings)},
        sample_rate=int(settings.sample_rate),
    )


PROVIDER: Final = Provider(
    stage="tts",
    name="elevenlabs",
    summary="ElevenLabs' streaming voices, a cloud service",
    settings=ElevenLabsSettings,
    open=open_elevenlabs,
)
