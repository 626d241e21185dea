"""The client of the transcriptions API, against a strict server; what all HTTP providers share is in test_http_faults.py."""

from __future__ import annotations

import io
import itertools
import wave
from email import message_from_bytes

import pytest
import trio
from http_kinds import KEY, TRANSCRIPTION, said, sse
from http_stub import SSE, Exchange, listening, script
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.ports import HeardAudio, Recognizer, Transcript
from flare_actors.providers.openai_transcription import (
    OpenAITranscription,
    OpenAITranscriptionSettings,
    open_openai_transcription,
)

JSON = "application/json"
PCM = bytes(range(256)) * 50


def parts(exchange: Exchange) -> dict[str, bytes]:
    """The form that was sent."""
    kind = exchange.headers["content-type"]
    message = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + exchange.body)
    return {each.get_param("name", header="content-disposition"): each.get_payload(decode=True)
            for each in message.get_payload()}  # fmt: skip


async def heard(recognizer: Recognizer, *pcm: bytes, mode: SttMode = SttMode.STREAMING) -> list[Transcript]:
    async with recognizer.transcribe(said(*pcm), locale="en-US", mode=mode) as transcripts:
        return [each async for each in transcripts]


async def test_the_utterance_is_sent_as_one_wav_file_when_it_has_ended():
    extra = {"prompt": "Ada", "temperature": 0, "diarize": True}
    async with (
        listening(script('{"text": " Hello, Ada. "}', kind=JSON)) as server,
        TRANSCRIPTION.open(server.url, extra=extra) as recognizer,
    ):
        assert await heard(recognizer, PCM[:1000], b"", PCM[1000:]) == [Transcript(text="Hello, Ada.", final=True)]

    (exchange,) = server.exchanges
    form = parts(exchange)
    with wave.open(io.BytesIO(form.pop("file"))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.readframes(1 << 20) == PCM
    assert form == {
        "model": b"m",
        "language": b"en",
        "response_format": b"json",
        "prompt": b"Ada",
        "temperature": b"0",
        "diarize": b"true",
    }


async def test_nothing_is_sent_while_the_user_speaks():
    async with listening(script('{"text": "Hi."}', kind=JSON)) as server, TRANSCRIPTION.open(server.url) as recognizer:
        send, receive = trio.open_memory_channel[HeardAudio](1)
        async with (
            send,
            receive,
            recognizer.transcribe(receive, locale="de", mode=SttMode.BATCH) as transcripts,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(anext, transcripts)
            await send.send(HeardAudio(pcm=PCM))
            await trio.testing.wait_all_tasks_blocked()
            assert not server.exchanges
            send.close()

    assert parts(server.exchanges[0])["language"] == b"de"


async def test_an_utterance_without_audio_has_no_words_and_asks_nobody():
    async with listening() as server, TRANSCRIPTION.open(server.url) as recognizer:
        assert await heard(recognizer) == [Transcript(text="", final=True)]
        assert await heard(recognizer, mode=SttMode.BATCH) == [Transcript(text="", final=True)]

    assert not server.connections


OPENAI = sse(
    {"type": "transcript.text.delta", "delta": "Gr\u00fc\u00dfe,"},
    {"type": "transcript.text.segment", "text": "ignored"},
    {"type": "transcript.text.delta", "delta": " \u4f60\u597d"},
    {"type": "transcript.text.done", "text": "Gr\u00fc\u00dfe, \u4f60\u597d!", "usage": {"type": "tokens"}},
)
VLLM = sse(
    {"object": "transcription.chunk", "choices": [{"delta": {"content": "Gr\u00fc\u00dfe,"}}]},
    {"object": "transcription.chunk", "choices": [{"delta": {"content": " \u4f60\u597d!"}, "finish_reason": "stop"}]},
    {"object": "transcription.chunk", "choices": [], "usage": {"prompt_tokens": 3}},
    "[DONE]",
)


@pytest.mark.parametrize("events", [OPENAI, VLLM], ids=["OpenAI's words", "vLLM's"])
async def test_a_server_that_streams_gives_partial_transcripts_and_the_whole_last(events):
    async with listening(script(*events)) as server, TRANSCRIPTION.open(server.url, stream=True) as recognizer:
        *partials, last = await heard(recognizer, PCM)
        assert partials[0] == Transcript(text="Gr\u00fc\u00dfe,", complete=False)
        assert last == Transcript(text="Gr\u00fc\u00dfe, \u4f60\u597d!", final=True)
        assert not any(each.final or each.complete for each in partials)

        assert await heard(recognizer, PCM, mode=SttMode.BATCH) == [last]

    assert parts(server.exchanges[0])["stream"] == b"true"


async def test_a_server_that_cannot_stream_is_asked_all_the_same():
    async with (
        listening(script('{"text": "Hi."}', kind=JSON)) as server,
        TRANSCRIPTION.open(server.url, stream=True) as recognizer,
    ):
        assert await heard(recognizer, PCM) == [Transcript(text="Hi.", final=True)]


_STREAM = "".join(OPENAI).replace("\n\n", "\r\n\r\n").encode()


@settings(max_examples=15)
@given(st.sets(st.integers(1, len(_STREAM) - 1), max_size=30))
async def test_a_transcript_may_arrive_in_any_pieces_even_inside_a_letter(cuts):
    edges = [0, *sorted(cuts), len(_STREAM)]
    pieces = [_STREAM[a:b] for a, b in itertools.pairwise(edges)]
    async with listening(script(*pieces)) as server, TRANSCRIPTION.open(server.url) as recognizer:
        assert await heard(recognizer, PCM, mode=SttMode.BATCH) == [
            Transcript(text="Gr\u00fc\u00dfe, \u4f60\u597d!", final=True)
        ]


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("{not json", JSON, "without a 'text'"),
        ("[1]", JSON, "without a 'text'"),
        ('{"text": 7}', JSON, "without a 'text'"),
        ("x" * 2_000_000, JSON, "more than 1048576 bytes"),
        ("data: {canary}\n\n", SSE, "no JSON"),
        ("data: [1]\n\n", SSE, "not a transcription's"),
        ('data: {"type": "transcript.text.delta", "delta": 7}\n\n', SSE, "not a transcription's"),
        ('data: {"type": "transcript.text.done"}\n\n', SSE, "not a transcription's"),
        ('data: {"error": {"code": "overloaded", "message": "canary"}}\n\n', SSE, "while transcribing overloaded"),
        ('data: {"type": "error", "message": "canary"}\n\n', SSE, "while transcribing"),
        ("data: " + "x" * 3_000_000, SSE, "an event without end"),
        ("".join(sse({"type": "transcript.text.delta", "delta": "x" * 40_000})) * 2, SSE, "more than 65536 characters"),
        ("data: {}\n\n", SSE, "broke off"),
    ],
)
async def test_a_foreign_answer_is_an_error_that_quotes_nothing(body, kind, says):
    async with listening(script(body, kind=kind)) as server, TRANSCRIPTION.open(server.url) as recognizer:
        with pytest.raises(ProviderError) as caught:
            await heard(recognizer, PCM)

    assert says in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.stage == "stt"


async def test_it_is_a_recognizer_whose_repr_holds_no_key():
    async with open_openai_transcription(OpenAITranscriptionSettings(), api_key=KEY) as recognizer:
        assert isinstance(recognizer, Recognizer)
        assert KEY not in repr((recognizer, recognizer.settings, recognizer._api))
    assert OpenAITranscription().locales is None
