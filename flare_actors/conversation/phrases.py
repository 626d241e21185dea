"""Tokens to speakable phrases: cut an answer while it is being written, and take out what is not for the ear.

A synthesizer wants whole sentences, a listener wants the first sound now. So the first phrase may end at a comma, and each
later one must be longer before a comma may end it: while one phrase is heard there is time to speak the next. Whether a
mark ends a sentence is decided when the character after it (and after its spaces) is known, by looking at one character
after the other: so the phrases cannot depend on how the text was cut into tokens. Only the first phrase does not wait for that
character where it would hardly say otherwise: it is a token, which the listener waits for.

Why no library? pySBD, NLTK's punkt and wtpsplit want the whole text, again with every token. stream2sentence (1.1) is made for
streams, but strips what is between sentences (of what was heard the history must be the text, to the letter), lets a list run
on, ends no sentence within a line of Chinese, and takes 59 us a character where this takes 1.3.
"""

# ruff: noqa: RUF001 - the marks of many scripts look alike, and are meant.

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["PhraseSplitter", "speakable"]

_FULL_STOPS: Final = frozenset("。｡．！？।॥۔؟։።")
"""End a sentence without a space after them (CJK), or have no other meaning (Indic, Arabic, Armenian, Ethiopic)."""
_CLAUSE_MARKS: Final = frozenset(",;:،؛、，；：—–")
_TIGHT_CLAUSE_MARKS: Final = frozenset("、，；：—")
"""Of these, the ones that no space need follow."""
_CLOSERS: Final = "\"'”’»›)]}*_`~」』）】》〉｣"
"""May stand between a full stop and the space: what closes a quotation, a bracket or an emphasis."""
_OPENERS: Final = "\"'“‘„«‹([{*_`~¿¡「『（【《〈｢-"
_NEWLINES: Final = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NEVER_LAST: Final = _words(
    "dr mr mrs ms mx prof doç st mt gen sen rep lt col capt cpt sgt maj rev hon gov pres fr messrs sn av op "
    "vs cf approx ca bzw ggf inkl evtl z.b d.h u.a e.g i.e örn bkz sra srta dña mme mlle"
)
"""Abbreviations after which a sentence goes on, whatever comes next."""
_BEFORE_NUMBER: Final = _words("no nos nr núm num fig figs vol ch chap sec eq pp pg art tel ext abs")
"""Abbreviations only where a number follows ("No. 5"); elsewhere they are words ("No. Never.")."""
_MAYBE_LAST: Final = _words("a.m p.m i")
"""Look like initials, but end a sentence where a capital follows."""

_INITIALS: Final = re.compile(r"(?:[^\W\d_]{1,2}\.)*[^\W\d_]", re.UNICODE)
"""``J``, ``U.S``, ``Ph.D``: what stands before the last dot of an initial."""
_LIST_NUMBER: Final = re.compile(r"(?:^|[\n\r])[\s>*_#+-]*\d{1,3}\Z")
_LAST_WORD: Final = re.compile(r"\S+\Z")
_SHORT_WORD: Final = 4
"""A word of up to this many letters, a dot and a small letter: an abbreviation that we do not know, or an ordinal."""

_PLAIN_END: Final = re.compile(r"(?:\A|\s)[^\W\d_]+(?:['’][^\W\d_]+)*[,!?]\Z")
"""A word and a mark that ends a clause or a sentence, whatever follows: no number, no address."""
_QUOTED: Final = re.compile(r"[\"“”„«»‹›(){}\[\]*_`~]|(?:\A|\s)['‘]")
"""Something is opened, and what closes it belongs to the phrase."""

_GROWTH: Final = 10
"""How much longer each next phrase must be before a comma may end it. A voice speaks about 15 characters a second, and a model
writes 200 or more: while one phrase is heard, the next, much larger one is made."""


