"""Every shipped engine, held against its port by the public contract checks; those in threads also with a fake inside."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from http_kinds import KINDS, Kind
from http_stub import Exchange, listening
from test_hibari import FakeEngine
from test_moonshine import fake_handles
from test_smart_turn import Listening
from test_wyoming import speaks, streams, understands
from wyoming_stub import asr, only_describe, tts, wyoming

from benchmarks.speech import recording
from flare_actors.providers import hibari as hibari_module
from flare_actors.providers import smart_turn as smart_turn_module
from flare_actors.providers.hibari import open_hibari
from flare_actors.providers.llama_local import LlamaSettings, open_llama_local
from flare_actors.providers.moonshine import MoonshineSettings, open_moonshine
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer
from flare_actors.providers.silero import SileroVoiceActivity, open_silero
from flare_actors.providers.smart_turn import SmartTurnVoiceActivity
from flare_actors.providers.wyoming import (
    WyomingSttSettings,
    WyomingTtsSettings,
    open_wyoming_recognizer,
    open_wyoming_synthesizer,
)
from flare_actors.testing import FaultyLanguageModel, FaultyRecognizer, FaultySynthesizer
from flare_actors.testing.contracts import (
    check_language_model,
    check_recognizer,
    check_synthesizer,
    check_voice_activity,
)


def slowly(kind: Kind) -> Callable[[], Any]:
    @asynccontextmanager
    async def against_a_slow_server():
        async def answer(exchange: Exchange) -> None:
            await trio.sleep(0.002)
            await exchange.head(200, kind.kind)
            for part in kind.parts:
                await exchange.send(part)
                await trio.sleep(0.002)
            await exchange.end()

        async with listening(answer) as server, kind.open(server.url) as provider:
            yield provider

    return against_a_slow_server


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
async def test_providers_behind_http_keep_their_ports(kind) -> None:
    check = {"llm": check_language_model, "stt": check_recognizer, "tts": check_synthesizer}[kind.stage]
    await check(slowly(kind), most=20)


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "not streaming"])
async def test_wyoming_clients_keep_their_ports(streaming) -> None:
    @asynccontextmanager
    async def recognizer():
        async with (
            wyoming(only_describe, streams if streaming else understands, info=asr("en", streams=streaming)) as server,
            open_wyoming_recognizer(WyomingSttSettings(uri=server.uri)) as opened,
        ):
            yield opened

    @asynccontextmanager
    async def synthesizer():
        async with (
            wyoming(only_describe, speaks(), info=tts(streaming, joe=["en_US"])) as server,
            open_wyoming_synthesizer(WyomingTtsSettings(uri=server.uri)) as opened,
        ):
            yield opened

    await check_recognizer(recognizer, most=20)
    await check_synthesizer(synthesizer, most=20)


async def test_moonshine_keeps_its_port_whatever_its_engine_says(monkeypatch) -> None:
    fake_handles(monkeypatch)
    await check_recognizer(open_moonshine, most=20)


async def test_hibari_keeps_its_port_whatever_its_engine_says(monkeypatch) -> None:
    monkeypatch.setattr(hibari_module, "_load", FakeEngine)
    await check_synthesizer(open_hibari, most=20)


def real_speech(seconds: int = 1) -> bytes:
    """The beginning of somebody's; PCM16 at 16 kHz."""
    return (recording("two_cities.wav")[: seconds * 16_000] * 32_767).astype("<i2").tobytes()


@pytest.mark.needs("local")
@pytest.mark.parametrize("make", [SileroVoiceActivity, open_silero], ids=["not loaded yet", "loaded"])
async def test_silero_keeps_its_port_by_itself_and_with_many_streams_at_once(make) -> None:
    await check_voice_activity(make, speech=real_speech(2), chunk_s=math.inf)  # How fast it is, `audio_in` measures.


@pytest.mark.needs("local")
async def test_smart_turn_keeps_its_port_whatever_its_network_says(monkeypatch) -> None:
    monkeypatch.setattr(smart_turn_module, "load", Listening)
    await check_voice_activity(SmartTurnVoiceActivity, speech=real_speech(2), most=4, chunk_s=math.inf)


async def test_what_stands_around_an_engine_for_its_faults_keeps_the_port_without_any(autojump_clock) -> None:
    await check_language_model(lambda: FaultyLanguageModel(inner=ScriptedLanguageModel(gap_s=0.1)))
    await check_recognizer(lambda: FaultyRecognizer(inner=ScriptedRecognizer(partials=True)), idle_s=300)
    await check_synthesizer(lambda: FaultySynthesizer(inner=ScriptedSynthesizer()), idle_s=300)


@pytest.mark.needs("local")
async def test_the_real_moonshine_keeps_its_port() -> None:
    one = MoonshineSettings(handles=1)
    await check_recognizer(lambda: open_moonshine(one), speech=real_speech(), most=2, patience_s=200)


@pytest.mark.needs("local")
async def test_the_real_hibari_keeps_its_port() -> None:
    await check_synthesizer(open_hibari, phrases=("Yes.", "Good."), most=2, patience_s=200)


@pytest.mark.needs("weights")
async def test_the_local_model_keeps_its_port() -> None:
    # One thread: several spin while they wait for each other, and other tests run beside this one.
    settings = LlamaSettings(slots=4, context_tokens=512, max_tokens=4, examples=False, threads=1)
    await check_language_model(lambda: open_llama_local(settings), most=2, patience_s=200)
