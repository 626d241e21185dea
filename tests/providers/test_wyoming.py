"""The Wyoming clients against a strict stub that misbehaves on demand; real servers are in test_wyoming_servers.py."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import trio
from http_kinds import phrased, said
from wyoming_stub import Call, Script, WyomingStub, asr, only_describe, tts, wyoming

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import Recognizer, SpeechAudio, Synthesizer, Transcript
from flare_actors.providers.wyoming import (
    WyomingRecognizer,
    WyomingSpeech,
    WyomingSttSettings,
    WyomingTtsSettings,
    open_wyoming_recognizer,
    open_wyoming_synthesizer,
)

PCM = bytes(range(256)) * 10
FORMAT = {"rate": 16_000, "width": 2, "channels": 1}
VOICE = {"rate": 22_050, "width": 2, "channels": 1}


async def heard(server: WyomingStub, *pcm: bytes, mode: SttMode = SttMode.STREAMING, **more: Any) -> list[Transcript]:
    recognizer = WyomingRecognizer(WyomingSttSettings(uri=server.uri, **more))
    async with recognizer.transcribe(said(*pcm), locale="en-US", mode=mode) as transcripts:
        return [each async for each in transcripts]


async def spoken(server: WyomingStub, *texts: str, **more: Any) -> dict[int, bytes]:
    synthesizer = WyomingSpeech(WyomingTtsSettings(uri=server.uri, **more))
    parts: dict[int, bytes] = {}
    async with synthesizer.synthesize(phrased(*texts), locale="en-US") as audio:
        async for each in audio:
            parts[each.phrase] = parts.get(each.phrase, b"") + each.pcm
    return parts


# --- Hearing ---------------------------------------------------------------------------------------------------------------


async def understands(call: Call) -> None:
    await call.until("audio-stop")
    await call.send("transcript", text=" Hello. ")


async def streams(call: Call) -> None:
    await call.until("audio-chunk")
    await call.send("transcript-start")
    await call.send("transcript-chunk", text=" Hel")
    await call.until("audio-stop")
    await call.send("transcript-chunk", text="lo.")
    await call.send("transcript", text="Hello.")
    await call.send("transcript-stop")


async def test_an_utterance_is_sent_as_it_is_spoken_and_understood():
    async with wyoming(understands, info=asr("de", "en")) as server:
        assert await heard(server, PCM[:100], b"", PCM[100:]) == [Transcript(text="Hello.", final=True)]

    (call,) = server.calls
    kinds = [each.type for each in call.events]
    assert kinds == ["transcribe", "audio-start", "audio-chunk", "audio-chunk", "audio-stop"]
    assert call.events[0].data == {"language": "en"}, "in the server's own words"
    assert all(each.data == FORMAT for each in call.events[1:4])
    assert b"".join(each.payload for each in call.all_of("audio-chunk")) == PCM


@pytest.mark.parametrize("whole", [True, False], ids=["with the whole at the end", "in pieces only"])
async def test_where_transcripts_are_streamed_they_are_partial_ones(whole):
    async def pieces(call: Call) -> None:
        await call.until("audio-chunk")
        await call.send("transcript-chunk", text=" Hel")
        await call.send("transcript-chunk", text="lo.")
        await call.until("audio-stop")
        await call.send("transcript-stop")

    async with wyoming(streams if whole else pieces, info=asr("en", streams=True)) as server:
        assert await heard(server, PCM) == [
            Transcript(text="Hel", complete=False),
            Transcript(text="Hello.", complete=False),
            Transcript(text="Hello.", final=True),
        ]
        assert await heard(server, PCM, mode=SttMode.BATCH) == [Transcript(text="Hello.", final=True)]


async def test_a_partial_transcript_comes_while_the_user_still_speaks():
    async with wyoming(streams, info=asr("en", streams=True)) as server:
        recognizer = WyomingRecognizer(WyomingSttSettings(uri=server.uri))
        send, receive = trio.open_memory_channel[Any](1)
        async with send, receive, recognizer.transcribe(receive, locale="en", mode=SttMode.STREAMING) as transcripts:
            async for piece in said(PCM):
                await send.send(piece)
            assert not (await anext(transcripts)).final
            send.close()
            assert [each.text async for each in transcripts] == ["Hello.", "Hello."]


async def test_an_utterance_without_audio_has_no_words_whatever_the_model_would_make_up():
    async with wyoming(understands, info=asr("en")) as server:
        assert await heard(server) == [Transcript(text="", final=True)]
        assert await heard(server, b"") == [Transcript(text="", final=True)]
        await server.calls[-1].gone.wait()

    assert not server.calls[0].all_of("audio-stop")


async def test_a_server_that_is_tired_of_waiting_for_speech_is_no_failure():
    async def bored(call: Call) -> None:
        await call.until("audio-start")

    async with wyoming(bored, info=asr("en")) as server:
        recognizer = WyomingRecognizer(WyomingSttSettings(uri=server.uri))
        send, receive = trio.open_memory_channel[Any](0)
        async with send, receive, recognizer.transcribe(receive, locale="en", mode=SttMode.BATCH) as transcripts:
            assert [each async for each in transcripts] == []


async def test_the_model_and_its_language_are_chosen_as_the_server_names_them():
    info = {"asr": [{"models": [{"name": "x", "languages": ["fr"]}, {"name": "y", "languages": ["en_GB", "en_US"]}]}]}
    async with wyoming(understands, info=info) as server:
        await heard(server, PCM, model="y")
        recognizer = WyomingRecognizer(WyomingSttSettings(uri=server.uri, model="x"))
        with pytest.raises(UnsupportedLocale, match="supports fr"):
            async with recognizer.transcribe(said(PCM), locale="en", mode=SttMode.BATCH):
                pass

    assert server.calls[0].events[0].data == {"language": "en_US", "name": "y"}


# --- Speaking --------------------------------------------------------------------------------------------------------------


def speaks(*, stops: int = 1 << 30, rate: int = 22_050) -> Script:
    """A phrase is its text's bytes, in two pieces; ``stops``: the connection closes after so many phrases."""

    async def script(call: Call) -> None:
        form = VOICE | {"rate": rate}
        for _ in range(stops):
            event = await call.receive()
            streaming = event.type == "synthesize-start"
            if streaming:
                event = await call.until("synthesize-chunk")
                await call.until("synthesize-stop")
            data = event.data["text"].encode()
            if data != b"Hm":
                await call.send("audio-start", **form)
                await call.send("audio-chunk", data[:2], **form)
                await call.send("audio-chunk", data[2:], **form)
            await call.send("audio-stop")
            if streaming:
                await call.send("synthesize-stopped")

    return script


