"""What a client, its link, the embedder and the server ask for."""

from __future__ import annotations

from flare_actors.conversation.calls import ToolSpec
from flare_actors.conversation.commands import ClearInput, CommitUtterance, OpenListener
from flare_actors.conversation.draft import SAME_S
from flare_actors.conversation.events import (
    ClientAttached,
    ClientDetached,
    CommitRequested,
    ConversationEndRequested,
    ConversationStartRequested,
    FailureRaised,
    InputClearRequested,
    InterruptRequested,
    MuteRequested,
    NothingCommitted,
    PlaybackCompleted,
    PlaybackProgressed,
    ResponseRequested,
    SayRequested,
    SessionEndRequested,
    SessionOverloaded,
    ShutdownRequested,
    TextReceived,
    TransportFailed,
)
from flare_actors.conversation.items import HistoryItem
from flare_actors.conversation.model import Marks, Saying, Wish
from flare_actors.conversation.moves import Draft
from flare_actors.conversation.notices import InputCleared
from flare_actors.conversation.states import Floor, Reason, State, TurnDetection, TurnKind
from flare_actors.conversation.table import ACTIVE
from flare_actors.conversation.values import evolve

_COMMIT_S = 3.0
"""From a commit to the ear's word on it: what it has not heard yet (2 s at most), and a margin."""
_NOT_STARTED = "no conversation is going on; start one first"


def on_conversation_start(d: Draft, _: ConversationStartRequested) -> None:
    if d.c.state is not State.IDLE:
        d.complain("already_started", "a conversation is going on already; end it before starting another")
        return
    d.set(history=(), last_spoken="")
    if d.c.attached:
        d.wait(session_idle=None)
    elif d.c.deadlines.grace is None:
        d.watch_session()  # Nobody is there yet: not for ever.
    d.go(State.INITIALIZING)
    d.wait(initialize=d.at + d.c.settings.timeouts.opening_s)
    d.emit(OpenListener(settings=d.c.settings))


def greet(d: Draft) -> None:
    """Leave INITIALIZING, once the ear is open and somebody is there: welcome, or listen."""
    welcome = d.c.settings.welcome
    if welcome is None or d.c.answer_due:
        d.listen()
        return
    d.start_stt()
    d.reply(TurnKind.WELCOME, welcome)


def on_conversation_end(d: Draft, _: ConversationEndRequested) -> None:
    if d.c.state is State.IDLE:
        d.complain("not_started", _NOT_STARTED)
        return
    d.end_conversation(Reason.CONVERSATION_ENDED)


def on_session_end(d: Draft, e: SessionEndRequested) -> None:
    d.end(e.reason)


def on_text(d: Draft, e: TextReceived) -> None:
    limit = d.c.settings.limits.text_chars
    if d.c.state is State.IDLE:
        d.complain("not_started", _NOT_STARTED)
    elif not e.text.strip():
        d.complain("empty_text", "the text is empty; send at least one word")
    elif len(e.text) > limit:
        d.complain("text_too_long", f"the text has {len(e.text)} characters; at most {limit} are taken")
    else:
        _answer_at_once(d, e.text.strip())


def _answer_at_once(d: Draft, text: str) -> None:
    """Typed text is a confirmed barge-in: whatever the agent is at, the answer to it comes next."""
    had_turn = d.c.turn is not None
    if d.c.turn is not None and not d.c.turn.interruptible:
        d.record_user(text)
        d.owe(Marks(asked=d.at))
        return
    d.interrupt(Reason.BARGE_IN)
    d.record_user(text)
    d.owe(Marks(asked=d.at))
    if had_turn:
        d.go(State.LISTENING, Reason.BARGE_IN)
    elif d.c.state is State.ERROR and d.c.attached:
        d.recover()
    if d.c.state is State.LISTENING and d.c.attached:
        if d.c.answer_due:
            d.reply(TurnKind.RESPONSE)
        else:
            d.listen()


def on_interrupt(d: Draft, _: InterruptRequested) -> None:
    if d.c.turn is None:
        return  # It came too late, or twice: harmless.
    d.interrupt(Reason.BARGE_IN)
    d.listen(Reason.BARGE_IN)


def on_commit(d: Draft, _: CommitRequested) -> None:
    if d.c.state not in ACTIVE:
        d.complain("not_started", _NOT_STARTED)
        return
    d.emit(CommitUtterance())
    if d.c.listener_open and d.c.attached:
        d.set(committing=True)
        d.wait(commit=d.at + _COMMIT_S)


def on_nothing_committed(d: Draft, _: NothingCommitted) -> None:
    if not d.c.committing:
        d.drop()
        return
    d.set(committing=False)
    d.wait(commit=None)
    if d.c.settings.turn_detection is TurnDetection.MANUAL:
        _commit_what_was_said(d)
    d.use_floor()


