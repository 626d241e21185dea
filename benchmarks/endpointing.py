"""How often is a user cut off, and how long does one who has finished wait: fixed waits beside adaptive ones?

Over the corpus (``benchmarks.corpus``: utterances whose ends are known). Voice activity and transcripts are the engines';
what ends an utterance is decided by the real detector and the real core, chunk by chunk on the time of the audio, with a
transcript as late as its decode takes on a free core. A false cut is a hard endpoint before the last word's end; the latency
is the silence behind the last word until the endpoint. Each voice is one conversation, so that its pauses become known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.corpus import Clip, corpus
from benchmarks.report import Metric, Options, summary
from benchmarks.speech import RATE
from flare_actors.audio import seconds_to_bytes
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import SetEndpoint
from flare_actors.conversation.endpointing import Heard, UtteranceDetector
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Endpointing
from flare_actors.conversation.step import step
from flare_actors.providers._moonshine_api import Handle
from flare_actors.providers.batch.redecode import PADDED_S
from flare_actors.providers.catalog import SMART_TURN
from flare_actors.providers.silero import SileroVoiceActivity
from flare_actors.providers.smart_turn import estimate, load
from flare_actors.providers.weights import is_present

__all__ = ["FIXED", "Outcome", "Recorded", "false_cut_rate", "measure", "outcomes", "picture", "recorded"]

FIXED: Final = Settings(endpointing=Endpointing.FIXED)
_FIXED_S: Final = (0.2, 0.3, 0.4, 0.48, 0.6, 0.8, 1.0, 1.3)
_SCALES: Final = (0.6, 0.8, 1.0, 1.25, 1.6)
"""The adaptive waits, all three of them, times this."""
_CHUNK_S: Final = 512 / RATE


@attrs.define
class Recorded:
    """A clip as the engines hear it; transcripts are made once and remembered."""

    clip: Clip
    pcm: bytes = attrs.field(repr=False)
    probabilities: Sequence[float] = attrs.field(repr=False)
    handle: Handle = attrs.field(repr=False)
    turn_end: Callable[[bytes], float] | None = attrs.field(default=None, repr=False)
    """The turn-end model, if its weights are here."""
    _texts: dict[tuple[int, int], tuple[str, float]] = attrs.field(factory=dict)
    _estimates: dict[tuple[int, int], tuple[float, float]] = attrs.field(factory=dict)

    def estimate(self, first: int, last: int) -> tuple[float, float]:
        """Whether these chunks are a whole turn, as the turn-end model has it, and the CPU seconds that it took."""
        assert self.turn_end is not None
        key = (first, last)
        if key not in self._estimates:
            started = time.process_time()
            probability = self.turn_end(self.pcm[first * 1024 : (last + 1) * 1024])
            self._estimates[key] = (probability, time.process_time() - started)
        return self._estimates[key]

    @property
    def estimates_s(self) -> list[float]:
        """The CPU seconds of each estimate so far."""
        return [took for _, took in self._estimates.values()]

    def text(self, first: int, last: int, silence_s: float) -> tuple[str, float]:
        """What is understood of the chunks from ``first`` to ``last``, and the CPU seconds that it took.

        Args:
            first: the utterance's first chunk.
            last: the chunk with which its pause was noticed.
            silence_s: of the pause until then; the decode gets as much more as the recogniser gives it.
        """
        key = (first, last)
        if key not in self._texts:
            started = time.process_time()
            padding = bytes(seconds_to_bytes(max(0.0, PADDED_S - silence_s), RATE))
            decoded = self.handle.decode(self.pcm[first * 1024 : (last + 1) * 1024] + padding)
            self._texts[key] = (decoded.text, time.process_time() - started)
        return self._texts[key]


@attrs.frozen(kw_only=True)
class Outcome:
    """One utterance in one arm."""

    voice: str
    cut: bool
    wait_s: float
    """From the last word's end to the endpoint behind it."""