@pytest.mark.parametrize("streaming", [True, False], ids=["text in pieces", "whole phrases"])
async def test_phrases_are_spoken_one_after_the_other_over_one_connection(streaming):
    async with wyoming(speaks(), info=tts(streaming, joe=["en_US"])) as server:
        assert await spoken(server, "One!", "...", "Hm", "Four") == {0: b"One!", 3: b"Four"}

    (call,) = server.calls
    asked = call.all_of("synthesize-chunk" if streaming else "synthesize")
    assert [each.data["text"] for each in asked] == ["One!", "Hm", "Four"], "an engine may fall over what has no words"
    begun = call.events[0]
    assert begun.type == ("synthesize-start" if streaming else "synthesize")
    assert begun.data["voice"] == {"language": "en_US"}


async def test_a_server_that_closes_after_each_phrase_is_called_again():
    async with wyoming(speaks(stops=1), info=tts(joe=["en"])) as server:
        assert await spoken(server, "One!", "Two!", "Three!") == {0: b"One!", 1: b"Two!", 2: b"Three!"}

    assert len(server.calls) == 3


async def test_an_error_at_a_later_phrase_is_told_and_the_phrase_is_not_asked_for_twice():
    async def tires(call: Call) -> None:
        await speaks(stops=1)(call)
        await call.until("synthesize")
        await call.send("error", text="canary", code="Tired")
        await trio.sleep_forever()

    async with wyoming(tires, info=tts(joe=["en"])) as server:
        with pytest.raises(ProviderError, match="failed Tired"):
            await spoken(server, "One!", "Two!")

    assert len(server.calls) == 1


