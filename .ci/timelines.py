"""Draw the timelines of docs/turn-taking.md: sessions with scripted engines on virtual time, and what they told their client.

    python .ci/timelines.py        writes docs/images/turn-taking/*.svg; .ci/update_docs.py does so, too

Everything in a picture happened in a session: nothing is drawn by hand. The same code gives the same bytes, so a test can tell
whether they are current.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Final

import attrs
import trio
from trio.testing import MockClock

from flare_actors.conversation.events import ConversationStartRequested
from flare_actors.conversation.notices import (
    HearingReady,
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    TranscriptReceived,
    TurnEnded,
    TurnStarted,
)
from flare_actors.ports import AudioOut, ServerMessage
from flare_actors.providers.scripted import ScriptedRecognizer, tone
from flare_actors.session import open_session
from flare_actors.testing import MemoryClient, memory_link, scripted_agent

IMAGES = Path(__file__).parents[1] / "docs" / "images" / "turn-taking"

ANSWER: Final = "The museum opens at nine, and on Sundays at eleven. The café in its garden is open all day."
BEFORE_S: Final = 1.0
"""The agent is heard for so long before the user makes a sound."""
SHOWN_S: Final = 4.0
_SILENCE: Final = bytes(2 * 16_000)


@attrs.frozen(kw_only=True)
class Scene:
    """What the user does while the agent answers."""

    title: str
    voice_s: float
    says: str
    """What the recogniser makes of it; empty: nothing."""
    partials: bool = True
    """It tells words while they are spoken."""
    slow_s: float = 0.1
    """From the endpoint to the final transcript."""


@attrs.define
class Told:
    """What the client was told, with the seconds since the session's start."""

    messages: list[tuple[float, ServerMessage]] = attrs.Factory(list)
    voice_at: float = 0.0

    def first(self, kind: type, **fields: object) -> float | None:
        """When the first message of a kind came."""
        for at, message in self.messages:
            if isinstance(message, kind) and all(getattr(message, name) == value for name, value in fields.items()):
                return at
        return None


SCENES: Final[dict[str, Sequence[Scene]]] = {
    "barge-in": (
        Scene(title="A cough", voice_s=0.2, says=""),
        Scene(title="“Mhm”", voice_s=0.5, says="mhm"),
        Scene(title="“Stop, that is enough”", voice_s=1.2, says="stop that is enough"),
        Scene(title="A short “stop” that is understood late", voice_s=0.28, says="stop", partials=False, slow_s=0.9),
    )
}


async def _play(scene: Scene) -> Told:
    told = Told()
    recognizer = ScriptedRecognizer(script=["when", scene.says], partials=scene.partials, delay_s=scene.slow_s)
    agent = scripted_agent(recognizer=recognizer, answers=[ANSWER, "All right."])
    client, link = memory_link()
    client.listeners.append(lambda message: told.messages.append((trio.current_time(), message)))
    async with trio.open_nursery() as nursery, open_session(agent) as session:
        nursery.start_soon(client.run)
        nursery.start_soon(session.attach, link)
        await client.send(ConversationStartRequested())
        await client.wait_for(HearingReady)
        await client.speak(tone(1.0) + _SILENCE[: 2 * 9_600])
        await client.wait_for(AudioOut)
        await trio.sleep(BEFORE_S)
        told.voice_at = trio.current_time()
        await _say(client, scene)
        await trio.sleep(max(0.0, told.voice_at + SHOWN_S - trio.current_time()))
    return told


async def _say(client: MemoryClient, scene: Scene) -> None:
    # 10 dB louder than the agent, so that the echo guard lets it through.
    await client.speak(tone(scene.voice_s, level_db=-10.0) + _SILENCE + _SILENCE)


# --- The picture ----------------------------------------------------------------------------------------------------------

_WIDTH: Final = 900
_LEFT: Final = 96
_PANEL: Final = 138
_LANE: Final = 24
_LABEL: Final = 13
_LETTER: Final = 7  # wide in 11 px, at most on average
_SCALE: Final = (_WIDTH - _LEFT - 24) / (BEFORE_S + SHOWN_S - 1.0)
_COLORS: Final = {"user": "#2b7a9b", "agent": "#d9622b", "next": "#8a5fb0", "still": "#f3d3c3", "mark": "#222222"}


class _Picture:
    def __init__(self, panels: int) -> None:
        self._height = panels * _PANEL + 44
        self._parts: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, fill: str, *, dashed: bool = False) -> None:
        stroke = ' stroke="#d9622b" stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}" rx="3" '
            f'fill="{fill}"{stroke}/>'
        )

    def line(self, x: float, top: float, bottom: float, color: str, *, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="2 3"' if dashed else ""
        self._parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{color}"{dash}/>')

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, fill: str = "#222"
    ) -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}">{escape(words)}</text>'
        )

    def svg(self, label: str) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {self._height}" width="{_WIDTH}" '
            f'height="{self._height}" role="img" aria-label="{escape(label)}" font-family="system-ui, sans-serif">'
        )
        return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *self._parts, "</svg>"]) + "\n"


