"""Answering ahead: a reply that is generated while the user may still go on, and held until it is known to be wanted.

At the soft endpoint (``soft_endpoint_s`` of silence) the transcript so far is asked of the model. At the hard endpoint, if
what is to be answered is the very same request, the held reply becomes the live turn; in every other case it is withdrawn
unheard, and its turn number stays unused. The agent's state is LISTENING all the while: a speculation is a field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flare_actors.conversation.commands import CancelReply, FlushPlayback, ReleaseReply, StartReply
from flare_actors.conversation.history import UserSaid, is_echo, remember, without_unheard
from flare_actors.conversation.interruption import contest
from flare_actors.conversation.messages import build_messages
from flare_actors.conversation.model import Speculation, Turn, Wish
from flare_actors.conversation.notices import TurnStarted, TurnUsage
from flare_actors.conversation.states import Floor, Output, Reason, State, TurnDetection, TurnKind
from flare_actors.conversation.values import evolve

if TYPE_CHECKING:
    from flare_actors.conversation.history import HistoryItem
    from flare_actors.conversation.moves import Draft

__all__ = ["MOST", "answer_request", "release", "speculate", "withdraw", "withdraw_if_unwanted"]

MOST: Final = 4
"""Speculations for one pause: a recogniser that changes its mind at every chunk is not followed for ever."""


def answer_request(
    d: Draft,
    turn: int,
    history: tuple[HistoryItem, ...],
    output: Output,
    *,
    held: bool = False,
    wish: Wish | None = None,
) -> StartReply:
    """What the model is asked after ``history``: without a wish, to answer the user's words, which come last then."""
    settings = d.c.settings
    if wish is not None:
        return StartReply(
            turn=turn,
            kind=TurnKind.RESPONSE,
            locale=settings.locale,
            output=output,
            messages=build_messages(history if wish.items is None else wish.items, go_on=True),
            instructions=wish.instructions or settings.instructions,
            replace=wish.replace or (wish.instructions is None and settings.instructions is not None),
            tools=d.c.client_tools if wish.tools is None else wish.tools,
            tool_choice=wish.tool_choice or d.c.tool_choice,
            max_tokens=settings.answer_tokens if wish.max_tokens is None else wish.max_tokens or None,
        )
    return StartReply(
        turn=turn,
        kind=TurnKind.RESPONSE,
        locale=settings.locale,
        output=output,
        messages=build_messages(history),
        instructions=settings.instructions,
        replace=settings.instructions is not None,
        tools=d.c.client_tools,
        tool_choice=d.c.tool_choice,
        max_tokens=settings.answer_tokens,
        held=held,
    )


def speculate(d: Draft) -> None:
    """The user pauses: have the words so far answered, if they may be all, and nothing else must be known first."""
    c = d.c
    text = c.partial.strip()
    if c.settings.soft_endpoint_s is None or not text or not _may_answer(d) or c.speculations_left == 0:
        return
    guarded = c.overheard and c.settings.barge_in.guards
    if guarded and is_echo(text, c.last_spoken):
        return
    history = remember(without_unheard(c.history, set()), UserSaid(text=text), c.settings.limits.history_items)
    number = c.turns + 1
    request = answer_request(d, number, history, c.settings.output, held=True)
    if c.speculation is not None:
        if c.speculation.request == evolve(request, turn=c.speculation.turn.number):
            return
        withdraw(d, Reason.BARGE_IN)
    turn = Turn(number=number, kind=TurnKind.RESPONSE, output=c.settings.output)
    d.set(
        turns=number,
        speculation=Speculation(utterance=c.utterance, turn=turn, started=d.at, request=request),
        speculated=c.speculated + 1,
        speculations_left=c.speculations_left - 1,
    )
    d.emit(request)


def _may_answer(d: Draft) -> bool:
    """Would an answer be asked for at once, if the utterance in progress ended now?"""
    c = d.c
    by_itself = c.settings.auto_answer and c.settings.turn_detection is TurnDetection.AUTOMATIC
    free = by_itself and c.state is State.LISTENING and not c.awaited and not c.answer_due
    return free and c.paused and not c.unheard and all(settling.settled for settling in c.settling)


def release(d: Draft) -> bool:
    """Make the held reply the live turn, if it answers just what is to be answered now; else it is the caller's to withdraw."""
    held = d.c.speculation
    if held is None or d.c.wish is not None:
        return False
    number = held.turn.number
    history = without_unheard(d.c.history, set())
    waits = any(not settling.settled for settling in d.c.settling)
    if waits or answer_request(d, number, history, d.c.settings.output, held=True) != held.request:
        return False
    marks = evolve(
        d.c.asked,
        begun=held.started,
        first_token=held.turn.marks.first_token,
        first_phrase=held.turn.marks.first_phrase,
    )
    turn = evolve(held.turn, marks=marks)
    d.set(
        speculation=None,
        turn=turn,
        answer_due=False,
        unanswered=False,
        apology_due=False,
        report_due=False,
        settling=(),
        history=history,
        released=d.c.released + 1,
    )
    d.tell(TurnStarted(turn=number, kind=TurnKind.RESPONSE, output=turn.output))
    for read, written in turn.tokens:
        d.tell(TurnUsage(turn=number, input_tokens=read, output_tokens=written))
    d.go(State.PROCESSING_SPEECH)
    if turn.phrases:
        d.go(State.PREPARING_RESPONSE)
    d.wait(generation=turn.generation_due(d.at, d.c.settings.timeouts))
    contest(d)
    d.emit(ReleaseReply(turn=number))
    if held.turn.generated_s is not None:
        d.generated(held.turn.generated_s)
    return True


def withdraw(d: Draft, reason: Reason) -> None:
    """Cancel the held reply, if there is one: nobody will ever know of it."""
    held = d.c.speculation
    if held is not None:
        work_s = max(0.0, (d.at if held.finished is None else held.finished) - held.started)
        d.set(speculation=None, wasted=d.c.wasted.more(work_s), waste=d.c.waste.more(work_s))
        d.emit(CancelReply(turn=held.turn.number, reason=reason), FlushPlayback(turn=held.turn.number))


def withdraw_if_unwanted(d: Draft) -> None:
    """After each step: whatever happened, a held reply needs a user who may have finished."""
    held = d.c.speculation
    if held is None:
        return
    c = d.c
    pausing = c.floor is Floor.SPEAKING and c.paused and c.utterance == held.utterance
    wanted = pausing or any(awaited.utterance == held.utterance for awaited in c.awaited)
    if not wanted:
        withdraw(d, Reason.BARGE_IN)
