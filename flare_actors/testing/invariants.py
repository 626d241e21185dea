"""What is always true of a conversation, as a checker: for property tests of ``step``, and an observer for whole sessions.

    checker = ConversationChecker()
    async with open_session(agent, observers=[checker]) as session: ...

Every step of every session that it observes is held against the promises of the core; the first that is broken raises
``AssertionError`` with the step in it. Users of their own tables and handlers get the same check.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import attrs

from flare_actors.conversation import events as ev
from flare_actors.conversation.commands import (
    CancelReply,
    ChatMessage,
    CloseListener,
    CloseSession,
    Command,
    FlushPlayback,
    Notify,
    OpenListener,
    PausePlayback,
    ResumePlayback,
    StartReply,
    StartStt,
)
from flare_actors.conversation.items import AgentSaid, ToolCalled, ToolReturned
from flare_actors.conversation.model import Conversation, Hearing
from flare_actors.conversation.notices import (
    PlaybackCleared,
    PlaybackPaused,
    PlaybackResumed,
    SessionEnded,
    StateChanged,
    TurnEnded,
    TurnStarted,
)
from flare_actors.conversation.states import Floor, Output, Reason, State, TurnKind
from flare_actors.conversation.table import ACTIVE, PLAYING, TRANSITIONS
from flare_actors.observe import Observer

__all__ = ["ConversationChecker", "check_value"]

_WITH_TURN: Final = frozenset(
    {
        State.PREPARING_WELCOME,
        State.PLAYING_WELCOME,
        State.PROCESSING_SPEECH,
        State.PREPARING_RESPONSE,
        State.PLAYING_RESPONSE,
    }
)
_MOST_COMMANDS: Final = 40
"""One event may end several turns' accounts (8 of them unsettled) and the session with them; nothing may do more."""
_MOST_OPEN: Final = 8


@attrs.define
class _Turn:
    """What the checker knows of one turn, from outside."""

    written: list[str] = attrs.Factory(list)
    starts: dict[int, float] = attrs.Factory(dict)
    clock_s: float | None = None
    generating: bool = False
    """Its StartReply went out, and neither its cancellation nor its end."""
    canceled: bool = False
    held: bool = False
    """It is generated ahead, and nobody has been told of it."""
    ended: bool = False
    delivered: bool = False
    """What was written went to the client as text."""


