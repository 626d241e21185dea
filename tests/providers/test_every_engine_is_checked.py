"""Whoever adds an engine holds it against its port, too: the list of which test does that for which engine is whole."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from flare_actors.providers.registry import BUILT_IN

HERE = Path(__file__).parent
CHECKED = {
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
"""Voice activity detectors are not here: they have no streams, and there is no contract check for them."""


def test_every_engine_that_is_shipped_is_held_against_its_port() -> None:
    assert set(CHECKED) == {name for name in BUILT_IN if not name.startswith("vad.")}


@pytest.mark.parametrize("test", sorted(set(CHECKED.values())))
def test_the_test_that_does_so_is_there_and_runs_a_check(test: str) -> None:
    file, _, name = test.partition("::")
    module = ast.parse((HERE / file).read_text(encoding="utf-8"))
    (found,) = [each for each in module.body if isinstance(each, ast.AsyncFunctionDef) and each.name == name]
    called = {each.id for each in ast.walk(found) if isinstance(each, ast.Name)}
    checks = {"check", "check_recognizer", "check_language_model", "check_synthesizer"}
    assert called & checks
