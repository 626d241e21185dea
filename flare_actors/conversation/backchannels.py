"""What the words of a listener do: "mhm" asks the speaker to go on, anything else takes the floor.

Such words are backchannels: Yngve, "On getting a word in edgewise" (Papers from the Sixth Regional Meeting of the Chicago
Linguistic Society, 1970). The lists are short on purpose: a word that is missing here costs an interruption, as every word
does, and one too many costs the user's "no". A language that has no list is heard to hum, and to say "okay".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from flare_actors.conversation.turn_end import FILLERS, language, words_of

__all__ = ["Said", "read_words"]


class Said(Enum):
    """What the words of who speaks over the agent amount to."""

    NOTHING = "nothing"
    """There is none yet, or only the "um" with which people begin."""
    BACKCHANNEL = "backchannel"
    """Go on, I am listening."""
    WORDS = "words"
    """Something to be answered."""


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    """Backchannels of one or more words, separated by commas."""
    return frozenset(tuple(phrase.split()) for phrase in text.split(","))


_EVERYWHERE: Final = _phrases("mhm, mmhm, mm, mmm, hm, hmm, hmmm, mm hm, mm hmm, m hm, uh huh, aha, ah, oh, ok, okay")
"""Hums, and the word that all languages have borrowed."""
_BACKCHANNELS: Final[Mapping[str, frozenset[tuple[str, ...]]]] = {
    # The most frequent ones in the Switchboard corpus: Jurafsky, Shriberg, Fox and Curl, "Lexical, prosodic, and syntactic
    # cues for dialog acts" (ACL/COLING workshop on discourse relations and discourse markers, 1998).
    "en": _phrases(
        "yes, yeah, yep, yup, yah, right, sure, i see, all right, alright, exactly, true, got it, wow, really"
    ),
    # Clancy, Thompson, Suzuki and Tao, "The conversational use of reactive tokens in English, Japanese, and Mandarin" (Journal
    # of Pragmatics 26, 1996).
    "ja": _phrases(
        "はい, うん, うーん, ええ, ああ, あー, へえ, へー, ふん, ふーん, そう, そうですね, そうですか, なるほど, ほんと"
    ),
    "zh": _phrases("嗯, 对, 對, 是, 是的, 好, 好的, 哦, 喔, 啊"),
    # Of these no counts were at hand: what asks a speaker to go on, by our own choice (a continuer, as in Schegloff, "Discourse
    # as an interactional achievement", 1982).
    "de": _phrases("ja, jaja, genau, ach so, achso, stimmt, richtig, klar, verstehe, gut, alles klar"),
    "fr": _phrases("oui, ouais, d'accord, voilà, je vois, bien sûr, ah bon, exactement"),
    "es": _phrases("sí, si, ajá, claro, vale, ya, ya veo, bueno, de acuerdo, exacto"),
    "tr": _phrases(
        "evet, h\u0131 h\u0131, h\u0131h\u0131, h\u0131h\u0131m, tamam, aynen, tabii, tabi, anlad\u0131m, doğru, ya, öyle"
    ),
}
_LONGEST: Final = max(len(phrase) for known in (_EVERYWHERE, *_BACKCHANNELS.values()) for phrase in known)
_UNSPACED: Final[Mapping[str, tuple[str, ...]]] = {
    each: tuple(sorted((word for (word,) in _BACKCHANNELS[each]), reverse=True)) for each in ("ja", "zh")
}
"""Where nothing is written between words several of them, and one said again and again, look like one. Longer ones stand before
what they begin with."""


def read_words(text: str, locale: str) -> Said:
    """What a transcript, whole or so far, of who speaks over the agent amounts to.

    Args:
        text: as the recogniser writes it.
        locale: BCP 47 tag of what is spoken.
    """
    spoken = language(locale)
    known = _EVERYWHERE | _BACKCHANNELS.get(spoken, frozenset())
    words = words_of(text)
    said = Said.NOTHING
    at = 0
    while at < len(words):
        length = next((n for n in range(_LONGEST, 0, -1) if tuple(words[at : at + n]) in known), 0)
        if length or _is_made_of(words[at], _UNSPACED.get(spoken, ())):
            said = Said.BACKCHANNEL
        elif words[at] not in FILLERS.get(spoken, frozenset()):
            return Said.WORDS
        at += length or 1
    return said


def _is_made_of(word: str, parts: tuple[str, ...]) -> bool:
    """Is it one of them after the other, and nothing else?"""
    at = 0
    while at < len(word):
        part = next((each for each in parts if word.startswith(each, at)), None)
        if part is None:
            return False
        at += len(part)
    return True
