"""How many words does Moonshine get wrong, as noise is added?

The recordings go the way of a session's audio: Silero cuts them into utterances (0.48 s endpoint), each is transcribed, and
the transcripts are joined. Pink noise at 20 and 10 dB below the speech. The figure is errors per word over all recordings
(``median``), one for each seed of the noise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchmarks.report import Metric, Options, summary
from benchmarks.speech import REFERENCES, Utterance, add_noise, hear, recording, word_error_rate, words
from flare_actors.conversation.states import SttMode
from flare_actors.ports import HeardAudio, Recognizer
from flare_actors.providers.moonshine import open_moonshine
from flare_actors.providers.silero import SileroVoiceActivity

CONDITIONS = {"wer_clean": None, "wer_at_20_db": 20.0, "wer_at_10_db": 10.0}
SEEDS = (1, 2, 3)


async def transcribe(recognizer: Recognizer, utterance: Utterance) -> str:
    """The final transcript of an utterance that is there at once."""

    async def audio() -> AsyncIterator[HeardAudio]:
        for piece in utterance:
            yield piece

    async with recognizer.transcribe(audio(), locale="en", mode=SttMode.BATCH) as transcripts:
        return [each.text async for each in transcripts][-1]


async def measure(options: Options) -> dict[str, Metric]:
    """Errors per word, by condition."""
    ear = SileroVoiceActivity()
    seeds = SEEDS[:1] if options.quick else SEEDS
    total = sum(len(words(each)) for each in REFERENCES.values())
    metrics = {}
    async with open_moonshine() as recognizer:
        for condition, snr_db in CONDITIONS.items():
            rates = []
            for seed in seeds if snr_db is not None else seeds[:1]:
                errors = 0.0
                for name, reference in REFERENCES.items():
                    speech = recording(name)
                    samples = speech if snr_db is None else add_noise(speech, snr_db, seed=seed)
                    heard = [await transcribe(recognizer, each) for each in await hear(samples, ear)]
                    errors += word_error_rate(reference, " ".join(heard)) * len(words(reference))
                rates.append(errors / total)
            metrics[condition] = summary(rates, "errors/word")
    return metrics
