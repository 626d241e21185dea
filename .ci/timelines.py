"""Draw the timelines of docs/turn-taking.md and docs/latency.md: sessions with scripted engines on virtual time.

    python .ci/timelines.py        writes docs/images/turn-taking/*.svg; .ci/update_docs.py does so, too

Everything in a picture happened in a session: nothing is drawn by hand. The same code gives the same bytes, so a test can tell
whether they are current.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio
from timeline_picture import Box, Cut, Mark, Panel, svg
from trio.testing import MockClock

from flare_actors.agent import Agent
from flare_actors.conversation import Conversation, Settings
from flare_actors.conversation.commands import CancelReply, Command, ReleaseReply, StartReply
from flare_actors.conversation.events import (
    CommitRequested,
    ConversationStartRequested,
    Event,
    GenerationFinished,
    InterruptRequested,
)
from flare_actors.conversation.notices import (
    HearingReady,
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    TranscriptReceived,
    TurnEnded,
    UserSpeechStopped,
)
from flare_actors.conversation.states import Endpointing, TurnDetection
from flare_actors.observe import Observer
from flare_actors.ports import AudioOut, HeardAudio, Message, ServerMessage, Transcript
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer, tone
from flare_actors.session import open_session
from flare_actors.testing import MemoryClient, memory_link, scripted_agent

IMAGES = Path(__file__).parents[1] / "docs" / "images" / "turn-taking"

MUSEUM: Final = "The museum opens at nine, and on Sundays at eleven. The café in its garden is open all day."
LATE: Final = "It is half past ten."
_RATE: Final = 16_000
_PAUSE_S: Final = 0.06
"""Silence in which the recogniser makes out what was said."""


# --- What happened ----------------------------------------------------------------------------------------------------------


class Told(Observer):
    """What a session told, and what its user did, each with its moment on Trio's clock."""

    def __init__(self) -> None:
        self.messages: list[tuple[float, ServerMessage]] = []
        self.facts: list[tuple[float, Event | Command]] = []
        self.voices: list[tuple[float, float]] = []
        self.held: list[tuple[float, float]] = []
        """While the button was held."""
        self.zero = 0.0
        """The moment that the picture counts from."""

    def on_step(
        self, session_id: str, before: Conversation, event: Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """See ``Observer``."""
        del session_id, before, after
        self.facts += [(trio.current_time(), each) for each in (event, *commands)]

    def all(self, kind: type, **fields: object) -> list[tuple[float, Any]]:
        """Moments (in the picture) and messages, events or commands of a kind."""
        found = [*self.messages, *self.facts]
        return [
            (at - self.zero, each)
            for at, each in found
            if isinstance(each, kind) and all(getattr(each, name) == value for name, value in fields.items())
        ]

    def first(self, kind: type, **fields: object) -> float | None:
        """The moment of the first."""
        return next((at for at, _ in self.all(kind, **fields)), None)


class User:
    """The person, with a microphone that is always open, or open while a button is held."""

    def __init__(self, client: MemoryClient, told: Told) -> None:
        self.client = client
        self._told = told
        self._pressed: float | None = None

    def is_watched(self) -> None:
        """The picture counts from here."""
        self._told.zero = trio.current_time()

    async def speaks(self, seconds: float) -> None:
        """Makes a sound, 10 dB louder than the agent, so that the echo guard lets it through."""
        began = trio.current_time()
        await self.client.speak(tone(seconds, level_db=-10.0))
        self._told.voices.append((began - self._told.zero, trio.current_time() - self._told.zero))

    async def is_silent(self, seconds: float) -> None:
        """Makes none."""
        await self.client.speak(bytes(2 * round(_RATE * seconds)))

    def presses(self) -> None:
        """The button."""
        self._pressed = trio.current_time()

    async def lets_go(self) -> None:
        """... of it: that was all."""
        assert self._pressed is not None
        await self.client.send(CommitRequested())
        self._told.held.append((self._pressed - self._told.zero, trio.current_time() - self._told.zero))

    async def hears(self, turn: int, seconds: float) -> None:
        """Listens to a turn for so long."""
        await self.client.wait_for(AudioOut, where=lambda audio: audio.turn == turn)
        await trio.sleep(seconds)


_Acts: TypeAlias = Callable[[User], Awaitable[None]]


def _play(agent: Agent, acts: _Acts) -> Told:
    """One session, with what the user does in it, and some silence behind."""

    async def session() -> Told:
        told = Told()
        client, link = memory_link()
        client.listeners.append(lambda message: told.messages.append((trio.current_time(), message)))
        async with trio.open_nursery() as nursery, open_session(agent, observers=[told]) as opened:
            nursery.start_soon(client.run)
            nursery.start_soon(opened.attach, link)
            await client.send(ConversationStartRequested())
            await client.wait_for(HearingReady)
            user = User(client, told)
            user.is_watched()
            await acts(user)
        return told

    return trio.run(session, clock=MockClock(autojump_threshold=0))


@attrs.define(kw_only=True)
class PatientRecognizer(ScriptedRecognizer):
    """Makes out in each pause what was said before it: one line of the script for each stretch of voice."""

    partials: bool = True
    _stretches: int = attrs.field(default=0, init=False)

    async def _run(self, audio: AsyncIterator[HeardAudio], *, streaming: bool) -> AsyncGenerator[Transcript, None]:
        del streaming
        first, pausing = self._stretches, False
        async for piece in audio:
            paused, pausing = pausing, piece.silence_s >= _PAUSE_S
            if pausing and not paused:
                self._stretches += 1
                await trio.sleep(0.05)
                yield Transcript(text=self._said(first))
        if not pausing:
            self._stretches += 1  # It was ended in the middle.
        yield Transcript(text=self._said(first), final=True)

    def _said(self, first: int) -> str:
        return " ".join(self.script[first : self._stretches])


# --- What is drawn of it ----------------------------------------------------------------------------------------------------


def _voices(told: Told) -> list[Box]:
    return [Box(lane="user", start=start, end=end, style="voice") for start, end in told.voices]


def _silences(told: Told) -> list[Box]:
    """What was waited for the user to go on, each time: until the user did, or counted as finished."""
    onsets = [start for start, _ in told.voices]
    endpoints = [at for at, _ in told.all(UserSpeechStopped)]
    boxes = []
    for _, end in told.voices:
        until = min([at for at in (*onsets, *endpoints) if at > end], default=end)
        boxes.append(
            Box(lane="user", start=end, end=until, style="silence", words=(f"{until - end:.2f} s",), anchor="end")
        )
    return boxes


def _words(told: Told, *, utterance: int | None = None, final: bool = False) -> list[Mark]:
    """Each time that the recogniser tells more: the words it has, once. Or only what was understood in the end."""
    known, marks = "", list[Mark]()
    for at, message in told.all(TranscriptReceived):
        if utterance not in {None, message.utterance} or message.text == known or (final and not message.final):
            continue
        words = message.text if known else f"understood: {message.text}"
        if final:
            words = f"“{message.text}”"
        marks.append(Mark(lane="user", at=at, words=words))
        known = message.text
    return marks


def _turn(told: Told, turn: int, *, style: str = "answer", words: str = "answer") -> tuple[list[Box], list[Cut]]:
    """A turn as it is heard: where it plays, where it stands still and goes on, and where it is cut."""
    begun = told.first(AudioOut, turn=turn)
    if begun is None:
        return [], []
    boxes, since, label = [], begun, (words,)
    stops = [at for at, _ in told.all(PlaybackPaused, turn=turn)]
    resumptions = [at for at, _ in told.all(PlaybackResumed, turn=turn)]
    cleared = told.first(PlaybackCleared, turn=turn)
    end = cleared if cleared is not None else told.first(TurnEnded, turn=turn)
    end = float("inf") if end is None else end
    for stands in stops:
        goes = min([at for at in resumptions if at > stands], default=end)
        boxes.append(Box(lane="agent", start=since, end=stands, style=style, words=label))
        boxes.append(Box(lane="agent", start=stands, end=goes, style="still", words=("stands still",)))
        since, label = goes, (f"goes on ({goes - stands:.2f} s later)", "goes on")
    boxes.append(Box(lane="agent", start=since, end=end, style=style, words=label))
    ends = told.all(TurnEnded, turn=turn)
    if cleared is None or not ends:
        return boxes, []
    return boxes, [Cut(lane="agent", at=cleared, words=f"interrupted; heard: “{ends[0][1].heard}”")]


# --- Barge-in ---------------------------------------------------------------------------------------------------------------


def _interruption(title: str, voice_s: float, says: str, *, partials: bool = True, slow_s: float = 0.1) -> Panel:
    async def acts(user: User) -> None:
        await user.speaks(1.0)
        await user.is_silent(0.6)
        await user.hears(1, 1.0)
        user.is_watched()
        await user.speaks(voice_s)
        await user.is_silent(4.0 - voice_s)

    recognizer = ScriptedRecognizer(script=["when", says], partials=partials, delay_s=slow_s)
    told = _play(scripted_agent(recognizer=recognizer, answers=[MUSEUM, "All right."]), acts)
    told.voices.pop(0)
    boxes, cuts = _turn(told, 1)
    following, _ = _turn(told, 2, style="next", words="next answer")
    return Panel(
        title=title,
        lanes=("user", "agent"),
        boxes=[*_voices(told), *boxes, *following],
        marks=_words(told, utterance=2),
        cuts=cuts,
    )


def _barge_in() -> str:
    panels = [
        _interruption("A cough", 0.2, ""),
        _interruption("“Mhm”", 0.5, "mhm"),
        _interruption("“Stop, that is enough”", 1.2, "stop that is enough"),
        _interruption("A short “stop” that is understood late", 0.28, "stop", partials=False, slow_s=0.9),
    ]
    return svg(panels, first_s=-1.0, last_s=3.0)


# --- Endpointing ------------------------------------------------------------------------------------------------------------


def _speaks(*stretches: float) -> _Acts:
    """Voice and silence in turn, and then silence."""

    async def acts(user: User) -> None:
        for number, seconds in enumerate(stretches):
            await (user.is_silent if number % 2 else user.speaks)(seconds)
        await user.is_silent(4.0)

    return acts


def _endpoint(title: str, endpointing: Endpointing, acts: _Acts, *said: str) -> Panel:
    agent = scripted_agent(
        recognizer=PatientRecognizer(script=said),
        answers=_clerk,
        settings=Settings(endpointing=endpointing, soft_endpoint_s=None),
    )
    told = _play(agent, acts)
    boxes, cuts = _turn(told, 1)
    following, _ = _turn(told, 2, style="next")
    return Panel(
        title=title,
        lanes=("user", "agent"),
        boxes=[*_voices(told), *_silences(told), *boxes, *following],
        marks=_words(told, final=True),
        cuts=cuts,
    )


def _clerk(messages: Sequence[Message]) -> str:
    words = messages[-1].content
    if "number" not in words and "nine" not in words:
        return LATE
    return "Thank you, I have found it." if "nine" in words else "Which number, please?"


def _endpointing() -> str:
    short, long = _speaks(1.0), _speaks(1.0, 0.9, 1.0)
    question, dictated = ("What time is it?",), ("My number is, um,", "four two nine.")
    panels = [
        _endpoint("Fixed: always the same silence", Endpointing.FIXED, short, *question),
        _endpoint("Adaptive, finished: the words end a sentence", Endpointing.ADAPTIVE, short, *question),
        _endpoint("Fixed: who stops to think is cut", Endpointing.FIXED, long, *dictated),
        _endpoint("Adaptive, hesitating: the words announce more", Endpointing.ADAPTIVE, long, *dictated),
    ]
    return svg(panels, first_s=-0.25, last_s=4.75)


# --- Answering ahead --------------------------------------------------------------------------------------------------------


def _made(told: Told) -> list[Box]:
    """The work at each answer, what was held of it, and what was thrown away."""
    boxes = []
    for begun, start in told.all(StartReply):
        turn = start.turn
        made = told.first(GenerationFinished, turn=turn)
        lost = told.first(CancelReply, turn=turn)
        let_out = told.first(ReleaseReply, turn=turn)
        end = min(at for at in (made, lost) if at is not None)
        boxes.append(Box(lane="model, voice", start=begun, end=end, style="work", words=("at work",)))
        if lost is not None:
            boxes.append(Box(lane="model, voice", start=end, end=lost, style="lost"))
        elif let_out is not None:
            boxes.append(Box(lane="model, voice", start=end, end=let_out, style="held", words=("held",)))
    return boxes


def _ahead(title: str, acts: _Acts, *said: str, ahead: bool = True) -> Panel:
    agent = scripted_agent(
        recognizer=PatientRecognizer(script=said),
        language_model=ScriptedLanguageModel(script=[LATE], first_token_s=0.15),
        synthesizer=ScriptedSynthesizer(first_audio_s=0.08),
        settings=Settings(endpointing=Endpointing.FIXED, soft_endpoint_s=_PAUSE_S if ahead else None),
    )
    told = _play(agent, acts)
    heard = [_turn(told, start.turn)[0] for _, start in told.all(StartReply)]
    thrown = [Cut(lane="model, voice", at=at, words="thrown away, unheard") for at, _ in told.all(CancelReply)]
    return Panel(
        title=title,
        lanes=("user", "model, voice", "agent"),
        boxes=[*_voices(told), *_silences(told), *_made(told), *(box for boxes in heard for box in boxes)],
        marks=_words(told),
        cuts=thrown,
    )


def _speculation() -> str:
    panels = [
        _ahead("Nothing begun ahead", _speaks(1.0), "What time is it?", ahead=False),
        _ahead("Begun in the pause, held, and let out", _speaks(1.0), "What time is it?"),
        _ahead(
            "The user goes on: thrown away, and begun anew", _speaks(1.0, 0.4, 0.6), "What time is it", "in Ankara?"
        ),
    ]
    return svg(panels, first_s=0.5, last_s=3.0)


# --- Push-to-talk -----------------------------------------------------------------------------------------------------------


def _pushed(title: str, acts: _Acts, *said: str) -> Panel:
    agent = scripted_agent(
        recognizer=PatientRecognizer(script=said),
        answers=[MUSEUM, LATE],
        settings=Settings(turn_detection=TurnDetection.MANUAL),
    )
    told = _play(agent, acts)
    boxes, cuts = _turn(told, 1)
    following, _ = _turn(told, 2, style="next", words="next answer")
    held = [Box(lane="button", start=start, end=end, style="button", words=("held",)) for start, end in told.held]
    return Panel(
        title=title,
        lanes=("button", "user", "agent"),
        boxes=[*held, *_voices(told), *boxes, *following],
        marks=_words(told, final=True),
        cuts=cuts,
    )


async def _holds(user: User) -> None:
    user.presses()
    await user.is_silent(0.2)
    await user.speaks(0.8)
    await user.is_silent(1.0)
    await user.speaks(0.6)
    await user.is_silent(0.1)
    await user.lets_go()
    await user.hears(1, 2.0)


async def _interrupts(user: User) -> None:
    user.presses()
    await user.speaks(0.8)
    await user.lets_go()
    await user.hears(1, 1.0)
    user.presses()
    await user.client.send(InterruptRequested())  # As the page does.
    await user.is_silent(0.15)
    await user.speaks(0.7)
    await user.lets_go()
    await user.hears(2, 2.0)


def _push_to_talk() -> str:
    panels = [
        _pushed("The button is held: no silence ends anything", _holds, "When does the museum open", "on Sundays?"),
        _pushed("Pressed while the agent speaks", _interrupts, "When does the museum open?", "What time is it now?"),
    ]
    return svg(panels, first_s=-0.25, last_s=4.5)


PICTURES: Final[dict[str, Callable[[], str]]] = {
    "barge-in": _barge_in,
    "endpointing": _endpointing,
    "push-to-talk": _push_to_talk,
    "speculation": _speculation,
}


def write() -> None:
    """Write all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        (IMAGES / f"{name}.svg").write_text(draw(), encoding="utf-8")
        print(f"wrote images/turn-taking/{name}.svg")


if __name__ == "__main__":
    write()
