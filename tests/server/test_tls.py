from __future__ import annotations

import json
import ssl

import pytest
import trio
import trustme
from server_tools import LIMITS, connected, frame, raw, running, scripted_agent, socket_clock

from flare_actors.conversation import events, notices
from flare_actors.errors import ConfigError
from flare_actors.server import self_signed_context, tls_context
from flare_actors.server.tls import local_addresses


@pytest.fixture
def clock():
    return socket_clock()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    return chain, key


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_a_conversation_over_tls(clock, authority, files) -> None:
    async with running(scripted_agent(welcome="Hello."), ssl_context=tls_context(*files)) as server:
        assert server.url == f"https://localhost:{server.port}/"
        origin = [("Origin", f"https://localhost:{server.port}")]
        async with connected(server, ssl_context=trusting(authority), headers=origin) as client:
            await client.start()
            await client.say(events.ConversationStartRequested())
            ended = await client.wait_for(notices.TurnEnded)
            assert ended.heard == "Hello."
            assert client.audio(ended.turn)
            await client.say(events.SessionEndRequested())
            await client.hear_all()
            assert client.close_code == 1000


async def test_openai_realtime_over_tls(clock, authority, files) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
    async with (
        running(ssl_context=tls_context(*files)) as server,
        connected(
            server, path="/v1/realtime?model=m", ssl_context=trusting(authority), subprotocols=["realtime"]
        ) as client,
    ):
        assert client.connection.subprotocol == "realtime"
        await client.connection.send_message(json.dumps({"type": "conversation.item.create", "item": item}))
        await client.connection.send_message(json.dumps({"type": "response.create"}))
        events = [json.loads(await client.connection.get_message())]
        while events[-1]["type"] != "response.done":
            events.append(json.loads(await client.connection.get_message()))
        assert events[0]["type"] == "session.created"
        assert any(event["type"] == "response.output_audio.delta" for event in events)
        assert events[-1]["response"]["status"] == "completed"


async def test_a_close_code_arrives_over_tls_too(clock, authority, files) -> None:
    context = tls_context(*files)
    async with running(ssl_context=context) as server, connected(server, ssl_context=trusting(authority)) as client:
        await client.start()
        await client.connection._stream.send_all(frame(3))
        await client.hear_all()
        assert client.close_code == 1002


async def test_a_client_without_tls_is_let_go(clock, files) -> None:
    async with running(ssl_context=tls_context(*files)) as server, raw(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while await client._fill():  # an alert, perhaps
            pass
        async with raw(server) as silent:
            started = trio.current_time()
            assert await silent.at_end()
            assert trio.current_time() - started <= LIMITS.head_s + 3


async def test_a_self_signed_certificate_knows_this_machines_names(clock) -> None:
    context = self_signed_context(["my-laptop.local"])
    async with running(ssl_context=context) as server:
        unchecked = ssl.create_default_context()
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        async with connected(server, ssl_context=unchecked) as client:
            await client.start()
            der = client.connection._stream.getpeercert(binary_form=True)
    for name in ("localhost", "my-laptop.local"):
        assert name.encode() in der
    assert bytes([127, 0, 0, 1]) in der


def test_addresses_are_those_that_others_can_reach() -> None:
    assert not {"127.0.0.1", "::1", "0.0.0.0"} & set(local_addresses())


def test_a_missing_file_is_a_mistake_with_its_fix(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"no file at .*nothing\.pem"):
        tls_context(tmp_path / "nothing.pem")


def test_a_file_that_holds_no_certificate_is_a_mistake_with_its_fix(tmp_path, files) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    with pytest.raises(ConfigError, match="cannot be used"):
        tls_context(wrong)
    with pytest.raises(ConfigError, match="cannot be used"):
        tls_context(files[0], wrong)


def test_without_the_extra_the_fix_is_told(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trustme", None)
    with pytest.raises(ConfigError, match=r"flare-actors\[tls\]"):
        self_signed_context()
