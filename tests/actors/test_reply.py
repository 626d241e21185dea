"""One turn in the making: every phrase has its stretch of the audio, in order, whatever the model writes."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from contextlib import aclosing, asynccontextmanager

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given
from trio.testing import MockClock

from flare_actors.actors.channels import Clock, Inbox, Outbox
from flare_actors.actors.reply import Reply
from flare_actors.actors.speaker import Speaker
from flare_actors.actors.tools import DetachedTools
from flare_actors.agent import Agent
from flare_actors.conversation.commands import StartReply
from flare_actors.conversation.events import Event, GenerationFinished, PhraseReady, PhraseSpoken, SynthesizerFailed
from flare_actors.conversation.notices import ResponseTextDelta, ResponseTextDone
from flare_actors.conversation.phrases import speakable
from flare_actors.conversation.settings import Limits, Settings, Timeouts
from flare_actors.conversation.states import Output, Reason, TurnKind
from flare_actors.errors import ProviderError, ProviderTimeout
from flare_actors.ports import SpeechAudio, TextDelta
from flare_actors.providers.scripted import ScriptedLanguageModel
from flare_actors.testing import Act, At, Fault, FaultySynthesizer, scripted_agent


@attrs.define
class Exact:
    """So many samples for every letter of a phrase, in chunks of so many; nothing for a phrase without letters."""

    chunk_samples: int
    sample_rate: int = 16_000
    locales: tuple[str, ...] | None = None
    given: list[tuple[int, str]] = attrs.field(factory=list)

    @asynccontextmanager
    async def synthesize(self, phrases, *, locale):
        async def run():
            async for phrase in phrases:
                self.given.append((phrase.index, phrase.text))
                samples = sum(letter.isalnum() for letter in phrase.text) * 10
                for start in range(0, samples, self.chunk_samples):
                    count = min(self.chunk_samples, samples - start)
                    yield SpeechAudio(phrase=phrase.index, pcm=bytes(2 * count))

        chunks = run()
        try:
            yield chunks
        finally:
            await chunks.aclose()


class Bench:
    """A reply with nothing around it but its queues."""

    def __init__(
        self,
        agent: Agent,
        *,
        text: str | None = None,
        settings: Settings | None = None,
        output: Output = Output.AUDIO,
    ) -> None:
        self.clock = Clock()
        self.inbox = Inbox(self.clock)
        self.outbox = Outbox(lambda _queue: None)
        self.outbox.connect(32_000)
        self.speaker = Speaker(self.clock, self.inbox, self.outbox)
        self.speaker.attach(16_000, realtime=False)
        self.speaker.open(1)
        self.faults: list[ProviderError] = []
        self.told: list[Event] = []
        kind = TurnKind.RESPONSE if text is None else TurnKind.SAY
        self.reply = Reply(
            StartReply(turn=1, kind=kind, locale="en-US", output=output, text=text),
            agent=agent,
            settings=settings or Settings(),
            inbox=self.inbox,
            outbox=self.outbox,
            speaker=self.speaker,
            detached=DetachedTools(self.inbox),
            now=self.clock.now,
            on_fault=lambda _turn, error: self.faults.append(error),
        )

    async def run(self) -> None:
        with trio.fail_after(1000):  # of virtual time
            await self._run()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:

            async def collect() -> None:
                while True:
                    self.told.append(await self.inbox.get())

            async def write() -> None:
                while await self.outbox.get(1):
                    pass

            nursery.start_soon(collect)
            nursery.start_soon(write)
            await self.reply.run()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    def after_the_first_phrase(self, act: Callable[[], None]) -> None:
        """Do that as soon as the first phrase was told, amid a burst of them."""
        put = self.inbox.put_patiently

        def told(event: Event) -> None:
            put(event)
            if isinstance(event, PhraseReady) and event.index == 0:
                act()

        self.inbox.put_patiently = told  # type: ignore[method-assign]

    def written(self) -> str:
        """The phrases that wait in the inbox, joined."""
        events = iter(self.inbox.get_nowait, None)
        return "".join(event.text for event in events if isinstance(event, PhraseReady))

    def all(self, kind: type) -> list:
        return [event for event in self.told if isinstance(event, kind)]


WORDS = st.sampled_from(["One", "two,", "three.", "…", "Dr.", "3.5", "?!", "A.", "\n\n", "**bold**", "🙂", "end."])
ANSWERS = st.lists(WORDS, max_size=30).map(" ".join)


@given(answer=ANSWERS, chunk=st.integers(1, 400), known=st.booleans())
def test_every_phrase_is_told_once_in_order_with_its_stretch_of_the_audio(answer: str, chunk: int, known: bool) -> None:
    async def main() -> None:
        synthesizer = Exact(chunk)
        agent = scripted_agent(answers=[answer], synthesizer=synthesizer)
        bench = Bench(agent, text=answer if known else None)
        await bench.run()
        ready, spoken = bench.all(PhraseReady), bench.all(PhraseSpoken)
        assert bench.faults == []
        assert "".join(event.text for event in ready) == answer
        assert [event.index for event in ready] == list(range(len(ready)))
        assert [event.index for event in spoken] == list(range(len(ready)))
        # The stretches follow each other without gap or overlap, from the first sample to the last.
        ends = [0.0, *(event.end_s for event in spoken)]
        assert all(event.start_s == pytest.approx(end) for event, end in zip(spoken, ends, strict=False))
        assert all(a <= b for a, b in itertools.pairwise(ends))
        (finished,) = bench.all(GenerationFinished)
        assert finished.audio_s == pytest.approx(ends[-1])
        # What is given to the synthesizer is what can be pronounced, nothing else.
        assert synthesizer.given == [
            (event.index, speakable(event.text)) for event in ready if speakable(event.text).strip()
        ]
        for event in spoken:
            letters = sum(letter.isalnum() for letter in speakable(ready[event.index].text))
            assert event.end_s - event.start_s == pytest.approx(letters * 10 / 16_000)
        assert isinstance(bench.told[-1], GenerationFinished) or finished.audio_s > 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("limit", [1, 7, 30, 1000])
async def test_no_character_beyond_the_limit_is_written_or_spoken(autojump_clock: MockClock, limit: int) -> None:
    settings = Settings(limits=Limits(answer_chars=limit))
    bench = Bench(scripted_agent(answers=["One two three. Four five six."]), settings=settings)
    bench.outbox.put_audio = lambda turn, pcm: None  # type: ignore[method-assign]
    await bench.run()
    assert "".join(event.text for event in bench.all(PhraseReady)) == "One two three. Four five six."[:limit]


async def test_the_whole_text_is_told_once_even_if_nothing_can_be_spoken(autojump_clock: MockClock) -> None:
    bench = Bench(scripted_agent(answers=["…"]))
    bench.outbox.connect(32_000)
    await bench.run()
    left = [bench.outbox.get_nowait() for _ in range(len(bench.outbox))]
    assert left == [ResponseTextDelta(turn=1, text="…"), ResponseTextDone(turn=1, text="…")]


async def test_a_cancelled_reply_tells_nothing_more_at_any_moment(autojump_clock: MockClock) -> None:
    for after in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        model = ScriptedLanguageModel(script=["One two. Three four. Five six."], first_token_s=0.05, gap_s=0.05)
        bench = Bench(scripted_agent(language_model=model))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.run)
            await trio.sleep(after)
            bench.reply.cancel(Reason.BARGE_IN)
            bench.speaker.flush(1)
            await trio.testing.wait_all_tasks_blocked()
            told = len(bench.told)
            await trio.sleep(5)
        assert len(bench.told) == told
        assert bench.all(GenerationFinished) == []
        assert model.open_streams == 0


async def test_of_a_burst_of_text_all_that_was_shown_is_told_when_it_is_cancelled_amid_it() -> None:
    bench = Bench(scripted_agent(), output=Output.TEXT)
    bench.after_the_first_phrase(lambda: bench.reply.cancel(Reason.BARGE_IN))
    await bench.reply.add_text("One. Two. Three. Four.")
    assert bench.written() == "One. Two. Three. Four."


async def test_a_filler_is_said_whole_though_its_tool_is_done_amid_it() -> None:
    bench = Bench(scripted_agent())
    with trio.CancelScope() as tools_are_done:
        bench.after_the_first_phrase(tools_are_done.cancel)
        await bench.reply.fill("One moment, please. I have to look. It is here somewhere.", 0.0)
    assert tools_are_done.cancelled_caught
    await bench.reply.add_text("Found it.")
    bench.reply.finish_text()
    assert bench.written() == "One moment, please. I have to look. It is here somewhere. Found it."


# --- How long a synthesizer is waited for -----------------------------------------------------------------------------------


class TakesAhead:
    """Takes its phrases in a task of its own, as engines with a pipeline do; then speaks as it is told."""

    sample_rate = 16_000
    locales = None

    def __init__(self, *, take_after_s: float, speak_after_s: tuple[float, ...]) -> None:
        self.take_after_s = take_after_s
        self.speak_after_s = speak_after_s

    @asynccontextmanager
    async def synthesize(self, phrases, *, locale):
        async with trio.open_nursery() as nursery:
            taken = trio.Event()

            async def take():
                async for _ in phrases:
                    taken.set()
                    await trio.sleep(self.take_after_s)

            async def speak():
                await taken.wait()
                for number, pause_s in enumerate(self.speak_after_s):
                    await trio.sleep(pause_s)
                    yield SpeechAudio(phrase=number, pcm=bytes(3200))

            nursery.start_soon(take)
            chunks = speak()
            yield chunks
            await chunks.aclose()
            nursery.cancel_scope.cancel()


TIMEOUTS = Timeouts(tts_first_s=3, tts_gap_s=9)


async def test_a_synthesizer_is_not_timed_while_we_are_not_listening(autojump_clock: MockClock) -> None:
    # It takes its second phrase and the end of them while its first audio is being played, which takes twenty seconds.
    synthesizer = TakesAhead(take_after_s=1.0, speak_after_s=(0.0, 0.0))
    agent = scripted_agent(answers=["One two three four. Five six seven eight."], synthesizer=synthesizer)
    bench = Bench(agent, settings=Settings(timeouts=TIMEOUTS))

    async def play(turn: int, pcm: bytes, on_wait: Callable[[], None]) -> None:
        on_wait()
        await trio.sleep(20)

    bench.speaker.play = play  # type: ignore[method-assign,assignment]
    await bench.run()
    assert bench.faults == []


@attrs.define
class Counts:
    """The first 20 ms are a pcm16 one, the next a two, and so on, for so many seconds; then it fails, if it is to."""

    seconds: float
    fails: bool = False
    rests_s: float = 0.0
    """How long it does nothing after a phrase's audio."""
    sample_rate: int = 16_000
    locales: tuple[str, ...] | None = None

    @property
    def pieces(self) -> list[bytes]:
        return [number.to_bytes(2, "little") * 320 for number in range(1, round(self.seconds / 0.02) + 1)]

    @asynccontextmanager
    async def synthesize(self, phrases, *, locale):
        async def run():
            async for phrase in phrases:
                for piece in self.pieces:
                    yield SpeechAudio(phrase=phrase.index, pcm=piece)
                if self.fails:
                    raise OSError("the line is dead")
                await trio.sleep(self.rests_s)

        async with aclosing(run()) as chunks:
            yield chunks


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_far_ahead_of_the_listener_goes_on_in_larger_pieces_and_nothing_of_it_is_lost(
    autojump_clock: MockClock, fails: bool
) -> None:
    synthesizer = Counts(5.06, fails)
    bench = Bench(scripted_agent(answers=["One two three four."], synthesizer=synthesizer))
    bench.speaker.attach(16_000, realtime=True)
    bench.speaker.open(1)
    taken: list[bytes] = []
    take = bench.speaker.take

    def taking(turn: int, pcm: bytes) -> None:
        taken.append(pcm)
        take(turn, pcm)

    bench.speaker.take = taking  # type: ignore[method-assign]
    await bench.run()
    assert b"".join(taken) == b"".join(synthesizer.pieces)
    assert len(bench.faults) == fails
    sizes = [len(pcm) / 32_000 for pcm in taken if pcm]
    assert sizes[:50] == [0.02] * 50, "the listener waits for these"
    assert sizes[-10:-1] == [pytest.approx(0.24)] * 9


