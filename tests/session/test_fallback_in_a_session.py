"""Whole sessions whose preferred engines are dead: the conversation goes on, late once, and then as if nothing were."""

from __future__ import annotations

import pytest
import trio
from session_kit import listening

from flare_actors.agent import Agent
from flare_actors.conversation.notices import ErrorRaised, TurnEnded
from flare_actors.conversation.settings import Settings
from flare_actors.providers.compose import Attempts, fallback
from flare_actors.providers.scripted import (
    EnergyVoiceActivity,
    ScriptedLanguageModel,
    ScriptedRecognizer,
    ScriptedSynthesizer,
)
from flare_actors.testing.faults import Act, At, Fault, FaultyLanguageModel, FaultyRecognizer, FaultySynthesizer


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at=At.CONNECT, act=Act.HANG),
        Fault(at=At.FIRST, act=Act.HANG),
        Fault(at=At.FIRST, act=Act.CRASH),
        Fault(at=At.FIRST, act=Act.CRITICAL),
    ],
    ids=lambda fault: f"{fault.at.value}-{fault.act.value}",
)
async def test_dead_engines_of_every_stage_cost_their_timeouts_once_and_then_nothing(autojump_clock, fault):
    ears = [FaultyRecognizer(inner=ScriptedRecognizer(), always=fault), ScriptedRecognizer(default="what is it")]
    models = [
        FaultyLanguageModel(inner=ScriptedLanguageModel(), always=fault),
        ScriptedLanguageModel(script=["It is late."]),
    ]
    voices = [FaultySynthesizer(inner=ScriptedSynthesizer(), always=fault), ScriptedSynthesizer()]
    waits = Attempts()
    async with (
        fallback(ears) as ear,
        fallback(models) as model,
        fallback(voices) as voice,
    ):
        agent = Agent(
            voice_activity=EnergyVoiceActivity(),
            recognizer=ear,
            language_model=model,
            synthesizer=voice,
            settings=Settings(soft_endpoint_s=None),
        )
        delays = []
        async with listening(agent) as talk:
            for turn in (1, 2, 3):
                asked = trio.current_time()
                await talk.ask()
                ended = await talk.wait_turns(turn)
                delays.append(trio.current_time() - asked)
                assert ended.heard == "It is late."
            assert talk.client.all(ErrorRaised) == []
            assert len(talk.client.all(TurnEnded)) == 3

    usual = delays[2]
    assert delays[0] <= usual + 3 * (waits.connect_s + waits.first_s)
    assert delays[1] == pytest.approx(usual, abs=0.05)
    assert usual <= 1.0 + 1.0 + 0.75  # what was said, the silence behind it, and the answer
    assert [each.streams for each in (ears[0], models[0], voices[0])] == [1, 1, 1]
