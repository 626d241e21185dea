"""The client of the chat completions API, against a strict server that misbehaves; what all share is in test_http_faults.py."""

from __future__ import annotations

import gc
import itertools
import json
import ssl
import traceback
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import httpx2
import pytest
import trio
import trustme
from http_kinds import said
from http_stub import Answer, Exchange, Server, listening, script
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ConfigError, ProviderError
from flare_actors.ports import LanguageModel, Message, ModelOutput, TextDelta, Usage
from flare_actors.providers.deepgram import DeepgramSettings, open_deepgram
from flare_actors.providers.openai_chat import OpenAIChat, OpenAISettings, open_openai

KEY = "sk-canary-KEY"
SPEECH = "canary speech"
ASK = [Message(role="system", content="Be short."), Message(role="user", content=SPEECH)]


@asynccontextmanager
async def serving(*scripts: Answer, **settings: object) -> AsyncGenerator[tuple[OpenAIChat, Server]]:
    async with (
        listening(*scripts) as server,
        open_openai(OpenAISettings(base_url=server.url, model="m", **settings), api_key=KEY) as chat,
    ):
        yield chat, server


def event(content: str | None = None, **more: object) -> str:
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": more.pop("finish_reason", None)}
    return f"data: {json.dumps({'choices': [choice], **more}, ensure_ascii=False)}\n\n"


STOP = event(finish_reason="stop")
COUNTS = 'data: {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 2}}\n\n'
DONE = "data: [DONE]\n\n"


async def ask(chat: OpenAIChat, messages: Sequence[Message] = ASK) -> list[ModelOutput]:
    async with chat.generate(messages, locale="en") as outputs:
        return [each async for each in outputs]


def text(outputs: Sequence[ModelOutput]) -> str:
    return "".join(each.text for each in outputs if isinstance(each, TextDelta))


async def refused(*scripts: Answer) -> ProviderError:
    """The one clear error of an answer that is none."""
    async with serving(*scripts) as (chat, _):
        with pytest.raises(ProviderError) as caught:
            await ask(chat)
    gc.collect()  # a foreign generator that was left open would complain here
    error = caught.value
    assert error.stage == "llm"
    assert "canary" not in "".join(traceback.format_exception(error)), "an exception behind it quotes what was said"
    assert "\n" not in str(error)
    return error


# --- What is asked ---------------------------------------------------------------------------------------------------------


async def test_the_request_is_what_the_api_wants():
    async with serving(
        script(event("Hi."), STOP, DONE), temperature=0.5, max_tokens=9, extra={"seed": 1, "model": "other"}
    ) as (chat, server):
        await ask(chat)

    (exchange,) = server.exchanges
    assert exchange.request.method == b"POST"
    assert exchange.request.target == b"/v1/chat/completions"
    assert exchange.headers["authorization"] == f"Bearer {KEY}"
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.headers["accept-encoding"] == "identity"
    assert json.loads(exchange.body) == {
        "model": "other",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": SPEECH}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 1,
    }


async def test_what_the_server_shall_decide_is_not_sent():
    async with serving(script(event("Hi."), STOP, DONE), max_tokens=0, usage=False) as (chat, server):
        await ask(chat)

    assert set(json.loads(server.exchanges[0].body)) == {"model", "messages", "stream"}


async def test_no_proxy_stands_between_us_and_a_server_on_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(script(event("Hi."), STOP, DONE)) as (chat, _):
        assert text(await ask(chat)) == "Hi."


# --- What is answered ------------------------------------------------------------------------------------------------------


async def test_an_answer_comes_token_by_token_and_its_cost_last():
    parts = [event("", role="assistant"), event("Hel"), event("lo."), STOP, COUNTS, DONE]
    async with serving(script(*parts)) as (chat, _):
        assert await ask(chat) == [
            TextDelta(text="Hel"),
            TextDelta(text="lo."),
            Usage(input_tokens=12, output_tokens=2),
        ]


async def test_a_token_is_given_on_before_the_next_one_comes():
    more = trio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(event("One"))
        await more.wait()
        await exchange.send(event(" two.") + STOP + DONE)
        await exchange.end()

    async with serving(answer) as (chat, _), chat.generate(ASK, locale="en") as outputs:
        assert await anext(outputs) == TextDelta(text="One")
        more.set()
        assert text([each async for each in outputs]) == " two."


_STREAM = (
    ": a comment\r\n\r\n" + event("Gr\u00fc\u00dfe, ") + event("\u4f60\u597d \U0001f44d").replace("\n", "\r\n")
    + 'event: message\nid: 7\ndata: {"choices":\ndata: [{"delta": {"content": "!"}}]}\n\n'
    + 'data: {"choices": [{"delta": {"content": null, "reasoning_content": "hm"}}]}\n\n' + STOP + COUNTS + DONE
).encode()  # fmt: skip