def _commit_what_was_said(d: Draft) -> None:
    """Of push-to-talk: there is no utterance to end, so the commit is of the ones before."""
    if d.c.awaited:
        d.set(awaited=tuple(evolve(each, answer=True, committed=True, endpoint=d.at) for each in d.c.awaited))
    elif d.c.unanswered:
        d.owe(Marks(asked=d.at))
    else:
        d.complain("nothing_committed", "no speech was heard since the last commit")


def give_up_on_commit(d: Draft) -> None:
    """The ear does not say what became of a commit: nobody waits for it any longer."""
    d.set(committing=False)
    d.use_floor()


def on_response_requested(d: Draft, e: ResponseRequested) -> None:
    if d.c.state is State.IDLE:
        d.complain("not_started", _NOT_STARTED)
    elif d.c.turn is not None or d.c.wish is not None:
        turn = d.c.turn.number if d.c.turn is not None else None
        d.complain("already_answering", "an answer is on its way already; interrupt it, or wait for its end", turn=turn)
    elif takes_instructions(d, e.instructions) and takes_tools(d, e.tools) and _takes_items(d, e.items):
        wish = Wish(
            instructions=e.instructions,
            replace=e.replace,
            output=e.output,
            max_tokens=e.max_tokens,
            tools=e.tools,
            tool_choice=e.tool_choice,
            items=e.items,
            aside=e.aside,
            request_id=e.request_id,
            ticket=e.ticket,
        )
        d.set(wish=wish, answer_due=True, asked=Marks(asked=d.at))
        d.use_floor()


def takes_instructions(d: Draft, instructions: str | None) -> bool:
    """May an answer have these of its own? If not, the client is told why."""
    # In place of the agent's own they usually are these and something more.
    limit = d.c.settings.limits.text_chars + len(d.c.settings.instructions or "")
    if instructions is None or len(instructions) <= limit:
        return True
    d.complain("text_too_long", f"the instructions have {len(instructions)} characters; at most {limit} are taken")
    return False


def takes_tools(d: Draft, tools: tuple[ToolSpec, ...] | None) -> bool:
    """May the client offer these? If not, it is told why."""
    most = d.c.settings.limits.tools
    names = [tool.name for tool in tools or ()]
    if len(names) > most:
        d.complain("too_many_tools", f"{len(names)} tools were offered; at most {most} are taken, and now none was")
    elif len(set(names)) < len(names):
        d.complain("duplicate_tool", "two tools have the same name; give each its own, now none was taken")
    else:
        return True
    return False


def _takes_items(d: Draft, items: tuple[HistoryItem, ...] | None) -> bool:
    """What is answered in place of the history is bounded as the history is."""
    limits = d.c.settings.limits
    too_long = [len(item.text) for item in items or () if len(item.text) > limits.text_chars]
    if len(items or ()) > limits.history_items:
        d.complain("too_many_items", f"{len(items or ())} items were given; at most {limits.history_items} are taken")
    elif too_long:
        d.complain("text_too_long", f"an item has {max(too_long)} characters; at most {limits.text_chars} are taken")
    else:
        return True
    return False


def on_input_clear(d: Draft, _: InputClearRequested) -> None:
    if d.c.state not in ACTIVE:
        d.complain("not_started", _NOT_STARTED)
        return
    d.emit(ClearInput())
    d.forget_hearing()
    d.tell(InputCleared())
    if d.c.state is State.LISTENING:
        d.listen(afresh=False)


def on_mute(d: Draft, e: MuteRequested) -> None:
    d.set(muted=e.muted)


def on_say(d: Draft, e: SayRequested) -> None:
    limits = d.c.settings.limits
    if d.c.state is State.IDLE:
        d.complain("not_started", _NOT_STARTED)
    elif not e.text.strip():
        d.complain("empty_text", "there is nothing to say; send at least one word")
    elif len(e.text) > limits.text_chars:
        d.complain("text_too_long", f"the text has {len(e.text)} characters; at most {limits.text_chars} are taken")
    elif len(d.c.says) >= limits.say_queue:
        d.complain("say_queue_full", f"{limits.say_queue} texts wait to be said already; wait until one was said")
    else:
        saying = Saying(text=e.text.strip(), interruptible=e.interruptible, ticket=e.ticket)
        d.set(says=(*d.c.says, saying))
        d.use_floor()


def on_attached(d: Draft, e: ClientAttached) -> None:
    d.set(attached=True, reports_playback=e.reports_playback)
    d.wait(grace=None)
    if d.c.state is State.IDLE:
        d.watch_session()
        return
    d.wait(session_idle=None)
    if d.c.state is State.INITIALIZING and d.c.listener_open:
        greet(d)
    elif d.c.state is State.LISTENING:
        if d.c.answer_due:
            d.set(asked=Marks(asked=d.at))  # The time without a client is nobody's latency.
        d.listen()


