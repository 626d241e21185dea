"""What was said and heard: the conversation's memory, and how much of an answer the user really heard.

Only heard text enters the history. How much was heard follows from seconds of audio: each phrase knows its stretch of the
turn's audio; a phrase played in part counts by whole words: by the synthesizer's word on when each ends, else in proportion
to its audio. Rounding goes against a word, and
of a phrase whose audio is not known to its end the last word never counts.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import Final

import attrs

from flare_actors.conversation.calls import CUT_OFF, ToolUse
from flare_actors.conversation.items import AgentSaid, HistoryItem, Instructed, ToolCalled, ToolReturned, UserSaid
from flare_actors.conversation.values import evolve

__all__ = [
    "AgentSaid",
    "HistoryItem",
    "Instructed",
    "SpokenPhrase",
    "SpokenWord",
    "ToolCalled",
    "ToolReturned",
    "UserSaid",
    "amend",
    "correct_result",
    "cut",
    "heard_text",
    "insert",
    "is_echo",
    "may_be_echo",
    "remember",
    "report",
    "without_unheard",
    "write_calls",
    "write_down",
]

_CHARS_PER_SECOND: Final = 15.0
"""Speaking rate assumed for a phrase whose audio had not been measured to its end, where no phrase before it tells the
voice's own: about 180 words a minute at 5 letters."""

_ALMOST_ALL: Final = 1 - 1e-9
_ROUNDING_S: Final = 1e-6  # Less than a sample.
_ROUNDING_SHARE: Final = 1e-9  # Less than a letter: a word's own end is to include it.

_ECHO_WORDS: Final = 3
"""Shorter transcripts are never echo: answers often repeat a word or two of the question ("yes, tea")."""
_ECHO_SHARE: Final = 0.8
"""Of a transcript's words that the agent must have said: recognisers mishear every tenth word of clean speech, and an echo
is none."""

_UNSPACED: Final = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
"""Kana and Chinese characters: nothing is written between their words, so each counts as one."""
_WORD: Final = re.compile(rf"(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)\s*")
_LETTERS: Final = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_CHARACTER: Final = re.compile(rf"[{_UNSPACED}]")


@attrs.frozen(kw_only=True, slots=False)
class SpokenWord:
    """Up to where a phrase is spoken at some moment of the turn's audio: a word's end, by the synthesizer's own word."""

    share: float
    """Of the phrase's text, 0 to 1."""
    at_s: float


@attrs.frozen(kw_only=True, slots=False)
class SpokenPhrase:
    """A phrase and the stretch of the turn's audio that speaks it, as far as it is known."""

    text: str = attrs.field(repr=False)
    start_s: float | None = None
    end_s: float | None = None
    words: tuple[SpokenWord, ...] = ()
    """In order, as far as they are known; none where the synthesizer tells of none."""

    def timed(self, words: Iterable[SpokenWord]) -> SpokenPhrase:
        """With these, too; one that does not follow on the last is not believed."""
        known = list(self.words)
        for word in words:
            share, at_s = (known[-1].share, known[-1].at_s) if known else (0.0, 0.0)
            if share < word.share <= 1 and at_s <= word.at_s and len(known) < len(self.text):
                known.append(word)
        return evolve(self, words=tuple(known))

    def share_spoken(self, at_s: float, end_s: float | None) -> float | None:
        """How much of the text is spoken by then, 0 to 1, if the synthesizer told of its words; None: it did not.

        Behind the last word that it told of the rest is spread evenly up to the end, where that is known.
        """
        if not self.words:
            return None
        spoken = [word for word in self.words if word.at_s <= at_s + _ROUNDING_S]
        if not spoken:
            return _ROUNDING_SHARE
        share, since_s = spoken[-1].share, spoken[-1].at_s
        if len(spoken) == len(self.words) and end_s is not None and end_s > since_s:
            share += (1 - share) * min(1.0, (at_s - since_s) / (end_s - since_s))
        return share + _ROUNDING_SHARE


def _words_heard(text: str, share: float) -> str:
    """The longest run of whole words from the start whose letters fit into ``share`` (0 to 1) of the text."""
    letters = len(text.rstrip())
    budget = share * letters
    end = 0
    for word in _WORD.finditer(text):
        if word.start() + len(word.group().rstrip()) > budget:
            break
        end = word.end()
    return text[:end]