@settings(max_examples=15)
@given(st.sets(st.integers(1, len(_STREAM) - 1), max_size=30))
async def test_an_answer_may_arrive_in_any_pieces_even_inside_a_letter(cuts):
    edges = [0, *sorted(cuts), len(_STREAM)]
    pieces = [_STREAM[a:b] for a, b in itertools.pairwise(edges)]
    async with serving(script(*pieces)) as (chat, _):
        outputs = await ask(chat)

    assert text(outputs) == "Gr\u00fc\u00dfe, \u4f60\u597d \U0001f44d!"
    assert outputs[-1] == Usage(input_tokens=12, output_tokens=2)


async def test_counts_with_every_token_are_told_once():
    counted = (
        event("a", usage={"prompt_tokens": 1, "completion_tokens": 1}),
        event("b", usage={"prompt_tokens": 1, "completion_tokens": 2}),
    )
    async with serving(script(*counted, STOP)) as (chat, _):
        assert (await ask(chat))[-1:] == [Usage(input_tokens=1, output_tokens=2)]
        assert sum(isinstance(each, Usage) for each in await ask(chat)) == 1


@pytest.mark.parametrize("counts", ['{"prompt_tokens": 3}', '{"prompt_tokens": null, "completion_tokens": "2"}', "7"])
async def test_counts_that_make_no_sense_do_not_spoil_an_answer(counts):
    async with serving(script(event("Hi."), STOP, f'data: {{"choices": [], "usage": {counts}}}\n\n', DONE)) as (
        chat,
        _,
    ):
        assert await ask(chat) == [TextDelta(text="Hi.")]


async def test_a_refusal_is_what_the_model_says():
    refusal = 'data: {"choices": [{"delta": {"content": null, "refusal": "I cannot help with that."}}]}\n\n'
    async with serving(script(refusal, STOP, DONE)) as (chat, _):
        assert text(await ask(chat)) == "I cannot help with that."


async def test_a_stream_may_be_written_in_the_ways_that_the_standard_allows():
    parts = "\ufeff" + event("Hi.").replace("data: ", "data:"), event(finish_reason="length").replace("\n", "\r\n")
    async with serving(script(*parts)) as (chat, _):
        assert text(await ask(chat)) == "Hi."


@pytest.mark.parametrize("last", [STOP.strip(), "data: [DONE]", "data: [DONE]\n"])
async def test_a_last_event_that_is_not_ended_is_one(last):
    async with serving(script(event("Hi."), last)) as (chat, _):
        assert text(await ask(chat)) == "Hi."


async def test_a_server_that_ends_without_saying_done_has_still_answered():
    async with serving(script(event("Hi."), STOP)) as (chat, _):
        assert text(await ask(chat)) == "Hi."


async def test_the_next_turn_uses_the_same_connection():
    async with serving(script(event("Hi."), STOP, DONE)) as (chat, server):
        for _ in range(3):
            await ask(chat)

    assert server.connections == 1


async def test_a_server_that_stays_on_the_line_after_its_answer_does_not_hold_it_up():
    async with serving(script(event("Hi."), STOP, DONE, end=False)) as (chat, server):
        assert text(await ask(chat)) == "Hi."
        assert text(await ask(chat)) == "Hi."

    assert server.connections == 2


# --- What is no answer -----------------------------------------------------------------------------------------------------


def complaint(**error: object) -> str:
    return json.dumps({"error": {"message": f"You said {SPEECH} with {KEY}", **error}})


async def test_an_error_code_that_is_no_code_is_not_repeated():
    error = await refused(script(complaint(code=f"{SPEECH} {KEY}"), status=500, kind="application/json"))

    assert str(error).endswith("failed (500)")


async def test_a_refusal_that_never_ends_is_read_only_so_far():
    sent = 0

    async def answer(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.head(500)
        while True:
            await exchange.send(b"x" * 50_000)
            sent += 50_000

    assert "500" in str(await refused(answer))
    assert sent < 20_000_000, "what the sockets hold, and no more"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("data: {not json}\n\n", "no JSON"),
        ("data: [1, 2]\n\n", "not a chat completion chunk's"),
        ('data: {"choices": {"a": 1}}\n\n', "'choices'"),
        ('data: {"choices": ["canary"]}\n\n', "'choices[0]'"),
        ('data: {"choices": [{"delta": "canary"}]}\n\n', "'delta'"),
        ('data: {"choices": [{"delta": {"content": ["canary"]}}]}\n\n', "'content'"),
        (f"data: {complaint(code='overloaded')}\n\n", "failed while answering overloaded"),
        (f"data: {complaint(code=7)}\n\n", "failed while answering"),
        ("data: " + "x" * 3_000_000, "an event without end"),
    ],
)
async def test_a_foreign_event_is_an_error_and_what_came_before_stays(bad, says):
    error = await refused(script(event("Well,"), bad, STOP, DONE))
    assert says in str(error)

    async with (
        serving(script(event("Well,"), bad, STOP, DONE)) as (chat, _),
        chat.generate(ASK, locale="en") as outputs,
    ):
        assert await anext(outputs) == TextDelta(text="Well,")
        with pytest.raises(ProviderError):
            await anext(outputs)