class PhraseSplitter:
    """Cut the text of one answer into phrases to be spoken, as it grows.

    All phrases, concatenated, are the text. They depend on the text alone, not on how it was cut into tokens. Each call is
    quick (about a microsecond a character) and the memory is bounded by ``max_chars``.

    Args:
        first_chars: from this length on (that of "Well, ") a comma, or another mark between clauses, may end the first
            phrase. Wide (CJK) characters count twice here and below: they are spoken for longer.
        max_chars: no phrase is longer; a run of text without marks is cut at a space.
    """

    def __init__(self, *, first_chars: int = 6, max_chars: int = 220) -> None:
        if first_chars < 1 or max_chars < 1:
            raise ValueError("first_chars and max_chars count characters: at least 1")
        self._first_chars = first_chars
        self._max_chars = max_chars
        self._start()

    def _start(self) -> None:
        self._text = ""
        self._length = 0
        self._clause_chars = self._first_chars
        self._at_line_start = True
        self._waited_for = True

    def feed(self, text: str) -> list[str]:
        """The phrases that ``text`` completes, in order; often none."""
        done: list[str] = []
        at = 0
        while at < len(text):
            if not self._text or self._text[-1].isalnum():
                # Words after a word, as most tokens are, end nothing: the rules below need not look at each letter.
                words = _WORDS.match(text, at, at + self._max_chars - self._length)
                if words:
                    self._text += words.group()
                    self._length += words.end() - at
                    at = words.end()
                    continue
            char = text[at]
            at += 1
            if self._text and self._ends_before(char):
                done.append(self._cut(len(self._text)))
            self._text += char
            self._length += _width(char)
            if self._waited_for and char in ",!?" and self._ends_at_once(char):
                done.append(self._cut(len(self._text)))
            while self._length > self._max_chars and len(self._text) > 1:
                done.append(self._cut(self._long_cut()))
        return done

    def flush(self) -> list[str]:
        """The rest of the answer, if there is one; the splitter is then as new."""
        rest = [self._text] if self._text else []
        self._start()
        return rest

    def _cut(self, end: int) -> str:
        phrase, self._text = self._text[:end], self._text[end:]
        self._length = sum(map(_width, self._text))
        if _has_words(phrase):
            self._clause_chars = min(self._clause_chars * _GROWTH, self._max_chars)
            self._waited_for = False
        self._at_line_start = not _NEWLINES.isdisjoint(phrase[len(phrase.rstrip()) :])
        return phrase

    def _long_cut(self) -> int:
        """Where to cut a text that has become too long: after a clause in its second half, after a word, or anywhere."""
        text = self._text
        word = clause = 0
        for index in range(2, len(text)):
            if text[index - 1].isspace() and not text[index].isspace():
                word = index
                before = text[:index].rstrip().rstrip(_CLOSERS)
                if before and before[-1] in _CLAUSE_MARKS:
                    clause = index
        if clause > len(text) // 2:
            return clause
        if _has_words(text[:word]):
            return word
        cut = len(text) - 1
        while cut > 1 and _joins(text[cut]):
            cut -= 1
        return cut

    def _ends_at_once(self, mark: str) -> bool:
        """Is the first phrase complete with this mark, whatever comes next?"""
        long_enough = mark != "," or self._length + 1 >= self._clause_chars
        return long_enough and bool(_PLAIN_END.search(self._text)) and not _QUOTED.search(self._text)

    def _ends_before(self, char: str) -> bool:
        """Is what was gathered so far a phrase, now that ``char`` is known to come next?"""
        if char.isspace():
            return False
        text = self._text
        body = text.rstrip()
        if len(body) < len(text):
            return _has_words(body) and self._ends_at_space(body, text[len(body) :], char)
        last = text[-1]
        if last.isalnum() or char in _CLOSERS or char in _FULL_STOPS:
            return False
        core = text.rstrip(_CLOSERS)
        if not _has_words(core):
            return False
        mark = core[-1]
        if mark in _FULL_STOPS or (mark in "!?" and _width(char) == 2):
            return char not in "!?."
        # The second dash of a pair, or a mark of its own, belongs to the first.
        return mark in _TIGHT_CLAUSE_MARKS and char not in _CLAUSE_MARKS and self._length >= self._clause_chars

    def _ends_at_space(self, body: str, gap: str, char: str) -> bool:
        if not _NEWLINES.isdisjoint(gap):
            return True  # A line, an item or a paragraph.
        core = body.rstrip(_CLOSERS)
        mark = core[-1]
        # "Really?" she asked.
        goes_on = len(core) < len(body) and char.islower()
        if mark in _FULL_STOPS:
            return True
        if mark in "!?":
            return not goes_on
        if mark == "…" or core.endswith(".."):
            return not char.islower()
        if mark == ".":
            return not goes_on and not self._is_abbreviation(core[:-1], char)
        return mark in _CLAUSE_MARKS and self._length >= self._clause_chars

    def _is_abbreviation(self, before: str, char: str) -> bool:
        """Is the dot after ``before`` part of its last word, or of a number, rather than a full stop?"""
        if self._at_line_start and _LIST_NUMBER.search(before):
            return True
        if "\n" in before and _LIST_NUMBER.search(before[before.rindex("\n") :]):
            return True
        found = _LAST_WORD.search(before)
        word = found.group().lstrip(_OPENERS).casefold() if found else ""
        if not word:
            return False
        if word in _MAYBE_LAST:
            return char.islower() or char.isdigit()
        if word in _NEVER_LAST or _INITIALS.fullmatch(word):
            return True
        if word in _BEFORE_NUMBER and char.isdigit():
            return True
        return char.islower() and len(word) <= _SHORT_WORD


