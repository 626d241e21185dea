"""Whoever adds an engine holds it against its port, too: the list of which test does that for which engine is whole."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from flare_actors.providers.registry import BUILT_IN

HERE = Path(__file__).parent
CHECKED = {
    "vad.silero": "test_engines_keep_their_ports.py::test_silero_keeps_its_port_by_itself_and_with_many_streams_at_once",
    "vad.smart_turn": "test_engines_keep_their_ports.py::test_smart_turn_keeps_its_port_whatever_its_network_says",
    "vad.scripted": "../testing/test_voice_activity_contract.py::test_the_detector_for_tests_keeps_its_port",
    "stt.moonshine": "test_engines_keep_their_ports.py::test_moonshine_keeps_its_port_whatever_its_engine_says",
    "stt.openai": "test_engines_keep_their_ports.py::test_providers_behind_http_keep_their_ports",
    "stt.wyoming": "test_engines_keep_their_ports.py::test_wyoming_clients_keep_their_ports",
    "stt.deepgram": "test_websocket_speech.py::test_a_service_that_listens_keeps_its_port",
    "stt.assemblyai": "test_websocket_speech.py::test_a_service_that_listens_keeps_its_port",
    "stt.scripted": "../testing/test_contracts.py::test_the_scripted_recogniser_keeps_its_port",
    "llm.local": "test_engines_keep_their_ports.py::test_the_local_model_keeps_its_port",
    "llm.openai": "test_engines_keep_their_ports.py::test_providers_behind_http_keep_their_ports",
    "llm.anthropic": "test_engines_keep_their_ports.py::test_providers_behind_http_keep_their_ports",
    "llm.scripted": "../testing/test_contracts.py::test_the_scripted_model_keeps_its_port",
    "tts.hibari": "test_engines_keep_their_ports.py::test_hibari_keeps_its_port_whatever_its_engine_says",
    "tts.openai": "test_engines_keep_their_ports.py::test_providers_behind_http_keep_their_ports",
    "tts.wyoming": "test_engines_keep_their_ports.py::test_wyoming_clients_keep_their_ports",
    "tts.elevenlabs": "test_websocket_speech.py::test_a_service_that_speaks_keeps_its_port",
    "tts.cartesia": "test_websocket_speech.py::test_a_service_that_speaks_keeps_its_port",
    "tts.scripted": "../testing/test_contracts.py::test_the_scripted_synthesizer_keeps_its_port",
}


def test_every_engine_that_is_shipped_is_held_against_its_port() -> None:
    assert set(CHECKED) == set(BUILT_IN)


@pytest.mark.parametrize("test", sorted(set(CHECKED.values())))
def test_the_test_that_does_so_is_there_and_runs_a_check(test: str) -> None:
    file, _, name = test.partition("::")
    module = ast.parse((HERE / file).read_text(encoding="utf-8"))
    (found,) = [each for each in module.body if isinstance(each, ast.AsyncFunctionDef) and each.name == name]
    called = {each.id for each in ast.walk(found) if isinstance(each, ast.Name)}
    checks = {"check", "check_recognizer", "check_language_model", "check_synthesizer", "check_voice_activity"}
    assert called & checks
