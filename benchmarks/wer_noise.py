"""How many words does Moonshine get wrong, as noise is added?

The recordings go the way of a session's audio: Silero cuts them into utterances (0.48 s endpoint), each is transcribed, and
the transcripts are joined. Pink noise at 20 and 10 dB below the speech. Prints JSON::

    python -m benchmarks.wer_noise
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import trio

from benchmarks.speech import REFERENCES, Utterance, add_noise, hear, recording, word_error_rate, words
from flare_actors.conversation.states import SttMode
from flare_actors.ports import HeardAudio, Recognizer
from flare_actors.providers.moonshine import open_moonshine
from flare_actors.providers.silero import SileroVoiceActivity

CONDITIONS = {"clean": None, "20 dB": 20.0, "10 dB": 10.0}
SEEDS = (1, 2)


async def transcribe(recognizer: Recognizer, utterance: Utterance) -> str:
    """The final transcript of an utterance that is there at once."""

    async def audio() -> AsyncIterator[HeardAudio]:
        for piece in utterance:
            yield piece

    async with recognizer.transcribe(audio(), locale="en", mode=SttMode.BATCH) as transcripts:
        return [each.text async for each in transcripts][-1]


async def measure() -> dict[str, object]:
    """Word error rates by condition and recording, weighted by words in ``wer``."""
    ear = SileroVoiceActivity()
    results: dict[str, object] = {}
    async with open_moonshine() as recognizer:
        for condition, snr_db in CONDITIONS.items():
            errors = total = 0.0
            by_file: dict[str, list[float]] = {}
            for name, reference in REFERENCES.items():
                speech = recording(name)
                for seed in SEEDS if snr_db is not None else SEEDS[:1]:
                    samples = speech if snr_db is None else add_noise(speech, snr_db, seed=seed)
                    heard = [await transcribe(recognizer, each) for each in await hear(samples, ear)]
                    rate = word_error_rate(reference, " ".join(heard))
                    by_file.setdefault(name, []).append(round(rate, 4))
                    errors += rate * len(words(reference))
                    total += len(words(reference))
            results[condition] = {"wer": round(errors / total, 4), "by_recording": by_file}
    per_run = sum(len(words(each)) for each in REFERENCES.values())
    return {"engine": "moonshine-tiny-en", "noise": "pink", "words": per_run, "conditions": results}


if __name__ == "__main__":
    print(json.dumps(trio.run(measure), indent=2))
