"""A session: one nursery with everything of one client's stay in it, and the error boundary around it.

    async with open_session(agent) as session:      # owns the session; leaving the block ends it
        await session.attach(link)                  # serves a link; the session outlives it

    await run_session(link, agent)                  # the simple form: one link, one session

The nursery holds the orchestrator, the ear, the recogniser, the speaker and one reply scope per turn. Its closing is the
cleanup: there is nothing else to terminate.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

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
from flare_actors.actors.supervision import Lingering
from flare_actors.agent import Agent
from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.conversation import commands as do
from flare_actors.conversation import events as ev
from flare_actors.conversation.changes import WrongSetting, changed, changes
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised, SessionEnded, SessionStarted
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, Reason, State
from flare_actors.errors import LinkBroken, LinkClosed, ProviderError, SessionClosed, SessionError, UnsupportedLocale
from flare_actors.observe import Observer
from flare_actors.ports import ClientLink

__all__ = ["Session", "SessionStatistics", "open_session", "run_session"]


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


class Session:
    """One client's stay. Made by ``open_session``; every method is for the Trio thread that runs it.

    The methods that ask for something (``start_conversation``, ``say``, ...) do not wait: the request goes through the
    same inbox as everything else, and what becomes of it is told to the client and the observers.
    """

    DRAIN_S: Final = 1.0  # The last notices get this long to leave; a client that does not read cannot hold an end up.

    def __init__(
        self,
        agent: Agent,
        *,
        settings: Settings,
        session_id: str,
        observers: Sequence[Observer],
    ) -> None:
        self.id = session_id
        """22 URL-safe characters, unless the embedder chose it."""
        self.resume_token = secrets.token_urlsafe(32)
        """Proves that a new link belongs to the old client; compare it in constant time."""
        self._agent = agent
        self._nursery: trio.Nursery | None = None
        self._observers = tuple(observers)
        self._clock = Clock()
        self._inbox = Inbox(self._clock)
        self._outbox = Outbox(self._inbox.overload)
        self._speaker = Speaker(self._clock, self._inbox, self._outbox)
        self._lingering = Lingering(self._tell_lingering, self._give_up_on_lingering)
        self._replies = Replies(
            agent,
            clock=self._clock,
            inbox=self._inbox,
            outbox=self._outbox,
            speaker=self._speaker,
            lingering=self._lingering,
            on_fault=self._fault,
        )
        self._recognizer = RecognizerActor(
            agent.recognizer, settings.timeouts, self._inbox, self._lingering, self._fault
        )
        self._ear = Ear(
            agent.voice_activity, self._inbox, self._recognizer.begin, self._speaker.recent_levels, self._fault
        )
        self._performer = Performer(
            ear=self._ear,
            recognizer=self._recognizer,
            speaker=self._speaker,
            replies=self._replies,
            outbox=self._outbox,
            settings=lambda: self.conversation.settings,
        )
        self._orchestrator = Orchestrator(
            session_id,
            Conversation(settings=settings),
            clock=self._clock,
            inbox=self._inbox,
            perform=self._perform,
            observers=observers,
        )
        self._starting = False
        self._crashed = False
        self._link_scope: trio.CancelScope | None = None
        self._link_gone = trio.Event()
        self._ended = trio.Event()

    # --- What an embedder asks for ----------------------------------------------------------------------------------------

    @property
    def conversation(self) -> Conversation:
        """The conversation as it stands now: a value."""
        return self._orchestrator.conversation

    @property
    def ended(self) -> Reason | None:
        """Why the session ended; None while it lives, and if it was cancelled from outside."""
        return self.conversation.ended or (Reason.CRITICAL_ERROR if self._crashed else None)

    def start_conversation(self) -> None:
        """Start to talk.

        Raises:
            SessionClosed: the session has ended.
        """
        self._ask(ev.ConversationStartRequested())
        self._starting = self.conversation.state is State.IDLE

    def end_conversation(self) -> None:
        """Stop talking; the session stays.

        Raises:
            SessionClosed: the session has ended.
        """
        self._ask(ev.ConversationEndRequested())

    def say(self, text: str) -> None:
        """Have ``text`` said as soon as the floor is free.

        Raises:
            SessionClosed: the session has ended.
            SessionError: no conversation is going on, there is nothing to say, or too much.
        """
        self._expect_conversation()
        if not text.strip():
            raise SessionError("there is nothing to say; give at least one word")
        limit = self.conversation.settings.limits.text_chars
        if len(text) > limit:
            raise SessionError(
                f"the text has {len(text)} characters; at most {limit} (limits.text_chars) are said at once"
            )
        self._ask(ev.SayRequested(text=text))

    def respond(self, instructions: str | None = None, *, replace: bool = False, output: Output | None = None) -> None:
        """Have the agent answer now: what was said so far, or out of its own accord if the user has said nothing new.

        Args:
            instructions: for this answer alone, after the agent's own; they do not enter the history.
            replace: ... in place of the agent's own.
            output: for this answer alone; default: as the settings say.

        Raises:
            SessionClosed: the session has ended.
            SessionError: no conversation is going on, or the instructions are too long.
        """
        self._expect_conversation()
        limit = self.conversation.settings.limits.text_chars
        if instructions is not None and len(instructions) > limit:
            raise SessionError(
                f"the instructions have {len(instructions)} characters; at most {limit} (limits.text_chars) are taken"
            )
        self._ask(ev.ResponseRequested(instructions=instructions, replace=replace, output=output))

    def update(self, **values: object) -> Settings:
        """Change settings from now on; what is under way already (an utterance, an answer) goes on as it began.

        Args:
            values: fields of ``Settings`` (all but ``timeouts`` and ``limits``) and what they are to be; an enumeration's
                value may be given as such, or as its text.

        Gives the settings as they will be.

        Raises:
            SessionClosed: the session has ended.
            SessionError: a setting is wrong; none was changed.
            UnsupportedLocale: one of the engines does not know the locale; nothing was changed.
        """
        try:
            update = changes(values)
            settings = changed(self.conversation.settings, update)
        except WrongSetting as wrong:
            raise SessionError(str(wrong)) from None
        self._agent.check_locale(settings)
        self._ask(ev.SettingsChanged(changes=update))
        return settings

    def _refusal(self, event: ev.SettingsChanged) -> ErrorRaised | None:
        """What a client is told that asks for a locale which one of the engines does not know."""
        try:
            self._agent.check_locale(changed(self.conversation.settings, event.changes))
        except UnsupportedLocale as error:
            return ErrorRaised(code="unsupported_locale", message=error.message, recoverable=True, field="locale")
        except WrongSetting:
            return None  # The core says what is wrong.
        return None

    def _expect_conversation(self) -> None:
        if self.conversation.state is State.IDLE and not self._starting:
            raise SessionError("no conversation is going on; call start_conversation() first")

    def end(self, reason: Reason = Reason.SESSION_ENDED) -> None:
        """End the session; does nothing if it has ended. ``wait_ended`` waits for it."""
        if self.ended is None:
            self._inbox.put(ev.SessionEndRequested(reason=reason))

    def shutdown(self, deadline_s: float) -> None:
        """Let the turn finish, ``deadline_s`` seconds at most, then end with ``Reason.SHUTDOWN``."""
        if self.ended is None:
            self._inbox.put(ev.ShutdownRequested(deadline_s=deadline_s))

    async def wait_ended(self) -> Reason:
        """Wait until the session has ended, its last notices have left and everything of it is gone.

        Raises:
            SessionClosed: it was cancelled from outside, so it has no reason of its own.
        """
        await self._ended.wait()
        if self.ended is None:
            raise SessionClosed("the session was cancelled")
        return self.ended

    def statistics(self) -> SessionStatistics:
        """Where the session stands."""
        conversation = self.conversation
        return SessionStatistics(
            state=conversation.state,
            turns=conversation.turns,
            utterances=self._ear.utterances,
            attached=conversation.attached,
            dropped_audio_s=self._ear.dropped_s,
            stale_facts=conversation.stale,
            speculated=conversation.speculated,
            released=conversation.released,
            wasted_replies=conversation.wasted.replies,
            wasted_s=conversation.wasted.work_s,
            replies_running=len(self._replies),
            inbox=len(self._inbox),
            outbox=len(self._outbox),
        )

    # --- The client's link ------------------------------------------------------------------------------------------------

    async def attach(self, link: ClientLink, *, resumed: bool = False) -> None:
        """Serve ``link`` until it closes, a newer one takes its place, or the session ends; then close it.

        The client is told ``SessionStarted`` first. What goes wrong with the link is a fact for the session and is not
        raised. Cancelling this means that the client is gone: the turn is cancelled and the grace time begins.
        """
        scope = trio.CancelScope()
        try:
            if self.ended is not None or self._ended.is_set():
                await self._refuse(link)
                return
            if self._link_scope is not None:
                self._link_scope.cancel(reason="a newer link took its place")
                self._disconnect()
            self._link_scope, self._link_gone = scope, trio.Event()
            connection = self._connect(link, resumed=resumed)
            with scope:
                await carry(
                    link,
                    connection,
                    inbox=self._inbox,
                    outbox=self._outbox,
                    ear=self._ear,
                    speaker=self._speaker,
                    refusal=self._refusal,
                )
        finally:
            if self._link_scope is scope:
                self._link_scope = None
                self._link_gone.set()
                self._disconnect()
            with trio.move_on_after(self.DRAIN_S, shield=True):
                await link.aclose()

    def _connect(self, link: ClientLink, *, resumed: bool) -> int:
        settings = self.conversation.settings
        rate = link.output_format.sample_rate
        self._ear.attach(link.input_format.sample_rate, realtime=link.realtime)
        self._speaker.attach(rate, realtime=link.realtime)
        connection = self._outbox.connect(rate * BYTES_PER_SAMPLE)
        self._outbox.put(
            SessionStarted(
                session_id=self.id,
                resume_token=self.resume_token,
                resumed=resumed,
                state=self.conversation.state,
                settings=settings,
                input_sample_rate=link.input_format.sample_rate,
                output_sample_rate=rate,
            )
        )
        self._inbox.put(ev.ClientAttached(reports_playback=link.reports_playback))
        return connection

    def _disconnect(self) -> None:
        """The link is gone: nothing is sent from here on, and nothing more was played than until now."""
        self._speaker.detach()
        self._outbox.disconnect()
        self._inbox.put(ev.ClientDetached())

    async def _refuse(self, link: ClientLink) -> None:
        """The session has ended: say so and nothing else."""
        try:
            with trio.move_on_after(self.DRAIN_S):
                await link.send(SessionEnded(reason=self.ended or Reason.SESSION_ENDED))
        except (LinkClosed, LinkBroken):
            pass

    # --- Inside -----------------------------------------------------------------------------------------------------------

    def _ask(self, event: ev.Event) -> None:
        if self.ended is not None or self._ended.is_set():
            why = self.ended.value if self.ended is not None else "cancelled"
            raise SessionClosed(f"the session has ended ({why}); open a new one")
        self._inbox.put(event)

    def _fault(self, error: ProviderError, turn: int | None = None) -> None:
        for observer in self._observers:
            observer.on_fault(self.id, turn, error)

    def _tell_lingering(self, turn: int | None, count: int) -> None:
        for observer in self._observers:
            observer.on_lingering(self.id, turn, count)

    def _give_up_on_lingering(self) -> None:
        message = f"more than {Lingering.MOST} cancelled provider streams do not end"
        self._inbox.put(ev.FailureRaised(message=message, critical=True))

    def _perform(self, command: do.Command) -> None:
        if isinstance(command, do.OpenListener | do.CloseListener):
            self._starting = False
        assert self._nursery is not None
        self._performer.perform(command, self._nursery)

    async def _run(self) -> None:
        """Run until the conversation has ended; then let the last notices leave, and close everything."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._replies.detached.nursery = self._nursery
                self._nursery.start_soon(self._ear.run, name="ear")
                self._nursery.start_soon(self._recognizer.run, name="recognizer")
                self._nursery.start_soon(self._speaker.run, name="speaker")
                reason = await self._orchestrator.run()
                await self._drain()
                self._nursery.cancel_scope.cancel(reason=reason.value)
        except BaseException as exc:
            if _is_bug(exc):
                # It goes on to whoever opened the session. The client is told that it is over, not what it was.
                self._crashed = True
                self._outbox.put(
                    ErrorRaised(code="internal_error", message="the session failed; start a new one", recoverable=False)
                )
                self._outbox.put(SessionEnded(reason=Reason.CRITICAL_ERROR))
                self._outbox.close()
                await self._drain()
            raise
        finally:
            self._outbox.close()
            self._ended.set()
            if self._link_scope is not None:
                self._link_scope.cancel(reason="the session is over")

    async def _drain(self) -> None:
        """Let what is in the closed outbox leave, for a moment."""
        if self._link_scope is not None:
            # Shielded, for as short as it is: a bug that is on its way out must not give way to a cancellation.
            with trio.move_on_after(self.DRAIN_S, shield=True):
                await self._link_gone.wait()