async def test_a_voice_and_its_speaker_are_chosen():
    async with wyoming(speaks(), info=tts(joe=["en_US"], eva=["de_DE"])) as server:
        await spoken(server, "One!", voice="joe", speaker="3")

    assert server.calls[0].events[0].data["voice"] == {"name": "joe", "speaker": "3"}
    with pytest.raises(ValueError, match="needs a voice"):
        WyomingTtsSettings(speaker="3")


async def test_another_rate_is_resampled_and_audio_is_given_on_before_the_rest_comes():
    tone = (np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000) * 8_000).astype("<i2").tobytes()
    more = trio.Event()

    async def script(call: Call) -> None:
        await call.until("synthesize")
        await call.send("audio-chunk", tone[:16_000], **FORMAT)
        await more.wait()
        await call.send("audio-chunk", tone[16_000:], **FORMAT)
        await call.send("audio-stop")

    async with wyoming(script, info=tts(joe=["en"])) as server:
        synthesizer = WyomingSpeech(WyomingTtsSettings(uri=server.uri, sample_rate=24_000))
        async with synthesizer.synthesize(phrased("Beep."), locale="en") as audio:
            pcm = (await anext(audio)).pcm
            more.set()
            pcm += b"".join([each.pcm async for each in audio])

    assert len(pcm) // 2 == pytest.approx(24_000, abs=50)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(pcm, "<i2")))
    assert np.argmax(spectrum) * 24_000 / (len(pcm) // 2) == pytest.approx(440, abs=2)


async def test_a_rate_that_changes_inside_a_phrase_is_followed():
    async def script(call: Call) -> None:
        await call.until("synthesize")
        await call.send("audio-chunk", bytes(2_000), **VOICE)
        await call.send("audio-chunk", bytes(1_600), **FORMAT)
        await call.send("audio-stop")

    async with wyoming(script, info=tts(joe=["en"])) as server:
        (pcm,) = (await spoken(server, "One!")).values()

    assert len(pcm) // 2 == pytest.approx(1_000 + 800 * 22_050 / 16_000, abs=5)


# --- Faults ----------------------------------------------------------------------------------------------------------------


async def closes(call: Call) -> None:
    while (await call.receive()).type not in ("audio-chunk", "synthesize"):
        pass


async def complains(call: Call) -> None:
    await closes(call)
    await call.send("error", text="canary: you said that", code="ValueError")
    await trio.sleep_forever()


async def complains_in_prose(call: Call) -> None:
    await closes(call)
    await call.send("error", text="canary", code="you said canary")
    await trio.sleep_forever()


async def no_wyoming(call: Call) -> None:
    await call.stream.send_all(b"SSH-2.0-canary\r\n")
    await trio.sleep_forever()


FAULTS = {
    "closed": (closes, "closed the connection before its answer was complete", False),
    "an error": (complains, "failed ValueError", False),
    "an error in prose": (complains_in_prose, "failed", False),
    "not Wyoming": (no_wyoming, "is it a Wyoming server", True),
}


@pytest.mark.parametrize("stage", ["stt", "tts"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_a_fault_is_one_clear_error_that_quotes_nobody(stage, fault):
    script, says, critical = fault
    async with wyoming(script, info=asr("en") | {"tts": tts(joe=["en"])["tts"]}) as server:
        with pytest.raises(ProviderError, match=says) as caught:
            await (heard(server, PCM) if stage == "stt" else spoken(server, "One!"))

    assert caught.value.stage == stage
    assert caught.value.critical is critical
    assert "canary" not in str(caught.value)
    assert server.uri in str(caught.value)


async def test_an_event_that_breaks_off_is_an_error_and_audio_before_it_stays():
    async def script(call: Call) -> None:
        await call.until("synthesize")
        await call.send("audio-chunk", b"1234", **VOICE)
        await call.stream.send_all(b'{"type": "audio-chunk", "payload_length": 100}\nhalf')

    async with wyoming(script, info=tts(joe=["en"])) as server:
        synthesizer = WyomingSpeech(WyomingTtsSettings(uri=server.uri))
        async with synthesizer.synthesize(phrased("One!"), locale="en") as audio:
            assert await anext(audio) == SpeechAudio(phrase=0, pcm=b"1234")
            with pytest.raises(ProviderError, match="broke off in the middle of an event"):
                await anext(audio)


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (VOICE | {"width": 4}, "not PCM16 mono"),
        (VOICE | {"channels": 2}, "not PCM16 mono"),
        ({"rate": "fast", "width": 2, "channels": 1}, "not PCM16 mono"),
        (VOICE | {"rate": 4_000}, "4000 Hz"),
    ],
)
async def test_audio_of_another_kind_is_a_critical_error(form, says):
    async def script(call: Call) -> None:
        await call.until("synthesize")
        await call.send("audio-chunk", b"1234", **form)
        await call.send("audio-stop")

    async with wyoming(script, info=tts(joe=["en"])) as server:
        with pytest.raises(ProviderError, match=says) as caught:
            await spoken(server, "One!")

    assert caught.value.critical


async def test_speech_without_end_has_an_end():
    async def script(call: Call) -> None:
        await call.until("synthesize")
        while True:
            await call.send("audio-chunk", bytes(1 << 18), **VOICE)

    async with wyoming(script, info=tts(joe=["en"])) as server:
        with pytest.raises(ProviderError, match="more than 120 s"):
            await spoken(server, "One!")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([("transcript", {"text": 7})], "a transcript without a text"),
        ([("transcript-chunk", {})], "a transcript-chunk without a text"),
        ([("transcript-chunk", {"text": "x" * 40_000})] * 2, "more than 65536 characters"),
    ],
)
async def test_a_transcript_that_is_none_is_an_error(answers, says):
    async def script(call: Call) -> None:
        await call.until("audio-stop")
        for kind, data in answers:
            await call.send(kind, **data)
        await trio.sleep_forever()

    async with wyoming(script, info=asr("en")) as server:
        with pytest.raises(ProviderError, match=says):
            await heard(server, PCM)


