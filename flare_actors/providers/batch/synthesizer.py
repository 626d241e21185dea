"""A synthesizer made of a function that turns one sentence into its audio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

from flare_actors.audio import seconds_to_bytes, split_frames
from flare_actors.errors import UnsupportedLocale
from flare_actors.ports import Locales, Phrase, SpeechAudio, locale_supported

__all__ = ["PhraseSynthesizer", "speak_phrases"]

CHUNK_S: Final = 0.2  # small enough that a cancelled one leaves little behind, large enough to cost nothing


async def speak_phrases(
    phrases: AsyncIterator[Phrase], speak: Callable[[str], AsyncGenerator[bytes]], *, sample_rate: int
) -> AsyncGenerator[SpeechAudio]:
    """Speak phrases one after the other, each as its parts are ready.

    Args:
        phrases: one turn's.
        speak: gives the PCM16 of a text, sentence by sentence (or however it is cut).
        sample_rate: Hz of that.

    Cancellation: as ``speak`` obeys it, which is closed; nothing more is spoken.
    """
    async for phrase in phrases:
        async with aclosing(speak(phrase.text)) as parts:
            async for pcm in parts:
                for chunk in split_frames(pcm, seconds_to_bytes(CHUNK_S, sample_rate)):
                    yield SpeechAudio(phrase=phrase.index, pcm=chunk)


class PhraseSynthesizer:
    """An engine that turns one sentence into its whole audio, behind the streaming port.

    The first phrase is heard while the later ones are still being written and spoken.

    Args:
        speak: gives a phrase's PCM16; called with its text and the locale, for one phrase at a time and turn.
        sample_rate: Hz of what it gives.
        locales: what it speaks; None: any.
        name: for messages.
    """

    def __init__(
        self,
        speak: Callable[[str, str], Awaitable[bytes]],
        *,
        sample_rate: int,
        locales: Locales = None,
        name: str = "the synthesizer",
    ) -> None:
        self._speak = speak
        self._sample_rate = sample_rate
        self._locales = locales
        self._name = name

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM16 that it gives."""
        return self._sample_rate

    @property
    def locales(self) -> Locales:
        """What it speaks."""
        return self._locales

    @asynccontextmanager
    async def synthesize(
        self, phrases: AsyncIterator[Phrase], *, locale: str
    ) -> AsyncGenerator[AsyncIterator[SpeechAudio]]:
        """Speak phrases as they come; see ``ports.Synthesizer``.

        Raises:
            UnsupportedLocale: it does not speak the locale.

        Cancellation: as the function obeys it.
        """
        if not locale_supported(locale, self._locales):
            raise UnsupportedLocale("tts", self._name, locale, tuple(self._locales or ()))

        async def speak(text: str) -> AsyncGenerator[bytes]:
            if any(map(str.isalnum, text)):
                yield await self._speak(text, locale)

        async with aclosing(speak_phrases(phrases, speak, sample_rate=self._sample_rate)) as chunks:
            yield chunks
