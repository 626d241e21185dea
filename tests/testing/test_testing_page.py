"""Every block of Python of docs/testing.md is a test file, and passes as its reader would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:cov", str(folder)]
    return subprocess.run(call, capture_output=True, text=True, timeout=240, check=False, cwd=folder)


@pytest.mark.no_cover  # see conftest.py
def test_the_page_s_tests_pass_with_the_page_s_settings(tmp_path: Path) -> None:
    codes = blocks("python")
    assert len(codes) == 5
    for number, code in enumerate(codes):
        (tmp_path / f"test_block_{number}.py").write_text(code)
    (settings,) = blocks("toml")
    (tmp_path / "pyproject.toml").write_text(settings)
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


@pytest.mark.no_cover
def test_without_the_settings_a_test_needs_the_mark_and_fails_as_the_page_says(tmp_path: Path) -> None:
    file, code = tmp_path / "test_block.py", blocks("python")[0]
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (said,) = re.findall(r'pytest says "([^"]+)"', PAGE)
    file.write_text(code)
    assert said in pytest_in(tmp_path).stdout
    (mark,) = re.findall(r"`(@pytest\.mark\.\w+)`", PAGE)
    file.write_text("import pytest\n" + code.replace("async def test_", f"{mark}\nasync def test_"))
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_page_names_is_there() -> None:
    import flare_actors.testing as kit
    from flare_actors.testing import contracts, invariants, machines, simulation, strategies, values

    rooms = [kit, contracts, invariants, machines, simulation, strategies, values]
    known = {name for room in rooms for name in room.__all__}
    for name in re.findall(r"`([A-Z][A-Za-z]+|check_[a-z_]+)`", PAGE):
        assert name in known, name
