"""The simulator: deterministic, clean on what is here, and red on every bug that is planted."""

from __future__ import annotations

import json
import subprocess
import sys

import planted_bugs
import pytest
from click.testing import CliRunner

from flare_actors.cli.simulate import simulate as command
from flare_actors.errors import ConfigError
from flare_actors.testing.simulation import (
    FAULT_KINDS,
    load_script,
    make_script,
    play,
    save_script,
    shrink,
    simulate,
)

no_cover = pytest.mark.no_cover  # walks the same lines over and over: see conftest.py

TURNS = 2_000
SESSIONS = 1_000
"""A bug that lets nobody have a turn is not searched for for ever."""


@no_cover
def test_sessions_with_every_fault_break_no_promise() -> None:
    report = simulate(sessions=15, virtual_hours=1.0, seed=2)
    assert [outcome.violation for _, outcome in report.failed] == []
    assert report.violations == report.stuck == report.leaked_tasks == 0
    assert report.turns > 200
    assert report.faults > 50
    assert report.barge_ins > 10


@no_cover
def test_the_same_seed_gives_the_same_trace_in_another_process_and_another_seed_another_one() -> None:
    code = "from flare_actors.testing.simulation import *; print(simulate(sessions=2, virtual_hours=.05, seed={}).trace_sha256)"
    first, again, other = (
        subprocess.run(
            [sys.executable, "-c", code.format(seed)],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, hash_seed in ((3, "1"), (3, "2"), (4, "1"))
    )
    assert first == again
    assert first != other


def test_without_faults_none_is_noticed() -> None:
    report = simulate(sessions=3, virtual_hours=0.1, seed=1, faults=())
    assert report.faults == report.violations == 0


@no_cover
@pytest.mark.parametrize("plant", planted_bugs.PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant: planted_bugs.Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    turns = 0
    for number in range(SESSIONS):
        script = make_script(7, number, seconds=60.0, faults=FAULT_KINDS)
        outcome = play(script)
        turns += outcome.turns
        if outcome.violation:
            monkeypatch.undo()
            assert play(script).violation == "", "without the bug nothing is wrong with that session"
            return
        if turns >= TURNS:
            break
    pytest.fail(f"{plant.__doc__} Not found in {turns} turns.")


@no_cover
def test_a_failing_session_is_saved_shrunk_and_played_again(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    planted_bugs.double_end(monkeypatch)
    script = next(
        script
        for script in (make_script(1, number, seconds=60.0, faults=()) for number in range(100))
        if play(script).violation
    )
    small, outcome = shrink(script)
    assert outcome.violation
    assert len(small.moves) <= 2
    assert len(small.settings) <= 2
    file = tmp_path / "failed.json"
    save_script(small, file, violation=outcome.violation, trace=outcome.trace)
    assert load_script(file) == small
    assert play(load_script(file)).violation == outcome.violation
    monkeypatch.undo()
    assert play(load_script(file)).violation == ""


def test_a_session_with_every_kind_of_fault_can_be_saved_and_read(tmp_path) -> None:
    file = tmp_path / "session.json"
    for number in range(20):
        script = make_script(1, number, seconds=60.0, faults=FAULT_KINDS)
        assert any(any(faults) for faults in script.faults.values())
        save_script(script, file)
        assert load_script(file) == script


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"script": 1}', '{"script": {"seed": 1}}'])
def test_a_file_that_holds_no_session_is_refused(content: str, tmp_path) -> None:
    file = tmp_path / "no.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match="holds no simulated session"):
        load_script(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_script(tmp_path / "absent.json")


def run(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flare_actors", "simulate", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_command_prints_its_figures_and_writes_the_same_trace_twice(tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    figures = json.loads(
        run("--sessions", "2", "--virtual-hours", "0.05", "--json", "--trace", str(one), "--jobs", "1")
    )
    text = run("--sessions", "2", "--virtual-hours", "0.05", "--trace", str(two), "--jobs", "2")
    assert one.read_bytes() == two.read_bytes() != b""
    keys = "sessions conversations turns barge_ins faults violations stuck leaked_tasks virtual_seconds real_seconds"
    assert set(keys.split()) <= set(figures)
    assert f"turns              {figures['turns']}" in text


def test_the_command_saves_a_small_session_that_fails_and_says_how_to_play_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    planted_bugs.double_end(monkeypatch)
    call = [
        "--sessions",
        "2",
        "--virtual-hours",
        "0.02",
        "--jobs",
        "1",
        "--shrink",
        "--save",
        str(tmp_path),
    ]
    result = CliRunner().invoke(command, call)
    assert result.exit_code == 1
    assert "ended twice" in result.stderr
    file, other = sorted(tmp_path.iterdir())
    again = [line for line in result.stderr.splitlines() if line.startswith("play it again")]
    assert again == [f"play it again: flare-actors simulate --replay {each}" for each in (file, other)]
    assert len(load_script(file).moves) <= 2
    assert json.loads(file.read_text())["trace"]

    again = CliRunner().invoke(command, ["--replay", str(file)])
    assert again.exit_code == 1
    assert "ended twice" in again.output
    monkeypatch.undo()
    assert "no promise was broken" in run("--replay", str(file))


def test_the_command_refuses_what_it_cannot_do(tmp_path) -> None:
    assert "no such fault: fire" in run("--faults", "fire", code=2)
    assert "there is no folder" in run("--save", str(tmp_path / "absent"), code=2)
    assert "cannot be read" in run("--replay", str(tmp_path / "absent.json"), code=2)
    assert "--sessions" in run("--sessions", "0", code=2)


def test_the_command_plays_a_saved_session_again(tmp_path) -> None:
    file = tmp_path / "session.json"
    save_script(make_script(1, 1, seconds=10.0, faults=()), file)
    assert "no promise was broken" in run("--replay", str(file))