def _x(seconds: float) -> float:
    """Where a moment is; 0 is the user's onset."""
    return _LEFT + (min(SHOWN_S - 1.0, max(-BEFORE_S, seconds)) + BEFORE_S) * _SCALE


def _panel(picture: _Picture, top: float, scene: Scene, told: Told) -> None:
    user, agent = top + 36, top + 36 + _LANE + 22
    picture.text(8, top + 16, scene.title, size=14)
    picture.text(8, user + 17, "user")
    picture.text(8, agent + 17, "agent")
    picture.box(_x(0), user, scene.voice_s * _SCALE, _LANE, _COLORS["user"])
    _words(picture, user, told)
    _answer(picture, agent, told)
    next_at = told.first(AudioOut, turn=2)
    if next_at is not None:
        picture.box(
            _x(next_at - told.voice_at), agent, _x(SHOWN_S) - _x(next_at - told.voice_at), _LANE, _COLORS["next"]
        )
        picture.text(_x(next_at - told.voice_at) + 5, agent + 17, "next answer", fill="#fff")


def _words(picture: _Picture, user: float, told: Told) -> None:
    """Each time that the recogniser tells more: the words it has, once."""
    known, marks = "", list[tuple[float, str]]()
    for at, message in told.messages:
        late = at - told.voice_at
        if not isinstance(message, TranscriptReceived) or message.utterance != 2 or late >= SHOWN_S - 1:
            continue
        if message.text != known:
            marks.append((_x(late), message.text if known else f"understood: {message.text}"))
            known = message.text
    for (x, words), (following, _) in pairwise([*marks, (float(_WIDTH), "")]):
        # Where the next mark stands in the way the words go above it.
        above = _LABEL if x + 3 + len(words) * _LETTER > following else 0
        picture.line(x, user - 4 - above, user + _LANE + 4, _COLORS["mark"], dashed=True)
        picture.text(x + 3, user - 6 - above, words, size=11)


def _answer(picture: _Picture, agent: float, told: Told) -> None:
    """The first answer: where it is heard, where it stands still, where it goes on, or is cut."""
    begun = (told.first(AudioOut, turn=1) or 0.0) - told.voice_at
    paused = told.first(PlaybackPaused, turn=1)
    resumed = told.first(PlaybackResumed, turn=1)
    ended = told.first(PlaybackCleared, turn=1) or told.first(TurnEnded, turn=1)
    end = SHOWN_S if ended is None else ended - told.voice_at
    assert paused is not None
    stands, goes = paused - told.voice_at, end if resumed is None else resumed - told.voice_at
    picture.box(_x(begun), agent, _x(stands) - _x(begun), _LANE, _COLORS["agent"])
    picture.box(_x(stands), agent, _x(goes) - _x(stands), _LANE, _COLORS["still"], dashed=True)
    if _x(goes) - _x(stands) > 75:
        picture.text(_x(stands) + 5, agent + 17, "stands still", size=11)
    if resumed is not None:
        picture.box(_x(goes), agent, _x(end) - _x(goes), _LANE, _COLORS["agent"])
        later = f" ({resumed - paused:.2f} s later)" if _x(end) - _x(goes) > 130 else ""
        picture.text(_x(goes) + 5, agent + 17, f"goes on{later}", size=11, fill="#fff")
    picture.text(_x(begun) + 5, agent + 17, "answer", fill="#fff")
    if ended is not None and end < SHOWN_S - 1:
        picture.line(_x(end), agent - 4, agent + _LANE + 6, _COLORS["mark"])
        heard = next(m.heard for _, m in told.messages if isinstance(m, TurnEnded) and m.turn == 1)
        picture.text(_x(end), agent + _LANE + 17, f"interrupted; heard: “{heard}”", size=11, anchor="middle")


def draw(name: str) -> str:
    """One of the pictures, as SVG."""
    scenes = SCENES[name]
    picture = _Picture(len(scenes))
    for number, scene in enumerate(scenes):
        told = trio.run(_play, scene, clock=MockClock(autojump_threshold=0))
        assert told.first(TurnStarted, turn=1) is not None
        _panel(picture, number * _PANEL, scene, told)
    bottom = len(scenes) * _PANEL + 8
    for half in range(round(-2 * BEFORE_S), round(2 * SHOWN_S) - 1):
        seconds = half / 2
        picture.line(_x(seconds), bottom, bottom + 6, _COLORS["mark"])
        picture.text(_x(seconds), bottom + 20, f"{seconds:g} s", anchor="middle", size=11)
    return picture.svg("; ".join(scene.title for scene in scenes))


def write() -> None:
    """Write all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in SCENES:
        (IMAGES / f"{name}.svg").write_text(draw(name), encoding="utf-8")
        print(f"wrote images/turn-taking/{name}.svg")


if __name__ == "__main__":
    write()
