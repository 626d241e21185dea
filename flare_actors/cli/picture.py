"""The transition table as a picture: places and bends are chosen by hand, what is drawn comes from the table.

What all states of a running conversation share (they may fail, and be ended) is drawn once, as arrows from the frame around
them. A transition that the table gains or loses appears or vanishes here too; a new one may need a bend of its own.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from flare_actors.conversation.states import State
from flare_actors.conversation.table import TRANSITIONS
from flare_actors.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

__all__ = ["png"]

_Point: TypeAlias = tuple[float, float]

_S = State
_PLACES: Final[Mapping[State, _Point]] = {
    _S.IDLE: (0.0, 7.6),
    _S.INITIALIZING: (0.0, 5.4),
    _S.PREPARING_WELCOME: (4.6, 5.4),
    _S.PLAYING_WELCOME: (9.2, 5.4),
    _S.LISTENING: (0.0, 1.9),
    _S.PROCESSING_SPEECH: (4.6, 3.0),
    _S.PREPARING_RESPONSE: (9.2, 1.9),
    _S.PLAYING_RESPONSE: (4.6, 0.8),
    _S.ERROR: (0.0, -1.4),
    _S.ENDED: (14.4, 3.1),
}
"""Centres of the boxes."""
_WIDTH: Final = 3.1
_HEIGHT: Final = 0.8
_FRAME: Final = frozenset(State) - {_S.IDLE, _S.ENDED, _S.ERROR}
_LEFT, _BOTTOM, _RIGHT, _TOP = -2.0, 0.0, 11.2, 6.2  # the frame: around all of _FRAME

# From where to where, and how bent, where the straight line between the centres would cross something.
_ROUTES: Final[Mapping[tuple[State, State], tuple[_Point, _Point, str]]] = {
    (_S.IDLE, _S.INITIALIZING): ((-0.6, 7.2), (-0.6, 5.8), "arc3"),
    (_S.IDLE, _S.ENDED): ((1.55, 7.6), (14.4, 3.5), "angle,angleA=0,angleB=90,rad=12"),
    (_S.ERROR, _S.LISTENING): ((-0.6, -1.0), (-0.6, 1.5), "arc3"),
    (_S.ERROR, _S.ENDED): ((1.55, -1.4), (14.4, 2.7), "angle,angleA=0,angleB=90,rad=12"),
    (_S.ERROR, _S.IDLE): ((-1.55, -1.4), (-1.55, 7.6), "arc,angleA=180,angleB=180,armA=55,armB=55,rad=12"),
    (_S.PREPARING_WELCOME, _S.LISTENING): ((3.6, 5.0), (0.45, 2.3), "arc3,rad=0.12"),
    (_S.PLAYING_WELCOME, _S.LISTENING): ((8.4, 5.0), (0.95, 2.3), "arc3,rad=0.2"),
    (_S.LISTENING, _S.PROCESSING_SPEECH): ((1.4, 2.3), (3.05, 3.0), "arc3,rad=-0.15"),
    (_S.PROCESSING_SPEECH, _S.LISTENING): ((3.6, 2.6), (1.55, 2.05), "arc3,rad=-0.1"),
    (_S.PROCESSING_SPEECH, _S.PREPARING_RESPONSE): ((6.15, 3.0), (8.4, 2.3), "arc3,rad=-0.15"),
    (_S.LISTENING, _S.PREPARING_RESPONSE): ((1.55, 1.95), (7.65, 1.95), "arc3"),
    (_S.PREPARING_RESPONSE, _S.LISTENING): ((7.65, 1.75), (1.55, 1.75), "arc3"),
    (_S.PREPARING_RESPONSE, _S.PLAYING_RESPONSE): ((8.4, 1.5), (6.15, 0.8), "arc3,rad=-0.15"),
    (_S.PLAYING_RESPONSE, _S.LISTENING): ((3.05, 0.8), (0.9, 1.5), "arc3,rad=-0.15"),
}
_FROM_FRAME: Final[Mapping[State, tuple[_Point, _Point]]] = {
    _S.IDLE: ((0.6, _TOP), (0.6, 7.2)),
    _S.ERROR: ((0.6, _BOTTOM), (0.6, -1.0)),
    _S.ENDED: ((_RIGHT, 3.1), (12.85, 3.1)),
}
_NOTES: Final = {
    _S.IDLE: ((0.8, 6.68), "conversation ended, from any of these"),
    _S.ERROR: ((0.8, -0.55), "failure, in any of these"),
    _S.ENDED: ((11.3, 3.3), "session ended,\ncritical failure"),
}

_INK: Final = "#22303c"
_SOFT: Final = "#62727f"
_COLOURS: Final = {
    _S.IDLE: "#e8eaed",
    _S.ENDED: "#e8eaed",
    _S.ERROR: "#f9d7d3",
    _S.LISTENING: "#d5ecd8",
    _S.PLAYING_WELCOME: "#d6e6f7",
    _S.PLAYING_RESPONSE: "#d6e6f7",
}


def png() -> bytes:
    """Draw ``TRANSITIONS``.

    Raises:
        ConfigError: the extra `plot` is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError('a picture needs the extra `plot`: python -m pip install "flare-actors[plot]"') from None

    figure = Figure(figsize=(14, 8.1), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-2.9, 16.3)
    axes.set_ylim(-2.1, 9.0)
    axes.set_aspect("equal")
    axes.axis("off")
    _draw(axes)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _draw(axes: Axes) -> None:
    axes.add_patch(_box(_LEFT, _BOTTOM, _RIGHT, _TOP, fill="#f7f9fb", line="#9aa8b4", dashed=True))
    axes.text(
        _RIGHT - 0.25, _BOTTOM + 0.2, "a conversation is going on", ha="right", color=_SOFT, fontsize=11, style="italic"
    )
    shared = [new for new in State if new not in _FRAME and all(new in TRANSITIONS[old] for old in _FRAME)]
    for old in State:
        for new in State:
            if new in TRANSITIONS[old] and not (old in _FRAME and new in shared):
                _arrow(axes, old, new)
    for new in shared:
        start, end = _FROM_FRAME.get(new, ((_RIGHT, _TOP), _PLACES[new]))
        _line(axes, start, end, "arc3")
        if new in _NOTES:
            where, words = _NOTES[new]
            axes.text(*where, words, color=_SOFT, fontsize=10, va="bottom")
    for state, (x, y) in _PLACES.items():
        colour = _COLOURS.get(state, "#fdf3d3")
        axes.add_patch(
            _box(x - _WIDTH / 2, y - _HEIGHT / 2, x + _WIDTH / 2, y + _HEIGHT / 2, fill=colour, line=_INK, dashed=False)
        )
        axes.text(x, y, state.value, ha="center", va="center", color=_INK, fontsize=12.5, zorder=4)
    axes.plot([0.0], [8.65], marker="o", ms=9, color=_INK)
    _line(axes, (0.0, 8.65), (0.0, 8.0), "arc3")


