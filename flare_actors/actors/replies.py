"""The replies of a session: one live or held at a time, and those that were cancelled and have not let go yet."""

from __future__ import annotations

from collections.abc import Callable

import trio

from flare_actors.actors.channels import Clock, Inbox, Outbox
from flare_actors.actors.reply import Reply
from flare_actors.actors.speaker import Speaker
from flare_actors.actors.supervision import Lingering
from flare_actors.actors.tools import DetachedTools
from flare_actors.agent import Agent
from flare_actors.conversation.commands import ReturnToolResult, StartReply
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason
from flare_actors.errors import ProviderError

__all__ = ["Replies"]


class Replies:
    """Starts, releases and cancels reply scopes; nothing here waits.

    Args:
        on_fault: told the turn and what its provider raised.
        lingering: counts replies that do not end when they are cancelled.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        clock: Clock,
        inbox: Inbox,
        outbox: Outbox,
        speaker: Speaker,
        lingering: Lingering,
        on_fault: Callable[[ProviderError, int], None],
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._inbox = inbox
        self._outbox = outbox
        self._speaker = speaker
        self._lingering = lingering
        self._on_fault = on_fault
        self.detached = DetachedTools(inbox)
        """Tools that go on in the background."""
        self._running: dict[int, Reply] = {}
        self._held: Reply | None = None
        """The reply that was started ahead, until it is released or cancelled; it may have ended."""
        self._cancelled: list[Reply] = []
        """Replies that were told to end just now."""

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._running)

    def start(self, command: StartReply, settings: Settings, nursery: trio.Nursery) -> None:
        """Open the scope of a turn in the session's nursery."""
        reply = Reply(
            command,
            agent=self._agent,
            settings=settings,
            inbox=self._inbox,
            outbox=self._outbox,
            speaker=self._speaker,
            detached=self.detached,
            now=self._clock.now,
            on_fault=lambda turn, error: self._on_fault(error, turn),
        )
        self._running[command.turn] = reply
        self._held = reply if command.held else None
        self._speaker.open(command.turn, held=command.held)
        nursery.start_soon(self._run, reply, name=f"reply {command.turn}")

    async def _run(self, reply: Reply) -> None:
        try:
            await reply.run()
        finally:
            reply.ended.set()
            del self._running[reply.turn]

    def release(self, turn: int) -> None:
        """Let a held reply out, which may have been generated to its end already."""
        held, self._held = self._held, None
        if held is not None and held.turn == turn:
            held.release()
            self._speaker.release(turn)

    def return_result(self, result: ReturnToolResult) -> None:
        """Hand on what the client made of a call; does nothing if nobody waits for it any more."""
        reply = self._running.get(result.turn)
        if reply is not None:
            reply.return_result(result)

    def cancel(self, turn: int, reason: Reason) -> None:
        """Cancel a turn's reply; does nothing if it has ended. ``watch`` is to follow, when it has had its turn."""
        if self._held is not None and self._held.turn == turn:
            self._held = None
        reply = self._running.get(turn)
        if reply is None or reply.closed:
            return
        reply.cancel(reason)
        self._cancelled.append(reply)

    def watch(self, nursery: trio.Nursery) -> None:
        """See that what was cancelled ends."""
        cancelled, self._cancelled = self._cancelled, []
        for reply in cancelled:
            if not reply.ended.is_set():
                nursery.start_soon(self._lingering.watch, reply.ended, reply.turn, name=f"watch {reply.turn}")
