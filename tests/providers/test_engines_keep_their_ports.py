"""Every shipped engine, held against its port by the public contract checks; those in threads also with a fake inside."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from test_hibari import FakeEngine
from test_moonshine import fake_handles
from test_openai_chat import COUNTS, DONE, STOP, event, serving

from benchmarks.speech import recording
from flare_actors.providers import hibari as hibari_module
from flare_actors.providers.hibari import open_hibari
from flare_actors.providers.llama_local import LlamaSettings, open_llama_local
from flare_actors.providers.moonshine import MoonshineSettings, open_moonshine
from flare_actors.testing.contracts import check_language_model, check_recognizer, check_synthesizer


@asynccontextmanager
async def openai_against_a_slow_server():
    async def answer(exchange) -> None:
        await trio.sleep(0.005)
        await exchange.head()
        for part in (event("Yes,"), event(" it is."), STOP, COUNTS, DONE):
            await exchange.send(part)
            await trio.sleep(0.005)
        await exchange.end()

    async with serving(answer, retries=0) as (chat, _):
        yield chat


async def test_openai_chat_keeps_its_port() -> None:
    await check_language_model(openai_against_a_slow_server)


async def test_moonshine_keeps_its_port_whatever_its_engine_says(monkeypatch) -> None:
    fake_handles(monkeypatch)
    await check_recognizer(open_moonshine, most=20)


async def test_hibari_keeps_its_port_whatever_its_engine_says(monkeypatch) -> None:
    monkeypatch.setattr(hibari_module, "_load", FakeEngine)
    await check_synthesizer(open_hibari, most=20)


@pytest.mark.needs("local")
async def test_the_real_moonshine_keeps_its_port() -> None:
    speech = (recording("two_cities.wav")[:16_000] * 32_767).astype("<i2").tobytes()
    one = MoonshineSettings(handles=1)
    await check_recognizer(lambda: open_moonshine(one), speech=speech, most=2, patience_s=200)


@pytest.mark.needs("local")
async def test_the_real_hibari_keeps_its_port() -> None:
    await check_synthesizer(open_hibari, phrases=("Yes.", "Good."), most=2, patience_s=200)


@pytest.mark.needs("weights")
async def test_the_local_model_keeps_its_port() -> None:
    settings = LlamaSettings(slots=4, context_tokens=512, max_tokens=4, examples=False)
    await check_language_model(lambda: open_llama_local(settings), most=2, patience_s=200)
