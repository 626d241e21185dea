"""What is true of a conversation between any two steps, whatever led to it."""

from __future__ import annotations

from typing import Final

from flare_actors.conversation.items import ToolCalled, ToolReturned, UserSaid
from flare_actors.conversation.model import Conversation, Hearing
from flare_actors.conversation.states import Floor, Input, Mute, Output, State, TurnKind
from flare_actors.conversation.table import ACTIVE, PLAYING

__all__ = ["check_value"]

_WITH_TURN: Final = frozenset(
    {
        State.PREPARING_WELCOME,
        State.PLAYING_WELCOME,
        State.PROCESSING_SPEECH,
        State.PREPARING_RESPONSE,
        State.PLAYING_RESPONSE,
    }
)
_MOST_OPEN: Final = 8
_MOST_PAUSES: Final = 10


def check_value(c: Conversation) -> None:
    """Check what must be true of a conversation between any two steps.

    Raises:
        AssertionError: it is not.
    """
    _check_turn(c)
    _check_waiting(c)
    _check_floor(c)
    limits = c.settings.limits
    said = sum(not isinstance(item, ToolCalled | ToolReturned) for item in c.history)
    assert said <= limits.history_items, "the history is bounded"
    assert len(c.history) - said <= 2 * limits.history_items, "the history of calls is bounded"
    assert len(c.says) <= limits.say_queue, "what waits to be said is bounded"
    assert len(c.settling) <= _MOST_OPEN, "unsettled accounts are bounded"
    assert len(c.awaited) <= _MOST_OPEN, "awaited transcripts are bounded"
    assert len(c.pauses) <= _MOST_PAUSES, "what is known of the speaker's pauses is bounded"
    texts = [c.partial, *(item.text for item in c.history if isinstance(item, UserSaid)), *(say.text for say in c.says)]
    assert all(len(text) <= limits.text_chars for text in texts), (
        "what the user says, and what is to be said, is bounded"
    )
    _check_order(c)
    _check_mute(c)
    assert (c.state is State.ENDED) == (c.ended is not None), "an end has a reason"
    _check_tools(c)


def _check_order(c: Conversation) -> None:
    utterances = [awaited.utterance for awaited in c.awaited]
    assert utterances == sorted(set(utterances)), "utterances are awaited in their order, each once"
    assert all(each <= c.utterance for each in utterances), "what is awaited was said"
    turns = [settling.number for settling in c.settling] + ([] if c.turn is None else [c.turn.number])
    assert turns == sorted(set(turns)), "turns follow each other, and none is both live and over"
    assert all(each <= c.turns for each in turns), "a turn has a number that was given out"


def _check_mute(c: Conversation) -> None:
    """Who is not heard, as the client, the settings and the agent have it."""
    if c.state not in ACTIVE:
        return
    never = c.muted or c.settings.input is Input.TEXT
    match c.settings.mute:
        case Mute.NEVER:
            muted = never
        case Mute.ALWAYS:
            muted = True
        case Mute.SPEAKING:
            muted = never or c.state in PLAYING
        case Mute.WELCOME:
            muted = never or c.state in {State.INITIALIZING, State.PREPARING_WELCOME, State.PLAYING_WELCOME}
        case Mute.TOOLS:
            muted = never or (c.turn is not None and any(use.output is None for use in c.turn.calls))
    assert c.deaf is muted, f"the user is {'' if muted else 'not '}to be muted"


def _check_tools(c: Conversation) -> None:
    assert len(c.client_tools) <= c.settings.limits.tools, "the client's tools are bounded"
    assert len(c.detached) <= c.settings.limits.detached_tools, "tools in the background are bounded"
    assert c.turn is not None or not c.reports, "between turns, results are in the history"
    if c.state not in ACTIVE:
        assert not c.detached, "what goes on in the background is of no conversation any more"
        assert not c.report_due, "without a conversation there is nothing to report"
    if c.speculation is not None:
        held = c.speculation.turn.calls
        assert not any(use.client or use.detached for use in held), "what may not be wanted has no effects"
    if c.turn is not None and c.deadlines.generation is not None:
        due = [use.due for use in c.turn.calls if use.output is None]
        assert all(c.deadlines.generation > each for each in due), "a tool is waited for as long as it may take"


