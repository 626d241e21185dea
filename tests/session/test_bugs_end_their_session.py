"""A bug is nobody's provider's fault: it ends its session, loudly, and leaves nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import trio
from session_kit import open_streams
from trio.testing import MockClock

from flare_actors.actors.tree import Tree
from flare_actors.conversation.commands import Command, FlushPlayback, Notify, StartReply, StartStt
from flare_actors.conversation.endpointing import Heard, UtteranceDetector
from flare_actors.conversation.events import ConversationStartRequested, Event, InterruptRequested, TextReceived
from flare_actors.conversation.model import Conversation
from flare_actors.conversation.notices import ErrorRaised, HearingReady, SessionEnded
from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason
from flare_actors.errors import SessionClosed
from flare_actors.observe import Observer
from flare_actors.ports import AudioOut
from flare_actors.providers.scripted import tone
from flare_actors.session import Session, open_session, run_session
from flare_actors.testing import EventLog, memory_link, scripted_agent


class Bug(Exception):
    """Ours."""


class Raises(Observer):
    """An observer with a bug."""

    def __init__(self, when: Callable[[Event], bool]) -> None:
        self.when = when

    def on_step(
        self, session_id: str, before: Conversation, event: Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        if self.when(event):
            raise Bug("in an observer")


def only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in there."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        (found,) = found.exceptions
    return found


async def test_a_bug_in_an_observer_ends_the_session_and_the_client_is_told(autojump_clock: MockClock) -> None:
    agent = scripted_agent()
    log = EventLog()
    client, link = memory_link()
    sessions: list[Session] = []

    async def serve() -> None:
        buggy = Raises(lambda event: isinstance(event, InterruptRequested))
        async with open_session(agent, observers=[log, buggy]) as session:
            sessions.append(session)
            async with trio.open_nursery() as inner:
                inner.start_soon(session.attach, link)
                await client.send(ConversationStartRequested())
                await client.send(TextReceived(text="hi"))
                await client.wait_for(AudioOut)
                await client.send(InterruptRequested())
                await trio.sleep(60)
                pytest.fail("the block goes on although its session is gone")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        with pytest.raises(BaseExceptionGroup) as caught:
            await serve()
        assert isinstance(only(caught.value), Bug)
        await client.wait_closed()
    assert client.received[-1] == SessionEnded(reason=Reason.CRITICAL_ERROR)
    assert [m.code for m in client.all(ErrorRaised)] == ["internal_error"]
    assert not any("observer" in m.message for m in client.all(ErrorRaised))
    (session,) = sessions
    assert session.ended is Reason.CRITICAL_ERROR
    assert log.ended == [Reason.CRITICAL_ERROR]
    assert await session.wait_ended() is Reason.CRITICAL_ERROR
    with pytest.raises(SessionClosed):
        session.start_conversation()
    assert open_streams(agent) == {}
    assert session.statistics().replies_running == 0


async def test_a_bug_on_its_way_out_does_not_give_way_to_a_cancellation(autojump_clock: MockClock) -> None:
    client, link = memory_link(buffer=1)  # Nobody reads, so the session's last words take their time.
    caught: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as owner:
            try:
                buggy = Raises(lambda event: isinstance(event, InterruptRequested))
                async with open_session(scripted_agent(), observers=[buggy]) as session:
                    nursery.start_soon(session.attach, link)
                    await client.send(ConversationStartRequested())
                    await trio.sleep(1)
                    await client.send(InterruptRequested())
                    await trio.sleep(0.5)
                    owner.cancel()
                    await trio.sleep(60)
            except* Bug as group:
                caught.append(group)
        client.close()
    assert isinstance(only(caught[0]), Bug)


@pytest.mark.parametrize("kind", [StartReply, FlushPlayback, StartStt, Notify], ids=lambda kind: kind.__name__)
async def test_a_bug_in_carrying_out_a_command_does_the_same(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    perform = Tree._perform

    def buggy(self: Tree, command: Command) -> None:
        if (
            isinstance(command, kind)
            and self.conversation.turns > 0
            and not isinstance(getattr(command, "notice", None), SessionEnded)
        ):
            raise Bug(kind.__name__)
        perform(self, command)

    monkeypatch.setattr(Tree, "_perform", buggy)
    agent = scripted_agent(settings=Settings(welcome="Hello there, this is a welcome that takes its time."))
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)

        async def serve() -> None:
            with pytest.raises(BaseExceptionGroup) as caught:
                await run_session(link, agent)
            assert isinstance(only(caught.value), Bug)

        nursery.start_soon(serve)
        await client.send(ConversationStartRequested())
        await trio.sleep(1)
        if not client.closed:
            await client.send(InterruptRequested())
        await client.wait_closed()
    assert open_streams(agent) == {}
    assert link.closed


async def test_a_bug_of_one_session_is_not_anothers(autojump_clock: MockClock) -> None:
    agent = scripted_agent()
    client, link = memory_link()

    async def sick() -> None:
        async with open_session(agent, observers=[Raises(lambda _: True)]) as session:
            session.start_conversation()
            await trio.sleep(60)

    async with trio.open_nursery() as nursery, open_session(agent) as healthy:
        nursery.start_soon(client.run)
        nursery.start_soon(healthy.attach, link)
        with pytest.raises(BaseExceptionGroup):
            await sick()
        await client.send(ConversationStartRequested())
        await client.wait_for(HearingReady)
        assert healthy.ended is None


async def test_what_the_block_itself_raises_comes_out_as_it_was(autojump_clock: MockClock) -> None:
    log = EventLog()
    sessions: list[Session] = []

    async def embedder() -> None:
        async with open_session(scripted_agent(), observers=[log]) as session:
            sessions.append(session)
            session.start_conversation()
            await trio.sleep(1)
            raise LookupError("the embedder's own")

    with pytest.raises(LookupError, match="the embedder's"):
        await embedder()
    assert log.ended == [None]
    assert sessions[0].ended is None
    with pytest.raises(SessionClosed, match="cancelled"):
        await sessions[0].wait_ended()
    with pytest.raises(SessionClosed, match="cancelled"):
        sessions[0].start_conversation()


async def test_a_link_with_a_bug_does_not_take_the_session_with_it(autojump_clock: MockClock) -> None:
    client, link = memory_link()

    async def receive() -> None:
        raise Bug("in a link")

    async with open_session(scripted_agent()) as session:
        link.receive = receive  # type: ignore[assignment,method-assign]
        with pytest.raises(BaseExceptionGroup) as caught:
            await session.attach(link)
        assert isinstance(only(caught.value), Bug)
        assert link.closed
        await trio.sleep(1)
        assert session.ended is None
        assert not session.statistics().attached
    client.close()


async def test_nothing_of_a_session_is_left_in_memory(autojump_clock: MockClock) -> None:
    agent = scripted_agent(settings=Settings(welcome="Hi."))
    client, link = memory_link()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        async with open_session(agent) as session:
            nursery.start_soon(session.attach, link)
            await client.send(ConversationStartRequested())
            await client.wait_for(HearingReady)
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("speaks", [False, True])
async def test_a_bug_of_the_ear_ends_the_session_and_is_not_the_links(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, speaks: bool
) -> None:
    feed = UtteranceDetector.feed
    heard = 0

    def buggy(self: UtteranceDetector, probability: float, *, credible: bool = True) -> tuple[Heard, ...]:
        nonlocal heard
        heard += 1
        if heard > 30:
            raise Bug("in the ear")
        return feed(self, probability, credible=credible)

    monkeypatch.setattr(UtteranceDetector, "feed", buggy)
    client, link = memory_link()
    sessions: list[Session] = []

    async def hold() -> None:
        async with open_session(scripted_agent()) as session:
            sessions.append(session)
            await trio.sleep_forever()

    async def serve() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            await hold()
        assert isinstance(only(caught.value), Bug)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(sessions[0].attach, link)  # It returns: what is no fault of the link's is not raised there.
        await client.send(ConversationStartRequested())
        await trio.sleep(1)
        await client.speak(tone(31 * 0.032, 16_000) if speaks else bytes(31 * 1024))
        await client.wait_closed()
    assert heard == 31
