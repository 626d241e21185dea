"""Text to speech: from phrases to audio, and when each word of it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import attrs

from flare_actors.ports._locales import Locales

__all__ = ["Phrase", "SpeechAudio", "Synthesizer", "WordTiming"]


@attrs.frozen(kw_only=True)
class Phrase:
    """A stretch of text to be spoken: words, without what is written for the eye only.

    The session takes marks of emphasis, links, lists, emoji and the like out (``conversation.phrases.speakable``), for all
    synthesizers alike; what an engine cannot say besides is the engine's own business.
    """

    index: int
    """From 0 within the turn."""
    text: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class WordTiming:
    """When a word of a phrase is over, as a synthesizer that knows it tells."""

    chars: int
    """Characters of the phrase's text up to the word's end."""
    end_s: float
    """Seconds of the phrase's audio up to the word's end."""


@attrs.frozen(kw_only=True)
class SpeechAudio:
    """A piece of a phrase's audio, in order."""

    phrase: int
    """The phrase's index; phrases do not interleave."""
    pcm: bytes = attrs.field(repr=False)
    """PCM16 at the synthesizer's sample rate, whole samples, not empty."""
    words: tuple[WordTiming, ...] = ()
    """Of words of the phrase, in order; they may be told before their audio comes, each once. What an interrupted user has
    heard is then known to the word; where nothing is told it is estimated from the phrase's length."""


@runtime_checkable
class Synthesizer(Protocol):
    """Text to speech."""

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that it gives."""
        ...

    @property
    def locales(self) -> Locales:
        """What it speaks."""
        ...

    def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AbstractAsyncContextManager[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come.

        Args:
            phrases: one turn's phrases; the next one may be long in coming, their end is the end of the answer.
            locale: BCP 47 tag of what is spoken.

        Gives audio while phrases still come; ends when all is spoken. A phrase without anything to pronounce gives none.

        Raises:
            ProviderError: it failed; what came before stays valid.
        """
        ...