@attrs.define
class ConversationChecker(Observer):
    """Holds every step against what the core promises. One for each session."""

    steps: int = 0
    """Steps checked."""
    _turns: dict[int, _Turn] = attrs.Factory(dict)
    _listening: bool = False
    _paused: set[int] = attrs.Factory(set)
    """Turns that the speaker was told to pause, and not yet to go on with, or to flush."""
    _waits: set[int] = attrs.Factory(set)
    """Turns of which the client was told the same, or that they ended."""

    def on_step(
        self, session_id: str, before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]
    ) -> None:
        """Check one step.

        Raises:
            AssertionError: a promise was broken.
        """
        del session_id
        self.check(before, event, after, commands)

    def check(self, before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]) -> None:
        """Check one step.

        Raises:
            AssertionError: a promise was broken.
        """
        self.steps += 1
        notices = [command.notice for command in commands if isinstance(command, Notify)]
        try:
            check_value(after)
            _check_transitions(before, after, [notice for notice in notices if isinstance(notice, StateChanged)])
            _check_counters(before, after)
            _check_commands(before, event, after, commands)
            self._check_replies(event, after, commands)
            self._check_pauses(after, commands)
            self._check_ear(commands)
            if before.state is State.ENDED:
                assert after == attrs.evolve(before, stale=before.stale + 1), "ENDED is final"
                assert not commands, "ENDED is final"
            if after.state is State.ENDED and before.state is not State.ENDED:
                assert isinstance(commands[-1], CloseSession), "closing is the last command"
                assert isinstance(notices[-1], SessionEnded), "the end is the last notice"
        except AssertionError as error:
            error.add_note(f"step {self.steps}: {event}")
            error.add_note(f"before: {before}")
            error.add_note(f"after: {after}")
            error.add_note(f"commands: {commands}")
            raise

    def _check_replies(self, event: ev.Event, after: Conversation, commands: tuple[Command, ...]) -> None:
        self._note_facts(event)
        for command in commands:
            match command:
                case Notify(notice=TurnStarted(turn=number)):
                    turn = self._turns.setdefault(number, _Turn(held=True))
                    assert turn.held, f"turn {number} starts twice"
                    turn.held = False
                case Notify(notice=TurnEnded(turn=number, heard=heard)):
                    turn = self._turns[number]
                    assert not turn.held, f"turn {number} was never released"
                    assert not turn.ended, f"turn {number} ends twice"
                    turn.ended, turn.generating = True, False
                    assert "".join(turn.written).strip().startswith(heard), f"turn {number}: heard what was not written"
                case StartReply(turn=number, held=ahead):
                    if ahead:
                        assert number not in self._turns, f"turn {number} starts twice"
                        self._turns[number] = _Turn(held=True)
                    assert not any(turn.generating for turn in self._turns.values()), "two replies at a time"
                    assert ahead == self._turns[number].held, f"turn {number} is answered before it has begun"
                    assert ahead or after.turn is None or after.turn.number == number, (
                        f"a reply for turn {number}, not the live one"
                    )
                    self._turns[number].generating = True
                    self._turns[number].delivered |= command.output is Output.TEXT
                    self._check_request(command, after)
                case CancelReply(turn=number):
                    assert FlushPlayback(turn=number) in commands, f"turn {number} is cancelled and not flushed"
                    self._turns[number].generating, self._turns[number].canceled = False, True
                case _:
                    pass
        held = after.speculation.turn if after.speculation is not None else None
        live = {turn.number for turn in (after.turn, held) if turn is not None}
        stray = [number for number, turn in self._turns.items() if turn.generating and number not in live]
        assert not stray, f"turns {stray} are neither live nor cancelled"
        self._check_heard(after)

    def _note_facts(self, event: ev.Event) -> None:
        turn = self._turns.get(getattr(event, "turn", None) or 0)
        if turn is None:
            return
        match event:
            case ev.PhraseReady() if turn.generating or (turn.canceled and not turn.ended):
                turn.written.append(event.text)
            case ev.PhraseSpoken() if turn.generating:
                turn.starts[event.index] = event.start_s
            case ev.SynthesizerFailed() if turn.generating:
                turn.delivered = True
            case ev.PlaybackStopped() if turn.clock_s is None and turn.canceled and not turn.ended:
                turn.clock_s = event.played_s
            case _:
                pass

    def _check_heard(self, after: Conversation) -> None:
        """The history has only words whose audio began before the playback stopped."""
        for item in after.history:
            if not isinstance(item, AgentSaid) or not item.interrupted or not item.text:
                continue
            turn = self._turns[item.turn]
            if turn.delivered or turn.clock_s is None:
                continue
            may = [text for index, text in enumerate(turn.written) if turn.starts.get(index, 0.0) < turn.clock_s]
            assert "".join(may).startswith(item.text), f"turn {item.turn}: {item.text!r} was not heard"

    @staticmethod
    def _check_request(command: StartReply, after: Conversation) -> None:
        if command.kind is not TurnKind.RESPONSE:
            assert command.text, "nothing to say"
            assert not command.messages, "a text is not asked of the model"
            return
        roles = [message.role for message in command.messages]
        assert roles[-1:] != ["assistant"], f"a request ends with the user, or with a tool's result: {roles}"
        assert all(one != other or one == "tool" for one, other in itertools.pairwise(roles)), f"not merged: {roles}"
        _check_pairs(command.messages)
        heard = [item.text.strip() for item in after.history if isinstance(item, AgentSaid)]
        for message in command.messages:
            if message.role == "assistant" and message.content:
                assert message.content in " ".join(filter(None, heard)), "the request has what was not heard"

    def _check_pauses(self, after: Conversation, commands: tuple[Command, ...]) -> None:
        """A pause is followed by going on, by a cancellation, or by the end of the turn, and by nothing else."""
        for command in commands:
            match command:
                case PausePlayback(turn=number):
                    assert number not in self._paused, f"turn {number} is paused twice"
                    self._paused.add(number)
                case ResumePlayback(turn=number) | FlushPlayback(turn=number):
                    self._paused.discard(number)
                case Notify(notice=PlaybackPaused(turn=number)):
                    assert number not in self._waits, f"the client is told twice to stand still in turn {number}"
                    self._waits.add(number)
                case Notify(notice=PlaybackResumed(turn=number)):
                    assert number in self._waits, (
                        f"the client is to go on with turn {number}, which does not stand still"
                    )
                    self._waits.remove(number)
                case Notify(notice=PlaybackCleared(turn=number) | TurnEnded(turn=number)):
                    self._waits.discard(number)
                    self._paused.discard(number)
                case _:
                    pass
        turn = after.turn
        still = {turn.number} if turn is not None and turn.paused_at is not None else set()
        assert self._waits == still, f"the client stands still in {self._waits}, the agent in {still}"
        assert self._paused == (set() if turn is not None and turn.waiting else still), "what is paused stands still"

    def _check_ear(self, commands: tuple[Command, ...]) -> None:
        for command in commands:
            if isinstance(command, OpenListener):
                assert not self._listening, "the ear is opened twice"
                self._listening = True
            elif isinstance(command, CloseListener):
                self._listening = False


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
    assert (c.state is State.ENDED) == (c.ended is not None), "an end has a reason"
    _check_tools(c)


