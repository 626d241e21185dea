from __future__ import annotations

import pytest
import trio
from compose_kit import Spoken, Written, ear, hear, say, took
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_actors.config import load
from flare_actors.config.agent import open_agent
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError, UnsupportedLocale
from flare_actors.ports import HeardAudio, Transcript
from flare_actors.providers import registry
from flare_actors.providers.batch import PhraseSynthesizer, Redecoding, with_partials
from flare_actors.providers.scripted import tone
from flare_actors.testing.contracts import check_recognizer, check_synthesizer
from flare_actors.testing.faults import Act, At, Fault


class Batch:
    """Understands a second as a word, in a tenth of the time; only when all is there."""

    sample_rate = 16_000
    locales = ("en",)
    partials = False

    def __init__(self, cost: float = 0.1) -> None:
        self.cost = cost
        self.asked_s: list[float] = []
        self.running = 0
        self.most_running = 0

    def transcribe(self, audio, *, locale, mode):
        assert mode is SttMode.BATCH
        return _Decoding(self, audio)


class _Decoding:
    def __init__(self, by, audio):
        self.by, self.audio, self.told = by, audio, False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.told:
            raise StopAsyncIteration
        self.told = True
        seconds = sum([len(piece.pcm) / 32_000 async for piece in self.audio])
        self.by.asked_s.append(round(seconds, 3))
        self.by.running += 1
        self.by.most_running = max(self.by.most_running, self.by.running)
        try:
            await trio.sleep(seconds * self.by.cost)
        finally:
            self.by.running -= 1
        return Transcript(text=" ".join(["word"] * round(seconds)), final=True)


class Pausing(Spoken):
    """Speech, and the silence at its end as an ear counts it."""

    def __init__(self, *, pieces, silent=5):
        super().__init__(pieces=pieces)
        self._silent = silent
        self._silence_s = 0.0

    async def __anext__(self):
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            if not self._silent:
                raise
        self._silent -= 1
        self._silence_s += 0.1
        await trio.sleep(0.1)
        return HeardAudio(pcm=bytes(3_200), silence_s=self._silence_s)


class Stuttering:
    """A second of speech, a stop within a word, as long as one chunk of an ear's; half a second of speech, and a pause."""

    CHUNK_S = 0.032

    def __init__(self):
        pause = [(self.CHUNK_S, count * self.CHUNK_S) for count in range(1, 6)]
        self._pieces = iter([(1.0, 0.0), (self.CHUNK_S, self.CHUNK_S), (0.5, 0.0), *pause])

    def __aiter__(self):
        return self

    async def __anext__(self):
        seconds, silence_s = next(self._pieces, (None, None))
        if seconds is None:
            raise StopAsyncIteration
        await trio.sleep(seconds)
        return HeardAudio(pcm=bytes(2 * round(16_000 * seconds)), silence_s=silence_s)


async def understand(recognizer, *, mode=SttMode.STREAMING, pieces=30):
    async with recognizer.transcribe(Pausing(pieces=pieces), locale="en", mode=mode) as transcripts:
        return [each async for each in transcripts]


async def test_a_batch_recogniser_gives_partials_while_the_user_speaks(autojump_clock):
    *partial, last = await understand(with_partials(Batch(cost=0.05)))
    assert (last.text, last.final) == ("word word word", True)
    assert [each.text for each in partial][:2] == ["word", "word word"]
    assert all(not each.final for each in partial)
    assert partial[-1].complete


async def test_in_the_pause_it_is_decoded_ahead_so_that_the_end_costs_nothing(autojump_clock):
    lazy, eager = Batch(cost=0.05), Batch(cost=0.05)
    _, ahead = await took(lambda: understand(with_partials(eager)))
    never = Redecoding(early_decode_s=0)
    _, late = await took(lambda: understand(with_partials(lazy, never), mode=SttMode.BATCH))
    assert ahead == pytest.approx(3.5)
    assert late == pytest.approx(3.5 + 3.5 * 0.05)


