"""The four speech services as their documentation describes them, on loopback: strict about what they are sent, and able to
misbehave. No live service was ever asked what it really does."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from flare_actors.providers.scripted import tone

KEY = "canary-key"
WORDS = ["hello", "wide", "world"]


@attrs.define
class Stub:
    """What a service was asked, and how it is to behave."""

    headers: dict[str, str]
    """That it insists on; the one with the key is refused with 401, others with 400."""
    path: str
    query: dict[str, str]
    fault: str | None = None
    """``reject-429``, ``reject-503``, ``hang``, ``silent``, ``drop``, ``bye``, ``garbage``, ``error``, ``policy``."""
    violations: list[str] = attrs.field(factory=list)
    received: list[object] = attrs.field(factory=list)
    """JSON messages, and lengths of binary ones."""
    open: int = 0
    most_open: int = 0
    dialled: int = 0
    url: str = ""

    async def serve(self, request: WebSocketRequest) -> None:
        self.dialled += 1
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        if self.fault == "hang":
            await trio.sleep_forever()
        if self.fault is not None and self.fault.startswith("reject-"):
            await request.reject(int(self.fault.removeprefix("reject-")))
            return
        for name, value in self.headers.items():
            if headers.get(name) != value:
                await request.reject(401 if KEY in value else 400)
                return
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        if url.path != self.path or query != self.query:
            self.violations.append(f"{url.path} {query}")
            await request.reject(404)
            return
        socket = await request.accept()
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self.talk(socket)
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1

    async def talk(self, socket: WebSocketConnection) -> None:
        raise NotImplementedError

    async def get(self, socket: WebSocketConnection) -> object:
        message = await socket.get_message()
        if isinstance(message, bytes):
            self.received.append(len(message))
            return message
        said = json.loads(message)
        self.received.append(said)
        return said

    async def refuse(self, socket: WebSocketConnection, why: str) -> None:
        self.violations.append(why)
        await socket.aclose(1008, why)

    async def misbehave(self, socket: WebSocketConnection) -> None:
        """Do what the fault says; anything after it is the service's usual way."""
        match self.fault:
            case "silent":
                await trio.sleep_forever()
            case "drop":
                await socket._stream.aclose()
                raise ConnectionClosed(None)
            case "bye":
                await socket.aclose(1000)
            case "policy":
                await socket.aclose(1008, "unpaid")
            case "garbage":
                await socket.send_message("{no json")
            case "error":
                await socket.send_message(json.dumps(self.error()))

    def error(self) -> object:
        raise NotImplementedError


class Deepgram(Stub):
    lag_s = 0.0
    """How far its results are behind what it got."""

    async def talk(self, socket):
        heard, told = 0.0, 0
        while True:
            message = await self.get(socket)
            if isinstance(message, bytes):
                if len(message) % 2 or not message:
                    return await self.refuse(socket, "odd audio")
                heard += len(message) / 32_000
                await self.misbehave(socket)
                if heard >= 0.4 * (told + 1) and told < len(WORDS):
                    told += 1
                    await self.tell(socket, told, heard, final=told == 2)
            elif message == {"type": "KeepAlive"}:
                pass
            elif message == {"type": "CloseStream"}:
                await self.tell(socket, len(WORDS), heard, final=True)
                await socket.send_message(json.dumps({"type": "Metadata", "duration": heard, "channels": 1}))
                return await socket.aclose(1000)
            else:
                return await self.refuse(socket, f"unknown message {message}")

    async def tell(self, socket, words, heard, *, final):
        # The first two words are one stretch, the rest another.
        first = words <= 2
        text = " ".join(WORDS[:words] if first else WORDS[2:words])
        start = 0.0 if first else 0.8
        result = {
            "type": "Results",
            "channel_index": [0, 1],
            "start": start,
            "duration": heard - start - self.lag_s,
            "is_final": final,
            "speech_final": False,
            "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": []}]},
        }
        await socket.send_message(json.dumps(result))

    def error(self):
        return {"type": "Error", "description": "canary words", "message": "canary", "code": "NET-0000"}


class AssemblyAI(Stub):
    async def talk(self, socket):
        await socket.send_message(json.dumps({"type": "Begin", "id": "x", "expires_at": 1}))
        heard, told = 0.0, 0
        while True:
            message = await self.get(socket)
            if isinstance(message, bytes):
                if not 1_600 <= len(message) <= 32_000:
                    return await self.refuse(socket, f"{len(message) / 32} ms of audio; 50 to 1000 are allowed")
                heard += len(message) / 32_000
                await self.misbehave(socket)
                if heard >= 0.4 * (told + 1) and told < len(WORDS):
                    told += 1
                    await self.tell(socket, told, end=False)
            elif message == {"type": "ForceEndpoint"}:
                await self.tell(socket, len(WORDS), end=True)
            elif message == {"type": "Terminate"}:
                done = {"type": "Termination", "audio_duration_seconds": heard, "session_duration_seconds": heard}
                await socket.send_message(json.dumps(done))
                return await socket.aclose(1000)
            else:
                return await self.refuse(socket, f"unknown message {message}")

    async def tell(self, socket, words, *, end):
        turn = {
            "type": "Turn",
            "turn_order": 0,
            "turn_is_formatted": False,
            "end_of_turn": end,
            "transcript": " ".join(WORDS[:words]),
            "end_of_turn_confidence": 0.5,
            "words": [],
            "utterance": "",
        }
        await socket.send_message(json.dumps(turn))

    def error(self):
        return {"type": "Error", "error_code": 3006, "error": "canary words"}


