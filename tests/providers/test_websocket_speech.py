"""Deepgram, AssemblyAI, ElevenLabs and Cartesia against strict stubs made after their documentation."""

from __future__ import annotations

from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from compose_kit import Written
from hypothesis import given
from hypothesis import strategies as st
from speech_stubs import KEY, WORDS, assemblyai, cartesia, deepgram, elevenlabs, running, spoken

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ConfigError, ProviderError, UnsupportedLocale
from flare_actors.ports import HeardAudio, Phrase, WordTiming
from flare_actors.providers.assemblyai import AssemblyAISettings, open_assemblyai
from flare_actors.providers.cartesia import CartesiaSettings, open_cartesia
from flare_actors.providers.deepgram import PROTOCOL as DEEPGRAM
from flare_actors.providers.deepgram import DeepgramSettings, open_deepgram
from flare_actors.providers.elevenlabs import PROTOCOL as ELEVENLABS
from flare_actors.providers.elevenlabs import ElevenLabsSettings, open_elevenlabs
from flare_actors.providers.scripted import tone
from flare_actors.providers.websocket.words import WordFinder
from flare_actors.testing.contracts import check_recognizer, check_synthesizer

EARS = {
    "deepgram": (deepgram, open_deepgram, DeepgramSettings, "/v1/listen"),
    "assemblyai": (assemblyai, open_assemblyai, AssemblyAISettings, "/v3/ws"),
}
VOICES = {
    "elevenlabs": (elevenlabs, open_elevenlabs, ElevenLabsSettings, ""),
    "cartesia": (cartesia, open_cartesia, CartesiaSettings, "/tts/websocket"),
}
ALL = EARS | VOICES
TEXTS = ("Good morning to you.", "It is late, is it not?", "Yes.")


@asynccontextmanager
async def service(name, fault=None, *, key=KEY, **settings):
    """A stub, and the provider that talks to it."""
    stub_of, opened, settings_class, path = ALL[name]
    async with (
        running(stub_of(fault)) as stub,
        opened(settings_class(url=stub.url + path, **settings), api_key=key) as provider,
    ):
        yield stub, provider


class Utterance:
    """What somebody says, faster than anybody could."""

    def __init__(self, seconds=1.3, piece_s=0.032):
        said = [HeardAudio(pcm=tone(piece_s))] * round(seconds / piece_s)
        self._pieces = iter(said + [HeardAudio(pcm=bytes(3_200), silence_s=0.1 * number) for number in range(1, 6)])

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.lowlevel.checkpoint()
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


async def use(name, provider, *, mode=SttMode.STREAMING):
    """All that a provider gives for something small."""
    if name in EARS:
        async with provider.transcribe(Utterance(), locale="en-US", mode=mode) as transcripts:
            return [each async for each in transcripts]
    async with provider.synthesize(Written(TEXTS), locale="en-US") as chunks:
        return [each async for each in chunks]


# --- Ears ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EARS)
async def test_an_utterance_is_understood_with_partials_on_the_way(name):
    async with service(name) as (stub, ear):
        *partial, last = await use(name, ear)
        assert stub.violations == []
    assert (last.text, last.final) == (" ".join(WORDS), True)
    assert partial
    assert all(not each.final and last.text.startswith(each.text) for each in partial)
    assert stub.open == 0


@pytest.mark.parametrize("name", EARS)
async def test_a_batch_conversation_is_given_no_partials(name):
    async with service(name) as (_, ear):
        (only,) = await use(name, ear, mode=SttMode.BATCH)
    assert (only.text, only.final) == (" ".join(WORDS), True)


async def test_a_partial_is_complete_only_when_the_service_has_heard_all_that_was_voiced():
    async with service("deepgram") as (_, ear):
        *partial, _ = await use("deepgram", ear)
        assert any(each.complete for each in partial)
    async with service("deepgram") as (stub, ear):
        stub.lag_s = 0.7
        *partial, _ = await use("deepgram", ear)
        assert not any(each.complete for each in partial)


@pytest.mark.parametrize(("name", "lines"), [("deepgram", 1), ("assemblyai", 0)])
async def test_who_is_paid_by_the_minute_is_called_only_when_somebody_speaks(name, lines):
    silence, nobody = trio.open_memory_channel[HeardAudio](0)
    async with service(name) as (stub, ear):
        async with ear.transcribe(nobody, locale="en-US", mode=SttMode.STREAMING):
            assert stub.dialled == lines
        await silence.aclose()


async def test_a_line_that_waits_is_kept_alive(monkeypatch):
    from flare_actors.providers import deepgram as module

    monkeypatch.setattr(module, "PROTOCOL", attrs.evolve(DEEPGRAM, keep_alive_s=0.01))
    say, heard = trio.open_memory_channel[HeardAudio](0)
    async with (
        service("deepgram") as (stub, ear),
        ear.transcribe(heard, locale="en-US", mode=SttMode.STREAMING) as all_of_it,
    ):
        while stub.received.count({"type": "KeepAlive"}) < 2:
            await trio.sleep(0.01)
        for _ in range(3):
            await say.send(HeardAudio(pcm=tone(0.45)))
        said = len(stub.received)
        await trio.sleep(0.05)
        assert {"type": "KeepAlive"} not in stub.received[said + 3 :]
        await say.aclose()
        assert [each.text async for each in all_of_it][-1] == "hello wide world"


