"""The timelines of docs/turn-taking.md are what the sessions of today do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def timelines() -> ModuleType:
    spec = importlib.util.spec_from_file_location("timelines", ROOT / ".ci" / "timelines.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_current(timelines: ModuleType) -> None:
    for name in timelines.SCENES:
        shown = (ROOT / "docs" / "images" / "turn-taking" / f"{name}.svg").read_text(encoding="utf-8")
        assert shown == timelines.draw(name), "run: python .ci/update_docs.py"


def test_the_page_shows_every_picture(timelines: ModuleType) -> None:
    page = (ROOT / "docs" / "turn-taking.md").read_text(encoding="utf-8")
    assert all(f"(images/turn-taking/{name}.svg)" in page for name in timelines.SCENES)