class CountsOnItsOwn(Counts):
    """It takes phrases in a task of its own, as engines on the other end of a line do: also before it speaks the last one."""

    @asynccontextmanager
    async def synthesize(self, phrases, *, locale):
        put, take = trio.open_memory_channel(10)

        async def feed():
            async for phrase in phrases:
                put.send_nowait(phrase)
            put.close()

        async with trio.open_nursery() as nursery, super().synthesize(take, locale=locale) as chunks:
            nursery.start_soon(feed)
            yield chunks


@attrs.define
class Thinks:
    """A model that waits for a while behind its first sentence."""

    locales: tuple[str, ...] | None = None

    @asynccontextmanager
    async def generate(self, messages, **_options):
        async def run():
            yield TextDelta(text="One two three four. Five ")
            await trio.sleep(5)
            yield TextDelta(text="six.")

        async with aclosing(run()) as tokens:
            yield tokens


@pytest.mark.parametrize("made", [Counts, CountsOnItsOwn])
@pytest.mark.parametrize("rests_s", [0.0, 5.0])
@pytest.mark.parametrize("seconds", [1.5, 2.3, 3.22])
async def test_a_phrase_is_heard_to_its_end_while_the_model_thinks_of_the_next_or_the_voice_rests(
    autojump_clock: MockClock, made: type[Counts], rests_s: float, seconds: float
) -> None:
    synthesizer = made(seconds, rests_s=rests_s)
    bench = Bench(attrs.evolve(scripted_agent(), language_model=Thinks(), synthesizer=synthesizer))
    bench.speaker.attach(16_000, realtime=True)
    bench.speaker.open(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.speaker.run)
        nursery.start_soon(bench.run)
        await trio.sleep(4.5)
        assert bench.speaker.sent_s(1) == pytest.approx(seconds)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000])
