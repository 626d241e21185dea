"""The contract checks: every shipped engine and link passes, and every rule goes red on something that breaks it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import attrs
import pytest
import trio

from flare_actors.conversation.events import CommitRequested, InterruptRequested
from flare_actors.conversation.states import SttMode
from flare_actors.errors import LinkClosed, ProviderError, UnsupportedLocale
from flare_actors.ports import (
    AudioIn,
    AudioOut,
    HeardAudio,
    Message,
    ModelOutput,
    Phrase,
    ServerMessage,
    SpeechAudio,
    TextDelta,
    Transcript,
)
from flare_actors.providers.scripted import ScriptedLanguageModel, ScriptedRecognizer, ScriptedSynthesizer
from flare_actors.testing.contracts import (
    ContractBroken,
    check_client_link,
    check_language_model,
    check_recognizer,
    check_synthesizer,
    memory_pair,
)
from flare_actors.testing.contracts.rules import evenly


def named(each: object) -> str:
    """What a case is called."""
    return each if isinstance(each, str) else getattr(each, "__qualname__", "")


async def complaint(check: Awaitable[None], rule: str) -> str:
    """What a check that fails says of a rule."""
    with pytest.raises(ContractBroken) as caught:
        await check
    assert rule in str(caught.value)
    return caught.value.broken[rule]


class RunsOn:
    """An engine with tasks of its own, which end with it and not with a stream."""

    @classmethod
    @asynccontextmanager
    async def opened(cls):
        self = cls()
        async with trio.open_nursery() as self.nursery:
            yield self
            self.nursery.cancel_scope.cancel()


# --- What is shipped for tests keeps the promises itself -----------------------------------------------------------------


async def test_the_scripted_model_keeps_its_port(autojump_clock) -> None:
    await check_language_model(lambda: ScriptedLanguageModel(script=["Yes, it is."], first_token_s=0.2, gap_s=0.1))


@pytest.mark.parametrize("partials", [False, True])
async def test_the_scripted_recogniser_keeps_its_port(autojump_clock, partials: bool) -> None:
    await check_recognizer(lambda: ScriptedRecognizer(delay_s=0.2, partials=partials), idle_s=900)


async def test_the_scripted_synthesizer_keeps_its_port(autojump_clock) -> None:
    await check_synthesizer(
        lambda: ScriptedSynthesizer(first_audio_s=0.1, realtime_factor=0.2, chunk_s=0.3), idle_s=900, patience_s=3_000
    )


async def test_the_memory_link_keeps_its_port(autojump_clock) -> None:
    await check_client_link(memory_pair)


@pytest.mark.parametrize(
    "check",
    [
        lambda most: check_language_model(lambda: ScriptedLanguageModel(script=["Yes, it is."], gap_s=0.1), most=most),
        lambda most: check_recognizer(ScriptedRecognizer, most=most),
        lambda most: check_synthesizer(ScriptedSynthesizer, most=most),
    ],
    ids=["model", "recogniser", "synthesizer"],
)
async def test_one_cancellation_per_rule_is_enough_and_none_is_too_few(autojump_clock, check) -> None:
    await check(1)
    with pytest.raises(ValueError, match="most"):
        await check(0)


def test_cancellations_are_tried_from_the_first_moment_to_the_last() -> None:
    assert evenly(100, 5) == [0, 25, 50, 74, 99]
    assert evenly(3, 5) == [0, 1, 2]
    assert evenly(100, 1) == [0]


# --- Models that break it ------------------------------------------------------------------------------------------------


WORDS = ("Yes,", " it", " is.")


class Model:
    """A good model, of which a subclass breaks something."""

    @asynccontextmanager
    async def generate(self, messages: Sequence[Message], *, locale: str) -> AsyncGenerator[AsyncIterator[ModelOutput]]:
        await trio.lowlevel.checkpoint()
        async with aclosing(self.write()) as words:
            yield words

    async def write(self) -> AsyncGenerator[ModelOutput]:
        for word in WORDS:
            await trio.sleep(0.1)
            yield TextDelta(text=word)


class NoContextManager(Model):
    async def generate(self, messages, *, locale):
        for word in ("Yes.",):
            yield TextDelta(text=word)


class Mute(Model):
    async def write(self):
        await trio.sleep(0.1)
        for word in ():
            yield TextDelta(text=word)


class EmptyPieces(Model):
    async def write(self):
        yield TextDelta(text="Yes.")
        yield TextDelta(text="")


class Strings(Model):
    async def write(self):
        yield "Yes."


class Swallower(Model):
    async def write(self):
        for word in WORDS:
            with suppress(trio.Cancelled):
                await trio.sleep(0.1)
            yield TextDelta(text=word)


class Translator(Model):
    async def write(self):
        for word in WORDS:
            try:
                await trio.sleep(0.1)
            except BaseException:  # noqa: BLE001 - the very mistake
                raise ProviderError("llm", "something went wrong") from None
            yield TextDelta(text=word)


class Clinging(Model):
    async def write(self):
        try:
            async for word in super().write():
                yield word
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)


class ScopeAcrossYield(Model):
    async def write(self):
        with trio.CancelScope():
            for word in WORDS:
                await trio.sleep(0.1)
                yield TextDelta(text=word)


class NurseryAroundConsumer(Model):
    @asynccontextmanager
    async def generate(self, messages, *, locale):
        async with trio.open_nursery(), aclosing(self.write()) as words:
            yield words


class SwallowsExceptions(Model):
    @asynccontextmanager
    async def generate(self, messages, *, locale):
        async with aclosing(self.write()) as words:
            with suppress(Exception):
                yield words


class NotClosed(Model):
    @asynccontextmanager
    async def generate(self, messages, *, locale):
        await trio.lowlevel.checkpoint()
        yield self.write()


class OneAtATime(Model):
    def __init__(self) -> None:
        self.busy = False

    async def write(self):
        if self.busy:
            raise ProviderError("llm", "busy")
        self.busy = True
        try:
            async with aclosing(super().write()) as words:
                async for word in words:
                    yield word
        finally:
            self.busy = False


class LosesItsToken(Model):
    """After a cancellation it never answers again."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(4)

    async def write(self):
        await self.limiter.acquire_on_behalf_of(token := object())
        await trio.sleep(0.1)
        yield TextDelta(text="Yes.")
        self.limiter.release_on_behalf_of(token)


