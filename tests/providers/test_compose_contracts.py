"""Composed providers keep their ports, whichever of those that they are made of is the one that works."""

from __future__ import annotations

import pytest
from compose_kit import HANG, RAISE, ear, model, voice

from flare_actors.conversation.calls import ToolSpec
from flare_actors.providers.compose import fallback, hedge, with_retries, with_timeouts
from flare_actors.providers.scripted import ScriptedLanguageModel
from flare_actors.testing.contracts import check_language_model, check_recognizer, check_synthesizer

WAYS = {
    "in time": lambda good, _: with_timeouts(good(), connect_s=60, first_s=60, gap_s=60),
    "retried": lambda good, _: with_retries(good()),
    "the first": lambda good, bad: fallback([good(), bad()]),
    "the second": lambda good, bad: fallback([bad(), good()]),
}
by_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@by_way
async def test_a_composed_model_keeps_its_port(autojump_clock, way):
    def good():
        return model("Yes, it is.", first_token_s=0.2, gap_s=0.1)

    await check_language_model(lambda: way(good, lambda: model("", always=RAISE)))


async def test_a_hedged_model_keeps_its_port(autojump_clock):
    await check_language_model(
        lambda: hedge(model("", always=HANG), model("Yes, it is.", first_token_s=0.2, gap_s=0.1), after_s=0.1)
    )


@by_way
async def test_a_composed_recogniser_keeps_its_port(autojump_clock, way):
    def good():
        return ear("yes it is", partials=True, delay_s=0.2)

    await check_recognizer(lambda: way(good, lambda: ear("", always=RAISE)), idle_s=300)


@by_way
async def test_a_composed_synthesizer_keeps_its_port(autojump_clock, way):
    def good():
        return voice(first_audio_s=0.2, realtime_factor=0.1)

    await check_synthesizer(lambda: way(good, lambda: voice(always=RAISE)), idle_s=300)


async def test_tools_are_offered_to_whoever_answers(autojump_clock):
    tools = (ToolSpec(name="look_up"),)
    second = ScriptedLanguageModel(tool="look_up", tool_arguments='{"what": "it"}')
    async with (
        fallback([model("", always=RAISE), second]) as both,
        both.generate([], locale="en", tools=tools, tool_choice="required") as outputs,
    ):
        calls = [output async for output in outputs]
    assert calls[-1].name == "look_up"