async def test_an_utterance_without_a_word_costs_no_line():
    async def nothing():
        for never in ():
            yield never

    async with service("assemblyai") as (stub, ear):
        async with ear.transcribe(nothing(), locale="en-US", mode=SttMode.STREAMING) as transcripts:
            assert [(each.text, each.final) async for each in transcripts] == [("", True)]
        assert stub.dialled == 0


async def test_an_english_model_is_not_asked_for_german():
    async with service("assemblyai") as (stub, ear):
        with pytest.raises(UnsupportedLocale, match="AssemblyAI does not support locale 'de'"):
            ear.transcribe(Utterance(), locale="de", mode=SttMode.STREAMING)
        assert stub.dialled == 0


# --- Voices ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VOICES)
async def test_every_phrase_is_spoken_whole_in_order_and_known_as_itself(name):
    async with service(name) as (stub, voice):
        chunks = await use(name, voice)
        assert stub.violations == []
        assert voice.sample_rate == 24_000
    assert [chunk.phrase for chunk in chunks] == sorted(chunk.phrase for chunk in chunks)
    assert all(len(chunk.pcm) % 2 == 0 for chunk in chunks)
    for index, text in enumerate(TEXTS):
        said = b"".join(chunk.pcm for chunk in chunks if chunk.phrase == index)
        assert len(said) == pytest.approx(len(spoken(text)), abs=2)


@pytest.mark.parametrize("name", VOICES)
async def test_when_each_word_ends_is_told_with_the_audio(name):
    async with service(name) as (_, voice), voice.synthesize(Written(TEXTS), locale="en-US") as chunks:
        told: dict[int, list[WordTiming]] = {}
        async for chunk in chunks:
            told.setdefault(chunk.phrase, []).extend(chunk.words)
    for index, text in enumerate(TEXTS):
        assert [text[: word.chars].split()[-1] for word in told[index]] == text.split()
        seconds = len(spoken(text + " ")) / 48_000
        for word in told[index]:
            assert word.end_s == pytest.approx(word.chars / len(text) * seconds, abs=0.15)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8),
    max_leaves=20,
)


@given(st.text(max_size=30), st.lists(st.tuples(JSON, JSON, JSON), max_size=5))
def test_whatever_is_told_of_words_their_ends_follow_each_other_within_the_phrase(text, messages):
    letters, words = WordFinder(text), WordFinder(text)
    found = [[*letters.characters(*message, since_s=1.0)] for message in messages]
    found += [[*words.words(*message[:2])] for message in messages]
    for half in (found[: len(messages)], found[len(messages) :]):
        ends = [each.chars for told in half for each in told]
        assert ends == sorted(ends)
        assert all(0 <= each <= len(text) for each in ends)


@pytest.mark.parametrize("name", VOICES)
async def test_what_has_nothing_to_pronounce_is_not_sent(name):
    async with service(name) as (stub, voice), voice.synthesize(Written(("...", "Yes.", "!")), locale="en") as chunks:
        assert {each.phrase async for each in chunks} == {1}
        assert not any("!" in str(each) or "..." in str(each) for each in stub.received)


async def test_half_a_sample_at_the_end_of_a_phrase_is_not_the_next_ones_noise(monkeypatch):
    monkeypatch.setattr("speech_stubs.spoken", lambda _: b"\x01\x02\x03")
    async with service("cartesia") as (_, voice), voice.synthesize(Written(("One.", "Two.")), locale="en") as chunks:
        assert [each.pcm async for each in chunks] == [b"\x01\x02"] * 2


@pytest.mark.parametrize("name", VOICES)
async def test_speech_without_end_has_an_end(name, monkeypatch):
    monkeypatch.setattr("speech_stubs.spoken", lambda _: bytes(24_000 * 2 * 2))
    monkeypatch.setattr("flare_actors.providers.websocket.tts.MAX_PHRASE_S", 1.5)
    async with service(name) as (_, voice):
        with pytest.raises(ProviderError, match=r"more than 1\.5 s of speech for one phrase"):
            await use(name, voice)


@pytest.mark.parametrize("name", EARS)
async def test_a_transcript_without_end_has_an_end(name, monkeypatch):
    monkeypatch.setattr("flare_actors.providers.websocket.stt.MAX_TEXT", 8)
    async with service(name) as (_, ear):
        with pytest.raises(ProviderError, match="more than 8 characters"):
            await use(name, ear)


@pytest.mark.parametrize(("fault", "dialled"), [("reject-503", 3), ("reject-401", 1)])
@pytest.mark.parametrize("name", ALL)
async def test_it_is_dialled_again_where_that_can_help(name, fault, dialled, monkeypatch):
    monkeypatch.setattr("flare_actors.providers._again.RETRY_S", (0.0, 0.0))
    async with service(name, fault, retries=2) as (stub, provider):
        with pytest.raises(ProviderError):
            await use(name, provider)
    assert stub.dialled == dialled


