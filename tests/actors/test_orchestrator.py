"""The orchestrator: one await, deadlines before later events, and never a false timeout after a pause."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from flare_actors.actors.channels import Clock, Inbox
from flare_actors.actors.orchestrator import Orchestrator
from flare_actors.conversation.commands import CancelReply, Command
from flare_actors.conversation.events import (
    ClientAttached,
    ClientDetached,
    ConversationEndRequested,
    ConversationStartRequested,
    DeadlinePassed,
    Event,
    InterruptRequested,
    ListenerOpened,
    SessionEndRequested,
    TextReceived,
)
from flare_actors.conversation.model import Conversation, Deadlines
from flare_actors.conversation.settings import Settings, Timeouts
from flare_actors.conversation.states import Reason, State, Wait
from flare_actors.testing import EventLog


class Bench:
    """An orchestrator with nothing around it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = Clock()
        self.inbox = Inbox(self.clock)
        self.log = EventLog()
        self.performed: list[tuple[Command, State]] = []
        self.cancelled: list[float] = []
        """When it said that who was cancelled has had its turn."""
        self.orchestrator = Orchestrator(
            "id",
            Conversation(settings=settings or Settings()),
            clock=self.clock,
            inbox=self.inbox,
            perform=lambda command: self.performed.append((command, self.orchestrator.conversation.state)),
            cancelled=lambda: self.cancelled.append(trio.current_time()),
            observers=[self.log],
        )


async def test_it_ends_with_the_reason_of_the_end(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.inbox.put(SessionEndRequested(reason=Reason.SHUTDOWN))
    assert await bench.orchestrator.run() is Reason.SHUTDOWN


async def test_commands_are_performed_when_the_new_conversation_is_there_already(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.inbox.put(SessionEndRequested())
    await bench.orchestrator.run()
    assert {state for _, state in bench.performed} == {State.ENDED}


async def test_a_deadline_passes_at_its_own_time(autojump_clock: MockClock) -> None:
    bench = Bench(Settings(reconnect_grace_s=7.0))
    bench.inbox.put(ClientAttached())
    await trio.sleep(1)
    bench.inbox.put(ClientDetached())
    assert await bench.orchestrator.run() is Reason.CLIENT_DISCONNECTED
    assert bench.log.events[-1] == DeadlinePassed(at=8.0, wait=Wait.GRACE)
    assert bench.clock.now() == 8.0


def test_after_a_pause_what_had_come_in_time_counts_before_the_deadline() -> None:
    # The process stands still for a minute: the client had come back after 3 s of its 7.
    clock = MockClock()

    async def main() -> None:
        bench = Bench(Settings(reconnect_grace_s=7.0, session_idle_s=None))
        bench.inbox.put(ClientDetached())
        clock.jump(3)
        bench.inbox.put(ClientAttached())
        clock.jump(57)
        bench.inbox.put(SessionEndRequested())
        assert await bench.orchestrator.run() is Reason.SESSION_ENDED
        assert bench.log.all(DeadlinePassed) == []

    trio.run(main, clock=clock)


def test_after_a_pause_what_came_too_late_comes_after_the_deadline() -> None:
    clock = MockClock()

    async def main() -> None:
        bench = Bench(Settings(reconnect_grace_s=7.0, session_idle_s=None))
        bench.inbox.put(ClientDetached())
        clock.jump(9)
        bench.inbox.put(ClientAttached())
        assert await bench.orchestrator.run() is Reason.CLIENT_DISCONNECTED
        assert [type(e) for e in bench.log.events] == [ClientDetached, DeadlinePassed]
        assert bench.log.events[-1].at == 7.0

    trio.run(main, clock=clock)


def test_several_deadlines_in_one_pause_pass_in_their_order() -> None:
    clock = MockClock()

    async def main() -> None:
        settings = Settings(idle_prompts=(), idle_end_s=20, session_idle_s=10)
        bench = Bench(settings)
        bench.inbox.put(ClientAttached())
        bench.inbox.put(ConversationStartRequested())
        bench.inbox.put(ListenerOpened())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.orchestrator.run)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(100)
            await trio.testing.wait_all_tasks_blocked()
            assert bench.orchestrator.conversation.ended is Reason.IDLE
        assert [(e.at, e.wait) for e in bench.log.all(DeadlinePassed)] == [(20.0, Wait.IDLE), (30.0, Wait.SESSION_IDLE)]

    trio.run(main, clock=clock)


@pytest.mark.parametrize("ended_amid_it", [False, True])
async def test_when_a_reply_was_cancelled_it_is_looked_after_even_if_the_session_ends_in_that_moment(
    autojump_clock: MockClock, ended_amid_it: bool
) -> None:
    bench = Bench()
    had_a_turn = False

    def is_cancelled() -> bool:
        return any(isinstance(command, CancelReply) for command, _ in bench.performed)

    async def other() -> None:
        nonlocal had_a_turn
        while True:
            await trio.lowlevel.checkpoint()
            had_a_turn |= is_cancelled() and not bench.cancelled
            if had_a_turn and ended_amid_it:
                nursery.cancel_scope.cancel()

    for event in (ClientAttached(), ConversationStartRequested(), ListenerOpened(), TextReceived(text="go on")):
        bench.inbox.put(event)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.orchestrator.run)
        await trio.testing.wait_all_tasks_blocked()
        assert not bench.cancelled
        nursery.start_soon(other)
        bench.inbox.put(InterruptRequested())
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert is_cancelled()
    assert len(bench.cancelled) == 1
    assert had_a_turn