def _is_bug(exc: BaseException) -> bool:
    """Is there anything in it but cancellation and interrupts?"""
    if isinstance(exc, BaseExceptionGroup):
        return any(map(_is_bug, exc.exceptions))
    return isinstance(exc, Exception)


@asynccontextmanager
async def open_session(
    agent: Agent,
    *,
    settings: Settings | None = None,
    session_id: str | None = None,
    observers: Sequence[Observer] = (),
) -> AsyncIterator[Session]:
    """Open a session; leaving the block ends it, with everything in it.

    Args:
        agent: what to talk with.
        settings: this session's own choices; default: the agent's.
        session_id: stable and unguessable; default: 128 random bits.
        observers: hooks for logs, metrics, traces.

    Raises:
        UnsupportedLocale: before anything is started.
        BaseExceptionGroup: a bug (an exception that is no provider's fault) in one of the session's tasks.

    Cancellation: at any await inside; the session is closed within the cancelled scope, nothing of it is left but the
    replies of providers that swallow cancellation, which are waited for.
    """
    settings = settings or agent.settings
    agent.check_locale(settings)
    session_id = session_id or secrets.token_urlsafe(16)
    session = Session(agent, settings=settings, session_id=session_id, observers=observers)
    for observer in observers:
        observer.on_session_started(session_id)
    caller: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session._run, name=f"session {session_id}")  # noqa: SLF001 - its owner
            try:
                yield session
            except BaseException as exc:
                caller = exc
                raise
            session.end()
            await session._ended.wait()  # noqa: SLF001 - a session that crashed raises by itself
    except BaseExceptionGroup as group:
        # What the block itself raised comes out as it was, if the session had no trouble of its own.
        if caller is not None and group.exceptions == (caller,):
            raise caller from None
        raise
    finally:
        for observer in observers:
            observer.on_session_ended(session_id, session.ended)


async def run_session(
    link: ClientLink,
    agent: Agent,
    *,
    settings: Settings | None = None,
    observers: Sequence[Observer] = (),
) -> Reason:
    """Talk to one client over one link; the session ends with the link.

    Args, errors and cancellation as for ``open_session``. The link is closed in any case.
    """
    try:
        async with open_session(agent, settings=settings, observers=observers) as session:
            await session.attach(link)
            session.end(Reason.CLIENT_DISCONNECTED)
            return await session.wait_ended()
    finally:
        with trio.move_on_after(Session.DRAIN_S, shield=True):
            await link.aclose()
