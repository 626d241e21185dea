"""What every provider behind HTTP does when its server misbehaves: one table for all four."""

from __future__ import annotations

import gc
import json
import traceback
from contextlib import AsyncExitStack

import pytest
import trio
from http_kinds import KEY, KINDS, SPEECH, Kind
from http_stub import Answer, Exchange, Server, hanging, listening, script

from flare_actors.errors import ProviderError

pytestmark = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


@pytest.fixture
def soon(monkeypatch):
    """The second try comes at once."""
    monkeypatch.setattr("flare_actors.providers._again.RETRY_S", (0.0, 0.0))


async def refused(kind: Kind, *scripts: Answer) -> ProviderError:
    """The one clear error of an answer that is none."""
    async with listening(*scripts) as server, kind.open(server.url) as provider:
        with pytest.raises(ProviderError) as caught:
            await kind.ask(provider)
    gc.collect()  # a foreign generator that was left open would complain here
    error = caught.value
    assert error.stage == kind.stage
    assert "canary" not in "".join(traceback.format_exception(error)), "an exception behind it quotes what was said"
    assert "\n" not in str(error)
    return error


def complaint(status: int, *headers: str) -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.head(status, "application/json", *headers)
        await exchange.send(json.dumps({"error": {"message": f"You said {SPEECH} with {KEY}", "type": "bad"}}))
        await exchange.end()

    return answer


async def test_a_good_server_gets_what_it_wants_and_its_connection_is_kept(kind):
    async with listening(kind.good()) as server, kind.open(server.url) as provider:
        for _ in range(3):
            assert await kind.ask(provider)

    assert server.connections == 1
    assert {each.request.target for each in server.exchanges} == {kind.path}
    key = "x-api-key" if kind.path == b"/v1/messages" else "authorization"
    assert server.exchanges[0].headers[key].removeprefix("Bearer ") == KEY


@pytest.mark.parametrize(
    ("status", "says", "critical"),
    [
        (400, "refuses the request (400 bad)", False),
        (401, "refuses the API key (401", True),
        (403, "refuses the API key (403", True),
        (402, "wants to be paid (402", True),
        (404, "knows no model 'm', or base_url is wrong (404", True),
        (429, "limits our rate or quota (429", False),
        (302, "redirects (302)", True),
        (500, "failed (500", False),
        (529, "failed (529", False),
    ],
)
async def test_a_refusal_says_what_it_means_and_quotes_nobody(kind, status, says, critical, soon):
    error = await refused(kind, complaint(status))

    assert says in str(error)
    assert error.critical is critical


async def test_a_short_rest_that_the_server_asks_for_is_kept(kind, monkeypatch):
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await trio.lowlevel.checkpoint()

    async with listening(complaint(429, "retry-after: 0.75"), kind.good()) as server, kind.open(server.url) as provider:
        with monkeypatch.context() as patched:
            patched.setattr("flare_actors.providers._http.trio.sleep", sleep)
            assert await kind.ask(provider)

    assert slept == [0.75]


async def test_a_long_rest_that_the_server_asks_for_is_not_waited_for(kind):
    async with listening(complaint(429, "retry-after: 20"), kind.good()) as server, kind.open(server.url) as provider:
        with pytest.raises(ProviderError, match="asks for 20 s of rest"):
            await kind.ask(provider)

    assert len(server.exchanges) == 1


@pytest.mark.parametrize(
    "header", ["retry-after: Wed, 21 Oct 2026 07:28:00 GMT", "retry-after: -1", "retry-after: nan"]
)
async def test_a_rest_that_is_no_number_is_a_rest_of_our_own(kind, header):
    async with listening(complaint(503, header), kind.good()) as server, kind.open(server.url) as provider:
        assert await kind.ask(provider)

    assert len(server.exchanges) == 2


async def test_an_answer_that_breaks_off_is_an_error_and_what_came_before_stays(kind):
    async def answer(exchange: Exchange) -> None:
        await exchange.head(200, kind.kind)
        for part in kind.parts[: kind.first]:
            await exchange.send(part)
        await exchange.stream.aclose()

    assert "broke off its answer" in str(await refused(kind, answer))
    async with listening(answer) as server, kind.open(server.url) as provider:
        async with kind.stream(provider) as results:
            assert await anext(results)
            with pytest.raises(ProviderError):
                await anext(results)
        assert len(server.exchanges) == 1, "nothing is tried again once the answer has begun"