class CrashesOnNothing(Model):
    @asynccontextmanager
    async def generate(self, messages, *, locale):
        await trio.lowlevel.checkpoint()
        messages[-1].content[0]
        async with aclosing(self.write()) as words:
            yield words


class GoesOn(RunsOn, Model):
    @asynccontextmanager
    async def generate(self, messages, *, locale):
        self.nursery.start_soon(trio.sleep_forever)
        async with aclosing(self.write()) as words:
            yield words


class StillThere(Model):
    @asynccontextmanager
    async def generate(self, messages, *, locale):
        await trio.lowlevel.checkpoint()
        yield Endless()


class Endless:
    def __init__(self) -> None:
        self.words = iter(WORDS)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await trio.sleep(0.1)
        try:
            return TextDelta(text=next(self.words))
        except StopIteration:
            raise StopAsyncIteration from None


class CrashesWhenClosed(Model):
    closed = False

    @classmethod
    @asynccontextmanager
    async def opened(cls):
        self = cls()
        yield self
        self.closed = True

    async def write(self):
        if self.closed:
            raise AttributeError("no client")
        yield TextDelta(text="Yes.")


@pytest.mark.parametrize(
    ("make", "rule", "words"),
    [
        (NoContextManager, "a stream is whole", "async context manager"),
        (Mute, "a stream is whole", "with nothing"),
        (EmptyPieces, "a stream is whole", "leave it out"),
        (Strings, "a stream is whole", "gave str instead of TextDelta"),
        (Swallower, "cancelled at every wait", "swallowed"),
        (Translator, "cancelled at every wait", "raised ProviderError"),
        (Clinging, "cancelled at every wait", "held on for 5.0 s"),
        (ScopeAcrossYield, "no scope is held open across a yield", "across a `yield`"),
        (NurseryAroundConsumer, "the consumer's exceptions pass", "wrapped in a group"),
        (SwallowsExceptions, "the consumer's exceptions pass", "was swallowed"),
        (NotClosed, "a stream may be left early", "garbage collector"),
        (StillThere, "a stream that was left is over", "still gives TextDelta"),
        (OneAtATime, "several streams at a time", "busy"),
        (LosesItsToken, "cancelled at every wait", "not done after"),
        (CrashesOnNothing, "an empty question is answered or refused", "IndexError"),
        (GoesOn.opened, "a stream may be left early", "tasks run on"),
        (CrashesWhenClosed.opened, "after its close it refuses, or serves as ever", "AttributeError"),
    ],
    ids=named,
)
async def test_a_model_that_breaks_its_port_is_told_which_rule_and_why(autojump_clock, make, rule, words) -> None:
    assert words in await complaint(check_language_model(make), rule)


