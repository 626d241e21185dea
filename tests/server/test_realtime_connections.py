"""OpenAI Realtime over real sockets: who may connect, how, and how it ends."""

from __future__ import annotations

import json
import logging

import pytest
import structlog
import trio_websocket
from server_tools import Client, connected, raw, running, socket_clock, upgrade_head

KEY = "the-real-key"
PATH = "/v1/realtime?model=m"


@pytest.fixture
def clock():
    return socket_clock()


async def post(server, body: bytes, **headers: str) -> tuple[int, dict]:
    async with raw(server) as client:
        lines = [
            "POST /v1/realtime/client_secrets HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        await client.send("\r\n".join([*lines, "", ""]).encode())
        await client.send(body)
        status, _, answer = await client.response()
        return status, json.loads(answer) if answer.startswith(b"{") else {}


async def test_a_key_opens_the_door_as_bearer_and_as_subprotocol(clock) -> None:
    async with running(api_keys=[KEY]) as server:
        for options in (
            {"headers": [("Authorization", f"Bearer {KEY}")]},
            {"subprotocols": ["realtime", f"openai-insecure-api-key.{KEY}"]},
        ):
            async with connected(server, path=PATH, **options) as client:
                created = json.loads(await client.connection.get_message())
                assert created["type"] == "session.created"
                assert created["session"]["model"] == "m"
        assert client.connection.subprotocol == "realtime"
        async with raw(server) as stranger:
            wrong = "realtime, openai-insecure-api-key.wrong"
            await stranger.send(upgrade_head(server, path=PATH, sec_websocket_protocol=wrong))
            assert (await stranger.response())[0] == 401


async def test_a_browser_gets_in_with_a_client_secret_and_its_settings(clock) -> None:
    async with running(api_keys=[KEY]) as server:
        body = json.dumps({"session": {"type": "realtime", "instructions": "Rhyme."}}).encode()
        assert (await post(server, body))[0] == 401
        status, answer = await post(server, body, Authorization=f"Bearer {KEY}")
        assert status == 200
        protocols = ["realtime", f"openai-insecure-api-key.{answer['value']}"]
        async with connected(server, path=PATH, subprotocols=protocols) as client:
            created = json.loads(await client.connection.get_message())
            assert created["session"]["instructions"] == "Rhyme."
        assert (await post(server, b"{", Authorization=f"Bearer {KEY}"))[0] == 400
        assert (await post(server, body, Authorization=f"Bearer {answer['value']}"))[0] == 401


async def test_a_secret_opens_many_times_makes_no_secrets_and_is_in_no_log_as_no_key_is(clock, caplog) -> None:
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as logs:
        async with running(api_keys=[KEY]) as server:
            _, answer = await post(server, b"{}", Authorization=f"Bearer {KEY}")
            secret = answer["value"]
            assert (await post(server, b"{}", Authorization=f"Bearer {secret}"))[0] == 401
            for _ in range(2):
                bearer = [("Authorization", f"Bearer {secret}")]
                async with connected(server, path=PATH, headers=bearer) as client:
                    assert json.loads(await client.connection.get_message())["type"] == "session.created"
            async with raw(server) as stranger:
                offered = "realtime, openai-insecure-api-key.a-guess"
                await stranger.send(upgrade_head(server, path=PATH, sec_websocket_protocol=offered))
                assert (await stranger.response())[0] == 401
    assert logs
    for each in (KEY, secret.removeprefix("ek_"), "a-guess"):
        assert each not in caplog.text
        assert each not in str(logs)


async def test_foreign_pages_and_foreign_names_are_refused(clock) -> None:
    async with running() as server:
        for strange in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
            async with raw(server) as client:
                await client.send(upgrade_head(server, path=PATH, **strange))
                assert (await client.response())[0] == 403
        assert (await post(server, b"", Origin="https://evil.example"))[0] == 403


async def test_a_body_is_bounded_and_only_post_has_one(clock) -> None:
    async with running() as server:
        assert (await post(server, bytes(70_000)))[0] == 413
        async with raw(server) as client:
            await client.send(
                f"GET /v1/realtime/client_secrets HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
            )
            assert (await client.response())[0] == 405


async def close_code(client: Client) -> int:
    """Read to the end."""
    while True:
        try:
            await client.connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            return closed.reason.code


async def test_a_drained_server_says_going_away(clock) -> None:
    async with running() as server, connected(server, path=PATH) as client:
        await client.connection.get_message()
        server.request_drain(1.0)
        assert await close_code(client) == 1001