async def test_an_answer_of_another_kind_is_an_error(kind):
    for other in ("text/html", "application/problem+json"):
        error = await refused(kind, script("<html>", kind=other))
        assert f"answered {other} instead of" in str(error)
        assert error.critical


@pytest.mark.parametrize(("status", "asked"), [(401, 1), (404, 1), (400, 1), (429, 2), (503, 2)])
async def test_it_is_asked_once_more_where_that_can_help(kind, status, asked, soon):
    async with listening(complaint(status)) as server, kind.open(server.url) as provider:
        with pytest.raises(ProviderError, match=str(status)):
            await kind.ask(provider)

    assert len(server.exchanges) == asked


async def test_a_server_that_is_not_there_is_an_error(kind, soon):
    async with kind.open("http://127.0.0.1:9/v1") as provider:
        with pytest.raises(ProviderError, match="is the server running") as caught:
            await kind.ask(provider)

    assert not caught.value.critical


async def test_check_asks_for_the_models(kind):
    models = '{"data": [{"id": "a"}]}'
    async with listening(script(models, kind="application/json")) as server, kind.open(server.url) as provider:
        assert await provider.check() == ("a",)


async def _cancelled_when_first_result_is_there(kind: Kind, provider: object) -> None:
    async with trio.open_nursery() as nursery, kind.stream(provider) as results:
        await anext(results)
        nursery.cancel_scope.cancel()
        await trio.sleep_forever()


async def _cancelled_when_the_server_has_the_request(kind: Kind, provider: object, server: Server) -> None:
    before = len(server.exchanges)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kind.ask, provider)
        while len(server.exchanges) == before:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("headers", [True, False], ids=["mid-answer", "before the headers"])
async def test_cancelling_closes_the_connection_at_once_as_the_server_sees(kind, headers):
    hangs = kind.begun() if headers else hanging(head=False)
    async with listening(hangs, kind.good()) as server, kind.open(server.url) as provider:
        if headers:
            await _cancelled_when_first_result_is_there(kind, provider)
        else:
            await _cancelled_when_the_server_has_the_request(kind, provider, server)
        with trio.fail_after(5):
            await server.exchanges[0].gone.wait()
        assert await kind.ask(provider)
    gc.collect()


async def test_leaving_early_closes_the_connection_too(kind):
    async with listening(kind.begun()) as server, kind.open(server.url) as provider:
        async with kind.stream(provider) as results:
            await anext(results)
        with trio.fail_after(5):
            await server.exchanges[0].gone.wait()


async def test_an_exception_of_the_consumer_comes_out_as_it_is(kind):
    async with listening(kind.begun()) as server, kind.open(server.url) as provider:
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 # where it is raised is the point
            async with kind.stream(provider) as results:
                async for _ in results:
                    raise ZeroDivisionError
        await server.exchanges[0].gone.wait()


async def test_a_thousand_cancelled_turns_leave_a_sane_pool(kind):
    """Eight at a time on four connections: cancelled mid-answer, before the headers, and while waiting for a connection."""
    begun, silent = kind.begun(), hanging(head=False)
    turns = 1_000 if kind is KINDS["chat"] else 100  # one pool is like another: one is put to the whole test
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(listening(begun, silent))
        server.scripts = [begun, silent] * turns
        provider = await stack.enter_async_context(kind.open(server.url, connections=4))

        async def turn(patience: int) -> None:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(kind.ask, provider)
                    for _ in range(patience):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

        for round_ in range(turns // 8):
            async with trio.open_nursery() as nursery:
                for seat in range(8):
                    nursery.start_soon(turn, 1 + (round_ * 7 + seat * 5) % 30)

        server.scripts = [kind.good()]
        async with trio.open_nursery() as nursery:  # all four connections can be had again
            for _ in range(8):
                nursery.start_soon(kind.ask, provider)
        pool = provider._api._client._transport._pool
        assert len(pool.connections) <= 4
        assert all(each.is_idle() for each in pool.connections)
        assert not pool._requests
        # (What was cancelled while it connected never reached the server.)
        for each in server.exchanges[:-8]:
            with trio.fail_after(5):
                await each.gone.wait()
    gc.collect()
