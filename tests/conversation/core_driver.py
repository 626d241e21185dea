"""Drives the core as an orchestrator would, and as its world would: for tests that read like what happens.

Every step is held against the promises of the core (``ConversationChecker``), so that each of these tests is one of those too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import attrs

from flare_actors.conversation import Conversation, Limits, Settings, State, step
from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import Command, Notify, StartReply
from flare_actors.conversation.history import AgentSaid, UserSaid
from flare_actors.conversation.notices import ErrorRaised, Notice, StateChanged, TurnEnded
from flare_actors.conversation.states import Wait
from flare_actors.testing.invariants import ConversationChecker
from flare_actors.testing.strategies import pass_time

T = TypeVar("T")


class Core:
    """One conversation and everything that it has decided. Each event comes 0.1 s after the one before."""

    def __init__(self, settings: Settings | None = None, *, limits: Limits | None = None, **choices: object) -> None:
        if limits is not None:
            choices["limits"] = limits
        self.c = Conversation(settings=settings or Settings(**choices))  # type: ignore[arg-type]
        self.now = 0.0
        self.journal: list[ev.Event] = []
        self.done: list[Command] = []
        self._checker = ConversationChecker()

    # --- What happens -----------------------------------------------------------------------------------------------------

    def happens(self, *events: ev.Event, after: float = 0.1) -> list[Command]:
        """Let events happen, one after the other; gives the commands of the last one."""
        commands: list[Command] = []
        for event in events:
            self.passes(after)
            before, stamped = self.c, attrs.evolve(event, at=self.now)
            self.c, given = step(before, stamped)
            commands = list(given)
            self._took(before, stamped, given)
        return commands

    def passes(self, seconds: float) -> None:
        """Let time pass, and with it the deadlines."""
        self.now += seconds
        for each in pass_time(self.c, until=self.now):
            self.c = each.after
            self._took(each.before, each.event, each.commands)

    def _took(self, before: Conversation, event: ev.Event, commands: Iterable[Command]) -> None:
        given = tuple(commands)
        self.journal.append(event)
        self.done.extend(given)
        self._checker.check(before, event, self.c, given)

    # --- Shorthands -------------------------------------------------------------------------------------------------------

    def starts(self, *, partials: bool = False) -> Core:
        """A client attaches and starts a conversation; the ear opens."""
        self.happens(ev.ClientAttached(), ev.ConversationStartRequested(), ev.ListenerOpened())
        self.happens(ev.RecognizerReady(partials=partials))
        return self

    def speaks(self, *, confirmed: bool = True) -> int:
        """The user begins to speak; gives the utterance."""
        number = self.c.utterance + 1
        self.happens(ev.SpeechStarted(utterance=number))
        if confirmed:
            self.happens(ev.SpeechConfirmed(utterance=number))
        return number

    def pauses(self, *, speech_s: float = 1.0, too_short: bool = False) -> None:
        """The user stops speaking: an endpoint."""
        self.happens(
            ev.SpeechStopped(utterance=self.c.utterance, speech_s=speech_s, silence_s=0.48, too_short=too_short)
        )

    def is_understood(self, text: str, *, utterance: int | None = None) -> list[Command]:
        """The final transcript comes."""
        return self.happens(ev.TranscriptFinished(utterance=utterance or self.c.utterance, text=text))

    def says(self, text: str, *, confirmed: bool = True) -> list[Command]:
        """The user says something, whole; if it is short, it is over before its length makes it an interruption."""
        self.speaks(confirmed=confirmed)
        self.pauses()
        return self.is_understood(text)

    def writes(self, *phrases: str) -> None:
        """The model writes phrases of the live turn."""
        for text in phrases:
            turn = self.turn
            index = len(self.c.turn.phrases) if self.c.turn is not None else 0
            self.happens(ev.PhraseReady(turn=turn, index=index, text=text, first_token_at=self.now))

    def sounds(self, *seconds: float) -> None:
        """The first audio of the live turn leaves, and its phrases turn out to be this long."""
        self.happens(ev.AudioStarted(turn=self.turn))
        start = 0.0
        for index, length in enumerate(seconds):
            self.happens(ev.PhraseSpoken(turn=self.turn, index=index, start_s=start, end_s=start + length))
            start += length

    def is_generated(self, audio_s: float) -> None:
        """Nothing more will come of the live turn."""
        self.happens(ev.GenerationFinished(turn=self.turn, audio_s=audio_s))

    def is_played(self) -> None:
        """The pacing clock has come to the live turn's end."""
        assert self.c.turn is not None
        assert self.c.turn.generated_s is not None
        self.happens(ev.PlaybackFinished(turn=self.turn, played_s=self.c.turn.generated_s))

    def answers(self, *phrases: str) -> None:
        """The agent answers, a second a phrase, and is heard to the end."""
        self.writes(*phrases)
        self.sounds(*[1.0] * len(phrases))
        self.is_generated(float(len(phrases)))
        self.is_played()

    def is_answering(self, *phrases: str) -> int:
        """The agent has begun to answer; gives the turn."""
        self.writes(*phrases)
        self.sounds(*[1.0] * len(phrases))
        return self.turn

    def stopped_at(self, turn: int, played_s: float) -> list[Command]:
        """The speaker has flushed a turn."""
        return self.happens(ev.PlaybackStopped(turn=turn, played_s=played_s))

    # --- What came of it --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.c.state

    @property
    def turn(self) -> int:
        """The live turn's number; else the latest one's."""
        return self.c.turn.number if self.c.turn is not None else self.c.turns

    @property
    def states(self) -> list[State]:
        """All states so far."""
        return [State.IDLE] + [notice.new for notice in self.told(StateChanged)]

    @property
    def history(self) -> list[str]:
        """What was said, each with its speaker; nothing of what was not heard."""
        who = {UserSaid: "user", AgentSaid: "agent"}
        return [f"{who[type(item)]}: {item.text}" for item in self.c.history if item.text]

    @property
    def errors(self) -> list[str]:
        """The codes of what the client was told is wrong."""
        return [notice.code for notice in self.told(ErrorRaised)]

    @property
    def requests(self) -> list[list[str]]:
        """What the model was asked, each time."""
        return [
            [f"{m.role}: {m.content}" for m in command.messages]
            for command in self.did(StartReply)
            if command.text is None
        ]

    @property
    def spoken(self) -> list[str]:
        """The texts that were to be spoken as they are."""
        return [command.text for command in self.did(StartReply) if command.text is not None]

    def told(self, kind: type[T]) -> list[T]:
        """The notices of one kind."""
        notices: list[Notice] = [command.notice for command in self.done if isinstance(command, Notify)]
        return [notice for notice in notices if isinstance(notice, kind)]

    def did(self, kind: type[T]) -> list[T]:
        """The commands of one kind."""
        return [command for command in self.done if isinstance(command, kind)]

    def heard(self, turn: int) -> str:
        """What was heard of a turn that has ended."""
        (ended,) = [notice for notice in self.told(TurnEnded) if notice.turn == turn]
        return ended.heard

    def due(self, wait: Wait) -> float | None:
        """In how many seconds a deadline comes; None: it is not set."""
        at: float | None = getattr(self.c.deadlines, wait.value)
        return None if at is None else at - self.now


def notices(commands: Iterable[Command]) -> list[Notice]:
    """What the client is told by some commands."""
    return [command.notice for command in commands if isinstance(command, Notify)]


def kinds(commands: Iterable[Command]) -> list[str]:
    """The names of some commands' classes; notices by their own."""
    return [type(c.notice).__name__ if isinstance(c, Notify) else type(c).__name__ for c in commands]