async def test_events_without_end_do_not_starve_a_cancellation(autojump_clock: MockClock) -> None:
    bench = Bench()
    with trio.move_on_after(5) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.orchestrator.run)
            while True:
                bench.inbox.put(ClientAttached())
                await trio.sleep(0.1)
    assert scope.cancelled_caught


async def test_deadlines_that_pass_without_end_hold_up_nobody(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    steps = 0

    def always_due(conversation: Conversation, _event: Event) -> tuple[Conversation, tuple[Command, ...]]:
        nonlocal steps
        steps += 1
        assert steps < 1000, "nobody else had a turn"
        return conversation, ()

    monkeypatch.setattr("flare_actors.actors.orchestrator.step", always_due)
    bench.orchestrator.conversation = attrs.evolve(bench.orchestrator.conversation, deadlines=Deadlines(idle=0.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.orchestrator.run)
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert steps


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.5, 1.0]),
            st.booleans(),
            st.sampled_from(
                [
                    ClientAttached(),
                    ClientDetached(),
                    ConversationStartRequested(),
                    ConversationEndRequested(),
                    ListenerOpened(),
                    TextReceived(text="hello"),
                    InterruptRequested(),
                ]
            ),
        ),
        max_size=30,
    )
)
def test_what_comes_as_a_deadline_passes_is_taken_once_and_in_its_order(
    moves: list[tuple[float, bool, Event]],
) -> None:
    # Deadlines of a second, or half of one, and events at the same moments, many of which cancel something. Time passes, or the
    # process stands still, so that the alarm has rung when the orchestrator runs again.
    clock = MockClock(autojump_threshold=0)

    async def main() -> None:
        quarter = dict.fromkeys(("connect_s", "llm_first_s", "llm_gap_s", "tts_first_s", "tts_gap_s"), 0.25)
        timeouts = Timeouts(**quarter, backstop_s=0.5)
        bench = Bench(Settings(reconnect_grace_s=1.0, idle_end_s=0.5, session_idle_s=1.0, timeouts=timeouts))
        came: list[Event] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.orchestrator.run)
            asked = (ClientAttached(), ConversationStartRequested(), ListenerOpened(), TextReceived(text="hello"))
            begin = [(0.0, False, event) for event in asked]
            for after_s, stands, event in [*begin, *moves, (1.0, False, SessionEndRequested())]:
                if stands:
                    clock.jump(after_s)
                else:
                    await trio.sleep(after_s)
                if bench.orchestrator.conversation.ended is None:
                    bench.inbox.put(event)
                    came.append(attrs.evolve(event, at=bench.clock.now()))
        taken = [event for event in bench.log.events if not isinstance(event, DeadlinePassed)]
        assert taken == came[: len(taken)]
        # If a deadline ended it, one more may have been on its way out of the inbox.
        ended_by_deadline = isinstance(bench.log.events[-1], DeadlinePassed)
        lost = len(came) - len(taken) - len(bench.inbox)
        assert lost in {0, int(ended_by_deadline)}, "what was not taken came with the end, or after it"
        assert [event.at for event in bench.log.events] == sorted(event.at for event in bench.log.events)
        assert bench.log.folded() == bench.orchestrator.conversation

    trio.run(main, clock=clock)
