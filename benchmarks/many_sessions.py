"""Does one conversation feel the others: first audio and the evenness of speech with 1, 10, 50, 100 and 200 live sessions?

Each user says a word every few seconds, each agent answers with two seconds of speech; microphones send all the while, all
in one process. ``first_audio@N``: from the final transcript to the first audio, both as the client gets them (the benchmark
``first_audio`` begins earlier, with the engine's). ``frame_jitter@N``: how much later than there was room for it a piece of
speech came, up to 5 ms of which are the beat that it waits for; what is less than the 120 ms that a client has in hand then is
not heard. ``late_in@N``: how late the process was to take a microphone's frame. (``--engines local``: the benchmark
``many_sessions_local``.)
"""

from __future__ import annotations

import statistics
import time

import attrs
import trio

from benchmarks import floors
from benchmarks.kit import FRAME_S, LOUD, InstantEar, InstantModel, InstantVoice, Times, now_ms
from benchmarks.load import Metronome, Microphone, talking
from benchmarks.report import Metric, Options, summary
from flare_actors.actors.speaker import Speaker
from flare_actors.agent import Agent
from flare_actors.conversation.notices import TranscriptReceived
from flare_actors.conversation.settings import Settings
from flare_actors.ports import AudioIn, AudioOut, ClientMessage, ServerMessage
from flare_actors.providers.scripted import ScriptedRecognizer

__all__ = ["live", "measure"]

SIZES = (1, 10, 50, 100, 200)
_ROUND_S = 3.6
"""A word (0.4 s), the endpoint (0.48 s), an answer (2 s), a moment."""
_WORD_S = 0.4


class Talker(Microphone):
    """A user who says a word in every round, and times the answers."""

    def __init__(self, metronome: Metronome, number: int, count: int) -> None:
        super().__init__(metronome, number / count)
        self._loud = AudioIn(LOUD)
        self._offset = number / count * _ROUND_S
        self._began = time.perf_counter()
        self._asked: float | None = None
        self._turn: int | None = None
        self._first = 0.0
        self._played_s = 0.0
        self.first_audio_ms: list[float] = []
        self.jitter_ms: list[float] = []

    async def receive(self) -> ClientMessage:
        """See ``ports.ClientLink``."""
        message = await super().receive()
        if isinstance(message, AudioIn) and (self.frames * FRAME_S + self._offset) % _ROUND_S < _WORD_S:
            return self._loud
        return message

    async def send(self, *messages: ServerMessage) -> None:
        """See ``ports.ClientLink``."""
        for message in messages:
            if isinstance(message, AudioOut):
                self._hear(message)
            elif isinstance(message, TranscriptReceived) and message.final:
                self._asked = now_ms()
        await super().send(*messages)

    def _hear(self, audio: AudioOut) -> None:
        now = now_ms()
        if audio.turn != self._turn:
            self._turn, self._first, self._played_s = audio.turn, now, 0.0
            if self._asked is not None:
                self.first_audio_ms.append(now - self._asked)
                self._asked = None
        else:
            # Paced speech runs up to 0.24 s ahead, and a piece is due as soon as there is room for it.
            due = self._first + 1000 * max(0.0, self._played_s - Speaker.LEAD_S + Speaker.FRAME_S)
            self.jitter_ms.append(max(0.0, now - due))
        self._played_s += len(audio.pcm) / 32_000


async def live(count: int, seconds: float) -> list[Talker]:
    """So many users for so many seconds."""
    times = Times()
    agent = Agent(
        language_model=InstantModel(times),
        recognizer=ScriptedRecognizer(script=()),
        synthesizer=InstantVoice(times),
        voice_activity=InstantEar(),
        settings=Settings(idle_end_s=None),
    )
    async with talking(count, agent, lambda beating, number: Talker(beating, number, count)) as talks:
        await trio.sleep(_ROUND_S)
        for talk in talks:
            assert isinstance(talk.link, Talker)
            for values in (talk.link.first_audio_ms, talk.link.jitter_ms, talk.link.late_s):
                values.clear()
        await trio.sleep(seconds)
        return [talk.link for talk in talks if isinstance(talk.link, Talker)]


async def measure(options: Options) -> dict[str, Metric]:
    """More and more of them; fewer are watched for longer."""
    hop = statistics.median(await floors.channel_hop()) / 1000
    metrics = {}
    for count in SIZES[:3] if options.quick else SIZES:
        rounds = 3 if options.quick else max(10, 400 // count)
        users = await live(count, min(120.0, rounds * _ROUND_S))
        for name, values in (
            ("first_audio", [value for user in users for value in user.first_audio_ms]),
            ("frame_jitter", [value for user in users for value in user.jitter_ms]),
            ("late_in", [1000 * value for user in users for value in user.late_s]),
        ):
            metrics[f"{name}@{count}"] = attrs.evolve(summary(values, "ms", floor=hop), quantiles=[])
    return metrics
