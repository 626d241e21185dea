"""The tree of one session: its actors, wired to each other, in one nursery whose closing is the cleanup."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from flare_actors.actors.channels import Clock, Inbox, Outbox
from flare_actors.actors.ear import Ear
from flare_actors.actors.link import carry
from flare_actors.actors.orchestrator import Orchestrator
from flare_actors.actors.performer import Performer
from flare_actors.actors.recognizer import RecognizerActor
from flare_actors.actors.replies import Replies
from flare_actors.actors.speaker import Speaker
from flare_actors.actors.speech import Speeches
from flare_actors.actors.supervision import Lingering
from flare_actors.agent import Agent
from flare_actors.conversation import commands as do
from flare_actors.conversation import events as ev
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason, State
from flare_actors.errors import ProviderError
from flare_actors.observe import Observer
from flare_actors.ports import ClientLink

__all__ = ["SessionStatistics", "Tree"]


@attrs.frozen(kw_only=True)
class SessionStatistics:
    """Where a session stands, for health pages and curiosity."""

    state: State
    turns: int
    utterances: int
    attached: bool
    dropped_audio_s: float
    """Microphone audio dropped because it came faster than real time, in seconds."""
    stale_facts: int
    """Facts that came too late and were dropped."""
    speculated: int
    """Replies started ahead, at soft endpoints."""
    released: int
    """... of which so many became turns,"""
    wasted_replies: int
    """... and so many were thrown away unheard (one may be held still)."""
    wasted_s: float
    """Seconds that model and synthesizer were at those."""
    replies_running: int
    """The live turn's reply, and cancelled ones whose provider does not let go."""
    inbox: int
    """Events waiting."""
    outbox: int
    """Messages waiting to be written."""


class Tree:
    """The actors of one session, and the conversation that they are about.

    Args:
        agent: whose providers they work with.
        settings: what the conversation begins with.
        session_id: for the observers.
        observers: told of each step, of what providers raise, and of who does not let go.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        settings: Settings,
        session_id: str,
        observers: Sequence[Observer],
    ) -> None:
        self._session_id = session_id
        self._observers = tuple(observers)
        self._nursery: trio.Nursery | None = None
        self.starting = False
        """A conversation was asked for, and the core has not begun it yet."""
        self.speeches = Speeches()
        clock = Clock()
        self.inbox = Inbox(clock)
        self.outbox = Outbox(self.inbox.overload)
        self.speaker = Speaker(clock, self.inbox, self.outbox)
        lingering = Lingering(self._tell_lingering, self._give_up_on_lingering)
        self._replies = Replies(
            agent,
            clock=clock,
            inbox=self.inbox,
            outbox=self.outbox,
            speaker=self.speaker,
            lingering=lingering,
            on_fault=self._fault,
        )
        self.recognizer = RecognizerActor(agent.recognizer, settings.timeouts, self.inbox, lingering, self._fault)
        self.ear = Ear(
            agent.voice_activity,
            self.inbox,
            self.recognizer.begin,
            self.speaker.recent_levels,
            self._fault,
            clock=clock,
            paused=lambda: self.speaker.paused,
        )
        self._performer = Performer(
            ear=self.ear,
            recognizer=self.recognizer,
            speaker=self.speaker,
            replies=self._replies,
            outbox=self.outbox,
            settings=lambda: self.conversation.settings,
        )
        self._orchestrator = Orchestrator(
            session_id,
            Conversation(settings=settings),
            clock=clock,
            inbox=self.inbox,
            perform=self._perform,
            cancelled=self._watch_cancelled,
            observers=(self.speeches, *observers),
        )

    @property
    def conversation(self) -> Conversation:
        """The conversation as it stands now: a value."""
        return self._orchestrator.conversation

    async def run(self, drain: Callable[[], Awaitable[None]]) -> None:
        """Run until the conversation has ended; then let the last notices leave, and close everything.

        Args:
            drain: waits for the last notices to leave, for a moment.

        Raises:
            BaseExceptionGroup: a bug in one of the actors.

        Cancellation: at any await; nothing is left but the replies of providers that swallow it, which are waited for.
        """
        async with trio.open_nursery() as self._nursery:
            self._replies.detached.nursery = self._nursery
            self._nursery.start_soon(self.ear.run, name="ear")
            self._nursery.start_soon(self.recognizer.run, name="recognizer")
            self._nursery.start_soon(self.speaker.run, name="speaker")
            reason = await self._orchestrator.run()
            await drain()
            self._nursery.cancel_scope.cancel(reason=reason.value)

    async def carry(
        self, link: ClientLink, connection: int, refusal: Callable[[ev.SettingsChanged], ErrorRaised | None]
    ) -> None:
        """Carry messages between a client and its actors; see ``link.carry``."""
        await carry(
            link,
            connection,
            inbox=self.inbox,
            outbox=self.outbox,
            ear=self.ear,
            speaker=self.speaker,
            refusal=refusal,
            hush=self.hush,
        )

    def hush(self) -> None:
        """Somebody presses stop, which ends the live turn whatever else happens: it is silent and cancelled from here on.

        For whoever sends an ``InterruptRequested``, in the same breath: the decision is a moment away, and changes nothing.
        A reply that is held is nobody's turn yet.
        """
        turn = self.speaker.hush()
        if turn is not None:
            self._replies.cancel(turn, Reason.BARGE_IN)

    def statistics(self) -> SessionStatistics:
        """Where the session stands."""
        conversation = self.conversation
        return SessionStatistics(
            state=conversation.state,
            turns=conversation.turns,
            utterances=self.ear.utterances,
            attached=conversation.attached,
            dropped_audio_s=self.ear.dropped_s,
            stale_facts=conversation.stale,
            speculated=conversation.speculated,
            released=conversation.released,
            wasted_replies=conversation.wasted.replies,
            wasted_s=conversation.wasted.work_s,
            replies_running=len(self._replies),
            inbox=len(self.inbox),
            outbox=len(self.outbox),
        )

    def _perform(self, command: do.Command) -> None:
        if isinstance(command, do.OpenListener | do.CloseListener):
            self.starting = False
        assert self._nursery is not None
        self._performer.perform(command, self._nursery)

    def _watch_cancelled(self) -> None:
        assert self._nursery is not None
        self._replies.watch(self._nursery)

    def _fault(self, error: ProviderError, turn: int | None = None) -> None:
        for observer in self._observers:
            observer.on_fault(self._session_id, turn, error)

    def _tell_lingering(self, turn: int | None, count: int) -> None:
        for observer in self._observers:
            observer.on_lingering(self._session_id, turn, count)

    def _give_up_on_lingering(self) -> None:
        message = f"more than {Lingering.MOST} cancelled provider streams do not end"
        self.inbox.put(ev.FailureRaised(message=message, critical=True))
