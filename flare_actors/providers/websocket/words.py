"""When words end, out of what a service tells of characters or of words, which need not be the text that it was given."""

from __future__ import annotations

import math
from typing import TypeGuard

from flare_actors.ports import WordTiming
from flare_actors.providers.websocket.mapping import Json

__all__ = ["WordFinder"]


class WordFinder:
    """Finds a phrase's words again, in order. What is not understood is left out: timings are a help, never a failure.

    Args:
        text: the phrase's.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def characters(self, chars: Json, starts_ms: Json, durations_ms: Json, *, since_s: float) -> tuple[WordTiming, ...]:
        """The words that end with one of these characters.

        Args:
            chars: the next ones that are spoken.
            starts_ms: when each begins, in milliseconds of the piece of audio that it came with.
            durations_ms: how long each is.
            since_s: where that piece begins, in seconds of the phrase's audio.
        """
        if not (isinstance(chars, list) and isinstance(starts_ms, list) and isinstance(durations_ms, list)):
            return ()
        found: list[WordTiming] = []
        for char, start, duration in zip(chars, starts_ms, durations_ms, strict=False):
            if not isinstance(char, str) or not _is_time(start) or not _is_time(duration):
                break
            for each in char:
                if each.isspace():
                    continue
                self._skip(spaces=True)
                self._at = min(self._at + 1, len(self._text))
                if self._at == len(self._text) or self._text[self._at].isspace():
                    found.append(WordTiming(chars=self._at, end_s=since_s + (start + duration) / 1000))
        return tuple(found)

    def words(self, words: Json, ends_s: Json) -> tuple[WordTiming, ...]:
        """These words, as far as they are the phrase's.

        Args:
            words: the next ones that are spoken.
            ends_s: when each ends, in seconds of the phrase's audio.
        """
        if not (isinstance(words, list) and isinstance(ends_s, list)):
            return ()
        found: list[WordTiming] = []
        for word, end_s in zip(words, ends_s, strict=False):
            if not isinstance(word, str) or not word.strip() or not _is_time(end_s):
                continue
            place = self._text.find(word.strip(), self._at)
            if place < 0:
                continue  # The service says it in other words ("four" for "4").
            self._at = place + len(word.strip())
            self._skip(spaces=False)
            found.append(WordTiming(chars=self._at, end_s=end_s))
        return tuple(found)

    def _skip(self, *, spaces: bool) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace() is spaces:
            self._at += 1


def _is_time(value: Json) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
