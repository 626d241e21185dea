from __future__ import annotations

import logging
import os
import sys

import pytest
import structlog

from flare_actors.cli import main
from flare_actors.providers.scripted import tone
from flare_actors.talk import write_wav

SCRIPTED = """
[agent]
instructions = "Be brief."
[providers.vad]
use = "scripted"
[providers.stt]
use = "scripted"
script = ["one two", "three four"]
delay_s = 0.05
[providers.llm]
use = "scripted"
script = ["First answer.", "Second answer."]
[providers.tts]
use = "scripted"
chars_per_second = 40.0
"""


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch):
    """No variable of the developer's, and logging as it was."""
    for name in list(os.environ):
        if name.startswith("FLARE_ACTORS_") and name not in ("FLARE_ACTORS_REQUIRE_ALL", "FLARE_ACTORS_CACHE"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run(capsys):
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*args) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return stopped.value.code, out, err

    return run


@pytest.fixture
def scripted(tmp_path):
    """An agent file whose engines need nothing."""
    file = tmp_path / "scripted.toml"
    file.write_text(SCRIPTED, encoding="utf-8")
    return file


@pytest.fixture
def question(tmp_path):
    """A recording of two utterances."""
    file = tmp_path / "question.wav"
    write_wav(file, bytes(6_400) + tone(0.6) + bytes(32_000) + tone(0.6) + bytes(3_200), 16_000)
    return file
