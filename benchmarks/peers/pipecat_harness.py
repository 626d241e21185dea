"""Pipecat, asked our questions; runs in its own virtual environment: ``python pipecat_harness.py MEASURE COUNT [default]``.

A pipeline of input transport, recogniser, user and assistant aggregators, model, synthesizer and output transport, with
scripted engines that take no time. Lean: no observers, no RTVI, no turn tracking, no idle timers, the turn ends with the
transcript (``user_speech_timeout`` 0). ``default``: a worker's observers and timers as they come; the wait after the transcript
is off there too. Prints one line of JSON: METRIC -> values.
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import sys
import time

from harness_kit import (
    CHUNK,
    SILENCE,
    TOKENS,
    Metronome,
    Phase,
    awake,
    feeder_alone_us,
    freeze,
    now,
    session_costs,
    sessions_per_core,
    tell,
    used,
)
from loguru import logger

logger.remove()

from pipecat.frames.frames import (
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StartFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.services.llm_service import LLMService
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_start import TranscriptionUserTurnStartStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

RATE = 16_000
at: dict[str, float] = {}
arrived = asyncio.Event()
forever = True


class Recognizer(STTService):
    async def run_stt(self, audio):  # an async generator of nothing: what is heard comes from the measurement
        for frame in ():
            yield frame


class Model(LLMService):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        try:
            for token in TOKENS:
                await self.push_frame(LLMTextFrame(token))
            if forever:
                await asyncio.sleep(3600)
        finally:
            at["llm_closed"] = now()
        await self.push_frame(LLMFullResponseEndFrame())


class Voice(TTSService):
    def __init__(self) -> None:
        super().__init__(sample_rate=RATE, push_start_frame=True, push_stop_frames=True)

    async def run_tts(self, text, context_id):
        try:
            given = 0
            while given < 50 or forever:
                given += 1
                yield TTSAudioRawFrame(CHUNK, RATE, 1, context_id=context_id)
                if forever:
                    await asyncio.sleep(0.0 if given < 50 else 0.02)
        finally:
            at["tts_closed"] = now()


class Input(BaseInputTransport):
    """A microphone: a frame every 20 ms; without a phase it is off."""

    def __init__(self, params, phase: Phase | None) -> None:
        super().__init__(params)
        self._phase = phase
        self._feeder = None
        self.frames = 0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        if self._phase is not None:
            self._feeder = asyncio.create_task(self._feed())

    async def _feed(self) -> None:
        while True:
            await self._phase.frame()
            self.frames += 1
            await self.push_audio_frame(InputAudioRawFrame(SILENCE, RATE, 1))

    async def cleanup(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
        await super().cleanup()


class Output(BaseOutputTransport):
    """A loudspeaker that takes audio at its pace, as Pipecat's own transports do."""

    def __init__(self, params) -> None:
        super().__init__(params)
        self._due = 0.0
        self.heard = 0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame) and "cleared" not in at:
            at["cleared"] = now()

    async def write_audio_frame(self, frame) -> bool:
        if "audio" not in at and any(frame.audio[:64]):
            at["audio"] = now()
            arrived.set()
        self.heard += len(frame.audio)
        clock = time.perf_counter()
        self._due = max(self._due, clock) + len(frame.audio) / 2 / RATE
        await asyncio.sleep(max(0.0, self._due - clock))
        return True


class Talk:
    def __init__(self, default: bool, phase: Phase | None = None, vad=None) -> None:
        params = TransportParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_in_sample_rate=RATE,
            audio_out_sample_rate=RATE,
            audio_out_end_silence_secs=0,
        )
        self.input, self.output = Input(params, phase), Output(params)
        self.started = asyncio.Event()
        pair = LLMContextAggregatorPair(
            LLMContext(),
            user_params=LLMUserAggregatorParams(
                user_turn_strategies=UserTurnStrategies(
                    start=[TranscriptionUserTurnStartStrategy()],
                    stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.0)],
                ),
                vad_analyzer=vad,
            ),
        )
        pipeline = Pipeline(
            [
                self.input,
                Recognizer(sample_rate=RATE),
                pair.user(),
                Model(),
                Voice(),
                self.output,
                pair.assistant(),
            ]  # fmt: skip
        )
        lean = {} if default else {"enable_turn_tracking": False, "enable_rtvi": False, "idle_timeout_secs": None}
        self.worker = PipelineWorker(
            pipeline,
            cancel_on_idle_timeout=False,
            params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
            **lean,
        )
        self.worker.event_handler("on_pipeline_started")(self._on_started)

    async def _on_started(self, *_) -> None:
        self.started.set()

    async def start(self) -> None:
        self.runner = WorkerRunner(handle_sigint=False, check_dangling_tasks=False)
        await self.runner.add_workers(self.worker)
        self.task = asyncio.create_task(self.runner.run())
        await asyncio.wait_for(self.started.wait(), 30)

    async def stop(self) -> None:
        await self.worker.cancel()
        await self.task


