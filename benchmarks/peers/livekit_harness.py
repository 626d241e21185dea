"""LiveKit Agents, asked our questions; in its own environment: ``python livekit_harness.py MEASURE COUNT [default]``.

An ``AgentSession`` with scripted engines that take no time and our own audio input and output; no room, no server. Its
artificial waits are off: endpointing delays 0, no false-interruption timer, no wait for its speech model to warm up, no VAD
(or its own Silero in ``audio_in_vad``). ``default`` leaves its waits as they are. Prints one line of JSON: METRIC -> values.
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import logging
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
from livekit import rtc
from livekit.agents import Agent, AgentSession, llm, stt, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice import io

RATE = 16_000
at: dict[str, float] = {}
arrived = asyncio.Event()
forever = True
endless = False


class Recognizer(stt.STT):
    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.streams: list[Recognition] = []

    async def _recognize_impl(self, *args, **kwargs):  # abstract in its base class
        raise AssertionError("an engine that streams is not asked for whole utterances")

    def stream(self, *, language=None, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        self.streams.append(Recognition(stt=self, conn_options=conn_options))
        return self.streams[-1]


class Recognition(stt.RecognizeStream):
    async def _run(self) -> None:
        async for _ in self._input_ch:
            pass

    def hear(self, text: str) -> None:
        send = self._event_ch.send_nowait
        send(stt.SpeechEvent(type=stt.SpeechEventType.START_OF_SPEECH))
        at["transcript"] = now()
        data = stt.SpeechData(language="en", text=text)
        send(stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data]))
        send(stt.SpeechEvent(type=stt.SpeechEventType.END_OF_SPEECH))


class Model(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **kwargs):
        return Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Answer(llm.LLMStream):
    async def _run(self) -> None:
        try:
            for token in TOKENS:
                delta = llm.ChoiceDelta(role="assistant", content=token)
                self._event_ch.send_nowait(llm.ChatChunk(id="x", delta=delta))
            if forever:
                await asyncio.sleep(3600)
        finally:
            at["llm_closed"] = now()


class Voice(tts.TTS):
    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=True), sample_rate=RATE, num_channels=1)

    def synthesize(self, text, *, conn_options=DEFAULT_API_CONNECT_OPTIONS):  # abstract in its base class
        raise AssertionError("an engine that streams is not asked for whole texts")

    def stream(self, *, conn_options=DEFAULT_API_CONNECT_OPTIONS):
        return Speech(tts=self, conn_options=conn_options)


class Speech(tts.SynthesizeStream):
    async def _run(self, output_emitter) -> None:
        output_emitter.initialize(
            request_id="x", sample_rate=RATE, num_channels=1, mime_type="audio/pcm", stream=True, frame_size_ms=20
        )
        output_emitter.start_segment(segment_id="x")
        try:
            text = ""
            async for piece in self._input_ch:
                if not isinstance(piece, str):
                    continue
                text += piece
                while "." in text:  # a sentence, as a vendor's own splitter would find it
                    _, _, text = text.partition(".")
                    self._mark_started()
                    given = 0
                    while given < 50 or endless:
                        given += 1
                        output_emitter.push(CHUNK)
                        if forever:
                            await asyncio.sleep(0.0 if given < 50 else 0.02)
            if forever:
                await asyncio.sleep(3600)
            output_emitter.end_segment()
        finally:
            at["tts_closed"] = now()


class Microphone(io.AudioInput):
    """A frame every 20 ms; without a phase it is off."""

    def __init__(self, phase: Phase | None = None) -> None:
        super().__init__(label="microphone")
        self._phase = phase
        self.frames = 0

    async def __anext__(self) -> rtc.AudioFrame:
        if self._phase is None:
            await asyncio.sleep(3600)
        await self._phase.frame()
        self.frames += 1
        return rtc.AudioFrame(SILENCE, RATE, 1, 320)


class Loudspeaker(io.AudioOutput):
    """Takes frames at once, plays them in real time, tells when it is done."""

    def __init__(self) -> None:
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE)
        self._queued = 0.0
        self.heard_s = 0.0

    async def capture_frame(self, frame) -> None:
        if "audio" not in at:
            at["audio"] = now()
            arrived.set()
        await super().capture_frame(frame)
        self._queued += frame.duration
        self.heard_s += frame.duration

    def flush(self) -> None:
        super().flush()

    def clear_buffer(self) -> None:
        if "cleared" not in at:
            at["cleared"] = now()
        if self._queued:
            self._queued = 0.0
            self.on_playback_finished(playback_position=0.02, interrupted=True)


async def start(default: bool, vad=None, microphone=None):
    recognizer = Recognizer()
    options = {"turn_detection": "stt"}
    waits = {}
    if not default:
        options |= {
            "endpointing": {"min_delay": 0.0, "max_delay": 0.0},
            "interruption": {"mode": "vad", "resume_false_interruption": False, "false_interruption_timeout": None},
            "preemptive_generation": {"enabled": False},
        }
        waits = {"user_away_timeout": None, "aec_warmup_duration": None, "session_close_transcript_timeout": 0.0}
    session = AgentSession(stt=recognizer, vad=vad, llm=Model(), tts=Voice(), turn_handling=options, **waits)
    session.input.audio = microphone or Microphone()
    session.output.audio = Loudspeaker()
    await session.start(Agent(instructions=""), record=False)
    while not recognizer.streams:
        await asyncio.sleep(0.001)
    return session, recognizer


async def turn(session, recognizer) -> None:
    at.clear()
    arrived.clear()
    recognizer.streams[-1].hear("hello")
    await asyncio.wait_for(arrived.wait(), 20)


async def first_audio(count: int, default: bool) -> dict[str, list[float]]:
    found, silent, closed = [], [], []
    session, recognizer = await start(default)
    for number in range(count + 5):
        await turn(session, recognizer)
        first = at["audio"] - at["transcript"]
        await awake(0.03)
        decided = now()
        await session.interrupt(force=True)
        for _ in range(200):
            if {"cleared", "tts_closed", "llm_closed"} <= at.keys():
                break
            await asyncio.sleep(0.005)
        if number >= 5:
            found.append(first)
            if "cleared" in at:
                silent.append(at["cleared"] - decided)
            if "tts_closed" in at:
                closed.append(at["tts_closed"] - decided)
        await awake(0.02)
    await session.aclose()
    return {"first_audio_ms": found, "output_silent_ms": silent, "tts_closed_ms": closed}


async def audio_in(count: int, default: bool, vad=None) -> dict[str, list[float]]:
    sessions, seconds, found = 20, 3.0, []

    for _ in range(count):
        alone = await feeder_alone_us(sessions, seconds, lambda: rtc.AudioFrame(SILENCE, RATE, 1, 320))
        metronome = Metronome()
        links = [Microphone(Phase(metronome, number, sessions)) for number in range(sessions)]
        talks = [await start(default, vad, link) for link in links]
        await asyncio.sleep(0.5)
        before = sum(link.frames for link in links)
        took = await used(seconds)
        found.append(1e6 * took / (sum(link.frames for link in links) - before) - alone)
        await asyncio.gather(*(session.aclose() for session, _ in talks))
        metronome.stop()
    return {("audio_in_us" if vad is None else "audio_in_silero_us"): found}


async def duplex(count: int, default: bool) -> dict[str, list[float]]:
    global endless
    endless = True
    seconds, metronome, talks = 4.0, Metronome(), []

    async def measure(sessions: int) -> tuple[float, float]:
        # More come to those that talk already: speech that does not end cannot be closed in an orderly way.
        for number in range(len(talks), sessions):
            talks.append(await start(default, None, Microphone(Phase(metronome, number % 4, 4))))
            talks[-1][1].streams[-1].hear("hello")
        await asyncio.sleep(2.0)
        clock, heard = time.perf_counter(), sum(session.output.audio.heard_s for session, _ in talks)
        took = await used(seconds)
        clock = time.perf_counter() - clock
        heard = sum(session.output.audio.heard_s for session, _ in talks) - heard
        return took / clock, heard / clock / sessions

    del count
    per_core, _ = await sessions_per_core(measure, 20)
    return {"duplex_sessions_per_core": [per_core]}


async def session_cost(count: int, default: bool) -> dict[str, list[float]]:
    costs, talks = await session_costs(lambda: start(default), lambda talk: talk[0].aclose(), count=count, many=50)
    await asyncio.gather(*(session.aclose() for session, _ in talks))
    return costs


async def main() -> None:
    measure, count, default = sys.argv[1], int(sys.argv[2]), "default" in sys.argv[3:]
    logging.disable(logging.CRITICAL)
    async with utils.http_context.open() if hasattr(utils.http_context, "open") else _nothing():
        if measure == "audio_in_vad":
            from livekit.agents import inference

            found = await audio_in(count, default, inference.VAD(model="silero"))
        else:
            found = await {
                "first_audio": first_audio,
                "audio_in": audio_in,
                "duplex": duplex,
                "session_cost": session_cost,
            }[measure](count, default)
    tell(found)


class _nothing:
    async def __aenter__(self):
        return None

    async def __aexit__(self, *exc):
        return None


if __name__ == "__main__":
    freeze()
    asyncio.run(main())
