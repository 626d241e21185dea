"""Every example is run as its reader would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

RUNS = {
    "embed_in_your_server.py": (["--demo"], "heard 60 ms of an answer"),
    "custom_provider.py": ([], "heard: library friendly a is Trio it is."),
}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_an_example_does_what_its_docstring_says(name: str) -> None:
    arguments, expected = RUNS[name]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=EXAMPLES.parent,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert done.stderr == ""


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(RUNS)
