"""Who gets a WebSocket, and who gets an HTTP status instead."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
import trio
from server_tools import (
    LIMITS,
    PING,
    FakeSessions,
    connected,
    frame,
    raw,
    running,
    scripted_agent,
    socket_clock,
    until,
    upgrade_head,
)

from flare_actors.errors import ConfigError
from flare_actors.server import serve


@pytest.fixture
def clock():
    return socket_clock()


async def status_of(server, **headers: str | None) -> int:
    async with raw(server) as client:
        await client.send(upgrade_head(server, **headers))
        status, _, _ = await client.response()
        return status


async def test_a_client_that_is_no_browser_may_connect(clock) -> None:
    async with running() as server:
        assert await status_of(server) == 101


async def test_our_own_page_may_connect_and_gets_its_subprotocol(clock) -> None:
    async with running() as server:
        for host in ("localhost", "127.0.0.1"):
            async with raw(server) as client:
                origin = f"http://{host}:{server.port}"
                head = upgrade_head(
                    server, host=f"{host}:{server.port}", origin=origin, sec_websocket_protocol="flare, flare-api-key.x"
                )
                await client.send(head)
                status, headers, _ = await client.response()
                assert (status, headers["sec-websocket-protocol"]) == (101, "flare")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1"])
async def test_a_foreign_page_may_not_connect_on_loopback_either(origin: str, clock) -> None:
    async with running() as server:
        assert await status_of(server, origin=origin) == 403


async def test_a_foreign_page_may_not_connect_with_a_key_either(clock) -> None:
    async with running(api_keys=["heliotrope"]) as server:
        assert await status_of(server, origin="https://evil.example", authorization="Bearer heliotrope") == 403


async def test_a_page_that_was_allowed_may_connect(clock) -> None:
    async with running(allowed_origins=["https://voice.example.com"]) as server:
        assert await status_of(server, origin="https://voice.example.com") == 101
        assert await status_of(server, origin="https://voice.example.com", host="voice.example.com") == 101
        assert await status_of(server, origin="https://other.example.com") == 403


@pytest.mark.parametrize("host", ["evil.example:{port}", "evil.example", "localhost:1", "127.0.0.1"])
async def test_a_foreign_name_that_points_at_us_does_not_work(host: str, clock) -> None:
    async with running() as server:
        name = host.format(port=server.port)
        assert await status_of(server, host=name) == 403
        assert await status_of(server, host=name, origin=f"http://{name}") == 403


async def test_a_key_is_wanted_where_keys_are_set(clock) -> None:
    async with running(api_keys=["heliotrope", "second"]) as server:
        assert await status_of(server) == 401
        assert await status_of(server, authorization="Bearer wrong") == 401
        assert await status_of(server, authorization="Basic heliotrope") == 401
        assert await status_of(server, authorization="heliotrope") == 401
        assert await status_of(server, path="/flare?key=heliotrope") == 401
        assert await status_of(server, sec_websocket_protocol="flare, flare-api-key.wrong") == 401
        assert await status_of(server, sec_websocket_protocol="flare, heliotrope") == 401
        assert await status_of(server, authorization="Bearer heliotrope") == 101
        assert await status_of(server, authorization="bearer second") == 101
        assert await status_of(server, sec_websocket_protocol="flare, flare-api-key.heliotrope") == 101


async def test_the_key_is_never_sent_back(clock) -> None:
    async with running(api_keys=["heliotrope"]) as server, raw(server) as client:
        await client.send(upgrade_head(server, sec_websocket_protocol="flare-api-key.heliotrope,flare"))
        status, headers, _ = await client.response()
        assert (status, headers["sec-websocket-protocol"]) == (101, "flare")


async def test_a_server_for_strangers_does_not_start_by_accident(clock) -> None:
    with pytest.raises(ConfigError, match="insecure"):
        await serve(scripted_agent(), host="0.0.0.0", port=0)


async def test_a_server_for_strangers_starts_with_a_key_and_is_reached_by_its_address(clock) -> None:
    async with running(host="0.0.0.0", api_keys=["heliotrope"]) as server:
        assert server.url == f"http://localhost:{server.port}/"
        assert await status_of(server) == 401
        assert await status_of(server, authorization="Bearer heliotrope") == 101
        assert await status_of(server, authorization="Bearer heliotrope", host=f"0.0.0.0:{server.port}") == 403


async def test_a_taken_port_is_a_mistake_with_its_fix(clock) -> None:
    async with running() as server:
        with pytest.raises(ConfigError, match="another port"):
            await serve(scripted_agent(), port=server.port)


async def test_a_taken_port_is_one_mistake_where_a_nursery_starts_the_server(clock) -> None:
    async with running() as server, trio.open_nursery() as nursery:
        with pytest.raises(ConfigError, match=f"port {server.port}: .* another port"):
            await nursery.start(partial(serve, scripted_agent(), port=server.port))


async def test_a_host_that_is_not_here_is_a_mistake_with_its_fix(clock) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
        await serve(scripted_agent(), host="192.0.2.1", insecure_no_auth=True, port=0)


async def test_a_wrong_origin_in_the_settings_leaves_no_socket_behind(clock) -> None:
    with pytest.raises(ConfigError, match="such as https"):
        await serve(scripted_agent(), port=0, allowed_origins=["voice.example.com"])


@pytest.mark.parametrize(
    "change",
    [
        {"sec_websocket_version": "8"},
        {"sec_websocket_version": None},
        {"sec_websocket_key": None},
        {"sec_websocket_key": "short"},
        {"sec_websocket_key": "!!!!!!!!!!!!!!!!!!!!!!=="},
        {"connection": "keep-alive"},
        {"connection": None},
        {"sec_websocket_protocol": "realtime"},
        {"sec_websocket_protocol": "flare, caf\xe9"},
    ],
)
async def test_a_handshake_that_is_none_gets_400_with_the_reason(change: dict[str, str | None], clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(upgrade_head(server, **change))
        status, _, body = await client.response()
        assert status == 400
        assert body.strip()


async def test_a_websocket_elsewhere_is_not_found(clock) -> None:
    async with running() as server:
        assert await status_of(server, path="/nothing") == 404
        assert await status_of(server, path="/") == 200  # the page, as for everybody


async def test_a_client_that_does_not_wait_for_the_answer_is_told(clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(upgrade_head(server) + frame(PING, b"early"))
        status, _, body = await client.response()
        assert status == 400
        assert b"until it is answered" in body


async def test_busy_is_told_and_closed_with_try_again_later(clock) -> None:
    sessions = FakeSessions()
    async with running(limits=attrs.evolve(LIMITS, max_sessions=1), open_one=sessions) as server:
        async with connected(server) as first:
            await first.start()
            async with connected(server) as second:
                await second.say_raw('{"type": "start_session"}')
                error = await second.wait_error("busy")
                assert not error.recoverable
                await second.hear_all()
                assert second.close_code == 1013
            sessions.made[0].end()
            await first.hear_all()
        await until(lambda: not server.statistics().sessions)
        async with connected(server) as third:
            await third.start()


async def test_sessions_that_are_being_opened_count(clock) -> None:
    sessions = FakeSessions(hold=trio.Event())
    limits = attrs.evolve(LIMITS, max_sessions=1)
    async with (
        running(limits=limits, open_one=sessions) as server,
        connected(server) as first,
        connected(server) as second,
    ):
        await first.say_raw('{"type": "start_session"}')
        await until(lambda: server.statistics().sessions == 1)
        await second.say_raw('{"type": "start_session"}')
        await second.wait_error("busy")
        sessions.hold.set()
        await first.wait_for(object)


async def test_a_client_that_leaves_while_its_session_opens_has_a_session_to_come_back_to(clock) -> None:
    sessions = FakeSessions(hold=trio.Event())
    async with running(open_one=sessions) as server:
        async with raw(server) as client:
            await client.upgrade(server)
            await client.send(frame(1, b'{"type": "start_session"}'))
            await until(lambda: server.statistics().sessions == 1)
        sessions.hold.set()
        await until(lambda: not server.statistics().connections)
        # It is an ordinary session without a client now: its own grace time ends it.
        assert len(sessions.made) == server.statistics().sessions == 1
