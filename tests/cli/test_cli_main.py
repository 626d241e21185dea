from __future__ import annotations

import subprocess
import sys

import pytest
import trio

from flare_actors.cli import main
from flare_actors.cli.main import cli
from flare_actors.errors import ConfigError, ProviderError, UnsupportedLocale

CANARY = "the heron eats at midnight"


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("serve",),
        ("talk",),
        ("models",),
        ("models", "list"),
        ("models", "fetch"),
        ("models", "verify"),
        ("models", "remove"),
        ("config",),
        ("config", "check"),
        ("config", "show"),
        ("diagram",),
    ],
)
def test_every_command_explains_itself(run, command):
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Usage: flare-actors" in out
    assert len(out) > 100


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("serv",), "No such command 'serv'"),
        (("serve", "--prot", "1"), "No such option"),
        (("talk",), "Missing argument"),
    ],
)
def test_a_wrong_command_line_is_exit_2_with_the_way_to_help(run, command, told):
    code, out, err = run(*command)
    assert code == 2
    assert out == ""
    assert told in err
    assert "--help" in err


@pytest.fixture
def failing(monkeypatch):
    """Make ``flare-actors diagram`` raise."""

    def failing(error: BaseException) -> None:
        def callback(**_):
            raise error

        monkeypatch.setattr(cli.commands["diagram"], "callback", callback)

    return failing


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("agent.toml: wrong\nagent.toml: wrong too"), 2),
        (UnsupportedLocale("stt", "Moonshine", "sv-SE", ("en",)), 2),
        (ProviderError("llm", "gone"), 1),
        (ExceptionGroup("", [ProviderError("llm", "gone"), ExceptionGroup("", [ConfigError("wrong")])]), 1),
        (ExceptionGroup("", [ConfigError("wrong")]), 2),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_was_raised_on_purpose_is_told_in_a_line_each_without_a_traceback(run, failing, error, code):
    failing(error)
    got, out, err = run("diagram")
    assert got == code
    assert out == ""
    assert "Traceback" not in err
    assert "File" not in err
    assert all(line.startswith("Error: ") for line in err.splitlines() if line)
    if isinstance(error, ConfigError):
        assert len(err.splitlines()) == 2


@pytest.mark.parametrize("grouped", [False, True])
def test_a_bug_is_told_with_where_but_without_anybodys_words(capsys, failing, grouped):
    bug = ValueError(CANARY)
    failing(ExceptionGroup("tasks", [bug, ProviderError("llm", "gone")]) if grouped else bug)
    with pytest.raises((ValueError, ExceptionGroup)) as flying:
        main(["diagram"])
    sys.excepthook(flying.type, flying.value, flying.tb)  # as Python does, before it exits with 1
    err = capsys.readouterr().err
    assert "ValueError" in err
    assert "File" in err
    assert "this is a bug" in err
    assert CANARY not in err


def test_a_reader_that_went_away_is_no_failure(run, failing, monkeypatch):
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back what the command takes away
    failing(BrokenPipeError())
    code, _, err = run("diagram")
    assert (code, err) == (0, "")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "flare_actors", "diagram"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("stateDiagram-v2")


def test_help_loads_nothing_heavy():
    heavy = ["cattrs", "h11", "httpx2", "matplotlib", "numpy", "onnxruntime", "soxr", "structlog", "trio_websocket"]
    program = f"import sys, flare_actors.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_event_loop_is_left_running(run):
    run("diagram")
    with pytest.raises(RuntimeError):
        trio.lowlevel.current_task()