_WORDS: Final = re.compile(" ?[A-Za-z0-9]+(?: [A-Za-z0-9]+)*")


def _width(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def _joins(char: str) -> bool:
    """Does this character belong to the one before it?"""
    return unicodedata.category(char).startswith("M") or char == "\u200d" or 0x1F3FB <= ord(char) <= 0x1F3FF


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


# --- What is not for the ear -----------------------------------------------------------------------------------------------

_EMOJI: Final = re.compile(
    "[\U0001f000-\U0001faff\U000e0020-\U000e007f\u2190-\u21ff\u2300-\u23ff\u2460-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\ufe0e\ufe0f\u20e3]\u200d?"
)
_ESCAPED: Final = re.compile(r"\\([\\`*_{}\[\]()#+.!|~<>-])")
_IMAGE_OR_LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
_LINK_END: Final = re.compile(r"\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*\)")
"""The end of a link whose beginning is in the phrase before."""
_URL: Final = re.compile(
    r"<?\b(?:https?|ftp)://(?:www\.)?([^\s/?#<>()\[\]\"'*`|]+)([^\s<>()\[\]\"'*`|]*)>?", re.IGNORECASE
)
_BARE_WWW: Final = re.compile(r"\bwww\.([^\s/?#<>()\[\]\"'*`|]+)([^\s<>()\[\]\"'*`|]*)", re.IGNORECASE)
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]*>")
_FENCE: Final = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.MULTILINE)
_RULE: Final = re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", re.MULTILINE)
_TABLE_RULE: Final = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$", re.MULTILINE)
_LINE_MARK: Final = re.compile(
    r"^[ \t]*(?:>[ \t]*)*(?:#{1,6}(?=\s|$)|(?:[-*+•‣◦▪·](?=\s)))?[ \t]*(?:\[[ xX]\](?=\s))?", re.MULTILINE
)
_CELL: Final = re.compile(r"[ \t]*\|[ \t]*")
_TIMES: Final = re.compile(r"(?<=\d)[ \t]*\*[ \t]*(?=\d)")
_INNER_UNDERSCORE: Final = re.compile(r"(?<=\w)_+(?=\w)")
_HASHTAG: Final = re.compile(r"(?<!\w)#(?=[^\W\d])")


def speakable(phrase: str) -> str:
    """What a synthesizer is to be given of a phrase; may be empty: then there is nothing to be said.

    Marks of emphasis, headings, list bullets, code fences, table borders and emoji go; a link keeps its text, a bare address
    its host ("https://www.example.com/a?b=c" is "example.com"). Pure, and total: any text will do, also half a link.
    """
    ordinary = _ORDINARY.fullmatch(phrase) and "www." not in phrase.lower()  # As most are.
    text = phrase if ordinary else _without_marks(phrase)
    # A phrase may have ended at the first of two marks ("Really?!"): the other one is not spoken.
    text = " ".join(text.split()).lstrip(" ,!?").rstrip(" ,")
    return text if _has_words(text) else ""


_ORDINARY: Final = re.compile(r"(?:[A-Za-z0-9 .!?':;]|,(?!\s*,))*")


def _without_marks(phrase: str) -> str:
    text = _ESCAPED.sub(r"\1", phrase)
    text = _FENCE.sub(" ", text)
    text = _RULE.sub(" ", text)
    text = _TABLE_RULE.sub(" ", text)
    text = _IMAGE_OR_LINK.sub(r"\1", text)
    text = _LINK_END.sub("", text)
    text = _BARE_WWW.sub(_host, _URL.sub(_host, text))
    text = _TAG.sub(" ", text)
    text = _EMOJI.sub("", text)
    text = _LINE_MARK.sub("", text)
    text = _CELL.sub(", ", text)
    text = _TIMES.sub(" × ", text)
    text = _HASHTAG.sub("", text)
    text = _INNER_UNDERSCORE.sub(" ", text)
    text = re.sub(r"[*_`\[\]]+|~~+", "", text)
    # Emptied table cells and list items leave marks behind that a voice would stumble over.
    return re.sub(r"(?:,\s*)+(?=,)", "", " ".join(text.split()))


def _host(match: re.Match[str]) -> str:
    """The host, and the full stop of the sentence that a greedy address has swallowed."""
    whole = match.group(1) + match.group(2)
    end = whole[len(whole.rstrip(".,;:!?")) :]
    return match.group(1).rstrip(".,;:!?").partition(":")[0] + end
