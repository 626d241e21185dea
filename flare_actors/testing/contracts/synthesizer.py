"""Contract checks for synthesizers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from flare_actors.audio import BYTES_PER_SAMPLE
from flare_actors.ports import Phrase, SpeechAudio, Synthesizer
from flare_actors.testing.contracts.common import after_close, check_locales, check_rate, need, only_fails_properly
from flare_actors.testing.contracts.rules import Make, Rules, open_made
from flare_actors.testing.contracts.streams import Scene, Source, follow_stream_rules, refuses_unknown_locale

__all__ = ["check_synthesizer"]

_PHRASES: Final = ("Good morning. ", "It is late.")


@attrs.frozen
class _Speech:
    """Judges the audio of one answer."""

    phrases: tuple[str, ...]

    def __call__(self, items: list[SpeechAudio]) -> None:
        latest = 0
        for item in items:
            need(isinstance(item, SpeechAudio), f"it gave {type(item).__name__} instead of SpeechAudio")
            pcm: object = item.pcm
            need(
                isinstance(pcm, bytes) and len(pcm) > 0 and len(pcm) % BYTES_PER_SAMPLE == 0,
                "it gave audio that is no non-empty bytes of whole PCM16 samples; leave empty pieces out",
            )
            need(
                latest <= item.phrase < len(self.phrases),
                f"it gave audio of phrase {item.phrase} after phrase {latest}; phrases come in order and do not interleave",
            )
            latest = item.phrase
            ends = [word.chars for word in item.words]
            need(
                ends == sorted(ends) and all(0 < end <= len(self.phrases[item.phrase]) for end in ends),
                f"it told of words that end at {ends} of {len(self.phrases[item.phrase])} characters; they come in order",
            )
        spoken = {item.phrase for item in items}
        missing = [n for n, text in enumerate(self.phrases) if any(map(str.isalnum, text)) and n not in spoken]
        need(not missing, f"phrases {missing} of {len(self.phrases)} have no audio")


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
        most: cancellations that are tried per rule, one or more, evenly spread over the answer.

    Raises:
        ContractBroken: rules were broken; it lists them.
        ValueError: ``most`` is less than 1.

    Cancellation: as soon as the engine lets go of the stream that it is asked for.
    """
    rules = Rules("the synthesizer", patience_s, release_s, most)
    async with open_made(make) as engine:
        await _follow_synthesizer_rules(rules, engine, tuple(phrases), locale=locale, idle_s=idle_s)
    await after_close(rules, make, lambda closed: closed.synthesize(Source[Phrase](()), locale=locale))
    await rules.judge()


async def _follow_synthesizer_rules(
    rules: Rules, engine: Synthesizer, texts: tuple[str, ...], *, locale: str, idle_s: float
) -> None:
    async def properties() -> None:
        check_rate(engine.sample_rate)
        check_locales(engine.locales)

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
            _Speech(nothing)(await only_fails_properly(ask(source(*nothing))))

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
        need(heard > 0, "it waits for the next phrase before it speaks the first; speak phrases as they come")

    async def late_phrase() -> None:
        phrases = source(text, then=trio.Event())
        with trio.move_on_after(idle_s + rules.patience_s / 2) as scope:
            async with ask(phrases) as stream:
                async for _ in stream:
                    if phrases.given:
                        scope.deadline = trio.current_time() + idle_s
        need(
            scope.cancelled_caught,
            f"the next phrase was {idle_s:g} s in coming, and the stream ended; how long one is waited for is the "
            "session's business: leave timeouts out",
        )
        need(
            not phrases.readers,
            "the stream was left, and its phrases are still being read; end that task with the stream",
        )

    await rules.follow("a phrase is spoken before the next one comes", ahead_of_the_next)
    await rules.follow("the next phrase may be long in coming", late_phrase, idle_s=idle_s)
