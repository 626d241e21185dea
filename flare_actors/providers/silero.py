"""Silero VAD v6: voice activity by a small recurrent network that comes with this package.

About 150 us per 32 ms chunk on one core, so detectors run inline: a hop into a thread and back costs nearly as much; chunks of
several streams together take less than half of that each. The
weights (``data/silero_vad_16k_op15.onnx``, MIT, from the silero-vad 6.2.3 wheel) are loaded once per
``SileroVoiceActivity`` and shared; a detector is only its state.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Final, cast

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.ports import VoiceDetector
from flare_actors.providers._onnx import load_session
from flare_actors.providers.catalog import SILERO
from flare_actors.providers.provider import Provider

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnxruntime import InferenceSession

__all__ = ["PROVIDER", "SileroDetector", "SileroSettings", "SileroVoiceActivity"]

SAMPLE_RATE: Final = 16_000
CHUNK_SAMPLES: Final = 512
# The network sees each chunk behind the last 64 samples of the one before; without them its output is quietly wrong
# (silero-vad 6.2.3, utils_vad.OnnxWrapper).
CONTEXT_SAMPLES: Final = 64
STATE_SHAPE: Final = (2, 1, 128)
MODEL_FILE: Final = "silero_vad_16k_op15.onnx"


@attrs.frozen(kw_only=True)
class SileroSettings:
    """Nothing to choose: thresholds belong to the conversation (``vad_threshold``)."""


class SileroDetector:
    """The voice activity of one stream. Not thread-safe."""

    def __init__(self, session: InferenceSession) -> None:
        import numpy as np

        self._session = session
        self.context: npt.NDArray[np.float32] = np.zeros(CONTEXT_SAMPLES, np.float32)
        """The last samples that were heard."""
        self.state: npt.NDArray[np.float32] = np.zeros(STATE_SHAPE, np.float32)
        """What the network remembers."""

    def process(self, chunk: bytes) -> float:
        """Speech probability of the next 512 samples of PCM16 at 16 kHz.

        Raises:
            ValueError: the chunk has another length.
        """
        return _process(self._session, [(self, chunk)])[0]

    def reset(self) -> None:
        """Forget the past, as at the start of a stream."""
        self.context.fill(0)
        self.state.fill(0)


def _process(session: InferenceSession, chunks: Sequence[tuple[SileroDetector, bytes]]) -> list[float]:
    """A chunk for each of some detectors: a row of the batch."""
    import numpy as np

    size = CHUNK_SAMPLES * BYTES_PER_SAMPLE
    for _, chunk in chunks:
        if len(chunk) != size:
            raise ValueError(f"a chunk is {CHUNK_SAMPLES} samples ({size} bytes), not {len(chunk)} bytes")
    samples = np.empty((len(chunks), CONTEXT_SAMPLES + CHUNK_SAMPLES), np.float32)
    for row, (detector, chunk) in zip(samples, chunks, strict=True):
        row[:CONTEXT_SAMPLES] = detector.context
        np.multiply(np.frombuffer(chunk, "<i2"), np.float32(1 / 32768), out=row[CONTEXT_SAMPLES:])
    states = chunks[0][0].state if len(chunks) == 1 else np.concatenate([each.state for each, _ in chunks], axis=1)
    given, states = session.run(None, {"input": samples, "state": states, "sr": np.array(SAMPLE_RATE, np.int64)})
    for index, (detector, _) in enumerate(chunks):
        detector.context = samples[index, -CONTEXT_SAMPLES:].copy()
        detector.state = states if len(chunks) == 1 else states[:, index : index + 1].copy()
    probabilities: list[float] = given[:, 0].tolist()
    return probabilities


class SileroVoiceActivity:
    """Silero VAD for all sessions of the process.

    Args:
        settings: there are none; taken for the symmetry of the registry.
    """

    def __init__(self, settings: SileroSettings | None = None) -> None:
        self.settings = settings or SileroSettings()
        self._session: InferenceSession | None = None
        self._loading = trio.Lock()

    @property
    def sample_rate(self) -> int:
        """16,000 Hz."""
        return SAMPLE_RATE

    @property
    def chunk_samples(self) -> int:
        """512 samples: 32 ms."""
        return CHUNK_SAMPLES

    async def open(self) -> SileroDetector:
        """A fresh detector; the first call loads the model in a thread (about 50 ms).

        Raises:
            ConfigError: onnxruntime is not installed.

        Cancellation: abandons the loading; the next call starts it again.
        """
        if self._session is None:
            async with self._loading:
                if self._session is None:
                    self._session = await trio.to_thread.run_sync(_load, abandon_on_cancel=True)
        return SileroDetector(self._session)

    def process_many(self, chunks: Sequence[tuple[VoiceDetector, bytes]]) -> list[float]:
        """See ``ports.BatchVoiceActivity``: a chunk of 16 streams takes less than half of one by itself (``audio_in``)."""
        if not chunks:
            return []
        assert self._session is not None, "a detector has been opened, so the model is loaded"
        return _process(self._session, cast("Sequence[tuple[SileroDetector, bytes]]", chunks))


def _load() -> InferenceSession:
    model = resources.files("flare_actors.providers").joinpath("data", MODEL_FILE).read_bytes()
    session = load_session(model)
    # The first run allocates: not on a live turn.
    SileroDetector(session).process(bytes(CHUNK_SAMPLES * BYTES_PER_SAMPLE))
    return session


@asynccontextmanager
async def open_silero(settings: SileroSettings | None = None) -> AsyncGenerator[SileroVoiceActivity]:
    """A loaded detector: the model is loaded now, not in the first conversation."""
    vad = SileroVoiceActivity(settings)
    await vad.open()
    yield vad


PROVIDER: Final = Provider(
    stage="vad",
    name="silero",
    summary="Silero VAD v6, in this process",
    settings=SileroSettings,
    open=open_silero,
    needs=lambda _: (SILERO,),
)