def _box(left: float, bottom: float, right: float, top: float, *, fill: str, line: str, dashed: bool) -> Patch:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        (left, bottom),
        right - left,
        top - bottom,
        boxstyle="round,pad=0,rounding_size=0.2",
        fc=fill,
        ec=line,
        ls="--" if dashed else "-",
        lw=1.3,
        zorder=0 if dashed else 3,
    )


def _arrow(axes: Axes, old: State, new: State) -> None:
    straight = (_PLACES[old], _PLACES[new], "arc3")
    (x, y), (to_x, to_y), style = _ROUTES.get((old, new), straight)
    if (old, new) not in _ROUTES and y == to_y:
        # Neighbours in a row: from edge to edge.
        side = _WIDTH / 2 if to_x > x else -_WIDTH / 2
        x, to_x = x + side, to_x - side
    elif (old, new) not in _ROUTES and x == to_x:
        side = _HEIGHT / 2 if to_y > y else -_HEIGHT / 2
        y, to_y = y + side, to_y - side
    _line(axes, (x, y), (to_x, to_y), style)


def _line(axes: Axes, start: _Point, end: _Point, style: str) -> None:
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            connectionstyle=style,
            arrowstyle="-|>",
            mutation_scale=15,
            color=_INK,
            lw=1.3,
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
    )