def _check_turn(c: Conversation) -> None:
    if c.speculation is not None:
        assert c.state is State.LISTENING and c.attached, "only a listening agent answers ahead"  # noqa: PT018
        assert c.turn is None, "nobody answers ahead while there is a turn"
        assert c.speculation.turn.number <= c.turns, "a held reply has a number of its own"
        utterance = c.speculation.utterance
        pausing = c.floor is Floor.SPEAKING and c.paused and c.utterance == utterance
        awaited = any(each.utterance == utterance for each in c.awaited)
        assert pausing or awaited, "an answer is held for a user who may have finished"
    turn = c.turn
    assert (turn is not None) == (c.state in _WITH_TURN), f"a turn lives in {sorted(s.value for s in _WITH_TURN)} only"
    if turn is None:
        return
    assert c.attached, "nobody is there to hear a turn"
    if turn.paused_at is not None:
        assert c.floor is Floor.SPEAKING or not all(awaited.nod for awaited in c.awaited), (
            "a turn stands still for a user who speaks, or who may have said more than mhm and is not understood yet"
        )
        assert c.deadlines.interruption is not None, "a turn that stands still has a deadline"
        assert turn.interruptible, "what may not be interrupted does not stand still"
        assert turn.output is Output.AUDIO, "only what is heard can stand still"
    welcome = c.state in {State.PREPARING_WELCOME, State.PLAYING_WELCOME}
    assert (turn.kind is TurnKind.WELCOME) == welcome, "a welcome has its own states"
    assert turn.playing == (c.state in PLAYING), "what is heard is PLAYING"
    assert turn.kind is TurnKind.RESPONSE or c.state is not State.PROCESSING_SPEECH, "only questions are processed"


def _check_waiting(c: Conversation) -> None:
    due = c.deadlines
    if c.state is State.ENDED:
        assert due.earliest() is None, "an ended session waits for nothing"
        return
    if c.turn is not None:
        if c.turn.waiting:
            assert due.settle is not None, "a turn that waits for its account has a deadline"
        elif c.turn.generated_s is None:
            assert due.generation is not None, "a turn being generated has a deadline"
        else:
            assert due.playback is not None, "a turn being played has a deadline"
            assert due.generation is None, "what is generated is not waited for"
    else:
        assert due.generation is due.playback is due.settle is None, "no turn, no deadline of one"
    if c.turn is None or c.turn.paused_at is None:
        assert due.interruption is None, "an interruption is waited for in silence only"
    if c.state is State.INITIALIZING and c.attached:
        assert due.initialize is not None, "an ear that opens has a deadline"
    assert (due.recovery is not None) == (c.state is State.ERROR), "ERROR, and it alone, is left by a deadline"
    if not c.attached and c.state in ACTIVE and c.settings.session_idle_s is not None:
        assert due.grace is not None or due.session_idle is not None, "a client is not waited for in vain"
    if c.attached and c.state is State.IDLE and c.settings.session_idle_s is not None:
        assert due.session_idle is not None, "a session without a conversation is not for ever"
    assert (due.transcript is not None) == bool(c.awaited), "awaited transcripts have a deadline"
    assert (due.commit is not None) == c.committing, "a commit has a deadline"
    assert (due.lifetime is not None) == (c.settings.session_max_s is not None), "a session's length has a deadline"
    assert (due.utterance is not None) == (c.floor is Floor.SPEAKING), "an utterance has a deadline"
    if c.hearing is Hearing.FAILED and c.state is not State.ERROR:
        assert due.stt_retry is not None, "a recogniser that is down is started again"
    if c.draining:
        assert due.drain is not None, "a session that drains has a deadline"
    if due.idle is not None:
        assert c.state is State.LISTENING, "only a listening agent waits for the user"
        assert c.floor is Floor.SILENT, "a speaking user is not idle"
        assert c.may_prompt or c.settings.idle_end_s is not None, "a silence that may last for ever has no deadline"


def _check_floor(c: Conversation) -> None:
    if c.state not in ACTIVE:
        assert c.floor is Floor.SILENT, "without a conversation nobody has the floor"
        assert not c.awaited, "without a conversation nothing is awaited"
        assert not c.says, "without a conversation nothing waits to be said"
        assert not c.answer_due, "without a conversation no answer is owed"
        assert c.hearing is Hearing.STOPPED, "without a conversation nobody listens"
        assert not c.unanswered, "without a conversation nothing was said"
        assert not c.committing, "without a conversation nothing is committed"
    assert c.wish is None or c.answer_due, "an answer that was asked for is owed"
    if c.state is State.LISTENING:
        assert c.hearing is not Hearing.FAILED, "a deaf agent does not pretend to listen"
        if c.attached and c.floor is Floor.SILENT and not c.awaited and not c.committing:
            waits = c.answer_due or c.says or c.apology_due or c.report_due
            assert not waits, "a free floor is taken by what waits for it"
            assert not c.draining, "a free floor ends a session that drains"
            settings = c.settings
            prompts = c.may_prompt
            if prompts or settings.idle_end_s is not None:
                assert c.deadlines.idle is not None, "silence is not for ever"
