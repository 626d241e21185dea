"""The recogniser's own logic, with a native handle that only takes notes; no engine is needed."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import ClassVar

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flare_actors.conversation.states import SttMode
from flare_actors.errors import ConfigError, ProviderError, UnsupportedLocale
from flare_actors.ports import HeardAudio, Recognizer, Transcript
from flare_actors.providers import _moonshine_api, moonshine
from flare_actors.providers._moonshine_api import Decoded
from flare_actors.providers._threads import Job
from flare_actors.providers.moonshine import MoonshineRecognizer, MoonshineSettings

STEP_S = 0.1
SAMPLES = 1600


class FakeHandle:
    """Understands audio whose every piece holds one number: it answers with the numbers above zero, in order."""

    made: list[FakeHandle]
    begun: threading.Event
    gate: threading.Event
    failure: ProviderError | None

    def __init__(self) -> None:
        self.decoded: list[bytes] = []
        self.closed = False
        self.made.append(self)

    def decode(self, pcm: bytes) -> Decoded:
        assert not self.closed
        self.decoded.append(pcm)
        self.begun.set()
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        numbers = [int.from_bytes(pcm[at : at + 2], "little") for at in range(0, len(pcm), SAMPLES * 2)]
        return Decoded(text=" ".join(str(each) for each in numbers if each), cost_s=0.0)

    def close(self) -> None:
        self.closed = True


class NotedJob(Job[Decoded]):
    """A decode in the background, of which the test knows."""

    started: ClassVar[list[NotedJob]] = []

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.started.append(self)


@pytest.fixture
def handles(monkeypatch) -> type[FakeHandle]:
    return fake_handles(monkeypatch)


def fake_handles(monkeypatch) -> type[FakeHandle]:
    events = {"begun": threading.Event(), "gate": threading.Event()}
    kind = type("Handle", (FakeHandle,), {"made": [], "failure": None, **events})
    kind.gate.set()
    monkeypatch.setattr(moonshine, "Handle", kind)
    monkeypatch.setattr(moonshine, "Job", NotedJob)
    NotedJob.started = []
    return kind


def decodes(kind: type[FakeHandle]) -> list[bytes]:
    return [pcm for each in kind.made for pcm in each.decoded]


def spoken(*parts: str) -> list[HeardAudio]:
    """``"123", "..."``: a tenth of a second of voice per digit, of silence per dot."""
    pieces = []
    silence_s = 0.0
    for letter in "".join(parts):
        silence_s = silence_s + STEP_S if letter == "." else 0.0
        number = 0 if letter == "." else ord(letter) - ord("0")
        pieces.append(HeardAudio(pcm=number.to_bytes(2, "little") * SAMPLES, silence_s=silence_s))
    return pieces


async def live(pieces: Sequence[HeardAudio]) -> AsyncGenerator[HeardAudio]:
    """Audio as it comes: between two pieces, whatever can go on goes on, threads too."""
    for piece in pieces:
        yield piece
        await settled()


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()
    while running := [each for each in NotedJob.started if not each.done]:
        for each in running:
            await each._done.wait()
        await trio.testing.wait_all_tasks_blocked()


async def at_work(kind: type[FakeHandle]) -> None:
    """A decode has begun, however long its thread had to wait for its turn; it goes on when the gate opens."""
    with trio.fail_after(10):
        while not kind.begun.is_set():
            await trio.sleep(0.001)


async def understand(
    recognizer: MoonshineRecognizer, audio: AsyncIterator[HeardAudio], mode: SttMode = SttMode.BATCH
) -> list[Transcript]:
    async with recognizer.transcribe(audio, locale="en-US", mode=mode) as transcripts:
        return [each async for each in transcripts]


async def test_the_final_transcript_is_of_the_whole_utterance(handles):
    result = await understand(MoonshineRecognizer(), live(spoken("123456")))

    assert [(each.text, each.final) for each in result] == [("1 2 3 4 5 6", True)]


async def test_what_was_decoded_in_the_pause_is_the_final_transcript(handles):
    result = await understand(MoonshineRecognizer(), live(spoken("123", ".....")))

    assert result[-1].text == "1 2 3"
    (only,) = decodes(handles)
    assert len(only) == 5 * SAMPLES * 2, (
        "three pieces of voice, the first of silence, and as much again to sound like an end"
    )


async def test_voice_after_the_pause_makes_the_early_result_worthless(handles):
    result = await understand(MoonshineRecognizer(), live(spoken("123", "...", "456", ".....")))

    assert result[-1].text == "1 2 3 4 5 6"
    assert len(decodes(handles)) == 2


async def test_voice_that_ends_in_the_last_piece_is_not_lost(handles):
    # One piece of 1 s holds voice and ends in silence: it is longer than the growth of the silence.
    audio = [*spoken("12", "..."), HeardAudio(pcm=(7).to_bytes(2, "little") * SAMPLES * 10, silence_s=0.5)]

    result = await understand(MoonshineRecognizer(), live(audio))

    assert result[-1].text.startswith("1 2 7")


async def test_the_preroll_before_the_first_voice_is_no_pause(handles):
    await understand(MoonshineRecognizer(), live(spoken("....", "123")))

    assert len(decodes(handles)) == 1


async def test_without_early_decoding_there_is_one_decode_at_the_end(handles):
    recognizer = MoonshineRecognizer(MoonshineSettings(early_decode_s=0))

    result = await understand(recognizer, live(spoken("123", ".....")))

    assert result[-1].text == "1 2 3"
    assert [len(each) for each in decodes(handles)] == [8 * SAMPLES * 2]


async def test_partials_replace_each_other_and_the_final_comes_last(handles):
    result = await understand(MoonshineRecognizer(), live(spoken("12345678912345", "...")), SttMode.STREAMING)

    partials = [each.text for each in result[:-1]]
    assert partials[0] == "1 2 3 4 5 6 7 8", "not before partial_after_s"
    assert partials[1] == "1 2 3 4 5 6 7 8 9 1 2 3 4", "partial_every_s later"
    assert [each.final for each in result].count(True) == 1
    assert result[-1].final
    assert result[-1].text == "1 2 3 4 5 6 7 8 9 1 2 3 4 5"


async def test_a_partial_that_heard_everything_is_the_final_transcript(handles):
    result = await understand(MoonshineRecognizer(), live(spoken("12345678")), SttMode.STREAMING)

    assert [(each.text, each.final) for each in result] == [("1 2 3 4 5 6 7 8", False), ("1 2 3 4 5 6 7 8", True)]
    assert len(decodes(handles)) == 1


async def test_batch_mode_gives_no_partials_and_decodes_nothing_for_them(handles):
    result = await understand(MoonshineRecognizer(), live(spoken("12345678912345")), SttMode.BATCH)

    assert len(result) == 1
    assert len(decodes(handles)) == 1


async def test_what_was_decoded_ahead_serves_as_a_partial_when_the_user_goes_on(handles):
    result = await understand(MoonshineRecognizer(), live(spoken("12", "...", "3")), SttMode.STREAMING)

    assert [each.text for each in result] == ["1 2", "1 2 3"]


async def test_a_slow_engine_gives_fewer_partials(handles, monkeypatch):
    def slow(self, pcm):
        self.decoded.append(pcm)
        return Decoded(text=str(len(pcm)), cost_s=0.4)

    monkeypatch.setattr(handles, "decode", slow)
    settings = MoonshineSettings(partial_load=0.4, partial_every_s=0.2, partial_after_s=0.2)

    await understand(MoonshineRecognizer(settings), live(spoken("1" * 30)), SttMode.STREAMING)

    # The first after 0.2 s, then every 0.4 / 0.4 s, and the final one.
    assert [len(each) // SAMPLES // 2 for each in decodes(handles)] == [2, 12, 22, 30]


async def test_a_partial_never_takes_the_last_free_handle(handles):
    recognizer = MoonshineRecognizer(MoonshineSettings(handles=2))
    await recognizer.limiter.acquire_on_behalf_of("somebody's final decode")

    result = await understand(recognizer, live(spoken("1" * 20)), SttMode.STREAMING)

    assert [each.final for each in result] == [True]


async def test_a_single_handle_still_gives_partials(handles):
    recognizer = MoonshineRecognizer(MoonshineSettings(handles=1))

    result = await understand(recognizer, live(spoken("1" * 20)), SttMode.STREAMING)

    assert len(result) > 1


async def test_a_long_utterance_is_cut_at_its_pause_and_decoded_in_pieces(handles):
    recognizer = MoonshineRecognizer(MoonshineSettings(segment_s=0.5))

    result = await understand(recognizer, live(spoken("1234", "..", "5678", "...", "9")))

    assert result[-1].text == "1 2 3 4 5 6 7 8 9"
    lengths = sorted(len(each) // SAMPLES // 2 for each in decodes(handles))
    assert lengths == [3, 6, 7], "each piece once, from the end of the one before to its pause"


async def test_a_long_utterance_is_not_cut_within_a_word(handles):
    recognizer = MoonshineRecognizer(MoonshineSettings(segment_s=0.5))

    result = await understand(recognizer, live(spoken("1234", ".", "5678", "...", "9")))

    assert result[-1].text == "1 2 3 4 5 6 7 8 9"
    lengths = sorted(len(each) // SAMPLES // 2 for each in decodes(handles))
    assert lengths == [3, 6, 11], "the stop behind the first four is too short"


@given(
    layout=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), min_size=1, max_size=5),
    mode=st.sampled_from(SttMode),
    segment_s=st.sampled_from([0.3, 1.0, 10.0]),
    handles_in_all=st.integers(1, 2),
)
async def test_whatever_is_said_the_last_transcript_holds_all_of_it_once(layout, mode, segment_s, handles_in_all):
    with pytest.MonkeyPatch.context() as patch:
        fake_handles(patch)
        text = "".join("123456789"[: voice % 9 + 1] + "." * silence for voice, silence in layout)
        recognizer = MoonshineRecognizer(MoonshineSettings(segment_s=segment_s, handles=handles_in_all))

        result = await understand(recognizer, live(spoken(text)), mode)

        assert [each.final for each in result] == [False] * (len(result) - 1) + [True]
        assert result[-1].text == " ".join(text.replace(".", ""))
        assert mode is SttMode.STREAMING or len(result) == 1
        # Decodes ahead that nobody needed any more may still be at work; they come home.
        await all_home(recognizer)


async def all_home(recognizer: MoonshineRecognizer) -> None:
    everything = [object() for _ in range(int(recognizer.limiter.total_tokens))]
    for each in everything:
        await recognizer.limiter.acquire_on_behalf_of(each)
    for each in everything:
        recognizer.limiter.release_on_behalf_of(each)


# --- Cancellation, failure, closing ----------------------------------------------------------------------------------------


async def test_cancelling_a_decode_returns_at_once_and_its_thread_comes_home(handles):
    recognizer = MoonshineRecognizer()
    await recognizer.open()
    handles.gate.clear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(understand, recognizer, live(spoken("123")))
        await at_work(handles)
        assert recognizer.limiter.borrowed_tokens == 1
        nursery.cancel_scope.cancel()

    assert recognizer.limiter.borrowed_tokens == 1, "we did not wait for it"
    handles.gate.set()
    await all_home(recognizer)
    assert len(recognizer._home) == 2


async def test_cancelling_while_it_decodes_ahead_leaves_nothing_behind(handles):
    recognizer = MoonshineRecognizer()
    await recognizer.open()
    handles.gate.clear()

    async def endless() -> AsyncIterator[HeardAudio]:
        for piece in spoken("12", ".."):
            yield piece
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(understand, recognizer, endless())
        await at_work(handles)
        nursery.cancel_scope.cancel()

    assert recognizer.limiter.borrowed_tokens == 1
    handles.gate.set()
    await all_home(recognizer)


async def test_leaving_the_stream_early_is_quiet(handles):
    recognizer = MoonshineRecognizer()

    async with (
        aclosing(live(spoken("1" * 20))) as audio,
        recognizer.transcribe(audio, locale="en", mode=SttMode.STREAMING) as transcripts,
    ):
        first = await anext(transcripts)

    assert not first.final
    await all_home(recognizer)


async def test_a_failure_of_the_library_is_the_providers(handles):
    handles.failure = ProviderError("stt", "broken")
    recognizer = MoonshineRecognizer()

    with pytest.raises(ProviderError, match="broken"):
        await understand(recognizer, live(spoken("123")))

    handles.failure = None
    assert (await understand(recognizer, live(spoken("123"))))[-1].text == "1 2 3"


async def test_closing_frees_every_handle_and_those_at_work_when_they_are_done(handles):
    recognizer = MoonshineRecognizer()
    await recognizer.open()
    handles.gate.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(understand, recognizer, live(spoken("123")))
        await at_work(handles)
        recognizer.close()
        assert sorted(each.closed for each in handles.made) == [False, True]
        handles.gate.set()

    assert all(each.closed for each in handles.made)
    with pytest.raises(ProviderError, match="closed"):
        await understand(recognizer, live(spoken("123")))


async def test_another_language_is_refused_before_anybody_waits(handles):
    with pytest.raises(UnsupportedLocale, match="de-DE"):
        async with MoonshineRecognizer().transcribe(live([]), locale="de-DE", mode=SttMode.BATCH):
            pass

    assert handles.made == []


async def test_the_model_is_loaded_once_into_every_handle(handles):
    recognizer = MoonshineRecognizer(MoonshineSettings(handles=3))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(recognizer.open)

    assert len(handles.made) == 3


def test_a_wheel_without_the_model_is_told_apart_from_no_wheel(monkeypatch, tmp_path):
    class Utils:
        @staticmethod
        def get_assets_path():
            return tmp_path

    monkeypatch.setattr(_moonshine_api, "need", lambda _: Utils)

    with pytest.raises(ConfigError, match=r"moonshine-voice==0\.0\.73"):
        _moonshine_api.model_folder()


def test_it_is_a_recognizer():
    assert isinstance(MoonshineRecognizer(), Recognizer)
