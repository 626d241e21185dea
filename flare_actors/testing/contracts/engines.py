"""Contract checks for the three engines of a turn: recogniser, language model, synthesizer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeAlias

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE, seconds_to_bytes, split_frames
from flare_actors.conversation.states import SttMode
from flare_actors.errors import ProviderError
from flare_actors.ports import (
    HeardAudio,
    LanguageModel,
    Message,
    ModelOutput,
    Phrase,
    Recognizer,
    SpeechAudio,
    Synthesizer,
    TextDelta,
    Transcript,
    Usage,
)
from flare_actors.testing.contracts.rules import Broken, Make, Rules, open_made
from flare_actors.testing.contracts.streams import Scene, Source, follow_stream_rules, refuses_unknown_locale
from flare_actors.testing.room import speechlike

__all__ = ["check_language_model", "check_recognizer", "check_synthesizer"]

_QUESTION: Final = (
    Message(role="system", content="Answer in one short sentence."),
    Message(role="user", content="Is it late?"),
)
_PHRASES: Final = ("Good morning. ", "It is late.")
_PIECE_S: Final = 0.1
_TRAILING_S: Final = 0.4
"""Silence at the end of the utterance, as an ear hands it on before its endpoint."""


def _need(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition, as in assert
    if not holds:
        raise Broken(what)


def _check_rate(rate: object) -> None:
    _need(
        isinstance(rate, int) and 8_000 <= rate <= 48_000,
        f"sample_rate is {rate!r}; give whole Hz from 8000 to 48000, also before the engine has loaded anything",
    )


def _check_locales(locales: object) -> None:
    tags = locales is None or (isinstance(locales, Sequence) and {type(each) for each in locales} <= {str})
    _need(
        tags and not isinstance(locales, str),
        f"locales is {locales!r}; give a sequence of BCP 47 tags, or None for 'whatever it is asked'",
    )


async def _only_fails_properly(stream: AbstractAsyncContextManager[AsyncIterator[Any]]) -> list[Any]:
    """Input with nothing in it: served or refused, both are right."""
    try:
        async with stream as results:
            return [item async for item in results]
    except ProviderError:
        return []


# --- Language models --------------------------------------------------------------------------------------------------------


def _judge_answer(items: list[ModelOutput]) -> None:
    for item in items:
        _need(isinstance(item, TextDelta | Usage), f"it gave {type(item).__name__} instead of TextDelta or Usage")
        if isinstance(item, TextDelta):
            _need(item.text != "", "it gave a TextDelta of no text; leave it out")
    _need(any(isinstance(item, TextDelta) for item in items), "it answered a question with nothing")


async def check_language_model(
    make: Make[LanguageModel],
    *,
    messages: Sequence[Message] = _QUESTION,
    locale: str = "en-US",
    patience_s: float = 60.0,
    release_s: float = 2.0,
    most: int = 40,
) -> None:
    """Hold a language model against its port.

    Args:
        make: makes it, or an async context manager that gives it; used twice.
        messages: something that it answers with a few words.
        locale: one that it speaks.
        patience_s: seconds that one rule may take (each asks for up to ``2 * most`` answers).
        release_s: seconds that a cancelled answer may hold on.
        most: cancellations that are tried per rule, evenly spread over the answer.

    Raises:
        ContractBroken: rules were broken; it lists them.
    """
    rules = Rules("the language model", patience_s, release_s, most)
    async with open_made(make) as model:
        scene = Scene(ask=lambda: model.generate(messages, locale=locale), judge=_judge_answer)
        await follow_stream_rules(rules, scene, "generate")

        async def nothing_to_answer() -> None:
            await _only_fails_properly(model.generate([Message(role="user", content="")], locale=locale))

        await rules.follow("an empty question is answered or refused", nothing_to_answer)
    await _after_close(rules, make, lambda closed: closed.generate(messages, locale=locale))
    await rules.judge()


async def _after_close(rules: Rules, make: Make[Any], ask: Any) -> None:  # noqa: ANN401 - any of the three ports
    """What was closed refuses, or opens again; it neither hangs nor crashes."""

    async def probe() -> None:
        async with open_made(make) as engine:
            pass
        await _only_fails_properly(ask(engine))

    await rules.follow("after its close it refuses, or serves as ever", probe)


# --- Recognisers ------------------------------------------------------------------------------------------------------------


def _utterance(pcm: bytes, rate: int) -> list[HeardAudio]:
    size = seconds_to_bytes(_PIECE_S, rate)
    pieces = [HeardAudio(pcm=piece) for piece in split_frames(pcm, size)]
    silence = [HeardAudio(pcm=bytes(size), silence_s=_PIECE_S * (n + 1)) for n in range(round(_TRAILING_S / _PIECE_S))]
    return pieces + silence


@attrs.frozen
class _Transcripts:
    """Judges the transcripts of one utterance."""

    mode: SttMode

    def __call__(self, items: list[Transcript]) -> None:
        for item in items:
            _need(isinstance(item, Transcript), f"it gave {type(item).__name__} instead of Transcript")
            _need(isinstance(item.text, str), f"it gave a transcript whose text is {type(item.text).__name__}, not str")
        finals = sum(item.final for item in items)
        _need(
            finals == 1,
            f"it gave {finals} final transcripts for one utterance; give exactly one, with an empty text if there was no word",
        )
        _need(items[-1].final, "something came after the final transcript; it is the last")
        if self.mode is SttMode.BATCH:
            _need(
                len(items) == 1, f"it gave {len(items) - 1} partial transcripts in batch mode; nobody wants them there"
            )


async def check_recognizer(
    make: Make[Recognizer],
    *,
    speech: bytes | None = None,
    locale: str = "en-US",
    patience_s: float = 60.0,
    release_s: float = 2.0,
    idle_s: float = 0.5,
    most: int = 40,
) -> None:
    """Hold a recogniser against its port.

    Args:
        make: makes it, or an async context manager that gives it; used twice.
        speech: PCM16 at its sample rate; default: noise with the rhythm of speech.
        locale: one that it understands.
        patience_s: seconds that one rule may take (each asks for up to ``2 * most`` utterances).
        release_s: seconds that a cancelled stream may hold on.
        idle_s: how long the user is silent before the first word; on virtual time, take minutes.
        most: cancellations that are tried per rule, evenly spread over the utterance.

    Raises:
        ContractBroken: rules were broken; it lists them.
    """
    rules = Rules("the recogniser", patience_s, release_s, most)
    async with open_made(make) as engine:
        await _follow_recognizer_rules(rules, engine, speech, locale=locale, idle_s=idle_s)
    await _after_close(
        rules, make, lambda closed: closed.transcribe(Source[HeardAudio](()), locale=locale, mode=SttMode.BATCH)
    )
    await rules.judge()


async def _follow_recognizer_rules(
    rules: Rules, engine: Recognizer, speech: bytes | None, *, locale: str, idle_s: float
) -> None:
    async def properties() -> None:
        _check_rate(engine.sample_rate)
        _check_locales(engine.locales)

    await rules.follow("it says what it takes", properties)
    if rules.broken:
        return
    rate = engine.sample_rate
    pieces = _utterance(speechlike(0.8, rate) if speech is None else speech, rate)

    def ask(source: Source[HeardAudio], mode: SttMode) -> AbstractAsyncContextManager[AsyncIterator[Transcript]]:
        return engine.transcribe(source, locale=locale, mode=mode)

    streaming = Scene(ask=lambda: ask(Source(pieces), SttMode.STREAMING), judge=_Transcripts(SttMode.STREAMING))
    await follow_stream_rules(rules, streaming, "transcribe")

    async def batch() -> None:
        async with ask(Source(pieces), SttMode.BATCH) as stream:
            _Transcripts(SttMode.BATCH)([item async for item in stream])

    async def nothing_said() -> None:
        items = await _only_fails_properly(ask(Source(()), SttMode.STREAMING))
        if items:
            _Transcripts(SttMode.STREAMING)(items)

    async def late_words() -> None:
        heard: list[Transcript] = []
        speaks = trio.Event()

        class Late(Source[HeardAudio]):
            async def __anext__(self) -> HeardAudio:
                await speaks.wait()
                return await super().__anext__()

        with trio.move_on_after(idle_s) as scope:
            async with ask(Late(pieces), SttMode.STREAMING) as stream:
                scope.deadline = trio.current_time() + idle_s
                heard += [item async for item in stream]
        _need(
            scope.cancelled_caught and not heard,
            f"the user was silent for {idle_s:g} s, and the stream ended or gave {len(heard)} transcripts; how long a "
            "word is waited for is the session's business: leave timeouts out",
        )

    async def lets_go() -> None:
        source = Source(pieces, then=trio.Event())
        with trio.move_on_after(idle_s):
            async with ask(source, SttMode.STREAMING) as stream:
                async for _ in stream:
                    pass
        _need(
            not source.readers, "the stream was left, and its audio is still being read; end that task with the stream"
        )

    await rules.follow("in batch mode there is one transcript", batch)
    await rules.follow("an utterance without audio is understood as nothing", nothing_said)
    await rules.follow("the first word may be long in coming", late_words, idle_s=idle_s)
    await rules.follow("audio is let go of with the stream", lets_go, idle_s=idle_s)
    await rules.follow(
        "an unknown locale is refused",
        refuses_unknown_locale(
            engine.locales, lambda tag: engine.transcribe(Source(pieces), locale=tag, mode=SttMode.BATCH)
        ),
    )


# --- Synthesizers -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Speech:
    """Judges the audio of one answer."""

    phrases: tuple[str, ...]

    def __call__(self, items: list[SpeechAudio]) -> None:
        latest = 0
        for item in items:
            _need(isinstance(item, SpeechAudio), f"it gave {type(item).__name__} instead of SpeechAudio")
            pcm: object = item.pcm
            _need(
                isinstance(pcm, bytes) and len(pcm) > 0 and len(pcm) % BYTES_PER_SAMPLE == 0,
                "it gave audio that is no non-empty bytes of whole PCM16 samples; leave empty pieces out",
            )
            _need(
                latest <= item.phrase < len(self.phrases),
                f"it gave audio of phrase {item.phrase} after phrase {latest}; phrases come in order and do not interleave",
            )
            latest = item.phrase
        spoken = {item.phrase for item in items}
        missing = [n for n, text in enumerate(self.phrases) if any(map(str.isalnum, text)) and n not in spoken]
        _need(not missing, f"phrases {missing} of {len(self.phrases)} have no audio")


async def check_synthesizer(
    make: Make[Synthesizer],
    *,
    phrases: Sequence[str] = _PHRASES,
    locale: str = "en-US",
    patience_s: float = 60.0,
    release_s: float = 2.0,
    idle_s: float = 0.5,
    most: int = 40,
) -> None:
    """Hold a synthesizer against its port.

    Args:
        make: makes it, or an async context manager that gives it; used twice.
        phrases: what it is to say, two or more.
        locale: one that it speaks.
        patience_s: seconds that one rule may take (each asks for up to ``2 * most`` answers).
        release_s: seconds that a cancelled stream may hold on.
        idle_s: how long the model thinks between two phrases; on virtual time, take minutes.
        most: cancellations that are tried per rule, evenly spread over the answer.

    Raises:
        ContractBroken: rules were broken; it lists them.
    """
    rules = Rules("the synthesizer", patience_s, release_s, most)
    async with open_made(make) as engine:
        await _follow_synthesizer_rules(rules, engine, tuple(phrases), locale=locale, idle_s=idle_s)
    await _after_close(rules, make, lambda closed: closed.synthesize(Source[Phrase](()), locale=locale))
    await rules.judge()


async def _follow_synthesizer_rules(
    rules: Rules, engine: Synthesizer, texts: tuple[str, ...], *, locale: str, idle_s: float
) -> None:
    async def properties() -> None:
        _check_rate(engine.sample_rate)
        _check_locales(engine.locales)

    await rules.follow("it says what it gives", properties)
    if rules.broken:
        return

    def source(*said: str, then: trio.Event | None = None) -> Source[Phrase]:
        return Source([Phrase(index=n, text=text) for n, text in enumerate(said)], then=then)

    def ask(phrases: Source[Phrase]) -> AbstractAsyncContextManager[AsyncIterator[SpeechAudio]]:
        return engine.synthesize(phrases, locale=locale)

    await follow_stream_rules(rules, Scene(ask=lambda: ask(source(*texts)), judge=_Speech(texts)), "synthesize")

    await _follow_rules_of_marks(rules, ask, source, texts)
    await _follow_rules_of_waiting(rules, ask, source, texts[0], idle_s=idle_s)
    await rules.follow(
        "an unknown locale is refused",
        refuses_unknown_locale(engine.locales, lambda tag: engine.synthesize(source(*texts), locale=tag)),
    )


_Speak: TypeAlias = Callable[[Source[Phrase]], AbstractAsyncContextManager[AsyncIterator[SpeechAudio]]]


class _Say(Protocol):
    """Makes phrases, after which ``then`` is waited for."""

    def __call__(self, *said: str, then: trio.Event | None = None) -> Source[Phrase]: ...


async def _follow_rules_of_marks(rules: Rules, ask: _Speak, source: _Say, texts: tuple[str, ...]) -> None:
    async def nothing_to_say() -> None:
        for nothing in ((), ("...",), ("   ", "\u2026")):
            _Speech(nothing)(await _only_fails_properly(ask(source(*nothing))))

    async def marks_amid_words() -> None:
        said = (texts[0], "...", texts[-1])
        async with ask(source(*said)) as stream:
            _Speech(said)([item async for item in stream])

    await rules.follow("nothing to say is silence", nothing_to_say)
    await rules.follow("marks without a word do no harm", marks_amid_words)


async def _follow_rules_of_waiting(rules: Rules, ask: _Speak, source: _Say, text: str, *, idle_s: float) -> None:
    async def ahead_of_the_next() -> None:
        heard = 0
        with trio.move_on_after(rules.patience_s / 2):
            async with ask(source(text, then=trio.Event())) as stream:
                async for _ in stream:
                    heard += 1
                    break
        _need(heard > 0, "it waits for the next phrase before it speaks the first; speak phrases as they come")

    async def late_phrase() -> None:
        phrases = source(text, then=trio.Event())
        with trio.move_on_after(idle_s + rules.patience_s / 2) as scope:
            async with ask(phrases) as stream:
                async for _ in stream:
                    if phrases.given:
                        scope.deadline = trio.current_time() + idle_s
        _need(
            scope.cancelled_caught,
            f"the next phrase was {idle_s:g} s in coming, and the stream ended; how long one is waited for is the "
            "session's business: leave timeouts out",
        )
        _need(
            not phrases.readers,
            "the stream was left, and its phrases are still being read; end that task with the stream",
        )

    await rules.follow("a phrase is spoken before the next one comes", ahead_of_the_next)
    await rules.follow("the next phrase may be long in coming", late_phrase, idle_s=idle_s)