# --- Leaving ---------------------------------------------------------------------------------------------------------------


async def silent(call: Call) -> None:
    while True:
        await call.receive()


@pytest.mark.parametrize("stage", ["stt", "tts"])
async def test_cancelling_closes_the_connection_at_once_as_the_server_sees(stage):
    async with wyoming(silent, info=asr("en") | {"tts": tts(joe=["en"])["tts"]}) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(*((heard, server, PCM) if stage == "stt" else (spoken, server, "One!")))
            while not (server.calls and server.calls[0].events):
                await trio.lowlevel.checkpoint()
            assert not server.calls[0].gone.is_set()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await server.calls[0].gone.wait()
    gc.collect()


async def test_an_exception_of_the_consumer_comes_out_as_it_is_and_the_connection_is_closed():
    async with wyoming(streams, speaks(), info=asr("en") | {"tts": tts(joe=["en"])["tts"]}) as server:
        recognizer = WyomingRecognizer(WyomingSttSettings(uri=server.uri))
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 # where it is raised is the point
            async with recognizer.transcribe(said(PCM), locale="en", mode=SttMode.STREAMING) as transcripts:
                async for _ in transcripts:
                    raise ZeroDivisionError
        synthesizer = WyomingSpeech(WyomingTtsSettings(uri=server.uri))
        with pytest.raises(ZeroDivisionError):  # noqa: PT012
            async with synthesizer.synthesize(phrased("One!"), locale="en") as audio:
                async for _ in audio:
                    raise ZeroDivisionError
        for call in server.calls:
            with trio.fail_after(5):
                await call.gone.wait()


# --- What it is ------------------------------------------------------------------------------------------------------------