async def test_the_good_model_of_these_tests_is_good(autojump_clock) -> None:
    await check_language_model(Model)


# --- Recognisers that break it -------------------------------------------------------------------------------------------


async def heard(audio: AsyncIterator[HeardAudio]) -> bool:
    """Hear it to its end; was there any?"""
    return bool([piece async for piece in audio])


class Ear:
    """A good recogniser, of which a subclass breaks something."""

    sample_rate: object = 16_000
    locales: object = ("en",)
    partials: object = False

    @asynccontextmanager
    async def transcribe(
        self, audio: AsyncIterator[HeardAudio], *, locale: str, mode: SttMode
    ) -> AsyncGenerator[AsyncIterator[Transcript]]:
        await trio.lowlevel.checkpoint()
        if not locale.startswith("en"):
            raise UnsupportedLocale("stt", "Ear", locale, ("en",))
        async with aclosing(self.understand(audio, mode)) as transcripts:
            yield transcripts

    async def understand(self, audio, mode) -> AsyncGenerator[Transcript]:
        yield Transcript(text="hello" if await heard(audio) else "", final=True)


class NoRate(Ear):
    sample_rate = None


class PartialsUnknown(Ear):
    partials = None


class LocaleIsText(Ear):
    locales = "en-US"


class AnyLocale(Ear):
    @asynccontextmanager
    async def transcribe(self, audio, *, locale, mode):
        async with super().transcribe(audio, locale="en", mode=mode) as transcripts:
            yield transcripts


class TwoFinals(Ear):
    async def understand(self, audio, mode):
        await heard(audio)
        yield Transcript(text="one", final=True)
        yield Transcript(text="two", final=True)


class NoFinalForNothing(Ear):
    async def understand(self, audio, mode):
        any_audio = await heard(audio)
        yield Transcript(text="...")
        if any_audio:
            yield Transcript(text="hello", final=True)


class PartialsAnyway(Ear):
    async def understand(self, audio, mode):
        await heard(audio)
        yield Transcript(text="hel")
        yield Transcript(text="hello", final=True)


class Impatient(Ear):
    async def understand(self, audio, mode):
        any_audio = False
        with trio.move_on_after(30):
            any_audio = await heard(audio)
        yield Transcript(text="hello" if any_audio else "", final=True)


class ReadsOn(RunsOn, Ear):
    async def understand(self, audio, mode):
        done = trio.Event()

        async def read() -> None:
            await heard(audio)
            done.set()

        self.nursery.start_soon(read)
        await done.wait()
        yield Transcript(text="", final=True)


@pytest.mark.parametrize(
    ("make", "rule", "words"),
    [
        (NoRate, "it says what it takes", "sample_rate is None"),
        (PartialsUnknown, "it says what it takes", "`partials` is NoneType, not bool"),
        (LocaleIsText, "it says what it takes", "locales is 'en-US'"),
        (AnyLocale, "an unknown locale is refused", "raise UnsupportedLocale"),
        (TwoFinals, "a stream is whole", "2 final transcripts"),
        (NoFinalForNothing, "an utterance without audio is understood as nothing", "0 final transcripts"),
        (PartialsAnyway, "in batch mode there is one transcript", "1 partial transcripts in batch mode"),
        (Impatient, "the first word may be long in coming", "leave timeouts out"),
        (ReadsOn.opened, "audio is let go of with the stream", "still being read"),
    ],
    ids=named,
)
async def test_a_recogniser_that_breaks_its_port_is_told_which_rule_and_why(autojump_clock, make, rule, words) -> None:
    assert words in await complaint(check_recognizer(make, idle_s=60), rule)


async def test_the_good_recogniser_of_these_tests_is_good(autojump_clock) -> None:
    await check_recognizer(Ear, idle_s=60)


# --- Synthesizers that break it ------------------------------------------------------------------------------------------