def on_detached(d: Draft, _: ClientDetached) -> None:
    d.set(attached=False)
    d.wait(grace=d.at + d.c.settings.reconnect_grace_s, session_idle=None, idle=None)
    if d.c.state not in ACTIVE:
        return
    if d.c.draining:
        d.end(Reason.SHUTDOWN)  # Nobody is left to finish a turn for, and nobody can come back.
        return
    had_turn = d.c.turn is not None
    d.take_back(Reason.CLIENT_DISCONNECTED)
    d.pause_stt(Reason.CLIENT_DISCONNECTED)
    if had_turn:
        d.go(State.LISTENING, Reason.CLIENT_DISCONNECTED)


def on_transport_failed(d: Draft, _: TransportFailed) -> None:
    d.set(attached=False)
    d.end(Reason.TRANSPORT_ERROR)


def on_shutdown(d: Draft, e: ShutdownRequested) -> None:
    d.set(draining=True)
    d.wait(drain=d.at + e.deadline_s)
    busy = d.c.turn is not None or d.c.floor is Floor.SPEAKING or d.c.awaited or d.c.answer_due
    if not busy or not d.c.attached:
        d.end(Reason.SHUTDOWN)


def on_overloaded(d: Draft, e: SessionOverloaded) -> None:
    d.complain("overloaded", f"the session cannot keep up ({e.queue}); start a new one", recoverable=False)
    d.end(Reason.OVERLOADED)


def on_failure(d: Draft, e: FailureRaised) -> None:
    if d.count_failure(None, critical=e.critical):
        return
    d.complain("internal_error", "something went wrong; the conversation goes on in a moment")
    if d.c.state in ACTIVE:
        d.fail(d.c.settings.error_retry_s)


# --- What the client says it has played ------------------------------------------------------------------------------------


def on_playback_progress(d: Draft, e: PlaybackProgressed) -> None:
    d.set(reports_playback=True)
    report_played(d, e.turn, e.played_s)


def on_playback_completed(d: Draft, e: PlaybackCompleted) -> None:
    d.set(reports_playback=True)
    turn = d.c.turn
    target = _reported_turn(d, e.turn)
    if turn is None or target != turn.number:
        if e.played_s is not None:
            report_played(d, e.turn, e.played_s)
        elif target is None:
            d.drop()
        return
    if e.played_s is not None:
        # Before all was generated its buffer ran empty in a gap: progress, not the end.
        report_played(d, e.turn, e.played_s)
    elif turn.generated_s is not None:
        d.finish_turn()


def finish_if_played(d: Draft) -> None:
    """End the live turn if it is generated, and the client has played all of it."""
    turn = d.c.turn
    assert turn is not None
    if turn.generated_s is not None and turn.played_s >= turn.generated_s - SAME_S:
        d.finish_turn()


def _reported_turn(d: Draft, turn: int | None) -> int | None:
    """The turn that a report is about: the named one, else the oldest unfinished one."""
    live = [] if d.c.turn is None else [d.c.turn.number]
    if turn is None:
        unfinished = [s.number for s in d.c.settling if not s.settled] + live
        return unfinished[0] if unfinished else None
    return turn if turn in live or any(s.number == turn for s in d.c.settling) else None


def report_played(d: Draft, turn: int | None, played_s: float) -> None:
    """The client has played so much of a turn (None: of the oldest unfinished one)."""
    target = _reported_turn(d, turn)
    if target is None or not played_s >= 0:
        d.drop()  # Of a turn long gone, or of time that runs backwards.
    elif d.c.turn is not None and d.c.turn.number == target:
        known = d.c.turn
        d.set(turn=evolve(known, played_s=max(known.played_s, played_s), reported_at=d.at))
        if known.generated_s is not None and played_s > known.played_s + SAME_S:
            # It plays, if late (its sound was paused, its buffer ran empty): it gets the time for the rest.
            due = d.c.deadlines.playback
            assert due is not None
            rest_s = max(0.0, known.generated_s - played_s)
            d.wait(playback=max(due, d.at + rest_s + d.c.settings.timeouts.playback_report_s))
        finish_if_played(d)
    else:
        settling = next(s for s in d.c.settling if s.number == target)
        played = played_s if settling.clock_s is None else min(played_s, settling.clock_s)
        updated = evolve(settling, played_s=played, reported_at=d.at)
        d.set(settling=tuple(updated if s.number == target else s for s in d.c.settling))
        if settling.settled:
            d.settle(updated, updated.played_s)