def heard_text(phrases: Sequence[SpokenPhrase], played_s: float) -> str:
    """The part of a turn's text that ``played_s`` seconds of its audio speak.

    Args:
        phrases: in order; those without ``end_s`` were still being synthesised.
        played_s: seconds of the turn's audio that the user heard.
    """
    if played_s <= 0:
        return ""
    heard: list[str] = []
    cursor = 0.0
    for index, phrase in enumerate(phrases):
        start = phrase.start_s if phrase.start_s is not None else cursor
        end = phrase.end_s
        if end is None:
            # It had no sound of its own, or nobody told its end: it was over when the next one began.
            end = next((later.start_s for later in phrases[index + 1 :] if later.start_s is not None), None)
        if end is None:
            share = phrase.share_spoken(played_s, None)
            if share is not None:
                heard.append(_words_heard(phrase.text, share))
                break
            rate = len("".join(heard)) / start if start > 0 and heard else _CHARS_PER_SECOND
            share = (played_s - start) * rate / max(1, len(phrase.text))
            heard.append(_words_heard(phrase.text, min(_ALMOST_ALL, share)))
            break
        if played_s < end - _ROUNDING_S:
            share = phrase.share_spoken(played_s, end)
            if share is None:
                share = (played_s - start) / (end - start) if end > start else 0.0
            heard.append(_words_heard(phrase.text, share))
            break
        heard.append(phrase.text)
        cursor = end
    return "".join(heard).rstrip()


def remember(history: tuple[HistoryItem, ...], item: HistoryItem, limit: int) -> tuple[HistoryItem, ...]:
    """Append ``item``; of more than ``limit`` that were said, and of more than ``limit`` calls, the oldest are forgotten."""
    longer = (*history, item)
    if len(longer) <= limit and ToolReturned not in map(type, longer):
        return longer  # Nothing is too much, and no result is without its call.
    return _bounded(longer, limit)


def _bounded(history: tuple[HistoryItem, ...], limit: int) -> tuple[HistoryItem, ...]:
    said = [index for index, item in enumerate(history) if not isinstance(item, ToolCalled | ToolReturned)]
    if len(said) > limit:
        history = history[said[-limit] :]
    called = [item for item in history if isinstance(item, ToolCalled)][-limit:]
    calls = {item.call for item in called}
    # A client may put in several results of one call, and calls of one name.
    returned = [item for item in history if isinstance(item, ToolReturned) and item.call in calls][-limit:]
    kept = {item.id for item in called} | {item.id for item in returned}
    return tuple(item for item in history if not isinstance(item, ToolCalled | ToolReturned) or item.id in kept)


def write_calls(
    history: tuple[HistoryItem, ...], turn: int, uses: Sequence[ToolUse], limit: int, *, interrupted: bool
) -> tuple[HistoryItem, ...]:
    """Enter a turn's tool calls before what the agent said in it.

    Args:
        history: so far.
        turn: its number.
        uses: in the order in which they began.
        limit: as for ``remember``.
        interrupted: only those are entered that survive it; of one that was cut off nobody knows whether it took effect.
    """
    entered: list[HistoryItem] = []
    for step in sorted({use.step for use in uses}):
        ours = [use for use in uses if use.step == step and (use.survives or not (interrupted or use.output is None))]
        entered += [_called(turn, use) for use in ours]
        entered += [_returned(turn, use) for use in ours]
    places = (i for i, item in enumerate(history) if isinstance(item, AgentSaid) and item.turn == turn)
    place = next(places, len(history))
    return _bounded((*history[:place], *entered, *history[place:]), limit)


def report(history: tuple[HistoryItem, ...], turn: int, use: ToolUse, limit: int) -> tuple[HistoryItem, ...]:
    """Enter the result of a detached tool at the end: the call moves to where its result is."""
    rest = tuple(item for item in history if not isinstance(item, ToolCalled | ToolReturned) or item.call != use.call)
    return _bounded((*rest, _called(turn, use), _returned(turn, use)), limit)


def _called(turn: int, use: ToolUse) -> ToolCalled:
    return ToolCalled(turn=turn, call=use.call, name=use.name, text=use.arguments)