@pytest.mark.parametrize("cost", [0.05, 0.25])
async def test_a_partial_that_began_with_the_silence_is_not_decoded_again(autojump_clock, cost):
    batch = Batch(cost)
    eager = Redecoding(early_decode_s=0.2, partial_every_s=1.0)
    *partial, last = await understand(with_partials(batch, eager), pieces=9)
    assert batch.asked_s == [1.1], "ten pieces, one of them silent, and what is missing to a silence"
    assert partial[-1] == Transcript(text="word", complete=True)
    assert last.text == "word"


async def test_a_stop_within_a_word_is_decoded_ahead_too_but_told_of_as_an_end_only_when_it_lasts(autojump_clock):
    batch = Batch(cost=0.001)
    eager = Redecoding(early_decode_s=0.03, partial_after_s=9.0)
    recognizer = with_partials(batch, eager)
    async with recognizer.transcribe(Stuttering(), locale="en", mode=SttMode.STREAMING) as transcripts:
        told = [(round(trio.current_time(), 3), each.text, each.complete) async for each in transcripts]
    assert told == [
        (1.033, "word", False),
        (1.566, "word word", False),
        (1.596, "word word", True),
        (1.692, "word word", True),
    ]
    assert len(batch.asked_s) == 2


async def test_a_partial_that_ended_in_speech_is_no_end(autojump_clock):
    batch = Batch(cost=0.05)
    eager = Redecoding(early_decode_s=0.2, partial_every_s=1.0)
    await understand(with_partials(batch, eager), pieces=10)
    assert batch.asked_s == [1.0, 1.2]


async def test_what_partials_cost_is_bounded(autojump_clock):
    dear = Batch(cost=0.5)
    await understand(with_partials(dear, Redecoding(partial_load=0.25)), pieces=100)
    cheap = Batch(cost=0.01)
    await understand(with_partials(cheap, Redecoding(partial_load=0.25)), pieces=100)
    assert len(cheap.asked_s) > 2 * len(dear.asked_s)
    assert dear.most_running <= 2


async def test_a_batch_conversation_is_given_no_partials(autojump_clock):
    (last,) = await understand(with_partials(Batch()), mode=SttMode.BATCH)
    assert last.final


async def test_one_decode_of_two_is_kept_for_final_transcripts(autojump_clock):
    batch = Batch(cost=1)
    recognizer = with_partials(batch)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(understand, recognizer)
        await trio.sleep(2.9)  # all of them still speak
        assert batch.most_running == 1
    assert batch.most_running == 2
    assert recognizer.limiter.borrowed_tokens == 0


@pytest.mark.parametrize("at", [At.CONNECT, At.FIRST, At.CLOSE])
async def test_a_decode_that_fails_fails_the_utterance_and_nothing_stays_open(autojump_clock, at):
    inner = ear("yes", faults=[None, Fault(at=at, act=Act.RAISE)])
    recognizer = with_partials(inner)
    with pytest.raises(ProviderError):
        await hear(recognizer, pieces=30)
    assert inner.open_streams == 0
    assert recognizer.limiter.borrowed_tokens == 0


@pytest.mark.parametrize("when", [0.0, 0.9, 1.7, 3.3])
async def test_cancelled_at_any_time_every_decode_ends(autojump_clock, when):
    batch = Batch(cost=0.6)
    recognizer = with_partials(batch)
    with trio.move_on_after(when) as scope:
        await understand(recognizer)
    assert scope.cancelled_caught
    assert (batch.running, recognizer.limiter.borrowed_tokens) == (0, 0)


async def test_it_keeps_its_port(autojump_clock):
    await check_recognizer(lambda: with_partials(Batch()), idle_s=300)