async def recorded(clips: Iterable[Clip]) -> list[Recorded]:
    """The clips, with their voice activity."""
    handle = Handle()
    session = load() if is_present(SMART_TURN) else None
    turn_end = None if session is None else partial(estimate, session)
    found = []
    for clip in clips:
        detector = await SileroVoiceActivity().open()
        pcm = clip.recording.pcm
        probabilities = [detector.process(pcm[at : at + 1024]) for at in range(0, len(pcm) - 1023, 1024)]
        found.append(Recorded(clip=clip, pcm=pcm, probabilities=probabilities, handle=handle, turn_end=turn_end))
    return found


def outcomes(clips: Sequence[Recorded], settings: Settings, *, estimates: bool = False) -> list[Outcome]:
    """Every clip with these settings, with or without the turn-end model; those of one voice one after the other."""
    voices: dict[str, _Listening] = {}
    return [voices.setdefault(each.clip.voice, _Listening(settings, estimates)).hear(each) for each in clips]


def false_cut_rate(found: Sequence[Outcome]) -> Metric:
    """The share of utterances that were cut, as a figure."""
    rate = sum(each.cut for each in found) / len(found)
    return attrs.evolve(summary([rate], "share"), n=len(found))


class _Listening:
    """One conversation with one voice: the core, and an ear on the time of the audio."""

    def __init__(self, settings: Settings, estimates: bool) -> None:  # noqa: FBT001 - as `outcomes` has it
        self._settings = settings
        self._estimates = estimates
        self._c = Conversation(settings=settings)
        self._now = 0.0
        self._detector = UtteranceDetector(settings, _CHUNK_S)
        for event in (
            ev.ClientAttached(),
            ev.ConversationStartRequested(),
            ev.ListenerOpened(estimates=estimates),
            ev.RecognizerReady(),
        ):
            self._tell(event)

    def _tell(self, event: ev.Event) -> None:
        self._c, commands = step(self._c, attrs.evolve(event, at=self._now))
        for command in commands:
            if isinstance(command, SetEndpoint) and self._detector.paused and command.pause == self._detector.pauses:
                self._detector.wait_s = command.silence_s

    def hear(self, heard: Recorded) -> Outcome:
        began, first = self._now, 0
        ends: list[float] = []
        coming: list[tuple[float, ev.Event]] = []
        """What engines will have to say of the present pause, and when."""
        for number, probability in enumerate(heard.probabilities):
            self._now += _CHUNK_S
            for due in [each for each in coming if each[0] <= self._now]:
                coming.remove(due)
                self._tell(due[1])
            for change in self._detector.feed(probability):
                utterance = self._c.utterance
                match change:
                    case Heard.STARTED:
                        first = max(0, number - round(self._settings.preroll_s / _CHUNK_S))
                        self._tell(ev.SpeechStarted(utterance=utterance + 1, pause_s=self._detector.pause_s))
                    case Heard.CONFIRMED:
                        self._tell(ev.SpeechConfirmed(utterance=utterance))
                    case Heard.PAUSED:
                        self._tell(ev.SpeechPaused(utterance=utterance))
                        coming += self._judged(heard, first, number)
                    case Heard.RESUMED:
                        coming.clear()
                        self._tell(ev.SpeechResumed(utterance=utterance, pause_s=self._detector.pause_s))
                    case Heard.STOPPED:
                        coming.clear()
                        ends.append(self._now - began)
                        self._stop(utterance)
                    case Heard.ENOUGH | Heard.OVERDUE:
                        pass
        self._answer()
        last = ends[-1] if ends else len(heard.probabilities) * _CHUNK_S
        cut = any(end < heard.clip.end_s for end in ends)
        return Outcome(voice=heard.clip.voice, cut=cut, wait_s=last - heard.clip.end_s)

    def _judged(self, heard: Recorded, first: int, last: int) -> list[tuple[float, ev.Event]]:
        """What recogniser and turn-end model will make of the pause that was noticed now, each after its work."""
        found: list[tuple[float, ev.Event]] = []
        if self._settings.endpointing is Endpointing.ADAPTIVE:
            text, cost_s = heard.text(first, last, self._detector.silence_s)
            found.append((self._now + cost_s, ev.TranscriptUpdated(utterance=self._c.utterance, text=text)))
        if self._estimates:
            probability, cost_s = heard.estimate(first, last)
            told = ev.TurnEndEstimated(utterance=self._c.utterance, probability=probability)
            found.append((self._now + cost_s, told))
        return found

    def _stop(self, utterance: int) -> None:
        silence_s = self._detector.silence_s
        self._tell(ev.SpeechStopped(utterance=utterance, speech_s=1.0, silence_s=silence_s))
        self._tell(ev.TranscriptFinished(utterance=utterance, text="words"))

    def _answer(self) -> None:
        """The agent answers, and is heard to the end: the next clip is another turn."""
        if self._c.turn is None:
            return
        turn = self._c.turn.number
        self._tell(ev.PhraseReady(turn=turn, index=0, text="Yes.", first_token_at=self._now))
        self._tell(ev.AudioStarted(turn=turn))
        self._tell(ev.GenerationFinished(turn=turn, audio_s=1.0))
        self._now += 1.0
        self._tell(ev.PlaybackFinished(turn=turn, played_s=1.0))
        self._detector.forget()