async def test_opening_asks_what_the_server_is_and_check_lists_what_it_has():
    both = asr("en", "de") | {"tts": tts(joe=["en_US"], eva=["de_DE"])["tts"]}
    async with wyoming(only_describe, info=both) as server:
        async with open_wyoming_recognizer(WyomingSttSettings(uri=server.uri)) as recognizer:
            assert recognizer.locales == ("en", "de")
            assert await recognizer.check() == ("tiny",)
            assert isinstance(recognizer, Recognizer)
        async with open_wyoming_synthesizer(WyomingTtsSettings(uri=server.uri, voice="eva")) as synthesizer:
            assert synthesizer.locales == ("de_DE",)
            assert await synthesizer.check() == ("joe", "eva")
            assert isinstance(synthesizer, Synthesizer)


async def test_a_server_that_is_not_there_yet_does_not_keep_us_from_starting():
    async with (
        open_wyoming_recognizer(WyomingSttSettings(uri="tcp://127.0.0.1:9")) as recognizer,
        open_wyoming_synthesizer(WyomingTtsSettings(uri="tcp://127.0.0.1:9")) as synthesizer,
    ):
        assert recognizer.locales is None
        assert synthesizer.locales is None
        for each in (recognizer, synthesizer):
            with pytest.raises(ProviderError, match="is the server running") as caught:
                await each.check()
            assert not caught.value.critical


async def test_a_server_that_is_restarting_is_called_again(monkeypatch):
    called = []
    real = trio.open_tcp_stream

    async def busy(*address: object) -> trio.SocketStream:
        called.append(address)
        if len(called) % 2:
            raise ConnectionRefusedError
        return await real(*address)

    monkeypatch.setattr("flare_actors.providers._wyoming_wire.trio.open_tcp_stream", busy)
    async with wyoming(understands, info=asr("en")) as server:
        assert await heard(server, PCM) == [Transcript(text="Hello.", final=True)]
        assert len(called) == 2
        with pytest.raises(ProviderError, match="is the server running"):
            await heard(server, PCM, retries=0)
        assert len(called) == 3


@pytest.mark.parametrize(
    ("info", "settings", "says"),
    [
        (tts(joe=["en"]), WyomingSttSettings, "has no asr service"),
        ({"asr": 7}, WyomingSttSettings, "has no asr service"),
        (
            {"asr": [{"models": [{"name": f"m{n}"} for n in range(9)] + [{"name": "en-joe"}]}]},
            lambda uri: WyomingSttSettings(uri=uri, model="Joe"),
            "has no model 'Joe'; it has en-joe, m0, m1, m2, m3 and 5 more",
        ),
        ({"asr": ["x", {"models": [1]}]}, lambda uri: WyomingSttSettings(uri=uri, model="big"), "has no model 'big'"),
    ],
)
async def test_a_server_without_what_is_wanted_is_told_at_once(info, settings, says):
    async with wyoming(only_describe, info=info) as server:
        with pytest.raises(ProviderError, match=says) as caught:
            async with open_wyoming_recognizer(settings(uri=server.uri)):
                pass

    assert caught.value.critical


async def test_a_server_that_does_not_say_what_it_is_is_none(autojump_clock):
    async def mute(call: Call) -> None:
        await trio.sleep_forever()

    async with wyoming(mute, info={}) as server:
        autojump_clock.autojump_threshold = 0.05  # the sockets are real
        with pytest.raises(ProviderError, match="does not say what it is"):
            await WyomingRecognizer(WyomingSttSettings(uri=server.uri)).check()


async def test_a_connection_that_takes_too_long_is_given_up(autojump_clock, monkeypatch):
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("flare_actors.providers._wyoming_wire.trio.open_tcp_stream", never)
    with pytest.raises(ProviderError, match="no connection within 5 s"):
        await WyomingRecognizer().check()


@pytest.mark.parametrize("uri", ["127.0.0.1:1", "unix:///x", "tcp://host", "tcp://:1", "tcp://h:99999", "tcp://h:1/x"])
def test_a_uri_that_cannot_work_is_refused(uri):
    with pytest.raises(ValueError, match="tcp://HOST:PORT"):
        WyomingSttSettings(uri=uri)
