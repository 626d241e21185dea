"""How a server stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from server_tools import (
    FakeSessions,
    RealSessions,
    connected,
    raw,
    running,
    scripted_agent,
    socket_clock,
    until,
    upgrade_head,
)

from flare_actors.conversation import events, notices
from flare_actors.conversation.states import Reason, State
from flare_actors.ports import AudioOut
from flare_actors.server import Server, serve
from flare_actors.wire import flare


@pytest.fixture
def clock():
    return socket_clock()


class SlowSessions(FakeSessions):
    """Sessions whose turn takes for ever."""

    def __call__(self, settings):
        opened = super().__call__(settings)

        class Wrapper:
            async def __aenter__(self):
                session = await opened.__aenter__()
                session.shutdown = lambda _: None  # type: ignore[method-assign]
                return session

            async def __aexit__(self, *args):
                return await opened.__aexit__(*args)

        return Wrapper()


async def test_a_drained_server_tells_its_clients_and_returns(clock) -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(
            lambda task_status: serve(scripted_agent(), port=0, open_one=FakeSessions(), task_status=task_status)
        )
        async with connected(server) as client, connected(server) as waiting:
            await client.start()
            server.request_drain()
            server.request_drain(1000)  # asking again changes nothing
            await client.hear_all()
            assert client.heard[-1] == notices.SessionEnded(reason=Reason.SHUTDOWN)
            assert client.close_code == 1012
            await waiting.wait_error("draining")
            await waiting.hear_all()
            assert waiting.close_code == 1012
    # The nursery is closed: `serve` has returned, and nothing of it is left.


async def test_clients_without_a_session_are_told_too(clock) -> None:
    async with running() as server, connected(server) as waiting:
        await waiting.say(flare.Ping())
        await waiting.wait_for(flare.Pong)
        server.request_drain()
        await waiting.wait_error("draining")
        await waiting.hear_all()
        assert waiting.close_code == 1012


async def test_a_turn_is_finished_first(clock) -> None:
    agent = scripted_agent(welcome="Hello there, and a few more words to say.")
    async with running(agent) as server, connected(server) as client:
        await client.start()
        await client.say(events.ConversationStartRequested())
        await client.wait_for(AudioOut)
        server.request_drain(60)
        await client.hear_all()
        (ended,) = client.all(notices.TurnEnded)
        assert ended.reason is None
        assert ended.heard == "Hello there, and a few more words to say."
        assert client.heard[-1] == notices.SessionEnded(reason=Reason.SHUTDOWN)
        assert client.close_code == 1012


async def test_a_turn_that_takes_too_long_is_cut_at_the_deadline(clock) -> None:
    agent = scripted_agent(welcome="word " * 500)
    async with running(agent) as server, connected(server) as client:
        await client.start()
        await client.say(events.ConversationStartRequested())
        await client.wait_for(AudioOut)
        started = trio.current_time()
        server.request_drain(2)
        await client.hear_all()
        assert trio.current_time() - started < 6
        assert client.heard[-1] == notices.SessionEnded(reason=Reason.SHUTDOWN)
        assert client.close_code == 1012


async def test_sessions_that_do_not_end_are_cut_off(clock) -> None:
    sessions = SlowSessions()
    async with running(open_one=sessions) as server, connected(server) as client:
        await client.start()
        started = trio.current_time()
        server.request_drain(5)
        await client.hear_all()
        assert client.close_code in {1012, 1006}
        assert 5 <= trio.current_time() - started < 10


async def test_a_draining_server_says_so_and_takes_nobody_in(clock) -> None:
    sessions = SlowSessions()
    async with (
        running(open_one=sessions) as server,
        connected(server) as client,
        raw(server) as visitor,
        raw(server) as stranger,
    ):
        await client.start()
        await visitor.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await visitor.response())[0] == 200
        server.request_drain(30)
        await visitor.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, body = await visitor.response()
        assert (status, json.loads(body)["status"], json.loads(body)["sessions"]) == (503, "draining", 1)
        await stranger.send(upgrade_head(server))
        status, headers, _ = await stranger.response()
        assert (status, "retry-after" in headers) == (503, True)


async def test_a_cancelled_server_leaves_nothing(clock) -> None:
    sessions = RealSessions(scripted_agent(welcome="Hello there."))
    scope = trio.CancelScope()

    async def run(task_status: trio.TaskStatus[Server]) -> None:
        with scope:
            await serve(sessions.agent, port=0, open_one=sessions, task_status=task_status)

    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(run)
        async with connected(server) as client:
            await client.start()
            await client.say(events.ConversationStartRequested())
            await client.wait_state(State.PLAYING_WELCOME)
            scope.cancel()
            await client.hear_all()
    assert scope.cancelled_caught
    assert (len(sessions.made), server.statistics().sessions, server.statistics().connections) == (1, 0, 0)


PROGRAM = """
import sys, trio, structlog
sys.path.insert(0, sys.argv[1])
from server_tools import scripted_agent
from flare_actors.server import serve

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))

async def main():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve(scripted_agent(), port=0, handle_signals=True, task_status=task_status))
        print(server.port, flush=True)
    print("stopped", flush=True)

trio.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_server(number: signal.Signals) -> None:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert port

        async def talk() -> None:
            server = Server.__new__(Server)
            server.ports = (port,)
            async with connected(server) as client:
                await client.start()
                process.send_signal(number)
                await client.hear_all()
                assert client.close_code == 1012

        trio.run(talk)
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(60) == 0


async def test_a_second_signal_stops_at_once(clock) -> None:
    sessions = SlowSessions()
    async with running(open_one=sessions, handle_signals=True) as server, connected(server) as client:
        await client.start()
        started = trio.current_time()
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: server.draining)
        signal.raise_signal(signal.SIGTERM)
        await client.hear_all()
        assert trio.current_time() - started < 3
