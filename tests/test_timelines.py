"""The timelines of docs/turn-taking.md are what the sessions of today do."""

from __future__ import annotations

import importlib.util
import itertools
import re
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


def test_every_mark_has_its_words_and_no_words_stand_on_others(timelines: ModuleType) -> None:
    picture = timelines.draw("barge-in")
    marks = [float(x) for x in re.findall(r'<line x1="([\d.]+)"[^>]*stroke-dasharray', picture)]
    labels = [
        (float(x), float(y), words)
        for x, y, words in re.findall(
            r'<text x="([\d.]+)" y="([\d.]+)" font-size="11" text-anchor="start" [^>]*>([^<]+)<', picture
        )
        if "on (" not in words and words not in {"stands still", "goes on"}
    ]
    assert [x for x, _, _ in labels] == [mark + 3 for mark in marks]
    assert [words for _, _, words in labels] == [
        "understood: mhm",
        "understood: stop that",
        "stop that is",
        "stop that is enough",
        "understood: stop",
    ]
    for (x, y, words), (following, other, _) in itertools.combinations(labels, 2):
        assert y != other or x + 6 * len(words) < following or following < x
