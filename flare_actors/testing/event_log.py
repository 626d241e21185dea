"""An observer that keeps what it sees, for assertions."""

from __future__ import annotations

from typing import TypeVar

from flare_actors.conversation.commands import Command, Notify
from flare_actors.conversation.events import Event
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import StateChanged
from flare_actors.conversation.states import Reason, State
from flare_actors.conversation.step import step
from flare_actors.observe import Observer

__all__ = ["EventLog"]

E = TypeVar("E")


class EventLog(Observer):
    """Everything that observers are told of one session, in order. A test's tool: it grows without bound."""

    def __init__(self) -> None:
        self.first: Conversation | None = None
        """The conversation before its first event."""
        self.events: list[Event] = []
        """What the core took."""
        self.commands: list[Command] = []
        """What it had done."""
        self.conversation = Conversation()
        """Where it stands."""
        self.faults: list[tuple[int | None, BaseException]] = []
        """What providers failed with, and in which turn."""
        self.lingering: list[tuple[int | None, int]] = []
        """Turns whose provider swallowed its cancellation, and how many there were then."""
        self.started = 0
        """Sessions opened."""
        self.ended: list[Reason | None] = []
        """Sessions gone, and why."""

    def on_session_started(self, session_id: str) -> None:
        """See ``Observer``."""
        del session_id
        self.started += 1

    def on_step(
        self, session_id: str, before: Conversation, event: Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """See ``Observer``."""
        del session_id
        if self.first is None:
            self.first = before
        self.events.append(event)
        self.commands.extend(commands)
        self.conversation = after

    def on_fault(self, session_id: str, turn: int | None, error: BaseException) -> None:
        """See ``Observer``."""
        del session_id
        self.faults.append((turn, error))

    def on_lingering(self, session_id: str, turn: int | None, count: int) -> None:
        """See ``Observer``."""
        del session_id
        self.lingering.append((turn, count))

    def on_session_ended(self, session_id: str, reason: Reason | None) -> None:
        """See ``Observer``."""
        del session_id
        self.ended.append(reason)

    def all(self, kind: type[E]) -> list[E]:
        """The events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def commanded(self, kind: type[E]) -> list[E]:
        """The commands of a kind so far."""
        return [command for command in self.commands if isinstance(command, kind)]

    def states(self) -> list[State]:
        """The states that the conversation went through, from its first on."""
        first = self.first or Conversation()
        changes = [command.notice for command in self.commanded(Notify) if isinstance(command.notice, StateChanged)]
        return [first.state, *(change.new for change in changes)]

    def folded(self) -> Conversation:
        """What the events alone make of the first conversation: equal to the live one, or events are no journal."""
        conversation = self.first or Conversation()
        for event in self.events:
            conversation, _ = step(conversation, event)
        return conversation
