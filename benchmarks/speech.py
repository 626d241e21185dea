"""Real recordings of people with trusted transcripts, noise to add to them, and the word error rate.

The recordings come with the moonshine-voice wheel (extra ``local``). The transcripts are not a recogniser's: the texts are
Dickens, *A Tale of Two Cities* (1859), and a well-known line of Beckett's, and were checked against the recordings.
"""

from __future__ import annotations

import re
import wave
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.conversation.endpointing import Heard, UtteranceDetector
from flare_actors.conversation.settings import Settings
from flare_actors.ports import HeardAudio, VoiceActivity

__all__ = ["RATE", "REFERENCES", "Utterance", "add_noise", "hear", "recording", "word_error_rate", "words"]

RATE: Final = 16_000
REFERENCES: Final = {
    "two_cities.wav": (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief, it was the epoch of incredulity, it was the season of light, it was the season of "
        "darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
        "before us, we were all going direct to heaven, we were all going direct the other way, in short, the period was "
        "so far like the present period, that some of its noisiest authorities insisted on its being received, for good "
        "or for evil, in the superlative degree of comparison only."
    ),
    "beckett.wav": "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.",
}

Utterance = list[HeardAudio]
"""One utterance as the ear hands it to a recogniser."""


def recording(name: str) -> npt.NDArray[np.float32]:
    """A recording as mono float32 at 16 kHz."""
    from moonshine_voice.utils import get_assets_path

    with wave.open(str(get_assets_path() / name)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        rate = file.getframerate()
    mono = samples.mean(axis=1).astype(np.float32) / 32768
    return mono if rate == RATE else np.asarray(soxr.resample(mono, rate, RATE), np.float32)


def add_noise(speech: npt.NDArray[np.float32], snr_db: float, *, seed: int) -> npt.NDArray[np.float32]:
    """Speech with pink noise; the ratio is to the speech's RMS where it is within 35 dB of its loudest 20 ms."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(len(speech)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, len(speech))
    frames = speech[: len(speech) // 320 * 320].reshape(-1, 320)
    power = (frames**2).mean(axis=1)
    wanted = power[power > power.max() * 10**-3.5].mean() / 10 ** (snr_db / 10)
    return np.asarray(speech + noise * np.sqrt(wanted / (noise**2).mean()), np.float32)


async def hear(samples: npt.NDArray[np.float32], ear: VoiceActivity) -> list[Utterance]:
    """Cut a recording into utterances as a session's ear does, with the conversation's default settings."""
    pcm = np.clip(samples * 32768, -32768, 32767).astype("<i2").tobytes()
    size, chunk_s = ear.chunk_samples * BYTES_PER_SAMPLE, ear.chunk_samples / ear.sample_rate
    settings = Settings()
    detector, endpointing = await ear.open(), UtteranceDetector(settings, chunk_s)
    preroll: deque[bytes] = deque(maxlen=round(settings.preroll_s / chunk_s))
    utterances: list[Utterance] = []
    current: Utterance = []
    for at in range(0, len(pcm) - size + 1, size):
        chunk = pcm[at : at + size]
        was_speaking = endpointing.speaking
        changes = endpointing.feed(detector.process(chunk))
        if Heard.STARTED in changes:
            current = [HeardAudio(pcm=each) for each in preroll]
        if was_speaking or endpointing.speaking:
            current.append(HeardAudio(pcm=chunk, silence_s=endpointing.silence_s))
        if Heard.STOPPED in changes and not endpointing.too_short:
            utterances.append(current)
        preroll.append(chunk)
    if endpointing.stop() and not endpointing.too_short:
        utterances.append(current)
    return utterances


def words(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))


def word_error_rate(reference: str, heard: str) -> float:
    """Substitutions, deletions and insertions per word of the reference (Levenshtein distance on words)."""
    wanted, got = words(reference), words(heard)
    return _distance(wanted, got) / max(1, len(wanted))


def _distance(wanted: Sequence[str], got: Sequence[str]) -> int:
    row = list(range(len(got) + 1))
    for i, each in enumerate(wanted, 1):
        row = list(_next_row(row, i, each, got))
    return row[-1]


def _next_row(above: Sequence[int], first: int, each: str, got: Sequence[str]) -> Iterator[int]:
    left = first
    yield left
    for j, other in enumerate(got, 1):
        left = min(left + 1, above[j] + 1, above[j - 1] + (each != other))
        yield left
