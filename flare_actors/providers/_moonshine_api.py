"""The few calls of Moonshine's C library that we need, with a numpy buffer instead of the wrapper's copied lists."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from types import ModuleType
from typing import Final

from flare_actors.errors import ConfigError, ProviderError
from flare_actors.providers._extras import need
from flare_actors.providers.batch.redecode import Decoded

__all__ = ["Handle", "model_folder"]

SAMPLE_RATE: Final = 16_000
# The model makes words ("You") of digital silence. Nothing that peaks below this can be heard, let alone understood.
INAUDIBLE_PEAK: Final = 33  # of 32768: -60 dBFS
MODEL_FILES: Final = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
# vad_threshold 0 switches its own VAD off: the ear has cut the utterance already, and a second cut costs words
# (WER 8.3 % against 3.9 %). return_audio_data: we have the audio.
OPTIONS: Final = {"vad_threshold": "0", "return_audio_data": "false"}


def model_folder() -> Path:
    """Where the wheel keeps its tiny English model.

    Raises:
        ConfigError: moonshine-voice is missing, or a version without the model is installed.
    """
    folder = Path(need("moonshine_voice.utils").get_assets_path()) / "tiny-en"
    if not all((folder / name).is_file() for name in MODEL_FILES):
        raise ConfigError(
            "the installed moonshine-voice brings no tiny-en model (from 0.1 on it does not): "
            "run `python -m pip install moonshine-voice==0.0.73`"
        )
    return folder


class Handle:
    """One loaded model. About 100 MB and 0.2 s; for one thread at a time: two give wrong text without any error.

    Raises:
        ConfigError: moonshine-voice is not usable here.
        ProviderError: the library refuses the model.
    """

    def __init__(self) -> None:
        folder = model_folder()
        # Read by the library through getenv when a model is loaded; one thread per decode is both faster and fairer here.
        os.environ.setdefault("MOONSHINE_ORT_SINGLE_THREAD", "1")
        self._api: ModuleType = need("moonshine_voice.moonshine_api")
        self._lib = self._api._MoonshineLib().lib  # noqa: SLF001 - the pinned wheel has no public door to the C calls
        options, count, _keep = self._api.moonshine_options_array(OPTIONS)
        self._id: int = self._lib.moonshine_load_transcriber_from_files(
            os.fsencode(folder), int(self._api.ModelArch.TINY), options, count, self._api.MOONSHINE_HEADER_VERSION
        )
        if self._id < 0:
            raise ProviderError("stt", f"Moonshine cannot load its model: {self._error(self._id)}", critical=True)

    def decode(self, pcm: bytes) -> Decoded:
        """The text of PCM16 at 16 kHz; empty when there is nothing audible in it. Blocks; releases the GIL.

        Raises:
            ProviderError: the library failed.
        """
        import numpy as np

        started = time.perf_counter()
        samples = np.frombuffer(pcm, "<i2")
        if not len(samples) or max(int(samples.max()), -int(samples.min())) < INAUDIBLE_PEAK:
            return Decoded(text="", cost_s=0.0)
        floats = np.multiply(samples, np.float32(1 / 32768), dtype=np.float32)
        out = ctypes.POINTER(self._api.TranscriptC)()
        code = self._lib.moonshine_transcribe_without_streaming(
            self._id,
            floats.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            len(floats),
            SAMPLE_RATE,
            0,
            ctypes.byref(out),
        )
        if code != 0:
            raise ProviderError("stt", f"Moonshine failed: {self._error(code)}")
        # The transcript belongs to the handle and is overwritten by the next decode: copied before the handle goes home.
        lines = out.contents.lines[: out.contents.line_count] if out else []
        words = (ctypes.string_at(line.text).decode("utf-8", "replace").strip() for line in lines if line.text)
        text = " ".join(filter(None, words))
        if not any(map(str.isalnum, text)):  # music notes and dashes, its way to say "noise"
            text = ""
        return Decoded(text=text, cost_s=time.perf_counter() - started)

    def close(self) -> None:
        """Free the native memory. The handle is of no use afterwards."""
        if self._id >= 0:
            self._lib.moonshine_free_transcriber(self._id)
            self._id = -1

    def _error(self, code: int) -> str:
        words: bytes | None = self._lib.moonshine_error_to_string(code)
        return words.decode("utf-8", "replace") if words else f"error {code}"