async def begun(*args, **kwargs) -> Talk:
    talk = Talk(*args, **kwargs)
    await talk.start()
    return talk


async def first_audio(count: int, default: bool) -> dict[str, list[float]]:
    found, silent, closed = [], [], []
    talk = await begun(default)
    for number in range(count + 5):
        at.clear()
        arrived.clear()
        at["transcript"] = now()
        await talk.input.push_frame(TranscriptionFrame("hello", "user", "now", finalized=True))
        await asyncio.wait_for(arrived.wait(), 20)
        first = at["audio"] - at["transcript"]
        await awake(0.03)
        at.pop("cleared", None)
        at.pop("tts_closed", None)
        decided = now()
        await talk.input.broadcast_interruption()
        for _ in range(100):
            if {"cleared", "tts_closed"} <= at.keys():
                break
            await asyncio.sleep(0.005)
        if number >= 5:
            found.append(first)
            if "cleared" in at:
                silent.append(at["cleared"] - decided)
            if "tts_closed" in at:
                closed.append(at["tts_closed"] - decided)
        await awake(0.05)
    return {"first_audio_ms": found, "output_silent_ms": silent, "tts_closed_ms": closed}


async def audio_in(count: int, default: bool, vad=None) -> dict[str, list[float]]:
    sessions, seconds, found = 20, 3.0, []
    for _ in range(count):
        alone = await feeder_alone_us(sessions, seconds, lambda: InputAudioRawFrame(SILENCE, RATE, 1))
        metronome = Metronome()
        make = (lambda: vad()) if vad is not None else (lambda: None)
        talks = [await begun(default, Phase(metronome, number, sessions), vad=make()) for number in range(sessions)]
        await asyncio.sleep(0.5)
        before = sum(talk.input.frames for talk in talks)
        took = await used(seconds)
        found.append(1e6 * took / (sum(talk.input.frames for talk in talks) - before) - alone)
        await asyncio.gather(*(talk.stop() for talk in talks))
        metronome.stop()
    return {("audio_in_us" if vad is None else "audio_in_silero_us"): found}


async def duplex(count: int, default: bool) -> dict[str, list[float]]:
    seconds, found = 4.0, []

    async def measure(sessions: int) -> tuple[float, float]:
        metronome = Metronome()
        talks = [await begun(default, Phase(metronome, number, sessions)) for number in range(sessions)]
        for talk in talks:
            await talk.worker.queue_frame(TTSSpeakFrame("This is said for as long as it takes."))
        await asyncio.sleep(2.0)
        clock, heard = time.perf_counter(), sum(talk.output.heard for talk in talks)
        took = await used(seconds)
        clock = time.perf_counter() - clock
        heard = (sum(talk.output.heard for talk in talks) - heard) / (2 * RATE)
        await asyncio.gather(*(talk.stop() for talk in talks))
        metronome.stop()
        return took / clock, heard / clock / sessions

    for _ in range(count):
        per_core, _ = await sessions_per_core(measure, 10)
        found.append(per_core)
    return {"duplex_sessions_per_core": found}


async def session_cost(count: int, default: bool) -> dict[str, list[float]]:
    costs, _ = await session_costs(lambda: begun(default), lambda talk: talk.stop(), count=count, many=30)
    return costs


async def main() -> None:
    measure, count, default = sys.argv[1], int(sys.argv[2]), "default" in sys.argv[3:]
    if measure == "audio_in_vad":
        from pipecat.audio.vad.silero import SileroVADAnalyzer

        found = await audio_in(count, default, lambda: SileroVADAnalyzer(sample_rate=RATE))
    else:
        measures = {"first_audio": first_audio, "audio_in": audio_in, "duplex": duplex, "session_cost": session_cost}
        found = await measures[measure](count, default)
    tell(found)


if __name__ == "__main__":
    freeze()
    asyncio.run(main())
