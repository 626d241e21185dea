"""Sessions live in the server's nursery: their faults end with them, and their connections come and go."""

from __future__ import annotations

import pytest
import structlog
import trio
from server_tools import FakeSessions, connected, running, socket_clock, until

from flare_actors.conversation.settings import Settings
from flare_actors.conversation.states import Reason
from flare_actors.errors import SessionError
from flare_actors.server.boundary import contained, tolerated
from flare_actors.server.registry import Draining, Sessions, TooMany
from flare_actors.wire import flare


@pytest.fixture
def clock():
    return socket_clock()


def errors(lines: list[dict]) -> list[dict]:
    return [line for line in lines if line["log_level"] == "error"]


@pytest.mark.parametrize(
    "bug",
    [
        KeyError("a bug"),
        ExceptionGroup("bugs", [KeyError("one"), ExceptionGroup("more", [ValueError("two")])]),
        trio.ClosedResourceError("on a channel of ours"),
    ],
    ids=lambda bug: type(bug).__name__,
)
async def test_a_bug_in_one_session_is_logged_loudly_and_hurts_no_other(bug: Exception, clock) -> None:
    sessions = FakeSessions()
    with structlog.testing.capture_logs() as lines:
        async with running(open_one=sessions) as server, connected(server) as one, connected(server) as other:
            await one.start()
            await other.start()
            sessions.made[0].crash(bug)
            await one.wait_error("internal_error")
            await one.hear_all()
            assert one.close_code == 1011
            await until(lambda: server.statistics().sessions == 1)
            await other.say(flare.Ping())
            await other.wait_for(flare.Pong)
            async with connected(server) as next_one:
                await next_one.start()
    (line,) = errors(lines)
    assert line["event"] == "session_crashed"
    assert line["session_id"] == "session-1"
    assert isinstance(line["exc_info"], BaseException)


async def test_a_session_that_cannot_be_opened_is_told_and_logged(clock) -> None:
    sessions = FakeSessions(fail_with=RuntimeError("no engine"))
    with structlog.testing.capture_logs() as lines:
        async with running(open_one=sessions) as server, connected(server) as client:
            await client.say(flare.StartSession())
            error = await client.wait_error("internal_error")
            assert not error.recoverable
            assert "no engine" not in error.message
            await client.hear_all()
            assert client.close_code == 1011
            assert server.statistics().sessions == 0
            sessions.fail_with = None
            async with connected(server) as again:
                await again.start()
    (line,) = errors(lines)
    assert line["event"] == "session_crashed"


async def test_a_bug_in_a_connection_hurts_no_other(clock, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with structlog.testing.capture_logs() as lines:
        async with running(open_one=FakeSessions()) as server, connected(server) as one:
            await one.start()
            with monkeypatch.context() as patched:
                patched.setattr("flare_actors.wire.flare_link.flare.decode_client", broken)
                await one.say(flare.Ping())
                await one.hear_all()
            assert one.close_code == 1011
            async with connected(server) as next_one:
                await next_one.start()
    (line,) = errors(lines)
    assert line["event"] == "connection_crashed"


async def test_cancellation_and_interrupts_pass_the_boundary() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with contained("x", {}), tolerated({}):
            await trio.lowlevel.checkpoint()
        raise AssertionError("a Cancelled was swallowed")
    assert scope.cancelled_caught
    with pytest.raises(KeyboardInterrupt), contained("x", {}), tolerated({}):
        raise KeyboardInterrupt


def test_an_interrupt_passes_the_boundary_out_of_a_group_with_bugs() -> None:
    with structlog.testing.capture_logs() as lines:  # noqa: SIM117 - the order is the point
        with pytest.raises(BaseExceptionGroup) as caught, contained("session_crashed", {"session_id": "s"}):
            raise BaseExceptionGroup("both", [KeyError("a bug"), KeyboardInterrupt()])
    assert [type(each) for each in caught.value.exceptions] == [KeyboardInterrupt]
    assert [line["session_id"] for line in errors(lines)] == ["s"]


async def test_a_session_outlives_whoever_asked_for_it() -> None:
    sessions = FakeSessions()
    async with trio.open_nursery() as nursery:
        registry = Sessions(nursery, sessions, max_sessions=1)
        with trio.CancelScope() as asking:
            entry = await registry.open(Settings())
            asking.cancel()
        assert registry.find(entry.session.id, entry.session.resume_token) is entry
        with pytest.raises(TooMany):
            await registry.open(Settings())
        entry.session.end()
        await registry.wait_empty()
        assert registry.find("session-1", "token-1") is None
        assert len(registry) == 0


async def test_an_opening_that_is_cancelled_opens_nothing() -> None:
    sessions = FakeSessions(hold=trio.Event())
    async with trio.open_nursery() as nursery:
        registry = Sessions(nursery, sessions, max_sessions=1)
        with trio.CancelScope() as asking:
            nursery.start_soon(trio.lowlevel.checkpoint)
            asking.cancel()
            await registry.open(Settings())
        assert asking.cancelled_caught
        assert len(registry) == 0
        await registry.wait_empty()
        assert not sessions.made


async def test_a_session_that_fails_to_open_frees_its_place() -> None:
    sessions = FakeSessions(fail_with=ValueError("nothing works"))
    with structlog.testing.capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            registry = Sessions(nursery, sessions, max_sessions=1)
            for _ in range(3):
                with pytest.raises(SessionError, match="could not be opened"):
                    await registry.open(Settings())
    assert len(errors(lines)) == 3


async def test_a_shutdown_reaches_the_sessions_that_are_being_opened() -> None:
    sessions = FakeSessions(hold=trio.Event())
    async with trio.open_nursery() as nursery:
        registry = Sessions(nursery, sessions, max_sessions=5)
        nursery.start_soon(registry.open, Settings())
        await trio.testing.wait_all_tasks_blocked()
        registry.shutdown(1.0)
        sessions.hold.set()
        await registry.wait_empty()
        assert sessions.made[0].ended is Reason.SHUTDOWN
        with pytest.raises(Draining):
            await registry.open(Settings())