async def test_all_that_a_voice_gave_before_it_failed_is_heard(autojump_clock: MockClock, rate: int) -> None:
    # The speaker has drawn on it meanwhile: what is left is the tail of the filter between the two rates.
    class Fails(Counts):
        @asynccontextmanager
        async def synthesize(self, phrases, *, locale):
            async def run():
                async for phrase in phrases:
                    for _ in range(155):
                        yield SpeechAudio(phrase=phrase.index, pcm=bytes(2 * rate // 50))
                    await trio.sleep(5)
                    raise OSError("the line is dead")

            async with aclosing(run()) as chunks:
                yield chunks

    agent = scripted_agent(answers=["One two three four."], synthesizer=Fails(3.1, sample_rate=rate))
    bench = Bench(agent)
    bench.speaker.attach(16_000, realtime=True)
    bench.speaker.open(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.speaker.run)
        await bench.run()
        assert len(bench.faults) == 1
        await trio.sleep(1)
        assert bench.speaker.sent_s(1) == pytest.approx(3.1, abs=0.0005)
        nursery.cancel_scope.cancel()


async def test_nothing_keeps_a_reply_that_has_ended(autojump_clock: MockClock) -> None:
    bench = Bench(scripted_agent(answers=["One two three four."]))
    await bench.run()
    reply = weakref.ref(bench.reply)
    del bench.reply
    assert reply() is None  # Not even until a search for garbage.


async def test_all_that_is_to_be_said_is_told_before_its_voice_may_fail(autojump_clock: MockClock) -> None:
    fault = Fault(at=At.CONNECT, act=Act.CRITICAL)
    synthesizer = FaultySynthesizer(inner=scripted_agent().synthesizer, always=fault)
    bench = Bench(attrs.evolve(scripted_agent(), synthesizer=synthesizer), text="One two three. Four five six. Seven.")
    await bench.run()
    kinds = [type(event) for event in bench.told]
    assert kinds == [*[PhraseReady] * len(bench.all(PhraseReady)), SynthesizerFailed, GenerationFinished]
    assert len(bench.all(PhraseReady)) > 1


@pytest.mark.parametrize(
    ("pauses", "fails_after_s"),
    [
        ((2.9, 2.9), None),  # in time for the first, and for the second after that
        ((3.1,), 3.0),  # too late with the first audio
        ((0.5, 9.1), 9.5),  # too late with the next; by its first audio it has taken both phrases
    ],
)
async def test_each_phrases_audio_has_its_time(
    autojump_clock: MockClock, pauses: tuple[float, ...], fails_after_s: float | None
) -> None:
    synthesizer = TakesAhead(take_after_s=0.0, speak_after_s=pauses)
    agent = scripted_agent(answers=["One two three four. Five six seven eight."], synthesizer=synthesizer)
    bench = Bench(agent, settings=Settings(timeouts=TIMEOUTS))
    began = trio.current_time()
    await bench.run()
    if fails_after_s is None:
        assert bench.faults == []
    else:
        assert [type(error) for error in bench.faults] == [ProviderTimeout]
        assert trio.current_time() - began == pytest.approx(fails_after_s)


async def test_a_phrase_that_comes_late_is_given_its_own_time(autojump_clock: MockClock) -> None:
    # The model thinks for long between its sentences; the synthesizer is not to blame, until it has got the second one.
    class OnDemand(TakesAhead):
        @asynccontextmanager
        async def synthesize(self, phrases, *, locale):
            async def speak():
                async for phrase in phrases:
                    if phrase.index == 1:
                        await trio.sleep_forever()
                    yield SpeechAudio(phrase=phrase.index, pcm=bytes(3200))

            chunks = speak()
            yield chunks
            await chunks.aclose()

    model = ScriptedLanguageModel(script=["One two three four. Five six seven eight."], gap_s=5.0)
    agent = scripted_agent(language_model=model, synthesizer=OnDemand(take_after_s=0, speak_after_s=()))
    bench = Bench(agent, settings=Settings(timeouts=TIMEOUTS))
    began = trio.current_time()
    failed_at: list[float] = []
    bench.reply.fault = lambda error: failed_at.append(trio.current_time() - began)  # type: ignore[method-assign]
    await bench.run()
    given_at = bench.all(PhraseReady)[1].at
    assert failed_at == [pytest.approx(given_at + 3.0)]


async def test_one_that_never_asks_for_a_phrase_has_its_time_too(autojump_clock: MockClock) -> None:
    class Deaf(TakesAhead):
        @asynccontextmanager
        async def synthesize(self, phrases, *, locale):
            async def speak():
                await trio.sleep_forever()
                yield

            chunks = speak()
            yield chunks
            await chunks.aclose()

    bench = Bench(
        scripted_agent(synthesizer=Deaf(take_after_s=0, speak_after_s=())), settings=Settings(timeouts=TIMEOUTS)
    )
    began = trio.current_time()
    await bench.run()
    assert [type(error) for error in bench.faults] == [ProviderTimeout]
    assert trio.current_time() - began == pytest.approx(3.0)


async def test_a_synthesizer_has_all_of_its_time_from_the_phrase_that_it_takes(autojump_clock: MockClock) -> None:
    taken: list[float] = []

    class TakesItsTime(Exact):
        @asynccontextmanager
        async def synthesize(self, phrases, *, locale):
            async def run():
                await trio.sleep(0.7)
                await anext(phrases)
                taken.append(trio.current_time())
                await trio.sleep_forever()
                yield

            async with aclosing(run()) as chunks:
                yield chunks

    bench = Bench(scripted_agent(synthesizer=TakesItsTime(160)), text="Hello.")
    await bench.run()
    (failed,) = bench.all(SynthesizerFailed)
    assert bench.clock.trio_time(failed.at) - taken[0] == pytest.approx(Settings().timeouts.tts_first_s)
