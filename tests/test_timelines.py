"""The timelines of the docs are what the sessions of today do."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def timelines() -> ModuleType:
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        return importlib.import_module("timelines")
    finally:
        sys.path.remove(str(ROOT / ".ci"))


@pytest.fixture(scope="module")
def drawn(timelines: ModuleType) -> dict[str, str]:
    return {name: draw() for name, draw in timelines.PICTURES.items()}


def test_the_pictures_are_current(drawn: dict[str, str]) -> None:
    for name, picture in drawn.items():
        shown = (ROOT / "docs" / "images" / "turn-taking" / f"{name}.svg").read_text(encoding="utf-8")
        assert shown == picture, "run: python .ci/update_docs.py"


def test_the_pages_show_every_picture_and_no_other(drawn: dict[str, str]) -> None:
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("turn-taking.md", "latency.md")]
    assert sorted(re.findall(r"\(images/turn-taking/([^)]+)\.svg\)", "".join(pages))) == sorted(drawn)
    assert sorted(path.stem for path in (ROOT / "docs" / "images" / "turn-taking").iterdir()) == sorted(drawn)


def labels_of(picture: str) -> list[tuple[float, float, str]]:
    """Where the words of marks stand, and what they are."""
    pattern = r'<text x="([\d.]+)" y="([\d.]+)" font-size="11" text-anchor="start" [^>]*>([^<]+)<'
    return [(float(x), float(y), words) for x, y, words in re.findall(pattern, picture)]


def test_every_mark_has_its_words_and_no_words_stand_on_others(drawn: dict[str, str]) -> None:
    for picture in drawn.values():
        marks = [float(x) for x in re.findall(r'<line x1="([\d.]+)"[^>]*stroke-dasharray', picture)]
        assert [x for x, _, _ in labels_of(picture)] == [mark + 3 for mark in marks]
        for (x, y, words), (following, other, _) in itertools.combinations(labels_of(picture), 2):
            assert y != other or x + 6 * len(words) < following or following < x


def test_the_pictures_show_what_their_titles_say(drawn: dict[str, str]) -> None:
    assert [words for _, _, words in labels_of(drawn["barge-in"])] == [
        "understood: mhm",
        "understood: stop that",
        "stop that is",
        "stop that is enough",
        "understood: stop",
    ]
    fixed, finished, cut, _, hesitating, _ = re.findall(r">(\d\.\d\d) s<", drawn["endpointing"])
    assert float(finished) < float(fixed) == float(cut) < float(hesitating)
    assert drawn["endpointing"].count("interrupted; heard") == 1, "the one that is cut"
    assert drawn["speculation"].count("thrown away, unheard") == 1
    assert drawn["speculation"].count(">held<") == 2
    assert drawn["push-to-talk"].count("interrupted; heard") == 1
