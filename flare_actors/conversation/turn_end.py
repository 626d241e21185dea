"""Has the user finished, or only stopped to think? How long a silence is waited for, by what is known of the pause.

Every rule is a small pure function; together they place a pause on a scale of four (``Ending``), and the scale and the
settings give the wait. The wait lies between ``endpoint_min_s`` and ``endpoint_max_s``; where nothing is known it is
``endpoint_s``. Sources stand with the rules; the words are English ones, and a language that has none here is waited for
by its punctuation, the turn-end model and the speaker's own pauses alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from flare_actors.conversation.commands import SetEndpoint
from flare_actors.conversation.states import Endpointing, SttMode

if TYPE_CHECKING:
    from flare_actors.conversation.draft import BareDraft
    from flare_actors.conversation.settings import Settings

__all__ = [
    "FILLERS",
    "Ending",
    "ends_in_comma",
    "ends_in_filler",
    "ends_in_number",
    "ends_mid_phrase",
    "ends_sentence",
    "hinted",
    "judge",
    "language",
    "note_pause",
    "own_pause_s",
    "read_ending",
    "wait_s",
    "words_of",
]


class Ending(IntEnum):
    """What a pause looks like, from the shortest wait to the longest."""

    FINISHED = 0
    UNKNOWN = 1
    OPEN = 2
    HESITATING = 3


_SENTENCE_ENDS: Final = (".", "?", "!", "\u3002", "\uff1f", "\uff01", "\u061f")
_SUSPENSIONS: Final = ("...", "\u2026", "-", "\u2013", "\u2014")
_COMMAS: Final = (",", ";", ":", "\uff0c", "\u3001", "\u060c")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")

FILLERS: Final[Mapping[str, frozenset[str]]] = {
    "en": _set("um uh uhm umm uhh erm er eh ah ahm hm hmm mm huh"),
    "tr": _set("\u0131\u0131 \u0131\u0131\u0131 eee \u015fey hani"),
    "de": _set("\u00e4h \u00e4hm \u00f6h hm"),
    "fr": _set("euh heu hein ben"),
    "es": _set("eh em este pues"),
}
_EDITING: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "en": (("you", "know"), ("i", "mean"), ("let", "me", "see"))
}
# What cannot end an English clause: it wants a word after it. Particles that can ("turn it on", "come in") are left out.
_WANTS_MORE: Final[Mapping[str, frozenset[str]]] = {
    "en": _set(
        "a an the my your his its our their every "
        "to of for from with at by into onto about between than as via per "
        "and or but because if whether unless although while since until "
        "be been i we they he she whose which "
        "very really quite"
    ),
}
# These end a sentence behind a pronoun ("yes, I do", "it is") and want more behind anything else ("my number is").
_AUXILIARIES: Final = _set(
    "is are was were am do does did has have had can could will would shall should may might must"
)
_SUBJECTS: Final = _set("i you he she it we they that this there")
_NUMBERS: Final = _set(
    "zero oh one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty "
    "ninety hundred thousand"
)
_NOT_DICTATED: Final = _set(
    "the this that these those other another which each every any no last next first second only same "
    "at by before after till until around about"
)
"""A number word behind these is a time ("at seven") or a pronoun ("the other one")."""


# --- The rules, one by one ------------------------------------------------------------------------------------------------


def ends_sentence(text: str) -> bool:
    """The recogniser closed the sentence: it punctuates when it takes the thought for complete.

    Vapi's ``transcriptionEndpointingPlan`` waits 0.1 s after punctuation and 1.5 s without, for that reason.
    """
    return text.rstrip().endswith(_SENTENCE_ENDS) and not text.rstrip().endswith(_SUSPENSIONS)


def ends_in_comma(text: str) -> bool:
    """The recogniser expects the sentence to go on (the same source); it is wrong about every second time."""
    return text.rstrip().endswith((*_COMMAS, *_SUSPENSIONS))


def ends_in_filler(text: str, locale: str = "en") -> bool:
    """The last word announces a delay: "um", "uh", "you know".

    Speakers announce a minor delay by "uh", a major one by "um": Clark and Fox Tree, "Using uh and um in spontaneous
    speaking" (Cognition 84, 2002).
    """
    words = words_of(text)
    spoken = language(locale)
    if words and words[-1] in FILLERS.get(spoken, frozenset()):
        return True
    # "You know?" alone is a question; behind other words it buys time.
    return any(len(words) > len(each) and tuple(words[-len(each) :]) == each for each in _EDITING.get(spoken, ()))


def ends_mid_phrase(text: str, locale: str = "en") -> bool:
    """The last word wants another one: "please send it to", "my number is".

    Turns change hands where a sentence, clause or phrase is complete: Sacks, Schegloff and Jefferson, "A simplest systematics
    for the organization of turn-taking for conversation" (Language 50, 1974). Such completeness is among the cues that yield
    the turn: Gravano and Hirschberg, "Turn-taking cues in task-oriented dialogue" (Computer Speech and Language 25, 2011).
    """
    words = words_of(text)
    spoken = language(locale)
    if not words or spoken not in _WANTS_MORE:
        return False
    last = words[-1]
    if last in _AUXILIARIES:
        return len(words) > 1 and words[-2] not in _SUBJECTS
    return len(words) > 1 and last in _WANTS_MORE[spoken]


def ends_in_number(text: str) -> bool:
    """Digits are dictated in groups, and each group is punctuated like a sentence (Vapi's ``onNumberSeconds``: 0.4 s).

    Nobody dictates "the other one" or "at seven".
    """
    words = words_of(text)
    if not words or not (words[-1].isdigit() or words[-1] in _NUMBERS):
        return False
    return len(words) < 2 or words[-2] not in _NOT_DICTATED


def read_ending(text: str, locale: str = "en") -> Ending:
    """What the transcript so far looks like; the first rule that applies counts."""
    if not text.strip():
        return Ending.UNKNOWN
    if ends_in_filler(text, locale) or ends_mid_phrase(text, locale):
        return Ending.HESITATING
    if ends_in_comma(text):
        return Ending.OPEN
    if ends_sentence(text) and not ends_in_number(text):
        return Ending.FINISHED
    return Ending.UNKNOWN


INCOMPLETE: Final = 0.5
"""Below this a turn-end model says that the user goes on (smart-turn's own threshold)."""


def hinted(ending: Ending, estimate: float | None) -> Ending:
    """A turn-end model moves the ending by one, and never past what the words say plainly.

    smart-turn v3 says "complete" to half of the incomplete clips, so that its "complete" only takes back a comma; its
    "incomplete" is worth more.
    """
    if estimate is None or ending is Ending.HESITATING:
        return ending
    if estimate < INCOMPLETE:
        return Ending(ending + 1)
    return Ending.UNKNOWN if ending is Ending.OPEN and estimate > INCOMPLETE else ending


_REMEMBERED: Final = 10
"""Pauses of the speaker's that are remembered."""
_ENOUGH: Final = 3
"""... from which on they tell something."""
_MARGIN: Final = 1.15
_PAUSE_S: Final = 0.2
"""A silence shorter than this is no pause: stops within words are as long (Heldner, Edlund, "Pauses, gaps and overlaps in
conversations", Journal of Phonetics 38, 2010, take 0.18 s)."""


def note_pause(pauses: Sequence[float], pause_s: float) -> tuple[float, ...]:
    """Remember a pause after which the user went on; a silence too short to be one tells nothing of the speaker."""
    if pause_s < _PAUSE_S:
        return tuple(pauses)
    return (*pauses, pause_s)[-_REMEMBERED:]


def own_pause_s(pauses: Sequence[float]) -> float:
    """How long this speaker pauses within a turn: four of five of the last pauses were shorter; 0 while too few are known.

    The length of pauses varies greatly between speakers: Lundholm Fors, "Production and perception of pauses in speech"
    (doctoral thesis, Gothenburg 2015). LiveKit Agents' dynamic endpointing follows them by a moving average.
    """
    if len(pauses) < _ENOUGH:
        return 0.0
    return sorted(pauses)[(4 * len(pauses) + 4) // 5 - 1] * _MARGIN


def wait_s(settings: Settings, ending: Ending, own_s: float = 0.0) -> float:
    """The silence that ends an utterance, in seconds: by its ending, and never shorter than the speaker's own pauses.

    | ending | wait |
    | --- | --- |
    | FINISHED | ``endpoint_min_s``, or the speaker's own pauses up to ``endpoint_s`` |
    | UNKNOWN | ``endpoint_s``, or the speaker's own pauses |
    | OPEN | half-way to ``endpoint_max_s``, or the speaker's own pauses |
    | HESITATING | ``endpoint_max_s`` |
    """
    least, usual, most = settings.endpoint_min_s, settings.endpoint_s, settings.endpoint_max_s
    least, most = min(least, usual), max(most, usual)
    by_ending = {
        Ending.FINISHED: (least, usual),
        Ending.UNKNOWN: (usual, most),
        Ending.OPEN: ((usual + most) / 2, most),
        Ending.HESITATING: (most, most),
    }
    wait, bound = by_ending[ending]
    return min(max(wait, own_s), bound)


# --- In the core ----------------------------------------------------------------------------------------------------------


def judge(d: BareDraft, *, nods: bool) -> Ending:
    """How long the ear is to wait in the present pause, by what is known now; told only when it changes.

    The wait is settled once nothing more will become known of the pause; until then the ear takes its time.

    Args:
        d: the step in the making.
        nods: what was said so far is a listener's "mhm", which is whole as it is.
    """
    c = d.c
    settings = c.settings
    ending = hinted(Ending.FINISHED if nods else read_ending(c.partial, settings.locale), c.turn_end)
    if settings.endpointing is Endpointing.ADAPTIVE:
        text_known = bool(c.partial) or settings.stt_mode is SttMode.BATCH or c.unheard
        wait = SetEndpoint(
            utterance=c.utterance,
            pause=c.pause,
            silence_s=wait_s(settings, ending, own_pause_s(c.pauses)),
            settled=text_known and (c.turn_end is not None or not c.estimates),
        )
        if c.paused and wait != c.endpoint:
            d.set(endpoint=wait)
            d.emit(wait)
    return ending


def words_of(text: str) -> list[str]:
    """The words of a transcript in lower case, without what stands between them."""
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]


def language(locale: str) -> str:
    """The language of a locale: ``en`` of ``en-US``."""
    return re.split("[-_]", locale)[0].lower()
