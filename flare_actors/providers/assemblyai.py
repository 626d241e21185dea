"""AssemblyAI: streaming speech to text, after its documentation of ``/v3/ws`` (2026). No live service was reached.

A turn's transcripts share its ``turn_order``; ``ForceEndpoint`` ends the turn, ``Terminate`` makes it tell the rest, then
``Termination``. It is paid by the open minute, so a line is opened when the user begins to speak.
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

__all__ = ["PROTOCOL", "PROVIDER", "AssemblyAISettings", "open_assemblyai"]

SAMPLE_RATE: Final = 16_000
ENGLISH: Final = "universal-streaming-english"
PROTOCOL: Final = SttProtocol(
    service="AssemblyAI",
    finish=({"type": "ForceEndpoint"}, {"type": "Terminate"}),
    ready_when={"type": "Begin"},
    text_when={"type": "Turn"},
    text="transcript",
    key="turn_order",
    settled="end_of_turn",
    done_when={"type": "Termination"},
    error_when={"type": "Error"},
    error_code="error_code",
    least_s=0.05,  # documented: messages of 50 to 1,000 ms
    pad_last=True,
)


@attrs.frozen(kw_only=True)
class AssemblyAISettings(KeySettings):
    """Which model, and where the key is."""

    url: str = attrs.field(default="wss://streaming.assemblyai.com/v3/ws", validator=check_url)
    """`wss://streaming.eu.assemblyai.com/v3/ws` keeps the audio in Europe."""
    model: str = ENGLISH
    """As the service names it; `universal-streaming-multilingual` knows more than English."""
    ahead: bool = False
    """Connect before the user speaks; the service is paid by the open minute."""
    extra: Mapping[str, str] = attrs.field(factory=dict)
    """More of the URL's query."""
    api_key_env: str | None = attrs.field(default="ASSEMBLYAI_API_KEY", validator=check_name)


@asynccontextmanager
async def open_assemblyai(
    settings: AssemblyAISettings | None = None, *, api_key: str | None = None
) -> AsyncGenerator[WebSocketRecognizer]:
    """A recogniser at AssemblyAI. Nothing is sent yet.

    Raises:
        ConfigError: the variable or file that should hold the key does not.

    Cancellation: at any await in the block; there is nothing to close but the streams' own connections.
    """
    settings = settings or AssemblyAISettings()
    key = read_key("stt", settings, api_key)
    dialler = Dialler("stt", settings.url, {"Authorization": key} if key else {}, retries=settings.retries)
    await dialler.open()
    query = {
        "speech_model": settings.model,
        "sample_rate": str(SAMPLE_RATE),
        "encoding": "pcm_s16le",
        "format_turns": "false",  # it would be told a second time, later
        **settings.extra,
    }
    yield WebSocketRecognizer(
        PROTOCOL,
        dialler,
        query,
        sample_rate=SAMPLE_RATE,
        locales=("en",) if settings.model == ENGLISH else None,
        ahead=settings.ahead,
    )


PROVIDER: Final = Provider(
    stage="stt",
    name="assemblyai",
    summary="AssemblyAI's streaming recogniser, a cloud service",
    settings=AssemblyAISettings,
    open=open_assemblyai,
)