def has_words(phrase: Phrase) -> bool:
    return any(map(str.isalnum, phrase.text))


def spoken(phrase: Phrase) -> SpeechAudio:
    return SpeechAudio(phrase=phrase.index, pcm=bytes(640))


class Voice:
    """A good synthesizer, of which a subclass breaks something."""

    sample_rate = 16_000
    locales = None

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio]]:
        await trio.lowlevel.checkpoint()
        async with aclosing(self.speak(phrases)) as audio:
            yield audio

    async def speak(self, phrases) -> AsyncGenerator[SpeechAudio]:
        async for phrase in phrases:
            if has_words(phrase):
                await trio.sleep(0.1)
                yield spoken(phrase)


class WaitsForAll(Voice):
    async def speak(self, phrases):
        for phrase in [phrase async for phrase in phrases]:
            if has_words(phrase):
                yield spoken(phrase)


class HalfSamples(Voice):
    async def speak(self, phrases):
        async for phrase in phrases:
            yield SpeechAudio(phrase=phrase.index, pcm=bytes(641))


class WrongPhrase(Voice):
    async def speak(self, phrases):
        async for phrase in phrases:
            yield SpeechAudio(phrase=5 - phrase.index, pcm=bytes(640))


class LeavesOneOut(Voice):
    async def speak(self, phrases):
        async for phrase in phrases:
            if phrase.index == 0:
                yield spoken(phrase)


class FallsOverMarks(Voice):
    async def speak(self, phrases):
        async for phrase in phrases:
            if not phrase.text.strip(" .\u2026"):
                raise ValueError("nothing to pronounce")
            yield spoken(phrase)


class GivesUpWaiting(Voice):
    async def speak(self, phrases):
        while True:
            phrase = None
            with trio.move_on_after(30):
                phrase = await anext(phrases, None)
            if phrase is None:
                return
            if has_words(phrase):
                yield spoken(phrase)


@pytest.mark.parametrize(
    ("make", "rule", "words"),
    [
        (WaitsForAll, "a phrase is spoken before the next one comes", "as they come"),
        (HalfSamples, "a stream is whole", "whole PCM16 samples"),
        (WrongPhrase, "a stream is whole", "phrase 5 after phrase 0"),
        (LeavesOneOut, "a stream is whole", "[1] of 2 have no audio"),
        (FallsOverMarks, "nothing to say is silence", "ValueError"),
        (FallsOverMarks, "marks without a word do no harm", "ValueError"),
        (GivesUpWaiting, "the next phrase may be long in coming", "leave timeouts out"),
    ],
    ids=named,
)
async def test_a_synthesizer_that_breaks_its_port_is_told_which_rule_and_why(autojump_clock, make, rule, words) -> None:
    assert words in await complaint(check_synthesizer(make, idle_s=60, patience_s=300), rule)


async def test_the_good_synthesizer_of_these_tests_is_good(autojump_clock) -> None:
    await check_synthesizer(Voice, idle_s=60)


# --- Links that break it -------------------------------------------------------------------------------------------------


class Link:
    """A memory link, of which a subclass breaks something."""

    def __init__(self, inner) -> None:
        self.inner = inner

    def __getattr__(self, name: str):
        return getattr(self.inner, name)


class Reorders(Link):
    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.kept = None

    async def receive(self):
        if self.kept is not None:
            kept, self.kept = self.kept, None
            return kept
        first = await self.inner.receive()
        with trio.move_on_after(1):
            self.kept = first
            return await self.inner.receive()
        self.kept = None
        return first


class LosesAudio(Link):
    lost = 0

    async def receive(self):
        message = await self.inner.receive()
        while isinstance(message, AudioIn) and self.lost < 3:
            self.lost += 1
            message = await self.inner.receive()
        return message


class HalfSamples(Link):
    async def receive(self):
        message = await self.inner.receive()
        return AudioIn(message.pcm + b"\0") if isinstance(message, AudioIn) else message


class OneLock(Link):
    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.lock = trio.Lock()

    async def receive(self):
        async with self.lock:
            return await self.inner.receive()

    async def send(self, *messages):
        async with self.lock:
            await self.inner.send(*messages)


class OneAtATime(Link):
    async def send(self, message):
        await self.inner.send(message)


class SendsTheFirst(Link):
    async def send(self, first, *rest):
        await self.inner.send(first)