def _returned(turn: int, use: ToolUse) -> ToolReturned:
    if use.output is None:
        return ToolReturned(turn=turn, call=use.call, text=CUT_OFF, failed=True, client=use.client)
    return ToolReturned(turn=turn, call=use.call, text=use.output, failed=use.failed, client=use.client)


def correct_result(
    history: tuple[HistoryItem, ...], call: str, output: str, *, failed: bool
) -> tuple[HistoryItem, ...] | None:
    """A client's function was carried out after all, though its turn is over; None: nobody waits for that.

    The model was told, or would be, that nothing came of it, and knows better in its next request.
    """
    for place, item in enumerate(history):
        if isinstance(item, ToolReturned) and item.call == call and item.client and item.failed:
            corrected = evolve(item, text=output, failed=failed)
            return (*history[:place], corrected, *history[place + 1 :])
    return None


def write_down(history: tuple[HistoryItem, ...], item: AgentSaid, limit: int) -> tuple[HistoryItem, ...]:
    """Enter what the agent said at the place that is held for its turn, else at the end."""
    if any(known.id == item.id for known in history):
        return amend(history, item)
    return remember(history, item, limit)


def amend(history: tuple[HistoryItem, ...], item: AgentSaid) -> tuple[HistoryItem, ...]:
    """Correct what the agent said in a turn, if that is remembered."""
    return tuple(item if known.id == item.id else known for known in history)


def insert(history: tuple[HistoryItem, ...], item: HistoryItem, place: int, limit: int) -> tuple[HistoryItem, ...]:
    """Enter ``item`` at that place; of more than ``limit`` items the oldest are forgotten."""
    return _bounded((*history[:place], item, *history[place:]), limit)


def cut(item: AgentSaid, played_s: float) -> AgentSaid:
    """Only so many seconds of it were heard: whole words, in proportion to its audio."""
    share = played_s / item.audio_s if item.audio_s > 0 else 0.0
    text = _words_heard(item.text, share).rstrip()
    return evolve(item, text=text, interrupted=True, audio_s=min(played_s, item.audio_s))


def without_unheard(history: tuple[HistoryItem, ...], open_turns: Container[int]) -> tuple[HistoryItem, ...]:
    """Give up the places of turns of which nothing was heard; ``open_turns`` may still turn out to have been."""
    return tuple([item for item in history if item.text or not isinstance(item, AgentSaid) or item.turn in open_turns])


def is_echo(transcript: str, spoken: str) -> bool:
    """Does the transcript only repeat what the agent itself was saying?

    An echo is a piece of the agent's words: most of its words (``_ECHO_SHARE``) come in the agent's order and close
    together. Words that are scattered over a long answer ("what is the ...") are anybody's, and so the user's.
    """
    heard = _words(transcript)
    if _length(heard) < _ECHO_WORDS:
        return False
    enough = _ECHO_SHARE * len(heard)
    own = _words(spoken)
    if _in_order(heard, own) < enough:
        return False
    # Room for the words that the recogniser left out.
    window = len(heard) + max(2, len(heard) // 2)
    known = set(heard)
    starts = (index for index, word in enumerate(own) if word in known)
    return any(_in_order(heard, own[start : start + window]) >= enough for start in starts)


def may_be_echo(partial: str, spoken: str) -> bool:
    """May a transcript so far become one that only repeats what the agent itself was saying?

    Of fewer words than an echo is told by, each must stand next to the other in the agent's words.
    """
    heard = _words(partial)
    if _length(heard) >= _ECHO_WORDS:
        return is_echo(partial, spoken)
    own, count = _words(spoken), len(heard)
    return any(own[start : start + count] == heard for start in range(len(own)))


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _LETTERS.findall(text)]


def _length(words: Sequence[str]) -> float:
    """How many words they are. Where nothing is written between words each character is one here, and about half a real one."""
    return sum(0.5 if _CHARACTER.match(word) else 1.0 for word in words)


def _in_order(heard: Sequence[str], own: Sequence[str]) -> int:
    """How many words of ``heard`` are found in ``own`` in the same order: their longest common subsequence.

    Bit-parallel, one big-integer addition a word: Hyyro, "Bit-parallel LCS-length computation revisited", 2004.
    """
    places: dict[str, int] = {}
    for index, word in enumerate(heard):
        places[word] = places.get(word, 0) | 1 << index
    everything = (1 << len(heard)) - 1
    row = everything
    for word in own:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(heard) - row.bit_count()
