"""The user speaks while the agent is at it: first the agent is silent, then it is decided who goes on.

Phase one: as soon as the user begins to speak the turn's output stands still, heard or not yet heard. Phase two: words that ask
for an answer, or so much voice that they are not waited for, make it an interruption, and the turn is cancelled; anything else
(a cough, "mhm", the agent's own echo, nothing more for ``false_interruption_s``) lets it go on at the very sample. Words that
are understood later than that still interrupt.

To stop first and to decide afterwards is what people do: overlapping talk is mostly resolved within a beat, by one who drops
out (Schegloff, "Overlapping talk and the organization of turn-taking for conversation", Language in Society 29, 2000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flare_actors.conversation.backchannels import Said, read_words
from flare_actors.conversation.commands import PausePlayback, ResumePlayback
from flare_actors.conversation.history import may_be_echo
from flare_actors.conversation.model import Hearing
from flare_actors.conversation.notices import PlaybackPaused, PlaybackResumed
from flare_actors.conversation.states import BargeIn, Floor, Output, Reason, TurnKind
from flare_actors.conversation.table import ON_SPEECH, PLAYING, OnSpeech
from flare_actors.conversation.values import evolve

if TYPE_CHECKING:
    from flare_actors.conversation.draft import BareDraft
    from flare_actors.conversation.model import Turn
    from flare_actors.conversation.moves import Draft

__all__ = [
    "LAST_WORDS_S",
    "contest",
    "decide",
    "give_way",
    "goes_by_length",
    "may_take_floor",
    "nods",
    "only_listens",
    "resume_if_unopposed",
    "weigh",
]

LAST_WORDS_S: Final = 1.0
"""What is said over so little of the agent's last words is said to all of them: "... more tea?" - "Yes." """


def may_take_floor(d: BareDraft) -> bool:
    """May the user's speech take the floor, as the joint table, the settings and the turn have it?"""
    action = ON_SPEECH[d.c.state]
    if action is OnSpeech.IGNORE:
        return False
    if d.c.turn is None:
        return True
    if not d.c.turn.interruptible or d.c.settings.barge_in is BargeIn.LATER:
        return False
    spontaneous = d.c.turn.kind is not TurnKind.RESPONSE
    return d.c.settings.barge_in is not BargeIn.OFF or (action is OnSpeech.WITHDRAW and not spontaneous)


# --- Phase one ------------------------------------------------------------------------------------------------------------


def contest(d: BareDraft) -> None:
    """The user speaks, or a turn begins while the user does: it is silent until that is decided."""
    turn, wait_s = d.c.turn, d.c.settings.false_interruption_s
    if turn is None or turn.output is Output.TEXT or d.c.floor is not Floor.SPEAKING or wait_s == 0:
        return
    if not may_take_floor(d):
        return
    d.wait(interruption=d.at + wait_s)
    if turn.paused_at is not None:
        return
    d.set(turn=evolve(turn, paused_at=d.at))
    if not turn.waiting:
        d.emit(PausePlayback(turn=turn.number))
    d.tell(PlaybackPaused(turn=turn.number))


def resume_if_unopposed(d: BareDraft) -> None:
    """After each step: whatever happened, a silent turn needs a user who speaks, or words of the user's that are due."""
    turn = d.c.turn
    opposed = d.c.floor is Floor.SPEAKING or not all(awaited.nod for awaited in d.c.awaited)
    if turn is not None and turn.paused_at is not None and not opposed:
        _resume(d, turn, turn.paused_at)


def _resume(d: BareDraft, turn: Turn, paused_at: float) -> None:
    d.set(turn=evolve(turn, paused_at=None, resumed_at=d.at))
    due, lost_s = d.c.deadlines, d.at - paused_at
    d.wait(
        interruption=None,
        playback=None if due.playback is None else due.playback + lost_s,
        generation=None if due.generation is None else due.generation + lost_s,
    )
    # The client is told before the audio comes.
    d.tell(PlaybackResumed(turn=turn.number))
    d.emit(ResumePlayback(turn=turn.number))


# --- Phase two ------------------------------------------------------------------------------------------------------------


def give_way(d: Draft) -> None:
    """It is an interruption: the floor is the user's."""
    d.set(confirmed=True, prompts=0)
    if d.c.turn is not None:
        d.take_back(Reason.BARGE_IN)
        d.listen(Reason.BARGE_IN)


def goes_by_length(d: BareDraft, *, overdue: bool) -> bool:
    """Does so much voice alone make an interruption?

    Where a turn is to be interrupted and words are told while they are spoken, the first one is waited for until it is
    ``overdue``; and words that are known and do not interrupt do so at any length.
    """
    c = d.c
    words_come = c.partials and c.hearing is Hearing.READY and not c.unheard
    return c.turn is None or (not c.worded and (overdue or not words_come))


def weigh(d: Draft, text: str) -> None:
    """The words so far of who speaks: does one of them interrupt?"""
    turn = d.c.turn
    if turn is None or not may_take_floor(d):
        return
    said = read_words(text, d.c.settings.locale)
    if said is Said.NOTHING:
        return
    guarded = d.c.overheard and d.c.settings.barge_in.guards
    # What is not heard yet has no echo: there it can only be that of the turn before.
    own = turn.text if d.c.state in PLAYING else d.c.last_spoken
    if only_listens(d, text, overheard=d.c.overheard) or (guarded and may_be_echo(text, own)):
        d.set(worded=True)
    else:
        give_way(d)


def only_listens(d: BareDraft, text: str, *, overheard: bool) -> bool:
    """Is that what a listener says to who speaks? Where the agent is not heard, "yes" is an answer."""
    return overheard and d.c.state in PLAYING and read_words(text, d.c.settings.locale) is not Said.WORDS


def nods(d: BareDraft) -> bool:
    """Do the words so far of who speaks over the agent ask it to go on? Of an "um" that is not known, nor of no words."""
    said = read_words(d.c.partial, d.c.settings.locale)
    return said is Said.BACKCHANNEL and only_listens(d, d.c.partial, overheard=d.c.overheard)


def decide(d: Draft) -> None:
    """Nothing has come of it for ``false_interruption_s``: go on; but not over a user who has spoken for long."""
    turn = d.c.turn
    assert turn is not None
    assert turn.paused_at is not None
    if d.c.floor is Floor.SPEAKING and d.c.confirmed and may_take_floor(d):
        give_way(d)
    else:
        _resume(d, turn, turn.paused_at)
