"""``flare-actors simulate`` tells a terminal how far it is, and nobody else."""

from __future__ import annotations

import json
import os
import sys

import pytest

from flare_actors.cli.simulate import _Progress
from flare_actors.testing.simulation import Outcome

CALL = ("simulate", "--sessions", "3", "--virtual-hours", "0.01", "--jobs", "1")
TIMES = {"real_seconds", "turns_per_second"}


def test_a_terminal_is_told_how_far_it_is_and_what_goes_to_a_file_stays_as_it_was(run, tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    code, plain, err = run(*CALL, "--json", "--trace", one)
    assert (code, err) == (0, "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, shown, err = run(*CALL, "--json", "--trace", two)
    assert code == 0
    assert err.startswith("\r0 of 3 sessions, 0 turns, 0 s, violations: 0")
    assert err.endswith(" \r"), "it is wiped"
    assert "\n" not in err
    assert shown.count("\n") == plain.count("\n") == 1
    told = [{name: value for name, value in json.loads(text).items() if name not in TIMES} for text in (plain, shown)]
    assert told[0] == told[1]
    assert one.read_bytes() == two.read_bytes() != b""


def test_the_line_is_drawn_at_most_once_a_second(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    now = 100.0
    with _Progress(2_000, lambda: now) as tell:
        for number in range(200):
            tell(Outcome(number=number, turns=2, violation="" if number else "nobody answered"))
            now += 1 / 64
        assert capsys.readouterr().err.split("\r")[1:] == [
            "0 of 2000 sessions, 0 turns, 0 s, violations: 0",
            "65 of 2000 sessions, 130 turns, 1 s, violations: 1",
            "129 of 2000 sessions, 258 turns, 2 s, violations: 1",
            "193 of 2000 sessions, 386 turns, 3 s, violations: 1",
        ]


def test_the_line_is_wiped_whatever_happens(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def interrupted() -> None:
        with _Progress(2_000):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    line, wiped = capsys.readouterr().err.split("\r")[1:-1]
    assert wiped == " " * len(line)


def test_a_narrow_terminal_gets_one_line_too(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 42)
    monkeypatch.setattr(os, "get_terminal_size", lambda file: os.terminal_size((20 if file == 42 else 200, 10)))
    with _Progress(100):
        pass
    assert capsys.readouterr().err == "\r0 of 100 sessions, \r" + " " * 19 + "\r"


def test_without_a_terminal_nothing_is_told(capsys):
    with _Progress(1) as tell:
        tell(Outcome(number=0))
    assert capsys.readouterr().err == ""
