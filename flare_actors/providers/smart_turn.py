"""smart-turn v3.2: whether a speaker who pauses has finished, by the sound of the last 8 seconds; a hint beside Silero's VAD.

A Whisper-tiny encoder with a classifier (8.7 MB, BSD-2, by Daily), which sees log-mel features as Whisper does: 80 bands of
800 frames. About 70 ms of one core for each pause, whatever its length, so it runs in a thread. The weights are taken out of
the pipecat-ai wheel, without the rest of it: ``flare-actors models fetch smart-turn``.

It says "complete" to half of the incomplete clips, so the conversation takes it for a hint (``conversation.turn_end.hinted``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs
import trio

from flare_actors.errors import ProviderError
from flare_actors.ports import VoiceDetector
from flare_actors.providers._onnx import load_session
from flare_actors.providers.catalog import SILERO, SMART_TURN
from flare_actors.providers.provider import Provider
from flare_actors.providers.silero import SAMPLE_RATE, SileroDetector, SileroSettings, SileroVoiceActivity
from flare_actors.providers.weights import path_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnxruntime import InferenceSession

__all__ = ["PROVIDER", "SmartTurnSettings", "SmartTurnVoiceActivity", "open_smart_turn"]

# Whisper's front end (Radford et al., "Robust speech recognition via large-scale weak supervision", 2022): windows of 25 ms
# every 10 ms, 80 mel bands, and 8 decades below the loudest.
SAMPLES: Final = 8 * SAMPLE_RATE
WINDOW: Final = 400
HOP: Final = 160
BANDS: Final = 80
FRAMES: Final = SAMPLES // HOP
FLOOR: Final = 1e-10
RANGE: Final = 8.0
VARIANCE_FLOOR: Final = 1e-7


@attrs.frozen(kw_only=True)
class SmartTurnSettings:
    """How many pauses are estimated at a time."""

    threads: int = attrs.field(default=1, validator=[attrs.validators.ge(1), attrs.validators.le(64)])
    """Estimates that run at a time, of all sessions together, each on one core; more wait."""


class SmartTurnVoiceActivity:
    """Silero's voice activity for all sessions of the process, with smart-turn's opinion on their pauses.

    Args:
        settings: how many at a time.
    """

    def __init__(self, settings: SmartTurnSettings | None = None) -> None:
        self.settings = settings or SmartTurnSettings()
        self.limiter = trio.CapacityLimiter(self.settings.threads)
        """Bounds the estimates; its borrowed tokens are those that run."""
        self._silero = SileroVoiceActivity(SileroSettings())
        self._session: InferenceSession | None = None
        self._loading = trio.Lock()

    @property
    def sample_rate(self) -> int:
        """16,000 Hz."""
        return self._silero.sample_rate

    @property
    def chunk_samples(self) -> int:
        """512 samples: 32 ms."""
        return self._silero.chunk_samples

    async def open(self) -> SileroDetector:
        """A fresh detector; the first call loads both models in threads (about 0.2 s).

        Raises:
            ConfigError: onnxruntime is not installed, or the weights are not here.

        Cancellation: abandons the loading; the next call starts it again.
        """
        await self._loaded()
        return await self._silero.open()

    def process_many(self, chunks: Sequence[tuple[VoiceDetector, bytes]]) -> list[float]:
        """See ``ports.BatchVoiceActivity``."""
        return self._silero.process_many(chunks)

    async def estimate_turn_end(self, pcm: bytes) -> float:
        """Probability that the turn is over behind these last seconds of it; see ``ports.TurnEndEstimator``.

        Args:
            pcm: PCM16 at 16 kHz; of more than 8 s the last 8 count.

        Raises:
            ProviderError: it is no PCM16.

        Cancellation: at once; an estimate that runs is abandoned, and its thread comes home when it is done.
        """
        if len(pcm) % 2:
            raise ProviderError("vad", "smart-turn was given half a sample")
        session = await self._loaded()
        return await trio.to_thread.run_sync(estimate, session, pcm, limiter=self.limiter, abandon_on_cancel=True)

    async def _loaded(self) -> InferenceSession:
        async with self._loading:
            if self._session is None:
                self._session = await trio.to_thread.run_sync(load, abandon_on_cancel=True)
            return self._session


@asynccontextmanager
async def open_smart_turn(settings: SmartTurnSettings | None = None) -> AsyncGenerator[SmartTurnVoiceActivity]:
    """A loaded detector with a loaded model.

    Raises:
        ConfigError: onnxruntime is not installed, or the weights are not here.

    Cancellation: at any await in the block; estimates that run are abandoned.
    """
    activity = SmartTurnVoiceActivity(settings)
    await activity.open()
    yield activity


def features(pcm: bytes) -> npt.NDArray[np.float32]:
    """Whisper's log-mel features of the last 8 s: 80 bands by 800 frames; shorter audio stands behind silence.

    The wave is brought to mean 0 and variance 1 first, silence included, as in the model's training.
    """
    import numpy as np

    wave = np.zeros(SAMPLES, np.float32)
    samples = np.frombuffer(pcm, "<i2")[-SAMPLES:]
    if len(samples):
        np.multiply(samples, np.float32(1 / 32768), out=wave[-len(samples) :])
    wave = (wave - wave.mean()) / np.sqrt(wave.var() + np.float32(VARIANCE_FLOOR))
    padded = np.pad(wave, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:FRAMES]
    hann, bands = _tables()
    power = np.abs(np.fft.rfft(windows * hann, axis=-1)) ** 2
    logs = np.log10(np.maximum(power @ bands, FLOOR)).T
    scaled: npt.NDArray[np.float32] = ((np.maximum(logs, logs.max() - RANGE) + 4.0) / 4.0).astype(np.float32)
    return scaled


@cache
def _tables() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The window, and the share of each frequency in each mel band: triangles of equal area on Slaney's mel scale.

    The scale is linear up to 1 kHz (15 mel) and logarithmic above (Slaney, "Auditory Toolbox", 1998).
    """
    import numpy as np

    step = np.log(6.4) / 27
    highest = 15 + np.log(SAMPLE_RATE / 2 / 1000) / step
    mels = np.linspace(0, highest, BANDS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))
    frequencies = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (high - low))
    return np.hanning(WINDOW + 1)[:-1], triangles


# --- In worker threads -----------------------------------------------------------------------------------------------------


def load() -> InferenceSession:
    session = load_session(str(path_of(SMART_TURN)))
    estimate(session, bytes(2))  # the first run allocates: not in a live pause
    return session


def estimate(session: InferenceSession, pcm: bytes) -> float:
    (probabilities,) = session.run(None, {"input_features": features(pcm)[None]})
    return float(probabilities.reshape(-1)[0])


PROVIDER: Final = Provider(
    stage="vad",
    name="smart_turn",
    summary="Silero VAD v6 with smart-turn v3.2's opinion on pauses, in this process",
    settings=SmartTurnSettings,
    open=open_smart_turn,
    needs=lambda _: (SILERO, SMART_TURN),
)
