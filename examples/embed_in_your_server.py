"""Your Trio server, with a voice: one conversation per WebSocket, beside everything else that you run.

    python examples/embed_in_your_server.py               # serves on ws://127.0.0.1:8901
    python examples/embed_in_your_server.py --port 9000   # ... or there
    python examples/embed_in_your_server.py --demo        # also calls itself once, prints what it heard, and stops

The server, its handler and its wire format are yours: binary messages are audio (PCM16, 16 kHz, mono) in both
directions, text messages are JSON. ``BrowserLink`` translates between that and the values of a session; the rest is one
call to ``run_session``. When a client leaves, when your nursery is cancelled, when the handler fails: the session is gone
with the block that it runs in.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, open_websocket_url, serve_websocket

from flare_actors import Agent, AudioFormat, AudioIn, AudioOut, LinkClosed, Settings, run_session
from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.notices import ResponseTextDone, SessionEnded, StateChanged
from flare_actors.ports import ClientMessage, ServerMessage
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
    tone,
)


class BrowserLink:
    """A ``ClientLink`` over your own WebSocket and your own messages."""

    input_format = AudioFormat(sample_rate=16_000)
    output_format = AudioFormat(sample_rate=16_000)
    realtime = True
    reports_playback = False
    pauses_playback = False

    def __init__(self, websocket: WebSocketConnection) -> None:
        self._websocket = websocket

    async def receive(self) -> ClientMessage:
        """Audio as it comes; the text message "start" begins the conversation."""
        while True:
            try:
                message = await self._websocket.get_message()
            except ConnectionClosed:
                raise LinkClosed("the browser has gone") from None
            if isinstance(message, bytes):
                return AudioIn(message[: len(message) // 2 * 2])
            if message == "start":
                return ConversationStartRequested()

    async def send(self, *messages: ServerMessage) -> None:
        """What your client wants to know of the conversation; the rest is left out."""
        try:
            for message in messages:
                match message:
                    case AudioOut(pcm=pcm):
                        await self._websocket.send_message(pcm)
                    case StateChanged(new=state):
                        await self._websocket.send_message(json.dumps({"state": state.value}))
                    case ResponseTextDone(text=text):
                        await self._websocket.send_message(json.dumps({"answer": text}))
                    case SessionEnded(reason=reason):
                        await self._websocket.send_message(json.dumps({"ended": reason.value}))
                    case _:
                        pass
        except ConnectionClosed:
            raise LinkClosed("the browser has gone") from None

    async def aclose(self) -> None:
        """Close the WebSocket."""
        await self._websocket.aclose()


async def handle(agent: Agent, request: WebSocketRequest) -> None:
    """Your handler: accept, talk, done."""
    websocket = await request.accept()
    reason = await run_session(BrowserLink(websocket), agent)
    print(f"a session ended: {reason.value}")


async def your_other_work() -> None:
    """Whatever else your server does; it shares nothing with the sessions but the event loop."""
    await trio.sleep_forever()


async def call(url: str) -> None:
    """A client: says something, waits for the answer to begin to play, and hangs up."""
    async with open_websocket_url(url) as websocket:
        await websocket.send_message("start")
        utterance = tone(0.6) + bytes(2 * 16_000)
        for start in range(0, len(utterance), 640):
            await websocket.send_message(utterance[start : start + 640])
            await trio.sleep(0.02)
        while True:
            message = await websocket.get_message()
            if isinstance(message, bytes):
                print(f"heard {len(message) / 32:.0f} ms of an answer")
                return
            print(message)


async def main(*, port: int, demo: bool) -> str | None:
    """Your server's own nursery. Gives what went wrong, if anything did."""
    agent = Agent(
        instructions="You are brief.",
        language_model=ScriptedLanguageModel(script=["Hello! You are talking to somebody else's server."]),
        recognizer=ScriptedRecognizer(),
        synthesizer=ScriptedSynthesizer(),
        voice_activity=EnergyVoiceActivity(),
        settings=Settings(),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(your_other_work)
        try:
            server = await nursery.start(
                partial(serve_websocket, partial(handle, agent), "127.0.0.1", port, ssl_context=None)
            )
        except OSError as error:  # Here it is one error; what leaves a nursery is a group of them.
            nursery.cancel_scope.cancel()
            return f"cannot listen on port {port}: {error.strerror}; stop what listens there, or use another --port"
        print(f"serving on ws://127.0.0.1:{server.port}")
        if demo:
            await call(f"ws://127.0.0.1:{server.port}")
            await trio.sleep(0.2)  # Let the handler say its last word.
            nursery.cancel_scope.cancel()
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8901, help="0: any free one")
    parser.add_argument("--demo", action="store_true", help="call yourself once, on any free port, then stop")
    chosen = parser.parse_args()
    sys.exit(trio.run(partial(main, port=0 if chosen.demo else chosen.port, demo=chosen.demo)))
