"""The one seam for logs, metrics and traces: hooks that a session calls, synchronously, as things happen.

Nothing is called when nobody observes. Hooks run on the hot path: they must be quick and must not raise.
"""

from __future__ import annotations

from flare_actors.conversation.commands import Command
from flare_actors.conversation.events import Event
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.states import Reason

__all__ = ["Observer"]


class Observer:
    """Does nothing; subclass it and override what you want to see."""

    def on_session_started(self, session_id: str) -> None:
        """A session is open."""

    def on_step(
        self, session_id: str, before: Conversation, event: Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """The core took an event; the commands have been performed."""

    def on_fault(self, session_id: str, turn: int | None, error: BaseException) -> None:
        """A provider failed (a ``ProviderError``, its cause attached); the conversation copes with it.

        Causes may hold speech content or secrets of the vendor's making: log their types, not their texts.
        """

    def on_lingering(self, session_id: str, turn: int | None, count: int) -> None:
        """A provider swallowed its cancellation: the turn's reply is still running, as one of ``count``.

        ``turn`` is None where it is the recogniser's.
        """

    def on_session_ended(self, session_id: str, reason: Reason | None) -> None:
        """A session is gone, with everything in it; None: it was cancelled from outside. A bug is a critical error."""
