"""What the embedder had said, and what became of it: each `say` and each answer asked for has a ticket, followed to its end."""

from __future__ import annotations

import attrs
import trio

from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import Command, Notify
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised, SessionEnded, StateChanged, TurnEnded
from flare_actors.conversation.states import Reason
from flare_actors.observe import Observer

__all__ = ["HeardOfSpeech", "Speech", "Speeches"]


@attrs.frozen(kw_only=True)
class HeardOfSpeech:
    """What of a speech was heard."""

    turn: int | None
    """The turn in which it was said (the last one, if it was begun anew); None: it never came to that."""
    text: str = attrs.field(repr=False)
    """The part that the user heard, as it entered the history; empty: nothing of it."""
    complete: bool
    """It was said to its end."""
    reason: Reason | None = None
    """Why it was not. None: it was, it was refused, or the session was cancelled from outside."""
    refused: str | None = None
    """The code of the error with which it was refused, e.g. ``say_queue_full``."""


class Speech:
    """Something that the agent was asked to say. It is said whether or not anybody waits for it."""

    def __init__(self) -> None:
        self.heard: HeardOfSpeech | None = None
        """What was heard of it; None: that is not known yet."""
        self._known = trio.Event()

    async def wait_heard(self) -> HeardOfSpeech:
        """Wait until it is known what was heard of it: it was said, interrupted, refused, or given up with the session.

        Cancellation: at once; the speech goes on.
        """
        await self._known.wait()
        assert self.heard is not None
        return self.heard

    def _tell(self, heard: HeardOfSpeech) -> None:
        self.heard = heard
        self._known.set()


class Speeches(Observer):
    """One session's speeches that are not over."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[int, Speech] = {}
        self._taken: set[int] = set()
        """Tickets that the core has seen."""
        self._turns: dict[int, int] = {}
        """The latest turn of each."""
        self._ended: dict[int, TurnEnded] = {}
        """What was told of the end of that turn."""

    def make(self) -> tuple[int, Speech]:
        """A new one, and its ticket."""
        self._count += 1
        speech = self._open[self._count] = Speech()
        return self._count, speech

    def on_step(
        self, session_id: str, before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """Follow the tickets through a step of the core."""
        del session_id, before
        if not self._open:
            return
        asked = event.ticket if isinstance(event, ev.SayRequested | ev.ResponseRequested) else None
        if asked is not None:
            self._taken.add(asked)
        notices = [command.notice for command in commands if isinstance(command, Notify)]
        ended = {notice.turn: notice for notice in notices if isinstance(notice, TurnEnded)}
        for ticket, turn in self._turns.items():
            if turn in ended:
                self._ended[ticket] = ended[turn]
        pending = {saying.ticket for saying in after.says}
        if after.wish is not None:
            pending.add(after.wish.ticket)
        if after.turn is not None and after.turn.ticket is not None:
            pending.add(after.turn.ticket)
            if self._turns.get(after.turn.ticket) != after.turn.number:
                self._turns[after.turn.ticket] = after.turn.number
                self._ended.pop(after.turn.ticket, None)
        for ticket in [each for each in self._open if each in self._taken and each not in pending]:
            if ticket in self._ended:
                told = self._ended[ticket]
                self._tell(ticket, text=told.heard, complete=told.reason is None, reason=told.reason)
            elif ticket not in self._turns:
                refusal = next((each.code for each in notices if isinstance(each, ErrorRaised)), None)
                self._tell(
                    ticket,
                    refused=refusal if ticket == asked else None,
                    reason=next(
                        (each.reason for each in notices if isinstance(each, StateChanged | SessionEnded)), None
                    ),
                )

    def close(self, reason: Reason | None) -> None:
        """The session is gone: nothing more is said."""
        for ticket in list(self._open):
            self._tell(ticket, reason=reason)

    def _tell(
        self,
        ticket: int,
        *,
        text: str = "",
        complete: bool = False,
        reason: Reason | None = None,
        refused: str | None = None,
    ) -> None:
        turn = self._turns.pop(ticket, None)
        self._taken.discard(ticket)
        self._ended.pop(ticket, None)
        heard = HeardOfSpeech(turn=turn, text=text, complete=complete, reason=reason, refused=refused)
        self._open.pop(ticket)._tell(heard)  # noqa: SLF001 - two ends of one thing