@pytest.mark.parametrize("end", [True, False])
async def test_an_answer_that_breaks_off_is_an_error(end):
    async def answer(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send(event("Well,"))
        if end:
            await exchange.end()
        else:
            await exchange.stream.aclose()

    assert "broke off its answer" in str(await refused(answer))


async def test_a_connection_closed_without_an_answer_is_an_error():
    async def answer(exchange: Exchange) -> None:
        await exchange.stream.aclose()

    assert "lost before an answer" in str(await refused(answer))


# --- Trying again ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_passing_trouble_before_the_answer_is_tried_again(status):
    async with serving(script("{}", status=status), script(event("Hi."), STOP, DONE)) as (chat, server):
        assert text(await ask(chat)) == "Hi."

    assert len(server.exchanges) == 2


async def test_a_connection_lost_before_the_answer_is_tried_again():
    async def lost(exchange: Exchange) -> None:
        await exchange.stream.aclose()

    async with serving(lost, script(event("Hi."), STOP, DONE)) as (chat, _):
        assert text(await ask(chat)) == "Hi."


async def test_nothing_is_tried_again_once_the_answer_has_begun():
    async with serving(script(event("Well,"))) as (chat, server):
        with pytest.raises(ProviderError):
            await ask(chat)

    assert len(server.exchanges) == 1


async def test_trying_again_has_an_end():
    async with serving(script("{}", status=503)) as (chat, server):
        with pytest.raises(ProviderError, match="503"):
            await ask(chat)

    assert len(server.exchanges) == 2


@pytest.mark.parametrize("retries", [0, 2])
async def test_it_is_asked_as_often_as_the_settings_say(retries):
    async with serving(script("{}", status=503), retries=retries) as (chat, server):
        with pytest.raises(ProviderError, match="503"):
            await ask(chat)

    assert len(server.exchanges) == 1 + retries


async def test_a_connection_that_took_too_long_is_not_waited_for_twice(monkeypatch):
    asked = []

    async def send(request, *, stream):
        asked.append(request)
        raise httpx2.ConnectTimeout("canary")

    async with serving(retries=3) as (chat, _):
        await chat.open()
        monkeypatch.setattr(chat._api._client, "send", send)
        with pytest.raises(ProviderError, match="no connection within 5 s"):
            await ask(chat)

    assert len(asked) == 1


async def test_a_wrong_key_is_not_tried_again():
    async with serving(script("{}", status=401)) as (chat, server):
        with pytest.raises(ProviderError):
            await ask(chat)

    assert len(server.exchanges) == 1


# --- Settings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:11434",
        "ftp://x/v1",
        "http://",
        "https://user:sk-canary@host/v1",
        "http://host:99999/v1",
        "http://host:x/v1",
        "http://[::1/v1",
        "http://ho\nst/v1",
        "https://host/v1?key=sk-canary",
        "https://host/v1/chat/completions",
    ],
)
def test_a_url_that_cannot_work_is_refused_without_being_quoted(url):
    with pytest.raises(ValueError, match="must") as caught:
        OpenAISettings(base_url=url)

    assert "canary" not in str(caught.value)


def test_a_key_in_place_of_a_variables_name_is_refused_without_being_quoted():
    with pytest.raises(ValueError, match="not the key itself") as caught:
        OpenAISettings(api_key_env="sk-canary")

    assert "canary" not in str(caught.value)