def scaled(scale: float) -> Settings:
    """The default adaptive waits, longer or shorter."""
    plain = Settings()
    return attrs.evolve(
        plain,
        endpointing=Endpointing.ADAPTIVE,
        endpoint_min_s=plain.endpoint_min_s * scale,
        endpoint_s=plain.endpoint_s * scale,
        endpoint_max_s=plain.endpoint_max_s * scale,
    )


async def measure(options: Options) -> dict[str, Metric]:
    """Every clip in every arm; the first arm's decodes serve the others."""
    clips = await recorded(corpus()[:: 5 if options.quick else 1])
    metrics: dict[str, Metric] = {}
    arms = [("fixed", wait, attrs.evolve(FIXED, endpoint_s=wait)) for wait in _FIXED_S]
    arms += [("adaptive", scale, scaled(scale)) for scale in _SCALES]
    for arm, size, settings in arms:
        found = outcomes(clips, settings)
        metrics[f"{arm}.false_cut_rate@{size:g}"] = false_cut_rate(found)
        metrics[f"{arm}.wait_s@{size:g}"] = summary([each.wait_s for each in found], "s")
    if any(each.turn_end for each in clips):
        for scale in _SCALES:
            found = outcomes(clips, scaled(scale), estimates=True)
            metrics[f"smart-turn.false_cut_rate@{scale:g}"] = false_cut_rate(found)
            metrics[f"smart-turn.wait_s@{scale:g}"] = summary([each.wait_s for each in found], "s")
        cost_s = [took for each in clips for took in each.estimates_s]
        metrics["smart-turn.cpu_s"] = summary(cost_s, "s")
    for arm, settings in (("fixed", FIXED), ("adaptive", scaled(1.0))):
        found = outcomes(clips, settings)
        for voice in sorted({each.voice for each in found}):
            metrics[f"{arm}.false_cut_rate {voice}"] = false_cut_rate([each for each in found if each.voice == voice])
    return metrics


def picture(metrics: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """False cuts against latency: each arm a curve, each point a setting."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.5))
    arms = {
        "fixed": "fixed wait, s",
        "adaptive": "adaptive, times the default waits",
        "smart-turn": "the same, with smart-turn",
    }
    for arm, what in arms.items():
        sizes = [name.partition("@")[2] for name in metrics if name.startswith(f"{arm}.false_cut_rate@")]
        if not sizes:
            continue  # The model is not here.
        rates = [100 * metrics[f"{arm}.false_cut_rate@{size}"]["median"] for size in sizes]
        waits = [1000 * metrics[f"{arm}.wait_s@{size}"]["median"] for size in sizes]
        axes.plot(waits, rates, marker="o", label=what)
        for size, wait, rate in zip(sizes, waits, rates, strict=True):
            axes.annotate(size, (wait, rate), textcoords="offset points", xytext=(5, 5), fontsize=7)
    n = next(iter(metrics.values()))["n"]
    axes.set_xlabel("median silence from the last word's end to the endpoint, ms")
    axes.set_ylabel(f"utterances cut before their end, % of {n}")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
