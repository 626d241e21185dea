"""Every block of code of docs/testing.md is a test file, and passes as its reader would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


@pytest.mark.no_cover  # see conftest.py
def test_the_page_s_tests_pass(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    for number, code in enumerate(blocks):
        (tmp_path / f"test_block_{number}.py").write_text(code)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_what_the_page_names_is_there() -> None:
    import flare_actors.testing as kit
    from flare_actors.testing import contracts, invariants, machines, simulation, strategies, values

    rooms = [kit, contracts, invariants, machines, simulation, strategies, values]
    known = {name for room in rooms for name in room.__all__}
    for name in re.findall(r"`([A-Z][A-Za-z]+|check_[a-z_]+)`", PAGE):
        assert name in known, name
