"""What the README promises: its code runs, its settings are read, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.no_cover  # see conftest.py

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_its_python_runs_and_prints_what_it_says() -> None:
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hello to you too.\n", "")


def test_its_settings_are_settings(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "agent.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "flare_actors", "config", "check", str(tmp_path / "agent.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "openai" in done.stdout


def test_its_commands_are_the_two() -> None:
    assert [block.strip() for block in blocks("sh")] == [
        'python -m pip install -e ".[local]" && flare-actors serve',
        'python -m pip install -e ".[test]" && python -m pytest',
    ]


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", README))))
def test_its_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