def _check_pairs(messages: Sequence[ChatMessage]) -> None:
    """Results come right after their calls, one for each, in the same order."""
    due: list[str] = []
    for message in messages:
        if message.role == "tool":
            assert due, f"a result without a call: {message.call}"
            assert message.call == due.pop(0), f"results are not in the order of their calls: {message.call}"
        else:
            assert not due, f"calls without results: {due}"
            due = [call.call for call in message.calls]
    assert not due, f"calls without results: {due}"


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
        assert c.speculation.turn.number <= c.turns, "a held reply has a number of its own"
    turn = c.turn
    assert (turn is not None) == (c.state in _WITH_TURN), f"a turn lives in {sorted(s.value for s in _WITH_TURN)} only"
    if turn is None:
        return
    assert c.attached, "nobody is there to hear a turn"
    if turn.paused_at is not None:
        assert c.floor is Floor.SPEAKING or c.awaited, (
            "a turn stands still for a user who speaks, or who is not understood yet"
        )
        assert c.deadlines.interruption is not None, "a turn that stands still has a deadline"
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


def _check_transitions(before: Conversation, after: Conversation, changes: list[StateChanged]) -> None:
    state = before.state
    for change in changes:
        assert change.old is state, f"told {change.old} -> {change.new}, from {state}"
        assert change.new in TRANSITIONS[state], f"{state} -> {change.new} is not in the table"
        state = change.new
    assert state is after.state, f"{before.state} -> {after.state} was told as {changes}"


def _check_counters(before: Conversation, after: Conversation) -> None:
    assert after.turns >= before.turns, "turn numbers grow"
    assert after.utterance >= before.utterance, "utterance numbers grow"
    assert after.stale >= before.stale, "late facts are counted, not uncounted"


def _check_commands(before: Conversation, event: ev.Event, after: Conversation, commands: tuple[Command, ...]) -> None:
    assert len(commands) <= _MOST_COMMANDS, f"{len(commands)} commands for one event"
    turn = before.turn
    if turn is not None and not turn.interruptible:
        stopped = CancelReply(turn=turn.number, reason=Reason.BARGE_IN) in commands
        asked = isinstance(event, ev.InterruptRequested | ev.ItemTruncateRequested)
        assert asked or not stopped, "what may not be interrupted is stopped by nobody's words"
    settings = after.settings
    for command in commands:
        if isinstance(command, StartStt):
            assert after.attached or before.attached, "nobody is there to be understood"
            given = (command.locale, command.mode, command.endpoint_s)
            assert given == (settings.locale, settings.stt_mode, settings.endpoint_s), (
                "STT starts with all its settings"
            )
