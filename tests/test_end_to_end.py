"""A person's recording through a real WebSocket, the real server and the real engines: understood, and answered audibly."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from flare_actors import Agent, Reason, Settings, State
from flare_actors.audio import level_db
from flare_actors.conversation import events as ev
from flare_actors.conversation import notices as no
from flare_actors.ports import AudioIn, AudioOut
from flare_actors.server import serve
from flare_actors.wire import flare

pytestmark = [pytest.mark.needs("weights"), pytest.mark.no_cover]  # see conftest.py

RATE = 16_000
FRAME = RATE // 50
AGAIN = 15  # frames: 0.3 s, the shortest wait for the end of what is said
RECORDED_S = 20.8  # of the recording: ten of its phrases, and half of the pause after them
PATIENCE_S = 60.0  # for a language model on two busy cores


class Caller:
    """Plays a recording into the microphone, politely: it is silent while the agent works and speaks."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self.websocket = websocket
        self.transcripts: list[str] = []
        self.errors: list[no.ErrorRaised] = []
        self.answers: dict[int, bytearray] = {}
        self.ended: Reason | None = None
        self.waiting_for_answer = False
        """What was said last is not. (What is said before an answer is heard is one question with what was said before.)"""
        self._my_turn = trio.Event()

    async def listen(self) -> None:
        while self.ended is None:
            message = flare.decode_server(await self.websocket.get_message())
            match message:
                case no.TranscriptReceived(final=True, text=text):
                    self.transcripts.append(text)
                    self.waiting_for_answer = True
                case no.ErrorRaised():
                    self.errors.append(message)
                case no.UserSpeechStopped():
                    self._my_turn = trio.Event()
                case no.NothingHeard() | no.StateChanged(new=State.LISTENING):
                    self._my_turn.set()
                case AudioOut(turn=turn, pcm=pcm):
                    await self._hear(turn, pcm)
                case no.SessionEnded(reason=reason):
                    self.ended = reason
                case _:
                    pass

    async def _hear(self, turn: int, pcm: bytes) -> None:
        """Half a second of an answer is enough to know that it is one."""
        if turn not in self.answers:
            self.waiting_for_answer = False
        heard = self.answers.setdefault(turn, bytearray())
        heard += pcm
        if len(heard) >= RATE > len(heard) - len(pcm):
            await self.websocket.send_message(flare.encode_client(ev.InterruptRequested()))

    async def speak(self, pcm: bytes) -> None:
        await self._my_turn.wait()
        due = trio.current_time()
        at = 0
        while at < len(pcm):
            due = await self._say(pcm[at : at + 2 * FRAME], due)
            at += 2 * FRAME
            if not self._my_turn.is_set():
                with trio.fail_after(PATIENCE_S):
                    while (
                        not self._my_turn.is_set()
                    ):  # A microphone goes on: what was begun meanwhile comes to its end.
                        due = await self._say(bytes(2 * FRAME), due)
                # A word that was begun is said again. (The end of speech is told after more silence than that.)
                at = max(0, at - AGAIN * 2 * FRAME)

    async def _say(self, frame: bytes, due: float) -> float:
        """Send a frame at its time; the time of the next."""
        await self.websocket.send_message(flare.encode_client(AudioIn(frame)))
        due = max(due, trio.current_time() - 0.2) + FRAME / RATE
        await trio.sleep_until(due)
        return due


def not_speech() -> bytes:
    """Two seconds of silence, of noise, and of knocks on the table."""
    rng = np.random.default_rng(1)
    second = np.arange(2 * RATE)
    knocks = np.exp(-(second % (RATE // 2)) / 300) * rng.standard_normal(2 * RATE)
    parts = np.concatenate([np.zeros(2 * RATE), 0.05 * rng.standard_normal(2 * RATE), 0.5 * knocks])
    return bytes(np.clip(parts * 32767, -32768, 32767).astype("<i2").tobytes())


async def test_a_recording_of_a_human_is_understood_and_answered_and_noise_is_not() -> None:
    from benchmarks.speech import REFERENCES, recording, word_error_rate
    from flare_actors.providers.local import open_local

    instructions = "Answer in one short sentence."
    samples = recording("two_cities.wav")[: round(RECORDED_S * RATE)]
    human = bytes(np.clip(samples * 32767, -32768, 32767).astype("<i2").tobytes())
    async with open_local(instructions=instructions) as engines, trio.open_nursery() as nursery:
        agent = Agent(
            instructions=instructions,
            voice_activity=engines.voice_activity,
            recognizer=engines.recognizer,
            language_model=engines.language_model,
            synthesizer=engines.synthesizer,
            settings=Settings(),
        )
        server = await nursery.start(partial(serve, agent, port=0))
        url = f"ws://127.0.0.1:{server.port}{flare.PATH}"
        async with open_websocket_url(url, subprotocols=[flare.SUBPROTOCOL]) as websocket:
            await websocket.send_message(
                flare.encode_client(flare.StartSession(input_sample_rate=RATE, output_sample_rate=RATE))
            )
            await websocket.send_message(flare.encode_client(ev.ConversationStartRequested()))
            caller = Caller(websocket)
            nursery.start_soon(caller.listen)
            await caller.speak(not_speech())
            assert caller.transcripts == []
            assert caller.answers == {}
            await caller.speak(human + bytes(4 * RATE))
            with trio.fail_after(PATIENCE_S):
                while caller.waiting_for_answer:
                    await caller.speak(bytes(RATE // 5))
            assert caller.answers
            await websocket.send_message(flare.encode_client(ev.SessionEndRequested()))
            with trio.fail_after(PATIENCE_S):
                while caller.ended is None:
                    await trio.sleep(0.05)
            await websocket.aclose()
            await websocket._stream.aclose()  # the library forgets to, where the server closes first
        nursery.cancel_scope.cancel()

    assert caller.errors == []
    assert len(caller.transcripts) >= 3
    said, *_ = REFERENCES["two_cities.wav"].partition(", we had")
    assert word_error_rate(said, " ".join(caller.transcripts)) <= 0.10, caller.transcripts
    for heard in caller.answers.values():
        assert not math.isclose(level_db(bytes(heard)), -120.0)
        assert max(level_db(bytes(heard[at : at + 640])) for at in range(0, len(heard), 640)) > -40
    assert caller.ended is Reason.SESSION_ENDED
