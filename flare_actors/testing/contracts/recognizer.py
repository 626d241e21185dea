"""Contract checks for recognisers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import attrs
import trio

from flare_actors.audio import seconds_to_bytes, split_frames
from flare_actors.conversation.states import SttMode
from flare_actors.ports import HeardAudio, Recognizer, Transcript
from flare_actors.testing.contracts.common import after_close, check_locales, check_rate, need, only_fails_properly
from flare_actors.testing.contracts.rules import Make, Rules, open_made
from flare_actors.testing.contracts.streams import Scene, Source, follow_stream_rules, refuses_unknown_locale
from flare_actors.testing.room import speechlike

__all__ = ["check_recognizer"]

_PIECE_S: Final = 0.1
_TRAILING_S: Final = 0.4
"""Silence at the end of the utterance, as an ear hands it on before its endpoint."""


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
            need(isinstance(item, Transcript), f"it gave {type(item).__name__} instead of Transcript")
            need(isinstance(item.text, str), f"it gave a transcript whose text is {type(item.text).__name__}, not str")
        finals = sum(item.final for item in items)
        need(
            finals == 1,
            f"it gave {finals} final transcripts for one utterance; give exactly one, with an empty text if there was no word",
        )
        need(items[-1].final, "something came after the final transcript; it is the last")
        if self.mode is SttMode.BATCH:
            need(
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
        most: cancellations that are tried per rule, one or more, evenly spread over the utterance.

    Raises:
        ContractBroken: rules were broken; it lists them.
        ValueError: ``most`` is less than 1.

    Cancellation: as soon as the engine lets go of the stream that it is asked for.
    """
    rules = Rules("the recogniser", patience_s, release_s, most)
    async with open_made(make) as engine:
        await _follow_recognizer_rules(rules, engine, speech, locale=locale, idle_s=idle_s)
    await after_close(
        rules, make, lambda closed: closed.transcribe(Source[HeardAudio](()), locale=locale, mode=SttMode.BATCH)
    )
    await rules.judge()


async def _follow_recognizer_rules(
    rules: Rules, engine: Recognizer, speech: bytes | None, *, locale: str, idle_s: float
) -> None:
    async def properties() -> None:
        check_rate(engine.sample_rate)
        check_locales(engine.locales)
        need(
            isinstance(engine.partials, bool),
            f"`partials` is {type(engine.partials).__name__}, not bool; say whether it tells words while they are spoken",
        )

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
        items = await only_fails_properly(ask(Source(()), SttMode.STREAMING))
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
        need(
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
        need(
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