class LosesOne(Link):
    lost = False

    async def receive(self):
        if self.lost:
            self.lost = False
            await self.inner.receive()
        try:
            return await self.inner.receive()
        except trio.Cancelled:
            self.lost = True
            raise


class Bottomless(Link):
    async def send(self, *messages: ServerMessage) -> None:
        if any(isinstance(message, AudioOut) for message in messages):
            await trio.lowlevel.checkpoint()
            return
        await self.inner.send(*messages)


class SendsOn(Link):
    async def send(self, *messages: ServerMessage) -> None:
        with suppress(LinkClosed):
            await self.inner.send(*messages)


class ForeignError(Link):
    async def receive(self):
        try:
            return await self.inner.receive()
        except LinkClosed:
            raise ConnectionResetError("peer") from None


class CannotCloseTwice(Link):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True
        await self.inner.aclose()


class SleepsOn(Link):
    async def receive(self):
        try:
            return await self.inner.receive()
        except LinkClosed:
            if self.inner.closed:
                await trio.sleep(10)
            raise


class LongGoodbye(Link):
    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        await self.inner.aclose()


@pytest.mark.parametrize(
    ("kind", "rule", "words"),
    [
        (Reorders, "messages come whole and in order", "overtaken"),
        (LosesAudio, "audio comes whole and in order", "of 0.2 s of audio 0.14 s came"),
        (HalfSamples, "audio comes whole and in order", "whole PCM16 samples"),
        (OneLock, "it carries both ways at once", "share a lock"),
        (OneAtATime, "it takes several messages at once", "write send(self, *messages)"),
        (SendsTheFirst, "it takes several messages at once", "not both came"),
        (LosesOne, "a cancelled receive loses nothing", "lose nothing"),
        (Bottomless, "a send that waits can be cancelled", "must wait at some point"),
        (SendsOn, "after its close it refuses", "send went on"),
        (ForeignError, "after its close it refuses", "ConnectionResetError"),
        (ForeignError, "the client leaves", "ConnectionResetError"),
        (CannotCloseTwice, "after its close it refuses", "closed already"),
        (SleepsOn, "a close wakes who receives", "wake it"),
        (LongGoodbye, "a close can be cancelled", "held on"),
        (LongGoodbye, "it says what it carries", "aclose took more than"),
    ],
    ids=named,
)
async def test_a_link_that_breaks_its_port_is_told_which_rule_and_why(autojump_clock, kind, rule, words) -> None:
    @asynccontextmanager
    async def make():
        async with memory_pair() as (link, far):
            yield kind(link), far

    assert words in await complaint(check_client_link(make), rule)


async def test_what_is_wrong_is_told_in_plain_words_through_the_nurseries_of_whoever_makes_the_link(
    autojump_clock,
) -> None:
    @asynccontextmanager
    async def make():
        async with trio.open_nursery(), memory_pair() as (link, far):
            yield LosesAudio(link), far

    told = await complaint(check_client_link(make), "audio comes whole and in order")
    assert told.startswith("of 0.2 s of audio 0.14 s came")


class OtherWords(Link):
    """It speaks another language, in which a client can commit and interrupt, and gives each request a name."""

    count = 0

    async def receive(self):
        message = await self.inner.receive()
        if isinstance(message, AudioIn):
            return message
        assert isinstance(message, CommitRequested | InterruptRequested)
        self.count += 1
        return attrs.evolve(message, request_id=f"request {self.count}")


async def test_a_link_of_another_language_is_asked_in_its_own_words(autojump_clock) -> None:
    @asynccontextmanager
    async def make():
        async with memory_pair() as (link, far):
            yield OtherWords(link), far

    says = (CommitRequested(), InterruptRequested())
    await check_client_link(make, says=says, plain=lambda message: attrs.evolve(message, request_id=None))
    assert "request 1" in await complaint(check_client_link(make, says=says), "messages come whole and in order")


@pytest.mark.parametrize(
    "says", [(), (InterruptRequested(),), (InterruptRequested(), AudioIn(b"")), (InterruptRequested(),) * 2], ids=repr
)
async def test_what_cannot_show_an_order_is_not_taken_for_a_language(says) -> None:
    with pytest.raises(ValueError, match="two messages or more"):
        await check_client_link(memory_pair, says=says)