async def test_a_table_in_the_file_asks_for_partials(autojump_clock, tmp_path):
    file = tmp_path / "agent.toml"
    scripted = "".join(f'[providers.{stage}]\nuse = "scripted"\n' for stage in ("vad", "llm", "tts"))
    stt = '[providers.stt]\nuse = "scripted"\ndefault = "what was said"\n[providers.stt.redecoding]\npartial_after_s = 0.5\n'
    file.write_text(scripted + stt)
    config = load(file, catalogue=registry, environ={})
    assert config.providers["stt"].redecoding == Redecoding(partial_after_s=0.5)
    async with open_agent(config) as agent:
        assert len(await hear(agent.recognizer, pieces=30)) > 1


class Numbered(Pausing):
    """Every piece of speech holds its number in each sample."""

    def __init__(self, *, pieces):
        super().__init__(pieces=pieces)
        self._number = 0

    async def __anext__(self):
        piece = await super().__anext__()
        if piece.silence_s:
            return piece
        self._number += 1
        return HeardAudio(pcm=self._number.to_bytes(2, "little") * 1_600)


class Reader(Batch):
    """Reads the numbers."""

    def transcribe(self, audio, *, locale, mode):
        return _Reading(self, audio)


class _Reading(_Decoding):
    async def __anext__(self):
        if self.told:
            raise StopAsyncIteration
        self.told = True
        pcm = b"".join([piece.pcm async for piece in self.audio])
        await trio.sleep(len(pcm) / 32_000 * self.by.cost)
        found = dict.fromkeys(int.from_bytes(pcm[at : at + 2], "little") for at in range(0, len(pcm), 3_200))
        return Transcript(text=" ".join(str(each) for each in found if each), final=True)


@settings(max_examples=25)
@given(
    pieces=st.integers(1, 60),
    eager=st.builds(
        Redecoding,
        early_decode_s=st.sampled_from([0.0, 0.2]),
        partial_every_s=st.floats(0.1, 2),
        partial_after_s=st.floats(0, 2),
        partial_load=st.floats(0.05, 1),
        segment_s=st.floats(0.5, 10),
    ),
    cost=st.floats(0, 2),
)
def test_however_eager_it_is_every_piece_is_understood_once_and_in_order(pieces, eager, cost):
    async def run():
        recognizer = with_partials(Reader(cost), eager)
        async with recognizer.transcribe(Numbered(pieces=pieces), locale="en", mode=SttMode.STREAMING) as transcripts:
            return [each async for each in transcripts]

    *partial, last = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    whole = " ".join(str(number) for number in range(1, pieces + 1))
    assert (last.text, last.final) == (whole, True)
    assert all(whole.startswith(each.text) for each in partial)


# --- Voices ------------------------------------------------------------------------------------------------------------------


def sentence_voice(**settings):
    async def speak(text, locale):
        await trio.sleep(0.2)
        return tone(len(text) / 15, 24_000)

    return PhraseSynthesizer(speak, sample_rate=24_000, **settings)


async def test_a_function_from_a_sentence_to_its_audio_streams_phrases(autojump_clock):
    texts = ("First one.", "...", "And the second.")
    spoken, seconds = await took(lambda: say(sentence_voice(), texts))
    assert spoken == {0: pytest.approx(10 / 15, abs=0.001), 2: pytest.approx(1, abs=0.001)}
    assert seconds == 0.4


async def test_the_first_phrase_is_heard_before_the_second_is_written(autojump_clock):
    voice = sentence_voice()
    async with voice.synthesize(Written(("One.", "Two."), gap_s=5), locale="en") as chunks:
        first = await anext(aiter(chunks))
        assert (first.phrase, trio.current_time()) == (0, pytest.approx(5.2))


async def test_a_voice_of_sentences_keeps_its_port(autojump_clock):
    await check_synthesizer(sentence_voice, idle_s=300)


async def test_a_locale_that_it_does_not_speak_is_told(autojump_clock):
    voice = sentence_voice(locales=("en",), name="acme")
    with pytest.raises(UnsupportedLocale, match="acme does not support locale 'de'"):
        async with voice.synthesize(Written(("Hallo.",)), locale="de"):
            pass
    assert voice.locales == ("en",)
