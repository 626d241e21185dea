"""The orchestrator: next event or earliest deadline, step, perform. It awaits one thing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import trio

from flare_actors.actors.channels import Alarm, Clock, Inbox
from flare_actors.conversation.commands import CancelReply, Command
from flare_actors.conversation.events import DeadlinePassed, Event, InterruptRequested
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.states import Reason
from flare_actors.conversation.step import step
from flare_actors.observe import Observer

__all__ = ["Orchestrator"]


class Orchestrator:
    """Runs one conversation value.

    Args:
        session_id: for the observers.
        conversation: where it stands.
        perform: carries out one command; must neither wait nor raise, so that a batch of commands is atomic.
        cancelled: called when those that a batch has cancelled have had their turn.
    """

    def __init__(
        self,
        session_id: str,
        conversation: Conversation,
        *,
        clock: Clock,
        inbox: Inbox,
        perform: Callable[[Command], None],
        cancelled: Callable[[], None],
        observers: Sequence[Observer] = (),
    ) -> None:
        self.conversation = conversation
        self._session_id = session_id
        self._clock = clock
        self._inbox = inbox
        self._perform = perform
        self._cancelled = cancelled
        self._observers = tuple(observers)

    async def run(self) -> Reason:
        """Run until the session has ended; gives the reason."""
        while (ended := self.conversation.ended) is None:
            with Alarm() as alarm:
                await self._follow(alarm)
        return ended

    async def _follow(self, alarm: Alarm) -> None:
        """Step by step, until the session has ended, or the alarm has rung."""
        pending: Event | None = None
        while self.conversation.ended is None:
            pending = pending or self._inbox.get_nowait()
            due = self.conversation.deadlines.earliest()
            if pending is None and not (due is not None and self._clock.has_come(due[0])):
                alarm.set(math.inf if due is None else self._clock.trio_time(due[0]))
                pending = await self._inbox.get()  # If the alarm rings, nothing is pending.
                if isinstance(pending, InterruptRequested):
                    # Whoever pressed stop has cancelled the reply: it ends first. (Shielded: the alarm must not take this.)
                    await trio.lowlevel.cancel_shielded_checkpoint()
            elif pending is None:
                await trio.lowlevel.checkpoint()  # Deadlines that pass one after the other are not all that is done.
            if due is not None and (pending is None or due[0] <= pending.at):
                # A deadline passes before any event that is later than it, and never because we looked late. No checkpoint
                # follows, whatever was cancelled: the alarm may have rung, and would take what is pending with it.
                if self._step(DeadlinePassed(at=due[0], wait=due[1])):
                    self._cancelled()
            elif pending is not None:
                event, pending = pending, None
                if self._step(event):
                    try:
                        # Trio draws lots who is first in a round: after the second one all have had their turn.
                        await trio.lowlevel.checkpoint()
                        await trio.lowlevel.checkpoint()
                    finally:
                        self._cancelled()

    def _step(self, event: Event) -> bool:
        """Gives whether something was cancelled, which is to end before anything else is done."""
        before = self.conversation
        self.conversation, commands = step(before, event)
        for command in commands:
            self._perform(command)
        for observer in self._observers:
            observer.on_step(self._session_id, before, event, self.conversation, commands)
        return any(isinstance(command, CancelReply) for command in commands)