@pytest.mark.parametrize("name", VOICES)
async def test_an_answer_without_a_phrase_ends(name):
    async with service(name) as (_, voice), voice.synthesize(Written(()), locale="en") as chunks:
        assert [each async for each in chunks] == []


async def test_a_thinking_model_does_not_let_the_line_die(monkeypatch):
    from flare_actors.providers import elevenlabs as module

    monkeypatch.setattr(module, "PROTOCOL", attrs.evolve(ELEVENLABS, keep_alive_s=0.01))
    write, phrases = trio.open_memory_channel[Phrase](1)
    async with service("elevenlabs") as (stub, voice), voice.synthesize(phrases, locale="en") as chunks:
        while stub.received.count({"text": " "}) < 2:
            await trio.sleep(0.01)
        write.send_nowait(Phrase(index=0, text="At last."))
        await write.aclose()
        assert {each.phrase async for each in chunks} == {0}
        assert stub.violations == []


# --- What goes wrong -------------------------------------------------------------------------------------------------------

FAULTS = {
    "reject-302": (True, "redirects"),
    "reject-402": (True, "wants to be paid"),
    "reject-422": (True, "a setting does not fit"),
    "reject-429": (False, "limits our rate"),
    "reject-503": (False, "failed \\(503\\)"),
    "drop": (False, "hung up"),
    "bye": (False, "hung up in the middle"),
    "policy": (True, "hung up \\(1008\\)"),
    "garbage": (False, "no JSON"),
    "error": (None, "tells of an error"),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_a_service_does_is_a_provider_error_that_says_no_secrets(name, fault):
    critical, message = FAULTS[fault]
    async with service(name, fault, retries=0) as (_, provider):
        with pytest.raises(ProviderError, match=message) as told:
            await use(name, provider)
    assert told.value.stage == ("stt" if name in EARS else "tts")
    assert "canary" not in str(told.value)
    assert critical is None or told.value.critical is critical


@pytest.mark.parametrize("name", ALL)
async def test_a_wrong_key_is_told_and_not_shown(name):
    async with service(name, key="another-canary") as (_, provider):
        with pytest.raises(ProviderError, match=r"refuses the API key \(401\)") as told:
            await use(name, provider)
    assert told.value.critical
    assert "canary" not in str(told.value)


@pytest.mark.parametrize("name", ALL)
async def test_nobody_there_is_told(name):
    _, opened, settings_class, path = ALL[name]
    async with opened(settings_class(url=f"ws://127.0.0.1:1{path}"), api_key=KEY) as provider:
        with pytest.raises(ProviderError, match="no connection"):
            await use(name, provider)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("fault", ["hang", "silent"])
async def test_cancelled_while_it_hangs_the_line_is_closed_at_once(name, fault):
    async with service(name, fault) as (stub, provider):
        started = trio.current_time()
        with trio.move_on_after(0.1):
            await use(name, provider)
        assert trio.current_time() - started < 5  # it has no patience of its own, and no need of any
        with trio.fail_after(5):
            while stub.open and fault != "silent":
                await trio.sleep(0.01)


@pytest.mark.parametrize("name", ALL)
def test_a_key_in_the_settings_is_refused_unseen(name):
    _, _, settings_class, _ = ALL[name]
    with pytest.raises(ValueError, match="not the key itself") as told:
        settings_class(api_key_env="sk-canary")
    assert "canary" not in str(told.value)
    with pytest.raises(ValueError, match="ws:// or wss://"):
        settings_class(url="https://example.com")
    with pytest.raises(ValueError, match="no user name or password"):
        settings_class(url="wss://me:canary@example.com")


@pytest.mark.parametrize("name", ALL)
async def test_a_key_comes_from_a_variable_or_a_file(name, monkeypatch, tmp_path):
    stub_of, opened, settings_class, path = ALL[name]
    variable = attrs.fields(settings_class).api_key_env.default
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=f"the environment variable {variable} is not set"):
        await opened(settings_class()).__aenter__()
    file = tmp_path / "key"
    with pytest.raises(ConfigError, match="cannot read"):
        await opened(settings_class(api_key_file=file)).__aenter__()
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty; write the key into it"):
        await opened(settings_class(api_key_file=file)).__aenter__()
    file.write_text(f"{KEY}\n")
    async with running(stub_of()) as stub, opened(settings_class(url=stub.url + path, api_key_file=file)) as provider:
        assert await use(name, provider)


# --- The public contracts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EARS)
async def test_a_service_that_listens_keeps_its_port(name):
    @asynccontextmanager
    async def made():
        async with service(name) as (stub, ear):
            yield ear
            assert stub.violations == []

    await check_recognizer(made, most=6)


@pytest.mark.parametrize("name", VOICES)
async def test_a_service_that_speaks_keeps_its_port(name):
    @asynccontextmanager
    async def made():
        async with service(name) as (stub, voice):
            yield voice
            assert stub.violations == []

    await check_synthesizer(made, most=6)
