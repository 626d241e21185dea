"""What strangers do to a WebSocket, and that nobody else notices. Sessions are fakes here: this is about the transport."""

from __future__ import annotations

import struct

import attrs
import pytest
import structlog
import trio
from server_tools import (
    BINARY,
    CLOSE,
    LIMITS,
    PING,
    PONG,
    TEXT,
    FakeSessions,
    connected,
    frame,
    raw,
    running,
    socket_clock,
    until,
)

from flare_actors.conversation import events
from flare_actors.conversation.states import Reason
from flare_actors.errors import LinkBroken
from flare_actors.ports import AudioIn, AudioOut
from flare_actors.wire import flare

START = frame(TEXT, b'{"type": "start_session"}')


@pytest.fixture
def clock():
    return socket_clock()


@pytest.fixture
def log():
    with structlog.testing.capture_logs() as lines:
        yield lines
    assert not [line for line in lines if line["log_level"] == "error"]


async def test_a_ping_after_the_servers_close_hurts_nobody(clock, log) -> None:
    """python-trio/trio-websocket#184: with `serve_websocket` this one frame ends the whole server."""
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, connected(server) as bystander:
        await bystander.start()
        async with raw(server) as client:
            await client.upgrade(server)
            await client.send(START)
            await client.frame()
            await client.send(frame(TEXT, b'{"type": "end_session"}'))
            assert await client.close_code() == 1000
            await client.send(frame(PING, b"too late"))
            assert await client.frame() is None  # and no PONG: nothing may follow a CLOSE
        await until(lambda: server.statistics().connections == 1)
        await bystander.say(flare.Ping(id="still there?"))
        assert await bystander.wait_for(flare.Pong) == flare.Pong(id="still there?")
        async with connected(server) as next_one:
            await next_one.start()


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that does not exist
        (frame(TEXT, b"{}", masked=False), 1002),
        (b"\xc1" + frame(TEXT, b"{}")[1:], 1002),  # a reserved bit
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"", fin=False), 1002),
        (frame(0, b"the rest of nothing"), 1002),
        (frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 999)), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"\xf0\x9f", fin=False) + frame(0, b"x"), 1007),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002),
    ],
)
async def test_garbage_closes_with_a_code_and_ends_the_session(garbage: bytes, code: int, clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, connected(server) as bystander:
        await bystander.start()
        async with raw(server) as client:
            await client.upgrade(server)
            await client.send(START)
            await client.frame()
            await client.send(garbage)
            assert await client.close_code() == code
            assert await client.at_end()
        await until(lambda: server.statistics().sessions == 1)
        assert sessions.made[1].ended is Reason.TRANSPORT_ERROR
        assert sessions.made[0].ended is None
        await bystander.say(events.CommitRequested())
        await until(lambda: sessions.made[0].received == [events.CommitRequested()])


@pytest.mark.parametrize(
    "pieces",
    [
        [frame(BINARY, bytes(65_538))],
        [frame(TEXT, b'{"type": "text", "text": "' + b"x" * 70_000 + b'"}')],
        [b"\x82\xff" + struct.pack("!Q", 2**62) + bytes(4 + 70_000)],
        [frame(BINARY, bytes(40_000), fin=False), frame(0, bytes(40_000))],
        [b"\x82\xff" + struct.pack("!Q", 2**24) + bytes(4), *[bytes(2**16)] * 64],
    ],
    ids=["audio", "text", "promised", "fragments", "still-sending"],
)
async def test_a_message_that_is_too_large_closes_with_1009(pieces: list[bytes], clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, raw(server) as client:
        await client.upgrade(server)
        await client.send(START)
        await client.frame()
        for piece in pieces:
            await client.send(piece)
        assert await client.close_code() == 1009
        await client.stream.send_eof()
        assert await client.at_end()
        await until(lambda: not server.statistics().sessions)
        assert sessions.made[0].ended is Reason.TRANSPORT_ERROR


async def test_a_message_of_the_full_size_is_taken(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, connected(server) as client:
        await client.start()
        await client.say(events.ConversationStartRequested(), AudioIn(bytes(65_536)))
        await until(lambda: len(sessions.made[0].received) == 2)


async def test_fragments_without_end_are_cut_off(clock, log) -> None:
    sessions = FakeSessions()
    limits = attrs.evolve(LIMITS, max_message_bytes=1024)
    async with running(open_one=sessions, limits=limits) as server, raw(server) as client:
        await client.upgrade(server)
        await client.send(START)
        await client.frame()
        await client.send(frame(BINARY, fin=False))
        await client.send_until_broken(frame(0, fin=False) * 500)
        await until(lambda: not server.statistics().connections)


async def test_pings_are_answered_also_in_the_middle_of_a_message(clock, log) -> None:
    async with running(open_one=FakeSessions()) as server, raw(server) as client:
        await client.upgrade(server)
        await client.send(frame(TEXT, b'{"type": "start_', fin=False) + frame(PING, b"a") + frame(0, b'session"}'))
        assert await client.frame() == (PONG, b"a")
        opcode, payload = await client.frame() or (0, b"")
        assert opcode == TEXT
        assert b"session_started" in payload


async def test_a_client_that_never_says_start_is_closed(clock, log) -> None:
    async with running(open_one=FakeSessions()) as server, connected(server) as client:
        started = trio.current_time()
        await client.say(flare.Ping())
        await client.wait_error("start_timeout")
        await client.hear_all()
        assert client.close_code == 1008
        assert trio.current_time() - started == pytest.approx(LIMITS.start_s, abs=0.5)


async def test_a_flood_before_the_start_is_closed(clock, log) -> None:
    limits = attrs.evolve(LIMITS, malformed_burst=3)
    async with running(open_one=FakeSessions(), limits=limits) as server, connected(server) as client:
        for _ in range(4):
            await client.say(events.CommitRequested())
        codes = [message.code for message in await client.hear_all()]  # type: ignore[union-attr]
        assert codes == ["session_not_started"] * 3 + ["too_many_errors"]
        assert client.close_code == 1008


async def test_a_flood_ends_the_session(clock, log) -> None:
    sessions = FakeSessions()
    limits = attrs.evolve(LIMITS, malformed_burst=5)
    async with running(open_one=sessions, limits=limits) as server, connected(server) as client:
        await client.start()
        for _ in range(6):
            await client.say_raw("garbage")
        errors = (await client.hear_all())[1:]
        assert [error.code for error in errors] == ["not_json"] * 5 + ["too_many_errors"]  # type: ignore[union-attr]
        assert [error.recoverable for error in errors] == [True] * 5 + [False]  # type: ignore[union-attr]
        assert client.close_code == 1008
        await until(lambda: not server.statistics().sessions)
        assert sessions.made[0].ended is Reason.TRANSPORT_ERROR


async def test_now_and_then_a_mistake_is_forgiven(clock, log) -> None:
    limits = attrs.evolve(LIMITS, malformed_burst=2)
    async with running(open_one=FakeSessions(), limits=limits) as server, connected(server) as client:
        await client.start()
        for _ in range(20):
            await client.say_raw("garbage")
            await client.wait_error("not_json")
            await trio.sleep(1.1)


async def test_a_client_that_answers_no_ping_is_lost_and_its_session_waits(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, raw(server) as client:
        await client.upgrade(server)
        await client.send(START)
        await client.frame()
        started = trio.current_time()
        opcode, _ = await client.frame() or (0, b"")
        assert opcode == PING
        assert await client.frame() is None
        assert trio.current_time() - started == pytest.approx(LIMITS.ping_after_s + LIMITS.pong_s, abs=1)
        assert sessions.made[0].ended is None
        assert sessions.made[0].broken is None


async def test_a_client_that_answers_pings_stays(clock, log) -> None:
    async with running(open_one=FakeSessions()) as server, connected(server) as client:
        await client.start()
        await trio.sleep(500)
        await client.say(flare.Ping(id=7))
        assert await client.wait_for(flare.Pong) == flare.Pong(id=7)


async def test_a_client_that_ignores_the_close_is_cut_off(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, raw(server) as client:
        await client.upgrade(server)
        await client.send(START)
        await client.frame()
        sessions.made[0].end()
        assert await client.close_code() == 1000
        started = trio.current_time()
        assert await client.at_end()
        assert trio.current_time() - started <= LIMITS.close_s + 1


async def test_a_client_that_reads_nothing_is_cut_off_and_its_session_ended(clock, log) -> None:
    sessions = FakeSessions()
    limits = attrs.evolve(LIMITS, write_s=5)
    async with running(open_one=sessions, limits=limits) as server, connected(server) as bystander:
        await bystander.start()
        async with raw(server) as client:
            await client.upgrade(server)
            await client.send(START)
            await client.frame()
            ping = frame(TEXT, b'{"type": "ping", "id": "' + b"x" * 100 + b'"}')
            await client.send_until_broken(ping * 100)
        await until(lambda: server.statistics().sessions == 1)
        assert sessions.made[1].ended is Reason.TRANSPORT_ERROR
        assert "read nothing for 5 s" in (sessions.made[1].broken or "")
        await bystander.say(flare.Ping())
        await bystander.wait_for(flare.Pong)


async def test_a_write_that_does_not_go_through_breaks_both_directions(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, raw(server) as client:
        await client.upgrade(server)
        await client.send(START)
        await client.frame()
        (link,) = sessions.made[0].links

        async def send_for_ever() -> None:
            while True:
                await link.send(AudioOut(1, bytes(60_000)))

        with pytest.raises(LinkBroken, match="read nothing for 10 s"):
            await send_for_ever()
        await until(lambda: sessions.made[0].broken is not None)  # its other task waits for messages
        with pytest.raises(LinkBroken):
            await link.send(AudioOut(1, bytes(2)))


async def test_a_client_that_leaves_without_a_word_may_come_back(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server:
        async with connected(server) as client:
            started = await client.start()
            await trio.aclose_forcefully(client.connection._stream)
        await until(lambda: not server.statistics().connections)
        assert sessions.made[0].ended is None
        async with connected(server) as again:
            token = flare.Resume(session_id=started.session_id, token=started.resume_token)
            resumed = await again.start(resume=token, output_sample_rate=16_000)
            assert (resumed.session_id, resumed.resumed) == (started.session_id, True)
            assert resumed.output_sample_rate == 16_000
            assert sessions.made[0].resumed == [False, True]
            assert len(sessions.made) == 1


async def test_the_newest_of_two_links_wins_and_the_other_is_told(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, connected(server) as old, connected(server) as new:
        started = await old.start()
        await new.start(resume=flare.Resume(session_id=started.session_id, token=started.resume_token))
        await old.hear_all()
        assert old.close_code == 4001
        await new.say(events.CommitRequested())
        await until(lambda: sessions.made[0].received == [events.CommitRequested()])


@pytest.mark.parametrize("wrong", [("session-1", "token-2"), ("session-2", "token-1"), ("session-1", "schlüssel")])
async def test_a_wrong_token_gets_a_new_session_and_is_told_so(wrong: tuple[str, str], clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, connected(server) as owner, connected(server) as thief:
        await owner.start()
        await thief.say(flare.StartSession(resume=flare.Resume(session_id=wrong[0], token=wrong[1])))
        error = await thief.wait_error("resume_failed")
        assert error.recoverable
        fresh = await thief.wait_for(type(owner.heard[0]))
        assert (fresh.session_id, fresh.resumed) == ("session-2", False)
        await owner.say(flare.Ping())
        await owner.wait_for(flare.Pong)
        assert len(sessions.made[0].links) == 1


async def test_a_session_that_is_over_cannot_be_resumed(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server:
        async with connected(server) as client:
            await client.start()
            await client.say(events.SessionEndRequested())
            await client.hear_all()
        async with connected(server) as again:
            await again.say(flare.StartSession(resume=flare.Resume(session_id="session-1", token="token-1")))
            await again.wait_error("resume_failed")


async def test_a_second_start_is_refused(clock, log) -> None:
    async with running(open_one=FakeSessions()) as server, connected(server) as client:
        await client.start()
        await client.say(flare.StartSession())
        await client.wait_error("session_already_started")


async def test_audio_before_the_first_conversation_is_explained_once(clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, connected(server) as client:
        await client.start()
        for _ in range(50):
            await client.say(AudioIn(bytes(320)))
        await client.say(events.ConversationStartRequested(), AudioIn(bytes(640)), AudioIn(b""))
        await client.say(events.ConversationEndRequested(), AudioIn(bytes(320)), flare.Ping())
        await client.wait_for(flare.Pong)
        assert [error.code for error in client.heard[1:-1]] == ["no_conversation"]  # type: ignore[union-attr]
        assert sessions.made[0].received == [
            events.ConversationStartRequested(),
            AudioIn(bytes(640)),
            events.ConversationEndRequested(),
        ]


@pytest.mark.parametrize(
    ("bad", "code", "field"),
    [
        (b"\0", "odd_audio", None),
        ("[]", "not_json", None),
        ('{"type": "dance"}', "unknown_message", "type"),
        ('{"type": "mute", "muted": "yes"}', "invalid_field", "muted"),
        ('{"type": "text", "words": "hello"}', "missing_field", "text"),
    ],
)
async def test_a_malformed_message_is_answered_and_changes_nothing(bad, code, field, clock, log) -> None:
    sessions = FakeSessions()
    async with running(open_one=sessions) as server, connected(server) as client:
        await client.start()
        await client.say_raw(bad)
        error = await client.wait_error(code)
        assert (error.field, error.recoverable) == (field, True)
        await client.say(events.CommitRequested())
        await until(lambda: sessions.made[0].received == [events.CommitRequested()])


async def test_what_comes_after_the_end_is_nobodys_business(clock, log) -> None:
    sessions = FakeSessions()
    more = (
        frame(TEXT, b'{"type": "text", "text": "are you there?"}') + frame(BINARY, bytes(320)) + frame(TEXT, b"garbage")
    )
    async with running(open_one=sessions) as server, raw(server) as client:
        await client.upgrade(server)
        await client.send(START)
        await client.frame()
        await client.send(frame(TEXT, b'{"type": "end_session"}') + more)
        assert await client.close_code() == 1000
        await client.send(more + frame(CLOSE, struct.pack("!H", 1000)) + more)
        assert await client.at_end()
        await until(lambda: not server.statistics().connections)
        assert sessions.made[0].ended is Reason.SESSION_ENDED


async def test_no_log_line_has_speech_tokens_or_keys(clock) -> None:
    canary = "heliotrope"
    with structlog.testing.capture_logs() as lines:
        async with running(open_one=FakeSessions(), api_keys=[canary]) as server:
            async with connected(server, subprotocols=["flare", f"flare-api-key.{canary}"]) as client:
                await client.start()
                await client.say(events.TextReceived(text=canary))
                await client.say_raw(f'{{"type": "text", "text": "{canary}", "x": 1}}')
                await client.say_raw(f'{{"type": "{canary}"}}')
                await client.say_raw(canary)
                await client.say(flare.Ping())
                await client.wait_for(flare.Pong)
                assert canary not in repr(client.heard)
            async with connected(server, headers=[("Authorization", f"Bearer {canary}")]) as client:
                await client.start(resume=flare.Resume(session_id="session-1", token=canary))
            async with raw(server) as stranger:
                await stranger.send(f"GET /flare?key={canary} HTTP/1.1\r\nHost: {canary}\r\n\r\n".encode())
                await stranger.response()
    assert lines
    assert canary not in repr(lines)