async def test_the_key_comes_from_where_the_settings_say(monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", " from-variable\n")
    file = tmp_path / "key"
    file.write_text("from-file\n")

    assert OpenAIChat(OpenAISettings(api_key_env="MY_KEY"))._api._key == "from-variable"
    assert OpenAIChat(OpenAISettings(api_key_file=file))._api._key == "from-file"
    assert OpenAIChat(OpenAISettings(api_key_env="MY_KEY"), api_key="given")._api._key == "given"
    assert OpenAIChat()._api._key is None


def test_a_missing_key_says_where_it_should_be(monkeypatch, tmp_path):
    monkeypatch.delenv("MY_KEY", raising=False)
    (tmp_path / "empty").write_text("\n")

    for wrong, says in (
        (OpenAISettings(api_key_env="MY_KEY"), "MY_KEY is not set"),
        (OpenAISettings(api_key_file=tmp_path / "absent"), "cannot read"),
        (OpenAISettings(api_key_file=tmp_path / "empty"), "is empty"),
        (OpenAISettings(api_key_file=tmp_path), "cannot read"),
    ):
        with pytest.raises(ConfigError, match=says):
            OpenAIChat(wrong)


@pytest.mark.parametrize("key", ["sk-canary sk-canary", "sk-canary\nmore", "sk-c\xe4nary", "\u201csk-canary\u201d"])
def test_a_key_that_no_header_can_carry_is_told_and_not_shown(key, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", key)
    (tmp_path / "key").write_text(key, encoding="utf-8")

    for where in ({"api_key_env": "MY_KEY"}, {"api_key_file": tmp_path / "key"}):
        with pytest.raises(ConfigError, match="the key and nothing else") as caught:
            OpenAIChat(OpenAISettings(**where))
        assert "nary" not in str(caught.value)
    with pytest.raises(ConfigError, match="api_key must hold the key and nothing else"):
        OpenAIChat(api_key=key)


async def test_a_redirect_does_not_take_the_key_to_another_host():
    async def elsewhere(exchange: Exchange) -> None:
        await exchange.head(307, "text/html", f"location: {other.url}/chat/completions")
        await exchange.end()

    async with listening(script(event("Hi."), STOP, DONE)) as other, serving(elsewhere) as (chat, _):
        with pytest.raises(ProviderError, match=r"redirects \(307\)"):
            await ask(chat)
        assert not other.exchanges


async def test_a_server_that_wants_a_key_and_was_shown_none_says_so():
    async with listening(script("{}", status=401)) as server, open_openai(OpenAISettings(base_url=server.url)) as chat:
        with pytest.raises(ProviderError, match="wants an API key: set api_key_env"):
            await ask(chat)


@pytest.mark.parametrize("path", ["", "/v1"])
async def test_what_is_not_found_may_be_below_v1(path):
    async with (
        listening(script("{}", status=404)) as server,
        open_openai(OpenAISettings(base_url=server.url.removesuffix("/v1") + path)) as chat,
    ):
        with pytest.raises(ProviderError, match="knows no model") as caught:
            await ask(chat)

    assert ("below /v1" in str(caught.value)) is not bool(path)


async def test_a_server_on_this_machine_may_be_named_in_any_way():
    for host in ("localhost", "[::1]", "127.0.0.1"):
        async with serving(script(event("Hi."), STOP, DONE)) as (_, server):
            url = server.url.replace("127.0.0.1", host) + "/"
            async with open_openai(OpenAISettings(base_url=url)) as chat:
                if host == "[::1]":  # nobody listens there, and that is told as usual
                    with pytest.raises(ProviderError, match="is the server running"):
                        await ask(chat)
                else:
                    assert text(await ask(chat)) == "Hi."


async def test_a_proxy_that_cannot_be_one_is_told(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "canary://127.0.0.1:9")
    with pytest.raises(ProviderError, match="the environment's proxy") as caught:
        async with open_openai(OpenAISettings(base_url="https://llm.example.com/v1")):
            pass
    assert caught.value.critical
    assert "canary" not in str(caught.value)


async def test_a_certificate_that_nobody_vouches_for_is_told():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream: trio.SSLStream) -> None:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1"))
        url = f"https://127.0.0.1:{listener.transport_listener.socket.getsockname()[1]}"
        async with open_openai(OpenAISettings(base_url=url, retries=0)) as chat:
            with pytest.raises(ProviderError, match="its certificate is not trusted"):
                await ask(chat)
        async with open_deepgram(DeepgramSettings(url=url.replace("http", "ws")), api_key=KEY) as ear:
            with pytest.raises(ProviderError, match="its certificate is not trusted") as caught:
                async with ear.transcribe(said(), locale="en", mode=SttMode.BATCH):
                    pass
            assert caught.value.critical
        nursery.cancel_scope.cancel()


async def test_no_repr_holds_the_key():
    async with serving(script(event("Hi."), STOP, DONE)) as (chat, _):
        for each in (chat, chat.settings, chat._api, chat._api._client):
            assert KEY not in repr(each)


@pytest.mark.parametrize("body", ["<html>", "[]", '{"data": [1]}', '{"models": []}'])
async def test_check_tells_when_there_is_something_else_at_that_address(body):
    async with serving(script(body, kind="text/html")) as (chat, _):
        with pytest.raises(ProviderError, match="is base_url right"):
            await chat.check()


def test_it_is_a_language_model():
    assert isinstance(OpenAIChat(), LanguageModel)
