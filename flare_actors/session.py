"""A session: one nursery with everything of one client's stay in it, and the error boundary around it.

    async with open_session(agent) as session:      # owns the session; leaving the block ends it
        await session.attach(link)                  # serves a link; the session outlives it

    await run_session(link, agent)                  # the simple form: one link, one session

The nursery holds the orchestrator, the ear, the recogniser, the speaker and one reply scope per turn (``actors/tree.py``).
Its closing is the cleanup: there is nothing else to terminate.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from flare_actors.actors.speech import Speech
from flare_actors.actors.tree import SessionStatistics, Tree
from flare_actors.agent import Agent
from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.conversation import events as ev
from flare_actors.conversation.changes import WrongSetting, changed, changes
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised, SessionEnded, SessionStarted
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Output, Reason, State
from flare_actors.errors import LinkBroken, LinkClosed, SessionClosed, SessionError, UnsupportedLocale
from flare_actors.observe import Observer
from flare_actors.ports import ClientLink

__all__ = ["Session", "SessionStatistics", "open_session", "run_session"]


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
        self._tree = Tree(agent, settings=settings, session_id=session_id, observers=observers)
        self._crashed = False
        self._link_scope: trio.CancelScope | None = None
        self._link_gone = trio.Event()
        self._ended = trio.Event()

    # --- What an embedder asks for ----------------------------------------------------------------------------------------

    @property
    def conversation(self) -> Conversation:
        """The conversation as it stands now: a value."""
        return self._tree.conversation

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
        self._tree.starting = self.conversation.state is State.IDLE

    def end_conversation(self) -> None:
        """Stop talking; the session stays.

        Raises:
            SessionClosed: the session has ended.
        """
        self._ask(ev.ConversationEndRequested())

    def say(self, text: str, *, interruptible: bool = True) -> Speech:
        """Have ``text`` said as soon as the floor is free.

        Args:
            text: what is said.
            interruptible: the user's words may stop it. Else it is said to its end, and what the user said or typed meanwhile
                is answered after it; ``interrupt`` (the stop button) and the end of the conversation stop it all the same.

        Gives what tells whether, and how much of it, was heard.

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
        ticket, speech = self._tree.speeches.make()
        self._ask(ev.SayRequested(text=text, interruptible=interruptible, ticket=ticket))
        return speech

    def respond(
        self, instructions: str | None = None, *, replace: bool = False, output: Output | None = None
    ) -> Speech:
        """Have the agent answer now: what was said so far, or out of its own accord if the user has said nothing new.

        Args:
            instructions: for this answer alone, after the agent's own; they do not enter the history.
            replace: ... in place of the agent's own.
            output: for this answer alone; default: as the settings say.

        Gives what tells whether, and how much of it, was heard.

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
        ticket, speech = self._tree.speeches.make()
        self._ask(ev.ResponseRequested(instructions=instructions, replace=replace, output=output, ticket=ticket))
        return speech

    def interrupt(self) -> None:
        """Have the agent fall silent, as the client's stop button does; what was heard of its turn is remembered.

        The turn is over, whatever it was; what else waits to be said or answered comes next. Does nothing while there is no
        turn: what the user has said and is still being understood is answered all the same.

        Raises:
            SessionClosed: the session has ended.
        """
        self._expect_session()
        self._tree.hush()  # First: what was shown of a text is told before its end is decided.
        self._tree.inbox.put(ev.InterruptRequested())

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
        if self.conversation.state is State.IDLE and not self._tree.starting:
            raise SessionError("no conversation is going on; call start_conversation() first")

    def end(self, reason: Reason = Reason.SESSION_ENDED) -> None:
        """End the session; does nothing if it has ended. ``wait_ended`` waits for it."""
        if self.ended is None:
            self._tree.inbox.put(ev.SessionEndRequested(reason=reason))

    def shutdown(self, deadline_s: float) -> None:
        """Let the turn finish, ``deadline_s`` seconds at most, then end with ``Reason.SHUTDOWN``."""
        if self.ended is None:
            self._tree.inbox.put(ev.ShutdownRequested(deadline_s=deadline_s))

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
        return self._tree.statistics()

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
                await self._tree.carry(link, connection, self._refusal)
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
        self._tree.ear.attach(link.input_format.sample_rate, realtime=link.realtime)
        self._tree.speaker.attach(rate, realtime=link.realtime, pauses=link.pauses_playback)
        connection = self._tree.outbox.connect(rate * BYTES_PER_SAMPLE)
        self._tree.outbox.put(
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
        self._tree.inbox.put(ev.ClientAttached(reports_playback=link.reports_playback))
        return connection

    def _disconnect(self) -> None:
        """The link is gone: nothing is sent from here on, and nothing more was played than until now."""
        self._tree.speaker.detach()
        self._tree.outbox.disconnect()
        self._tree.inbox.put(ev.ClientDetached())

    async def _refuse(self, link: ClientLink) -> None:
        """The session has ended: say so and nothing else."""
        try:
            with trio.move_on_after(self.DRAIN_S):
                await link.send(SessionEnded(reason=self.ended or Reason.SESSION_ENDED))
        except (LinkClosed, LinkBroken):
            pass

    # --- Inside -----------------------------------------------------------------------------------------------------------

    def _ask(self, event: ev.Event) -> None:
        self._expect_session()
        self._tree.inbox.put(event)

    def _expect_session(self) -> None:
        if self.ended is not None or self._ended.is_set():
            why = self.ended.value if self.ended is not None else "cancelled"
            raise SessionClosed(f"the session has ended ({why}); open a new one")

    async def _run(self) -> None:
        """Run until the conversation has ended; then let the last notices leave, and close everything."""
        try:
            await self._tree.run(self._drain)
        except BaseException as exc:
            if _is_bug(exc):
                # It goes on to whoever opened the session. The client is told that it is over, not what it was.
                self._crashed = True
                self._tree.outbox.put(
                    ErrorRaised(code="internal_error", message="the session failed; start a new one", recoverable=False)
                )
                self._tree.outbox.put(SessionEnded(reason=Reason.CRITICAL_ERROR))
                self._tree.outbox.close()
                await self._drain()
            raise
        finally:
            self._tree.outbox.close()
            self._ended.set()
            self._tree.speeches.close(self.ended)
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
