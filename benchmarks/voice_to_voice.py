"""How long from the end of speech to the first audio of the answer, and until an interrupted agent is silent?

Short utterances of the corpus, played in real time to whole sessions with the embedded engines: once with a fixed wait and
nothing begun ahead, once with the defaults (the wait adapts, the answer is begun at the soft endpoint). Ends and onsets are
taken from the audio, as ``flare-actors talk`` does. The false cuts are those of ``endpointing``, over the whole corpus.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import trio

from benchmarks.corpus import LEAD_S, Clip, corpus
from benchmarks.endpointing import FIXED, false_cut_rate, outcomes, recorded
from benchmarks.report import Metric, Options, summary
from benchmarks.speech import RATE
from flare_actors.agent import Agent
from flare_actors.audio import AudioFormat, split_frames
from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.notices import PlaybackCleared, PlaybackPaused, PlaybackResumed
from flare_actors.conversation.settings import Limits, Settings
from flare_actors.conversation.states import Endpointing
from flare_actors.ports import AudioIn, AudioOut
from flare_actors.providers.local import LocalEngines, open_local
from flare_actors.session import open_session
from flare_actors.talk import STAGES, talk
from flare_actors.talk.link import RecordingLink
from flare_actors.talk.measure import WINDOW_S, first_audible, frame_bytes

__all__ = ["ARMS", "STACKS", "measure"]

INSTRUCTIONS: Final = "You are a friendly voice assistant. Answer in one short sentence."
LONG: Final = "Let me tell you a long story about a ship that sailed around the world. " * 4
SHORT_S: Final = 4.0
_LIMITS: Final = Limits(answer_chars=100)
"""Each answer is listened to; only its beginning is measured, and a first phrase is shorter."""
ARMS: Final[Mapping[str, Settings]] = {
    "fixed": Settings(endpointing=Endpointing.FIXED, soft_endpoint_s=None, limits=_LIMITS),
    "adaptive": Settings(limits=_LIMITS),
}
STACKS: Final = {arm: tuple(f"{arm}.{stage}_s" for stage in STAGES) for arm in ARMS}


def _agent(engines: LocalEngines, settings: Settings) -> Agent:
    return Agent(
        instructions=INSTRUCTIONS,
        settings=settings,
        voice_activity=engines.voice_activity,
        recognizer=engines.recognizer,
        language_model=engines.language_model,
        synthesizer=engines.synthesizer,
    )


async def waterfalls(engines: LocalEngines, clips: Sequence[Clip]) -> dict[str, list[float]]:
    """Every clip in a conversation of its own, each arm in turn: seconds by arm and stage."""
    found: dict[str, list[float]] = {f"{arm}.{name}_s": [] for arm in ARMS for name in (*STAGES, "total")}
    for clip in clips:
        for arm, settings in ARMS.items():
            report = await talk(_agent(engines, settings), clip.spoken)
            if len(report.turns) != 1 or report.turns[0].latency.total is None:
                continue  # Cut in the middle, or nothing understood: another benchmark's business.
            shares = []
            for name in (*STAGES, "total"):
                value = getattr(report.turns[0].latency, name)
                found[f"{arm}.{name}_s"].append(value)
                shares.append(f"{name} {1000 * value:.0f}")
            print(f"{clip.name}, {arm}: {', '.join(shares)} ms; {report.turns[0].transcript}", file=sys.stderr)
    return found


# --- Barge-in -------------------------------------------------------------------------------------------------------------


class _Interruption:
    """A client that lets the agent speak for a second, speaks over it, and listens until it is silent."""

    def __init__(self, link: RecordingLink, clip: Clip) -> None:
        self._link = link
        self._frames = split_frames(clip.spoken.pcm, frame_bytes(RATE))
        self._audible = trio.Event()
        self._silent = trio.Event()
        self._spoken_from = 0.0
        self._silent_at: float | None = None

    async def run(self) -> float | None:
        """Seconds from the onset in the file to the last audible sample; None: it was not interrupted."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            await self._audible.wait()
            with trio.move_on_after(10):
                await self._speak(nursery)
            nursery.cancel_scope.cancel()
        return None if self._silent_at is None else self._silent_at - self._spoken_from

    async def _speak(self, nursery: trio.Nursery) -> None:
        due = trio.current_time()
        quiet = [bytes(frame_bytes(RATE))] * 50
        for number, frame in enumerate([*quiet, *self._frames, *quiet]):
            due += WINDOW_S
            await trio.sleep_until(due)
            if number == len(quiet) + round(LEAD_S / WINDOW_S):
                self._spoken_from = due - WINDOW_S
            if not await self._link.say(AudioIn(frame)):
                break
        await self._silent.wait()
        nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        while (message := await self._link.hear()) is not None:
            if isinstance(message, AudioOut) and first_audible(message.pcm) is not None:
                self._audible.set()
            # The loudspeaker plays until it is told; all of the answer before that was speech. It stands still first, and that
            # counts if it does not go on.
            if isinstance(message, PlaybackPaused):
                self._silent_at = trio.current_time()
            elif isinstance(message, PlaybackResumed):
                self._silent_at = None
            elif isinstance(message, PlaybackCleared):
                self._silent_at = self._silent_at or trio.current_time()
                self._silent.set()


async def interrupted(engines: LocalEngines, clip: Clip) -> float | None:
    """Interrupt the agent with a clip; see ``_Interruption.run``."""
    link = RecordingLink(
        input_format=AudioFormat(sample_rate=RATE), output_format=AudioFormat(sample_rate=24_000), realtime=True
    )
    async with open_session(_agent(engines, Settings(welcome=LONG))) as session, trio.open_nursery() as nursery:
        nursery.start_soon(session.attach, link)
        await link.say(ConversationStartRequested())
        silence_s = await _Interruption(link, clip).run()
        link.hang_up()
        nursery.cancel_scope.cancel()
    return silence_s


async def measure(options: Options) -> dict[str, Metric]:
    """Waterfalls of both arms, interruptions, and the false cuts of both over the corpus."""
    clips = corpus()
    short = [clip for clip in clips if not clip.pause_s and clip.end_s <= SHORT_S]
    # Some of every voice, whatever its number of clips.
    chosen = short[:: max(1, len(short) // (6 if options.quick else 16))]
    async with open_local(instructions=INSTRUCTIONS) as engines:
        found = await waterfalls(engines, chosen)
        silences = [await interrupted(engines, clip) for clip in chosen]
    metrics = {name: summary(values, "s") for name, values in found.items() if values}
    if stopped := [silence_s for silence_s in silences if silence_s is not None]:
        metrics["barge_in_silence_s"] = summary(stopped, "s")
    heard = await recorded(clips[:: 5 if options.quick else 1])
    metrics["fixed.false_cut_rate"] = false_cut_rate(outcomes(heard, FIXED))
    metrics["adaptive.false_cut_rate"] = false_cut_rate(outcomes(heard, ARMS["adaptive"]))
    return metrics