def spoken(text: str, rate: int = 24_000) -> bytes:
    return tone(len(text.strip()) / 15, rate)


class ElevenLabs(Stub):
    async def talk(self, socket):
        first = await self.get(socket)
        if not isinstance(first, dict) or first.get("text") != " " or set(first) > {"text", "voice_settings"}:
            return await self.refuse(socket, "the first message must hold a space")
        waiting = ""
        while True:
            message = await self.get(socket)
            if not isinstance(message, dict) or not isinstance(message.get("text"), str):
                return await self.refuse(socket, f"unknown message {message}")
            if message["text"] and not message["text"].endswith(" "):
                return await self.refuse(socket, "text must end in a space")
            waiting += message["text"]
            ends = message["text"] == ""
            if waiting.strip() and (message.get("flush") or ends):
                await self.misbehave(socket)
                await self.say(socket, waiting)
                waiting = ""
            if ends:
                await socket.send_message(json.dumps({"audio": None, "isFinal": True}))
                return await socket.aclose(1000)

    async def say(self, socket, text):
        pcm, size = spoken(text), 9_601  # a sample cut in two
        starts = range(0, len(pcm), size)
        for number, start in enumerate(starts):
            chars = list(text[number * len(text) // len(starts) : (number + 1) * len(text) // len(starts)])
            length_ms = len(pcm[start : start + size]) / 48
            begins = [length_ms * index / len(chars) for index in range(len(chars))]
            audio = {
                "audio": base64.b64encode(pcm[start : start + size]).decode(),
                "isFinal": None,
                "alignment": {
                    "chars": chars,
                    "charStartTimesMs": begins,
                    "charDurationsMs": [length_ms / max(1, len(chars))] * len(chars),
                },
                "normalizedAlignment": None,
            }
            await socket.send_message(json.dumps(audio))

    def error(self):
        return {"message": "canary words", "error": "quota_exceeded", "code": 1008}


class Cartesia(Stub):
    FIELDS = frozenset(
        {"model_id", "transcript", "voice", "language", "context_id", "output_format", "continue", "add_timestamps"}
    )

    async def talk(self, socket):
        contexts: set[str] = set()
        while True:
            message = await self.get(socket)
            if not isinstance(message, dict) or set(message) != self.FIELDS:
                return await self.refuse(socket, f"unknown message {message}")
            output = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
            if message["output_format"] != output or message["continue"] or message["context_id"] in contexts:
                return await self.refuse(socket, "a format, a continued context or a context used twice")
            contexts.add(message["context_id"])
            await self.misbehave(socket)
            common = {"done": False, "status_code": 206, "context_id": message["context_id"]}
            pcm, text = spoken(message["transcript"]), message["transcript"]
            ends = [match.end() * len(pcm) / 48_000 / len(text) for match in re.finditer(r"\S+", text)]
            told = {"words": text.split(), "start": [0.0, *ends[:-1]], "end": ends}
            await socket.send_message(json.dumps({"type": "timestamps", "word_timestamps": told, **common}))
            for start in range(0, len(pcm), 9_601):
                data = base64.b64encode(pcm[start : start + 9_601]).decode()
                await socket.send_message(json.dumps({"type": "chunk", "data": data, "step_time": 1, **common}))
            await socket.send_message(json.dumps({**common, "type": "done", "done": True}))

    def error(self):
        return {"type": "error", "done": True, "title": "canary", "message": "canary", "error_code": "model_not_found"}


@asynccontextmanager
async def running(stub: Stub) -> AsyncGenerator[Stub]:
    """The service, on a port of its own."""
    async with trio.open_nursery() as nursery:
        serve: Callable[..., object] = serve_websocket
        server = await nursery.start(serve, stub.serve, "127.0.0.1", 0, None)
        stub.url = f"ws://127.0.0.1:{server.port}"
        yield stub
        nursery.cancel_scope.cancel()


def deepgram(fault: str | None = None) -> Deepgram:
    query = {
        "model": "nova-3",
        "language": "en-US",
        "encoding": "linear16",
        "sample_rate": "16000",
        "channels": "1",
        "interim_results": "true",
        "punctuate": "true",
    }
    return Deepgram(headers={"authorization": f"Token {KEY}"}, path="/v1/listen", query=query, fault=fault)


def assemblyai(fault: str | None = None) -> AssemblyAI:
    query = {
        "speech_model": "universal-streaming-english",
        "sample_rate": "16000",
        "encoding": "pcm_s16le",
        "format_turns": "false",
    }
    return AssemblyAI(headers={"authorization": KEY}, path="/v3/ws", query=query, fault=fault)


def elevenlabs(fault: str | None = None) -> ElevenLabs:
    query = {"model_id": "eleven_flash_v2_5", "output_format": "pcm_24000", "sync_alignment": "true"}
    path = "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb/stream-input"
    return ElevenLabs(headers={"xi-api-key": KEY}, path=path, query=query, fault=fault)


def cartesia(fault: str | None = None) -> Cartesia:
    headers = {"authorization": f"Bearer {KEY}", "cartesia-version": "2026-03-01"}
    return Cartesia(headers=headers, path="/tts/websocket", query={}, fault=fault)
