"""Timelines as SVG: panels below each other, in each of them lanes, in those what lasts (boxes) and what happens (marks).

Nothing here knows what the pictures are of. The same panels give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Final, Literal

import attrs

__all__ = ["Box", "Cut", "Mark", "Panel", "svg"]

_STYLES: Final[dict[str, tuple[str, str, str | None]]] = {
    "voice": ("#2b7a9b", "#fff", None),
    "silence": ("#dcebf1", "#222", "#2b7a9b"),
    "button": ("#d9dde1", "#222", None),
    "answer": ("#d9622b", "#fff", None),
    "still": ("#f3d3c3", "#222", "#d9622b"),
    "next": ("#8a5fb0", "#fff", None),
    "work": ("#4f7d4b", "#fff", None),
    "held": ("#d8e6d5", "#222", "#4f7d4b"),
    "lost": ("#e6e6e6", "#222", "#777"),
}
"""Filling, letters, and the dashes around what only waits."""


@attrs.frozen(kw_only=True)
class Box:
    """Something that lasts."""

    lane: str
    start: float
    end: float
    style: str
    words: Sequence[str] = ()
    """What is written into it: the first that there is room for."""
    anchor: Literal["start", "end"] = "start"
    """At which end of it that is written."""


@attrs.frozen(kw_only=True)
class Mark:
    """Something that is said or told at a moment: its words stand above the lane."""

    lane: str
    at: float
    words: str


@attrs.frozen(kw_only=True)
class Cut:
    """Where something ends before its end: its words stand below the lane."""

    lane: str
    at: float
    words: str


@attrs.frozen(kw_only=True)
class Panel:
    """One story."""

    title: str
    lanes: Sequence[str]
    boxes: Sequence[Box]
    marks: Sequence[Mark] = ()
    cuts: Sequence[Cut] = ()


_WIDTH: Final = 900
_LEFT: Final = 96
_RIGHT: Final = 24
_TITLE: Final = 36
_LANE: Final = 24
_BETWEEN: Final = 22
_BELOW: Final = 32
_AXIS: Final = 44
_LABEL: Final = 13
_LETTER: Final = 7  # wide in 12 px, at most on average
_DARK: Final = "#222"


def svg(panels: Sequence[Panel], *, first_s: float, last_s: float) -> str:
    """The picture.

    Args:
        panels: from top to bottom.
        first_s: the moment at its left edge, in seconds of the panels' own.
        last_s: ... and at its right one; what comes later is cut off.
    """
    picture = _Picture(first_s, last_s)
    for panel in panels:
        picture.draw(panel)
    return picture.finish("; ".join(panel.title for panel in panels))


class _Picture:
    def __init__(self, first_s: float, last_s: float) -> None:
        self._first_s, self._last_s = first_s, last_s
        self._scale = (_WIDTH - _LEFT - _RIGHT) / (last_s - first_s)
        self._top = 0
        self._parts: list[str] = []

    def draw(self, panel: Panel) -> None:
        """One more panel, below the others."""
        self._text(8, self._top + 16, panel.title, size=14)
        places = {lane: self._top + _TITLE + number * (_LANE + _BETWEEN) for number, lane in enumerate(panel.lanes)}
        for lane, y in places.items():
            self._text(8, y + 17, lane)
        for box in panel.boxes:
            self._box(places[box.lane], box)
        for lane, y in places.items():
            self._marks(y, [mark for mark in panel.marks if mark.lane == lane])
        for cut in panel.cuts:
            if self._first_s <= cut.at < self._last_s:
                y = places[cut.lane]
                self._line(self._x(cut.at), y - 4, y + _LANE + 6)
                self._text(self._x(cut.at), y + _LANE + 17, cut.words, size=11, anchor="middle")
        self._top += _TITLE + len(panel.lanes) * (_LANE + _BETWEEN) - _BETWEEN + _BELOW

    def finish(self, label: str) -> str:
        """The axis, and all of it as SVG."""
        for half in range(math.ceil(2 * self._first_s), math.floor(2 * self._last_s) + 1):
            x = self._x(half / 2)
            self._line(x, self._top + 8, self._top + 14)
            self._text(x, self._top + 28, f"{half / 2:g} s", anchor="middle", size=11)
        height = self._top + _AXIS
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img" aria-label="{escape(label)}" font-family="system-ui, sans-serif">'
        )
        return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *self._parts, "</svg>"]) + "\n"

    def _x(self, seconds: float) -> float:
        """Where a moment is."""
        return _LEFT + (min(self._last_s, max(self._first_s, seconds)) - self._first_s) * self._scale

    def _box(self, y: int, box: Box) -> None:
        fill, letters, dashes = _STYLES[box.style]
        x, width = self._x(box.start), self._x(box.end) - self._x(box.start)
        if width <= 0:
            return
        stroke = "" if dashes is None else f' stroke="{dashes}" stroke-dasharray="4 3"'
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_LANE:.1f}" rx="3" fill="{fill}"{stroke}/>'
        )
        words = next((each for each in box.words if len(each) * _LETTER + 4 <= width), None)
        if words is not None:
            self._text(
                x + 5 if box.anchor == "start" else x + width - 5, y + 17, words, anchor=box.anchor, fill=letters
            )

    def _marks(self, y: int, marks: Sequence[Mark]) -> None:
        seen = [(self._x(mark.at), mark.words) for mark in marks if self._first_s <= mark.at < self._last_s]
        for (x, words), (following, _) in pairwise([*seen, (float(_WIDTH), "")]):
            # Where the next mark stands in the way the words go above it.
            above = _LABEL if x + 3 + len(words) * _LETTER > following else 0
            self._line(x, y - 4 - above, y + _LANE + 4, dashed=True)
            self._text(x + 3, y - 6 - above, words, size=11)

    def _line(self, x: float, top: float, bottom: float, *, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="2 3"' if dashed else ""
        self._parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{_DARK}"{dash}/>')

    def _text(
        self, x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, fill: str = _DARK
    ) -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'
        )
