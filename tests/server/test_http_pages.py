"""What a browser, a load balancer and a stranger get over plain HTTP."""

from __future__ import annotations

import json

import attrs
import pytest
import trio
from server_tools import LIMITS, raw, running, socket_clock, until

from flare_actors.wire.schema import json_schema


@pytest.fixture
def clock():
    return socket_clock()


async def get(server, path: str, method: str = "GET", *more: str):
    async with raw(server) as client:
        lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{server.port}", *more, "", ""]
        await client.send("\r\n".join(lines).encode("latin-1"))
        return await client.response()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/main.js", "text/javascript; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/?lang=en", "text/html; charset=utf-8"),
    ],
)
async def test_the_page_has_its_files_with_their_types(path: str, kind: str, clock) -> None:
    async with running() as server:
        status, headers, body = await get(server, path)
    assert status == 200
    assert headers["content-type"] == kind
    assert int(headers["content-length"]) == len(body) > 0


async def test_a_browser_is_held_to_our_own_files(clock) -> None:
    async with running() as server:
        _, headers, _ = await get(server, "/")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["permissions-policy"].startswith("microphone=(self)")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing.js",
        "/__init__.py",
        "/../__init__.py",
        "/../../etc/passwd",
        "/..",
        "/.",
        "/.hidden",
        "//etc/passwd",
        "/%2e%2e/__init__.py",
        "/..%2f__init__.py",
        "/..\\__init__.py",
        "/a/../../server/serve.py",
        "/main.js/",
        "/main.js%00.html",
        "http://localhost/etc/passwd",
        "*",
    ],
)
async def test_there_is_no_way_out_of_the_pages_folder(path: str, clock) -> None:
    async with running() as server:
        status, _, body = await get(server, path)
    assert status == 404
    assert b"import" not in body
    assert b"root:" not in body


@pytest.mark.parametrize(("path", "allow"), [("/", "get, head"), ("/healthz", "get, head"), ("/flare", "get")])
async def test_only_reading_is_allowed(path: str, allow: str, clock) -> None:
    async with running() as server:
        status, headers, _ = await get(server, path, "POST", "Content-Length: 0")
    assert status == 405
    assert headers["allow"] == allow


async def test_a_head_request_gets_the_head(clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while b"\r\n\r\n" not in client._buffer:
            await client._fill()
        head, _, rest = bytes(client._buffer).partition(b"\r\n\r\n")
        client._buffer = bytearray(rest)
        status, _, body = await client.response()
    assert head.startswith(b"HTTP/1.1 200")
    assert b"Content-Length: 0" not in head
    assert (status, json.loads(body)["status"]) == (200, "ok")


async def test_health_is_json(clock) -> None:
    async with running(health_facts={"demo_brain": True}) as server:
        status, headers, body = await get(server, "/healthz")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "status": "ok",
        "sessions": 0,
        "connections": 1,
        "auth_required": False,
        "demo_brain": True,
    }


async def test_a_page_is_told_that_a_key_is_needed(clock) -> None:
    async with running(api_keys=["heliotrope"]) as server:
        _, _, body = await get(server, "/healthz")
    assert json.loads(body)["auth_required"] is True
    assert b"heliotrope" not in body


async def test_the_schema_is_served(clock) -> None:
    async with running() as server:
        status, _, body = await get(server, "/flare/schema.json")
    assert status == 200
    assert json.loads(body) == json_schema()


async def test_a_visitor_of_the_websocket_is_told_what_it_is(clock) -> None:
    async with running() as server:
        status, headers, body = await get(server, "/flare")
    assert status == 426
    assert headers["upgrade"] == "websocket"
    assert b"WebSocket" in body


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # a TLS client that took the wrong door
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n name: value\r\nbad header\r\n\r\n",
    ],
)
async def test_malformed_requests_get_400_and_the_end(garbage: bytes, clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(garbage)
        status, headers, _ = await client.response()
        assert status == 400
        assert headers["connection"] == "close"
        assert await client.at_end()


async def test_half_a_request_gets_400(clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(b"GET / HT")
        await client.stream.send_eof()
        status, _, _ = await client.response()
        assert status == 400


async def test_a_client_that_asks_nothing_is_let_go(clock) -> None:
    async with running() as server, raw(server) as client:
        await client.stream.send_eof()
        assert await client.at_end()


@pytest.mark.parametrize("chunks", [1, 64])
async def test_a_head_that_is_too_large_gets_431(chunks: int, clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(chunks):
            await client.send(b"X-Large: " + b"x" * (32_000 // chunks) + b"\r\n")
        await client.send(b"\r\n")
        status, _, _ = await client.response()
        assert status == 431
        assert await client.at_end()


async def test_a_slow_head_gets_408_when_its_time_is_over(clock) -> None:
    async with running() as server, raw(server) as client:
        started = trio.current_time()

        async def drip() -> None:
            for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Slow: yes\r\n" * 1000:
                await client.send(bytes([byte]))
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            status, _, _ = await client.response()
            nursery.cancel_scope.cancel()
        assert status == 408
        assert trio.current_time() - started == pytest.approx(LIMITS.head_s, abs=1.5)


async def test_a_connection_is_used_again_and_then_let_go(clock) -> None:
    async with running() as server, raw(server) as client:
        for path in ("/main.js", "/nothing", "/healthz"):
            await client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await client.response()
        assert await client.at_end()  # after the keep-alive time, without a word


async def test_requests_in_one_packet_are_answered_in_order(clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(
            b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert [(await client.response())[0] for _ in range(2)] == [404, 200]


@pytest.mark.parametrize(
    "head", [b"Connection: close\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]
)
async def test_a_connection_is_not_used_again_where_that_is_unclear(head: bytes, clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n")
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.at_end()


async def test_old_http_is_answered_and_closed(clock) -> None:
    async with running() as server, raw(server) as client:
        await client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        status, _, _ = await client.response()
        assert status == 200
        assert await client.at_end()


async def test_one_connection_too_many_gets_503(clock) -> None:
    async with running(limits=attrs.evolve(LIMITS, max_connections=2)) as server:
        async with raw(server), raw(server), raw(server) as third:
            await until(lambda: server.statistics().connections == 3)
            await third.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            status, headers, _ = await third.response()
            assert status == 503
            assert "retry-after" in headers
            assert await third.at_end()
            # Twice too many: no time even for that.
            async with raw(server), raw(server), raw(server) as last:
                assert await last.at_end()
        await until(lambda: not server.statistics().connections)
        async with raw(server) as again:
            await again.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await again.response())[0] == 200
